"""How good the draft is: ``python benchmarks/draft.py [--clips DIR]``.

Against the truth of every folder in ``examples/``: PSNR and SSIM by region, and how far the affected things
are from where they belong (see `aftermath.evaluate.physics`), for

- untouched: the input as it is;
- inpaint: every frame filled by itself, ``cv2.inpaint`` (Telea, 5 pixels), over the true changed region;
- draft, quadmask: ``aftermath remove --engine draft`` with the true quadmask;
- draft, box: the same from the object's box alone, the segmentation and the reasoning scored too.

Both drafts of an example whose thing falls get the one click that says so (``--affected X,Y:falls``): a
picture in which nothing moves cannot show it. Regions are those of the true quadmask: removed is the object,
affected what it changed, changed both, keep the rest. The program runs as a process of its own, writing FFV1,
so that no encoder blurs the scores; time, processor time and peak memory are those of that process, start to
end. Kept exactly: the share of the program's own keep pixels whose luma is the source's, bit for bit.

``--clips DIR`` adds times for real clips: folders with ``input_video.mp4`` and ``quadmask_0.mp4``.
Everything is printed, and written into ``docs/benchmarks.md`` between its markers.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from report import Report, Rows, machine, write_page
from rich.console import Console

from aftermath.core import Box, Quadmask
from aftermath.evaluate.pairs import find_pairs, load_pair
from aftermath.evaluate.physics import follow
from aftermath.evaluate.scores import intersection_over_union, psnr, ssim
from aftermath.media.arrays import load_arrays
from aftermath.media.video import probe, read_clip

ROOT = Path(__file__).parents[1]
REGIONS = ("removed", "affected", "changed", "keep")
FULL_SIZE = 1 << 20


@dataclass(frozen=True)
class Example:
    """One example, decoded. ``quadmask`` is the true one."""

    folder: Path
    truth: dict[str, Any]
    source: np.ndarray
    removed: np.ndarray
    quadmask: Quadmask

    @property
    def regions(self) -> dict[str, np.ndarray]:
        """Boolean (T, H, W) by name, in the order of `REGIONS`."""
        changed = self.quadmask.changed
        return dict(
            zip(REGIONS, (self.quadmask.primary, self.quadmask.affected, changed, ~changed), strict=True)
        )

    @property
    def affected_things(self) -> list[dict[str, Any]]:
        """What the object's removal makes move otherwise."""
        return [thing for thing in self.truth["things"] if thing["affected"]]


@dataclass(frozen=True)
class Run:
    """One finished ``aftermath remove``; ``folder`` is its run folder."""

    output: Path
    folder: Path
    seconds: float
    cpu_seconds: float
    peak_mb: float

    def plan(self) -> list[dict[str, Any]]:
        """The findings that were acted on and are things, not shadows."""
        found = json.loads((self.folder / "plan.json").read_text(encoding="utf-8"))["affected_objects"]
        return [one for one in found if one.get("applied", True) and one["category"] == "physical"]


def load(folder: Path) -> Example:
    """Decode one example folder."""
    removed = decode(folder / "rgb_removed.mp4")
    return Example(
        folder,
        json.loads((folder / "truth.json").read_text(encoding="utf-8")),
        decode(folder / "input_video.mp4"),
        removed,
        decode_quadmask(folder / "quadmask_0.mp4"),
    )


def decode(path: Path) -> np.ndarray:
    """A whole video, uint8 (T, H, W, 3), RGB."""
    return read_clip(path, FULL_SIZE).frames


def luma(path: Path) -> np.ndarray:
    """The file's own brightness plane, uint8 (T, H, W), before any conversion."""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray()[: frame.height] for frame in container.decode(video=0)]
    return np.stack(frames)


def segmented(run: Run) -> np.ndarray:
    """The object as it was found, boolean (T, H, W): without the halo that its quadmask takes along."""
    return load_arrays(run.folder / "stages" / "segment.npz")["primary"]


def decode_quadmask(path: Path) -> Quadmask:
    """A whole quadmask file, at its own size."""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    return Quadmask.from_lossy(np.stack(frames))


def inpaint(example: Example) -> np.ndarray:
    """Fill every frame by itself: the simplest thing that could be done."""
    return np.stack(
        [
            cv2.inpaint(frame, changed.astype(np.uint8), 5, cv2.INPAINT_TELEA)
            for frame, changed in zip(example.source, example.quadmask.changed, strict=True)
        ]
    )


def remove(clip: Path, output: Path, prompts: Iterable[str]) -> Run:
    """Run the program on its own, and measure its time and memory. Raises `RuntimeError` where it fails."""
    command = [sys.executable, "-m", "aftermath", "remove", str(clip), "-o", str(output), *prompts]
    command += ["--engine", "draft", "--fresh", "--quiet"]
    log = output.with_suffix(".log")
    start = time.perf_counter()
    with log.open("w") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}\nexit {process.returncode}: {log.read_text().strip()}")
    seconds, busy = time.perf_counter() - start, usage.ru_utime + usage.ru_stime
    kilo = 1024**2 if sys.platform == "darwin" else 1024
    folder = output.with_name(output.name + ".aftermath")
    return Run(output, folder, seconds, busy, usage.ru_maxrss / kilo)


def box_prompt(example: Example) -> list[str]:
    """What a user would draw: the box on the first frame that shows the object well."""
    removed = example.truth["removed"]
    return ["--box", f"{','.join(map(str, removed['box']))}@{removed['frame']}"]


def clicks(example: Example) -> list[str]:
    """What a user must say because the picture cannot show it: what falls."""
    told = []
    for thing in example.affected_things:
        if thing["action"] == "falls":
            click = thing["click"]
            told += ["--affected", f"{click['x']},{click['y']}@{click['frame']}:falls"]
    return told


def score(example: Example, video: np.ndarray) -> list[str]:
    """PSNR and SSIM of every region, then the centre error: cells of one table row."""
    cells = []
    for region in example.regions.values():
        cells.append(
            f"{psnr(video, example.removed, region):.1f} / {ssim(video, example.removed, region):.3f}"
        )
    things = load_pair(find_pairs(example.folder)[0]).things
    tracks = [follow(video, example.removed, thing) for thing in things]
    errors = [error for track in tracks for error in track.errors if not math.isnan(error)]
    if not errors:
        return [*cells, "–"]
    mean = float(np.mean(errors))
    return [*cells, f"{mean:.1f} px ({mean / video.shape[2]:.1%})"]


def speed(run: Run, num_frames: int) -> list[str]:
    """Cells of time and memory."""
    rate = f"{num_frames / run.seconds:.1f}"
    return [f"{run.seconds:.1f} s", f"{run.cpu_seconds:.1f} s", rate, f"{run.peak_mb:.0f} MB"]


def understanding(example: Example, run: Run) -> list[str]:
    """What the program found by itself: cells of one row."""
    ours = decode_quadmask(run.folder / "quadmask.mkv")
    same = luma(run.output) == luma(example.folder / "input_video.mp4")
    findings = run.plan()
    things = example.affected_things
    found = [thing for thing in things if any(_is_found(thing, one) for one in findings)]
    wrong = [one for one in findings if not any(_is_found(thing, one) for thing in things)]
    return [
        example.truth["name"],
        f"{intersection_over_union(segmented(run), example.quadmask.primary):.3f}",
        f"{intersection_over_union(ours.affected[1:], example.quadmask.affected[1:]):.3f}",
        f"{intersection_over_union(ours.changed[1:], example.quadmask.changed[1:]):.3f}",
        f"{len(found)} of {len(things)}",
        str(len(wrong)),
        f"{same[~ours.changed].mean():.3%}",
    ]


def _is_found(thing: dict[str, Any], finding: dict[str, Any]) -> bool:
    """Same place on the finding's first frame, and the same verdict."""
    center = thing["centers_source"][finding["frames"][0]]
    if finding["action"] != thing["action"] or center is None or not finding.get("box"):
        return False
    return Box(*finding["box"]).contains(*center)


def measure(example: Example, folder: Path) -> tuple[Rows, list[str]]:
    """All ways of one example: rows of the score table, and the row of what was understood."""
    clip, name = example.folder / "input_video.mp4", example.truth["name"]
    lossless, none = ["--codec", "ffv1"], [""] * len(COST)
    given = ["--quadmask", str(example.folder / "quadmask_0.mp4")]
    exact = remove(clip, folder / f"{name}-quadmask.mkv", [*given, *clicks(example), *lossless])
    alone = remove(clip, folder / f"{name}-box.mkv", [*box_prompt(example), *clicks(example), *lossless])
    rows = [
        [name, "untouched", *score(example, example.source), *none],
        [name, "inpaint", *score(example, inpaint(example)), *none],
    ]
    for way, run in (("draft, quadmask", exact), ("draft, box", alone)):
        rows.append([name, way, *score(example, decode(run.output)), *speed(run, len(example.source))])
    return rows, understanding(example, alone)


def measure_real(folder: Path, scratch: Path) -> Rows:
    """Times of one real clip, from its quadmask and from a box round what that calls the object."""
    clip, given = folder / "input_video.mp4", folder / "quadmask_0.mp4"
    info, quadmask = probe(clip), decode_quadmask(given)
    first = int(np.flatnonzero(quadmask.primary.any(axis=(1, 2)))[0])
    height, width = quadmask.values.shape[1:]
    box = Box.of_mask(quadmask.primary[first])
    assert box is not None
    box = box.scaled(info.width / width, info.height / height)
    corners = ",".join(f"{value:.0f}" for value in (box.x0, box.y0, box.x1, box.y1))
    ways = {"quadmask": ["--quadmask", str(given)], "box": ["--box", f"{corners}@{first}"]}
    rows = []
    for way, prompts in ways.items():
        run = remove(clip, scratch / f"{folder.name}-{way}.mp4", prompts)
        size = f"{info.width}x{info.height}, {len(quadmask)} frames"
        rows.append([folder.name, size, f"draft, {way}", *speed(run, len(quadmask))])
    return rows


COST = ("time", "processor time", "frames/s", "peak memory")


def main() -> None:
    """Measure, print, write the page."""
    parser = argparse.ArgumentParser(description="Score the draft against the truth of the examples.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="examples; all of them without one")
    parser.add_argument("--clips", type=Path, metavar="DIR", help="real clips to time, one folder each")
    parser.add_argument("--work", type=Path, metavar="DIR", help="keep the results there")
    parser.add_argument("--no-page", action="store_true", help="print only")
    options = parser.parse_args()
    folders = sorted(path.parent for path in (ROOT / "examples").glob("*/truth.json"))
    chosen = [folder for folder in folders if not options.names or folder.name in options.names]
    scores: Rows = []
    understood: Rows = []
    times: Rows = []
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        for folder in chosen:
            rows, found = measure(load(folder), work)
            scores += rows
            understood.append(found)
        for folder in sorted(options.clips.iterdir()) if options.clips else ():
            if (folder / "input_video.mp4").exists():
                times += measure_real(folder, work)
    heads = (*(f"{region}: dB / SSIM" for region in REGIONS), "centre error")
    reports = [
        Report("Against the truth", ("example", "way", *heads, *COST), scores),
        Report(
            "From a box alone",
            (
                "example",
                "object IoU",
                "affected IoU",
                "changed IoU",
                "things found",
                "wrong findings",
                "kept exactly",
            ),
            understood,
        ),
    ]
    if times:
        reports.append(Report("Real clips", ("clip", "size", "way", *COST), times))
    console = Console(width=None if sys.stdout.isatty() else 200)
    for report in reports:
        console.print(report.as_rich())
    if not options.no_page:
        write_page("draft", reports, machine())


if __name__ == "__main__":
    main()
