"""``aftermath batch``: many clips."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aftermath.cli.execute import guarded, say
from aftermath.cli.parameters import Display, Prompt, Ray, Workers, expanded
from aftermath.config import RemoveOptions

if TYPE_CHECKING:
    from aftermath.batch import Batch

__all__ = ["batch_command"]


@expanded
def batch_command(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="IN",
            help="A folder of clips with masks (a.mp4 and a.mask.mp4 or a.quadmask.mkv) and sequence folders, or a "
            "JSONL file, one job a line.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where the results go.")],
    options: RemoveOptions,
    display: Display,
    prompt: Prompt = "",
    text: Annotated[
        str, typer.Option(metavar="WORDS", help="The object in words, for clips without another prompt.")
    ] = "",
    workers: Workers = 1,
    ray: Ray = "",
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Stop at the first clip that fails.")
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget what earlier runs left.")] = False,
) -> None:
    """Remove an object from each of many clips.

    A line of the JSONL file is {"clip": "a.mp4", "boxes": ["X0,Y0,X1,Y1"], "out": "b.mp4"}, with any argument of
    aftermath.remove and any option below under its name (steps, model_width_px); files are named from where the JSONL
    lies, out from DIR. The options given here hold for every clip that does not say otherwise. The same command again
    goes on after a stop and tries again what failed. DIR/batch.jsonl tells of every clip; exit code 1: some failed.
    """
    with guarded(debug=display.debug, as_json=display.json):
        from aftermath.batch import batch

        def work(progress=None) -> Batch:
            return batch(
                source,
                output,
                options=options,
                prompt=prompt,
                text=text,
                workers=workers,
                ray=ray,
                fail_fast=fail_fast,
                fresh=fresh,
                progress=progress,
            )

        if display.quiet or display.json or not sys.stderr.isatty():
            done = work()
        else:
            from aftermath.cli.progress import bars

            with bars() as progress:
                done = work(progress)
    _tell(done, display)


def _tell(done: Batch, display: Display) -> None:
    from aftermath.batch import Status

    counts = {str(status): len(done.having(status)) for status in Status}
    clips: dict[str, list[str]] = {}
    for one in done.outcomes:
        for warning in one.warnings:
            clips.setdefault(warning, []).append(one.where)
    for warning, places in clips.items():
        whose = places[0] if len(places) == 1 else f"{len(places)} clips"
        typer.echo(f"warning: {whose}: {warning}", err=True)
    for one in done.having(Status.FAILED):
        say(f"failed: {one.where}, {Path(one.clip).name}: {one.error}")
    if display.json:
        told = {"folder": str(done.folder), "report": str(done.report), "seconds": done.seconds, **counts}
        typer.echo(json.dumps(told | {"clips": [asdict(one) for one in done.outcomes]}, ensure_ascii=False))
    elif not display.quiet:
        counted = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
        typer.echo(
            f"{done.folder}: {counted} of {len(done.outcomes)} clips, {done.seconds:.0f} s; see {done.report}"
        )
    if counts[Status.FAILED]:
        raise typer.Exit(1)
