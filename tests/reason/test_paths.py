import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aftermath.reason.paths import falling_path, going_on_path

PULL = 9.81 / 1.5  # picture heights per second squared, in a picture 1.5 m high


def test_falling_is_half_g_t_squared_until_it_lands():
    path = falling_path((50, 20), drop_px=100, first=4, num_frames=40, frame_rate=24, pull_px_s2=PULL * 180)
    assert np.isnan(path[:4]).all() and (path[4:, 0] == 50).all()
    t = np.arange(36) / 24
    free = 0.5 * PULL * 180 * t**2
    falling = free < 100
    assert path[4:, 1][falling] == pytest.approx(20 + free[falling])
    assert path[-1, 1] == pytest.approx(120)


@given(
    drop=st.floats(0, 500),
    first=st.integers(0, 20),
    rate=st.floats(5, 120),
    height=st.integers(60, 2000),
)
def test_a_fall_never_goes_below_its_footing_nor_above_its_start(drop, first, rate, height):
    path = falling_path((7, 11), drop, first, 60, rate, PULL * height)[first:]
    assert (path[:, 1] <= 11 + drop + 1e-9).all() and (path[:, 1] >= 11 - 1e-9).all()
    landing_s = np.sqrt(2 * drop / (PULL * height))
    on_its_way = np.arange(len(path)) / rate < landing_s
    assert (np.diff(path[on_its_way, 1]) > 0).all()


def test_the_same_fall_at_twice_the_frame_rate():
    slow = falling_path((0, 0), 90, 0, 20, 24, 1200)
    fast = falling_path((0, 0), 90, 0, 40, 48, 1200)
    assert fast[::2] == pytest.approx(slow)


@given(
    velocity=st.tuples(st.floats(-12, 12), st.floats(-12, 12)),
    before=st.integers(3, 20),
)
def test_a_steady_thing_goes_on_at_its_speed(velocity, before):
    centers = np.array([30.0, 40.0]) + np.arange(30)[:, None] * np.array(velocity)
    path = going_on_path(centers, before, 30)
    assert np.isnan(path[:before]).all()
    assert path[before:] == pytest.approx(centers[before:], abs=1e-6)


def test_friction_slows_to_a_stop_and_never_turns_back():
    t = np.arange(60.0)
    centers = np.stack(
        [5 * np.minimum(t, 20) - 0.125 * np.minimum(t, 20) ** 2, np.zeros(60)], axis=1
    )  # rests at 50
    path = going_on_path(centers, 12, 60)[12:, 0]
    assert (np.diff(path) >= -1e-9).all()
    assert path[-1] == pytest.approx(50, abs=1) and path[-1] == path[-20]
    assert path == pytest.approx(centers[12:, 0], abs=1)


def test_frames_that_do_not_show_it_do_not_count():
    centers = np.stack([3.0 * np.arange(20), np.full(20, 8.0)], axis=1)
    seen = centers.copy()
    seen[[3, 6, 7]] = np.nan
    assert going_on_path(seen, 10, 20)[10:] == pytest.approx(centers[10:])


def test_a_thing_seen_once_stays_there():
    centers = np.full((10, 2), np.nan)
    centers[3] = 5, 6
    assert going_on_path(centers, 6, 10)[6:] == pytest.approx(np.tile([5.0, 6.0], (4, 1)))
    assert np.isnan(going_on_path(np.full((10, 2), np.nan), 6, 10)).all()
