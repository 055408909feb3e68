"""Work on what comes next while this is used, or on several things at once."""

from __future__ import annotations

import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["ahead", "at_once"]

_T = TypeVar("_T")
_R = TypeVar("_R")
_DEPTH = 2  # full-size frames are large


def ahead(items: Iterable[_T], depth: int = _DEPTH) -> Iterator[_T]:
    """The same items in the same order, at most ``depth`` of them made before they are asked for.

    NumPy, OpenCV and PyAV let go of the interpreter while they work, so the two sides run side by side. An exception
    of the items is raised where the item would have come. Closing the iterator stops the work.
    """
    waiting: queue.Queue[tuple[bool, _T | BaseException | None]] = queue.Queue(depth)
    stop = threading.Event()

    def put(entry: tuple[bool, _T | BaseException | None]) -> bool:
        while not stop.is_set():
            try:
                waiting.put(entry, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        source = iter(items)
        try:
            for item in source:
                if not put((True, item)):
                    return
            put((False, None))
        except BaseException as error:  # raised again on the other side
            put((False, error))
        finally:
            close = getattr(source, "close", None)
            if close is not None:
                close()

    thread = threading.Thread(target=work, name="ahead", daemon=True)
    thread.start()
    try:
        while True:
            more, value = waiting.get()
            if more:
                yield value  # type: ignore[misc]
            elif isinstance(value, BaseException):
                raise value
            else:
                return
    finally:
        stop.set()
        thread.join()


def at_once(function: Callable[[_T], _R], items: Iterable[_T]) -> Iterator[_R]:
    """``function`` of each item, in their order, as many at a time as there are processors.

    For work that NumPy and OpenCV do outside the interpreter's lock, on items that do not share what they write.
    An exception is raised where the result would have come.
    """
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers, "at-once") as pool:
        waiting: deque[Future[_R]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
