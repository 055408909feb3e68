"""What was found, as the plan says it: in the source's pixels, under a name that a person understands."""

from __future__ import annotations

import cv2
import numpy as np

from aftermath.core import Box, Clip, PathPoint
from aftermath.scene.base import Camera

__all__ = ["noun_of", "source_box", "source_path"]

_HUES = (
    (8, "red"),
    (20, "orange"),
    (34, "yellow"),
    (85, "green"),
    (130, "blue"),
    (155, "purple"),
    (172, "pink"),
)


def noun_of(clip: Clip, mask: np.ndarray) -> str:
    """A name for the thing that ``mask`` boolean (T, H, W) shows: its colour, where it is largest."""
    t = int(mask.sum(axis=(1, 2)).argmax())
    return f"{_colour_name(np.median(clip.frames[t][mask[t]], axis=0))} thing"


def source_box(clip: Clip, mask: np.ndarray, frame: int) -> Box | None:
    """Its box in ``frame`` or the nearest frame that shows it, source pixels; None where none does."""
    seen = np.flatnonzero(mask.any(axis=(1, 2)))
    if not seen.size:
        return None
    box = Box.of_mask(mask[seen[np.abs(seen - frame).argmin()]])
    sx, sy = clip.scale
    return box.scaled(1 / sx, 1 / sy) if box else None


def source_path(clip: Clip, camera: Camera, path: np.ndarray) -> tuple[PathPoint, ...]:
    """Plate pixels (T, 2), NaN where there is no place, as source pixels of each frame, as long as they are in or near
    the picture."""
    sx, sy = clip.scale
    points = []
    for t in np.flatnonzero(np.isfinite(path[:, 0])):
        x, y, w = np.linalg.inv(camera.to_plate[t]) @ (*path[t], 1.0)
        x, y = x / w / sx, y / w / sy
        points.append(PathPoint(int(t), float(x), float(y)))
        far = clip.source_width
        if not (-far < x < 2 * far and -far < y < 2 * far):
            break
    return tuple(points)


def _colour_name(rgb: np.ndarray) -> str:
    pixel = np.clip(rgb, 0, 255).astype(np.uint8).reshape(1, 1, 3)
    hue, saturation, value = (int(v) for v in cv2.cvtColor(pixel, cv2.COLOR_RGB2HSV)[0, 0])
    if value < 45:
        return "black"
    if saturation < 45:
        return "white" if value > 190 else "gray"
    name = next((name for limit, name in _HUES if hue < limit), "red")
    return "brown" if name in ("red", "orange") and value < 150 and saturation < 190 else name
