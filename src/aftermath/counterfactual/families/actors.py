"""An arm holds, carries, drops, picks up, pushes and presses things: what people do in captured data."""

from __future__ import annotations

import math
from dataclasses import replace

from aftermath.counterfactual.families.arms import Task, build_arm, half_sides, keep_clear
from aftermath.counterfactual.families.soft import soft_thing
from aftermath.counterfactual.families.staging import Staging, draw_bystanders, standing_at, wooden
from aftermath.counterfactual.rooms import Parts
from aftermath.counterfactual.scene import Body, Key, Shape, Tie, Vector

__all__ = ["actor"]

_DOWN: Vector = (0.0, 0.0, -1.0)


def actor(parts: Parts) -> Staging:
    """Without the arm, what it holds falls, and what it moves stays."""
    return {
        "hold": _hold, "carry": _carry, "drop": _drop, "pick": _pick, "push": _push, "press": _press,
        "squeeze": _squeeze,
    }[parts.one_of("hold", "carry", "drop", "pick", "push", "push", "press", "squeeze")](parts)  # fmt: skip


def _hold(parts: Parts) -> Staging:
    """It holds something still, or nearly so."""
    at = (parts.between(-0.3, 0.3), parts.between(0.0, 0.25), parts.between(0.4, 0.75))
    keys = [Key(0.0, at)]
    if parts.chance(0.4):
        keys.append(Key(parts.between(1.2, 2.2), _beside(parts, at, 0.08), parts.between(-40, 40)))
    return _held(parts, tuple(keys), None)


def _carry(parts: Parts) -> Staging:
    return _held(parts, _way(parts), None)


def _drop(parts: Parts) -> Staging:
    """It lets go on the way or at its end."""
    keys = _way(parts)
    return _held(parts, keys, parts.between(0.5, 1.0) * min(keys[1].time_s, 1.3))


def _way(parts: Parts) -> tuple[Key, ...]:
    """Across the picture, and after a stop sometimes back."""
    side, y, z = (1 if parts.chance(0.5) else -1), parts.between(0.0, 0.25), parts.between(0.4, 0.75)
    start = (-side * parts.between(0.3, 0.6), y, z)
    end = (side * parts.between(0.1, 0.6), round(y + parts.between(-0.1, 0.1), 4), parts.between(0.4, 0.75))
    begin, arrive = parts.between(0.0, 0.25), parts.between(1.0, 1.8)
    keys = [Key(begin, start), Key(arrive, end, parts.between(-60, 60) if parts.chance(0.3) else 0.0)]
    if parts.chance(0.3):
        keys.append(replace(keys[1], time_s=arrive + 0.6, grip=_beside(parts, end, 0.2)))
    return tuple(keys)


def _held(parts: Parts, keys: tuple[Key, ...], until_s: float | None) -> Staging:
    """The thing is held from frame 0 on."""
    thing = replace(
        parts.thing(parts.one_of("ball", "cube", "block", "can", "vase")), euler_deg=(0.0, 0.0, 0.0)
    )
    aim = _DOWN if parts.chance(0.6) else (float(1 if parts.chance(0.5) else -1), 0.0, 0.0)
    thing = replace(thing, at=keys[0].grip, rest=False, bounce=min(thing.bounce, 0.35))
    return _staged(parts, thing, Task(keys, aim, *_grip(thing, aim)), (0.0, until_s))


def _pick(parts: Parts) -> Staging:
    """It takes something from the floor and sets it down, or not yet."""
    thing = parts.thing(parts.one_of("cube", "can", "block", "ball"), size=(0.08, 0.12))
    side = 1 if parts.chance(0.5) else -1
    thing = standing_at(
        replace(thing, euler_deg=(0.0, 0.0, 0.0)), -side * parts.between(0.15, 0.45), parts.between(0, 0.2)
    )
    x, y, z = thing.at
    end = side * parts.between(0.1, 0.5)
    above, top = parts.between(0.2, 0.35), parts.between(0.3, 0.55)
    down = parts.chance(0.5)
    keys = [
        Key(0.0, (x, y, round(z + above, 4))), Key(0.45, thing.at), Key(0.55, thing.at),
        Key(0.95, (round((x + end) / 2, 4), y, round(z + top, 4))),
    ]  # fmt: skip
    if down:
        low = (end, y, round(z + 0.004, 4))
        keys += [Key(1.4, low), Key(1.5, low), Key(1.9, (end, y, round(z + above, 4)))]
    else:
        keys.append(Key(1.6, (end, y, round(z + top, 4))))
    task = Task(tuple(keys), _DOWN, *_grip(thing, _DOWN))
    return _staged(parts, thing, task, (0.5, 1.45 if down else None))


def _push(parts: Parts) -> Staging:
    """It pushes one thing, or the top of a stack, over the floor."""
    side = 1 if parts.chance(0.5) else -1
    angle = parts.between(-0.3, 0.3)
    aim = (round(side * math.cos(angle), 6), round(math.sin(angle), 6), 0.0)
    bodies = (
        _stack(parts) if parts.chance(0.3) else [parts.thing(parts.one_of("ball", "cube", "block", "can"))]
    )
    x, y = -side * parts.between(0.0, 0.3), parts.between(0.0, 0.2)
    bodies = [standing_at(body, x, y, body.at[2] - half_sides(body)[2]) for body in bodies]
    pushed = bodies[-1]
    near = math.hypot(*half_sides(pushed)[:2])  # so far from its middle that it cannot touch yet
    height = max(pushed.at[2] + parts.between(-0.2, 0.3) * half_sides(pushed)[2], 0.075)
    away, on = near + parts.between(0.04, 0.2), parts.between(0.15, 0.6)
    begin, touch_s = parts.between(0.0, 0.2), parts.between(0.8, 1.4)
    first, last = (
        (round(x + s * aim[0], 4), round(y + s * aim[1], 4), round(height, 4)) for s in (-away, on - near)
    )
    keys = [Key(begin, first), Key(begin + touch_s, last)]
    if parts.chance(0.4):
        keys.append(Key(begin + touch_s + 0.6, first))
    task = Task(tuple(keys), aim, 0.05, 0.05, touches=True)
    arm, moved = build_arm(parts, task)
    others = keep_clear(draw_bystanders(parts, (_running(pushed, aim, on),), 2, corridor_m=0.5), moved)
    return Staging(
        moved.bodies, (*bodies, *arm, *others), actors=(moved,), on_table=not moved.mount, distance_m=2.8
    )


def _press(parts: Parts) -> Staging:
    """It presses one end of a seesaw down, and the thing on the other end goes up."""
    side, high, half = (1 if parts.chance(0.5) else -1), parts.between(0.11, 0.17), parts.between(0.42, 0.6)
    words, coat = wooden(parts)
    x, y = parts.between(-0.15, 0.15), parts.between(0.0, 0.2)
    bearing = Shape("box", (0.05, 0.1, round(high / 2, 4)), parts.coat()[1])
    block = parts.named(f"{words} bearing", (bearing,), (x, y, bearing.size[2]), fixed=True, solid=False)
    tilt = math.asin(high / half) * 0.97
    # the loaded end, where the thing stands, is down at -side
    board = parts.named(
        f"{words} board", (Shape("box", (half, 0.1, 0.012), coat),), (x, y, round(high + 0.014, 4)),
        euler_deg=(0.0, round(-side * math.degrees(tilt), 4), 0.0), mass_kg=1.2, friction=0.9, bounce=0.05,
    )  # fmt: skip
    thing = replace(
        parts.thing(parts.one_of("cube", "block", "can"), size=(0.07, 0.1)), friction=0.9, bounce=0.05
    )
    up = thing.at[2] + 0.013
    out = -side * (half - 0.12)
    slope = side * tilt
    across = round(x + out * math.cos(slope) - up * math.sin(slope), 4)
    high_up = round(board.at[2] + out * math.sin(slope) + up * math.cos(slope), 4)
    thing = replace(thing, euler_deg=board.euler_deg, at=(across, y, high_up))
    spot = side * (half - 0.07)
    at = (round(x + spot * math.cos(tilt), 4), y)
    top, low = board.at[2] + abs(spot) * math.sin(tilt), board.at[2] - 0.8 * abs(spot) * math.sin(tilt)
    begin, arrive = parts.between(0.1, 0.3), parts.between(0.7, 1.2)
    keys = [Key(begin, (*at, round(top + 0.08, 4))), Key(arrive, (*at, round(low + 0.02, 4)))]
    if parts.chance(0.5):
        keys += [Key(arrive + 0.1, keys[1].grip), Key(arrive + 0.6, keys[0].grip)]
    arm, moved = build_arm(parts, Task(tuple(keys), _DOWN, 0.05, 0.06, touches=True))
    hinge = tuple(Tie(board.name, block.name, (0.0, s * 0.09, -0.012)) for s in (-1, 1))
    others = keep_clear(draw_bystanders(parts, (board,), 1, corridor_m=0.75), moved)
    return Staging(
        moved.bodies,
        (board, block, thing, *arm, *others),
        hinge,
        (moved,),
        on_table=not moved.mount,
        distance_m=2.8,
    )


def _squeeze(parts: Parts) -> Staging:
    """It presses foam down, and may let it spring back."""
    foam = soft_thing(parts, parts.one_of("cushion", "mattress", "foam block"))
    foam = standing_at(foam, parts.between(-0.25, 0.25), parts.between(0.0, 0.2))
    half, (x, y, z) = foam.shapes[0].size, foam.at
    at = (round(x + parts.between(-0.3, 0.3) * half[0], 4), y)
    up = Key(parts.between(0.0, 0.2), (*at, round(z + half[2] + parts.between(0.06, 0.2), 4)))
    low = (*at, round(z + half[2] - parts.between(0.35, 0.7) * half[2], 4))
    down = parts.between(0.6, 1.0)
    keys = [up, Key(down, low)]
    if parts.chance(0.6):
        keys += [Key(down + 0.2, low), Key(down + 0.7, up.grip)]
    arm, moved = build_arm(parts, Task(tuple(keys), _DOWN, 0.05, 0.06, touches=True))
    others = keep_clear(draw_bystanders(parts, (foam,), 2, corridor_m=half[0] + 0.35), moved)
    return Staging(
        moved.bodies,
        (foam, *arm, *others),
        actors=(moved,),
        on_table=not moved.mount,
        target=(x / 2, 0.1, 0.25),
    )


def _stack(parts: Parts) -> list[Body]:
    """Two or three, one on the other, about the origin."""
    top, bodies = 0.0, []
    for _ in range(2 + parts.chance(0.5)):
        body = parts.thing(parts.one_of("cube", "can"), size=(0.09, 0.12))
        bodies.append(replace(body, at=(0.0, 0.0, round(body.at[2] + top, 4)), bounce=0.1))
        top += 2 * body.at[2]
    return bodies


def _staged(parts: Parts, thing: Body, task: Task, held_s: tuple[float, float | None]) -> Staging:
    arm, moved = build_arm(parts, task)
    tie = Tie(thing.name, moved.links[-1], rigid=True, from_s=held_s[0], until_s=held_s[1])
    ends = [replace(thing, at=key.grip) for key in task.keys]
    others = keep_clear(draw_bystanders(parts, tuple(ends), 2), moved)
    return Staging(
        moved.bodies,
        (thing, *arm, *others),
        (tie,),
        (moved,),
        on_table=not moved.mount,
        target=(0.0, 0.1, 0.35),
        distance_m=2.8,
    )


def _grip(thing: Body, aim: Vector) -> tuple[float, float]:
    """How far from the grip the fingers are, and how far the palm."""
    x, y, z = half_sides(thing)
    return (x, z) if aim == _DOWN else (y, x)


def _beside(parts: Parts, at: Vector, far_m: float) -> Vector:
    x, y, z = (round(value + parts.between(-far_m, far_m), 4) for value in at)
    return x, y, z


def _running(body: Body, aim: Vector, far_m: float) -> Body:
    """As if it went that far, and a bit, in the time that bystanders are kept off."""
    return replace(body, velocity=(aim[0] * (far_m + 0.4) / 2, aim[1] * (far_m + 0.4) / 2, 0.0))
