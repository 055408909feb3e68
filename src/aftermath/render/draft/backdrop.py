"""The background plate at the source's own size, only where the picture changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from aftermath.ahead import at_once
from aftermath.core import Action, Box, Level
from aftermath.core.channels import channel_max
from aftermath.render.base import Job, Progress
from aftermath.render.draft.fill import complete
from aftermath.render.draft.grain import Grain, GrainField, measure_grain
from aftermath.scene.align import residual_flow
from aftermath.scene.base import CameraKind
from aftermath.scene.membrane import membrane
from aftermath.scene.optical_flow import warp
from aftermath.scene.plate import masked_median, sample_indices, seen_enough
from aftermath.scene.sprites import footprint

__all__ = ["Backdrop", "Frames", "View", "build_backdrop"]

_MEMORY_BYTES = 500_000_000  # what the samples of the plate may take
_MARGIN_SHARE = 0.12  # of the changed box: what the completion sees of its surroundings
_COVER_PX = 3  # analysed pixels: blur carries a thing this far past its mask
_OUTSIDE = 3
_ALWAYS = 0.9  # of the frames
_SEAM_LEVELS = 14  # a larger step across the seam is an edge, not a difference of exposure
_COARSE = 4
_INVENTED, _INSIDE = np.uint8(1), np.uint8(2)
_ONE_MAP: Any = (
    None  # OpenCV: both coordinates stand in the first map; an empty array misreads with INTER_NEAREST
)
_STRIP_PX = 64  # rows painted at a time
_GRID_PX = 16
_LIGHT_PX = 240  # long side at which the difference of exposure is measured
_ALIGN_PX = 800  # long side at which samples of the plate are laid on one another
_BEND_PX = 720  # long side at which parallax is measured


@dataclass(frozen=True)
class Frames:
    """Full-size frames kept from the pass over the source, by index: uint8 (H, W, 3)."""

    kept: dict[int, np.ndarray]


@dataclass
class Backdrop:
    """The plate of the changed part: ``image`` uint8 (h, w, 3) RGB at full size, whose corner stands at (``left``,
    ``top``) of the full-size plate canvas. ``to_plate`` float64 (T, 3, 3) takes full-size frame pixels to canvas
    pixels. ``never_seen`` boolean (h, w): what had to be invented."""

    image: np.ndarray
    never_seen: np.ndarray
    left: int
    top: int
    to_plate: np.ndarray
    gains: np.ndarray
    grain: Grain
    moves: bool

    def in_frame(
        self, t: int, view: View, grain: GrainField | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The plate as frame ``t`` sees it where ``view`` changes: bent and lit like the source around it, with grain.

        Without ``grain`` it is the bare plate. Returns uint8 (h, w, 3), a new array, the source's own pixels where
        nothing changes; uint8 (h, w), not 0 where the plate reaches and was painted; uint8 (h, w), 1 where it was
        invented.
        """
        shift = np.array([[1, 0, self.left], [0, 1, self.top], [0, 0, 1]], float)
        matrix = (
            np.linalg.inv(shift) @ self.to_plate[t] @ np.array([[1, 0, view.x], [0, 1, view.y], [0, 0, 1]])
        )
        bend = self._bend(t, matrix, view) if self.moves and grain is not None else None
        grid = _grid(matrix, view.changed.shape, bend) if self.moves else None
        gain = self.gains[t] if (self.gains[t] != 1).any() else None

        def sample(rows: slice, cols: slice) -> tuple[np.ndarray, np.ndarray]:
            image, flags = self._sample(grid, matrix, rows, cols)
            return image if gain is None else cv2.multiply(image, np.append(gain, 1).astype(float)), flags

        light = None if grain is None else _exposure(sample, view)
        painted, found = view.source.copy(), np.zeros(view.changed.shape, np.uint8)
        for rows, cols in _strips(view.changed):
            image, found[rows, cols] = sample(rows, cols)
            if grain is not None and light is not None:
                change = light.part(rows, cols)
                grain.add(change, t, (rows.start, cols.start))
                image = cv2.add(image, change, dtype=cv2.CV_8U)
            painted[rows, cols] = image
        return painted, np.bitwise_and(found, _INSIDE), np.bitwise_and(found, _INVENTED)

    def _sample(
        self, grid: np.ndarray | None, matrix: np.ndarray, rows: slice, cols: slice
    ) -> tuple[np.ndarray, np.ndarray]:
        """The plate and its flags at these rows and columns of a view, which may step over pixels."""
        if grid is None:  # whole pixels: nothing is resampled
            x, y = round(matrix[0, 2]) + cols.start, round(matrix[1, 2]) + rows.start
            shape, every = (rows.stop - rows.start, cols.stop - cols.start), slice(None, None, rows.step)
            image, flags = (_cut(values, x, y, shape)[every, every] for values in (self.image, self._flags))
            return image, flags
        where = _positions(grid, rows, cols)
        image = cv2.remap(self.image, where, _ONE_MAP, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        return image, cv2.remap(self._flags, where, _ONE_MAP, cv2.INTER_NEAREST)

    def __post_init__(self) -> None:
        self._flags = np.where(self.never_seen, _INSIDE | _INVENTED, _INSIDE).astype(np.uint8)

    def _bend(self, t: int, matrix: np.ndarray, view: View) -> np.ndarray:
        """What the plane leaves unexplained, measured outside the hole and continued into it: float32 (h', w', 2),
        coarser than the view, in its pixels."""
        height, width = view.changed.shape
        scale = max(1.0, max(height, width) / _BEND_PX)
        size = (round(width / scale), round(height / scale))
        down = np.array([[width / size[0], 0, 0], [0, height / size[1], 0], [0, 0, 1]])
        flags = cv2.INTER_AREA | cv2.WARP_INVERSE_MAP
        plate = cv2.warpPerspective(self._small()[0], self._small()[1] @ matrix @ down, size, flags=flags)
        nearest = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        reach = cv2.warpPerspective(self._flags, matrix @ down, size, flags=nearest)
        target = cv2.resize(view.source, size, interpolation=cv2.INTER_AREA)
        hole = cv2.resize(view.changed.view(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
        return residual_flow(target, plate, hole | (reach == 0)) * np.float32(scale)

    def _small(self) -> tuple[np.ndarray, np.ndarray]:
        """The plate at about the size flow is measured at, and the matrix from plate pixels to its pixels."""
        if self._shrunk is None:
            height, width = self.image.shape[:2]
            scale = max(1.0, max(height, width) / _BEND_PX)
            size = (round(width / scale), round(height / scale))
            small = cv2.resize(self.image, size, interpolation=cv2.INTER_AREA)
            self._shrunk = small, np.diag([size[0] / width, size[1] / height, 1.0])
        return self._shrunk

    _shrunk: tuple[np.ndarray, np.ndarray] | None = None


def _cut(image: np.ndarray, x: int, y: int, shape: tuple[int, ...]) -> np.ndarray:
    """The window of ``shape`` (h, w) at (x, y); 0 outside."""
    out = np.zeros((*shape, *image.shape[2:]), image.dtype)
    y0, x0 = max(0, y), max(0, x)
    y1, x1 = min(image.shape[0], y + shape[0]), min(image.shape[1], x + shape[1])
    if y0 < y1 and x0 < x1:
        out[y0 - y : y1 - y, x0 - x : x1 - x] = image[y0:y1, x0:x1]
    return out


def _strips(changed: np.ndarray) -> Iterator[tuple[slice, slice]]:
    """Bands of rows, each with the columns in which it is ``changed`` boolean (h, w): little is painted that nobody
    sees, and what is being painted stays in the processor's cache."""
    for top in range(0, len(changed), _STRIP_PX):
        rows = slice(top, min(top + _STRIP_PX, len(changed)))
        columns = np.flatnonzero(changed[rows].any(axis=0))
        if columns.size:
            yield rows, slice(int(columns[0]), int(columns[-1]) + 1)


def _grid(matrix: np.ndarray, shape: tuple[int, ...], bend: np.ndarray | None) -> np.ndarray:
    """Where in the plate a grid over a view of ``shape`` (h, w) is found: float32 (h', w', 2), (x, y).

    Sample (i, j) is pixel (i - 1, j - 1) * `_GRID_PX`; a homography is straight enough in between.
    """
    height, width = shape
    ys, xs = (np.arange(-_GRID_PX, n + 2 * _GRID_PX, _GRID_PX, dtype=np.float32) for n in (height, width))
    grid = np.stack(np.meshgrid(xs, ys), axis=-1)
    if bend is not None:
        sx, sy = bend.shape[1] / width, bend.shape[0] / height
        at = np.stack([(grid[..., 0] + 0.5) * sx - 0.5, (grid[..., 1] + 0.5) * sy - 0.5], axis=-1).astype(
            np.float32
        )
        grid = grid + cv2.remap(bend, at, _ONE_MAP, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return cv2.perspectiveTransform(grid, matrix).astype(np.float32)


def _positions(grid: np.ndarray, rows: slice, cols: slice) -> np.ndarray:
    """Where in the plate these pixels of a view are found, from its `_grid`: float32 (h, w, 2), (x, y)."""
    return _enlarged(grid, rows, cols, _GRID_PX, first=1)


def _enlarged(coarse: np.ndarray, rows: slice, cols: slice, step: int, first: int = 0) -> np.ndarray:
    """Rows and columns of a picture of which ``coarse`` has every ``step``-th pixel; pixel 0 is sample ``first``."""
    stride_y, stride_x = rows.step or 1, cols.step or 1
    move = np.array(
        [[stride_x / step, 0, cols.start / step + first], [0, stride_y / step, rows.start / step + first]]
    )
    size = -(-(cols.stop - cols.start) // stride_x), -(-(rows.stop - rows.start) // stride_y)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(coarse, move, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)


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
class _Light:
    """What must be added to the plate to be as bright as its surroundings: ``coarse`` float32 (h', w', 3) has every
    ``step``-th pixel of the view."""

    coarse: np.ndarray
    step: int

    def part(self, rows: slice, cols: slice) -> np.ndarray:
        """float32 (h, w, 3), a new array."""
        return _enlarged(self.coarse, rows, cols, self.step)


def _exposure(sample: Callable[[slice, slice], tuple[np.ndarray, np.ndarray]], view: View) -> _Light:
    """The smooth difference of exposure that would show as a seam; ``sample`` gives the plate and its flags."""
    height, width = view.changed.shape
    step = max(_COARSE, -(-max(height, width) // _LIGHT_PX))  # light is smooth: a large picture needs no more
    every = (slice(0, height, step), slice(0, width, step))
    image, flags = sample(*every)
    unknown = (view.changed[every] | ((flags & _INSIDE) == 0)).view(np.uint8)
    off = view.source[every].astype(np.float32) - image
    hole = (cv2.dilate(unknown, np.ones((3, 3), np.uint8)) > 0) | (channel_max(np.abs(off)) > _SEAM_LEVELS)
    off[hole] = 0  # what is all hole has nothing to match
    return _Light(cv2.GaussianBlur(membrane(off, hole), (0, 0), 3.0), step)


def build_backdrop(job: Job, wanted: dict[int, Box], progress: Progress) -> tuple[Backdrop, Frames]:
    """One pass over the source: sample the plate where the picture changes; keep whole the frames in ``wanted``,
    whose boxes (analysed pixels) the plate must hold too."""
    clip, scene = job.clip, job.scene
    up = np.diag([clip.source_width / clip.width, clip.source_height / clip.height, 1.0])
    to_plate = up @ scene.camera.to_plate @ np.linalg.inv(up)
    free = _free(job)
    box = _changed_box(job, to_plate, wanted)
    left, top = int(box.x0), int(box.y0)
    width, height = int(box.x1) - left, int(box.y1) - top
    limit = max(7, min(48, _MEMORY_BYTES // (width * height * 4)))
    index = sample_indices(len(clip), limit)
    samples, shows, kept = _gather(
        job, to_plate, free, (left, top, width, height), index, set(wanted), progress
    )
    moves = scene.camera.kind is not CameraKind.STILL
    # where something else is in the way for longer than the object is, that is what stands there
    instead = ~seen_enough(shows == 2) & ((shows == 1).sum(axis=0) > (shows == 0).sum(axis=0))
    valid = (shows == 2) | ((shows == 1) & instead)
    if moves:
        _align_samples(samples, valid)
    image = masked_median(samples, valid)
    seen = seen_enough(valid)
    grain = _grain(samples, valid, image)
    never_seen = ~seen & _needed(job, to_plate, (left, top, width, height))
    unseen = ~seen & ~never_seen  # no frame will show it; whatever is there now is better than nothing
    image[unseen] = samples[len(samples) // 2][unseen]
    image = complete(image, never_seen, seen, seed=job.seed)
    backdrop = Backdrop(image, never_seen, left, top, to_plate, scene.gains, grain, moves)
    return backdrop, Frames(kept)


def _free(job: Job) -> np.ndarray:
    """uint8 (T, H, W) at the analysed size: 2 where a pixel shows the background, 1 where it may show something else
    that is not affected, 0 where it shows the object or what it changed."""
    kernel = np.ones((2 * _COVER_PX + 1, 2 * _COVER_PX + 1), np.uint8)
    gone = job.quadmask.primary.copy()
    for thing in job.plan.affected:
        if thing.id not in job.masks:
            continue
        masks = job.masks[thing.id]
        if thing.action is Action.VANISHES:
            gone |= masks & job.quadmask.changed if thing.applied else False
            continue
        # what is not acted on and never leaves its place is background
        moved = thing.applied | (masks.mean(axis=0) < _ALWAYS)
        for t, mask in enumerate(masks):  # before it is touched too: it hides what will be seen
            gone[t] |= footprint(mask, job.scene, t, job.quadmask.primary[t]) & moved
    out = np.full(gone.shape, 2, np.uint8)
    for t, frame in enumerate(out):
        passing = cv2.dilate((job.scene.labels[t] > 0).astype(np.uint8), kernel) > 0
        before = _filled(gone[t])  # a hole in the object shows what is behind, or a thing that stands before
        frame[passing | job.scene.soft[t] | before] = 1
        frame[passing & before] = 0
        frame[cv2.dilate(gone[t].astype(np.uint8), kernel) > 0] = 0
    return out


def _filled(mask: np.ndarray) -> np.ndarray:
    """A boolean (H, W) mask with its holes, boolean (H, W)."""
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.zeros(mask.shape, np.uint8), outlines, -1, 1, cv2.FILLED) > 0


def _changed_box(job: Job, to_plate: np.ndarray, wanted: dict[int, Box]) -> Box:
    """What changes in any frame and what is cut out, with a margin, in full-size canvas pixels (whole numbers)."""
    clip = job.clip
    sx, sy = clip.source_width / clip.width, clip.source_height / clip.height
    corners = []
    changed = ((t, Box.of_mask(frame != Level.KEEP)) for t, frame in enumerate(job.quadmask))
    for t, small in (*changed, *wanted.items()):
        if small is None:
            continue
        box = small.scaled(sx, sy)
        points = np.array([[box.x0, box.y0], [box.x1, box.y0], [box.x0, box.y1], [box.x1, box.y1]])
        corners.append(cv2.perspectiveTransform(points[:, None], to_plate[t])[:, 0])
    if not corners:
        return Box(0, 0, clip.source_width, clip.source_height)
    xy = np.concatenate(corners)
    (x0, y0), (x1, y1) = np.floor(xy.min(axis=0)), np.ceil(xy.max(axis=0))
    margin = round(_MARGIN_SHARE * max(x1 - x0, y1 - y0)) + 24
    return _inside_canvas(Box(x0, y0, x1, y1).grown(margin), job, to_plate)


def _needed(job: Job, to_plate: np.ndarray, window: tuple[int, int, int, int]) -> np.ndarray:
    """What of the plate's window some frame will show: boolean (height, width), a little more than needed."""
    left, top, width, height = window
    size = (max(1, width // _COARSE), max(1, height // _COARSE))
    down = np.diag([size[0] / width, size[1] / height, 1.0]) @ np.array(
        [[1, 0, -left], [0, 1, -top], [0, 0, 1]]
    )
    up = np.diag([job.clip.source_width / job.clip.width, job.clip.source_height / job.clip.height, 1.0])
    out = np.zeros(size[::-1], np.uint8)
    for t, levels in enumerate(job.quadmask):
        changed = (levels != Level.KEEP).view(np.uint8) * 255
        out = np.maximum(out, cv2.warpPerspective(changed, down @ to_plate[t] @ up, size))
    out = cv2.dilate(out, np.ones((5, 5), np.uint8))
    return cv2.resize(out, (width, height), interpolation=cv2.INTER_LINEAR) > 0


def _inside_canvas(box: Box, job: Job, to_plate: np.ndarray) -> Box:
    clip = job.clip
    frame = np.array([[[0, 0]], [[clip.source_width, 0]], [[0, clip.source_height]],
                      [[clip.source_width, clip.source_height]]], float)  # fmt: skip
    corners = np.concatenate([cv2.perspectiveTransform(frame, matrix)[:, 0] for matrix in to_plate])
    (left, top), (right, bottom) = np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0))
    return Box(max(box.x0, left), max(box.y0, top), min(box.x1, right), min(box.y1, bottom))


def _gather(
    job: Job,
    to_plate: np.ndarray,
    free: np.ndarray,
    window: tuple[int, int, int, int],
    index: np.ndarray,
    wanted: set[int],
    progress: Progress,
) -> tuple[np.ndarray, np.ndarray, dict[int, np.ndarray]]:
    left, top, width, height = window
    samples = np.zeros((len(index), height, width, 3), np.uint8)
    shows = np.zeros((len(index), height, width), np.uint8)
    kept: dict[int, np.ndarray] = {}
    place = {int(t): n for n, t in enumerate(index)}
    shift = np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1]], float)
    needed = sorted(wanted | place.keys())
    for done, (t, frame) in enumerate(zip(needed, job.source(needed), strict=False)):
        if t in wanted:
            kept[t] = frame
        if t in place:
            n = place[t]
            level = cv2.resize(free[t], frame.shape[1::-1], interpolation=cv2.INTER_NEAREST)
            samples[n], shows[n] = _window(frame, level, shift @ to_plate[t], window)
            gain = job.scene.gains[t]
            if (gain != 1).any():
                samples[n] = np.clip(samples[n] / gain, 0, 255)
        progress((done + 1) * len(job.clip) // len(needed), 2 * len(job.clip))
    return samples, shows, kept


def _window(
    frame: np.ndarray, free: np.ndarray, matrix: np.ndarray, window: tuple[int, int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """One frame and its free pixels, `_OUTSIDE` past its border, in the window of the canvas."""
    left, top, width, height = window
    whole = np.array_equal(matrix, np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1]], float))
    if whole and left >= 0 and top >= 0 and left + width <= frame.shape[1] and top + height <= frame.shape[0]:
        rows, cols = slice(top, top + height), slice(left, left + width)
        return frame[rows, cols], free[rows, cols]
    image = cv2.warpPerspective(frame, matrix, (width, height), flags=cv2.INTER_CUBIC)
    nearest, size = cv2.INTER_NEAREST, (width, height)
    return image, cv2.warpPerspective(free, matrix, size, flags=nearest, borderValue=_OUTSIDE)


def _align_samples(samples: np.ndarray, valid: np.ndarray) -> None:
    """Bend every sample onto a small first plate, so that parallax does not blur the plate; in place."""
    num, height, width = valid.shape
    scale = max(1.0, max(height, width) / _ALIGN_PX)
    size = (round(width / scale), round(height / scale))
    small = np.stack([cv2.resize(sample, size, interpolation=cv2.INTER_AREA) for sample in samples])
    shows = np.stack(
        [cv2.resize(ok.view(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0 for ok in valid]
    )
    target, unseen = masked_median(small, shows), ~shows.any(axis=0)

    def bent(n: int) -> np.ndarray:
        flow = residual_flow(target, small[n], ~shows[n] | unseen) * np.float32(scale)
        return warp(samples[n], cv2.resize(flow, (width, height), interpolation=cv2.INTER_LINEAR))

    for n, sample in enumerate(at_once(bent, range(num))):
        samples[n] = sample


def _grain(samples: np.ndarray, valid: np.ndarray, image: np.ndarray) -> Grain:
    """From windows that every sample shows; from small ones where no large one is free."""
    always = valid.mean(axis=0) > 0.8
    residuals: list[np.ndarray] = []
    for box in (64, 32, 16):
        for top in range(0, image.shape[0] - box, box):
            for left in range(0, image.shape[1] - box, box):
                part = (slice(top, top + box), slice(left, left + box))
                n = (top // box + left // box) % len(samples)
                if always[part].all() and valid[n][part].all():
                    residuals.append(samples[n][part].astype(np.int16) - image[part])
        if residuals:
            break
    return measure_grain(residuals[:: max(1, len(residuals) // 40)])
