"""Motion becomes pictures and labels, by MuJoCo's renderer.

A picture is the mean of `NUM_SAMPLES` renderings spread over the exposure, over the pixel and over the face of the
lamp: motion blur, smooth edges and soft shadows from a renderer that has none. The samples are the same in every
picture of a scene, so two worlds differ only where something differs.
"""

from __future__ import annotations

import math
from typing import Self

import numpy as np

from aftermath.counterfactual.camera import View, view_at
from aftermath.counterfactual.engine import build_model, load_mujoco, open_renderer, soft_ids, soft_points
from aftermath.counterfactual.scene import Scene
from aftermath.counterfactual.simulate import Motion

__all__ = ["NUM_SAMPLES", "Studio"]

NUM_SAMPLES = 4

Points = dict[str, np.ndarray]
"""Of every soft body, by its name: the points of one frame, (S, P, 3)."""


class Studio:
    """A scene's model and its renderer; close it, or use it in a ``with``.

    Raises `InputError` where there is no MuJoCo or no OpenGL.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.model = build_model(scene)
        self._data = load_mujoco().MjData(self.model)
        load_mujoco().mj_forward(self.model, self._data)
        self._renderer = open_renderer(self.model, scene.size)
        self._hard = [i for i, body in enumerate(scene.bodies) if not body.soft]
        self._soft = soft_ids(scene, self.model)
        self._bodies = np.array([self.model.body(scene.bodies[i].name).id for i in self._hard])
        gone = [self.model.body(name).id for name in scene.removed if name not in self._soft]
        self._gone = np.flatnonzero(np.isin(self.model.geom_bodyid, gone))
        self._gone_soft = [flex for name, flex in self._soft.items() if name in scene.removed]
        self._stays = np.array([body.name not in scene.removed for body in scene.bodies])
        self._look = self.model.geom_rgba[self._gone].copy(), self.model.geom_matid[self._gone].copy()
        self._soft_look = (
            self.model.flex_rgba[self._gone_soft].copy(),
            self.model.flex_matid[self._gone_soft].copy(),
        )
        self._cache: dict[bytes, np.ndarray] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the graphics memory back."""
        self._renderer.close()

    def picture(self, motion: Motion, frame: int, *, show_removed: bool) -> np.ndarray:
        """Photograph one frame: uint8 (H, W, 3), RGB, without grain."""
        return self._drawn(motion, frame, show_removed, labels=False)

    def labels(self, motion: Motion, frame: int, *, show_removed: bool) -> np.ndarray:
        """Whose pixel it is in every sample: uint8 (S, H, W), 1 + the body's place in the scene, 0: the room."""
        return self._drawn(motion, frame, show_removed, labels=True)

    def _drawn(self, motion: Motion, frame: int, show_removed: bool, labels: bool) -> np.ndarray:
        """What stands still is drawn once, and so is what two worlds have in common."""
        poses, view = motion.poses[frame], view_at(self.scene, frame)
        matters = poses if show_removed else poses[:, self._stays]
        points = {name: motion.points[name][frame] for name in self._soft}
        seen = [p for name, p in points.items() if show_removed or name not in self.scene.removed]
        parts = matters.round(5), *(p.round(5) for p in seen), view.eye, view.axes, np.array(view.fov_y_deg)
        key = b"".join(part.tobytes() for part in parts)
        key += bytes([show_removed, labels])
        if key not in self._cache:
            if len(self._cache) > 4:
                self._cache.pop(next(iter(self._cache)))
            self._show(show_removed)
            draw = self._draw_labels if labels else self._draw_picture
            self._cache[key] = draw(poses, points, view)
        return self._cache[key]

    def _draw_picture(self, poses: np.ndarray, points: Points, view: View) -> np.ndarray:
        self._renderer.disable_segmentation_rendering()
        total = np.zeros((self.scene.size[1], self.scene.size[0], 3), np.uint16)
        for sample in range(NUM_SAMPLES):
            self._aim(poses[sample], {name: p[sample] for name, p in points.items()}, view, sample)
            total += self._renderer.render()
        return ((total + NUM_SAMPLES // 2) // NUM_SAMPLES).astype(np.uint8)

    def _draw_labels(self, poses: np.ndarray, points: Points, view: View) -> np.ndarray:
        self._renderer.enable_segmentation_rendering()
        place = np.zeros(self.model.nbody, np.uint8)
        place[self._bodies] = 1 + np.array(self._hard)
        owner = np.append(place[self.model.geom_bodyid], 0)  # geom -1, nothing at all, counts as the room
        soft = np.zeros(len(self._soft) + 1, np.uint8)
        for name, flex in self._soft.items():
            soft[flex] = 1 + [body.name for body in self.scene.bodies].index(name)
        samples = []
        for sample in range(NUM_SAMPLES):
            self._aim(poses[sample], {name: p[sample] for name, p in points.items()}, view, sample)
            which, kind = np.moveaxis(self._renderer.render(), -1, 0)
            is_soft = kind == int(
                load_mujoco().mjtObj.mjOBJ_FLEX
            )  # the enum itself is compared pixel by pixel
            samples.append(
                np.where(is_soft, soft[np.where(is_soft, which, 0)], owner[np.where(is_soft, -1, which)])
            )
        return np.stack(samples)

    def _aim(self, poses: np.ndarray, points: dict[str, np.ndarray], view: View, sample: int) -> None:
        """Place everything for one sample: bodies in time, camera within the pixel, lamp over its face."""
        mujoco, data = load_mujoco(), self._data
        for body, pose in zip(self._bodies, poses[self._hard], strict=True):
            joint, mocap = self.model.body_jntadr[body], self.model.body_mocapid[body]
            if joint >= 0:
                start = self.model.jnt_qposadr[joint]
                data.qpos[start : start + 7] = pose
            elif mocap >= 0:
                data.mocap_pos[mocap], data.mocap_quat[mocap] = pose[:3], pose[3:]
        mujoco.mj_kinematics(self.model, data)
        for name, flex in self._soft.items():
            data.flexvert_xpos[soft_points(self.model, flex)] = points[name]
        mujoco.mj_camlight(self.model, data)
        dx, dy = (_radical_inverse(sample + 1, base) - 0.5 for base in (2, 3))
        focal = view.focal_px(self.scene.size[1])
        data.cam_xpos[0] = view.eye
        data.cam_xmat[0] = (view.axes @ _tilt(dx / focal, dy / focal)).ravel()
        self.model.cam_fovy[0] = view.fov_y_deg
        radius, angle = (
            math.sqrt(_radical_inverse(sample + 1, 5)),
            2 * math.pi * _radical_inverse(sample + 1, 7),
        )
        offset = np.array([math.cos(angle), math.sin(angle)]) * radius * self.scene.light.radius_m
        if self.scene.light.sun:
            data.light_xdir[0, :2] -= offset / np.linalg.norm(self.scene.light.at)
        else:
            data.light_xpos[0, :2] += offset
        if self.scene.light.second:
            data.light_xpos[2, :2] += offset
        self._renderer.update_scene(data, camera=0)

    def _show(self, shown: bool) -> None:
        """Alpha 0 without a material draws exactly what no geom draws, shadow included."""
        rgba, material = self._look
        self.model.geom_rgba[self._gone] = rgba if shown else np.zeros(4)
        self.model.geom_matid[self._gone] = material if shown else -1
        rgba, material = self._soft_look
        self.model.flex_rgba[self._gone_soft] = rgba if shown else np.zeros(4)
        self.model.flex_matid[self._gone_soft] = material if shown else -1


def _tilt(yaw: float, pitch: float) -> np.ndarray:
    """A turn of well under a pixel, where the order of the two does not matter."""
    return np.array([[1, 0, -yaw], [0, 1, -pitch], [yaw, pitch, 1]])


def _radical_inverse(index: int, base: int) -> float:
    """Halton's coordinate ``index`` in 0..1."""
    value, digit = 0.0, 1.0
    while index:
        digit /= base
        value += digit * (index % base)
        index //= base
    return value
