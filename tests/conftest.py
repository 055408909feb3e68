"""Small clips that every test may use: a still scene, a red thing that stands, a blue one that passes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from aftermath.media.video import write_rgb_video

WIDTH, HEIGHT, FRAMES = 160, 120, 12
BOX = "30,40,62,84"  # round the red thing of `clip`

Cli = Callable[..., subprocess.CompletedProcess[str]]


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


@pytest.fixture
def make_clip(tmp_path: Path) -> Callable[..., Path]:
    """Write the scene: ``make_clip(name, width, height, num_frames)``."""

    def make(name: str = "clip.mp4", *size: int) -> Path:
        write_rgb_video(tmp_path / name, scene(*size), Fraction(12), crf=8)
        return tmp_path / name

    return make


@pytest.fixture
def clip(make_clip: Callable[..., Path]) -> Path:
    """The scene at 160x120, 12 frames."""
    return make_clip()


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The environment of a fresh account."""
    home = tmp_path / "home"
    home.mkdir()
    return {**os.environ, "HOME": str(home), "PYTHONWARNINGS": "error", "COLUMNS": "200"}


@pytest.fixture
def cli(environment: dict[str, str]) -> Cli:
    """Run the command line as a process of its own."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "aftermath", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)

    return run
