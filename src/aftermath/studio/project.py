"""`Project`: one clip in a folder of its own, and everything that was decided and made of it.

ID/
├── document.json    what a person decided (`aftermath.studio.document`)
├── clip/            the uploaded file; empty where a file of this machine is used in place
├── before.frames    the clip at the size that is analysed; before.json beside it says how many
├── small.frames     smaller still, for an answer to a click
├── camera.json      how the camera moved, for the same
├── run/             the run folder (`aftermath.media.runs`): it goes on from there
├── found.json       the plan as it was found; followed.json: with what was changed of it
├── levels.frames    the quadmask as it was found
├── paint/           frames of it that were painted, 00012.png
├── painted.mkv      the quadmask with them, while a result is made
├── result.*         the result, and after.frames what the page shows of it
└── status.json      what is made, of which decisions, and what was said of it
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pydantic import ValidationError

from aftermath.core import Level, Plan
from aftermath.errors import InputError
from aftermath.media.arrays import load_arrays
from aftermath.media.runs import Stage, key_of, write_whole
from aftermath.studio.document import Document, Way
from aftermath.studio.frames import FrameFile

__all__ = ["SUFFIXES", "Project"]

SUFFIXES = {"h264": ".mp4", "hevc": ".mp4", "prores": ".mov", "ffv1": ".mkv"}
"""What a result of each codec is named."""

_LEVELS = np.array(sorted(Level), np.uint8)


@dataclass
class Project:
    """The folder ``root``. Reading and changing it is safe from several threads of one process."""

    root: Path

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        self._segment: tuple[int, np.ndarray] | None = None

    @property
    def id(self) -> str:
        """Its name in addresses."""
        return self.root.name

    @property
    def run(self) -> Path:
        """The run folder."""
        return self.root / "run"

    # What was decided

    @property
    def document(self) -> Document:
        """What was decided. Raises `InputError` where the file is damaged."""
        path = self.root / "document.json"
        try:
            return Document.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, ValidationError) as error:
            raise InputError(f"project {self.id}", "its document is damaged or gone") from error

    def keep(self, document: Document) -> None:
        """Write what was decided."""
        with self._lock:
            text = document.model_dump_json(indent=1)
            write_whole(self.root / "document.json", lambda part: part.write_text(text, encoding="utf-8"))

    def edit(self, changes: Any) -> Document:
        """Change some fields of the document. Raises `InputError` for what cannot be."""
        with self._lock:
            document = self.document.edited(changes)
            before = self.before
            for way in document.ways.values():
                for place in way.path or ():
                    if before is not None and place.frame >= before.num_frames:
                        allowed = f"must be one of the clip's frames 0 to {before.num_frames - 1}"
                        raise InputError(f"frame {place.frame} of a path", allowed)
            self.keep(document)
            return document

    @property
    def clip(self) -> Path:
        """The video file."""
        return self.root / self.document.clip  # an absolute one replaces the folder

    # What is known

    @property
    def status(self) -> dict[str, Any]:
        """What was made and said; empty where nothing was."""
        try:
            known = json.loads((self.root / "status.json").read_text(encoding="utf-8"))
            return known if isinstance(known, dict) else {}
        except (OSError, ValueError):
            return {}

    def note(self, **facts: Any) -> None:
        """Add to what is known."""
        with self._lock:
            text = json.dumps(self.status | facts, indent=1)
            write_whole(self.root / "status.json", lambda part: part.write_text(text, encoding="utf-8"))

    @property
    def asked_key(self) -> str:
        """Changes with whatever changes what is found."""
        document = self.document
        choices = document.choices
        return key_of(asked=document.asked(), regions=choices.regions, reasoner=choices.reasoner)

    @property
    def mask_key(self) -> str:
        """Changes with whatever changes the quadmask, but for what is painted in it."""
        return key_of(asked=self.asked_key, ways=self.document.model_dump(mode="json")["ways"])

    @property
    def result_key(self) -> str:
        """Changes with whatever changes the result."""
        document = self.document
        return key_of(
            mask=self.mask_key,
            paint=[(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in self._painted()],
            prompt=document.prompt,
            choices=document.choices.model_dump(mode="json"),
        )

    def stamp(self) -> tuple[int, ...]:
        """Differs whenever a file that the page shows was written."""
        files = ("document.json", "status.json", "found.json", "camera.json", "paint")
        return tuple(_written_ns(self.root / name) for name in (*files, "before.json", "after.json"))

    # What is shown

    @property
    def before(self) -> FrameFile | None:
        """The clip; None until it was read."""
        return FrameFile.open(self.root / "before.frames")

    @property
    def after(self) -> FrameFile | None:
        """The result; None where there is none."""
        return FrameFile.open(self.root / "after.frames")

    @property
    def result(self) -> Path | None:
        """The file of the result; None where there is none."""
        name = self.status.get("result", "")
        path = self.root / name
        return path if name and path.is_file() else None

    def plan(self) -> Plan | None:
        """What was found, with what a person changed of it; None where nothing was looked for."""
        before, status = self.before, self.status
        try:
            text = (self.root / "found.json").read_text(encoding="utf-8")
        except OSError:
            return None
        if before is None:
            return None
        size = {"width": status["width"], "height": status["height"], "num_frames": before.num_frames}
        return changed(Plan.from_json(text, **size), self.document.ways)

    def levels(self, frame: int) -> np.ndarray:
        """The quadmask of one frame, uint8 (H, W), as it is analysed: as it was painted, or as it was found, or while
        the rest is still looked for the object alone. Raises IndexError."""
        before = self.before
        if before is None or not 0 <= frame < before.num_frames:
            raise IndexError(frame)
        shape, painted = before.shape[:2], self._paint_file(frame)
        if painted.exists():
            values = cv2.imread(str(painted), cv2.IMREAD_GRAYSCALE)
            if values is not None and values.shape == shape:
                return values
        found = FrameFile.open(self.root / "levels.frames")
        if found and found.num_frames > frame and self.status.get("mask_asked") == self.asked_key:
            return found.read(frame)
        segment = self._segmented()
        if segment is not None and len(segment) > frame and segment.shape[1:] == shape:
            return np.where(segment[frame], np.uint8(Level.PRIMARY), np.uint8(Level.KEEP))
        return np.full(shape, Level.KEEP, np.uint8)

    def _segmented(self) -> np.ndarray | None:
        """The object in every frame, where a run has followed it and is not done yet."""
        path = self.run / "stages" / f"{Stage.SEGMENT}.npz"
        if self.status.get("segmented") != self.asked_key or not path.exists():
            return None
        stamp = path.stat().st_mtime_ns
        if self._segment is None or self._segment[0] != stamp:
            try:
                self._segment = stamp, load_arrays(path)["primary"]
            except (OSError, ValueError, KeyError):
                return None
        return self._segment[1]

    # What is painted

    def painted_frames(self) -> list[int]:
        """The frames that were painted, in order."""
        return [int(path.stem) for path in self._painted()]

    def painted(self) -> dict[str, Any]:
        """The frames that were painted, and of each something that changes when it is painted again."""
        files = self._painted()
        return {
            "painted": [int(path.stem) for path in files],
            "paint_revs": {str(int(path.stem)): str(_written_ns(path)) for path in files},
        }

    def paint(self, frame: int, values: np.ndarray) -> None:
        """Keep a painted frame, uint8 (H, W) as it is analysed. Raises `InputError` for anything but levels."""
        before = self.before
        if before is None or not 0 <= frame < before.num_frames:
            raise InputError(f"frame {frame}", "must be one of the clip's")
        if values.shape != before.shape[:2] or not np.isin(values, _LEVELS).all():
            height, width = before.shape[:2]
            raise InputError("the painted frame", f"must be {width}x{height} of 0, 63, 127 and 255")
        target = self._paint_file(frame)
        target.parent.mkdir(exist_ok=True)
        data = cv2.imencode(".png", values)[1].tobytes()
        write_whole(target, lambda part: part.write_bytes(data))

    def unpaint(self, frame: int) -> None:
        """Forget a painted frame."""
        self._paint_file(frame).unlink(missing_ok=True)

    def _paint_file(self, frame: int) -> Path:
        return self.root / "paint" / f"{frame:05d}.png"

    def _painted(self) -> list[Path]:
        return sorted(p for p in (self.root / "paint").glob("*.png") if re.fullmatch(r"\d{5,7}", p.stem))


def _written_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def changed(plan: Plan, ways: dict[str, Way]) -> Plan:
    """The plan with what a person changed of its findings; a path that they drew is directed."""
    things = []
    for thing in plan.affected:
        way = ways.get(thing.id)
        if way is not None:
            path = way.positions()
            thing = replace(
                thing,
                applied=thing.applied if way.applied is None else way.applied,
                action=way.action or thing.action,
                # a computed path belongs to the action that it was computed for
                path=thing.path if path is None and way.action in (None, thing.action) else (path or ()),
                directed=thing.directed if path is None else bool(path),
            )
        things.append(thing)
    return plan.with_affected(tuple(things))
