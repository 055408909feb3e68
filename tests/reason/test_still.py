"""What stands still in the world before a camera that moves."""

import numpy as np

from aftermath.reason.still import followed


def test_what_drifts_against_the_ground_is_followed_and_leaves_the_picture():
    """The ground goes 3 pixels a frame to the left, the thing, nearer, 5; in the last frames it is outside."""
    rng = np.random.default_rng(2)
    ground = rng.integers(60, 200, (80, 400, 3), np.uint8)
    picture = rng.integers(0, 255, (20, 16, 3), np.uint8)
    frames, truth = np.empty((24, 80, 160, 3), np.uint8), np.zeros((24, 80, 160), bool)
    for t in range(24):
        frames[t] = ground[:, 3 * t : 3 * t + 160]
        cut = slice(max(0, 90 - 5 * t), max(0, 106 - 5 * t))
        width = cut.stop - cut.start
        frames[t, 30:50, cut], truth[t, 30:50, cut] = picture[:, 16 - width :], width > 0
    to_plate = np.tile(np.eye(3), (24, 1, 1))
    to_plate[:, 0, 2] = 3 * np.arange(24)
    found = followed(frames, truth[8], 8, to_plate)
    inside = slice(0, 18)
    assert np.array_equal(found[inside], truth[inside])
    assert np.count_nonzero(found[23]) < 40


def test_nothing_is_followed_nowhere():
    frames, none = np.zeros((3, 20, 20, 3), np.uint8), np.zeros((20, 20), bool)
    assert not followed(frames, none, 1, np.tile(np.eye(3), (3, 1, 1))).any()
