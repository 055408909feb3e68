"""The background of a moving camera's picture, taken from the frames that show it nearest in time.

No single picture holds what all frames of such a camera see; frames that follow one another see almost the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from aftermath.core import Box
from aftermath.scene.parallax import ONE_MAP, Parallax, enlarged, frame_grid

__all__ = [
    "BACKGROUND",
    "INSIDE",
    "Near",
    "Nearest",
    "Registration",
    "Sample",
    "Shot",
    "View",
    "moved",
    "shown",
]

BACKGROUND = 2
"""Of what a pixel shows, for sure."""

INSIDE = np.uint8(2)
"""A flag: the plate reaches there."""

_FEATHER_PX = 1.5  # analysed pixels
_ALL = 0.98  # of a pixel: the rest is not looked for

Sample = Callable[[slice, slice], tuple[np.ndarray, np.ndarray]]
"""A picture and its flags at rows and columns of a view."""


@dataclass(frozen=True)
class View:
    """A part of one source frame: ``source`` uint8 (h, w, 3) RGB whose corner is at (``x``, ``y``); ``changed``
    boolean (h, w), what the result may change there."""

    source: np.ndarray
    changed: np.ndarray
    x: int
    y: int

    @staticmethod
    def around(source: np.ndarray, changed: np.ndarray) -> View | None:
        """The part of a whole frame that holds everything ``changed``, with a margin; None where nothing is."""
        box = Box.of_mask(changed)
        if box is None:
            return None
        height, width = changed.shape
        rows, cols = box.grown(24 + 0.08 * max(box.width, box.height)).slices(width, height)
        return View(source[rows, cols], changed[rows, cols], cols.start, rows.start)


@dataclass(frozen=True)
class Registration:
    """How full-size frames lie on the plate: ``to_plate`` float64 (T, 3, 3) takes frame pixels to canvas pixels,
    ``parallax`` is what that leaves unexplained. Points are float32 (h, w, 2), (x, y)."""

    to_plate: np.ndarray
    parallax: Parallax | None

    def on_plate(self, t: int, points: np.ndarray) -> np.ndarray:
        """Where pixels of frame ``t`` are on the canvas."""
        points = cv2.perspectiveTransform(points, self.to_plate[t])
        return points if self.parallax is None else self.parallax[t].to_plate(points)

    def in_frame(self, t: int, points: np.ndarray) -> np.ndarray:
        """Where pixels of the canvas are in frame ``t``."""
        points = points if self.parallax is None else self.parallax[t].from_plate(points)
        return cv2.perspectiveTransform(points, np.linalg.inv(self.to_plate[t]))

    def seen_from(self, t: int, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For `seen_in`: where pixels of frame ``t`` are on the canvas, unbent and as they lie there."""
        places = self.on_plate(t, points)
        plain = cv2.perspectiveTransform(points, self.to_plate[t])
        return plain if self.parallax is None else plain - self.parallax[t].shift(places), places

    def seen_in(
        self, other: int, seen: tuple[np.ndarray, np.ndarray], part: tuple[slice, slice]
    ) -> np.ndarray:
        """Where a ``part`` of another frame's points is in frame ``other``.

        Only the difference of the two bends counts: a place that is not known well, where near things hide far ones,
        does little harm between frames that see it from about the same side.
        """
        plain, places = seen[0][part], seen[1][part]
        if self.parallax is not None:
            plain = plain + self.parallax[other].shift(places)
        return cv2.perspectiveTransform(plain.astype(np.float32), np.linalg.inv(self.to_plate[other]))


@dataclass(frozen=True)
class Shot:
    """A part of source frame ``frame``: ``image`` uint8 (h, w, 3) whose corner is at (``x``, ``y``); `shown` of the
    whole frame."""

    frame: int
    image: np.ndarray
    shows: np.ndarray
    x: int
    y: int


@dataclass(frozen=True)
class Nearest:
    """Frames from which the background of a moving camera's picture is taken.

    Near things pass far ones, so that no single picture holds what all frames show; but frames that follow one another
    see almost the same. ``shots`` are full-size; ``free`` uint8 (T, H, W) is `_free`; ``gains`` float32 (T, 3).
    """

    shots: tuple[Shot, ...]
    free: np.ndarray
    gains: np.ndarray
    registration: Registration
    scale: tuple[float, float]  # full-size pixels an analysed one

    def around(self, t: int, view: View) -> Near:
        """Which frame shows which part of frame ``t``'s background: the nearest that shows it at all."""
        step = 2 * max(1, int(min(self.scale)))
        points = frame_grid(moved(view.x, view.y), view.changed.shape, step)
        seen = self.registration.seen_from(t, points)
        left = np.ones(points.shape[:2], np.float32)
        parts: list[_Part] = []
        for shot in sorted(self.shots, key=lambda shot: abs(shot.frame - t)):
            box = Box.of_mask(left > 1 - _ALL)
            if box is None:
                break
            if shot.frame == t:
                continue
            here = box.slices(points.shape[1], points.shape[0])
            there = self.registration.seen_in(shot.frame, seen, here)
            share = self._at(shot.shows, there) * _within(there, shot) * left[here]
            if share.max() < 1 - _ALL:
                continue
            left[here] -= share
            weight, grid = np.zeros_like(left), np.zeros_like(points)
            weight[here], grid[here] = share, there - np.array([shot.x, shot.y], np.float32)
            gain = self.gains[shot.frame]
            parts.append(_Part(shot.image, grid, weight, None if (gain == 1).all() else 1 / gain))
        return Near(tuple(parts), left, self._at(shown(self.free[t]), points), step)

    def _at(self, shows: np.ndarray, points: np.ndarray) -> np.ndarray:
        """`shown` at full-size ``points`` of its frame, float32 (h, w); 0 outside of it."""
        at = ((points + 0.5) / np.array(self.scale) - 0.5).astype(np.float32)
        return cv2.remap(shows, at, ONE_MAP, cv2.INTER_LINEAR).astype(np.float32) / 255


def shown(free: np.ndarray) -> np.ndarray:
    """How much of the background a frame shows, uint8 (H, W), 255 where nothing else, from its `_free`; soft."""
    shows = np.where(free == BACKGROUND, 255, 0).astype(np.uint8)
    inner = cv2.erode(shows, np.ones((3, 3), np.uint8))
    soft = cv2.GaussianBlur(inner, (0, 0), _FEATHER_PX).astype(np.int16)
    return np.clip(2 * soft - 255, 0, 255).astype(np.uint8) & shows


@dataclass(frozen=True)
class _Part:
    """What one frame gives: ``image`` uint8 (h, w, 3), where a coarse ``grid`` over the view is found in it, with which
    ``weight`` float32 (h', w'), and what its exposure must be multiplied by, if anything."""

    image: np.ndarray
    grid: np.ndarray
    weight: np.ndarray
    gain: np.ndarray | None

    def columns(self, rows: slice, cols: slice, step: int) -> tuple[slice, slice] | None:
        """Which of the asked-for columns this gives anything to: their places among those, and themselves."""
        near = self.weight[rows.start // step : rows.stop // step + 3]
        give = np.flatnonzero(near.max(axis=0) > 1 - _ALL)
        if not give.size:
            return None
        stride, number = cols.step or 1, -(-(cols.stop - cols.start) // (cols.step or 1))
        first = max(0, ((int(give[0]) - 2) * step - cols.start) // stride)
        last = min(number, -(-(int(give[-1]) * step - cols.start) // stride) + 1)
        if first >= last:
            return None
        return slice(first, last), slice(cols.start + first * stride, cols.start + last * stride, cols.step)


@dataclass(frozen=True)
class Near:
    """One view's background in ``parts``; ``left`` float32 (h', w') is the plate's share, ``own`` how much of the
    frame itself is background. Every ``step``-th pixel of the view has a sample; see `frame_grid`."""

    parts: tuple[_Part, ...]
    left: np.ndarray
    own: np.ndarray
    step: int

    def repainted(self, view: View) -> View:
        """``view``, changed only where it does not show the background already."""
        everything = (slice(0, view.changed.shape[0]), slice(0, view.changed.shape[1]))
        return replace(view, changed=view.changed & (self.own_share(*everything) < _ALL))

    def own_share(self, rows: slice, cols: slice) -> np.ndarray:
        """How much of the frame's own pixels stays, float32 (h, w)."""
        return enlarged(self.own, rows, cols, self.step, first=1)

    def plate_share(self, rows: slice, cols: slice) -> np.ndarray:
        """How much the plate gives, float32 (h, w)."""
        return enlarged(self.left, rows, cols, self.step, first=1)

    def sample(self, plate: Sample, rows: slice, cols: slice) -> tuple[np.ndarray, np.ndarray]:
        """The parts at these rows and columns, uint8 (h, w, 3), over what ``plate`` gives, and its flags where it
        still shows."""
        shape = (
            -(-(rows.stop - rows.start) // (rows.step or 1)),
            -(-(cols.stop - cols.start) // (cols.step or 1)),
        )
        image, weight = np.zeros((*shape, 3), np.uint8), np.zeros(shape, np.float32)
        flags = np.full(shape, INSIDE)
        whole = _Part(np.empty(0), self.left, self.left, None)
        for part in (whole, *self.parts):
            found = part.columns(rows, cols, self.step)
            if found is None:
                continue
            inside, here = found
            share = enlarged(part.weight, rows, here, self.step, first=1)
            if part is whole:
                other, seen = plate(rows, here)
                flags[:, inside] = np.where(share > 0.5, seen, INSIDE)
            else:
                where = enlarged(part.grid, rows, here, self.step, first=1)
                other = cv2.remap(
                    part.image, where, ONE_MAP, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
                )
            if part.gain is not None:
                other = cv2.multiply(other, np.append(part.gain, 1).astype(float))
            under = np.ascontiguousarray(image[:, inside]), np.ascontiguousarray(weight[:, inside])
            image[:, inside] = cv2.blendLinear(under[0], other, under[1], share)
            weight[:, inside] += share
        return image, flags


def _within(points: np.ndarray, shot: Shot) -> np.ndarray:
    """Whether full-size points float32 (h, w, 2) lie in what is kept of a frame, boolean (h, w)."""
    height, width = shot.image.shape[:2]
    x, y = points[..., 0] - shot.x, points[..., 1] - shot.y
    return (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)


def moved(x: float, y: float) -> np.ndarray:
    """The homography that adds (x, y)."""
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], float)
