"""Weights to a `VoidPipeline`: strictly, shard by shard, never two copies in memory."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import AutoencoderKLCogVideoX
from diffusers.models.transformers.cogvideox_transformer_3d import CogVideoXTransformer3DModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_ddim_cogvideox import CogVideoXDDIMScheduler
from safetensors import safe_open
from transformers import AutoTokenizer, T5Config, T5EncoderModel

from aftermath.downloads import Progress
from aftermath.errors import InputError, WeightsError
from aftermath.hub import identity_of, located
from aftermath.models import BASE, VOID, pass_file
from aftermath.render.void.conditioning import JOINED_PARTS
from aftermath.render.void.pipeline import VoidPipeline
from aftermath.render.void.published import MANNER_FILE
from aftermath.weights import Tensor, check_finite, find_shards, read_header

__all__ = [
    "SECOND_PASS",
    "fetch_weights",
    "load_pipeline",
    "load_text_encoder",
    "load_vae",
    "no_words",
    "num_weights",
    "reads_words",
    "text_encoder_files",
    "text_width",
    "vae_config",
    "weights_identity",
]

SECOND_PASS = "transformer_pass2"
"""Folder of the second pass's weights in a saved `VoidPipeline` that has them; it shares everything else."""

_DIFFUSERS = ("diffusion_pytorch_model.safetensors",)
_TRANSFORMERS = ("model.safetensors",)
_EXPANDED = "patch_embed.proj.weight"
_COLUMNS = 128  # input columns of one part of the joint input: 16 channels x 2x2x2
_NAMED = 4  # keys an error names
_CONFIGS = (
    "model_index.json",
    "scheduler/scheduler_config.json",
    "transformer/config.json",
    "vae/config.json",
)
_SOLVERS: dict[int, Any] = {1: DDIMScheduler, 2: CogVideoXDDIMScheduler}


def load_pipeline(
    model: str | Path = BASE,
    *,
    pass_number: int = 1,
    weights: str | Path | None = None,
    dtype: torch.dtype = torch.bfloat16,
    text: bool = True,
    vae: AutoencoderKLCogVideoX | None = None,
    offline: bool = False,
    revision: str | None = None,
    verify: bool = False,
) -> VoidPipeline:
    """Load a pass of VOID, on the CPU, in evaluation mode.

    Args:
        model: a folder or a name on the hub. Either what `VoidPipeline.save_pretrained` wrote, or the base model
            (transformer/, vae/, text_encoder/, tokenizer/, scheduler/), to which ``weights`` are added.
        pass_number: 1 or 2; chooses the weights and the scheduler.
        weights: VOID's transformer: a .safetensors file, the index of several, a folder that holds
            ``void_pass1.safetensors`` or ``void_pass2.safetensors``, or a name on the hub. Where None: those in the
            base model's own folder, else the published ones; a saved `VoidPipeline` has its own.
        dtype: of all weights; what must not be float16 stays float32.
        text: load the text encoder and its tokenizer too, where the model has them; without them prompts come as
            embeddings.
        vae: one that is loaded already, for the second pass.
        offline: use only what is on this machine.
        revision: of ``model``, where it is a name on the hub.
        verify: also look for NaN, which reads every file once more.

    Raises:
        InputError: there is no such folder or pass.
        WeightsError: a file is missing, half there, a pickle, of the wrong model, or cannot be fetched.
    """
    if pass_number not in (1, 2):
        raise InputError(f"pass {pass_number}", "it must be 1 or 2")
    folder = located(model, offline=offline, revision=revision)
    # what is no model is told before weights are fetched for it
    config = _transformer_config(folder / "transformer")
    painter = _painter(folder, pass_number, weights, offline)
    text = text and reads_words(model, offline=offline)
    vae_files = [] if vae is not None else find_shards(folder / "vae", _DIFFUSERS)
    text_files = find_shards(folder / "text_encoder", _TRANSFORMERS) if text else []
    if verify:
        for path in [*painter, *vae_files, *text_files]:
            check_finite(path)
    with init_empty_weights(include_buffers=False):
        transformer = _built(CogVideoXTransformer3DModel.from_config, config, folder / "transformer")
    _fill(transformer, painter, dtype, base=folder / "transformer")
    if vae is None:
        vae = _vae(folder, vae_files, dtype)
    tokenizer, text_encoder = _text(folder, text_files, dtype) if text else (None, None)
    return VoidPipeline(
        tokenizer,
        text_encoder,
        vae,
        transformer,
        _scheduler(folder, pass_number),
    )


def load_vae(
    model: str | Path, dtype: torch.dtype = torch.float32, *, offline: bool = False
) -> AutoencoderKLCogVideoX:
    """The VAE of ``model`` alone, on the CPU; see `load_pipeline`."""
    folder = located(model, offline=offline)
    return _vae(folder, find_shards(folder / "vae", _DIFFUSERS), dtype)


def vae_config(model: str | Path = BASE, *, offline: bool = False) -> dict[str, Any]:
    """How the VAE of ``model`` is built."""
    return _json(located(model, offline=offline) / "vae" / "config.json")


def load_text_encoder(
    model: str | Path = BASE, *, dtype: torch.dtype = torch.bfloat16, offline: bool = False
) -> tuple[Any, T5EncoderModel]:
    """The tokenizer and the text encoder of ``model`` alone, on the CPU; see `load_pipeline`."""
    folder = located(model, offline=offline)
    return _text(folder, find_shards(folder / "text_encoder", _TRANSFORMERS), dtype)


def reads_words(model: str | Path = BASE, *, offline: bool = False) -> bool:
    """Whether ``model`` has a text encoder; a small one may do without."""
    folder = located(model, offline=offline)
    index = _json(folder / "model_index.json") if (folder / "model_index.json").is_file() else {}
    return index.get("text_encoder", ["", ""])[0] is not None


def no_words(model: str | Path, *, offline: bool = False) -> torch.Tensor:
    """What a model without a text encoder is given in place of a prompt: one token of zeros, (1, 1, D)."""
    return torch.zeros(1, 1, text_width(model, offline=offline))


def text_width(model: str | Path = BASE, *, offline: bool = False) -> int:
    """Numbers that the transformer of ``model`` reads for each token of a text."""
    config = _json(located(model, offline=offline) / "transformer" / "config.json")
    return int(config["text_embed_dim"])


def text_encoder_files(model: str | Path = BASE, *, offline: bool = False) -> list[Path]:
    """The files that decide what a prompt is encoded to; see `load_pipeline`."""
    folder = located(model, offline=offline)
    tokenizer = sorted(path for path in (folder / "tokenizer").glob("*") if path.is_file())
    return [*find_shards(folder / "text_encoder", _TRANSFORMERS), *tokenizer]


def fetch_weights(
    model: str | Path = BASE, pass_number: int = 1, *, offline: bool = False, progress: Progress | None = None
) -> None:
    """Have everything that `load_pipeline` reads on this machine, telling ``progress`` of what is fetched."""
    for file in _painter(
        located(model, offline=offline, progress=progress), pass_number, None, offline, progress
    ):
        read_header(file)  # a second pass that is half there is told before the first has painted for an hour


def weights_identity(
    model: str | Path = BASE, pass_numbers: Sequence[int] = (1,), *, offline: bool = False
) -> list[str]:
    """What tells the weights of ``model`` from others that lie in the same place later, see `identity_of`."""
    folder = located(model, offline=offline)
    painters = [file for number in pass_numbers for file in _painter(folder, number, None, offline)]
    said = [folder / MANNER_FILE, *(folder / part for part in _CONFIGS)]
    texts = text_encoder_files(model, offline=offline) if reads_words(model, offline=offline) else []
    files = [*painters, *find_shards(folder / "vae", _DIFFUSERS), *texts, *said]
    return [identity_of(path) for path in files if path.is_file()]


def num_weights(model: str | Path = BASE, pass_number: int = 1, *, offline: bool = False) -> int:
    """Numbers in the transformer of a pass, by its files' headers; see `load_pipeline`."""
    files = _painter(located(model, offline=offline), pass_number, None, offline)
    return sum(math.prod(tensor.shape) for file in files for tensor in read_header(file).values())


def _painter(
    folder: Path,
    pass_number: int,
    weights: str | Path | None,
    offline: bool,
    progress: Progress | None = None,
) -> list[Path]:
    """The files of the transformer of a pass."""
    index = _json(folder / "model_index.json") if (folder / "model_index.json").is_file() else {}
    own = (pass_file(pass_number), *_DIFFUSERS)
    if weights is not None:
        return find_shards(located(weights, offline=offline), own)
    if index.get("_class_name") == VoidPipeline.__name__:
        both = (folder / SECOND_PASS).is_dir()
        second = pass_number == 2 and both
        if not both:
            _check_pass(folder, index, pass_number)
        return find_shards(folder / (SECOND_PASS if second else "transformer"), _DIFFUSERS)
    if (folder / own[0]).is_file() or (folder / f"{own[0]}.index.json").is_file():
        return find_shards(folder, own[:1])
    return find_shards(located(VOID, offline=offline, only=own[0], progress=progress), own)


def _check_pass(folder: Path, index: dict[str, Any], pass_number: int) -> None:
    """The solver that a pipeline was saved with tells which pass it is. Raises `WeightsError` where it is the other."""
    solver = index.get("scheduler", ["", ""])[1]
    number = {kind.__name__: number for number, kind in _SOLVERS.items()}.get(solver, pass_number)
    if number != pass_number:
        raise WeightsError(
            f"{folder}: it holds pass {number}, and pass {pass_number} was asked for, whose weights are others; they "
            f"would lie in {SECOND_PASS}/"
        )


def _vae(folder: Path, files: list[Path], dtype: torch.dtype) -> AutoencoderKLCogVideoX:
    with init_empty_weights(include_buffers=False):
        vae = _built(
            AutoencoderKLCogVideoX.from_config, _json(folder / "vae" / "config.json"), folder / "vae"
        )
    _fill(vae, files, dtype)
    return vae


def _text(folder: Path, files: list[Path], dtype: torch.dtype) -> tuple[Any, T5EncoderModel]:
    with init_empty_weights(include_buffers=False):
        config = _json(folder / "text_encoder" / "config.json")
        text_encoder = _built(lambda said: T5EncoderModel(T5Config(**said)), config, folder / "text_encoder")
    _fill(text_encoder, files, dtype)
    return _tokenizer(folder / "tokenizer"), text_encoder


def _fill(module: Any, shards: list[Path], dtype: torch.dtype, *, base: Path | None = None) -> None:
    """Give an empty ``module`` its weights: every key once, every shape right, and none left over.

    ``base`` is the folder that holds the columns of `_EXPANDED` that the shards may lack.
    """
    expected = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    tied = dict(getattr(module, "_tied_weights_keys", None) or {})
    headers = {path: read_header(path) for path in shards}
    _check_keys(headers, expected, set(tied))
    wide = getattr(module, "_keep_in_fp32_modules", None) or [] if dtype is torch.float16 else []
    for path, header in headers.items():
        filled = {}
        with safe_open(path, "pt") as file:
            for name in header.keys() & expected.keys():
                value = file.get_tensor(name)
                if name == _EXPANDED and base is not None:
                    value = _expanded(value, expected[name], path, base)
                if tuple(value.shape) != expected[name]:
                    raise WeightsError(
                        f"{path}: {name} has shape {tuple(value.shape)}, the model needs {expected[name]}; "
                        "these weights are of another model"
                    )
                filled[name] = value.to(torch.float32 if set(name.split(".")) & set(wide) else dtype)
        module.load_state_dict(filled, strict=False, assign=True)
    if tied:
        module.tie_weights()
    module.eval()


def _check_keys(headers: dict[Path, dict[str, Tensor]], expected: dict[str, Any], tied: set[str]) -> None:
    """Raise `WeightsError` unless the files hold each key the model has, once, and no other."""
    where = next(iter(headers), Path()).name if len(headers) == 1 else f"{len(headers)} files"
    place = next(iter(headers), Path()).parent / where
    found = [name for header in headers.values() for name in header]
    complaints = (
        ("misses", expected.keys() - set(found) - tied),
        ("holds what the model has no place for:", set(found) - expected.keys()),
        ("holds twice", {name for name in found if found.count(name) > 1} if len(headers) > 1 else set()),
    )
    for what, names in complaints:
        if names:
            first = ", ".join(sorted(names)[:_NAMED]) + (" ..." if len(names) > _NAMED else "")
            raise WeightsError(
                f"{place}: it {what} {first} ({len(names)} of {len(expected)}); "
                "these weights are incomplete or of another model"
            )


def _transformer_config(folder: Path) -> dict[str, Any]:
    """The base model's, with the mask of VOID: as many channels as the latents have, not one."""
    config = _json(folder / "config.json")
    config.pop(
        "add_noise_in_inpaint_model", None
    )  # done always; diffusers would warn that it knows no such thing
    return config | {"in_channels": JOINED_PARTS * config.get("out_channels", 16)}


def _expanded(value: torch.Tensor, shape: tuple[int, ...], path: Path, base: Path) -> torch.Tensor:
    """``value`` (out, fewer columns) with its first and last part kept and the columns between from the base.

    Where the base has one channel for the mask, each channel of VOID's mask begins as that one.
    """
    if value.ndim != 2 or value.shape[0] != shape[0] or not 2 * _COLUMNS <= value.shape[1] < shape[1]:
        return value
    holder = next((shard for shard in find_shards(base, _DIFFUSERS) if _EXPANDED in read_header(shard)), None)
    if holder is None:
        raise _lacking(value, shape, path)
    with safe_open(holder, "pt") as file:
        own = file.get_tensor(_EXPANDED).to(value.dtype)
    mask = own[:, _COLUMNS:-_COLUMNS]
    times, rest = divmod(shape[1] - 2 * _COLUMNS, max(mask.shape[1], 1))
    if len(own) != shape[0] or not mask.shape[1] or rest:
        raise _lacking(value, shape, path)
    return torch.cat([value[:, :_COLUMNS], mask.repeat(1, times), value[:, -_COLUMNS:]], dim=1)


def _lacking(value: torch.Tensor, shape: tuple[int, ...], path: Path) -> WeightsError:
    return WeightsError(
        f"{path}: {_EXPANDED} has {value.shape[1]} columns of {shape[1]}, and the base model lacks the others"
    )


def _scheduler(folder: Path, pass_number: int) -> DDIMScheduler | CogVideoXDDIMScheduler:
    """The same numbers in both; the two classes agree to 4e-6."""
    config = _json(folder / "scheduler" / "scheduler_config.json")
    if pass_number == 1:  # 1, and not of DDIM
        config = {name: value for name, value in config.items() if name != "snr_shift_scale"}
    return _built(_SOLVERS[pass_number].from_config, config, folder / "scheduler")


def _built(make: Callable[[dict[str, Any]], Any], config: dict[str, Any], folder: Path) -> Any:
    """What a configuration describes, without its weights. Raises `WeightsError` where it describes nothing."""
    try:
        return make(config)
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        NotImplementedError,
        TypeError,
        ValueError,
    ) as error:
        why = next(iter(str(error).splitlines()), type(error).__name__)
        raise WeightsError(
            f"{folder}: its configuration describes no model that can be built ({why})"
        ) from error


def _tokenizer(folder: Path) -> Any:
    if not folder.is_dir():
        raise WeightsError(f"{folder}: no such folder; fetch it with: aftermath models download")
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise WeightsError(
            f"{folder}: no tokenizer of T5 could be read there (tokenizer.json or spiece.model)"
        ) from error


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: no such file; fetch it with: aftermath models download") from error
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: not a JSON file that can be read") from error
    if not isinstance(found, dict):
        raise WeightsError(f"{path}: it must hold one JSON object")
    return found
