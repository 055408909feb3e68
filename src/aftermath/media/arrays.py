"""Arrays by name in one .npz file, never pickled; boolean ones take a bit a value."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

__all__ = ["load_arrays", "save_arrays"]

_BITS = "bits of "  # a packed array, beside its shape
_SHAPE = "shape of "


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


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read back exactly what `save_arrays` wrote."""
    arrays: dict[str, np.ndarray] = {}
    with np.load(path, allow_pickle=False) as file:
        for key in file.files:
            if key.startswith(_BITS):
                name = key.removeprefix(_BITS)
                shape = tuple(int(side) for side in file[_SHAPE + name])
                bits = np.unpackbits(file[key], count=int(np.prod(shape)))
                arrays[name] = bits.view(np.bool_).reshape(shape)
            elif not key.startswith(_SHAPE):
                arrays[key] = file[key]
    return arrays
