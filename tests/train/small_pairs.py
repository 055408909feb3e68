"""Small drawn pairs in the training form, and a small model to begin from."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from aftermath.core import Quadmask
from aftermath.media.encode import Codec, write_rgb_video
from aftermath.media.masks import write_masks

WIDTH, HEIGHT, NUM_FRAMES = 64, 48, 13


def _video(path: Path, frames: np.ndarray) -> None:
    lossless = path.with_suffix(".mkv")  # the suffix says nothing to the reader
    write_rgb_video(lossless, frames, Fraction(12), Codec.FFV1)
    lossless.rename(path)


def write_small_pair(folder: Path, number: int = 0, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Path:
    """A disc crosses a floor and pushes a square; without it the square rests."""
    width, height = size
    rng = np.random.default_rng(number)
    floor = np.full((height, width, 3), rng.integers(60, 200, 3), np.uint8)
    disc, square = (tuple(int(value) for value in rng.integers(0, 256, 3)) for _ in range(2))
    full, removed, primary, affected = [], [], [], []
    y = int(rng.integers(14, height - 14))
    for t in range(NUM_FRAMES):
        x, rest = 8 + 3 * t, 36
        at = max(rest, x + 7)
        here, there = floor.copy(), floor.copy()
        cv2.rectangle(there, (rest, y - 5), (rest + 10, y + 5), square, -1)
        cv2.rectangle(here, (at, y - 5), (at + 10, y + 5), square, -1)
        cv2.circle(here, (x, y), 6, disc, -1)
        ball = cv2.circle(np.zeros((height, width), np.uint8), (x, y), 6, 1, -1)
        full.append(here)
        removed.append(there)
        primary.append(ball > 0)
        affected.append((here != there).any(axis=2) & (ball == 0))
    folder.mkdir(parents=True)
    _video(folder / "rgb_full.mp4", np.stack(full))
    _video(folder / "rgb_removed.mp4", np.stack(removed))
    quadmask = Quadmask.from_masks(np.stack(primary), np.stack(affected))
    write_masks(folder / "mask.mp4", list(quadmask.values), Fraction(12))
    (folder / "metadata.json").write_text(json.dumps({"bg": f"a square of number {number}", "seed": number}))
    return folder


def write_small_pairs(folder: Path, count: int) -> Path:
    for number in range(count):
        write_small_pair(folder / f"pair-{number:02d}", number)
    return folder
