"""Arrays by name in one .npz file, never pickled; boolean ones take a bit a value."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from aftermath.media.mapped import is_large, map_chunks

__all__ = ["load_arrays", "save_arrays"]

_BITS = "bits of "  # a packed array, beside its shape
_SHAPE = "shape of "
_CHUNK = 2**20
# numpy reads a header by ast.literal_eval, which Python 3.11 fails at, now and then, in two threads at once:
# "SystemError: AST constructor recursion depth mismatch"
_READING = threading.Lock()


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays of any shape and plain type to ``path``, a .npz; same arrays, same bytes."""
    stored: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        if array.dtype == np.bool_:
            stored[_BITS + name] = np.packbits(array)
            stored[_SHAPE + name] = np.array(array.shape, np.int64)
        else:
            stored[name] = array
    np.savez_compressed(path, allow_pickle=False, **stored)


def load_arrays(path: Path, scratch: Path | None = None) -> dict[str, np.ndarray]:
    """Read back exactly what `save_arrays` wrote; large arrays are mapped from the folder ``scratch``, where given."""
    arrays: dict[str, np.ndarray] = {}
    with _READING, np.load(path, allow_pickle=False) as file:
        for key in file.files:
            if key.startswith(_BITS):
                name = key.removeprefix(_BITS)
                shape = tuple(int(side) for side in file[_SHAPE + name])
                arrays[name] = _unpacked(file[key], shape, scratch)
            elif not key.startswith(_SHAPE):
                array = file[key]
                if scratch and array.ndim and is_large(array.nbytes):
                    array = map_chunks(array, array.dtype, array.shape, scratch)
                arrays[key] = array
    return arrays


def _unpacked(packed: np.ndarray, shape: tuple[int, ...], scratch: Path | None) -> np.ndarray:
    count = math.prod(shape)
    if not scratch or not is_large(count):
        return np.unpackbits(packed, count=count).view(np.bool_).reshape(shape)
    chunks = (
        np.unpackbits(packed[start : start + _CHUNK], count=min(8 * _CHUNK, count - 8 * start))
        for start in range(0, packed.size, _CHUNK)
    )
    return map_chunks(chunks, np.bool_, shape, scratch)
