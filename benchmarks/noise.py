"""How long warping noise takes: ``python benchmarks/noise.py [--frames N] [--cells C]``.

85 frames at 384x672, 16 channels, as pass 2 wants them: a texture that turns, grows and slides, so that cells are
split, summed and drawn anew all the time. Processor time, since it does not depend on who else uses the machine: of the
flow, there and back, and of the warping by itself. Also printed: the standard deviation of the last latents, and how
much of the motion the noise took part in (correlation of the last latents with the first laid where they should be;
laying white noise by itself leaves about 0.7).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from aftermath.render.void.noise import motion_of, warp_noise
from aftermath.scene.optical_flow import Flow, dis_flow
from aftermath.scene.raft import find_raft, load_raft

HEIGHT, WIDTH, LATENT_PX = 384, 672, 8


def pose(index: int) -> np.ndarray:
    """Where the texture is in frame ``index``: an affine map, (2, 3), from the first frame."""
    turn = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), 0.15 * index, 1.002**index)
    turn[:, 2] += (0.6 * index, -0.3 * index)
    return turn


def film(num_frames: int) -> list[np.ndarray]:
    """The moving texture, uint8 (H, W, 3) RGB."""
    grain = np.random.default_rng(0).uniform(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    texture = cv2.GaussianBlur(grain, (0, 0), 2)
    return [
        cv2.warpAffine(texture, pose(index), (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
        for index in range(num_frames)
    ]


def processor_time(work: Callable[[], Any]) -> tuple[Any, float]:
    """What ``work`` returns, and the processor seconds it took, all threads together."""
    start = time.process_time()
    return work(), time.process_time() - start


def followed(latents: torch.Tensor, frame: int) -> float:
    """Correlation of the last latents, of ``frame``, with the first laid there, in the inner half."""
    first, last = latents[0, 0].numpy(), latents[0, -1].numpy()
    matrix = pose(frame)
    matrix[:, 2] = (matrix[:, 2] + (matrix[:, :2].sum(1) - 1) * (LATENT_PX - 1) / 2) / LATENT_PX
    height, width = first.shape[1:]
    came = [cv2.warpAffine(plane, matrix, (width, height), flags=cv2.INTER_LINEAR) for plane in first]
    inner = np.s_[height // 4 : -height // 4, width // 4 : -width // 4]
    expected = np.concatenate([plane[inner].ravel() for plane in came])
    found = np.concatenate([plane[inner].ravel() for plane in last])
    return float(np.corrcoef(expected, found)[0, 1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--frames", type=int, default=85)
    parser.add_argument("--cells", type=int, default=4, help="cells along each side of a latent")
    args = parser.parse_args()
    frames = film(args.frames)
    flows: dict[str, Flow] = {"DIS": dis_flow}
    if weights := find_raft():
        flows[f"RAFT ({weights.name})"] = load_raft(weights)
    table = Table("flow", "frames", "flow, CPU s", "warping, CPU s", "standard deviation", "followed")
    for name, flow in flows.items():
        motion, flow_s = processor_time(lambda flow=flow: list(motion_of(frames, flow)))
        generator = torch.Generator().manual_seed(0)
        latents, warp_s = processor_time(
            lambda motion=motion, generator=generator: warp_noise(
                motion, HEIGHT, WIDTH, generator=generator, cells=args.cells
            )
        )
        table.add_row(
            name,
            str(args.frames),
            f"{flow_s:.1f}",
            f"{warp_s:.1f}",
            f"{float(latents[0, -1].std()):.3f}",
            f"{followed(latents, (args.frames - 1) // 4 * 4):.2f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
