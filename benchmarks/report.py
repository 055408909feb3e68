"""Tables of figures: for the terminal, and between markers of ``docs/benchmarks.md``."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from rich.table import Table

__all__ = ["Report", "Rows", "machine", "write_page"]

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
Rows = list[list[str]]


@dataclass(frozen=True)
class Report:
    """A titled table, for the terminal and for the page."""

    title: str
    columns: tuple[str, ...]
    rows: Rows

    def as_rich(self) -> Table:
        """For the terminal."""
        table = Table(*self.columns, title=self.title)
        for row in self.rows:
            table.add_row(*row)
        return table

    def as_markdown(self) -> str:
        """For the page."""
        lines = [self.columns, ["---"] * len(self.columns), *self.rows]
        return f"**{self.title}**\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine() -> str:
    """The processor and its number of cores."""
    model = platform.processor() or platform.machine()
    about = Path("/proc/cpuinfo")
    if about.exists():
        lines = [line for line in about.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].partition(":")[2].strip() if lines else model
    return f"{model}, {os.cpu_count()} cores"


def write_page(name: str, reports: Sequence[Report], where: str) -> None:
    """Put the tables between the markers ``name`` of the page, which must be there. Raises `ValueError` without."""
    begin, end_mark = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(begin)
    _, end, after = rest.partition(end_mark)
    if not end:
        raise ValueError(f"{PAGE} lacks the markers {begin} and {end_mark}")
    tables = "\n\n".join(report.as_markdown() for report in reports)
    stamp = f"Measured {date.today().isoformat()} on {where}."
    PAGE.write_text(f"{before}{begin}\n{stamp}\n\n{tables}\n{end_mark}{after}", encoding="utf-8")
