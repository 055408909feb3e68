"""What becomes of a clip before the model, against what the reference made of the same pictures."""

from __future__ import annotations

import re

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra void is not installed")

from tiny import CASES, golden  # noqa: E402

from aftermath.render.void.frames import (  # noqa: E402
    model_quadmask,
    model_size,
    model_video,
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
    places = padded_indices(len(pictures), case["temporal_window_size"], most)
    video = model_video(pictures[:most], size)[places].permute(1, 0, 2, 3)
    assert (video - tensors[f"load.{tag}.video"][0]).abs().max() < 1e-6
    quadmask = model_quadmask(masks[:most], size)[places]
    assert torch.equal((255 - quadmask.float()) / 255, tensors[f"load.{tag}.mask"][0, 0])


def test_an_upright_clip_is_painted_upright():
    assert model_size(3840, 2160, (384, 672)) == (384, 672)
    assert model_size(1080, 1920, (384, 672)) == (672, 384)


def test_a_painted_frame_comes_back_at_the_source_s_size():
    picture = np.random.default_rng(0).integers(0, 256, (31, 45, 3), np.uint8)
    again = source_frame(model_video([picture], (31, 45))[0], 45, 31)
    assert np.array_equal(again, picture)
