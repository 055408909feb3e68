"""Smooth continuation of a picture into a hole, from the hole's rim alone."""

from __future__ import annotations

import cv2
import numpy as np

__all__ = ["membrane"]


def membrane(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Fill ``hole`` boolean (H, W) of ``image`` float32 (H, W[, C]) as a membrane stretched over its rim would.

    Push-pull (Gortler et al. 1996, "The Lumigraph"): known pixels are averaged down a pyramid until no hole is left,
    then unknown ones are filled on the way back up and relaxed (Laplace's equation). Known pixels are kept.
    """
    values = np.asarray(image, np.float32)
    flat = values.ndim == 2
    if flat:
        values = values[..., None]
    filled = _pull(values, (~hole).astype(np.float32)) if hole.any() and not hole.all() else values
    return filled[..., 0] if flat else filled


def _pull(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    height, width = weight.shape
    if weight.min() > 0 or max(height, width) <= 2:
        mean = (values * weight[..., None]).sum(axis=(0, 1)) / max(float(weight.sum()), 1e-6)
        return np.where(weight[..., None] > 0, values, mean)
    size = ((width + 1) // 2, (height + 1) // 2)
    small_weight = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
    small = cv2.resize(values * weight[..., None], size, interpolation=cv2.INTER_AREA).reshape(
        *size[::-1], -1
    )
    small = small / np.maximum(small_weight, 1e-6)[..., None]
    coarse = _pull(small, (small_weight > 1e-3).astype(np.float32))
    up = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR).reshape(values.shape)
    unknown = (weight <= 0)[..., None]
    out = np.where(unknown, up, values)
    for _ in range(4):
        relaxed = cv2.blur(out, (3, 3)).reshape(values.shape)
        out = np.where(unknown, relaxed, out)
    return out
