"""Shifts at full size: the hole shown as whole pieces of its surroundings, joined without seams.

After Pritch et al., "Shift-Map Image Editing" (ICCV 2009), with the joins made in the gradient domain (Perez
et al., "Poisson Image Editing", 2003). Shifts are decided on a lattice of nodes.
Axes: y before x everywhere.
"""

from __future__ import annotations

import cv2
import numpy as np

from aftermath.render.draft.patches import Matches, carry, shift_codes
from aftermath.scene.membrane import poisson

__all__ = ["ShiftMap"]

_SPACING_PX = 4
_REACH_PX = 6  # patches of 7x7 samples, two pixels apart
_STRIDE_PX = 2
_ROUNDS = 3
_JITTERS = 6
_CHUNK = 20_000
_LONELY = 50.0  # squared levels a sample that a patch may lose to share its neighbours' shift
_SEAM_LEVELS = 16.0  # a jump larger than this is structure rather than a seam to be diffused
_CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))


class ShiftMap:
    """Where each pixel of ``hole`` bool (H, W) is copied from in ``image`` uint8 (H, W, 3).

    ``image`` comes with its hole filled somehow; only ``usable`` pixels, bool (H, W), are ever copied.
    """

    def __init__(self, image: np.ndarray, hole: np.ndarray, usable: np.ndarray) -> None:
        self.image = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)  # four bytes a pixel: gathered as one word
        side = 2 * _REACH_PX + 1
        kernel = np.ones((side, side), np.uint8)
        self.valid = (
            cv2.erode(usable.astype(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
        )
        x, y, width, height = cv2.boundingRect(hole.astype(np.uint8))
        self.box = np.s_[max(0, y - 1) : y + height + 1, max(0, x - 1) : x + width + 1]
        self.hole = hole[self.box]
        self.origin = self.box[0].start, self.box[1].start
        self.index, self.nodes = self._nodes()
        self.centres = np.minimum(np.array(self.origin) + self.nodes * _SPACING_PX, np.array(hole.shape) - 1)
        self.around = self._around()
        self.shifts = np.zeros_like(self.nodes)

    def _nodes(self) -> tuple[np.ndarray, np.ndarray]:
        """The lattice nodes round every hole pixel: their number on the grid, or -1, and int (N, 2)."""
        cells = np.argwhere(self.hole) // _SPACING_PX
        index = np.full(np.array(self.hole.shape) // _SPACING_PX + 2, -1)
        for corner in _CORNERS:
            index[tuple((cells + corner).T)] = 0
        nodes = np.argwhere(index == 0)
        index[tuple(nodes.T)] = np.arange(len(nodes))
        return index, nodes

    def _around(self) -> np.ndarray:
        """int (N, 4): the nodes beside each node; itself where there is none."""
        index = np.pad(self.index, 1, constant_values=-1)
        y, x = self.nodes.T + 1
        beside = np.stack([index[y, x + 1], index[y + 1, x], index[y, x - 1], index[y - 1, x]], axis=1)
        return np.where(beside >= 0, beside, np.arange(len(beside))[:, None])

    def settle(self, matches: Matches, shape: tuple[int, int], rng: np.random.Generator) -> None:
        """Take the shifts from ``matches``, found on a picture of ``shape``, and fit them to full size."""
        self.shifts = carry(matches, shape, self.centres, self.valid) - self.centres
        picture = self.image.copy()
        jitter = int(np.ceil(self.image.shape[0] / shape[0]))
        for _ in range(_ROUNDS):
            picture[self.box][self.hole] = self._sample(self._sources())[self.hole]
            cost = self._cost(picture, np.arange(len(self.shifts)), self.shifts)
            for _ in range(4):
                for side in range(4):
                    self._try(picture, cost, self.shifts[self.around[:, side]])
            for _ in range(_JITTERS):
                self._try(picture, cost, self.shifts + rng.integers(-jitter, jitter + 1, self.shifts.shape))

    def joined(self) -> np.ndarray:
        """The picture's ``box`` with the hole copied from its sources, seams diffused; float32 (h, w, 3)."""
        sources = self._sources()
        own = self._colours(sources)
        picture = np.where(self.hole[..., None], own, self.image[self.box][..., :3]).astype(np.float32)
        right = np.zeros_like(picture)
        for dy, dx in ((0, 1), (1, 0)):
            here, there = np.s_[: len(own) - dy, : own.shape[1] - dx], np.s_[dy:, dx:]
            forward = (self._colours(sources, dy, dx) - own)[here]
            backward = (own - self._colours(sources, -dy, -dx))[there]
            first, second = self.hole[here][..., None], self.hole[there][..., None]
            wanted = (forward * first + backward * second) / np.maximum(first + second.astype(np.float32), 1)
            jump = _seam_part(wanted - (picture[there] - picture[here])) * (first | second)
            right[here] += jump
            right[there] -= jump
        return picture + poisson(right, self.hole)

    def _sources(self) -> np.ndarray:
        """float32 (2, h, w): the y and x that each pixel of the box is copied from.

        A pixel takes the shift that most of the four nodes round it have, the nearer counting more: so pieces
        meet at a clean cut, and both sides keep their grain.
        """
        ys, xs = np.arange(self.hole.shape[0]), np.arange(self.hole.shape[1])
        fraction_y, fraction_x = ys / _SPACING_PX % 1, xs / _SPACING_PX % 1
        grid = np.zeros((*self.index.shape, 2), int)
        grid[tuple(self.nodes.T)] = self.shifts
        cell_y, cell_x = ys // _SPACING_PX, xs // _SPACING_PX
        corners = [grid[cell_y + dy][:, cell_x + dx] for dy, dx in _CORNERS]
        weights = [
            np.outer(np.abs(1 - dy - fraction_y), np.abs(1 - dx - fraction_x)).astype(np.float32)
            for dy, dx in _CORNERS
        ]
        codes = [shift_codes(corner) for corner in corners]
        chosen, best = corners[0], np.zeros(self.hole.shape, np.float32)
        for corner, code in zip(corners, codes, strict=True):
            votes = sum((w * (c == code) for w, c in zip(weights, codes, strict=True)), np.float32(0))
            chosen = np.where((votes > best)[..., None], corner, chosen)
            best = np.maximum(votes, best)
        sources = np.moveaxis(chosen + self.origin, 2, 0) + np.stack(np.meshgrid(ys, xs, indexing="ij"))
        return sources.astype(np.float32)

    def _sample(self, sources: np.ndarray, dy: int = 0, dx: int = 0) -> np.ndarray:
        """What the picture shows (dy, dx) beyond each of ``sources``, uint8 (h, w, 4)."""
        y, x = sources[0] + np.float32(dy), sources[1] + np.float32(dx)
        return cv2.remap(self.image, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)

    def _colours(self, sources: np.ndarray, dy: int = 0, dx: int = 0) -> np.ndarray:
        return self._sample(sources, dy, dx)[..., :3].astype(np.float32)

    def _try(self, picture: np.ndarray, cost: np.ndarray, shifts: np.ndarray) -> None:
        """Let each node take its shift of ``shifts`` where that lowers its cost and loneliness together."""
        lonely = self._lonely(np.arange(len(shifts)), self.shifts)
        source = self.centres + shifts
        ok = ((source >= 0) & (source < self.valid.shape)).all(axis=1) & (shifts != self.shifts).any(axis=1)
        ok &= cost + lonely > 0
        ok[ok] = self.valid[tuple(source[ok].T)]
        chosen = np.flatnonzero(ok)
        new = self._cost(picture, chosen, shifts[chosen])
        better = new + self._lonely(chosen, shifts[chosen]) < cost[chosen] + lonely[chosen]
        cost[chosen[better]] = new[better]
        self.shifts[chosen[better]] = shifts[chosen[better]]

    def _lonely(self, chosen: np.ndarray, shifts: np.ndarray) -> np.ndarray:
        """What it costs the ``chosen`` nodes that their neighbours would shift otherwise, (N,)."""
        other = shift_codes(self.shifts)[self.around[chosen]] != shift_codes(shifts)[:, None]
        return _LONELY / 4 * np.count_nonzero(other, axis=1)

    def _cost(self, picture: np.ndarray, chosen: np.ndarray, shifts: np.ndarray) -> np.ndarray:
        """Mean squared difference of each chosen node's patch in ``picture`` and its source, float32 (N,)."""
        height, width = self.valid.shape
        offsets = np.arange(-_REACH_PX, _REACH_PX + 1, _STRIDE_PX)
        target, source = (values.view(np.uint32).reshape(-1) for values in (picture, self.image))
        cost = np.empty(len(chosen), np.float32)
        for first in range(0, len(chosen), _CHUNK):
            part = slice(first, first + _CHUNK)
            ys = np.clip(self.centres[chosen[part], 0, None] + offsets, 0, height - 1)
            xs = np.clip(self.centres[chosen[part], 1, None] + offsets, 0, width - 1)
            place = (ys[:, :, None] * width + xs[:, None, :]).reshape(len(ys), -1)
            there = place + (shifts[part, 0] * width + shifts[part, 1])[:, None]
            difference = target[place].view(np.uint8).astype(np.float32) - source[there].view(np.uint8)
            cost[part] = np.einsum("np,np->n", difference, difference) / difference.shape[1]
        return cost


def _seam_part(jump: np.ndarray) -> np.ndarray:
    """What of a jump (h, w, 3) is a seam: all of a small one, nothing of one twice `_SEAM_LEVELS`."""
    size = np.sqrt((jump**2).mean(axis=2, keepdims=True))
    return jump * np.clip(2 - size / _SEAM_LEVELS, 0, 1)
