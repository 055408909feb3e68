"""The VAE that begins as a linear transform."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra train is not installed")

from torch.nn import functional  # noqa: E402

from aftermath.render.void import conditioning  # noqa: E402
from aftermath.render.void.decode import decode  # noqa: E402
from aftermath.render.void.encode import encode  # noqa: E402
from aftermath.train.linear import begin_copying, begin_linear, resized  # noqa: E402
from aftermath.train.nano import new_scheduler, new_transformer, new_vae  # noqa: E402
from aftermath.train.painter import PainterLoss  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


def film(seed: int, frames: int = 9) -> torch.Tensor:
    """Soft coloured cloth drawn sideways, one pixel a frame: (1, 3, T, 48, 64) in [-1, 1]."""
    noise = torch.from_numpy(np.random.default_rng(seed).standard_normal((1, 3, 80, 110), np.float32))
    soft = functional.avg_pool2d(functional.avg_pool2d(noise, 11, 1), 11, 1)
    soft = 0.5 * soft / soft.std()
    return torch.stack([soft[..., :48, t : t + 64] for t in range(frames)], dim=2).clamp(-1, 1)


def decibels(found: torch.Tensor, truth: torch.Tensor) -> float:
    return -10 * math.log10(float(functional.mse_loss(found, truth)) / 4)


@pytest.fixture(scope="module")
def vae():
    made = new_vae(0)
    begin_linear(made, [film(seed) for seed in range(4)])
    return made.eval()


def test_colours_and_shapes_are_there_before_anything_is_learnt(vae):
    unseen = film(9, 13)
    latents = encode(vae, unseen)
    found = decode(vae, latents)
    assert decibels(found, unseen) > 22
    # the colour of each place, not its brightness alone
    chroma, true_chroma = found - found.mean(dim=1, keepdim=True), unseen - unseen.mean(dim=1, keepdim=True)
    assert float((chroma * true_chroma).sum() / (chroma.norm() * true_chroma.norm())) > 0.97
    assert 0.7 < float(latents.std()) < 1.4
    with torch.no_grad():
        plain = new_vae(0).eval()
        assert decibels(decode(plain, encode(plain, unseen)), unseen) < 18


def test_the_encoder_is_linear_and_blocks_that_add_nothing_are_left_out_without_a_trace(vae):
    one, other = film(5), film(6)
    with torch.no_grad():
        mean = (encode(vae, one) + encode(vae, other)) / 2
        assert torch.allclose(encode(vae, (one + other) / 2), mean, atol=0.03)
        whole = vae.encoder.down_blocks[0].resnets[0]
        fast = encode(vae, one)
        # a weight that is not zero brings the block back; one that small changes nothing else
        whole.conv2.conv.weight[0, 0, 0, 0, 0] = 1e-12
        assert torch.allclose(encode(vae, one), fast, atol=1e-6)
        whole.conv2.conv.weight[0, 0, 1, 1, 1] = 1.0
        assert not torch.allclose(encode(vae, one), fast, atol=1e-2)
        whole.conv2.conv.weight.zero_()
        assert torch.equal(encode(vae, one), fast)


def test_a_transformer_begins_by_painting_the_clip_again(vae):
    latents = [encode(vae, film(seed, 13))[0] for seed in range(3)]
    transformer = new_transformer(num_layers=1)
    shown = encode(vae, film(7, 13))
    loss = PainterLoss(transformer, new_scheduler())
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(shown.shape, generator=generator)
    asked = {
        "truth": shown,
        "video": shown,
        "mask": torch.randn(shown.shape, generator=generator),
        "noise": noise,
        "timesteps": torch.tensor([999]),
        "embeds": torch.zeros(1, 1, 16),
        "weights": torch.ones(1, shown.shape[1], 1, 1, 1),
    }
    with torch.no_grad():
        nothing = float(loss(**asked))
        begin_copying(transformer, latents)
        assert float(loss(**asked)) < 0.3 * nothing
        # what it is shown decides, not the noise
        other = {**asked, "noise": torch.randn(shown.shape, generator=generator)}
        assert float(loss(**other)) == pytest.approx(float(loss(**asked)), rel=0.05)


def test_a_transformer_of_small_pictures_paints_twice_as_large_ones_alike(vae):
    films = [film(seed) for seed in range(24)]
    half = (1, 2, 2)
    small = new_transformer(seed=3, num_layers=1, patch_size=2)
    with torch.no_grad():
        small.proj_out.weight.normal_(0, 0.02, generator=torch.Generator().manual_seed(0))
    large = resized(small, vae, films, 4)
    assert large.config["patch_size"] == 4

    def painted(transformer, shown, mask):
        given = [encode(vae, one)[:, :2] for one in (mask, shown)]
        joint = conditioning.transformer_input(torch.zeros_like(given[0]), *given)
        side = transformer.config["patch_size"]
        places = [size // side for size in joint.shape[-2:]]
        with torch.no_grad():
            velocity = transformer(
                hidden_states=joint,
                encoder_hidden_states=torch.zeros(1, 1, 16),
                timestep=torch.tensor([999]),
                image_rotary_emb=conditioning.rotary_positions(transformer.config, 2, *places),
                return_dict=False,
            )[0]
        return decode(vae, -velocity)

    shown, mask = film(50, 5), film(51, 5)
    alone = painted(small, functional.avg_pool3d(shown, half), functional.avg_pool3d(mask, half))
    found = functional.avg_pool3d(painted(large, shown, mask), half)
    other = painted(small, functional.avg_pool3d(shown, half), functional.avg_pool3d(shown, half))

    def likeness(one):
        return float(torch.corrcoef(torch.stack([one.flatten(), alone.flatten()]))[0, 1])

    smaller = resized(large, vae, films, 2)  # and back
    assert (
        likeness(painted(smaller, functional.avg_pool3d(shown, half), functional.avg_pool3d(mask, half)))
        > 0.8
    )
    assert likeness(found) > max(0.8, likeness(other) + 0.3), (likeness(found), likeness(other))
