"""LPIPS (Zhang et al., CVPR 2018), where torchmetrics, torchvision and their weights are on the machine already."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from aftermath.errors import extra_needed

__all__ = ["Lpips", "load_lpips"]

Lpips = Callable[[np.ndarray, np.ndarray, np.ndarray], float]
"""(video, truth, region) to the mean distance over the frames that have some of the region; 0 is the same."""

_BACKBONE = "alexnet-owt-7be5be79.pth"  # what torchvision downloads for AlexNet
_LEAST_SIDE_PX = 64  # AlexNet's strides need this much


def load_lpips() -> tuple[Lpips | None, str]:
    """The score, or None; and a line that says what is missing, or what it runs on. Nothing is downloaded."""
    for package in ("torchmetrics", "torchvision", "torch"):  # found, not loaded: torch takes seconds
        if importlib.util.find_spec(package) is None:
            return None, f"LPIPS left out: {package} is not installed; {extra_needed('it', 'metrics')}"
    torch: Any = importlib.import_module("torch")
    weights = Path(torch.hub.get_dir()) / "checkpoints" / _BACKBONE
    if not weights.is_file():
        return None, (
            f"LPIPS left out: the weights {_BACKBONE} are not in torch's cache; fetch them once with: "
            'python -c "import torchvision.models as m; m.alexnet(weights=m.AlexNet_Weights.DEFAULT)"'
        )
    module: Any = importlib.import_module("torchmetrics.image.lpip")
    net = module.LearnedPerceptualImagePatchSimilarity(net_type="alex", normalize=True).eval()
    return _scorer(torch, net), "LPIPS: AlexNet, torchmetrics"


def _scorer(torch: Any, net: Any) -> Lpips:
    """Only the region differs: the rest of each frame is the truth's."""

    def score(video: np.ndarray, truth: np.ndarray, region: np.ndarray) -> float:
        distances = []
        for out, true, inside in zip(video, truth, region, strict=True):
            if inside.any() and min(inside.shape) >= _LEAST_SIDE_PX:
                mixed = np.where(inside[..., None], out, true)
                a, b = (
                    torch.from_numpy(p.copy()).permute(2, 0, 1)[None].float() / 255 for p in (mixed, true)
                )
                with torch.no_grad():
                    distances.append(float(net(a, b)))
        return float(np.mean(distances)) if distances else float("nan")

    return score
