"""``aftermath inspect``: what a file says of how it was made."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aftermath.cli.execute import guarded
from aftermath.cli.parameters import Display, expanded

if TYPE_CHECKING:
    from aftermath.inspection import Inspection
    from aftermath.session import Progress

__all__ = ["inspect_command"]


@expanded
def inspect_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A film, or what --codec png wrote.")],
    display: Display,
    original: Annotated[
        Path | None, typer.Option(metavar="CLIP", help="What it was made of: show what differs.")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(metavar="PNG", help="Frames with what differs from the original marked.")
    ] = None,
    trust: Annotated[
        Path | None, typer.Option(metavar="PEM", help="Certificates of the authorities that you believe.")
    ] = None,
) -> None:
    """Say what FILE tells of its making, and whether it still is what was signed.

    Exit code 0: intact, or nothing is known; 1: changed after it was signed; 2: no such file, or no film.
    """
    with guarded(debug=display.debug, as_json=display.json):
        from aftermath.inspection import Verdict, inspect

        def work(progress: Progress | None = None) -> Inspection:
            return inspect(file, original=original, picture=picture, trust=trust, progress=progress)

        if original is None or display.quiet or display.json or not sys.stderr.isatty():
            found = work()
        else:
            from aftermath.cli.progress import bars

            with bars() as progress:
                found = work(progress)
    if display.json:
        typer.echo(json.dumps(asdict(found), default=str, ensure_ascii=False))
    elif not display.quiet:
        typer.echo(found.in_words())
    if found.verdict is Verdict.CHANGED:
        raise typer.Exit(1)
