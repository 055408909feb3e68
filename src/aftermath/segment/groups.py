"""Which prompts of one frame mean one object, and which object already followed they mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from aftermath.core import Box
from aftermath.segment.base import PointPrompt, Prompts

__all__ = ["BOX_SLACK", "SAME_OBJECT", "Group", "grouped", "is_same", "share_negative"]

SAME_OBJECT = 0.3  # intersection over union from which a second prompt means an object already followed
BOX_SLACK = 0.15  # of a box's side: how far outside a point may lie and still refine it

XY = tuple[float, float]


@dataclass(frozen=True)
class Group:
    """Prompts of one frame that mean one object: a mask, or else a box and points, pixels.

    ``followed`` is the index of the object already followed that the points lie on, where they do.
    """

    mask: np.ndarray | None = None
    box: Box | None = None
    positive: tuple[XY, ...] = ()
    negative: tuple[XY, ...] = ()
    followed: int | None = None

    def merged(self, negative: Sequence[XY]) -> Group:
        """With more background points; those that it has already are not counted twice."""
        return replace(self, negative=(*self.negative, *(xy for xy in negative if xy not in self.negative)))

    def distance(self, x: float, y: float) -> float:
        """From (x, y) to what it points at, pixels; 0 inside its mask or box."""
        reaches = [float(np.hypot(x - px, y - py)) for px, py in self.positive]
        if self.box is not None:
            box = self.box
            reaches.append(float(np.hypot(max(box.x0 - x, 0, x - box.x1), max(box.y0 - y, 0, y - box.y1))))
        if self.mask is not None:
            reaches.append(mask_distance(self.mask, x, y))
        return min(reaches, default=float("inf"))


def grouped(prompts: Prompts, frame: int, there: Sequence[np.ndarray] = ()) -> list[Group]:
    """The objects that ``frame``'s prompts mean; ``there`` are the masks (H, W) of those already followed there.

    A mask is an object, and so is a box with the points in it or close to it. Points on an object already followed
    correct that one; all other points of the frame are one object together. Background points: `share_negative`.
    """
    masks = [p.mask.astype(bool) for p in prompts.masks if p.frame == frame]
    loose = [
        p for p in prompts.points if p.frame == frame and p.positive and not any(_on(m, p) for m in masks)
    ]
    groups = [Group(mask=mask) for mask in masks]
    for prompt in prompts.boxes:
        if prompt.frame != frame:
            continue
        near = prompt.box.grown(BOX_SLACK * max(prompt.box.width, prompt.box.height))
        own = [p for p in loose if near.contains(p.x, p.y)]
        loose = [p for p in loose if p not in own]
        groups.append(Group(box=prompt.box, positive=tuple((p.x, p.y) for p in own)))
    for index, mask in enumerate(there):
        own = [p for p in loose if _on(mask, p)]
        loose = [p for p in loose if p not in own]
        if own:
            groups.append(Group(positive=tuple((p.x, p.y) for p in own), followed=index))
    if loose:
        groups.append(Group(positive=tuple((p.x, p.y) for p in loose)))
    return groups


def share_negative(
    prompts: Prompts, frame: int, groups: Sequence[Group], there: Sequence[np.ndarray]
) -> tuple[list[Group], list[tuple[XY, ...]]]:
    """Give each background point of ``frame`` to the nearest object, or to all that hold it.

    Returns the groups with their points, and those for each object of ``there``. A given mask is exact: a point
    nearest to it changes nothing.
    """
    given: list[list[XY]] = [[] for _ in range(len(groups) + len(there))]
    for point in prompts.points:
        if point.frame != frame or point.positive:
            continue
        reaches = [group.distance(point.x, point.y) for group in groups]
        reaches += [mask_distance(mask, point.x, point.y) for mask in there]
        least = min(reaches, default=float("inf"))
        for at, reach in enumerate(reaches):
            if np.isfinite(reach) and reach == least:
                given[at].append((point.x, point.y))
    changed = [g if g.mask is not None else g.merged(own) for g, own in zip(groups, given, strict=False)]
    return changed, [tuple(own) for own in given[len(groups) :]]


def is_same(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two masks (H, W) of one frame mean one object."""
    both = int((first & second).sum())
    return both > 0 and both >= SAME_OBJECT * int((first | second).sum())


def mask_distance(mask: np.ndarray, x: float, y: float) -> float:
    """From (x, y) to the nearest pixel of ``mask``, pixels; infinite where it has none."""
    if not mask.any():
        return float("inf")
    if mask[_pixel(mask, x, y)]:
        return 0.0
    away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return float(away[_pixel(mask, x, y)])


def _on(mask: np.ndarray, point: PointPrompt) -> bool:
    return bool(mask[_pixel(mask, point.x, point.y)])


def _pixel(mask: np.ndarray, x: float, y: float) -> tuple[int, int]:
    """(row, column) of a point, the nearest in the picture."""
    height, width = mask.shape
    return min(max(int(y), 0), height - 1), min(max(int(x), 0), width - 1)
