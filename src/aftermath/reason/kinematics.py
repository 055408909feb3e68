"""How things move and when they touch: the measurements that decide who acted on whom."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

__all__ = ["Contact", "contacts", "fit_line", "gaps", "mask_centers"]

_JOIN_FRAMES = 3  # touches this close together are one contact


@dataclass(frozen=True)
class Contact:
    """Two things touch in frames ``start`` to ``end`` (half-open); ``gap_px`` is the least distance between them."""

    start: int
    end: int
    gap_px: float


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
