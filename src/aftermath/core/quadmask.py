"""`Quadmask`: the four-value steering mask of VOID (arXiv 2604.02296), and the only home of its values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import cv2
import numpy as np

from aftermath.errors import InputError

__all__ = ["BOUNDS", "Level", "Quadmask", "check_levels", "grow_object", "quantise"]


class Level(IntEnum):
    """What one pixel of a quadmask says."""

    PRIMARY = 0  # belongs to the object that goes
    OVERLAP = 63  # belongs to it, and changes for another reason too
    AFFECTED = 127  # looks different once the object is gone
    KEEP = 255  # stays as it is


BOUNDS = (31.5, 95.0, 191.0)
"""Borders between the four levels: a value read from a lossy file goes to the nearest one."""

_LEVELS = np.array([Level.PRIMARY, Level.OVERLAP, Level.AFFECTED, Level.KEEP], np.uint8)
_NEAREST = _LEVELS[np.searchsorted(BOUNDS, np.arange(256), side="left")]
_TOLERANCE = 24  # a lossy codec moves a value by less than this
_FAR = np.abs(np.arange(256) - _NEAREST.astype(int)) > _TOLERANCE
_MAX_OFF_SHARE = 0.02  # ringing along edges may move this share of the pixels further


def quantise(values: np.ndarray) -> np.ndarray:
    """Take each uint8 value to the nearest of the four levels; any shape."""
    values = np.asarray(values, np.uint8)
    if values.size == 0:
        return values.copy()
    rows = np.ascontiguousarray(values).reshape(len(np.atleast_1d(values)), -1)
    return cv2.LUT(rows, _NEAREST).reshape(values.shape)  # NumPy's own indexing takes three times as long


def grow_object(levels: np.ndarray, radius_px: float) -> np.ndarray:
    """One frame of a quadmask, uint8 (H, W), in which the object reaches ``radius_px`` further on every side."""
    reach = round(radius_px)
    if reach < 1:
        return levels
    size = 2 * reach + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    grown = cv2.dilate((levels <= Level.OVERLAP).astype(np.uint8), disc) > 0
    out = levels.copy()
    out[grown & (levels == Level.KEEP)] = Level.PRIMARY
    out[grown & (levels == Level.AFFECTED)] = Level.OVERLAP
    return out


def check_levels(values: np.ndarray, name: str) -> None:
    """Refuse a picture that is not a quadmask, even a lossy one.

    Raises `InputError` when more than 2 % of the uint8 ``values`` lie further than 24 from every level.
    """
    values = np.asarray(values, np.uint8)
    counts = cv2.calcHist([values.reshape(len(values), -1)], [0], None, [256], [0, 256]).ravel()
    off = float(counts[_FAR].sum()) / max(1, values.size)
    if off > _MAX_OFF_SHARE:
        raise InputError(
            f"{name} has {off:.0%} of its pixels off the four levels",
            "must hold 0 (object), 63 (overlap), 127 (affected) and 255 (keep)",
            "give a black-and-white mask with --mask, or write the quadmask losslessly",
        )


@dataclass(frozen=True)
class Quadmask:
    """uint8 (T, H, W) of the four `Level` values. Raises `InputError` for any other value, type or shape."""

    values: np.ndarray

    def __post_init__(self) -> None:
        if self.values.ndim != 3 or self.values.dtype != np.uint8:
            raise InputError(
                f"a quadmask of shape {self.values.shape} and type {self.values.dtype}",
                "must be uint8 (frames, height, width)",
            )
        for frame in self.values:  # frame by frame: the whole may be a memory map
            if not np.array_equal(frame, quantise(frame)):
                raise InputError(
                    f"a quadmask with the values {sorted(set(np.unique(frame).tolist()))[:8]}",
                    "must hold 0, 63, 127 and 255 only",
                    "use Quadmask.from_lossy for values read from a lossy file",
                )

    @classmethod
    def from_masks(cls, primary: np.ndarray, affected: np.ndarray) -> Quadmask:
        """Join two boolean masks (T, H, W); where both hold, the pixel is overlap."""
        values = np.full(primary.shape, Level.KEEP, np.uint8)
        for frame, gone, changed in zip(
            values, primary, affected, strict=True
        ):  # a long clip's masks are large
            frame[changed] = Level.AFFECTED
            frame[gone] = Level.PRIMARY
            frame[gone & changed] = Level.OVERLAP
        return cls(values)

    @classmethod
    def from_lossy(cls, values: np.ndarray) -> Quadmask:
        """Take uint8 (T, H, W) values to their nearest levels."""
        return cls(quantise(values))

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(self.values)

    @property
    def primary(self) -> np.ndarray:
        """Boolean (T, H, W): the object itself, overlap included."""
        return self.values <= Level.OVERLAP

    @property
    def affected(self) -> np.ndarray:
        """Boolean (T, H, W): what the object changed, overlap included."""
        return (self.values == Level.AFFECTED) | (self.values == Level.OVERLAP)

    @property
    def changed(self) -> np.ndarray:
        """Boolean (T, H, W): every pixel that may look different in the result."""
        return self.values != Level.KEEP
