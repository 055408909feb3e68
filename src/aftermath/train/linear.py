"""A VAE that begins as a linear transform, and sees colours and shapes before it has learnt anything.

From random weights this architecture needs thousands of steps until its first colours. But its shortcuts are linear: a
Haar transform of space, the mean and the trend of four frames, and the principal components of both fit into the
encoder's convolutions exactly. Its last normalisation would take the scale off, so every signal s goes in as s, -s and
a large constant of either sign, by which the group is then divided whatever s is; and SiLU(s) - SiLU(-s) = s. The
decoder begins as bilinear enlargement of the colours of each latent; what is finer it has to learn, for a nearest
neighbour followed by a convolution cannot tell the pixels of a latent apart. The encoder may stay as it is, so that
latents can be made, and a transformer trained on them, while the decoder learns.

A transformer begins the same way: as one that paints the clip again as it was (`begin_copying`). And because the
encoder is linear, the latents of a small picture are nearly a linear function of those of the same picture twice as
large, so that a transformer goes on from small pictures to large ones, or back, with the same tokens (`resized`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import AutoencoderKLCogVideoX
from diffusers.models.transformers.cogvideox_transformer_3d import CogVideoXTransformer3DModel
from torch.nn import functional

from aftermath.render.void.encode import encode

__all__ = ["begin_copying", "begin_linear", "resized"]

_COLOURS = torch.tensor([[1.0, 1, 1], [1, 0, -1], [-1, 2, -1]])
_HAAR = torch.tensor([[[1.0, 1], [1, 1]], [[1, -1], [1, -1]], [[1, 1], [-1, -1]], [[1, -1], [-1, 1]]]) / 2
_BILINEAR = torch.tensor([0.25, 0.5, 0.25])[:, None] * torch.tensor([0.25, 0.5, 0.25])
_TREND = 2.0  # how much more a trend counts than its energy says: little moves, and that is what matters
_CONSTANT = 20.0  # in the encoder, which stays as it is
_GENTLE = 4.0  # in the decoder, which learns: what reads it must not be torn by a small step
_FEATURES = 15  # after the first halving: four Haar terms of three colours, and the trend of each
_COPIED = (
    100  # of a token's numbers: its first principal components, each twice, leave room for what is learnt
)
_STEADY = 4  # constants of either sign in a token
_WHITENED = 0.5  # 0: terms as strong as they are, 1: all alike


@torch.no_grad()
def begin_linear(vae: AutoencoderKLCogVideoX, videos: Iterable[torch.Tensor]) -> None:
    """Give ``vae`` (three stages of at least 16, 32 and 64 channels in groups of 4; 16 latents) such weights.

    ``videos``: float (1, 3, 4k+1, H, W) in [-1, 1], whose principal components are taken.
    """
    for name, module in vae.named_modules():
        if name.endswith("conv2") and hasattr(module, "conv"):
            _blank(module.conv)  # what a block adds, it learns to add
    encoder: Any = vae.encoder
    _blank(encoder.conv_in.conv)
    colours = _COLOURS / _COLOURS.norm(dim=1, keepdim=True)
    encoder.conv_in.conv.weight[0:3, :, 2, 1, 1] = colours
    encoder.conv_in.conv.weight[3:6, :, 2, 1, 1] = colours
    encoder.conv_in.conv.weight[3:6, :, 1, 1, 1] = -colours
    halved = encoder.down_blocks[0].downsamplers[0].conv
    _blank(halved)
    for colour in range(3):
        for term in range(4):
            halved.weight[4 * colour + term, colour, :2, :2] = _HAAR[term]
        halved.weight[12 + colour, 3 + colour, :2, :2] = _HAAR[0]
    _embed(encoder.down_blocks[1].resnets[0].conv_shortcut, {i: i for i in range(_FEATURES)})
    spread, means, colours_of = _principal(vae, list(videos))
    _encoder_end(encoder, means)
    _decoder(vae.decoder, colours_of)
    vae.register_to_config(scaling_factor=round(1 / spread, 4))


def _principal(
    vae: AutoencoderKLCogVideoX, videos: list[torch.Tensor]
) -> tuple[float, torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
    """Set the second halving to the principal components: the latents' spread, their means (16,), and the matrix
    (3, 16) and offset (3,) that give a latent's mean colour."""
    quartered = vae.encoder.down_blocks[1].downsamplers[0].conv  # type: ignore[index]
    seen: list[torch.Tensor] = []
    hook = quartered.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    pictures = []
    for video in videos:
        vae.encoder(video)
        groups = [video[:, :, :1], *video[:, :, 1:].split(4, dim=2)]
        means = torch.stack([group.mean(dim=2)[0] for group in groups])  # (T', 3, H, W)
        pictures.append(functional.avg_pool2d(means, 4).permute(0, 2, 3, 1).reshape(-1, 3))
    hook.remove()
    haar = torch.zeros(4 * _FEATURES, quartered.in_channels, 3, 3)
    weight = torch.ones(4 * _FEATURES)
    for feature in range(_FEATURES):
        for term in range(4):
            haar[4 * feature + term, feature, :2, :2] = _HAAR[term]
            weight[4 * feature + term] = _TREND if feature >= 12 else 1.0
    found = [
        functional.conv2d(one, haar, stride=2).permute(0, 2, 3, 1).reshape(-1, len(haar)) for one in seen
    ]
    features = torch.cat(found) * weight
    values, vectors = torch.linalg.eigh(torch.cov(features.T))
    values, vectors = values.flip(0)[:16], vectors.flip(1)[:, :16]
    rows = vectors.T / values[:, None] ** (_WHITENED / 2)
    latents = features @ rows.T
    _blank(quartered)
    quartered.weight[:16] = torch.einsum("kf,fchw->kchw", rows * weight, haar)
    means = latents.mean(dim=0)
    centred = latents - means
    solved = torch.linalg.lstsq(
        torch.cat([centred, torch.ones(len(centred), 1)], dim=1), torch.cat(pictures)
    ).solution
    return float(centred.std()), means, (solved[:16].T, solved[16])


def _encoder_end(encoder: Any, means: torch.Tensor) -> None:
    """16 signals through the normalisation, four to a group of 16 channels, out again exactly, less their means."""
    wide = encoder.down_blocks[2].resnets[0].conv_shortcut
    _blank(wide)
    _blank(encoder.conv_out.conv)
    for signal in range(16):
        group, place = divmod(signal, 4)
        plus = 16 * group + place
        wide.weight[plus, signal], wide.weight[plus + 4, signal] = 1, -1
        wide.bias[plus + 8], wide.bias[plus + 12] = _CONSTANT, -_CONSTANT
        encoder.conv_out.conv.weight[signal, plus, 2, 1, 1] = 1
        encoder.conv_out.conv.weight[signal, plus + 4, 2, 1, 1] = -1
    encoder.norm_out.weight.fill_(_CONSTANT / 2**0.5)  # half of a group's channels are the constant
    encoder.norm_out.bias.zero_()
    encoder.conv_out.conv.bias[:16] = -means
    encoder.conv_out.conv.bias[16:] = -20  # the logarithm of a variance: none


def _decoder(decoder: Any, colours_of: tuple[torch.Tensor, torch.Tensor]) -> None:
    """Colours of a latent, enlarged; beside them the latents themselves and what random weights make of them."""
    matrix, offset = colours_of
    first = decoder.conv_in.conv
    first.weight[:19], first.bias[:19] = 0, 0
    for latent in range(16):
        first.weight[latent, latent, 2, 1, 1] = 1
    first.weight[16:19, :, 2, 1, 1], first.bias[16:19] = matrix, offset
    _enlarge(decoder.up_blocks[0].upsamplers[0].conv, colours=range(16, 19), carried=range(16))
    narrowed = decoder.up_blocks[1].resnets[0].conv_shortcut
    _embed(narrowed, {**{16 + i: i for i in range(3)}, **{i: 3 + i for i in range(16)}}, keep=True)
    _enlarge(decoder.up_blocks[1].upsamplers[0].conv, colours=range(3), carried=range(3, 19))
    last, out, norm = decoder.up_blocks[2].resnets[0].conv_shortcut, decoder.conv_out.conv, decoder.norm_out
    last.weight[:12], last.bias[:12] = 0, 0
    out.weight[:, :12], out.bias[:] = 0, 0
    for colour in range(3):
        plus = 4 * colour
        last.weight[plus, colour], last.weight[plus + 1, colour] = 1, -1
        last.bias[plus + 2], last.bias[plus + 3] = _GENTLE, -_GENTLE
        out.weight[colour, plus, 2, 1, 1], out.weight[colour, plus + 1, 2, 1, 1] = 1, -1
    out.weight[:, 12:] *= 0.1
    norm.norm_layer.weight[:12] = _GENTLE / 2**0.5
    norm.norm_layer.bias.zero_()
    norm.conv_y.conv.weight.zero_()
    norm.conv_y.conv.bias.fill_(1)
    _blank(norm.conv_b.conv)


def _enlarge(conv: Any, *, colours: range, carried: range) -> None:
    """After a nearest neighbour: the colours made bilinear, what is carried left as it is."""
    for channels, kernel in ((colours, _BILINEAR), (carried, None)):
        for channel in channels:
            conv.weight[channel], conv.bias[channel] = 0, 0
            if kernel is None:
                conv.weight[channel, channel, 1, 1] = 1
            else:
                conv.weight[channel, channel] = kernel


def _embed(conv: Any, places: dict[int, int], *, keep: bool = False) -> None:
    """Let channel a go on as channel b; what goes nowhere is zero, or with ``keep`` as random as it was."""
    if not keep:
        _blank(conv)
    for one, other in places.items():
        conv.weight[other], conv.bias[other] = 0, 0
        conv.weight[other, one] = 1


def _blank(conv: Any) -> None:
    conv.weight.zero_()
    conv.bias.zero_()


@torch.no_grad()
def begin_copying(transformer: CogVideoXTransformer3DModel, videos: Iterable[torch.Tensor]) -> None:
    """Let ``transformer`` (at least 208 wide, patches over time) say that the noisy clip is the one it is shown.

    Of the velocity alpha noise - sigma truth it gives the second term at sigma = 1: minus the principal components of a
    token of the clip; its blocks add nothing yet. ``videos``: latents (T', C, h, w), whose components are taken.
    """
    config = transformer.config
    times, side, channels = config["patch_size_t"], config["patch_size"], config["out_channels"]
    size = channels * times * side**2
    tokens = torch.cat([_tokens(video.float(), times, side) for video in videos])
    mean = tokens.mean(dim=0)
    values, vectors = torch.linalg.eigh(torch.cov(tokens.T))
    rows = vectors.flip(1)[:, :_COPIED].T
    gain = (0.8 * _COPIED / float(values.flip(0)[:_COPIED].sum())) ** 0.5
    constant = (3 * 2 * 0.8 * _COPIED / (2 * _STEADY)) ** 0.5  # three times the signals' own energy
    width = transformer.proj_out.in_features
    spread = ((2 * 0.8 * _COPIED + 2 * _STEADY * constant**2) / width) ** 0.5
    embed, used = transformer.patch_embed.proj, 2 * _COPIED + 2 * _STEADY
    embed.weight[:used], embed.bias[:used] = 0, 0  # type: ignore[index]
    start = 2 * size  # after the noisy latents and the mask
    for sign, first in ((1, 0), (-1, _COPIED)):
        embed.weight[first : first + _COPIED, start:] = sign * gain * rows  # type: ignore[index]
        embed.bias[first : first + _COPIED] = -sign * gain * (rows @ mean)  # type: ignore[index]
    embed.bias[2 * _COPIED : 2 * _COPIED + _STEADY] = constant  # type: ignore[index]
    embed.bias[2 * _COPIED + _STEADY : used] = -constant  # type: ignore[index]
    blocks: Any = transformer.transformer_blocks
    for block in blocks:
        for norm in (block.norm1, block.norm2):
            _blank(norm.linear)
    _blank(transformer.norm_out.linear)
    _blank(transformer.proj_out)
    back = -rows.T * spread / gain / 2
    transformer.proj_out.weight[:, :_COPIED] = back
    transformer.proj_out.weight[:, _COPIED : 2 * _COPIED] = -back
    transformer.proj_out.bias[:] = -mean


def _tokens(latents: torch.Tensor, times: int, side: int) -> torch.Tensor:
    """(T', C, h, w) as the transformer's patches take it: (tokens, C x times x side x side); the rest is cut off."""
    num, channels, height, width = latents.shape
    whole = latents[: num // times * times, :, : height // side * side, : width // side * side]
    cut = whole.reshape(num // times, times, channels, height // side, side, width // side, side)
    return cut.permute(0, 3, 5, 2, 1, 4, 6).reshape(-1, channels * times * side * side)


@torch.no_grad()
def resized(
    transformer: CogVideoXTransformer3DModel,
    vae: AutoencoderKLCogVideoX,
    films: Iterable[torch.Tensor],
    patch: int,
) -> CogVideoXTransformer3DModel:
    """A transformer with tokens of ``patch`` latents a side, twice or half as many as ``transformer`` has, that paints
    pictures twice or half as large as it would paint them at its own size.

    Only what leads into the blocks and out of them is new, composed of what there was and the least-squares maps
    between latents of ``films``, float (1, 3, 4k+1, H, W) in [-1, 1], H and W whole tokens of the larger, and of the
    same at half their size. What is finer than it ever saw it has yet to learn.
    """
    config = transformer.config
    times, side, channels = config["patch_size_t"], config["patch_size"], config["out_channels"]
    small, large = [], []
    for film in films:
        half = functional.avg_pool3d(film, (1, 2, 2))
        for found, picture, px in ((small, half, min(side, patch)), (large, film, max(side, patch))):
            found.append(_tokens(encode(vae, picture)[0].float(), 1, px))
    before, after = (small, large) if patch > side else (large, small)
    back = _affine(torch.cat(after), torch.cat(before))
    matrix, offset = _affine(torch.cat(before), torch.cat(after))
    made: Any = type(transformer).from_config({**config, "patch_size": patch})
    ends = ("patch_embed.proj", "proj_out")
    made.load_state_dict(
        {
            name: made.state_dict()[name] if name.startswith(ends) else value
            for name, value in transformer.state_dict().items()
        }
    )
    maps = (
        (_noise(channels, side, patch), torch.zeros(channels * side**2)),
        back,
        back,
    )  # then mask and video
    old: Any = transformer.patch_embed.proj
    new = made.patch_embed.proj
    parts = old.weight.reshape(-1, len(maps), channels, times, side**2).transpose(2, 3).flatten(3)
    wider = torch.stack([parts[:, i] @ one for i, (one, _) in enumerate(maps)], dim=1)
    wider = wider.unflatten(-1, (channels, -1)).transpose(2, 3)
    new.weight.copy_(wider.flatten(1))
    new.bias.copy_(
        old.bias + sum((parts[:, i] @ constant).sum(dim=1) for i, (_, constant) in enumerate(maps))
    )

    def out(values: torch.Tensor, constant: torch.Tensor | None) -> torch.Tensor:
        """From (C x times x side x side, N) to what the other token holds."""
        found = matrix @ values.reshape(channels, times, side**2, -1).transpose(0, 1).flatten(1, 2)
        if constant is not None:
            found = found - constant[:, None]  # the velocity is minus the truth
        return found.unflatten(1, (channels, -1)).transpose(0, 1).flatten(0, 2)

    made.proj_out.weight.copy_(out(transformer.proj_out.weight, None))
    made.proj_out.bias.copy_(out(transformer.proj_out.bias[:, None], offset)[:, 0])
    return made


def _noise(channels: int, side: int, patch: int) -> torch.Tensor:
    """The noise of a token of ``side`` latents a side from that of one of ``patch``, of the same strength."""
    if patch > side:
        spread = torch.eye(side).repeat_interleave(patch // side, dim=1) / (patch // side) ** 0.5
    else:
        spread = torch.eye(patch).repeat_interleave(side // patch, dim=0)
    return torch.kron(torch.eye(channels), torch.kron(spread, spread))


def _affine(given: torch.Tensor, wanted: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Matrix (M, N) and offset (M,) that come nearest: ``wanted`` (samples, M) from ``given`` (samples, N)."""
    means = given.mean(dim=0), wanted.mean(dim=0)
    matrix = torch.linalg.lstsq(given - means[0], wanted - means[1], driver="gelsd").solution.T
    return matrix, means[1] - matrix @ means[0]
