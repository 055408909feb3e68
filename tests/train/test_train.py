"""``aftermath train``: it learns, goes on as if it had never stopped, and what it writes is a model."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from small_pairs import HEIGHT, NUM_FRAMES, WIDTH, write_small_pair, write_small_pairs

from conftest import Cli

torch = pytest.importorskip("torch", reason="the extra train is not installed")
pytest.importorskip("tensorboard", reason="the extra train is not installed")

from safetensors.torch import load_file, save_file  # noqa: E402
from tiny import save_tiny_model  # noqa: E402

from aftermath.cli import main  # noqa: E402
from aftermath.errors import InputError  # noqa: E402
from aftermath.evaluate.pairs import find_pairs, load_pair, read_video  # noqa: E402
from aftermath.render.void.checkpoint import load_pipeline  # noqa: E402
from aftermath.train.latents import Latents, varied  # noqa: E402
from aftermath.train.loop import Sheet, TrainingDiverged, fit  # noqa: E402
from aftermath.train.order import Order  # noqa: E402
from aftermath.train.recipe import Recipe, nano_pass1, recipe_named  # noqa: E402
from aftermath.train.run import train  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE = f"--set=sizes=[[{HEIGHT},{WIDTH}]]"
SMALL = (SIZE, f"--set=num_frames={NUM_FRAMES}", "--set=precision=no", "--set=checkpointing=false")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_pairs(tmp_path_factory.mktemp("pairs") / "five", 5)


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reads words, as the published model does."""
    return save_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of about a million numbers that reads no words, its VAE narrow and random."""
    from aftermath.render.void.pipeline import VoidPipeline
    from aftermath.render.void.published import write_manner
    from aftermath.train.nano import NANO_MANNER, new_scheduler, new_transformer, new_vae

    folder = tmp_path_factory.mktemp("nano") / "model"
    vae = new_vae(block_out_channels=(8, 8, 8), norm_num_groups=4)
    vae.register_to_config(scaling_factor=6.0)  # about 1 / the spread of a random one's latents
    transformer = new_transformer(
        num_layers=4, num_attention_heads=4, attention_head_dim=32, time_embed_dim=64
    )
    assert 8e5 < sum(value.numel() for value in transformer.parameters()) < 2e6
    VoidPipeline(None, None, vae, transformer, new_scheduler()).save_pretrained(folder)
    write_manner(NANO_MANNER, folder)
    return folder


def weights(model: Path) -> dict[str, torch.Tensor]:
    return load_file(model / "transformer" / "diffusion_pytorch_model.safetensors")


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "losses.jsonl").read_text().splitlines()]


@pytest.mark.long
def test_a_small_model_learns_four_pairs_by_heart(pairs: Path, nano: Path, tmp_path: Path):
    recipe = nano_pass1(
        sizes=((HEIGHT, WIDTH),), num_frames=NUM_FRAMES, steps=150, batch=4, learning_rate=3e-3, warmup_steps=10,
        ema=0.9, validation_pairs=1, validate_every=150, save_every=150,
    )  # fmt: skip
    done = train(recipe, pairs, tmp_path / "run", model=nano, latents=tmp_path / "latents")
    found = losses(tmp_path / "run")
    assert np.mean(found[-3:]) < 0.2 * found[0]
    assert done.begun == 0
    assert (tmp_path / "run" / "validation.jsonl").read_text().count("painted") == 2  # the pair and the mean
    assert list((tmp_path / "run" / "logs").iterdir())
    pipe = load_pipeline(done.model, text=False, dtype=torch.float32)
    assert not torch.equal(
        pipe.transformer.proj_out.weight, torch.zeros_like(pipe.transformer.proj_out.weight)
    )


def command(pairs: Path, nano: Path, out: Path, latents: Path, steps: int) -> list[str]:
    return [
        "train", "nano_pass1", str(pairs), "-o", str(out), "--model", str(nano), "--latents", str(latents),
        *("--steps", str(steps), "--batch", "2", "--set=save_every=3", "--set=validation_pairs=1", "--set=ema=0.5"),
        "--set=validate_every=1000", "--set=crop=[32,48]", *SMALL,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def whole(pairs: Path, nano: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody stopped, beside the latents that it made."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.raises(SystemExit) as left:
        main([*command(pairs, nano, folder / "run", folder / "latents", 18), "--quiet"])
    assert left.value.code == 0
    return folder


@pytest.mark.long
def test_a_run_stopped_twice_gives_the_weights_of_one_that_was_not(
    cli_here: Cli, pairs: Path, nano: Path, whole: Path, tmp_path: Path, environment: dict[str, str]
):
    words = command(pairs, nano, tmp_path / "stopped", whole / "latents", 18)
    for stop, left in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)):
        begun = checkpoints(tmp_path / "stopped")
        process = subprocess.Popen([sys.executable, "-m", "aftermath", *words], env=environment)
        deadline = time.monotonic() + 120
        while checkpoints(tmp_path / "stopped") == begun:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(process.pid, stop)
        assert process.wait() == left
    again = cli_here(*words, "--json")
    assert again.returncode == 0, again.stderr
    assert 6 <= json.loads(again.stdout)["begun"] < 18
    one, other = weights(whole / "run" / "model"), weights(tmp_path / "stopped" / "model")
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.long
def test_weights_divided_among_processes_learn_what_whole_ones_do(
    pairs: Path, nano: Path, whole: Path, tmp_path: Path, environment: dict[str, str]
):
    """FSDP, stopped and gone on with, against two processes that have all weights each."""
    divided = {
        "ACCELERATE_USE_FSDP": "true",
        "FSDP_VERSION": "2",
        "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
        "FSDP_TRANSFORMER_CLS_TO_WRAP": "CogVideoXBlock",
        "FSDP_STATE_DICT_TYPE": "SHARDED_STATE_DICT",
        "FSDP_RESHARD_AFTER_FORWARD": "true",
        "FSDP_CPU_RAM_EFFICIENT_LOADING": "true",
    }

    def run(
        name: str, steps: int, program: Sequence[str | Path], **more: str
    ) -> subprocess.CompletedProcess[str]:
        words = command(pairs, nano, tmp_path / name, whole / "latents", steps)
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
        return subprocess.run(
            [*launch, *program, *words, "--batch", "1"], env={**environment, "PYTHONWARNINGS": "", **more},
            capture_output=True, text=True, timeout=280,
        )  # fmt: skip

    on_processors = [Path(__file__).with_name("on_processors.py")]
    for name, steps, program, more in (
        ("whole", 6, ["-m", "aftermath"], {}),
        ("divided", 3, on_processors, divided),
        ("divided", 6, on_processors, divided),
    ):
        done = run(name, steps, program, **more)
        assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "divided" / "checkpoints" / "00000006").glob("mean-*-of-2.pt"))) == 2
    one, other = weights(tmp_path / "whole" / "model"), weights(tmp_path / "divided" / "model")
    assert one.keys() == other.keys()
    assert max(float((one[name].float() - other[name].float()).abs().max()) for name in one) < 1e-6


def checkpoints(run: Path) -> set[str]:
    return {path.name for path in (run / "checkpoints").glob("[0-9]" * 8)}


@pytest.mark.long
def test_a_vae_is_trained_and_a_transformer_of_our_own_on_it(cli_here: Cli, pairs: Path, tmp_path: Path):
    done = cli_here(
        "train", "nano_vae", str(pairs), "-o", str(tmp_path / "vae"), "--steps", "2", "--batch", "1", "--json",
        SIZE, "--set=crop=[32,32]", "--set=num_frames=5", "--set=validation_pairs=1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    vae = json.loads(done.stdout)["model"]
    assert 0.01 < json.loads((Path(vae) / "vae" / "config.json").read_text())["scaling_factor"] < 100
    begins = vae
    for patch in (2, 4):  # learns on small pictures, and goes on with large ones
        done = cli_here(
            "train", "nano_pass1", str(pairs), "-o", str(tmp_path / f"painter{patch}"), "--model", begins,
            "--steps", "1", "--batch", "1", "--set=validation_pairs=0", f"--set=patch={patch}",
            "--latents", str(tmp_path / "latents"), *SMALL, "--json",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        begins = json.loads(done.stdout)["model"]
        config = json.loads((Path(begins) / "transformer" / "config.json").read_text())
        assert config["patch_size"] == patch
    out = tmp_path / "out.mkv"
    clip = pairs / "pair-00"
    removed = cli_here(
        "remove", str(clip / "rgb_full.mp4"), "--quadmask", str(clip / "mask.mp4"), "--engine", "void",
        "--model", json.loads(done.stdout)["model"], "-o", str(out), "--prompt", "a square", "--codec", "ffv1",
    )  # fmt: skip
    assert removed.returncode == 0, removed.stderr
    assert "reads no words" in removed.stderr
    assert read_video(out).shape == (NUM_FRAMES, HEIGHT, WIDTH, 3)
    run = json.loads((tmp_path / "out.mkv.aftermath" / "run.json").read_text())
    assert run["render"]["passes"] == [{"number": 1, "steps": 1, "guidance": 1.0}]


@pytest.mark.long
def test_both_passes_of_the_published_shape_are_trained_and_painted_with(
    pairs: Path, tiny_model: Path, tmp_path: Path, cli_here: Cli
):
    small = {
        "sizes": ((HEIGHT, WIDTH),), "num_frames": NUM_FRAMES, "steps": 1, "precision": "no", "validation_pairs": 0,
        "learning_rate": 1e-3,
    }  # fmt: skip
    first = train(
        recipe_named("void_pass1", **small), pairs, tmp_path / "one", model=tiny_model, latents=tmp_path / "l"
    )
    second = train(
        recipe_named("void_pass2", **small),
        pairs,
        tmp_path / "two",
        model=first.model,
        latents=tmp_path / "l",
    )
    assert weights(first.model).keys() == weights(tiny_model).keys()
    assert any(
        (weights(first.model)[name].float() - value).abs().max() > 1e-4
        for name, value in weights(tiny_model).items()
    )
    # the second pass leaves the first as it was
    assert all(
        torch.equal(weights(second.model)[name], value) for name, value in weights(first.model).items()
    )
    two = load_file(second.model / "transformer_pass2" / "diffusion_pytorch_model.safetensors")
    assert any(not torch.equal(two[name], value) for name, value in weights(first.model).items())
    clip = pairs / "pair-01"
    removed = cli_here(
        "remove", str(clip / "rgb_full.mp4"), "--quadmask", str(clip / "mask.mp4"), "--engine", "void", "--passes", "2",
        "--model", str(second.model), "--prompt", "a square", "-o", str(tmp_path / "out.mp4"), "--steps", "1",
        "--model-width-px", "64", "--model-height-px", "48",
    )  # fmt: skip
    assert removed.returncode == 0, removed.stderr


@pytest.mark.long
def test_a_second_pass_keeps_the_first_that_painting_would_take(
    tiny_model: Path, pairs: Path, tmp_path: Path
):
    """From the base model with VOID's weights beside it, as they are published: the base's own transformer is none."""
    base = Path(shutil.copytree(tiny_model, tmp_path / "base"))
    index = json.loads((base / "model_index.json").read_text())
    (base / "model_index.json").write_text(json.dumps(index | {"_class_name": "CogVideoXFunInpaintPipeline"}))
    for number in (1, 2):
        save_file(
            {name: value + number / 8 for name, value in weights(tiny_model).items()},
            base / f"void_pass{number}.safetensors",
        )
    recipe = recipe_named(
        "void_pass2", sizes=((HEIGHT, WIDTH),), num_frames=NUM_FRAMES, steps=1, precision="no", validation_pairs=0,
    )  # fmt: skip
    done = train(recipe, pairs, tmp_path / "run", model=base, latents=tmp_path / "latents")
    expected = {name: (value + 1 / 8).bfloat16() for name, value in weights(tiny_model).items()}
    assert all(torch.equal(weights(done.model)[name].bfloat16(), expected[name]) for name in expected)
    pipe = load_pipeline(done.model, pass_number=2, text=False, dtype=torch.float32)
    moved = pipe.transformer.proj_out.bias - load_file(base / "void_pass2.safetensors")["proj_out.bias"]
    assert moved.abs().max() < 0.01


@pytest.mark.long
def test_a_lora_changes_little_and_is_merged_into_what_is_written(
    pairs: Path, tiny_model: Path, tmp_path: Path
):
    recipe = recipe_named(
        "void_pass1", sizes=((HEIGHT, WIDTH),), num_frames=NUM_FRAMES, steps=2, precision="no", lora_rank=2,
        validation_pairs=0, learning_rate=1e-2, warmup_steps=0,
    )  # fmt: skip
    done = train(recipe, pairs, tmp_path / "run", model=tiny_model, latents=tmp_path / "latents")
    before, after = weights(tiny_model), weights(done.model)
    changed = {name for name in before if not torch.equal(before[name].bfloat16(), after[name])}
    assert changed
    assert all(".attn1.to_" in name for name in changed)
    assert (done.model / "lora" / "pytorch_lora_weights.safetensors").is_file()


def test_a_vae_learns_by_an_addition_too(pairs: Path, nano: Path, tmp_path: Path):
    recipe = recipe_named(
        "nano_vae", sizes=((HEIGHT, WIDTH),), crop=(32, 32), num_frames=9, steps=2, precision="no", lora_rank=2,
        validation_pairs=1, learning_rate=1e-2, warmup_steps=0, ema=0.0,
    )  # fmt: skip
    done = train(recipe, pairs, tmp_path / "run", model=nano)
    name = "vae/diffusion_pytorch_model.safetensors"
    before, after = load_file(nano / name), load_file(done.model / name)
    assert before.keys() == after.keys()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed and all(re.fullmatch(r"decoder.*conv[12]\.conv\.weight", key) for key in changed)
    ranks = {
        int(torch.linalg.matrix_rank((after[key] - before[key]).flatten(1), rtol=1e-3)) for key in changed
    }
    assert max(ranks) <= 2


def test_latents_of_a_pair_that_was_made_anew_are_made_anew(copied: Path, nano: Path, tmp_path: Path):
    vae = load_pipeline(nano, text=False, dtype=torch.float32).vae
    recipe = nano_pass1(sizes=((HEIGHT, WIDTH),), num_frames=NUM_FRAMES)

    def encoded() -> tuple[torch.Tensor, int]:
        latents = Latents(tmp_path / "latents", vae, recipe, find_pairs(copied)[:1])
        latents.make(lambda *_: None)
        return latents.read(0)["truth"], latents.path(0).stat().st_mtime_ns

    first, when = encoded()
    assert encoded()[1] == when
    shutil.rmtree(copied / "pair-00")
    write_small_pair(copied / "pair-00", 77)
    second, later = encoded()
    assert later > when and not torch.equal(first, second)


def test_variants_are_mirrored_and_in_other_colours_and_all_twelve_differ(pairs: Path):
    pair = load_pair(find_pairs(pairs)[0])
    assert varied(pair, 0) is pair
    mirrored = varied(pair, 1)
    assert np.array_equal(np.sort(mirrored.truth[:, :, ::-1], axis=-1), np.sort(pair.truth, axis=-1))
    assert np.array_equal(np.stack(list(mirrored.quadmask))[:, :, ::-1], np.stack(list(pair.quadmask)))
    coloured = varied(pair, 2)
    assert np.array_equal(np.sort(coloured.source, axis=-1), np.sort(pair.source, axis=-1))
    assert len({varied(pair, number).source.tobytes() for number in range(12)}) == 12


def test_a_recipe_takes_words_for_what_they_mean(pairs: Path, nano: Path, tmp_path: Path):
    """A word that is only equal to a level is not that level to what asks for it; nobody would see it."""
    files, masks = find_pairs(pairs)[:1], []
    vae = load_pipeline(nano, text=False, dtype=torch.float32).vae
    for told in ({"levels": "four"}, {"levels": "two"}, {"regions": "object"}):
        recipe = nano_pass1(sizes=((HEIGHT, WIDTH),), num_frames=NUM_FRAMES, **told)
        latents = Latents(tmp_path / "latents", vae, recipe, files)
        latents.make(lambda *_: None)
        masks.append(latents.read(0)["mask"])
    assert not any(torch.equal(one, other) for one, other in combinations(masks, 2))
    with pytest.raises(InputError, match="levels five: must be one of two, three, four"):
        nano_pass1(levels="five")


def test_every_sample_comes_once_an_epoch_and_shapes_are_not_mixed():
    shapes = ["wide"] * 7 + ["tall"] * 4
    order = Order(shapes, 2, seed=3)
    epoch = [order.batch(step) for step in range(order.per_epoch)]
    assert {index for batch in epoch for index in batch} == set(range(11))
    assert all(len({shapes[index] for index in batch}) == 1 for batch in epoch)
    following = [order.batch(step) for step in range(order.per_epoch, 2 * order.per_epoch)]
    assert following != epoch
    assert epoch == [Order(shapes, 2, seed=3).batch(step) for step in range(order.per_epoch)]


class _NoGradient(torch.autograd.Function):
    """Its own number, but where ``bad`` a gradient that is none."""

    @staticmethod
    def forward(ctx, value: torch.Tensor, bad: bool) -> torch.Tensor:
        ctx.bad = bad
        return value.sum()

    @staticmethod
    def backward(ctx, *given: torch.Tensor):
        return given[0] * torch.full((1,), float("nan") if ctx.bad else 1.0), None


class _Breaking:
    """Its loss, or its gradient, is no number from step 5 on."""

    def __init__(self, what: str = "loss") -> None:
        class Loss(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.weight = torch.nn.Parameter(torch.ones(1))

            def forward(self, times: torch.Tensor) -> torch.Tensor:
                if what == "gradient":
                    return _NoGradient.apply(self.weight, bool(times.isnan()))
                return self.weight.sum() * times.sum()

        self.network: torch.nn.Module = Loss()

    def batch(self, step: int, rank: int, world: int) -> dict[str, torch.Tensor]:
        return {"times": torch.tensor([1.0 if step < 5 else float("nan")])}

    def validate(self, step: int) -> Sheet:
        return Sheet()

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        save_file({"weight": self.network.weight.detach()}, folder / "weight.safetensors")  # type: ignore[dict-item]


@pytest.mark.parametrize("what", ["loss", "gradient"])
@pytest.mark.parametrize("clip", [1.0, 0.0])
def test_what_is_no_number_stops_and_the_last_good_weights_are_kept(tmp_path: Path, what: str, clip: float):
    recipe = Recipe(
        name="breaking", steps=6, save_every=4, learning_rate=1e-2, precision="no", clip_gradient=clip  # type: ignore[arg-type]
    )  # fmt: skip
    with pytest.raises(TrainingDiverged, match=rf"step 5: the {what} is no number.*checkpoints/00000004"):
        fit(_Breaking(what), recipe, tmp_path)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["00000004"]
    assert torch.isfinite(load_file(tmp_path / "model" / "weight.safetensors")["weight"]).all()


def test_a_run_killed_between_its_last_checkpoint_and_its_model_writes_that_when_it_goes_on(tmp_path: Path):
    recipe = Recipe(name="breaking", steps=4, save_every=2, learning_rate=1e-2, precision="no")  # type: ignore[arg-type]
    model, second, last = (
        tmp_path / name for name in ("model", "checkpoints/00000002", "checkpoints/00000004")
    )
    fit(_Breaking(), recipe.changed(steps=2), tmp_path)
    early = load_file(model / "weight.safetensors")["weight"]
    shutil.copytree(model, tmp_path / "early")
    fit(_Breaking(), recipe, tmp_path)
    late = load_file(model / "weight.safetensors")["weight"]
    assert not torch.equal(early, late) and second.exists()
    # as a kill leaves it: the checkpoint is there, the model is still the one before
    shutil.rmtree(model)
    (tmp_path / "early").replace(model)
    (mark,) = (path for path in last.iterdir() if path.stat().st_size == 0)
    mark.unlink()
    assert fit(_Breaking(), recipe, tmp_path) == 4
    assert torch.equal(load_file(model / "weight.safetensors")["weight"], late)


def test_a_run_that_goes_on_keeps_what_was_logged(tmp_path: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    class Watched(_Breaking):
        def validate(self, step: int) -> Sheet:
            return Sheet({"height": float(step)})

    recipe = Recipe(name="breaking", steps=4, save_every=2, validate_every=2, precision="no")  # type: ignore[arg-type]
    for steps in (2, 4, 4):  # begun, gone on with, and called again when done
        fit(Watched(), recipe.changed(steps=steps), tmp_path)
    logged = EventAccumulator(str(tmp_path / "logs")).Reload().Scalars("validation/height")
    assert [(one.step, one.value) for one in logged] == [(2, 2.0), (4, 4.0)]


def test_a_full_disk_is_told_as_one_and_takes_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """torch's own words for it, and what the system says of the disk then."""

    def full(*_: object, **__: object) -> None:
        raise RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0")

    class Breaking(_Breaking):
        def save(self, folder: Path) -> None:
            folder.mkdir()
            (folder / "half").write_bytes(b"x")
            full()

    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))  # type: ignore[attr-defined]
    recipe = Recipe(name="breaking", steps=2, save_every=2, precision="no")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no room left on the disk; free some"):
        fit(Breaking(), recipe, tmp_path)
    assert not list(tmp_path.rglob("*part")) and not (tmp_path / "model").exists()
    monkeypatch.undo()
    with pytest.raises(RuntimeError, match="unexpected pos"):  # what is no full disk is not called one
        fit(Breaking(), recipe, tmp_path)


@pytest.fixture
def copied(pairs: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pairs, tmp_path / "copied", ignore=shutil.ignore_patterns(".latents")))


def _held_out(pairs: Path) -> None:
    (pairs / "pair-02" / "metadata.json").write_text(json.dumps({"seed": 1_000_007}))


def _other_size(pairs: Path) -> None:
    shutil.rmtree(pairs / "pair-02")
    other = write_small_pair(pairs / "other", 9, (80, 48))
    (other / "rgb_removed.mp4").unlink()
    shutil.copy(pairs / "pair-01" / "rgb_removed.mp4", other)


def _held_out_but_for_one_file(pairs: Path) -> None:
    (pairs / "pair-02" / "metadata.json").unlink()
    (pairs / "pair-02" / "scene.json").write_text(json.dumps({"seed": 1_000_007}))


def _gone(*names: str):
    def spoil(pairs: Path) -> None:
        for name in names:
            (pairs / "pair-02" / name).unlink()

    return spoil


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (_held_out, "1000000 to 1000999 are held out"),
        (_other_size, "all must be of one size"),
        (_held_out_but_for_one_file, "1000000 to 1000999 are held out"),
        (_gone("mask.mp4"), "a pair without mask.mp4"),
        (_gone("rgb_full.mp4"), "a pair without rgb_full.mp4"),
        (_gone("mask.mp4", "rgb_removed.mp4"), "a pair without rgb_removed.mp4"),
        (lambda pairs: [shutil.rmtree(pairs / f"pair-0{n}") for n in range(5)], "holds no pairs"),
    ],
)
def test_pairs_that_cannot_be_learnt_from_are_refused_before_anything_is_written(
    copied: Path, nano: Path, tmp_path: Path, spoil, expected: str
):
    spoil(copied)
    with pytest.raises(InputError, match=expected):
        train(nano_pass1(steps=1), copied, tmp_path / "run", model=nano)
    assert not (tmp_path / "run").exists()
    assert not (copied / ".latents").exists()


def test_bad_words_get_one_line(cli_here: Cli, pairs: Path, nano: Path, tmp_path: Path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "recipe.json").write_text(json.dumps({"name": "nano_vae"}))
    base = ["train", "nano_pass1", str(pairs), "-o", str(tmp_path / "run")]
    for words, expected in (
        (["train", "nano_pass3", str(pairs), "-o", "x"], "must be one of void_pass1, void_pass2, nano_vae"),
        (base, "train one with: aftermath train nano_vae"),
        ([*base, "--model", "nowhere"], "it must be a folder or file that is there"),
        ([*base, "--model", str(nano), "--steps", "0"], "must be 1 or more"),
        ([*base, "--model", str(nano), "--set", "size=3"], "NAME one of"),
        ([*base, "--model", str(nano), "--set", "sizes=[[191,336]]"], "multiples of 16"),
        ([*base, "--model", str(nano), "--set", "sizes=[192,336]"], "as [[192,336]]"),
        ([*base, "--model", str(nano), "--set", "seed=-1"], "must be 0 or more"),
        ([*base, "--model", str(nano), "--set", "weight_decay=-1"], "must be 0 or more"),
        ([*base, "--model", str(nano), "--set", "emphasis=NaN"], "must be 0 or more"),
        ([*base, "--model", str(nano), "--set", "levels=five"], "must be one of two, three, four"),
        ([*base, "--model", str(nano), "--set", "batch=1.5"], "must be like 4"),
    ):
        done = cli_here(*words)
        assert done.returncode == 2, (words, done.stderr)
        assert expected in done.stderr
        assert done.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_another_run_in_the_folder_and_another_shape_of_weights_are_refused(
    pairs: Path, nano: Path, tmp_path: Path
):
    small = {
        "sizes": ((HEIGHT, WIDTH),),
        "num_frames": NUM_FRAMES,
        "steps": 1,
        "validation_pairs": 0,
        "batch": 1,
    }
    latents = tmp_path / "latents"
    train(nano_pass1(**small), pairs, tmp_path / "run", model=nano, latents=latents)
    with pytest.raises(InputError, match=r"learning_rate 0.0005 there and 0.1 now"):
        train(nano_pass1(**small, learning_rate=0.1), pairs, tmp_path / "run", model=nano, latents=latents)
    broken = Path(shutil.copytree(nano, tmp_path / "broken"))
    path = broken / "transformer" / "diffusion_pytorch_model.safetensors"
    save_file({name: value[:1] for name, value in load_file(path).items()}, path)
    with pytest.raises(InputError, match=r"--model .*broken: .* has shape"):
        train(nano_pass1(**small), pairs, tmp_path / "run2", model=broken, latents=latents)
