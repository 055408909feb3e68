"""`Session`: one run of one clip. It keeps time, warnings and stage results, and sequences nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from aftermath.ahead import at_once
from aftermath.config import Codec, MaskOptions
from aftermath.core import Clip, Plan, grow_object
from aftermath.errors import InputError
from aftermath.eyes import check_eyes
from aftermath.loaded import LoadedModels
from aftermath.media.arrays import load_arrays, save_arrays
from aftermath.media.files import check_folder, is_same
from aftermath.media.formats import check_target
from aftermath.media.mapped import let_go
from aftermath.media.masks import read_quadmask, resize_levels
from aftermath.media.runs import (
    Record,
    RunFolder,
    Stage,
    default_folder,
    digest,
    forget_leftovers,
    key_of,
    write_whole,
)
from aftermath.media.video import probe, read_clip
from aftermath.provenance import code_digest, versions
from aftermath.reasoners import check_reasoner
from aftermath.request import Request

__all__ = ["Progress", "Session", "Steps"]

_LET_GO_STEPS = 16

Progress = Callable[[str, int, int], None]
"""Called with (stage, steps done, steps in all)."""

Steps = Callable[[int, int], None]
"""The same, within one stage."""


class Session:
    """One run, a context manager round its run folder; see `RunFolder` for what it leaves behind, and when.

    Everything about ``request`` and ``output`` that can be checked without decoding the clip is checked
    here, before anything is written. ``codec`` is None where the output is a quadmask. Raises `InputError`.
    """

    def __init__(
        self,
        request: Request,
        output: Path,
        options: MaskOptions,
        *,
        codec: Codec | None = None,
        work: Path | None = None,
        fresh: bool = False,
        models: LoadedModels | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.request, self.output, self.options = request, output, options
        check_eyes(options, words=bool(request.text))
        check_reasoner(options)
        self.info = probe(request.clip)
        request.check_within(self.info.width, self.info.height)
        if request.plan is not None:
            Plan.check(request.plan, width=self.info.width, height=self.info.height)
        _check_output(output, request, codec)
        self.warnings: list[str] = []
        self.seconds: dict[str, float] = {}
        self.reused: list[str] = []
        self.follows_edit = False
        self.fresh = fresh
        self.models = models or LoadedModels(keep=False)
        self.folder = RunFolder(work or default_folder(output), fresh=fresh, warn=self.warn)
        self._progress = progress or (lambda stage, done, total: None)
        self._key = self.clip_sha256 = ""

    def __enter__(self) -> Self:
        self.folder.__enter__()
        forget_leftovers(self.output)
        self._follow_edited_plan()
        self.clip_sha256 = digest(self.request.clip)
        self._key = key_of(code=code_digest(), versions=versions(), clip=self.clip_sha256)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.folder.__exit__(kind, error, trace)

    def _follow_edited_plan(self) -> None:
        """A plan that somebody edited in the run folder is meant."""
        edited = self.folder.edited_plan() if self.request.plan is None else None
        self.follows_edit = edited is not None
        if edited is not None:
            Plan.check(edited, width=self.info.width, height=self.info.height)
            self.request = replace(self.request, plan=edited)
            self.warn(f"{edited} was edited: it is followed (--fresh forgets it)")

    def warn(self, message: str) -> None:
        """Remember a warning, once."""
        if message not in self.warnings:
            self.warnings.append(message)

    def steps(self, stage: str) -> Steps:
        """The progress callback of one stage; what long arrays take of the memory is given back on the way."""

        def tell(done: int, total: int) -> None:
            if done % _LET_GO_STEPS == 0 or done == total:
                let_go()
            self._progress(stage, done, total)

        return tell

    @cached_property
    def clip(self) -> Clip:
        """The analysed clip, decoded when first needed. Raises `InputError` for frames it lacks."""
        started = time.perf_counter()
        size = self.options.analysis_long_side_px
        clip = read_clip(self.info.path, size, self.folder.scratch, self.steps("read"), self.warn)
        self.request.check_frames(len(clip))
        self.seconds["read"] = round(time.perf_counter() - started, 3)
        return clip

    @cached_property
    def given_levels(self) -> np.ndarray:
        """The user's quadmask, uint8 (T, H, W) at the analysed size, read when first needed."""
        width, height = self.clip.width, self.clip.height
        out = np.empty(self.clip.frames.shape[:3], np.uint8)
        small = at_once(lambda levels: resize_levels(levels, width, height), self.given_quadmask())
        for frame, levels in zip(out, small, strict=True):
            frame[:] = levels
        return out

    def given_quadmask(self) -> Iterator[np.ndarray]:
        """The user's quadmask, frame by frame. Raises `InputError` where it does not fit the clip."""
        assert self.request.quadmask is not None
        expect = len(self.clip), self.info.height, self.info.width
        return (self.grown(levels) for levels in read_quadmask(self.request.quadmask, expect=expect))

    def grown(self, levels: np.ndarray) -> np.ndarray:
        """One frame of what the user drew, at full size, grown as asked."""
        wide = max(self.info.width, self.info.height) / 1920
        return grow_object(levels, self.options.grow_px * wide)

    def arrays(
        self, stage: Stage, make: Callable[[Steps], Mapping[str, np.ndarray]], **depends_on: Any
    ) -> dict[str, np.ndarray]:
        """The arrays of a stage, by name; see `produce`.

        They are always the ones read back, so that a run that was stopped goes on from the same values.
        """
        target = self.folder.file(stage)

        def write(steps: Steps) -> None:
            arrays = make(steps)
            write_whole(target, lambda part: save_arrays(part, arrays))

        self.produce(stage, write, **depends_on)
        return load_arrays(target, self.folder.scratch)

    def produce(
        self,
        stage: Stage,
        write: Callable[[Steps], Mapping[str, Any] | None],
        *,
        target: Path | None = None,
        **depends_on: Any,
    ) -> Record:
        """Have ``write`` make a stage's file (or ``target``) unless it is there and whole.

        ``depends_on`` is everything the file depends on beside the stages before it. What ``write`` returns
        is remembered as the record's facts.
        """
        self._key = key_of(before=self._key, stage=stage, **depends_on)
        record = self.folder.recall(stage, self._key, target)
        if record is None:
            record = self._make(stage, write, target or self.folder.file(stage))
            self.folder.keep(stage, record)
        else:
            self.reused.append(stage)
            for message in record.warnings:
                self.warn(message)
        self.seconds[stage] = record.seconds
        return record

    def _make(self, stage: Stage, write: Callable[[Steps], Mapping[str, Any] | None], target: Path) -> Record:
        known, reading_s = len(self.warnings), self.seconds.get("read", 0.0)
        let_go()
        started = time.perf_counter()
        facts = write(self.steps(stage)) or {}
        reading_s = self.seconds.get("read", 0.0) - reading_s  # counted as a stage of its own
        seconds = round(time.perf_counter() - started - reading_s, 3)
        return Record(self._key, digest(target), seconds, tuple(self.warnings[known:]), facts)


def _check_output(output: Path, request: Request, codec: Codec | None) -> None:
    for path in request.files:
        if is_same(output, path):
            raise InputError(
                f"{output}", "the output must not overwrite an input", "give the output another name"
            )
    if codec is not None:
        check_target(output, codec)
    elif output.suffix.lower() not in (".mkv", ".mp4"):
        raise InputError(
            f"{output}", "must end in .mkv or .mp4, being a quadmask", f"name it {output.stem}.mkv"
        )
    else:
        check_folder(output)
