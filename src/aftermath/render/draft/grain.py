"""The source's grain: measured once, made anew for every frame."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

__all__ = ["Grain", "GrainField", "measure_grain"]

_MAX_SIGMA = 12.0
_ROOM_PX = 192


@dataclass(frozen=True)
class Grain:
    """``sigma``: float (3,), standard deviation per channel, levels of 255; ``blur_px``: how far neighbouring pixels
    share it (sigma of a Gaussian), as sensors, debayering and codecs leave it."""

    sigma: np.ndarray
    blur_px: float


def measure_grain(residuals: list[np.ndarray]) -> Grain:
    """Measure grain from frames less plate, each int16 (N, M, 3), where nothing moves.

    Median absolute deviation, so that edges and things left over do not count; the correlation of horizontal
    neighbours gives the blur.
    """
    usable = [r.astype(np.float32) for r in residuals if r.shape[0] >= 16 and r.shape[1] >= 16]
    if not usable:
        return Grain(np.zeros(3, np.float32), 0.0)
    fine = [r - cv2.GaussianBlur(r, (0, 0), 4.0) for r in usable]
    sigma = np.median([1.4826 * np.median(np.abs(f), axis=(0, 1)) for f in fine], axis=0)
    spread = np.median([f.std(axis=(0, 1)) for f in fine], axis=0)
    sigma = np.maximum(sigma, np.minimum(spread, 1.0))  # below one level the median of whole numbers says 0
    luma = [f.mean(axis=-1) for f in fine]
    near = float(np.median([_neighbour_correlation(f) for f in luma]))
    return Grain(np.minimum(sigma, _MAX_SIGMA).astype(np.float32), _blur_for(near))


def _neighbour_correlation(field: np.ndarray) -> float:
    clipped = np.clip(field, -3 * field.std() - 1e-6, 3 * field.std() + 1e-6)
    return float((clipped[:, 1:] * clipped[:, :-1]).mean() / max(float((clipped**2).mean()), 1e-6))


def _blur_for(correlation: float) -> float:
    """White noise blurred by a Gaussian of sigma s correlates exp(-1 / 4 s^2) with its neighbour."""
    correlation = float(np.clip(correlation, 0.0, 0.95))
    return 0.0 if correlation < 0.05 else float(np.sqrt(-1.0 / (4.0 * np.log(correlation))))


class GrainField:
    """Grain for pictures of up to ``size`` (height, width): one field, cut at another place for every frame.

    The same seed and frame give the same grain.
    """

    def __init__(self, grain: Grain, size: tuple[int, int], seed: int) -> None:
        self.seed = seed
        self.silent = float(grain.sigma.max()) <= 0.05
        if self.silent:
            return
        height, width = size[0] + _ROOM_PX, size[1] + _ROOM_PX
        field = np.random.default_rng(seed).standard_normal((height, width, 3), np.float32)
        if grain.blur_px > 0:
            field = cv2.GaussianBlur(field, (0, 0), grain.blur_px)
            field /= max(float(field[:256].std()), 1e-6)
        field *= grain.sigma
        self.field: np.ndarray = field

    def add(self, image: np.ndarray, frame: int, corner: tuple[int, int] = (0, 0)) -> None:
        """Add grain to ``image`` float32 (h, w, 3), in place, a part of a picture whose first (row, column) is
        ``corner``."""
        if self.silent:
            return
        random = np.random.default_rng((self.seed, frame))
        dy, dx = random.integers(0, _ROOM_PX, 2) + corner
        part = self.field[dy : dy + image.shape[0], dx : dx + image.shape[1]]
        sign = cv2.add if random.random() < 0.5 else cv2.subtract
        sign(image, part, dst=image)
