"""What every renderer takes and gives: the pixels of the world without the object."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from aftermath.core import Clip, Plan, Quadmask
from aftermath.scene.base import Scene

__all__ = ["Job", "Progress", "Rendered", "Renderer", "Source"]

Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""


class Source(Protocol):
    """The clip's frames at full size."""

    def __call__(self, only: Collection[int] | None = None) -> Iterator[np.ndarray]:
        """Start a new pass: every frame in order, uint8 (H, W, 3) RGB, or those whose index is in ``only``."""
        ...


@dataclass(frozen=True)
class Job:
    """One clip to render.

    ``clip``, ``quadmask``, ``scene`` and ``masks`` are at the analysed size. ``source`` starts a new pass over the
    frames at full size as often as the renderer needs; ``quadmask_source`` does the same for the full-size quadmask,
    uint8 (H, W). ``warn`` takes what the user should know of the result.
    """

    clip: Clip
    quadmask: Quadmask
    plan: Plan
    scene: Scene
    masks: Mapping[str, np.ndarray]
    source: Source
    quadmask_source: Callable[[], Iterator[np.ndarray]]
    prompt: str = ""
    seed: int = 0
    warn: Callable[[str], None] = lambda message: None


@dataclass
class Rendered:
    """Frames at full size, uint8 (H, W, 3) RGB, valid at least where the quadmask is not keep.

    ``report`` fills while the frames are drawn: what ends up in ``run.json``.
    """

    frames: Iterator[np.ndarray]
    report: dict[str, object] = field(default_factory=dict)


class Renderer(Protocol):
    """Paints what would have been seen."""

    name: str

    def render(self, job: Job, progress: Progress) -> Rendered:
        """Prepare (this may take long; ``progress`` is told) and return the frames as a stream."""
        ...
