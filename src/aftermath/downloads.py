"""One large file over the network, in pieces that stay: what was broken off goes on where it was.

The hub's client starts a file again from the beginning when its process ends; files of gigabytes are fetched here, and
checked against the hash that the hub gives.
"""

from __future__ import annotations

import errno
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

from aftermath.errors import WeightsError

__all__ = ["Progress", "fetch_file", "sha256_of"]

Progress = Callable[[str, int, int], None]
"""Called with (file, bytes done, bytes in all)."""

_PIECE = 1 << 20


def fetch_file(
    url: str, target: Path, size: int, expected: str, name: str, progress: Progress | None
) -> None:
    """Fetch one file of ``size`` bytes to ``target``, going on with ``target``'s part where there is one.

    Raises OSError where the disk has no room, ConnectionError where less came, `WeightsError` where what came has not
    the hash ``expected``, and what the hub's client raises.
    """
    from huggingface_hub import get_session
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    here = part.stat().st_size if part.exists() else 0
    if here > size:
        here = 0
    room = shutil.disk_usage(target.parent).free
    if size - here > room:
        raise OSError(errno.ENOSPC, f"{size - here} bytes are needed and {room} free", str(target.parent))
    if here < size:
        headers = build_hf_headers() | {"Accept-Encoding": "identity", "Range": f"bytes={here}-"}
        with get_session().stream("GET", url, headers=headers, follow_redirects=True) as response:
            hf_raise_for_status(response)
            if response.status_code != 206:  # a server that knows no ranges sends all of it
                here = 0
            with part.open("r+b" if here else "wb") as file:
                file.seek(here)
                for piece in response.iter_bytes(_PIECE):
                    file.write(piece)
                    here += len(piece)
                    if progress is not None:
                        progress(name, here, size)
    if part.stat().st_size < size:
        raise ConnectionError(f"{name} ended after {part.stat().st_size} of {size} bytes")
    if sha256_of(part) != expected:
        part.unlink()
        raise WeightsError(
            f"{name}: what came is not what the hub says it is (sha256); it was thrown away, fetch it again"
        )
    part.replace(target)


def sha256_of(path: Path) -> str:
    """The hash of a file's content, as the hub writes it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
