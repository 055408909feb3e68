"""What every segmenter takes and gives: which pixels are the object."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from aftermath.core import Box, Clip

__all__ = ["BoxPrompt", "MaskPrompt", "PointPrompt", "Progress", "Prompts", "Segmenter", "nothing_in"]

Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""


@dataclass(frozen=True)
class BoxPrompt:
    """An object lies inside ``box`` (pixels of the analysed clip) on ``frame``."""

    box: Box
    frame: int = 0


@dataclass(frozen=True)
class PointPrompt:
    """Pixel (x, y) of ``frame`` belongs to the object, or to the background where ``positive`` is unset."""

    x: float
    y: float
    frame: int = 0
    positive: bool = True


@dataclass(frozen=True)
class MaskPrompt:
    """On ``frame`` the object is exactly ``mask``, boolean (H, W)."""

    mask: np.ndarray
    frame: int = 0


@dataclass(frozen=True)
class Prompts:
    """What the user pointed at, in pixels of the analysed clip. Several prompts may mean several objects."""

    boxes: tuple[BoxPrompt, ...] = ()
    points: tuple[PointPrompt, ...] = ()
    masks: tuple[MaskPrompt, ...] = ()

    @property
    def frames(self) -> tuple[int, ...]:
        """The prompted frames, in order."""
        return tuple(sorted({p.frame for p in (*self.boxes, *self.points, *self.masks)}))

    def scaled(self, sx: float, sy: float) -> Prompts:
        """The boxes and points in a picture whose axes are ``sx`` and ``sy`` times as long; masks stay behind."""
        return Prompts(
            tuple(replace(p, box=p.box.scaled(sx, sy)) for p in self.boxes),
            tuple(replace(p, x=p.x * sx, y=p.y * sy) for p in self.points),
        )


def nothing_in(box: Box, frame: int, clip: Clip) -> tuple[str, str]:
    """What to say of a box, in pixels of the analysed clip, that leads to nothing: it, in the clip's own pixels, and a
    remedy."""
    sx, sy = clip.scale
    own = box.scaled(1 / sx, 1 / sy)
    x, y = own.center
    drawn = f"{own.x0:.0f},{own.y0:.0f},{own.x1:.0f},{own.y1:.0f}"
    point = f"{x:.0f},{y:.0f}" + (f"@{frame}" if frame else "")
    hidden = f"where that looks like what is behind it, add points on it: --point {point}"
    return f"the box {drawn} on frame {frame}", f"draw it close round the object; {hidden}"


class Segmenter(Protocol):
    """Finds the object in every frame."""

    name: str

    def segment(self, clip: Clip, prompts: Prompts, progress: Progress) -> np.ndarray:
        """Boolean (T, H, W) at the clip's size: the object's pixels; all False where it is not in view.

        Raises `InputError` where the prompts lead to no object at all.
        """
        ...
