"""Workers on Ray, for `run_jobs`.

An address is ``local`` (a Ray of this machine's own, begun here and ended with the work), ``auto`` (the one that runs
on this machine, or that RAY_ADDRESS names), ``HOST:PORT`` of a cluster's head (6379, from one of its machines), or
``ray://HOST:PORT`` (10001, from anywhere). Files are read and written where the workers are, under the same names as
here: on several machines they must lie on a disk that all of them share. All must have the same aftermath.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aftermath.errors import AftermathError, InputError
from aftermath.provenance import code_digest
from aftermath.workers import Answer, Worker

__all__ = ["RayCrew", "check_address"]

_ADDRESS = re.compile(r"(?:ray://)?(?P<host>[\w.-]+|\[[0-9a-fA-F:]+\]):(?P<port>\d{1,5})")
_CALL_S = 5.0
_JOIN_S = 60.0


def check_address(address: str) -> None:
    """Raise `InputError` for what is no address, and for one that nobody answers at."""
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", address)
    if address in ("auto", "local"):
        return
    found = _ADDRESS.fullmatch(address)
    if not found:
        raise InputError(
            f"--ray {address}",
            "must be auto, local, HOST:PORT or ray://HOST:PORT",
            "such as --ray ray://head.example:10001",
        )
    try:
        place = found["host"].strip("[]"), int(found["port"])
        socket.create_connection(place, timeout=_CALL_S).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise _nobody(address, str(error)) from error


def _nobody(address: str, why: str) -> InputError:
    why = " ".join(why.split())[:120]
    return InputError(
        f"--ray {address}", f"no Ray answers there ({why})", "begin one with: ray start --head, or say local"
    )


class _Actor(Worker):
    """A worker on Ray. ``code``: the digest of the aftermath that gives it its work."""

    def __init__(self, make: Callable[[], Callable[[Any], Any]], code: str) -> None:
        super().__init__(make)
        self._code = code

    def ready(self) -> Answer:
        """Make what does the work, where the code is the same."""
        if code_digest() != self._code:
            host = socket.gethostname()
            return Answer(
                error=InputError(f"aftermath on {host}", "is another version than here", "install the same")
            )
        return super().ready()


class RayCrew:
    """See `Crew`. ``card``: each worker takes a graphics card where the cluster has any.

    Raises `InputError` where no Ray can be reached at ``address``.
    """

    def __init__(
        self, make: Callable[[], Callable[[Any], Any]], address: str, num_workers: int, *, card: bool
    ) -> None:
        self._ray = _joined(address, num_workers)
        has_card = card and self._ray.cluster_resources().get("GPU", 0) >= 1
        self._kind = self._ray.remote(num_cpus=1, num_gpus=int(has_card))(_Actor)
        self._made = make, code_digest()
        self._actors: list[Any] = []
        self._asked: dict[Any, int] = {}

    def start(self) -> None:
        """See `Crew.start`."""
        self._actors.append(self._kind.remote(*self._made))
        self._asked[self._actors[-1].ready.remote()] = len(self._actors) - 1

    def give(self, worker: int, job: Any) -> None:
        """See `Crew.give`."""
        self._asked[self._actors[worker].work.remote(job)] = worker

    def next(self) -> tuple[int, Answer | None]:
        """See `Crew.next`."""
        done = self._ray.wait(list(self._asked), num_returns=1)[0][0]
        worker = self._asked.pop(done)
        try:
            return worker, self._ray.get(done)
        except self._ray.exceptions.RayTaskError as error:  # before our own code: no aftermath there
            raise AftermathError(f"a worker on Ray cannot work: {_last_line(error)}") from error
        except self._ray.exceptions.RayError:
            return worker, None

    def end(self, *, at_once: bool) -> None:
        """See `Crew.end`; a Ray that was begun here ends too."""
        for actor in self._actors:
            self._ray.kill(actor)
        self._ray.shutdown()


def _joined(address: str, num_workers: int) -> Any:
    """The module of Ray, in touch with the cluster."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address == "local":
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # it would write a token into the home folder
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address == "local":
        with _own_signals():
            ray.init(address=address, num_cpus=num_workers, include_dashboard=False, **quiet)
        return ray
    failed: list[Exception] = []

    def join() -> None:
        try:
            ray.init(address=address, **quiet)
        except Exception as error:
            failed.append(error)

    # in a thread: what answers but is no Ray would be asked for eight minutes, deaf to Ctrl-C
    joining = threading.Thread(target=join, daemon=True)
    joining.start()
    joining.join(_JOIN_S)
    if joining.is_alive():
        raise _nobody(address, f"nothing that it understood in {_JOIN_S:.0f} s")
    if failed:
        raise _nobody(address, str(failed[0])) from failed[0]
    return ray


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep what is done on SIGTERM, which Ray takes over."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _last_line(error: BaseException) -> str:
    return next((line for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
