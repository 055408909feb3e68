"""RAFT (Teed and Deng, ECCV 2020), torchvision's, from weights on disk. Needs torch; never downloads.

More exact than DIS where things move far or have little texture, and some hundred times slower on a CPU.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from torchvision.models.optical_flow import RAFT, raft_large, raft_small

from aftermath.errors import WeightsError
from aftermath.scene.optical_flow import Flow, dis_flow

__all__ = ["best_flow", "find_raft", "load_raft"]

_MULTIPLE_PX, _MIN_SIDE_PX = 8, 128  # RAFT's stride, and what its four-level correlation pyramid needs


def best_flow(
    device: torch.device | str = "cpu", warn: Callable[[str], None] = lambda _: None
) -> tuple[Flow, str]:
    """RAFT where its weights lie on this machine, else DIS; and the name of it. ``warn`` is told of weights that cannot
    be read, which DIS stands in for."""
    weights = find_raft()
    if weights is None:
        return dis_flow, "dis"
    try:
        return load_raft(weights, device), weights.stem.partition("-")[0]
    except WeightsError as error:
        warn(f"{error}: DIS measures the motion in its place; delete that file, or fetch it again")
        return dis_flow, "dis"


def find_raft() -> Path | None:
    """The weights torchvision has downloaded before, large before small; None where there are none."""
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    return next(
        (path for size in ("large", "small") for path in sorted(folder.glob(f"raft_{size}_*.pth"))), None
    )


def load_raft(weights: Path, device: torch.device | str = "cpu") -> Flow:
    """RAFT's flow from a state dict of torchvision's ``raft_large`` or ``raft_small``.

    The function returned takes two uint8 (H, W, 3) RGB pictures of one size and gives float32 (H, W, 2), pixels, as
    `dis_flow` does. Raises `WeightsError` where the file is missing, damaged, or something else.
    """
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise WeightsError(f"{weights}: no readable weights of RAFT ({error})") from error
    for build in (raft_large, raft_small):
        model: RAFT = build(weights=None)
        try:
            model.load_state_dict(state)
        except (RuntimeError, TypeError):
            continue
        return _flow_of(model.eval().requires_grad_(False).to(device))
    raise WeightsError(f"{weights}: not the weights of torchvision's raft_large or raft_small")


def _flow_of(model: RAFT) -> Flow:
    device = next(model.parameters()).device

    def flow(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        if a.shape != b.shape:
            raise ValueError(f"flow between pictures of sizes {a.shape[:2]} and {b.shape[:2]}")
        height, width = a.shape[:2]
        first, second = (_padded(image, device) for image in (a, b))
        with torch.inference_mode():
            found = model(first, second)[-1][0, :, :height, :width]
        return np.ascontiguousarray(found.permute(1, 2, 0).cpu().numpy())

    return flow


def _padded(image: np.ndarray, device: torch.device) -> torch.Tensor:
    """(1, 3, H', W') in [-1, 1], the border's pixels repeated to the right and below."""
    pixels = (
        torch.from_numpy(np.ascontiguousarray(image)).to(device).permute(2, 0, 1)[None].float() / 127.5 - 1
    )
    down, right = (max(-side % _MULTIPLE_PX, _MIN_SIDE_PX - side) for side in image.shape[:2])
    return functional.pad(pixels, (0, right, 0, down), mode="replicate")
