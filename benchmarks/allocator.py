"""What it saves to keep freed memory: ``python benchmarks/allocator.py [--frames N] [--rounds R]``.

nano's VAE decodes N frames of 192x336 on one thread, in processes of their own, by turns with `keep_freed` and without.
Told are the medians of processor seconds, the kernel's part of them, and peak memory.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys

from report import Report, machine
from rich.console import Console

ONE = """
import json, resource, sys, torch
from aftermath.hub import located
from aftermath.render.void.checkpoint import load_pipeline
from aftermath.render.void.memory import keep_freed
torch.set_num_threads(1)
if sys.argv[1] == "kept":
    keep_freed()
pipe = load_pipeline(located("nano"), pass_number=1, dtype=torch.float32, text=False)
start = resource.getrusage(resource.RUSAGE_SELF)
with torch.no_grad():
    pipe.decoded(torch.randn(1, (int(sys.argv[2]) + 3) // 4, 16, 48, 84))
end = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([end.ru_utime - start.ru_utime, end.ru_stime - start.ru_stime, end.ru_maxrss / 2**20]))
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=53)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    found: dict[str, list[list[float]]] = {"given back": [], "kept": []}
    for _ in range(asked.rounds):
        for name, rows in found.items():
            command = [sys.executable, "-c", ONE, name, str(asked.frames)]
            rows.append(json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout))
    table = []
    for name, rows in found.items():
        user, kernel, peak = (statistics.median(column) for column in zip(*rows, strict=True))
        table.append([name, f"{user + kernel:.1f} s", f"{kernel:.1f} s", f"{peak:.1f} GB"])
    title = f"nano decodes {asked.frames} frames of 192x336 on {machine()}"
    Console().print(
        Report(title, ("freed memory", "processor time", "kernel's part", "peak"), table).as_rich()
    )


if __name__ == "__main__":
    main()
