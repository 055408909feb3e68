"""What the model is fed, encoded once and kept: a pair's videos, its quadmask and its prompt as latents on the disk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice, permutations
from pathlib import Path

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import AutoencoderKLCogVideoX
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch.nn import functional

from aftermath.core import Level, Quadmask
from aftermath.evaluate.pairs import Pair, PairFiles, load_pair
from aftermath.media.files import explained, full_disk_told
from aftermath.media.runs import key_of
from aftermath.render.void.conditioning import latent_frames, latent_px, mask_pixels, video_pixels
from aftermath.render.void.encode import chunk_lengths, encoded_chunks
from aftermath.render.void.frames import focus_box, model_quadmask, model_video, padded, padded_indices
from aftermath.render.void.noise import motion_of, warp_noise
from aftermath.scene.raft import best_flow
from aftermath.train.order import step_seed
from aftermath.train.recipe import Recipe, Regions

__all__ = ["Latents", "fingerprint", "varied"]

Progress = Callable[[str, int, int], None]

_OF_PAIR = "pair"  # in a file's metadata: the digest of what it was made of


class Latents:
    """The latents of ``pairs`` under ``folder``, one file for each pair and size; made by `make`, read by `read`.

    In a file, T' latents of h x w: ``video`` and ``truth`` float16 (T', C, h, w), the clip with the object (and the
    reference noise on it) and without; ``mask`` likewise; ``changed`` bool (T', h, w), what the quadmask does not keep;
    for pass 2 ``noise`` float16 (T', C, h, w), warped along the motion of the truth.
    """

    def __init__(
        self, folder: Path, vae: AutoencoderKLCogVideoX, recipe: Recipe, pairs: Sequence[PairFiles]
    ) -> None:
        self._vae, self._recipe = vae, recipe
        self._pairs = {pair.source: pair.digest for pair in pairs}
        self._samples = [
            (pair, size, variant)
            for pair in pairs
            for size in recipe.sizes
            for variant in range(recipe.variants)
        ]
        self._folder = folder / key_of(
            encoder=fingerprint(vae.encoder),  # a better decoder leaves latents as they are
            scale=vae.config["scaling_factor"],
            num_frames=recipe.num_frames,
            levels=str(recipe.levels),
            regions=str(recipe.regions),
            warped=recipe.pass_number == 2,
        )

    def __len__(self) -> int:
        return len(self._samples)

    def name(self, index: int) -> str:
        """Of the pair of one sample."""
        return self._samples[index][0].name

    def caption(self, index: int) -> str:
        """What is seen without the object."""
        return str(
            self._samples[index][0].about.get("bg") or self._samples[index][0].about.get("prompt") or ""
        )

    def path(self, index: int) -> Path:
        """The file of one sample."""
        pair, (height, width), variant = self._samples[index]
        told = f"-{variant}" if variant else ""
        return self._folder / f"{pair.name}-{width}x{height}{told}.safetensors"

    def make(self, progress: Progress, rank: int = 0, world: int = 1) -> None:
        """Encode what is not there yet, of it the part of process ``rank`` of ``world``.

        Raises `InputError` where a pair cannot be used, by its name.
        """
        missing = [index for index in range(rank, len(self), world) if not self._whole(index)]
        if not missing:
            return
        with explained(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            for done, index in enumerate(missing):
                progress("encode", done, len(missing))
                pair, size, variant = self._samples[index]
                part = self.path(index).with_suffix(f".{os.getpid()}.part")
                try:
                    encoded = self._encoded(varied(load_pair(pair), variant), size)
                    with full_disk_told(self._folder):
                        save_file(encoded, part, {_OF_PAIR: self._pairs[pair.source]})
                    part.replace(self.path(index))
                finally:
                    part.unlink(missing_ok=True)
        progress("encode", len(missing), len(missing))

    def read(self, index: int) -> dict[str, torch.Tensor]:
        """One sample, see `Latents`."""
        return load_file(self.path(index))

    def shape(self, index: int) -> tuple[int, ...]:
        """(T', C, h, w) of one sample, without reading it."""
        with safe_open(self.path(index), "pt") as file:
            return tuple(file.get_slice("truth").get_shape())

    def _whole(self, index: int) -> bool:
        """Whether it is there, and was made of the pair as that is now."""
        try:
            with safe_open(self.path(index), "pt") as file:
                known = file.metadata() or {}
        except (OSError, SafetensorError):
            return False
        return known.get(_OF_PAIR) == self._pairs[self._samples[index][0].source]

    @torch.no_grad()
    def _encoded(self, pair: Pair, size: tuple[int, int]) -> dict[str, torch.Tensor]:
        recipe = self._recipe
        num = min(len(pair.source), recipe.num_frames)
        height, width = pair.source.shape[1:3]
        quadmask = np.stack(list(pair.quadmask))[:num]
        if recipe.regions is Regions.OBJECT:
            quadmask = _object_alone(quadmask)
        box = focus_box((frame != Level.KEEP for frame in quadmask), size, width, height)
        places = padded_indices(num, 0, recipe.num_frames)

        def frames(video: np.ndarray) -> torch.Tensor:
            small = padded(model_video(video[:num], size, box), num, places)
            return torch.stack(list(islice(small, len(places))), dim=1)[None]

        levels = torch.stack(list(padded(model_quadmask(quadmask, size, box), num, places)))[None]
        seen, truth = frames(pair.source), frames(pair.truth)
        drawn = torch.Generator().manual_seed(_seed(pair.name))
        pixels = torch.cat(
            [
                video_pixels(seen, torch.randn(seen.shape, generator=drawn)),
                video_pixels(truth, None),
                mask_pixels(levels, recipe.levels),
            ]
        )
        lengths = chunk_lengths(len(places))
        # the three at once: what a processor computes for one clip alone takes it longer than a third
        encoded = torch.cat(list(encoded_chunks(self._vae, pixels.split(lengths, dim=2))), dim=1)
        found: dict[str, torch.Tensor] = dict(
            zip(("video", "truth", "mask"), encoded.half().cpu().unbind(), strict=True)
        )
        found["changed"] = _changed(levels[0], (encoded.shape[-2], encoded.shape[-1]))
        if recipe.pass_number == 2:
            side = latent_px(self._vae.config)
            pictures = ((frame * 255).byte().permute(1, 2, 0).numpy() for frame in truth[0].unbind(1))
            noise = warp_noise(
                motion_of(pictures, best_flow()[0]),
                *size,
                generator=drawn,
                cells=min(4, side),
                latent_px=side,
            )
            found["noise"] = noise[0].half()
        return {name: value.contiguous() for name, value in found.items()}


_COLOUR_ORDERS = tuple(permutations(range(3)))


def varied(pair: Pair, variant: int) -> Pair:
    """Another pair of the same scene: 0 as it is; odd ones mirrored, each two with other colours exchanged.

    What ``things`` says of places is not carried over.
    """
    if not variant:
        return pair
    colours = list(_COLOUR_ORDERS[(variant + 1) // 2 % 6])
    step = -1 if variant % 2 else 1
    return replace(
        pair,
        source=np.ascontiguousarray(pair.source[:, :, ::step, colours]),
        truth=np.ascontiguousarray(pair.truth[:, :, ::step, colours]),
        quadmask=Quadmask(np.ascontiguousarray(np.stack(list(pair.quadmask))[:, :, ::step])),
        things=(),
    )


def _changed(levels: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Where a latent stands for a pixel that may change: bool (T', h, w), from uint8 (T, H, W)."""
    changed = (levels != int(Level.KEEP)).float()
    small = functional.adaptive_max_pool2d(changed, size) > 0
    first, rest = small[:1], small[1:]
    assert len(rest) % 4 == 0 and latent_frames(len(levels)) == 1 + len(rest) // 4
    return torch.cat([first, rest.unflatten(0, (-1, 4)).any(dim=1)])


def _object_alone(quadmask: np.ndarray) -> np.ndarray:
    """What is affected told as kept."""
    both = Quadmask(quadmask)
    return np.stack(list(Quadmask.from_masks(both.primary, np.zeros_like(both.primary))))


def _seed(name: str) -> int:
    return step_seed(int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]), 0, 0)


def fingerprint(module: torch.nn.Module) -> str:
    """Tells weights apart by what they hold."""
    found = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        found.update(name.encode())
        found.update(value.detach().float().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]
