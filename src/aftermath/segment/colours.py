"""Which colours are the object's: histograms in Lab, compared."""

from __future__ import annotations

import cv2
import numpy as np

__all__ = ["ColourModel", "bins_of"]

_BITS = (4, 5, 5)  # lightness is coarser than colour: shading changes it first
_CELLS = tuple(1 << bits for bits in _BITS)
_RARE = 1e-3  # a share of pixels that says little
_SPREAD = (0.25, 0.5, 0.25)


def bins_of(image: np.ndarray) -> np.ndarray:
    """The histogram cell of every pixel: int32 (H, W) for uint8 (H, W, 3) RGB."""
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.int32)
    # a and b of real pictures fill the middle half of their range: spend the cells there
    chroma = np.clip((lab[..., 1:] - 64) * 2, 0, 255) >> (8 - _BITS[1])
    return (
        ((lab[..., 0] >> (8 - _BITS[0])) << (_BITS[1] + _BITS[2]))
        | (chroma[..., 0] << _BITS[2])
        | chroma[..., 1]
    )


class ColourModel:
    """Share of each colour cell among the pixels seen; float32, sums to 1."""

    def __init__(self, bins: np.ndarray) -> None:
        counts = np.bincount(bins.ravel(), minlength=int(np.prod(_CELLS))).astype(np.float32)
        cells = counts.reshape(_CELLS)
        for axis in range(3):
            before = np.take(cells, [0, *range(_CELLS[axis] - 1)], axis)
            after = np.take(cells, [*range(1, _CELLS[axis]), _CELLS[axis] - 1], axis)
            cells = _SPREAD[0] * before + _SPREAD[1] * cells + _SPREAD[2] * after
        self.share = cells.ravel() / max(1e-6, float(cells.sum()))

    def blend(self, other: ColourModel, share: float) -> None:
        """Follow ``other`` by ``share``."""
        self.share = (1 - share) * self.share + share * other.share

    def against(self, background: ColourModel, bins: np.ndarray) -> np.ndarray:
        """Log likelihood ratio of this model over ``background``: float32, the shape of ``bins``, -3 to 3.

        A colour neither has seen counts as background: what is new in the picture is rarely the object.
        """
        ratio = np.log((self.share + _RARE / 8) / (background.share + _RARE))
        return np.clip(ratio, -3, 3).astype(np.float32)[bins]

    def likeness(self, other: ColourModel) -> float:
        """Bhattacharyya coefficient, 0 (nothing in common) to 1 (equal)."""
        return float(np.sqrt(self.share * other.share).sum())
