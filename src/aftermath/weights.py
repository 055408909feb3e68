"""Files of weights, looked at without loading them: headers, sizes, values. Needs neither torch nor safetensors."""

from __future__ import annotations

import json
import math
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from operator import index
from pathlib import Path
from typing import Any

import numpy as np

from aftermath.errors import WeightsError

__all__ = ["Tensor", "check_finite", "find_shards", "read_header", "replaced"]

_DOWNLOAD = "aftermath models download"
_PICKLES = {".bin", ".pt", ".pth", ".ckpt", ".pkl"}
_LARGEST_HEADER = 100_000_000  # the format's own bound
_FLOATS = {"F64": ("<u8", 0x7FF << 52), "F32": ("<u4", 0xFF << 23), "F16": ("<u2", 0x1F << 10)}
_FLOATS["BF16"] = ("<u2", 0xFF << 7)
_VALUES_AT_ONCE = 1 << 22
_NUMBERS = {  # the format's names of its types, by the bits of one number
    4: "F4",
    6: "F6_E2M3 F6_E3M2",
    8: "BOOL U8 I8 F8_E4M3 F8_E5M2 F8_E8M0 F8_E4M3FNUZ F8_E5M2FNUZ",
    16: "I16 U16 F16 BF16",
    32: "I32 U32 F32",
    64: "I64 U64 F64 C64",
}
_BITS = {name: bits for bits, names in _NUMBERS.items() for name in names.split()}


@dataclass(frozen=True)
class Tensor:
    """What a header says of one tensor: safetensors' name of its type, its shape, the bytes it lies in."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


def read_header(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name.

    Raises `WeightsError` where it is missing, a pickle, no safetensors file, shorter or longer than its header says,
    or where that header cannot be: a type that the format does not know, or tensors that are not side by side.
    """
    if path.suffix in _PICKLES:
        raise WeightsError(
            f"{path}: a pickle, which may run any program when it is read; only .safetensors files are read"
        )
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; fetch it with: {_DOWNLOAD}")
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        text = file.read(length) if 2 <= length <= _LARGEST_HEADER else b""
    if size > 8 and text[:1] == b"{" and len(text) < length:
        raise WeightsError(_half(path, size, 8 + length))
    try:
        tensors = {
            name: _tensor(entry, 8 + length)
            for name, entry in json.loads(text).items()
            if name != "__metadata__"
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise WeightsError(
            f"{path}: not a safetensors file (no header); it may be a web page or a git-lfs pointer saved in its place"
        ) from error
    expected = 8 + length
    for name, tensor in sorted(tensors.items(), key=lambda one: (one[1].start, one[1].stop)):
        if wrong := _wrong(tensor, expected):
            raise WeightsError(
                f"{path}: its header is wrong: {name} {wrong}; {replaced(path)} (or ask who made it)"
            )
        expected = tensor.stop
    if size < expected:
        raise WeightsError(_half(path, size, expected))
    if size > expected:
        raise WeightsError(f"{path}: {size - expected} bytes longer than its header says; fetch it again")
    return tensors


def find_shards(path: Path, names: tuple[str, ...]) -> list[Path]:
    """The files that hold the weights at ``path``.

    ``path`` is a .safetensors file, an index of several (``*.safetensors.index.json``), or a folder with one of
    ``names``, alone or sharded. Raises `WeightsError` where there is none, only a pickle, or nothing at all; that a
    shard is there `read_header` finds out.
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
            f"{path}: no {' or '.join(names)} (nor .index.json) there; fetch it with: {_DOWNLOAD}"
        )
    if path.name.endswith(".index.json") and path.is_file():
        try:
            shards = sorted(set(json.loads(path.read_text("utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise WeightsError(f"{path}: not an index of weights (no weight_map)") from error
        if any(Path(str(shard)).name != shard for shard in shards):
            raise WeightsError(f"{path}: it must name files of its own folder only")
        if not shards:
            raise WeightsError(f"{path}: it names no file of weights; {replaced(path)}")
        return [path.with_name(shard) for shard in shards]
    if path.is_file():
        return [path]
    if path.suffix in (".safetensors", ".json"):
        raise WeightsError(f"{path}: no such file; fetch it with: {_DOWNLOAD}")
    raise WeightsError(
        f"{path}: no such folder; {path.parent} must be the folder of a model, with transformer/, vae/, text_encoder/, "
        "tokenizer/ and scheduler/, as aftermath models download fetches it"
    )


def replaced(path: Path, command: str = _DOWNLOAD) -> str:
    """What to do where a file's content is wrong; ``command`` fetches it, empty where none does.

    In the hub's cache ``path`` is a link. What must go is what it leads to: as long as that lies there in its right
    size, nothing is fetched.
    """
    if not command:
        return "copy it again from where it came from"
    real = path.resolve()
    return f"delete {'it' if real == path.absolute() else real} and fetch it again with: {command}"


def check_finite(path: Path, command: str = _DOWNLOAD) -> None:
    """Read all of a safetensors file; ``command``: see `replaced`.

    Raises `WeightsError` where a number in it is NaN or infinite, and as `read_header` does.
    """
    tensors = read_header(path)
    if not any(tensor.stop > tensor.start for tensor in tensors.values()):
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for name, tensor in tensors.items():
            if tensor.dtype in _FLOATS and not all(_finite_chunks(content, tensor)):
                raise WeightsError(
                    f"{path}: {name} holds NaN or infinity; {replaced(path, command)} (or ask who made it)"
                )


def _finite_chunks(content: mmap.mmap, tensor: Tensor) -> Iterator[bool]:
    """Whether each chunk is finite: an exponent of all ones is infinity or NaN, in every float type."""
    kind, exponent = _FLOATS[tensor.dtype]
    step = _VALUES_AT_ONCE * np.dtype(kind).itemsize
    for start in range(tensor.start, tensor.stop, step):
        values = np.frombuffer(content[start : min(start + step, tensor.stop)], kind)
        yield not bool(((values & exponent) == exponent).any())


def _tensor(entry: Any, begin: int) -> Tensor:
    """What a header says of one tensor; ``begin``: where the tensors begin in the file."""
    start, stop = map(index, entry["data_offsets"])
    return Tensor(str(entry["dtype"]), tuple(map(index, entry["shape"])), begin + start, begin + stop)


def _wrong(tensor: Tensor, begin: int) -> str:
    """Why a tensor that must begin at ``begin`` cannot be; empty where it can."""
    bits = _BITS.get(tensor.dtype)
    if bits is None:
        return f"is of the type {tensor.dtype}, which the format does not know"
    if tensor.start != begin:
        return "does not begin where the one before it ends"
    if min(tensor.shape, default=0) < 0 or 8 * (tensor.stop - tensor.start) != bits * math.prod(tensor.shape):
        return f"has {tensor.stop - tensor.start} bytes for {tensor.dtype} of the shape {list(tensor.shape)}"
    return ""


def _half(path: Path, size: int, expected: int) -> str:
    return (
        f"{path}: half a download, {size} of {expected} bytes; "
        "the rest is fetched by: aftermath models download"
    )
