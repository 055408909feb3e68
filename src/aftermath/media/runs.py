"""Run folders: where the results of a run's stages live, so that a stopped run goes on where it was.

OUT.aftermath/
├── run.json            the record: versions, options, times, findings, warnings
├── plan.json           what the reasoning decided
├── quadmask.mkv        what may change, at the source's size, lossless
├── contact_sheet.png   eight moments: before, quadmask, after
├── side_by_side.mp4    before and after
├── mask_preview.mp4    what was decided, drawn over the clip (aftermath mask)
├── matches.png         what was found by words, numbered
├── vlm/                what a language model was shown and asked, and what it answered
├── scratch/            analysed frames of a long clip; gone when the run ends
└── stages/             results between stages, and beside every result NAME.json: its key and checksum

A result counts only when its record says so: the file is written under a temporary name, synced and renamed,
then the record likewise. The key of a stage holds everything its result depends on, the key of the stage
before included; the checksum tells a damaged file from a good one. So a run killed at any moment repeats at
most one stage.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from aftermath.errors import InputError
from aftermath.media.files import explained, temporary_for, try_lock

__all__ = [
    "Record",
    "RunFolder",
    "Stage",
    "default_folder",
    "digest",
    "forget_leftovers",
    "key_of",
    "write_whole",
]


class Stage(StrEnum):
    """Everything a run makes, in order."""

    SEGMENT = "segment"
    SCENE = "scene"
    REASON = "reason"
    REGIONS = "regions"
    QUADMASK = "quadmask"
    OUTPUT = "output"
    MASK_OUTPUT = "mask_output"
    CONTACT_SHEET = "contact_sheet"
    MASK_PREVIEW = "mask_preview"
    SIDE_BY_SIDE = "side_by_side"


_FILES = {
    Stage.SEGMENT: "stages/segment.npz",
    Stage.SCENE: "stages/scene.npz",
    Stage.REASON: "stages/reason.npz",
    Stage.REGIONS: "stages/regions.npz",
    Stage.QUADMASK: "quadmask.mkv",
    Stage.CONTACT_SHEET: "contact_sheet.png",
    Stage.MASK_PREVIEW: "mask_preview.mp4",
    Stage.SIDE_BY_SIDE: "side_by_side.mp4",
}
_NUMBER = re.compile(r"%0?\d*d")  # in the name of numbered pictures


@dataclass(frozen=True)
class Record:
    """What is known of a finished stage. ``facts`` is whatever the stage wants remembered (JSON)."""

    key: str
    sha256: str
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


def default_folder(output: Path) -> Path:
    """The run folder of a result: beside it, named after it."""
    return output.with_name(_NUMBER.sub("frames", output.name) + ".aftermath")


def key_of(**parts: object) -> str:
    """One short text that changes when any of ``parts`` does (JSON values, or anything with a plain repr)."""
    text = json.dumps(parts, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()


def digest(path: Path) -> str:
    """SHA-256 of a file's bytes; for a folder or a numbered name, of the pictures and their names.

    Raises FileNotFoundError where there is nothing.
    """
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    folder, pattern = (path, "*") if path.is_dir() else (path.parent, _NUMBER.sub("*", path.name))
    pictures = sorted(entry for entry in folder.glob(pattern) if entry.is_file())
    if not pictures:
        raise FileNotFoundError(path)
    return key_of(**{picture.name: digest(picture) for picture in pictures})


def write_whole(target: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` make a file under a temporary name, sync it, and only then give it its own name.

    Raises `InputError` where the disk is full or may not be written.
    """
    with explained(target), temporary_for(target) as part:
        write(part)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(target)


class RunFolder:
    """One run's folder, held by one process at a time. A context manager.

    Left with an `InputError`, a folder that this run created is removed: bad input leaves nothing behind.
    Left in any other way it stays, for the next run to go on from. ``fresh`` forgets the results of earlier
    runs; files that a run did not make are never touched.

    Raises `InputError` where the folder cannot be made or another run holds it.
    """

    def __init__(self, root: Path, *, fresh: bool = False, warn: Callable[[str], None] | None = None) -> None:
        self.root = root
        self._fresh = fresh
        self._warn = warn or (lambda message: None)
        self._created: Path | None = None
        self._lock: IO[str] | None = None

    def __enter__(self) -> Self:
        self._created = next((p for p in reversed([self.root, *self.root.parents]) if not p.exists()), None)
        try:
            (self.root / "stages").mkdir(parents=True, exist_ok=True)
            self._lock = (self.root / "stages" / "lock").open("w")
        except OSError as error:
            raise self._unusable(error) from error
        if not try_lock(self._lock):
            self._lock.close()
            raise InputError(
                f"run folder {self.root}",
                "one run at a time, and another run is using it",
                "wait for it, or give --work another folder",
            )
        try:
            self._tidy()
        except OSError as error:
            self._lock.close()
            raise self._unusable(error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.scratch, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()
        if kind is not None and issubclass(kind, InputError):
            self._remove_created()

    @property
    def scratch(self) -> Path:
        """A folder for this run's temporary files."""
        return self.root / "scratch"

    @property
    def run_file(self) -> Path:
        """The record of the whole run."""
        return self.root / "run.json"

    @property
    def plan_file(self) -> Path:
        """The plan, as a person reads and edits it."""
        return self.root / "plan.json"

    def file(self, stage: Stage) -> Path:
        """Where a stage's result stands."""
        return self.root / _FILES[stage]

    def recall(self, stage: Stage, key: str, target: Path | None = None) -> Record | None:
        """The record of a finished stage whose file is still whole; None where it must be made (again).

        ``target``: the file, for a stage whose result stands outside the folder.
        """
        record = self._read_record(stage)
        if record is None or record.key != key:
            return None
        path = target or self.file(stage)
        try:
            whole = digest(path) == record.sha256
        except FileNotFoundError:
            return None
        if not whole:
            self._warn(f"{path.name} was damaged or changed since it was made; it is made again")
            return None
        return record

    def changed(self, stage: Stage, target: Path) -> bool:
        """Whether a stage's file, ``target``, is there but no longer what was made: somebody worked on it."""
        record = self._read_record(stage)
        return record is not None and target.exists() and digest(target) != record.sha256

    def edited_plan(self) -> Path | None:
        """The plan, where somebody changed it since it was written, in this run or one before."""
        known = self._read_plan_record()
        if known is None or not self.plan_file.is_file():
            return None
        return self.plan_file if known["followed"] or digest(self.plan_file) != known["sha256"] else None

    def keep_plan(self, text: str, *, followed: bool) -> None:
        """Write the plan, and remember what was written. ``followed``: it is the user's own, and stays so."""
        self.write_text(self.plan_file, text)
        known = {"sha256": digest(self.plan_file), "followed": followed}
        self.write_text(self._plan_record, json.dumps(known))

    def forget_exchange(self) -> None:
        """Remove what an earlier run asked a language model."""
        shutil.rmtree(self.root / "vlm", ignore_errors=True)

    def keep_exchange(self, name: str, content: bytes) -> None:
        """Keep a piece of what a language model was sent, or answered."""
        target = self.root / "vlm" / name
        target.parent.mkdir(exist_ok=True)
        write_whole(target, lambda part: part.write_bytes(content))

    def keep(self, stage: Stage, record: Record) -> None:
        """Declare a stage finished."""
        text = json.dumps(asdict(record), indent=1, default=_plain)
        write_whole(self._record_file(stage), lambda part: part.write_text(text, encoding="utf-8"))

    def write_text(self, path: Path, text: str) -> None:
        """Write one of the reports, whole or not at all."""
        write_whole(path, lambda part: part.write_text(text, encoding="utf-8"))

    def _record_file(self, stage: Stage) -> Path:
        return self.root / "stages" / f"{stage}.json"

    def _read_record(self, stage: Stage) -> Record | None:
        path = self._record_file(stage)
        if not path.exists():
            return None
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
            return Record(**{**known, "warnings": tuple(known["warnings"])})
        except (ValueError, TypeError, KeyError, OSError):
            self._warn(f"the record of the stage {stage} was damaged; the stage is made again")
            return None

    @property
    def _plan_record(self) -> Path:
        return self.root / "stages" / "plan.json"

    def _read_plan_record(self) -> dict[str, Any] | None:
        try:
            known = json.loads(self._plan_record.read_text(encoding="utf-8"))
            return {"sha256": str(known["sha256"]), "followed": bool(known["followed"])}
        except (ValueError, TypeError, KeyError, OSError):
            return None

    def _tidy(self) -> None:
        shutil.rmtree(self.scratch, ignore_errors=True)
        for path in (*(self.file(stage) for stage in _FILES), *map(self._record_file, Stage)):
            forget_leftovers(path)
        for path in (self.run_file, self.plan_file, self._plan_record):
            forget_leftovers(path)
        self.scratch.mkdir()
        if self._fresh:
            for stage in Stage:  # the files stay: the user may have given one of them back as input
                self._record_file(stage).unlink(missing_ok=True)
            self._plan_record.unlink(missing_ok=True)

    def _unusable(self, error: OSError) -> InputError:
        self._remove_created()
        allowed = f"it cannot be made or written ({error.strerror})"
        return InputError(f"run folder {self.root}", allowed, "give another with --work, or write elsewhere")

    def _remove_created(self) -> None:
        if self._created is not None:
            shutil.rmtree(self._created, ignore_errors=True)


def _plain(value: object) -> object:
    """A numpy number as the plain one that JSON knows."""
    item = getattr(value, "item", None)
    return item() if item else str(value)


def forget_leftovers(target: Path) -> None:
    """Remove what a killed process left of ``target`` under a temporary name (see `temporary_for`)."""
    for leftover in target.parent.glob(f".{glob.escape(target.stem)}.*.part{glob.escape(target.suffix)}"):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()
