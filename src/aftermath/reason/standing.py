"""What motion cannot show: a thing that stands still on the object, and where it would come to rest."""

from __future__ import annotations

import cv2
import numpy as np

from aftermath.core import Box

__all__ = ["drop_below", "in_the_outline", "standing_on"]

_LEAST_DENT_PX, _LEAST_DENT_AREA = 3, 12  # below, a mask is not that exact
# of a dent's width: how high a thing may rise above it, and how much more is tried, how often
_TALL, _TALLER, _TRIES = 2.5, 1.7, 3
_FILLED_SHARE = 0.75  # of a dent: what stands in it fills it
_SMALLEST, _LARGEST = 0.02, 6.0  # of the object's visible part
_DEPTH_SHARE = 0.02  # of the object's size: how deep a dent is no flaw of its mask
_COMPACT_SHARE = 0.6  # of its convex hull
_UNLIKE_GROUND, _UNLIKE_OBJECT = 0.5, 0.4  # Bhattacharyya distance
_NO_GROUND, _GROUND = 0.27, 0.5  # of what lies along a side
_END_PX, _ALIKE = 4, 12.0  # levels of Lab
# of an object whose top is hidden: how far apart in height its corners may be, of its height and of its width,
_CORNER_PX, _CORNER_SHARE, _TILT = 2, 0.25, 0.4
# and how far that top may rise over the line between them, of its width
_ARCH_PX, _ARCH_SHARE = 2, 0.04
_FLAT_SHARE, _END_SHARE, _EDGE_PX = 0.3, 0.3, 4  # of the width and height of what hides it
_OVER_SHARE = 0.25  # of the lower one's width: what stands on a thing stands over its middle


def in_the_outline(image: np.ndarray, primary: np.ndarray, storeys: int = 3) -> list[np.ndarray]:
    """Things that stand on the object: boolean (H, W) each, with what stands on them in turn up to ``storeys``.

    ``image`` uint8 (H, W, 3) RGB, ``primary`` boolean (H, W). Seen from above, a thing on a table or a crate hides
    part of its top, so its outline, else convex there, has a dent that opens upward; what merely is behind has none.
    A graph cut finds the thing from the dent. Where the dent looks like what is around, the object is hollow there
    and stands before the ground; where it looks like the object, its mask is too small.
    """
    box = Box.of_mask(primary)
    if box is None or min(box.width, box.height) < 8:
        return []
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    found: list[np.ndarray] = []
    for dent in _dents(primary):
        if any(2 * np.count_nonzero(dent & other) > np.count_nonzero(dent) for other in found):
            continue
        thing = _in_dent(image, lab, primary, dent)
        if thing is not None:
            found.append(_with_storeys(image, thing, storeys) & ~primary)
    return found or [
        _with_storeys(image, thing, storeys) & ~primary for thing in _on_covered_top(image, lab, primary)
    ]


def _with_storeys(image: np.ndarray, thing: np.ndarray, storeys: int) -> np.ndarray:
    """``thing`` with what stands on it in turn, boolean (H, W)."""
    for upper in in_the_outline(image, thing, storeys - 1) if storeys > 1 else ():
        if _is_over(upper, thing):
            thing = thing | upper
    return thing


def _on_covered_top(image: np.ndarray, lab: np.ndarray, primary: np.ndarray) -> list[np.ndarray]:
    """What is as wide as the object or wider and hides all of its top: boolean (H, W), one at most.

    It leaves no dent. But where a top is seen it is arched or narrower than the front; where it is hidden the object's
    sides go straight up to the edge of what hides it, and that edge goes on past them. Of what is merely behind, the
    object's top would cut the edge off.
    """
    box = Box.of_mask(primary)
    assert box is not None
    columns = np.arange(int(box.x0), int(box.x1))
    top = primary[:, columns].argmax(axis=0)  # a mask of one piece has no empty column
    ends = top[_CORNER_PX], top[-1 - _CORNER_PX]
    chord = np.linspace(*ends, len(columns) - 2 * _CORNER_PX)
    rise = (chord - top[_CORNER_PX : len(columns) - _CORNER_PX]).max()
    if (
        box.y0 < _CORNER_PX  # it may go on above the picture
        or max(ends) - box.y0 > _CORNER_SHARE * box.height
        or abs(ends[0] - ends[1]) > _TILT * box.width
        or rise > max(_ARCH_PX, _ARCH_SHARE * box.width)
    ):
        return []
    depth = max(4, round(0.06 * box.height))
    above = np.arange(len(primary))[:, None]
    strip = np.zeros_like(primary)
    strip[:, columns] = (above < top) & (above >= top - depth)
    thing = _in_dent(image, lab, primary, strip, below_px=round(box.width))
    if thing is None or not _is_as_wide(thing, columns, depth) or not _goes_on_past(thing, columns, top):
        return []
    return [thing]


def _is_as_wide(thing: np.ndarray, columns: np.ndarray, depth: int) -> bool:
    """Whether ``thing`` boolean (H, W) rises over both ends of ``columns``, where ``depth`` pixels of it were given;
    what is low and wide is rather a skirting behind."""
    box = Box.of_mask(thing)
    assert box is not None
    heights = np.count_nonzero(thing[:, columns], axis=0)
    least = max(depth + 2, _END_SHARE * box.height)
    return box.height > _FLAT_SHARE * box.width and min(heights[_CORNER_PX], heights[-1 - _CORNER_PX]) > least


def _goes_on_past(thing: np.ndarray, columns: np.ndarray, top: np.ndarray) -> bool:
    """Whether the lower edge of ``thing`` boolean (H, W) goes on past both ends of the object's top: its first row
    ``top`` int (N,) in each of its ``columns``."""
    for way, end, level in ((-1, columns[0], top[_CORNER_PX]), (1, columns[-1], top[-1 - _CORNER_PX])):
        beside = [x for x in end + way * np.arange(2, 7) if 0 <= x < thing.shape[1] and thing[:, x].any()]
        for x in beside:
            lowest = len(thing) - int(thing[::-1, x].argmax())
            if abs(lowest - level) > _EDGE_PX + _TILT * abs(x - end):
                return False
    return True


def _dents(primary: np.ndarray) -> list[np.ndarray]:
    """Where the outline of ``primary`` boolean (H, W) is hollow and open to above: boolean (H, W) each."""
    above = np.maximum.accumulate(primary, axis=0)
    below = np.maximum.accumulate(primary[::-1], axis=0)[::-1]
    hollow = (_hull(primary) & ~above & below).astype(np.uint8)
    depth_px = max(_LEAST_DENT_PX, round(_DEPTH_SHARE * np.sqrt(np.count_nonzero(primary))))
    hollow = cv2.morphologyEx(hollow, cv2.MORPH_OPEN, np.ones((depth_px, depth_px), np.uint8))
    num, labels, stats, _ = cv2.connectedComponentsWithStats(hollow)
    return [labels == k for k in range(1, num) if stats[k, cv2.CC_STAT_AREA] >= _LEAST_DENT_AREA]


def _in_dent(
    image: np.ndarray, lab: np.ndarray, primary: np.ndarray, dent: np.ndarray, below_px: int = 0
) -> np.ndarray | None:
    """The outline of what stands in a dent and reaches ``below_px`` below it at most: boolean (H, W); None where
    nothing does."""
    at = Box.of_mask(dent)
    assert at is not None
    seed = cv2.erode(dent.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    seed = seed if np.count_nonzero(seed) >= _LEAST_DENT_AREA // 2 else dent
    tall, side = _TALL * max(at.width, 8), 0.8 * at.width + 12
    for _ in range(_TRIES):
        window = Box(at.x0 - side, at.y1 - tall - 12, at.x1 + side, at.y1 + below_px + 2)
        rows, cols = window.slices(*dent.shape[::-1])
        left, bottom = at.x0 - cols.start, at.y1 - rows.start
        likely = Box(
            left - 0.5 * at.width - 3, bottom - tall, left + 1.5 * at.width + 3, bottom + below_px + 1
        )
        ground = primary[rows, cols] | _like_beside(lab[rows, cols], left, left + at.width)
        cut = _cut(image[rows, cols], seed[rows, cols], ground, likely)
        if cut is None:
            return None
        if rows.start == 0 or not cut[:4].any():
            thing = np.zeros_like(primary)
            thing[rows, cols] = cut
            return thing if _stands(thing, lab, primary, dent, (rows, cols)) else None
        tall *= _TALLER  # it reaches out of what was looked at
    return None


def _like_beside(lab: np.ndarray, left: float, right: float) -> np.ndarray:
    """What goes on to both sides at its height, as a skirting or a horizon does: boolean (h, w), nothing of it between
    the columns ``left`` and ``right``, if that is less. ``lab`` uint8 (h, w, 3)."""
    smooth = cv2.GaussianBlur(lab, (3, 3), 0).astype(np.float32)
    ends = [
        smooth[:, part].mean(axis=1, keepdims=True) for part in (slice(None, _END_PX), slice(-_END_PX, None))
    ]
    between = np.clip(smooth, np.minimum(*ends), np.maximum(*ends))
    alike = np.linalg.norm(smooth - between, axis=-1) < _ALIKE
    if left < right:
        alike[:, max(0, int(left)) : max(0, int(right) + 1)] = False
    return alike


def _stands(
    thing: np.ndarray, lab: np.ndarray, primary: np.ndarray, dent: np.ndarray, window: tuple[slice, slice]
) -> bool:
    """Whether ``thing`` is whole, fills the ``dent``, and looks neither like what is around nor like the object."""
    rows, cols = window
    box = Box.of_mask(thing)
    if box is None or box.y0 <= rows.start + 3 or box.x0 <= cols.start + 2 or box.x1 >= cols.stop - 2:
        return False
    area = np.count_nonzero(thing)
    if (
        not _SMALLEST < area / np.count_nonzero(primary) < _LARGEST
        or area < _COMPACT_SHARE * np.count_nonzero(_hull(thing))
        or np.count_nonzero(thing & dent) < _FILLED_SHARE * np.count_nonzero(dent)
    ):
        return False
    around = np.zeros_like(thing)
    around[rows, cols] = True
    around &= _grown(thing, max(4, round(0.5 * np.sqrt(area)))) & ~_grown(thing | primary, 2)
    if np.count_nonzero(around) < _LEAST_DENT_AREA or _is_torn(thing, lab, primary, window):
        return False
    inner = cv2.erode(primary.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    return (
        _unlike(lab, thing, around) > _UNLIKE_GROUND
        and _unlike(lab, dent, around) > _UNLIKE_GROUND
        and _unlike(lab, thing, inner) > _UNLIKE_OBJECT
    )


def _is_torn(thing: np.ndarray, lab: np.ndarray, primary: np.ndarray, window: tuple[slice, slice]) -> bool:
    """Whether the ground lies on one side of ``thing`` boolean (H, W) and something else along all of the other, as
    where a graph cut took the bright side of a box alone."""
    box = Box.of_mask(thing)
    assert box is not None
    ground = np.zeros_like(thing)
    ground[window] = _like_beside(lab[window], 1, 0)
    beside = _grown(thing, 3) & ~_grown(thing, 1) & ~_grown(primary, 2)
    middle = round(box.center[0])
    left, right = (ground[:, part][beside[:, part]] for part in (slice(None, middle), slice(middle, None)))
    if not left.size or not right.size:
        return False
    shares = sorted((left.mean(), right.mean()))
    return bool(shares[0] < _NO_GROUND and shares[1] > _GROUND)


def _is_over(upper: np.ndarray, lower: np.ndarray) -> bool:
    """Whether ``upper`` boolean (H, W) stands over the middle of ``lower``; beside it, it is behind."""
    one, other = Box.of_mask(upper), Box.of_mask(lower)
    assert one is not None and other is not None
    return abs(one.center[0] - other.center[0]) < _OVER_SHARE * other.width


def _unlike(lab: np.ndarray, here: np.ndarray, there: np.ndarray) -> float:
    """How far apart the colours of two places are, boolean (H, W) both: 0 (the same) to 1 (Bhattacharyya)."""
    one, other = (
        cv2.calcHist([lab], [0, 1, 2], where.astype(np.uint8), [8, 16, 16], [0, 256] * 3)
        / np.float32(max(1, np.count_nonzero(where)))
        for where in (here, there)
    )
    return cv2.compareHist(one, other, cv2.HISTCMP_BHATTACHARYYA)


def _hull(mask: np.ndarray) -> np.ndarray:
    """The convex hull of ``mask`` boolean (H, W), not empty."""
    out = np.zeros(mask.shape, np.uint8)
    cv2.fillConvexPoly(out, cv2.convexHull(np.argwhere(mask)[:, ::-1].astype(np.int32)), 1)
    return out > 0


def _grown(mask: np.ndarray, radius_px: int) -> np.ndarray:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius_px + 1, 2 * radius_px + 1))
    return cv2.dilate(mask.astype(np.uint8), kernel) > 0


def standing_on(image: np.ndarray, primary: np.ndarray) -> np.ndarray | None:
    """The thing that touches the object from above and would lose its support: boolean (H, W), or None.

    ``image`` uint8 (H, W, 3) RGB, ``primary`` boolean (H, W). The strip just above the object is compared with what
    lies beside it at the same height; where it differs, a graph cut finds the thing's outline.
    """
    box = Box.of_mask(primary)
    if box is None or box.y0 < 6 or min(box.width, box.height) < 8:
        return None
    height, width = primary.shape
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float32)
    seed = _strip_above(lab, primary, box)
    if seed is None:
        return None
    reach = 1.3 * max(box.width, box.height)
    rows, cols = Box(box.x0 - 0.3 * box.width, box.y0 - reach, box.x1 + 0.3 * box.width, box.y1).slices(
        width, height
    )
    around = Box.of_mask(seed[rows, cols])
    assert around is not None
    tall = max(around.width, around.height)
    likely = Box(around.x0 - 4, around.y1 - 1.6 * tall, around.x1 + 4, around.y1)
    found = _cut(image[rows, cols], seed[rows, cols], primary[rows, cols], likely)
    if found is None:
        return None
    out = np.zeros_like(primary)
    out[rows, cols] = found
    top = Box.of_mask(out)
    assert top is not None
    rests_inside = top.x0 > box.x0 - 0.3 * box.width and top.x1 < box.x1 + 0.3 * box.width
    bounded = top.y0 > rows.start + 1 and 0.03 * primary.sum() < out.sum() < 3.0 * primary.sum()
    return out if rests_inside and bounded else None


def _strip_above(lab: np.ndarray, primary: np.ndarray, box: Box) -> np.ndarray | None:
    """Pixels right above the object that look like nothing beside it at the same height."""
    depth = max(4, round(0.06 * box.height))
    seed = np.zeros_like(primary)
    left, right = max(0, int(box.x0 - 4)), min(primary.shape[1] - 1, int(box.x1 + 4))
    for x in range(int(box.x0 + 0.05 * box.width), int(box.x1 - 0.05 * box.width)):
        column = np.flatnonzero(primary[:, x])
        if column.size == 0 or column[0] < depth + 2:
            continue
        rows = slice(column[0] - depth - 2, column[0] - 2)
        here = lab[rows, x].mean(axis=0)
        beside = [lab[rows, side].mean(axis=0) for side in (left, right)]
        between = np.clip(here, np.minimum(*beside), np.maximum(*beside))
        seed[rows, x] = np.linalg.norm(here - between) > 22
    seed = cv2.morphologyEx(seed.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 5), np.uint8)) > 0
    return seed if seed.sum() > 0.08 * box.width * depth else None


def _cut(image: np.ndarray, seed: np.ndarray, primary: np.ndarray, likely: Box) -> np.ndarray | None:
    """The connected thing that holds most of ``seed``, by a graph cut; ``likely`` it does not reach out of that."""
    if seed.sum() < _LEAST_DENT_AREA // 2:
        return None
    labels = np.full(seed.shape, cv2.GC_PR_BGD, np.uint8)
    rows, cols = likely.slices(*seed.shape[::-1])
    labels[rows, cols] = cv2.GC_PR_FGD
    labels[seed] = cv2.GC_FGD
    labels[primary] = cv2.GC_BGD
    labels[:2], labels[:, :2], labels[:, -2:] = cv2.GC_BGD, cv2.GC_BGD, cv2.GC_BGD
    if not (labels == cv2.GC_FGD).any():
        return None
    cv2.setRNGSeed(0)  # grabCut seeds its colour models from OpenCV's global generator
    models = np.zeros((1, 65)), np.zeros((1, 65))
    bgr = np.ascontiguousarray(image[..., ::-1])
    cv2.grabCut(bgr, labels, (0, 0, 1, 1), *models, 6, cv2.GC_INIT_WITH_MASK)
    found = ((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)).astype(np.uint8)
    found = cv2.morphologyEx(found, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    _, pieces = cv2.connectedComponents(found)
    hit = np.bincount(pieces[seed], minlength=pieces.max() + 1)
    hit[0] = 0
    return pieces == hit.argmax() if hit.any() else None


def drop_below(thing: np.ndarray, primary: np.ndarray) -> float:
    """How far, in pixels, a thing on the object falls until it stands where the object stood.

    ``thing`` and ``primary`` boolean (H, W). Seen from above, the object shows its top face, of depth d, over its
    front, of height h; a thing in the middle of the top face stands d/2 below the object's highest pixel and comes
    to rest d/2 above its lowest, so it falls by the object's height in the picture less d. The thing's lowest pixel is
    the front of its own base, as much foreshortened as the top face (taken to be as deep as it is wide).
    """
    on, below = Box.of_mask(thing), Box.of_mask(primary)
    if on is None or below is None:
        return 0.0
    lowest = thing[int(on.y1 - max(2, 0.08 * on.height)) : int(on.y1)]
    base = float(np.count_nonzero(lowest.any(axis=0)))
    front = max(0.0, on.y1 - below.y0)  # of the thing's own base, which stands before its middle
    half_depth = front * below.width / (below.width + base)
    least = max(0.0, below.y1 - on.y1) * 0.5
    above = max(0.0, below.y0 - on.y1)  # it has not quite landed yet
    return float(above + max(below.height - 2 * half_depth, least))
