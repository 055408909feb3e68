"""How the model shares a machine's memory: where its parts lie, in which type, and what to do when it is not enough."""

from __future__ import annotations

import ctypes
import gc
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeVar

import torch

from aftermath.config import Memory, Quantize
from aftermath.errors import InputError, OutOfMemory, extra_needed

if TYPE_CHECKING:
    from diffusers.models.transformers.cogvideox_transformer_3d import CogVideoXTransformer3DModel

    from aftermath.render.void.pipeline import VoidPipeline

__all__ = [
    "NO_ROOM",
    "Placement",
    "available_bytes",
    "choose",
    "free",
    "keep_freed",
    "lacks_memory",
    "on_less",
    "place",
    "shrink",
]

NO_ROOM = (
    "the VOID model needs more memory than this machine has; try --quantize fp8, a smaller --model-width-px and "
    "--model-height-px, or --engine draft"
)

_T = TypeVar("_T")

_BYTES = {Quantize.NONE: 2.0, Quantize.FP8: 1.1, Quantize.INT8: 1.1, Quantize.INT4: 0.6}  # a weight
_VAE_BYTES = 500_000_000
_WORK_BYTES_PX = 24_000  # of a picture, for a chunk in the VAE: half of what float32 took on a processor
_ROOM = 0.9  # of what is free; the rest is lost between blocks
_SMALL_BYTES = 1_000_000_000
_EXACT = ("patch_embed", "norm", "time_embedding", "proj_out")  # small, and the picture hangs on them
_SAID = ("out of memory", "not enough memory", "allocate memory")  # by torch, where it has no class for it
_LESS = {Memory.FULL: Memory.OFFLOAD, Memory.OFFLOAD: Memory.LOW, Memory.LOW: Memory.CPU}


@dataclass(frozen=True)
class Placement:
    """Where and how a pass runs. ``mode`` is never auto; ``dtype`` is what is computed in, ``storage`` what weights
    lie in where that is another."""

    mode: Memory
    device: torch.device
    dtype: torch.dtype
    storage: torch.dtype | None = None
    quantize: Quantize = Quantize.NONE

    @property
    def loaded(self) -> torch.dtype:
        """The type to load weights in: never larger than what they will lie in."""
        return torch.bfloat16 if self.storage is not None else self.dtype


def choose(
    memory: Memory,
    quantize: Quantize,
    num_weights: int,
    picture_px: int,
    *,
    device: torch.device | None = None,
    available: int | None = None,
) -> Placement:
    """Where a transformer of ``num_weights`` runs, painting pictures of ``picture_px`` pixels.

    ``device`` and ``available`` (bytes) are the machine's own where None. ``auto`` keeps as much on the card as fits:
    everything, or what works at the moment, or one block at a time. Raises `InputError` where quantised weights lack
    their library, or a mode needs a card that is not there.
    """
    if quantize in (Quantize.INT8, Quantize.INT4) and find_spec("bitsandbytes") is None:
        raise InputError(f"quantize {quantize}", extra_needed("it", "quant"), "--quantize fp8 does without")
    device = device or _device()
    if memory not in (Memory.AUTO, Memory.CPU) and device.type == "cpu":
        raise InputError(
            f"memory {memory}", "it needs a graphics card, and none is seen here", "say cpu, or auto"
        )
    if memory is Memory.CPU or device.type == "cpu":
        return _on_cpu(quantize, num_weights, available)
    room = _ROOM * (available_bytes(device) if available is None else available)
    if memory is Memory.AUTO:
        weights, work = num_weights * _BYTES[quantize], picture_px * _WORK_BYTES_PX
        fits = (
            (Memory.FULL, weights + _VAE_BYTES + work),
            (Memory.OFFLOAD, max(weights + work / 2, _VAE_BYTES + work)),
        )
        memory = next((mode for mode, needed in fits if needed < room), Memory.LOW)
        if device.type == "mps":  # card and machine share one memory: nothing is won by moving
            memory = Memory.FULL
    storage = torch.float8_e4m3fn if quantize is Quantize.FP8 else None
    return Placement(memory, device, torch.bfloat16, storage, quantize)


def _on_cpu(quantize: Quantize, num_weights: int, available: int | None) -> Placement:
    """float32, in which processors are fastest; stored in half of that where it would not fit."""
    cpu = torch.device("cpu")
    available = available_bytes(cpu) if available is None else available
    if quantize is Quantize.FP8:
        storage = torch.float8_e4m3fn
    else:
        storage = (
            torch.bfloat16 if num_weights * 4 > _ROOM * available and quantize is Quantize.NONE else None
        )
    return Placement(Memory.CPU, cpu, torch.float32, storage, quantize)


def available_bytes(device: torch.device) -> int:
    """Free memory of a card, or of the machine."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    import psutil  # accelerate needs it, so it is there

    return psutil.virtual_memory().available


def _device() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def shrink(transformer: CogVideoXTransformer3DModel, placement: Placement) -> None:
    """Store the weights of ``transformer`` as ``placement`` says; in place, before it is placed."""
    if placement.quantize in (Quantize.INT8, Quantize.INT4):
        _quantise(transformer, placement)
    elif placement.storage is not None:
        for name, module in transformer.named_modules():
            if any(re.search(part, name) for part in _EXACT):
                torch.nn.Module.to(module, placement.dtype)
        transformer.enable_layerwise_casting(
            storage_dtype=placement.storage, compute_dtype=placement.dtype, skip_modules_pattern=_EXACT
        )


def _quantise(transformer: CogVideoXTransformer3DModel, placement: Placement) -> None:
    """Linear layers in 8 or 4 bits (bitsandbytes: LLM.int8, Dettmers et al. 2022; NF4, Dettmers et al. 2023)."""
    import bitsandbytes as bnb  # pyright: ignore[reportMissingImports]  # of the extra quant

    def quantised(linear: torch.nn.Linear) -> torch.nn.Module:
        shape, weight = (linear.in_features, linear.out_features, linear.bias is not None), linear.weight.data
        if placement.quantize is Quantize.INT8:
            made = bnb.nn.Linear8bitLt(*shape, has_fp16_weights=False)
            made.weight = bnb.nn.Int8Params(weight, requires_grad=False, has_fp16_weights=False)
        else:
            made = bnb.nn.Linear4bit(*shape, compute_dtype=placement.dtype, quant_type="nf4")
            made.weight = bnb.nn.Params4bit(weight, requires_grad=False, quant_type="nf4")
        made.bias = linear.bias
        return made.to(placement.device)  # which quantises

    for name, module in list(transformer.named_modules()):
        for child, linear in list(module.named_children()):
            path = f"{name}.{child}"
            if type(linear) is torch.nn.Linear and not any(part in path for part in _EXACT):
                setattr(module, child, quantised(linear))


def place(pipe: VoidPipeline, placement: Placement) -> None:
    """Put the parts of ``pipe``, which lie on the CPU, where they work."""
    device, mode = placement.device, placement.mode
    if mode is Memory.CPU:
        parts = (pipe.transformer, pipe.vae)
        if sum(p.numel() * p.element_size() for part in parts for p in part.parameters()) < _SMALL_BYTES:
            keep_freed()
        return
    if mode is Memory.FULL:
        pipe.to(device)
    elif mode is Memory.OFFLOAD:
        pipe.enable_model_cpu_offload(device=device)
    else:
        pipe.vae.to(device)
        if placement.quantize in (Quantize.INT8, Quantize.INT4):  # small enough to stay, and not made to move
            pipe.transformer.to(device)
            return
        streams = device.type == "cuda"
        size = sum(value.nbytes for value in pipe.transformer.parameters())
        pipe.transformer.enable_group_offload(
            onload_device=device,
            offload_type="block_level",
            num_blocks_per_group=1,
            use_stream=streams,
            record_stream=streams,
            # pinned beforehand the weights lie in the machine's memory twice for a while
            low_cpu_mem_usage=streams and available_bytes(torch.device("cpu")) < 2 * size,
        )


def on_less(
    placement: Placement, num_weights: int, attempt: Callable[[Placement], _T], warn: Callable[[str], None]
) -> tuple[_T, Placement]:
    """``attempt`` with ``placement``, and where the memory is not enough with the next smaller one.

    ``num_weights``: see `choose`. Raises `OutOfMemory` where none is left.
    """
    while True:
        try:
            return attempt(placement), placement
        except (RuntimeError, MemoryError) as error:
            if not lacks_memory(error):
                raise
            less = _LESS.get(placement.mode)
            if less is None:
                raise OutOfMemory(NO_ROOM) from error
        warn(f"the memory was not enough for --memory {placement.mode}: going on with {less}")
        free()
        if less is Memory.CPU:
            placement = _on_cpu(placement.quantize, num_weights, None)
        else:
            placement = replace(placement, mode=less)


def lacks_memory(error: BaseException) -> bool:
    """Whether ``error`` says that the memory was not enough; on a processor torch says so in words alone."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(said in str(error) for said in _SAID)


def keep_freed() -> None:
    """Let this process keep the memory that it frees, until `free`: on Linux, where the C library is GNU's.

    A small model on a processor asks for and returns hundreds of megabytes for every layer, and to have each page
    cleared again by the kernel takes a third to a half of its time (`docs/benchmarks.md`). It costs what lies broken
    up between, so large models do without.
    """
    mallopt = _libc("mallopt")
    if mallopt is not None:
        for name, value in ((-4, 0), (-1, 2**31 - 1), (-2, 2**26)):  # M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD
            mallopt(name, value)


def _libc(name: str) -> Callable[..., int] | None:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None


def free() -> None:
    """Give back what nobody holds any more."""
    gc.collect()
    trim = _libc("malloc_trim")
    if trim is not None:
        trim(0)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
