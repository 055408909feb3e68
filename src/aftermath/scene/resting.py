"""What rests for most of a clip: the plate may show it, for it is the most lasting appearance there is.

What rests beside the object's way until the object comes, and then is gone or moved, is found by comparing the time
before the object comes near with the time after, pixel by pixel. What came to rest early, or rested till shortly
before the end, leaves a ghost: the few frames that show its place bare differ from the plate there, as if a thing
stood in them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from aftermath.core import Box
from aftermath.core.channels import channel_max, channel_mean
from aftermath.scene.base import Track
from aftermath.scene.membrane import membrane
from aftermath.scene.plate import Plate, masked_median
from aftermath.scene.sprites import hull_of, without_spurs
from aftermath.scene.tracks import difference

__all__ = ["Place", "Resting", "find_ghosts", "find_resting", "without_resting"]

_BESIDE, _ABOUT = 0.5, 1.5  # of the object's size: how near its shadow falls, and it may be at work
_LATE_SAMPLES = 5
_FEW, _LEAST = 3, 2  # samples that make an appearance
_SCRAP_SHARE = 0.0004  # of the picture
_STEADY_SHARE = 0.8  # of the samples before: what rests looks the same in them
_RING_PX, _RIM_PX = 4, 3  # past its outline a thing is blurred
_REACH = 0.8  # of what changed: how much farther the thing may reach
_HELD_SHARE = 0.03  # of the thing: with less of it in the plate the plate is good enough
_MARGIN_SHARE = 0.1  # of the thing's size: blur and the faint rim of its shadow
_OUTLINE_STEPS = 4
_LIGHT_PX = 5.0
_GHOSTS, _GHOST_SAMPLES = 12, 5  # how many tracks are looked at, and frames of each
_GHOST_SHARE = 0.002  # of the picture
_STAYS_SHARE = 0.15  # of its size: a ghost keeps its place
_MOSTLY = 0.6  # of its frames
_LASTS_SHARE = 0.5  # of the clip: what is there for longer the plate shows
_PLAINLY = 0.1  # Bhattacharyya distance


@dataclass(frozen=True)
class Resting:
    """A thing that rested, and the background as far as later samples show it, plate pixels.

    ``mask`` boolean (h, w): the thing. ``around`` boolean (h, w): the thing, its shadow and a margin. ``behind`` uint8
    (h, w, 3) and ``seen`` boolean (h, w): what is seen there when it has left; ``shaded`` boolean (h, w): the object's
    shadow may lie on that.
    """

    mask: np.ndarray
    around: np.ndarray
    behind: np.ndarray
    seen: np.ndarray
    shaded: np.ndarray


@dataclass(frozen=True)
class Place:
    """What one frame shows round a track, plate pixels: ``image`` uint8 (h, w, 3), lit like the plate; boolean (h, w):
    ``marked``, the track's pixels; ``soft``, where only the light differs from the plate's; ``free``, where neither the
    object nor another track is in the way."""

    image: np.ndarray
    marked: np.ndarray
    soft: np.ndarray
    free: np.ndarray


def find_ghosts(tracks: Sequence[Track], look: Callable[[Track, int], Place], plate: Plate) -> list[Resting]:
    """Things that ``plate`` shows and some frames do not: ``tracks`` that keep their place, and are nothing but the
    bare background there. ``look`` shows a track in a frame.
    """
    found: list[Resting] = []
    at_rest = [(track, _at_its_place(track)) for track in tracks]
    for track, frames in [(track, frames) for track, frames in at_rest if frames.size][:_GHOSTS]:
        chosen = frames[
            np.unique(np.linspace(0, len(frames) - 1, min(len(frames), _GHOST_SAMPLES)).astype(int))
        ]
        places = [look(track, int(t)) for t in chosen]
        mask = hull_of(_in_most([place.marked for place in places]))
        if np.count_nonzero(mask) < _GHOST_SHARE * mask.size:
            continue
        free = np.stack([place.free for place in places])
        image, known = masked_median(np.stack([place.image for place in places]), free), _in_most(free)
        soft = _in_most([place.soft for place in places])
        darker = channel_mean(image.astype(np.float32)) < channel_mean(plate.image.astype(np.float32))
        shadows = (
            soft & darker & ~_grown(mask, _RIM_PX)
        )  # of what passes: the plate's own shadow is missing in the frames
        soft &= ~shadows
        _, pieces = cv2.connectedComponents((_grown(mask, _RIM_PX) | soft).astype(np.uint8))
        own = np.isin(pieces, np.unique(pieces[mask]))
        if not _is_bare(image, plate, mask, ~own & plate.seen, known):
            continue
        around = _grown(own, round(_RIM_PX + _MARGIN_SHARE * np.sqrt(np.count_nonzero(mask)))) & ~shadows
        found.append(Resting(mask, around, image, known, np.zeros_like(mask)))
    return found


def _at_its_place(track: Track) -> np.ndarray:
    """The frames in which it is where it usually is; none where it moves about, or is there for so long that the plate
    shows it."""
    frames = np.flatnonzero(track.seen)
    centers, size_px = track.centers_px[frames], float(np.sqrt(np.median(track.areas_px[frames])))
    off = np.linalg.norm(centers - np.median(centers, axis=0), axis=1)
    there = frames[off < max(2.0, _STAYS_SHARE * size_px)]
    stays = len(there) > _MOSTLY * len(frames) and len(frames) < _LASTS_SHARE * len(track.seen)
    return there if stays else frames[:0]


def _in_most(masks: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    return 2 * np.sum(masks, axis=0) >= len(masks)


def _is_bare(
    image: np.ndarray, plate: Plate, mask: np.ndarray, outside: np.ndarray, known: np.ndarray
) -> bool:
    """Whether in ``mask`` boolean (h, w) ``image`` looks like what lies round it in ``plate``, and the plate does not;
    ``outside`` and ``known`` boolean (h, w): what may count as round it, and where ``image`` is known."""
    rows, cols = _surroundings(mask)
    here = mask[rows, cols] & known[rows, cols]
    if 2 * np.count_nonzero(here) < np.count_nonzero(mask):
        return False
    ring = outside[rows, cols] & _ring(mask[rows, cols])
    if np.count_nonzero(ring) < np.count_nonzero(here) / 4:
        return False
    around = _colors(plate.image[rows, cols], ring)
    bare, stands_out = (_unlike(each[rows, cols], here, around) for each in (image, plate.image))
    return bare + _PLAINLY < stands_out


@dataclass(frozen=True)
class _Times:
    """Each pixel before the object came near and after it, uint8 (h, w, 3) each, and where that is known."""

    early: np.ndarray
    early_known: np.ndarray
    late: np.ndarray
    late_known: np.ndarray
    steady: np.ndarray  # boolean (h, w): it looked the same in the samples before
    clear: np.ndarray  # boolean (h, w): the object's shadow does not reach there later
    nearest_px: np.ndarray  # float32 (h, w): the least distance of the object at any time


def find_resting(samples: np.ndarray, valid: np.ndarray, primary: np.ndarray, plate: Plate) -> list[Resting]:
    """The things that ``plate`` shows although they left their place, or were moved in it, when the object came.

    ``samples`` uint8 (N, h, w, 3), registered and in order of time; ``valid`` boolean (N, h, w), False where a sample
    does not count; ``primary`` boolean (N, h, w), the object in them.
    """
    size_px = float(np.sqrt(np.median([area for area in primary.sum(axis=(1, 2)) if area] or [0])))
    if size_px == 0:
        return []
    times = _times(samples, valid, primary, size_px, max(12.0, 5 * plate.noise))
    both = times.early_known & times.late_known
    changed = difference(times.late, times.early, both, plate.noise)
    left, came = _left_and_came(times, changed.solid)
    found: list[Resting] = []
    for place in left:
        if any((one.mask & place).any() for one in found):
            continue
        mask = _whole(times.early, times.early_known, times.late_known, place, came)
        if _cut_by_window(mask) or not _rested_at_touch(mask, times):
            continue
        held = mask & (channel_max(cv2.absdiff(plate.image, times.early)) <= max(12.0, 5 * plate.noise))
        if np.count_nonzero(_without_specks(held)) < _HELD_SHARE * mask.sum():
            continue
        still = _whole(times.late, times.late_known, times.early_known, came & _near(mask), place)
        if still.any():  # it moved by less than its size: what did not change shows it, or its shadow, still
            still |= (
                mask & ~place | _hull((changed.solid | changed.soft) & _near(mask)) & ~changed.soft & ~place
            )
        found.append(_resting(mask, times, changed.soft, still))
    return found


def without_resting(plate: Plate, things: list[Resting]) -> Plate:
    """``plate`` without ``things``; what is never seen behind them is continued from around, and not ``seen``."""
    image, seen = plate.image.copy(), plate.seen.copy()
    for thing in things:
        shown, hole = thing.around & thing.seen, thing.around & ~thing.seen
        image[shown] = thing.behind[shown]
        smooth = membrane(image, hole | (shown & thing.shaded))
        image[hole] = np.clip(np.rint(smooth[hole]), 0, 255)
        image = _lit(image, smooth, shown & thing.shaded)
        seen = (seen | shown) & ~hole
    return Plate(image, seen, plate.noise)


def _lit(image: np.ndarray, smooth: np.ndarray, shaded: np.ndarray) -> np.ndarray:
    """``image`` uint8 (h, w, 3) with the light that is missing where it is ``shaded`` boolean (h, w), by comparison
    with what is continued from around, ``smooth`` float32 (h, w, 3)."""
    here, wanted = (cv2.GaussianBlur(each.astype(np.float32), (0, 0), _LIGHT_PX) for each in (image, smooth))
    missing = np.clip(channel_mean(wanted) / (channel_mean(here) + 1), 1, 2)[..., None]
    return np.where(shaded[..., None], np.clip(np.rint(image * missing), 0, 255), image).astype(np.uint8)


def _times(samples: np.ndarray, valid: np.ndarray, primary: np.ndarray, size_px: float, tau: float) -> _Times:
    away = np.stack([_away(mask) for mask in primary])
    beside, about = (_from_first(away < reach * size_px) for reach in (_BESIDE, _ABOUT))
    before = _with_enough(valid & ~about, valid & ~beside)
    early = masked_median(samples, before)
    like = np.stack([channel_max(cv2.absdiff(sample, early)) <= tau for sample in samples])
    steady = (like & before).sum(axis=0) >= _STEADY_SHARE * before.sum(axis=0)
    # until the object has passed over it, what is beside it may not have left yet
    over = _from_first(away == 0)
    after = np.where(over.any(axis=0), valid & over, _with_enough(valid & beside, valid & about))
    lit = after & (away > _BESIDE * size_px)
    after = _with_enough(lit, after)
    last = after & (np.cumsum(after[::-1], axis=0)[::-1] <= _LATE_SAMPLES)
    late = masked_median(samples, last)
    early_known, late_known = before.sum(axis=0) >= _FEW, last.sum(axis=0) >= _LEAST
    return _Times(early, early_known, late, late_known, steady, lit.sum(axis=0) >= _FEW, away.min(axis=0))


def _from_first(on: np.ndarray) -> np.ndarray:
    """Boolean (N, h, w): from the first sample on in which ``on`` holds."""
    return np.logical_or.accumulate(on, axis=0)


def _with_enough(wanted: np.ndarray, instead: np.ndarray) -> np.ndarray:
    """``wanted`` boolean (N, h, w) where it holds in a few samples, ``instead`` elsewhere."""
    return np.where(wanted.sum(axis=0) >= _FEW, wanted, instead)


def _away(mask: np.ndarray) -> np.ndarray:
    """Distance of every pixel from ``mask`` boolean (h, w), float32; far where it is empty."""
    if not mask.any():
        return np.full(mask.shape, 1e4, np.float32)
    return cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3)


def _left_and_came(times: _Times, changed: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Places, boolean (h, w) each, where a thing was and is no longer, the largest first; and where one came to be."""
    pieces = cv2.morphologyEx(changed.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(pieces)
    left, came = [], np.zeros(changed.shape, bool)
    for label in np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind="stable") + 1:
        if stats[label, cv2.CC_STAT_AREA] < _SCRAP_SHARE * changed.size:
            break
        place = without_spurs(labels == label)  # a line on a thing that moved a little is not its rim
        if _was_there(times, place, pieces > 0):
            left.append(place)
        else:
            came |= place
    return left, came


def _was_there(times: _Times, place: np.ndarray, changed: np.ndarray) -> bool:
    """Whether what changed in ``place`` is a thing that left: it had other colours than what lies round it."""
    rows, cols = _surroundings(place)
    here = place[rows, cols]
    moved = (
        _between(here, changed[rows, cols]) | ~times.late_known[rows, cols] | ~times.early_known[rows, cols]
    )
    ring = _ring(here, moved)
    if not ring.any():
        return False
    early, late = (
        _unlike(image[rows, cols], here, _colors(image[rows, cols], ring))
        for image in (times.early, times.late)
    )
    return early > late


def _surroundings(mask: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of ``mask`` boolean (h, w), not empty, and as much again on every side."""
    box = Box.of_mask(mask)
    assert box is not None
    return box.grown(max(box.width, box.height)).slices(mask.shape[1], mask.shape[0])


def _ring(thing: np.ndarray, beside: np.ndarray | None = None) -> np.ndarray:
    """What lies round ``thing`` boolean (h, w), past its blur, and round what lies ``beside`` it."""
    away = _away(thing if beside is None else thing | beside)
    return (away > _RING_PX) & (away < _RING_PX + 0.5 * np.sqrt(np.count_nonzero(thing)))


def _unlike(image: np.ndarray, where: np.ndarray, around: np.ndarray) -> float:
    """How far the colours of ``image`` in ``where`` are from a histogram: 0 (the same) to 1 (Bhattacharyya)."""
    return cv2.compareHist(_colors(image, where), around, cv2.HISTCMP_BHATTACHARYYA)


def _colors(image: np.ndarray, where: np.ndarray) -> np.ndarray:
    """How often each colour occurs ``where``, boolean (h, w): a coarse histogram of ``image`` uint8 (h, w, 3)."""
    hist = cv2.calcHist([image], [0, 1, 2], where.astype(np.uint8), [12] * 3, [0, 256] * 3)
    return hist / max(1.0, float(hist.sum()))


def _whole(
    image: np.ndarray, known: np.ndarray, other_known: np.ndarray, place: np.ndarray, there: np.ndarray
) -> np.ndarray:
    """The outline of the thing of which ``place`` is a part in ``image``, boolean (h, w); ``there`` it is only at the
    other time.

    What is hidden at the other time, or shows the thing both times, is settled by colour, with a graph cut.
    """
    out = np.zeros_like(place)
    box = Box.of_mask(place)
    if box is None:
        return out
    rows, cols = box.grown(max(8.0, _REACH * max(box.width, box.height))).slices(*place.shape[::-1])
    here, away = place[rows, cols], there[rows, cols]
    doubtful = known[rows, cols] & (~other_known[rows, cols] | _between(here, away)) & ~away
    if (doubtful & ~here).any():
        here = _cut(image[rows, cols], here, ~(doubtful | here))
    out[rows, cols] = hull_of(here) & ~away & known[rows, cols]
    return out


def _near(mask: np.ndarray) -> np.ndarray:
    """No farther from ``mask`` boolean (h, w) than it is large."""
    return _away(mask) < np.sqrt(np.count_nonzero(mask))


def _cut_by_window(mask: np.ndarray) -> bool:
    """Whether it reaches out of the picture: a floor, or a thing that may have moved of its own will."""
    return bool(mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())


def _between(here: np.ndarray, there: np.ndarray) -> np.ndarray:
    """What may show the thing before and after alike, when it moved by less than its size: boolean (h, w)."""
    return _hull(here | there) if there.any() else np.zeros_like(here)


def _hull(mask: np.ndarray) -> np.ndarray:
    """The convex hull of ``mask`` boolean (h, w)."""
    out = np.zeros(mask.shape, np.uint8)
    cv2.fillConvexPoly(out, cv2.convexHull(np.argwhere(mask)[:, ::-1].astype(np.int32)), 1)
    return out > 0


def _cut(image: np.ndarray, thing: np.ndarray, sure_not: np.ndarray) -> np.ndarray:
    """Continue ``thing`` boolean (h, w) into what looks like it: the connected part of a graph cut."""
    labels = np.full(thing.shape, cv2.GC_PR_BGD, np.uint8)
    labels[sure_not] = cv2.GC_BGD
    labels[thing] = cv2.GC_FGD
    cv2.setRNGSeed(0)  # grabCut seeds its colour models from OpenCV's global generator
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(
        np.ascontiguousarray(image[..., ::-1]),
        labels,
        (0, 0, 1, 1),
        *models,
        _OUTLINE_STEPS,
        cv2.GC_INIT_WITH_MASK,
    )
    found = ((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)).astype(np.uint8)
    found = cv2.morphologyEx(found, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    _, pieces = cv2.connectedComponents(np.where(thing, np.uint8(1), found))
    hit = np.bincount(pieces[thing], minlength=pieces.max() + 1)
    return pieces == hit.argmax()


def _rested_at_touch(mask: np.ndarray, times: _Times) -> bool:
    """Whether the thing kept still before, and the object came so near that it may have touched it."""
    touch_px = 4.0 + 0.15 * np.sqrt(np.count_nonzero(mask))
    return bool(times.steady[mask].mean() > _STEADY_SHARE and times.nearest_px[mask].min() <= touch_px)


def _resting(mask: np.ndarray, times: _Times, soft: np.ndarray, still: np.ndarray) -> Resting:
    """With its shadow, the part of ``soft`` that touches it; the background is not seen where the thing is ``still``,
    both boolean (h, w)."""
    darker = channel_mean(times.late.astype(np.float32)) < channel_mean(times.early.astype(np.float32))
    object_shadow = soft & darker & ~mask
    joined = np.logical_or(_grown(mask, _RIM_PX), soft & ~object_shadow)
    _, pieces = cv2.connectedComponents(joined.astype(np.uint8))
    own = pieces == pieces[mask][0]
    seen = times.late_known & (_away(still) > _RIM_PX) | object_shadow
    around = _grown(own, round(_RIM_PX + _MARGIN_SHARE * np.sqrt(np.count_nonzero(mask))))
    around |= object_shadow & _near(mask)
    behind = np.where(object_shadow[..., None], times.early, times.late)
    return Resting(mask, around, behind, seen, ~times.clear & ~object_shadow)


def _without_specks(mask: np.ndarray) -> np.ndarray:
    """``mask`` boolean (h, w) less what is thin: by chance single pixels look alike before and after."""
    return cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))


def _grown(mask: np.ndarray, radius_px: int) -> np.ndarray:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius_px + 1, 2 * radius_px + 1))
    return cv2.dilate(mask.astype(np.uint8), kernel) > 0
