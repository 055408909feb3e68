"""`Scene`: what the analysis of a clip found, for the reasoner and the renderer alike."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

__all__ = ["Camera", "CameraKind", "Scene", "Track"]


class CameraKind(StrEnum):
    """What the camera did."""

    STILL = "still"
    DRIFTING = "drifting"
    MOVING = "moving"
    PARALLAX = "parallax"  # it moved through depth: no one plane explains the picture


@dataclass(frozen=True)
class Camera:
    """``to_plate``: float64 (T, 3, 3), homographies from frame pixels to plate pixels (the plate is frame
    ``reference_idx`` extended by ``offset``); ``residual_px``: what they leave unexplained, median over the picture.
    """

    kind: CameraKind
    to_plate: np.ndarray
    reference_idx: int
    residual_px: float


@dataclass(frozen=True)
class Track:
    """One thing that moves at some time, followed through the clip.

    ``mask``: boolean (T, H, W), False where it is not seen. ``centers_px``: float64 (T, 2), (x, y) of its centre in
    plate pixels, NaN where not seen. ``moving``: boolean (T,).
    """

    id: str
    mask: np.ndarray
    centers_px: np.ndarray
    moving: np.ndarray


@dataclass(frozen=True)
class Scene:
    """``plate``: uint8 (h, w, 3) RGB, what stands behind everything that moves; ``seen``: boolean (h, w), where some
    frame shows it. Both in plate pixels."""

    camera: Camera
    plate: np.ndarray
    seen: np.ndarray
    tracks: tuple[Track, ...]
