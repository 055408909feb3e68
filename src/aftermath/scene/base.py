"""`Scene`: what the analysis of a clip found, for the reasoner and the renderer alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from aftermath.scene.parallax import Bend, Parallax

__all__ = ["Camera", "CameraKind", "Scene", "Track"]


class CameraKind(StrEnum):
    """What the camera did."""

    STILL = "still"
    DRIFTING = "drifting"
    MOVING = "moving"
    PARALLAX = "parallax"  # it moved through depth: no one plane explains the picture


@dataclass(frozen=True)
class Camera:
    """``to_plate``: float64 (T, 3, 3), homographies from frame pixels to plate pixels; the plate has the pixels of
    frame ``reference_idx``, its canvas grown to hold every frame. ``residual_px``: what they leave unexplained.
    """

    kind: CameraKind
    to_plate: np.ndarray
    reference_idx: int
    residual_px: float


@dataclass(frozen=True)
class Track:
    """One solid thing that moves at some time, followed through the clip.

    ``label`` marks its pixels in `Scene.labels`. ``centers_px``: float64 (T, 2), (x, y) of its centre in plate
    pixels, NaN where it is not seen. ``areas_px``: float64 (T,), its visible pixels.
    """

    label: int
    centers_px: np.ndarray
    areas_px: np.ndarray

    @property
    def id(self) -> str:
        """Its name in plans and mask tables."""
        return f"track-{self.label}"

    @property
    def seen(self) -> np.ndarray:
        """Boolean (T,): the frames that show it."""
        return self.areas_px > 0


@dataclass(frozen=True)
class Scene:
    """What every frame is made of.

    ``plate``: uint8 (h, w, 3) RGB, what stands behind everything that moves; ``seen``: boolean (h, w), where some
    frame shows it; both in plate pixels. ``labels``: uint8 (T, H, W), the label of the track each pixel of a frame
    belongs to, 0 for none. ``soft``: boolean (T, H, W), pixels through which the background still shows: shadows,
    reflections, glows. ``gains``: float32 (T, 3), exposure of each frame against the plate. ``noise``: standard
    deviation of one frame against the plate, levels of 255.
    ``parallax``: what `Camera.to_plate` leaves unexplained of a static world; None for a still camera.
    """

    camera: Camera
    plate: np.ndarray
    seen: np.ndarray
    labels: np.ndarray
    soft: np.ndarray
    gains: np.ndarray
    noise: float
    tracks: tuple[Track, ...]
    parallax: Parallax | None = None

    def bend(self, t: int) -> Bend | None:
        """The parallax of frame ``t``; None where one plane explains the picture."""
        return None if self.parallax is None else self.parallax[t]

    def mask(self, track: Track) -> np.ndarray:
        """Boolean (T, H, W): where ``track`` is seen."""
        out = np.zeros(self.labels.shape, bool)
        frames = np.flatnonzero(track.seen)
        if frames.size:  # most things of a long clip are in a few frames of it
            part = slice(frames[0], frames[-1] + 1)
            np.equal(self.labels[part], track.label, out=out[part])
        return out

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The scene as plain arrays, for a file; the opposite of `from_arrays`."""
        bent = self.parallax
        return {
            "parallax_ways": np.zeros((0, 0, 2), np.float32) if bent is None else bent.ways,
            "parallax_shape": np.zeros((0, 0, 0), np.float32) if bent is None else bent.shape,
            "parallax_rest": np.zeros((0, 0, 0, 2), np.float32) if bent is None else bent.rest,
            "camera_kind": np.array(str(self.camera.kind)),
            "to_plate": self.camera.to_plate,
            "reference_idx": np.array(self.camera.reference_idx),
            "residual_px": np.array(self.camera.residual_px),
            "plate": self.plate,
            "seen": self.seen,
            "labels": self.labels,
            "soft": self.soft,
            "gains": self.gains,
            "noise": np.array(self.noise),
            "track_labels": np.array([t.label for t in self.tracks], np.int64),
            "centers_px": np.array([t.centers_px for t in self.tracks]).reshape(-1, len(self.labels), 2),
            "areas_px": np.array([t.areas_px for t in self.tracks]).reshape(-1, len(self.labels)),
        }

    @staticmethod
    def from_arrays(arrays: Mapping[str, np.ndarray]) -> Scene:
        """The scene that `to_arrays` took apart."""
        camera = Camera(
            CameraKind(str(arrays["camera_kind"])),
            arrays["to_plate"],
            int(arrays["reference_idx"]),
            float(arrays["residual_px"]),
        )
        tracks = zip(arrays["track_labels"], arrays["centers_px"], arrays["areas_px"], strict=True)
        ways, height, width = arrays["parallax_ways"], *arrays["plate"].shape[:2]
        return Scene(
            camera,
            arrays["plate"],
            arrays["seen"],
            arrays["labels"],
            arrays["soft"],
            arrays["gains"],
            float(arrays["noise"]),
            tuple(Track(int(label), centers, areas) for label, centers, areas in tracks),
            Parallax(ways, arrays["parallax_shape"], arrays["parallax_rest"], (width, height))
            if len(ways)
            else None,
        )
