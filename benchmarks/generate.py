"""How fast pairs are made: ``python benchmarks/generate.py [--pairs N] [--workers W] [--write]``.

``aftermath generate`` with 49 frames at 384x224, as a process of its own, N pairs of each family. Wall time depends
on who else uses the machine; processor time (of the program and its workers, starting included) does not, and gives
the pairs a minute that two cores to themselves would make. ``--write`` puts the table into ``docs/benchmarks.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from report import Report, machine, write_page
from rich.console import Console

from aftermath.counterfactual.families import FAMILIES

CORES = 2


def measure(family: str, pairs: int, workers: int) -> tuple[float, float, int]:
    """Wall seconds, processor seconds and scenes rejected, for that many pairs of a family."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        words = [
            "generate", f"{folder}/out", "--family", family, "--pairs", str(pairs), "--workers", str(workers), "--json",
        ]  # fmt: skip
        command = [sys.executable, "-m", "aftermath", *words]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=dict(os.environ))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - start, processor, json.loads(done.stdout)["rejected"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="How fast pairs are made.")
    parser.add_argument("--pairs", type=int, default=4, help="of each family")
    parser.add_argument("--workers", type=int, default=CORES)
    parser.add_argument("--write", action="store_true", help=f"into {Path('docs/benchmarks.md')}")
    options = parser.parse_args()
    rows, total = [], 0.0
    for family in FAMILIES:
        wall, processor, rejected = measure(family, options.pairs, options.workers)
        total += processor
        each = processor / options.pairs
        rows.append(
            [
                family,
                f"{wall / options.pairs:.1f} s",
                f"{each:.1f} s",
                f"{60 * CORES / each:.1f}",
                str(rejected),
            ]
        )
    mean = total / options.pairs / len(FAMILIES)
    rows.append(["all", "", f"{mean:.1f} s", f"{60 * CORES / mean:.1f}", ""])
    columns = ("family", "wall time a pair", "processor time a pair", "pairs a minute on 2 cores", "rejected")
    title = f"Pairs of 49 frames at 384x224, {options.pairs} of each family, {options.workers} workers"
    report = Report(title, columns, rows)
    Console().print(report.as_rich())
    if options.write:
        write_page("generate", [report], machine())


if __name__ == "__main__":
    main()
