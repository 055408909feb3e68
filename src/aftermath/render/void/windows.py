"""Clips longer than the model's window: overlapping windows, joined in every step.

Temporal multidiffusion (after Bar-Tal et al., "MultiDiffusion", ICML 2023) as the published pass 1 does it, but for
what is averaged: the predictions, not the latents after the solver's step. The steps of its solver are linear in the
prediction, so both are the same, and one step for all windows lets a solver remember earlier ones.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from aftermath.errors import InputError
from aftermath.render.void.conditioning import latent_frames

__all__ = ["joined", "windows"]

Window = tuple[int, int]
"""First latent frame and the one after the last."""


def windows(num_latents: int, window_frames: int, overlap_frames: int) -> list[Window]:
    """Cover ``num_latents`` latent frames by windows of ``window_frames`` frames that share ``overlap_frames``.

    The model takes latents in pairs, so an odd number in a window becomes the even one below. The last window is
    shorter where the clip ends. Raises `InputError` where a window would not go on from the one before.
    """
    length, overlap = latent_frames(window_frames) // 2 * 2, overlap_frames // 4
    several = num_latents > length
    if length < 2 or overlap_frames < 0 or (several and (overlap >= length or overlap_frames % 8)):
        raise InputError(
            f"a window of {window_frames} frames that overlaps the next by {overlap_frames}",
            "the window must be at least 5 frames and longer than the overlap, which must be a multiple of 8",
            "the weights were made for 85 and 16",
        )
    if not several:
        return [(0, num_latents)]
    found: list[Window] = []
    start = 0
    while not found or found[-1][1] < num_latents:
        found.append((start, min(start + length, num_latents)))
        start += length - overlap
    return found


def joined(
    latents: torch.Tensor, parts: list[Window], predict: Callable[[torch.Tensor, Window], torch.Tensor]
) -> torch.Tensor:
    """``predict`` each window of ``latents`` (B, T', C, h, w), and average what they say where they overlap.

    The weights rise and fall linearly over an overlap and are 1 elsewhere; a window so short that both meet in one
    latent falls there, as in the reference. The sum and the result are float32.
    """
    if len(parts) == 1:
        return predict(latents, parts[0]).float()
    canvas = torch.zeros_like(latents, dtype=torch.float32)
    total = canvas.new_zeros(latents.shape[1])
    for index, (start, stop) in enumerate(parts):
        weight = canvas.new_ones(stop - start)
        if index > 0:
            up = _ramp(min(parts[index - 1][1], stop) - start).to(weight)
            weight[: len(up)] = up
        if index + 1 < len(parts):
            down = _ramp(stop - max(parts[index + 1][0], start)).flip(0).to(weight)
            weight[len(weight) - len(down) :] = down
        canvas[:, start:stop] += (
            weight[:, None, None, None] * predict(latents[:, start:stop], (start, stop)).float()
        )
        total[start:stop] += weight
    return canvas / total[:, None, None, None]


def _ramp(length: int) -> torch.Tensor:
    """Evenly from above 0 to below 1: 0.2 0.4 0.6 0.8 for four."""
    return torch.linspace(0, 1, length + 2)[1:-1]
