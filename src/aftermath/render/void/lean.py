"""The same numbers from diffusers' VAE in less memory and time.

Weights, modules and their order stay diffusers' own; only how a few kinds of module reach their result is another,
where no gradient is asked for. What the published VAE does twice is done once: what modulates a norm is made at the
latents' size and not at the picture's, a frame that is doubled is convolved before and not after. What it holds is
let go: the inputs of convolutions that remember none, and what a sum, an activation or a norm no longer needs.
Convolutions over time take a few frames at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import (
    CogVideoXCausalConv3d,
    CogVideoXResnetBlock3D,
    CogVideoXSafeConv3d,
    CogVideoXSpatialNorm3D,
)
from diffusers.models.downsampling import CogVideoXDownsample3D
from diffusers.models.upsampling import CogVideoXUpsample3D
from torch.nn import functional

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl_cogvideox import AutoencoderKLCogVideoX

__all__ = ["lean", "recycled"]

_SLAB_BYTES = 32_000_000  # what a convolution over time reads at once: a processor is as fast with little
_CARD_SLAB_BYTES = 256_000_000  # a card would read the frames before a short slab again and again

Cache = dict[str, Any]
"""What convolutions remember of the chunk before, by their name in a block."""


_recycling: ContextVar[bool] = ContextVar("recycling", default=False)


@contextmanager
def recycled() -> Iterator[None]:
    """While it lasts what a convolution remembers of a chunk is written where what it remembered before lay: for
    whoever asks for each chunk once, and keeps no memory of an earlier one."""
    token = _recycling.set(True)
    try:
        yield
    finally:
        _recycling.reset(token)


def _as_usual(inputs: torch.Tensor) -> bool:
    """Whether diffusers' own way is taken: for gradients, and for what traces or casts its operations."""
    traced = torch.compiler.is_compiling() or torch.is_autocast_enabled(inputs.device.type)
    return torch.is_grad_enabled() or traced


def lean(vae: AutoencoderKLCogVideoX) -> None:
    """Let ``vae`` work so from now on; once is enough, more does nothing."""
    for module in vae.modules():
        work = _WORK.get(type(module))
        if work is not None and "forward" not in vars(module):
            module.forward = partial(work, module, module.forward)
        if isinstance(module, torch.nn.SiLU):
            module.inplace = True  # in this VAE it always follows a norm that nobody else reads


def _resnet(
    block: CogVideoXResnetBlock3D,
    forward: Callable[..., Any],
    inputs: torch.Tensor,
    temb: torch.Tensor | None = None,
    zq: torch.Tensor | None = None,
    conv_cache: Cache | None = None,
) -> tuple[torch.Tensor, Cache]:
    """A residual block. One whose last convolution is zero adds nothing to its shortcut, and is not computed: such is
    an encoder that is linear, as nano's."""
    if _as_usual(inputs) or temb is not None or block.use_conv_shortcut:
        return forward(inputs, temb, zq, conv_cache)

    def shortcut() -> torch.Tensor:
        return inputs if block.in_channels == block.out_channels else block.conv_shortcut(inputs)

    if _idle(block.conv2.conv):
        return shortcut(), {}
    cache, kept = conv_cache or {}, {}
    hidden = inputs
    for norm, conv in (("norm1", "conv1"), ("norm2", "conv2")):
        normed = getattr(block, norm)(hidden) if zq is None else getattr(block, norm)(hidden, zq)[0]
        normed = block.dropout(block.nonlinearity(normed))
        hidden, kept[conv] = getattr(block, conv)(normed, conv_cache=cache.get(conv))
        del normed
    return hidden.add_(shortcut()), kept


def _idle(conv: torch.nn.Module) -> bool:
    # one that peft wrapped is of another type, and adds to what it wraps
    if type(conv) is not CogVideoXSafeConv3d or conv.weight.is_meta or conv.weight.any():
        return False
    return conv.bias is None or not conv.bias.any()


def _spatial_norm(
    norm: CogVideoXSpatialNorm3D,
    forward: Callable[..., Any],
    f: torch.Tensor,
    zq: torch.Tensor,
    conv_cache: Cache | None = None,
) -> tuple[torch.Tensor, Cache]:
    """Norm and modulation of ``f`` (B, C, T, H, W) by ``zq`` (B, c, T', H', W'). A 1x1x1 convolution of what is
    enlarged by repeating is the convolution, enlarged; and it remembers nothing."""
    frames, latents = f.shape[2], zq.shape[2]
    if _as_usual(f) or frames % latents or (frames > 1 and frames % 2):
        return forward(f, zq, conv_cache)
    scale, shift = (
        functional.interpolate(conv.conv(zq), size=(latents, *f.shape[-2:]))[:, :, :, None]
        for conv in (norm.conv_y, norm.conv_b)
    )
    normed = norm.norm_layer(f)
    normed.unflatten(2, (latents, frames // latents)).mul_(scale).add_(shift)
    return normed, {}


def _causal_conv(
    module: CogVideoXCausalConv3d,
    forward: Callable[..., Any],
    inputs: torch.Tensor,
    conv_cache: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """A convolution that sees the frames before, a few frames at a time: (B, C, T, H, W) to (B, C', T, H, W)."""
    conv, before = module.conv, module.time_kernel_size - 1
    stride = getattr(conv, "base_layer", conv).stride  # peft may have wrapped it
    if _as_usual(inputs) or module.pad_mode == "replicate" or stride[0] != 1:
        return forward(inputs, conv_cache)
    if not before:
        return conv(inputs), None
    past = inputs[:, :, :1].expand(-1, -1, before, -1, -1) if conv_cache is None else conv_cache
    frames = inputs.shape[2]
    at_once = _SLAB_BYTES if inputs.device.type == "cpu" else _CARD_SLAB_BYTES
    slab = max(1, at_once * frames // max(1, inputs.nbytes))

    def parts() -> Iterator[torch.Tensor]:
        for start in range(0, frames, slab):
            seen = inputs[:, :, max(0, start - before) : start + slab]
            yield conv(torch.cat([past[:, :, start:], seen], dim=2) if start < before else seen)

    result = _joined(parts(), frames)
    last = torch.cat([past[:, :, frames:], inputs[:, :, -before:]], dim=2)
    if conv_cache is None or not _recycling.get() or conv_cache.is_inference():
        return result, last
    return result, conv_cache.copy_(last)


def _conv(conv: CogVideoXSafeConv3d, forward: Callable[..., Any], inputs: torch.Tensor) -> torch.Tensor:
    """On a processor by oneDNN, which torch takes for large inputs alone: with small ones its own way needs up to three
    times as long, and unfolds what it reads 27 times."""
    padding = conv.padding
    known = inputs.device.type == "cpu" and inputs.dtype is torch.float32 and conv.padding_mode == "zeros"
    if _as_usual(inputs) or not known or isinstance(padding, str) or not torch.backends.mkldnn.is_available():
        return forward(inputs)
    return torch.mkldnn_convolution(
        inputs, conv.weight, conv.bias, padding, conv.stride, conv.dilation, conv.groups
    )


def _upsample(module: CogVideoXUpsample3D, forward: Callable[..., Any], inputs: torch.Tensor) -> torch.Tensor:
    """Twice as high and wide, and twice as long where the module doubles time, frame by frame: the convolution sees
    each frame alone, so a frame that is shown twice is convolved once."""
    frames = inputs.shape[2]
    if _as_usual(inputs) or (module.compress_time and frames > 1 and frames % 2):
        return forward(inputs)
    times = 2 if module.compress_time and frames > 1 else 1
    pictures = (functional.interpolate(frame, scale_factor=2.0) for frame in inputs.unbind(2))
    return _joined(
        (module.conv(one)[:, :, None].expand(-1, -1, times, -1, -1) for one in pictures), frames * times
    )


def _downsample(
    module: CogVideoXDownsample3D, forward: Callable[..., Any], inputs: torch.Tensor
) -> torch.Tensor:
    """Half as high and wide, and where the module halves time the mean of each two frames, the first of an odd number
    alone; frame by frame."""
    if _as_usual(inputs):
        return forward(inputs)
    frames = inputs.shape[2]
    if module.compress_time:
        starts = [0, *range(1, frames, 2)] if frames % 2 else list(range(0, frames, 2))
        spans = [slice(start, 1 if start == 0 and frames % 2 else start + 2) for start in starts]
    else:
        spans = [slice(frame, frame + 1) for frame in range(frames)]
    pictures = (functional.pad(inputs[:, :, span].mean(2), (0, 1, 0, 1)) for span in spans)
    return _joined((module.conv(one)[:, :, None] for one in pictures), len(spans))


def _joined(parts: Iterable[torch.Tensor], frames: int) -> torch.Tensor:
    """Parts (B, C, n, H, W) of ``frames`` in all, one after the other: (B, C, T, H, W), without holding them all."""
    result, start = torch.empty(0), 0
    for part in parts:
        stop = start + part.shape[2]
        if stop - start == frames:
            return part
        if start == 0:
            result = part.new_empty((*part.shape[:2], frames, *part.shape[3:]))
        result[:, :, start:stop] = part
        start = stop
    return result


_WORK: dict[type[torch.nn.Module], Callable[..., Any]] = {
    CogVideoXResnetBlock3D: _resnet,
    CogVideoXSpatialNorm3D: _spatial_norm,
    CogVideoXCausalConv3d: _causal_conv,
    CogVideoXSafeConv3d: _conv,
    CogVideoXUpsample3D: _upsample,
    CogVideoXDownsample3D: _downsample,
}
