"""Progress and time of a run."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from aftermath.render.base import Progress

__all__ = ["Steps"]


class Steps:
    """Progress and time of a run whose parts are counted as they come; called, it counts one."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0
        self.seconds: dict[str, float] = {}

    def __call__(self, *_: Any) -> None:
        """One more is done."""
        self._done = min(self._done + 1, self._total)
        self._progress(self._done, self._total)

    def scaled(self, count: int) -> Progress:
        """The progress of work that counts for ``count`` steps."""
        begun = self._done

        def tell(done: int, total: int) -> None:
            while self._done - begun < done * count // max(1, total):
                self()

        return tell

    def rewind(self, done: int) -> None:
        """What was done after ``done`` is done again."""
        self._done = done

    @property
    def done(self) -> int:
        """Steps so far."""
        return self._done

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Add the time of what is inside to a part of the run."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[part] = round(self.seconds.get(part, 0.0) + time.perf_counter() - started, 2)

    def counted(self, chunks: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
        """The same chunks, each a step."""
        for chunk in chunks:
            yield chunk
            self()
