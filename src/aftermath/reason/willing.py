"""Who moves of their own will: what sets itself in motion while nothing touches it. People, animals, cars."""

from __future__ import annotations

import numpy as np

__all__ = ["starts_by_itself"]

_FRAMES = 6  # that tell a speed
_REST_SPEED, _MOVING_SPEED = 0.35, 1.2  # px a frame
_STEADY_PX = 1.0
_SOON_FRAMES = 30
_SHARE, _LEAST_PX = 0.08, 4.0  # of its size: how far it must get


def starts_by_itself(centers: np.ndarray, free: np.ndarray, size_px: float) -> int | None:
    """A frame in which it has left its rest although nothing touched it; None where it never does.

    ``centers`` float64 (T, 2), NaN where it is not seen as a whole; ``free`` boolean (T,), frames in which nothing
    touches it; ``size_px``: its size. What is dead rests until it is touched; a fall begins so too, straight down.
    """
    usable = np.isfinite(centers[:, 0]) & free
    for start in range(len(centers) - _FRAMES):
        rest = slice(start, start + _FRAMES)
        if not usable[rest].all() or not _rests(centers[rest]):
            continue
        home = centers[rest].mean(axis=0)
        for t in range(start + _FRAMES, min(len(centers) - _FRAMES, start + _SOON_FRAMES)):
            if not usable[t : t + _FRAMES].all():
                break
            way = centers[t : t + _FRAMES]
            (along, down), left = _velocity(way), np.linalg.norm(way[-1] - home)
            if (
                abs(along) > _MOVING_SPEED
                and abs(along) > abs(down)
                and left > max(_LEAST_PX, _SHARE * size_px)
            ):
                return t + _FRAMES - 1
    return None


def _velocity(way: np.ndarray) -> np.ndarray:
    """The mean velocity along ``way`` float64 (N, 2), pixels a frame."""
    return np.polynomial.polynomial.polyfit(np.arange(len(way)), way, 1)[1]


def _rests(way: np.ndarray) -> bool:
    return bool(np.ptp(way, axis=0).max() < 2 * _STEADY_PX and np.linalg.norm(_velocity(way)) < _REST_SPEED)
