"""How new pixels meet the source: a seam that lies wholly inside the changed region."""

from __future__ import annotations

import cv2
import numpy as np

from aftermath.core import Level

__all__ = ["blend_weight", "seam_width_px"]

_REFERENCE_PX = 1920  # the picture whose pixels ``feather_px`` counts


def seam_width_px(feather_px: float, width: int, height: int) -> float:
    """The seam's width in a picture of this size, pixels: it grows with the picture."""
    return feather_px * max(width, height) / _REFERENCE_PX


def blend_weight(levels: np.ndarray, feather_px: float) -> np.ndarray:
    """How much of the new picture goes into each pixel.

    ``levels``: uint8 (H, W), one frame of a quadmask. ``feather_px``: the seam's width in pixels of this
    frame. Returns float32 (H, W): exactly 0 on keep; 1 on the object, since the smallest share of it shows as
    an outline; on what it affected, rising with the distance from keep to exactly 1. There is no seam along
    the picture's border, where nothing is joined.
    """
    changed = (levels != Level.KEEP).astype(np.uint8)
    if feather_px <= 0 or not changed.any() or changed.all():
        return changed.astype(np.float32)
    weight = np.zeros(levels.shape, np.float32)
    region = _reach(changed)
    distance = cv2.distanceTransform(changed[region], cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    weight[region] = np.minimum(distance / np.float32(feather_px + 1), 1)
    weight[levels <= Level.OVERLAP] = 1
    return weight


def _reach(changed: np.ndarray) -> tuple[slice, slice]:
    """The rows and columns that hold every changed pixel and one pixel of keep round them."""
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    return (
        slice(max(0, int(rows[0]) - 1), int(rows[-1]) + 2),
        slice(max(0, int(columns[0]) - 1), int(columns[-1]) + 2),
    )
