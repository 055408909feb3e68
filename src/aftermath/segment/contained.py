"""What is in the object: a thing that came into its outline and stays there goes with it, one that passes does not."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from aftermath.core import Box
from aftermath.segment.shapes import filled

__all__ = ["fill_contained"]

_WALL = 0.012  # of the object's size: a thinner strip of it crosses the thing and encloses nothing
_REST_FRAMES = 6
_REST = 0.5  # share of a thing at rest that lies where something lay that many frames before
_OPEN = 0.3  # share of a hole that lies outside the outline one frame later: the thing left through it
_OWN = 0.9  # share of a hole that was the object's own where its mask is known


@dataclass
class _Hole:
    """Pixels inside the object's outline that are not its own in one ``frame``: int32 (N, 2) of x and y."""

    frame: int
    pixels: np.ndarray
    group: int


def fill_contained(masks: np.ndarray, known: Collection[int]) -> None:
    """Add to ``masks``, bool (T, H, W), in place, the holes of things that the object contains.

    Holes that meet from frame to frame, seen from the object, are one thing's. It is contained where the object hid
    its place on the ``known`` frame next to it, and where it comes to rest wholly enclosed: until the clip ends, or
    until the tracker takes it for the object. A hole that opens to the outside is one of a thing in front.
    """
    reach = Box.of_mask(np.asarray(masks.any(axis=0)))
    if reach is None:
        return
    masks = masks[:, *reach.grown(2).slices(masks.shape[2], masks.shape[1])]  # a view
    offsets = _offsets(masks)
    holes = _grouped(masks, offsets)
    by_group: dict[int, list[_Hole]] = {}
    for hole in holes:
        by_group.setdefault(hole.group, []).append(hole)
    for group in by_group.values():
        if _came(group, masks, offsets, known) and _stays(group, masks, offsets, holes):
            for hole in group:
                masks[hole.frame][tuple(hole.pixels.T[::-1])] = True


def _offsets(masks: np.ndarray) -> np.ndarray:
    """Where the object is, against the first frame: int (T, 2), x and y."""
    steps = np.zeros((len(masks), 2), int)
    for t in range(1, len(masks)):
        boxes = Box.of_mask(masks[t - 1]), Box.of_mask(masks[t])
        if boxes[0] is None or boxes[1] is None:
            continue
        step = np.round(np.subtract(boxes[1].center, boxes[0].center)).astype(int)
        # What hides a part of the object moves its middle; the object itself may well be at rest.
        moved, rests = (np.count_nonzero(_shifted(masks[t - 1], by) & masks[t]) for by in (step, (0, 0)))
        steps[t] = step if moved > rests else 0
    return np.cumsum(steps, axis=0)


def _shifted(mask: np.ndarray, by: np.ndarray | tuple[int, int]) -> np.ndarray:
    matrix = np.array([[1, 0, by[0]], [0, 1, by[1]]], float)
    return cv2.warpAffine(mask.astype(np.uint8), matrix, mask.shape[::-1], flags=cv2.INTER_NEAREST) > 0


def _grouped(masks: np.ndarray, offsets: np.ndarray) -> list[_Hole]:
    """All holes; those of one group touch each other from frame to frame."""
    holes: list[_Hole] = []
    last: list[_Hole] = []
    for t, mask in enumerate(masks):
        now = [_Hole(t, pixels, len(holes) + n) for n, pixels in enumerate(_holes(mask))]
        holes += now
        for hole in now:
            for before in last:
                if before.group != hole.group and _share(hole, [before], offsets) > 0:
                    old, new = before.group, hole.group
                    for one in holes:
                        one.group = new if one.group == old else one.group
        last = now
    return holes


def _holes(mask: np.ndarray) -> Iterator[np.ndarray]:
    """The pixels, int32 (N, 2), of each hole of ``mask``, bool (H, W)."""
    inside = _outline(mask) & ~mask
    count, labels = cv2.connectedComponents(inside.astype(np.uint8), connectivity=8)
    for label in range(1, count):
        yield np.argwhere(labels == label)[:, ::-1].astype(np.int32)


def _outline(mask: np.ndarray) -> np.ndarray:
    """The object with all that it encloses, bool (H, W)."""
    radius = max(1, round(_WALL * float(mask.sum()) ** 0.5))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return mask | filled(cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, kernel) > 0, 1.0)


def _share(hole: _Hole, others: list[_Hole], offsets: np.ndarray) -> float:
    """The share of ``hole`` that lies where ``others`` do, seen from the object."""
    here = _keys(hole.pixels - offsets[hole.frame])
    there = [_keys(other.pixels - offsets[other.frame]) for other in others]
    return float(np.isin(here, np.concatenate(there)).mean()) if there else 0.0


def _keys(pixels: np.ndarray) -> np.ndarray:
    return (pixels[:, 1] << 20) + pixels[:, 0]


def _inside(hole: _Hole, mask: np.ndarray, by: np.ndarray) -> float:
    """The share of ``hole``, moved ``by`` (x, y), that lies in ``mask``, bool (H, W)."""
    x, y = (hole.pixels + by).T
    seen = (x >= 0) & (y >= 0) & (x < mask.shape[1]) & (y < mask.shape[0])
    return float(mask[y[seen], x[seen]].sum() / len(x))


def _came(group: list[_Hole], masks: np.ndarray, offsets: np.ndarray, known: Collection[int]) -> bool:
    """Whether the object itself was seen there, and no hole, where its mask is known."""
    largest = max(group, key=lambda hole: len(hole.pixels))
    home = min(known, key=lambda frame: abs(frame - largest.frame))
    own = _inside(largest, masks[home], offsets[home] - offsets[largest.frame])
    return own >= _OWN and not any(hole.frame in known for hole in group)


def _stays(group: list[_Hole], masks: np.ndarray, offsets: np.ndarray, holes: list[_Hole]) -> bool:
    """Whether the thing is at rest in the object when last seen, and does not leave it then."""
    end = max(hole.frame for hole in group)
    last = [hole for hole in group if hole.frame == end]
    weights = [len(hole.pixels) for hole in last]
    before = [hole for hole in holes if hole.frame == end - _REST_FRAMES]
    if np.average([_share(hole, before, offsets) for hole in last], weights=weights) < _REST:
        return False
    if end + 1 == len(masks) or not masks[end + 1].any():
        return True
    outline, step = _outline(masks[end + 1]), offsets[end + 1] - offsets[end]
    return float(np.average([_inside(hole, outline, step) for hole in last], weights=weights)) > 1 - _OPEN
