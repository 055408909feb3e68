"""A scene becomes motion: with everything, and without what is removed. Deterministic."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from aftermath.counterfactual.arm import grip_path, link_poses
from aftermath.counterfactual.engine import STEPS_PER_S, build_model, load_mujoco, soft_ids, soft_points
from aftermath.counterfactual.scene import Body, Scene, Tie

__all__ = ["Contact", "Motion", "apart_m", "moved_apart_m", "simulate"]

_SETTLE_S = 0.4
_SETTLE_SOFT_S = 1.2
_TURN_M = 0.05
_FLAT = 0.02  # of its volume at rest is left of a cell
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
    each of the scene's N bodies, at S instants spread evenly over the exposure of each of T frames.

    Of a soft body the pose is the middle of its points, unturned; ``points`` has all of them, by its name: float64
    (T, S, P, 3), metres. ``stable``: False where the numbers blew up or foam was
    turned inside out, and mean nothing.
    """

    poses: np.ndarray
    contacts: tuple[Contact, ...]
    points: dict[str, np.ndarray] = field(default_factory=dict)
    stable: bool = True


def simulate(scene: Scene, *, without_removed: bool, num_samples: int = 1, model: Any = None) -> Motion:
    """Run the physics of one world; ``without_removed`` from frame 0 on, out of the same settled start.

    ``model``: what `build_model` made of the same scene, where it is there already. The removed stay where they
    started in their poses, unseen.
    """
    model = build_model(scene) if model is None else model
    changed = (
        model.geom_contype,
        model.geom_conaffinity,
        model.flex_contype,
        model.flex_conaffinity,
        model.eq_data,
    )
    before = [array.copy() for array in changed]
    world = _World(scene, model)
    try:
        world.settle()
        start = world.poses(), world.points()
        if without_removed:
            world.take_out()
        poses, points = world.run(num_samples)
    finally:
        for array, old in zip(changed, before, strict=True):
            array[:] = old
    if without_removed:  # they fell out of the world, unseen
        for row in (i for i, body in enumerate(scene.bodies) if body.name in scene.removed):
            poses[:, :, row] = start[0][row]
        for name in set(points) & set(scene.removed):
            points[name][:] = start[1][name]
    torn = (_inside_out(body, points[body.name]) for body in scene.bodies if body.soft)
    return Motion(poses, world.contacts(), points, world.stable and not any(torn))


def apart_m(scene: Scene, one: Motion, other: Motion) -> np.ndarray:
    """How far each body is from itself in the other world, float64 (T, N), metres, at most during the exposure.

    A turn of one radian counts as half of the body's reach, and 5 cm at least, so that what only tips over counts too;
    of what is soft, the point that is furthest counts.
    """
    reach = np.array([max(_TURN_M, _reach_m(body) / 2) for body in scene.bodies])
    apart = np.linalg.norm(one.poses[..., :3] - other.poses[..., :3], axis=-1).max(axis=1)
    cosine = np.abs((one.poses[..., 3:] * other.poses[..., 3:]).sum(axis=-1)).clip(0, 1)
    apart = np.maximum(apart, reach * 2 * np.arccos(cosine).max(axis=1))
    for row, body in enumerate(scene.bodies):
        if body.soft:
            ways = np.linalg.norm(one.points[body.name] - other.points[body.name], axis=-1)
            apart[:, row] = ways.max(axis=(1, 2))
    return apart


def moved_apart_m(scene: Scene, one: Motion, other: Motion) -> dict[str, float]:
    """How far each body that stays is from itself in the other world over the whole clip, as `apart_m` has it."""
    most = apart_m(scene, one, other).max(axis=0)
    return {
        body.name: float(most[i]) for i, body in enumerate(scene.bodies) if body.name not in scene.removed
    }


def _reach_m(body: Body) -> float:
    """How far a body goes from its origin, roughly."""
    return max(float(np.linalg.norm(shape.at)) + max(shape.size) for shape in body.shapes)


Touching = dict[tuple[int, int], list[int]]


class _World:
    """A scene while it runs. Bodies are known by their row in the scene, -1 is the floor and the room."""

    def __init__(self, scene: Scene, model: Any) -> None:
        self._mujoco, self._scene, self._model = load_mujoco(), scene, model
        self._data = self._mujoco.MjData(model)
        self._rows = {body.name: row for row, body in enumerate(scene.bodies)}
        self._hard = [row for row, body in enumerate(scene.bodies) if not body.soft]
        self._ids = [model.body(scene.bodies[row].name).id for row in self._hard]
        self._soft = soft_ids(scene, model)
        self._paths = _paths(scene, model)
        self._gone: set[str] = set()
        self._touching: Touching = {}
        owners = np.full(model.nbody, -1)
        owners[self._ids] = self._hard
        self._geom_rows = owners[model.geom_bodyid]
        self._flex_rows = np.zeros(max(len(self._soft), 1), int)
        for name, flex in self._soft.items():
            self._flex_rows[flex] = self._rows[name]

    def settle(self) -> None:
        """Let what rests find its rest; the others wait, and are then set off."""
        data, moved = self._data, {name for actor in self._scene.actors for name in actor.bodies}
        free = [body for body in self._scene.bodies if not (body.fixed or body.soft or body.name in moved)]
        waiting = [_joint(self._model, body) for body in free if not body.rest]
        self._move(0)
        self._mujoco.mj_forward(self._model, data)
        self._tie(0)
        start = data.qpos.copy()
        for _ in range(round((_SETTLE_SOFT_S if self._soft else _SETTLE_S) * STEPS_PER_S)):
            self._mujoco.mj_step(self._model, data)
            for place, speed in waiting:
                data.qpos[place], data.qvel[speed] = start[place], 0
        data.qvel[:] = 0
        for body in free:
            data.qvel[_joint(self._model, body)[1]] = (*body.velocity, *body.spin)
        data.qacc_warmstart[:] = 0
        data.time = 0
        self._mujoco.mj_forward(self._model, data)

    def take_out(self) -> None:
        """The removed touch and hold nothing from now on."""
        model, self._gone = self._model, set(self._scene.removed)
        rows = [self._rows[name] for name in self._gone]
        geoms, flexes = np.isin(self._geom_rows, rows), np.isin(self._flex_rows, rows)[: model.nflex]
        model.geom_contype[geoms] = model.geom_conaffinity[geoms] = 0
        model.flex_contype[flexes] = model.flex_conaffinity[flexes] = 0
        self._tie(0)

    def run(self, num_samples: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Poses (T, S, N, 7) and points (T, S, P, 3) of what is soft; which two touch at which steps is noted."""
        scene, data = self._scene, self._data
        offsets = [(s + 0.5) / num_samples * scene.shutter for s in range(num_samples)]
        wanted = [
            round((frame + offset) / scene.rate * STEPS_PER_S)
            for frame in range(scene.num_frames)
            for offset in offsets
        ]
        poses, points = [], []
        step = 0
        for until in wanted:
            for _ in range(until - step):
                self._move(step)
                self._tie(step)
                self._mujoco.mj_step(self._model, data)
                step += 1
                self._note(step)
            self._move(step)
            self._mujoco.mj_kinematics(self._model, data)
            self._mujoco.mj_flex(self._model, data)
            poses.append(self.poses())
            points.append(self.points())
        shape = scene.num_frames, num_samples
        soft = {name: np.array([p[name] for p in points]) for name in self._soft}
        return (
            np.array(poses).reshape(*shape, len(scene.bodies), 7),
            {name: all_.reshape(*shape, -1, 3) for name, all_ in soft.items()},
        )

    def poses(self) -> np.ndarray:
        """Where the bodies are, float64 (N, 7)."""
        poses = np.zeros((len(self._rows), 7))
        poses[self._hard] = np.concatenate([self._data.xpos[self._ids], self._data.xquat[self._ids]], axis=1)
        for name, points in self.points().items():
            poses[self._rows[name]] = (*points.mean(axis=0), 1, 0, 0, 0)
        return poses

    def points(self) -> dict[str, np.ndarray]:
        """The points of what is soft, float64 (P, 3)."""
        spans = {name: soft_points(self._model, flex) for name, flex in self._soft.items()}
        return {name: self._data.flexvert_xpos[span].copy() for name, span in spans.items()}

    @property
    def stable(self) -> bool:
        """Whether no number was lost or grew beyond bounds."""
        kinds = self._mujoco.mjtWarning
        bad = (kinds.mjWARN_BADQPOS, kinds.mjWARN_BADQVEL, kinds.mjWARN_BADQACC)
        return not any(self._data.warning.number[kind] for kind in bad)

    def contacts(self) -> tuple[Contact, ...]:
        """Who touched whom, and who held whom."""
        names = [body.name for body in self._scene.bodies] + ["floor"]  # row -1
        found = []
        for (first, second), at in self._touching.items():
            steps = np.array(at)
            for run in np.split(steps, np.flatnonzero(np.diff(steps) > _GAP_S * STEPS_PER_S) + 1):
                start, end = float(run[0]) / STEPS_PER_S, float(run[-1] + 1) / STEPS_PER_S
                found.append(Contact(names[first], names[second], round(start, 4), round(end, 4)))
        return tuple(sorted(found, key=lambda c: (c.start_s, c.first, c.second)))

    def _move(self, step: int) -> None:
        """Set what is moved from outside to where it is at a step."""
        for mocap, path in self._paths:
            at = path[min(step, len(path) - 1)]
            self._data.mocap_pos[mocap], self._data.mocap_quat[mocap] = at[:, :3], at[:, 3:]

    def _tie(self, step: int) -> None:
        """Let ties begin and end; a rigid one holds the thing as it is when it begins."""
        for index, tie in enumerate(self._scene.ties):
            active = _lasts(tie, step / STEPS_PER_S) and not {tie.hung, tie.holder} & self._gone
            if active and tie.rigid and not (self._data.eq_active[index] and step):
                hung, holder = self._data.body(tie.hung), self._data.body(tie.holder)
                self._model.eq_data[index, 3:10] = _relative(self._mujoco, hung, holder)
            self._data.eq_active[index] = active

    def _note(self, step: int) -> None:
        pairs = self._geom_rows[self._data.contact.geom]
        if self._soft:
            flexes = self._data.contact.flex
            pairs = np.where(flexes >= 0, self._flex_rows[flexes], pairs)
        touching = {(min(pair), max(pair)) for pair in pairs.tolist()}
        for index, tie in enumerate(self._scene.ties):
            if tie.rigid and self._data.eq_active[index]:
                touching.add((min(p := (self._rows[tie.hung], self._rows[tie.holder])), max(p)))
        for pair in sorted(touching):
            self._touching.setdefault(pair, []).append(step)


def _inside_out(body: Body, points: np.ndarray) -> bool:
    """Whether foam, its points (..., P, 3), was ever pressed flat or through itself: it may not come back."""
    if body.soft is None or body.shapes[0].kind != "box":
        return False
    counts = [cells + 1 for cells in body.soft.cells]
    lattice = points.reshape(-1, *counts, 3)
    corner = lattice[:, :-1, :-1, :-1]
    sides = (
        lattice[:, 1:, :-1, :-1] - corner,
        lattice[:, :-1, 1:, :-1] - corner,
        lattice[:, :-1, :-1, 1:] - corner,
    )
    volumes = (sides[0] * np.cross(sides[1], sides[2])).sum(axis=-1)
    whole = 8 * np.prod(body.shapes[0].size) / np.prod(body.soft.cells)
    return bool(volumes.min() < _FLAT * whole)


def _lasts(tie: Tie, time_s: float) -> bool:
    return tie.from_s <= time_s and (tie.until_s is None or time_s < tie.until_s)


def _joint(model: Any, body: Body) -> tuple[slice, slice]:
    """The columns of ``qpos`` and ``qvel`` of a free body."""
    joint = model.body(body.name).jntadr[0]
    place, speed = model.jnt_qposadr[joint], model.jnt_dofadr[joint]
    return slice(place, place + 7), slice(speed, speed + 6)


def _paths(scene: Scene, model: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of every actor: which moved bodies it is of, and their poses (K, L, 7) at every step of the clip."""
    times = np.arange(round((scene.num_frames + 1) / scene.rate * STEPS_PER_S)) / STEPS_PER_S
    found = []
    for actor in scene.actors:
        gone = grip_path(actor, times)[2]
        mounted = [
            np.concatenate([body.at + gone, np.tile(_start_quat(model, body), (len(times), 1))], axis=1)
            for body in scene.bodies
            if body.name in actor.mount
        ]
        names = [*actor.links, *(body.name for body in scene.bodies if body.name in actor.mount)]
        mocap = np.array([model.body(name).mocapid[0] for name in names])
        found.append(
            (mocap, np.concatenate([link_poses(actor, times), *(m[:, None] for m in mounted)], axis=1))
        )
    return found


def _start_quat(model: Any, body: Body) -> np.ndarray:
    return model.body(body.name).quat


def _relative(mujoco: Any, hung: Any, holder: Any) -> np.ndarray:
    """The holder's pose as the hung sees it: x y z and quaternion (7,)."""
    inverse, place, turn = np.zeros(4), np.zeros(3), np.zeros(4)
    mujoco.mju_negQuat(inverse, hung.xquat)
    mujoco.mju_rotVecQuat(place, holder.xpos - hung.xpos, inverse)
    mujoco.mju_mulQuat(turn, inverse, holder.xquat)
    return np.concatenate([place, turn])
