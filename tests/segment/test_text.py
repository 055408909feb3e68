"""Words to boxes: the real classes with tiny random weights, and what is made of what a model sees."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from aftermath.core import Box, Clip
from aftermath.errors import InputError, WeightsError
from aftermath.segment import text
from aftermath.segment.text import Match, TextFinder, chosen, phrases, picture

SIZE = (60, 90)


def noise(num_frames: int = 1) -> Clip:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (num_frames, *SIZE, 3), dtype=np.uint8)
    frames[:, 0, 0] = np.arange(num_frames)[:, None]  # tells which frame it is
    return Clip(frames, np.arange(num_frames) / 24, SIZE[1], SIZE[0])


@dataclass
class Eye:
    """Sees what the test says, by frame and phrase."""

    things: dict[tuple[int, str], list[tuple[Box, float, None]]]
    looked: list[tuple[int, str]] = field(default_factory=list)

    def look(self, picture: np.ndarray, phrase: str) -> list[text.Seen]:
        frame = int(picture[0, 0, 0])
        self.looked.append((frame, phrase))
        return list(self.things.get((frame, phrase), []))


def finder(eye: Eye) -> TextFinder:
    found = TextFinder()
    found._eye = eye
    return found


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ("the man in red and his bike", ("man in red", "bike")),
        ("A Cat, a dog. the  cat", ("cat", "dog")),
        ("the black and white dog and a sand castle", ("black and white dog", "sand castle")),
        ("anderson's handbag", ("anderson's handbag",)),
        ("all the balls & the box;", ("balls", "box")),
        ("der rote Ball", ("der rote ball",)),
    ],
)
def test_a_text_names_things(said: str, named: tuple[str, ...]) -> None:
    assert phrases(said) == named


@pytest.mark.parametrize("said", ["", "  ", "the", ". , and", "x" * 201])
def test_a_text_that_names_nothing_or_is_too_long_is_refused(said: str) -> None:
    with pytest.raises(InputError, match="must"):
        phrases(said)


def test_each_phrase_has_its_matches_best_first_and_each_thing_once() -> None:
    same = Box(11, 10, 31, 30)
    eye = Eye(
        {
            (0, "cat"): [
                (same, 0.5, None),
                (Box(10, 10, 30, 30), 0.7, None),
                (Box(50, 5, 99, 70), 0.4, None),
            ],
            (0, "dog"): [(same, 0.6, None), (Box(95, 0, 99, 9), 0.9, None)],
        }
    )
    found = finder(eye).find(noise(), "a cat and a dog")
    assert found == (
        Match(Box(10, 10, 30, 30), 0.7, "cat", 0),
        Match(same, 0.6, "dog", 0),
        Match(Box(50, 5, 90, 60), 0.4, "cat", 0),  # clipped to the picture; what lies outside is none
    )
    assert chosen(found) == found[:2]
    assert chosen(found, (3, 1, 3)) == (found[2], found[0])
    for pick in (0, 4):
        with pytest.raises(InputError, match="1 to 3"):
            chosen(found, (pick,))


def test_other_frames_are_looked_at_for_what_the_first_lacks() -> None:
    box = Box(10, 10, 30, 30)
    eye = Eye({(0, "cat"): [(box, 0.5, None)], (16, "dog"): [(box, 0.9, None)]})
    found = finder(eye).find(noise(41), "cat, dog")
    assert [(m.phrase, m.frame) for m in found] == [("dog", 16), ("cat", 0)]
    assert eye.looked == [(0, "cat"), (0, "dog"), (8, "dog"), (16, "dog")]
    with pytest.raises(InputError) as raised:
        finder(eye).find(noise(41), "cat, bird")
    line = str(raised.value)
    assert "'bird'" in line and "frames 0, 8, 16, 24, 32, 40" in line and "--box" in line
    with pytest.raises(InputError, match="'dog': nothing fits it on frame 3;"):
        finder(eye).find(noise(41), "dog", frames=[3])
    with pytest.raises(InputError, match="frame 41: must be one of the clip's, 0 to 40"):
        finder(eye).find(noise(41), "dog", frames=[0, 41])


def test_the_picture_shows_every_number_and_none_over_another(monkeypatch: pytest.MonkeyPatch) -> None:
    places: list[text._Place] = []
    label = text._label

    def watched(out: np.ndarray, told: str, place: text._Place, *rest) -> None:
        places.append(place)
        label(out, told, place, *rest)

    monkeypatch.setattr(text, "_label", watched)
    frame = np.full((360, 640, 3), 90, np.uint8)
    same = [Match(Box(100, 100, 300, 280), 0.9 - i / 100, "cat", 0) for i in range(14)]
    edge = [Match(Box(0, 0, 640, 360), 0.3, "all", 0), Match(Box(630, 350, 640, 360), 0.3, "dot", 0)]
    shown = picture(frame, [*same, *edge])
    assert shown.shape == frame.shape and shown.dtype == np.uint8 and (frame == 90).all()
    assert len(places) == 16
    for at, one in enumerate(places):
        assert one[0] >= 0 and one[1] >= 0 and one[2] <= 640 and one[3] <= 360
        assert not any(text._overlap(one, other) for other in places[:at])
        inside = shown[one[1] : one[3], one[0] : one[2]].astype(int)
        assert inside.max() - inside.min() > 200 and one[3] - one[1] >= 24  # dark on light, and large
    assert picture(np.zeros((9, 5, 3), np.uint8), same[:3]).shape == (9, 5, 3)
    assert (picture(frame, []) == frame).all()


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    pytest.importorskip("transformers", reason="the extra sam is not installed")
    from tiny_models import save_dino, save_sam3

    folder = tmp_path_factory.mktemp("text")
    return {"dino": save_dino(folder / "dino"), "sam3": save_sam3(folder / "sam3")}


@pytest.mark.usefixtures("one_thread")
def test_grounding_dino_gives_boxes(models: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(text._LEAST, "dino", 0.0)
    seen = TextFinder(str(models["dino"])).find(noise(), "the man and a bike")
    assert {match.phrase for match in seen} == {"man", "bike"}
    assert all(a.score >= b.score for a, b in pairwise(seen))
    for match in seen:
        assert match.mask is None and match.frame == 0 and 0 <= match.score <= 1
        assert 0 <= match.box.x0 < match.box.x1 <= SIZE[1] and 0 <= match.box.y0 < match.box.y1 <= SIZE[0]
    assert seen == TextFinder(str(models["dino"]), device="cpu").find(noise(), "the man and a bike")
    monkeypatch.setitem(text._LEAST, "dino", 1.0)
    with pytest.raises(InputError, match="'man'"):
        TextFinder(str(models["dino"])).find(noise(3), "man")


@pytest.mark.usefixtures("one_thread")
def test_dino_is_asked_in_its_own_form_and_its_boxes_are_the_pictures(models: dict[str, Path]) -> None:
    import torch

    found = TextFinder(str(models["dino"]))
    eye = found._ready()
    asked: list[list[int]] = []

    class Told:
        logits = torch.full((1, 2, 256), -20.0)
        pred_boxes = torch.tensor([[[0.5, 0.5, 0.2, 0.4], [0.1, 0.1, 0.1, 0.1]]])

    def model(input_ids: torch.Tensor, pixel_values: torch.Tensor, **_: object) -> Told:
        asked.append(input_ids[0].tolist())
        assert pixel_values.dtype == torch.float32
        return Told()

    Told.logits[0, 0, 1] = 2.0
    object.__setattr__(eye, "model", model)
    (match,) = found.find(noise(), "the Man")
    assert asked == [[2, 7, 5, 3]]  # [CLS] man . [SEP]
    expected = Box(36, 18, 54, 42)
    assert np.allclose([*vars(match.box).values()], [*vars(expected).values()], atol=1e-4)
    assert match.score == pytest.approx(1 / (1 + np.exp(-2.0)))


@pytest.mark.usefixtures("one_thread")
def test_sam3_gives_masks(models: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(text._LEAST, "sam3", 0.0)
    seen = TextFinder(str(models["sam3"])).find(noise(), "man")
    assert seen
    for match in seen:
        assert match.mask is not None and match.mask.shape == SIZE and match.mask.dtype == bool
        assert Box.of_mask(match.mask) == match.box
    with pytest.raises(InputError, match="at most 32"):
        TextFinder(str(models["sam3"])).find(noise(), "x " * 40)


def test_weights_that_cannot_be_used_are_told_in_one_line(
    models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    def refused(model: Path | str) -> str:
        with pytest.raises(WeightsError) as raised:
            TextFinder(str(model), offline=True).find(noise(), "cat")
        assert "\n" not in str(raised.value)
        return str(raised.value)

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    assert "aftermath models download IDEA-Research/grounding-dino-tiny" in refused("")
    folder = tmp_path / "copy"
    shutil.copytree(models["dino"], folder)
    (folder / "config.json").write_text('{"model_type": "sam2_video"}')
    assert "kind sam2_video" in refused(folder) and "grounding-dino" in refused(folder)
    (folder / "config.json").unlink()
    assert "config.json: no such file" in refused(folder)
    shutil.copy(models["dino"] / "config.json", folder)
    for file in folder.glob("*token*"):
        file.unlink()
    assert "no tokenizer" in refused(folder)
