"""What simulated things are made of: small procedural textures, numpy and OpenCV only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

__all__ = ["PATTERNS", "Surface", "paint"]

Colour = tuple[float, float, float]
"""RGB, each in 0..1."""


@dataclass(frozen=True)
class Surface:
    """``pattern`` names one of `PATTERNS`; ``colour`` is its ground, ``accent`` its seams, bands or spots.

    ``repeat`` counts the tilings over the thing; ``shine`` and ``mirror``, 0..1: specular and reflectance.
    """

    pattern: str
    colour: Colour
    accent: Colour = (0.0, 0.0, 0.0)
    repeat: float = 1.0
    shine: float = 0.1
    mirror: float = 0.0


def paint(surface: Surface, size_px: int, seed: int) -> np.ndarray:
    """Draw the texture of a surface: uint8 (size_px, size_px, 3), RGB; the same for the same seed.

    Raises `KeyError` for a pattern that is not in `PATTERNS`.
    """
    rng = np.random.default_rng(seed)
    share, light = PATTERNS[surface.pattern](size_px, rng)
    ground, accent = np.array(surface.colour), np.array(surface.accent)
    picture = (ground + (accent - ground) * share[..., None]) * light[..., None]
    return np.clip(np.rint(picture * 255), 0, 255).astype(np.uint8)


def _noise(size_px: int, rng: np.random.Generator, cells: tuple[int, int], octaves: int = 4) -> np.ndarray:
    """Fractal value noise (size_px, size_px), mean 0, about -1..1; ``cells``: (x, y) at the coarsest."""
    total = np.zeros((size_px, size_px))
    for octave in range(octaves):
        columns, rows = (min(count << octave, size_px) for count in cells)
        grid = rng.uniform(-1, 1, (rows, columns))
        wrapped = np.pad(grid, 2, mode="wrap")  # so that tilings meet without a seam
        scale = size_px / columns, size_px / rows
        big = cv2.resize(wrapped, None, fx=scale[0], fy=scale[1], interpolation=cv2.INTER_CUBIC)
        y, x = round(2 * scale[1]), round(2 * scale[0])
        total += big[y : y + size_px, x : x + size_px] / 2**octave
    return total / 2


Drawing = tuple[np.ndarray, np.ndarray]
"""(share of the accent 0..1, brightness factor), each float (size_px, size_px)."""


def _plain(size_px: int, rng: np.random.Generator) -> Drawing:
    return np.zeros((size_px, size_px)), 1 + 0.06 * _noise(size_px, rng, (6, 6), 5)


def _plaster(size_px: int, rng: np.random.Generator) -> Drawing:
    rough = 0.05 * _noise(size_px, rng, (3, 3), 4) + 0.08 * _noise(size_px, rng, (64, 64), 3)
    return np.clip(0.5 * _noise(size_px, rng, (4, 4), 4), 0, 1), 1 + rough


def _carpet(size_px: int, rng: np.random.Generator) -> Drawing:
    pile = 0.22 * _noise(size_px, rng, (128, 128), 3) + 0.08 * _noise(size_px, rng, (5, 5), 4)
    return np.clip(0.35 + 0.8 * _noise(size_px, rng, (90, 90), 3), 0, 1), 1 + pile


def _wood(size_px: int, rng: np.random.Generator) -> Drawing:
    return np.clip(0.25 + 0.6 * _noise(size_px, rng, (2, 40), 4), 0, 1), 1 + 0.1 * _noise(
        size_px, rng, (3, 60), 3
    )


def _planks(size_px: int, rng: np.random.Generator, rows: int = 8, seams_per_row: int = 2) -> Drawing:
    share, light = _wood(size_px, rng)
    y, x = np.mgrid[:size_px, :size_px] / size_px
    row = (y * rows).astype(int)
    along = (x + np.array([0.0, 0.37, 0.81, 0.19, 0.62, 0.04, 0.47, 0.9])[row % 8]) % 1 * seams_per_row
    tone = rng.uniform(0.82, 1.1, (rows, seams_per_row))[row, along.astype(int)]
    gap_px = size_px / 400
    edge_y = np.minimum(y * rows % 1, 1 - y * rows % 1) * size_px / rows
    edge_x = np.minimum(along % 1, 1 - along % 1) * size_px / seams_per_row
    seam = np.clip(gap_px + 1 - np.minimum(edge_y, edge_x), 0, 1)
    return np.maximum(share, 0.8 * seam), light * tone * (1 - 0.45 * seam)


def _tiles(size_px: int, rng: np.random.Generator, count: int = 4) -> Drawing:
    y, x = np.mgrid[:size_px, :size_px] / size_px * count
    tone = rng.uniform(0.9, 1.08, (count, count))[y.astype(int), x.astype(int)]
    edge = np.minimum.reduce([x % 1, 1 - x % 1, y % 1, 1 - y % 1]) * size_px / count
    grout = np.clip(size_px / 200 + 1 - edge, 0, 1)
    veins = np.exp(-((_noise(size_px, rng, (4, 4), 5) / 0.03) ** 2))
    return np.maximum(grout, 0.25 * veins), tone * (1 + 0.12 * _noise(size_px, rng, (8, 8), 5))


def _terrazzo(size_px: int, rng: np.random.Generator) -> Drawing:
    chips = _noise(size_px, rng, (90, 90), 2)
    return np.clip((chips - 0.26) * 14, 0, 1) * 0.8, 1 + 0.07 * _noise(size_px, rng, (40, 40), 4)


def _spots(size_px: int, rng: np.random.Generator) -> Drawing:
    y, x = np.mgrid[:size_px, :size_px] / size_px
    centres = ((0.28, 0.3, 0.15), (0.74, 0.68, 0.17), (0.7, 0.2, 0.09), (0.22, 0.78, 0.1))
    inside = np.max(
        [np.clip((r - np.hypot(x - cx, y - cy)) * size_px / 3, 0, 1) for cx, cy, r in centres], axis=0
    )
    return inside, 1 + 0.05 * _noise(size_px, rng, (8, 8), 4)


def _bands(size_px: int, rng: np.random.Generator) -> Drawing:
    y = np.mgrid[:size_px, :size_px][0] / size_px
    return np.clip((0.11 - abs(y - 0.5)) * size_px / 3, 0, 1), 1 + 0.06 * _noise(size_px, rng, (5, 5), 5)


def _check(size_px: int, rng: np.random.Generator) -> Drawing:
    y, x = (np.mgrid[:size_px, :size_px] / size_px * 6).astype(int)
    return ((x + y) % 2).astype(float), 1 + 0.05 * _noise(size_px, rng, (8, 8), 4)


PATTERNS: dict[str, Callable[[int, np.random.Generator], Drawing]] = {
    "bands": _bands,
    "carpet": _carpet,
    "check": _check,
    "plain": _plain,
    "planks": _planks,
    "plaster": _plaster,
    "spots": _spots,
    "terrazzo": _terrazzo,
    "tiles": _tiles,
    "wood": _wood,
}
