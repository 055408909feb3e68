"""Low-rank additions (Hu et al. 2021, by peft), which are trained in place of all weights, and merged into them."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["add_lora", "add_vae_lora", "merged"]

_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
_CONVOLUTIONS = r".*resnets\.\d+\.conv[12]\.conv"


def add_lora(transformer: Any, rank: int) -> None:
    """Give ``transformer`` an addition to its attention, which alone is trained."""
    from peft import LoraConfig

    transformer.requires_grad_(requires_grad=False)
    transformer.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=list(_ATTENTION)))


def add_vae_lora(vae: torch.nn.Module, rank: int, *, decoder_only: bool) -> None:
    """Give ``vae`` an addition to its convolutions, which alone is trained; ``decoder_only``: to its decoder's."""
    from peft import LoraConfig, inject_adapter_in_model

    vae.requires_grad_(requires_grad=False)
    layers = ("decoder" if decoder_only else "") + _CONVOLUTIONS
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=rank, target_modules=layers), vae)


def merged(network: Any, dtype: torch.dtype | None = None) -> Any:
    """``network``, of diffusers, as a plain one: what an addition adds is added to the weights. ``dtype``: of those."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    found: dict[str, torch.Tensor] = {}
    layers = {name: m for name, m in network.named_modules() if isinstance(m, BaseTunerLayer)}
    for name, value in network.state_dict().items():
        if ".lora_" not in name:
            found[name.replace(".base_layer", "")] = value
    for name, layer in layers.items():
        for adapter in layer.active_adapters:
            weight = found[f"{name}.weight"]
            found[f"{name}.weight"] = weight + layer.get_delta_weight(adapter).to(weight)  # type: ignore[operator]
    plain = type(network).from_config(network.config)
    plain.load_state_dict(found)
    return plain if dtype is None else torch.nn.Module.to(plain, dtype)
