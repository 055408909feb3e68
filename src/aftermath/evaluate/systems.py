"""What is scored: a folder of anyone's outputs, one of our engines, or a baseline that needs no program at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from aftermath.config import Codec, Engine, RemoveOptions
from aftermath.core import Quadmask
from aftermath.errors import AftermathError, InputError
from aftermath.evaluate.pairs import Pair, PairFiles, read_video
from aftermath.loaded import LoadedModels
from aftermath.media.decode import probe
from aftermath.media.masks import write_masks

__all__ = [
    "Baseline",
    "EngineSystem",
    "Folder",
    "Given",
    "Output",
    "System",
    "Unscored",
    "baseline",
    "baseline_named",
    "fitted",
    "folders",
]

_SUFFIXES = (".mp4", ".mkv")
_SAME_RATE = 0.01  # frames a second; a header rounds
_APART, _PART = 0.03, 0.2  # of the picture's width; of the largest part: what is smaller no user would box


class Unscored(Exception):  # noqa: N818 - an outcome, told in the report
    """There is nothing to score for a pair, and why, in one line."""


@dataclass(frozen=True)
class Output:
    """A system's video for one pair, uint8 (T, H, W, 3) RGB of the pair's shape, and what was done to make it fit."""

    frames: np.ndarray
    notes: tuple[str, ...] = ()


class System(Protocol):
    """Something with an output for every pair, or a reason why not."""

    @property
    def name(self) -> str:
        """As the report calls it."""
        ...

    def output(self, pair: Pair) -> Output:
        """Its video for ``pair``. Raises `Unscored` where there is none."""
        ...


@dataclass(frozen=True)
class Folder:
    """``folder`` holds one video a pair: ``PAIR.mp4``, ``PAIR.mkv`` or ``PAIR/out.mp4`` (``.mkv``)."""

    name: str
    folder: Path

    def file(self, name: str) -> Path | None:
        """The video of the pair called ``name``; None where there is none."""
        tried = [self.folder / f"{name}{suffix}" for suffix in _SUFFIXES]
        tried += [self.folder / name / f"out{suffix}" for suffix in _SUFFIXES]
        return next((path for path in tried if path.is_file()), None)

    def check(self, pairs: list[PairFiles]) -> None:
        """Raise `InputError` where the folder is none, or has no output for any of ``pairs``."""
        if not self.folder.is_dir():
            raise InputError(str(self.folder), "no such folder", "give a folder of one video a pair")
        if not any(self.file(pair.name) for pair in pairs):
            raise InputError(
                str(self.folder),
                f"has no output for any of {len(pairs)} pairs",
                f"name them after their pairs: {pairs[0].name}.mp4, .mkv, or {pairs[0].name}/out.mp4",
            )

    def output(self, pair: Pair) -> Output:
        """See `System`."""
        path = self.file(pair.name)
        if path is None:
            raise Unscored("no output")
        try:
            frames, rate = read_video(path), float(probe(path).frame_rate)
        except AftermathError as error:
            raise Unscored(str(error)) from error
        return fitted(frames, rate, pair)


def fitted(frames: np.ndarray, rate: float, pair: Pair) -> Output:
    """``frames`` made to fit ``pair``. Raises `Unscored` where some are missing; what else differs is noted."""
    num_frames, height, width = pair.truth.shape[:3]
    notes = []
    if len(frames) < num_frames:
        raise Unscored(f"{len(frames)} frames of {num_frames}")
    if len(frames) > num_frames:
        notes.append(f"{len(frames)} frames for {num_frames}: those after the end are not scored")
        frames = frames[:num_frames]
    if frames.shape[1:3] != (height, width):
        notes.append(f"{frames.shape[2]}x{frames.shape[1]}, resized to {width}x{height}")
        kernel = cv2.INTER_AREA if frames.shape[2] > width else cv2.INTER_CUBIC
        frames = np.stack([cv2.resize(frame, (width, height), interpolation=kernel) for frame in frames])
    if abs(rate - pair.frame_rate) > _SAME_RATE:
        notes.append(f"{rate:g} frames a second for {pair.frame_rate:g}: scored frame by frame")
    return Output(frames, tuple(notes))


class Baseline(StrEnum):
    """What every system is measured against."""

    UNTOUCHED = "untouched"  # the source as it is: nothing may be worse
    INPAINT = "inpaint"  # every frame filled by itself
    TRUTH = "truth"  # perfect by definition: what it misses, the scores miss


@dataclass(frozen=True)
class _Computed:
    name: str
    make: Callable[[Pair], np.ndarray] = field(repr=False)

    def output(self, pair: Pair) -> Output:
        return Output(self.make(pair))


def baseline_named(name: str) -> System:
    """A built-in system by its name. Raises `InputError` for no such one."""
    try:
        return baseline(Baseline(name))
    except ValueError as error:
        raise InputError(f"baseline {name!r}", f"must be {', '.join(Baseline)}") from error


def folders(paths: Sequence[Path]) -> list[Folder]:
    """Folders of outputs as systems, called by their last names, or by all of the path where these are equal."""
    names = [path.resolve().name for path in paths]
    return [
        Folder(str(path) if names.count(name) > 1 else name, path)
        for path, name in zip(paths, names, strict=True)
    ]


def baseline(which: Baseline) -> System:
    """One of the built-in systems."""
    makers = {
        Baseline.UNTOUCHED: lambda pair: pair.source,
        Baseline.INPAINT: _inpainted,
        Baseline.TRUTH: lambda pair: pair.truth,
    }
    return _Computed(str(which), makers[which])


def _inpainted(pair: Pair) -> np.ndarray:
    """All that may change filled from its rim: Telea 2004, ``cv2.inpaint`` with 5 pixels."""
    return np.stack(
        [
            cv2.inpaint(frame, changed.astype(np.uint8), 5, cv2.INPAINT_TELEA)
            for frame, changed in zip(pair.source, pair.quadmask.changed, strict=True)
        ]
    )


class Given(StrEnum):
    """What an engine of ours is told of a pair."""

    QUADMASK = "quadmask"  # the true one: painting alone is scored
    OBJECT = "object"  # the true object, and nothing of what it affects: what an inpainter is told
    BOX = "box"  # round the object, or each of several: finding and reasoning are scored too


@dataclass(frozen=True)
class EngineSystem:
    """``aftermath.remove`` with ``engine``, told what ``given`` says.

    ``say_falls`` gives the one click that says what falls, as a user would: a picture in which nothing moves yet cannot
    show it. Outputs are kept in ``folder``, without loss; what is there already is taken.
    """

    engine: Engine
    folder: Path
    model: str = ""
    given: Given = Given.QUADMASK
    say_falls: bool = False
    passes: int = 1
    models: LoadedModels = field(default_factory=LoadedModels, repr=False, compare=False)

    @property
    def name(self) -> str:
        """The engine, and what it was given."""
        model = f" {Path(self.model).name}" if self.model else ""
        told = ", falls told" if self.say_falls else ""
        passes = f", {self.passes} passes" if self.passes > 1 else ""
        return f"{self.engine}{model}, {self.given}{told}{passes}"

    @property
    def options(self) -> RemoveOptions:
        """How it removes."""
        return RemoveOptions(engine=self.engine, codec=Codec.FFV1, model=self.model, passes=self.passes)

    def check(self, pairs: Sequence[PairFiles]) -> None:
        """Raise `InputError` where it cannot run here at all."""
        from aftermath.engines import choose_engine

        choose_engine(self.options)

    def output(self, pair: Pair) -> Output:
        """See `System`."""
        from aftermath.remove import remove

        folder = self.folder / self.name  # another way of running is another folder
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / f"{pair.name}.mkv"
        falls = _falls(pair) if self.say_falls else []
        prompt = str(pair.files.about.get("prompt") or "")
        try:
            remove(
                pair.files.source,
                target,
                boxes=_boxes(pair) if self.given is Given.BOX else [],
                quadmask=None if self.given is Given.BOX else self._quadmask(pair, folder),
                affected=falls,
                prompt=prompt,
                options=self.options,
                models=self.models,  # loaded once for all pairs
            )
            return fitted(read_video(target), float(probe(target).frame_rate), pair)
        except AftermathError as error:
            raise Unscored(str(error)) from error

    def _quadmask(self, pair: Pair, folder: Path) -> Path:
        if self.given is Given.QUADMASK:
            return pair.files.mask
        path = folder / f"{pair.name}.object.mkv"
        primary = pair.quadmask.primary
        alone = Quadmask.from_masks(primary, np.zeros_like(primary))
        write_masks(path, list(alone.values), Fraction(pair.frame_rate).limit_denominator(1000))
        return path


def _boxes(pair: Pair) -> list[str]:
    """What a user would draw on the first frame that shows the object well: a box round each of its parts that stand
    apart."""
    removed = pair.files.about.get("removed")
    try:
        x0, y0, x1, y1 = removed["box"]  # type: ignore[index]
        return [f"{x0},{y0},{x1},{y1}@{removed['frame']}"]  # type: ignore[index]
    except (TypeError, KeyError, ValueError):
        sizes = pair.quadmask.primary.sum(axis=(1, 2))
        frame = int(np.flatnonzero(sizes >= sizes.max() / 2)[0])
        return [f"{box}@{frame}" for box in _apart(pair.quadmask.primary[frame])]


def _apart(mask: np.ndarray) -> list[str]:
    """A box, as the command line takes it, round each group of pieces of ``mask`` boolean (H, W) that are close."""
    gap = 2 * round(_APART * mask.shape[1]) + 1
    _, groups = cv2.connectedComponents(cv2.dilate(mask.astype(np.uint8), np.ones((gap, gap), np.uint8)))
    sizes = np.bincount(groups[mask])
    boxes = []
    for group in np.flatnonzero(sizes >= _PART * sizes.max()):
        y, x = np.nonzero(mask & (groups == group))
        boxes.append(f"{x.min()},{y.min()},{x.max() + 1},{y.max() + 1}")
    return boxes


def _falls(pair: Pair) -> list[str]:
    """The clicks that a user would make."""
    falling = [thing for thing in pair.things if thing.action == "falls" and thing.click]
    return [f"{thing.click[0]},{thing.click[1]}@0:falls" for thing in falling if thing.click]
