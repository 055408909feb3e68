"""Something is hit, stopped or set off."""

from __future__ import annotations

import math

from aftermath.counterfactual.families.staging import (
    Staging,
    draw_bystanders,
    launched,
    moving,
    rolling,
    standing_at,
)
from aftermath.counterfactual.rooms import Parts
from aftermath.counterfactual.scene import Shape

__all__ = ["chain", "collision", "stopped"]


def collision(parts: Parts) -> Staging:
    """Something at rest is hit by one or two things that go; others stand or pass by."""
    target = standing_at(
        parts.thing(parts.one_of("ball", "ball", "cube", "can", "block")),
        parts.between(-0.25, 0.25),
        parts.between(-0.15, 0.25),
    )
    angle = parts.between(-0.5, 0.5) + (0 if parts.chance(0.5) else math.pi)
    strikers = [launched(parts, target, angle)]
    if parts.chance(0.25):
        strikers.append(launched(parts, target, angle + math.pi + parts.between(-0.6, 0.6)))
    bystanders = draw_bystanders(parts, (target, *strikers), int(parts.rng.integers(1, 4)))
    return Staging(tuple(body.name for body in strikers), (target, *strikers, *bystanders))


def stopped(parts: Parts) -> Staging:
    """Something that moves meets a heavy thing that stands in its way, and is stopped or deflected."""
    side = 1 if parts.chance(0.5) else -1
    block = standing_at(
        parts.thing(parts.one_of("cube", "block", "can"), size=(0.15, 0.22), heavy=True),
        side * parts.between(-0.1, 0.25),
        parts.between(-0.1, 0.2),
    )
    aside = parts.between(-0.1, 0.1)
    speed = parts.between(1.2, 2.0)
    start = block.at[0] - side * parts.between(0.7, 1.1)
    mover = moving(parts, start, block.at[1] + aside, side * speed, 0.0)
    bystanders = draw_bystanders(parts, (block, mover), int(parts.rng.integers(1, 4)), corridor_m=0.55)
    return Staging((block.name,), (block, mover, *bystanders))


def chain(parts: Parts) -> Staging:
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
    ball = rolling(
        standing_at(ball, first.at[0] - side * away, first.at[1]), side * parts.between(1.2, 1.8), 0.0
    )
    gone = ball.name if parts.chance(0.5) else dominoes[int(parts.rng.integers(1, count - 1))].name
    return Staging((gone,), (ball, *dominoes, *draw_bystanders(parts, (*dominoes, ball), 1, corridor_m=0.6)))
