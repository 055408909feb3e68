"""A bar for every stage, with the time it still takes; on stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

__all__ = ["bars"]


@contextmanager
def bars() -> Iterator[Callable[[str, int, int], None]]:
    """A callback for (stage, steps done, steps in all) that draws while the context lasts."""
    columns = (
        TextColumn("{task.description:>14}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=Console(stderr=True)) as progress:

        def update(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage.replace("_", " "))
            progress.update(tasks[stage], completed=done, total=max(total, 1))

        yield update
