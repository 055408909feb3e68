"""`train`: a recipe, a folder of pairs and a model to begin from, put together and run."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import AutoencoderKLCogVideoX

from aftermath.counterfactual import check_trainable
from aftermath.errors import InputError, WeightsError
from aftermath.evaluate.pairs import PairFiles, check_sizes, find_pairs, read_video
from aftermath.hub import located
from aftermath.media.files import explained
from aftermath.media.runs import key_of
from aftermath.models import BASE
from aftermath.render.void.checkpoint import SECOND_PASS, load_pipeline, load_vae
from aftermath.render.void.conditioning import latent_frames, latent_px, video_pixels
from aftermath.render.void.memory import keep_freed
from aftermath.render.void.pipeline import VoidPipeline
from aftermath.render.void.published import MANNER_FILE, Manner, manner_of, write_manner
from aftermath.render.void.text import prompt_embeddings
from aftermath.train.latents import Latents
from aftermath.train.linear import begin_copying, begin_linear, resized
from aftermath.train.loop import Progress, fit
from aftermath.train.lora import add_lora, merged
from aftermath.train.nano import NANO_MANNER, new_scheduler, new_transformer, new_vae
from aftermath.train.painter import PainterTask
from aftermath.train.recipe import Part, Recipe
from aftermath.train.vae import VaeTask

__all__ = ["Trained", "train"]

_LOOKED_AT = 24  # videos whose principal components a new VAE takes
_FRAMES_LOOKED_AT = 17
_EMBEDDED_AT_ONCE = 500  # at 4 MB each
_ONE_FILE = "1TB"  # the reference reads a transformer from one file, and diffusers would cut one of 5B in two


@dataclass(frozen=True)
class Trained:
    """``model``: a folder that ``aftermath remove --model`` takes (a VAE alone: that ``train --model`` takes).
    ``begun``: steps that an earlier call had done."""

    model: Path
    steps: int
    begun: int


def train(
    recipe: Recipe,
    pairs: str | Path,
    folder: str | Path,
    *,
    model: str | Path = "",
    latents: str | Path | None = None,
    offline: bool = False,
    progress: Progress | None = None,
) -> Trained:
    """Train as ``recipe`` says on the folder ``pairs``; see `fit` for what ``folder`` then holds.

    The same call goes on where a stopped one was. The last ``recipe.validation_pairs`` of the pairs by name are only
    looked at. ``model``: what training begins from: a folder or name of the hub for VOID (the published base where it
    is empty), a folder with ``vae/`` and perhaps ``transformer/`` for nano (a new network where there is none).
    ``latents``: where encoded pairs are kept, ``pairs``/.latents where it is None.

    Raises `InputError` for pairs that cannot be used, among them the held-out ones, for a model that does not fit, for
    another run in ``folder``, and where the disk is full; `TrainingDiverged`.
    """
    if recipe.name.startswith("nano") and not torch.cuda.is_available():
        keep_freed()
    torch.manual_seed(recipe.seed)  # what an addition begins with
    folder, pairs, tell = Path(folder), Path(pairs), progress or (lambda *_: None)
    found = find_pairs(pairs)
    check_trainable([pair.source.parent for pair in found])
    for pair in found:
        check_sizes(pair)
    held_count = min(recipe.validation_pairs, max(0, len(found) - 1))
    trained, held = found[: len(found) - held_count], found[len(found) - held_count :]
    kept = Path(latents) if latents else pairs / ".latents"
    try:
        if recipe.part is Part.VAE:
            vae = load_vae(model, torch.float32) if model else _linear_vae(recipe, trained)
            task: Any = VaeTask(vae.train(), trained, held, recipe)
        else:
            task = _painter(recipe, trained, held, str(model), kept, offline, tell)
    except WeightsError as error:  # here it is what the user gave that does not fit
        raise InputError(f"--model {model}" if model else "the published weights", str(error)) from error
    identity = key_of(pairs=[(pair.name, pair.digest) for pair in found], model=_named(model))
    begun = fit(task, recipe, folder, identity=identity, progress=progress)
    return Trained(folder / "model", recipe.steps, begun)


def _named(model: str | Path) -> str:
    """The model by one name, whichever way leads to its folder."""
    return str(Path(model).resolve()) if model and Path(model).is_dir() else str(model)


def _linear_vae(recipe: Recipe, pairs: Sequence[PairFiles]) -> AutoencoderKLCogVideoX:
    vae = new_vae(recipe.seed)
    begin_linear(vae, _films(pairs, recipe.num_frames))
    return vae


def _films(pairs: Sequence[PairFiles], num_frames: int) -> Iterator[torch.Tensor]:
    """Of some of the pairs the clip, as the VAE sees it."""
    for pair in pairs[:: -(-len(pairs) // _LOOKED_AT)]:
        frames = torch.from_numpy(read_video(pair.source)[:num_frames])
        yield video_pixels(frames.movedim(-1, 0)[None].float() / 255, None)


def _painter(
    recipe: Recipe,
    trained: Sequence[PairFiles],
    held: Sequence[PairFiles],
    model: str,
    kept: Path,
    offline: bool,
    tell: Progress,
) -> PainterTask:
    ours = recipe.name.startswith("nano")
    pipe = _nano(model, recipe) if ours else _void(model, recipe, offline)
    if ours and recipe.patch not in (0, pipe.transformer.config["patch_size"]):
        _resize(pipe, recipe, trained)
    latents = Latents(kept, pipe.vae, recipe, trained)
    tried = Latents(kept, pipe.vae, replace(recipe, sizes=recipe.sizes[-1:], variants=1), held)
    processes = PartialState(cpu=not torch.cuda.is_available() and not torch.backends.mps.is_available())
    for some in (latents, tried):
        some.make(tell, processes.process_index, processes.num_processes)
    processes.wait_for_everyone()
    if not (located(model or BASE, offline=offline) / "transformer").is_dir():
        step = -(-len(latents) // _LOOKED_AT)
        begin_copying(pipe.transformer, (latents.read(i)["video"] for i in range(0, len(latents), step)))
    captions = sorted({"", *(some.caption(i) for some in (latents, tried) for i in range(len(some)))})
    with processes.main_process_first():  # the others find them on the disk
        embeds = _embeds(model or BASE, captions, kept / "prompts", offline) if not ours else _no_embeds(pipe)
    if recipe.checkpointing:
        pipe.transformer.enable_gradient_checkpointing()
    if recipe.lora_rank:
        add_lora(pipe.transformer, recipe.lora_rank)
    pipe.vae.requires_grad_(requires_grad=False)
    write = _Writer(pipe, recipe, model, offline)
    return PainterTask(pipe, latents, tried, embeds, recipe, write)


def _nano(model: str, recipe: Recipe) -> VoidPipeline:
    """What the folder ``model`` holds of nano, and new what it lacks."""
    if not model:
        raise InputError(
            f"{recipe.name} without --model",
            "it must be a folder with the VAE to paint with",
            "train one with: aftermath train nano_vae PAIRS -o DIR, then give --model DIR/model; or begin from nano",
        )
    folder = located(model)
    if (folder / "model_index.json").is_file():
        number = 2 if recipe.pass_number == 2 and (folder / SECOND_PASS).is_dir() else 1
        return load_pipeline(folder, pass_number=number, dtype=torch.float32, text=False)
    if recipe.pass_number == 2:
        raise InputError(f"{folder}", "the second pass begins from the first", "train nano_pass1 before it")
    vae = load_vae(folder, torch.float32)
    transformer = new_transformer(
        recipe.seed, **_fitting(vae), **({"patch_size": recipe.patch} if recipe.patch else {})
    )
    return VoidPipeline(None, None, vae, transformer, new_scheduler())


def _resize(pipe: VoidPipeline, recipe: Recipe, pairs: Sequence[PairFiles]) -> None:
    """Let ``pipe`` paint pictures twice or half as large with as many tokens."""
    side = int(pipe.transformer.config["patch_size"])
    if recipe.patch not in (2 * side, side // 2):
        raise InputError(
            f"patch {recipe.patch}", f"the model has {side}; it must be that, twice or half of it"
        )
    token = max(side, recipe.patch) * latent_px(pipe.vae.config)
    films = (
        film[..., : film.shape[-2] // token * token, : film.shape[-1] // token * token]
        for film in _films(pairs, _FRAMES_LOOKED_AT)
    )
    pipe.register_modules(transformer=resized(pipe.transformer, pipe.vae, films, recipe.patch))


def _fitting(vae: AutoencoderKLCogVideoX) -> dict[str, int]:
    channels = int(vae.config["latent_channels"])
    return {"in_channels": 3 * channels, "out_channels": channels}


def _void(model: str, recipe: Recipe, offline: bool) -> VoidPipeline:
    return load_pipeline(
        model or BASE, pass_number=recipe.pass_number, dtype=torch.float32, text=False, offline=offline
    )


def _embeds(model: str, captions: list[str], folder: Path, offline: bool) -> Callable[[str], torch.Tensor]:
    """Reads a caption's embeddings from ``folder``, where they are put first: those of many pairs fill no memory."""

    def embedded(some: list[str]) -> list[torch.Tensor]:
        return prompt_embeddings(model, some, offline=offline, folder=folder)

    with explained(folder):
        for first in range(0, len(captions), _EMBEDDED_AT_ONCE):
            embedded(captions[first : first + _EMBEDDED_AT_ONCE])
    return lru_cache(maxsize=64)(lambda caption: embedded([caption])[0])


def _no_embeds(pipe: VoidPipeline) -> Callable[[str], torch.Tensor]:
    nothing = torch.zeros(1, 1, int(pipe.transformer.config["text_embed_dim"]))
    return lambda _: nothing


class _Writer:
    """Writes the whole model: what was trained, and beside it what it needs to be run."""

    def __init__(self, pipe: VoidPipeline, recipe: Recipe, model: str, offline: bool) -> None:
        self._pipe, self._recipe, self._model, self._offline = pipe, recipe, model, offline

    def __call__(self, folder: Path) -> None:
        recipe, pipe = self._recipe, self._pipe
        source = located(self._model or BASE, offline=self._offline)
        if recipe.lora_rank:
            self._write_lora(folder)
        dtype = torch.float16 if recipe.name.startswith("nano") else torch.bfloat16
        plain = VoidPipeline(None, None, pipe.vae, merged(pipe.transformer, dtype), pipe.scheduler)
        plain.save_pretrained(folder, max_shard_size=_ONE_FILE)
        if (source / "vae").is_dir():  # as it was, number by number: latents are kept under its name
            shutil.rmtree(folder / "vae")
            _linked(source / "vae", folder / "vae")
        if recipe.pass_number == 2:  # the first pass stays what it was
            (folder / "transformer").replace(folder / SECOND_PASS)
            _write_first(source, folder, self._model, self._offline)
        elif (source / SECOND_PASS).is_dir():
            _linked(source / SECOND_PASS, folder / SECOND_PASS)
        if (source / "text_encoder").is_dir():
            _linked(source / "text_encoder", folder / "text_encoder")
            _linked(source / "tokenizer", folder / "tokenizer")
            index = json.loads((folder / "model_index.json").read_text("utf-8"))
            named = {
                "text_encoder": ["transformers", "T5EncoderModel"],
                "tokenizer": ["transformers", "T5Tokenizer"],
            }
            (folder / "model_index.json").write_text(json.dumps({**index, **named}, indent=2) + "\n", "utf-8")
        write_manner(_manner(recipe, source), folder)

    def _write_lora(self, folder: Path) -> None:
        from peft.utils.save_and_load import get_peft_model_state_dict

        layers: Any = get_peft_model_state_dict(self._pipe.transformer)
        VoidPipeline.save_lora_weights(folder / "lora", transformer_lora_layers=layers)


def _write_first(source: Path, folder: Path, model: str, offline: bool) -> None:
    """The first pass beside a second: a saved pipeline's own, else the one that painting would take."""
    if (source / "model_index.json").is_file() and _class_name(source) == VoidPipeline.__name__:
        _linked(source / "transformer", folder / "transformer")
    else:
        first = load_pipeline(model or BASE, pass_number=1, text=False, offline=offline)
        first.transformer.save_pretrained(folder / "transformer", max_shard_size=_ONE_FILE)


def _class_name(folder: Path) -> str:
    return str(json.loads((folder / "model_index.json").read_text("utf-8")).get("_class_name"))


def _manner(recipe: Recipe, source: Path) -> Manner:
    """How what was trained is to be run: as it was trained, and else as what it came from."""
    ours = recipe.name.startswith("nano")
    known = NANO_MANNER if ours and not (source / MANNER_FILE).is_file() else manner_of(source)
    passes = {one.number: one for one in known.passes}
    usual = passes.get(recipe.pass_number, replace(passes[1], number=2))
    passes[recipe.pass_number] = replace(usual, levels=recipe.levels)
    if not ours:
        return replace(known, passes=tuple(passes.values()))
    fitting = 8 * ((latent_frames(recipe.num_frames) - 2) // 2)  # an overlap is shorter than its window
    return replace(
        known,
        size=recipe.sizes[-1],
        window_frames=recipe.num_frames,
        overlap_frames=min(known.overlap_frames, max(0, fitting)),
        passes=tuple(passes.values()),
    )


def _linked(source: Path, target: Path) -> None:
    """A copy that takes no room where the disk allows that."""

    def link(one: str, other: str) -> None:
        try:
            os.link(os.path.realpath(one), other)
        except OSError:
            shutil.copyfile(one, other)

    shutil.copytree(source, target, copy_function=link)
