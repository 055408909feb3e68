"""Smooth surfaces over a hole: Laplace's and Poisson's equations, by multigrid.

After Briggs, Henson & McCormick, "A Multigrid Tutorial" (2000).
The border of the hole is held; the border of the picture is free (no flow across it).
"""

from __future__ import annotations

import cv2
import numpy as np

__all__ = ["membrane", "nearest_true", "poisson"]

_CYCLES = 4
_SWEEPS = 3
_DAMPING = 0.8


def membrane(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """The smoothest surface over ``hole`` bool (H, W) that meets its surroundings; float32, of the image's shape.

    ``image``: (H, W) or (H, W, C).

    Without a hole, or with nothing but hole, the values stay as they are.
    """
    start = image.astype(np.float32)
    if not hole.any() or hole.all():
        return start
    start[hole] = start[nearest_true(~hole)][hole]
    channels = start.reshape(*hole.shape, -1)
    return (channels + poisson(-_laplacian(channels), hole)).reshape(start.shape)


def poisson(right: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Solve laplacian(c) = ``right`` inside ``hole``, c = 0 outside; float32 (H, W, C)."""
    box = cv2.boundingRect(hole.astype(np.uint8))
    rows = slice(max(0, box[1] - 1), box[1] + box[3] + 1)
    cols = slice(max(0, box[0] - 1), box[0] + box[2] + 1)
    free = hole[rows, cols].astype(np.float32)[..., None]
    target = np.ascontiguousarray(right[rows, cols], np.float32) * free
    part = np.zeros_like(target)
    for _ in range(_CYCLES):
        part = _cycle(part, target, free)
    result = np.zeros(right.shape, np.float32)
    result[rows, cols] = part
    return result


def nearest_true(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(y, x) maps, int (H, W): for every pixel the nearest true pixel of ``mask``, which must have one."""
    blocked = np.ascontiguousarray(~mask, np.uint8)
    _, labels = cv2.distanceTransformWithLabels(blocked, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    labels = labels.astype(np.int32, copy=False)
    ys, xs = np.nonzero(mask)
    place = np.zeros((2, labels.max() + 1), np.int32)
    place[:, labels[ys, xs]] = ys, xs
    return place[0][labels], place[1][labels]


def _laplacian(values: np.ndarray) -> np.ndarray:
    """Four neighbours minus four times the pixel; also for one channel (H, W, 1)."""
    return cv2.Laplacian(values, cv2.CV_32F, borderType=cv2.BORDER_REPLICATE).reshape(values.shape)


def _smooth(values: np.ndarray, right: np.ndarray, free: np.ndarray, sweeps: int) -> np.ndarray:
    for _ in range(sweeps):
        values = values + (_DAMPING / 4) * free * (_laplacian(values) - right)
    return values


def _cycle(values: np.ndarray, right: np.ndarray, free: np.ndarray) -> np.ndarray:
    """One V-cycle. ``free``: float32 (H, W, 1), 1 where the value may move."""
    height, width = free.shape[:2]
    if min(height, width) < 4 or not free.any():
        return _smooth(values, right, free, 40)
    values = _smooth(values, right, free, _SWEEPS)
    residual = (right - _laplacian(values)) * free
    even = ((0, height % 2), (0, width % 2), (0, 0))
    coarse_free = _blocks(np.pad(free, even)).min(axis=(1, 3))  # a block partly held is held
    coarse_right = _blocks(np.pad(residual, even)).sum(axis=(1, 3))  # the sum: cells are twice as wide
    correction = _cycle(np.zeros_like(coarse_right), coarse_right, coarse_free)
    size = (2 * correction.shape[1], 2 * correction.shape[0])
    finer = cv2.resize(correction, size, interpolation=cv2.INTER_LINEAR).reshape(*size[::-1], -1)
    return _smooth(values + finer[:height, :width] * free, right, free, _SWEEPS)


def _blocks(values: np.ndarray) -> np.ndarray:
    """(H, W, C) as 2x2 blocks: (H/2, 2, W/2, 2, C)."""
    height, width, channels = values.shape
    return values.reshape(height // 2, 2, width // 2, 2, channels)
