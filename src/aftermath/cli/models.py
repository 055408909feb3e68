"""``aftermath models``: the weights of the models on this machine."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aftermath.cli.execute import guarded

if TYPE_CHECKING:
    from aftermath.downloads import Progress

__all__ = ["app"]

app = typer.Typer(help="The weights of the models: list, download, verify.", no_args_is_help=True)

_To = Annotated[
    Path | None, typer.Option("--to", metavar="DIR", help="A folder in place of the hub's cache.")
]
_Offline = Annotated[bool, typer.Option("--offline", help="Use the network for nothing.")]
_LINE_S = 30  # no line of progress sooner after the last, nor before a tenth more has come
_Debug = Annotated[bool, typer.Option("--debug", help="Show where an error came from.")]


@app.command("list")
def list_command(to: _To = None, debug: _Debug = False) -> None:
    """Say which models there are, and which of them are on this machine, where, and how large."""
    with guarded(debug=debug):
        from aftermath.hub import located
        from aftermath.models import KNOWN, NANO

        folder = located(NANO)
        if folder.is_dir():
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            typer.echo(f"{NANO:<40} {size / 1e9:.2f} GB in the package (our own, small, for a processor)")
        for model in KNOWN:
            typer.echo(f"{model.name:<40} {_where(model.name, to)} ({model.what})")


@app.command("download")
def download_command(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="One model; VOID and its base by default.")
    ] = None,
    to: _To = None,
    offline: _Offline = False,
    debug: _Debug = False,
) -> None:
    """Fetch the weights; a download that was stopped goes on where it was."""
    with guarded(debug=debug):
        from aftermath.hub import fetch
        from aftermath.models import KNOWN

        for one in [name] if name else [model.name for model in KNOWN if model.standard]:
            if sys.stderr.isatty():
                from aftermath.cli.progress import bars

                with bars() as progress:
                    folder = fetch(one, to=to, offline=offline, progress=progress)
            else:
                folder = fetch(one, to=to, offline=offline, progress=_lines())
            typer.echo(f"{one}: {folder}")


@app.command("verify")
def verify_command(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="[DIR]", help="A folder of weights; what the cache holds by default."),
    ] = None,
    debug: _Debug = False,
) -> None:
    """Read all weights: sizes, headers, numbers that are none, and the hashes the hub gave."""
    with guarded(debug=debug):
        from aftermath.hub import verify

        for path, told in verify(folder):
            typer.echo(f"{path}: {told}")


def _where(name: str, to: Path | None) -> str:
    """How much of a model is on this machine, and where."""
    from aftermath.hub import begun, lacking, present
    from aftermath.models import VOID, pass_file

    files, came, missing = present(name, to), begun(name, to), lacking(name, to)
    size = sum(path.stat().st_size for path in files.values())
    if not files:
        return f"incomplete, {came / 1e9:.1f} GB of it came" if came else "not here"
    where = f"{(size + (came if missing else 0)) / 1e9:.1f} GB in {_folder(files)}"
    if missing:
        return f"incomplete, {where}, without {missing[0]}"
    lone = [file for file in (pass_file(1), pass_file(2)) if name == VOID and not _is_there(file, files)]
    return where + (f", without {lone[0]}" if lone else "")


def _is_there(file: str, files: dict[str, Path]) -> bool:
    return file in files or f"{file}.index.json" in files


def _folder(files: dict[str, Path]) -> Path:
    name, path = next(iter(files.items()))
    return path.parents[name.count("/")]


def _lines() -> Progress:
    """Progress where no terminal shows a bar: now and then a plain line on stderr."""
    told: dict[str, tuple[float, int]] = {}

    def update(file: str, done: int, total: int) -> None:
        now = time.monotonic()
        when, before = told.setdefault(file, (now, -total))  # the first line waits for its time alone
        if now - when >= _LINE_S and 10 * (done - before) >= total:
            told[file] = now, done
            typer.echo(f"{file}: {done / total:.0%}, {done / 1e9:.1f} of {total / 1e9:.1f} GB", err=True)

    return update
