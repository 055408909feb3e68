"""What becomes of a clip before the model, against what the reference made of the same pictures."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="the extra void is not installed")

from tiny import CASES, golden  # noqa: E402

from aftermath.core import Box  # noqa: E402
from aftermath.render.void.frames import (  # noqa: E402
    focus_box,
    model_quadmask,
    model_size,
    model_video,
    padded,
    padded_indices,
    source_frame,
)


def test_every_length_is_padded_as_the_reference_does():
    pattern, seen = re.compile(r"temporal_padding\.min(\d+)\.max(\d+)\.len(\d+)"), 0
    for key, expected in golden("preprocess_io").items():
        if match := pattern.fullmatch(key):
            least, most, length = map(int, match.groups())
            assert padded_indices(length, least, most).tolist() == expected.tolist(), key
            seen += 1
    assert seen > 10


@pytest.mark.parametrize("tag", CASES["preprocess_io"])
def test_pictures_and_masks_are_resized_as_the_reference_does(tag: str):
    case, tensors = CASES["preprocess_io"][tag], golden("preprocess_io")
    pictures, masks = (tensors[f"load.{tag}.{name}"].numpy() for name in ("raw_video", "raw_mask"))
    masks = masks[..., 0] if masks.ndim == 4 else masks
    most, size = case["max_video_length"], tuple(case["sample_size"])
    whole = Box(0, 0, pictures.shape[2], pictures.shape[1])
    num = min(len(pictures), most)
    places = padded_indices(len(pictures), case["temporal_window_size"], most)
    video = torch.stack(list(padded(model_video(pictures, size, whole), num, places))).transpose(0, 1)
    assert (video - tensors[f"load.{tag}.video"][0]).abs().max() < 1e-6
    quadmask = torch.stack(list(padded(model_quadmask(masks, size, whole), num, places)))
    assert torch.equal((255 - quadmask.float()) / 255, tensors[f"load.{tag}.mask"][0, 0])


@given(num=st.integers(1, 40), least=st.integers(1, 60))
def test_a_stream_is_padded_as_a_list_is(num: int, least: int):
    places = padded_indices(num, least, 200)
    assert list(padded(iter(range(num)), num, places)) == places.tolist()


def seen(*boxes: tuple[int, int, int, int], size: tuple[int, int] = (216, 384)) -> list[np.ndarray]:
    """Frames of ``size``, in each of which one box (x0, y0, x1, y1) changes."""
    frames = []
    for x0, y0, x1, y1 in boxes:
        frames.append(np.zeros(size, bool))
        frames[-1][y0:y1, x0:x1] = True
    return frames


def test_the_model_sees_what_changes_and_what_is_round_it():
    """A 4K picture analysed at a tenth: both places of the thing, as much again on each side, in 7 to 4."""
    box = focus_box(seen((100, 100, 120, 110), (160, 100, 180, 110)), (384, 672), 3840, 2160)
    assert (box.x0, box.x1) == (600, 2200)
    assert box.width / box.height == pytest.approx(672 / 384, rel=0.01)
    assert box.y0 < 1000 < 1100 < box.y1


def test_what_is_seen_is_never_enlarged_and_never_leaves_the_picture():
    box = focus_box(seen((0, 0, 3, 3)), (384, 672), 3840, 2160)
    assert (box.x0, box.y0, box.width, box.height) == (0, 0, 672, 384)


@pytest.mark.parametrize("changed", [seen((20, 20, 350, 200)), seen((0, 0, 0, 0))])
def test_where_most_changes_or_nothing_the_model_sees_all(changed: list[np.ndarray]):
    assert focus_box(changed, (384, 672), 3840, 2160) == Box(0, 0, 3840, 2160)


def test_an_upright_clip_is_painted_upright():
    assert model_size(3840, 2160, (384, 672)) == (384, 672)
    assert model_size(1080, 1920, (384, 672)) == (672, 384)


def test_a_painted_frame_comes_back_at_the_source_s_size():
    picture = np.random.default_rng(0).integers(0, 256, (31, 45, 3), np.uint8)
    (frame,) = model_video([picture], (31, 45), Box(0, 0, 45, 31))
    assert np.array_equal(source_frame(frame, Box(0, 0, 45, 31), 45, 31), picture)


def test_a_part_comes_back_to_its_place():
    picture, part = np.random.default_rng(0).integers(1, 256, (31, 45, 3), np.uint8), Box(8, 4, 40, 20)
    (frame,) = model_video([picture], (16, 32), part)
    again = source_frame(frame, part, 45, 31)
    assert np.array_equal(again[4:20, 8:40], picture[4:20, 8:40])
    assert again.astype(bool).sum() == 16 * 32 * 3
