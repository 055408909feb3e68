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

_MOST_PIECES = 40  # smaller ones are crumbs


def between(first: np.ndarray, last: np.ndarray, share: float) -> np.ndarray:
    """The quadmask ``share`` (0 to 1) of the way from ``first`` to ``last``, uint8 (H, W).

    Each piece moves with its middle, and its outline goes from one shape to the other by their signed distances (Raya
    and Udupa 1990, shape-based interpolation). What is the object's and what is affected go by themselves and meet
    again in the overlap; a piece that one of the two lacks stays until half way, or comes then.
    """
    primary = _parts_between(first <= Level.OVERLAP, last <= Level.OVERLAP, share)
    affected = _parts_between(_affected(first), _affected(last), share)
    values = np.full(first.shape, Level.KEEP, np.uint8)
    values[affected], values[primary], values[primary & affected] = (
        Level.AFFECTED,
        Level.PRIMARY,
        Level.OVERLAP,
    )
    return values


def _affected(levels: np.ndarray) -> np.ndarray:
    return (levels == Level.OVERLAP) | (levels == Level.AFFECTED)


def _parts_between(first: np.ndarray, last: np.ndarray, share: float) -> np.ndarray:
    """Pieces that hang together go by themselves: each to the piece that it overlaps most, or else the nearest."""
    found = np.zeros(first.shape, bool)
    left = _pieces(last)
    for piece in _pieces(first):
        if left:
            best = max(range(len(left)), key=lambda i: _likeness(piece, left[i]))
            found |= _piece_between(piece, left.pop(best), share)
        elif share < 0.5:
            found |= piece
    for piece in left if share >= 0.5 else ():
        found |= piece
    return found


def _pieces(mask: np.ndarray) -> list[np.ndarray]:
    """What hangs together, the largest first."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    order = sorted(range(1, count), key=lambda label: -int(stats[label, cv2.CC_STAT_AREA]))
    return [labels == label for label in order[:_MOST_PIECES]]


def _likeness(first: np.ndarray, last: np.ndarray) -> tuple[float, float]:
    overlap = (first & last).sum() / max(1, (first | last).sum())
    return float(overlap), -float(np.hypot(*(_middle(first) - _middle(last))))


def _piece_between(first: np.ndarray, last: np.ndarray, share: float) -> np.ndarray:
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
            yield resize_levels(project.levels(index), *size) if index in painted else values

    write_masks(target, frames(), rate)
    return target
