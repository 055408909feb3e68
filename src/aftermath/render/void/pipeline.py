"""`VoidPipeline`: a diffusers pipeline for both passes of VOID."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, Self

import torch
from diffusers.loaders.lora_pipeline import CogVideoXLoraLoaderMixin
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import AutoencoderKLCogVideoX
from diffusers.models.transformers.cogvideox_transformer_3d import CogVideoXTransformer3DModel
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_ddim_cogvideox import CogVideoXDDIMScheduler
from diffusers.utils.outputs import BaseOutput
from diffusers.utils.torch_utils import randn_tensor
from transformers import PreTrainedTokenizerBase, T5EncoderModel

from aftermath.errors import InputError
from aftermath.render.void import checks, conditioning
from aftermath.render.void.conditioning import MaskLevels, latent_frames
from aftermath.render.void.decode import check_numbers, decoded_chunks, work_device
from aftermath.render.void.encode import chunk_lengths, encoded_chunks
from aftermath.render.void.windows import Window, joined, windows

__all__ = ["VoidPipeline", "VoidPipelineOutput", "encode_texts"]

_MAX_TOKENS = 226


class StepCallback(Protocol):
    """Called after each step with (pipeline, step, timestep, {"latents": ...}); may return other latents."""

    def __call__(
        self, pipe: VoidPipeline, step: int, timestep: int, tensors: dict[str, torch.Tensor], /
    ) -> dict[str, torch.Tensor] | None: ...


@dataclass
class VoidPipelineOutput(BaseOutput):
    """``frames``: float32 (B, 3, T, H, W) in [0, 1], None where decoding was skipped; ``latents``: (B, T', C, h, w),
    scaled."""

    frames: torch.Tensor | None
    latents: torch.Tensor


class VoidPipeline(DiffusionPipeline, CogVideoXLoraLoaderMixin):
    """Paint a video again without what its quadmask says goes.

    On diffusers' transformer, VAE and schedulers and transformers' T5, whose keys the published weights share; what
    diffusers does with a pipeline (saving, offloading, LoRA, quantisation) works as it does there.
    """

    model_cpu_offload_seq = "text_encoder->transformer->vae"
    _optional_components: ClassVar[list[str]] = ["tokenizer", "text_encoder"]
    _callback_tensor_inputs: ClassVar[list[str]] = ["latents"]

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase | None,
        text_encoder: T5EncoderModel | None,
        vae: AutoencoderKLCogVideoX,
        transformer: CogVideoXTransformer3DModel,
        scheduler: DDIMScheduler | CogVideoXDDIMScheduler,
    ) -> None:
        super().__init__()
        self.register_modules(
            tokenizer=tokenizer,
            text_encoder=text_encoder,
            vae=vae,
            transformer=transformer,
            scheduler=scheduler,
        )
        self._interrupt, self._guidance_scale, self._num_timesteps = False, 1.0, 0

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, **kwargs: Any) -> Self:
        """What `save_pretrained` wrote, as diffusers loads it, from .safetensors files only: a pickle may run any
        program. The published weights, two passes in one folder and a strict look at every key: `load_pipeline`."""
        return super().from_pretrained(pretrained_model_name_or_path, **({"use_safetensors": True} | kwargs))

    @property
    def interrupt(self) -> bool:
        """Set it from a callback: the steps that remain are left out."""
        return self._interrupt

    @interrupt.setter
    def interrupt(self, value: bool) -> None:
        self._interrupt = value

    @property
    def guidance_scale(self) -> float:
        """Of the call that runs, or ran last; diffusers' own callbacks read it."""
        return self._guidance_scale

    @property
    def num_timesteps(self) -> int:
        """Of the call that runs, or ran last."""
        return self._num_timesteps

    @torch.no_grad()
    def __call__(
        self,
        video: torch.Tensor,
        quadmask: torch.Tensor,
        prompt: str | list[str] | None = None,
        negative_prompt: str | list[str] | None = None,
        *,
        prompt_embeds: torch.Tensor | None = None,
        negative_prompt_embeds: torch.Tensor | None = None,
        num_inference_steps: int = 30,
        guidance_scale: float = 1.0,
        mask_levels: MaskLevels | str = MaskLevels.THREE,
        window_frames: int = 85,
        overlap_frames: int = 16,
        latents: torch.Tensor | None = None,
        reference_noise: torch.Tensor | None = None,
        generator: torch.Generator | list[torch.Generator] | None = None,
        output_type: Literal["pt", "latent"] = "pt",
        callback_on_step_end: StepCallback | None = None,
    ) -> VoidPipelineOutput:
        """Run one pass.

        Args:
            video: float (B, 3, T, H, W) in [0, 1], RGB; T must be 8k+5, H and W multiples of 16.
            quadmask: uint8 (B, T, H, W) of 0 (object), 63 (overlap), 127 (affected) and 255 (keep).
            prompt: the scene after the removal, one text or one for each clip. Or give ``prompt_embeds``
                (B, 226, D).
            negative_prompt: only read where ``guidance_scale`` is above 1; "" by default.
            num_inference_steps: 30 in the published pass 1, 50 in pass 2.
            guidance_scale: 1.0 in pass 1, 6.0 in pass 2; 1 or less does without the second forward.
            mask_levels: what the weights were made for: THREE for pass 1, TWO for pass 2 as published.
            window_frames: the most frames seen at once; an odd number of latent frames is reduced to the even one
                below.
            overlap_frames: what neighbouring windows share.
            latents: standard-normal noise to start from, (B, T', C, h, w) with T' = (T - 1) / 4 + 1 and h, w an eighth;
                the warped noise of pass 2. Drawn from ``generator`` where None.
            reference_noise: standard normal, of the video's shape, scaled inside; zeros switch it off. Drawn from
                ``generator`` where None, so that a seed fixes everything.
            generator: on the processor or a card; one, or a list with one for each clip. With one on the processor a
                seed gives the same film on every card.
            output_type: "pt" for frames, "latent" to skip decoding.
            callback_on_step_end: see `StepCallback`.

        Raises:
            InputError: a length, size, value or combination that the model does not take.
        """
        levels = checks.mask_levels_of(mask_levels)
        checks.check_clip(video, quadmask, checks.patch_px(self))
        checks.check_run(self, num_inference_steps, guidance_scale, output_type)
        checks.check_generators(generator, len(video))
        checks.check_finite(latents, self._latent_shape(video), "latents")
        checks.check_finite(reference_noise, tuple(video.shape), "reference_noise")
        windows(latent_frames(video.shape[2]), window_frames, overlap_frames)
        guided = guidance_scale > 1
        embeds = self._embeds(
            len(video), prompt, negative_prompt, prompt_embeds, negative_prompt_embeds, guided
        )
        lengths = chunk_lengths(video.shape[2])
        if latents is None:
            latents = self.draw_latents(self._latent_shape(video), generator)
        each = generator if isinstance(generator, list) else [generator] * len(video)
        noise = [None] * len(video) if reference_noise is None else reference_noise[:, None].unbind()
        mask_latents = torch.cat([self.mask_latents(one[None].split(lengths, 1), levels) for one in quadmask])
        video_latents = torch.cat(
            [
                self.video_latents(
                    clip[None].split(lengths, 2), drawn, None if own is None else own.split(lengths, 2)
                )
                for clip, drawn, own in zip(video, each, noise, strict=True)
            ]
        )
        now = self.denoise(
            latents,
            mask_latents,
            video_latents,
            embeds,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            window_frames=window_frames,
            overlap_frames=overlap_frames,
            callback_on_step_end=callback_on_step_end,
            generator=generator,
        )
        frames = None if output_type == "latent" else self.decoded(now)
        self.maybe_free_model_hooks()
        return VoidPipelineOutput(frames=frames, latents=now)

    # The parts of a call, for whoever has more frames than memory.

    def draw_latents(
        self, shape: tuple[int, ...], generator: torch.Generator | list[torch.Generator] | None
    ) -> torch.Tensor:
        """Noise to start from, (B, T', C, h, w)."""
        return _drawn(shape, generator, self._execution_device, self.transformer.dtype)

    @torch.no_grad()
    def mask_latents(self, quadmask: Iterable[torch.Tensor], levels: MaskLevels) -> torch.Tensor:
        """What the model sees of a quadmask: (1, T', C, h, w), on the device that denoises.

        ``quadmask``: uint8 (1, n, H, W) chunks of the lengths that `chunk_lengths` says.
        """
        return self._encoded(conditioning.mask_pixels(chunk, levels) for chunk in quadmask)

    @torch.no_grad()
    def video_latents(
        self,
        video: Iterable[torch.Tensor],
        generator: torch.Generator | None = None,
        reference_noise: Iterable[torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """What the model sees of a clip: (1, T', C, h, w), on the device that denoises.

        ``video``: float (1, 3, n, H, W) chunks in [0, 1] of the lengths that `chunk_lengths` says.
        ``reference_noise``: standard normal, in the same chunks; drawn from ``generator`` where None.
        """
        if reference_noise is None:
            pixels = (
                conditioning.video_pixels(
                    chunk, _drawn(tuple(chunk.shape), generator, chunk.device, torch.float32)
                )
                for chunk in video
            )
        else:
            pixels = (
                conditioning.video_pixels(chunk, noise.to(chunk.device))
                for chunk, noise in zip(video, reference_noise, strict=True)
            )
        return self._encoded(pixels)

    def _encoded(self, pixels: Iterable[torch.Tensor]) -> torch.Tensor:
        device, dtype = self._execution_device, self.transformer.dtype
        return torch.cat([part.to(device, dtype) for part in encoded_chunks(self.vae, pixels)], dim=1)

    @torch.no_grad()
    def denoise(
        self,
        latents: torch.Tensor,
        mask_latents: torch.Tensor,
        video_latents: torch.Tensor,
        embeds: torch.Tensor,
        *,
        num_inference_steps: int = 30,
        guidance_scale: float = 1.0,
        window_frames: int = 85,
        overlap_frames: int = 16,
        callback_on_step_end: StepCallback | None = None,
        generator: torch.Generator | list[torch.Generator] | None = None,
    ) -> torch.Tensor:
        """From noise to the latents of the scene without the object, (B, T', C, h, w); see `__call__`.

        All latents are (B, T', C, h, w); ``embeds`` (B, 226, D), where guided (2 B, 226, D) with the negative half
        first. ``generator`` is read by a solver that draws noise in its steps; the published one does not. Raises
        `WeightsError` where the model gives numbers that are none.
        """
        device, dtype = self._execution_device, self.transformer.dtype
        now = latents.to(device, dtype) * self.scheduler.init_noise_sigma
        embeds = embeds.to(device, dtype)
        parts = windows(now.shape[1], window_frames, overlap_frames)
        rotary = functools.cache(
            functools.partial(conditioning.rotary_positions, self.transformer.config, device=device)
        )
        takes = inspect.signature(self.scheduler.step).parameters
        drawing: dict[str, Any] = {"generator": generator} if "generator" in takes else {}
        self._interrupt, self._guidance_scale = False, guidance_scale
        with warnings.catch_warnings():
            # diffusers' solvers ask torch for arrays in a way that NumPy deprecates
            warnings.simplefilter("ignore", DeprecationWarning)
            self.scheduler.set_timesteps(num_inference_steps, device=device)
        self._num_timesteps = len(self.scheduler.timesteps)
        with self.progress_bar(total=num_inference_steps) as bar:  # type: ignore[call-arg]
            for index, timestep in enumerate(self.scheduler.timesteps):
                if self._interrupt:
                    break

                def predict(
                    part: torch.Tensor, window: Window, timestep: torch.Tensor = timestep
                ) -> torch.Tensor:
                    here = slice(*window)
                    part = self.scheduler.scale_model_input(part, timestep)
                    joint = conditioning.transformer_input(
                        part, mask_latents[:, here], video_latents[:, here]
                    )
                    return self._predict(joint, embeds, timestep, guidance_scale, rotary, window)

                # the solver's step is linear in the prediction, so windows are joined before it, once
                prediction = joined(now, parts, predict)
                now = self.scheduler.step(prediction, timestep, now, return_dict=False, **drawing)[0].to(
                    dtype
                )
                check_numbers(now, "the model")
                if callback_on_step_end is not None:
                    told = callback_on_step_end(self, index, int(timestep), {"latents": now})
                    now = told["latents"].to(device, dtype) if told and "latents" in told else now
                bar.update()
        return now

    def encode_prompt(self, prompt: str | list[str]) -> torch.Tensor:
        """(B, 226, D) embeddings; see `encode_texts`."""
        if self.text_encoder is None or self.tokenizer is None:
            raise InputError(
                "a pipeline without a text encoder",
                "what it paints must be given as prompt_embeds",
                "load the text encoder; a model that has none, as nano, takes torch.zeros(1, 1, its text_embed_dim)",
            )
        texts = [prompt] if isinstance(prompt, str) else prompt
        told = functools.partial(warnings.warn, stacklevel=8)  # the line that called the pipeline
        return encode_texts(self.tokenizer, self.text_encoder, texts, told)

    def _embeds(
        self,
        batch: int,
        prompt: str | list[str] | None,
        negative_prompt: str | list[str] | None,
        prompt_embeds: torch.Tensor | None,
        negative_prompt_embeds: torch.Tensor | None,
        guided: bool,
    ) -> torch.Tensor:
        """What the transformer reads: (B, 226, D), or (2 B, 226, D) with the negative half first."""
        positive = self._one_prompt(batch, prompt, prompt_embeds, "prompt")
        if not guided:
            return positive
        if negative_prompt is None and negative_prompt_embeds is None:
            negative_prompt = ""
        negative = self._one_prompt(batch, negative_prompt, negative_prompt_embeds, "negative_prompt")
        if negative.shape != positive.shape:
            raise InputError(
                f"{negative.shape[1]} tokens of the negative prompt, {positive.shape[1]} of the prompt",
                "they must be as many",
            )
        return torch.cat([negative, positive])

    def _one_prompt(
        self, batch: int, prompt: str | list[str] | None, embeds: torch.Tensor | None, name: str
    ) -> torch.Tensor:
        if prompt is not None and embeds is not None:
            raise InputError(f"{name} and {name}_embeds", "it must be one of the two")
        if embeds is None:
            texts = [prompt or ""] if isinstance(prompt, str | None) else prompt
            checks.check_texts(texts, batch, name)
            if name == "prompt" and not all(text.strip() for text in texts):
                warnings.warn(
                    "an empty prompt: the model paints better when told what is seen then", stacklevel=5
                )
            embeds = self.encode_prompt(texts)
        checks.check_embeds(embeds, batch, self.transformer.config["text_embed_dim"], name)
        return embeds.to(self._execution_device, self.transformer.dtype).expand(batch, -1, -1)

    def _predict(
        self,
        joint: torch.Tensor,
        embeds: torch.Tensor,
        timestep: torch.Tensor,
        guidance_scale: float,
        rotary: Callable[[int, int, int], tuple[torch.Tensor, torch.Tensor]],
        window: Window,
    ) -> torch.Tensor:
        """The model's prediction for one window, float32, guided where ``embeds`` hold a negative half."""
        guided = len(embeds) > len(joint)
        joint = torch.cat([joint, joint]) if guided else joint
        patch = self.transformer.config["patch_size"]
        with self.transformer.cache_context(f"window {window[0]}"):
            prediction = self.transformer(
                hidden_states=joint,
                encoder_hidden_states=embeds,
                timestep=timestep.expand(len(joint)),
                image_rotary_emb=rotary(joint.shape[1], joint.shape[-2] // patch, joint.shape[-1] // patch),
                return_dict=False,
            )[0].float()
        if not guided:
            return prediction
        negative, positive = prediction.chunk(2)
        return negative + guidance_scale * (positive - negative)

    @torch.no_grad()
    def decoded(self, latents: torch.Tensor) -> torch.Tensor:
        """Frames, float32 (B, 3, T, H, W) in [0, 1], of latents (B, T', C, h, w), one clip at a time."""
        frames: torch.Tensor | None = None
        for place, one in enumerate(latents):
            start = 0
            for chunk in decoded_chunks(self.vae, one[None].to(self.vae.dtype)):
                if frames is None:  # filled as it comes, for a second film may not fit beside it
                    shape = (len(latents), 3, 4 * latents.shape[1] - 3, *chunk.shape[-2:])
                    frames = chunk.new_empty(shape, dtype=torch.float32)
                stop = start + chunk.shape[2]
                frames[place, :, start:stop] = (chunk[0].float() / 2 + 0.5).clamp_(0, 1)
                start = stop
        assert frames is not None
        return frames

    def _latent_shape(self, video: torch.Tensor) -> tuple[int, ...]:
        batch, _, num, height, width = video.shape
        side = conditioning.latent_px(self.vae.config)
        return batch, latent_frames(num), self.vae.config["latent_channels"], height // side, width // side


@torch.no_grad()
def encode_texts(
    tokenizer: Any, text_encoder: T5EncoderModel, texts: list[str], warn: Callable[[str], None]
) -> torch.Tensor:
    """(B, 226, D) embeddings on the encoder's device. Padding is attended to, as it was in training: no attention mask
    is passed. ``warn`` is told of a text that is cut."""
    tokens = tokenizer(
        texts, padding="max_length", max_length=_MAX_TOKENS, truncation=True, return_tensors="pt"
    )
    if any(len(tokenizer(text).input_ids) > _MAX_TOKENS for text in texts):
        warn(f"the prompt is longer than {_MAX_TOKENS} tokens: the model does not read its end")
    return text_encoder(tokens.input_ids.to(work_device(text_encoder)))[0]


def _drawn(
    shape: tuple[int, ...],
    generator: torch.Generator | list[torch.Generator] | None,
    device: torch.device,
    dtype: torch.dtype,
) -> torch.Tensor:
    """Standard normal, drawn where ``generator`` lives, so that a card's serves a clip in the machine's memory too."""
    first = generator[0] if isinstance(generator, list) else generator
    drawing = device if first is None or first.device.type == "cpu" else first.device
    return randn_tensor(shape, generator, drawing, dtype).to(device)
