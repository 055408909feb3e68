"""What every reasoner takes and gives: what else would be different."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from aftermath.core import Action, Clip, Plan
from aftermath.scene.base import Scene

__all__ = ["Hint", "Progress", "Reasoner", "Reasoning"]

Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""


@dataclass(frozen=True)
class Hint:
    """What somebody knows: the thing at pixel (x, y) of ``frame`` (analysed clip) does ``action``.

    ``mask`` boolean (T, H, W), where a segmenter found that thing; needed only where nothing moves there. ``first``:
    the frame from which on it does so, where motion does not tell. The rest is what a plan says of it.
    """

    x: float
    y: float
    frame: int
    action: Action
    mask: np.ndarray | None = None
    first: int = 0
    noun: str = ""
    why: str = "the user said so"
    confidence: float = 1.0


@dataclass(frozen=True)
class Reasoning:
    """A plan, and for each affected object's id where it is seen: boolean (T, H, W) at the clip's size.

    ``belongings``: boolean (T, H, W), what goes with the primary object beside its own pixels; None for nothing.
    """

    plan: Plan
    masks: Mapping[str, np.ndarray]
    belongings: np.ndarray | None = None


class Reasoner(Protocol):
    """Decides what the primary object caused."""

    name: str

    def reason(
        self, clip: Clip, primary: np.ndarray, scene: Scene, hints: tuple[Hint, ...], progress: Progress
    ) -> Reasoning:
        """Find what would be different without ``primary``, boolean (T, H, W).

        Raises `InputError` for a hint that points at nothing, `ReasonerError` where no answer could be had.
        """
        ...
