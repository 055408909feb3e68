"""Every system on every pair, and the summary: means, worst pairs, ranks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from aftermath.errors import InputError
from aftermath.evaluate.lpips import load_lpips
from aftermath.evaluate.measures import MEASURES, Judge, Measure, Scores
from aftermath.evaluate.pairs import Pair, PairFiles, check_sizes, find_pairs, load_pair
from aftermath.evaluate.systems import EngineSystem, Folder, System, Unscored

__all__ = ["Entry", "Evaluation", "Summary", "evaluate"]

Shown = Callable[[Pair, dict[str, np.ndarray], dict[str, Scores]], None]
"""Given a decoded pair, and by system the outputs there are and their scores: the report draws pictures of them."""

Told = Callable[[int, int, str], None]
"""Called with (outputs done, outputs in all, what is done now)."""


@dataclass(frozen=True)
class Entry:
    """One system on one pair: its scores, or why there are none."""

    system: str
    pair: str
    family: str
    scores: Scores | None
    failure: str = ""
    notes: tuple[str, ...] = ()

    def value(self, key: str) -> float:
        """One score; nan where there is none."""
        return self.scores.values.get(key, math.nan) if self.scores else math.nan


@dataclass(frozen=True)
class Summary:
    """One system, one score, over the pairs (of one family) that it was scored on.

    ``rank``: 1 is best; None where there is nothing to rank. ``worst_pair``: empty where there is none.
    """

    mean: float
    worst: float
    worst_pair: str
    rank: int | None = None


@dataclass(frozen=True)
class Evaluation:
    """All entries, system by system within pair by pair, and notes on the whole."""

    systems: tuple[str, ...]
    pairs: tuple[PairFiles, ...]
    entries: tuple[Entry, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def families(self) -> tuple[str, ...]:
        """Those that the pairs name, in order."""
        return tuple(sorted({pair.family for pair in self.pairs if pair.family}))

    def of(self, system: str, family: str = "") -> list[Entry]:
        """The entries of one system, of one family or of all."""
        return [e for e in self.entries if e.system == system and family in ("", e.family)]

    def scored(self, system: str) -> list[Entry]:
        """Pairs with a score."""
        return [entry for entry in self.of(system) if entry.scores is not None]

    def failures(self, system: str, family: str = "") -> list[Entry]:
        """Pairs without a score."""
        return [entry for entry in self.of(system, family) if entry.scores is None]

    def summary(self, measure: Measure, family: str = "") -> dict[str, Summary]:
        """Every system by one score.

        A mean leaves out the pairs that a system failed on, so a system with fewer failures ranks first whatever its
        mean: what was not delivered cannot raise a rank. Equal systems share a rank.
        """
        plain = {system: self._plain(measure, system, family) for system in self.systems}
        sign = -1 if measure.higher_is_better else 1
        keys = {
            system: (len(self.failures(system, family)), sign * round(one.mean, 9))
            for system, one in plain.items()
            if not math.isnan(one.mean)
        }
        ranks = {system: 1 + sum(other < key for other in keys.values()) for system, key in keys.items()}
        return {
            system: Summary(one.mean, one.worst, one.worst_pair, ranks.get(system))
            for system, one in plain.items()
        }

    def _plain(self, measure: Measure, system: str, family: str) -> Summary:
        known = [(e.value(measure.key), e.pair) for e in self.of(system, family)]
        known = [(value, pair) for value, pair in known if not math.isnan(value)]
        if not known:
            return Summary(math.nan, math.nan, "")
        worst = (min if measure.higher_is_better else max)(known, key=lambda one: one[0])
        return Summary(float(np.mean([value for value, _ in known])), *worst)

    def shown(self, keys: Iterable[str]) -> list[Measure]:
        """Of the measures called ``keys`` those that were measured at all."""
        return [
            MEASURES[key] for key in keys if any(not math.isnan(entry.value(key)) for entry in self.entries)
        ]


def evaluate(
    pairs: str | Path, systems: Sequence[System], shown: Shown | None = None, told: Told | None = None
) -> Evaluation:
    """Score ``systems`` on the folder ``pairs`` (see `aftermath.evaluate.pairs`), one pair in memory at a time.

    Raises `InputError` for no system, two of one name, no pairs, a pair that cannot be used, a folder of outputs with
    none for any pair, or an engine that cannot run here.
    """
    found = find_pairs(Path(pairs))
    names = [system.name for system in systems]
    if not systems:
        raise InputError("nothing to score", "give --outputs, --engine or --baseline", "--baseline untouched")
    if len(set(names)) < len(names):
        raise InputError(f"systems {', '.join(names)}", "must differ in name", "rename one of the folders")
    for system in systems:
        if isinstance(system, Folder | EngineSystem):
            system.check(found)
    for files in found:
        check_sizes(files)
    lpips, note = load_lpips()
    entries: list[Entry] = []
    for files in found:
        pair = load_pair(files)
        judge, videos, scored = Judge(pair, lpips), {}, {}
        for system in systems:
            if told:
                told(len(entries), len(found) * len(systems), f"{files.name}: {system.name}")
            try:
                output = system.output(pair)
            except Unscored as error:
                entries.append(Entry(system.name, files.name, files.family, None, str(error)))
                continue
            videos[system.name] = output.frames
            scored[system.name] = scores = judge.score(output.frames)
            entries.append(Entry(system.name, files.name, files.family, scores, notes=output.notes))
        if shown:
            shown(pair, videos, scored)
    return Evaluation(tuple(names), tuple(found), tuple(entries), (note,))
