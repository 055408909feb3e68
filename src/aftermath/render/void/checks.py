"""What `VoidPipeline` takes, asked before anything is computed."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

import torch

from aftermath.core.geometry import valid_length
from aftermath.errors import InputError, WeightsError
from aftermath.render.void.conditioning import JOINED_PARTS, MaskLevels, check_quadmask, latent_px

__all__ = [
    "check_clip",
    "check_embeds",
    "check_finite",
    "check_generators",
    "check_run",
    "check_texts",
    "mask_levels_of",
    "patch_px",
]

_Generators = torch.Generator | list[torch.Generator] | None


def check_clip(video: torch.Tensor, quadmask: torch.Tensor, side: int) -> None:
    """A clip and its quadmask, see `VoidPipeline.__call__`; ``side``: pixels along a patch. Raises `InputError`."""
    if not isinstance(video, torch.Tensor) or video.ndim != 5 or video.shape[1] != 3 or not len(video):
        raise InputError(
            _told(video, "video"), "it must be float (batch, 3, frames, height, width) in [0, 1]"
        )
    if not video.is_floating_point():
        raise InputError(_told(video, "video"), "it must be float, in [0, 1]", "divide by 255")
    batch, _, num, height, width = video.shape
    if num != valid_length(num):
        raise InputError(
            f"a clip of {num} frames",
            "the number must be 8k+5, such as 5, 13, 85 or 197",
            f"pad it to {valid_length(num)}",
        )
    if height % side or width % side or not height or not width:
        raise InputError(
            f"a picture of {width}x{height}", f"width and height must be multiples of {side}", "resize it"
        )
    low, high = float(video.min()), float(video.max())
    if not bool(torch.isfinite(video).all()) or low < 0 or high > 1:
        raise InputError(
            f"a video with values from {low:.3g} to {high:.3g}",
            "they must lie in [0, 1] and be numbers",
            "divide bytes by 255, take (x + 1) / 2 of [-1, 1], clamp what a resize overshot",
        )
    if not isinstance(quadmask, torch.Tensor):
        raise InputError(
            _told(quadmask, "quadmask"), "it must be a tensor, uint8 (batch, frames, height, width)"
        )
    check_quadmask(quadmask)
    if tuple(quadmask.shape) != (batch, num, height, width):
        raise InputError(
            _told(quadmask, "quadmask"), f"its shape must be {(batch, num, height, width)}, as the video's"
        )


def check_run(pipe: Any, num_inference_steps: int, guidance_scale: float, output_type: str) -> None:
    """Numbers of a call, and whether the model of ``pipe`` is one of VOID. Raises `InputError`, `WeightsError`."""
    most = int(pipe.scheduler.config.num_train_timesteps)
    if not isinstance(num_inference_steps, Integral) or not 1 <= num_inference_steps <= most:
        raise InputError(f"{num_inference_steps} steps", f"it must be a whole number from 1 to {most}")
    if not isinstance(guidance_scale, Real) or not math.isfinite(guidance_scale):
        raise InputError(f"guidance_scale {guidance_scale}", "it must be a number", "1 does without guidance")
    if output_type not in ("pt", "latent"):
        raise InputError(f"output_type {output_type!r}", "it must be pt or latent")
    read, needed = pipe.transformer.config["in_channels"], JOINED_PARTS * pipe.vae.config["latent_channels"]
    if read != needed:
        raise WeightsError(
            f"the transformer reads {read} channels, VOID's {needed}: it is another model, or the base without VOID's "
            "weights; aftermath.render.void.load_pipeline puts them together"
        )


def check_generators(generator: _Generators, batch: int) -> None:
    """None, one for all clips, or a list with one for each. Raises `InputError`."""
    if generator is None or isinstance(generator, torch.Generator):
        return
    if not isinstance(generator, list) or not all(isinstance(one, torch.Generator) for one in generator):
        raise InputError(
            f"a generator of type {type(generator).__name__}",
            "it must be a torch.Generator, or a list of them",
            "torch.Generator().manual_seed(0) makes one",
        )
    if len(generator) != batch:
        raise InputError(f"{len(generator)} generators for {batch} clips", "it must be one for each clip")


def check_finite(given: torch.Tensor | None, shape: tuple[int, ...], name: str) -> None:
    """A tensor of a user's own, of ``shape``. Raises `InputError`."""
    if given is None:
        return
    if not isinstance(given, torch.Tensor) or tuple(given.shape) != shape:
        raise InputError(_told(given, name), f"its shape must be {shape}")
    if not bool(torch.isfinite(given).all()):
        raise InputError(f"{name} with NaN or infinity", "it must be numbers")


def check_embeds(embeds: torch.Tensor, batch: int, width: int, name: str) -> None:
    """Embeddings of a prompt, (1 or ``batch``, tokens, ``width``). Raises `InputError`."""
    if not isinstance(embeds, torch.Tensor) or embeds.ndim != 3 or embeds.shape[-1] != width:
        raise InputError(_told(embeds, f"{name}_embeds"), f"its shape must be (batch, 226, {width})")
    if len(embeds) not in (1, batch):
        raise InputError(f"{len(embeds)} {name}s for {batch} clips", "it must be one, or one for each clip")
    check_finite(embeds, tuple(embeds.shape), f"{name}_embeds")


def check_texts(texts: list[str], batch: int, name: str) -> None:
    """Texts, one or one for each clip. Raises `InputError`."""
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise InputError(f"{name} {texts!r}", "it must be a text, or a list of texts")
    if len(texts) not in (1, batch):
        raise InputError(f"{len(texts)} {name}s for {batch} clips", "it must be one, or one for each clip")


def mask_levels_of(value: MaskLevels | str) -> MaskLevels:
    """As an enum. Raises `InputError`."""
    try:
        return MaskLevels(value)
    except ValueError as error:
        allowed = ", ".join(MaskLevels)
        raise InputError(f"mask levels {value!r}", f"it must be one of {allowed}") from error


def patch_px(pipe: Any) -> int:
    """Pixels along a side of what the transformer takes for one piece."""
    return latent_px(pipe.vae.config) * pipe.transformer.config["patch_size"]


def _told(given: Any, name: str) -> str:
    if not isinstance(given, torch.Tensor):
        return f"{name} of type {type(given).__name__}"
    return f"{name} of shape {tuple(given.shape)} and type {str(given.dtype).removeprefix('torch.')}"
