"""Nothing else moves differently."""

from __future__ import annotations

from dataclasses import replace

from aftermath.counterfactual.families.staging import Staging, moving, rolling, standing_at
from aftermath.counterfactual.rooms import Parts

__all__ = ["control", "light"]


def light(parts: Parts) -> Staging:
    """It touches nothing, but is seen in the floor and darkens what it passes."""
    kind = parts.one_of("ball", "cube", "can", "vase")
    side = 1 if parts.chance(0.5) else -1
    body = parts.thing(kind, size=(0.13, 0.2))
    body = replace(
        standing_at(body, -side * parts.between(0.5, 0.9), parts.between(-0.35, -0.2)),
        friction=0.0,
        rolling_m=0.0,
    )
    body = (
        rolling(body, side * parts.between(0.5, 0.9), 0.0)
        if parts.chance(0.75)
        else standing_at(body, 0.0, -0.2)
    )
    others = [
        standing_at(parts.thing(), side * spot, parts.between(0.4, 0.6))
        for spot in (-0.55, 0.0, 0.6)[: int(parts.rng.integers(1, 4))]
    ]
    return Staging((body.name,), (body, *others), mirror=parts.chance(0.6))


def control(parts: Parts) -> Staging:
    """Things move, each by itself; one of them goes, and nothing else changes."""
    side = 1 if parts.chance(0.5) else -1
    one = moving(
        parts,
        -side * parts.between(0.6, 1.0),
        parts.between(-0.5, -0.35),
        side * parts.between(0.6, 1.0),
        0.0,
    )
    other = moving(
        parts, side * parts.between(0.6, 1.0), parts.between(0.45, 0.65), -side * parts.between(0.5, 0.9), 0.0
    )
    rest = standing_at(parts.thing(), parts.between(-0.4, 0.4), parts.between(0.0, 0.1))
    return Staging((one.name,), (one, other, rest))
