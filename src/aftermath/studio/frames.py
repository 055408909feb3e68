"""Frames that the page shows: kept beside the project at the size that is analysed, read one at a time.

A file holds one picture after another, uint8, without a header; nothing of it stays in memory.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from aftermath.core import Clip, fit_long_side
from aftermath.media.files import explained
from aftermath.media.runs import write_whole

__all__ = ["FrameFile", "jpeg", "write_frames"]

_QUALITY = 90


@dataclass(frozen=True)
class FrameFile:
    """``num_frames`` pictures of ``shape``, (H, W, 3) or (H, W), in ``path``; ``times_s`` from the first."""

    path: Path
    num_frames: int
    shape: tuple[int, ...]
    times_s: tuple[float, ...] = ()

    @classmethod
    def open(cls, path: Path) -> FrameFile | None:
        """What `write_frames` wrote there; None where it is not, or not whole."""
        try:
            known = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
            file = cls(path, known["num_frames"], tuple(known["shape"]), tuple(known["times_s"]))
            return file if path.stat().st_size == file.num_frames * file.frame_bytes else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @property
    def frame_bytes(self) -> int:
        """Bytes of one picture."""
        return int(np.prod(self.shape))

    def read(self, frame: int) -> np.ndarray:
        """One picture, uint8. Raises IndexError for a frame that is not there."""
        if not 0 <= frame < self.num_frames:
            raise IndexError(frame)
        values = np.fromfile(self.path, np.uint8, self.frame_bytes, offset=frame * self.frame_bytes)
        return values.reshape(self.shape)

    def mapped(self) -> np.ndarray:
        """All pictures, (T, H, W[, 3]), read from the disk where they are looked at."""
        return np.memmap(self.path, np.uint8, "r", shape=(self.num_frames, *self.shape))

    def clip(self, source_width: int, source_height: int) -> Clip:
        """The pictures as a `Clip` made from a source of that size."""
        return Clip(self.mapped(), np.array(self.times_s), source_width, source_height)


def write_frames(
    path: Path,
    pictures: Iterable[np.ndarray],
    times_s: list[float],
    tell: Callable[[int], None] | None = None,
) -> FrameFile:
    """Write pictures, uint8 of one shape, and how many they are and when (``times_s``, which may grow meanwhile).

    Raises `InputError` where the disk is full.
    """
    count, shape = 0, (0, 0)
    note = path.with_suffix(".json")
    note.unlink(missing_ok=True)  # from here on the file is not whole

    def write(part: Path) -> None:
        nonlocal count, shape
        with part.open("wb") as store:
            for picture in pictures:
                shape, count = picture.shape, count + 1
                store.write(np.ascontiguousarray(picture).data)
                if tell:
                    tell(count)

    write_whole(path, write)
    file = FrameFile(path, count, shape, tuple(times_s))
    known = {name: value for name, value in asdict(file).items() if name != "path"}
    with explained(note):
        write_whole(note, lambda part: part.write_text(json.dumps(known), encoding="utf-8"))
    return file


def jpeg(picture: np.ndarray, long_side_px: int = 0) -> bytes:
    """A picture, uint8 (H, W, 3) RGB, as JPEG; ``long_side_px``: at most so large, 0 as it is."""
    if long_side_px:
        size = fit_long_side(picture.shape[1], picture.shape[0], long_side_px)
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
