"""Pictures of a result for a person to judge it by: a contact sheet, and before beside after."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from aftermath.core import Clip, Level, Quadmask, fit_long_side

__all__ = [
    "INK",
    "LEVEL_COLOURS",
    "PAPER",
    "Moment",
    "contact_sheet",
    "difference_sheet",
    "save_picture",
    "side_by_side",
    "write",
]

_COLUMNS = 8
_CELL_PX = 320  # long side of one picture on the sheet
_GAP_PX = 6
_LABEL_PX = 30
PAPER = (24, 24, 26)
INK = (235, 235, 235)
LEVEL_COLOURS = {Level.PRIMARY: (225, 40, 60), Level.OVERLAP: (255, 130, 0), Level.AFFECTED: (255, 215, 80)}
_LEGEND = "quadmask: red = the object, amber = affected by it, orange = both"


def contact_sheet(before: Clip, quadmask: Quadmask, after: Clip | None) -> np.ndarray:
    """Up to eight moments of a run: before, the quadmask over it, and after where there is one.

    All at one length; ``quadmask`` at the size of ``before``. Returns uint8 (H, W, 3), RGB.
    """
    shown = _spread(len(before))
    size = fit_long_side(before.width, before.height, _CELL_PX)
    rows = [
        _row([_moment(t, before.times_s[t], size[0]) for t in shown], ""),
        _row([_resized(before.frames[t], size) for t in shown], "before"),
        _row([_resized(_overlaid(before.frames[t], quadmask.values[t]), size) for t in shown], _LEGEND),
    ]
    if after is not None:
        rows.append(_row([_resized(after.frames[t], size) for t in shown], "after"))
    return np.concatenate(rows)


@dataclass(frozen=True)
class Moment:
    """One frame of two films. ``before``, ``after``: uint8 (H, W, 3), RGB; ``differs``: boolean (H, W)."""

    frame: int
    time_s: float
    before: np.ndarray
    after: np.ndarray
    differs: np.ndarray


def difference_sheet(moments: Sequence[Moment]) -> np.ndarray:
    """Frames of two films, and the second once more with what differs marked. Returns uint8 (H, W, 3), RGB."""
    height, width = moments[0].before.shape[:2]
    size = fit_long_side(width, height, _CELL_PX)
    return np.concatenate(
        [
            _row([_moment(one.frame, one.time_s, size[0]) for one in moments], ""),
            _row([_resized(one.before, size) for one in moments], "original"),
            _row([_resized(one.after, size) for one in moments], "file"),
            _row([_marked(one, size) for one in moments], "file, what differs visibly in red"),
        ]
    )


def _marked(moment: Moment, size: tuple[int, int]) -> np.ndarray:
    levels = np.where(moment.differs, np.uint8(Level.PRIMARY), np.uint8(Level.KEEP))
    picture = _resized(_overlaid(moment.after, levels), size)
    if moment.differs.any():
        x, y, width, height = cv2.boundingRect(moment.differs.astype(np.uint8))
        scale = size[0] / moment.differs.shape[1]
        first = max(0, round(x * scale) - 2), max(0, round(y * scale) - 2)
        last = round((x + width) * scale) + 1, round((y + height) * scale) + 1
        cv2.rectangle(picture, first, last, INK, 1)
    return picture


def side_by_side(before: Clip, after: Clip) -> Iterator[np.ndarray]:
    """Frames of before (left) and after (right): uint8 (H, W, 3), RGB, at most 1920 wide, with even sides."""
    width, height = fit_long_side(before.width, before.height, 960)
    size = max(2, width - width % 2), max(2, height - height % 2)
    for left, right in zip(
        before.frames, after.frames, strict=False
    ):  # old pictures may follow numbered ones
        yield np.concatenate([_resized(left, size), _resized(right, size)], axis=1)


def _spread(num_frames: int) -> list[int]:
    return sorted({round(t) for t in np.linspace(0, num_frames - 1, _COLUMNS)})


def _row(pictures: list[np.ndarray], label: str) -> np.ndarray:
    height, width = pictures[0].shape[:2]
    top = _LABEL_PX if label else 0
    columns = len(pictures)
    sheet = np.full((top + height + _GAP_PX, columns * (width + _GAP_PX) + _GAP_PX, 3), PAPER, np.uint8)
    for index, picture in enumerate(pictures):
        left = _GAP_PX + index * (width + _GAP_PX)
        sheet[top : top + height, left : left + width] = picture
    write(sheet, label, (_GAP_PX, top - 9), 18)
    return sheet


def _moment(frame: int, time_s: float, width: int) -> np.ndarray:
    """The heading of a column."""
    strip = np.full((_LABEL_PX, width, 3), PAPER, np.uint8)
    write(strip, f"frame {frame}, {time_s:.2f} s", (0, _LABEL_PX - 9), 16)
    return strip


def _overlaid(frame: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """The frame greyed, with the quadmask's levels in colour over it."""
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    out = np.repeat((grey * 0.7).astype(np.uint8)[..., None], 3, axis=2)
    for level, colour in LEVEL_COLOURS.items():
        here = levels == level
        out[here] = (out[here] * 0.4 + np.array(colour) * 0.6).astype(np.uint8)
    return out


def _resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    smaller = size[0] < picture.shape[1]
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)


def write(
    picture: np.ndarray,
    text: str,
    at: tuple[int, int],
    size_px: int,
    colour: tuple[int, int, int] = INK,
) -> None:
    """Write a line into ``picture``, uint8 (H, W, 3); ``at`` is where its base line begins, pixels."""
    cv2.putText(picture, text, at, colour, cv2.FontFace("sans"), size_px, 400)


def save_picture(path: Path, picture: np.ndarray) -> None:
    """Write a picture, uint8 (H, W, 3) RGB, as PNG. Raises OSError where that fails."""
    path.write_bytes(cv2.imencode(".png", picture[..., ::-1])[1].tobytes())
