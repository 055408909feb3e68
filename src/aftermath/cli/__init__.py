"""The command line. It only translates: options to values, progress to a bar, errors to one line and a code.

Exit codes: 0 done, 2 bad input, 130 stopped by Ctrl-C, 141 nobody reads the output any more, 1 anything else.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from aftermath.cli.batch import batch_command
from aftermath.cli.evaluate import evaluate_command
from aftermath.cli.execute import CLICK_ERROR, READER_GONE, execute, say
from aftermath.cli.generate import generate_command
from aftermath.cli.inspect import inspect_command
from aftermath.cli.models import app as models_app
from aftermath.cli.parameters import Asked, Display, Prompt, expanded, written
from aftermath.cli.studio import studio_command
from aftermath.cli.train import train_command
from aftermath.config import MaskOptions, RemoveOptions
from aftermath.errors import InputError, plainly

if TYPE_CHECKING:
    from aftermath.remove import Result
    from aftermath.session import Progress

__all__ = ["main"]

app = typer.Typer(
    help="Remove an object from a video together with everything it caused.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    """Remove an object from a video together with everything it caused."""
    if version:
        from aftermath.provenance import package_version

        typer.echo(f"aftermath {package_version()}")
        raise typer.Exit


@app.command("remove")
@expanded
def remove_command(asked: Asked, options: RemoveOptions, display: Display, prompt: Prompt = "") -> None:
    """Remove an object from CLIP, with everything it caused.

    Say what it is with --box, --point, --mask or --quadmask, in pixels of the clip. A run that was stopped
    goes on when the same command is given again.
    """

    def work(progress: Progress | None) -> Result:
        from aftermath.remove import remove

        return remove(**asked.arguments(), prompt=prompt, options=options, progress=progress)

    execute(work, display)


@app.command("mask")
@expanded
def mask_command(asked: Asked, options: MaskOptions, display: Display) -> None:
    """Stop at the quadmask: write which pixels of CLIP are the object, and which it affects.

    It ends with the command that goes on from there.
    """

    def work(progress: Progress | None) -> Result:
        from aftermath.remove import mask

        return mask(**asked.arguments(), options=options, progress=progress)

    same = written(asked, without={"clip", "output", "work", "fresh"}) + written(options)
    execute(work, display, going_on=[str(asked.clip), *same])


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what this installation and this machine can do."""
    from aftermath.cli.doctor import examine, report

    report(examine(), as_json=as_json)


app.command("batch")(batch_command)
app.command("studio")(studio_command)
app.command("inspect")(inspect_command)
app.command("generate")(generate_command)
app.command("train")(train_command)
app.add_typer(models_app, name="models")
app.command("evaluate")(evaluate_command)


def _interrupted(number: int, frame: FrameType | None) -> None:
    """What Ctrl-C does. Where CPython lets go of an import's lock the interrupt would be lost ("Exception ignored")
    and the run go on: there it comes again a moment later."""
    code = frame.f_code if frame else None
    if code and code.co_name == "cb" and code.co_filename == "<frozen importlib._bootstrap>":
        threading.Timer(0.05, signal.raise_signal, (number,)).start()
        return
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code."""
    signal.signal(signal.SIGINT, _interrupted)
    signal.signal(signal.SIGTERM, _interrupted)  # a polite stop tidies up like Ctrl-C
    try:
        code = app(args=arguments, standalone_mode=False, prog_name="aftermath")
    except CLICK_ERROR as error:
        error.message = plainly(error.message)
        if message := error.format_message():  # empty where typer has shown the help already
            command = error.ctx.command_path if error.ctx else "aftermath"
            say(f"{message.rstrip('.')} ({command} --help tells more)")
        code = error.exit_code
    except InputError as error:
        say(str(error))
        code = 2
    except SystemExit as left:  # the way out of typer and rich where nobody reads what they write
        code = READER_GONE if left.code == 1 else left.code
    except (typer.Abort, KeyboardInterrupt):  # before any work had begun
        say("stopped")
        code = 130
    if code == 130:
        # CPython dies of SIGINT in place of our exit code where the interrupt met a class that was being made from
        # text (a dataclass in a late import), handled or not; making anything from text again takes that mark off
        exec("")
    sys.exit(code or 0)
