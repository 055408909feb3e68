"""A scene becomes motion: with everything, and without what is removed. Deterministic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from aftermath.counterfactual.engine import STEPS_PER_S, build_model, load_mujoco
from aftermath.counterfactual.scene import Body, Scene

__all__ = ["Contact", "Motion", "apart_m", "moved_apart_m", "simulate"]

_SETTLE_S = 0.4
_TURN_M = 0.05
_GAP_S = 0.02  # a contact that breaks for less than this is one contact


@dataclass(frozen=True)
class Contact:
    """Two things, by name ("floor" for the floor), that touch from ``start_s`` until ``end_s``, half-open."""

    first: str
    second: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Motion:
    """One world's motion: ``poses``, float64 (T, S, N, 7), x y z in metres and the unit quaternion w x y z of
    each of the scene's N bodies, at S instants spread evenly over the exposure of each of T frames."""

    poses: np.ndarray
    contacts: tuple[Contact, ...]


def simulate(scene: Scene, *, without_removed: bool, num_samples: int = 1, model: Any = None) -> Motion:
    """Run the physics of one world; ``without_removed`` from frame 0 on, out of the same settled start.

    ``model``: what `build_model` made of the same scene, where it is there already. The removed stay where they
    started in their poses, unseen.
    """
    mujoco = load_mujoco()
    model = build_model(scene) if model is None else model
    data = mujoco.MjData(model)
    ids = [model.body(body.name).id for body in scene.bodies]
    gone = [ids[i] for i, body in enumerate(scene.bodies) if body.name in scene.removed]
    _settle(mujoco, model, data, scene)
    start = _poses(data, ids)
    solid = model.geom_contype.copy()
    try:
        if without_removed:
            _take_out(model, data, scene, gone)
        poses, touching = _run(mujoco, model, data, scene, ids, num_samples)
    finally:
        model.geom_contype[:] = model.geom_conaffinity[:] = solid
    if without_removed:  # they fell out of the world, unseen
        rows = [ids.index(body) for body in gone]
        poses[:, :, rows] = start[rows]
    names = {ids[i]: body.name for i, body in enumerate(scene.bodies)} | {0: "floor"}
    return Motion(poses, _intervals(touching, names))


def apart_m(one: Motion, other: Motion) -> np.ndarray:
    """How far each body is from itself in the other world, float64 (T, N), metres, at most during the exposure.

    A turn of one radian counts as 5 cm, so that what only tips over counts too.
    """
    apart = np.linalg.norm(one.poses[..., :3] - other.poses[..., :3], axis=-1).max(axis=1)
    cosine = np.abs((one.poses[..., 3:] * other.poses[..., 3:]).sum(axis=-1)).clip(0, 1)
    return np.maximum(apart, _TURN_M * 2 * np.arccos(cosine).max(axis=1))


def moved_apart_m(scene: Scene, one: Motion, other: Motion) -> dict[str, float]:
    """How far each body that stays is from itself in the other world over the whole clip, as `apart_m` has it."""
    most = apart_m(one, other).max(axis=0)
    return {
        body.name: float(most[i]) for i, body in enumerate(scene.bodies) if body.name not in scene.removed
    }


def _settle(mujoco: Any, model: Any, data: Any, scene: Scene) -> None:
    """Let what rests find its rest; the others wait, and are then set off."""
    waiting = [_joint(model, body) for body in scene.bodies if not body.fixed and not body.rest]
    start = data.qpos.copy()
    for _ in range(round(_SETTLE_S * STEPS_PER_S)):
        mujoco.mj_step(model, data)
        for place, speed in waiting:
            data.qpos[place], data.qvel[speed] = start[place], 0
    data.qvel[:] = 0
    for body in scene.bodies:
        if not body.fixed:
            data.qvel[_joint(model, body)[1]] = (*body.velocity, *body.spin)
    data.qacc_warmstart[:] = 0
    data.time = 0
    mujoco.mj_forward(model, data)


def _joint(model: Any, body: Body) -> tuple[slice, slice]:
    """The columns of ``qpos`` and ``qvel`` of a free body."""
    joint = model.body(body.name).jntadr[0]
    place, speed = model.jnt_qposadr[joint], model.jnt_dofadr[joint]
    return slice(place, place + 7), slice(speed, speed + 6)


def _take_out(model: Any, data: Any, scene: Scene, gone: list[int]) -> None:
    geoms = np.isin(model.geom_bodyid, gone)
    model.geom_contype[geoms] = model.geom_conaffinity[geoms] = 0
    for index, tie in enumerate(scene.ties):
        data.eq_active[index] = not {tie.hung, tie.holder} & set(scene.removed)


def _poses(data: Any, ids: list[int]) -> np.ndarray:
    return np.concatenate([data.xpos[ids], data.xquat[ids]], axis=1)


Touching = dict[tuple[int, int], list[int]]


def _run(
    mujoco: Any, model: Any, data: Any, scene: Scene, ids: list[int], num_samples: int
) -> tuple[np.ndarray, Touching]:
    """Poses (T, S, N, 7), and at which steps which two bodies touch."""
    offsets = [(s + 0.5) / num_samples * scene.shutter for s in range(num_samples)]
    wanted = [
        round((frame + offset) / scene.rate * STEPS_PER_S)
        for frame in range(scene.num_frames)
        for offset in offsets
    ]
    poses, touching = np.zeros((len(wanted), len(ids), 7)), {}
    step = 0
    for row, until in enumerate(wanted):
        for _ in range(until - step):
            mujoco.mj_step(model, data)
            step += 1
            for pair in {tuple(sorted(model.geom_bodyid[pair])) for pair in data.contact.geom}:
                touching.setdefault(pair, []).append(step)
        mujoco.mj_kinematics(model, data)
        poses[row] = _poses(data, ids)
    return poses.reshape(scene.num_frames, num_samples, len(ids), 7), touching


def _intervals(touching: Touching, names: dict[int, str]) -> tuple[Contact, ...]:
    found = []
    for (first, second), at in touching.items():
        steps = np.array(at)
        for run in np.split(steps, np.flatnonzero(np.diff(steps) > _GAP_S * STEPS_PER_S) + 1):
            start, end = float(run[0]) / STEPS_PER_S, float(run[-1] + 1) / STEPS_PER_S
            found.append(Contact(names[first], names[second], round(start, 4), round(end, 4)))
    return tuple(sorted(found, key=lambda c: (c.start_s, c.first, c.second)))
