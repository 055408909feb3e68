"""The quadmask from the three renderings, and whether a pair is worth keeping. Pure, numpy and OpenCV."""

from __future__ import annotations

import cv2
import numpy as np

from aftermath.core import Level

__all__ = ["DIFFERENCE", "differs", "quadmask_of", "reason_to_reject", "still_alike"]

DIFFERENCE = 10  # of 255, on any channel: what counts as another look; the reference takes 15 and no shadows
_SPECK_PX = 12  # smaller changes are noise of the shadow map
_HOLE_PX = 40
_MIN_OBJECT_PX = 60  # on the frame that shows most of it, at 384x224
_MAX_OBJECT_SHARE = 0.4
_MIN_CHANGE_PX = 40
_MIN_MOVED_M = 0.03
_NO_MOVED_M = 1e-3
_NOMINAL_PX = 384 * 224


def quadmask_of(
    primary: np.ndarray, seen: np.ndarray, unseen: np.ndarray, truth: np.ndarray, displaced: np.ndarray
) -> np.ndarray:
    """The four levels, uint8 (T, H, W).

    ``primary``: boolean (T, H, W), the removed's own pixels; the renderings, uint8 (T, H, W, 3): ``seen`` shows
    all, in ``unseen`` the removed are invisible but act, ``truth`` was simulated without them. Affected is what
    differs between the first and the last outside of the removed (shadow and reflection count), and between the
    last two inside; and everywhere what belongs, in either world, to a thing that is elsewhere in the other
    (``displaced``, boolean (T, H, W)), for two of its places may look alike by chance. Frame 0 has no affected
    pixels, for the weights were trained so.
    """
    values = np.full(primary.shape, Level.KEEP, np.uint8)
    values[primary] = Level.PRIMARY
    for t in range(1, len(primary)):
        outside = _tidy(differs(seen[t], truth[t]) & ~primary[t])
        inside = _tidy(differs(unseen[t], truth[t]) & primary[t])
        values[t][(outside | displaced[t]) & ~primary[t]] = Level.AFFECTED
        values[t][(inside | displaced[t]) & primary[t]] = Level.OVERLAP
    return values


def still_alike(moved_m: dict[str, float], *, interacts: bool) -> str:
    """Why the two worlds are of no use, by motion alone; empty where they are.

    ``moved_m``: how far each thing that stays is from itself in the other world; ``interacts``: whether the family
    promises that any is.
    """
    furthest = max(moved_m.values(), default=0.0)
    if not interacts:
        return "" if furthest < _NO_MOVED_M else "something else moves differently"
    return "" if furthest > _MIN_MOVED_M else "nothing moves differently"


def reason_to_reject(
    quadmask: np.ndarray, physics: np.ndarray, *, interacts: bool, lights: bool = False
) -> str:
    """Why a pair teaches nothing, in words; empty where it does.

    ``physics``: boolean (T, H, W), where the motion of what stays changed the picture; ``lights``: whether the family
    promises a shadow or a reflection that is seen.
    """
    scale = quadmask[0].size / _NOMINAL_PX
    object_px = (quadmask <= Level.OVERLAP).sum(axis=(1, 2)).max()
    if object_px < _MIN_OBJECT_PX * scale:
        return "the object is hardly seen"
    if object_px > _MAX_OBJECT_SHARE * quadmask[0].size:
        return "the object fills the picture"
    if interacts and physics.sum(axis=(1, 2)).max() < _MIN_CHANGE_PX * scale:
        return "nothing visible changes"
    if lights and (quadmask == Level.AFFECTED).sum(axis=(1, 2)).max() < _MIN_CHANGE_PX * scale:
        return "neither shadow nor reflection is seen"
    return ""


def differs(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Where two pictures, uint8 (H, W, 3), look different: boolean (H, W)."""
    return cv2.absdiff(one, other).max(axis=-1) >= DIFFERENCE


def _tidy(mask: np.ndarray) -> np.ndarray:
    """Fill small holes, such as a reflection of two colours has, and drop specks of a boolean (H, W)."""
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    return _large(~_large(closed == 0, _HOLE_PX), _SPECK_PX)


def _large(mask: np.ndarray, least_px: int) -> np.ndarray:
    """The connected parts of a boolean (H, W) that have so many pixels."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    large = stats[:, cv2.CC_STAT_AREA] >= least_px
    large[0] = False
    return large[np.asarray(labels, np.intp)]
