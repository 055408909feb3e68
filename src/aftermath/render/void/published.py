"""How a model was made to be run: the published one's numbers, or what the folder of another says of itself."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aftermath.errors import WeightsError
from aftermath.models import BASE, located
from aftermath.render.void.conditioning import MaskLevels

__all__ = ["MANNER_FILE", "PUBLISHED", "Manner", "PassManner", "manner_of", "write_manner"]

MANNER_FILE = "aftermath.json"


@dataclass(frozen=True)
class PassManner:
    """One pass: ``steps`` and ``guidance`` where a user says nothing, and the ``levels`` its weights were made for."""

    number: int
    steps: int
    guidance: float
    levels: MaskLevels


@dataclass(frozen=True)
class Manner:
    """``size``: (height, width) painted at; ``window_frames``: seen at once; ``overlap_frames``: shared by two windows;
    ``least_frames``: shorter clips are padded to so many."""

    size: tuple[int, int]
    window_frames: int
    overlap_frames: int
    least_frames: int
    passes: tuple[PassManner, ...]


PUBLISHED = Manner(
    size=(384, 672),
    window_frames=85,
    overlap_frames=16,
    least_frames=85,
    passes=(PassManner(1, 30, 1.0, MaskLevels.THREE), PassManner(2, 50, 6.0, MaskLevels.TWO)),
)


def manner_of(model: str | Path = BASE, *, offline: bool = False) -> Manner:
    """What ``model`` says of itself in its ``aftermath.json``; `PUBLISHED` where it says nothing.

    Raises `WeightsError` where what it says cannot be read, and as `located` does.
    """
    place = located(model, offline=offline) / MANNER_FILE
    if not place.is_file():
        return PUBLISHED
    try:
        said: dict[str, Any] = json.loads(place.read_text("utf-8"))
        height, width = said["size"]
        passes = tuple(
            PassManner(
                int(one["number"]), int(one["steps"]), float(one["guidance"]), MaskLevels(one["levels"])
            )
            for one in said["passes"]
        )
        return Manner(
            (int(height), int(width)),
            int(said["window_frames"]),
            int(said["overlap_frames"]),
            int(said["least_frames"]),
            passes,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{place}: not what a model says of itself ({error})") from error


def write_manner(manner: Manner, folder: Path) -> None:
    """Let the model in ``folder`` say it."""
    said = {
        "size": list(manner.size),
        "window_frames": manner.window_frames,
        "overlap_frames": manner.overlap_frames,
        "least_frames": manner.least_frames,
        "passes": [
            {"number": one.number, "steps": one.steps, "guidance": one.guidance, "levels": str(one.levels)}
            for one in manner.passes
        ],
    }
    (folder / MANNER_FILE).write_text(json.dumps(said, indent=1) + "\n", "utf-8")
