"""Output files that appear only when they are complete, with errors that say what to do."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from av.error import FFmpegError

from aftermath.errors import AftermathError, InputError, MediaError

__all__ = [
    "alone_in",
    "check_folder",
    "explained",
    "full_disk_told",
    "is_same",
    "publish",
    "temporary_for",
    "try_lock",
]

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_LEAST_ROOM = 1 << 16  # bytes
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
_NO_ACCESS = {
    errno.EACCES,
    errno.EEXIST,
    errno.EPERM,
    errno.EROFS,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
}


def check_folder(target: Path) -> None:
    """Raise `InputError` where no file can be made beside ``target``."""
    folder = target.absolute().parent
    if not folder.is_dir():
        raise InputError(str(target), f"there is no folder {folder}", "make it, or write somewhere else")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(str(target), f"the folder {folder} cannot be written to", "write somewhere else")


def is_same(left: Path, right: Path) -> bool:
    """Whether two names mean one file; those of numbered pictures are no file of their own."""
    if left.exists() and right.exists():
        return left.samefile(right)
    return left.absolute() == right.absolute()


@contextlib.contextmanager
def explained(target: Path) -> Iterator[None]:
    """Translate what goes wrong in writing ``target``: a full or forbidden disk is the user's to mend."""
    try:
        yield
    except AftermathError:
        raise
    except (FFmpegError, OSError, ValueError) as error:
        code = getattr(error, "errno", None)
        if code in _NO_ROOM:
            raise InputError(
                str(target), "no room left on the disk", "free some, or write elsewhere"
            ) from error
        if code in _NO_ACCESS:
            raise InputError(
                str(target), f"cannot be written ({os.strerror(code)})", "write elsewhere"
            ) from error
        raise MediaError(f"{target}: could not be encoded: {error}") from error


@contextlib.contextmanager
def full_disk_told(target: Path) -> Iterator[None]:
    """Say of a full disk that it is full, whatever the library that wrote under ``target`` calls it. Raises
    `InputError` then; all else goes on as it is."""
    try:
        yield
    except AftermathError:
        raise
    except Exception as error:
        if not _is_of_a_full_disk(error, target):
            raise
        raise InputError(str(target), "no room left on the disk", "free some, or write elsewhere") from error


def _is_of_a_full_disk(error: Exception, target: Path) -> bool:
    """torch's and safetensors' errors have no number; what they were writing when it failed fills the disk still."""
    if getattr(error, "errno", None) in _NO_ROOM or os.strerror(errno.ENOSPC) in str(error):
        return True
    there = next(place for place in (target, *target.absolute().parents) if place.exists())
    return shutil.disk_usage(there).free < _LEAST_ROOM


@contextlib.contextmanager
def temporary_for(target: Path) -> Iterator[Path]:
    """A name beside ``target``, of the same suffix, gone at the end, however it ends."""
    temporary = target.with_name(f".{target.stem.replace('%', '_')}.{os.getpid()}.part{target.suffix}")
    try:
        yield temporary
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


def publish(temporary: Path, target: Path) -> None:
    """Let a complete file or folder take the target's place; numbered pictures go one by one."""
    with explained(target):
        if "%" in target.name and temporary.is_dir():
            for picture in sorted(temporary.iterdir()):
                picture.replace(target.with_name(picture.name))
            return
        if target.is_dir():
            shutil.rmtree(target)
        temporary.replace(target)


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """While it lasts no other process is let in here; nothing is left of it. Raises `InputError` where one is."""
    place = folder / ".lock"
    with explained(folder):
        lock = place.open("w")
    with lock:
        # one that was open before it was removed keeps nobody out
        if not try_lock(lock) or not (
            place.exists() and os.path.samestat(os.fstat(lock.fileno()), place.stat())
        ):
            raise InputError(
                str(folder),
                "one process at a time, and another is at work there",
                "wait for it, or name another folder",
            )
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                place.unlink()


def try_lock(file: IO[str]) -> bool:
    """Take an exclusive lock that the system drops when this process ends, however it ends; False where another has it.
    On a disk that knows no locks it is as good as taken."""
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # pyright: ignore[reportAttributeAccessIssue]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in _NO_LOCKS
    return True
