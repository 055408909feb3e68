"""Many clips through `aftermath.remove`: on any number of workers, going on after a stop, with failures listed."""

from __future__ import annotations

import json
import shutil
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aftermath.config import Engine, RemoveOptions, SegmenterName
from aftermath.errors import AftermathError, InputError
from aftermath.loaded import LoadedModels
from aftermath.remove import remove
from aftermath.workers import LOST, check_shared, check_workers, run_jobs

if TYPE_CHECKING:
    from aftermath.jobs import Job

__all__ = ["Batch", "Outcome", "Status", "batch"]

# Everything heavy is imported where it is used, as in `aftermath.remove`.

_REPORT = "batch.jsonl"


class Status(StrEnum):
    """What became of a clip."""

    DONE = "done"
    KEPT = "kept"  # an earlier run had made it
    FAILED = "failed"
    LEFT = "left"  # not begun, since another had failed


@dataclass(frozen=True)
class Outcome:
    """One clip of a batch. ``where``: the file or line that asked for it. ``trace``: of an error nobody foresaw."""

    where: str
    clip: str
    output: str
    status: Status
    seconds: float = 0.0
    engine: str = ""
    warnings: tuple[str, ...] = ()
    error: str = ""
    trace: str = ""


@dataclass(frozen=True)
class Batch:
    """What a batch made: ``outcomes`` in the order of the jobs; ``report`` is the file that lists them."""

    folder: Path
    report: Path
    outcomes: tuple[Outcome, ...]
    seconds: float

    def having(self, status: Status) -> tuple[Outcome, ...]:
        """The clips that ended so."""
        return tuple(one for one in self.outcomes if one.status is status)


def batch(
    source: str | Path | Sequence[Mapping[str, Any]],
    folder: str | Path,
    *,
    options: RemoveOptions | None = None,
    prompt: str = "",
    text: str = "",
    workers: int = 1,
    ray: str = "",
    fresh: bool = False,
    fail_fast: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> Batch:
    """Send every clip of ``source`` through `remove`, into ``folder``; see `aftermath.jobs` for what it may be.

    ``options``, ``prompt`` and ``text`` hold for all clips that do not say otherwise. A result that an earlier run has
    made of the same input and options is kept (unless ``fresh``), a clip that failed is tried again. Every worker
    keeps its models from clip to clip. A clip that fails stops no other, unless ``fail_fast``. ``batch.jsonl`` in
    ``folder`` has one line a clip. Several ``workers`` are processes, or where ``ray`` is an address, workers there
    (see `aftermath.cluster`); a script that asks for them needs the usual ``if __name__ == "__main__":``.

    Raises `InputError` before anything is begun where a job cannot be; what fails later is in the outcomes.
    """
    from aftermath.jobs import read_jobs
    from aftermath.media.files import explained
    from aftermath.media.runs import write_whole
    from aftermath.request import path_given

    started = time.perf_counter()
    check_workers(workers, ray)
    options, folder = RemoveOptions.given(options), path_given("folder", folder)
    jobs = read_jobs(source, folder, options=options, prompt=prompt, text=text, here=ray in ("", "local"))
    report = folder / _REPORT
    _prepare(
        folder, jobs, [path for path in (source, *(job.clip for job in jobs)) if isinstance(path, str | Path)]
    )
    outcomes: dict[int, Outcome] = {}
    tell = progress or (lambda *_: None)
    tell("clips", 0, len(jobs))
    ended = run_jobs(
        partial(_worker, fresh=fresh), jobs, num_workers=workers, ray=ray, card=_wants_card(jobs), lost=_lost
    )
    with explained(report), report.open("w", encoding="utf-8") as lines, closing(ended):
        for at, outcome in ended:
            outcomes[at] = outcome = _seen(outcome, ray)
            lines.write(_line(outcome))
            lines.flush()  # what is told is there after a kill
            tell("clips", len(outcomes), len(jobs))
            if fail_fast and outcome.status is Status.FAILED:
                break
    told = tuple(outcomes.get(at) or _outcome(job, Status.LEFT) for at, job in enumerate(jobs))
    write_whole(report, lambda part: part.write_text("".join(map(_line, told)), encoding="utf-8"))
    return Batch(folder, report, told, round(time.perf_counter() - started, 3))


def _prepare(folder: Path, jobs: Sequence[Job], inputs: Sequence[str | Path]) -> None:
    """Make the folders; where one cannot be, those that were made before it are gone again."""
    from aftermath.media.files import check_folder, explained, is_same

    if any(is_same(folder / _REPORT, Path(path)) for path in inputs):
        raise InputError(
            f"{folder / _REPORT}", "the report must not overwrite an input", "give -o another folder"
        )
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}", "is a file", "name a folder")
    made: list[Path] = []
    try:
        for target in (folder.absolute() / _REPORT, *(job.output for job in jobs)):
            wanted = target.parent
            first = next((p for p in reversed([wanted, *wanted.parents]) if not p.exists()), None)
            with explained(wanted):
                wanted.mkdir(parents=True, exist_ok=True)
            made += [first] if first else []
            check_folder(target)
    except AftermathError:
        for path in made:
            shutil.rmtree(path, ignore_errors=True)
        raise


def _wants_card(jobs: Sequence[Job]) -> bool:
    plain = (Engine.DRAFT, SegmenterName.FLOW)
    return any((job.options.engine, job.options.segmenter) != plain for job in jobs)


def _worker(*, fresh: bool) -> Callable[[Job], Outcome]:
    """In a worker: send clips through `remove`, with models that stay."""
    models = LoadedModels()

    def work(job: Job) -> Outcome:
        started = time.perf_counter()
        try:
            done = remove(
                job.clip, job.output, options=job.options, fresh=fresh, models=models, **job.arguments
            )
        except Exception as error:
            known = isinstance(error, AftermathError)
            told = str(error) if known else f"{type(error).__name__}: {error}"
            outcome = replace(
                _outcome(job, Status.FAILED),
                error=" ".join(told.split()),
                trace="" if known else traceback.format_exc(),
            )
        else:
            kept = done.stage_times_s.keys() <= set(done.reused)
            outcome = replace(
                _outcome(job, Status.KEPT if kept else Status.DONE),
                engine=done.engine,
                warnings=done.warnings,
            )
        return replace(outcome, seconds=round(time.perf_counter() - started, 3))

    return work


def _outcome(job: Job, status: Status) -> Outcome:
    return Outcome(job.where, str(job.clip), str(job.output), status)


def _lost(job: Job) -> Outcome:
    return replace(_outcome(job, Status.FAILED), error=LOST)


def _seen(outcome: Outcome, ray: str) -> Outcome:
    """A result that only the worker sees is none."""
    if outcome.status is Status.FAILED or "%" in Path(outcome.output).name:
        return outcome
    try:
        check_shared(Path(outcome.output), ray)
    except InputError as error:
        return replace(outcome, status=Status.FAILED, error=str(error))
    return outcome


def _line(outcome: Outcome) -> str:
    return json.dumps(asdict(outcome), ensure_ascii=False) + "\n"
