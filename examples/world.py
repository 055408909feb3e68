"""MuJoCo's part of the examples: a `Scene` becomes motion, and motion becomes pictures and labels.

A picture is the mean of `SAMPLES` renderings spread over a shutter of 180 degrees, over the pixel and over
the face of the lamp: motion blur, smooth edges and soft shadows from a renderer that has none. The samples
are the same in every picture, so two worlds differ only where something differs.
"""

from __future__ import annotations

import importlib
import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from scenery import Body, Scene, Shape, Shot

from aftermath.counterfactual.surfaces import Surface, paint

__all__ = ["FRAME_RATE", "HEIGHT", "WIDTH", "Motion", "World"]

WIDTH, HEIGHT, FRAME_RATE = 672, 384, 24
SAMPLES = 8
STEPS_PER_FRAME = 32  # 1.3 ms a step
SHUTTER_STEPS = STEPS_PER_FRAME // 2  # 180 degrees
SETTLE_S = 0.5
CONTACT_RATE = 250.0  # rad/s: how stiff a contact is; the blow between two balls lasts some 10 ms
LAMP_RADIUS_M = 0.14
TEXTURE_PX = 1024

os.environ.setdefault("MUJOCO_GL", "egl")
mujoco: Any = importlib.import_module(
    "mujoco"
)  # it ships no types, and picks its GL from MUJOCO_GL when imported


@dataclass(frozen=True)
class Motion:
    """One simulated world of N = T * STEPS_PER_FRAME steps: ``qpos`` (T, SAMPLES, nq) within each shutter,
    ``qvel`` (N, nv) and ``touching`` (N,), whether the removed body touches another one, at every step."""

    qpos: np.ndarray
    qvel: np.ndarray
    touching: np.ndarray


class World:
    """A compiled scene and its renderer."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.model = _compile(scene)
        self.data = mujoco.MjData(self.model)
        self.renderer = mujoco.Renderer(self.model, HEIGHT, WIDTH)
        self.bodies = {body.name: self.model.body(body.name).id for body in scene.bodies}
        self._removed = np.flatnonzero(self.model.geom_bodyid == self.bodies[scene.removed])
        self._visible = (
            self.model.geom_rgba[self._removed].copy(),
            self.model.geom_matid[self._removed].copy(),
        )
        self._cache: dict[bytes, np.ndarray] = {}

    def simulate(self, *, without_removed: bool) -> Motion:
        """Run the physics; ``without_removed`` from frame 0 on, out of the same settled state."""
        model, data, steps = self.model, self.data, self.scene.num_frames * STEPS_PER_FRAME
        mujoco.mj_resetData(model, data)
        for _ in range(round(SETTLE_S / model.opt.timestep)):
            mujoco.mj_step(model, data)
        self._set_off()
        start = data.qpos.copy()
        qpos, qvel, touching = np.zeros((steps, model.nq)), np.zeros((steps, model.nv)), np.zeros(steps, bool)
        self._set_solid(not without_removed)
        for step in range(steps):
            qpos[step], qvel[step], touching[step] = data.qpos, data.qvel, self._touches()
            mujoco.mj_step(model, data)
        self._set_solid(True)
        if without_removed:  # it fell out of the world, unseen
            columns = self.qpos_of(self.scene.removed)
            qpos[:, columns] = start[columns]
        in_frame = qpos.reshape(self.scene.num_frames, STEPS_PER_FRAME, model.nq)
        return Motion(in_frame[:, : SHUTTER_STEPS : SHUTTER_STEPS // SAMPLES], qvel, touching)

    def picture(self, motion: Motion, frame: int, *, show_removed: bool) -> np.ndarray:
        """Photograph one frame: uint8 (H, W, 3), RGB, without grain."""
        self._show(show_removed)
        return self._cached(motion, frame, show_removed, labels=False)

    def labels(self, motion: Motion, frame: int, *, show_removed: bool) -> np.ndarray:
        """Whose pixel it is: uint8 (SAMPLES, H, W), the body's id in every sample, 0: the room."""
        self._show(show_removed)
        return self._cached(motion, frame, show_removed, labels=True)

    def speed(self, motion: Motion, name: str) -> np.ndarray:
        """Speed of a body at every step, metres a second, float64 (T * STEPS_PER_FRAME,)."""
        column = self.model.jnt_dofadr[self.model.body(name).jntadr[0]]
        return np.linalg.norm(motion.qvel[:, column : column + 3], axis=1)

    def _cached(self, motion: Motion, frame: int, show_removed: bool, labels: bool) -> np.ndarray:
        """What stands still is drawn once."""
        state = motion.qpos[frame].round(5), _sway(self.scene.shot, frame)
        key = b"".join(np.asarray(part).tobytes() for part in (*state, show_removed, labels))
        if key not in self._cache:
            if len(self._cache) > 4:
                self._cache.pop(next(iter(self._cache)))
            self._cache[key] = self._draw_labels(*state) if labels else self._draw_picture(*state)
        return self._cache[key]

    def _draw_picture(self, qpos: np.ndarray, sway: np.ndarray) -> np.ndarray:
        self.renderer.disable_segmentation_rendering()
        total = np.zeros((HEIGHT, WIDTH, 3))
        for sample in range(SAMPLES):
            self._aim(qpos, sway, sample)
            total += self.renderer.render()
        return np.rint(total / SAMPLES).astype(np.uint8)

    def _draw_labels(self, qpos: np.ndarray, sway: np.ndarray) -> np.ndarray:
        self.renderer.enable_segmentation_rendering()
        owner = np.append(self.model.geom_bodyid, 0)  # geom -1, nothing at all, counts as the room
        samples = []
        for sample in range(SAMPLES):
            self._aim(qpos, sway, sample)
            samples.append(owner[self.renderer.render()[..., 0]])
        return np.stack(samples).astype(np.uint8)

    def _aim(self, qpos: np.ndarray, sway: np.ndarray, sample: int) -> None:
        """Place everything for one sample: bodies in time, camera within the pixel, lamp over its face."""
        self.data.qpos[:] = qpos[sample]
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_camlight(self.model, self.data)
        dx, dy = _spread(sample, (2, 3)) - 0.5
        focal_px = HEIGHT / 2 / math.tan(math.radians(self.scene.shot.fov_y_deg) / 2)
        turn = _rotation((sway[1] + dy) / focal_px, (sway[0] + dx) / focal_px, sway[2])
        self.data.cam_xmat[0] = (self.data.cam_xmat[0].reshape(3, 3) @ turn).ravel()
        radius, angle = np.sqrt(_spread(sample, (5,))[0]), 2 * math.pi * _spread(sample, (7,))[0]
        self.data.light_xpos[0, :2] += LAMP_RADIUS_M * radius * np.array([math.cos(angle), math.sin(angle)])
        self.renderer.update_scene(self.data, camera=0)

    def _set_off(self) -> None:
        for body in self.scene.bodies:
            column = self.model.jnt_dofadr[self.model.body(body.name).jntadr[0]]
            self.data.qvel[column : column + 6] = (*body.velocity, *body.spin)

    def qpos_of(self, name: str) -> slice:
        """The columns of ``qpos`` that hold a body's place and turn."""
        start = self.model.jnt_qposadr[self.model.body(name).jntadr[0]]
        return slice(start, start + 7)

    def _set_solid(self, solid: bool) -> None:
        self.model.geom_contype[self._removed] = self.model.geom_conaffinity[self._removed] = int(solid)

    def _show(self, shown: bool) -> None:
        """Alpha 0 without a material draws exactly what no geom draws, shadow included."""
        rgba, material = self._visible
        self.model.geom_rgba[self._removed] = rgba if shown else np.zeros(4)
        self.model.geom_matid[self._removed] = material if shown else -1

    def _touches(self) -> bool:
        pairs = self.model.geom_bodyid[self.data.contact.geom]
        removed = self.bodies[self.scene.removed]
        return bool(np.any((pairs == removed).any(axis=1) & (pairs != 0).all(axis=1)))


def _compile(scene: Scene) -> Any:
    spec = mujoco.MjSpec()
    spec.option.timestep = 1 / FRAME_RATE / STEPS_PER_FRAME
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 10  # without it, soft friction lets things creep
    visual = spec.visual
    visual.global_.offwidth, visual.global_.offheight = WIDTH, HEIGHT
    visual.quality.shadowsize, visual.quality.offsamples, visual.quality.numquads = 2048, 0, 28
    visual.map.shadowscale = 0.9  # the lamp's whole cone casts shadows
    visual.quality.numslices, visual.quality.numstacks = 64, 48
    visual.headlight.ambient, visual.headlight.diffuse, visual.headlight.specular = (
        [0.42] * 3,
        [0.12] * 3,
        [0] * 3,
    )
    _add_lights(spec, scene)
    _add_camera(spec, scene.shot)
    _add_room(spec, scene)
    for body in scene.bodies:
        _add_body(spec, body, scene.seed)
    return spec.compile()


def _add_lights(spec: Any, scene: Scene) -> None:
    """A warm lamp that casts the shadows, and a weak light from the other side."""
    lamp = np.array(scene.lamp)
    spec.worldbody.add_light(
        pos=lamp,
        dir=-lamp,
        cutoff=45,
        exponent=1,
        diffuse=[0.62, 0.6, 0.56],
        specular=[0.4] * 3,
        castshadow=True,
    )
    spec.worldbody.add_light(
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        pos=[-lamp[0], lamp[1], lamp[2]],
        dir=[lamp[0], 2, -2],
        diffuse=[0.12, 0.13, 0.15],
        specular=[0] * 3,
        castshadow=False,
    )


def _add_camera(spec: Any, shot: Shot) -> None:
    back = np.subtract(shot.eye, shot.target) / np.linalg.norm(np.subtract(shot.eye, shot.target))
    right = np.cross([0, 0, 1], back) / np.linalg.norm(np.cross([0, 0, 1], back))
    quat = np.zeros(4)
    mujoco.mju_mat2Quat(quat, np.column_stack([right, np.cross(back, right), back]).ravel())
    spec.worldbody.add_camera(name="camera", pos=shot.eye, quat=quat, fovy=shot.fov_y_deg)


def _add_room(spec: Any, scene: Scene) -> None:
    plane, cube = mujoco.mjtGeom.mjGEOM_PLANE, mujoco.mjtTexture.mjTEXTURE_2D
    floor = _add_material(spec, scene.floor, scene.seed, cube)
    spec.worldbody.add_geom(
        type=plane, size=[3, 3, 0.1], material=floor, friction=[0.6, 0.005, 0.0001], condim=6
    )
    wall = _add_material(spec, scene.wall, scene.seed, cube)
    spec.worldbody.add_geom(
        type=plane,
        size=[4, 2, 0.1],
        pos=[0, 1.5, 2],
        quat=[1, 1, 0, 0],
        material=wall,
        contype=0,
        conaffinity=0,
    )
    for shape in scene.clutter:
        _add_geom(spec, spec.worldbody, shape, scene.seed, contype=0, conaffinity=0)


def _add_body(spec: Any, body: Body, seed: int) -> None:
    part = spec.worldbody.add_body(name=body.name, pos=body.at)
    part.add_freejoint()
    damping = _damping_ratio(body.bounce)
    for shape in body.shapes:
        _add_geom(
            spec, part, shape, seed, condim=6, priority=1, mass=body.mass_kg / len(body.shapes),
            friction=[body.friction, 0.005, body.rolling_m],
            solref=[max(1 / (CONTACT_RATE * damping), 2.1 * spec.option.timestep), damping],
            solimp=[0.95, 0.95, 0.001, 0.5, 2],
        )  # fmt: skip


def _add_geom(spec: Any, parent: Any, shape: Shape, seed: int, **physics: Any) -> None:
    parent.add_geom(
        type=getattr(mujoco.mjtGeom, f"mjGEOM_{shape.kind.upper()}"),
        size=np.resize((*shape.size, 0, 0), 3),
        pos=shape.at,
        quat=_quaternion(shape.euler_deg),
        material=_add_material(spec, shape.surface, seed, mujoco.mjtTexture.mjTEXTURE_CUBE),
        **physics,
    )


def _add_material(spec: Any, surface: Surface, seed: int, kind: Any) -> str:
    """Add the surface's texture and material once, and name it."""
    flat = kind == mujoco.mjtTexture.mjTEXTURE_2D
    name = f"{surface}{flat}"
    if any(material.name == name for material in spec.materials):
        return name
    size = TEXTURE_PX if flat else TEXTURE_PX // 4
    picture = np.tile(paint(surface, size, seed), (1 if flat else 6, 1, 1))
    texture = spec.add_texture(name=name, type=kind, width=size, height=len(picture), nchannel=3)
    texture.data = picture.tobytes()
    material = spec.add_material(
        name=name,
        texrepeat=[surface.repeat] * 2,
        specular=surface.shine,
        shininess=0.5,
        reflectance=surface.mirror,
    )
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name
    return name


def _damping_ratio(bounce: float) -> float:
    """The damping ratio whose restitution is ``bounce``: e = exp(-pi z / sqrt(1 - z^2))."""
    log = math.log(max(bounce, 1e-3))
    return -log / math.hypot(math.pi, log)


def _sway(shot: Shot, frame: int) -> np.ndarray:
    """A hand's slow sway: (x px, y px, roll in radians), zero on frame 0."""
    time = frame / FRAME_RATE
    x = math.sin(1.9 * time) + 0.35 * math.sin(5.3 * time)
    y = 0.6 * math.sin(2.6 * time) + 0.25 * math.sin(6.1 * time)
    return shot.drift_px * np.array([x, y, 4e-4 * math.sin(1.3 * time)])


def _rotation(pitch: float, yaw: float, roll: float) -> np.ndarray:
    """Small turn of a camera about its own x, y and z axes, radians: float64 (3, 3)."""
    turn = np.zeros(9)
    vector = np.array([pitch, -yaw, roll])
    angle = np.linalg.norm(vector)
    quat = np.zeros(4)
    mujoco.mju_axisAngle2Quat(quat, vector / max(angle, 1e-12), angle)
    mujoco.mju_quat2Mat(turn, quat)
    return turn.reshape(3, 3)


def _quaternion(euler_deg: tuple[float, float, float]) -> np.ndarray:
    quat = np.zeros(4)
    mujoco.mju_euler2Quat(quat, np.radians(euler_deg), "xyz")
    return quat


def _spread(index: int, bases: tuple[int, ...]) -> np.ndarray:
    """Halton's point ``index`` in 0..1, one coordinate a base (radical inverse)."""
    return np.array([_radical_inverse(index + 1, base) for base in bases])


def _radical_inverse(index: int, base: int) -> float:
    value, digit = 0.0, 1.0
    while index:
        digit /= base
        value += digit * (index % base)
        index //= base
    return value
