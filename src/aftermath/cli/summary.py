"""What a run says when it is done: a few lines for a person, or one JSON object for a program."""

from __future__ import annotations

import json
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


def as_text(result: Result) -> str:
    """The result in a few lines."""
    frames = f"{result.num_frames} frames of {result.width}x{result.height}"
    lines = [
        f"{result.output}: {frames}, {sum(result.stage_times_s.values()):.0f} s of work",
        f"  camera    {result.camera}",
        *_findings("found", result.plan.applied, "nothing else would be different"),
        *_findings("offered", result.plan.offered, ""),
    ]
    if result.engine:
        lines.append(f"  painted   by the engine {result.engine} ({result.engine_why})")
    if result.invented_share is not None:
        lines.append(f"  invented  {result.invented_share:.0%} of the hole: no frame shows what stands there")
    lines.append(f"  look at   {result.contact_sheet}")
    return "\n".join(lines)


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
