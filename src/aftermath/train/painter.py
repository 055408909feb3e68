"""The transformer's part, for either pass: from noise and what the model is fed to the scene without the object."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from diffusers.models.transformers.cogvideox_transformer_3d import CogVideoXTransformer3DModel

from aftermath.render.void import conditioning
from aftermath.render.void.noise import degrade
from aftermath.render.void.pipeline import VoidPipeline
from aftermath.train.latents import Latents
from aftermath.train.loop import Sheet
from aftermath.train.lora import add_lora
from aftermath.train.order import Order, step_seed
from aftermath.train.recipe import Recipe

__all__ = ["PainterLoss", "PainterTask"]

_TRIED_STEPS = 8
_SHOWN = (0, 12, 24, 36, 48)  # frames of a sheet


class PainterLoss(torch.nn.Module):
    """Mean squared error of the velocity (Salimans and Ho 2022), places weighed by ``weights``."""

    def __init__(self, transformer: Any, scheduler: Any) -> None:
        super().__init__()
        self.transformer, self._scheduler = transformer, scheduler

    def forward(
        self,
        truth: torch.Tensor,
        video: torch.Tensor,
        mask: torch.Tensor,
        noise: torch.Tensor,
        timesteps: torch.Tensor,
        embeds: torch.Tensor,
        weights: torch.Tensor,
    ) -> torch.Tensor:
        """Latents and ``noise`` (B, T', C, h, w), ``timesteps`` int (B,), ``embeds`` (B, L, D), ``weights``
        (B, T', 1, h, w)."""
        noisy = self._scheduler.add_noise(truth, noise, timesteps)
        joint = conditioning.transformer_input(noisy, mask, video)
        config = self.transformer.config
        predicted = self.transformer(
            hidden_states=joint,
            encoder_hidden_states=embeds,
            timestep=timesteps,
            image_rotary_emb=conditioning.rotary_positions(
                config,
                joint.shape[1],
                joint.shape[-2] // config["patch_size"],
                joint.shape[-1] // config["patch_size"],
                joint.device,
            ),
            return_dict=False,
        )[0]
        velocity = self._scheduler.get_velocity(truth, noise, timesteps)
        errors = (predicted.float() - velocity.float()) ** 2
        return (errors * weights).sum() / (weights.sum() * errors.shape[2])


class PainterTask:
    """``latents`` are trained on, ``held`` only tried. ``embeds`` gives (1, L, D) for a caption.

    ``write`` puts what is written beside the transformer into a folder: the other parts of the model.
    """

    def __init__(
        self,
        pipe: VoidPipeline,
        latents: Latents,
        held: Latents,
        embeds: Callable[[str], torch.Tensor],
        recipe: Recipe,
        write: Callable[[Path], None],
    ) -> None:
        self.network = PainterLoss(pipe.transformer, pipe.scheduler)
        if recipe.compiled:
            pipe.transformer.compile(dynamic=False)
        self._pipe, self._latents, self._held = pipe, latents, held
        self._embeds, self._recipe, self._write = embeds, recipe, write
        shapes = [latents.shape(index) for index in range(len(latents))]
        self._order = cache(lambda world: Order(shapes, recipe.batch * world, recipe.seed))

    def batch(self, step: int, rank: int, world: int) -> dict[str, torch.Tensor]:
        """See `Task`."""
        recipe = self._recipe
        chosen = self._order(world).batch(step)[rank * recipe.batch : (rank + 1) * recipe.batch]
        rng = np.random.default_rng(step_seed(recipe.seed, step, rank))
        samples = [self._sample(index, rng) for index in chosen]
        batch = {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}
        last = self._pipe.scheduler.config["num_train_timesteps"] - 1
        steps = [
            last if rng.random() < recipe.start_share else int(rng.integers(0, last + 1)) for _ in chosen
        ]
        return {**batch, "timesteps": torch.tensor(steps)}

    def _sample(self, index: int, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        recipe, kept = self._recipe, self._latents.read(index)
        changed = kept.pop("changed")
        if recipe.crop is not None:
            side = conditioning.latent_px(self._pipe.vae.config)
            patch = int(self._pipe.transformer.config["patch_size"])
            rows, columns = (size // side for size in recipe.crop)
            here = _crop(changed.numpy(), (rows, columns), patch, rng)
            kept = {name: value[..., here[0], here[1]] for name, value in kept.items()}
            changed = changed[..., here[0], here[1]]
        sample = {name: value.float() for name, value in kept.items()}
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        if recipe.pass_number == 2:
            sample["noise"] = degrade(sample["noise"], recipe.degradation, generator)
        else:
            sample["noise"] = torch.randn(sample["truth"].shape, generator=generator)
        dropped = rng.random() < recipe.prompt_dropout
        sample["embeds"] = self._embeds("" if dropped else self._latents.caption(index))[0].float()
        sample["weights"] = 1 + recipe.emphasis * changed[:, None].float()
        return sample

    @torch.no_grad()
    def validate(self, step: int) -> Sheet:
        """See `Task`: paint the held pairs, and compare what changes with the truth, decoded the same way."""
        numbers: dict[str, float] = {}
        pictures: dict[str, np.ndarray] = {}
        for index in range(len(self._held)):
            kept = {name: value[None] for name, value in self._held.read(index).items()}
            generator = torch.Generator().manual_seed(index)
            noise = kept["noise"].float() if "noise" in kept else None
            if noise is None:
                noise = self._pipe.draw_latents(tuple(kept["truth"].shape), generator)
            self._pipe.set_progress_bar_config(disable=True)
            painted = self._pipe.denoise(
                noise,
                kept["mask"],
                kept["video"],
                self._embeds(self._held.caption(index)),
                num_inference_steps=1 if self._recipe.start_share == 1 else _TRIED_STEPS,
                window_frames=self._recipe.num_frames,
            )
            device = self._pipe.vae.device
            films = [
                self._pipe.decoded(one.to(device, self._pipe.vae.dtype))[0]
                for one in (painted, kept["truth"], kept["video"])
            ]
            side = conditioning.latent_px(self._pipe.vae.config)
            changed = _in_pixels(kept["changed"][0], films[0], side).to(films[0].device)
            name = self._held.name(index)
            for what, film in (("painted", films[0]), ("untouched", films[2])):
                numbers[f"{what}/{name}"] = _psnr(film, films[1], changed)
            pictures[name] = _sheet([films[2], films[0], films[1]], changed)
        for what in ("painted", "untouched"):
            found = [value for name, value in numbers.items() if name.startswith(f"{what}/")]
            if found:
                numbers[what] = sum(found) / len(found)
        return Sheet(numbers, pictures)

    def save(self, folder: Path) -> None:
        """See `Task`."""
        self._write(folder)

    @contextmanager
    def holding(self, weights: dict[str, torch.Tensor]) -> Iterator[None]:
        """See `Task`."""
        divided = self._pipe.transformer
        whole = cast(Any, CogVideoXTransformer3DModel.from_config(divided.config))
        if self._recipe.lora_rank:
            add_lora(whole, self._recipe.lora_rank)
        prefix = "transformer."
        whole.load_state_dict({name.removeprefix(prefix): value for name, value in weights.items()})
        self._pipe.register_modules(transformer=whole.to(self._pipe.vae.device))
        try:
            yield
        finally:
            self._pipe.register_modules(transformer=divided)


def _crop(
    changed: np.ndarray, size: tuple[int, int], patch: int, rng: np.random.Generator
) -> tuple[slice, slice]:
    """Rows and columns of ``size`` latents to train on, in whole patches, round one that changes."""
    _, height, width = changed.shape
    spots = np.argwhere(changed.any(axis=0))
    middle = spots[rng.integers(len(spots))] if len(spots) else (height // 2, width // 2)
    found = []
    for at, whole, px in zip(middle, (height, width), size, strict=True):
        side = min(whole, px)
        start = int(at) - int(rng.integers(0, side))
        start = min(max(start, 0), whole - side) // patch * patch
        found.append(slice(start, start + side))
    return found[0], found[1]


def _in_pixels(changed: torch.Tensor, film: torch.Tensor, side: int) -> torch.Tensor:
    """bool (T, H, W) from latents' bool (T', h, w)."""
    num, height, width = film.shape[1:]
    times = torch.cat([changed[:1], changed[1:].repeat_interleave(4, dim=0)])[:num]
    return times.repeat_interleave(side, dim=1).repeat_interleave(side, dim=2)[:, :height, :width]


def _psnr(film: torch.Tensor, truth: torch.Tensor, changed: torch.Tensor) -> float:
    """Decibels where it changes, films (3, T, H, W) in [0, 1]."""
    errors = ((film - truth) ** 2)[:, changed]
    return -10 * float(errors.mean().clamp_min(1e-10).log10()) if errors.numel() else float("nan")


def _sheet(films: list[torch.Tensor], changed: torch.Tensor) -> np.ndarray:
    """Rows: with the object, painted, truth, what may change; columns: moments."""
    films = [*films, changed[None].float().expand(3, -1, -1, -1)]
    times = [t for t in _SHOWN if t < films[0].shape[1]]
    rows = [torch.cat([film[:, t] for t in times], dim=-1) for film in films]
    return (torch.cat(rows, dim=-2).clamp(0, 1) * 255).byte().permute(1, 2, 0).cpu().numpy()
