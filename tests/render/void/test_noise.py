"""Warped noise: in every frame as good as fresh noise, and yet it moves with the picture."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from itertools import pairwise

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra void is not installed")

from tiny import golden  # noqa: E402

from aftermath.errors import InputError  # noqa: E402
from aftermath.render.void.noise import degrade, motion_of, resize_noise, warp_noise  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

HEIGHT, WIDTH = 96, 136
Motion = Iterator[tuple[np.ndarray, np.ndarray]]


def shift(x: float, y: float = 0.0) -> Motion:
    """Everything moves by (x, y) pixels a frame, for ever."""
    flow = np.broadcast_to(np.float32([x, y]), (HEIGHT, WIDTH, 2))
    while True:
        yield flow, -flow


def zoom(scale: float) -> Motion:
    """Everything grows by ``scale`` a frame, about the middle."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    out = np.stack([x - WIDTH / 2 + 0.5, y - HEIGHT / 2 + 0.5], -1)
    while True:
        yield out * (scale - 1), out * (1 / scale - 1)


def swirl() -> Motion:
    """Smooth and uneven: stretched here, squeezed there. The way back is that of a picture so distorted."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    forward = np.stack([5 * np.sin(y / 15), 4 * np.cos(x / 11)], -1).astype(np.float32)
    backward = -forward
    for _ in range(5):
        backward = -cv2.remap(forward, x + backward[..., 0], y + backward[..., 1], cv2.INTER_LINEAR)
    while True:
        yield forward, backward


def guessed() -> Motion:
    """Two flows that have nothing to do with each other: the worst an estimator can say."""
    random = np.random.default_rng(5)
    while True:
        yield tuple(random.normal(0, 6, (2, HEIGHT, WIDTH, 2)).astype(np.float32))  # type: ignore[misc]


def first(count: int, motion: Motion) -> list[tuple[np.ndarray, np.ndarray]]:
    return [pair for _, pair in zip(range(count), motion, strict=False)]


def noise(motion: Motion, frames: int = 9, seed: int = 0, **more: int):
    """(T', C, h, w) for so many frames."""
    generator = torch.Generator().manual_seed(seed)
    return warp_noise(first(frames - 1, motion), HEIGHT, WIDTH, generator=generator, **more)[0]


def correlation(a, b) -> float:
    return float(np.corrcoef(a.flatten(), b.flatten())[0, 1])


def assert_white(latents) -> None:
    """One frame (C, h, w) is a draw of independent standard normals, as far as five standard errors can tell."""
    values = latents.double().flatten().sort().values
    num = len(values)
    assert abs(values.mean()) < 5 / num**0.5
    assert abs(values.var() - 1) < 5 * (2 / num) ** 0.5
    ranks = (torch.arange(num) + 0.5) / num
    assert (torch.special.ndtr(values) - ranks).abs().max() < 2.5 / num**0.5  # Kolmogorov-Smirnov, p of 1e-5
    for neighbour in [(0, 1), (1, 0), (1, 1), (0, 2), (2, 0)]:
        down, right = (side - step for side, step in zip(latents.shape[1:], neighbour, strict=True))
        a, b = latents[:, :down, :right], latents[:, neighbour[0] :, neighbour[1] :]
        assert abs(correlation(a, b)) < 5 / a.numel() ** 0.5
    assert abs(correlation(latents[1:], latents[:-1])) < 5 / num**0.5  # channels know nothing of each other


@pytest.mark.parametrize("cells", [1, 2, 4, 8])
@pytest.mark.parametrize(
    "motion",
    [shift(0), shift(3.3, -1.7), zoom(1.15), zoom(2.0), zoom(0.87), zoom(0.5), swirl(), guessed()],
    ids=["still", "shift", "in", "in fast", "out", "out fast", "swirl", "nonsense"],
)
def test_every_frame_is_white_and_standard_normal(motion, cells):
    for latents in noise(motion, channels=48, cells=cells):
        assert_white(latents)


def test_variance_is_kept_in_every_place():
    """Over many draws, so that a place that is always too dark would show."""
    for motion in (zoom(1.3), zoom(0.7), swirl()):
        last = noise(motion, frames=5, channels=1200)[-1]
        assert abs(last.var(0) - 1).max() < 5.5 * (2 / 1200) ** 0.5
        assert abs(last.mean(0)).max() < 5.5 / 1200**0.5


@pytest.mark.parametrize("cells", [1, 2, 4, 8])
def test_a_shift_by_whole_latents_shifts_exactly(cells):
    latents = noise(shift(8, -8), cells=cells)
    for index in (1, 2):
        assert torch.equal(
            latents[index][:, : -4 * index, 4 * index :], latents[0][:, 4 * index :, : -4 * index]
        )


@pytest.mark.parametrize(("cells", "step"), [(4, 2), (4, 6), (8, 1), (8, 3)])
def test_a_shift_by_whole_cells_is_exact(cells, step):
    """Eight times that step is a whole latent, so the pooled noise can tell."""
    latents = noise(shift(step), frames=9, cells=cells)
    assert torch.equal(latents[2][..., step:], latents[0][..., :-step])


def test_motion_slower_than_a_cell_adds_up():
    latents = noise(shift(0.25, 0.5), frames=33)  # 8 and 16 pixels in all
    assert torch.equal(latents[-1][:, 2:, 1:], latents[0][:, :-2, :-1])


def test_what_stands_still_keeps_its_noise():
    latents = noise(shift(0), frames=13)
    assert all(torch.equal(later, latents[0]) for later in latents)


@pytest.mark.parametrize("scale", [1.08, 0.92])
def test_noise_follows_a_zoom(scale):
    """Against the first frame's noise, sampled where the zoom came from; chance gives 0.01, so much sampling itself
    leaves of white noise: 0.5."""
    latents = noise(zoom(scale), frames=5, channels=64)
    height, width = latents.shape[2:]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    back = [(at - (side - 1) / 2) / scale**4 + (side - 1) / 2 for at, side in ((x, width), (y, height))]
    came = np.stack([cv2.remap(plane, *back, cv2.INTER_LINEAR) for plane in latents[0].numpy()])
    inner = np.s_[:, 2:-2, 2:-2]
    assert correlation(latents[1].numpy()[inner], came[inner]) > 0.35
    assert abs(correlation(latents[1].numpy()[inner], latents[0].numpy()[inner])) < 0.15


def test_noise_follows_a_thing_in_front_and_the_background_stays():
    """A square of 32 pixels goes 4 pixels a frame; behind it the background comes out, with noise never seen."""
    frames = [np.zeros((HEIGHT, WIDTH, 2), np.float32) for _ in range(5)]
    for index, field in enumerate(frames):
        field[32:64, 16 + 4 * index : 48 + 4 * index, 0] = 4
    motion = [(now, -after) for now, after in pairwise(frames)]
    generator = torch.Generator().manual_seed(0)
    before, after = warp_noise(motion, HEIGHT, WIDTH, generator=generator, channels=64)[0]
    assert torch.equal(after[:, 4:8, 4:8], before[:, 4:8, 2:6])
    assert torch.equal(after[:, :4], before[:, :4]) and torch.equal(after[:, 4:8, 8:], before[:, 4:8, 8:])
    uncovered = after[:, 4:8, 2:4]
    for seen in (before[:, 4:8, 2:4], before[:, 4:8, 4:6]):
        assert abs(correlation(uncovered, seen)) < 5 / seen.numel() ** 0.5
    assert_white(after)


def test_noise_follows_the_flow_of_real_pictures():
    random = np.random.default_rng(0).uniform(0, 255, (HEIGHT + 40, WIDTH + 40, 3)).astype(np.uint8)
    texture = cv2.GaussianBlur(random, (0, 0), 2)
    pictures = (texture[20:-20, 20 - 4 * k : 20 - 4 * k + WIDTH] for k in range(5))
    generator = torch.Generator().manual_seed(0)
    before, after = warp_noise(motion_of(pictures), HEIGHT, WIDTH, generator=generator)[0]
    assert correlation(after[:, 1:-1, 3:-1], before[:, 1:-1, 1:-3]) > 0.8


def test_a_seed_fixes_every_byte():
    assert torch.equal(noise(swirl(), seed=3), noise(swirl(), seed=3))
    assert not torch.equal(noise(swirl(), seed=3), noise(swirl(), seed=4))


@pytest.mark.parametrize("frames", [1, 2, 4, 5, 8, 13, 201])
def test_any_length_has_its_latents(frames):
    latents = noise(zoom(1.01), frames=frames, cells=1)
    assert latents.shape == ((frames - 1) // 4 + 1, 16, HEIGHT // 8, WIDTH // 8)
    assert latents.dtype == torch.float32
    assert_white(latents[-1])


def test_later_frames_do_not_change_earlier_noise():
    assert torch.equal(noise(swirl(), frames=21)[:3], noise(swirl(), frames=9))


def test_no_flow_is_kept():
    """So that memory does not grow with the clip: of the pairs read before, at most one is still held."""
    read: list[weakref.ref[np.ndarray]] = []

    def pairs() -> Motion:
        for forward, backward in first(12, swirl()):
            pair = forward.copy(), backward.copy()
            assert sum(flow() is not None for flow in read) <= 2
            read.extend(weakref.ref(flow) for flow in pair)
            yield pair

    warp_noise(pairs(), HEIGHT, WIDTH, generator=torch.Generator())
    assert len(read) == 24


@pytest.mark.parametrize("factor", [0.0, 0.3, 0.7, 1.0])
def test_degraded_noise_is_as_normal_and_less_alike(factor):
    start = noise(shift(0), frames=1, channels=256)
    mixed = degrade(start, factor, torch.Generator().manual_seed(9))
    assert_white(mixed[0])
    alike = (1 - factor) / ((1 - factor) ** 2 + factor**2) ** 0.5
    assert abs(correlation(start, mixed) - alike) < 5 / start.numel() ** 0.5
    assert (factor == 0) == torch.equal(start, mixed)


@pytest.mark.parametrize("tag", sorted({key.split(".")[0] for key in golden("noise_resize_io")}))
def test_stored_noise_is_resized_as_the_reference_does(tag):
    tensors = golden("noise_resize_io")
    latents, _, height, width = tensors[f"{tag}.target_TCHW"].tolist()
    found = resize_noise(tensors[f"{tag}.in"], latents, height, width)
    assert found.shape == tensors[f"{tag}.out"].shape
    assert (found - tensors[f"{tag}.out"]).abs().max() < 1e-5


def test_what_cannot_be_warped_is_named():
    generator, flow = torch.Generator(), np.zeros((16, 24, 2), np.float32)
    with pytest.raises(InputError, match="multiples of 8"):
        warp_noise([], 20, 24, generator=generator)
    with pytest.raises(InputError, match="1 or 2 or 4 or 8"):
        warp_noise([], 16, 24, generator=generator, cells=3)
    with pytest.raises(InputError, match=r"shape \(24, 16, 2\)"):
        warp_noise([(flow, flow.transpose(1, 0, 2))], 16, 24, generator=generator)
    with pytest.raises(InputError, match="not finite"):
        warp_noise([(flow, flow * np.nan)], 16, 24, generator=generator)
    with pytest.raises(InputError, match=r"from 0 to 1"):
        degrade(torch.zeros(1), 1.2, generator)
    with pytest.raises(InputError, match="stored noise"):
        resize_noise(torch.zeros(3, 15, 4, 4), 2, 4, 4)
