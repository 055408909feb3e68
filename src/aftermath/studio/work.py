"""What a worker does with a project: read its clip, find what is affected, make the result."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from aftermath.config import Engine, RemoveOptions
from aftermath.core import fit_long_side
from aftermath.errors import InputError
from aftermath.loaded import LoadedModels
from aftermath.media import planes
from aftermath.media.arrays import load_arrays
from aftermath.media.runs import Stage, write_whole
from aftermath.media.video import probe, read_frames
from aftermath.remove import Result, mask, remove
from aftermath.scene.camera import estimate_camera
from aftermath.studio.clicks import SMALL_SIDE_PX, save_camera
from aftermath.studio.frames import write_frames
from aftermath.studio.limits import Limits, check_clip
from aftermath.studio.painting import write_painted
from aftermath.studio.project import SUFFIXES, Project

__all__ = ["Kind", "Worker"]

Tell = Callable[[str, int, int], None]
"""Called with (stage, steps done, steps in all)."""

_BUSY_S = 20.0  # how long a run folder may still be held by a worker that was killed


class Kind(StrEnum):
    """What can be done with a project."""

    READ = "read"  # its clip, for the page
    MASK = "mask"  # what is the object, and what it affects
    REMOVE = "remove"


@dataclass
class Worker:
    """Does one thing after another; models that were loaded stay. ``base``: the options that the server began with."""

    base: RemoveOptions = field(default_factory=RemoveOptions)
    limits: Limits = field(default_factory=Limits)
    models: LoadedModels = field(default_factory=LoadedModels)

    def work(self, project: Project, kind: Kind, tell: Tell) -> dict[str, Any]:
        """Do it; returns facts of it, for the estimate of the next. Raises what `aftermath.remove` raises."""
        if kind is Kind.READ:
            return self._read(project, tell)
        if project.before is None:
            self._read(project, tell)
        return self._find(project, tell) if kind is Kind.MASK else self._remove(project, tell)

    def _read(self, project: Project, tell: Tell) -> dict[str, Any]:
        path, limits = project.clip, self.limits
        info = check_clip(path, project.document.name, limits)
        size = fit_long_side(info.width, info.height, self.base.analysis_long_side_px)
        times: list[float] = []
        warnings: list[str] = []

        def pictures() -> Iterator[np.ndarray]:
            for frame in read_frames(path, warnings.append):
                if len(times) >= limits.frames:
                    raise InputError(project.document.name, f"more than {limits.frames} frames", "cut it")
                times.append(frame.time_s)
                yield planes.to_rgb(frame.picture, None if size == (info.width, info.height) else size)

        total = max(1, info.estimated_frames)
        whole = write_frames(
            project.root / "before.frames", pictures(), times, lambda n: tell("read", n, max(n, total))
        )
        size = fit_long_side(*size, SMALL_SIDE_PX)
        shrunk = (
            cv2.resize(whole.read(t), size, interpolation=cv2.INTER_AREA) for t in range(whole.num_frames)
        )
        small = write_frames(
            project.root / "small.frames", shrunk, times, lambda n: tell("shrink", n, whole.num_frames)
        )
        project.note(
            width=info.width,
            height=info.height,
            rate=str(info.frame_rate),
            sound=info.num_audio > 0,
            read_warnings=warnings,
        )
        tell("camera", 0, 1)
        clip = small.clip(info.width, info.height)
        camera = estimate_camera(clip, np.broadcast_to(False, clip.frames.shape[:3]))
        save_camera(project.root / "camera.json", camera)
        tell("camera", 1, 1)
        return {}

    def _find(self, project: Project, tell: Tell) -> dict[str, Any]:
        document, asked, wanted = project.document, project.asked_key, project.mask_key
        if not document.pointed:
            raise InputError("the object", "nothing says what to remove", "click on it, or draw a box")

        def told(stage: str, done: int, total: int) -> None:
            if stage in (Stage.SCENE, Stage.REASON) and project.status.get("segmented") != asked:
                project.note(segmented=asked)
            tell(stage, done, total)

        result = None
        if project.status.get("found_key") != asked or not (project.root / "found.json").exists():
            result = self._mask(project, None, told)
            _write(project.root / "found.json", result.plan.to_json())
            project.note(
                found_key=asked,
                warnings=list(result.warnings),
                notes=list(result.notes),
                camera=result.camera,
                reasoner=result.plan.reasoner,
            )
        if result is None or document.ways:
            result = self._mask(project, self._followed(project), told)
        levels = load_arrays(project.run / "stages" / f"{Stage.REGIONS}.npz")["levels"]
        write_frames(project.root / "levels.frames", levels, [])
        project.note(mask_asked=asked, mask_key=wanted, found_rev=time.time_ns())
        return {"seconds": sum(result.stage_times_s.values())}

    def _mask(self, project: Project, plan: Path | None, tell: Tell) -> Result:
        document = project.document
        return _patiently(
            lambda: mask(
                project.clip,
                project.root / "quadmask.mkv",
                **document.asked(),
                plan=plan,
                options=document.choices.options(self.base),
                work=project.run,
                models=self.models,
                progress=tell,
            )
        )

    def _followed(self, project: Project) -> Path | None:
        """The plan with what a person changed of it, as a file; None where nothing was changed."""
        plan = project.plan()
        if plan is None or not project.document.ways:
            return None
        target = project.root / "followed.json"
        _write(target, plan.to_json())
        return target

    def _remove(self, project: Project, tell: Tell) -> dict[str, Any]:
        if project.status.get("mask_key") != project.mask_key:
            self._find(project, tell)
        document, wanted, plan = project.document, project.result_key, self._followed(project)
        asked = document.asked()
        if project.painted_frames():
            status = project.status
            size, rate = (status["width"], status["height"]), Fraction(status["rate"])
            painted = write_painted(project, project.root / "quadmask.mkv", rate, size)
            asked: dict[str, Any] = {"quadmask": painted}
            plan = plan or project.root / "found.json"
        output = project.root / f"result{SUFFIXES[document.choices.codec]}"
        result = _patiently(
            lambda: remove(
                project.clip,
                output,
                **asked,
                plan=plan,
                prompt=document.prompt,
                options=document.choices.options(self.base),
                work=project.run,
                models=self.models,
                progress=tell,
            )
        )
        self._show(project, output, tell)
        project.note(
            result=output.name,
            result_key=wanted,
            result_rev=time.time_ns(),
            result_model=document.choices.model if result.engine == Engine.VOID else "",
            engine=result.engine,
            engine_why=result.engine_why,
            result_warnings=list(result.warnings),
            invented_share=result.invented_share,
            credentials=result.credentials,
            seconds=round(sum(result.stage_times_s.values()), 1),
        )
        return {
            "seconds": sum(result.stage_times_s.values()),
            "engine": result.engine,
            "reused": Stage.OUTPUT in result.reused,
        }

    def _show(self, project: Project, output: Path, tell: Tell) -> None:
        """The result at the size that the page shows, from the file as it was encoded."""
        before = project.before
        assert before is not None
        info, times = probe(output), []
        size = (before.shape[1], before.shape[0])

        def pictures() -> Iterator[np.ndarray]:
            for frame in read_frames(output):
                times.append(frame.time_s)
                yield planes.to_rgb(frame.picture, None if size == (info.width, info.height) else size)

        write_frames(
            project.root / "after.frames", pictures(), times, lambda n: tell("show", n, before.num_frames)
        )


def _patiently(run: Callable[[], Result]) -> Result:
    """The run; one whose folder is still held by a worker that is being stopped waits for it."""
    until = time.monotonic() + _BUSY_S
    while True:
        try:
            return run()
        except InputError as error:
            if "another run is using it" not in error.allowed or time.monotonic() > until:
                raise
            time.sleep(0.2)


def _write(path: Path, text: str) -> None:
    write_whole(path, lambda part: part.write_text(text, encoding="utf-8"))
