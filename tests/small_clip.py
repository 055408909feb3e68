"""A small clip made on the spot: a still scene, a red thing that stands, a blue one that passes."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from aftermath.media.video import write_rgb_video

WIDTH, HEIGHT, FRAMES = 160, 120, 12
BOX = "30,40,62,84"  # round the red thing of the scene


def background(width: int, height: int) -> np.ndarray:
    """A soft random texture, the same every time."""
    coarse = np.random.default_rng(7).uniform(100, 170, (height // 8 + 2, width // 8 + 2, 1)) * np.ones(3)
    rows = np.linspace(0, coarse.shape[0] - 1.001, height)
    columns = np.linspace(0, coarse.shape[1] - 1.001, width)
    top, left = rows.astype(int), columns.astype(int)
    fy, fx = (rows - top)[:, None, None], (columns - left)[None, :, None]
    upper = coarse[top][:, left] * (1 - fx) + coarse[top][:, left + 1] * fx
    lower = coarse[top + 1][:, left] * (1 - fx) + coarse[top + 1][:, left + 1] * fx
    return upper * (1 - fy) + lower * fy


def scene(width: int = WIDTH, height: int = HEIGHT, num_frames: int = FRAMES) -> Iterator[np.ndarray]:
    """Frames of the scene, uint8 (H, W, 3); the red thing stands in x 0.2 to 0.375 of the width."""
    empty = background(width, height)
    noise = np.random.default_rng(3)
    for t in range(num_frames):
        frame = empty.copy()
        frame[int(height * 0.35) : int(height * 0.68), int(width * 0.2) : int(width * 0.375)] = (205, 30, 40)
        x = int(width * (0.5 + 0.35 * t / max(1, num_frames - 1)))
        frame[int(height * 0.75) : int(height * 0.9), x : x + width // 10] = (30, 60, 210)
        yield np.clip(frame + noise.normal(0, 1, frame.shape), 0, 255).astype(np.uint8)


def write_scene(path: Path, *size: int) -> None:
    """Write the scene as H.264, 12 frames a second; ``size`` as for `scene`."""
    write_rgb_video(path, scene(*size), Fraction(12), crf=8)
