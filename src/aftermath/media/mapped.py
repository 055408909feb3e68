"""Arrays too large for memory: kept in nameless files and mapped; what was read of them is let go again."""

from __future__ import annotations

import mmap
import tempfile
import weakref
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from aftermath.media.files import explained

__all__ = ["is_large", "let_go", "map_chunks"]

_IN_MEMORY_BYTES = 128 * 2**20

_maps: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()


def is_large(num_bytes: int) -> bool:
    """Whether an array of this size belongs on the disk."""
    return num_bytes > _IN_MEMORY_BYTES


def map_chunks(
    chunks: Iterable[np.ndarray], dtype: DTypeLike, shape: tuple[int, ...], folder: Path
) -> np.ndarray:
    """An array of ``shape`` (-1: as many as there are), read-only, of the bytes of ``chunks`` one after another.

    It lies in a file of ``folder`` that has no name and goes when the array does. Raises `InputError` where the disk
    has no room.
    """
    with tempfile.TemporaryFile(dir=folder) as store:
        for chunk in chunks:
            with explained(folder):  # written, not mapped: a full disk ends a program that writes to a map
                store.write(np.ascontiguousarray(chunk).data)
        with explained(folder):
            store.flush()
        area = mmap.mmap(store.fileno(), 0, access=mmap.ACCESS_READ)
    _maps.add(area)
    return np.frombuffer(area, dtype).reshape(shape)


def let_go() -> None:
    """Give back the memory of whatever was read of mapped arrays; it is read again when needed."""
    if hasattr(mmap, "MADV_DONTNEED"):
        for area in tuple(_maps):
            area.madvise(mmap.MADV_DONTNEED)
