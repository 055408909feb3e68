"""`Clip`: decoded frames with their times, small enough to analyse as a whole."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aftermath.errors import InputError

__all__ = ["Clip"]


@dataclass(frozen=True)
class Clip:
    """The picture of a video at the size it is analysed at.

    ``frames``: uint8 (T, H, W, 3), RGB; may be a memory map, so that long clips never sit in memory whole.
    ``times_s``: float64 (T,), seconds from the first frame; kept as the file has them (variable rates too).
    ``source_width``, ``source_height``: pixels of the file the frames were made from, upright.

    Raises `InputError` where the shapes do not fit together.
    """

    frames: np.ndarray
    times_s: np.ndarray
    source_width: int
    source_height: int

    def __post_init__(self) -> None:
        if self.frames.ndim != 4 or self.frames.shape[-1] != 3 or self.frames.dtype != np.uint8:
            raise InputError(
                f"frames of shape {self.frames.shape} and type {self.frames.dtype}",
                "must be uint8 (frames, height, width, 3)",
            )
        if len(self.frames) == 0:
            raise InputError("a clip of 0 frames", "must have at least one")
        if self.times_s.shape != (len(self.frames),):
            raise InputError(
                f"{self.times_s.shape} times for {len(self.frames)} frames", "must be one a frame"
            )

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def height(self) -> int:
        """Rows of the analysed picture."""
        return self.frames.shape[1]

    @property
    def width(self) -> int:
        """Columns of the analysed picture."""
        return self.frames.shape[2]

    @property
    def scale(self) -> tuple[float, float]:
        """(x, y) factors from source pixels to analysed pixels."""
        return self.width / self.source_width, self.height / self.source_height

    @property
    def frame_rate(self) -> float:
        """Mean frames per second; 24 where one frame gives no rate."""
        span = float(self.times_s[-1] - self.times_s[0])
        return (len(self) - 1) / span if span > 0 else 24.0
