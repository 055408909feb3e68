"""What the model is fed, written once for painting and for training.

Every number here is what the published weights met; docs/fidelity.md says where it was read.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import torch
from diffusers.models.embeddings import get_3d_rotary_pos_embed

from aftermath.core import Level
from aftermath.errors import InputError

__all__ = [
    "JOINED_PARTS",
    "REFERENCE_NOISE",
    "MaskLevels",
    "check_quadmask",
    "latent_frames",
    "latent_px",
    "mask_pixels",
    "mask_strength",
    "rotary_positions",
    "transformer_input",
    "video_pixels",
]

REFERENCE_NOISE = 0.0563
"""Standard deviation of the noise on the video that the model sees, pixels in [-1, 1]."""

JOINED_PARTS = 3
"""Noisy latents, mask and video, which `transformer_input` joins; the base model has one channel for its mask."""

_AFFECTED = 127 / 255
_MIDDLE, _STRONG = (0.25, 0.75), 0.5  # bounds on the inverted mask


class MaskLevels(StrEnum):
    """How many values of the quadmask the model sees."""

    TWO = "two"  # pass 2 as published: the object and what it affected are one
    THREE = "three"  # pass 1 as published and as trained: overlap counts as the object
    FOUR = "four"  # as the paper describes it; for weights trained here


def latent_frames(num_frames: int) -> int:
    """Latents of a clip of so many frames: the first alone, then one for every four."""
    return (num_frames - 1) // 4 + 1


def latent_px(config: Mapping[str, Any]) -> int:
    """Pixels along a side of a latent of the VAE of ``config``: every stage but the last halves the picture."""
    return 2 ** (len(config["block_out_channels"]) - 1)


def check_quadmask(quadmask: torch.Tensor) -> None:
    """Raise `InputError` unless ``quadmask`` is uint8 (B, T, H, W) of the four levels."""
    if quadmask.dtype != torch.uint8 or quadmask.ndim != 4:
        raise InputError(
            f"a quadmask of type {quadmask.dtype} and shape {tuple(quadmask.shape)}",
            "it must be uint8 (batch, frames, height, width)",
        )
    counts = torch.bincount(quadmask.flatten().long(), minlength=256)
    found = counts.nonzero().flatten().tolist()
    if not set(found) <= {int(level) for level in Level}:
        raise InputError(
            f"a quadmask with the values {found[:8]}",
            "they must be 0 (object), 63 (overlap), 127 (affected) and 255 (keep)",
            "use Quadmask.from_lossy for values read from a lossy file",
        )


def mask_strength(quadmask: torch.Tensor, levels: MaskLevels) -> torch.Tensor:
    """How much of each pixel goes: float32 (B, T, H, W), 1 the object, 0 keep, from uint8 ``quadmask``."""
    strength = (255 - quadmask.float()) / 255
    if levels is MaskLevels.TWO:
        return (strength > _STRONG).float()
    if levels is MaskLevels.THREE:
        middle = torch.where(strength >= _MIDDLE[0], _AFFECTED, 0.0)
        return torch.where(strength > _MIDDLE[1], torch.ones_like(strength), middle)
    return strength


def mask_pixels(quadmask: torch.Tensor, levels: MaskLevels) -> torch.Tensor:
    """The mask as the VAE sees it: float32 (B, 3, T, H, W) in [0, 1], keep is 1. Not [-1, 1]: so it was trained."""
    return (1 - mask_strength(quadmask, levels))[:, None].expand(-1, 3, -1, -1, -1)


def video_pixels(video: torch.Tensor, noise: torch.Tensor | None) -> torch.Tensor:
    """The video as the VAE sees it: [-1, 1], not blacked out under the mask, with a little noise.

    ``video`` float (B, 3, T, H, W) in [0, 1]; ``noise`` standard normal of the same shape, scaled here, or None. Pure
    black stays black.
    """
    pixels = 2 * video - 1
    if noise is None:
        return pixels
    return pixels + torch.where(pixels == -1, 0.0, REFERENCE_NOISE * noise.to(pixels))


def transformer_input(latents: torch.Tensor, mask: torch.Tensor, video: torch.Tensor) -> torch.Tensor:
    """Join what the transformer reads along its channels: noisy latents, mask, video; each (B, T', C, h, w)."""
    return torch.cat([latents, mask.to(latents), video.to(latents)], dim=2)


def rotary_positions(
    config: Mapping[str, Any],
    num_latents: int,
    height: int,
    width: int,
    device: torch.device | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Where the patches of a window stand, as the transformer of ``config`` takes it; they begin at 0 in every window.

    ``height`` and ``width``: in patches.
    """
    return get_3d_rotary_pos_embed(  # type: ignore[return-value]  # a pair, as asked for
        embed_dim=config["attention_head_dim"],
        crops_coords=None,
        grid_size=(height, width),
        temporal_size=-(-num_latents // config["patch_size_t"]),
        grid_type="slice",
        max_size=(height, width),  # a slice of any larger one is the same
        device=device,
    )
