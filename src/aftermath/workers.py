"""Many jobs, on one worker or many: processes of this machine, or Ray's on many. The results are the same for any.

A worker is made once, by a function that is called where it works, and then does one job after another: what it
loads for the first is there for the next.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, cast

from aftermath.errors import AftermathError, InputError, extra_needed

__all__ = ["LOST", "Answer", "Crew", "Worker", "check_shared", "check_workers", "run_jobs"]

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")

LOST = "a worker ended by itself (out of memory?); the same command goes on, fewer --workers need less"

_WATCH_S = 0.5
_GRACE_S = 5.0


@dataclass(frozen=True)
class Answer:
    """What a worker has to say: the result of a job, or the error that it raised. Both None: it is ready."""

    result: Any = None
    error: BaseException | None = None


class Crew(Protocol):
    """Workers that answer when they are ready, and then after every job."""

    def start(self) -> None:
        """Begin another worker."""
        ...

    def give(self, worker: int, job: Any) -> None:
        """Hand a job to a worker that has answered."""
        ...

    def next(self) -> tuple[int, Answer | None]:
        """Wait for an answer: whose, and which; None where that worker ended by itself."""
        ...

    def end(self, *, at_once: bool) -> None:
        """Send all home; ``at_once``: out of their work."""
        ...


def check_workers(num_workers: int, ray: str = "") -> None:
    """Raise `InputError` for a number that cannot be, and for a Ray that is not installed or not there."""
    if isinstance(num_workers, bool) or not isinstance(num_workers, int) or num_workers < 1:
        raise InputError(f"--workers {num_workers}", "must be 1 or more")
    if ray:
        if find_spec("ray") is None:
            raise InputError(
                f"--ray {ray}", extra_needed("it", "scale"), "without --ray processes do the work"
            )
        from aftermath.cluster import check_address

        check_address(ray)


def check_shared(made: Path, ray: str) -> None:
    """Raise `InputError` where a worker on Ray has made a file that is not seen here."""
    if ray and not made.exists():
        raise InputError(
            f"{made}", "was made on Ray and is not seen here", "write to a folder that all machines share"
        )


def run_jobs(
    make: Callable[[], Callable[[_Job], _Result]],
    jobs: Sequence[_Job],
    *,
    num_workers: int = 1,
    ray: str = "",
    card: bool = False,
    apart: bool = False,
    tries: int = 1,
    lost: Callable[[_Job], _Result] | None = None,
) -> Generator[tuple[int, _Result], None, None]:
    """Do the jobs, and say for each, in any order, which it was and what came of it.

    ``make`` is called once by every worker. It, jobs and results travel between processes, so all must be picklable,
    and ``make`` a function of a module, or a partial of one. One worker on no Ray works in this process, unless
    ``apart`` keeps it out of it. ``ray``: see `aftermath.cluster`. ``card``: on Ray, each worker takes a graphics card
    where the cluster has any.

    What a job raises is raised here and ends the other workers, as leaving early does. Where a worker ends by itself,
    another goes on and its job is done again, ``tries`` times in all; then ``lost`` says what came of it, and without
    that it is an `AftermathError`. Raises as `check_workers` does.
    """
    check_workers(num_workers, ray)
    num_workers = min(num_workers, len(jobs))
    if not jobs:
        return
    if num_workers == 1 and not ray and not apart:
        work = make()
        for at, job in enumerate(jobs):
            yield at, work(job)
        return
    if ray:
        from aftermath.cluster import RayCrew

        crew: Crew = RayCrew(make, ray, num_workers, card=card)
    else:
        crew = _Processes(make)
    yield from _Foreman(crew, jobs, lost, tries).run(num_workers)


@dataclass
class _Foreman(Generic[_Job, _Result]):
    crew: Crew
    jobs: Sequence[_Job]
    lost: Callable[[_Job], _Result] | None
    tries: int = 1

    def run(self, num_workers: int) -> Generator[tuple[int, _Result], None, None]:
        todo, held, at_once = deque(range(len(self.jobs))), dict[int, int](), True
        left, ends = len(self.jobs), Counter[int]()
        try:
            for _ in range(num_workers):
                self.crew.start()
            while left:
                worker, answer = self.crew.next()
                at = held.pop(worker, None)
                if answer is not None and answer.error is not None:
                    raise answer.error
                if answer is None and at is not None:
                    ends[at] += 1
                    if ends[at] < self.tries:
                        todo.appendleft(at)
                        at = None
                    elif self.lost is None:
                        raise AftermathError(LOST)
                elif answer is None:
                    raise AftermathError(LOST)
                if todo and answer is None:
                    self.crew.start()
                elif todo:
                    held[worker] = todo.popleft()
                    self.crew.give(worker, self.jobs[held[worker]])
                if at is not None:
                    left -= 1
                    if answer is not None:
                        yield at, answer.result
                    elif self.lost is not None:
                        yield at, self.lost(self.jobs[at])
            at_once = False
        finally:
            self.crew.end(at_once=at_once)


class Worker:
    """One worker, where it works: its answers can travel to another process."""

    def __init__(self, make: Callable[[], Callable[[Any], Any]]) -> None:
        self._make = make

    def ready(self) -> Answer:
        """Make what does the work."""
        return _answered(self._begin)

    def work(self, job: Any) -> Answer:
        """Do a job."""
        return _answered(lambda: self._work(job))

    def _begin(self) -> None:
        self._work = self._make()


def _answered(do: Callable[[], Any]) -> Answer:
    try:
        answer = Answer(do())
        pickle.dumps(answer)
        return answer
    except Exception as error:
        error.add_note(f"in a worker:\n{traceback.format_exc()}")
        try:
            pickle.loads(pickle.dumps(error))  # some go out and do not come back
        except Exception:
            return Answer(error=AftermathError(f"{type(error).__name__}: {error}"))
        return Answer(error=error)


class _Processes:
    """Processes of this machine; spawned, for a forked OpenGL or CUDA does not work."""

    def __init__(self, make: Callable[[], Callable[[Any], Any]]) -> None:
        self._make = make
        self._started: list[BaseProcess] = []
        self._lines: dict[Connection, int] = {}

    def start(self) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self._make, os.getpid()))
        process.start()
        theirs.close()  # so that the line breaks when the process ends
        self._lines[ours] = len(self._started)
        self._started.append(process)

    def give(self, worker: int, job: Any) -> None:
        line = next(line for line, number in self._lines.items() if number == worker)
        try:
            line.send(job)
        except OSError:  # it has ended; `next` will tell
            return

    def next(self) -> tuple[int, Answer | None]:
        line = cast(Connection, wait(list(self._lines))[0])
        try:
            return self._lines[line], line.recv()
        except (EOFError, OSError):
            line.close()
            return self._lines.pop(line), None

    def end(self, *, at_once: bool) -> None:
        for line in self._lines:
            line.close()
        for process in self._started:
            if at_once:
                process.terminate()
        for process in self._started:
            process.join(_GRACE_S)
            if process.is_alive():
                process.kill()
                process.join()


def _serve(line: Connection, make: Callable[[], Callable[[Any], Any]], parent: int) -> None:
    """A worker: leave Ctrl-C to the parent, and end when it is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    worker = Worker(make)
    line.send(worker.ready())
    while True:
        try:
            job = line.recv()
        except (EOFError, OSError):
            return
        line.send(worker.work(job))


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_WATCH_S)
    os._exit(1)
