"""Scores of pixels against the truth. Frames are uint8 (T, H, W, 3), RGB; regions boolean (T, H, W)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from aftermath.core import fit_long_side
from aftermath.scene.optical_flow import consistency, dis_flow, warp

__all__ = [
    "IDENTICAL_DB",
    "Flows",
    "intersection_over_union",
    "keep_fidelity",
    "psnr",
    "psnr_by_frame",
    "removal_completeness",
    "ssim",
    "ssim_by_region",
    "true_flows",
    "warp_error",
]

SSIM_SIGMA = 1.5
SSIM_C1, SSIM_C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
IDENTICAL_DB = 100.0
"""What stands for infinity: JSON has none, and a mean with one in it says nothing."""

_FLOW_SIDE_PX = 384  # flow at this long side is right to a fraction of a pixel, and quick
_HIDDEN_PX = 1.0  # a pixel that comes back this far from itself is hidden in the other frame
_SHOWS = 12.0  # of 255: less than this apart, object and background are one colour


def psnr(video: np.ndarray, truth: np.ndarray, region: np.ndarray) -> float:
    """Peak signal-to-noise ratio over ``region`` in all frames together, dB: 10 log10(255² / mean squared error).

    nan for no pixel, infinite where all are equal.
    """
    total = sum(_squares(a, b, r) for a, b, r in zip(video, truth, region, strict=True))
    return _decibel(total, 3 * int(region.sum()))


def psnr_by_frame(video: np.ndarray, truth: np.ndarray, region: np.ndarray) -> list[float]:
    """`psnr` of every frame by itself, with `IDENTICAL_DB` for infinity."""
    frames = zip(video, truth, region, strict=True)
    return [min(IDENTICAL_DB, _decibel(_squares(a, b, r), 3 * int(r.sum()))) for a, b, r in frames]


def _squares(a: np.ndarray, b: np.ndarray, region: np.ndarray) -> float:
    return float(np.square(a[region].astype(np.float32) - b[region]).sum(dtype=np.float64))


def _decibel(total: float, count: int) -> float:
    if count == 0:
        return math.nan
    return 10 * math.log10(255**2 / (total / count)) if total else math.inf


def ssim(video: np.ndarray, truth: np.ndarray, region: np.ndarray) -> float:
    """Mean structural similarity of the luma over ``region``; nan for no pixel.

    Wang et al. 2004, with its Gaussian window of 11x11 pixels and sigma 1.5; windows reach past the region.
    """
    return ssim_by_region(video, truth, {"": region})[""]


def ssim_by_region(
    video: np.ndarray, truth: np.ndarray, regions: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """`ssim` over several regions at once, by their names."""
    totals, counts = dict.fromkeys(regions, 0.0), dict.fromkeys(regions, 0)
    for t, (a, b) in enumerate(zip(video, truth, strict=True)):
        if not any(region[t].any() for region in regions.values()):
            continue
        similar = _ssim_map(a, b)
        for name, region in regions.items():
            inside = similar[region[t]]
            totals[name] += float(inside.sum(dtype=np.float64))
            counts[name] += inside.size
    return {name: totals[name] / counts[name] if counts[name] else math.nan for name in regions}


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


def keep_fidelity(video: np.ndarray, source: np.ndarray, truth: np.ndarray, keep: np.ndarray) -> float:
    """PSNR over ``keep``, dB, where the error of a pixel is the smaller of that to ``source`` and that to ``truth``.

    What need not change may stay as filmed, or be as the truth has it (whose grain is another): both are right.
    nan for no pixel, infinite where every pixel is one of the two.
    """
    total, count = 0.0, 3 * int(keep.sum())
    for out, filmed, true, inside in zip(video, source, truth, keep, strict=True):
        pixels = out[inside].astype(np.float32)
        to_source = np.square(pixels - filmed[inside]).sum(axis=-1)
        to_truth = np.square(pixels - true[inside]).sum(axis=-1)
        total += float(np.minimum(to_source, to_truth).sum(dtype=np.float64))
    return _decibel(total, count)


def removal_completeness(
    video: np.ndarray, source: np.ndarray, truth: np.ndarray, region: np.ndarray
) -> float:
    """How much of the object is gone from ``region``, where it hid the background: 1 all of it, 0 none.

    1 - a, where a is the least-squares share of the object in the output: with o, s and t the output, the source
    and the truth over the pixels at which s and t differ by more than 12 of 255, all frames together,
    a = Σ (o - t)·(s - t) / Σ |s - t|², kept within 0 and 1. An error that does not look like the object leaves a
    near 0; half of the object, or all of it at half strength, gives 0.5. Ours. nan where no object is to be seen.
    """
    along = power = 0.0
    for out, filmed, true, inside in zip(video, source, truth, region, strict=True):
        t = true[inside].astype(np.float32)
        object_ = filmed[inside] - t
        shows = np.abs(object_).max(axis=-1, initial=0) > _SHOWS
        object_ = object_[shows]
        along += float(((out[inside][shows] - t[shows]) * object_).sum(dtype=np.float64))
        power += float(np.square(object_).sum(dtype=np.float64))
    return 1 - min(1.0, max(0.0, along / power)) if power else math.nan


@dataclass(frozen=True)
class Flows:
    """How the truth moves from each frame to the next, at a working size.

    ``fields``: float16 (h, w, 2), pixels of that size. ``seen``: boolean (h, w), False where the next frame hides it.
    """

    size: tuple[int, int]
    fields: Sequence[np.ndarray]
    seen: Sequence[np.ndarray]


def true_flows(truth: np.ndarray) -> Flows:
    """DIS flow from each frame of the truth to the next, checked there and back; (384 pixels on the long side)."""
    width, height = fit_long_side(truth.shape[2], truth.shape[1], _FLOW_SIDE_PX)
    small = [_resized(frame, (width, height)) for frame in truth]
    fields, seen = [], []
    for here, there in pairwise(small):
        forward = dis_flow(here, there, preset="fast")
        backward = dis_flow(there, here, preset="fast")
        fields.append(forward.astype(np.float16))
        seen.append(consistency(forward, backward) < _HIDDEN_PX)
    return Flows((width, height), fields, seen)


def warp_error(video: np.ndarray, flows: Flows, region: np.ndarray) -> float:
    """How much the picture changes along the true motion: RMS of O(t, p) - O(t + 1, p + f(p)), grey levels of 255.

    Over the pixels of ``region`` that the next frame shows, where f is the flow of the truth: the warp error of Lai
    et al. (ECCV 2018), with the truth's motion in place of the output's own, so that what stands still where it
    should move counts. Noise and flow errors give the truth some too. nan for no pixel.
    """
    total, count = 0.0, 0
    small = _resized(video[0], flows.size)
    for t, (field, seen) in enumerate(zip(flows.fields, flows.seen, strict=True)):
        after = _resized(video[t + 1], flows.size)
        inside = seen & (_resized(region[t].astype(np.uint8), flows.size, cv2.INTER_NEAREST) > 0)
        moved = warp(after, field.astype(np.float32))
        difference = small[inside].astype(np.float32) - moved[inside]
        total += float(np.square(difference).sum(dtype=np.float64))
        count += difference.size
        small = after
    return math.sqrt(total / count) if count else math.nan


def _resized(picture: np.ndarray, size: tuple[int, int], kernel: int = cv2.INTER_AREA) -> np.ndarray:
    return picture if picture.shape[1::-1] == size else cv2.resize(picture, size, interpolation=kernel)
