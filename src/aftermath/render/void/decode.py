"""Latents to frames as the published model decodes them, on diffusers' VAE.

The reference decodes the first latent alone and then pairs, carrying the convolutions' memory along, and doubles time
in every chunk but the first, also for a single last latent. diffusers' own ``decode`` cuts other chunks and gives
other frames, for an even number of latents even another count. Only the order of the chunks and one hook differ here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl_cogvideox import AutoencoderKLCogVideoX

__all__ = ["decode", "decoded_chunks"]

_Cache = dict[str, Any] | None


def decode(vae: AutoencoderKLCogVideoX, latents: torch.Tensor) -> torch.Tensor:
    """(B, T', C, h, w) scaled latents to (B, 3, 4 T' - 3, H, W) frames, about [-1, 1], not clamped."""
    return torch.cat(list(decoded_chunks(vae, latents)), dim=2)


def decoded_chunks(vae: AutoencoderKLCogVideoX, latents: torch.Tensor) -> Iterator[torch.Tensor]:
    """The frames of one latent, then of two at a time: (B, 3, 1 or 8 or 4, H, W). Memory does not grow with length.

    Where the VAE's tiling is on and the picture larger than a tile, each chunk is decoded in tiles.
    """
    come_back = getattr(getattr(vae, "_hf_hook", None), "pre_forward", None)
    if come_back is not None:  # what diffusers does before decode(): a model that was offloaded comes back
        come_back(vae)
    z = latents.transpose(1, 2) / vae.config["scaling_factor"]
    tiles = _tiles(vae, z.shape[-2], z.shape[-1])
    caches: dict[tuple[int, int], _Cache] = {}
    doublers = _doublers(vae)
    length = z.shape[2]
    for start in [0, *range(1, length, 2)]:
        chunk = z[:, :, start : 1 if start == 0 else min(start + 2, length)].to(vae.device, vae.dtype)
        with _doubling(doublers if start > 0 else []):
            yield _decode_chunk(vae, chunk, tiles, caches)


def _doublers(vae: AutoencoderKLCogVideoX) -> list[torch.nn.Module]:
    """The upsamplers that double time."""
    from diffusers.models.upsampling import CogVideoXUpsample3D

    return [m for m in vae.decoder.modules() if isinstance(m, CogVideoXUpsample3D) and m.compress_time]


@contextmanager
def _doubling(doublers: list[torch.nn.Module]) -> Iterator[None]:
    """Let ``doublers`` double time for a single latent too; the module leaves that one as it is.

    Its convolution works on each frame alone, so doubling after it is the same as doubling before.
    """

    def double(
        module: torch.nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor
    ) -> torch.Tensor | None:
        return output.repeat_interleave(2, dim=2) if inputs[0].shape[2] == 1 else None

    hooks = [module.register_forward_hook(double) for module in doublers]  # type: ignore[arg-type]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _tiles(vae: AutoencoderKLCogVideoX, height: int, width: int) -> tuple[range, range]:
    """Where tiles begin, latent rows and columns; one where no tiling is asked for or needed."""
    tall, wide = vae.tile_latent_min_height, vae.tile_latent_min_width
    if not vae.use_tiling or (height <= tall and width <= wide):
        return range(1), range(1)
    rows = range(0, height, int(tall * (1 - vae.tile_overlap_factor_height)))
    return rows, range(0, width, int(wide * (1 - vae.tile_overlap_factor_width)))


def _decode_chunk(
    vae: AutoencoderKLCogVideoX,
    chunk: torch.Tensor,
    tiles: tuple[range, range],
    caches: dict[tuple[int, int], _Cache],
) -> torch.Tensor:
    """One chunk in space: tile by tile, each with its own memory of the chunk before, blended where they overlap."""
    tops, lefts = tiles
    if len(tops) == len(lefts) == 1:
        return _decode_tile(vae, chunk, (0, 0), caches)
    tall, wide = vae.tile_latent_min_height, vae.tile_latent_min_width
    blend_y = int(vae.tile_sample_min_height * vae.tile_overlap_factor_height)
    blend_x = int(vae.tile_sample_min_width * vae.tile_overlap_factor_width)
    keep_y, keep_x = vae.tile_sample_min_height - blend_y, vae.tile_sample_min_width - blend_x
    above: list[torch.Tensor] = []
    bands = []
    for top in tops:
        row = [
            _decode_tile(vae, chunk[..., top : top + tall, left : left + wide], (top, left), caches)
            for left in lefts
        ]
        for index, tile in enumerate(row):
            if above:
                tile = vae.blend_v(above[index], tile, blend_y)
            row[index] = vae.blend_h(row[index - 1], tile, blend_x) if index else tile
        bands.append(torch.cat([tile[..., :keep_y, :keep_x] for tile in row], dim=-1))
        above = row
    return torch.cat(bands, dim=-2)


def _decode_tile(
    vae: AutoencoderKLCogVideoX,
    tile: torch.Tensor,
    place: tuple[int, int],
    caches: dict[tuple[int, int], _Cache],
) -> torch.Tensor:
    if vae.post_quant_conv is not None:
        tile = vae.post_quant_conv(tile)
    frames, caches[place] = vae.decoder(tile, conv_cache=caches.get(place))
    return frames
