"""Where the shadow of a thing falls: read off the object's own shadow, cast for a thing that comes down elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np

from aftermath.core import Action, Box, Plan

__all__ = ["Lighting", "Shadow", "find_lighting", "light_of"]

_TRY_PX = 40  # height at which shadows are compared
_LIKE = 0.5  # overlap from which a shadow is explained
_ALONG = np.linspace(-2.0, 2.0, 33)
_DOWN = np.linspace(-0.8, 0.8, 17)
_FLATNESS = (0.15, 0.3, 0.5)
_NEAR_PX = 15


@dataclass(frozen=True)
class Lighting:
    """How shadows fall on the ground of a picture.

    The shadow of a point ``h`` pixels above its foot lies ``h * along`` (x, y) pixels from it. ``flatness``: depth
    over width of a circle that lies on the ground. ``dims``: float64 (3,), what a shadow leaves of the light.
    ``spread``: how much wider its soft rim (sigma) gets per pixel of height.
    """

    along: tuple[float, float]
    flatness: float
    dims: np.ndarray
    spread: float


# where nothing shows where the light comes from
_OVERHEAD = Lighting((0.0, 0.0), 0.3, np.full(3, 0.62), 0.25)
_SPREAD = 0.03  # of a lamp or the sun


@dataclass(frozen=True)
class Shadow:
    """The shadow of one thing that stands on the ground: ``shape`` uint8 (h, w), whose corner stands at (``left``,
    ``top``) from the thing's centre."""

    lighting: Lighting
    shape: np.ndarray
    left: int
    top: int

    @staticmethod
    def of(solid: np.ndarray, center: tuple[float, float], lighting: Lighting) -> Shadow:
        """The shadow of the thing ``solid`` boolean (h, w) with its centre at ``center`` (x, y) in that window."""
        reach = round(2.5 * max(solid.shape)) + 8
        canvas = np.zeros((solid.shape[0] + 2 * reach, solid.shape[1] + 2 * reach), np.uint8)
        _draw(canvas, _rows(solid, reach, 1), lighting.along, lighting.flatness)
        box = Box.of_mask(canvas > 0)
        assert box is not None
        rows, cols = box.slices(canvas.shape[1], canvas.shape[0])
        left, top = cols.start - reach - round(center[0]), rows.start - reach - round(center[1])
        return Shadow(lighting, canvas[rows, cols], left, top)

    def softness_px(self, height_px: float) -> float:
        """Sigma of its rim with the thing ``height_px`` above the ground."""
        return 0.7 + self.lighting.spread * (0.15 * min(self.shape.shape) + height_px)

    def shade(self, height_px: float, scale: float) -> tuple[np.ndarray, float, float]:
        """The shadow with the thing ``height_px`` above the ground, everything ``scale`` times as large.

        Returns float32 (h, w) from 0 to 1, how deep it is, and the (x, y) of its corner from the thing's centre at
        rest.
        """
        sigma = self.softness_px(height_px) * scale
        margin = int(3 * sigma) + 2
        size = (round(self.shape.shape[1] * scale), round(self.shape.shape[0] * scale))
        grown = cv2.resize(self.shape.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
        padded = cv2.copyMakeBorder(grown, margin, margin, margin, margin, cv2.BORDER_CONSTANT)
        x, y = (self.left + height_px * self.lighting.along[0], self.top + height_px * self.lighting.along[1])
        return cv2.GaussianBlur(padded, (0, 0), sigma), x * scale - margin, y * scale - margin


def light_of(plan: Plan, masks: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """The object's shadow, reflection and glow, boolean of ``shape`` (T, H, W)."""
    out = np.zeros(shape, bool)
    for thing in plan.applied:
        if thing.action is Action.VANISHES and thing.id in masks:
            out |= masks[thing.id]
    return out


def find_lighting(frames: np.ndarray, primary: np.ndarray, shaded: np.ndarray) -> Lighting:
    """The lighting that explains the object's own shadow; wide and from above where none does.

    ``frames`` uint8 (T, H, W, 3), ``primary`` and ``shaded`` boolean (T, H, W): the object and its light. Tried in the
    frame that shows most of the shadow, every direction and flatness of a coarse grid.
    """
    areas = np.where(primary.any(axis=(1, 2)), shaded.sum(axis=(1, 2)), 0)
    t = int(areas.argmax())
    if areas[t] < 0.05 * primary[t].sum():
        return _OVERHEAD
    dims = _dims(frames[t], primary[t], shaded[t])
    if dims.mean() > 0.95:  # a reflection or a glow
        return _OVERHEAD
    both = Box.of_mask(primary[t] | shaded[t])
    thing = Box.of_mask(primary[t])
    assert both is not None and thing is not None
    shrink = min(1.0, _TRY_PX / thing.height)
    rows, cols = both.grown(0.5 * thing.height).slices(*primary.shape[:0:-1])
    solid, seen = (
        cv2.resize(
            m[t, rows, cols].astype(np.uint8), None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA
        )
        for m in (primary, shaded)
    )
    runs = _rows(solid > 0, 0, 2)
    best, like = None, _LIKE
    free = 1 - solid
    for along in product(_ALONG, _DOWN):
        for flatness in _FLATNESS:
            cast = np.zeros_like(solid)
            _draw(cast, runs, along, flatness)
            cast &= free
            union = cv2.countNonZero(cast | seen)
            score = cv2.countNonZero(cast & seen) / max(1, union)
            if score > like:
                best, like = (along, flatness), score
    if best is None:
        return _OVERHEAD
    (x, y), flatness = best
    return Lighting((float(x), float(y)), flatness, dims, _SPREAD)


def _dims(frame: np.ndarray, primary: np.ndarray, shaded: np.ndarray) -> np.ndarray:
    """What the shadow leaves of the light beside it, float64 (3,)."""
    core = cv2.erode(shaded.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    wide = cv2.dilate((shaded | primary).astype(np.uint8), np.ones((_NEAR_PX, _NEAR_PX), np.uint8)) > 0
    near = cv2.dilate(shaded.astype(np.uint8), np.ones((3 * _NEAR_PX, 3 * _NEAR_PX), np.uint8)) > 0
    beside = near & ~wide
    if not core.any() or not beside.any():
        return np.ones(3)
    return np.clip(np.median(frame[core], axis=0) / np.maximum(np.median(frame[beside], axis=0), 1), 0.1, 1)


def _rows(solid: np.ndarray, reach: int, step: int) -> np.ndarray:
    """The thing row by row from its foot up, as discs (N, 3): middle x, radius, y, ``reach`` added to the places."""
    out = []
    for y in np.flatnonzero(solid.any(axis=1))[::-step]:
        xs = np.flatnonzero(solid[y])
        out.append(((xs[0] + xs[-1]) / 2 + reach, (xs[-1] - xs[0] + 1) / 2, float(y + reach)))
    return np.array(out)


def _draw(canvas: np.ndarray, rows: np.ndarray, along: tuple[float, float], flatness: float) -> None:
    """Draw the shadow of the discs ``rows`` on ``canvas`` uint8 (h, w), in place.

    The lowest row is the front of the foot; the foot's middle stands half its depth further up.
    """
    x, radius, y = rows.T
    foot = y[0] - flatness * radius[0]
    height = np.maximum(0, foot - y)
    discs = np.stack([x + along[0] * height, foot + along[1] * height, radius, flatness * radius])
    discs[2:] = np.maximum(1, np.rint(discs[2:]))
    for middle_x, middle_y, across, down in set(map(tuple, np.rint(discs).astype(int).T.tolist())):
        cv2.ellipse(canvas, (middle_x, middle_y), (across, down), 0, 0, 360, 1, cv2.FILLED)
