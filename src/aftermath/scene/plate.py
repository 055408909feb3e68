"""What stands behind everything that moves: a background plate, robust over time.

Most pixels show the background most of the time, and a median finds it. A pixel that a thing covers for long, before
it leaves or after it came to rest, has two lasting appearances; which of them is the background is decided for the
whole patch at once: with a thing in it the patch stands out from what surrounds it, without it does not (the
classic test for abandoned against removed objects).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from aftermath.core import Box
from aftermath.core.channels import channel_max, channel_min

__all__ = [
    "Plate",
    "build_plate",
    "exposure_gains",
    "masked_median",
    "outline_strength",
    "sample_indices",
    "seen_enough",
    "warp_to_plate",
]

_MAX_SAMPLES = 48
_SECOND_SHARE = 0.08  # a second appearance is lasting when it takes this share of the frames
_MOST_TURNS = 4  # what comes and goes more often did not rest; what rolls past and comes back to rest did
_MOSTLY, _HALF = 0.9, 0.5
_SPECK_PX, _MAX_PATCHES = 12, 80
_RIM_PX = 6  # what the edges of a region's rim are measured in
_SOFT_RIM_PX = 4  # blur and shadow reach this far past a thing's clear difference
_SEEN_SHARE, _GLIMPSE_SHARE = 0.3, 0.05  # of the frames
_SAMPLES_AT_ONCE = 1 << 15  # what is sorted together stays in the processor's cache


@dataclass(frozen=True)
class Plate:
    """``image``: uint8 (h, w, 3) RGB; ``seen``: boolean (h, w), False where no frame shows the background;
    ``noise``: standard deviation of one frame against the plate, levels of 255."""

    image: np.ndarray
    seen: np.ndarray
    noise: float


def sample_indices(num_frames: int, limit: int = _MAX_SAMPLES) -> np.ndarray:
    """At most ``limit`` frame indices, evenly spread, first and last included."""
    return np.unique(np.linspace(0, num_frames - 1, min(num_frames, limit)).round().astype(int))


def warp_to_plate(image: np.ndarray, to_plate: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bring one frame (H, W[, 3]) to plate pixels; ``size`` is (width, height); outside is 0."""
    if np.array_equal(to_plate, np.eye(3)) and image.shape[1::-1] == size:
        return image
    return cv2.warpPerspective(image, to_plate, size, flags=cv2.INTER_LINEAR)


def exposure_gains(samples: np.ndarray, valid: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Per-channel gain of each sample against ``reference``: float32 (N, 3), exactly 1 where nothing changed.

    ``samples`` uint8 (N, h, w, 3), ``valid`` boolean (N, h, w), ``reference`` uint8 (h, w, 3). Median of ratios, so
    things that move do not count.
    """
    gains = np.ones((len(samples), 3), np.float32)
    step = max(1, int(np.sqrt(reference.shape[0] * reference.shape[1] / 40000)))
    base = reference[::step, ::step].astype(np.float32)
    bright = (channel_min(base) > 20) & (channel_max(base) < 245)
    for gain, sample, ok in zip(gains, samples, valid, strict=True):
        use = ok[::step, ::step] & bright
        if use.sum() > 200:
            gain[:] = np.median(sample[::step, ::step][use] / base[use], axis=0)
    gains[np.abs(gains - 1).max(axis=1) < 0.015] = 1
    return gains


def build_plate(
    samples: np.ndarray, valid: np.ndarray, beside: np.ndarray | None = None, *, settle: bool = True
) -> Plate:
    """The background behind ``samples`` uint8 (N, h, w, 3), registered and in order of time.

    ``valid`` boolean (N, h, w) is False where a sample does not count: the primary object, outside the frame.
    ``beside`` boolean (N, h, w): where the object is close; what comes and goes with it is no background.
    ``settle`` decides between two lasting appearances; without it the more frequent one is taken.
    """
    num = len(valid)
    median = masked_median(samples, valid)
    seen = seen_enough(valid)
    noise = _noise(samples, valid, median)
    if settle and num >= 4:
        beside = np.broadcast_to(False, valid.shape) if beside is None else beside
        median = _settle_two_states(samples, valid, beside, median, max(12.0, 5 * noise))
    return Plate(median, seen, noise)


def seen_enough(valid: np.ndarray) -> np.ndarray:
    """Where ``valid`` boolean (N, h, w) frames show the background, not what passes in front of the object.

    A glimpse at the beginning or the end of a clip may be brief; one between two covered times must be long.
    """
    count = valid.sum(axis=0)
    at_an_end = valid[0] | valid[-1]
    return (count > _SEEN_SHARE * len(valid)) | (at_an_end & (count > _GLIMPSE_SHARE * len(valid)))


def masked_median(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Median over axis 0 of uint8 (N, ..., C) where ``valid`` (N, ...) holds; 0 where it never does.

    The lower of two in the middle. Sorted by a network of minima and maxima over whole rows of pixels, which keeps
    the processor's widest instructions busy: sorting each pixel by itself takes three times as long.
    """
    out = np.zeros(values.shape[1:], np.uint8)
    steps = _sorting_network(len(values))
    length = max(1, _SAMPLES_AT_ONCE // max(1, out[:1].size))
    for start in range(0, len(out), length):
        part = slice(start, start + length)
        shows = valid[:, part]
        ranked = list(np.where(shows[..., None], values[:, part], np.uint8(255)))
        spare = np.empty_like(ranked[0])
        for low, high in steps:
            np.minimum(ranked[low], ranked[high], out=spare)
            np.maximum(ranked[low], ranked[high], out=ranked[high])
            ranked[low], spare = spare, ranked[low]
        count = np.count_nonzero(shows, axis=0)
        middle = (np.maximum(count - 1, 0) // 2)[None, ..., None]
        out[part] = np.take_along_axis(np.stack(ranked), middle, axis=0)[0]
        out[part][count == 0] = 0
    return out


@cache
def _sorting_network(num: int) -> tuple[tuple[int, int], ...]:
    """Pairs to be put in order, one after the other, that sort ``num`` items: Batcher's merge exchange (Knuth, The Art
    of Computer Programming, volume 3, 5.2.2, algorithm M)."""
    pairs: list[tuple[int, int]] = []
    top = 1 << max(0, (num - 1).bit_length() - 1)
    half = top
    while half > 0 and num > 1:
        apart, reach, odd = half, top, 0
        while True:
            pairs += [(i, i + apart) for i in range(num - apart) if i & half == odd]
            if reach == half:
                break
            apart, reach, odd = reach - half, reach >> 1, half
        half >>= 1
    return tuple(pairs)


def _noise(samples: np.ndarray, valid: np.ndarray, median: np.ndarray) -> float:
    sample = samples[len(samples) // 2].astype(np.int16)
    off = channel_max(np.abs(sample - median))[valid[len(samples) // 2]]
    return float(1.4826 * np.median(off)) if off.size else 1.0


def _settle_two_states(
    samples: np.ndarray, valid: np.ndarray, beside: np.ndarray, median: np.ndarray, tau: float
) -> np.ndarray:
    """Replace the median by the other lasting appearance wherever that one is the background."""
    off = np.stack([
        (channel_max(cv2.absdiff(sample, median)) > tau) & ok for sample, ok in zip(samples, valid, strict=True)
    ])  # fmt: skip
    count, total = off.sum(axis=0), valid.sum(axis=0)
    torn = (count == total) & (total > 2)
    if torn.any():
        median[torn] = _tie_broken(samples[:, torn], valid[:, torn])
        away = channel_max(np.abs(samples[:, torn].astype(np.int16) - median[torn]))
        off[:, torn] = (away > tau) & valid[:, torn]
        count = off.sum(axis=0)
    lasting = (count >= np.maximum(3, _SECOND_SHARE * total)) & (total > count)
    if not lasting.any():
        return median
    ys, xs = np.nonzero(lasting)
    chosen_off, chosen_valid = off[:, ys, xs], valid[:, ys, xs]
    second = masked_median(samples[:, ys, xs], chosen_off)
    near = (channel_max(np.abs(samples[:, ys, xs].astype(np.int16) - second)) <= tau) & chosen_off
    stable = near.sum(axis=0) >= 0.6 * chosen_off.sum(axis=0)
    turns, first = _turns(chosen_off, chosen_valid), chosen_valid & ~chosen_off
    stable &= turns <= _MOST_TURNS
    order, chosen_beside = _order(chosen_off, first), beside[:, ys, xs]
    stable &= (turns < 2) | ~_comes_with(chosen_off, first, chosen_beside)
    order[(turns >= 2) & _comes_with(first, chosen_off, chosen_beside)] = _FIRST_INSIDE
    other = median.copy()
    other[ys, xs] = second
    patch = np.zeros(median.shape[:2], np.uint8)
    result = median.copy()
    for kind in (_FIRST_INSIDE, _SECOND_EARLIER, _SECOND_LATER):
        patch[:] = 0
        patch[ys[stable & (order == kind)], xs[stable & (order == kind)]] = 1
        for region in _patches(patch):
            if kind == _FIRST_INSIDE or _stands_out_less(other, result, region):
                _repaint(result, region, samples, valid, off)
    return result


def _tie_broken(samples: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Where two appearances tie, each channel of the median may follow another one. Without the first
    sample one is in the majority. ``samples`` uint8 (N, P, 3), ``valid`` boolean (N, P); returns (P, 3)."""
    fewer = valid.copy()
    fewer[valid.argmax(axis=0), np.arange(valid.shape[1])] = False
    return masked_median(samples, fewer)


_SECOND_EARLIER, _SECOND_LATER, _SECOND_INSIDE, _FIRST_INSIDE = range(4)


def _order(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    """How the two appearances, boolean (N, P) each, follow one another in time."""
    index = np.arange(len(second))[:, None]

    def mean(on: np.ndarray) -> np.ndarray:
        return (on * index).sum(axis=0) / np.maximum(on.sum(axis=0), 1)

    def span(on: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return on.argmax(axis=0), len(on) - 1 - on[::-1].argmax(axis=0)

    (second_start, second_end), (first_start, first_end) = span(second), span(first)
    order = np.where(mean(second) < mean(first), _SECOND_EARLIER, _SECOND_LATER)
    order[(second_start > first_start) & (second_end < first_end)] = _SECOND_INSIDE
    order[(first_start > second_start) & (first_end < second_end)] = _FIRST_INSIDE
    return order


def _comes_with(one: np.ndarray, other: np.ndarray, beside: np.ndarray) -> np.ndarray:
    """Whether ``one`` of two appearances, boolean (N, P) each, is there when the object is close and hardly else, and
    the ``other`` without it: boolean (P,). It is a part of the object that its mask missed, or its shadow."""
    close, mostly_far = ((on & beside).sum(axis=0) / np.maximum(on.sum(axis=0), 1) for on in (one, other))
    return (close > _MOSTLY) & (mostly_far < _HALF)


def _turns(second: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """How often boolean (N, P) appearances turn into one another, over the ``valid`` samples, single ones left out."""
    held = second.copy()
    for before, now, ok in zip(held, held[1:], valid[1:], strict=False):
        now[~ok] = before[~ok]
    steady = held.copy()
    steady[1:-1] = (held[:-2] & held[2:]) | (held[1:-1] & (held[:-2] | held[2:]))
    return (steady[1:] != steady[:-1]).sum(axis=0)


def _patches(patch: np.ndarray) -> Iterator[np.ndarray]:
    """The connected parts of ``patch`` uint8 (h, w), each boolean (h, w); specks left out."""
    joined = cv2.morphologyEx(patch, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(joined)
    largest = np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind="stable")[:_MAX_PATCHES] + 1
    for label in largest:
        if stats[label, cv2.CC_STAT_AREA] >= _SPECK_PX:
            yield labels == label


def _stands_out_less(other: np.ndarray, plate: np.ndarray, region: np.ndarray) -> bool:
    """Whether ``other`` has the weaker edges along the rim of ``region``, boolean (h, w)."""
    box = Box.of_mask(region)
    assert box is not None, "what has no pixels has no rim"
    part = box.grown(_RIM_PX).slices(region.shape[1], region.shape[0])
    filled = np.where(region[part][..., None], other[part], plate[part])
    return outline_strength(filled, region[part]) < outline_strength(plate[part], region[part])


def outline_strength(image: np.ndarray, region: np.ndarray) -> float:
    """The mean gradient of ``image``, uint8 (h, w, 3), along the rim of ``region``, boolean (h, w), not empty; levels a
    pixel, times 8."""
    box = Box.of_mask(region)
    assert box is not None, "what has no pixels has no rim"
    rows, cols = box.grown(_RIM_PX).slices(region.shape[1], region.shape[0])
    inside = region[rows, cols].astype(np.uint8)
    kernel = np.ones((3, 3), np.uint8)
    rim = (cv2.dilate(inside, kernel) > 0) & ~(cv2.erode(inside, kernel, iterations=2) > 0)
    return float(_gradient(image[rows, cols])[rim].mean())


def _repaint(
    plate: np.ndarray, region: np.ndarray, samples: np.ndarray, valid: np.ndarray, off: np.ndarray
) -> None:
    """Take ``region`` and its soft rim from the samples that show its other appearance; in place."""
    shows = off[:, region].mean(axis=1) > 0.5
    if not shows.any():
        return
    rim = cv2.dilate(region.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=_SOFT_RIM_PX) > 0
    ys, xs = np.nonzero(rim)
    usable = valid[shows][:, ys, xs]
    values = masked_median(samples[shows][:, ys, xs], usable)
    some = usable.any(axis=0)
    plate[ys[some], xs[some]] = values[some]


def _gradient(image: np.ndarray) -> np.ndarray:
    smooth = cv2.GaussianBlur(image, (0, 0), 1.0).astype(np.float32)
    across = cv2.Sobel(smooth, cv2.CV_32F, 1, 0)
    down = cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    return channel_max(np.hypot(across, down))
