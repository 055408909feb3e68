"""What is seen without the removed, in words, from what the simulator knows; and what became of each thing."""

from __future__ import annotations

import numpy as np

from aftermath.core import Action
from aftermath.counterfactual.scene import Body, Move, Scene
from aftermath.counterfactual.simulate import Motion, moved_apart_m

__all__ = ["actions", "caption"]

_STILL_M = 0.02
_SPRING_M = 0.003  # by which the middle of pressed foam rises
_DROP_M = 0.05
_APART_M = 0.03
_TIPPED_RAD = 0.7
_MANY = 4  # of one kind doing one thing are told together


def actions(scene: Scene, real: Motion, without: Motion) -> dict[str, Action | None]:
    """What becomes of each body that stays once the removed are gone; None: nothing."""
    apart = moved_apart_m(scene, real, without)
    return {body.name: _action(scene, body, real, without, apart[body.name]) for body in _staying(scene)}


def caption(scene: Scene, without: Motion, visible: set[str]) -> str:
    """The scene after removal in a few sentences; ``visible`` names the bodies that are in the picture."""
    told: dict[str, list[Body]] = {}
    for body in _staying(scene):
        if body.name in visible:
            told.setdefault(_doing(scene, body, without), []).append(body)
    parts = [f"{_subject(bodies)} {_for_number(verb, len(bodies))}" for verb, bodies in told.items()]
    place = f"{scene.room.place}."
    happening = f" {_sentence('; '.join(parts))}." if parts else " Nothing moves."
    return place + happening + _camera_words(scene)


def _staying(scene: Scene) -> list[Body]:
    return [body for body in scene.bodies if body.name not in scene.removed]


def _action(scene: Scene, body: Body, real: Motion, without: Motion, apart: float) -> Action | None:
    if apart < _APART_M:
        return None
    row = scene.bodies.index(body)
    if body.soft and _rise(without, row) > _SPRING_M:
        return Action.GOES_ON
    if _travel(without, row) < _STILL_M and _tilt(without, row) < _TIPPED_RAD:
        return Action.STAYS
    lower = (real.poses[:, :, row, 2] - without.poses[:, :, row, 2]).max()
    return Action.FALLS if lower > _DROP_M else Action.GOES_ON


def _travel(motion: Motion, row: int) -> float:
    places = motion.poses[:, :, row, :3]
    return float(np.linalg.norm(places - places[0, 0], axis=-1).max())


def _drop(motion: Motion, row: int) -> float:
    heights = motion.poses[:, :, row, 2]
    return float(heights[0, 0] - heights.min())


def _rise(motion: Motion, row: int) -> float:
    return float(motion.poses[-1, 0, row, 2] - motion.poses[0, 0, row, 2])


def _tilt(motion: Motion, row: int) -> float:
    """The angle between first and last upright axis, radians."""
    up = [_up(motion.poses[frame, 0, row, 3:]) for frame in (0, -1)]
    return float(np.arccos(np.clip(up[0] @ up[1], -1, 1)))


def _up(quat: np.ndarray) -> np.ndarray:
    w, x, y, z = quat
    return np.array([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)])


def _doing(scene: Scene, body: Body, motion: Motion) -> str:
    row = scene.bodies.index(body)
    if body.soft and _rise(motion, row) > _SPRING_M:
        return "springs back"
    tied = {tie.hung for tie in scene.ties if not {tie.holder, tie.hung} & set(scene.removed)}
    if _travel(motion, row) < _STILL_M and _tilt(motion, row) < _TIPPED_RAD:
        return "rests"
    if body.name in tied:
        return "swings"
    ball = body.name.rstrip(" 0123456789").endswith("ball")
    if not ball and _tilt(motion, row) > _TIPPED_RAD and _drop(motion, row) < 0.25:
        return "tips over"
    if _drop(motion, row) > _DROP_M:
        return "falls"
    side = motion.poses[-1, 0, row, 0] - motion.poses[0, 0, row, 0]
    where = f" to the {'right' if side > 0 else 'left'}" if abs(side) > _DROP_M else ""
    return f"{'rolls' if ball else 'slides'}{where}"


def _subject(bodies: list[Body]) -> str:
    """The things by name, those of which there are many by their number."""
    kinds: dict[str, list[str]] = {}
    for body in bodies:
        words = body.name.rstrip(" 0123456789")
        kinds.setdefault(words.split()[-1], []).append(f"{'an' if words[0] in 'aeiou' else 'a'} {words}")
    told = [
        part
        for noun, names in kinds.items()
        for part in ([f"{len(names)} {_plural(noun)}"] if len(names) >= _MANY else names)
    ]
    return told[0] if len(told) == 1 else f"{', '.join(told[:-1])} and {told[-1]}"


def _plural(noun: str) -> str:
    return f"{noun}es" if noun.endswith(("o", "x")) else f"{noun}s"


def _for_number(verb: str, count: int) -> str:
    first, _, rest = verb.partition(" ")
    return verb if count == 1 else f"{first.removesuffix('s')} {rest}".strip()


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _camera_words(scene: Scene) -> str:
    words = {
        Move.PAN: " The camera pans.",
        Move.ZOOM: " The camera zooms.",
        Move.ORBIT: " The camera moves around the scene.",
        Move.HAND_HELD: " The camera is held by hand.",
    }
    return words.get(scene.camera.move, "")
