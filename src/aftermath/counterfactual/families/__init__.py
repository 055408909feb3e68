"""Families of scenes: each a function from a seed to a `Scene` in which one kind of thing happens."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from aftermath.counterfactual.families.actors import actor
from aftermath.counterfactual.families.blows import chain, collision, stopped
from aftermath.counterfactual.families.quiet import control, light
from aftermath.counterfactual.families.soft import soft
from aftermath.counterfactual.families.staging import Staging
from aftermath.counterfactual.families.supports import container, hanging, support
from aftermath.counterfactual.rooms import ROOMS, Parts
from aftermath.counterfactual.scene import Scene
from aftermath.counterfactual.window import in_view
from aftermath.errors import InputError

__all__ = ["FAMILIES", "Family", "make_scene"]


@dataclass(frozen=True)
class Family:
    """``build`` makes the bodies; ``interacts``: whether without the removed something else moves differently;
    ``lights``: whether its shadow or reflection is seen."""

    build: Callable[[Parts], Staging]
    what: str
    interacts: bool = True
    lights: bool = False


FAMILIES: dict[str, Family] = {
    "collision": Family(collision, "something at rest is hit"),
    "stopped": Family(stopped, "something that moves is stopped or deflected"),
    "support": Family(support, "crates, stacks, shelves and ramps carry things"),
    "hanging": Family(hanging, "something hangs and swings"),
    "chain": Family(chain, "dominoes"),
    "container": Family(container, "an open box holds things, or carries them along"),
    "actor": Family(actor, "an arm holds, carries, drops, pushes and presses things"),
    "soft": Family(soft, "foam is pressed and springs back"),
    "light": Family(light, "shadow and reflection only", interacts=False, lights=True),
    "control": Family(control, "nothing interacts", interacts=False),
}


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
    kinds = tuple(kind for kind in ROOMS if staging.on_table or kind != "table")
    room = parts.room(mirror=staging.mirror, kinds=kinds)
    light = parts.light(outdoors=room.place.startswith("Outdoors"))
    camera = parts.camera(staging.target, staging.distance_m, low=room.wall is None)
    scene = Scene(
        family, seed, staging.removed, staging.bodies, room, light, camera, staging.ties, staging.actors, num_frames,
        24, size,
        shutter=parts.between(0.25, 0.6) if parts.chance(0.6) else 0.05, grain=parts.between(0.4, 1.6),
    )  # fmt: skip
    return replace(scene, light=replace(light, window=False)) if in_view(scene) else scene
