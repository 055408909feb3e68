"""The committed examples are what `examples/render.py` and the README say they are."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from aftermath.core import Box, Level, Quadmask

FOLDER = Path(__file__).parents[2] / "examples"
NAMES = ("collision", "control", "passer", "support")
VIDEOS = ("input_video.mp4", "quadmask_0.mp4", "rgb_removed.mp4")


@dataclass(frozen=True)
class Example:
    """One example folder, read as any other program would: straight through PyAV."""

    folder: Path
    truth: dict[str, Any]
    quadmask: np.ndarray

    def video(self, name: str) -> np.ndarray:
        return _decode(self.folder / name, "rgb24")


def _decode(path: Path, pixel_format: str) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format=pixel_format) for frame in container.decode(video=0)])


@pytest.fixture(scope="module", params=NAMES)
def example(request: pytest.FixtureRequest) -> Example:
    folder = FOLDER / request.param
    truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    return Example(folder, truth, _decode(folder / "quadmask_0.mp4", "gray"))


def test_all_three_videos_have_one_size_length_and_rate(example: Example) -> None:
    for name in VIDEOS:
        with av.open(str(example.folder / name)) as container:
            stream = container.streams.video[0]
            assert (stream.width, stream.height, stream.average_rate) == (672, 384, 24)
            assert stream.frames == example.truth["num_frames"]
    assert 49 <= example.truth["num_frames"] <= 85
    assert len(example.quadmask) == example.truth["num_frames"]


def test_files_are_small_and_the_prompt_is_the_reference_s(example: Example) -> None:
    assert all((example.folder / name).stat().st_size < 1_500_000 for name in VIDEOS)
    prompt = json.loads((example.folder / "prompt.json").read_text(encoding="utf-8"))
    assert list(prompt) == ["bg"] and prompt["bg"]


def test_the_quadmask_holds_exactly_the_four_levels(example: Example) -> None:
    assert set(np.unique(example.quadmask)) <= {int(level) for level in Level}
    quadmask = Quadmask(example.quadmask)
    assert quadmask.primary.any() and quadmask.affected.any()
    assert not quadmask.affected[0].any()


def test_the_box_covers_the_object(example: Example) -> None:
    removed = example.truth["removed"]
    assert Box.of_mask(example.quadmask[removed["frame"]] <= Level.OVERLAP) == Box(*removed["box"])


def test_outside_the_changed_region_both_worlds_look_alike(example: Example) -> None:
    some = slice(8, None, 8)
    keep = example.quadmask[some] == Level.KEEP
    one, other = (example.video(name)[some].astype(int) for name in ("input_video.mp4", "rgb_removed.mp4"))
    difference = np.abs(one - other)
    assert difference[keep].mean() < 2
    assert difference[~keep].mean() > 10


def test_things_differ_between_the_worlds_only_where_they_are_affected(example: Example) -> None:
    for thing in example.truth["things"]:
        pairs = zip(thing["centers_source"], thing["centers_removed"], strict=True)
        apart = [np.hypot(a[0] - b[0], a[1] - b[1]) for a, b in pairs if a and b]
        assert (max(apart) > 20) == thing["affected"] == (thing["action"] != "none")
        assert Box(*thing["box"]).contains(thing["click"]["x"], thing["click"]["y"])


def test_what_each_example_is_about() -> None:
    actions = {
        name: [thing["action"] for thing in json.loads((FOLDER / name / "truth.json").read_text())["things"]]
        for name in NAMES
    }
    assert actions == {"collision": ["stays"], "control": ["none"], "passer": [], "support": ["falls"]}


def test_only_the_collision_has_sound_and_it_clicks_at_the_blow() -> None:
    for name in NAMES:
        with av.open(str(FOLDER / name / "input_video.mp4")) as container:
            assert bool(container.streams.audio) == (name == "collision")
    with av.open(str(FOLDER / "collision" / "input_video.mp4")) as container:
        rate = container.streams.audio[0].rate
        sound = np.concatenate([f.to_ndarray().mean(axis=0) for f in container.decode(audio=0)])
    centers = json.loads((FOLDER / "collision" / "truth.json").read_text())["things"][0]["centers_source"]
    moved = next(t for t, (x, _) in enumerate(centers) if x > centers[0][0] + 0.5)
    assert abs(np.abs(sound).argmax() / rate * 24 - moved) < 2
    assert abs(len(sound) / rate - len(centers) / 24) < 0.1
