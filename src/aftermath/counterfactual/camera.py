"""Where the camera is in every frame, and where it sees a point. Pure, numpy only."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from aftermath.counterfactual.scene import CameraPath, Move, Scene

__all__ = ["View", "project", "view_at"]

_NOMINAL_WIDTH_PX = 384  # hand-held sway is given for this width


@dataclass(frozen=True)
class View:
    """One frame's camera: ``eye`` (3,) in metres, ``axes`` (3, 3) with its x (right), y (up) and z (back) as
    columns, and the vertical field of view."""

    eye: np.ndarray
    axes: np.ndarray
    fov_y_deg: float

    def focal_px(self, height_px: int) -> float:
        """The focal length in pixels of a picture of that height."""
        return height_px / 2 / math.tan(math.radians(self.fov_y_deg) / 2)


def view_at(scene: Scene, frame: float) -> View:
    """The camera of ``scene`` at a frame, fractions allowed."""
    path, share = scene.camera, frame / max(scene.num_frames - 1, 1)
    eye, target, fov = np.array(path.eye), np.array(path.target), path.fov_y_deg
    ease = share * share * (3 - 2 * share)
    if path.move is Move.PAN:
        target = target + np.array([path.amount * ease, 0, 0])
        eye = eye + np.array([0.25 * path.amount * ease, 0, 0])
    elif path.move is Move.ORBIT:
        eye = target + _turned(eye - target, path.amount * ease)
    elif path.move is Move.ZOOM:
        fov = 2 * math.degrees(math.atan(math.tan(math.radians(fov) / 2) / (1 + (path.amount - 1) * ease)))
    view = View(eye, _looking(eye, target), fov)
    return _swayed(view, path, frame / scene.rate, scene) if path.move is Move.HAND_HELD else view


def project(view: View, points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Points (..., 3) in metres to (x, y) in pixels, float64 (..., 2); the first pixel's centre is (0, 0).

    NaN for what is behind the camera. ``size``: (width, height).
    """
    local = (points - view.eye) @ view.axes
    depth = np.where(local[..., 2] < -1e-6, -local[..., 2], np.nan)
    focal = view.focal_px(size[1])
    x = local[..., 0] / depth * focal + size[0] / 2 - 0.5
    y = -local[..., 1] / depth * focal + size[1] / 2 - 0.5
    return np.stack([x, y], axis=-1)


def _looking(eye: np.ndarray, target: np.ndarray) -> np.ndarray:
    back = (eye - target) / np.linalg.norm(eye - target)
    right = np.cross([0.0, 0.0, 1.0], back)
    right /= np.linalg.norm(right)
    return np.column_stack([right, np.cross(back, right), back])


def _turned(vector: np.ndarray, angle: float) -> np.ndarray:
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([cos * vector[0] - sin * vector[1], sin * vector[0] + cos * vector[1], vector[2]])


def _swayed(view: View, path: CameraPath, time_s: float, scene: Scene) -> View:
    """A hand's slow sway about the camera's own axes; the first frame is where the path says."""
    sway = _wave(time_s, path.phase) - _wave(0.0, path.phase)
    yaw, pitch, roll = sway * path.amount * scene.size[0] / _NOMINAL_WIDTH_PX / view.focal_px(scene.size[1])
    turn = _about(0, pitch) @ _about(1, yaw) @ _about(2, 0.3 * roll)
    return View(view.eye, view.axes @ turn, view.fov_y_deg)


def _wave(time_s: float, phase: float) -> np.ndarray:
    x = math.sin(1.9 * time_s + phase) + 0.35 * math.sin(5.3 * time_s + 2 * phase)
    y = 0.6 * math.sin(2.6 * time_s + 3 * phase) + 0.25 * math.sin(6.1 * time_s + phase)
    return np.array([x, y, math.sin(1.3 * time_s + phase)])


def _about(axis: int, angle: float) -> np.ndarray:
    cos, sin = math.cos(angle), math.sin(angle)
    turn = np.eye(3)
    one, other = (axis + 1) % 3, (axis + 2) % 3
    turn[one, one] = turn[other, other] = cos
    turn[one, other], turn[other, one] = -sin, sin
    return turn
