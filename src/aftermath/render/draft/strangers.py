"""Things that stand apart from a hole and look like nothing beside it: no piece of them may fill it.

A patch match is content to copy a whole vase into the middle of a floor, for within a copied thing every patch
fits its neighbours. Colours are compared by back-projection (Swain & Ballard, "Color Indexing", IJCV 1991): what
is seldom or never seen on the hole's rim is foreign.
"""

from __future__ import annotations

import cv2
import numpy as np

__all__ = ["find_strangers"]

_RIM_PX = 4
_BINS = (16, 32, 32)  # of lightness and the two opponent colours
_SPREAD = np.array((0.05, 0.25, 0.4, 0.25, 0.05), np.float32)  # how far a colour of the rim reaches, in bins
_SELDOM = 0.002  # of the most common colour of the rim
_SPECK_PX = 3  # what is thinner belongs to a texture
_LEAST_PX = 80  # and so does what is smaller
_MARGIN_PX = 2
_TOUCHING_PX = 3
_LEAST_STEP = 24  # levels


def find_strangers(picture: np.ndarray, hole: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Where a thing stands that does not touch the hole and whose colours its rim does not show.

    Args:
        picture: uint8 (H, W, 3), RGB, at the size at which the hole is matched; anything within ``hole``.
        hole: bool (H, W).
        usable: bool (H, W), the pixels that may be copied and whose colours tell what stands round the hole.

    Returns:
        bool (H, W); nothing where the hole has no usable rim.
    """
    rim = _grown(hole, _RIM_PX) & usable & ~hole
    if not rim.any():
        return np.zeros_like(hole)
    lab = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB)
    shares = _blurred(cv2.calcHist([lab], [0, 1, 2], rim.astype(np.uint8), list(_BINS), [0, 256] * 3))
    bins = tuple(lab[..., axis].astype(int) * count // 256 for axis, count in enumerate(_BINS))
    foreign = (shares[bins] <= _SELDOM * shares.max()) & ~hole
    speck = np.ones((_SPECK_PX, _SPECK_PX), np.uint8)
    gap = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    whole = cv2.morphologyEx(foreign.astype(np.uint8), cv2.MORPH_OPEN, speck)
    whole = cv2.morphologyEx(whole, cv2.MORPH_CLOSE, gap) * ~hole
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(whole, connectivity=8)
    labels = np.asarray(pieces, np.int32)
    apart = stats[:, cv2.CC_STAT_AREA] >= _LEAST_PX
    apart[0] = False
    apart[np.unique(labels[_grown(hole, _TOUCHING_PX)])] = False  # its hidden part may well go on in the hole
    apart &= _steps(picture, labels, len(stats)) >= _LEAST_STEP
    return _grown(apart[labels], _MARGIN_PX)


def _steps(picture: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """float (count,): the mean step in level across each label's outline; light that falls off has none."""
    around = np.ones((5, 5), np.uint8)
    step = (cv2.dilate(picture, around) - cv2.erode(picture, around)).max(axis=2)
    outline = labels != cv2.erode(labels.astype(np.float32), np.ones((3, 3), np.uint8))
    total = np.bincount(labels[outline], step[outline], count)
    return total / np.maximum(np.bincount(labels[outline], minlength=count), 1)


def _grown(mask: np.ndarray, by_px: int) -> np.ndarray:
    side = 2 * by_px + 1
    return cv2.dilate(mask.astype(np.uint8), np.ones((side, side), np.uint8)) > 0


def _blurred(shares: np.ndarray) -> np.ndarray:
    """A histogram's shares spread to the bins beside their own, axis by axis."""
    for _ in range(shares.ndim):  # each time along the first axis, which then becomes the last
        flat = np.ascontiguousarray(shares).reshape(len(shares), -1)
        flat = cv2.filter2D(flat, -1, _SPREAD[:, None], borderType=cv2.BORDER_CONSTANT)
        shares = np.moveaxis(flat.reshape(shares.shape), 0, -1)
    return shares
