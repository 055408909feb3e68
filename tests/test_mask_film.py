"""The film that `aftermath mask` leaves to be looked at."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from aftermath.core import Level
from aftermath.media.masks import read_masks
from aftermath.media.video import read_frames
from aftermath.preview import LEVEL_COLOURS
from conftest import Cli
from small_clip import BOX, FRAMES, HEIGHT, WIDTH

LEGEND_PX = 22
SCALE = 4  # a picture 160 wide is shown 640 wide
WAY = (90, 230, 255)


def film_of(output: Path) -> np.ndarray:
    """The frames, uint8 (T, H, W, 3)."""
    return np.stack([f.rgb() for f in read_frames(output.with_name("q.mkv.aftermath") / "mask_preview.mp4")])


def like(pixels: np.ndarray, colour: tuple[int, int, int]) -> float:
    """Share of the pixels (N, 3) whose hue is that of ``colour``, which lies over grey."""
    tint = pixels.astype(float) - pixels.mean(axis=-1, keepdims=True)
    wanted = np.array(colour) - np.mean(colour)
    length = np.linalg.norm(tint, axis=-1)
    return float(((tint @ wanted) > 0.9 * np.linalg.norm(wanted) * length)[length > 20].sum() / len(pixels))


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "q.mkv"


def test_the_film_shows_the_quadmask_in_its_colours(cli_here: Cli, clip: Path, output: Path) -> None:
    way = "vase: 46,62@0 90,62@4 130,100@9"  # of the red thing that stands there
    done = cli_here("mask", clip, "--box", "80,90,96,108", "--trajectory", way, "-o", output)
    assert done.returncode == 0, done.stderr
    film, levels = film_of(output), np.stack(list(read_masks(output)))
    assert len(film) == FRAMES
    assert film.shape[2] == WIDTH * SCALE
    assert film.shape[1] > LEGEND_PX + HEIGHT * SCALE
    picture = film[:, LEGEND_PX : LEGEND_PX + HEIGHT * SCALE]
    large = levels.repeat(SCALE, axis=1).repeat(SCALE, axis=2)
    for level in (Level.PRIMARY, Level.AFFECTED):
        here = large == level
        assert here.any()
        assert like(picture[here], LEVEL_COLOURS[level]) > 0.6, level
        assert like(picture[large == Level.KEEP], LEVEL_COLOURS[level]) < 0.1, level
    on_way = picture[:, 60 * SCALE : 64 * SCALE, 65 * SCALE : 85 * SCALE].astype(int)
    assert (np.abs(on_way - WAY).max(axis=-1) < 60).any(axis=(1, 2)).all()


def test_an_upright_clip_with_nothing_found(
    cli_here: Cli, make_clip: Callable[..., Path], output: Path
) -> None:
    plan = output.with_name("plan.json")
    plan.write_text('{"affected_objects": []}')
    clip = make_clip("upright.mp4", 96, 240, 8)
    done = cli_here("mask", clip, "--box", "16,80,40,166", "--plan", plan, "-o", output)
    assert done.returncode == 0, done.stderr
    film = film_of(output)
    assert len(film) == 8
    height, width = film.shape[1:3]
    assert width == 640  # room for the captions, the picture in the middle
    assert 1280 < height < 1400
    shown = film[4, LEGEND_PX : LEGEND_PX + 1280]
    assert np.ptp(shown[:, :50].astype(int)) < 30  # paper beside it
    assert like(shown[600:700, 200:260].reshape(-1, 3), LEVEL_COLOURS[Level.PRIMARY]) > 0.6
    assert film[4, LEGEND_PX + 1290 :].max() > 180  # and it says that nothing else would be different


def test_many_findings_are_all_named(cli_here: Cli, clip: Path, output: Path) -> None:
    thing = {"category": "physical", "why": "it was held by the object " * 9, "applied": False}
    things = [{**thing, "noun": f"thing {n}", "id": f"t{n}", "action": "falls"} for n in range(10)]
    plan = output.with_name("plan.json")
    plan.write_text(json.dumps({"affected_objects": things}))
    done = cli_here("mask", clip, "--box", BOX, "--plan", plan, "-o", output)
    assert done.returncode == 0, done.stderr
    below = film_of(output)[0, LEGEND_PX + HEIGHT * SCALE :]
    bright = below.max(axis=(1, 2)) > 110
    assert (np.diff(bright.astype(int)) == 1).sum() in (10, 11, 20, 21)  # a line each; g may stand apart
    assert below[:, -8:].max() < 60  # and none runs out of the picture
