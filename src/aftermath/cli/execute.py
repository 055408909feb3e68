"""Run a piece of work for the command line: show how far it is, tell how it ended, choose the exit code."""

from __future__ import annotations

import json
import os
import select
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from aftermath.cli.parameters import Display
from aftermath.errors import AftermathError, InputError

if TYPE_CHECKING:
    from aftermath.remove import Result
    from aftermath.session import Progress

__all__ = ["CLICK_ERROR", "READER_GONE", "execute", "guarded", "say"]

READER_GONE = 141
"""The exit code where whoever read the output has left: what a shell says of a program that SIGPIPE ended."""
CLICK_ERROR: Any = typer.BadParameter.__mro__[2]  # typer gives its ClickException no public name


def say(message: str) -> None:
    """One line on stderr, whatever ``message`` holds."""
    typer.echo(f"aftermath: {' '.join(message.split())}", err=True)


def execute(
    work: Callable[[Progress | None], Result], display: Display, going_on: Sequence[str] = ()
) -> None:
    """Do ``work`` and tell how it went. Raises `typer.Exit` where it fails.

    ``going_on``: the words of the clip and its prompt with which ``remove`` would go on from a quadmask.
    """
    with guarded(debug=display.debug, as_json=display.json):
        result = _with_progress(work, display)
    _tell(result, display, going_on)


@contextmanager
def guarded(*, debug: bool, as_json: bool = False) -> Iterator[None]:
    """Tell what fails in one line, also ``as_json``, and leave by its exit code: raises `typer.Exit` in its place.

    Where whoever reads the output has left (``| head``) nothing failed: it ends without a word.
    """
    try:
        yield
    except KeyboardInterrupt:
        say("stopped; the same command goes on from where it was")
        raise typer.Exit(130) from None
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _reader_left():
            raise typer.Exit(READER_GONE) from None
        if debug:
            traceback.print_exc()
        say(_line(error))
        if as_json:
            typer.echo(json.dumps({"error": _line(error), "kind": type(error).__name__}, ensure_ascii=False))
        raise typer.Exit(2 if isinstance(error, InputError) else 1) from error


def _reader_left() -> bool:
    """Whether nobody reads stdout any more; what is written there from now on goes nowhere."""
    try:
        asked = select.poll()  # Windows has none, and no such error
        asked.register(sys.stdout.fileno(), 0)
        left = any(event & (select.POLLERR | select.POLLHUP) for _, event in asked.poll(0))
    except (AttributeError, OSError, ValueError):
        return False
    if left:  # or what is still to be written is complained about at the very end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return left


def _line(error: Exception) -> str:
    if isinstance(error, AftermathError):
        return str(error)
    return f"{type(error).__name__}: {error} (this should not happen; --debug shows where)"


def _with_progress(work: Callable[[Progress | None], Result], display: Display) -> Result:
    if display.quiet or display.json or not sys.stderr.isatty():
        return work(None)
    from aftermath.cli.progress import bars

    with bars() as progress:
        return work(progress)


def _tell(result: Result, display: Display, going_on: Sequence[str]) -> None:
    from aftermath.cli.summary import as_json, as_text

    for warning in result.warnings:
        typer.echo(f"warning: {warning}", err=True)
    if display.json:
        typer.echo(as_json(result))
    elif not display.quiet:
        typer.echo(as_text(result, going_on))
