"""`VoidRenderer`: the published model, behind the protocol that every renderer follows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from aftermath.config import Guide, Memory, Quantize
from aftermath.errors import OutOfMemory
from aftermath.models import BASE
from aftermath.render.base import Job, Progress, Rendered
from aftermath.render.void.checkpoint import load_pipeline, num_weights, reads_words, vae_config
from aftermath.render.void.conditioning import latent_px
from aftermath.render.void.decode import decoded_chunks
from aftermath.render.void.frames import source_frame
from aftermath.render.void.guide import draft_guide
from aftermath.render.void.memory import (
    NO_ROOM,
    Placement,
    available_bytes,
    choose,
    free,
    lacks_memory,
    on_less,
    place,
    shrink,
)
from aftermath.render.void.noise import Motion, motion_of, warp_noise
from aftermath.render.void.pipeline import VoidPipeline
from aftermath.render.void.published import Manner, PassManner, manner_of
from aftermath.render.void.settings import Settings, check_settings, passes_of
from aftermath.render.void.steps import Steps
from aftermath.render.void.text import prompt_embeddings
from aftermath.render.void.view import View
from aftermath.scene.optical_flow import Flow, dis_flow
from aftermath.scene.raft import best_flow

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl_cogvideox import AutoencoderKLCogVideoX

__all__ = ["VoidRenderer", "best_attention"]

_GUIDE_STEPS = 20  # what the draft counts for
_SEEDS = 0x9E3779B97F4A7C15  # apart: what starts each pass and what is laid on the video must not be the same noise


@dataclass
class _Run:
    """What one pass leaves to the next: the models that stay, and what the clip was encoded to."""

    manner: Manner
    placement: Placement
    num_weights: int
    vae: AutoencoderKLCogVideoX | None = None
    video_latents: torch.Tensor | None = None


class VoidRenderer:
    """One pass or two; see `Renderer`. ``keep``: what is loaded stays for the next clip where the memory allows it."""

    name = "void"

    def __init__(self, settings: Settings, *, keep: bool = False) -> None:
        self._settings, self._keep = settings, keep
        self._kept: dict[int, tuple[Placement, VoidPipeline]] = {}

    def render(self, job: Job, progress: Progress) -> Rendered:
        """Paint the whole clip at the model's size, then hand it out frame by frame at the source's.

        A clip of another length is padded as the weights met it, and the padding left out again. What is padded,
        however long, goes through the model in overlapping windows; frames are encoded and decoded in a stream, so
        that only latents lie in memory. Raises `InputError` as `check_settings` does, `WeightsError` where there are
        no weights, `OutOfMemory` where no mode fits.
        """
        try:
            return self._rendered(job, progress)
        except (RuntimeError, MemoryError) as error:  # of what no memory mode is about: text, motion, noise
            if not lacks_memory(error):
                raise
            raise OutOfMemory(NO_ROOM) from error

    def _rendered(self, job: Job, progress: Progress) -> Rendered:
        settings = self._settings
        model = settings.model or BASE
        manner = manner_of(model, offline=settings.offline)
        check_settings(settings, manner)
        view = View.of(job, settings, manner)
        passes = passes_of(manner, settings)
        guided = _GUIDE_STEPS if settings.guide is Guide.DRAFT else 0
        steps = Steps(progress, guided + _num_steps(view, passes))
        with steps.timed("text"):
            wanted, other = prompt_embeddings(
                model, [job.prompt, ""], offline=settings.offline, warn=job.warn
            )
        picture_px = view.size[0] * view.size[1]
        reads = reads_words(model, offline=settings.offline)
        if job.prompt and not reads:
            job.warn(f"{model} reads no words: the prompt changes nothing")
        if reads and not job.prompt:
            job.warn("no --prompt: the VOID model paints better when told what is seen without the object")
        weights = num_weights(model, passes[0].number, offline=settings.offline)
        if self._kept:  # what lies there takes of the memory that the choice would go by
            (placement, pipe), *_ = self._kept.values()
            run = _Run(manner, placement, weights, pipe.vae)
        else:
            placement = choose(settings.memory, settings.quantize, weights, picture_px)
            run = _Run(manner, placement, weights)
        flow, measured_by = dis_flow, ""
        if guided or len(passes) > 1:  # a file of weights that is damaged is told before a pass was painted
            card = run.placement.device.type == "cuda"
            flow, measured_by = best_flow("cuda" if card else "cpu", job.warn)
        motion, latents = self._guided(job, view, steps, flow), None
        for one in passes:
            if latents is not None:
                motion = motion_of(_pictures(self._decoded(run, latents, job, steps)), flow)
            with steps.timed("noise"):
                generator = _generator(job.seed, 2)
                side = latent_px(vae_config(model, offline=settings.offline))
                noise = (
                    None
                    if motion is None
                    else warp_noise(
                        motion, *view.size, generator=generator, cells=min(4, side), latent_px=side
                    )
                )
            embeds = torch.cat([other, wanted]) if one.guidance > 1 else wanted
            latents = self._paint(one, job, view, run, noise, embeds, steps)
        report: dict[str, object] = {
            "passes": [
                {"number": one.number, "steps": one.steps, "guidance": one.guidance} for one in passes
            ],
            "model_size": list(view.size),
            "seen": [view.box.x0, view.box.y0, view.box.x1, view.box.y1],
            "padded_to": len(view.places),
            "memory": str(run.placement.mode),
            "device": str(run.placement.device),
            "quantize": str(settings.quantize),
            "fast": settings.fast,
            "guide": str(settings.guide),
            "motion_by": measured_by,
            "seconds": steps.seconds,
        }
        assert latents is not None
        frames = islice(self._decoded(run, latents, job, steps), view.num)
        width, height = job.clip.source_width, job.clip.source_height
        return Rendered((source_frame(frame, view.box, width, height) for frame in frames), report)

    def _guided(self, job: Job, view: View, steps: Steps, flow: Flow) -> Motion | None:
        """The motion that the first pass to run follows; None where it starts from noise that follows nothing."""
        if self._settings.guide is not Guide.DRAFT:
            return None
        with steps.timed("guide"):
            guide = draft_guide(job, view.size, view.box, steps.scaled(_GUIDE_STEPS), flow)
        return ((guide.flow(a, b), guide.flow(b, a)) for a, b in pairwise(view.places.tolist()))

    def _paint(
        self,
        one: PassManner,
        job: Job,
        view: View,
        run: _Run,
        noise: torch.Tensor | None,
        embeds: torch.Tensor,
        steps: Steps,
    ) -> torch.Tensor:
        """One pass, in the smallest memory mode that it takes: latents (1, T', C, h, w), on the CPU."""
        begun = steps.done

        def attempt(placement: Placement) -> torch.Tensor:
            steps.rewind(begun)
            run.placement = placement
            pipe = self._taken(one, run) or self._ready(one, job, run, steps)
            pipe.vae.disable_tiling()  # where the pass before was decoded so: what is encoded has no seams
            stays = False
            try:
                with best_attention(placement.device):
                    latents = self._denoised(pipe, one, job, view, run, noise, embeds, steps)
                stays = self._stays(pipe, placement)
                if stays:
                    self._kept[one.number] = placement, pipe
                return latents
            finally:
                if not stays:
                    pipe.remove_all_hooks()  # they hold what they move
                    pipe.register_modules(transformer=None)  # the VAE goes on alone
                free()  # where all stays too: what one clip frees lies in pieces that the next cannot use

        latents, run.placement = on_less(run.placement, run.num_weights, attempt, job.warn)
        return latents

    def _taken(self, one: PassManner, run: _Run) -> VoidPipeline | None:
        """The pipeline that a clip before this one left, where it still lies as it should."""
        if any(placement != run.placement for placement, _ in self._kept.values()):
            self._kept.clear()  # the memory was not enough for it
        _, pipe = self._kept.pop(one.number, (None, None))
        if run.placement.quantize is not Quantize.NONE:
            self._kept.clear()  # what is quantised is not moved, and there is no room for both
        for _, other in self._kept.values():
            other.transformer.to("cpu")
        if pipe is not None:
            if run.placement.quantize is Quantize.NONE:
                pipe.to(run.placement.device)
            # where the last clip's decoding fell to the processor it lies there
            torch.nn.Module.to(pipe.vae, run.placement.device, run.placement.dtype)
        return pipe

    def _stays(self, pipe: VoidPipeline, placement: Placement) -> bool:
        """Whether a pipeline can wait for the next clip: nothing moves it or remembers steps, and there is room."""
        if not self._keep or self._settings.fast or placement.mode not in (Memory.FULL, Memory.CPU):
            return False
        if not self._kept:
            return True
        size = sum(value.nbytes for value in pipe.transformer.parameters())
        return placement.quantize is Quantize.NONE and available_bytes(torch.device("cpu")) > 2 * size

    def _ready(self, one: PassManner, job: Job, run: _Run, steps: Steps) -> VoidPipeline:
        """The pipeline of a pass, where and how the memory mode says."""
        settings, placement = self._settings, run.placement
        with steps.timed("load"):
            pipe = load_pipeline(
                settings.model or BASE,
                pass_number=one.number,
                dtype=placement.loaded,
                text=False,
                vae=None if run.vae is None else run.vae.cpu(),
                offline=settings.offline,
            )
            pipe.set_progress_bar_config(disable=True)
            if pipe.vae.dtype != placement.dtype:
                torch.nn.Module.to(pipe.vae, placement.dtype)  # diffusers' own warns of what the VAE has not
            run.vae = pipe.vae
            shrink(pipe.transformer, placement)
            place(pipe, placement)
        if settings.fast:
            from aftermath.render.void.fast import hurry

            hurry(pipe, reuse=placement.mode is not Memory.LOW)
        if settings.compile:
            moved = placement.mode not in (Memory.FULL, Memory.CPU)
            if moved or placement.storage is not None or placement.quantize is not Quantize.NONE:
                why = f"moved (--memory {placement.mode})" if moved else "unpacked where they are used"
                job.warn(f"--compile is left out: it is not for weights that are {why}")
            else:
                _compile(pipe.transformer)
        return pipe

    def _denoised(
        self,
        pipe: VoidPipeline,
        one: PassManner,
        job: Job,
        view: View,
        run: _Run,
        noise: torch.Tensor | None,
        embeds: torch.Tensor,
        steps: Steps,
    ) -> torch.Tensor:
        with steps.timed("encode"):
            mask = pipe.mask_latents(steps.counted(view.quadmask(job)), one.levels)
            if run.video_latents is None:  # the second pass sees the same clip
                chunks = steps.counted(view.video(job))
                run.video_latents = pipe.video_latents(chunks, _generator(job.seed, 1)).cpu()
        if noise is None:
            noise = pipe.draw_latents(tuple(mask.shape), _generator(job.seed, 0))
        with steps.timed("denoise"):
            return pipe.denoise(
                noise,
                mask,
                run.video_latents.to(mask),
                embeds,
                num_inference_steps=one.steps,
                guidance_scale=one.guidance,
                window_frames=run.manner.window_frames,
                overlap_frames=run.manner.overlap_frames,
                callback_on_step_end=steps,
            ).cpu()

    @torch.no_grad()
    def _decoded(self, run: _Run, latents: torch.Tensor, job: Job, steps: Steps) -> Iterator[torch.Tensor]:
        """The frames of latents, (3, h, w) in [0, 1] on the CPU; in tiles, and on the processor, where the memory asks
        for it."""
        vae = run.vae
        assert vae is not None
        vae.to(run.placement.device)  # type: ignore[arg-type]
        shown = 0
        while True:
            try:
                chunks = steps.counted(decoded_chunks(vae, latents.to(vae.dtype)))
                for frame in islice(_frames(chunks), shown, None):
                    yield frame
                    shown += 1
                return
            except (RuntimeError, MemoryError) as error:
                if not lacks_memory(error):
                    raise
                if vae.use_tiling and vae.device.type == "cpu":
                    raise OutOfMemory(NO_ROOM) from error
            if vae.use_tiling:
                job.warn("the memory was not enough to decode on the card: going on with the processor")
                torch.nn.Module.to(vae, torch.device("cpu"), torch.float32)
            else:
                job.warn("the memory was not enough to decode whole pictures: going on in tiles")
                vae.enable_tiling()
            free()


def _generator(seed: int, what: int) -> torch.Generator:
    """On the processor, so that a seed gives the same film on every card; another one for each use of a seed."""
    return torch.Generator().manual_seed((seed + what * _SEEDS) % 2**63)


def _compile(transformer: Any) -> None:
    """Compile a block once for all of them (regional compilation). Where that cannot be done it runs as it is."""
    import torch._dynamo

    torch._dynamo.config.suppress_errors = True  # no compiler on this machine, say
    for block in transformer.transformer_blocks:
        block.compile()


def _frames(chunks: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
    for chunk in chunks:
        yield from (chunk[0].float() / 2 + 0.5).clamp(0, 1).cpu().unbind(1)


def _pictures(frames: Iterable[torch.Tensor]) -> Iterator[np.ndarray]:
    """uint8 (h, w, 3)."""
    for frame in frames:
        yield (frame * 255).byte().permute(1, 2, 0).numpy()


def _num_steps(view: View, passes: tuple[PassManner, ...]) -> int:
    """A chunk through the VAE, or a step of the solver, each counts as one."""
    encoded, decoded = len(view.lengths), 1 + view.latents // 2
    return encoded + sum(encoded + one.steps + decoded for one in passes)


def best_attention(device: torch.device) -> Any:
    """The fastest attention that the card has, in the order of their speed."""
    if device.type != "cuda":
        return nullcontext()
    from torch.nn.attention import SDPBackend, sdpa_kernel

    order = [
        SDPBackend.CUDNN_ATTENTION,
        SDPBackend.FLASH_ATTENTION,
        SDPBackend.EFFICIENT_ATTENTION,
        SDPBackend.MATH,
    ]
    return sdpa_kernel(order, set_priority=True)
