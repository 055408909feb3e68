"""Tiny models with random weights, and what the reference computed with them (made once by running it)."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import AutoencoderKLCogVideoX
from diffusers.models.transformers.cogvideox_transformer_3d import CogVideoXTransformer3DModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_ddim_cogvideox import CogVideoXDDIMScheduler
from safetensors.torch import load_file
from transformers import T5Config, T5EncoderModel, T5Tokenizer

from aftermath.render.void import VoidPipeline
from aftermath.render.void.checkpoint import SECOND_PASS

GOLDEN = Path(__file__).parent / "golden"
CONFIG: dict[str, Any] = json.loads((GOLDEN / "config.json").read_text())
CASES: dict[str, dict[str, Any]] = CONFIG["cases"]


@cache
def golden(name: str) -> dict[str, torch.Tensor]:
    """The tensors of one file."""
    return load_file(GOLDEN / f"{name}.safetensors")


def transformer() -> CogVideoXTransformer3DModel:
    """Two layers, two heads of 16; strictly loaded. A new one at each call, since it may be shrunk or moved."""
    model = CogVideoXTransformer3DModel(**CONFIG["transformer"])
    model.load_state_dict(golden("transformer"))
    return model.eval()


def vae() -> AutoencoderKLCogVideoX:
    """A new one at each call, since tiling is switched on the module."""
    blocks = len(CONFIG["vae"]["block_out_channels"])
    model = AutoencoderKLCogVideoX(
        **CONFIG["vae"],
        down_block_types=("CogVideoXDownBlock3D",) * blocks,  # type: ignore[arg-type]
        up_block_types=("CogVideoXUpBlock3D",) * blocks,  # type: ignore[arg-type]
    )
    model.load_state_dict(golden("vae"))
    return model.eval()


def text_encoder() -> T5EncoderModel:
    """T5's encoder of width 32."""
    model = T5EncoderModel(T5Config(**CONFIG["t5"]))
    model.load_state_dict({**golden("t5"), "encoder.embed_tokens.weight": golden("t5")["shared.weight"]})
    return model.eval()


def pipeline(scheduler: str = "DDIMScheduler") -> VoidPipeline:
    """Without a text encoder: prompts come as embeddings."""
    kinds = {"DDIMScheduler": DDIMScheduler, "CogVideoXDDIMScheduler": CogVideoXDDIMScheduler}
    pipe = VoidPipeline(None, None, vae(), transformer(), kinds[scheduler].from_config(CONFIG["scheduler"]))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def tokenizer() -> T5Tokenizer:
    """Reads letters, and no two as one token."""
    marks = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    letters = [(letter, -2.0) for letter in "▁abcdefghijklmnopqrstuvwxyz"]
    return T5Tokenizer(vocab=marks + letters, extra_ids=0)


def save_tiny_model(folder: Path, scheduler: str = "DDIMScheduler") -> Path:
    """Write a whole model, text encoder, both passes and all, that `load_pipeline` and ``--model`` take."""
    pipe = pipeline(scheduler)
    pipe.register_modules(tokenizer=tokenizer(), text_encoder=text_encoder())
    pipe.save_pretrained(folder)
    pipe.transformer.save_pretrained(folder / SECOND_PASS)
    return folder
