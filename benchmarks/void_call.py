"""One whole pass-1 call in a process of its own: ``python benchmarks/void_call.py CALL.json MEASURED.json``.

`void.py` runs it for each of its figures, ours and the reference's alike, so that peak memory is that call's alone.
Both sides get the same random weights (each parameter is drawn by its name), the same clip, quadmask, prompt
embeddings and noise. The reference's side needs torch and diffusers only: its own environment may run it.
"""

from __future__ import annotations

import importlib
import json
import resource
import statistics
import sys
import time
import zlib
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import diffusers
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler

__all__ = ["Call", "Measured"]

SEED = 0
TOKENS = 226
SCHEDULER: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "set_alpha_to_one": True,
    "steps_offset": 0,
    "timestep_spacing": "trailing",
}


@dataclass(frozen=True)
class Call:
    """What to run. ``reference`` is the folder of its checkout, or empty for ours.

    ``mode`` is a memory mode (see `arrange`); ``save`` a file for the frames, or empty.
    """

    transformer: dict[str, Any]
    vae: dict[str, Any]
    frames: int
    height: int
    width: int
    window: int
    steps: int
    reference: str = ""
    device: str = "cpu"
    dtype: str = "float32"
    mode: str = "full"
    times: int = 1
    threads: int = 0
    save: str = ""


@dataclass(frozen=True)
class Measured:
    """``seconds``: each call, whole; ``busy_s``: the processor's, all threads together.

    ``parts``: of the last call, inside encoder, transformer and decoder, and ``step_s``, the median of one forward of
    the transformer: seconds on a GPU, the processor's seconds elsewhere, which others' work on the machine
    does not swell. ``peak_mb``: of the process, or allocated on the GPU;
    ``held_mb``: the same just before the first call, so that the difference is what the calls themselves took.
    """

    seconds: list[float]
    busy_s: list[float]
    parts: dict[str, float]
    step_s: float
    held_mb: float
    peak_mb: float
    reserved_mb: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)


@dataclass
class Clock:
    """Seconds (see `now`) inside modules, by name, one entry for each time one is run."""

    device: str
    spans: dict[str, list[float]] = field(default_factory=dict)

    def watch(self, name: str, module: torch.nn.Module) -> None:
        """Count from now on."""
        starts: list[float] = []
        module.register_forward_pre_hook(lambda *_: starts.append(now(self.device)))
        module.register_forward_hook(
            lambda *_: self.spans.setdefault(name, []).append(now(self.device) - starts.pop())
        )


def now(device: str) -> float:
    """Seconds once the GPU has done what it was given; without one, seconds of the processor."""
    if device != "cuda":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def drawn(module: torch.nn.Module, device: str, dtype: torch.dtype) -> Any:
    """A module made on "meta", with weights drawn on ``device`` by their names: normal, 0.5 / sqrt(inputs) wide."""
    module = module.to(dtype).to_empty(device=device).eval().requires_grad_(False)
    for name, value in module.named_parameters():
        generator = torch.Generator(device).manual_seed(zlib.crc32(name.encode()))
        wide = torch.empty(value.shape, device=device)  # float32, so that every dtype rounds the same numbers
        if value.ndim > 1:
            wide.normal_(0, 0.5 * (value.numel() / value.shape[0]) ** -0.5, generator=generator)
        elif name.endswith("weight"):
            wide.fill_(1)
        else:
            wide.normal_(0, 0.02, generator=generator)
        value.copy_(wide)
    return module


def pipeline(call: Call) -> Any:
    """Ours or the reference's, without a text encoder."""
    dtype = getattr(torch, call.dtype)
    made: dict[str, Any] = {"tokenizer": None, "text_encoder": None}
    if call.reference:
        sys.path.insert(0, call.reference)
        stand_in_for_einops()
        models: Any = importlib.import_module("videox_fun.models")
        kind: Any = importlib.import_module("videox_fun.pipeline").CogVideoXFunInpaintPipeline
        own = {"add_noise_in_inpaint_model": True}  # as in the published base model's config
    else:
        models, own = diffusers, {}
        kind = importlib.import_module("aftermath.render.void").VoidPipeline
    with torch.device("meta"):
        transformer = models.CogVideoXTransformer3DModel(**call.transformer, **own)
        vae = models.AutoencoderKLCogVideoX(**call.vae)
    made["transformer"] = drawn(transformer, call.device, dtype)
    made["vae"] = drawn(vae, call.device, dtype)
    pipe = kind(**made, scheduler=DDIMScheduler(**SCHEDULER))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def stand_in_for_einops() -> None:
    """The three patterns that the reference's pipeline asks of einops, where that is not installed."""

    def rearrange(tensor: torch.Tensor, pattern: str, f: int = 1) -> torch.Tensor:
        if pattern == "b c f h w -> b f c h w":
            return tensor.transpose(1, 2)
        if pattern == "b c f h w -> (b f) c h w":
            return tensor.transpose(1, 2).flatten(0, 1)
        if pattern == "(b f) c h w -> b c f h w":
            return tensor.unflatten(0, (-1, f)).transpose(1, 2)
        raise NotImplementedError(pattern)

    try:
        importlib.import_module("einops")
    except ImportError:
        module: Any = ModuleType("einops")
        module.rearrange = rearrange
        sys.modules["einops"] = module


def arrange(pipe: Any, call: Call) -> Any:
    """Put a pipeline's weights where its memory mode wants them, and what computes them best in its place.

    A mode is a name of `aftermath.config.Memory`, and after a plus each what is to be added: ``fp8``, ``int8`` and
    ``int4`` for smaller weights, ``fast``. Of the reference only ``full``, ``cpu`` and ``offload`` are known. Returns
    the context to call it in.
    """
    mode, *extras = call.mode.split("+")
    if call.reference:
        if mode == "offload":
            pipe.enable_model_cpu_offload(device=call.device)
        return nullcontext()
    config: Any = importlib.import_module("aftermath.config")
    memory: Any = importlib.import_module("aftermath.render.void.memory")
    renderer: Any = importlib.import_module("aftermath.render.void.renderer")
    quantize = next((config.Quantize(one) for one in extras if one != "fast"), config.Quantize.NONE)
    placement = memory.Placement(
        config.Memory(mode),
        torch.device("cpu" if mode == "cpu" else call.device),
        getattr(torch, call.dtype),
        torch.float8_e4m3fn if quantize is config.Quantize.FP8 else None,
        quantize,
    )
    if mode != "full":  # weights are drawn on the device, and modes begin from the processor
        pipe.to("cpu")
    memory.shrink(pipe.transformer, placement)
    memory.place(pipe, placement)
    if "fast" in extras:
        importlib.import_module("aftermath.render.void.fast").hurry(pipe, reuse=mode != "low")
    return renderer.best_attention(placement.device)


def inputs(call: Call) -> dict[str, torch.Tensor]:
    """A clip of noise, a quadmask with all four levels, prompt embeddings and latents to start from."""
    generator = torch.Generator().manual_seed(SEED)
    shape = call.frames, call.height, call.width
    quadmask = torch.full((1, *shape), 255, dtype=torch.uint8)
    rows, columns = call.height // 4, call.width // 4
    quadmask[..., rows : 3 * rows, columns : 2 * columns] = 0
    quadmask[:, 1:, rows : 3 * rows, 2 * columns : 3 * columns] = 127
    quadmask[:, 1:, rows : 3 * rows, 2 * columns - 8 : 2 * columns] = 63
    latents = 1, (call.frames - 1) // 4 + 1, call.vae["latent_channels"], call.height // 8, call.width // 8
    return {
        "video": torch.rand((1, 3, *shape), generator=generator),
        "quadmask": quadmask,
        "embeds": torch.randn((1, TOKENS, call.transformer["text_embed_dim"]), generator=generator),
        "latents": torch.randn(latents, generator=generator),
    }


def run_ours(pipe: Any, call: Call, given: dict[str, torch.Tensor]) -> torch.Tensor:
    """(1, 3, T, H, W) in [0, 1]."""
    return pipe(
        given["video"],
        given["quadmask"],
        prompt_embeds=given["embeds"],
        num_inference_steps=call.steps,
        window_frames=call.window,
        latents=given["latents"],
        reference_noise=reference_noise(given["video"]),
    ).frames


def reference_noise(video: torch.Tensor) -> torch.Tensor:
    """What the reference draws for a clip: its clip lies frame by frame in memory, and so is its noise drawn."""
    torch.manual_seed(SEED)
    return torch.randn_like(torch.empty_like(video.transpose(1, 2)).contiguous().transpose(1, 2))


def run_reference(pipe: Any, call: Call, given: dict[str, torch.Tensor]) -> torch.Tensor:
    """The same, with the arguments of its own script."""
    torch.manual_seed(SEED)  # its noise comes from the global generator
    return pipe(
        video=given["video"],
        mask_video=(255 - given["quadmask"][:, None].float()) / 255,
        prompt_embeds=given["embeds"].to(pipe.transformer.device, pipe.transformer.dtype),
        latents=given["latents"].to(pipe.transformer.dtype),
        height=call.height,
        width=call.width,
        num_frames=call.window,
        num_inference_steps=call.steps,
        guidance_scale=1.0,
        strength=1.0,
        use_trimask=True,
        use_vae_mask=True,
    ).videos


def memory_mb(call: Call) -> tuple[float, float]:
    """(Held now, the most there was): of the process, or on the GPU."""
    if call.device == "cuda":
        return torch.cuda.memory_allocated() / 1e6, torch.cuda.max_memory_allocated() / 1e6
    status = Path("/proc/self/status")
    if not status.exists():
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return 0.0, peak / (1e6 if sys.platform == "darwin" else 1e3)
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(lines["VmRSS"].split()[0]) * 1024 / 1e6, int(lines["VmHWM"].split()[0]) * 1024 / 1e6


@torch.no_grad()
def measure(call: Call) -> Measured:
    """Run it."""
    if call.threads:
        torch.set_num_threads(call.threads)
    pipe, given = pipeline(call), inputs(call)
    attention = arrange(pipe, call)
    clock = Clock(call.device)
    watched = {"encoder": pipe.vae.encoder, "transformer": pipe.transformer, "decoder": pipe.vae.decoder}
    for name, module in watched.items():
        clock.watch(name, module)
    if call.device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    held, _ = memory_mb(call)
    seconds, busy_s, frames = [], [], torch.empty(0)
    run = run_reference if call.reference else run_ours
    with attention:
        for _ in range(call.times):
            clock.spans.clear()
            start, busy = time.perf_counter(), time.process_time()
            frames = run(pipe, call, given).cpu()
            seconds.append(time.perf_counter() - start)
            busy_s.append(time.process_time() - busy)
    _, peak = memory_mb(call)
    if call.save:
        torch.save(frames.float(), call.save)
    return Measured(
        seconds,
        busy_s,
        {name: sum(clock.spans[name]) for name in watched},
        statistics.median(clock.spans["transformer"]),
        held,
        peak,
        torch.cuda.max_memory_reserved() / 1e6 if call.device == "cuda" else 0.0,
        {"torch": torch.__version__, "diffusers": diffusers.__version__},
    )


def main() -> None:
    """Read the call, run it, write what was measured."""
    source, target = map(Path, sys.argv[1:])
    found = measure(Call(**json.loads(source.read_text())))
    target.write_text(json.dumps(asdict(found)))


if __name__ == "__main__":
    main()
