"""A chunk of a clip through the VAE in overlapping tiles, blended as diffusers blends them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl_cogvideox import AutoencoderKLCogVideoX

__all__ = ["in_tiles"]

Work = Callable[[torch.Tensor, tuple[int, int]], torch.Tensor]
"""One tile and its place (top, left) to its result."""


def in_tiles(vae: AutoencoderKLCogVideoX, chunk: torch.Tensor, work: Work, *, decoding: bool) -> torch.Tensor:
    """``work`` on each tile of ``chunk`` (B, C, n, H, W), joined: (B, C', n', H', W').

    The tiles are those that ``vae`` was asked for, of pixels, or of latents when ``decoding``; the whole chunk is one
    where its tiling is off or the picture no larger than a tile.
    """
    pixels = vae.tile_sample_min_height, vae.tile_sample_min_width
    latents = vae.tile_latent_min_height, vae.tile_latent_min_width
    share = vae.tile_overlap_factor_height, vae.tile_overlap_factor_width
    (tall, wide), out = (latents, pixels) if decoding else (pixels, latents)
    height, width = chunk.shape[-2:]
    if not vae.use_tiling or (height <= tall and width <= wide):
        return work(chunk, (0, 0))
    down, right = int(tall * (1 - share[0])), int(wide * (1 - share[1]))
    blend_y, blend_x = int(out[0] * share[0]), int(out[1] * share[1])
    keep_y, keep_x = out[0] - blend_y, out[1] - blend_x
    above: list[torch.Tensor] = []
    bands = []
    for top in range(0, height, down):
        row = [
            work(chunk[..., top : top + tall, left : left + wide], (top, left))
            for left in range(0, width, right)
        ]
        for index, tile in enumerate(row):
            if above:
                tile = vae.blend_v(above[index], tile, blend_y)
            row[index] = vae.blend_h(row[index - 1], tile, blend_x) if index else tile
        bands.append(torch.cat([tile[..., :keep_y, :keep_x] for tile in row], dim=-1))
        above = row
    return torch.cat(bands, dim=-2)
