"""``aftermath studio``: the web app."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aftermath.cli.execute import guarded
from aftermath.cli.parameters import expanded
from aftermath.config import RemoveOptions

__all__ = ["studio_command"]


@expanded
def studio_command(
    options: RemoveOptions,
    clip: Annotated[
        Path | None, typer.Argument(metavar="[CLIP]", help="A video, or a sequence folder, to begin with.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Who can reach it; 0.0.0.0: every machine of the network, with a password.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 7860,
    password: Annotated[
        str,
        typer.Option(
            envvar="AFTERMATH_STUDIO_PASSWORD",
            help="Ask for it, with any user name; better given in the environment, where other users do not see it.",
        ),
    ] = "",
    workspace: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where projects stand. [default: ~/.local/share/aftermath/studio]"),
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open it in the browser.")] = True,
    upload_gb: Annotated[float, typer.Option(min=0.001, max=1024, help="Largest upload.")] = 4.0,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error came from.")] = False,
) -> None:
    """Decide an edit by looking: click, direct, paint, compare, in the browser.

    It is reached from this machine alone, unless --host says otherwise. Projects stay where they are when the browser
    or the server is closed; the same command goes on with them. The other options are what a new project begins with.
    """
    with guarded(debug=debug):
        from aftermath.studio.limits import Limits
        from aftermath.studio.server import serve

        serve(
            clip,
            host=host,
            port=port,
            password=password,
            workspace=workspace,
            browser=browser,
            options=options,
            limits=Limits(num_bytes=round(upload_gb * 2**30)),
            say=lambda address: typer.echo(f"aftermath studio: {address}  (Ctrl-C stops it)"),
        )
