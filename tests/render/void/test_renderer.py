"""``aftermath remove --engine void``, whole, with a tiny model of random weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra void is not installed")

from tiny import save_tiny_model

from aftermath.core import Level
from aftermath.media.masks import read_masks
from aftermath.media.planes import planes_of
from aftermath.media.video import probe, read_frames
from conftest import Cli
from small_clip import BOX


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model"))


def remove(cli: Cli, clip: Path, output: Path, model: Path, *more: object) -> dict[str, object]:
    """Run it at 96x64 with two steps; what ``--json`` says."""
    size = ("--model-width-px", 96, "--model-height-px", 64, "--steps", 2, "--prompt", "an empty table")
    done = cli("remove", clip, "-o", output, "--engine", "void", "--model", model, *size, *more, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(("passes", "size", "box"), [(2, (), BOX), (1, (121, 91, 100), "23,30,47,64")])
def test_a_clip_comes_back_with_its_own_size_and_length(
    passes: int,
    size: tuple[int, ...],
    box: str,
    cli: Cli,
    make_clip: Callable[..., Path],
    model: Path,
    tmp_path: Path,
):
    """One is much shorter than the model's window, the other longer and of odd size; what is kept is the source's."""
    clip, output = make_clip("clip.mp4", *size), tmp_path / "out.mkv"
    told = remove(cli, clip, output, model, "--passes", passes, "--box", box, "--codec", "ffv1")
    assert told["engine"] == "void"
    before, after = probe(clip), probe(output)
    assert (after.width, after.height, after.frame_rate) == (before.width, before.height, before.frame_rate)
    pairs = list(
        zip(read_frames(clip), read_frames(output), read_masks(Path(str(told["quadmask"]))), strict=True)
    )
    assert len(pairs) == (size[2] if size else 12)
    for source, result, levels in pairs:
        differs = planes_of(source.picture)[0] != planes_of(result.picture)[0]
        kept = levels == Level.KEEP
        assert differs[~kept].mean() > 0.5
        assert not differs[kept].any()


def test_the_seed_and_the_guidance_decide(cli: Cli, clip: Path, model: Path, tmp_path: Path):
    found = []
    for name, more in (("a", ("--seed", 1)), ("b", ("--seed", 1)), ("c", ("--seed", 1, "--guidance", 7))):
        remove(cli, clip, tmp_path / f"{name}.mkv", model, "--box", BOX, "--codec", "ffv1", *more)
        found.append(np.stack([frame.rgb() for frame in read_frames(tmp_path / f"{name}.mkv")]))
    assert np.array_equal(found[0], found[1]) and not np.array_equal(found[0], found[2])


def test_a_model_that_is_none_is_one_clear_line(cli: Cli, clip: Path, tmp_path: Path):
    done = cli(
        "remove",
        clip,
        "--box",
        BOX,
        "-o",
        tmp_path / "out.mp4",
        "--engine",
        "void",
        "--model",
        tmp_path / "no",
    )
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) <= 2
    assert not (tmp_path / "out.mp4").exists()
