"""Command line parameters, made from dataclasses: every name, default and help text is written once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Container
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, cast, get_type_hints

import typer

from aftermath.errors import InputError

__all__ = ["Asked", "Display", "Prompt", "Ray", "Workers", "expanded", "written"]


Prompt = Annotated[str, typer.Option("--prompt", help="What the scene looks like without it, in words.")]
Workers = Annotated[
    int, typer.Option(metavar="NUMBER", help="How many work at once; the results are the same for any.")
]
Ray = Annotated[
    str,
    typer.Option(
        metavar="ADDRESS",
        help="Work on Ray, not on processes: auto, local, HOST:6379 or ray://HOST:10001. All files must lie on a disk "
        "that its machines share.",
    ),
]


@dataclass(frozen=True)
class Asked:
    """What to remove from which clip, and where the result goes."""

    clip: Annotated[
        Path, typer.Argument(metavar="CLIP", help="A video, or a sequence folder (input_video.mp4 ...).")
    ]
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where the result goes.")]
    box: Annotated[
        list[str],
        typer.Option(metavar="X0,Y0,X1,Y1[@FRAME]", help="A box round the object; repeat for several."),
    ] = field(default_factory=list)
    point: Annotated[
        list[str],
        typer.Option(metavar="X,Y[@FRAME]", help="A point on the object, or with ! before it, not on it."),
    ] = field(default_factory=list)
    text: Annotated[
        str, typer.Option(metavar="WORDS", help='The object in words: "the man in red and his bike".')
    ] = ""
    pick: Annotated[
        list[int],
        typer.Option(metavar="NUMBER", help="Of what --text finds, this one; repeat for several."),
    ] = field(default_factory=list)
    mask: Annotated[
        str | None,
        typer.Option(metavar="FILE[@FRAME]", help="White is the object: a video, or a picture of one frame."),
    ] = None
    quadmask: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A finished quadmask (0, 63, 127, 255), used as it is."),
    ] = None
    affected: Annotated[
        list[str],
        typer.Option(
            metavar="X,Y[@FRAME]:ACTION",
            help="What the thing there does without the object: falls, stays, goes-on or vanishes.",
        ),
    ] = field(default_factory=list)
    trajectory: Annotated[
        list[str],
        typer.Option(
            metavar='"NAME: X,Y@FRAME ..."',
            help="The way that the middle of an affected thing goes; NAME as the plan calls it.",
        ),
    ] = field(default_factory=list)
    plan: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="A plan.json or vlm_analysis.json to follow in place of our finding."
        ),
    ] = None
    work: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The run folder. [default: FILE.aftermath]")
    ] = None
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget what an earlier run left.")] = False

    def arguments(self) -> dict[str, Any]:
        """The same, under the names of `aftermath.remove`."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        plural = {"box": "boxes", "point": "points", "trajectory": "trajectories"}
        return {plural.get(name, name): value for name, value in values.items()}


@dataclass(frozen=True)
class Display:
    """What is shown while a run goes on and when it ends."""

    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object at the end, and nothing else.")
    ] = False
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show warnings and errors only.")] = False
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error came from.")] = False


def written(group: Any, *, without: Container[str] = ()) -> list[str]:
    """The fields of a dataclass as options on a command line; those at their defaults are left out."""
    words: list[str] = []
    for item in fields(group):
        value = getattr(group, item.name)
        if item.name in without or value is None or value == item.default:
            continue
        option = f"--{item.name.replace('_', '-')}"
        words += [
            word for one in (value if isinstance(value, list) else [value]) for word in (option, str(one))
        ]
    return words


def expanded(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command one parameter for every field of the dataclasses among its parameters."""
    hints = get_type_hints(function, include_extras=True)
    groups = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    plain = inspect.signature(function, eval_str=True).parameters
    parameters = [p for hint in groups.values() for p in _parameters(cast(type, hint))]
    parameters += [p.replace(kind=p.KEYWORD_ONLY) for name, p in plain.items() if name not in groups]

    def command(**values: Any) -> None:
        built = {
            name: _built(cast(type, group), {item.name: values.pop(item.name) for item in fields(group)})
            for name, group in groups.items()
        }
        function(**built, **values)

    command.__doc__ = function.__doc__
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command


def _built(group: type, values: dict[str, Any]) -> Any:
    try:
        return group(**values)
    except InputError as error:
        name, _, value = error.value.partition("=")
        option = f"--{name.replace('_', '-')} {value}"
        raise InputError(option, error.allowed, error.remedy) from error


def _parameters(group: type) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    described = getattr(group, "__pydantic_fields__", {})
    made = []
    for item in fields(group):
        annotation, default = hints[item.name], item.default
        if item.name in described:
            annotation = Annotated[
                described[item.name].annotation, typer.Option(help=described[item.name].description)
            ]
        if default is MISSING:
            default = inspect.Parameter.empty if item.default_factory is MISSING else item.default_factory()
        made.append(
            inspect.Parameter(
                item.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
            )
        )
    return made
