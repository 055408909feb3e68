"""Bites that a cut took out of a thing's outline: a rim that shows the background through itself."""

from __future__ import annotations

import cv2
import numpy as np

from aftermath.segment.cut import cut, edge_cost
from aftermath.segment.shapes import edge_strength, grown

__all__ = ["without_bites"]

_SOLID = 0.85  # share of its hull that a nearly convex thing fills; arms and legs leave more of it empty
_LEAST = 5e-3  # of the thing: a smaller bite is the outline's own
_QUARTER = 25  # percentile: what three quarters of a border reach, it has throughout
_OF_OWN, _OF_TEXTURE = 0.5, 1.5  # of the outline's own edges, of its surroundings': what makes an edge
_NEAR_PX, _RING_PX = 8, 30  # the surroundings whose texture counts
_SNAP = 0.015  # of the thing's size: how far a filled bite's border may lie from its edge
_OUTER, _SURE = 0.25, 20.0  # evidence: of two edges as strong the outer one is the thing's


def without_bites(mask: np.ndarray, image: np.ndarray, never: np.ndarray) -> np.ndarray:
    """``mask``, bool (H, W), with the bites in its outline filled where it is nearly convex.

    A tight box tells that the object reaches its sides (Lempitsky et al., ICCV 2009), not where between them; where a
    thing shows its background, colours do not tell either. What its hull or its mirror image adds is taken for its own
    where the border that this gives it lies on an edge throughout: the chord across a true notch crosses flat places.

    ``image``: uint8 (H, W, 3) RGB; ``never``: bool (H, W), pixels that are not filled.
    """
    hull = _hull(mask)
    if mask.sum() < _SOLID * hull.sum():
        return mask
    smooth = cv2.medianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2LAB), 3)
    edges = cv2.dilate(edge_strength(smooth), np.ones((5, 5), np.uint8))  # a border may lie beside its edge
    least = _least_edge(mask, edges)
    bites = ((hull | _mirrored(mask)) & ~mask & ~never).astype(np.uint8)
    bites = cv2.morphologyEx(bites, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(bites)
    found = np.zeros_like(mask)
    for label in range(1, count):
        bite = grown(labels == label, 1) & ~mask & ~never
        border = grown(bite, 1) & ~bite & ~mask
        large = stats[label, cv2.CC_STAT_AREA] >= _LEAST * mask.sum()
        is_bite = large and border.any()  # else it is a hole
        if is_bite and np.percentile(edges[border], _QUARTER) >= least:
            found |= bite
    return _snapped(mask, found, image) if found.any() else mask


def _snapped(mask: np.ndarray, bites: np.ndarray, image: np.ndarray) -> np.ndarray:
    """``mask`` with ``bites``, bool (H, W) each, whose outer border moves to the strongest edge near it."""
    whole = mask | bites
    reach = max(1, round(_SNAP * float(whole.sum()) ** 0.5))
    free = grown(bites, reach) & grown(whole, reach) & grown(~whole, reach)
    evidence = np.where(free, _OUTER, np.where(whole, _SURE, -_SURE)).astype(np.float32)
    return cut(evidence, edge_cost(image), whole)


def _hull(mask: np.ndarray) -> np.ndarray:
    points = cv2.findNonZero(mask.astype(np.uint8))
    out = np.zeros(mask.shape, np.uint8)
    if points is not None:
        cv2.fillConvexPoly(out, cv2.convexHull(points), 1)
    return out > 0


def _mirrored(mask: np.ndarray) -> np.ndarray:
    """``mask``, bool (H, W), with left and right swapped in place: what was turned or blown has an upright axis."""
    columns = np.flatnonzero(mask.any(axis=0))
    out = np.zeros_like(mask)
    if columns.size:
        window = slice(columns[0], columns[-1] + 1)
        out[:, window] = mask[:, window][:, ::-1]
    return out


def _least_edge(mask: np.ndarray, edges: np.ndarray) -> float:
    """What counts as an edge of this thing: not much weaker than its own, stronger than the surroundings' texture."""
    own = edges[grown(mask, 1) & ~mask]
    ring = edges[grown(mask, _RING_PX) & ~grown(mask, _NEAR_PX)]
    texture = np.percentile(ring, 100 - _QUARTER) if ring.size else 0.0
    return float(max(_OF_OWN * np.percentile(own, _QUARTER), _OF_TEXTURE * texture)) if own.size else np.inf
