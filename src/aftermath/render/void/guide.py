"""The draft render as a guide: noise that moves as the user says, before the model has painted anything.

Pass 2 starts from noise warped along the motion of pass 1's result. The draft knows that motion without a pass: it put
every layer where it is, so inside a layer the flow is its step, exactly. Elsewhere flow is estimated between the
draft's pictures, from which the removed object is gone, with the layers taken out of what the estimator sees.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from aftermath.core import Box, Level
from aftermath.core.channels import channel_max
from aftermath.errors import InputError
from aftermath.media.mapped import is_large, map_chunks
from aftermath.render.base import Job, Progress
from aftermath.render.draft.layers import Layer, painted_order
from aftermath.render.draft.renderer import prepare
from aftermath.scene.membrane import membrane
from aftermath.scene.optical_flow import Flow, warp

__all__ = ["DraftGuide", "draft_guide"]

_HIDES = 0.5  # of a pixel: a mean of two motions would be nobody's
_TOUCHES = 0.03  # of the light
_WHOLE = 0.8  # of a thing's area
_COARSE = 4  # what is continued is smooth: a quarter of the size is enough
_RIM_PX = 5  # model pixels: resampling carries a layer's colour this far


@dataclass(frozen=True)
class DraftGuide:
    """The draft render at the model's size, and how it moves.

    ``frames``: uint8 (T, h, w, 3) RGB, read-only, mapped from the disk where large. ``changed``: uint8 (T, h, w), 1
    where a frame may differ from the source. ``layers``: what the draft moves, full-size pixels; ``departs``: by the
    thing's id the frame in which the source still shows it, at the start of its way. ``box``: the part of the
    full-size picture that the model sees. ``to_plate``: float64 (T, 3, 3), the camera, full-size pixels.
    ``estimate``: the flow between two pictures.
    """

    frames: np.ndarray
    changed: np.ndarray
    layers: list[Layer]
    departs: Mapping[str, int]
    box: Box
    to_plate: np.ndarray
    estimate: Flow

    def flow(self, before: int, after: int) -> np.ndarray:
        """Where each pixel of frame ``before`` is in frame ``after``: float32 (h, w, 2), (dx, dy), model pixels.

        The frames stand next to one another in time, either first; one frame and itself give zeros.
        """
        if before == after:
            return np.zeros((*self._size, 2), np.float32)
        moving = [layer for layer in painted_order(self.layers, before) if after in layer.path]
        out = self._around(moving, before, after)
        for layer in moving:
            here = self._seen(layer.alpha, *layer.corner(before)) > _HIDES
            if self.departs.get(layer.thing.id) != before:
                here &= self.changed[before] > 0  # a layer shows nowhere else
            ys, xs = np.nonzero(here)
            matrix = self._at_model_size(np.vstack([layer.motion(before, after), (0, 0, 1)]))
            out[ys, xs] = _step(matrix, xs, ys)
        return out

    @property
    def _size(self) -> tuple[int, int]:
        return self.frames.shape[1], self.frames.shape[2]

    @property
    def _scale(self) -> tuple[float, float]:
        """Model pixels to a full-size one, along x and y."""
        return self._size[1] / self.box.width, self._size[0] / self.box.height

    def _around(self, layers: list[Layer], before: int, after: int) -> np.ndarray:
        """The flow of what stands behind ``layers``, continued under them: float32 (h, w, 2)."""
        camera = self._camera(before, after)
        first, second = np.array(self.frames[before]), np.array(self.frames[after])
        hole = self._touched(layers, before, after)
        if not hole.any():
            return self.estimate(first, second)
        # what follows the camera there draws nothing beside it along
        first[hole] = warp(second, camera)[hole]
        rest = self.estimate(first, second) - camera
        rest[hole] = _continued(rest, hole)[hole]
        return camera + rest

    def _camera(self, before: int, after: int) -> np.ndarray:
        """Where the plane of the plate goes: float32 (h, w, 2)."""
        if np.array_equal(self.to_plate[before], self.to_plate[after]):
            return np.zeros((*self._size, 2), np.float32)
        matrix = self._at_model_size(np.linalg.inv(self.to_plate[after]) @ self.to_plate[before])
        ys, xs = np.indices(self._size).reshape(2, -1)
        return _step(matrix, xs, ys).reshape(*self._size, 2)

    def _touched(self, layers: list[Layer], *frames: int) -> np.ndarray:
        """What shows a layer or its shadow in one of ``frames``, and a rim: boolean (h, w)."""
        out = np.zeros(self._size, np.uint8)
        for layer in layers:
            dims = channel_max(np.abs(layer.light - 1))
            for t in frames:
                seen = self._seen(np.maximum(layer.alpha, dims), *layer.corner(t))
                cast = layer.cast(t)
                if cast is not None:
                    seen = np.maximum(seen, self._seen(*cast))
                out |= seen > _TOUCHES
        return cv2.dilate(out, np.ones((2 * _RIM_PX + 1, 2 * _RIM_PX + 1), np.uint8)) > 0

    def _seen(self, values: np.ndarray, left: float, top: float) -> np.ndarray:
        """``values`` float32 (h', w'), whose first pixel is at (``left``, ``top``) of the full-size picture, as the
        model sees them, averaged over areas: float32 (h, w), 0 elsewhere."""
        (height, width), (sx, sy) = self._size, self._scale
        place = Box(left, top, left + values.shape[1], top + values.shape[0]).grown(1)
        rows, cols = place.moved(-self.box.x0, -self.box.y0).scaled(sx, sy).slices(width, height)
        size = (cols.stop - cols.start, rows.stop - rows.start)
        out = np.zeros((height, width), np.float32)
        if min(size) <= 0:
            return out
        fine = int(np.ceil(max(1 / sx, 1 / sy, 1)))  # samples along each side of a pixel
        steps = 1 / (sx * fine), 1 / (sy * fine)
        x = self.box.x0 - 0.5 + (cols.start * fine + 0.5) * steps[0] - left
        y = self.box.y0 - 0.5 + (rows.start * fine + 0.5) * steps[1] - top
        matrix = np.array([[steps[0], 0, x], [0, steps[1], y]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        samples = cv2.warpAffine(values, matrix, (size[0] * fine, size[1] * fine), flags=flags)
        out[rows, cols] = cv2.resize(samples, size, interpolation=cv2.INTER_AREA)
        return out

    def _at_model_size(self, matrix: np.ndarray) -> np.ndarray:
        """A homography between full-size pictures, float64 (3, 3), as one between the model's."""
        sx, sy = self._scale
        x, y = ((0.5 - start) * scale - 0.5 for start, scale in ((self.box.x0, sx), (self.box.y0, sy)))
        down = np.array([[sx, 0, x], [0, sy, y], [0, 0, 1]])
        return down @ matrix @ np.linalg.inv(down)


def draft_guide(
    job: Job,
    size: tuple[int, int],
    box: Box,
    progress: Progress,
    flow: Flow,
    *,
    folder: Path | None = None,
) -> DraftGuide:
    """Render the draft of ``job`` at the model's size.

    Args:
        job: the clip; its plan says where things go.
        size: (h, w) that the model paints at.
        box: what the model sees of the full-size picture, whole pixels.
        progress: told of the draft's steps.
        flow: how motion between two pictures is estimated, where the draft does not know it.
        folder: for the frames, where they are too large for memory; the system's folder for such things without one.

    The full-size frames are read and painted one at a time. Raises `InputError` for a box outside the picture, or
    where the disk has no room.
    """
    width, height = job.clip.source_width, job.clip.source_height
    if not 0 <= box.x0 < box.x1 <= width or not 0 <= box.y0 < box.y1 <= height:
        raise InputError(f"a guide of {box}", f"it must lie in the picture of {width}x{height} pixels")
    draft = prepare(job, progress)
    pictures = (_at_size(*pair, box, size) for pair in draft.composed())
    frames, changed = _stored(pictures, size, len(job.clip), folder or Path(tempfile.gettempdir()))
    seen = {layer.thing.id: _departure(job, layer) for layer in draft.layers if layer.path}
    layers = [replace(layer, path=layer.path | seen.get(layer.thing.id, {})) for layer in draft.layers]
    departs = {name: t for name, at in seen.items() for t in at}
    return DraftGuide(frames, changed, layers, departs, box, draft.backdrop.registration.to_plate, flow)


def _departure(job: Job, layer: Layer) -> dict[int, tuple[float, float]]:
    """The frame in which the source still shows a thing before the draft moves it, and its centre there, full-size
    pixels: the one before its path, or frame 0, on which nothing is affected. Empty where the source shows no more than
    a part of it."""
    t = max(min(layer.path) - 1, 0)
    mask = job.masks[layer.thing.id][t]
    sx, sy = job.clip.source_width / job.clip.width, job.clip.source_height / job.clip.height
    kept = mask & (job.quadmask.values[t] == Level.KEEP)
    if np.count_nonzero(kept) * sx * sy < _WHOLE * layer.alpha.sum():
        return {}
    ys, xs = np.nonzero(mask)
    return {t: (float(xs.mean() * sx), float(ys.mean() * sy))}


def _at_size(
    frame: np.ndarray, changed: np.ndarray, box: Box, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """What the model sees of a frame, uint8 (h, w, 3), and of what changed, uint8 (h, w), 0 or 1."""
    rows, cols = box.slices(frame.shape[1], frame.shape[0])
    shrinks = size[0] <= box.height and size[1] <= box.width
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    share = changed[rows, cols].astype(np.float32)
    small, share = (cv2.resize(one, size[::-1], interpolation=how) for one in (frame[rows, cols], share))
    return small, (share > _HIDES).astype(np.uint8)


def _stored(
    pictures: Iterable[tuple[np.ndarray, np.ndarray]], size: tuple[int, int], num: int, folder: Path
) -> tuple[np.ndarray, np.ndarray]:
    """Pictures uint8 (h, w, 3) with a mask uint8 (h, w) each, as (T, h, w, 3) and (T, h, w); each whole in one
    file, since they come together."""
    area = size[0] * size[1]

    def chunks() -> Iterator[np.ndarray]:
        for picture, mask in pictures:
            yield np.concatenate([picture.reshape(-1), mask.reshape(-1)])

    shape = (-1, 4 * area)
    if is_large(4 * area * num):
        both = map_chunks(chunks(), np.uint8, shape, folder)
    else:
        both = np.concatenate(list(chunks())).reshape(shape)
        both.flags.writeable = False
    return both[:, : 3 * area].reshape(-1, *size, 3), both[:, 3 * area :].reshape(-1, *size)


def _continued(flow: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """``flow`` float32 (h, w, 2), smooth over ``hole`` boolean (h, w), from around it: float32 (h, w, 2)."""
    height, width = hole.shape
    small = (max(8, width // _COARSE), max(8, height // _COARSE))
    coarse = cv2.resize(flow, small, interpolation=cv2.INTER_AREA)
    partly = cv2.resize(hole.astype(np.float32), small, interpolation=cv2.INTER_AREA) > 0
    return cv2.resize(membrane(coarse, partly), (width, height), interpolation=cv2.INTER_LINEAR)


def _step(matrix: np.ndarray, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """How far a homography, float64 (3, 3), moves the pixels (``xs``, ``ys``) (N,): float32 (N, 2)."""
    at = np.stack([xs, ys, np.ones_like(xs)]).astype(np.float64)
    x, y, w = matrix @ at
    return np.stack([x / w - at[0], y / w - at[1]], axis=-1).astype(np.float32)
