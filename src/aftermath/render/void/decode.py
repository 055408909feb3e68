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

from aftermath.errors import WeightsError
from aftermath.render.void.lean import lean, recycled
from aftermath.render.void.tiles import in_tiles

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl_cogvideox import AutoencoderKLCogVideoX

__all__ = ["check_numbers", "decode", "decoded_chunks", "ready", "work_device"]


@torch.no_grad()
def decode(vae: AutoencoderKLCogVideoX, latents: torch.Tensor) -> torch.Tensor:
    """(B, T', C, h, w) scaled latents to (B, 3, 4 T' - 3, H, W) frames, about [-1, 1], not clamped."""
    return torch.cat(list(decoded_chunks(vae, latents)), dim=2)


def decoded_chunks(vae: AutoencoderKLCogVideoX, latents: torch.Tensor) -> Iterator[torch.Tensor]:
    """The frames of one latent, then of two at a time: (B, 3, 1 or 8 or 4, H, W). Memory does not grow with length.

    Where the VAE's tiling is on and the picture larger than a tile, each chunk is decoded in tiles. Gradients flow
    where the caller has them on, so to paint it wants ``torch.no_grad()`` round it.
    """
    ready(vae)
    z = latents.transpose(1, 2) / vae.config["scaling_factor"]
    caches: dict[tuple[int, int], Any] = {}

    def decode_tile(tile: torch.Tensor, place: tuple[int, int]) -> torch.Tensor:
        if vae.post_quant_conv is not None:
            tile = vae.post_quant_conv(tile)
        with recycled():
            frames, caches[place] = vae.decoder(tile, conv_cache=caches.get(place))
        return frames

    doublers, device, dtype = _doublers(vae), work_device(vae), vae.dtype
    length = z.shape[2]
    for start in [0, *range(1, length, 2)]:
        chunk = z[:, :, start : 1 if start == 0 else min(start + 2, length)].to(device, dtype)
        with _doubling(doublers if start > 0 else []):
            frames = in_tiles(vae, chunk, decode_tile, decoding=True)
        check_numbers(frames, "the VAE")
        yield frames


def check_numbers(made: torch.Tensor, maker: str) -> None:
    """Raise `WeightsError` where what ``maker`` gave is NaN or infinite."""
    if not bool(torch.isfinite(made).all()):
        raise WeightsError(
            f"{maker} gives numbers that are none (NaN or infinity): its weights are damaged, or too large for "
            f"{made.dtype}; aftermath models verify reads them through"
        )


def ready(vae: AutoencoderKLCogVideoX) -> None:
    """Bring a VAE that was offloaded back to its device, as diffusers does before its own encode() and decode(), and
    let it work in less memory and time."""
    hook = getattr(getattr(vae, "_hf_hook", None), "pre_forward", None)
    if hook is not None:
        hook(vae)
    lean(vae)


def work_device(module: Any) -> torch.device:
    """Where ``module`` computes: of one whose weights accelerate brings layer by layer, where it brings them."""
    if module.device.type != "meta":
        return module.device
    hooks = (getattr(part, "_hf_hook", None) for part in module.modules())
    places = (getattr(hook, "execution_device", None) for hook in hooks)
    return torch.device(next((place for place in places if place is not None), "cpu"))


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
