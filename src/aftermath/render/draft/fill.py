"""Texture-aware completion of a still picture: what no frame ever shows is invented here, once.

Each hole is completed at a working size by patch matching (`patches`); where its patches came from is then
carried up to full size (`shifts`), so that what is shown are whole pieces of the picture, as sharp and as
grainy as their surroundings.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from aftermath.errors import InputError
from aftermath.render.draft.patches import match_hole, working_channels
from aftermath.render.draft.shifts import ShiftMap
from aftermath.render.draft.strangers import find_strangers
from aftermath.scene.membrane import membrane, nearest_true

__all__ = ["complete"]

_WORKING_HOLE_PX = 40_000  # the hole's area at the working size
_WORKING_WINDOW_PX = 300_000
_SLIVERS_ACROSS = 400  # in a large picture a sliver may be this share of its long side
_SLIVER_PX = 2  # a hole no thicker than twice this shows no texture
_WINDOW_DEPTHS = 12  # surroundings copied from, in depths of the hole; never further than its box is long
_TILE_PX = 512  # a hole spread thinly over a large picture is done in tiles of this side
_OVERLAP_PX = 24  # each tile is solved this far into the next, which then sees no ragged end
_MAX_SPARSE_PX = 1_000_000
_SPARSE_SHARE = 0.25
_LEAST_LEFT = 0.5  # of what may be copied, once what looks like nothing beside the hole is left out

_Box = tuple[int, int, int, int]
"""y0, x0, y1, x1, pixels, half-open."""


def complete(
    image: np.ndarray,
    hole: np.ndarray,
    usable: np.ndarray | None = None,
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Invent the pixels of ``hole`` so that they look like their surroundings.

    Args:
        image: uint8 (H, W, 3), RGB.
        hole: bool (H, W), the pixels to invent.
        usable: bool (H, W), the pixels that may be copied from; everything outside the hole by default.
        seed: same seed, same picture.
        progress: called with (steps done, steps in all).

    Returns:
        uint8 (H, W, 3); a new array, equal to ``image`` outside the hole. A picture that is all hole comes
        back in its mean colour; where nothing may be copied the hole is filled smoothly from its border.

    Raises:
        InputError: the shapes or types do not fit together.
    """
    _check(image, hole, usable)
    result = image.copy()
    if not hole.any():
        return result
    if hole.all():
        result[:] = np.rint(image.reshape(-1, 3).mean(axis=0))
        return result
    source = ~hole if usable is None else usable & ~hole
    labels, boxes = _groups(hole)
    depth = np.asarray(cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 3))
    sliver_px = max(_SLIVER_PX, round(max(hole.shape) / _SLIVERS_ACROSS))
    thick = np.unique(labels[depth > sliver_px])
    todo = np.isin(labels, thick)
    y, x = nearest_true(~hole)  # nothing of what is hidden may be taken for known
    result[hole] = result[y[hole], x[hole]]
    result = cv2.inpaint(result, (hole & ~todo).astype(np.uint8), sliver_px + 1, cv2.INPAINT_NS)
    pieces = [(label, tile) for label in thick for tile in _tiles(boxes[label - 1], labels == label)]
    rng = np.random.default_rng(seed)
    for done, (label, tile) in enumerate(pieces):

        def report(share: float, done: int = done) -> None:
            if progress is not None:
                progress(100 * done + round(100 * share), 100 * len(pieces))

        own = _grown(tile, 0, hole.shape)
        part = np.zeros_like(todo)
        reach = _grown(tile, _OVERLAP_PX, hole.shape)
        part[reach] = todo[reach] & (labels[reach] == label)
        window = _window(tile, source, int(np.count_nonzero(part)), depth.max(initial=0, where=part))
        inside = part[window]
        result[window][inside] = _invent(result[window], inside, source[window], rng, report)[inside]
        todo[own] &= labels[own] != label
        report(1.0)
    return result


def _check(image: np.ndarray, hole: np.ndarray, usable: np.ndarray | None) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise InputError(
            f"a picture of shape {image.shape} and type {image.dtype}", "uint8 (height, width, 3)"
        )
    for name, mask in (("hole", hole), ("usable", usable)):
        if mask is not None and (mask.shape != image.shape[:2] or mask.dtype != bool):
            raise InputError(
                f"a {name} mask of shape {mask.shape} and type {mask.dtype}",
                f"bool {image.shape[:2]}, as the picture",
            )


def _to_uint8(values: np.ndarray) -> np.ndarray:
    return np.rint(values).clip(0, 255).astype(np.uint8)


def _enlarged(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """``mask`` bool (h, w) at the larger ``shape`` (H, W)."""
    size = (shape[1], shape[0])
    return cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0


def _groups(hole: np.ndarray) -> tuple[np.ndarray, list[_Box]]:
    """Holes that lie close together form a group: int (H, W) with its number, from 1, and its box."""
    reach = 2 * (max(hole.shape) // 128) + 1
    near = cv2.dilate(hole.astype(np.uint8), np.ones((reach, reach), np.uint8))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(near, connectivity=8)
    labels[~hole] = 0
    return labels, [(int(y), int(x), int(y + h), int(x + w)) for x, y, w, h, _ in stats[1:]]


def _tiles(box: _Box, hole: np.ndarray) -> list[_Box]:
    """The box itself; the parts of it with a hole where it is large and mostly known, a frame for example."""
    y0, x0, y1, x1 = box
    area = (y1 - y0) * (x1 - x0)
    if area <= _MAX_SPARSE_PX or np.count_nonzero(hole[y0:y1, x0:x1]) > _SPARSE_SHARE * area:
        return [box]
    tiles = [
        (y, x, min(y + _TILE_PX, y1), min(x + _TILE_PX, x1))
        for y in range(y0, y1, _TILE_PX)
        for x in range(x0, x1, _TILE_PX)
    ]
    return [tile for tile in tiles if hole[tile[0] : tile[2], tile[1] : tile[3]].any()]


def _grown(box: _Box, margin: int, shape: tuple[int, ...]) -> tuple[slice, slice]:
    y0, x0, y1, x1 = box
    return (
        slice(max(0, y0 - margin), min(shape[0], y1 + margin)),
        slice(max(0, x0 - margin), min(shape[1], x1 + margin)),
    )


def _window(box: _Box, source: np.ndarray, num_px: int, depth_px: float) -> tuple[slice, slice]:
    """What to copy from for a hole of ``num_px``: more of the surroundings until twice that is usable."""
    margin = max(32, min(max(box[2] - box[0], box[3] - box[1]), round(_WINDOW_DEPTHS * depth_px)))
    while True:
        rows, cols = _grown(box, margin, source.shape)
        whole = (rows.stop - rows.start, cols.stop - cols.start) == source.shape
        if whole or np.count_nonzero(source[rows, cols]) >= 2 * num_px:
            return rows, cols
        margin *= 2


def _invent(
    image: np.ndarray,
    hole: np.ndarray,
    usable: np.ndarray,
    rng: np.random.Generator,
    report: Callable[[float], None],
) -> np.ndarray:
    """Complete one window from its own patches, or smoothly where there are none."""
    scale = min(1.0, (_WORKING_HOLE_PX / hole.sum()) ** 0.5, (_WORKING_WINDOW_PX / hole.size) ** 0.5)
    size = (max(1, round(hole.shape[1] * scale)), max(1, round(hole.shape[0] * scale)))
    small_hole, small_usable = (
        cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) for mask in (hole, usable)
    )
    channels = working_channels(image, hole, size)
    copied = small_usable > 0.999
    strangers = find_strangers(_to_uint8(channels[..., :3]), small_hole > 0, copied)
    if np.count_nonzero(copied & ~strangers) >= _LEAST_LEFT * np.count_nonzero(copied):
        copied &= ~strangers
        usable = usable & ~_enlarged(strangers, hole.shape)
    matches = match_hole(channels, small_hole > 0, copied, rng, lambda share: report(0.7 * share))
    shifts = ShiftMap(image, hole, usable)
    if matches is None or not shifts.valid.any():
        return _to_uint8(membrane(image, hole))
    shifts.settle(matches, channels.shape[:2], rng)
    result = image.copy()
    result[shifts.box] = _to_uint8(shifts.joined())
    return result
