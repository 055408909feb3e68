"""Whether the affected things are where physics puts them: found in the output by how the truth shows them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import cv2
import numpy as np

from aftermath.evaluate.pairs import Thing

__all__ = ["LOST_SHARE", "Behaviour", "Track", "behaves", "behaviour", "follow"]

FOUND_CORRELATION = 0.5
FAR_CORRELATION = 0.7  # anything in a whole picture looks a little like anything
LOST_SHARE = 0.25
_COLOUR_APART = 40.0  # of 255, in the mean: correlation is blind to brightness, so colour is asked too
_CONTRAST_TIMES = 2.0  # and to contrast
_NEAR_ENOUGH = 0.05  # a match at the true place wins over one elsewhere that is better by less
_STILL_SHARE = 0.01  # of the picture's diagonal: a thing that never leaves this circle rests
_STRAIGHT_DOWN = 60.0  # degrees above the horizon: steeper, and downwards, is falling
_SEEN_SHARE = 0.8  # of the frames: what vanishes half way neither rests nor moves as it should
_ASIDE = 45.0  # degrees between two ways that still count as one

Point = tuple[float, float]
_T = TypeVar("_T")


class Behaviour(StrEnum):
    """What a thing does over a clip."""

    RESTS = "rests"
    FALLS = "falls"
    MOVES = "moves"
    LOST = "lost"


@dataclass(frozen=True)
class Track:
    """Where a thing was found in an output, frame by frame.

    ``wanted``: its true centre (x, y), pixels; None in frames that do not show all of it, which are not scored.
    ``found``: where it is in the output; None for not found.
    """

    thing: Thing
    picture_width: int
    wanted: tuple[Point | None, ...]
    found: tuple[Point | None, ...]

    @property
    def errors(self) -> list[float]:
        """Distance of found from wanted in every scored frame, pixels; nan in the others.

        A thing that is not found, or further away, counts as a quarter of the picture's width: to blot it
        out is no gain.
        """
        errors, lost_px = [], LOST_SHARE * self.picture_width
        for wanted, found in zip(self.wanted, self.found, strict=True):
            if wanted is None:
                errors.append(math.nan)
            else:
                errors.append(min(lost_px, math.dist(found, wanted)) if found else lost_px)
        return errors

    @property
    def found_share(self) -> float:
        """Of the scored frames; nan where there is none."""
        scored = [f for w, f in zip(self.wanted, self.found, strict=True) if w is not None]
        return sum(f is not None for f in scored) / len(scored) if scored else math.nan


def follow(video: np.ndarray, truth: np.ndarray, thing: Thing) -> Track:
    """Find ``thing`` in every frame of ``video``, uint8 (T, H, W, 3) RGB, that shows all of it in ``truth``.

    Its look is the crop of the true frame to its true box. It is sought by normalised cross-correlation of
    the colours (Lewis 1995; OpenCV's TM_CCOEFF_NORMED), in a window of three times its size round the true place and
    then over the whole picture; the place elsewhere wins only where it is better by more than 0.05. Where that look
    is not found, those of the first and the last scored frame are tried, for a thing that is late or turned. Found
    means a correlation of 0.5 (0.7 outside the window), colours within 40 of 255 in the mean over the middle half of
    the box, and a contrast of half to twice the thing's. Ours. Things whose size changes much, or that stand behind
    others, may be missed: the truth's own track says how well it works.
    """
    scored = [t for t, box in enumerate(thing.boxes) if box is not None]
    found: list[Point | None] = [None] * len(video)
    for t in scored:
        x, y, _, _ = _present(thing.boxes[t])
        for look in dict.fromkeys((t, scored[0], scored[-1])):
            x0, y0, x1, y1 = _present(thing.boxes[look])
            place = _locate(video[t], truth[look, y0:y1, x0:x1], (x, y))
            if place is not None:
                # the middle of what is seen of a thing is not that of its box
                off_x, off_y = np.subtract(_present(thing.centers[look]), (x0, y0))
                found[t] = (place[0] + float(off_x), place[1] + float(off_y))
                break
    wanted = tuple(thing.centers[t] if box else None for t, box in enumerate(thing.boxes))
    return Track(thing, truth.shape[2], wanted, tuple(found))


def _present(value: _T | None) -> _T:
    assert value is not None
    return value


def _locate(frame: np.ndarray, template: np.ndarray, corner: tuple[int, int]) -> tuple[int, int] | None:
    """The corner of the best place of ``template`` in ``frame``; None for none."""
    height, width = template.shape[:2]
    x0, y0 = max(0, corner[0] - width), max(0, corner[1] - height)
    near = frame[y0 : corner[1] + 2 * height, x0 : corner[0] + 2 * width]
    here, (x, y) = _best(near, template)
    place, score = (x0 + x, y0 + y), here
    if here < 1 - _NEAR_ENOUGH:  # nothing elsewhere could win
        everywhere, elsewhere = _best(frame, template)
        if everywhere > max(here + _NEAR_ENOUGH, FAR_CORRELATION):
            place, score = elsewhere, everywhere
    return place if score >= FOUND_CORRELATION and _alike(frame, template, place) else None


def _best(picture: np.ndarray, template: np.ndarray) -> tuple[float, tuple[int, int]]:
    match = cv2.matchTemplate(picture, template, cv2.TM_CCOEFF_NORMED)
    match[~np.isfinite(match)] = -1  # a flat place has no correlation
    _, best, _, place = cv2.minMaxLoc(match)
    return float(best), (int(place[0]), int(place[1]))


def _alike(frame: np.ndarray, template: np.ndarray, place: tuple[int, int]) -> bool:
    """Whether colour and contrast are the thing's too: correlation cannot tell a smear from what it is a smear of."""
    height, width = template.shape[:2]
    shown = frame[place[1] : place[1] + height, place[0] : place[0] + width].astype(np.float32)
    middle = slice(height // 4, height - height // 4), slice(width // 4, width - width // 4)
    apart = float(np.abs(shown[middle] - template[middle]).mean())
    contrast = float(shown.std(axis=(0, 1)).mean()) / max(1e-6, float(template.std(axis=(0, 1)).mean()))
    return apart <= _COLOUR_APART and 1 / _CONTRAST_TIMES <= contrast <= _CONTRAST_TIMES


def behaviour(
    points: Sequence[Point | None], num_scored: int, diagonal_px: float
) -> tuple[Behaviour, np.ndarray]:
    """What a thing does, and its way, float64 (2,), pixels: from its first place to the furthest from that.

    It rests where it never leaves its first place by more than 1 % of the picture's diagonal; it falls where its way
    leads down at more than 60 degrees, and else moves. Lost: found in fewer than 80 % of the ``num_scored`` frames.
    """
    path = np.array([point for point in points if point is not None], float).reshape(-1, 2)
    if len(path) < max(1, _SEEN_SHARE * num_scored):
        return Behaviour.LOST, np.zeros(2)
    ways = path - path[0]
    reach = np.linalg.norm(ways, axis=1)
    way = ways[int(reach.argmax())]
    if reach.max() <= max(2.0, _STILL_SHARE * diagonal_px):
        return Behaviour.RESTS, way
    falls = way[1] > math.tan(math.radians(_STRAIGHT_DOWN)) * abs(way[0])
    return (Behaviour.FALLS if falls else Behaviour.MOVES), way


def behaves(track: Track, diagonal_px: float) -> tuple[bool, Behaviour, Behaviour]:
    """Whether a thing does as in the truth: rests, or falls or moves within 45 degrees of the true way, no less than
    half and no more than twice as far. Then what it does, and what it should.
    """
    num_scored = sum(point is not None for point in track.wanted)
    should, true_way = behaviour(track.wanted, num_scored, diagonal_px)
    does, way = behaviour(track.found, num_scored, diagonal_px)
    same = does is should and does is not Behaviour.LOST
    if same and does is not Behaviour.RESTS:
        length, true_length = float(np.linalg.norm(way)), float(np.linalg.norm(true_way))
        aside = float(way @ true_way) / (length * true_length)
        same = aside >= math.cos(math.radians(_ASIDE)) and 0.5 <= length / true_length <= 2
    return same, does, should
