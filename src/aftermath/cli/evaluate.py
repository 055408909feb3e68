"""``aftermath evaluate``: score outputs against the truth of simulated pairs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aftermath.cli.execute import guarded, say
from aftermath.config import Engine
from aftermath.errors import InputError

if TYPE_CHECKING:
    from aftermath.evaluate.evaluation import Evaluation
    from aftermath.evaluate.systems import Given, System

__all__ = ["evaluate_command"]


def evaluate_command(
    pairs: Annotated[Path, typer.Argument(metavar="PAIRS", help="A folder of pairs, or one pair.")],
    outputs: Annotated[
        list[Path] | None,
        typer.Option(
            "--outputs", metavar="DIR", help="Any system's videos: PAIR.mp4, PAIR.mkv or PAIR/out.mp4."
        ),
    ] = None,
    engine: Annotated[
        list[Engine] | None,
        typer.Option("--engine", help="Run this engine of ours and score it; repeatable."),
    ] = None,
    model: Annotated[str, typer.Option("--model", help="The model of --engine void.")] = "",
    passes: Annotated[int, typer.Option("--passes", help="Its passes: 1 or 2.")] = 1,
    given: Annotated[
        list[str] | None,
        typer.Option(
            "--given",
            help="What engines are told: the true quadmask, the true object alone, or its box; repeatable.  "
            "[default: quadmask]",
        ),
    ] = None,
    say_falls: Annotated[
        bool, typer.Option("--say-falls", help="Engines are told with one click what falls.")
    ] = False,
    baseline: Annotated[
        list[str] | None, typer.Option("--baseline", help="untouched, inpaint or truth; repeatable.")
    ] = None,
    report: Annotated[
        Path, typer.Option("--report", metavar="DIR", help="Where index.html and scores.json are written.")
    ] = Path("evaluation"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error came from.")] = False,
) -> None:
    """Score removals in PAIRS against what the same scenes look like without the object.

    Anyone's outputs, by folder, our engines and the baselines stand side by side: pixels by region, steadiness, what
    is left of the object, and whether the affected things are where physics puts them. A pair in which a system has no
    output, or too few frames, is counted as failed; the exit code is 1 where one has not a single score.
    """
    with guarded(debug=debug, as_json=as_json):
        from aftermath.evaluate.evaluation import evaluate
        from aftermath.evaluate.report import write_report
        from aftermath.evaluate.sheets import Sheets
        from aftermath.evaluate.systems import EngineSystem, Given, baseline_named, folders
        from aftermath.media.files import check_folder, full_disk_told

        check_folder(report)
        if report.exists() and not report.is_dir():
            raise InputError(str(report), "is a file", "name a folder for the report")
        systems: list[System] = [*folders(outputs or []), *(baseline_named(name) for name in baseline or [])]
        for one in engine or []:
            void = {"model": model, "passes": passes} if one is not Engine.DRAFT else {}
            for told in _given(given or [Given.QUADMASK]):
                systems.append(EngineSystem(one, report / "outputs", given=told, say_falls=say_falls, **void))
        sheets = Sheets(report / "pictures")
        tell = _tell if sys.stderr.isatty() and not as_json else None
        with full_disk_told(report):
            evaluation = evaluate(pairs, systems, shown=sheets, told=tell)
            page = write_report(evaluation, report, sheets.files)
        _show(evaluation, page, as_json, as_markdown)
    if unscored := [name for name in evaluation.systems if not evaluation.scored(name)]:
        say(f"{'; '.join(unscored)}: not one pair could be scored")
        raise typer.Exit(1)


def _given(words: list[str]) -> list[Given]:
    from aftermath.evaluate.systems import Given

    try:
        return [Given(word) for word in words]
    except ValueError as error:
        raise InputError(f"--given {', '.join(words)}", f"must be {', '.join(Given)}") from error


def _tell(done: int, total: int, what: str) -> None:
    typer.echo(f"{done + 1} of {total}: {what}", err=True)


def _show(evaluation: Evaluation, page: Path, as_json: bool, as_markdown: bool) -> None:
    from aftermath.evaluate import report

    if as_json:
        typer.echo(json.dumps(report.as_json(evaluation), ensure_ascii=False))
        return
    if as_markdown:
        typer.echo(report.as_markdown(evaluation))
    else:
        from rich.console import Console

        console = Console(width=None if sys.stdout.isatty() else 200)
        console.print(report.as_table(evaluation))
        for family in evaluation.families:
            console.print(report.as_table(evaluation, family))
    for entry in evaluation.entries:
        for line in [entry.failure, *entry.notes]:
            if line:
                typer.echo(f"{entry.system}, {entry.pair}: {line}", err=True)
    for note in evaluation.notes:
        typer.echo(note, err=True)
    typer.echo(f"{page}", err=as_markdown)
