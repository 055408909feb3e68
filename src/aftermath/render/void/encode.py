"""Pixels to latents as diffusers' VAE encodes them, but in a stream: a clip need never lie in memory whole.

The VAE reads eight frames at a time, the first time also what the length is over a multiple of eight, and carries the
convolutions' memory along. It normalises over all frames of a chunk, so other chunks would give other latents.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import torch

from aftermath.render.void.decode import ready, work_device
from aftermath.render.void.lean import recycled
from aftermath.render.void.tiles import in_tiles

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl_cogvideox import AutoencoderKLCogVideoX

__all__ = ["chunk_lengths", "encode", "encoded_chunks"]

_FRAMES = 8


def chunk_lengths(num_frames: int) -> list[int]:
    """How many frames the VAE reads at a time: 13, 8, 8 ... for 8k+5 frames."""
    rest = num_frames % _FRAMES
    return [_FRAMES + rest, *[_FRAMES] * (num_frames // _FRAMES - 1)] if num_frames >= _FRAMES else [rest]


def encode(vae: AutoencoderKLCogVideoX, pixels: torch.Tensor) -> torch.Tensor:
    """(B, 3, T, H, W) pixels to (B, T', C, h, w) latents: the posterior's mode, scaled. One clip at a time, so that
    memory does not grow with the batch."""
    lengths = chunk_lengths(pixels.shape[2])
    clips = [torch.cat(list(encoded_chunks(vae, one[None].split(lengths, dim=2))), dim=1) for one in pixels]
    return torch.cat(clips)


@torch.no_grad()
def encoded_chunks(vae: AutoencoderKLCogVideoX, chunks: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
    """The latents of each chunk of a clip: (B, 3, n, H, W) pixels, n as `chunk_lengths` says, to (B, n', C, h, w).

    Where the VAE's tiling is on and the picture larger than a tile, each chunk is encoded in tiles.
    """
    ready(vae)
    device, dtype = work_device(vae), vae.dtype
    caches: dict[tuple[int, int], Any] = {}

    def encode_tile(tile: torch.Tensor, place: tuple[int, int]) -> torch.Tensor:
        with recycled():
            moments, caches[place] = vae.encoder(tile, conv_cache=caches.get(place))
        return moments if vae.quant_conv is None else vae.quant_conv(moments)

    for chunk in chunks:
        moments = in_tiles(vae, chunk.to(device, dtype), encode_tile, decoding=False)
        mode = moments.chunk(2, dim=1)[0]
        yield mode.transpose(1, 2) * vae.config["scaling_factor"]
