"""Where a thing would be without the object: at rest, on along its way, or falling."""

from __future__ import annotations

import numpy as np

__all__ = ["falling_path", "going_on_path"]

_GRAVITY_M_S2 = 9.81
_PICTURE_HEIGHT_M = (
    1.5  # nothing in a picture says how large it is; a table-top or a room corner is about this
)
_FIT_FRAMES = 10
_BOUNCE = 0.18  # share of the speed a thing keeps when it lands


def going_on_path(centers: np.ndarray, before: int, num_frames: int) -> np.ndarray:
    """Continue the way a thing went in the frames before ``before``.

    ``centers`` float64 (T, 2), (x, y), NaN where unseen. Constant velocity, or a steady slowing down (friction, to a
    stop, never back) where the frames before clearly show one. Returns float64 (T, 2), NaN before ``before``.
    """
    index = np.arange(max(0, before - _FIT_FRAMES), before)
    index = index[np.isfinite(centers[index, 0])]
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
    height_px: float,
) -> np.ndarray:
    """Free fall from ``start`` (x, y) by ``drop_px``, with one small bounce; then rest.

    Half g t squared in a picture that is taken to be ``_PICTURE_HEIGHT_M`` high (``height_px`` pixels). Returns
    float64 (T, 2), NaN before ``first``.
    """
    pull = _GRAVITY_M_S2 * height_px / _PICTURE_HEIGHT_M
    t = np.arange(num_frames - first) / frame_rate
    landing = np.sqrt(2 * drop_px / pull) if drop_px > 0 else 0.0
    rebound = _BOUNCE * pull * landing
    since = np.clip(t - landing, 0, None)
    height = np.clip(rebound * since - 0.5 * pull * since**2, 0, None)
    fallen = np.where(t < landing, 0.5 * pull * t**2, drop_px - height)
    path = np.full((num_frames, 2), np.nan)
    path[first:, 0] = start[0]
    path[first:, 1] = start[1] + fallen
    return path
