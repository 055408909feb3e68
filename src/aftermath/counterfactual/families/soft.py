"""Soft things, pressed by what lies or falls on them, and springing back."""

from __future__ import annotations

from dataclasses import replace

from aftermath.counterfactual.families.staging import Staging, draw_bystanders, standing_at
from aftermath.counterfactual.rooms import Parts
from aftermath.counterfactual.scene import Body, Shape, Soft

__all__ = ["soft", "soft_thing"]

_DENSITY = 100.0  # kg / m^3: of foam


def soft(parts: Parts) -> Staging:
    """Something heavy lies on foam or falls on it; a light thing may lie there too, and is shaken or thrown."""
    foam = soft_thing(parts, parts.one_of("cushion", "mattress", "foam block", "soft ball"))
    foam = standing_at(foam, parts.between(-0.2, 0.2), parts.between(0.0, 0.2))
    half, (x, y, z) = foam.shapes[0].size, foam.at
    small = half[0] < 0.2
    kind = parts.one_of("can", "cube", "block") if small else parts.one_of("ball", "cube", "can", "block")
    heavy = parts.thing(kind, size=(0.09, 0.11) if small else (0.1, 0.14))
    falls = half[0] > 0.35 or parts.chance(0.5)  # a mattress hardly shows what lies on it
    mass = parts.between(1.2, 2.6) if falls else parts.between(4.0, 8.0)
    heavy = replace(heavy, mass_kg=mass, bounce=0.1, friction=0.9)
    off = 0.0 if small else parts.between(-0.35, 0.35) * half[0]
    above = parts.between(0.2, 0.45) if falls else 0.005
    heavy = replace(standing_at(heavy, x + off, y, z + half[2] + above), rest=not falls)
    bodies = [foam, heavy]
    if half[0] > 0.3 and parts.chance(0.6):
        light = replace(parts.thing(parts.one_of("cube", "block", "can"), size=(0.05, 0.07)), mass_kg=0.15)
        away = 0.7 * half[0] * (-1 if off > 0 else 1)
        bodies.append(standing_at(replace(light, bounce=0.1), x + away, y + 0.3 * half[1], z + half[2]))
    others = draw_bystanders(parts, (foam, heavy), int(parts.rng.integers(1, 3)), corridor_m=half[0] + 0.35)
    return Staging((heavy.name,), (*bodies, *others), target=(x / 2, 0.1, 0.25), distance_m=2.4)


def soft_thing(parts: Parts, kind: str) -> Body:
    """A thing of foam that stands on z = 0 at the origin."""
    words, coat = parts.coat()
    shape, taper, young = "box", 0.0, parts.between(8e3, 13e3)
    if kind == "cushion":
        half, cells = (
            (parts.between(0.24, 0.32), parts.between(0.2, 0.26), parts.between(0.08, 0.11)),
            (8, 6, 2),
        )
        taper = parts.between(0.45, 0.65)
    elif kind == "mattress":
        half, cells = (
            (parts.between(0.4, 0.5), parts.between(0.26, 0.32), parts.between(0.06, 0.09)),
            (10, 6, 2),
        )
        young *= 1.5
    elif kind == "foam block":
        side = parts.between(0.14, 0.18)
        half, cells = (side, side, round(side * parts.between(0.7, 1.0), 4)), (4, 4, 4)
    else:
        half, cells, shape = (parts.between(0.16, 0.21),) * 3, (3, 3, 3), "ellipsoid"
        young *= 0.7
    mass = round(_DENSITY * 8 * half[0] * half[1] * half[2], 3)
    return parts.named(
        f"{words} {kind}", (Shape(shape, half, coat),), (0.0, 0.0, half[2]), mass_kg=mass, friction=0.9, rolling_m=0.01,
        euler_deg=(0.0, 0.0, parts.between(-25, 25)),
        soft=Soft(round(young), cells, parts.between(0.004, 0.007), taper),
    )  # fmt: skip
