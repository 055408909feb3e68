"""`VoidRenderer`: the published model, behind the protocol that every renderer follows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from aftermath.core.geometry import valid_length
from aftermath.render.base import Job, Progress, Rendered
from aftermath.render.void.checkpoint import BASE, load_pipeline
from aftermath.render.void.conditioning import MaskLevels
from aftermath.render.void.frames import model_quadmask, model_size, model_video, padded_indices, source_frame
from aftermath.render.void.noise import motion_of, warp_noise
from aftermath.render.void.pipeline import VoidPipeline
from aftermath.scene.raft import best_flow

__all__ = ["Settings", "VoidRenderer"]

_WINDOW, _LONGEST = 85, 197  # frames


@dataclass(frozen=True)
class _Pass:
    """How a pass was published."""

    number: int
    steps: int
    guidance: float
    levels: MaskLevels


_PASSES = (_Pass(1, 30, 1.0, MaskLevels.THREE), _Pass(2, 50, 6.0, MaskLevels.TWO))


@dataclass(frozen=True)
class Settings:
    """What a user may choose; 0 and an empty name stand for what was published.

    ``size``: (height, width) that a clip is painted at, turned for one that stands upright.
    """

    model: str = ""
    passes: int = 1
    steps: int = 0
    guidance: float = 0.0
    size: tuple[int, int] = (384, 672)


class VoidRenderer:
    """One pass or two; see `Renderer`."""

    name = "void"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def render(self, job: Job, progress: Progress) -> Rendered:
        """Paint the whole clip at the model's size, then hand it out frame by frame at the source's.

        A clip of another length is padded as the weights met it, and the padding left out again. What is padded,
        however long, goes through the model in overlapping windows. Raises `WeightsError` where there are no weights.
        """
        size = model_size(job.clip.source_width, job.clip.source_height, self._settings.size)
        video, quadmask = model_video(job.source(), size), model_quadmask(job.quadmask_source(), size)
        num = len(video)
        places = padded_indices(num, _WINDOW, valid_length(max(num, _LONGEST)))
        clip = video[places].permute(1, 0, 2, 3)[None].contiguous(), quadmask[places][None]
        generator = torch.Generator().manual_seed(job.seed)
        passes = _PASSES[: self._settings.passes]
        total = sum(self._settings.steps or one.steps for one in passes)
        done, painted = 0, None
        for one in passes:
            noise = None if painted is None else _noise_along(painted, generator)

            def step(*_: Any) -> None:
                nonlocal done
                done += 1
                progress(done, total + 1)

            painted = self._paint(one, clip, job.prompt, noise, generator, step)
        assert painted is not None
        progress(total + 1, total + 1)
        report: dict[str, object] = {
            "passes": len(passes),
            "model_size": list(size),
            "padded_to": len(places),
        }
        return Rendered(_at_source_size(painted[:num], job), report)

    def _paint(
        self,
        one: _Pass,
        clip: tuple[torch.Tensor, torch.Tensor],
        prompt: str,
        noise: torch.Tensor | None,
        generator: torch.Generator,
        step: Any,
    ) -> torch.Tensor:
        """One pass: float (T, 3, h, w) in [0, 1]."""
        pipe = _on_device(load_pipeline(self._settings.model or BASE, pass_number=one.number, dtype=_dtype()))
        pipe.set_progress_bar_config(disable=True)
        out = pipe(
            *clip,
            prompt_embeds=pipe.encode_prompt(prompt),
            num_inference_steps=self._settings.steps or one.steps,
            guidance_scale=self._settings.guidance or one.guidance,
            mask_levels=one.levels,
            latents=noise,
            generator=generator,
            callback_on_step_end=step,
        )
        assert out.frames is not None
        return out.frames[0].permute(1, 0, 2, 3).float().cpu()


def _noise_along(painted: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Noise that moves as the first pass's result does, (1, T', C, h, w)."""
    frames = ((frame * 255).byte().permute(1, 2, 0).numpy() for frame in painted)
    height, width = painted.shape[-2:]
    return warp_noise(motion_of(frames, best_flow()), height, width, generator=generator)


def _at_source_size(painted: torch.Tensor, job: Job) -> Iterator[np.ndarray]:
    for frame in painted:
        yield source_frame(frame, job.clip.source_width, job.clip.source_height)


def _dtype() -> torch.dtype:
    """bfloat16 where it is fast."""
    return torch.bfloat16 if torch.cuda.is_available() else torch.float32


def _on_device(pipe: VoidPipeline) -> VoidPipeline:
    """On a GPU only what works at the moment; Apple's and the processor hold all of it."""
    if torch.cuda.is_available():
        pipe.enable_model_cpu_offload()
        return pipe
    return pipe.to("mps") if torch.backends.mps.is_available() else pipe
