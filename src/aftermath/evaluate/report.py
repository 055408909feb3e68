"""An evaluation for people and programs: a table, ``scores.json``, and a page of HTML with its pictures beside it.

::

    REPORT/
    ├── index.html    self-contained but for the pictures; no script
    ├── scores.json
    └── pictures/     one contact sheet a pair
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from aftermath.evaluate.evaluation import Entry, Evaluation, Summary
from aftermath.evaluate.measures import HEADLINES, MEASURES, Measure
from aftermath.evaluate.plots import COLOURS, line_plot

__all__ = ["as_json", "as_markdown", "as_table", "write_report"]


def as_table(evaluation: Evaluation, family: str = "") -> Table:
    """The headline scores for the terminal: the mean over pairs, its rank behind it."""
    heads, rows = _headline_cells(evaluation, family)
    table = Table(title=Text(family) if family else None)
    for index, head in enumerate(heads):
        table.add_column(Text(head), justify="right" if index else "left")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # Text: a name may look like rich's own markup
    return table


def as_markdown(evaluation: Evaluation, family: str = "") -> str:
    """The same for a page of Markdown."""
    heads, rows = _headline_cells(evaluation, family)
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _headline_cells(evaluation: Evaluation, family: str) -> tuple[list[str], list[list[str]]]:
    measures = evaluation.shown(HEADLINES)
    summaries = [evaluation.summary(measure, family) for measure in measures]
    rows = []
    for system in evaluation.systems:
        failed, total = len(evaluation.failures(system, family)), len(evaluation.of(system, family))
        cells = [_with_rank(measure, of[system]) for measure, of in zip(measures, summaries, strict=True)]
        rows.append([system, *cells, f"{total - failed} of {total}"])
    return ["system", *(measure.title for measure in measures), "pairs"], rows


def _with_rank(measure: Measure, summary: Summary) -> str:
    rank = f" #{summary.rank}" if summary.rank else ""
    return measure.written(summary.mean) + rank


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """Everything, as plain values; null where a score has nothing to measure."""
    return _plain(
        {
            "measures": {key: asdict(measure) for key, measure in MEASURES.items()},
            "systems": {
                system: {
                    "failed_pairs": {entry.pair: entry.failure for entry in evaluation.failures(system)},
                    "scores": _summaries(evaluation, system, ""),
                    "families": {
                        family: _summaries(evaluation, system, family) for family in evaluation.families
                    },
                }
                for system in evaluation.systems
            },
            "entries": [asdict(entry) for entry in evaluation.entries],
            "notes": list(evaluation.notes),
        }
    )


def _summaries(evaluation: Evaluation, system: str, family: str) -> dict[str, Any]:
    measures = evaluation.shown(MEASURES)
    return {measure.key: asdict(evaluation.summary(measure, family)[system]) for measure in measures}


def _plain(value: Any) -> Any:
    """Without nan, which JSON has not, and with floats short enough to read."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return round(value, 5) if math.isfinite(value) else None
    return value


def write_report(evaluation: Evaluation, folder: Path, sheets: Mapping[str, Path]) -> Path:
    """Write ``scores.json`` and ``index.html`` into ``folder``; the latter's path. ``sheets``: pictures by pair."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(as_json(evaluation), indent=1, ensure_ascii=False)
    (folder / "scores.json").write_text(text, encoding="utf-8")
    page = folder / "index.html"
    beside = {pair: path.relative_to(folder).as_posix() for pair, path in sheets.items()}
    page.write_text(_page(evaluation, beside), encoding="utf-8")
    return page


_PLOT_DB = 50.0  # more cannot be seen, and would press the rest together
_REGIONS = (
    "object: what the object covers; affected: what changes because of it; changed: both; keep: the rest. "
    "By the pair's quadmask."
)
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --good: #0a7a4e; --bad: #b3261e }
@media (prefers-color-scheme: dark) { :root { --good: #5fd7a5; --bad: #ff8a80 } }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 1300px; margin: 2em auto; padding: 0 1.2em }
h1 { font-size: 1.5em } h2 { font-size: 1.2em; margin-top: 2em } h3 { font-size: 1em }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .6em 0 }
th, td { padding: .3em .7em; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top }
th { font-weight: 600 } th, td { white-space: nowrap } th:first-child, td:first-child { text-align: left }
.best { background: var(--soft); font-weight: 600 }
.worst, .rank, .what { font-size: .82em; opacity: .75; font-weight: 400 }
.what { white-space: normal } .worst { display: block } .bad { color: var(--bad) } .good { color: var(--good) }
.dot { display: inline-block; width: .7em; height: .7em; border-radius: 50%; margin-right: .45em }
img { max-width: 100%; border-radius: 4px }
.plots { display: flex; flex-wrap: wrap; gap: 1em } .plots svg { width: 440px; max-width: 100% }
svg { font-family: system-ui, sans-serif }
"""


def _page(evaluation: Evaluation, sheets: Mapping[str, str]) -> str:
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(evaluation.systems)}
    count = len(evaluation.pairs)
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>Evaluation</title><style>{_STYLE}</style></head><body>",
        f"<h1>{len(evaluation.systems)} systems on {count} pair{'s' if count != 1 else ''}</h1>",
        "<p>Means over pairs, with the rank and the worst pair. A system that failed on more pairs than another ranks "
        "behind it.</p>",
        _summary_table(evaluation, HEADLINES, "", colours),
    ]
    for family in evaluation.families:
        parts += [
            f"<h2>Family: {escape(family)}</h2>",
            _summary_table(evaluation, HEADLINES, family, colours),
        ]
    rest = [key for key in MEASURES if key not in HEADLINES]
    parts += [f"<h2>By region</h2><p>{_REGIONS}</p>", _summary_table(evaluation, rest, "", colours)]
    failed = [entry for entry in evaluation.entries if entry.scores is None]
    if failed:
        lines = [f"{_name(e.system, colours)} on {escape(e.pair)}: {escape(e.failure)}" for e in failed]
        parts += ["<h2 class=bad>Not scored</h2>", _list(lines)]
    parts += [_pair_section(evaluation, pair.name, sheets, colours) for pair in evaluation.pairs]
    shown = evaluation.shown(MEASURES)
    parts += [
        "<h2>What the scores are</h2>",
        _list(f"<b>{escape(m.title)}</b>: {escape(m.what)}" for m in shown),
    ]
    parts += [_list(escape(note) for note in evaluation.notes), "</body></html>"]
    return "\n".join(parts)


def _list(lines: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{line}</li>' for line in lines)}</ul>"


def _name(system: str, colours: Mapping[str, str]) -> str:
    return f'<span class=dot style="background:{colours[system]}"></span>{escape(system)}'


def _table(heads: Iterable[str], rows: Iterable[str]) -> str:
    head = "".join(f"<th>{head}</th>" for head in heads)
    return f"<div class=wide><table><tr>{head}</tr>{''.join(rows)}</table></div>"


def _summary_table(
    evaluation: Evaluation, keys: Iterable[str], family: str, colours: Mapping[str, str]
) -> str:
    measures = evaluation.shown(keys)
    summaries = [evaluation.summary(measure, family) for measure in measures]
    rows = []
    for system in evaluation.systems:
        cells = [f"<td>{_name(system, colours)}</td>"]
        cells += [
            _cell(m, of[system], len(evaluation.pairs)) for m, of in zip(measures, summaries, strict=True)
        ]
        failed, total = len(evaluation.failures(system, family)), len(evaluation.of(system, family))
        mark = " class=bad" if failed else ""
        rows.append(f"<tr>{''.join(cells)}<td{mark}>{total - failed} of {total}</td></tr>")
    heads = [
        f'<span title="{escape(m.what)}">{escape(m.title)} {"↑" if m.higher_is_better else "↓"}</span>'
        for m in measures
    ]
    return _table(["system", *heads, "pairs"], rows)


def _cell(measure: Measure, summary: Summary, num_pairs: int) -> str:
    if summary.rank is None:
        return "<td>–</td>"
    worst = (
        f"worst {escape(measure.written(summary.worst))}, {escape(summary.worst_pair)}"
        if num_pairs > 1
        else ""
    )
    return (
        f"<td{' class=best' if summary.rank == 1 else ''}>{escape(measure.written(summary.mean))} "
        f"<span class=rank>#{summary.rank}</span><span class=worst>{worst}</span></td>"
    )


def _pair_section(
    evaluation: Evaluation, pair: str, sheets: Mapping[str, str], colours: Mapping[str, str]
) -> str:
    entries = [entry for entry in evaluation.entries if entry.pair == pair]
    measures = evaluation.shown(HEADLINES)
    rows = []
    for entry in entries:
        cells = "".join(f"<td>{escape(m.written(entry.value(m.key)))}</td>" for m in measures)
        remarks = escape("; ".join([entry.failure, *entry.notes] if entry.failure else entry.notes))
        rows.append(f"<tr><td>{_name(entry.system, colours)}</td>{cells}<td class=what>{remarks}</td></tr>")
    parts = [f"<h2>{escape(pair)}</h2>"]
    if pair in sheets:
        parts.append(
            f'<img src="{escape(sheets[pair])}" alt="contact sheet of {escape(pair)}" loading="lazy">'
        )
    parts.append(_table(["system", *(escape(m.title) for m in measures), ""], rows))
    parts.append(_things_table(entries, colours))
    parts.append(f"<div class=plots>{''.join(_plots(entries, colours))}</div>")
    return "".join(parts)


def _things_table(entries: list[Entry], colours: Mapping[str, str]) -> str:
    rows = []
    for entry in entries:
        for thing in entry.scores.things if entry.scores else ():
            verdict = f"<td class={'good' if thing.behaves else 'bad'}>{escape(thing.does)}</td>"
            values = f"<td>{thing.error_px:.1f} px</td><td>{thing.found_share:.0%}</td>"
            rows.append(
                f"<tr><td>{_name(entry.system, colours)}</td><td>{escape(thing.name)}</td>"
                f"<td>{escape(thing.should)}</td>{verdict}{values}</tr>"
            )
    return _table(["system", "thing", "should", "does", "centre error", "found"], rows) if rows else ""


def _plots(entries: list[Entry], colours: Mapping[str, str]) -> list[str]:
    scored = {entry.system: entry.scores for entry in entries if entry.scores}
    decibels = {s: [min(_PLOT_DB, value) for value in v.psnr_by_frame] for s, v in scored.items()}
    plots = [line_plot(f"PSNR of what changes, dB, at most {_PLOT_DB:g}", decibels, colours)]
    names = list(dict.fromkeys(thing.name for scores in scored.values() for thing in scores.things))
    for name in names:
        series = {
            system: thing.errors_px
            for system, scores in scored.items()
            for thing in scores.things
            if thing.name == name
        }
        plots.append(line_plot(f"{name}: distance from the true place, px", series, colours))
    return plots
