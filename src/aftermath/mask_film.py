"""A film that says at a glance what was decided: the quadmask over the clip, ways with their times, reasons below."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from aftermath.core import AffectedObject, Clip, Level, Plan, Quadmask, fit_long_side
from aftermath.preview import INK, LEVEL_COLOURS, PAPER, write

__all__ = ["mask_film"]

_LONG_SIDE_PX = 1280
_LEAST_WIDTH_PX = 640  # so that captions can be read
_TINT = 0.55
_MARKS_S = 0.25  # between the times along a way
_MOST_LINES = 8
_WAY = (90, 230, 255)
_PALE = (150, 150, 155)

_Line = tuple[str, tuple[int, int, int]]


def mask_film(clip: Clip, quadmask: Quadmask, plan: Plan) -> Iterator[np.ndarray]:
    """Frames, uint8 (H, W, 3), RGB, with even sides: the object red, what is affected amber, both at once orange.

    ``quadmask`` at the size of ``clip``. The way of each thing is drawn with seconds along it, and a ring where the
    thing is now; below stands what happens to each, and why.
    """
    size = _film_size(clip)
    text_px = max(14, round(size[0] / 52))
    captions = _captions(plan, size[0], text_px)
    ways = {thing.id: _way(thing, clip, size) for thing in plan.applied if thing.path}
    for t, frame in enumerate(clip.frames):
        picture = cv2.resize(_tinted(frame, quadmask.values[t]), size, interpolation=cv2.INTER_AREA)
        for thing in plan.applied:
            if thing.id in ways:
                _draw_way(picture, ways[thing.id], t, clip, text_px)
        yield _framed(picture, f"frame {t}, {clip.times_s[t]:.2f} s", captions, text_px)


def _film_size(clip: Clip) -> tuple[int, int]:
    width, height = fit_long_side(clip.width, clip.height, _LONG_SIDE_PX)
    larger = max(1.0, _LEAST_WIDTH_PX / width)
    width, height = round(width * larger), round(height * larger)
    return width + width % 2, height + height % 2


def _tinted(frame: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """The frame a little darker, with the quadmask's levels in colour over it."""
    out = (frame * 0.85).astype(np.uint8)
    for level, colour in LEVEL_COLOURS.items():
        here = levels == level
        out[here] = (out[here] * (1 - _TINT) + np.array(colour) * _TINT).astype(np.uint8)
    here = (levels < Level.KEEP).astype(np.uint8)
    outlines, _ = cv2.findContours(here, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(out, outlines, -1, INK, 1)
    return out


def _way(thing: AffectedObject, clip: Clip, size: tuple[int, int]) -> dict[int, tuple[int, int]]:
    """Frame to place, pixels of the film."""
    sx, sy = size[0] / clip.source_width, size[1] / clip.source_height
    return {t: (round(x * sx), round(y * sy)) for t, (x, y) in thing.positions().items()}


def _draw_way(picture: np.ndarray, way: dict[int, tuple[int, int]], t: int, clip: Clip, text_px: int) -> None:
    places = np.array(list(way.values()), np.int32)
    cv2.polylines(picture, [places], isClosed=False, color=(20, 20, 20), thickness=5, lineType=cv2.LINE_AA)
    cv2.polylines(picture, [places], isClosed=False, color=_WAY, thickness=2, lineType=cv2.LINE_AA)
    start = clip.times_s[min(way)]
    marked, last_at = -1, None
    for frame, (x, y) in way.items():
        mark = int((clip.times_s[frame] - start) / _MARKS_S + 1e-6)
        moved = last_at is None or np.hypot(x - last_at[0], y - last_at[1]) > 1.2 * text_px
        if mark == marked or not moved:
            continue
        marked, last_at = mark, (x, y)
        cv2.circle(picture, (x, y), 4, _WAY, cv2.FILLED, cv2.LINE_AA)
        _outlined(picture, f"{clip.times_s[frame]:.2f} s", (x + 8, y + text_px // 3), round(0.8 * text_px))
    if t in way:
        cv2.circle(picture, way[t], round(0.8 * text_px), INK, 2, cv2.LINE_AA)


def _outlined(picture: np.ndarray, text: str, at: tuple[int, int], size_px: int) -> None:
    for dx, dy in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        write(picture, text, (at[0] + dx, at[1] + dy), size_px, (20, 20, 20))
    write(picture, text, at, size_px, _WAY)


def _captions(plan: Plan, width: int, text_px: int) -> list[_Line]:
    """Lines that fit the width, each with its colour."""
    told: list[_Line] = [
        (f"{t.noun} {t.action} from frame {t.frames[0]} ({t.confidence:.0%}): {t.why}", INK)
        for t in plan.applied
    ]
    told += [
        (f"not acted on: {t.noun} {t.action} ({t.confidence:.0%}): {t.why}", _PALE) for t in plan.offered
    ]
    told = told or [("nothing else would be different", INK)]
    lines: list[_Line] = [
        (line, colour) for text, colour in told for line in _wrapped(text, width - 2 * text_px, text_px)
    ]
    if len(lines) > _MOST_LINES:
        lines = [*lines[: _MOST_LINES - 1], ("... plan.json has all of it", _PALE)]
    return lines


def _wrapped(text: str, width: int, text_px: int) -> list[str]:
    """``text`` in lines of at most ``width`` pixels; all but the first begin indented."""
    lines, line = [], ""
    for word in text.split():
        longer = f"{line} {word}" if line else word
        if line and _text_width(longer, text_px) > width:
            lines.append(line)
            longer = f"   {word}"
        line = longer
    return [*lines, line]


def _text_width(text: str, text_px: int) -> int:
    _, _, width, _ = cv2.getTextSize((1, 1), text, (0, 0), cv2.FontFace("sans"), text_px, 400)
    return width


def _framed(picture: np.ndarray, moment: str, captions: list[_Line], text_px: int) -> np.ndarray:
    """The picture between a legend and the captions."""
    height, width = picture.shape[:2]
    line_px = round(1.5 * text_px)
    below = line_px * len(captions) + text_px
    above = line_px + line_px % 2
    out = np.full((above + height + below + below % 2, width, 3), PAPER, np.uint8)
    out[above : above + height] = picture
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
