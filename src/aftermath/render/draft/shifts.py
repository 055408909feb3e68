"""Shifts at full size: the hole shown as whole pieces of its surroundings, joined without seams.

After Pritch et al., "Shift-Map Image Editing" (ICCV 2009), with the joins made in the gradient domain (Perez et al.,
"Poisson Image Editing", 2003). Shifts are decided on a lattice and blended between its nodes.
"""

from __future__ import annotations

import cv2
import numpy as np

from aftermath.render.draft.membrane import nearest_true, poisson
from aftermath.render.draft.patches import Matches, carry

__all__ = ["ShiftMap"]

_SPACING_PX = 4
_REACH_PX = 6  # patches of 7x7 samples, two pixels apart
_STRIDE_PX = 2
_ROUNDS = 3
_JITTERS = 6
_CHUNK = 20_000
_SEAM_LEVELS = 40.0  # a jump larger than this is structure, not a seam to be diffused


class ShiftMap:
    """Where each pixel of ``hole`` bool (H, W) is copied from in ``image`` uint8 (H, W, 3).

    ``image`` comes with its hole filled somehow; only ``usable`` pixels, bool (H, W), are ever copied.
    """

    def __init__(self, image: np.ndarray, hole: np.ndarray, usable: np.ndarray) -> None:
        self.image, self.hole = image, hole
        side = 2 * _REACH_PX + 1
        kernel = np.ones((side, side), np.uint8)
        self.valid = (
            cv2.erode(usable.astype(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
        )
        self.pixels = np.argwhere(hole)
        cell = self.pixels // _SPACING_PX
        self.shape = tuple(cell.max(axis=0) + 2)
        needed = np.zeros(self.shape, bool)
        for corner in ((0, 0), (0, 1), (1, 0), (1, 1)):
            needed[tuple((cell + corner).T)] = True
        self.nodes = np.argwhere(needed)
        self.index = np.full(self.shape, -1)
        self.index[needed] = np.arange(len(self.nodes))
        self.centres = np.minimum(self.nodes * _SPACING_PX, np.array(hole.shape) - 1)
        self.shifts = np.zeros_like(self.nodes)
        self._corners = self._blend(cell)

    def _blend(self, cell: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """For each of the four nodes round every hole pixel: its index and its bilinear weight."""
        fraction = (self.pixels / _SPACING_PX - cell).astype(np.float32)
        corners = []
        for dy in (0, 1):
            for dx in (0, 1):
                weight = np.abs(1 - dy - fraction[:, 0]) * np.abs(1 - dx - fraction[:, 1])
                corners.append((self.index[tuple((cell + (dy, dx)).T)], weight))
        return corners

    def settle(self, matches: Matches, shape: tuple[int, int], rng: np.random.Generator) -> None:
        """Take the shifts from ``matches``, found on a picture of ``shape``, and fit them to the full size."""
        self.shifts = carry(matches, shape, self.centres, self.valid) - self.centres
        picture = self.image.copy()
        jitter = int(np.ceil(self.hole.shape[0] / shape[0]))
        for _ in range(_ROUNDS):
            picture[self.hole] = self.sample((0, 0)).round().astype(np.uint8)
            cost = self._cost(picture, self.shifts)
            for distance in (4, 2, 1):
                for dy, dx in ((0, distance), (distance, 0), (0, -distance), (-distance, 0)):
                    self._try(picture, cost, self._neighbours(dy, dx))
            for _ in range(_JITTERS):
                self._try(picture, cost, self.shifts + rng.integers(-jitter, jitter + 1, self.shifts.shape))

    def sample(self, step: tuple[int, int]) -> np.ndarray:
        """What each hole pixel's source shows ``step`` (y, x) further, float32 (N, 3)."""
        flat = self.image.reshape(-1, 3)
        width = self.hole.shape[1]
        total = np.zeros((len(self.pixels), 3), np.float32)
        start = (self.pixels + step) @ (width, 1)
        for node, weight in self._corners:
            total += flat[start + self.shifts[node] @ (width, 1)] * weight[:, None]
        return total

    def joined(self) -> np.ndarray:
        """The picture with its hole copied from the sources, seams diffused; float32 (H, W, 3)."""
        own = self.sample((0, 0))
        result = self.image.astype(np.float32)
        result[self.hole] = own
        right = np.zeros_like(result)
        for step in ((0, 1), (1, 0)):
            self._add_jumps(right, result, own, step)
        return result + poisson(right, self.hole)

    def _add_jumps(
        self, right: np.ndarray, picture: np.ndarray, own: np.ndarray, step: tuple[int, int]
    ) -> None:
        """Between each pixel and the next one along ``step``: how far the picture is from what its sources show."""
        dy, dx = step
        height, width = self.hole.shape
        wanted, weight = np.zeros_like(picture), np.zeros((height, width, 1), np.float32)
        forward, backward = np.zeros_like(picture), np.zeros_like(picture)
        forward[self.hole] = self.sample((dy, dx)) - own
        backward[self.hole] = own - self.sample((-dy, -dx))
        here, there = np.s_[: height - dy, : width - dx], np.s_[dy:, dx:]
        wanted[here] = forward[here] + backward[there]
        weight[here] = self.hole[here][..., None].astype(np.float32) + self.hole[there][..., None]
        jump = np.zeros_like(picture)
        jump[here] = wanted[here] / np.maximum(weight[here], 1) - (picture[there] - picture[here])
        size = np.linalg.norm(jump, axis=2, keepdims=True) / (_SEAM_LEVELS * 3**0.5)
        jump *= np.square(1 - np.minimum(size, 1) ** 2) * (weight > 0)
        right[here] += jump[here]
        right[there] -= jump[here]

    def _neighbours(self, dy: int, dx: int) -> np.ndarray:
        """Each node's shift as its neighbour has it; its own where there is no such neighbour."""
        place = self.nodes + (dy, dx)
        inside = ((place >= 0) & (place < self.shape)).all(axis=1)
        place = np.where(inside[:, None], place, self.nodes)
        other = self.index[tuple(place.T)]
        return self.shifts[np.where(other >= 0, other, np.arange(len(other)))]

    def _try(self, picture: np.ndarray, cost: np.ndarray, shifts: np.ndarray) -> None:
        source = self.centres + shifts
        ok = ((source >= 0) & (source < self.hole.shape)).all(axis=1) & (shifts != self.shifts).any(axis=1)
        ok[ok] = self.valid[tuple(source[ok].T)]
        chosen = np.flatnonzero(ok)
        new = self._cost(picture, shifts, chosen)
        better = new < cost[chosen]
        cost[chosen[better]] = new[better]
        self.shifts[chosen[better]] = shifts[chosen[better]]

    def _cost(self, picture: np.ndarray, shifts: np.ndarray, chosen: np.ndarray | None = None) -> np.ndarray:
        """Squared difference of each chosen node's patch in ``picture`` and where its shift leads, float32 (N,)."""
        chosen = np.arange(len(shifts)) if chosen is None else chosen
        height, width = self.hole.shape
        offsets = np.arange(-_REACH_PX, _REACH_PX + 1, _STRIDE_PX)
        target, source = picture.reshape(-1, 3), self.image.reshape(-1, 3)
        cost = np.empty(len(chosen), np.float32)
        for first in range(0, len(chosen), _CHUNK):
            part = chosen[first : first + _CHUNK]
            ys = np.clip(self.centres[part, 0, None] + offsets, 0, height - 1)
            xs = np.clip(self.centres[part, 1, None] + offsets, 0, width - 1)
            place = (ys[:, :, None] * width + xs[:, None, :]).reshape(len(part), -1)
            there = place + (shifts[part] @ (width, 1))[:, None]
            difference = target[place].astype(np.float32) - source[there]
            cost[first : first + _CHUNK] = np.einsum("npc,npc->n", difference, difference)
        return cost
