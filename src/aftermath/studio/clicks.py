"""An answer to a click at once: the object on that frame, from a small copy of the clip."""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path
from threading import Lock

import numpy as np

from aftermath.core import Level
from aftermath.errors import InputError
from aftermath.media.masks import resize_levels
from aftermath.media.runs import write_whole
from aftermath.scene.base import Camera, CameraKind
from aftermath.segment.base import Prompts
from aftermath.segment.flow import FirstLook
from aftermath.studio.frames import FrameFile
from aftermath.studio.project import Project

__all__ = ["SMALL_SIDE_PX", "Clicks", "save_camera"]

SMALL_SIDE_PX = 512
"""Long side of the copy in which clicks are answered."""

_KEPT = 3  # projects whose views of frames stay in memory


def save_camera(path: Path, camera: Camera) -> None:
    """Keep how the camera moved, for `Clicks`."""
    known = {
        "kind": camera.kind,
        "to_plate": camera.to_plate.tolist(),
        "reference_idx": camera.reference_idx,
        "residual_px": camera.residual_px,
    }
    write_whole(path, lambda part: part.write_text(json.dumps(known), encoding="utf-8"))


def _camera(path: Path) -> Camera:
    known = json.loads(path.read_text(encoding="utf-8"))
    kind, to_plate = CameraKind(known["kind"]), np.array(known["to_plate"])
    return Camera(kind, to_plate, int(known["reference_idx"]), float(known["residual_px"]))


class Clicks:
    """What was seen of the clips that are clicked in, so that a second click on a frame costs less than a first."""

    def __init__(self) -> None:
        self._looks: OrderedDict[tuple[Path, int], FirstLook] = OrderedDict()
        self._lock = Lock()

    def mask(self, project: Project, prompts: Prompts, frame: int) -> np.ndarray:
        """The object that ``prompts``, in source pixels, show on ``frame``: uint8 (H, W) of levels, as analysed.

        Raises `InputError` where they lead to nothing, or the clip is not read yet.
        """
        before = project.before
        with self._lock:  # one answer at a time: the graph cut takes every core there is
            look, status = self._look(project), project.status
            height, width = look.shape
            found = look.object_on(frame, prompts.scaled(width / status["width"], height / status["height"]))
        if before is None or not found.any():
            raise InputError("the click", "must lie on an object, but none stands out there")
        levels = np.where(found, np.uint8(Level.PRIMARY), np.uint8(Level.KEEP))
        height, width = before.shape[:2]
        return resize_levels(levels, width, height)

    def _look(self, project: Project) -> FirstLook:
        small, camera = FrameFile.open(project.root / "small.frames"), project.root / "camera.json"
        if small is None or not camera.exists():
            raise InputError("the clip", "is still being read", "wait a moment")
        key = project.root, camera.stat().st_mtime_ns
        if key not in self._looks:
            status = project.status
            self._looks[key] = FirstLook(small.clip(status["width"], status["height"]), _camera(camera))
        self._looks.move_to_end(key)
        while len(self._looks) > _KEPT:
            self._looks.popitem(last=False)
        return self._looks[key]
