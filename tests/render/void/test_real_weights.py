"""The script for whoever has the weights, run as they would: a tiny model in place of the real one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra void is not installed")

from tiny import save_tiny_model  # noqa: E402

from aftermath.core import Level  # noqa: E402
from aftermath.media.masks import write_masks  # noqa: E402

SCRIPTS = Path(__file__).parents[3] / "scripts"

FAKE_UTILS = """
import torch
def get_video_mask_input(name): return torch.full((1, 3, 5, 2, 2), 0.5), torch.ones(1, 1, 5, 2, 2), "a table", None
"""
FAKE_PIPELINE = """
import torch
def randn_tensor(shape, generator=None, device=None, dtype=None): raise AssertionError
def add_noise_to_reference_video(image, ratio=None): raise AssertionError
class CogVideoXFunInpaintPipeline:
    def __call__(self, video):
        return add_noise_to_reference_video(video, 0.0) + randn_tensor(video.shape, None, "cpu", torch.float32)
"""
FAKE_SCRIPT = """
import sys
from videox_fun.utils.utils import get_video_mask_input, save_videos_grid, save_inout_row
from videox_fun.pipeline.pipeline_cogvideox_fun_inpaint import CogVideoXFunInpaintPipeline
video, mask, _, _ = get_video_mask_input(sys.argv[1])
frames = CogVideoXFunInpaintPipeline()(video)
save_videos_grid(frames, "out.mp4", fps=12)
save_inout_row(video, mask, frames, "row.mp4", fps=12)
sys.exit()
"""


@pytest.fixture
def samples(make_clip: Callable[..., Path], tmp_path: Path) -> Path:
    """A folder of samples with one in it."""
    folder = tmp_path / "sample" / "ball"
    folder.mkdir(parents=True)
    make_clip("sample/ball/input_video.mp4", 96, 64, 12)
    quadmask = np.full((12, 64, 96), Level.KEEP, np.uint8)
    quadmask[:, 20:40, 30:50] = Level.PRIMARY
    write_masks(folder / "quadmask_0.mp4", quadmask, Fraction(12))
    (folder / "prompt.json").write_text(json.dumps({"bg": "a table"}))
    return folder.parent


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    # embeddings of prompts are kept there; tiny models gain nothing from threads
    environment = os.environ | {"XDG_CACHE_HOME": str(cwd / "cache"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.long
def test_it_checks_paints_and_reports_and_goes_on_after_a_failure(samples: Path, tmp_path: Path):
    model = save_tiny_model(tmp_path / "model")
    wanted = ("--samples", samples, "--names", "none,ball", "--model", model, "--out", tmp_path / "out")
    done = run(SCRIPTS / "real_weights.py", *wanted, "--size", "32x48", "--steps", "1", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "| ball | 1 | 12 (85) |" in done.stdout
    assert "| ball | 2 | 12 (85) |" in done.stdout
    assert "diffusion_pytorch_model.safetensors: whole, all numbers finite" in done.stdout
    failed = [line for line in done.stdout.splitlines() if "FAILED" in line]
    assert len(failed) == 1
    assert "none, read" in failed[0] and "--samples" in failed[0]
    assert (tmp_path / "out" / "report.md").read_text() == done.stdout
    assert all((tmp_path / "out" / f"ball-pass{one}-aftermath.mp4").stat().st_size for one in (1, 2))


def test_what_the_reference_reads_and_paints_is_kept_and_seeded(tmp_path: Path):
    """A checkout that has the reference's names and nothing else."""
    files = {
        "videox_fun/utils/utils.py": FAKE_UTILS,
        "videox_fun/pipeline/pipeline_cogvideox_fun_inpaint.py": FAKE_PIPELINE,
        "inference/cogvideox_fun/predict_v2v.py": FAKE_SCRIPT,
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    done = run(SCRIPTS / "real_weights_reference.py", tmp_path / "kept.pt", "7", "1", "ball", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    kept = torch.load(tmp_path / "kept.pt")
    noise = torch.randn((1, 3, 5, 2, 2), generator=torch.Generator().manual_seed(7))
    assert torch.equal(kept["video"], torch.full((1, 3, 5, 2, 2), 0.5))
    assert torch.equal(kept["frames"], kept["video"] + noise)
    assert kept["seconds"] > 0
