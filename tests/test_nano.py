"""The model in the package: it is there, it is small, and it paints."""

from __future__ import annotations

import json
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from aftermath.counterfactual.film import write_pictures
from aftermath.evaluate.pairs import find_pairs, load_pair, read_video
from aftermath.hub import located
from aftermath.media.masks import write_masks
from aftermath.models import NANO
from conftest import Cli

pytestmark = pytest.mark.skipif(find_spec("diffusers") is None, reason="the extra void is not installed")

FRAMES = 9
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


@pytest.mark.long
def test_it_paints_what_changes_better_than_leaving_it(cli_here: Cli, tmp_path: Path):
    pair = load_pair(find_pairs(PAIR)[0])
    clip, mask, out = tmp_path / "clip.mp4", tmp_path / "mask.mkv", tmp_path / "out.mkv"
    write_pictures(clip, pair.source[:FRAMES], 24, pair.source[0].shape)  # all of it takes a minute
    write_masks(mask, list(pair.quadmask)[:FRAMES], Fraction(24))
    done = cli_here(
        "remove", str(clip), "--quadmask", str(mask), "--engine", "void", "--model", "nano",
        "--codec", "ffv1", "-o", str(out), "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    painted = read_video(out)
    truth, changed = pair.truth[:FRAMES], pair.regions["changed"][:FRAMES]
    assert painted.shape == truth.shape

    def error(video: np.ndarray) -> float:
        return float(((video[changed].astype(float) - truth[changed]) ** 2).mean())

    assert error(painted) < 0.5 * error(pair.source[:FRAMES])
    run = json.loads((tmp_path / "out.mkv.aftermath" / "run.json").read_text())
    assert run["render"]["model_size"] == [192, 336]
    assert not any("prompt" in warning for warning in run["warnings"])
