"""Fine structure: what tells a thing from light, for light on a surface changes slowly."""

from __future__ import annotations

import cv2
import numpy as np

__all__ = ["EDGE_PX", "FINE_PX", "WINDOW_PX", "fineness"]

FINE_PX = 3
"""Structure up to about this size is fine (standard deviation of the blur it is told from)."""

WINDOW_PX = 9
"""Side of the square over which it is averaged."""

EDGE_PX = 13
"""The edge of a shadow is fine too, but in a strip narrower than this."""


def fineness(ratio: np.ndarray) -> np.ndarray:
    """The root mean square of the fine structure round each pixel of ``ratio``, float32 (H, W), of two pictures."""
    fine = np.square(ratio - cv2.GaussianBlur(ratio, (0, 0), FINE_PX))
    return np.sqrt(np.maximum(cv2.blur(fine, (WINDOW_PX, WINDOW_PX)), 0))
