"""A film that says at a glance what was decided: the quadmask over the clip, ways with their times, reasons below."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from aftermath.core import AffectedObject, Box, Clip, Level, Plan, Quadmask, fit_long_side
from aftermath.preview import INK, LEVEL_COLOURS, PAPER, write

__all__ = ["mask_film"]

_LONG_SIDE_PX = 1280
_LEAST_WIDTH_PX = 640  # so that captions can be read
_TINT = 0.6
_MARKS_S = 0.25  # between the times along a way
_MOST_LINES = 12
_LINES_EACH = 3  # of a finding, where there is room
_WAY = (90, 230, 255)
_DARK = (20, 20, 20)
_PALE = (150, 150, 155)

_Way = dict[int, tuple[int, int]]
_Line = tuple[str, tuple[int, int, int]]


@dataclass(frozen=True)
class _Mark:
    """A time along a way: where the thing is then, and where the text's base line begins."""

    place: tuple[int, int]
    text: str
    written: tuple[int, int]


def mask_film(clip: Clip, quadmask: Quadmask, plan: Plan) -> Iterator[np.ndarray]:
    """Frames, uint8 (H, W, 3), RGB, with even sides: the object red, what is affected amber, both at once orange.

    ``quadmask`` at the size of ``clip``. The way of each thing is drawn with seconds along it, and a ring where the
    thing is now; below stands what happens to each, and why.
    """
    size = _film_size(clip)
    width = max(size[0], _LEAST_WIDTH_PX)
    text_px = max(14, round(width / 52))
    captions = _captions(plan, width, text_px)
    ways = [way for thing in plan.applied if (way := _way(thing, clip, size))]
    marks = _marks(ways, clip, size, text_px)
    for t, frame in enumerate(clip.frames):
        picture = _tinted(frame, quadmask.values[t], size)
        _draw_ways(picture, ways, marks, t, text_px)
        yield _framed(picture, f"frame {t}, {clip.times_s[t]:.2f} s", captions, width, text_px)


def _film_size(clip: Clip) -> tuple[int, int]:
    """The picture's width and height: a small one is made larger, a tall one stays within the long side."""
    width, height = fit_long_side(clip.width, clip.height, _LONG_SIDE_PX)
    larger = max(1.0, min(_LEAST_WIDTH_PX / width, _LONG_SIDE_PX / max(width, height)))
    width, height = round(width * larger), round(height * larger)
    return width + width % 2, height + height % 2


def _tinted(frame: np.ndarray, levels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The frame a little darker, grey in the quadmask's colours where that marks it, so that they are told apart."""
    smooth = cv2.INTER_AREA if size[0] <= frame.shape[1] else cv2.INTER_CUBIC
    out = (cv2.resize(frame, size, interpolation=smooth) * 0.85).astype(np.uint8)
    levels = cv2.resize(levels, size, interpolation=cv2.INTER_NEAREST)
    grey = cv2.cvtColor(out, cv2.COLOR_RGB2GRAY)[..., None]
    for level, colour in LEVEL_COLOURS.items():
        here = levels == level
        out[here] = (grey[here] * (1 - _TINT) + np.array(colour) * _TINT).astype(np.uint8)
    here = (levels < Level.KEEP).astype(np.uint8)
    outlines, _ = cv2.findContours(here, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(out, outlines, -1, INK, 1)
    return out


def _way(thing: AffectedObject, clip: Clip, size: tuple[int, int]) -> _Way:
    """Frame to place, pixels of the film; empty for what goes no way."""
    sx, sy = size[0] / clip.source_width, size[1] / clip.source_height
    return {t: (round(x * sx), round(y * sy)) for t, (x, y) in thing.positions().items()}


def _marks(ways: list[_Way], clip: Clip, size: tuple[int, int], text_px: int) -> list[_Mark]:
    """Times along the ways, beside them and clear of each other; where there is no room, a time is left away."""
    passed = np.array([place for way in ways for place in way.values()]).reshape(-1, 2)
    taken: list[Box] = []
    marks = []
    for way in ways:
        rest = next(t for t, place in way.items() if place == way[max(way)])
        marked, last = -1, None
        for t, place in way.items():
            mark = int((clip.times_s[t] - clip.times_s[min(way)]) / _MARKS_S + 1e-6)
            others = (last, None if t == rest else way[rest])  # the time at which it rests matters most
            near = any(o and math.dist(place, o) <= 1.2 * text_px for o in others)
            if near or (mark == marked and t != rest):
                continue
            text = f"{clip.times_s[t]:.2f} s"
            box = _free(place, (_text_width(text, _mark_px(text_px)), text_px), size, taken, passed)
            if box is not None:
                marked, last = mark, place
                taken.append(box)
                marks.append(_Mark(place, text, (round(box.x0), round(box.y1) - text_px // 5)))
    return marks


def _mark_px(text_px: int) -> int:
    return round(0.9 * text_px)


def _free(
    place: tuple[int, int], text: tuple[int, int], size: tuple[int, int], taken: list[Box], passed: np.ndarray
) -> Box | None:
    """Where a text of ``text`` (width, height) fits beside a place: inside the picture, clear of ``taken``, and on as
    little of the ways as can be; None where nowhere."""
    (x, y), (width, height) = place, text
    away = height + 4  # clear of the ring
    corners = [(x + away, y - height / 2), (x - away - width, y - height / 2)]
    corners += [(x - width / 2, y - away - height), (x - width / 2, y + away)]
    boxes = [Box(left, top, left + width, top + height) for left, top in corners]
    free = [box for box in boxes if box == box.clipped(*size) and not any(_meet(box, o) for o in taken)]

    def crossed(box: Box) -> int:
        return sum(box.grown(4).contains(*at) for at in passed)

    return min(free, key=crossed, default=None)


def _meet(a: Box, b: Box) -> bool:
    return a.x0 < b.x1 and b.x0 < a.x1 and a.y0 < b.y1 and b.y0 < a.y1


def _draw_ways(picture: np.ndarray, ways: list[_Way], marks: list[_Mark], t: int, text_px: int) -> None:
    for way in ways:
        places = np.array(list(way.values()), np.int32)
        for colour, thick in ((_DARK, 5), (_WAY, 2)):
            cv2.polylines(
                picture, [places], isClosed=False, color=colour, thickness=thick, lineType=cv2.LINE_AA
            )
    for mark in marks:
        cv2.circle(picture, mark.place, 4, _WAY, cv2.FILLED, cv2.LINE_AA)
        x, y = mark.written
        for dx, dy in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            write(picture, mark.text, (x + dx, y + dy), _mark_px(text_px), _DARK)
        write(picture, mark.text, mark.written, _mark_px(text_px), _WAY)
    for place in (way[t] for way in ways if t in way):
        for colour, thick in ((_DARK, 4), (INK, 2)):
            cv2.circle(picture, place, round(0.8 * text_px), colour, thick, cv2.LINE_AA)


def _captions(plan: Plan, width: int, text_px: int) -> list[_Line]:
    """Lines that fit the width, each with its colour; of many findings every one is shortened, so that all are seen."""
    told: list[_Line] = [
        (f"{t.noun} {t.action} from frame {t.frames[0]} ({t.confidence:.0%}): {t.why}", INK)
        for t in plan.applied
    ]
    told += [
        (f"not acted on: {t.noun} {t.action} ({t.confidence:.0%}): {t.why}", _PALE) for t in plan.offered
    ]
    told = told or [("nothing else would be different", INK)]
    lines: list[_Line] = []
    for most in range(_LINES_EACH, 0, -1):
        lines = [
            (line, colour)
            for text, colour in told
            for line in _wrapped(text, width - 2 * text_px, text_px, most)
        ]
        if len(lines) <= _MOST_LINES:
            return lines
    left = len(lines) - _MOST_LINES + 1
    return [*lines[: _MOST_LINES - 1], (f"... and {left} more: plan.json has all of them", _PALE)]


def _wrapped(text: str, width: int, text_px: int, most: int) -> list[str]:
    """``text`` in ``most`` lines at most, each of at most ``width`` pixels; all but the first begin indented."""
    lines, line = [], ""
    for word in text.split():
        longer = f"{line} {word}" if line else word
        if line and _text_width(longer, text_px) > width:
            if len(lines) == most - 1:
                return [*lines, _cut(f"{longer} ...", width, text_px)]
            lines.append(line)
            longer = f"   {word}"
        line = longer if _text_width(longer, text_px) <= width else _cut(longer, width, text_px)
    return [*lines, line]


def _cut(text: str, width: int, text_px: int) -> str:
    """``text``, its end left away and shown as dots where it is wider than ``width`` pixels."""
    if _text_width(text, text_px) <= width:
        return text
    while text and _text_width(f"{text} ...", text_px) > width:
        text = text[:-1].rstrip()
    return f"{text} ..."


def _text_width(text: str, text_px: int) -> int:
    _, _, width, _ = cv2.getTextSize((1, 1), text, (0, 0), cv2.FontFace("sans"), text_px, 400)
    return width


def _framed(picture: np.ndarray, moment: str, captions: list[_Line], width: int, text_px: int) -> np.ndarray:
    """The picture, in the middle of ``width``, between a legend and the captions."""
    height = picture.shape[0]
    line_px = round(1.5 * text_px)
    below = line_px * len(captions) + text_px
    above = line_px + line_px % 2
    out = np.full((above + height + below + below % 2, width, 3), PAPER, np.uint8)
    left = (width - picture.shape[1]) // 2
    out[above : above + height, left : left + picture.shape[1]] = picture
    x = text_px
    for text, colour in (("object", Level.PRIMARY), ("affected", Level.AFFECTED), ("both", Level.OVERLAP)):
        cv2.circle(out, (x, above // 2), text_px // 3, LEVEL_COLOURS[colour], cv2.FILLED, cv2.LINE_AA)
        write(out, text, (x + text_px // 2 + 2, above // 2 + text_px // 3), text_px)
        x += _text_width(text, text_px) + 2 * text_px
    left = width - _text_width(moment, text_px) - text_px
    write(out, moment, (left, above // 2 + text_px // 3), text_px)
    for index, (text, colour) in enumerate(captions):
        write(out, text, (text_px, above + height + line_px * (index + 1)), text_px, colour)
    return out
