"""What a language model is shown and asked: pictures with a grid, the object in red, and the rules (``prompt.md``).

Frames at 0, 11, 22 ... 100 % of the clip with a grid of 8 cells on the short side, and the first frame that shows the
object, as in the reference (VOID, arXiv 2604.02296).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files

import cv2
import numpy as np

from aftermath.core import Clip, Grid

__all__ = ["Picture", "question_text", "sampled_frames", "shown_pictures"]

_SAMPLES = 10
_LONG_SIDE_PX = 960
_YELLOW, _RED, _DARK = (255, 220, 0), (255, 0, 0), (0, 0, 0)
_JPEG_QUALITY = 90

_FORM = {
    "integral_belongings": [
        {
            "noun": "hat",
            "why": "worn",
            "grid_localizations": [{"frame": 0, "grid_regions": [{"row": 1, "col": 6}]}],
        }
    ],
    "affected_objects": [
        {
            "noun": "blue cup",
            "category": "physical",
            "why": "it is held up by the object",
            "will_move": True,
            "currently_moving": False,
            "should_have_stayed": False,
            "original_position_grid": None,
            "first_appears_frame": 0,
            "object_size_grids": {"rows": 1, "cols": 1},
            "trajectory_path": [
                {"frame": 0, "grid_row": 3, "grid_col": 6},
                {"frame": 12, "grid_row": 6, "grid_col": 6},
            ],
            "grid_localizations": [{"frame": 0, "grid_regions": [{"row": 3, "col": 6}]}],
            "confidence": 0.9,
        },
        {
            "noun": "shadow",
            "category": "visual_artifact",
            "why": "the object casts it",
            "will_move": False,
            "grid_localizations": [
                {"frame": 0, "grid_regions": [{"row": 6, "col": 6}, {"row": 6, "col": 7}]}
            ],
            "confidence": 0.9,
        },
    ],
    "scene_description": "An empty table before a white wall.",
    "confidence": 0.9,
}


@dataclass(frozen=True)
class Picture:
    """A picture that is shown: its name, what it shows in words, and the JPEG."""

    name: str
    caption: str
    jpeg: bytes


def sampled_frames(num_frames: int) -> list[int]:
    """The frames that are shown, evenly spread from the first to the last."""
    return sorted({int(share * (num_frames - 1)) for share in np.linspace(0, 1, _SAMPLES).round(2)})


def question_text(clip: Clip, primary: np.ndarray, *, with_video: bool) -> str:
    """The rules, filled in for ``clip`` and ``primary``, boolean (T, H, W)."""
    grid = Grid(clip.source_width, clip.source_height)
    marked = _marked_frame(primary)
    values = {
        "num_pictures": len(sampled_frames(len(clip))),
        "rows": grid.rows,
        "cols": grid.cols,
        "num_frames": len(clip),
        "last_frame": len(clip) - 1,
        "frame_rate": f"{clip.frame_rate:.3g}",
        "marked_frame": marked,
        "marked_note": "" if marked == 0 else " (it is not to be seen before)",
        "video_line": "- the whole video.\n" if with_video else "",
        "form": json.dumps(_FORM, indent=1),
    }
    text = files("aftermath.reason").joinpath("prompt.md").read_text("utf-8")
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", str(value))
    return text


def shown_pictures(clip: Clip, primary: np.ndarray) -> Iterator[Picture]:
    """The frames with their grid, then the one with the object in red; at most 960 pixels on the long side."""
    for t in sampled_frames(len(clip)):
        share = round(100 * t / max(1, len(clip) - 1))
        picture = _gridded(_shrunk(clip.frames[t]), t, share)
        yield Picture(
            f"frame_{t:04d}.jpg", f"Frame {t} ({share} % of the video), with the grid:", _jpeg(picture)
        )
    t = _marked_frame(primary)
    red = np.where(primary[t][..., None], 0.6 * clip.frames[t] + 0.4 * np.array(_RED), clip.frames[t])
    picture = _shrunk(red.astype(np.uint8))
    yield Picture(f"object_{t:04d}.jpg", f"Frame {t}, the object that goes painted red:", _jpeg(picture))


def _marked_frame(primary: np.ndarray) -> int:
    return int(np.flatnonzero(primary.any(axis=(1, 2)))[0])


def _shrunk(frame: np.ndarray) -> np.ndarray:
    scale = _LONG_SIDE_PX / max(frame.shape[:2])
    if scale >= 1:
        return frame.copy()
    return cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _gridded(picture: np.ndarray, frame: int, share: int) -> np.ndarray:
    """The grid with numbered rows and columns, and the frame's number, in yellow on dark."""
    height, width = picture.shape[:2]
    grid = Grid(width, height)
    size_px = max(9, round(min(height, width) / 32))
    for col in range(grid.cols):
        left = int(grid.box_of(0, col).x0)
        if col:
            cv2.line(picture, (left, 0), (left, height - 1), _YELLOW, 1)
        _write(picture, str(col), (int(grid.box_of(0, col).center[0]) - size_px // 2, size_px + 3), size_px)
    for row in range(grid.rows):
        top = int(grid.box_of(row, 0).y0)
        if row:
            cv2.line(picture, (0, top), (width - 1, top), _YELLOW, 1)
        _write(picture, str(row), (3, int(grid.box_of(row, 0).center[1]) + size_px // 2), size_px)
    _write(picture, f"frame {frame} ({share}%)", (size_px, height - 6), size_px)
    return picture


def _write(picture: np.ndarray, text: str, at: tuple[int, int], size_px: int) -> None:
    """In yellow with a dark rim, the same letters moved by a pixel: heavier ones would be wider."""
    font = cv2.FontFace("sans")
    for dx, dy in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
        cv2.putText(picture, text, (at[0] + dx, at[1] + dy), _DARK, font, size_px, 500)
    cv2.putText(picture, text, at, _YELLOW, font, size_px, 500)


def _jpeg(picture: np.ndarray) -> bytes:
    parameters = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    return cv2.imencode(".jpg", picture[..., ::-1], parameters)[1].tobytes()
