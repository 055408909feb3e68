"""``aftermath train``: both passes of VOID, nano and its VAE, on pairs of worlds."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from aftermath.cli.execute import guarded
from aftermath.errors import InputError, extra_needed

__all__ = ["TRAINING_PARTS", "train_command"]

TRAINING_PARTS = ("torch", "diffusers", "transformers", "accelerate", "peft", "tensorboard")
"""The modules that training needs."""


def train_command(
    recipe: Annotated[
        str,
        typer.Argument(metavar="RECIPE", help="void_pass1, void_pass2, nano_vae, nano_pass1 or nano_pass2."),
    ],
    pairs: Annotated[
        Path, typer.Argument(metavar="PAIRS", help="A folder of pairs, as aftermath generate makes them.")
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Checkpoints, logs, and DIR/model for remove --model."
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            help="What training begins from: nano, a folder or a hub name. VOID: the published base."
        ),
    ] = "",
    steps: Annotated[int | None, typer.Option(help="Steps in all.  [default: the recipe's]")] = None,
    batch: Annotated[int | None, typer.Option(help="Clips a step and process.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="At its highest.")] = None,
    lora: Annotated[
        int | None, typer.Option(metavar="RANK", help="Train a low-rank addition in place of all weights.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Order of the pairs, noise, new weights.")] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Any other field of the recipe, in JSON: sizes=[[192,336]]. Repeatable.",
        ),
    ] = None,
    latents: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where encoded pairs are kept.  [default: PAIRS/.latents]"),
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Fetch nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show errors only.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error came from.")] = False,
) -> None:
    """Train on pairs of worlds. The same command goes on where a stopped one was.

    More cards, ZeRO or FSDP are accelerate's: accelerate launch -m aftermath train ... (processors: torchrun)
    """
    with guarded(debug=debug, as_json=as_json):
        lacking = _missing()
        if lacking:
            raise InputError("aftermath train", extra_needed("it", "train"), f"missing: {lacking}")
        from aftermath.train import recipe_named
        from aftermath.train.run import train

        named = {
            "steps": steps, "batch": batch, "learning_rate": learning_rate, "lora_rank": lora, "seed": seed,
        }  # fmt: skip
        changes = {name: value for name, value in named.items() if value is not None}
        wanted = _changed(recipe_named(recipe), changes, setting or [])
        given: dict[str, Any] = {"model": model, "latents": latents, "offline": offline}
        silent = os.environ.get("RANK", "0") != "0"  # one of several processes, and not the one that tells
        if quiet or silent or as_json or not sys.stderr.isatty():
            done = train(wanted, pairs, output, **given)
        else:
            from aftermath.cli.progress import bars

            with bars() as progress:
                done = train(wanted, pairs, output, **given, progress=progress)
        if silent:
            return
        if as_json:
            told = {"model": str(done.model), "steps": done.steps, "begun": done.begun}
            typer.echo(json.dumps(told, ensure_ascii=False))
        elif not quiet:
            went_on = f", {done.begun} of them before" if done.begun else ""
            typer.echo(f"{done.steps} steps{went_on}; the model is {done.model}")


def _missing() -> str:
    from importlib.util import find_spec

    return ", ".join(part for part in TRAINING_PARTS if find_spec(part) is None)


def _changed(recipe: Any, changes: dict[str, Any], settings: list[str]) -> Any:
    """The recipe with ``NAME=VALUE`` settings, each of the type that the field has."""
    known = {item.name: getattr(recipe, item.name) for item in dataclasses.fields(recipe)}
    for setting in settings:
        name, _, text = setting.partition("=")
        if name not in known or name in ("name", "part", "pass_number"):
            allowed = ", ".join(sorted(known.keys() - {"name", "part", "pass_number"}))
            raise InputError(f"--set {setting}", f"must be NAME=VALUE, NAME one of {allowed}")
        changes[name] = _value(setting, text, known[name])
    return recipe.changed(**changes)


def _value(setting: str, text: str, usual: Any) -> Any:
    if isinstance(usual, str):  # the enums
        try:
            return type(usual)(text)
        except ValueError as error:
            raise InputError(f"--set {setting}", f"must be one of {', '.join(type(usual))}") from error  # type: ignore[arg-type]
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InputError(f"--set {setting}", "the value must be JSON, as 0.5, true or [[192,336]]") from error
    fits = (
        isinstance(found, list) or found is None
        if isinstance(usual, tuple) or usual is None
        else (
            isinstance(found, bool) == isinstance(usual, bool)
            and isinstance(found, (int, float) if isinstance(usual, float) else int)
        )
    )
    if not fits:
        raise InputError(f"--set {setting}", f"must be like {json.dumps(usual)}")
    return _tuples(found)


def _tuples(found: Any) -> Any:
    return tuple(_tuples(one) for one in found) if isinstance(found, list) else found
