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
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from aftermath.core import Quadmask
from aftermath.errors import InputError
from aftermath.media.decode import probe, read_clip
from aftermath.media.masks import read_quadmask
from aftermath.media.runs import digest, key_of

__all__ = ["REGIONS", "Pair", "PairFiles", "Thing", "check_sizes", "find_pairs", "load_pair", "read_video"]

REGIONS = ("object", "affected", "changed", "keep", "all")
_FORMS = (("rgb_full.mp4", "mask.mp4"), ("input_video.mp4", "quadmask_0.mp4"))
_TRUTH = "rgb_removed.mp4"
_FULL_SIZE = 1 << 20
_SHOWN_SHARE = 0.6  # of its usual area: less is half hidden, and looks like something else
_LEAST_PX = 4


@dataclass(frozen=True)
class PairFiles:
    """Where one pair lies. ``name`` is its folder's."""

    name: str
    source: Path
    truth: Path
    mask: Path
    family: str
    about: dict[str, Any]

    @cached_property
    def digest(self) -> str:
        """Tells its three videos from others. They are read for it once."""
        return key_of(videos=[digest(path) for path in (self.source, self.truth, self.mask)])


@dataclass(frozen=True)
class Thing:
    """A thing that moves otherwise once the object is gone, as the world without the object has it.

    ``boxes``: half-open (x0, y0, x1, y1), whole pixels, one a frame, within the picture; None where not all of the
    thing is in view. ``centers``: its middle, (x, y) in pixels, the first pixel's centre being (0, 0); known for every
    box. ``click``: where it is seen on frame 0 of the source, if it is.
    """

    name: str
    action: str
    boxes: tuple[tuple[int, int, int, int] | None, ...]
    centers: tuple[tuple[float, float] | None, ...]
    click: tuple[int, int] | None = None


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
    """The pairs in ``folder``, by name; or the one that ``folder`` is. Raises `InputError` where there is none, and for
    half a pair."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(str(folder), "no such folder", "give a folder of pairs, or one pair")
    if _is_pair(folder):
        return [_describe(folder.resolve())]
    entries = [entry for entry in sorted(folder.iterdir()) if entry.is_dir()]
    # a hidden one is half a pair, perhaps being made
    found = [_describe(entry) for entry in entries if entry.name[0] != "." and _is_pair(entry)]
    if not found:
        raise InputError(
            str(folder),
            "holds no pairs",
            "each is a folder with rgb_full.mp4 (or input_video.mp4), rgb_removed.mp4 and mask.mp4 "
            "(or quadmask_0.mp4)",
        )
    return found


def _is_pair(folder: Path) -> bool:
    """Whether it is one, or half of one: it has a video that nothing but a pair has, or a source and its mask."""
    if any((folder / name).exists() for name in (_FORMS[0][0], _TRUTH)):
        return True
    return any((folder / source).exists() and (folder / mask).exists() for source, mask in _FORMS)


def _describe(folder: Path) -> PairFiles:
    source, mask = next((form for form in _FORMS if (folder / form[0]).exists()), _FORMS[0])
    for name in (source, _TRUTH, mask):
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
    return Pair(files, source, truth, Quadmask(levels), _things(files, num_frames, (width, height)), rate)


def _shape(video: np.ndarray) -> str:
    return f"{video.shape[2]}x{video.shape[1]} with {len(video)} frames"


def _things(files: PairFiles, num_frames: int, size: tuple[int, int]) -> tuple[Thing, ...]:
    """The affected ones, as ``truth.json`` has them: that of ``examples/``, or that of ``aftermath generate``."""
    try:
        things = [
            _generated(one) if "without" in one else _filmed(one, size)
            for one in files.about.get("things", [])
            if not one.get("removed") and one.get("affected", one["action"] != "none")
        ]
        for thing in things:
            if not len(thing.centers) == len(thing.boxes) == num_frames:
                raise ValueError(f"{thing.name}: {len(thing.centers)} centres for {num_frames} frames")
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(
            f"{files.truth.with_name('truth.json')} ({error})",
            "each thing has name and action, and box and centers_removed, or with and without",
            "see examples/render.py and aftermath generate",
        ) from error
    return tuple(_scorable(thing, size) for thing in things)


def _filmed(one: dict[str, Any], size: tuple[int, int]) -> Thing:
    """From ``box``, that of the thing where it is first seen, and ``centers_removed``."""
    x0, y0, x1, y1 = (round(value) for value in one["box"])
    centers, boxes = [_point(center) for center in one["centers_removed"]], []
    for center in centers:
        if center is None:
            boxes.append(None)
            continue
        x, y = round(center[0] - (x1 - x0 - 1) / 2), round(center[1] - (y1 - y0 - 1) / 2)
        boxes.append((x, y, x + x1 - x0, y + y1 - y0))
    click = one.get("click") or {}
    at = (click["x"], click["y"]) if click.get("frame") == 0 else None
    return Thing(str(one["name"]), str(one["action"]), tuple(boxes), tuple(centers), at)


def _generated(one: dict[str, Any]) -> Thing:
    """From ``without``: the ``box`` and the middle of what is ``seen``, frame by frame."""
    without = one["without"]
    boxes = tuple(None if box is None else tuple(map(int, box)) for box in without["box"])
    centers = tuple(_point(center) for center in without["seen"])
    first = _point(one["with"]["seen"][0])
    at = None if first is None else (round(first[0]), round(first[1]))
    return Thing(str(one["name"]), str(one["action"]), boxes, centers, at)  # type: ignore[arg-type]


def _point(values: Any) -> tuple[float, float] | None:
    return None if values is None else (float(values[0]), float(values[1]))


def _scorable(thing: Thing, size: tuple[int, int]) -> Thing:
    """Without the boxes that do not show all of the thing: at the border, half hidden, or a few pixels in all."""
    areas = [0 if box is None else (box[2] - box[0]) * (box[3] - box[1]) for box in thing.boxes]
    whole = float(np.median([area for area in areas if area] or [0]))
    boxes = tuple(
        box if box and center and _inside(box, size) and area >= _SHOWN_SHARE * whole else None
        for box, center, area in zip(thing.boxes, thing.centers, areas, strict=True)
    )
    return replace(thing, boxes=boxes)


def _inside(box: tuple[int, int, int, int], size: tuple[int, int]) -> bool:
    x0, y0, x1, y1 = box
    large = x1 - x0 >= _LEAST_PX and y1 - y0 >= _LEAST_PX
    return large and x0 > 0 and y0 > 0 and x1 < size[0] and y1 < size[1]
