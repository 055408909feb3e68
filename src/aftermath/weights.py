"""Files of weights, looked at without loading them: headers, sizes, values. Needs neither torch nor safetensors."""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aftermath.errors import WeightsError

__all__ = ["Tensor", "check_finite", "find_shards", "read_header"]

_PICKLES = {".bin", ".pt", ".pth", ".ckpt", ".pkl"}
_LARGEST_HEADER = 100_000_000  # the format's own bound
_FLOATS = {"F64": ("<u8", 0x7FF << 52), "F32": ("<u4", 0xFF << 23), "F16": ("<u2", 0x1F << 10)}
_FLOATS["BF16"] = ("<u2", 0xFF << 7)
_VALUES_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class Tensor:
    """What a header says of one tensor: safetensors' name of its type, its shape, the bytes it lies in."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


def read_header(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name.

    Raises `WeightsError` where it is missing, a pickle, no safetensors file, or shorter than its header says.
    """
    if path.suffix in _PICKLES:
        raise WeightsError(
            f"{path}: a pickle, which may run any program when it is read; only .safetensors files are read"
        )
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; fetch it with: aftermath models download")
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        text = file.read(length) if 2 <= length <= _LARGEST_HEADER else b""
    if size > 8 and text[:1] == b"{" and len(text) < length:
        raise WeightsError(_half(path, size, 8 + length))
    try:
        tensors = {
            name: Tensor(
                str(entry["dtype"]),
                tuple(map(int, entry["shape"])),
                8 + length + int(entry["data_offsets"][0]),
                8 + length + int(entry["data_offsets"][1]),
            )
            for name, entry in json.loads(text).items()
            if name != "__metadata__"
        }
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise WeightsError(
            f"{path}: not a safetensors file (no header); it may be a web page or a git-lfs pointer saved in its place"
        ) from error
    expected = max((tensor.stop for tensor in tensors.values()), default=8 + length)
    if size < expected:
        raise WeightsError(_half(path, size, expected))
    if size > expected:
        raise WeightsError(f"{path}: {size - expected} bytes longer than its header says; fetch it again")
    return tensors


def find_shards(path: Path, names: tuple[str, ...]) -> list[Path]:
    """The files that hold the weights at ``path``.

    ``path`` is a .safetensors file, an index of several (``*.safetensors.index.json``), or a folder with one of
    ``names``, alone or sharded. Raises `WeightsError` where there is none, or only a pickle.
    """
    if path.is_dir():
        for name in names:
            for found in (path / name, path / f"{name}.index.json"):
                if found.is_file():
                    return find_shards(found, names)
        pickles = sorted(entry.name for entry in path.iterdir() if entry.suffix in _PICKLES)
        if pickles:
            read_header(path / pickles[0])
        raise WeightsError(
            f"{path}: no {' or '.join(names)} (nor .index.json) there; fetch it with: aftermath models download"
        )
    if path.name.endswith(".index.json") and path.is_file():
        try:
            shards = sorted(set(json.loads(path.read_text("utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise WeightsError(f"{path}: not an index of weights (no weight_map)") from error
        if any(Path(str(shard)).name != shard for shard in shards):
            raise WeightsError(f"{path}: it must name files of its own folder only")
        return [path.with_name(shard) for shard in shards]
    return [path]


def check_finite(path: Path) -> None:
    """Read all of a safetensors file. Raises `WeightsError` where a number in it is NaN or infinite."""
    tensors = read_header(path)
    if not any(tensor.stop > tensor.start for tensor in tensors.values()):
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for name, tensor in tensors.items():
            if tensor.dtype in _FLOATS and not all(_finite_chunks(content, tensor)):
                raise WeightsError(
                    f"{path}: {name} holds NaN or infinity; fetch it again, or ask who made it"
                )


def _finite_chunks(content: mmap.mmap, tensor: Tensor) -> Iterator[bool]:
    """Whether each chunk is finite: an exponent of all ones is infinity or NaN, in every float type."""
    kind, exponent = _FLOATS[tensor.dtype]
    step = _VALUES_AT_ONCE * np.dtype(kind).itemsize
    for start in range(tensor.start, tensor.stop, step):
        values = np.frombuffer(content[start : min(start + step, tensor.stop)], kind)
        yield not bool(((values & exponent) == exponent).any())


def _half(path: Path, size: int, expected: int) -> str:
    return (
        f"{path}: half a download, {size} of {expected} bytes; "
        "the rest is fetched by: aftermath models download"
    )
