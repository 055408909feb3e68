"""``aftermath generate``: pairs of worlds, with an object and without it."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from aftermath.cli.execute import guarded
from aftermath.cli.parameters import Ray, Workers
from aftermath.errors import InputError

__all__ = ["generate_command"]


def generate_command(
    context: typer.Context,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder that the pairs go into.")],
    pairs: Annotated[int, typer.Option(help="How many.")] = 8,
    seed: Annotated[int, typer.Option(help="The first pair's seed; the others follow.")] = 0,
    family: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this family; repeat for several: collision, stopped, support, hanging, chain, container, actor, "
            "soft, light, control; or flat, cut-outs drawn fast, without truth.json.  [default: all but flat]"
        ),
    ] = None,
    workers: Workers = 1,
    ray: Ray = "",
    size: Annotated[str, typer.Option(metavar="WxH", help="Pixels, both even.")] = "384x224",
    frames: Annotated[int, typer.Option(help="Frames of each pair, at 24 a second.")] = 49,
    held_out: Annotated[
        bool, typer.Option("--held-out", help="Allow the seeds that are kept for evaluation.")
    ] = False,
    suite: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Make the pairs that this file names, as benchmarks/suite.json does."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show errors only.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error came from.")] = False,
) -> None:
    """Make training pairs: the same simulated scene with an object and without it, the quadmask and the truth.

    The same command goes on where a stopped one was. Same seed, same bytes.
    """
    with guarded(debug=debug, as_json=as_json):
        from aftermath.counterfactual.generate import generate, list_pairs
        from aftermath.counterfactual.suite import read_suite

        if suite:
            _alone(context)
            wanted = read_suite(suite)
        else:
            wanted = list_pairs(
                pairs, seed, family or (), num_frames=frames, size=_size(size), held_out=held_out
            )
        if quiet or as_json or not sys.stderr.isatty():
            done = generate(out, wanted, num_workers=workers, ray=ray)
        else:
            from aftermath.cli.progress import bars

            with bars() as progress:
                done = generate(out, wanted, num_workers=workers, ray=ray, progress=progress)
        if as_json:
            told = {
                "folder": str(done.folder),
                "made": done.made,
                "kept": done.kept,
                "rejected": done.rejected,
            }
            typer.echo(json.dumps(told, ensure_ascii=False))
        elif not quiet:
            kept = f", {done.kept} there already" if done.kept else ""
            typer.echo(
                f"{done.made} pairs made in {done.folder}{kept}; {done.rejected} scenes rejected on the way"
            )


def _alone(context: typer.Context) -> None:
    """A suite says which pairs, of which size and length."""
    for name in ("pairs", "seed", "family", "size", "frames"):
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise InputError(
                f"--{name} with --suite", "the suite's file says which pairs", f"leave out --{name}"
            )


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match:
        raise InputError(f"--size {text}", "must be WIDTHxHEIGHT in pixels, as 384x224")
    return int(match[1]), int(match[2])
