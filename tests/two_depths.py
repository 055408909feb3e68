"""A camera travels past a near mat, with a far wall behind: two planes that no homography explains together."""

from __future__ import annotations

import cv2
import numpy as np

from aftermath.core import Clip
from scenes import BLUE, RED, SIZE, ground

NUM = 30
EDGE_PX = 120  # the mat begins at this row
FAR_PX = np.round(18 * np.sin(np.linspace(-1.2, 1.2, NUM)), 1)  # how far the camera turns past the wall
NEAR_PX = np.round(14 * np.sin(np.linspace(-1.6, 1.9, NUM)), 1)  # and the mat, beyond that
SINKS = (
    (slice(66, EDGE_PX), slice(110, 210)),
    slice(13, 19),
)  # rows and columns of the wall, seen from its middle; frames
_ROOM_PX, _SUNK_PX, _DISC_PX = 60, 9, 17
BLUE_AT, BLUE_PX = 140, 13  # of the wall, seen from its middle; its radius


def filmed(*, sinks: bool = False, passes: bool = False, pushed: bool = False, noise: float = 1.0) -> Clip:
    """The clip. ``sinks``: a part of the wall slides down and comes back; ``passes``: a red disc crosses meanwhile;
    ``pushed``: a blue disc rests before the wall until the red one takes it along."""
    wide = (SIZE[0] + 2 * _ROOM_PX, SIZE[1])
    far, near = ground(wide), ground(wide, seed=9) - (60, 30, -40)
    random = np.random.default_rng(3)
    frames = np.empty((NUM, SIZE[1], SIZE[0], 3), np.uint8)
    for t in range(NUM):
        wall = far.copy()
        if sinks:
            (rows, cols), when = SINKS
            if when.start <= t < when.stop:
                part = rows, slice(cols.start + _ROOM_PX, cols.stop + _ROOM_PX)
                wall[part] = np.roll(wall[part], _SUNK_PX, axis=0) - 25
        frame = _seen(wall, FAR_PX[t])
        if passes:
            center = (round(-60 + 440 * t / (NUM - 1)), 90)
            cv2.circle(frame, center, _DISC_PX, RED, cv2.FILLED, cv2.LINE_AA)
        if pushed:
            cv2.circle(frame, (round(blue_x()[t]), 90), BLUE_PX, BLUE, cv2.FILLED, cv2.LINE_AA)
        frame[EDGE_PX:] = _seen(near, FAR_PX[t] + NEAR_PX[t])[EDGE_PX:]
        frame += random.normal(0, noise, frame.shape)
        frames[t] = np.clip(frame.round(), 0, 255)
    return Clip(frames, np.arange(NUM) / 24, *SIZE)


def blue_x() -> np.ndarray:
    """Where the blue disc's middle is in every frame, float64 (T,)."""
    red = np.round(-60 + 440 * np.arange(NUM) / (NUM - 1))
    return np.round(np.maximum(BLUE_AT - FAR_PX, red + _DISC_PX + BLUE_PX))


def to_plate() -> np.ndarray:
    """The wall of every frame laid on that of one that is not turned, float64 (T, 3, 3)."""
    out = np.tile(np.eye(3), (NUM, 1, 1))
    out[:, 0, 2] = FAR_PX
    return out


def _seen(wide: np.ndarray, shift_px: float) -> np.ndarray:
    move = np.array([[1, 0, -_ROOM_PX - shift_px], [0, 1, 0]])
    return cv2.warpAffine(wide, move, SIZE, flags=cv2.INTER_CUBIC)


def sunk() -> np.ndarray:
    """Where something sinks, boolean (T, H, W)."""
    out = np.zeros((NUM, SIZE[1], SIZE[0]), bool)
    (rows, cols), when = SINKS
    for t in range(when.start, when.stop):
        out[t, rows, round(cols.start - FAR_PX[t]) : round(cols.stop - FAR_PX[t])] = True
    return out


def disc() -> np.ndarray:
    """Where the disc is, boolean (T, H, W)."""
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    centers = np.round(-60 + 440 * np.arange(NUM) / (NUM - 1))
    round_ = np.hypot(x - centers[:, None, None], y - 90) < _DISC_PX + 1
    return round_ & (y < EDGE_PX)
