"""Bodies of actors: arms of a robot or of a person-like figure, on a stand, on wheels, or reaching into the picture."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from aftermath.counterfactual.arm import link_poses
from aftermath.counterfactual.rooms import Parts
from aftermath.counterfactual.scene import Actor, Body, Key, Shape, Vector
from aftermath.counterfactual.surfaces import Surface

__all__ = ["Task", "build_arm", "half_sides", "keep_clear"]

_MOUNTS = ("side", "side", "above", "front", "stand", "cart", "figure")
_DARK = Surface("plain", (0.16, 0.16, 0.18), shine=0.4)
_SKINS = ((0.87, 0.68, 0.55), (0.72, 0.5, 0.36), (0.5, 0.33, 0.22), (0.93, 0.77, 0.66))


@dataclass(frozen=True)
class Task:
    """What a hand does: where its grip is when, where it points, how wide its fingers are apart and how far the grip
    is from the palm; ``touches``: whether it is solid."""

    keys: tuple[Key, ...]
    aim: Vector
    half_grip_m: float
    reach_m: float
    touches: bool = False


def build_arm(parts: Parts, task: Task) -> tuple[tuple[Body, ...], Actor]:
    """An arm that can do the task, of any kind and wherever it may come from."""
    grips = np.array([key.grip for key in task.keys])
    mount = parts.one_of(*_MOUNTS)
    shoulder, bend = _shoulder(parts, mount, task.aim, grips)
    human = mount == "figure" or (mount not in ("stand", "cart") and parts.chance(0.5))
    hand_m = round(task.reach_m + parts.between(0.07, 0.1), 4)
    keys = _goes_along(task.keys, parts.between(0.75, 1)) if mount in ("cart", "figure") else task.keys
    wrists = grips - np.array(task.aim) * hand_m - [key.gone for key in keys]
    reach = float(np.linalg.norm(wrists - shoulder, axis=1).max()) * parts.between(1.06, 1.3)
    count = 2 if human or parts.chance(0.5) else 3
    shares = [parts.between(0.85, 1.15) for _ in range(count)]
    lengths = [round(reach * share / sum(shares), 4) for share in shares]
    thick = parts.between(0.045, 0.06) if human else parts.between(0.035, 0.055)
    owner, dress, hand_surface = _looks(parts, human)
    words = ("upper arm", "forearm") if count == 2 else ("upper arm", "middle arm", "forearm")
    names = (*words, "hand")
    shapes = [
        _link(length, thick * (1 - 0.18 * i), dress, human, bare=human and i > 0 and hand_surface)
        for i, length in enumerate(lengths)
    ]
    shapes.append(_hand(hand_m, task, hand_surface, thick, human))
    links = [
        parts.named(
            f"{owner} {name}",
            shape,
            (0.0, 0.0, 0.0),
            fixed=True,
            solid=task.touches and name == "hand",
            friction=0.5,
            bounce=0.05,
        )
        for name, shape in zip(names, shapes, strict=True)
    ]
    mounts = _mount(parts, mount, owner, shoulder, dress, hand_surface, thick)
    actor = Actor(
        tuple(link.name for link in links),
        (*lengths, hand_m),
        shoulder,
        task.aim,
        bend,
        keys,
        tuple(body.name for body in mounts),
    )
    return (*links, *mounts), actor


def half_sides(body: Body) -> tuple[float, float, float]:
    """Of the box round a body as it stands unturned, about its origin."""
    ends = []
    for shape in body.shapes:
        size = shape.size
        if shape.kind == "sphere":
            half = np.full(3, size[0])
        elif shape.kind in ("cylinder", "capsule"):
            half = np.array([size[0], size[0], size[1] + (size[0] if shape.kind == "capsule" else 0)])
        else:
            half = np.array(size)
        ends.append(np.abs(shape.at) + half)
    x, y, z = np.max(ends, axis=0)
    return round(float(x), 4), round(float(y), 4), round(float(z), 4)


def keep_clear(bodies: list[Body], actor: Actor, last_s: float = 2.1) -> list[Body]:
    """Those that no part of the arm comes near, low over the floor."""
    times = np.linspace(0, last_s, 16)
    poses = link_poses(actor, times)
    ends = np.concatenate(
        [poses[:, :, :3], np.array([key.grip for key in actor.keys])[None].repeat(16, 0)], 1
    )
    spots = [
        ends[:, i] + share * (ends[:, i + 1] - ends[:, i])
        for i in range(len(actor.links))
        for share in (0, 0.3, 0.6, 0.9)
    ]
    low = np.concatenate([spot[spot[:, 2] < 0.5] for spot in spots] + [np.full((1, 3), 99.0)])
    return [body for body in bodies if np.hypot(*(low[:, :2] - body.at[:2]).T).min() > 0.32]


def _shoulder(parts: Parts, mount: str, aim: Vector, grips: np.ndarray) -> tuple[Vector, Vector]:
    """Where the arm begins, and where its elbow points."""
    x, y, _ = grips[0] if mount in ("cart", "figure") else grips.mean(axis=0)
    side = -math.copysign(1, aim[0]) if abs(aim[0]) > 0.5 else (1 if parts.chance(0.5) else -1)
    if mount == "side":
        at = (side * parts.between(1.75, 2.0), y + parts.between(0, 0.4), parts.between(0.7, 1.1))
        bend = (0.0, 0.3, 1.0)
    elif mount == "above":
        at = (x + side * parts.between(0.1, 0.5), y + parts.between(0.1, 0.4), parts.between(1.7, 2.0))
        bend = (float(side), 0.5, 0.0)
    elif mount == "front":
        at = (x + side * parts.between(0.5, 0.9), -1.6, parts.between(0.9, 1.2))
        bend = (float(side), 0.0, 0.6)
    else:
        low = (0.82, 0.95) if mount == "figure" else (0.3, 0.5)
        away = parts.between(0.25, 0.5) if mount == "figure" else parts.between(0.45, 0.8)
        at = (x + side * away, y + parts.between(0.3, 0.5), parts.between(*low))
        bend = (float(side), -0.2, -0.6) if mount == "figure" else (float(side), 0.2, 0.9)
    length = math.hypot(*bend)
    x, y, z = (round(float(v), 4) for v in at)
    a, b, c = (round(v / length, 6) for v in bend)
    return (x, y, z), (a, b, c)


def _goes_along(keys: tuple[Key, ...], share: float) -> tuple[Key, ...]:
    """The whole actor goes with its hand, over the floor."""
    first = keys[0].grip
    return tuple(
        replace(
            key,
            gone=(
                round(share * (key.grip[0] - first[0]), 4),
                round(share * (key.grip[1] - first[1]), 4),
                0.0,
            ),
        )
        for key in keys
    )


def _looks(parts: Parts, human: bool) -> tuple[str, Surface, Surface]:
    """Whose arm it is, what it wears, and what its hand is of."""
    words, coat = parts.coat()
    if human:
        skin = _SKINS[int(parts.rng.integers(len(_SKINS)))]
        return f"{words} sleeved", coat, Surface("plain", skin, shine=0.05)
    grey = parts.between(0.35, 0.85)
    metal = Surface("plain", (grey, grey, round(grey * 1.03, 4)), shine=0.6)
    dress = coat if parts.chance(0.6) else metal
    return f"{words if dress is coat else 'metal'} robot", dress, metal if parts.chance(0.5) else _DARK


def _link(
    length: float, thick: float, dress: Surface, human: bool, bare: Surface | bool
) -> tuple[Shape, ...]:
    thick = round(thick, 4)
    middle = (0.0, 0.0, round(length / 2, 4))
    if human:
        surface = dress if isinstance(bare, bool) else bare
        sleeve = Shape("capsule", (thick, round(length / 2, 4)), dress, middle)
        cuff = Shape("capsule", (round(0.85 * thick, 4), 0.05), surface, (0.0, 0.0, round(length, 4)))
        return sleeve, cuff
    joint = Shape("sphere", (round(1.35 * thick, 4),), _DARK)
    half = round(length / 2, 4)
    bar = (
        Shape("box", (thick, round(0.8 * thick, 4), half), dress, middle)
        if thick > 0.045
        else Shape("cylinder", (thick, half), dress, middle)
    )
    return bar, joint


def _hand(hand_m: float, task: Task, surface: Surface, thick: float, human: bool) -> tuple[Shape, ...]:
    """A palm, and two fingers or five about what is held; a fist or a plate where nothing is."""
    palm_m = round(hand_m - task.reach_m, 4)
    if task.touches:
        if human:
            wrist = Shape(
                "capsule",
                (round(0.7 * thick, 4), round(hand_m / 2, 4)),
                surface,
                (0, 0, round(hand_m / 2, 4)),
            )
            return wrist, Shape("ellipsoid", (0.055, 0.05, 0.05), surface, (0, 0, round(hand_m - 0.05, 4)))
        rod = Shape(
            "cylinder", (round(0.7 * thick, 4), round(hand_m / 2, 4)), _DARK, (0, 0, round(hand_m / 2, 4))
        )
        return rod, Shape("box", (0.06, 0.06, 0.012), surface, (0, 0, round(hand_m - 0.012, 4)))
    wide, long = round(task.half_grip_m + 0.012, 4), round(0.6 * task.reach_m + 0.02, 4)
    along = round(palm_m + long - 0.02, 4)
    if not human:
        palm = Shape("box", (round(wide + 0.02, 4), 0.035, 0.02), _DARK, (0, 0, round(palm_m - 0.02, 4)))
        neck = Shape("cylinder", (0.03, round(palm_m / 2, 4)), surface, (0, 0, round(palm_m / 2, 4)))
        fingers = [Shape("box", (0.011, 0.028, long), surface, (s * wide, 0, along)) for s in (-1, 1)]
        return neck, palm, *fingers
    wrist = Shape(
        "capsule", (round(0.6 * thick, 4), round(palm_m / 2, 4)), surface, (0, 0, round(palm_m / 2, 4))
    )
    palm = Shape("ellipsoid", (round(wide + 0.015, 4), 0.05, 0.03), surface, (0, 0, round(palm_m - 0.02, 4)))
    fingers = [
        Shape("capsule", (0.014, long), surface, (wide, round((i - 1.5) * 0.026, 4), along)) for i in range(4)
    ]
    thumb = Shape("capsule", (0.016, round(0.8 * long, 4)), surface, (-wide, 0.0, round(0.85 * along, 4)))
    return wrist, palm, *fingers, thumb


def _mount(
    parts: Parts, mount: str, owner: str, shoulder: Vector, dress: Surface, other: Surface, thick: float
) -> list[Body]:
    """What the arm is fixed to, where that is in the picture."""
    z = shoulder[2]
    if mount == "stand":
        column = Shape("cylinder", (round(1.3 * thick, 4), round(z / 2, 4)), dress, (0, 0, round(-z / 2, 4)))
        foot = Shape("cylinder", (parts.between(0.13, 0.2), 0.03), _DARK, (0, 0, round(0.03 - z, 4)))
        return [parts.named(f"{owner} stand", (column, foot), shoulder, fixed=True, solid=False)]
    if mount == "cart":
        column = Shape("box", (0.05, 0.05, round(z / 2 - 0.06, 4)), dress, (0, 0, round(0.06 - z / 2, 4)))
        bed = Shape("box", (0.2, 0.14, 0.04), dress, (0, 0, round(0.1 - z, 4)))
        wheels = [
            Shape("cylinder", (0.06, 0.02), _DARK, (a * 0.13, b * 0.15, round(0.06 - z, 4)), (90, 0, 0))
            for a in (-1, 1) for b in (-1, 1)
        ]  # fmt: skip
        return [parts.named(f"{owner} cart", (column, bed, *wheels), shoulder, fixed=True, solid=False)]
    if mount != "figure":
        return []
    trousers = parts.coat()[1]
    chest = Shape("ellipsoid", (0.17, 0.12, 0.3), dress, (0, 0.05, -0.16))
    head = Shape("ellipsoid", (0.09, 0.1, 0.12), other, (0, 0.03, 0.24))
    leg_m = round((z - 0.38) / 2, 4)
    legs = [
        Shape("capsule", (0.07, leg_m), trousers, (s * 0.08, 0.05, round(leg_m + 0.07 - z, 4)))
        for s in (-1, 1)
    ]
    return [parts.named(f"{owner} figure", (chest, head, *legs), shoulder, fixed=True, solid=False)]
