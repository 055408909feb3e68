"""Contact sheets of a pair: what was filmed, the truth, and every system's output, moment by moment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from aftermath.evaluate.measures import Scores
from aftermath.evaluate.pairs import Pair
from aftermath.preview import INK, PAPER, save_picture, write

__all__ = ["Sheets", "contact_sheet"]

_MOMENTS = 6
_CELL_PX = 300
_GAP_PX = 6
_LABEL_PX = 26
_MARGIN_SHARE = 0.15  # round what changes, of the crop's own size
_LEAST_SHARE = 0.35  # of the picture: a smaller crop shows no place
_ASPECT = 1.8  # a longer crop would be shown too small
_RIM = (90, 200, 255)
_TRUE, _FOUND = (80, 240, 120), (255, 70, 200)


class Sheets:
    """Writes one sheet a pair into ``folder``, as `aftermath.evaluate.evaluation.evaluate` shows them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.files: dict[str, Path] = {}

    def __call__(self, pair: Pair, videos: Mapping[str, np.ndarray], scores: Mapping[str, Scores]) -> None:
        """Draw and write one."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{len(self.files) + 1:03d}.png"  # a pair's name may hold anything
        save_picture(path, contact_sheet(pair, videos, scores))
        self.files[pair.name] = path


def contact_sheet(pair: Pair, videos: Mapping[str, np.ndarray], scores: Mapping[str, Scores]) -> np.ndarray:
    """Six moments (columns) of the source, the truth and ``videos`` (rows), cut to what changes: uint8 (H, W, 3) RGB.

    The rim of what changes is blue in the first row. In the others a green cross is where an affected thing
    belongs, and a pink circle where it was found.
    """
    changed = pair.quadmask.changed
    crop = _crop(np.asarray(changed.any(axis=0)))
    frames = _moments(changed)
    scale = max(1, round(max(side.stop - side.start for side in crop) / _CELL_PX))
    rows = [_heading([f"frame {t}" for t in frames], crop)]
    filmed = [_rimmed(pair.source[t], changed[t])[crop] for t in frames]
    rows += [
        *_row("as filmed (blue: may change)", filmed),
        *_row("truth", [pair.truth[t][crop] for t in frames]),
    ]
    for name, video in videos.items():
        pictures = [_marked(video[t], scores[name], t, scale)[crop] for t in frames]
        score = scores[name].values["psnr_changed"]
        rows += _row(f"{name}: {score:.1f} dB in what changes", pictures)
    width = max(row.shape[1] for row in rows)
    return np.concatenate([_widened(row, width) for row in rows])


def _moments(changed: np.ndarray) -> list[int]:
    """Spread over the frames in which anything changes."""
    some = np.flatnonzero(changed.any(axis=(1, 2)))
    return sorted({int(some[round(i)]) for i in np.linspace(0, len(some) - 1, _MOMENTS)})


def _crop(where: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of what changes, with some room round it."""
    ends = [np.flatnonzero(where.any(axis=axis))[[0, -1]] for axis in (1, 0)]
    lengths = [
        max((1 + 2 * _MARGIN_SHARE) * (high - low + 1), _LEAST_SHARE * size)
        for (low, high), size in zip(ends, where.shape, strict=True)
    ]
    lengths = [max(lengths[0], lengths[1] / _ASPECT), max(lengths[1], lengths[0] / _ASPECT)]
    slices = []
    for (low, high), length, size in zip(ends, lengths, where.shape, strict=True):
        length = min(size, round(length))
        start = min(max(0, round((low + high + 1 - length) / 2)), size - length)
        slices.append(slice(start, start + length))
    return slices[0], slices[1]


def _rimmed(frame: np.ndarray, changed: np.ndarray) -> np.ndarray:
    contours, _ = cv2.findContours(changed.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(frame.copy(), contours, -1, _RIM, 2)


def _marked(frame: np.ndarray, scores: Scores, t: int, scale: int) -> np.ndarray:
    """``scale``: how many times smaller it will be shown; lines of one pixel would fade."""
    out = frame.copy()
    for thing in scores.things:
        if (wanted := thing.wanted[t]) is not None:
            cv2.drawMarker(out, _pixel(wanted), _TRUE, cv2.MARKER_CROSS, 11 * scale, scale)
        if (found := thing.found[t]) is not None:
            cv2.circle(out, _pixel(found), 8 * scale, _FOUND, scale, cv2.LINE_AA)
    return out


def _pixel(point: tuple[float, float]) -> tuple[int, int]:
    return round(point[0]), round(point[1])


def _heading(labels: list[str], crop: tuple[slice, slice]) -> np.ndarray:
    width = _cell(crop[0].stop - crop[0].start, crop[1].stop - crop[1].start)[0]
    strip = np.full((_LABEL_PX, _GAP_PX + len(labels) * (width + _GAP_PX), 3), PAPER, np.uint8)
    for index, label in enumerate(labels):
        write(strip, label, (_GAP_PX + index * (width + _GAP_PX), _LABEL_PX - 8), 15)
    return strip


def _cell(height: int, width: int) -> tuple[int, int]:
    scale = _CELL_PX / max(height, width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _row(label: str, pictures: list[np.ndarray]) -> list[np.ndarray]:
    size = _cell(*pictures[0].shape[:2])
    width = _GAP_PX + len(pictures) * (size[0] + _GAP_PX)
    title = np.full((_LABEL_PX, width, 3), PAPER, np.uint8)
    write(title, label, (_GAP_PX, _LABEL_PX - 8), 15, INK)
    row = np.full((size[1] + _GAP_PX, width, 3), PAPER, np.uint8)
    for index, picture in enumerate(pictures):
        left = _GAP_PX + index * (size[0] + _GAP_PX)
        kernel = cv2.INTER_AREA if size[0] < picture.shape[1] else cv2.INTER_LINEAR
        row[: size[1], left : left + size[0]] = cv2.resize(picture, size, interpolation=kernel)
    return [title, row]


def _widened(row: np.ndarray, width: int) -> np.ndarray:
    out = np.full((row.shape[0], width, 3), PAPER, np.uint8)
    out[:, : row.shape[1]] = row
    return out
