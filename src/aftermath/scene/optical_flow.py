"""Dense optical flow between two pictures, following it, and how far to believe it.

Flow fields are float32 (H, W, 2), (dx, dy) in pixels: what stands at pixel p of the first picture stands at
p + flow(p) in the second.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Literal

import cv2
import numpy as np

__all__ = ["Flow", "Preset", "consistency", "dis_flow", "warp"]

Flow = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From one picture, uint8 (H, W, 3) RGB, to another: a flow field. `dis_flow`, or `aftermath.scene.raft`."""

Preset = Literal["ultrafast", "fast", "medium"]

_PRESETS = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}
_MIN_SIDE_PX = 32  # DIS's patches and pyramid need this much; smaller pictures are padded up to it


def dis_flow(
    a: np.ndarray, b: np.ndarray, *, initial: np.ndarray | None = None, preset: Preset = "medium"
) -> np.ndarray:
    """Dense inverse search flow (Kroeger et al., ECCV 2016) from ``a`` to ``b``.

    ``a``, ``b``: uint8 (H, W, 3) RGB or (H, W) grey, one size. ``initial``: a flow field to start from.
    Returns float32 (H, W, 2), pixels: pixel p of ``a`` is at p + flow(p) in ``b``. Raises `ValueError` where
    the sizes differ.
    """
    if a.shape[:2] != b.shape[:2]:
        raise ValueError(f"flow between pictures of sizes {a.shape[:2]} and {b.shape[:2]}")
    height, width = a.shape[:2]
    down, right = max(0, _MIN_SIDE_PX - height), max(0, _MIN_SIDE_PX - width)
    if initial is None:
        start = np.zeros((height + down, width + right, 2), np.float32)
    else:
        start = _padded(np.array(initial, np.float32), down, right)  # a copy: DIS writes into it
    dis = cv2.DISOpticalFlow.create(_PRESETS[preset])
    flow = dis.calc(_padded(_grey(a), down, right), _padded(_grey(b), down, right), start)
    return np.ascontiguousarray(flow[:height, :width])


def warp(image: np.ndarray, flow: np.ndarray, *, nearest: bool = False) -> np.ndarray:
    """Backward warping: sample ``image`` at p + flow(p); past the border, the border's value.

    ``image``: (H', W') or (H', W', C), uint8, bool or float32; ``flow``: float32 (H, W, 2), pixels. Returns
    (H, W[, C]) of the image's type. ``nearest`` keeps labels whole; without it bilinear, bool rounded at 0.5.
    """
    height, width = flow.shape[:2]
    x, y = _positions(height, width)
    source = image.astype(np.float32) if image.dtype == bool else image
    sampled = cv2.remap(
        source,
        flow[..., 0] + x,
        flow[..., 1] + y,
        cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return sampled > 0.5 if image.dtype == bool else sampled


def consistency(forward: np.ndarray, backward: np.ndarray) -> np.ndarray:
    """How far a pixel lands from itself after going ``forward`` and coming ``backward``.

    Both float32 (H, W, 2), pixels. Returns float32 (H, W), pixels; large where something is hidden in the
    other picture, or the flow is wrong.
    """
    return np.linalg.norm(forward + warp(backward, forward), axis=-1)


def _grey(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.ndim == 3 else image


def _padded(image: np.ndarray, down: int, right: int) -> np.ndarray:
    if not (down or right):
        return np.ascontiguousarray(image)
    return cv2.copyMakeBorder(image, 0, down, 0, right, cv2.BORDER_REPLICATE)


@cache
def _positions(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """(x, y) of every pixel, as float32 row and column that broadcast to (height, width)."""
    return np.arange(width, dtype=np.float32)[None, :], np.arange(height, dtype=np.float32)[:, None]
