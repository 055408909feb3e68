"""Families of scenes: each a function from a seed to a `Scene` in which one kind of thing happens."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from aftermath.counterfactual.rooms import Parts
from aftermath.counterfactual.scene import Body, Scene, Shape, Tie
from aftermath.counterfactual.surfaces import Surface
from aftermath.errors import InputError

__all__ = ["FAMILIES", "Family", "make_scene"]


@dataclass(frozen=True)
class Family:
    """``build`` makes the bodies; ``interacts``: whether without the removed something else moves differently."""

    build: Callable[[Parts], Staging]
    what: str
    interacts: bool = True


@dataclass(frozen=True)
class Staging:
    """What a family decides; room, light, camera and grain are drawn after it."""

    removed: tuple[str, ...]
    bodies: tuple[Body, ...]
    ties: tuple[Tie, ...] = ()
    target: tuple[float, float, float] = (0.0, 0.1, 0.2)
    distance_m: float = 2.5
    mirror: bool = False


def make_scene(
    family: str, seed: int, attempt: int = 0, *, num_frames: int = 49, size: tuple[int, int] = (384, 224)
) -> Scene:
    """The scene of a family and a seed; ``attempt`` counts those before it that were rejected.

    Raises `InputError` for an unknown family.
    """
    if family not in FAMILIES:
        raise InputError(f"family {family}", f"must be one of {', '.join(FAMILIES)}")
    rng = np.random.default_rng([seed, zlib.crc32(family.encode()), attempt])
    parts = Parts(rng)
    staging = FAMILIES[family].build(parts)
    return Scene(
        family, seed, staging.removed, staging.bodies, parts.room(mirror=staging.mirror), parts.light(),
        parts.camera(staging.target, staging.distance_m), staging.ties, num_frames, 24, size,
        shutter=parts.between(0.25, 0.6) if parts.chance(0.6) else 0.05, grain=parts.between(0.4, 1.6),
    )  # fmt: skip


def _collision(parts: Parts) -> Staging:
    """Something at rest is hit by one or two things that go; others stand or pass by."""
    target = _at(
        parts.thing(parts.one_of("ball", "ball", "cube", "can", "block")),
        parts.between(-0.25, 0.25),
        parts.between(-0.15, 0.25),
    )
    angle = parts.between(-0.5, 0.5) + (0 if parts.chance(0.5) else math.pi)
    strikers = [_launched(parts, target, angle)]
    if parts.chance(0.25):
        strikers.append(_launched(parts, target, angle + math.pi + parts.between(-0.6, 0.6)))
    bystanders = _bystanders(parts, (target, *strikers), int(parts.rng.integers(1, 4)))
    return Staging(tuple(body.name for body in strikers), (target, *strikers, *bystanders))


def _stopped(parts: Parts) -> Staging:
    """Something that moves meets a heavy thing that stands in its way, and is stopped or deflected."""
    side = 1 if parts.chance(0.5) else -1
    block = _at(
        parts.thing(parts.one_of("cube", "block", "can"), size=(0.15, 0.22), heavy=True),
        side * parts.between(-0.1, 0.25),
        parts.between(-0.1, 0.2),
    )
    aside = parts.between(-0.1, 0.1)
    speed = parts.between(1.2, 2.0)
    start = block.at[0] - side * parts.between(0.7, 1.1)
    mover = _moving(parts, start, block.at[1] + aside, side * speed, 0.0)
    bystanders = _bystanders(parts, (block, mover), int(parts.rng.integers(1, 4)), corridor_m=0.55)
    return Staging((block.name,), (block, mover, *bystanders))


def _support(parts: Parts) -> Staging:
    """What carries others goes: a crate, the foot of a stack, a shelf, or a ramp that something rolls down."""
    return {"crate": _crate, "stack": _stack, "shelf": _shelf, "ramp": _ramp}[
        parts.one_of("crate", "stack", "shelf", "ramp")
    ](parts)


def _crate(parts: Parts) -> Staging:
    half = (parts.between(0.2, 0.32), parts.between(0.16, 0.24), parts.between(0.14, 0.26))
    x = parts.between(-0.25, 0.25)
    words, crate_coat = _wooden(parts)
    crate = parts.named(f"{words} crate", (Shape("box", half, crate_coat),), (x, 0.0, half[2]), mass_kg=8.0)
    count = int(parts.rng.integers(1, 3))
    spots = (0.0,) if count == 1 else (-0.55 * half[0], 0.55 * half[0])
    things = [
        _at(_upright(parts), x + spot + parts.between(-0.02, 0.02), parts.between(-0.03, 0.03), 2 * half[2])
        for spot in spots
    ]
    return Staging((crate.name,), (crate, *things, *_bystanders(parts, (crate,), 2)))


def _stack(parts: Parts) -> Staging:
    x, top, bodies = parts.between(-0.3, 0.3), 0.0, []
    for _ in range(int(parts.rng.integers(3, 5))):
        body = parts.thing(parts.one_of("cube", "block", "can"), size=(0.12, 0.15))
        bodies.append(
            replace(_at(body, x + parts.between(-0.02, 0.02), parts.between(-0.015, 0.015), top), bounce=0.1)
        )
        top += 2 * body.at[2]
    gone = int(parts.rng.integers(0, len(bodies) - 1))
    return Staging(
        (bodies[gone].name,),
        (*bodies, *_bystanders(parts, (bodies[0],), 2)),
        target=(x / 2, 0.1, 0.35),
        distance_m=2.7,
    )


def _shelf(parts: Parts) -> Staging:
    x, z, half = parts.between(-0.2, 0.2), parts.between(0.45, 0.75), parts.between(0.3, 0.45)
    words, coat = _wooden(parts)
    board = Shape("box", (half, 0.17, 0.02), coat)
    legs = tuple(
        Shape("box", (0.02, 0.15, z / 2 - 0.01), coat, (s * (half - 0.02), 0, -z / 2 - 0.01)) for s in (-1, 1)
    )
    shelf = parts.named(f"{words} {'table' if z < 0.6 else 'stand'}", (board, *legs), (x, 0.1, z), fixed=True)
    spots = (-0.5, 0.5) if parts.chance(0.6) else (0.0,)
    things = [_at(_upright(parts), x + s * half, 0.1, z + 0.02) for s in spots]
    return Staging(
        (shelf.name,),
        (shelf, *things, *_bystanders(parts, (shelf,), 1)),
        target=(x, 0.1, 0.4),
        distance_m=2.9,
    )


def _ramp(parts: Parts) -> Staging:
    side, tilt = (1 if parts.chance(0.5) else -1), parts.between(14, 24)
    half, angle = parts.between(0.4, 0.55), math.radians(tilt)
    words, coat = _wooden(parts)
    height = half * math.sin(angle) + 0.02
    foot = -side * 0.3
    ramp = parts.named(
        f"{words} ramp", (Shape("box", (half, 0.16, 0.02), coat),), (foot, 0.05, height), euler_deg=(0, side * tilt, 0),
        fixed=True, friction=0.7,
    )  # fmt: skip
    ball = parts.thing("ball", size=(0.08, 0.12))
    up = 0.8 * half
    r = ball.at[2] + 0.02
    at = (
        foot - side * up * math.cos(angle) + side * r * math.sin(angle), 0.05,
        height + up * math.sin(angle) + r * math.cos(angle) + 0.001,
    )  # fmt: skip
    ball = replace(ball, at=at, rest=False)
    return Staging(
        (ramp.name,), (ramp, ball, *_bystanders(parts, (ramp,), 2, corridor_m=0.5)), distance_m=2.9
    )


def _hanging(parts: Parts) -> Staging:
    """Something hangs from an arm that goes; it may swing."""
    x, high = parts.between(-0.3, 0.3), parts.between(0.95, 1.15)
    words, coat = _wooden(parts)
    side = 1 if parts.chance(0.5) else -1
    post = Shape("cylinder", (0.025, high / 2), coat, (side * 0.42, 0, -high / 2))
    foot = Shape("cylinder", (0.15, 0.015), coat, (side * 0.42, 0, 0.015 - high))
    arm = parts.named(
        f"{words} gallows", (Shape("box", (0.45, 0.025, 0.02), coat), post, foot), (x, 0.1, high), fixed=True
    )
    thing = parts.thing(parts.one_of("ball", "cube", "can"), size=(0.1, 0.14))
    half, length = thing.at[2], parts.between(0.25, 0.4)
    string = Shape(
        "cylinder", (0.006, length / 2), Surface("plain", (0.85, 0.82, 0.75)), (0, 0, half + length / 2)
    )
    swing = parts.between(-30, 30) if parts.chance(0.6) else 0.0
    reach, turn = half + length, math.radians(swing)
    hook = (x - side * 0.1, 0.1, high - 0.025)
    at = (hook[0] - reach * math.sin(turn), 0.1, hook[2] - reach * math.cos(turn))
    hung = replace(
        thing, shapes=(*thing.shapes, string), at=at, euler_deg=(0, swing, 0), rest=False, bounce=0.2
    )
    tie = Tie(hung.name, arm.name, (0.0, 0.0, reach))
    return Staging(
        (arm.name,), (arm, hung, *_bystanders(parts, (hung,), 2, corridor_m=0.6)), (tie,), (x, 0.1, 0.5), 3.0
    )


def _chain(parts: Parts) -> Staging:
    """A row of dominoes: the ball that sets it off goes, or one of the dominoes."""
    count, side = int(parts.rng.integers(5, 9)), (1 if parts.chance(0.5) else -1)
    half, bend = (0.018, parts.between(0.05, 0.08), parts.between(0.11, 0.15)), parts.between(-0.16, 0.16)
    gap = round(
        2 * half[2] * parts.between(0.6, 0.72), 4
    )  # so that nothing falls over the gap of a missing one
    heading, x, y, dominoes = 0.0, -side * gap * (count - 1) / 2, 0.1, []
    for _ in range(count):
        words, coat = parts.coat()
        euler = (0.0, 0.0, round(math.degrees(heading), 3))
        dominoes.append(
            parts.named(
                f"{words} domino",
                (Shape("box", half, coat),),
                (round(x, 4), round(y, 4), half[2]),
                euler_deg=euler,
                mass_kg=0.25,
                friction=0.35,
                bounce=0.1,
            )
        )
        x, y = x + side * gap * math.cos(heading), y + side * gap * math.sin(heading)
        heading += bend * 0.5
    first = dominoes[0]
    ball = parts.thing("ball", size=(0.08, 0.1))
    away = parts.between(0.3, 0.5)
    ball = _rolling(_at(ball, first.at[0] - side * away, first.at[1]), side * parts.between(1.2, 1.8), 0.0)
    gone = ball.name if parts.chance(0.5) else dominoes[int(parts.rng.integers(1, count - 1))].name
    return Staging((gone,), (ball, *dominoes, *_bystanders(parts, (*dominoes, ball), 1, corridor_m=0.6)))


def _container(parts: Parts) -> Staging:
    """An open box goes, that holds things or carries them along."""
    moving = parts.chance(0.4)
    half, floor, rim, wall = (
        parts.between(0.24, 0.3),
        parts.between(0.03, 0.12),
        parts.between(0.06, 0.12),
        0.015,
    )
    words, coat = _wooden(parts)
    sides = tuple(
        Shape(
            "box",
            (wall, half, rim) if s[0] else (half, wall, rim),
            coat,
            (s[0] * half, s[1] * half, floor + rim),
        )
        for s in ((-1, 0), (1, 0), (0, -1), (0, 1))
    )
    side = 1 if parts.chance(0.5) else -1
    x = -side * 0.6 if moving else parts.between(-0.25, 0.25)
    tray = parts.named(
        f"{words} {'cart' if moving else 'box'}", (Shape("box", (half, half, floor), coat), *sides), (x, 0.05, floor),
        mass_kg=8.0, friction=0.02 if moving else 0.7, bounce=0.1,
    )  # fmt: skip
    speed = side * parts.between(0.5, 0.9) if moving else 0.0
    tray = replace(tray, velocity=(speed, 0.0, 0.0))
    count = int(parts.rng.integers(1, 4))
    things = []
    for i in range(count):
        body = parts.thing(parts.one_of("ball", "cube", "can"), size=(0.07, 0.09))
        spot = 2 * math.pi * i / count + 0.4
        reach = 0.11 if count > 1 else 0.0
        body = _at(body, x + reach * math.cos(spot), 0.05 + reach * math.sin(spot), 2 * floor)
        things.append(replace(body, velocity=(speed, 0.0, 0.0)))
    return Staging(
        (tray.name,), (tray, *things, *_bystanders(parts, (tray,), 1, corridor_m=0.6)), distance_m=2.7
    )


def _light(parts: Parts) -> Staging:
    """It touches nothing, but is seen in the floor and darkens what it passes."""
    kind = parts.one_of("ball", "cube", "can", "vase")
    side = 1 if parts.chance(0.5) else -1
    body = parts.thing(kind, size=(0.13, 0.2))
    body = replace(
        _at(body, -side * parts.between(0.5, 0.9), parts.between(-0.35, -0.2)), friction=0.0, rolling_m=0.0
    )
    body = _rolling(body, side * parts.between(0.5, 0.9), 0.0) if parts.chance(0.75) else _at(body, 0.0, -0.2)
    others = [
        _at(parts.thing(), side * spot, parts.between(0.4, 0.6))
        for spot in (-0.55, 0.0, 0.6)[: int(parts.rng.integers(1, 4))]
    ]
    return Staging((body.name,), (body, *others), mirror=parts.chance(0.6))


def _control(parts: Parts) -> Staging:
    """Things move, each by itself; one of them goes, and nothing else changes."""
    side = 1 if parts.chance(0.5) else -1
    one = _moving(
        parts,
        -side * parts.between(0.6, 1.0),
        parts.between(-0.5, -0.35),
        side * parts.between(0.6, 1.0),
        0.0,
    )
    other = _moving(
        parts, side * parts.between(0.6, 1.0), parts.between(0.45, 0.65), -side * parts.between(0.5, 0.9), 0.0
    )
    rest = _at(parts.thing(), parts.between(-0.4, 0.4), parts.between(0.0, 0.1))
    return Staging((one.name,), (one, other, rest))


FAMILIES: dict[str, Family] = {
    "collision": Family(_collision, "something at rest is hit"),
    "stopped": Family(_stopped, "something that moves is stopped or deflected"),
    "support": Family(_support, "crates, stacks, shelves and ramps carry things"),
    "hanging": Family(_hanging, "something hangs and swings"),
    "chain": Family(_chain, "dominoes"),
    "container": Family(_container, "an open box holds things, or carries them along"),
    "light": Family(_light, "shadow and reflection only", interacts=False),
    "control": Family(_control, "nothing interacts", interacts=False),
}


def _at(body: Body, x: float, y: float, z: float = 0.0) -> Body:
    """The same thing standing on the height ``z``."""
    return replace(body, at=(round(x, 4), round(y, 4), round(body.at[2] + z, 4)))


def _rolling(body: Body, vx: float, vy: float) -> Body:
    """Set off along the floor; what is round rolls already, what is not slides."""
    radius = body.at[2]
    spin = (
        (-vy / radius, vx / radius, 0.0)
        if "sphere" in {shape.kind for shape in body.shapes}
        else (0.0, 0.0, 0.0)
    )
    # a free joint's spin is told in the body's own axes, so a thing that spins starts unturned
    turn = (0.0, 0.0, 0.0) if any(spin) else body.euler_deg
    return replace(body, velocity=(vx, vy, 0.0), spin=spin, euler_deg=turn)


def _moving(parts: Parts, x: float, y: float, vx: float, vy: float) -> Body:
    """A ball that rolls, or something with feet of felt that slides."""
    if parts.chance(0.65):
        return _rolling(_at(parts.thing("ball"), x, y), vx, vy)
    body = _at(parts.thing(parts.one_of("cube", "block")), x, y)
    return _rolling(replace(body, friction=parts.between(0.0, 0.04)), vx, vy)


def _launched(parts: Parts, target: Body, angle: float) -> Body:
    """A thing on its way to ``target``, from the direction ``angle``."""
    speed, away = parts.between(1.3, 2.3), parts.between(0.6, 1.1)
    x, y = target.at[0] - away * math.cos(angle), target.at[1] - away * math.sin(angle)
    return _moving(parts, x, y, speed * math.cos(angle), speed * math.sin(angle))


def _upright(parts: Parts) -> Body:
    return parts.thing(parts.one_of("vase", "bottle", "can", "cube", "ball"), size=(0.08, 0.12))


def _wooden(parts: Parts) -> tuple[str, Surface]:
    if parts.chance(0.4):
        return parts.coat()
    light = parts.chance(0.5)
    ground, grain = (
        ((0.74, 0.6, 0.42), (0.55, 0.4, 0.25)) if light else ((0.42, 0.28, 0.18), (0.25, 0.16, 0.1))
    )
    return "light wooden" if light else "dark wooden", Surface("wood", ground, grain, 1.0, 0.1)


def _bystanders(parts: Parts, busy: tuple[Body, ...], count: int, corridor_m: float = 0.4) -> list[Body]:
    """Things that stand clear of the ways of ``busy``; fewer where there is no room."""
    found: list[Body] = []
    for _ in range(12 * count):
        if len(found) == count:
            break
        x, y = parts.between(-1.2, 1.2), parts.between(-0.4, 1.0)
        clear = all(_distance(body, x, y) > corridor_m for body in busy)
        if clear and all(math.hypot(x - body.at[0], y - body.at[1]) > 0.4 for body in found):
            found.append(_at(parts.thing(), x, y))
    return found


def _distance(body: Body, x: float, y: float) -> float:
    """From a place on the floor to where a body is within 2 seconds, undisturbed."""
    way = np.array(body.velocity[:2]) * 2.0
    offset = np.array([x, y]) - body.at[:2]
    length = float(way @ way)
    along = float(np.clip(offset @ way / length, 0, 1)) if length else 0.0
    return float(np.linalg.norm(offset - along * way))
