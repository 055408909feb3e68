"""Patch-based completion of a picture of moderate size: coarse to fine, a match for every patch of the hole.

The energy is that of Wexler, Shechtman & Irani, "Space-Time Completion of Video" (PAMI 2007): every patch of
the hole should look like some patch of the surroundings. Matches are found as in PatchMatch (Barnes et al.
2009), all pixels moving at once, on a few principal components of the patches. Texture features are those of
Newson et al., "Video Inpainting of Complex Scenes" (2014): without them coarse levels take texture for flat.

Axes: y before x everywhere; a patch is named by its centre.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from aftermath.scene.membrane import nearest_true

__all__ = ["Matches", "carry", "match_hole", "shift_codes", "working_channels"]

_RADIUS = 3  # 7x7 patches, as in the papers
_COMPONENTS = 24  # beyond these the patches of real pictures differ by grain only
_TEXTURE_WEIGHT = 4.0
_TEXTURE_SIZE = (5, 5)
_ROUNDS = 6  # at the finest level; twice as many on the coarse ones, which cost little
_CERTAINTY = 0.83  # how much less a vote counts, per pixel from the border
_SETTLED = 0.2  # levels a pixel of mean change: nothing moves any more
_COHERENCE = 1.0  # at the finest level only: on the coarse ones it breaks slanted lines
_MAX_PEEL_SOURCES = 6000
_MIN_SOURCES = 200


@dataclass
class Matches:
    """``targets`` and ``sources``: int (N, 2), (y, x) of patch centres; each target looks like its source."""

    targets: np.ndarray
    sources: np.ndarray
    cost: np.ndarray  # float32 (N,), mean squared difference of the channels


@dataclass
class _Level:
    """One size of the picture. ``channels``: float32 (h, w, C), RGB and texture features; mended in place."""

    channels: np.ndarray
    hole: np.ndarray
    known: np.ndarray
    valid: np.ndarray  # bool (h, w), centres of patches that may be copied
    targets: np.ndarray  # int (N, 2), centres of patches that reach into the hole
    index: np.ndarray  # int (h, w), position in `targets`, -1 elsewhere


def working_channels(image: np.ndarray, hole: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """``image`` uint8 (H, W, 3) at ``size`` (w, h): float32 (h, w, 5), RGB and two texture features.

    The features are the mean absolute gradients along x and y at full size: they still tell fine texture from
    flat colour, and sharp from blurred, where the small picture no longer shows it. Unknown within ``hole``.
    """
    known = ~hole
    colours = _shrink(image.astype(np.float32), known, size)
    grey = image.mean(axis=2, dtype=np.float32)
    features = []
    for axis in (1, 0):
        both = known & np.roll(known, 1, axis)
        step = np.abs(grey - np.roll(grey, 1, axis))
        features.append(_shrink(step[..., None], both, size))
    mass = cv2.resize(known.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    texture = cv2.blur(np.dstack(features) * mass[..., None], _TEXTURE_SIZE)
    texture /= np.maximum(cv2.blur(mass, _TEXTURE_SIZE), 1e-6)[..., None]
    return np.concatenate([colours, _TEXTURE_WEIGHT * texture], axis=2)


def _shrink(values: np.ndarray, weight: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Average of ``values`` (h, w, C) over each cell's pixels where ``weight`` holds; ``size`` is (w, h)."""
    mass = cv2.resize(weight.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    channels = np.moveaxis(values, 2, 0) * weight  # one by one: OpenCV averages no more than four at a time
    total = np.dstack([cv2.resize(channel, size, interpolation=cv2.INTER_AREA) for channel in channels])
    return total / np.maximum(mass, 1e-6)[..., None]


def _level(channels: np.ndarray, hole: np.ndarray, usable: np.ndarray) -> _Level:
    kernel = np.ones((2 * _RADIUS + 1, 2 * _RADIUS + 1), np.uint8)
    inside = np.zeros(hole.shape, bool)
    inside[_RADIUS:-_RADIUS, _RADIUS:-_RADIUS] = True
    valid = cv2.erode(usable.astype(np.uint8), kernel).astype(bool) & inside
    reach = cv2.dilate(hole.astype(np.uint8), kernel).astype(bool) & inside
    targets = np.argwhere(reach)
    index = np.full(hole.shape, -1)
    index[reach] = np.arange(len(targets))
    return _Level(channels, hole, ~hole, valid, targets, index)


def _pyramid(channels: np.ndarray, hole: np.ndarray, usable: np.ndarray) -> list[_Level]:
    """Finest first; ends where the hole is about as thick as two patches, or nothing is left to copy."""
    levels = [_level(channels, hole, usable)]
    while cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 5).max() > 2 * _RADIUS + 1:
        size = ((hole.shape[1] + 1) // 2, (hole.shape[0] + 1) // 2)
        if min(size) < 4 * _RADIUS:
            break
        channels = _shrink(channels, ~hole, size)
        share = cv2.resize(hole.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        usable = cv2.resize(usable.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.99
        hole = share > 0.5
        level = _level(channels, hole, usable)
        if not hole.any() or level.valid.sum() < _MIN_SOURCES:
            break
        levels.append(level)
    return levels


def _patches(level: _Level, centres: np.ndarray, channels: np.ndarray | None = None) -> np.ndarray:
    """float32 (N, side * side * C): the patches round ``centres``, of the level's channels or of others."""
    side = 2 * _RADIUS + 1
    channels = level.channels if channels is None else channels
    view = np.lib.stride_tricks.sliding_window_view(channels, (side, side), axis=(0, 1))
    return view[centres[:, 0] - _RADIUS, centres[:, 1] - _RADIUS].reshape(len(centres), -1)


def _peel(level: _Level, rng: np.random.Generator) -> None:
    """Fill the hole ring by ring from outside, each pixel from the best patch under what is known so far."""
    centres = np.argwhere(level.valid)
    if len(centres) > _MAX_PEEL_SOURCES:
        centres = centres[np.sort(rng.choice(len(centres), _MAX_PEEL_SOURCES, replace=False))]
    num_channels = level.channels.shape[2]
    sources = _patches(level, centres)
    colours = level.channels[centres[:, 0], centres[:, 1]]
    known = level.known.copy()
    pad = ((_RADIUS, _RADIUS), (_RADIUS, _RADIUS), (0, 0))
    kernel = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    while not known.all():
        ring = np.argwhere(cv2.dilate(known.astype(np.uint8), kernel).astype(bool) & ~known)
        padded = np.pad(level.channels * known[..., None], pad)
        mask = np.pad(known[..., None].astype(np.float32), pad).repeat(num_channels, axis=2)
        values = _patches(level, ring + _RADIUS, padded)
        weights = _patches(level, ring + _RADIUS, mask)
        cost = weights @ (sources**2).T - 2 * (values * weights) @ sources.T
        level.channels[ring[:, 0], ring[:, 1]] = colours[cost.argmin(axis=1)]
        known[ring[:, 0], ring[:, 1]] = True


def shift_codes(shifts: np.ndarray) -> np.ndarray:
    """Each shift (..., 2) as one number, to be compared at once."""
    return shifts[..., 0] * (1 << 20) + shifts[..., 1]


def _principal(patches: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The main directions of centred ``patches`` (N, D), by subspace iteration; float32 (D, K)."""
    spread = patches.T @ patches
    basis = rng.standard_normal((len(spread), _COMPONENTS), np.float32)
    for _ in range(5):
        basis, _ = np.linalg.qr(spread @ basis)
    return basis


class _Search:
    """Finds matches on one level. Distances are taken on principal components of the source patches."""

    def __init__(self, level: _Level, rng: np.random.Generator, coherence: float) -> None:
        """``coherence``: what sharing its neighbours' shift is worth to a patch, in median costs."""
        self.level, self.rng, self.worth = level, rng, coherence
        centres = np.argwhere(level.valid)
        sample = centres[rng.integers(0, len(centres), min(len(centres), 4000))]
        patches = _patches(level, sample)
        self.mean = patches.mean(axis=0)
        self.basis = _principal(patches - self.mean, rng)
        self.row = np.full(level.hole.shape, -1)
        self.row[level.valid] = np.arange(len(centres))
        self.features = self._project(centres)
        self.around = self._around()
        self.coherence = 0.0

    def _around(self) -> np.ndarray:
        """int (N, 4): the targets beside each target; itself where there is none."""
        index = np.pad(self.level.index, 1, constant_values=-1)
        y, x = self.level.targets.T + 1
        beside = np.stack([index[y, x + 1], index[y + 1, x], index[y, x - 1], index[y - 1, x]], axis=1)
        return np.where(beside >= 0, beside, np.arange(len(beside))[:, None])

    def _project(self, centres: np.ndarray) -> np.ndarray:
        chunks = [
            (_patches(self.level, centres[i : i + 20000]) - self.mean) @ self.basis
            for i in range(0, len(centres), 20000)
        ]
        return np.concatenate(chunks)

    def improve(self, matches: Matches, steps: tuple[int, ...]) -> None:
        """Update ``matches`` for the present content of the hole: propagate by ``steps``, then sample."""
        wanted = self._project(matches.targets)
        matches.cost = self._cost(wanted, matches.sources)
        self.coherence = self.worth * float(np.median(matches.cost))
        for step in steps:
            for dy, dx in ((0, step), (step, 0), (0, -step), (-step, 0)):
                self._propagate(matches, wanted, dy, dx)
        radius = max(self.level.hole.shape)
        while radius >= 1:
            jump = self.rng.integers(-radius, radius + 1, matches.sources.shape)
            self._try(matches, wanted, matches.sources + jump)
            radius //= 2
        for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            self._propagate(matches, wanted, dy, dx)

    def _cost(self, wanted: np.ndarray, sources: np.ndarray) -> np.ndarray:
        difference = wanted - self.features[self.row[sources[:, 0], sources[:, 1]]]
        return np.einsum("nk,nk->n", difference, difference) / len(self.mean)

    def _propagate(self, matches: Matches, wanted: np.ndarray, dy: int, dx: int) -> None:
        height, width = self.level.hole.shape
        y, x = matches.targets[:, 0] + dy, matches.targets[:, 1] + dx
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        neighbour = np.where(inside, self.level.index[y.clip(0, height - 1), x.clip(0, width - 1)], -1)
        candidate = matches.sources[neighbour] - (dy, dx)
        self._try(matches, wanted, np.where(neighbour[:, None] >= 0, candidate, -1))

    def _try(self, matches: Matches, wanted: np.ndarray, candidate: np.ndarray) -> None:
        height, width = self.level.hole.shape
        y, x = candidate[:, 0], candidate[:, 1]
        ok = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        ok[ok] = self.level.valid[y[ok], x[ok]]
        chosen = np.flatnonzero(ok)
        cost = self._cost(wanted[chosen], candidate[chosen])
        better = cost < matches.cost[chosen]
        if self.coherence:
            shifts = shift_codes(matches.sources - matches.targets)
            beside = shifts[self.around[chosen]]
            new = shift_codes(candidate[chosen] - matches.targets[chosen])
            together = np.count_nonzero(beside == new[:, None], axis=1)
            together -= np.count_nonzero(beside == shifts[chosen][:, None], axis=1)
            better = cost - self.coherence * together / 4 < matches.cost[chosen]
        matches.sources[chosen[better]] = candidate[chosen[better]]
        matches.cost[chosen[better]] = cost[better]


def _vote(level: _Level, matches: Matches, sharp: bool) -> float:
    """Repaint the hole from the matches: each pixel hears all patches that cover it. Returns the mean change.

    Votes weigh less far from what is known and where the match is poor. Those far from the mean are then
    muted (mean shift), so that two opinions are not mixed to mud; ``sharp`` mutes them harder.
    """
    ys, xs = np.nonzero(level.hole)
    depth = np.asarray(cv2.distanceTransform(level.hole.astype(np.uint8), cv2.DIST_L2, 5))
    sigma = np.percentile(matches.cost, 25 if sharp else 75) + 1e-3
    doubt = depth[matches.targets[:, 0], matches.targets[:, 1]]
    strength = _CERTAINTY**doubt * np.exp(-matches.cost / (2 * sigma)) + 1e-9
    index = np.pad(level.index, _RADIUS, constant_values=-1)
    votes, weights = [], []
    for dy in range(-_RADIUS, _RADIUS + 1):
        for dx in range(-_RADIUS, _RADIUS + 1):
            voter = index[ys + _RADIUS - dy, xs + _RADIUS - dx]
            source: np.ndarray = matches.sources[voter] + np.array((dy, dx))
            source[voter < 0] = 0
            votes.append(level.channels[source[:, 0], source[:, 1]])
            weights.append(np.where(voter >= 0, strength[voter], 0))
    votes, weights = np.stack(votes), np.stack(weights).astype(np.float32)
    mean = np.einsum("knc,kn->nc", votes, weights) / weights.sum(axis=0)[:, None]
    for _ in range(3 if sharp else 1):
        away = ((votes - mean) ** 2).sum(axis=2)
        spread = (away * weights).sum(axis=0) / weights.sum(axis=0) + 1.0
        kept = weights * np.exp(-away / ((0.5 if sharp else 2.0) * spread)) + 1e-12
        mean = np.einsum("knc,kn->nc", votes, kept) / kept.sum(axis=0)[:, None]
    change = float(np.abs(mean - level.channels[ys, xs]).mean())
    level.channels[ys, xs] = mean
    return change


def _start(level: _Level, rng: np.random.Generator) -> Matches:
    centres = np.argwhere(level.valid)
    sources = centres[rng.integers(0, len(centres), len(level.targets))]
    return Matches(level.targets, sources, np.full(len(sources), np.inf, np.float32))


def carry(matches: Matches, shape: tuple[int, int], targets: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Sources for ``targets`` of a larger picture: the shift of the nearest target in that of ``shape``.

    A shift that leads to a patch that may not be copied is moved to the nearest one that may.
    """
    scale = np.array(valid.shape) / shape
    there = np.zeros(shape, bool)
    there[tuple(matches.targets.T)] = True
    index = np.full(shape, -1)
    index[tuple(matches.targets.T)] = np.arange(len(matches.targets))
    near_y, near_x = nearest_true(there)
    small = np.minimum(((targets + 0.5) / scale).astype(int), np.array(shape) - 1)
    small = np.stack([near_y[tuple(small.T)], near_x[tuple(small.T)]], axis=1)
    shift = (matches.sources - matches.targets)[index[tuple(small.T)]]
    sources = np.rint(targets + shift * scale).astype(int)
    sources = np.clip(sources, 0, np.array(valid.shape) - 1)
    valid_y, valid_x = nearest_true(valid)
    return np.stack([valid_y[tuple(sources.T)], valid_x[tuple(sources.T)]], axis=1)


def match_hole(
    channels: np.ndarray,
    hole: np.ndarray,
    usable: np.ndarray,
    rng: np.random.Generator,
    report: Callable[[float], None],
) -> Matches | None:
    """Complete ``channels`` (see `working_channels`) and say what each patch touching the hole looks like.

    ``hole``, ``usable``: bool (h, w). ``report`` hears the share done. None where no whole patch is usable.
    """
    if min(hole.shape) < 2 * _RADIUS + 1:
        return None
    levels = _pyramid(channels, hole, usable)
    if not levels[0].valid.any():
        return None
    matches, previous = None, None
    for done, level in enumerate(reversed(levels)):
        if matches is None or previous is None:
            _peel(level, rng)
            matches = _start(level, rng)
        else:
            sources = carry(matches, previous.hole.shape, level.targets, level.valid)
            matches = Matches(level.targets, sources, np.zeros(len(sources), np.float32))
            _vote(level, matches, sharp=False)
        search = _Search(level, rng, _COHERENCE if level is levels[0] else 0.0)
        rounds = _ROUNDS if level is levels[0] else 2 * _ROUNDS
        for turn in range(rounds):
            search.improve(matches, (8, 4, 2, 1))
            if _vote(level, matches, sharp=turn >= rounds - 2) < _SETTLED:
                break
        previous = level
        report((done + 1) / len(levels))
    assert matches is not None
    return matches
