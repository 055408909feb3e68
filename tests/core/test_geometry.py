import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aftermath.core import Box, Clip, Grid, fit_long_side, valid_length
from aftermath.errors import InputError

sides = st.integers(1, 300)
places = st.floats(-400, 700)


@st.composite
def boxes(draw) -> Box:
    x, y = draw(places), draw(places)
    return Box(x, y, x + draw(st.floats(0, 300)), y + draw(st.floats(0, 300)))


@given(st.integers(1, 10_000))
def test_a_valid_length_is_the_least_that_holds_the_clip(num):
    length = valid_length(num)
    assert length >= num and length % 8 == 5
    assert length == 5 or length - 8 < num
    assert ((length - 1) // 4 + 1) % 2 == 0  # latent frames come in pairs


@given(sides, sides, st.integers(0, 12), st.integers(0, 12), st.data())
def test_every_pixel_has_one_cell(width, height, rows, cols, data):
    grid = Grid(width, height, rows, cols)
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    row, col = grid.cell_of(x, y)
    assert 0 <= row < grid.rows and 0 <= col < grid.cols
    near = grid.box_of(row, col).grown(1e-6)
    assert near.contains(x, y)
    assert (rows or grid.rows, cols or grid.cols) == (grid.rows, grid.cols)


@given(st.integers(8, 60), st.integers(8, 60), st.integers(0, 2**32))
def test_snapping_grows_to_whole_cells_once(width, height, seed):
    grid = Grid(width, height)
    mask = np.random.default_rng(seed).random((height, width)) < 0.02
    snapped = grid.snap(mask)
    assert snapped.shape == mask.shape and not (mask & ~snapped).any()
    assert np.array_equal(grid.snap(snapped), snapped)
    assert snapped.any() == mask.any()
    touched = {grid.cell_of(x, y) for y, x in zip(*np.nonzero(mask), strict=True)}
    assert {grid.cell_of(x, y) for y, x in zip(*np.nonzero(snapped), strict=True)} == touched


def test_the_references_grid():
    grid = Grid(672, 384)
    assert (grid.cell_px, grid.rows, grid.cols) == (48, 8, 14)
    assert grid.box_of(7, 13) == Box(624, 336, 672, 384)
    # 14.2 columns of squares are 14 that are a little wider, not 15
    wide, upright = Grid(3840, 2160), Grid(1080, 1920)
    assert (wide.rows, wide.cols, upright.rows, upright.cols) == (8, 14, 14, 8)
    assert wide.box_of(0, 13) == Box(3565, 0, 3840, 270)


@given(boxes(), sides, sides)
def test_a_clipped_box_lies_in_the_picture(box, width, height):
    inside = box.clipped(width, height)
    assert 0 <= inside.x0 <= inside.x1 <= width and 0 <= inside.y0 <= inside.y1 <= height
    rows, cols = box.slices(width, height)
    assert 0 <= rows.start <= rows.stop <= height and 0 <= cols.start <= cols.stop <= width


@given(st.integers(1, 40), st.integers(1, 40), st.data())
def test_the_box_of_a_mask_is_the_tightest(width, height, data):
    x0, y0 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    x1, y1 = data.draw(st.integers(x0 + 1, width)), data.draw(st.integers(y0 + 1, height))
    mask = np.zeros((height, width), bool)
    mask[y0, x0] = mask[y1 - 1, x1 - 1] = True
    box = Box.of_mask(mask)
    assert (
        box is not None
        and box == Box(x0, y0, x1, y1)
        and box.slices(width, height) == (slice(y0, y1), slice(x0, x1))
    )
    assert Box.of_mask(np.zeros_like(mask)) is None


@given(boxes(), st.floats(0.25, 4), st.floats(0.25, 4), st.floats(-50, 50))
def test_boxes_scale_move_and_grow(box, sx, sy, d):
    scaled = box.scaled(sx, sy)
    assert scaled.width == pytest.approx(box.width * sx, abs=1e-6)
    assert scaled.center == pytest.approx((box.center[0] * sx, box.center[1] * sy), abs=1e-6)
    assert box.moved(d, -d).center == pytest.approx((box.center[0] + d, box.center[1] - d), abs=1e-6)
    assert box.grown(d).height == pytest.approx(box.height + 2 * d, abs=1e-6)


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(64, 2000))
def test_a_picture_is_fitted_and_never_enlarged(width, height, limit):
    fitted = fit_long_side(width, height, limit)
    assert max(fitted) <= limit or fitted == (width, height)
    assert fitted[0] <= width and fitted[1] <= height and min(fitted) >= 1
    if max(width, height) <= limit:
        assert fitted == (width, height)


def test_a_clip_knows_its_rate_and_scale():
    clip = Clip(np.zeros((5, 20, 30, 3), np.uint8), np.arange(5) / 12, 60, 80)
    assert (len(clip), clip.width, clip.height, clip.scale) == (5, 30, 20, (0.5, 0.25))
    assert clip.frame_rate == pytest.approx(12)
    assert Clip(clip.frames[:1], np.zeros(1), 30, 20).frame_rate == 24


@pytest.mark.parametrize(
    ("frames", "times"),
    [
        (np.zeros((0, 4, 4, 3), np.uint8), np.zeros(0)),
        (np.zeros((2, 4, 4, 3), np.uint8), np.zeros(3)),
        (np.zeros((2, 4, 4), np.uint8), np.zeros(2)),
        (np.zeros((2, 4, 4, 3), np.float32), np.zeros(2)),
    ],
)
def test_what_is_no_clip_is_refused(frames, times):
    with pytest.raises(InputError):
        Clip(frames, times, 4, 4)
