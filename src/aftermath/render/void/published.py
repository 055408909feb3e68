"""How a model was made to be run: the published one's numbers, or what the folder of another says of itself."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aftermath.core.geometry import valid_length
from aftermath.errors import InputError, WeightsError
from aftermath.hub import located
from aftermath.models import BASE
from aftermath.render.void.conditioning import MaskLevels
from aftermath.render.void.windows import windows

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
        manner = Manner(
            (int(height), int(width)),
            int(said["window_frames"]),
            int(said["overlap_frames"]),
            int(said["least_frames"]),
            passes,
        )
        _check(manner)
        return manner
    except (OSError, ValueError, KeyError, TypeError, InputError) as error:
        raise WeightsError(f"{place}: not what a model says of itself ({error})") from error


def _check(manner: Manner) -> None:
    """Raise `ValueError` or `InputError` where no model can run so."""
    if any(side < 16 or side % 16 for side in manner.size):
        raise ValueError(f"a size of {manner.size}, which must be multiples of 16")
    if manner.least_frames != valid_length(manner.least_frames):
        raise ValueError(f"least_frames {manner.least_frames}, which must be 8k+5")
    if not manner.passes or [one.number for one in manner.passes] != list(range(1, len(manner.passes) + 1)):
        raise ValueError("passes, which must be 1, or 1 and 2")
    for one in manner.passes:
        if one.steps < 1 or not math.isfinite(one.guidance):
            raise ValueError(f"pass {one.number} with {one.steps} steps and guidance {one.guidance}")
    windows(10**6, manner.window_frames, manner.overlap_frames)


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
