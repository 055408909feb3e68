"""The VAE's part: crops of both worlds, encoded and decoded as when painting."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import AutoencoderKLCogVideoX
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch.nn import functional

from aftermath.errors import InputError
from aftermath.evaluate.pairs import PairFiles, read_video
from aftermath.render.void.conditioning import MaskLevels, latent_px, mask_pixels, video_pixels
from aftermath.render.void.decode import decode, decoded_chunks
from aftermath.render.void.encode import encode
from aftermath.train.loop import Sheet
from aftermath.train.lora import add_vae_lora, merged
from aftermath.train.order import Order, step_seed
from aftermath.train.recipe import Recipe

__all__ = ["VaeLoss", "VaeTask"]

_KL = 1e-6  # keeps the latents near a normal's range; more costs sharpness
_DIFFERENCES = (2.0, 0.5, 0.5, 0.5)  # between channels, frames, rows, columns
_LOOKED_AT = 13  # frames of a held pair: what the VAE reads at first
_MASKS = 0.1  # of the crops are masks: the model sees them through the VAE too


class VaeLoss(torch.nn.Module):
    """What is lost between pixels and their decoded latents: L1 of the pixels, of their differences to the neighbours,
    which keeps edges sharp (Mathieu et al. 2016), and of those between the channels, without which a young network
    sees no colours for thousands of steps; and a little Kullback-Leibler divergence."""

    def __init__(self, vae: AutoencoderKLCogVideoX, *, decoder_only: bool = False) -> None:
        super().__init__()
        self.vae, self._decoder_only = vae, decoder_only
        vae.encoder.requires_grad_(not decoder_only)

    def forward(self, pixels: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """``pixels`` (B, 3, T, H, W) in [-1, 1], T = 4k+1 of one chunk; ``noise`` standard normal, of the latents'
        shape (B, C, T', h, w)."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self._decoder_only):
            moments, _ = self.vae.encoder(pixels)
        posterior = DiagonalGaussianDistribution(moments)
        latents = (posterior.mean + posterior.std * noise) * self.vae.config["scaling_factor"]
        frames = torch.cat(list(decoded_chunks(self.vae, latents.transpose(1, 2))), dim=2)
        loss = functional.l1_loss(frames, pixels) + _KL * posterior.kl().mean()
        for axis, weight in enumerate(_DIFFERENCES, start=1):
            loss = loss + weight * functional.l1_loss(frames.diff(dim=axis), pixels.diff(dim=axis))
        return loss


class VaeTask:
    """Crops of ``recipe.crop`` pixels and ``recipe.num_frames`` frames of the videos of ``pairs``.

    ``held``: pairs that are only looked at. Unless the encoder stays as it is, the latents' scale is measured on them
    whenever the model is saved, so that they have a standard deviation of about 1, which the noise schedule counts on.
    """

    def __init__(
        self,
        vae: AutoencoderKLCogVideoX,
        pairs: Sequence[PairFiles],
        held: Sequence[PairFiles],
        recipe: Recipe,
    ) -> None:
        self.network = VaeLoss(vae, decoder_only=recipe.decoder_only)
        if recipe.lora_rank:
            add_vae_lora(vae, recipe.lora_rank, decoder_only=recipe.decoder_only)
        self._vae, self._recipe, self._held = vae, recipe, held
        self._videos = [path for pair in pairs for path in (pair.source, pair.truth)]
        shapes = [None] * len(self._videos)  # crops are of one size
        self._order = cache(lambda world: Order(shapes, recipe.batch * world, recipe.seed))

    def batch(self, step: int, rank: int, world: int) -> dict[str, torch.Tensor]:
        """See `Task`."""
        recipe = self._recipe
        chosen = self._order(world).batch(step)[rank * recipe.batch : (rank + 1) * recipe.batch]
        rng = np.random.default_rng(step_seed(recipe.seed, step, rank))
        crops = np.stack([self._crop(read_video(self._videos[index]), rng) for index in chosen])
        pixels = video_pixels(torch.from_numpy(crops).movedim(-1, 1).float() / 255, None)
        side = latent_px(self._vae.config)
        height, width = pixels.shape[-2] // side, pixels.shape[-1] // side
        shape = (len(pixels), self._vae.config["latent_channels"], (recipe.num_frames - 1) // 4 + 1)
        noise = rng.standard_normal((*shape, height, width), np.float32)
        return {"pixels": pixels, "noise": torch.from_numpy(noise)}

    def _crop(self, video: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """uint8 (T, h, w, 3): a piece of the video, perhaps turned round, or what could be its mask."""
        recipe = self._recipe
        high, wide = recipe.crop or recipe.sizes[0]
        num, height, width = video.shape[:3]
        if num < recipe.num_frames or height < high or width < wide:
            raise InputError(
                f"a pair of {num} frames of {width}x{height}",
                f"crops of {recipe.num_frames} frames of {wide}x{high} do not fit into it",
                "take a smaller crop, or larger pairs",
            )
        t, y, x = (
            int(rng.integers(0, whole - part + 1))
            for whole, part in ((num, recipe.num_frames), (height, high), (width, wide))
        )
        crop = video[t : t + recipe.num_frames, y : y + high, x : x + wide]
        if rng.random() < _MASKS:
            return _mask_of(crop, rng)
        crop = crop[:, :, ::-1] if rng.random() < 0.5 else crop
        return np.ascontiguousarray(crop)

    def validate(self, step: int) -> Sheet:
        """See `Task`: how well whole frames come back."""
        numbers, pictures = {}, {}
        for pair in self._held:
            pixels = self._whole(pair)
            frames = torch.cat([decode(self._vae, latents[None]) for latents in encode(self._vae, pixels)])
            error = float(functional.mse_loss(frames.clamp(-1, 1), pixels)) / 4
            numbers[f"psnr/{pair.name}"] = -10 * float(np.log10(max(error, 1e-10)))
            times = [0, pixels.shape[2] // 2, pixels.shape[2] - 1]
            both = torch.cat([pixels[0, :, times], frames[0, :, times]], dim=-1).clamp(-1, 1)
            picture = ((both + 1) * 127.5).byte().permute(1, 2, 3, 0).cpu().numpy()
            pictures[pair.name] = np.concatenate(list(picture))
        if numbers:
            numbers["psnr"] = sum(numbers.values()) / len(numbers)
        return Sheet(numbers, pictures)

    def _whole(self, pair: PairFiles) -> torch.Tensor:
        """The first 13 frames, or 4k+1 fewer, as the model takes them: (1, 3, T, H, W)."""
        height, width = self._recipe.sizes[0]
        video = read_video(pair.truth)
        num = (min(len(video), _LOOKED_AT) - 1) // 4 * 4 + 1
        frames = [cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA) for frame in video[:num]]
        pixels = torch.from_numpy(np.stack(frames)).movedim(-1, 0)[None].float() / 255
        return video_pixels(pixels, None).to(self._vae.device)

    def save(self, folder: Path) -> None:
        """See `Task`."""
        vae = merged(self._vae)  # another one: the scale of the one that is trained must not move
        if self._held and not self._recipe.decoder_only:
            with torch.no_grad():
                spread = torch.cat([encode(self._vae, self._whole(pair)) for pair in self._held]).std()
            spread = spread / self._vae.config["scaling_factor"]
            vae.register_to_config(scaling_factor=round(1 / float(spread), 4))
        vae.save_pretrained(folder / "vae")

    @contextmanager
    def holding(self, weights: dict[str, torch.Tensor]) -> Iterator[None]:
        """See `Task`."""
        divided = self._vae
        whole = cast(Any, AutoencoderKLCogVideoX.from_config(divided.config))
        if self._recipe.lora_rank:
            add_vae_lora(whole, self._recipe.lora_rank, decoder_only=self._recipe.decoder_only)
        prefix = "vae."
        whole.load_state_dict({name.removeprefix(prefix): value for name, value in weights.items()})
        self._vae = whole.to(divided.device)
        try:
            yield
        finally:
            self._vae = divided


def _mask_of(crop: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A moving blob of the four levels, as the VAE meets masks: uint8 like ``crop``, [0, 1] taken to where pixels are.

    The VAE is given masks in [0, 1] where pictures lie in [-1, 1], so keep is white and the object mid-grey.
    """
    num, height, width = crop.shape[:3]
    levels = np.full((num, height, width), 255, np.uint8)
    for _ in range(int(rng.integers(1, 4))):
        level = int(rng.choice([0, 63, 127]))
        center, way = rng.uniform(0, (width, height)), rng.normal(0, 2, 2)
        axes = rng.integers(4, max(5, width // 3), 2)
        turn = float(rng.uniform(0, 180))
        for t in range(num):
            x, y = center + way * t
            cv2.ellipse(
                levels[t],
                (int(x), int(y)),
                (int(axes[0]), int(axes[1])),
                turn,
                0,
                360,
                (level,),
                -1,
            )
    seen = mask_pixels(torch.from_numpy(levels)[None], MaskLevels.FOUR)[0]
    return ((seen + 1) * 127.5).byte().movedim(0, -1).numpy()
