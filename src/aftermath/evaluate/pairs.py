"""Pairs of worlds on the disk: a clip with an object, and the same scene filmed without it.

A folder of pairs, or one pair alone; each in the reference's training form or in that of ``examples/``::

    PAIRS/
    ├── one/  rgb_full.mp4     rgb_removed.mp4  mask.mp4        metadata.json  [truth.json]
    └── two/  input_video.mp4  rgb_removed.mp4  quadmask_0.mp4  truth.json     [metadata.json]

The second video is the truth. ``mask.mp4`` and ``quadmask_0.mp4`` are quadmasks. ``truth.json`` says where things
are in both worlds; without it there is no physics to score. ``family``, in either JSON file, groups the pairs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aftermath.core import Quadmask
from aftermath.errors import InputError
from aftermath.media.decode import probe, read_clip
from aftermath.media.masks import read_quadmask

__all__ = ["REGIONS", "Pair", "PairFiles", "Thing", "check_sizes", "find_pairs", "load_pair", "read_video"]

REGIONS = ("object", "affected", "changed", "keep", "all")
_FORMS = (("rgb_full.mp4", "mask.mp4"), ("input_video.mp4", "quadmask_0.mp4"))
_TRUTH = "rgb_removed.mp4"
_FULL_SIZE = 1 << 20


@dataclass(frozen=True)
class PairFiles:
    """Where one pair lies. ``name`` is its folder's."""

    name: str
    source: Path
    truth: Path
    mask: Path
    family: str
    about: dict[str, Any]


@dataclass(frozen=True)
class Thing:
    """A thing that moves otherwise once the object is gone.

    ``size``: (width, height), pixels. ``centers``: in the world without the object, (x, y) in pixels of the picture,
    one a frame; None where it is out of view.
    """

    name: str
    action: str
    size: tuple[int, int]
    centers: tuple[tuple[float, float] | None, ...]


@dataclass(frozen=True)
class Pair:
    """One pair, decoded. ``source`` and ``truth``: uint8 (T, H, W, 3), RGB; ``quadmask`` of the same size."""

    files: PairFiles
    source: np.ndarray
    truth: np.ndarray
    quadmask: Quadmask
    things: tuple[Thing, ...]
    frame_rate: float

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.files.name

    @property
    def regions(self) -> dict[str, np.ndarray]:
        """Boolean (T, H, W) by name, in the order of `REGIONS`."""
        changed = self.quadmask.changed
        parts = (self.quadmask.primary, self.quadmask.affected, changed, ~changed, np.ones_like(changed))
        return dict(zip(REGIONS, parts, strict=True))


def find_pairs(folder: Path) -> list[PairFiles]:
    """The pairs in ``folder``, by name; or the one that ``folder`` is. Raises `InputError` where there is none."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(str(folder), "no such folder", "give a folder of pairs, or one pair")
    if _form(folder):
        return [_describe(folder.resolve())]
    found = [_describe(entry) for entry in sorted(folder.iterdir()) if entry.is_dir() and _form(entry)]
    if not found:
        raise InputError(
            str(folder),
            "holds no pairs",
            "each is a folder with rgb_full.mp4 (or input_video.mp4), rgb_removed.mp4 and mask.mp4 "
            "(or quadmask_0.mp4)",
        )
    return found


def _form(folder: Path) -> tuple[str, str] | None:
    """Names of source and mask, where the folder has a source in either form and says it is a pair."""
    for source, mask in _FORMS:
        if (folder / source).exists() and ((folder / _TRUTH).exists() or (folder / mask).exists()):
            return source, mask
    return None


def _describe(folder: Path) -> PairFiles:
    form = _form(folder)
    assert form is not None
    source, mask = form
    for name in (_TRUTH, mask):
        if not (folder / name).exists():
            raise InputError(str(folder), f"a pair without {name}", "add it, or take the folder out")
    about = {**_read_json(folder / "metadata.json"), **_read_json(folder / "truth.json")}
    family = str(about.get("family") or "")
    return PairFiles(folder.name, folder / source, folder / _TRUTH, folder / mask, family, about)


def _read_json(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(str(path), "cannot be read as JSON", "write it anew") from error
    if not isinstance(values, dict):
        raise InputError(str(path), "must be a JSON object", "write it anew")
    return values


def check_sizes(files: PairFiles) -> None:
    """Look at the headers of one pair alone, so that a bad one is known before hours of work on the others.

    Raises `InputError` where its three videos differ in size, or one cannot be read.
    """
    sizes = {path.name: probe(path) for path in (files.source, files.truth, files.mask)}
    if len({(info.width, info.height) for info in sizes.values()}) > 1:
        told = ", ".join(f"{name} is {info.width}x{info.height}" for name, info in sizes.items())
        raise InputError(f"{files.truth.parent}: {told}", "all must be of one size", "make the pair anew")


def read_video(path: Path) -> np.ndarray:
    """A whole video, uint8 (T, H, W, 3), RGB. Raises `InputError` where it cannot be read."""
    return read_clip(path, _FULL_SIZE).frames


def load_pair(files: PairFiles) -> Pair:
    """Decode one pair.

    Raises `InputError` where its videos differ in size or length, its mask does not fit or is empty, or its
    ``truth.json`` cannot be used.
    """
    source, truth = read_video(files.source), read_video(files.truth)
    if source.shape != truth.shape:
        raise InputError(
            f"{files.truth.parent}: {files.source.name} is {_shape(source)}, {files.truth.name} {_shape(truth)}",
            "the two must be of one size and length",
            "make the pair anew",
        )
    num_frames, height, width = source.shape[:3]
    levels = np.stack(list(read_quadmask(files.mask, expect=(num_frames, height, width))))
    rate = float(probe(files.source).frame_rate)
    return Pair(files, source, truth, Quadmask(levels), _things(files, num_frames), rate)


def _shape(video: np.ndarray) -> str:
    return f"{video.shape[2]}x{video.shape[1]} with {len(video)} frames"


def _things(files: PairFiles, num_frames: int) -> tuple[Thing, ...]:
    """The affected ones, as ``truth.json`` has them."""
    things = []
    try:
        for one in files.about.get("things", []):
            if not one["affected"]:
                continue
            x0, y0, x1, y1 = (float(value) for value in one["box"])
            centers = tuple(None if c is None else (float(c[0]), float(c[1])) for c in one["centers_removed"])
            if len(centers) != num_frames or x1 <= x0 or y1 <= y0:
                raise ValueError(f"{len(centers)} centres for {num_frames} frames, box {one['box']}")
            size = (round(x1 - x0), round(y1 - y0))
            things.append(Thing(str(one["name"]), str(one["action"]), size, centers))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(
            f"{files.truth.with_name('truth.json')} ({error})",
            "each of its things has name, affected, action, box and centers_removed, one a frame",
            "see examples/render.py",
        ) from error
    return tuple(things)
