"""Where a thing would be without the object: at rest, on along its way, or falling."""

from __future__ import annotations

import numpy as np

from aftermath.reason.kinematics import smooth_frames

__all__ = ["falling_path", "going_on_path"]

_FIT_FRAMES = (16, 10)  # the longer if its way was even for so long
_SMOOTH_PX = 1.5
_BOUNCE = 0.18  # share of the speed a thing keeps when it lands


def going_on_path(centers: np.ndarray, before: int, num_frames: int) -> np.ndarray:
    """Continue the way a thing went in the frames before ``before``.

    ``centers`` float64 (T, 2), (x, y), NaN where unseen. Constant velocity, or a steady slowing down (friction, to a
    stop, never back) where the frames before clearly show one. Returns float64 (T, 2), NaN before ``before``.
    """
    index = _even_way(centers, before)
    path = np.full((num_frames, 2), np.nan)
    ahead = np.arange(before, num_frames)
    if index.size < 2:
        path[ahead] = centers[index[-1]] if index.size else np.nan
        return path
    origin = index[-1]
    times = (index - origin).astype(float)
    (velocity, start), *_ = np.linalg.lstsq(
        np.stack([times, np.ones_like(times)], 1), centers[index], rcond=None
    )
    travelled = (ahead - origin).astype(float)
    slowing = _slowing(times, centers[index], velocity) if index.size >= 6 else 0.0
    if slowing > 0:
        speed_now = max(
            1.0 + slowing * times.mean(), 0.05
        )  # relative to the mean speed, at the last frame (time 0)
        stop = speed_now / slowing
        clipped = np.minimum(travelled, stop)
        travelled = speed_now * clipped - 0.5 * slowing * clipped**2
        start = centers[index[-1]]
    path[ahead] = start + travelled[:, None] * velocity
    return path


def _even_way(centers: np.ndarray, before: int) -> np.ndarray:
    """Indices of the frames before ``before`` that tell where it was going."""
    index = even = np.empty(0, int)
    for num in _FIT_FRAMES:
        index = np.arange(max(0, before - num), before)
        index = index[np.isfinite(centers[index, 0])]
        even = smooth_frames(centers, index, _SMOOTH_PX)
        if even.size >= 0.8 * index.size:
            return even
    return index if even.size < 3 else even


def _slowing(times: np.ndarray, centers: np.ndarray, velocity: np.ndarray) -> float:
    """Loss of speed per frame, relative to the mean speed; 0 where a steady speed explains the way as well."""
    speed = float(np.linalg.norm(velocity))
    if speed < 0.5:
        return 0.0
    along = centers @ (velocity / speed)
    straight = np.polyfit(times, along, 1)
    curved = np.polyfit(times, along, 2)
    error_straight = np.sqrt(np.mean((np.polyval(straight, times) - along) ** 2))
    error_curved = np.sqrt(np.mean((np.polyval(curved, times) - along) ** 2))
    loss = -2 * curved[0] / speed
    if error_curved > 0.5 * error_straight or not 0 < loss < 0.2:
        return 0.0
    return float(loss)


def falling_path(
    start: tuple[float, float],
    drop_px: float,
    first: int,
    num_frames: int,
    frame_rate: float,
    pull_px_s2: float,
    speed_px_s: float = 0.0,
) -> np.ndarray:
    """Free fall from ``start`` (x, y) by ``drop_px``, with one small bounce; then rest.

    v t + half g t squared, v being ``speed_px_s`` and g ``pull_px_s2``. Returns float64 (T, 2), NaN before ``first``.
    """
    t = np.arange(num_frames - first) / frame_rate
    impact = np.sqrt(speed_px_s**2 + 2 * pull_px_s2 * drop_px) if drop_px > 0 else 0.0
    landing = max(0.0, impact - speed_px_s) / pull_px_s2
    since = np.clip(t - landing, 0, None)
    height = np.clip(_BOUNCE * impact * since - 0.5 * pull_px_s2 * since**2, 0, None)
    fallen = np.where(t < landing, speed_px_s * t + 0.5 * pull_px_s2 * t**2, drop_px - height)
    path = np.full((num_frames, 2), np.nan)
    path[first:, 0] = start[0]
    path[first:, 1] = start[1] + fallen
    return path
