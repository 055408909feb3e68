"""What a language model answered, as a `Plan`: cut out of whatever stands round it, checked, cleaned and clamped."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

from aftermath.core import Action, AffectedObject, Belonging, Category, Grid, Plan, Sighting
from aftermath.core.plan_file import PlanFile
from aftermath.errors import InputError

__all__ = ["LARGEST_ANSWER", "answer_schema", "read_answer"]

LARGEST_ANSWER = 200_000  # characters; one of five things with all their cells takes a tenth
_MOST_AFFECTED, _MOST_BELONGINGS = 5, 3
_NOUN, _WHY, _SCENE = 60, 300, 600  # characters
_WHOLE_PICTURE = 0.6  # of the grid: what covers so much is not one thing
_STRING = r'"(?:\\.|[^"\\])*"'
_OURS = ("id", "action", "applied", "directed", "frames", "box", "path", "sighted", "in_place")


def answer_schema() -> dict[str, Any]:
    """The JSON schema of the answer: of the reference's keys, without those that we add for ourselves."""
    schema = PlanFile.model_json_schema()
    definitions = schema["$defs"]
    for name in _OURS:
        definitions["_Affected"]["properties"].pop(name)
    definitions["_Affected"]["required"] = ["noun", "category", "why", "will_move", "grid_localizations"]
    wanted = ("integral_belongings", "affected_objects", "scene_description", "confidence")
    properties = {name: schema["properties"][name] for name in wanted}
    things = {"type": "array", "maxItems": _MOST_AFFECTED, "items": {"$ref": "#/$defs/_Affected"}}
    properties["affected_objects"] = things
    properties["integral_belongings"] = {
        "type": "array",
        "maxItems": _MOST_BELONGINGS,
        "items": {"$ref": "#/$defs/_Belonging"},
    }
    used = {name: value for name, value in definitions.items() if name not in ("_Point", "_Subject")}
    return {"type": "object", "properties": properties, "required": list(wanted), "$defs": used}


def read_answer(text: str, *, width: int, height: int, num_frames: int, reasoner: str) -> Plan:
    """The plan in ``text`` for a clip of that size (source pixels) and length.

    Fences, prose round it and trailing commas do not matter; cells and frames outside are taken for the nearest.
    What would cover most of the picture is offered, not applied. Raises `InputError` for what is no such answer.
    """
    content = _object(text)
    plan = Plan.from_json(
        json.dumps(content), width=width, height=height, num_frames=num_frames, name="the answer"
    )
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
    # a comma before a closing bracket, wherever that is not inside a string
    text = re.sub(rf"({_STRING})|,(?=\s*[\]}}])", lambda found: found[1] or "", text)
    decoder, found, at = json.JSONDecoder(), None, text.find("{")
    while at >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            end = at + 1
        else:
            if "affected_objects" in value or "affected_subjects" in value:
                found = value
        at = text.find("{", end)
    if found is None:
        raise InputError("the answer", "must be one whole JSON object with affected_objects")
    return _without_ours(found)


def _without_ours(content: dict[str, Any]) -> dict[str, Any]:
    """The answer without what only we may say, and without the nulls that stand for nothing."""
    content = {name: value for name, value in content.items() if value is not None}
    for name in ("size", "num_frames", "reasoner", "notes", "grid_rows", "grid_cols"):
        content.pop(name, None)
    things = content.get("affected_objects")
    if isinstance(things, list):
        content["affected_objects"] = [
            {k: v for k, v in thing.items() if k not in _OURS and v is not None}
            if isinstance(thing, dict)
            else thing
            for thing in things
        ]
    return content


def _cleaned(thing: AffectedObject, index: int, plan: Plan, notes: list[str]) -> AffectedObject:
    noun = _plain(thing.noun, _NOUN)
    if not noun:
        raise InputError(f"affected_objects[{index}].noun", "must be a few plain words")
    whole = _everywhere(thing.sightings, plan)
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


def _everywhere(sightings: tuple[Sighting, ...], plan: Plan) -> bool:
    grid = Grid(plan.width, plan.height)
    return any(len(seen.boxes) > _WHOLE_PICTURE * grid.rows * grid.cols for seen in sightings)


def _plain(text: str, longest: int) -> str:
    """One line without control characters, which a terminal would act on."""
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= longest else text[: longest - 1] + "…"
