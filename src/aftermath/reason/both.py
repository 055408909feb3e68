"""Two reasoners that check each other: what was seen to move, and what a language model says. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from aftermath.core import Action, AffectedObject
from aftermath.reason.base import Reasoning

__all__ = ["joined", "told_by_model"]

_SAME_THING = 0.3  # intersection over union
_SAME_LIGHT = 0.3  # of the smaller one: a model's cells are coarse
_SURE = 0.5  # from here on what was measured outweighs what was said
_DISPUTED = 0.7  # of a confidence


def joined(motion: Reasoning, model: Reasoning) -> Reasoning:
    """The findings of both. What both say is surer than either alone (they err independently); where they name other
    actions for one thing, what was measured is followed if it is sure, and the plan's notes say so."""
    findings: list[AffectedObject] = []
    notes: list[str] = []
    left = list(model.plan.applied)
    for ours in motion.plan.affected:
        theirs = _same(ours, left, motion.masks, model.masks)
        if theirs is None:
            findings.append(ours)
            if ours.applied and ours.confidence < 1:
                notes.append(f"{ours.noun} {ours.action}: found by its motion; the model does not mention it")
            continue
        left.remove(theirs)
        left = [one for one in left if not _one_light(ours, one, motion.masks, model.masks)]
        finding, note = _agreed(ours, theirs)
        findings.append(finding)
        notes.append(note)
    findings += [*left, *model.plan.offered]
    notes += [f"{thing.noun} {thing.action}: said by the model; motion does not show it" for thing in left]
    used = {thing.id for thing in (*left, *model.plan.offered)}
    masks = {**motion.masks, **{name: mask for name, mask in model.masks.items() if name in used}}
    return _reasoning(motion, model, findings, masks, notes, f"motion+{model.plan.reasoner}")


def told_by_model(motion: Reasoning, model: Reasoning) -> Reasoning:
    """The model's findings, with what the user said himself before them."""
    said = [thing for thing in motion.plan.affected if thing.confidence == 1]
    others = [t for t in model.plan.affected if _same(t, said, model.masks, motion.masks) is None]
    masks = {
        thing.id: theirs[thing.id]
        for things, theirs in ((said, motion.masks), (others, model.masks))
        for thing in things
        if thing.id in theirs
    }
    return _reasoning(motion, model, [*said, *others], masks, [], model.plan.reasoner)


def _reasoning(
    motion: Reasoning,
    model: Reasoning,
    findings: list[AffectedObject],
    masks: Mapping[str, np.ndarray],
    notes: list[str],
    name: str,
) -> Reasoning:
    plan = replace(
        model.plan,
        affected=tuple(findings),
        confidence=min(
            (thing.confidence for thing in findings if thing.applied), default=model.plan.confidence
        ),
        reasoner=name,
        notes=(*motion.plan.notes, *model.plan.notes, *notes),
    )
    return Reasoning(plan, masks, model.belongings)


def _agreed(ours: AffectedObject, theirs: AffectedObject) -> tuple[AffectedObject, str]:
    """One finding for a thing that both name, and a note."""
    if ours.confidence == 1:
        return ours, f"{ours.noun} {ours.action}: said by the user; the model says it {theirs.action}"
    if ours.action is theirs.action:
        sure = 1 - (1 - ours.confidence) * (1 - theirs.confidence)
        parts = [ours.why] if ours.applied or not theirs.why else []  # what was only a guess is no reason now
        why = "; ".join([*parts, *([theirs.why] if theirs.why else [])])
        both = replace(ours, noun=theirs.noun, why=why, confidence=sure, applied=True)
        return both, f"{theirs.noun} {ours.action}: motion and the model agree"
    followed, other = (ours, theirs) if ours.confidence >= _SURE else (theirs, ours)
    who = ("motion", "the model") if followed is ours else ("the model", "motion")
    note = f"{theirs.noun}: {who[0]} says {followed.action}, and is followed; {who[1]} says {other.action}"
    kept = replace(followed, noun=theirs.noun, confidence=_DISPUTED * followed.confidence)
    # the thing keeps the name that the scene has for it
    return replace(kept, id=ours.id), note


def _same(
    thing: AffectedObject,
    others: Iterable[AffectedObject],
    masks: Mapping[str, np.ndarray],
    their_masks: Mapping[str, np.ndarray],
) -> AffectedObject | None:
    """The one of ``others`` that is the same thing: by its name in the scene, or else by where it is."""
    others = list(others)
    for other in others:
        if thing.id == other.id:
            return other
    for other in others:
        if _one_light(thing, other, masks, their_masks):
            return other
        a, b = masks.get(thing.id), their_masks.get(other.id)
        if a is None or b is None or _is_light(thing) or _is_light(other):
            continue
        if np.count_nonzero(a & b) >= _SAME_THING * max(1, np.count_nonzero(a | b)):
            return other
    return None


def _one_light(
    thing: AffectedObject,
    other: AffectedObject,
    masks: Mapping[str, np.ndarray],
    their_masks: Mapping[str, np.ndarray],
) -> bool:
    """Whether both are light and lie in the same place: motion does not tell a shadow from the reflection beside it."""
    a, b = masks.get(thing.id), their_masks.get(other.id)
    if a is None or b is None or not (_is_light(thing) and _is_light(other)):
        return False
    least = min(np.count_nonzero(a), np.count_nonzero(b))
    return bool(np.count_nonzero(a & b) >= _SAME_LIGHT * max(1, least))


def _is_light(thing: AffectedObject) -> bool:
    return thing.action is Action.VANISHES
