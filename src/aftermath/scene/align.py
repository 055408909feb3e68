"""What one plane does not explain: the smooth rest of the motion, by optical flow."""

from __future__ import annotations

import cv2
import numpy as np

from aftermath.scene.membrane import membrane
from aftermath.scene.optical_flow import dis_flow, warp

__all__ = ["align", "residual_flow"]

_COARSE = 4  # parallax is smooth: it is kept at a quarter of the size
_RIM_PX = 5
_LIMIT_SHARE = 0.03  # of the diagonal: more than this is not parallax, but a thing


def residual_flow(target: np.ndarray, image: np.ndarray, exclude: np.ndarray) -> np.ndarray:
    """Smooth flow that takes ``target`` onto ``image``, both uint8 (H, W, 3) RGB and already about registered.

    Inside ``exclude`` boolean (H, W), where the two do not show the same things, it is continued from around. Small
    things that move on their own are voted down (median) and do not bend it. Returns float32 (H, W, 2), pixels.
    """
    height, width = exclude.shape
    rim = np.ones((2 * _RIM_PX + 1, 2 * _RIM_PX + 1), np.uint8)
    exclude = cv2.dilate(exclude.astype(np.uint8), rim) > 0  # blur, and a mask drawn too tight
    # what has no counterpart would draw the flow around it along
    flow = dis_flow(np.where(exclude[..., None], image, target), image, preset="fast")
    small = (max(8, width // _COARSE), max(8, height // _COARSE))
    coarse = cv2.resize(flow, small, interpolation=cv2.INTER_AREA)
    hole = cv2.resize(exclude.astype(np.uint8), small, interpolation=cv2.INTER_AREA) > 0
    hole = cv2.dilate(hole.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    coarse = membrane(coarse, hole)
    coarse = np.dstack([cv2.medianBlur(np.ascontiguousarray(coarse[..., axis]), 5) for axis in (0, 1)])
    coarse = cv2.GaussianBlur(coarse, (0, 0), 2.5)
    length = np.linalg.norm(coarse, axis=-1, keepdims=True)
    limit = _LIMIT_SHARE * float(np.hypot(height, width))
    coarse *= np.minimum(1, limit / np.maximum(length, 1e-6))
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)


def align(target: np.ndarray, image: np.ndarray, exclude: np.ndarray) -> np.ndarray:
    """``image`` bent by `residual_flow` until it lies on ``target``; uint8 (H, W, 3)."""
    return warp(image, residual_flow(target, image, exclude))
