"""How well quadmasks fit: ``python benchmarks/masks.py [--clips DIR]``.

- The examples, whose true quadmask is known, from the object's box alone, by who decides what is affected: *motion*,
  *model* and *both*. The model is a server on this machine that answers what a good one would (the truth, in the coarse
  cells that models speak in; see ``tests/reason/model_answers.py``), so that this measures what we make of an answer,
  not a model. Affected IoU is of the levels 63 and 127 together, changed of all that is not kept; *keep touched* is
  the share of the true keep region that is marked. The truth calls affected what differs by 10 of 255 or more.
- Real clips (``--clips``, folders with ``input_video.mp4`` and the authors' ``quadmask_0.mp4``; prompts stand in
  `PROMPTS`): the object against the authors', and the time from a plan to the quadmask file (grounding, regions,
  writing at full size).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from report import Report, Rows, machine, write_page
from rich.console import Console

import aftermath
from aftermath import MaskOptions
from aftermath.config import ReasonerName
from aftermath.media.masks import read_quadmask

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "reason"))
from model_answers import EXAMPLES, NAMES, model_answer, true_levels, truth
from vlm_server import Reply, serving

PROMPTS: dict[str, dict[str, Any]] = {
    "lime": {"points": "segmentation_info.json"},
    "moving_ball": {"boxes": [(2750, 690, 3095, 1030)]},
    "trampoline": {"boxes": [(860, 270, 1510, 1490)]},
}
SIZE = (960, 540)  # at which real masks are compared


def affected(levels: np.ndarray) -> np.ndarray:
    """Levels 63 and 127 of a quadmask, boolean."""
    return (levels == 63) | (levels == 127)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union; 1 where both are empty."""
    either = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / either if either else 1.0


@contextmanager
def asked(name: str, way: str) -> Iterator[MaskOptions]:
    """The options of a way to decide, with a model's server for as long as the context lasts."""
    if way == "motion":
        yield MaskOptions()
        return
    reasoner = ReasonerName.MOTION_OPENAI if way == "both" else ReasonerName.OPENAI
    with serving(Reply(json.dumps(model_answer(name)))) as server:
        yield MaskOptions(reasoner=reasoner, vlm_url=server.openai_url)


def example(name: str, work: Path) -> Rows:
    """One row a way."""
    removed, true = truth(name)["removed"], true_levels(name)
    box = f"{','.join(map(str, removed['box']))}@{removed['frame']}"
    rows = []
    for way in ("motion", "model", "both"):
        with asked(name, way) as options:
            out = work / f"{name}-{way}.mkv"
            result = aftermath.mask(
                EXAMPLES / name / "input_video.mp4", out, boxes=[box], options=options, fresh=True
            )
        levels = np.stack(list(read_quadmask(out, expect=true.shape)))
        kept = true == 255
        found = ", ".join(f"{t.noun} {t.action} {t.confidence:.0%}" for t in result.plan.applied)
        rows.append(
            [
                name,
                way,
                f"{iou(affected(levels), affected(true)):.3f}",
                f"{iou(levels < 255, true < 255):.3f}",
                f"{np.count_nonzero(kept & (levels < 255)) / np.count_nonzero(kept):.2%}",
                found,
            ]
        )
    return rows


def real(folder: Path, work: Path) -> list[str]:
    """The object against the authors', and how long a plan takes to its quadmask."""
    prompts = dict(PROMPTS[folder.name])
    if "points" in prompts:
        clicks = json.loads((folder / prompts["points"]).read_text())["points_by_frame"]
        prompts["points"] = [f"{x},{y}@{t}" for t, places in clicks.items() for x, y in places]
    clip, out = folder / "input_video.mp4", work / f"{folder.name}.mkv"
    first = aftermath.mask(clip, out, **prompts)
    plans = [*folder.glob("vlm_analysis*.json"), first.folder / "plan.json"]
    reasoned_s = first.stage_times_s["reason"]
    again = aftermath.mask(clip, out, **prompts, plan=plans[0])
    grounding_s = max(0.0, again.stage_times_s["reason"] - reasoned_s)
    took_s = grounding_s + again.stage_times_s["regions"] + again.stage_times_s["quadmask"]
    shape = first.num_frames, first.height, first.width
    ours, theirs = (
        np.stack(
            [
                cv2.resize(m, SIZE, interpolation=cv2.INTER_NEAREST) <= 63
                for m in read_quadmask(p, expect=shape)
            ]
        )
        for p in (out, folder / "quadmask_0.mp4")
    )
    size = f"{first.width}x{first.height}, {first.num_frames} frames"
    return [folder.name, size, next(iter(prompts)), f"{iou(ours, theirs):.3f}", f"{took_s:.1f} s"]


def main() -> None:
    """Measure, print, and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=Path, help="a folder of sequence folders named as PROMPTS are")
    parser.add_argument("--no-page", action="store_true", help="print only")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        rows = [row for name in NAMES for row in example(name, work)]
        clips = [real(options.clips / name, work) for name in PROMPTS] if options.clips else []
    reports = [
        Report(
            "Examples, from a box",
            ("example", "decided by", "affected IoU", "changed IoU", "keep touched", "acted on"),
            rows,
        )
    ]
    if clips:
        heads = ("clip", "size", "shown by", "object IoU with the authors'", "plan to quadmask")
        reports.append(Report("Real clips, beside the authors' quadmasks", heads, clips))
    console = Console(width=None if sys.stdout.isatty() else 200)
    for report in reports:
        console.print(report.as_rich())
    if not options.no_page:
        write_page("masks", reports, machine())


if __name__ == "__main__":
    main()
