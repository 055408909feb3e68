"""The quadmask between painted frames, and as the film that a run follows."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from aftermath.core import Level
from aftermath.media.masks import read_masks, resize_levels, write_masks
from aftermath.studio.project import Project

__all__ = ["between", "write_painted"]


def between(first: np.ndarray, last: np.ndarray, share: float) -> np.ndarray:
    """The quadmask ``share`` (0 to 1) of the way from ``first`` to ``last``, uint8 (H, W).

    Each part moves with its middle and its outline goes from one shape to the other by their signed distances
    (Raya and Udupa 1990, shape-based interpolation). What is the object's and what is affected go by themselves and
    meet again in the overlap; a part that one of the two lacks stays until half way.
    """
    primary = _part_between(first <= Level.OVERLAP, last <= Level.OVERLAP, share)
    affected = _part_between(_affected(first), _affected(last), share)
    values = np.full(first.shape, Level.KEEP, np.uint8)
    values[affected], values[primary], values[primary & affected] = (
        Level.AFFECTED,
        Level.PRIMARY,
        Level.OVERLAP,
    )
    return values


def _affected(levels: np.ndarray) -> np.ndarray:
    return (levels == Level.OVERLAP) | (levels == Level.AFFECTED)


def _part_between(first: np.ndarray, last: np.ndarray, share: float) -> np.ndarray:
    if not first.any() or not last.any():
        return first if share < 0.5 else last
    start, end = _middle(first), _middle(last)
    here = start + (end - start) * share
    distance = (1 - share) * _distance(first, here - start) + share * _distance(last, here - end)
    return distance > 0


def _middle(mask: np.ndarray) -> np.ndarray:
    ys, xs = np.nonzero(mask)
    return np.array([xs.mean(), ys.mean()])


def _distance(mask: np.ndarray, move: np.ndarray) -> np.ndarray:
    """Pixels to the outline, positive inside; moved by (x, y). float32 (H, W)."""
    inside = mask.astype(np.uint8)
    signed = cv2.distanceTransform(inside, cv2.DIST_L2, 5) - cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
    height, width = mask.shape
    step = np.array([[1, 0, move[0]], [0, 1, move[1]]], np.float32)
    far = -float(height + width)
    return cv2.warpAffine(signed, step, (width, height), borderMode=cv2.BORDER_CONSTANT, borderValue=far)


def write_painted(project: Project, found: Path, rate: Fraction, size: tuple[int, int]) -> Path:
    """The film of the quadmask at the source's ``size`` (width, height): ``found``, with what was painted."""
    target, painted = project.root / "painted.mkv", set(project.painted_frames())

    def frames() -> Iterator[np.ndarray]:
        for index, values in enumerate(read_masks(found)):
            yield resize_levels(project.levels(index)[0], *size) if index in painted else values

    write_masks(target, frames(), rate)
    return target
