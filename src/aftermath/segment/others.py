"""Things that hide the backdrop and are not the object: a hand that feeds the dog is no part of it.

Only a still camera's backdrop shows them as whole shapes. Axes: y before x.
"""

from __future__ import annotations

import cv2
import numpy as np

from aftermath.segment.memory import Plate
from aftermath.segment.shapes import grown

__all__ = ["beside_at_first", "go_on", "hides"]

_HIDES = 0.5
_LEAST_SHARE = 0.02  # of the object's size
_SEAM_PX = 4  # the blurred border of the object
_SAME_SHARE = 0.2  # of a shape: so much was another thing in the frame before


def hides(in_front: np.ndarray) -> np.ndarray:
    """Where something hides the backdrop, bool (H, W), from how surely it does, float32 (H, W), -1 to 1."""
    return in_front > _HIDES


def beside_at_first(image: np.ndarray, mask: np.ndarray, plate: Plate, noise: float) -> np.ndarray:
    """Other things in the frame begun with, bool (H, W): what hides the ``plate`` outside of the object's ``mask``,
    bool (H, W). Whoever drew the mask left them out, though they may touch it."""
    whole = slice(0, image.shape[0]), slice(0, image.shape[1])
    differs, known = plate.evidence(image, whole, noise)
    shapes = _Shapes(hides(differs) & known & ~grown(mask, _SEAM_PX))
    return shapes.those(shapes.sizes >= _LEAST_SHARE * np.count_nonzero(mask))


def go_on(hiding: np.ndarray, before: np.ndarray, near: np.ndarray, area_px: float) -> np.ndarray:
    """Other things in the next frame, bool (H, W): of the shapes ``hiding`` the backdrop those that were others
    ``before``, and new ones that are not ``near`` the object of ``area_px``; all bool (H, W). What comes out close to
    the object may be a part of it."""
    shapes = _Shapes(hiding)
    old = shapes.count(before) > _SAME_SHARE * shapes.sizes
    new = (shapes.sizes >= _LEAST_SHARE * area_px) & (shapes.count(near) == 0)
    return shapes.those(old | new)


class _Shapes:
    """The connected pieces of a mask, bool (H, W), without specks."""

    def __init__(self, mask: np.ndarray) -> None:
        whole = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        _, labels, stats, _ = cv2.connectedComponentsWithStats(whole, connectivity=8)
        self.labels = np.asarray(labels, np.int32)
        self.sizes = stats[:, cv2.CC_STAT_AREA]

    def count(self, mask: np.ndarray) -> np.ndarray:
        """How many pixels of ``mask`` each piece holds, int (N,); the first is what is in no piece."""
        return np.bincount(self.labels[mask], minlength=len(self.sizes))

    def those(self, chosen: np.ndarray) -> np.ndarray:
        """The ``chosen`` pieces, bool (N,), as a mask."""
        chosen = chosen.copy()
        chosen[0] = False
        return chosen[self.labels]
