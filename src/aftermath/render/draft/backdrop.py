"""The background plate at the source's own size, only where the picture changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from aftermath.ahead import at_once
from aftermath.core import Action, Box, Level
from aftermath.core.channels import channel_max
from aftermath.render.base import Job, Progress
from aftermath.render.draft.fill import complete
from aftermath.render.draft.grain import Grain, GrainField, measure_grain
from aftermath.render.draft.nearest import (
    BACKGROUND,
    INSIDE,
    Nearest,
    Registration,
    Sample,
    Shot,
    View,
    moved,
    shown,
)
from aftermath.scene.base import CameraKind
from aftermath.scene.membrane import membrane
from aftermath.scene.parallax import ONE_MAP, enlarged, frame_grid
from aftermath.scene.plate import masked_median, sample_indices, seen_enough
from aftermath.scene.sprites import footprint

__all__ = ["Backdrop", "Frames", "build_backdrop"]

_MEMORY_BYTES = 500_000_000  # what the samples of the plate may take
_MARGIN_SHARE = 0.12  # of the changed box: what the completion sees of its surroundings
_COVER_PX = 3  # analysed pixels: blur carries a thing this far past its mask
_GONE, _MAYBE, _OUTSIDE = 0, 1, 3  # and BACKGROUND
_ALWAYS, _ALMOST_ALWAYS = 0.9, 0.8  # of the frames
_SEAM_LEVELS = 14  # a larger step across the seam is an edge, not a difference of exposure
_COARSE = 4
_INVENTED = np.uint8(1)
_STRIP_PX = 64  # rows painted at a time
_GAP_PX = 96  # a gap less wide is painted too
_GRID_PX = 16
_GRAIN_PLACES = 80
_FEW = 13
_LIGHT_PX = 240  # long side at which the difference of exposure is measured


@dataclass(frozen=True)
class Frames:
    """Full-size frames kept from the pass over the source, by index: uint8 (H, W, 3)."""

    kept: dict[int, np.ndarray]


@dataclass
class Backdrop:
    """The plate of the changed part: ``image`` uint8 (h, w, 3) RGB at full size, whose corner stands at (``left``,
    ``top``) of the full-size plate canvas. ``never_seen`` boolean (h, w): what had to be invented. ``nearest``: where
    the camera moves, the frames that the picture is taken from before the plate is."""

    image: np.ndarray
    never_seen: np.ndarray
    left: int
    top: int
    registration: Registration
    gains: np.ndarray
    grain: Grain
    moves: bool
    nearest: Nearest | None

    def in_frame(
        self, t: int, view: View, grain: GrainField | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The background as frame ``t`` sees it where ``view`` changes: lit like the source around it, with grain.

        Without ``grain`` it is the bare plate. Returns uint8 (h, w, 3), a new array, the source's own pixels where
        nothing changes; uint8 (h, w), not 0 where the background is known, painted or the source's own; uint8 (h, w),
        1 where it was invented.
        """
        gain = self.gains[t] if (self.gains[t] != 1).any() else None
        grid = self._grid(t, view)
        near = None if grain is None or self.nearest is None else self.nearest.around(t, view)
        found = np.zeros(view.changed.shape, np.uint8)
        if near is not None:
            whole, view = view, near.repainted(view)
            found[whole.changed & ~view.changed] = (
                INSIDE  # the frame's own background, and no plate is needed
            )

        def sample(rows: slice, cols: slice) -> tuple[np.ndarray, np.ndarray]:
            if near is None:
                image, flags = self._sample(grid, rows, cols)
            else:
                image, flags = near.sample(lambda rows, cols: self._sample(grid, rows, cols), rows, cols)
            return image if gain is None else cv2.multiply(image, np.append(gain, 1).astype(float)), flags

        light = None if grain is None else _exposure(sample, view)
        painted = view.source.copy()
        for rows, cols in _strips(view.changed):
            image, found[rows, cols] = sample(rows, cols)
            if grain is not None and light is not None:
                change = light.part(rows, cols)
                if near is None:
                    grain.add(change, t, (rows.start, cols.start))
                else:  # what comes from a frame has its grain
                    made = np.zeros_like(change)
                    grain.add(made, t, (rows.start, cols.start))
                    change += made * near.plate_share(rows, cols)[..., None]
                image = cv2.add(image, change, dtype=cv2.CV_8U)
            if near is not None:
                own = near.own_share(rows, cols)
                image = cv2.blendLinear(np.ascontiguousarray(view.source[rows, cols]), image, own, 1 - own)
            painted[rows, cols] = image
        return painted, np.bitwise_and(found, INSIDE), np.bitwise_and(found, _INVENTED)

    def _grid(self, t: int, view: View) -> np.ndarray:
        """Where in ``image`` a grid over ``view`` is found; see `frame_grid`."""
        points = frame_grid(moved(view.x, view.y), view.changed.shape, _GRID_PX)
        return self.registration.on_plate(t, points) - np.array([self.left, self.top], np.float32)

    def _sample(self, grid: np.ndarray, rows: slice, cols: slice) -> tuple[np.ndarray, np.ndarray]:
        """The plate and its flags at these rows and columns of a view, which may step over pixels."""
        if not self.moves:  # whole pixels: nothing is resampled
            x, y = round(float(grid[1, 1, 0])) + cols.start, round(float(grid[1, 1, 1])) + rows.start
            shape, every = (rows.stop - rows.start, cols.stop - cols.start), slice(None, None, rows.step)
            image, flags = (_cut(values, x, y, shape)[every, every] for values in (self.image, self._flags))
            return image, flags
        where = _positions(grid, rows, cols)
        image = cv2.remap(self.image, where, ONE_MAP, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        return image, cv2.remap(self._flags, where, ONE_MAP, cv2.INTER_NEAREST)

    def __post_init__(self) -> None:
        self._flags = np.where(self.never_seen, INSIDE | _INVENTED, INSIDE).astype(np.uint8)


def _cut(image: np.ndarray, x: int, y: int, shape: tuple[int, ...]) -> np.ndarray:
    """The window of ``shape`` (h, w) at (x, y); 0 outside."""
    out = np.zeros((*shape, *image.shape[2:]), image.dtype)
    y0, x0 = max(0, y), max(0, x)
    y1, x1 = min(image.shape[0], y + shape[0]), min(image.shape[1], x + shape[1])
    if y0 < y1 and x0 < x1:
        out[y0 - y : y1 - y, x0 - x : x1 - x] = image[y0:y1, x0:x1]
    return out


def _strips(changed: np.ndarray) -> Iterator[tuple[slice, slice]]:
    """Bands of rows, each with runs of columns in which it is ``changed`` boolean (h, w): little is painted that nobody
    sees, and what is being painted stays in the processor's cache."""
    for top in range(0, len(changed), _STRIP_PX):
        rows = slice(top, min(top + _STRIP_PX, len(changed)))
        columns = np.flatnonzero(changed[rows].any(axis=0))
        for run in np.split(columns, np.flatnonzero(np.diff(columns) > _GAP_PX) + 1):
            if run.size:
                yield rows, slice(int(run[0]), int(run[-1]) + 1)


def _positions(grid: np.ndarray, rows: slice, cols: slice) -> np.ndarray:
    """Where these pixels of a view are found, from its `frame_grid`: float32 (h, w, 2), (x, y)."""
    return enlarged(grid, rows, cols, _GRID_PX, first=1)


@dataclass(frozen=True)
class _Light:
    """What must be added to the plate to be as bright as its surroundings: ``coarse`` float32 (h', w', 3) has every
    ``step``-th pixel of the view."""

    coarse: np.ndarray
    step: int

    def part(self, rows: slice, cols: slice) -> np.ndarray:
        """float32 (h, w, 3), a new array."""
        return enlarged(self.coarse, rows, cols, self.step)


def _exposure(sample: Sample, view: View) -> _Light:
    """The smooth difference of exposure that would show as a seam; ``sample`` gives the plate and its flags."""
    height, width = view.changed.shape
    step = max(_COARSE, -(-max(height, width) // _LIGHT_PX))  # light is smooth: a large picture needs no more
    every = (slice(0, height, step), slice(0, width, step))
    image, flags = sample(*every)
    unknown = (view.changed[every] | ((flags & INSIDE) == 0)).view(np.uint8)
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
    limit = max(7, min(48, _MEMORY_BYTES // (width * height * 3)))
    index = sample_indices(len(clip), limit)
    moves = scene.camera.kind is not CameraKind.STILL
    scale = (clip.source_width / clip.width, clip.source_height / clip.height)
    parallax = None if scene.parallax is None else scene.parallax.scaled(*scale)
    registration = Registration(to_plate, parallax)
    shots, kept = _gather(job, free, registration, box, index, set(wanted), progress)
    # where the camera moves, the plate is what the nearest frames leave
    laid = _Laid(
        shots[::2] if moves and len(shots) > _FEW else shots,
        free,
        scene.gains,
        registration,
        (left, top),
        scale,
        moves,
    )
    needed = _needed(job, to_plate, (left, top, width, height))
    image, seen, always = _merged(laid, needed)
    grain = _grain(laid, always, image)
    never_seen = ~seen & needed
    image = complete(image, never_seen, seen, seed=job.seed)
    nearest = None
    if scene.parallax is not None and scene.parallax.shape.any():  # else the plate holds what all frames show
        nearest = Nearest(shots, free, scene.gains, registration, scale)
    return Backdrop(image, never_seen, left, top, registration, scene.gains, grain, moves, nearest), Frames(
        kept
    )


@dataclass(frozen=True)
class _Laid:
    """Shots laid on the plate's window, whose ``corner`` (x, y) is on the canvas, a part at a time."""

    shots: tuple[Shot, ...]
    free: np.ndarray
    gains: np.ndarray
    registration: Registration
    corner: tuple[int, int]
    scale: tuple[float, float]
    moves: bool

    def part(self, n: int, rows: slice, cols: slice) -> tuple[np.ndarray, np.ndarray]:
        """These rows and columns of the window as shot ``n`` shows them, uint8 (h, w, 3), lit like the plate, and what
        it shows there (`_free`; `_OUTSIDE` past its border), uint8 (h, w)."""
        shot = self.shots[n]
        shape = (rows.stop - rows.start, cols.stop - cols.start)
        points = frame_grid(moved(self.corner[0] + cols.start, self.corner[1] + rows.start), shape, _GRID_PX)
        grid = self.registration.in_frame(shot.frame, points)
        whole = slice(0, shape[0]), slice(0, shape[1])
        at = _positions(((grid + 0.5) / np.array(self.scale) - 0.5).astype(np.float32), *whole)
        shows = cv2.remap(
            self.free[shot.frame], at, ONE_MAP, cv2.INTER_NEAREST, borderValue=(_OUTSIDE, 0, 0, 0)
        )
        if self.moves:
            where = _positions(grid - np.array([shot.x, shot.y], np.float32), *whole)
            image = cv2.remap(shot.image, where, ONE_MAP, cv2.INTER_CUBIC)
        else:  # whole pixels: nothing is resampled
            x, y = self.corner[0] + cols.start - shot.x, self.corner[1] + rows.start - shot.y
            image = _cut(shot.image, x, y, shape)
        gain = self.gains[shot.frame]
        if (gain != 1).any():
            image = np.clip(image / gain, 0, 255).astype(np.uint8)
        return image, shows


def _merged(laid: _Laid, needed: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The plate uint8 (h, w, 3); where it was seen; where almost every shot shows it. Both boolean (h, w)."""
    height, width = needed.shape
    tops = range(0, height, _STRIP_PX)

    def strip(top: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rows = slice(top, min(top + _STRIP_PX, height))
        parts = [laid.part(n, rows, slice(0, width)) for n in range(len(laid.shots))]
        samples, shows = np.stack([image for image, _ in parts]), np.stack([level for _, level in parts])
        # where something else is in the way for longer than the object is, that is what stands there
        shown = seen_enough(shows == BACKGROUND)
        instead = ~shown & ((shows == _MAYBE).sum(axis=0) > (shows == _GONE).sum(axis=0))
        valid = (shows == BACKGROUND) | ((shows == _MAYBE) & instead)
        image, seen = masked_median(samples, valid), seen_enough(valid)
        unseen = ~seen & ~needed[rows]  # no frame will show it; whatever is there now is better than nothing
        image[unseen] = samples[len(samples) // 2][unseen]
        return image, seen, valid.mean(axis=0) > _ALMOST_ALWAYS

    strips = list(at_once(strip, tops))
    image, seen, always = (np.concatenate(parts) for parts in zip(*strips, strict=True))
    return image, seen, always


def _free(job: Job) -> np.ndarray:
    """uint8 (T, H, W) at the analysed size: 2 where a pixel shows the background, 1 where it may show something else
    that is not affected, 0 where it shows the object or what it changed."""
    kernel = np.ones((2 * _COVER_PX + 1, 2 * _COVER_PX + 1), np.uint8)
    primary = job.quadmask.primary
    gone = primary.copy()
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
            gone[t] |= footprint(mask, job.scene, t, primary[t]) & moved
    out = np.full(gone.shape, BACKGROUND, np.uint8)
    for t, frame in enumerate(out):
        passing = cv2.dilate((job.scene.labels[t] > 0).astype(np.uint8), kernel) > 0
        before = _filled(gone[t])  # a hole in the object shows what is behind, or a thing that stands before
        frame[passing | job.scene.soft[t] | before] = _MAYBE
        frame[passing & before] = _GONE
        frame[cv2.dilate(gone[t].astype(np.uint8), kernel) > 0] = _GONE
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
    free: np.ndarray,
    registration: Registration,
    box: Box,
    index: np.ndarray,
    wanted: set[int],
    progress: Progress,
) -> tuple[tuple[Shot, ...], dict[int, np.ndarray]]:
    """One pass over the source: of the frames in ``index`` what the plate's ``box`` shows; those ``wanted``, whole."""
    shots: list[Shot] = []
    kept: dict[int, np.ndarray] = {}
    samples = {int(t) for t in index}
    needed = sorted(wanted | samples)
    window = frame_grid(moved(box.x0, box.y0), (int(box.height), int(box.width)), _GRID_PX)
    for done, (t, frame) in enumerate(zip(needed, job.source(needed), strict=False)):
        if t in wanted:
            kept[t] = frame
        if t in samples:
            x, y = np.moveaxis(registration.in_frame(t, window), -1, 0)
            part = Box(float(x.min()) + _GRID_PX, float(y.min()) + _GRID_PX, float(x.max()), float(y.max()))
            rows, cols = part.slices(frame.shape[1], frame.shape[0])
            image = np.ascontiguousarray(frame[rows, cols])
            shots.append(Shot(t, image, shown(free[t]), cols.start, rows.start))
        progress((done + 1) * len(job.clip) // len(needed), 2 * len(job.clip))
    return tuple(shots), kept


def _grain(laid: _Laid, always: np.ndarray, image: np.ndarray) -> Grain:
    """From windows that every sample shows; from small ones where no large one is free."""
    residuals: list[np.ndarray] = []
    for box in (64, 32, 16):
        places = [
            (top, left)
            for top in range(0, image.shape[0] - box, box)
            for left in range(0, image.shape[1] - box, box)
            if always[top : top + box, left : left + box].all()
        ]
        for top, left in places[:: max(1, len(places) // _GRAIN_PLACES)]:
            rows, cols = slice(top, top + box), slice(left, left + box)
            sample, shows = laid.part((top // box + left // box) % len(laid.shots), rows, cols)
            if (shows == BACKGROUND).all():
                residuals.append(sample.astype(np.int16) - image[rows, cols])
        if residuals:
            break
    return measure_grain(residuals)
