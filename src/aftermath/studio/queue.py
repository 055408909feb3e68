"""Jobs: one worker a device, a queue that stands on the disk, and what is told of them.

A job is a project and what to do with it. The queue is written whenever a job changes its state; a server that was
killed finds it again and goes on, and the run folder of a job goes on where it was.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from shutil import which
from typing import Any

from aftermath.config import RemoveOptions
from aftermath.errors import AftermathError
from aftermath.media.runs import write_whole
from aftermath.studio.limits import Limits
from aftermath.studio.project import Project
from aftermath.studio.work import Kind, Worker

__all__ = ["Job", "Queue", "State", "devices"]

_KEPT = 200  # jobs that are done, and still told of
_GRACE_S = 15.0  # from a polite stop to the other kind


class State(StrEnum):
    """How it stands with a job."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Job:
    """One thing to do. ``stage``, ``done``, ``total``: how far it is; ``error``: why it failed; times since 1970."""

    id: int
    project: str
    kind: Kind
    state: State = State.WAITING
    stage: str = ""
    done: int = 0
    total: int = 0
    error: str = ""
    created_s: float = 0.0
    began_s: float = 0.0
    ended_s: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def open(self) -> bool:
        """Whether it is still to end."""
        return self.state in (State.WAITING, State.RUNNING)


class Queue:
    """Jobs of the projects in ``root``. `start` begins to work, `close` stops: what runs then is waiting again."""

    def __init__(
        self, root: Path, base: RemoveOptions, limits: Limits, done: Callable[[Job], None] | None = None
    ) -> None:
        self._root, self._base, self._limits, self._done = root, base, limits, done
        self._file = root / "queue.json"
        self._jobs: dict[int, Job] = {}
        self._changed = threading.Condition()
        self._closing = False
        self._hands: list[_Hand] = []
        for job in self._remembered():
            waiting = replace(job, state=State.WAITING, stage="", done=0, total=0)
            self._jobs[job.id] = waiting if job.open else job

    def start(self) -> None:
        """Let one worker a device take jobs."""
        self._hands = [_Hand(self, device) for device in devices()]
        for hand in self._hands:
            hand.start()

    def close(self) -> None:
        """Stop the workers politely; jobs that ran are waiting again, on the disk."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for hand in self._hands:
            hand.interrupt()
        for hand in self._hands:
            hand.join(_GRACE_S)

    def add(self, project: str, kind: Kind) -> Job:
        """Have something done. The same asked twice before it began is one job."""
        with self._changed:
            for job in [job for job in self._jobs.values() if job.project == project]:
                if (job.kind, job.state) == (kind, State.WAITING):
                    return job
                if kind is Kind.REMOVE and (job.kind, job.state) == (Kind.MASK, State.WAITING):
                    self._set(replace(job, state=State.STOPPED, ended_s=time.time()))  # it is done on the way
            job = Job(max(self._jobs, default=0) + 1, project, kind, created_s=time.time())
            self._set(job)
            return job

    def stop(self, project: str) -> None:
        """Stop what is done with a project; what was made of it stays."""
        with self._changed:
            for job in [job for job in self._jobs.values() if job.project == project and job.open]:
                if job.state is State.WAITING:
                    self._set(replace(job, state=State.STOPPED, ended_s=time.time()))
                for hand in self._hands:
                    hand.stop(job.id)

    def of(self, project: str) -> list[Job]:
        """The jobs of a project, the newest last."""
        with self._changed:
            return [job for job in self._jobs.values() if job.project == project]

    def all(self) -> list[Job]:
        """All that are remembered, the newest last."""
        with self._changed:
            return list(self._jobs.values())

    def before(self, job: Job) -> int:
        """How many others come first."""
        return sum(other.open and other.id < job.id for other in self.all())

    def _take(self) -> Job | None:
        """The next job, marked as running; waits for one. None when the queue closes."""
        with self._changed:
            while not self._closing:
                busy = {job.project for job in self._jobs.values() if job.state is State.RUNNING}
                for job in self._jobs.values():
                    if job.state is State.WAITING and job.project not in busy:
                        job = replace(job, state=State.RUNNING, began_s=time.time(), error="")
                        self._set(job)
                        return job
                self._changed.wait()
            return None

    def _tell(self, job: Job, **news: Any) -> None:
        with self._changed:
            self._jobs[job.id] = replace(self._jobs[job.id], **news)

    def _end(self, job: Job, state: State, error: str = "", facts: dict[str, Any] | None = None) -> None:
        with self._changed:
            if state is State.STOPPED and self._closing:  # not by the user: it goes on with the next server
                self._set(replace(self._jobs[job.id], state=State.WAITING))
                return
            ended = replace(
                self._jobs[job.id], state=state, error=error, facts=facts or {}, ended_s=time.time()
            )
            self._set(ended)
        if self._done:
            self._done(ended)

    def _set(self, job: Job) -> None:
        self._jobs[job.id] = job
        over = [job for job in self._jobs.values() if not job.open][:-_KEPT]
        for old in over:
            del self._jobs[old.id]
        text = json.dumps([asdict(job) for job in self._jobs.values()], indent=1)
        write_whole(self._file, lambda part: part.write_text(text, encoding="utf-8"))
        self._changed.notify_all()

    def _remembered(self) -> list[Job]:
        try:
            known = json.loads(self._file.read_text(encoding="utf-8"))
            return [Job(**{**job, "kind": Kind(job["kind"]), "state": State(job["state"])}) for job in known]
        except (OSError, ValueError, TypeError, KeyError):
            return []


class _Hand(threading.Thread):
    """Gives jobs to one worker process, and listens to it."""

    def __init__(self, queue: Queue, device: str) -> None:
        super().__init__(name=f"worker {device}", daemon=True)
        self._queue, self._device = queue, device
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None
        self._job: Job | None = None
        self._stopped = False

    def run(self) -> None:
        """Until the queue closes."""
        while (job := self._queue._take()) is not None:
            self._job, self._stopped = job, False
            try:
                self._do(job)
            except Exception as error:  # a fault of ours must not end all work
                traceback.print_exc()
                self._queue._end(job, State.FAILED, f"{type(error).__name__}: {error}")
            self._job = None
        if self._process is not None:
            with contextlib.suppress(OSError):
                assert self._pipe is not None
                self._pipe.close()
            self._process.join(2)
            if self._process.is_alive():
                self._process.kill()

    def stop(self, job_id: int) -> None:
        """Stop the job, if it is the one that this hand has."""
        if self._job is not None and self._job.id == job_id:
            self.interrupt()

    def interrupt(self) -> None:
        """Stop what is done, politely; after a while the other way."""
        job, process, pipe = self._job, self._process, self._pipe
        if job is None or process is None or pipe is None:
            return
        self._stopped = True
        with contextlib.suppress(OSError):
            pipe.send("stop")

        def insist() -> None:
            if self._job is job and process.is_alive():
                process.kill()

        timer = threading.Timer(_GRACE_S, insist)
        timer.daemon = True
        timer.start()

    def _do(self, job: Job) -> None:
        pipe = self._alive()
        pipe.send((job.project, job.kind))
        while True:
            try:
                what, *news = pipe.recv()
            except (EOFError, OSError):
                self._gone(job)
                return
            if what == "progress":
                stage, done, total = news
                self._queue._tell(job, stage=stage, done=done, total=total)
            elif what == "done":
                self._queue._end(job, State.DONE, facts=news[0])
                return
            elif what == "stopped":
                self._queue._end(job, State.STOPPED)
                return
            else:
                self._queue._end(job, State.FAILED, news[0])
                return

    def _gone(self, job: Job) -> None:
        """The worker died."""
        assert self._process is not None
        self._process.join(5)
        code = self._process.exitcode
        self._process = None
        if self._stopped:
            self._queue._end(job, State.STOPPED)
            return
        how = signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"
        hint = "; the memory may have run out" if how == "SIGKILL" else ""
        self._queue._end(
            job, State.FAILED, f"the worker ended by {how}{hint}; start again, it goes on from there"
        )

    def _alive(self) -> Connection:
        if self._process is None or not self._process.is_alive() or self._pipe is None:
            spawn = multiprocessing.get_context("spawn")
            self._pipe, theirs = spawn.Pipe()
            work = (theirs, self._queue._root, self._queue._base, self._queue._limits, self._device)
            self._process = spawn.Process(target=_serve, args=work, daemon=True)
            self._process.start()
            theirs.close()
        return self._pipe


def devices() -> list[str]:
    """The cards of this machine by number, or the processor."""
    if which("nvidia-smi") is None:
        return ["cpu"]
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False).stdout
    count = sum(line.startswith("GPU ") for line in listed.splitlines())
    return [str(number) for number in range(count)] or ["cpu"]


def _serve(pipe: Connection, root: Path, base: RemoveOptions, limits: Limits, device: str) -> None:
    """The worker process: does what comes through ``pipe`` until that closes, which it does when the server dies."""
    if device != "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = device
    if hasattr(os, "setpgrp"):
        os.setpgrp()  # Ctrl-C in the terminal is the server's: it says what is to stop
    signal.signal(signal.SIGINT, signal.default_int_handler)
    worker, orders = Worker(base, limits), _Orders(pipe)
    threading.Thread(target=orders.listen, daemon=True).start()
    while (order := orders.next()) is not None:
        project, kind = order
        try:
            answer = _answer(worker, Project(root / "projects" / project), kind, pipe, orders)
        except KeyboardInterrupt:
            answer = ("stopped",)
        with contextlib.suppress(OSError):
            pipe.send(answer)


def _answer(
    worker: Worker, project: Project, kind: Kind, pipe: Connection, orders: _Orders
) -> tuple[Any, ...]:
    """Do one thing; what to say of it."""
    orders.busy = True
    try:
        return "done", worker.work(project, kind, lambda *news: pipe.send(("progress", *news)))
    except AftermathError as error:
        return "failed", str(error)
    except MemoryError:
        return "failed", "the memory ran out; close other programs, or give a smaller clip"
    except Exception as error:
        traceback.print_exc()
        told = f"{type(error).__name__}: {error}"
        return "failed", f"{told} (this should not happen; the server's output says more)"
    finally:
        orders.busy = False


class _Orders:
    """What the server says, listened to beside the work. ``busy``: only then is the work interrupted."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._waiting = pipe, threading.Semaphore(0)
        self._orders: list[tuple[str, Kind] | None] = []
        self.busy = False

    def listen(self) -> None:
        """Until the server is gone."""
        while True:
            try:
                said = self._pipe.recv()
            except (EOFError, OSError):
                said = None
            if said in ("stop", None) and self.busy:
                os.kill(os.getpid(), signal.SIGINT)  # as Ctrl-C does: the run folder stays in order
            if said is None:
                self._put(None)
                return
            if said != "stop":
                self._put((said[0], Kind(said[1])))

    def _put(self, order: tuple[str, Kind] | None) -> None:
        self._orders.append(order)
        self._waiting.release()

    def next(self) -> tuple[str, Kind] | None:
        """The next thing to do; None when the server is gone."""
        self._waiting.acquire()
        return self._orders.pop(0)
