from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from aftermath.composite import blend_weight, seam_width_px
from aftermath.core import Level

levels_of_any_size = arrays(
    np.uint8,
    st.tuples(st.integers(1, 24), st.integers(1, 24)),
    elements=st.sampled_from([int(level) for level in Level]),
)


@given(levels_of_any_size, st.floats(0, 20))
def test_changed_pixels_get_a_weight_and_no_others(levels: np.ndarray, feather_px: float) -> None:
    weight = blend_weight(levels, feather_px)
    assert weight.dtype == np.float32
    assert weight.shape == levels.shape
    assert (weight[levels == Level.KEEP] == 0).all()
    assert (weight[levels != Level.KEEP] > 0).all()
    assert (weight[levels <= Level.OVERLAP] == 1).all()
    assert weight.max(initial=0) <= 1


def test_the_seam_rises_inwards_over_the_feather() -> None:
    levels = np.full((40, 60), Level.KEEP, np.uint8)
    levels[10:30, 10:50] = Level.AFFECTED
    weight = blend_weight(levels, 4)
    np.testing.assert_allclose(weight[20, 8:16], [0, 0, 0.2, 0.4, 0.6, 0.8, 1, 1], atol=1e-6)


def test_there_is_no_seam_along_the_border_of_the_picture() -> None:
    levels = np.full((40, 60), Level.KEEP, np.uint8)
    levels[:, :30] = Level.AFFECTED
    weight = blend_weight(levels, 4)
    assert (weight[[0, -1], :20] == 1).all()
    assert (weight[:, 0] == 1).all()
    assert (weight[:, 29] < 1).all()


def test_a_frame_that_changes_as_a_whole_has_no_seam() -> None:
    assert (blend_weight(np.full((9, 7), Level.AFFECTED, np.uint8), 5) == 1).all()


def test_no_feather_is_a_hard_edge() -> None:
    levels = np.array([[255, 127, 0, 63, 255]], np.uint8)
    assert blend_weight(levels, 0).tolist() == [[0, 1, 1, 1, 0]]


@pytest.mark.parametrize("size", [(3840, 2160), (2160, 3840)])
def test_the_seam_grows_with_the_picture(size: tuple[int, int]) -> None:
    assert seam_width_px(3, *size) == 2 * seam_width_px(3, 1920, 1080) == 6
