"""Something is carried, holds or hangs."""

from __future__ import annotations

import math
from dataclasses import replace

from aftermath.counterfactual.families.staging import Staging, draw_bystanders, standing_at, upright, wooden
from aftermath.counterfactual.rooms import Parts
from aftermath.counterfactual.scene import Shape, Tie
from aftermath.counterfactual.surfaces import Surface

__all__ = ["container", "hanging", "support"]


def support(parts: Parts) -> Staging:
    """What carries others goes: a crate, the foot of a stack, a shelf, or a ramp that something rolls down."""
    return {"crate": _crate, "stack": _stack, "shelf": _shelf, "ramp": _ramp}[
        parts.one_of("crate", "stack", "shelf", "ramp")
    ](parts)


def _crate(parts: Parts) -> Staging:
    half = (parts.between(0.2, 0.32), parts.between(0.16, 0.24), parts.between(0.14, 0.26))
    x = parts.between(-0.25, 0.25)
    words, crate_coat = wooden(parts)
    crate = parts.named(f"{words} crate", (Shape("box", half, crate_coat),), (x, 0.0, half[2]), mass_kg=8.0)
    count = int(parts.rng.integers(1, 3))
    spots = (0.0,) if count == 1 else (-0.55 * half[0], 0.55 * half[0])
    things = [
        standing_at(
            upright(parts), x + spot + parts.between(-0.02, 0.02), parts.between(-0.03, 0.03), 2 * half[2]
        )
        for spot in spots
    ]
    return Staging((crate.name,), (crate, *things, *draw_bystanders(parts, (crate,), 2)))


def _stack(parts: Parts) -> Staging:
    x, top, bodies = parts.between(-0.3, 0.3), 0.0, []
    for _ in range(int(parts.rng.integers(3, 5))):
        body = parts.thing(parts.one_of("cube", "block", "can"), size=(0.12, 0.15))
        bodies.append(
            replace(
                standing_at(body, x + parts.between(-0.02, 0.02), parts.between(-0.015, 0.015), top),
                bounce=0.1,
            )
        )
        top += 2 * body.at[2]
    gone = int(parts.rng.integers(0, len(bodies) - 1))
    return Staging(
        (bodies[gone].name,),
        (*bodies, *draw_bystanders(parts, (bodies[0],), 2)),
        target=(x / 2, 0.1, 0.35),
        distance_m=2.7,
    )


def _shelf(parts: Parts) -> Staging:
    x, z, half = parts.between(-0.2, 0.2), parts.between(0.45, 0.75), parts.between(0.3, 0.45)
    words, coat = wooden(parts)
    board = Shape("box", (half, 0.17, 0.02), coat)
    legs = tuple(
        Shape("box", (0.02, 0.15, z / 2 - 0.01), coat, (s * (half - 0.02), 0, -z / 2 - 0.01)) for s in (-1, 1)
    )
    shelf = parts.named(f"{words} {'table' if z < 0.6 else 'stand'}", (board, *legs), (x, 0.1, z), fixed=True)
    spots = (-0.5, 0.5) if parts.chance(0.6) else (0.0,)
    things = [standing_at(upright(parts), x + s * half, 0.1, z + 0.02) for s in spots]
    return Staging(
        (shelf.name,),
        (shelf, *things, *draw_bystanders(parts, (shelf,), 1)),
        target=(x, 0.1, 0.4),
        distance_m=2.9,
    )


def _ramp(parts: Parts) -> Staging:
    side, tilt = (1 if parts.chance(0.5) else -1), parts.between(14, 24)
    half, angle = parts.between(0.4, 0.55), math.radians(tilt)
    words, coat = wooden(parts)
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
        (ramp.name,), (ramp, ball, *draw_bystanders(parts, (ramp,), 2, corridor_m=0.5)), distance_m=2.9
    )


def hanging(parts: Parts) -> Staging:
    """Something hangs from an arm that goes; it may swing."""
    x, high = parts.between(-0.3, 0.3), parts.between(0.95, 1.15)
    words, coat = wooden(parts)
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
        (arm.name,),
        (arm, hung, *draw_bystanders(parts, (hung,), 2, corridor_m=0.6)),
        (tie,),
        target=(x, 0.1, 0.5),
        distance_m=3.0,
    )


def container(parts: Parts) -> Staging:
    """An open box goes, that holds things or carries them along."""
    moving = parts.chance(0.4)
    half, floor, rim, wall = (
        parts.between(0.24, 0.3),
        parts.between(0.03, 0.12),
        parts.between(0.06, 0.12),
        0.015,
    )
    words, coat = wooden(parts)
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
        body = standing_at(body, x + reach * math.cos(spot), 0.05 + reach * math.sin(spot), 2 * floor)
        things.append(replace(body, velocity=(speed, 0.0, 0.0)))
    return Staging(
        (tray.name,), (tray, *things, *draw_bystanders(parts, (tray,), 1, corridor_m=0.6)), distance_m=2.7
    )
