"""The model in the package: it is there, it is small, and it paints."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from aftermath.evaluate.pairs import find_pairs, load_pair, read_video
from aftermath.models import NANO, located
from conftest import Cli

pytestmark = pytest.mark.skipif(find_spec("diffusers") is None, reason="the extra void is not installed")

PAIR = Path(__file__).parents[1] / "examples" / "control"


def test_it_is_small_and_says_what_it_is():
    files = [path for path in located(NANO).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 40e6
    card = (located(NANO) / "README.md").read_text("utf-8")
    for word in ("Data", "Recipe", "Seeds", "Scores", "Limits"):
        assert f"## {word}" in card
    assert {path.suffix for path in files} <= {
        ".json",
        ".md",
        ".safetensors",
    }  # nothing that runs when it is read


def test_it_paints_what_changes_better_than_leaving_it(cli_here: Cli, tmp_path: Path):
    pair = load_pair(find_pairs(PAIR)[0])
    out = tmp_path / "out.mkv"
    done = cli_here(
        "remove", str(pair.files.source), "--quadmask", str(pair.files.mask), "--engine", "void", "--model", "nano",
        "--codec", "ffv1", "-o", str(out), "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    painted = read_video(out)
    assert painted.shape == pair.truth.shape
    changed = pair.regions["changed"]

    def error(video: np.ndarray) -> float:
        return float(((video[changed].astype(float) - pair.truth[changed]) ** 2).mean())

    assert error(painted) < 0.5 * error(pair.source)
    run = json.loads((tmp_path / "out.mkv.aftermath" / "run.json").read_text())
    assert run["render"]["model_size"] == [192, 336]
    assert not any("prompt" in warning for warning in run["warnings"])
