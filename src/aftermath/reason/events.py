"""Who acted on whom: contact and timing, read off the tracks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from aftermath.core import Action
from aftermath.reason.kinematics import Contact, contacts, fall_of, fit_line, smooth_frames
from aftermath.reason.paths import going_on_path

__all__ = ["CUT_PX", "Cause", "Event", "Mover", "find_event", "measured"]

_REST_SPEED = 0.5  # px a frame: slower is at rest
_MOVING_SPEED = 2.0  # slower than this, to be stopped and to come to rest look alike
_CARRIED_FRAMES = 5
_SETTLE_FRAMES = 4  # a change of motion must last this long
_AREA_FRAMES = 4  # to either side: what a thing's size is compared with
_TURN_SHARE, _TURN_SPEED = 0.3, 0.7  # of its speed, and px a frame: the least change that a blow makes
_VELOCITY_FRAMES = 8
_BESIDE = 0.5  # of the cause's size
CUT_PX = 3  # on the picture's border


@dataclass(frozen=True)
class Mover:
    """Something that moves, told by numbers alone: the pixels of all things of a long clip do not fit into memory.

    ``centers`` float64 (T, 2) in plate pixels, NaN where it is not seen; ``areas`` (T,), its visible pixels;
    ``cut`` boolean (T,): it reaches out of the picture; ``longest_px``: the picture's longer side.
    """

    centers: np.ndarray
    areas: np.ndarray
    cut: np.ndarray
    longest_px: int

    @classmethod
    def of(cls, mask: np.ndarray, centers: np.ndarray) -> Mover:
        """Measure ``mask``, boolean (T, H, W)."""
        areas, edge = measured(mask.view(np.uint8))
        return cls(centers, areas[:, 1], edge[:, 1] > CUT_PX, max(mask.shape[1:]))

    @cached_property
    def size_px(self) -> float:
        """Side of a square as large as it usually is."""
        return float(np.sqrt(np.median(self.areas[self.areas > 0]))) if self.areas.any() else 0.0

    @cached_property
    def whole_centers(self) -> np.ndarray:
        """Its centres where it is seen as a whole: a half-hidden thing's centre is not its own."""
        areas = np.where(self.areas > 0, self.areas, np.nan)
        centers = self.centers.copy()
        centers[self.cut] = np.nan  # an arm that comes in moves of its own will
        areas[np.isnan(centers[:, 0])] = np.nan
        for t in np.flatnonzero(np.isfinite(areas)):  # its size in the picture changes with its distance
            share = areas[t] / np.nanmedian(areas[max(0, t - _AREA_FRAMES) : t + _AREA_FRAMES + 1])
            if not 0.7 < share < 1.25:
                centers[t] = np.nan
        return centers


def measured(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pixels of each label, and those of them on the picture's border: int (T, 256) each.

    ``labels`` uint8 (T, H, W); column n belongs to label n.
    """
    areas, edge = np.zeros((len(labels), 256), int), np.zeros((len(labels), 256), int)
    for t, frame in enumerate(labels):
        areas[t] = np.bincount(frame.ravel(), minlength=256)
        for side in (frame[0], frame[-1], frame[:, 0], frame[:, -1]):
            edge[t] += np.bincount(side, minlength=256)
    return areas, edge


@dataclass(frozen=True)
class Cause:
    """The primary object, or a thing that it affects: from ``first`` on it may act on others."""

    name: str
    mover: Mover
    first: int = 0


@dataclass(frozen=True)
class Event:
    """``action`` from frame ``first`` on, because of ``why``."""

    action: Action
    first: int
    why: str
    confidence: float


def find_event(
    thing: Mover, cause: Cause, gap: np.ndarray, onset: Callable[[int], int] | None = None
) -> Event | None:
    """What ``cause`` did to ``thing``, or None where nothing shows that it did anything.

    ``gap`` float64 (T,): the distance between the two, pixels (`kinematics.gaps`). ``onset`` takes a frame in which a
    thing has clearly left its rest to the first one that shows it elsewhere; the centre of a half-hidden thing cannot.

    Nearness alone never counts: a touch must come with a change of motion at the same time, or with moving along
    together for long.
    """
    gap = np.where(np.arange(len(gap)) < cause.first, np.inf, gap)
    if _comes_up_at(cause, thing, gap):
        return None
    trusted = thing.whole_centers
    touch = _touch_distance(thing, cause.mover, trusted)
    episodes = contacts(gap, touch)
    for episode in episodes:
        event = _carried(thing, cause, episode, gap) or _struck(thing, trusted, cause, episode, gap, onset)
        if event is not None:
            return event
    return None


def _touch_distance(thing: Mover, other: Mover, centers: np.ndarray) -> np.ndarray:
    """How near counts as touching, (T,) pixels: between two frames a fast thing covers some way unseen."""
    relative = np.zeros(len(centers))
    known = np.flatnonzero(np.isfinite(centers[:, 0]))
    if known.size > 1:
        way = np.stack([np.interp(np.arange(len(centers)), known, centers[known, i]) for i in (0, 1)], axis=1)
        step = np.diff(way - np.nan_to_num(other.centers), axis=0)
        relative[1:] = np.linalg.norm(step, axis=1)
    relative = np.minimum(relative, 0.15 * thing.longest_px)
    return 3.0 + 0.03 * thing.size_px + 0.6 * relative


def _carried(thing: Mover, cause: Cause, episode: Contact, gap: np.ndarray) -> Event | None:
    """It moves along with the cause for as long as they touch, and did so from the start."""
    if episode.end - episode.start < _CARRIED_FRAMES or episode.start > cause.first + 2:
        return None
    beside = contacts(
        gap, 6.0 + 0.35 * thing.size_px + np.zeros(len(gap))
    )  # what dangles keeps some distance
    frames = np.arange(episode.start, next(e.end for e in beside if e.end > episode.start))
    both = frames[np.isfinite(thing.centers[frames, 0]) & np.isfinite(cause.mover.centers[frames, 0])]
    if both.size < _CARRIED_FRAMES:
        return None
    travelled = np.ptp(cause.mover.centers[both], axis=0).max()
    apart = np.ptp(thing.centers[both] - cause.mover.centers[both], axis=0).max()
    if travelled < 0.4 * thing.size_px or apart > 0.35 * travelled:
        return None
    why = (
        f"touches {cause.name} from frame {frames[0]} to {frames[-1]} and moves with it "
        f"({travelled:.0f} px together, {apart:.0f} px apart): it is held or carried"
    )
    return Event(Action.FALLS, int(both[0]), why, float(np.clip(0.5 + 0.4 * (1 - apart / travelled), 0, 0.9)))


def _struck(
    thing: Mover,
    centers: np.ndarray,
    cause: Cause,
    episode: Contact,
    gap: np.ndarray,
    onset: Callable[[int], int] | None,
) -> Event | None:
    """Its motion changes when they touch: it was set in motion, stopped or deflected."""
    start, size_px = episode.start, thing.size_px
    before = fit_line(centers, slice(max(0, start - 8), start + 1))
    if before is None or np.isfinite(centers[: start + 1, 0]).sum() < 2:
        return None
    speed = float(np.linalg.norm(before[0]))
    rested = speed < _REST_SPEED or _stays_put(centers[: start + 1])
    if not rested and (speed < _MOVING_SPEED or not _steady(centers, start, speed)):
        return None
    expected = _expected(centers, start, rested)
    off = np.linalg.norm(centers - expected, axis=1)
    changed = _departs(off, start, episode.end + _SETTLE_FRAMES, size_px, 0.0 if rested else speed)
    if changed is None or not _near_in_time(gap, changed, size_px):
        return None
    if not (_keeps_size(thing.areas, start, changed) if rested else _turns(centers, start, changed)):
        return None
    falls = None if rested else fall_of(centers, slice(0, start + 1))
    least = gap[max(0, changed - 3) : changed + 3].min()
    sure = float(np.clip(0.95 - 0.03 * max(0.0, least - 2), 0.4, 0.95))
    if rested:
        changed = changed if onset is None else onset(changed)
        why = f"rested until frame {changed}, when {cause.name} touched it (gap {least:.0f} px) and it moved off"
        return Event(Action.STAYS, changed, why, sure)
    if falls is not None:
        why = f"fell until {cause.name} caught it at frame {changed} (gap {least:.0f} px)"
        return Event(Action.FALLS, changed, why, sure)
    why = (
        f"moved {speed:.1f} px a frame until it met {cause.name} at frame {changed} (gap {least:.0f} px), "
        "which stopped or deflected it"
    )
    return Event(Action.GOES_ON, changed, why, sure)


def _comes_up_at(cause: Cause, thing: Mover, gap: np.ndarray) -> bool:
    """Whether ``thing`` is first seen close to the cause, within the picture and after the cause was at work: then it
    is a scrap of it, or came from behind it, and nothing tells what moved it."""
    first = int(np.flatnonzero(thing.areas)[0])
    return first > cause.first and not thing.cut[first] and gap[first] < _BESIDE * cause.mover.size_px


def _steady(centers: np.ndarray, start: int, speed: float) -> bool:
    """Whether it went its way so evenly before that a change of motion means something."""
    before = np.arange(max(0, start - 9), start + 1)
    before = before[np.isfinite(centers[before, 0])]
    if before.size >= 5 and before[-1] == start:
        before = before[:-1]  # it may show the blow already
    return bool(smooth_frames(centers, before, 1.0 + 0.2 * speed).size >= max(4, 0.6 * before.size))


def _keeps_size(areas: np.ndarray, start: int, changed: int) -> bool:
    """Whether what moves off is as large as what rested there, and not a scrap of it that is left."""
    before = areas[max(0, start - 8) : start + 1]
    after = areas[changed : changed + 3 * _VELOCITY_FRAMES]
    share = after / max(1.0, float(np.median(before[before > 0])))
    return bool((share > 0.6).mean() > 0.3)


def _turns(centers: np.ndarray, start: int, changed: int) -> bool:
    """Whether its velocity after the touch is another one, not the old one slowly worn down by friction.

    What is half hidden in passing wavers and slows down by a little; a blow turns or stops it.
    """
    before = np.arange(max(0, start - 9), start + 1)
    before = smooth_frames(centers, before[np.isfinite(centers[before, 0])], 1.0)
    after = np.arange(changed, min(len(centers), changed + 3 * _VELOCITY_FRAMES))
    after = after[np.isfinite(centers[after, 0])][1 : _VELOCITY_FRAMES + 1]
    if before.size < 3:
        return False
    if after.size < 3:
        return True  # nothing more is seen of it
    old = np.polynomial.polynomial.polyfit(before - start, centers[before], 1)[1]
    new = np.polynomial.polynomial.polyfit(after - start, centers[after], 1)[1]
    turned = [np.linalg.norm(new - old)]
    if before.size >= 6:  # friction seen before the touch goes on
        _, speed, pull = np.polynomial.polynomial.polyfit(before - start, centers[before], 2)
        worn = speed + 2 * pull * (after.mean() - start)
        turned.append(
            np.linalg.norm(new - worn * (worn @ speed > 0))
        )  # it stops a thing, never turns it back
    return bool(min(turned) > max(_TURN_SPEED, _TURN_SHARE * np.linalg.norm(old)))


def _stays_put(centers: np.ndarray) -> bool:
    seen = centers[np.isfinite(centers[:, 0])][-8:]
    return len(seen) >= 3 and bool(np.ptp(seen, axis=0).max() < 1.5)


def _expected(centers: np.ndarray, start: int, rested: bool) -> np.ndarray:
    if rested:
        home = np.nanmedian(centers[max(0, start - 8) : start + 1], axis=0)
        return np.tile(home, (len(centers), 1))
    return going_on_path(centers, start, len(centers))


def _departs(off: np.ndarray, start: int, stop: int, size_px: float, speed: float) -> int | None:
    """First frame from which the way taken leaves the way expected, for good."""
    for t in range(start, min(stop + 1, len(off))):
        if not np.isfinite(off[t]) or off[t] <= max(2.0, 0.12 * size_px, 0.25 * speed):
            continue
        later = off[t : t + 3 * _SETTLE_FRAMES]
        later = later[np.isfinite(later)]
        if later.size and later[-1] > max(3.0, 0.25 * size_px, 0.3 * speed * min(later.size, _SETTLE_FRAMES)):
            return t
        return None
    return None


def _near_in_time(gap: np.ndarray, changed: int, size_px: float) -> bool:
    """Whether the two were really close around the change, not only at some other time."""
    around = gap[max(0, changed - 3) : changed + 3]
    return bool(around.size and around.min() <= 4.0 + 0.15 * size_px)
