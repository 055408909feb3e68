"""A thing cut out of one frame: its pixels' place, and the soft shadow that goes with it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from aftermath.core import Box
from aftermath.scene.base import Scene

__all__ = [
    "Sprite",
    "best_frame",
    "cut_sprite",
    "footprint",
    "ground_of",
    "hull_of",
    "put",
    "stamp",
    "without_spurs",
]

_SHADOW_REACH = 1.2  # of the thing's size
_SPUR_SHARE = 0.12  # of the thing's size: what is thinner than twice this sticks out of it
_NEARLY_CONVEX = 1.4  # area of the hull over the area
_GAP_PX = 15  # what is no wider between a thing and its shadow is theirs


@dataclass(frozen=True)
class Sprite:
    """``solid`` and ``soft``: boolean (h, w), the thing and its shadow in the window at (``left``, ``top``) of frame
    ``frame``; ``hull`` boolean (h, w), ``solid`` and what may be the thing too; ``center``: (x, y) of the thing, pixels
    of that frame."""

    frame: int
    left: int
    top: int
    solid: np.ndarray
    hull: np.ndarray
    soft: np.ndarray
    center: tuple[float, float]

    @property
    def box(self) -> Box:
        """The window, pixels of its frame."""
        height, width = self.solid.shape
        return Box(self.left, self.top, self.left + width, self.top + height)

    @property
    def whole(self) -> np.ndarray:
        """The thing, what may be the thing, and its shadow: boolean (h, w)."""
        return self.hull | self.soft

    @property
    def has_shadow(self) -> bool:
        """Whether it brings a shadow of its own."""
        return bool(self.soft.sum() > 0.05 * self.solid.sum())

    @property
    def size_px(self) -> float:
        """Side of a square as large as the thing."""
        return float(np.sqrt(self.solid.sum()))


def best_frame(mask: np.ndarray, primary: np.ndarray, first: int) -> int | None:
    """The frame that shows a thing best before frame ``first``: whole, and clear of the object.

    ``mask`` and ``primary`` boolean (T, H, W). None where it is never seen.
    """
    areas = mask.sum(axis=(1, 2)).astype(float)
    if not areas.any():
        return None
    before = np.flatnonzero(areas[: max(1, first)] > 0)
    if before.size == 0:
        before = np.flatnonzero(areas > 0)[:1]
    usual = np.median(areas[before])
    whole = before[areas[before] > 0.7 * usual][-12:]
    clear = []
    for t in whole:
        away = cv2.distanceTransform((~primary[t]).astype(np.uint8), cv2.DIST_L2, 3)
        clear.append(float(away[mask[t]].min()) if primary[t].any() else 1e3)
    good = whole[np.array(clear) > 0.5 * np.sqrt(usual)]
    return int(good[-1]) if good.size else int(whole[int(np.argmax(clear))])


def cut_sprite(
    mask: np.ndarray, scene: Scene, frame: int, exclude: np.ndarray, *, outlined: bool = False
) -> Sprite | None:
    """Cut the thing ``mask`` boolean (H, W) out of ``frame``, with the soft pixels that belong to it.

    ``exclude`` boolean (H, W): the primary object and its own shadow. ``outlined``: the mask was cut along the thing's
    outline and does not come from the plate, so that nothing else may be the thing too. None where the mask is empty.
    """
    box = Box.of_mask(mask)
    if box is None:
        return None
    reach = _SHADOW_REACH * float(np.sqrt(mask.sum()))
    height, width = mask.shape
    rows, cols = box.grown(reach).slices(width, height)
    solid = mask[rows, cols]
    hull = solid if outlined else hull_of(solid)
    solid = solid | (hull & scene.soft[frame][rows, cols])
    others = (scene.labels[frame][rows, cols] > 0) & ~solid
    soft = scene.soft[frame][rows, cols] & ~exclude[rows, cols] & ~others
    soft = _touching(soft, solid)
    ys, xs = np.nonzero(mask)
    center = (float(xs.mean()), float(ys.mean()))
    return Sprite(frame, cols.start, rows.start, solid, hull, soft & ~solid, center)


def ground_of(sprite: Sprite) -> np.ndarray:
    """The thing, its shadow and what lies between them, in the sprite's window: boolean (h, w)."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_GAP_PX, _GAP_PX))
    closed = cv2.morphologyEx(sprite.whole.astype(np.uint8), cv2.MORPH_CLOSE, kernel)
    return cv2.dilate(closed, np.ones((5, 5), np.uint8)) > 0


def footprint(mask: np.ndarray, scene: Scene, frame: int, exclude: np.ndarray) -> np.ndarray:
    """Where the thing ``mask`` boolean (H, W) and its shadow lie in ``frame``, without gaps: boolean (H, W).

    ``exclude`` as in `cut_sprite`.
    """
    out = np.zeros_like(mask)
    sprite = cut_sprite(mask, scene, frame, exclude)
    if sprite is not None:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_GAP_PX, _GAP_PX))
        both = sprite.whole.astype(np.uint8)
        shape = cv2.morphologyEx(both, cv2.MORPH_CLOSE, kernel) > 0
        stamp(out, shape, sprite, *sprite.center)
    return out


def hull_of(solid: np.ndarray) -> np.ndarray:
    """What a nearly convex thing may hide besides what looks ``solid``, boolean (h, w), both together.

    Light that grazes its rim looks like shadow, and where it rested for long the plate may show it: both are taken off
    it. What sticks out of its body does not stretch the hull.
    """
    body = without_spurs(solid)
    contours, _ = cv2.findContours(body.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    hull = np.zeros(solid.shape, np.uint8)
    cv2.fillPoly(hull, [cv2.convexHull(np.concatenate(contours))], 1)
    return solid | (hull > 0) if hull.sum() < _NEARLY_CONVEX * body.sum() else solid


def without_spurs(solid: np.ndarray) -> np.ndarray:
    """The body of a thing, boolean (h, w): ``solid`` less what sticks out of it, such as a scrap of its shadow."""
    radius = max(1, round(_SPUR_SHARE * np.sqrt(np.count_nonzero(solid))))
    # opened by a disc, through distances: what a morphological filter costs grows with the disc
    core = cv2.distanceTransform(solid.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) > radius
    if not core.any():
        return solid
    away = cv2.distanceTransform(1 - core.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    body = solid & (away <= radius)
    return body if body.any() else solid


def _touching(soft: np.ndarray, solid: np.ndarray) -> np.ndarray:
    grown = cv2.dilate(solid.astype(np.uint8), np.ones((7, 7), np.uint8))
    _, labels = cv2.connectedComponents((soft | (grown > 0)).astype(np.uint8))
    keep = np.unique(labels[solid])
    return np.isin(labels, keep[keep > 0]) & soft


def stamp(canvas: np.ndarray, shape: np.ndarray, sprite: Sprite, x: float, y: float) -> None:
    """Set ``canvas`` boolean (H, W) where ``shape`` (the sprite's window) lies once its centre is at (x, y)."""
    left = sprite.left + round(x - sprite.center[0])
    top = sprite.top + round(y - sprite.center[1])
    put(canvas, shape, left, top)


def put(canvas: np.ndarray, shape: np.ndarray, left: int, top: int) -> None:
    """Set ``canvas`` boolean (H, W) where ``shape`` boolean (h, w) lies with its corner at (``left``, ``top``)."""
    height, width = canvas.shape
    y0, y1 = max(0, top), min(height, top + shape.shape[0])
    x0, x1 = max(0, left), min(width, left + shape.shape[1])
    if y0 < y1 and x0 < x1:
        canvas[y0:y1, x0:x1] |= shape[y0 - top : y1 - top, x0 - left : x1 - left]
