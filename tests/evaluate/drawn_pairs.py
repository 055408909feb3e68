"""A small drawn pair: a red disc runs into a blue one and pushes it; without the red one, the blue one rests."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from aftermath.core import Quadmask
from aftermath.media.encode import Codec, write_rgb_video
from aftermath.media.masks import write_masks

WIDTH, HEIGHT, NUM_FRAMES = 158, 90, 12
RED, BLUE, RADIUS = (214, 60, 50), (50, 80, 210), 9
REST = (70, 45)


def floor(seed: int = 3) -> np.ndarray:
    """A soft texture, uint8 (H, W, 3)."""
    noise = np.random.default_rng(seed).uniform(0, 255, (HEIGHT, WIDTH, 3)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 3)
    return np.clip(128 + (soft - soft.mean()) * 4, 0, 255).astype(np.uint8)


def disc(picture: np.ndarray, center: tuple[int, int], colour: tuple[int, int, int]) -> np.ndarray:
    """The picture with a spotted disc on it."""
    out = cv2.circle(picture.copy(), center, RADIUS, colour, -1)
    return cv2.circle(out, (center[0] + 3, center[1] - 3), 3, (240, 240, 220), -1)


def red_at(t: int) -> tuple[int, int]:
    return (12 + 6 * t, 45)


def blue_at(t: int) -> tuple[int, int]:
    return (max(REST[0], red_at(t)[0] + 2 * RADIUS), 45)


def without(blue: tuple[int, int] = REST) -> np.ndarray:
    """The world without the red disc, the blue one at ``blue``."""
    return np.stack([disc(floor(), blue, BLUE)] * NUM_FRAMES)


def with_object() -> np.ndarray:
    """The world with it."""
    frames = [disc(disc(floor(), blue_at(t), BLUE), red_at(t), RED) for t in range(NUM_FRAMES)]
    return np.stack(frames)


def masks() -> Quadmask:
    """What the red disc covers, and what it changes."""
    primary = np.zeros((NUM_FRAMES, HEIGHT, WIDTH), np.uint8)
    affected = primary.copy()
    for t in range(NUM_FRAMES):
        cv2.circle(primary[t], red_at(t), RADIUS + 1, 1, -1)
        if blue_at(t) != REST:
            cv2.circle(affected[t], REST, RADIUS + 1, 1, -1)
            cv2.circle(affected[t], blue_at(t), RADIUS + 1, 1, -1)
    return Quadmask.from_masks(primary > 0, affected > 0)


def truth_json(family: str = "") -> dict[str, Any]:
    box = [REST[0] - RADIUS, REST[1] - RADIUS, REST[0] + RADIUS + 1, REST[1] + RADIUS + 1]
    thing = {
        "name": "blue <disc>",
        "affected": True,
        "action": "stays",
        "click": {"x": REST[0], "y": REST[1], "frame": 0},
        "box": box,
        "centers_source": [list(blue_at(t)) for t in range(NUM_FRAMES)],
        "centers_removed": [list(REST)] * NUM_FRAMES,
    }
    return {"removed": {"name": "red disc", "frame": 0, "box": [3, 36, 22, 55]}, "things": [thing]} | (
        {"family": family} if family else {}
    )


def generated_json() -> dict[str, Any]:
    """The same in the form of ``aftermath generate``."""

    def track(centers: list[tuple[int, int]]) -> dict[str, Any]:
        r = RADIUS
        boxes = [[x - r, y - r, x + r + 1, y + r + 1] for x, y in centers]
        return {"center": [None] * len(centers), "seen": [list(c) for c in centers], "box": boxes}

    frames = range(NUM_FRAMES)
    red, blue = [red_at(t) for t in frames], [blue_at(t) for t in frames]
    return {
        "family": "collision",
        "removed": ["red disc"],
        "things": [
            {"name": "red disc", "removed": True, "action": "none", "with": track(red), "without": None},
            {
                "name": "blue disc",
                "removed": False,
                "action": "stays",
                "with": track(blue),
                "without": track([REST] * NUM_FRAMES),
            },
        ],
    }


def write_video(path: Path, frames: np.ndarray, rate: int = 12) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lossless = path.with_suffix(".mkv")  # the suffix says nothing to the reader
    write_rgb_video(lossless, frames, Fraction(rate), Codec.FFV1)
    return lossless.rename(path)


def write_pair(folder: Path, *, training_form: bool = False, family: str = "") -> Path:
    """One pair on the disk, in either form, without loss."""
    source, mask = ("rgb_full.mp4", "mask.mp4") if training_form else ("input_video.mp4", "quadmask_0.mp4")
    write_video(folder / source, with_object())
    write_video(folder / "rgb_removed.mp4", without())
    write_masks(folder / mask, list(masks().values), Fraction(12))
    (folder / "truth.json").write_text(json.dumps(truth_json()), encoding="utf-8")
    if family:
        (folder / "metadata.json").write_text(json.dumps({"family": family}), encoding="utf-8")
    return folder
