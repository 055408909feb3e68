"""Noise that moves with the picture: what pass 2 starts from.

Go-with-the-Flow (Burgert et al. 2025, arXiv 2501.08331): the Gaussian noise of a frame is carried along the optical
flow to the next frame such that every frame by itself stays white and standard normal. Noise is thought of as mass:
the noise over an area a has variance a. A cell that grows into d cells is split into d parts that are independent and
sum to it; cells that meet are summed; what nothing reaches is drawn anew. Every cell is kept as its value at unit
variance and the area it stands for, so that a sum weighs its parts by the square root of their areas.

Beyond the paper: noise goes from latent to latent, along the flows of the frames between joined into one, since every
step rounds to whole cells and so loses some; and what the two flows disagree about is hidden or uncovered, and then
neither summed nor split.

Flow fields are (H, W, 2), (dx, dy) in pixels; inside this file in cells, several of which make one latent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, pairwise

import numpy as np
import torch
from torch.nn import functional

from aftermath.errors import InputError
from aftermath.scene.optical_flow import Flow, dis_flow, warp

__all__ = ["CHANNELS", "Motion", "degrade", "motion_of", "resize_noise", "warp_noise"]

CHANNELS = 16
"""Of a latent."""

_LATENT_FRAMES = 4
_TOLERANCE = (1.5, 0.05)  # cells, and share of the way, by which the flows there and back may miss each other
_WEIGHTS = (1e-3, 1e3)  # a cell zoomed into for long must neither vanish nor outweigh all it meets

Motion = Iterable[tuple[np.ndarray, np.ndarray]]
"""For each frame but the last the flow to the next frame, and the next frame's flow back."""


def motion_of(frames: Iterable[np.ndarray], flow: Flow = dis_flow) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The flow from each frame to the next and back, as `warp_noise` reads it.

    ``frames``: uint8 (H, W, 3) RGB. Yields pairs of float32 (H, W, 2), one fewer than there are frames; two frames
    are held at a time. ``flow``: see `aftermath.scene.optical_flow`.
    """
    for before, after in pairwise(frames):
        yield flow(before, after), flow(after, before)


def warp_noise(
    motion: Motion,
    height: int,
    width: int,
    *,
    generator: torch.Generator,
    channels: int = CHANNELS,
    cells: int = 4,
    latent_px: int = 8,
) -> torch.Tensor:
    """Noise for the latents of a clip, standard normal and white in each, that moves as the clip does.

    Args:
        motion: for each frame but the last the flow to the next frame and the next frame's flow back, float (H, W, 2)
            pixels, H = ``height``, W = ``width``; read one at a time.
        height: of the clip, pixels, a multiple of ``latent_px``.
        width: of the clip, pixels, a multiple of ``latent_px``.
        generator: where fresh noise comes from; its device is where the work is done. A seed fixes everything.
        channels: of a latent.
        cells: into how many cells each side of a latent is cut for warping: 1, 2, 4 or 8 (a pixel each).
        latent_px: pixels along a side of a latent; 8 in the published model.

    Returns float32 (1, T', channels, H / latent_px, W / latent_px), T' = (T - 1) // 4 + 1 for the T frames; latent k is
    the noise of frame 4k. Raises `InputError` for a size that is no multiple, or a flow of another size or with values
    not finite.
    """
    if height <= 0 or width <= 0 or height % latent_px or width % latent_px:
        raise InputError(f"noise of {width}x{height} pixels", f"both must be multiples of {latent_px}")
    allowed = [count for count in (1, 2, 4, 8) if count <= latent_px]
    if cells not in allowed:
        raise InputError(f"{cells} cells to a latent", f"they must be {' or '.join(map(str, allowed))}")
    size = (height // latent_px * cells, width // latent_px * cells)
    field = _Field.fresh(size, channels, generator)
    latents = [_pooled(field.noise, size, cells)]
    for joined in _joined(motion, (height, width)):
        forward, backward = (_in_cells(flow, latent_px // cells, generator.device) for flow in joined)
        field = _carried(field, forward, backward, generator)
        latents.append(_pooled(field.noise, size, cells))
    return torch.stack(latents)[None]


def degrade(noise: torch.Tensor, factor: float, generator: torch.Generator) -> torch.Tensor:
    """Mix warped noise with noise that follows nothing: 0 leaves ``noise`` as it is, 1 replaces it.

    Any shape, float; standard normal stays so. Pass 2 was trained at 0.3. Raises `InputError` outside of [0, 1].
    """
    if not 0 <= factor <= 1:
        raise InputError(f"a degradation of {factor}", "it must be from 0 to 1")
    if factor == 0:
        return noise
    fresh = torch.randn(noise.shape, generator=generator, device=generator.device).to(noise)
    return ((1 - factor) * noise + factor * fresh) / ((1 - factor) ** 2 + factor**2) ** 0.5


def resize_noise(noise: torch.Tensor, latents: int, height: int, width: int) -> torch.Tensor:
    """Fit stored noise to a clip as the reference does, for comparison: what comes out is not of unit variance.

    ``noise``: float16 or float32, (T, 16, h, w), or (T, h, w, 16) as its noise files may also be. Returns float32
    (1, ``latents``, 16, ``height``, ``width``): frames picked evenly and rounded down, bilinear in space. Raises
    `InputError` for noise of another shape.
    """
    if noise.ndim != 4 or CHANNELS not in (noise.shape[1], noise.shape[3]):
        raise InputError(
            f"stored noise of shape {tuple(noise.shape)}",
            f"it must be (frames, {CHANNELS}, height, width) or (frames, height, width, {CHANNELS})",
        )
    noise_TCHW = (noise if noise.shape[1] == CHANNELS else noise.permute(0, 3, 1, 2)).float()
    if len(noise_TCHW) != latents:
        noise_TCHW = noise_TCHW[np.linspace(0, len(noise_TCHW) - 1, latents).astype(int)]
    if noise_TCHW.shape[2:] != (height, width):
        noise_TCHW = functional.interpolate(noise_TCHW, (height, width), mode="bilinear", align_corners=False)
    return noise_TCHW[None]


@dataclass(frozen=True)
class _Field:
    """The noise of one frame. N cells, row by row.

    ``noise`` (N, C), unit variance; ``area`` (N,), how much noise mass each cell stands for; ``rest`` (N, 2) (x, y),
    how far from the cell's centre its noise really is, so that motion slower than a cell a frame adds up.
    """

    noise: torch.Tensor
    area: torch.Tensor
    rest: torch.Tensor

    @classmethod
    def fresh(cls, size: tuple[int, int], channels: int, generator: torch.Generator) -> _Field:
        num, device = size[0] * size[1], generator.device
        noise = torch.randn(num, channels, generator=generator, device=device)
        return cls(noise, torch.ones(num, device=device), torch.zeros(num, 2, device=device))


def _carried(
    field: _Field, forward: torch.Tensor, backward: torch.Tensor, generator: torch.Generator
) -> _Field:
    """The next frame's noise. ``forward`` and ``backward``: (h, w, 2), cells."""
    moved = field.rest + forward.flatten(0, 1)
    steps = torch.floor(moved + 0.5)  # a half goes up in every cell; on the way back it goes down
    rest = moved - steps
    source, target = _meetings(field.rest, steps.long(), forward, backward)
    noise, area = _split(field, source, generator)
    return _merged(noise, area, rest, source, target, backward, generator)


def _meetings(
    rest: torch.Tensor, steps: torch.Tensor, forward: torch.Tensor, backward: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Which cell hands noise to which: two (E,) lists of cells, of this frame and of the next.

    Every cell goes where its flow leads, unless something else hides it there; a cell that none goes to asks back.
    """
    size = forward.shape[:2]
    cells = _grid(size, forward.device)
    landing = cells + steps
    source = _inside(landing, size).nonzero().flatten()
    target = _flat(landing[source], size)
    seen = _agree(forward.flatten(0, 1)[source], backward.flatten(0, 1)[target])
    reached = torch.zeros(len(cells), dtype=torch.bool, device=cells.device)
    reached[target[seen]] = True
    keep = seen | ~reached[target]
    source, target = source[keep], target[keep]
    reached[target] = True

    empty = (~reached).nonzero().flatten()
    origin = _nearest(empty, backward)
    from_cell = cells[empty] + torch.ceil(backward.flatten(0, 1)[empty] - rest[origin] - 0.5).long()
    grows = _inside(from_cell, size) & _agree(forward.flatten(0, 1)[origin], backward.flatten(0, 1)[empty])
    return torch.cat([source, _flat(from_cell[grows], size)]), torch.cat([target, empty[grows]])


def _split(
    field: _Field, source: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """What each of E ``source`` cells hands on, (E, C) at unit variance, and its area, (E,).

    A cell named d times is split into d parts: q / sqrt(d) + (z - mean z) with fresh z, which is standard normal, is
    independent among the parts, and gives q back when summed.
    """
    parts = torch.bincount(source, minlength=len(field.area))
    noise, area = field.noise[source], field.area[source] / parts[source]
    shared = (parts[source] > 1).nonzero().flatten()
    if len(shared):
        whole, num = source[shared], parts[source[shared], None]
        fresh = torch.randn(
            len(shared), noise.shape[1], generator=generator, device=noise.device, dtype=noise.dtype
        )
        sums = torch.zeros_like(field.noise).index_add_(0, whole, fresh)
        noise[shared] = noise[shared] / num.sqrt() + (fresh - sums[whole] / num)
    return noise, area


def _merged(
    noise: torch.Tensor,
    area: torch.Tensor,
    rest: torch.Tensor,
    source: torch.Tensor,
    target: torch.Tensor,
    backward: torch.Tensor,
    generator: torch.Generator,
) -> _Field:
    """Sum what meets in a cell; draw anew what nothing reached. ``rest`` (N, 2) is of the ``source`` cells."""
    num = len(rest)
    areas = torch.zeros_like(rest[:, 0]).index_add_(0, target, area)
    share = (area / areas[target])[:, None]
    summed = noise.new_zeros(num, noise.shape[1]).index_add_(0, target, noise * share.sqrt())
    rests = torch.zeros_like(rest).index_add_(0, target, rest[source] * share)
    empty = (areas == 0).nonzero().flatten()
    summed[empty] = torch.randn(len(empty), noise.shape[1], generator=generator, device=noise.device)
    rests[empty] = rest[
        _nearest(empty, backward)
    ]  # in step with what is beside it, so that they do not collide
    areas[empty] = 1.0
    return _Field(summed, areas.clamp(*_WEIGHTS), rests)


def _agree(there: torch.Tensor, back: torch.Tensor) -> torch.Tensor:
    """Whether going ``there`` and ``back``, both (E, 2), ends near where it began: (E,) bool."""
    slack, relative = _TOLERANCE
    return (there + back).norm(dim=1) <= slack + relative * back.norm(dim=1)


def _nearest(cells: torch.Tensor, backward: torch.Tensor) -> torch.Tensor:
    """The cell of the frame before, or of its border, that ``backward`` points to from each of ``cells`` (E,)."""
    size = backward.shape[:2]
    pointed = _grid(size, backward.device)[cells] + torch.ceil(backward.flatten(0, 1)[cells] - 0.5).long()
    limit = torch.tensor([size[1] - 1, size[0] - 1], device=backward.device)
    return _flat(pointed.clamp(min=torch.zeros_like(limit), max=limit), size)


def _grid(size: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """(x, y) of every cell, row by row: int64 (N, 2)."""
    y, x = torch.meshgrid(*(torch.arange(side, device=device) for side in size), indexing="ij")
    return torch.stack([x, y], -1).flatten(0, 1)


def _inside(cells: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
    x, y = cells.unbind(1)
    return (x >= 0) & (x < size[1]) & (y >= 0) & (y < size[0])


def _flat(cells: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
    return cells[:, 1] * size[1] + cells[:, 0]


def _joined(motion: Motion, size: tuple[int, int]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The flow from each latent's frame to the next latent's, and back."""
    pairs = iter(motion)
    while True:
        forward, backward = np.zeros((2, *size, 2), np.float32)
        num = 0
        for there, back in islice(pairs, _LATENT_FRAMES):
            there, back = _checked(there, size), _checked(back, size)
            forward = forward + warp(there, forward)
            backward = back + warp(backward, back)
            num += 1
        if num < _LATENT_FRAMES:
            return
        yield forward, backward


def _checked(flow: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if flow.shape != (*size, 2):
        raise InputError(f"a flow of shape {flow.shape}", f"it must be {(*size, 2)}")
    if not np.isfinite(flow).all():
        raise InputError("a flow with values that are not finite", "every pixel must go somewhere")
    return np.ascontiguousarray(flow, np.float32)


def _in_cells(flow: np.ndarray, side: int, device: torch.device) -> torch.Tensor:
    """A flow in pixels as one in cells of ``side`` pixels, (h, w, 2): the mean of each cell's."""
    pixels = torch.from_numpy(flow).to(device)
    return functional.avg_pool2d(pixels.permute(2, 0, 1), side).permute(1, 2, 0) / side


def _pooled(noise: torch.Tensor, size: tuple[int, int], cells: int) -> torch.Tensor:
    """(N, C) cells to (C, h, w) latents: sums divided by the root of their number, so that the variance is kept."""
    return functional.avg_pool2d(noise.T.reshape(-1, *size), cells) * cells
