"""nano: the published architecture at a size that a processor can train and run."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import AutoencoderKLCogVideoX
from diffusers.models.transformers.cogvideox_transformer_3d import CogVideoXTransformer3DModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler

from aftermath.render.void.conditioning import MaskLevels
from aftermath.render.void.published import Manner, PassManner

__all__ = ["NANO_MANNER", "SCHEDULER", "new_scheduler", "new_transformer", "new_vae"]

SCHEDULER: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
    "set_alpha_to_one": True,
    "clip_sample": False,
}
"""The published one."""

_VAE: dict[str, Any] = {
    # the full-size stages cost nearly all the time, so they are narrow
    "block_out_channels": (
        16,
        32,
        64,
    ),  # a latent stands for 4x4 pixels: with 8x8 it learns too slowly for us
    "layers_per_block": 1,
    "norm_num_groups": 4,  # as `begin_linear` needs them
    "latent_channels": 16,
    "temporal_compression_ratio": 4,
    "scaling_factor": 1.0,
    "sample_height": 192,
    "sample_width": 336,
}
_TRANSFORMER: dict[str, Any] = {
    "num_attention_heads": 4,  # few and wide: a processor's attention costs by the head
    "attention_head_dim": 96,
    "num_layers": 6,
    "in_channels": 48,
    "out_channels": 16,
    "time_embed_dim": 64,
    "text_embed_dim": 16,  # it reads no words: one token of zeros stands in their place
    "max_text_seq_length": 1,
    "patch_size": 4,  # 16x16 pixels, as in the published model
    "patch_size_t": 2,
    "patch_bias": False,
    "sample_height": 48,
    "sample_width": 84,
    "sample_frames": 53,
    "use_rotary_positional_embeddings": True,
}


NANO_MANNER = Manner(
    size=(192, 336),
    window_frames=53,
    overlap_frames=16,
    least_frames=5,
    passes=(
        PassManner(1, 1, 1.0, MaskLevels.FOUR),
    ),  # one step gives the mean of what may be: blurred, not noisy
)
"""How it is run."""


def new_vae(seed: int = 0, **changes: Any) -> AutoencoderKLCogVideoX:
    """With random weights, the same for the same seed."""
    config = {**_VAE, **changes}
    blocks = len(config["block_out_channels"])
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return AutoencoderKLCogVideoX(
            down_block_types=("CogVideoXDownBlock3D",) * blocks,  # type: ignore[arg-type]
            up_block_types=("CogVideoXUpBlock3D",) * blocks,  # type: ignore[arg-type]
            **config,
        )


def new_transformer(seed: int = 0, **changes: Any) -> CogVideoXTransformer3DModel:
    """With random weights, the same for the same seed; its output begins at zero. See `begin_copying`."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = CogVideoXTransformer3DModel(**{**_TRANSFORMER, **changes})
    torch.nn.init.zeros_(model.proj_out.weight)
    torch.nn.init.zeros_(model.proj_out.bias)
    return model


def new_scheduler() -> DDIMScheduler:
    """As the published model's."""
    return DDIMScheduler(**SCHEDULER)
