"""Scores of a video against the truth. Frames are uint8 (T, H, W, 3), RGB; regions boolean (T, H, W)."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np

__all__ = ["center_errors", "intersection_over_union", "psnr", "ssim"]

SSIM_SIGMA = 1.5
SSIM_C1, SSIM_C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
FOUND_CORRELATION = 0.5
LOST_SHARE = 0.25


def psnr(video: np.ndarray, truth: np.ndarray, region: np.ndarray) -> float:
    """Peak signal-to-noise ratio over ``region`` in all frames together, dB; nan for no pixel."""
    total = sum(
        float(np.square(a[r].astype(float) - b[r]).sum())
        for a, b, r in zip(video, truth, region, strict=True)
    )
    count = 3 * int(region.sum())
    if count == 0:
        return math.nan
    return 10 * math.log10(255**2 / (total / count)) if total else math.inf


def ssim(video: np.ndarray, truth: np.ndarray, region: np.ndarray) -> float:
    """Mean structural similarity of the luma over ``region``; nan for no pixel.

    Wang et al. 2004, with its Gaussian window of 11x11 pixels and sigma 1.5; windows reach past the region.
    """
    total, count = 0.0, int(region.sum())
    for a, b, inside in zip(video, truth, region, strict=True):
        if inside.any():
            total += float(_ssim_map(a, b)[inside].sum())
    return total / count if count else math.nan


def _ssim_map(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    a, b = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) for picture in (one, other))
    mean_a, mean_b = _blur(a), _blur(b)
    var_a, var_b = _blur(a * a) - mean_a**2, _blur(b * b) - mean_b**2
    covariance = _blur(a * b) - mean_a * mean_b
    light = (2 * mean_a * mean_b + SSIM_C1) / (mean_a**2 + mean_b**2 + SSIM_C1)
    return light * (2 * covariance + SSIM_C2) / (var_a + var_b + SSIM_C2)


def _blur(picture: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(picture, (11, 11), SSIM_SIGMA)


def intersection_over_union(one: np.ndarray, other: np.ndarray) -> float:
    """Of two boolean (T, H, W), all frames together; nan where both are empty."""
    union = int((one | other).sum())
    return int((one & other).sum()) / union if union else math.nan


def center_errors(video: np.ndarray, truth: np.ndarray, thing: dict[str, Any]) -> list[float]:
    """How far a thing's centre is from the truth, pixels, in every frame that shows the whole thing.

    ``thing`` is an entry of ``truth.json``. Its look is a crop of the true video round its true centre in
    that very frame; it is searched in all of the picture by normalised correlation of the colours. Where
    nothing correlates by at least 0.5 the thing is lost, which counts as a quarter of the picture's width.
    """
    width, height = thing["box"][2] - thing["box"][0], thing["box"][3] - thing["box"][1]
    errors = []
    for frame, true, center in zip(video, truth, thing["centers_removed"], strict=True):
        if center is None:
            continue
        x, y = round(center[0] - width / 2), round(center[1] - height / 2)
        if x < 0 or y < 0 or x + width > true.shape[1] or y + height > true.shape[0]:
            continue
        match = cv2.matchTemplate(frame, true[y : y + height, x : x + width], cv2.TM_CCOEFF_NORMED)
        _, best, _, (found_x, found_y) = cv2.minMaxLoc(match)
        found = best >= FOUND_CORRELATION
        errors.append(math.hypot(found_x - x, found_y - y) if found else LOST_SHARE * true.shape[1])
    return errors
