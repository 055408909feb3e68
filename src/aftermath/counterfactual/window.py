"""The window before a lamp: boards that let its light through in panes, and whether the camera would see them."""

from __future__ import annotations

import numpy as np

from aftermath.counterfactual.camera import View, view_at
from aftermath.counterfactual.scene import Scene

__all__ = ["BOARDS", "SHARE", "in_view"]

SHARE = 0.66
"""How far from the scene's middle it stands, of the lamp's distance; square to the light."""

BOARDS = (
    *(((0.02, 0.5), (0.0, 0.0)), ((0.5, 0.02), (0.0, 0.0))),
    *(((1.2, 0.8), (0.0, side * 1.2)) for side in (-1, 1)),
    *(((0.8, 1.2), (side * 1.25, 0.0)) for side in (-1, 1)),
)
"""Half sizes and middle of each board, metres on the window's own x and y: two bars, and a wide frame."""

_RAYS, _LOOKS = (17, 11), 13  # of a picture, and of a clip


def in_view(scene: Scene) -> bool:
    """Whether a board comes before the camera of ``scene``, which knows nothing of what only shapes the light."""
    lamp = np.array(scene.light.at)
    axes = _axes(lamp / np.linalg.norm(lamp))
    looks = np.linspace(0, scene.num_frames - 1, _LOOKS)
    return scene.light.window and any(_is_hit(scene, view_at(scene, t), SHARE * lamp, axes) for t in looks)


def _axes(to_lamp: np.ndarray) -> np.ndarray:
    """The window's x, y and z as columns (3, 3): the world's, turned the shortest way until z is ``to_lamp``."""
    x, y, z = to_lamp
    turn = np.array([[0, 0, x], [0, 0, y], [-x, -y, 0]])
    return np.eye(3) + turn + turn @ turn / (1 + z)


def _is_hit(scene: Scene, view: View, middle: np.ndarray, axes: np.ndarray) -> bool:
    """Whether a ray of the picture meets a board before it meets floor or wall."""
    focal = view.focal_px(scene.size[1])
    across, down = (
        np.linspace(-n / 2, n / 2, rays) / focal for n, rays in zip(scene.size, _RAYS, strict=True)
    )
    x, y = np.meshgrid(across, down)
    rays = np.stack([x, y, -np.ones_like(x)], axis=-1) @ view.axes.T
    with np.errstate(divide="ignore"):
        far = ((middle - view.eye) @ axes[:, 2]) / (rays @ axes[:, 2])
        ground = np.where(rays[..., 2] < 0, (-scene.room.drop_m - view.eye[2]) / rays[..., 2], np.inf)
        wall = np.where(rays[..., 1] > 0, (scene.room.wall_y_m - view.eye[1]) / rays[..., 1], np.inf)
    far = np.where((far > 0) & (far < ground) & ((far < wall) | (scene.room.wall is None)), far, np.nan)
    on = (view.eye + far[..., None] * rays - middle) @ axes
    return any(
        ((np.abs(on[..., 0] - at[0]) < half[0]) & (np.abs(on[..., 1] - at[1]) < half[1])).any()
        for half, at in BOARDS
    )
