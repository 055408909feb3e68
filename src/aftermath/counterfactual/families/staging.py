"""What a family decides about a scene, and what several families stage alike."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from aftermath.counterfactual.rooms import Parts
from aftermath.counterfactual.scene import Actor, Body, Tie
from aftermath.counterfactual.surfaces import Surface

__all__ = ["Staging", "draw_bystanders", "launched", "moving", "rolling", "standing_at", "upright", "wooden"]


@dataclass(frozen=True)
class Staging:
    """What a family decides; room, light, camera and grain are drawn after it. ``on_table``: a table will do."""

    removed: tuple[str, ...]
    bodies: tuple[Body, ...]
    ties: tuple[Tie, ...] = ()
    actors: tuple[Actor, ...] = ()
    target: tuple[float, float, float] = (0.0, 0.1, 0.2)
    distance_m: float = 2.5
    mirror: bool = False
    on_table: bool = True


def standing_at(body: Body, x: float, y: float, z: float = 0.0) -> Body:
    """The same thing standing on the height ``z``."""
    return replace(body, at=(round(x, 4), round(y, 4), round(body.at[2] + z, 4)))


def rolling(body: Body, vx: float, vy: float) -> Body:
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


def moving(parts: Parts, x: float, y: float, vx: float, vy: float) -> Body:
    """A ball that rolls, or something with feet of felt that slides."""
    if parts.chance(0.65):
        return rolling(standing_at(parts.thing("ball"), x, y), vx, vy)
    body = standing_at(parts.thing(parts.one_of("cube", "block")), x, y)
    return rolling(replace(body, friction=parts.between(0.0, 0.04)), vx, vy)


def launched(parts: Parts, target: Body, angle: float) -> Body:
    """A thing on its way to ``target``, from the direction ``angle``."""
    speed, away = parts.between(1.3, 2.3), parts.between(0.6, 1.1)
    x, y = target.at[0] - away * math.cos(angle), target.at[1] - away * math.sin(angle)
    return moving(parts, x, y, speed * math.cos(angle), speed * math.sin(angle))


def upright(parts: Parts) -> Body:
    """Something small that stands."""
    return parts.thing(parts.one_of("vase", "bottle", "can", "cube", "ball"), size=(0.08, 0.12))


def wooden(parts: Parts) -> tuple[str, Surface]:
    """Wood, or a coat of paint, and the words for it."""
    if parts.chance(0.4):
        return parts.coat()
    light = parts.chance(0.5)
    ground, grain = (
        ((0.74, 0.6, 0.42), (0.55, 0.4, 0.25)) if light else ((0.42, 0.28, 0.18), (0.25, 0.16, 0.1))
    )
    return "light wooden" if light else "dark wooden", Surface("wood", ground, grain, 1.0, 0.1)


def draw_bystanders(parts: Parts, busy: tuple[Body, ...], count: int, corridor_m: float = 0.4) -> list[Body]:
    """Things that stand clear of the ways of ``busy``; fewer where there is no room."""
    found: list[Body] = []
    for _ in range(12 * count):
        if len(found) == count:
            break
        x, y = parts.between(-1.2, 1.2), parts.between(-0.4, 1.0)
        clear = all(_distance(body, x, y) > corridor_m for body in busy)
        if clear and all(math.hypot(x - body.at[0], y - body.at[1]) > 0.4 for body in found):
            found.append(standing_at(parts.thing(), x, y))
    return found


def _distance(body: Body, x: float, y: float) -> float:
    """From a place on the floor to where a body is within 2 seconds, undisturbed."""
    way = np.array(body.velocity[:2]) * 2.0
    offset = np.array([x, y]) - body.at[:2]
    length = float(way @ way)
    along = float(np.clip(offset @ way / length, 0, 1)) if length else 0.0
    return float(np.linalg.norm(offset - along * way))
