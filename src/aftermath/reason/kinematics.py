"""How things move and when they touch: the measurements that decide who acted on whom."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

__all__ = ["Contact", "Fall", "contacts", "fall_of", "fit_line", "gaps", "mask_centers", "smooth_frames"]

_FALL_FRAMES = 8  # that tell a fall
_FALL_PX = 12
_JOIN_FRAMES = 3  # touches this close together are one contact


@dataclass(frozen=True)
class Contact:
    """Two things touch in frames ``start`` to ``end`` (half-open); ``gap_px`` is the least distance between them."""

    start: int
    end: int
    gap_px: float


@dataclass(frozen=True)
class Fall:
    """Seen falling freely: ``pull`` px a frame squared, ``speed`` downwards in ``frame``, px a frame."""

    pull: float
    speed: float
    frame: int


def mask_centers(mask: np.ndarray, to_plate: np.ndarray) -> np.ndarray:
    """Centres of a mask in every frame: float64 (T, 2), (x, y) in plate pixels, NaN where it is empty.

    ``mask`` boolean (T, H, W), ``to_plate`` float64 (T, 3, 3).
    """
    centers = np.full((len(mask), 2), np.nan)
    for t, frame in enumerate(mask):
        moments = cv2.moments(frame.astype(np.uint8), binaryImage=True)
        if moments["m00"] > 0:
            x, y, w = to_plate[t] @ (moments["m10"] / moments["m00"], moments["m01"] / moments["m00"], 1.0)
            centers[t] = x / w, y / w
    return centers


def gaps(labels: np.ndarray, cause: np.ndarray) -> np.ndarray:
    """Least distance of every labelled thing from ``cause``: float64 (T, 256), pixels, infinite where unseen.

    ``labels`` uint8 (T, H, W), ``cause`` boolean (T, H, W). Column n belongs to label n.
    """
    out = np.full((len(labels), 256), np.inf)
    for row, frame, there in zip(out, labels, cause, strict=True):
        if there.any():
            away = cv2.distanceTransform((~there).astype(np.uint8), cv2.DIST_L2, 3)
            some = frame > 0
            np.minimum.at(row, frame[some], away[some])
    return out


def contacts(gap_px: np.ndarray, touch_px: np.ndarray) -> list[Contact]:
    """The stretches of time in which ``gap_px`` (T,) is at most ``touch_px`` (T,)."""
    touching = np.flatnonzero(gap_px <= touch_px)
    if touching.size == 0:
        return []
    breaks = np.flatnonzero(np.diff(touching) > _JOIN_FRAMES)
    starts = np.concatenate([[0], breaks + 1])
    ends = np.concatenate([breaks, [touching.size - 1]])
    return [
        Contact(int(touching[a]), int(touching[b]) + 1, float(gap_px[touching[a] : touching[b] + 1].min()))
        for a, b in zip(starts, ends, strict=True)
    ]


def fit_line(centers: np.ndarray, frames: slice) -> tuple[np.ndarray, np.ndarray] | None:
    """Velocity and position at the end of ``frames``, least squares over the frames where it is seen.

    ``centers`` float64 (T, 2). Returns (velocity per frame, position at frame ``frames.stop - 1``), each (2,);
    None with fewer than two frames to go by.
    """
    index = np.arange(frames.start, frames.stop)
    use = index[np.isfinite(centers[index, 0])]
    if use.size < 2:
        return None
    design = np.stack([use - (frames.stop - 1), np.ones_like(use)], axis=1).astype(float)
    (velocity, position), *_ = np.linalg.lstsq(design, centers[use], rcond=None)
    return velocity, position


def smooth_frames(centers: np.ndarray, frames: np.ndarray, off_px: float) -> np.ndarray:
    """Those of ``frames`` (indices) in which the centres, float64 (T, 2), lie within ``off_px`` of a smooth way.

    A smooth way is a parabola in time. What lies furthest off is left out, one frame at a time and at most a third
    of them: a thing that joins another's trace for a moment has a centre that is not its own.
    """
    spare = len(frames) // 3
    while len(frames) >= 4:
        fit = np.polynomial.polynomial.polyfit(frames - frames[0], centers[frames], 2)
        fitted = np.polynomial.polynomial.polyval(frames - frames[0], fit).T
        off = np.linalg.norm(fitted - centers[frames], axis=1)
        if off.max() < off_px or spare == 0:
            return frames[off < off_px]
        frames, spare = np.delete(frames, off.argmax()), spare - 1
    return frames


def fall_of(centers: np.ndarray, frames: slice) -> Fall | None:
    """The last stretch of ``frames`` if the thing fell freely there: straight down, ever faster, evenly so.

    ``centers`` float64 (T, 2). What rolls towards the camera moves down the picture too, but gains little speed.
    """
    index = np.arange(*frames.indices(len(centers)))
    index = index[np.isfinite(centers[index, 0])][-_FALL_FRAMES:]
    index = smooth_frames(centers, index, 1.5)
    if index.size < 4 or np.ptp(index) > 2 * _FALL_FRAMES:
        return None
    way = np.polynomial.polynomial.polyfit(index - index[-1], centers[index], 2)
    speed, (bend, pull) = way[1, 1], 2 * way[2]
    early = speed - pull * np.ptp(index)  # where the stretch began
    fell = np.ptp(centers[index, 1])
    straight = np.ptp(centers[index, 0]) < 0.5 * fell and abs(bend) < 0.25 * pull
    if fell < _FALL_PX or not straight or not -0.5 * speed < early < 0.65 * speed:
        return None
    return Fall(float(pull), float(speed), int(index[-1]))
