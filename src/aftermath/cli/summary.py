"""What a run says when it is done: a few lines for a person, or one JSON object for a program."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aftermath.core import AffectedObject
from aftermath.remove import Result

__all__ = ["as_json", "as_text"]


def as_json(result: Result) -> str:
    """Everything in ``result``, as one line of JSON."""
    record: dict[str, Any] = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in vars(result).items()
        if name != "plan"
    }
    record["plan"] = json.loads(result.plan.to_json())
    return json.dumps(record, ensure_ascii=False)


def as_text(result: Result, going_on: Sequence[str] = ()) -> str:
    """The result in a few lines; the last say how to go on from a quadmask, see `execute`."""
    plural = "" if result.num_frames == 1 else "s"
    frames = f"{result.num_frames} frame{plural} of {result.width}x{result.height}"
    made = {stage: time_s for stage, time_s in result.stage_times_s.items() if stage not in result.reused}
    lines = [
        f"{result.output}: {frames}, {sum(made.values()):.0f} s of work",
        *_reused(result.reused, everything=not made),
        f"  camera    {result.camera}",
        *_findings("found", result.plan.applied, "nothing else would be different"),
        *_findings("offered", result.plan.offered, ""),
    ]
    if result.engine:
        lines.append(f"  painted   by the engine {result.engine} ({result.engine_why})")
    if result.invented_share is not None:
        lines.append(f"  invented  {_invented(result.invented_share)}")
    camera = f"the camera is {result.camera}"  # that stands above
    if result.credentials:
        lines.append(f"  signed    {_signed(result.credentials)}")
    lines += [f"  note      {note}" for note in result.notes if note != camera]
    lines.append(f"  look at   {result.mask_preview or result.contact_sheet}")
    if going_on:
        # inside `uv run` the program is not on the path of the shell that it came from
        program = (
            ["uv", "run", "--no-dev", "aftermath"]
            if "UV_RUN_RECURSION_DEPTH" in os.environ
            else ["aftermath"]
        )
        command = [*program, "remove", *going_on, "--work", str(result.folder), "-o", "out.mp4"]
        lines.append(f"  next      {shlex.join(command)}")
        if "--plan" not in going_on:
            lines.append(f"            (what you edit in {result.folder / 'plan.json'} is followed)")
    return "\n".join(lines)


def _reused(stages: tuple[str, ...], *, everything: bool) -> list[str]:
    if everything:
        return ["  reused    everything: the same command has run before (--fresh forgets that)"]
    return [f"  reused    {', '.join(stages).replace('_', ' ')} of an earlier run"] if stages else []


def _invented(share: float) -> str:
    if share == 0:
        return "nothing: other frames show all that the object hides"
    amount = f"{share:.0%}" if share >= 0.01 else "under 1%"
    return f"{amount} of the hole: no frame shows what stands there"


def _signed(credentials: dict[str, Any]) -> str:
    if credentials["why_not"]:
        return f"no: {credentials['why_not']}"
    whose = "a self-made certificate" if credentials["self_made"] else credentials["signer"]
    return f"with {whose}: the file says that it was edited (aftermath inspect reads it)"


def _findings(title: str, things: tuple[AffectedObject, ...], none: str) -> list[str]:
    if not things:
        return [f"  {title:<9} {none}"] if none else []
    lines = []
    for index, thing in enumerate(things):
        lead = title if index == 0 else ""
        what = f"{thing.noun} {thing.action} from frame {thing.frames[0]}"
        line = f"  {lead:<9} {what} ({thing.confidence:.0%}): {thing.why}"
        if not thing.applied and thing.box is not None:
            x, y = thing.box.center
            line += f"\n            if so, add --affected {x:.0f},{y:.0f}@{thing.frames[0]}:{thing.action}"
        lines.append(line)
    return lines
