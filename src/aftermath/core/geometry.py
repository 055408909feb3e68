"""Boxes, points, grids and valid lengths. Pixels, RGB order and half-open ranges everywhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Box", "Grid", "fit_long_side", "valid_length"]

_SHORT_SIDE_CELLS = 8


@dataclass(frozen=True)
class Box:
    """An axis-aligned box in pixels, half-open: x0 <= x < x1, y0 <= y < y1."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def width(self) -> float:
        """Extent along x, pixels."""
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        """Extent along y, pixels."""
        return self.y1 - self.y0

    @property
    def center(self) -> tuple[float, float]:
        """(x, y) of the middle, pixels."""
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2

    def scaled(self, sx: float, sy: float) -> Box:
        """The same box in an image whose axes are ``sx`` and ``sy`` times as long."""
        return Box(self.x0 * sx, self.y0 * sy, self.x1 * sx, self.y1 * sy)

    def grown(self, margin_px: float) -> Box:
        """The box with ``margin_px`` more on every side."""
        return Box(self.x0 - margin_px, self.y0 - margin_px, self.x1 + margin_px, self.y1 + margin_px)

    def moved(self, dx: float, dy: float) -> Box:
        """The box shifted by (dx, dy) pixels."""
        return Box(self.x0 + dx, self.y0 + dy, self.x1 + dx, self.y1 + dy)

    def union(self, other: Box) -> Box:
        """The smallest box that holds both."""
        return Box(
            min(self.x0, other.x0), min(self.y0, other.y0), max(self.x1, other.x1), max(self.y1, other.y1)
        )

    def contains(self, x: float, y: float) -> bool:
        """Whether the pixel position (x, y) lies inside."""
        return self.x0 <= x < self.x1 and self.y0 <= y < self.y1

    def clipped(self, width: int, height: int) -> Box:
        """The part of the box inside an image of ``width`` x ``height``."""
        return Box(
            min(max(self.x0, 0), width),
            min(max(self.y0, 0), height),
            min(max(self.x1, 0), width),
            min(max(self.y1, 0), height),
        )

    def slices(self, width: int, height: int) -> tuple[slice, slice]:
        """(rows, columns) of the whole pixels the clipped box touches."""
        box = self.clipped(width, height)
        return (
            slice(int(np.floor(box.y0)), int(np.ceil(box.y1))),
            slice(int(np.floor(box.x0)), int(np.ceil(box.x1))),
        )

    @staticmethod
    def of_mask(mask: np.ndarray) -> Box | None:
        """The tightest box round the true pixels of ``mask`` (H, W); None where there are none."""
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if rows.size == 0:
            return None
        return Box(float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))


@dataclass(frozen=True)
class Grid:
    """The reference's reasoning grid over a picture of ``width`` x ``height`` pixels.

    By default 8 cells on the short side and as many on the long one as make them nearly square (14 for 16:9).
    """

    width: int
    height: int
    rows: int = 0
    cols: int = 0

    def __post_init__(self) -> None:
        aspect = self.width / self.height
        rows = _SHORT_SIDE_CELLS if aspect >= 1 else round(_SHORT_SIDE_CELLS / aspect)
        cols = _SHORT_SIDE_CELLS if aspect < 1 else round(_SHORT_SIDE_CELLS * aspect)
        object.__setattr__(self, "rows", self.rows or rows)
        object.__setattr__(self, "cols", self.cols or cols)

    @property
    def cell_px(self) -> float:
        """Side of a cell, pixels: the mean of its two, which differ by a few in a hundred."""
        return (self.width / self.cols + self.height / self.rows) / 2

    def cell_of(self, x: float, y: float) -> tuple[int, int]:
        """(row, col) of the cell that holds pixel (x, y), clamped to the grid."""
        row = int(np.searchsorted(_borders(self.rows, self.height), y, "right")) - 1
        return self.clamped(row, int(np.searchsorted(_borders(self.cols, self.width), x, "right")) - 1)

    def clamped(self, row: int, col: int) -> tuple[int, int]:
        """The nearest cell of the grid."""
        return min(max(row, 0), self.rows - 1), min(max(col, 0), self.cols - 1)

    def box_of(self, row: int, col: int) -> Box:
        """The pixels of one cell; whole ones, as in the reference."""
        ys, xs = _borders(self.rows, self.height), _borders(self.cols, self.width)
        return Box(float(xs[col]), float(ys[row]), float(xs[col + 1]), float(ys[row + 1]))

    def cells_of(self, box: Box) -> list[tuple[int, int]]:
        """(row, col) of every cell that the box touches, clamped to the grid."""
        top, left = self.cell_of(box.x0, box.y0)
        bottom, right = self.cell_of(max(box.x0, box.x1 - 1e-6), max(box.y0, box.y1 - 1e-6))
        return [(row, col) for row in range(top, bottom + 1) for col in range(left, right + 1)]

    def snap(self, mask: np.ndarray) -> np.ndarray:
        """Grow a boolean mask (H, W) to every cell that it touches."""
        row_of = np.searchsorted(_borders(self.rows, self.height), np.arange(self.height), "right") - 1
        col_of = np.searchsorted(_borders(self.cols, self.width), np.arange(self.width), "right") - 1
        cells = np.zeros((self.rows, self.cols), bool)
        ys, xs = np.nonzero(mask)
        cells[row_of[ys], col_of[xs]] = True
        return cells[row_of][:, col_of]


def _borders(count: int, side_px: int) -> np.ndarray:
    """The whole pixels at which rows or columns of cells begin, and the end of the last."""
    return (np.arange(count + 1) * side_px / count).astype(int)


def fit_long_side(width: int, height: int, long_side_px: int) -> tuple[int, int]:
    """(width, height) scaled down, never up, until the long side is at most ``long_side_px``."""
    scale = min(1.0, long_side_px / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def valid_length(num_frames: int) -> int:
    """Smallest frame count 8k+5 that holds ``num_frames``: an even number of latent frames (VOID's VAE)."""
    return max(5, num_frames + (5 - num_frames) % 8)
