"""How long a result will take: from what earlier ones took here, and honest where there were none."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from pathlib import Path

from aftermath.config import Engine
from aftermath.media.runs import write_whole
from aftermath.studio.document import Document, Quality
from aftermath.studio.project import Project

__all__ = ["Estimate", "History"]

_KEPT = 200
# seconds of two cores a frame, and a million pixels of the analysed and of the source's frame: the draft, measured
_FRAME_S, _ANALYSED_S, _SOURCE_S = 0.02, 0.35, 0.12
_FEW_S = 6.0
_NANO_S = 0.8  # seconds a frame beside that: nano, two cores


@dataclass(frozen=True)
class Estimate:
    """From ``low_s`` to ``high_s`` seconds, by ``runs`` earlier ones of this kind here; None where nobody knows."""

    low_s: float | None
    high_s: float | None
    runs: int

    @property
    def words(self) -> str:
        """As a person reads it."""
        if self.low_s is None or self.high_s is None:
            return "time not known: none was made here with this engine yet"
        told = (
            "a few seconds" if self.high_s < _FEW_S else f"about {_time(self.low_s)} to {_time(self.high_s)}"
        )
        return (
            f"{told}, by {self.runs} made here" if self.runs else f"{told}, a guess: none was made here yet"
        )


class History:
    """What results took, in the file ``path``."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def estimate(self, project: Project, engine: Engine) -> Estimate:
        """The time of the whole way from a click to the result, with the project's choices, painted by ``engine``."""
        kind, guess = _kind(project.document, engine), _guess(project, engine)
        took = [run["seconds"] / run["guess"] for run in self._runs() if run["kind"] == kind and run["guess"]]
        if guess is None:
            return Estimate(None, None, 0)
        if not took:
            known = kind in ("draft", "void nano normal")
            return Estimate(0.5 * guess, 2 * guess, 0) if known else Estimate(None, None, 0)
        middle = statistics.median(took[-20:]) * guess
        return Estimate(0.7 * middle, 1.5 * middle, len(took))

    def add(self, project: Project, engine: Engine, seconds: float) -> None:
        """Remember what one took, from the start."""
        entry = {
            "kind": _kind(project.document, engine),
            "guess": _guess(project, engine),
            "seconds": round(seconds, 2),
        }
        runs = [*self._runs(), entry][-_KEPT:]
        write_whole(self._path, lambda part: part.write_text(json.dumps(runs), encoding="utf-8"))

    def _runs(self) -> list[dict]:
        try:
            return [run for run in json.loads(self._path.read_text(encoding="utf-8")) if run["seconds"] > 0]
        except (OSError, ValueError, KeyError, TypeError):
            return []


def _kind(document: Document, engine: Engine) -> str:
    if engine is Engine.DRAFT:
        return "draft"
    choices = document.choices
    return f"void {choices.model or 'published'} {choices.quality or Quality.NORMAL}"


def _guess(project: Project, engine: Engine) -> float | None:
    """Seconds on two cores; of the published model, whose speed is the card's, only a measure to compare runs by."""
    before, status = project.before, project.status
    if before is None or "width" not in status:
        return None
    height, width = before.shape[:2]
    analysed, source = height * width / 1e6, status["width"] * status["height"] / 1e6
    a_frame = _FRAME_S + _ANALYSED_S * analysed + _SOURCE_S * source
    return before.num_frames * (a_frame + (_NANO_S if engine is Engine.VOID else 0))


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
