"""The stage that decides what the object caused: the reasoner, a language model beside it, the user's plan and word.

Here what a reasoner needs from a segmenter is got for it; the rooms themselves do not know each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from aftermath.config import ReasonerName
from aftermath.core import Action, AffectedObject, Clip, PathPoint, Plan
from aftermath.errors import InputError, ReasonerError
from aftermath.grounding import Grounding
from aftermath.media.video import write_rgb_video
from aftermath.reason.base import Hint, Reasoning
from aftermath.reason.both import joined, told_by_model
from aftermath.reason.motion import MotionReasoner
from aftermath.reason.vlm import VlmReasoner
from aftermath.reasoners import build_client
from aftermath.request import Trajectory
from aftermath.scene.base import Scene
from aftermath.segment.base import PointPrompt, Prompts, Segmenter
from aftermath.session import Session, Steps

__all__ = ["decide", "from_arrays", "to_arrays"]

_UNCLEAR = 0.4  # confidence of what was said and is not seen


def decide(session: Session, primary: np.ndarray, scene: Scene, steps: Steps) -> Reasoning:
    """What would be different without ``primary``, boolean (T, H, W): as the options and the request say."""
    request, options, clip = session.request, session.options, session.clip
    motion = MotionReasoner(options.picture_height_m)
    segmenter = session.models.segmenter(options, session.warn)

    def ask(*more: Hint, checked: bool = False) -> Reasoning:
        told = request.scaled_hints(clip)
        try:
            return motion.reason(clip, primary, scene, (*told, *more), steps)
        except InputError:  # it saw nothing there: what a segmenter sees may help it
            seen = [_seen(hint, clip, primary, scene, segmenter) for hint in (*told, *more)]
            for hint in (
                seen if checked else seen[: len(told)]
            ):  # a plan may say that a plank is a thing all the same
                _check_thing(hint, clip, primary)
            return motion.reason(clip, primary, scene, tuple(seen), steps)

    found = ask()
    grounding = Grounding(clip, primary, scene, segmenter, _finder(session))
    if request.plan is not None:
        found = _follow(session, found, ask, grounding, partial(motion.follow, clip, primary, scene))
    elif options.reasoner is not ReasonerName.MOTION:
        follow = partial(motion.follow, clip, primary, scene)
        found = _with_model(session, primary, found, grounding, follow)
    return _directed(found, request.trajectories, clip, ask)


def _finder(session: Session) -> Callable | None:
    finder = session.models.finder(session.options)
    return None if finder is None else partial(finder.find, session.clip)


_Follow = Callable[[Hint, np.ndarray | None], tuple[AffectedObject, np.ndarray]]


def _with_model(
    session: Session, primary: np.ndarray, found: Reasoning, grounding: Grounding, follow: _Follow
) -> Reasoning:
    """``found`` together with what a language model says, or alone where none answers."""
    clip, options, folder = session.clip, session.options, session.folder
    folder.forget_exchange()

    def film() -> Path:
        path = folder.scratch / "clip.mp4"
        write_rgb_video(path, iter(clip.frames), clip.times_s.tolist())
        return path

    client = build_client(options)
    assert client is not None
    try:
        asker = VlmReasoner(client, video=film, keep=folder.keep_exchange, fresh=session.fresh)
        plan = asker.plan(clip, primary)
    except ReasonerError as error:
        if error.lasting:
            raise
        session.warn(f"{error}; what moves alone decided what is affected (--fresh asks again)")
        return found
    model = _grounded(plan, found, grounding, follow)
    both = options.reasoner in (ReasonerName.MOTION_GEMINI, ReasonerName.MOTION_OPENAI)
    return joined(found, model) if both else told_by_model(found, model)


def _grounded(plan: Plan, found: Reasoning, grounding: Grounding, follow: _Follow) -> Reasoning:
    """A model's plan with pixels, and with ways that are computed; what is not found is offered, and noted."""
    cast = _light(found)
    things: list[AffectedObject] = []
    masks: dict[str, np.ndarray] = {}
    notes = list(plan.notes)
    for thing in plan.affected:
        if not thing.applied:  # it would cover the picture, so no pixels are looked for
            things.append(replace(thing, path=()))
            continue
        told = _with_pixels(thing, cast, grounding, follow)
        if isinstance(told, str):
            notes.append(f"{thing.noun} {thing.action}, said by the model: {told}")
            things.append(replace(thing, applied=False, path=(), confidence=min(thing.confidence, _UNCLEAR)))
            continue
        own, mask = told
        if any(own.id == other.id or mask is masks.get(other.id) for other in things):
            notes.append(f"{thing.noun}: the same as another of the model's findings")
            continue
        masks[own.id] = mask
        things.append(own)
    belongings = [(b, grounding.thing(b)) for b in plan.belongings]
    goes_too = [at.mask for _, at in belongings if at is not None]
    notes += [f"{b.noun}, said to go with the object, was not found" for b, at in belongings if at is None]
    together = np.logical_or.reduce(goes_too) if goes_too else None
    return Reasoning(replace(plan, affected=tuple(things), notes=tuple(notes)), masks, together)


def _with_pixels(
    thing: AffectedObject, cast: np.ndarray | None, grounding: Grounding, follow: _Follow
) -> tuple[AffectedObject, np.ndarray] | str:
    """A finding of a model with its mask and its computed way, or why there is none."""
    if thing.action is Action.VANISHES:
        mask = grounding.light(thing, cast)
        if mask is None or not mask.any():
            return "it is not to be seen where it was said to be"
        frames = np.flatnonzero(mask.any(axis=(1, 2)))
        return replace(thing, frames=(int(frames[0]), int(frames[-1]) + 1)), mask
    at = grounding.thing(thing)
    if at is None:
        return "no such thing was found"
    hint = Hint(
        *at.point, at.frame, thing.action, at.mask, thing.frames[0], thing.noun, thing.why, thing.confidence
    )
    try:
        own, mask = follow(hint, cast)
    except InputError as error:
        return str(error)
    if thing.action is Action.STAYS and not at.moves:  # it gives way, and at rest is what stands behind
        changed = grounding.changes(at)
        if changed is None:
            return "nothing about it changes in the clip, so nothing need be done"
        return replace(thing, in_place=True, path=()), changed
    name = own.id if own.id.startswith("track-") else thing.id
    return replace(own, id=name, sightings=thing.sightings, applied=thing.applied), mask


def _light(found: Reasoning) -> np.ndarray | None:
    """What was found of the object's light, boolean (T, H, W)."""
    for thing in found.plan.affected:
        if thing.action is Action.VANISHES and thing.id in found.masks:
            return found.masks[thing.id]
    return None


def _directed(
    found: Reasoning, trajectories: tuple[Trajectory, ...], clip: Clip, ask: Callable[..., Reasoning]
) -> Reasoning:
    """The findings with the ways that the user gave."""
    for trajectory in trajectories:
        found = _with_path(found, trajectory, clip, ask)
    return found


def _with_path(
    found: Reasoning, trajectory: Trajectory, clip: Clip, ask: Callable[..., Reasoning]
) -> Reasoning:
    """The thing that is meant, by its name or else by where the way begins, goes that way."""
    things = found.plan.affected
    start = trajectory.path[0]
    thing = _named(trajectory.name, start, things) or _pointed_at(start, things, found, clip)
    masks = dict(found.masks)
    if thing is None:
        sx, sy = clip.scale
        hint = Hint(start.x * sx, start.y * sy, start.frame, Action.FALLS, noun=trajectory.name)
        known = ", ".join(f"{one.noun} ({one.id})" for one in things if one.action is not Action.VANISHES)
        try:
            seen = ask(hint, checked=True)
        except InputError as error:
            raise InputError(
                f"trajectory {trajectory.name!r}",
                f"must name a thing that is affected ({known or 'none was found'}), or begin on a thing",
                "begin it at the middle of the thing, in the frame in which it should leave its place",
            ) from error
        thing = next(one for one in seen.plan.affected if one.noun == trajectory.name)
        masks[thing.id] = seen.masks[thing.id]
        things = (*(one for one in things if one.id != thing.id), thing)
    if thing.action is Action.VANISHES:
        raise InputError(f"trajectory {trajectory.name!r}", "must be of a thing, and that is light")
    action = Action.GOES_ON if thing.action is Action.STAYS else thing.action
    frames = (min(thing.frames[0], start.frame), found.plan.num_frames)
    led = replace(
        thing,
        path=trajectory.path,
        why="the user gave its way",
        directed=True,
        applied=True,
        action=action,
        frames=frames,
        confidence=1.0,
    )
    things = tuple(led if one.id == thing.id else one for one in things)
    return replace(found, plan=found.plan.with_affected(things), masks=masks)


def _pointed_at(
    start: PathPoint, things: tuple[AffectedObject, ...], found: Reasoning, clip: Clip
) -> AffectedObject | None:
    """The finding that is seen where a way begins, whatever it is called."""
    sx, sy = clip.scale
    y, x = min(int(start.y * sy), clip.height - 1), min(int(start.x * sx), clip.width - 1)
    here = [
        one
        for one in things
        if one.action is not Action.VANISHES
        and one.id in found.masks
        and found.masks[one.id][start.frame, y, x]
    ]
    return next(iter(here), None)


def _named(name: str, start: PathPoint, things: tuple[AffectedObject, ...]) -> AffectedObject | None:
    """The thing that a name means; of several the one nearest to where the way begins."""
    words = set(name.lower().split())
    named = [one for one in things if one.id == name or words <= set(one.noun.lower().split())]

    def away(thing: AffectedObject) -> float:
        if thing.box is None:
            return np.inf
        x, y = thing.box.center
        return float(np.hypot(x - start.x, y - start.y))

    return min(named, key=away, default=None)


def _follow(
    session: Session, found: Reasoning, ask: Callable[..., Reasoning], grounding: Grounding, follow: _Follow
) -> Reasoning:
    """The user's plan, with the masks of its things: found under the same id, by their cells, or by pointing there."""
    clip, path = session.clip, session.request.plan
    assert path is not None
    plan = Plan.load(path, width=clip.source_width, height=clip.source_height, num_frames=len(clip))
    masks = {thing.id: found.masks[thing.id] for thing in plan.affected if thing.id in found.masks}
    things = []
    for thing in plan.affected:
        if not thing.applied or thing.id in masks:
            things.append(thing)
            continue
        if thing.sightings or thing.action is Action.VANISHES:
            told = _with_pixels(thing, _light(found), grounding, follow)
            known = {} if isinstance(told, str) else {told[0].id: told[1]}
            if not isinstance(told, str) and not thing.path:
                thing = replace(thing, path=told[0].path, frames=told[0].frames)
        else:
            known = _point_at(thing, clip, ask)
        if known:  # the scene's name for it, so that the renderer knows which moving thing is meant
            (name, mask), *_ = known.items()
            thing = replace(thing, id=name)
            masks[name] = mask
        else:
            session.warn(f"the plan's {thing.noun} was not found in frame {thing.frames[0]}: not acted on")
        things.append(thing)
    if not session.follows_edit and not any(thing.action is Action.VANISHES for thing in things):
        for light in (one for one in found.plan.applied if one.action is Action.VANISHES):
            session.warn(f"the plan does not name the {light.noun}, which was found: it stays in the picture")
    return Reasoning(plan.with_affected(tuple(things)), masks)


def _point_at(thing: AffectedObject, clip: Clip, ask: Callable[[Hint], Reasoning]) -> dict[str, np.ndarray]:
    """What the reasoner finds at the middle of a thing's box: its id and mask, the smallest first."""
    if thing.box is None:
        return {}
    box = thing.box.scaled(*clip.scale).clipped(clip.width - 1, clip.height - 1)
    x, y = box.center
    try:
        masks = ask(Hint(x, y, thing.frames[0], thing.action)).masks
    except InputError:
        return {}
    here = {name: mask for name, mask in masks.items() if mask[thing.frames[0], int(y), int(x)]}
    return dict(sorted(here.items(), key=lambda item: np.count_nonzero(item[1])))


def _seen(hint: Hint, clip: Clip, primary: np.ndarray, scene: Scene, segmenter: Segmenter) -> Hint:
    """A hint with the mask of its thing, where that does not move and so is not in the scene yet."""
    x, y = min(round(hint.x), clip.width - 1), min(round(hint.y), clip.height - 1)
    if scene.labels[hint.frame, y, x]:
        return hint
    points = [PointPrompt(hint.x, hint.y, hint.frame)]
    rows, columns = np.nonzero(primary[hint.frame])
    if rows.size:  # the object that goes is not part of it
        middle = np.hypot(rows - rows.mean(), columns - columns.mean()).argmin()
        points.append(PointPrompt(int(columns[middle]), int(rows[middle]), hint.frame, positive=False))
    try:
        mask = segmenter.segment(clip, Prompts(points=tuple(points)), lambda done, total: None)
    except InputError:
        return hint  # the reasoner says what it makes of it
    return replace(hint, mask=mask & ~primary)


def _check_thing(hint: Hint, clip: Clip, primary: np.ndarray) -> None:
    """Raise `InputError` where what a hint's point took is a piece of the wall or the floor."""
    from aftermath.segment.plausible import surface_sign

    if hint.mask is None:
        return
    sign = surface_sign(clip.frames[hint.frame], hint.mask[hint.frame], primary[hint.frame])
    if sign:
        sx, sy = clip.scale
        raise InputError(
            f"affected {hint.x / sx:.0f},{hint.y / sy:.0f}@{hint.frame}",
            f"must point at a thing, but what is there {sign}, as a wall or a floor does",
            "point at the middle of the thing, or at a frame where it stands out; a --plan may name it all the same",
        )


def to_arrays(reasoning: Reasoning) -> dict[str, np.ndarray]:
    """As plain arrays, for a file; the opposite of `from_arrays`."""
    plan = reasoning.plan
    return {
        "plan": np.array(plan.to_json()),
        "size": np.array([plan.width, plan.height, plan.num_frames]),
        **{f"mask {name}": mask for name, mask in reasoning.masks.items()},
        **({} if reasoning.belongings is None else {"belongings": reasoning.belongings}),
    }


def from_arrays(arrays: Mapping[str, np.ndarray]) -> Reasoning:
    """What `to_arrays` took apart."""
    width, height, num_frames = (int(value) for value in arrays["size"])
    plan = Plan.from_json(str(arrays["plan"]), width=width, height=height, num_frames=num_frames)
    masks = {name.removeprefix("mask "): mask for name, mask in arrays.items() if name.startswith("mask ")}
    return Reasoning(plan, masks, arrays.get("belongings"))
