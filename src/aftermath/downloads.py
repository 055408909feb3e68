"""One large file over the network, in pieces that stay: what was broken off goes on where it was.

The hub's client starts a file again from the beginning when its process ends; files of gigabytes are fetched here, and
checked against the hash that the hub gives.
"""

from __future__ import annotations

import errno
import hashlib
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from aftermath.errors import WeightsError

__all__ = ["Progress", "fetch_file", "sha256_of"]

Progress = Callable[[str, int, int], None]
"""Called with (file, bytes done, bytes in all)."""

_PIECE = 1 << 20
_WAITS_S = (1.0, 2.0, 4.0, 8.0)  # between tries that bring nothing; after the last of them it is given up
_LOOK_S = 1.0  # between looks at what another process has fetched
_PASSING = (408, 429)  # answers that may be others a moment later, as all from 500 on


def fetch_file(
    url: str, target: Path, size: int, expected: str, name: str, progress: Progress | None, *, lock: Path
) -> None:
    """Fetch one file of ``size`` bytes to ``target``, going on with ``target``'s part where there is one.

    A connection that breaks or stalls is made again, as long as there is progress. While another process holds
    ``lock``, which is the hub's own for this file, it is waited for, and what that fetched is taken.

    Raises OSError where the disk has no room, ConnectionError where less came, `WeightsError` where what came has not
    the hash ``expected``, and what the hub's client raises.
    """
    part = target.with_name(f"{target.name}.part")

    def waits() -> None:
        if progress is not None:
            progress(name, _size(part), size)

    target.parent.mkdir(parents=True, exist_ok=True)
    with _alone(lock, waits):
        if _size(target) == size:
            return
        if _size(part) > size:
            part.unlink()
        missing, room = size - _size(part), shutil.disk_usage(target.parent).free
        if missing > room:
            raise OSError(errno.ENOSPC, f"{missing} bytes are needed and {room} free", str(target.parent))
        _receive_all(url, part, size, name, progress)
        if sha256_of(part) != expected:
            part.unlink()
            raise WeightsError(
                f"{name}: what came is not what the hub says it is (sha256); it was thrown away, fetch it again"
            )
        part.replace(target)


def _receive_all(url: str, part: Path, size: int, name: str, progress: Progress | None) -> None:
    """Fill ``part`` over as many connections as it takes; raises what the last of several in vain raised."""
    from httpx2 import TransportError
    from huggingface_hub.errors import HfHubHTTPError

    most, vain = _size(part), 0
    while _size(part) < size:
        try:
            _receive(url, part, size, name, progress)
        except (TransportError, ConnectionError, HfHubHTTPError) as error:
            if isinstance(error, HfHubHTTPError) and not _passes(error.response.status_code):
                raise
            # more than ever before: a server that knows no ranges begins anew each time
            vain = 0 if _size(part) > most else vain + 1
            most = max(most, _size(part))
            if vain > len(_WAITS_S):
                raise
            time.sleep(_WAITS_S[max(vain - 1, 0)])


def _receive(url: str, part: Path, size: int, name: str, progress: Progress | None) -> None:
    """Add to ``part`` what one connection brings. Raises ConnectionError where that is not all."""
    from huggingface_hub import constants, get_session
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

    here = told = _size(part)
    headers = build_hf_headers() | {"Accept-Encoding": "identity", "Range": f"bytes={here}-"}
    patience = constants.HF_HUB_DOWNLOAD_TIMEOUT  # seconds without a byte; the client's own is endless
    with get_session().stream(
        "GET", url, headers=headers, follow_redirects=True, timeout=patience
    ) as response:
        hf_raise_for_status(response)
        if response.status_code != 206:  # a server that knows no ranges sends all of it
            here = told = 0
        with part.open("r+b" if here else "wb") as file:
            file.seek(here)
            # pieces as they come: what waited to fill a larger one would be lost
            for piece in response.iter_bytes():
                file.write(piece)
                here += len(piece)
                if progress is not None and (here - told >= _PIECE or here >= size):
                    progress(name, here, size)
                    told = here
    if here < size:
        raise ConnectionError(f"{name} ended after {here} of {size} bytes")


def _passes(status: int) -> bool:
    return status in _PASSING or status >= 500


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@contextmanager
def _alone(lock: Path, waits: Callable[[], None]) -> Iterator[None]:
    """While it lasts no other process fetches the file. Waits for one that does, calling ``waits`` again and again."""
    from filelock import Timeout
    from huggingface_hub.utils import WeakFileLock

    lock.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(WeakFileLock(lock, timeout=_LOOK_S))
                break
            except Timeout:
                waits()
        yield


def sha256_of(path: Path) -> str:
    """The hash of a file's content, as the hub writes it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
