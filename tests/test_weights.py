"""What a file or folder that cannot be weights is told to be, before anything loads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aftermath.errors import WeightsError
from aftermath.weights import find_shards, read_header


def written(path: Path, header: dict[str, Any], num_bytes: int) -> Path:
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(num_bytes))
    return path


def entry(dtype: str, shape: list[Any], *offsets: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": list(offsets)}


def test_tensors_side_by_side_are_read_in_any_order(tmp_path: Path) -> None:
    header = {"b": entry("F8_E4M3", [4], 6, 10), "__metadata__": {}, "a": entry("BF16", [1, 3], 0, 6)}
    header |= {
        "none": entry("F32", [0, 5], 6, 6),
        "one": entry("F64", [], 10, 18),
        "f": entry("F4", [4], 18, 20),
    }
    tensors = read_header(written(tmp_path / "a.safetensors", header, 20))
    assert tensors["a"].shape == (1, 3) and tensors["b"].stop - tensors["b"].start == 4


@pytest.mark.parametrize(
    ("tensors", "told"),
    [
        ([entry("F99", [2], 0, 8)], "type F99"),
        ([entry("F32", [2], -8, 0)], "does not begin where"),
        ([entry("F32", [2], 8, 0)], "does not begin where"),
        ([entry("F32", [2], 0, 8), entry("F32", [2], 4, 12)], "does not begin where"),
        ([entry("F32", [2], 0, 8), entry("F32", [2], 12, 20)], "does not begin where"),
        ([entry("F32", [3], 0, 8)], "8 bytes for F32 of the shape [3]"),
        ([entry("F32", [-1, -2], 0, 8)], "of the shape [-1, -2]"),
        ([entry("F32", [2.0], 0, 8)], "not a safetensors file"),
        ([entry("F32", [2], 0)], "not a safetensors file"),
        ([entry("F32", [2], "0", 8)], "not a safetensors file"),
        ([entry("F32", [2], 0, 8), entry("F32", [4], 8, 24)], "half a download"),
    ],
)
def test_a_header_that_cannot_be_is_told(tmp_path: Path, tensors: list[dict[str, Any]], told: str) -> None:
    path = written(tmp_path / "a.safetensors", {str(n): one for n, one in enumerate(tensors)}, 20)
    with pytest.raises(WeightsError) as raised:
        read_header(path)
    assert str(raised.value).startswith(f"{path}: ") and told in str(raised.value)


def test_what_holds_no_weights_is_named(tmp_path: Path) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text('{"weight_map": {}}')
    with pytest.raises(WeightsError, match=r"model\.safetensors\.index\.json: it names no file"):
        find_shards(tmp_path, ("model.safetensors",))
    with pytest.raises(WeightsError, match=r"x\.safetensors: no such file; fetch it with"):
        find_shards(tmp_path / "x.safetensors", ())
    for model in (tmp_path, index):  # an empty folder, and a file, that were given as a model
        with pytest.raises(WeightsError, match="no such folder") as raised:
            find_shards(model / "vae", ("model.safetensors",))
        assert f"{model} must be the folder of a model, with transformer/, vae/, text_" in str(raised.value)
