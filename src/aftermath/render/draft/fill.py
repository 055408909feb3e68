"""Texture-aware completion of a still picture: what no frame ever shows is invented here, once.

Each hole is completed at a working size by patch matching (`patches`); where its patches came from is then carried up
to full size (`shifts`), so that what is shown are whole pieces of the picture with their own sharpness and grain.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from aftermath.errors import InputError
from aftermath.render.draft.membrane import membrane
from aftermath.render.draft.patches import match_hole, working_channels
from aftermath.render.draft.shifts import ShiftMap

__all__ = ["complete"]

_WORKING_HOLE_PX = 30_000  # the hole's area at the working size
_WORKING_WINDOW_PX = 300_000
_SLIVER_PX = 2  # a hole this thin shows no texture


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
        uint8 (H, W, 3); a new array, equal to ``image`` outside the hole. A picture that is all hole comes back in
        its mean colour; where nothing may be copied the hole is filled smoothly from its border.

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
    groups = _groups(hole)
    for box, part in groups:
        rows, cols = _grown(box, 1, hole.shape)
        smooth = membrane(result[rows, cols], part[rows, cols])
        result[part] = _to_uint8(smooth[part[rows, cols]])
    thick = [(box, part) for box, part in groups if _thickness(part) > _SLIVER_PX]
    rng = np.random.default_rng(seed)
    for done, (box, part) in enumerate(thick):

        def report(step: int, steps: int, done: int = done) -> None:
            if progress is not None:
                progress(100 * done + 100 * step // steps, 100 * len(thick))

        rows, cols = _window(box, part, source)
        inside = part[rows, cols]
        result[part] = _invent(result[rows, cols], inside, source[rows, cols], rng, report)[inside]
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


def _groups(hole: np.ndarray) -> list[tuple[tuple[int, int, int, int], np.ndarray]]:
    """Holes that lie close together belong to one group: its box (y0, x0, y1, x1) and its mask."""
    reach = 2 * (max(hole.shape) // 128) + 1
    near = cv2.dilate(hole.astype(np.uint8), np.ones((reach, reach), np.uint8))
    count, labels = cv2.connectedComponents(near, connectivity=8)
    labels[~hole] = 0
    groups = []
    for label in range(1, count):
        part = labels == label
        x, y, width, height = cv2.boundingRect(part.astype(np.uint8))
        groups.append(((y, x, y + height, x + width), part))
    return groups


def _thickness(hole: np.ndarray) -> float:
    return float(cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 3).max())


def _grown(box: tuple[int, int, int, int], margin: int, shape: tuple[int, ...]) -> tuple[slice, slice]:
    y0, x0, y1, x1 = box
    return (
        slice(max(0, y0 - margin), min(shape[0], y1 + margin)),
        slice(max(0, x0 - margin), min(shape[1], x1 + margin)),
    )


def _window(box: tuple[int, int, int, int], hole: np.ndarray, source: np.ndarray) -> tuple[slice, slice]:
    """The surroundings to copy from: about one hole wide on every side, more where too little is usable."""
    margin = max(box[2] - box[0], box[3] - box[1], 32)
    while True:
        rows, cols = _grown(box, margin, hole.shape)
        whole = (rows.stop - rows.start, cols.stop - cols.start) == hole.shape
        if whole or source[rows, cols].sum() >= 2 * hole.sum():
            return rows, cols
        margin *= 2


def _invent(
    image: np.ndarray,
    hole: np.ndarray,
    usable: np.ndarray,
    rng: np.random.Generator,
    report: Callable[[int, int], None],
) -> np.ndarray:
    """Complete one window; ``image`` comes with its hole filled smoothly and is returned so where nothing fits."""
    scale = min(1.0, (_WORKING_HOLE_PX / hole.sum()) ** 0.5, (_WORKING_WINDOW_PX / hole.size) ** 0.5)
    size = (max(1, round(hole.shape[1] * scale)), max(1, round(hole.shape[0] * scale)))
    shares = [cv2.resize(m.astype(np.float32), size, interpolation=cv2.INTER_AREA) for m in (hole, usable)]
    matches = match_hole(working_channels(image, hole, size), shares[0] > 0, shares[1] > 0.999, rng, report)
    if matches is None:
        return image
    shifts = ShiftMap(image, hole, usable)
    if not shifts.valid.any():
        return image
    shifts.settle(matches, (size[1], size[0]), rng)
    result = image.copy()
    result[shifts.box] = _to_uint8(shifts.joined())
    return result
