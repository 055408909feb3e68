"""What a language model answered, as a `Plan`: cut out of whatever stands round it, checked, cleaned and clamped."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from typing import Any

from aftermath.core import Action, AffectedObject, Belonging, Box, Category, Grid, Plan, Sighting
from aftermath.core.plan_file import PlanFile
from aftermath.errors import InputError

__all__ = ["LARGEST_ANSWER", "answer_schema", "read_answer"]

LARGEST_ANSWER = 200_000  # characters; one of five things with all their cells takes a tenth
_MOST_AFFECTED, _MOST_BELONGINGS = 5, 3
_NOUN, _WHY, _SCENE = 60, 300, 600  # characters
_WHOLE_PICTURE = 0.6  # of the grid: what covers so much is not one thing
_MOST_IN_VAIN = 20 * LARGEST_ANSWER  # characters read of objects that turn out to be none
_OPENING = re.compile(r"\{(?=\s*[\"}])")
# a comma before a closing bracket, wherever that is not inside a string; a string ends with its line at the latest,
# so that a quote in the prose before does not turn the inside out
_COMMAS = re.compile(r'("(?:[^"\\\n]|\\[^\n])*+"?)|,(?=\s*[\]}])')
_ESCAPES = re.compile(  # of terminals: colours and the like, titles and links, single letters
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[@-Z\\^_]"
)
_TAGS = re.compile(r"</?[a-zA-Z!][^<>]*>")
_THEIRS = (
    "integral_belongings",
    "affected_objects",
    "affected_subjects",
    "scene_description",
    "confidence",
)
_OURS = ("id", "action", "applied", "directed", "frames", "box", "path", "sighted", "in_place")


def answer_schema() -> dict[str, Any]:
    """The JSON schema of the answer: of the reference's keys, without those that we add for ourselves."""
    schema = PlanFile.model_json_schema()
    definitions = schema["$defs"]
    for name in _OURS:
        definitions["_Affected"]["properties"].pop(name)
    definitions["_Affected"]["required"] = ["noun", "category", "why", "will_move", "grid_localizations"]
    wanted = [name for name in _THEIRS if name != "affected_subjects"]
    properties = {name: schema["properties"][name] for name in wanted}
    things = {"type": "array", "maxItems": _MOST_AFFECTED, "items": {"$ref": "#/$defs/_Affected"}}
    properties["affected_objects"] = things
    properties["integral_belongings"] = {
        "type": "array",
        "maxItems": _MOST_BELONGINGS,
        "items": {"$ref": "#/$defs/_Belonging"},
    }
    used = {name: value for name, value in definitions.items() if name not in ("_Point", "_Subject")}
    return {"type": "object", "properties": properties, "required": wanted, "$defs": used}


def read_answer(text: str, *, width: int, height: int, num_frames: int, reasoner: str) -> Plan:
    """The plan in ``text`` for a clip of that size (source pixels) and length.

    Fences, prose round it and trailing commas do not matter; cells and frames outside are taken for the nearest.
    What would cover most of the picture is offered, not applied. Raises `InputError` for what is no such answer.
    """
    try:
        content = json.dumps(_object(text))
    except RecursionError as error:
        raise InputError("the answer", "must not be nested so deeply") from error
    try:
        plan = Plan.from_json(content, width=width, height=height, num_frames=num_frames, name="the answer")
    except InputError as error:  # the remedy is for people with a file
        raise InputError(error.value, error.allowed) from error
    notes: list[str] = []
    affected = tuple(
        _cleaned(thing, index, plan, notes) for index, thing in enumerate(plan.affected[:_MOST_AFFECTED])
    )
    left_out = len(plan.affected) - len(affected)
    if left_out:
        notes.append(f"the model named {len(plan.affected)} affected things; {left_out} were left out")
    belongings = tuple(
        Belonging(_plain(b.noun, _NOUN), _plain(b.why, _WHY), b.sightings)
        for b in plan.belongings[:_MOST_BELONGINGS]
        if _plain(b.noun, _NOUN) and not _everywhere(b.sightings, plan)
    )
    return replace(
        plan,
        affected=affected,
        belongings=belongings,
        scene_description=_plain(plan.scene_description, _SCENE),
        reasoner=reasoner,
        notes=tuple(notes),
    )


def _object(text: str) -> dict[str, Any]:
    """The JSON object with affected things in ``text``; of several the last, for models think aloud first."""
    if len(text) > LARGEST_ANSWER:
        raise InputError(f"an answer of {len(text)} characters", f"it must be at most {LARGEST_ANSWER}")
    if not text.strip():
        raise InputError("an empty answer", "it must be one JSON object")
    found = _last_object(text)
    if found is None and (start := _OPENING.search(text)):
        found = _last_object(_COMMAS.sub(lambda part: part[1] or "", text[start.start() :]))
    if found is None:
        raise InputError("the answer", "must be one whole JSON object with affected_objects")
    return _without_ours(found)


def _last_object(text: str) -> dict[str, Any] | None:
    decoder, found, in_vain = json.JSONDecoder(strict=False), None, 0
    start = _OPENING.search(text)
    while start and in_vain < _MOST_IN_VAIN:
        try:
            value, end = decoder.raw_decode(text, start.start())
        except ValueError as error:  # JSON's, or a number of thousands of digits
            end = start.end()
            # the error has counted the lines up to where it is
            in_vain += getattr(error, "pos", len(text)) - start.start() + len(text) // 100
        else:
            if "affected_objects" in value or "affected_subjects" in value:
                found = value
        start = _OPENING.search(text, end)
    return found


def _without_ours(content: dict[str, Any]) -> dict[str, Any]:
    """The answer without what only we may say, and without the nulls that stand for nothing."""
    content = {name: _without_nulls(content[name]) for name in _THEIRS if content.get(name) is not None}
    things = content.get("affected_objects")
    if isinstance(things, list):
        content["affected_objects"] = [
            {k: v for k, v in thing.items() if k not in _OURS and (k != "object_size_grids" or _is_size(v))}
            if isinstance(thing, dict)
            else thing
            for thing in things
        ]
    return content


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(one) for name, one in value.items() if one is not None}
    return [_without_nulls(one) for one in value if one is not None] if isinstance(value, list) else value


def _is_size(value: Any) -> bool:
    """Whether a size says anything: nothing is -1 cells wide."""
    sides = value.values() if isinstance(value, dict) else ()
    return all(isinstance(side, int | float) and 0 < side < math.inf for side in sides)


def _cleaned(thing: AffectedObject, index: int, plan: Plan, notes: list[str]) -> AffectedObject:
    noun = _plain(thing.noun, _NOUN)
    if not noun:
        raise InputError(f"affected_objects[{index}].noun", "must be a few plain words")
    whole = _everywhere(thing.sightings, plan, thing.box)
    if whole:
        notes.append(f"the {noun} would cover most of the picture: offered, not acted on")
    return replace(
        thing,
        id=f"model-{index}",
        noun=noun,
        why=_plain(thing.why, _WHY),
        category=Category.VISUAL_ARTIFACT if thing.action is Action.VANISHES else Category.PHYSICAL,
        directed=False,
        applied=not whole,
    )


def _everywhere(sightings: tuple[Sighting, ...], plan: Plan, box: Box | None = None) -> bool:
    grid = Grid(plan.width, plan.height)
    if box is not None and box.width * box.height > _WHOLE_PICTURE * plan.width * plan.height:
        return True
    return any(len(seen.boxes) > _WHOLE_PICTURE * grid.rows * grid.cols for seen in sightings)


def _plain(text: str, longest: int) -> str:
    """One line without what a terminal would act on, or a page: control characters, escape sequences, tags."""
    text = _TAGS.sub(" ", _ESCAPES.sub("", text))
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= longest else text[: longest - 1] + "…"
