import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aftermath.scene.plate import build_plate, exposure_gains, masked_median, sample_indices
from scenes import BLUE, GREEN, NUM, RED, Drawn, Thing, line

WAYS = {
    "passes": line((0, -30, 60), (31, 350, 60)),
    "comes and rests": line((0, -20, 60), (6, -20, 60), (16, 230, 60)),
    "rests and leaves": line((0, 160, 60), (16, 160, 60), (26, 345, 60)),
    "rests long and leaves": line((0, 160, 60), (22, 160, 60), (30, 345, 60)),
    "rests on the way": line((0, -30, 60), (6, 160, 60), (18, 160, 60), (26, 345, 60)),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_the_plate_shows_nothing_that_moves(way):
    drawn = Drawn({"thing": Thing(way, BLUE, (36, 36))})
    empty = drawn.without("thing").clip.frames[0]
    everywhere = np.ones((NUM, 180, 320), bool)
    plate = build_plate(drawn.clip.frames, everywhere)
    assert plate.seen.all()
    off = np.abs(plate.image.astype(int) - empty).max(axis=-1)
    assert (off > 25).sum() < 20  # a disc has a thousand pixels
    assert 0.5 < plate.noise < 5


@pytest.mark.parametrize("num", [5, 10])
def test_what_comes_and_goes_with_the_object_is_no_background(num):
    """At both ends of the clip the object stands beside a patch, and a limb that its mask misses lies on it."""
    bare = Drawn({}, num=32).clip.frames
    frames, beside = bare.copy(), np.zeros(bare.shape[:3], bool)
    for t in (*range(num), *range(32 - num, 32)):
        frames[t, 80:100, 100:140] = (225, 215, 200)
        beside[t, 60:140, 60:200] = True
    everywhere = np.ones(beside.shape, bool)

    def off(plate: np.ndarray) -> int:
        return int((np.abs(plate.astype(int) - bare[15]).max(axis=-1) > 25).sum())

    assert off(build_plate(frames, everywhere).image) > 600
    assert off(build_plate(frames, everywhere, beside).image) < 20


def test_what_is_always_masked_is_not_seen():
    frames = Drawn({}, num=6).clip.frames
    valid = np.ones(frames.shape[:3], bool)
    valid[:, 20:40, 50:90] = False
    plate = build_plate(frames, valid)
    assert np.array_equal(~plate.seen, ~valid[0])
    assert (plate.image[30, 60] == 0).all()


def test_a_change_of_exposure_is_measured_though_things_move():
    gains = np.ones((NUM, 3), np.float32)
    gains[10:] = (1.2, 1.1, 0.9)
    things = {
        "a": Thing(line((0, 0, 60), (31, 320, 60)), RED, (60, 60)),
        "b": Thing(line((0, 200, 130)), GREEN),
    }
    frames = Drawn(things, gains=gains).clip.frames
    found = exposure_gains(frames, np.ones(frames.shape[:3], bool), frames[3])
    assert found == pytest.approx(gains, abs=0.02)
    assert (found[:10] == 1).all()  # exactly one where nothing changed


@settings(max_examples=50)
@given(num=st.integers(1, 400), limit=st.integers(1, 60))
def test_samples_are_spread_over_the_whole_clip(num, limit):
    index = sample_indices(num, limit)
    assert len(index) <= min(num, limit) and (np.diff(index) > 0).all()
    assert index[0] == 0 and (index[-1] == num - 1 or limit == 1)


@settings(max_examples=50)
@given(num=st.integers(1, 7), seed=st.integers(0, 1000))
def test_a_masked_median_is_the_median_of_what_counts(num, seed):
    random = np.random.default_rng(seed)
    values = random.integers(0, 256, (num, 3, 4, 2), np.uint8)
    valid = random.random((num, 3, 4)) < 0.6
    found = masked_median(values, valid)
    for y, x in np.ndindex(3, 4):
        used = np.sort(values[valid[:, y, x], y, x], axis=0)
        expected = used[(len(used) - 1) // 2] if len(used) else np.zeros(2)
        assert np.array_equal(found[y, x], expected)
