"""What one plane does not explain: near things pass far ones as the camera travels.

A static world's parallax is a picture of depth times the camera's travel: over the frames of a clip the motion that is
left after a homography varies in very few ways, whatever the depth (Irani 1999, "Multi-frame optical flow estimation
using subspace constraints"; plane and parallax: Irani & Anandan 1996). The ways are learnt from what keeps to them, and
every place is then described by its share of each, fitted robustly over all frames. What does not keep to them (a thing
that moves, a surface that sinks and comes back) is outvoted by its other frames and stands out as a change.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from aftermath.ahead import at_once
from aftermath.scene.membrane import membrane
from aftermath.scene.optical_flow import dis_flow, warp
from aftermath.scene.plate import masked_median, sample_indices

__all__ = ["ONE_MAP", "Bend", "Parallax", "enlarged", "frame_grid", "measure_parallax"]

ONE_MAP: Any = (
    None  # OpenCV: both coordinates stand in the first map; an empty array misreads with INTER_NEAREST
)
_WAYS = 3  # a camera that travels sideways, up and forwards moves points in three ways
_FLOW_PX = 560  # long side at which flow is measured
_CELL_PX = 2  # of those pixels: how fine depth is told
_BLOCKED_RIM_PX = 4  # analysed pixels: blur carries an object this far past its mask
_OUTLIER_PX = 0.7  # of the pixels flow is measured in: what is further off has half a say or less
_NOISE_PX = 0.3  # of one measurement
_FAR = 4.0  # times what is usual: it counts as that much at first
_ROUNDS = 4
_BASIS_PLACES = 4000
_MOSTLY_SEEN = 0.7  # of the frames
_HARDLY_SEEN = 0.2  # of the frames
_SHARED = 0.25  # of the places must go a way that is of the camera
_LITTLE_PX, _REST_CELLS = 1.5, 4  # of the pixels flow is measured in; of the cells of depth
_STRONG_EDGE = 40.0  # levels a pixel (Sobel)
_SMOOTH_CELLS = 1.5
_RIDGE = 1e-3
_STEPS = 8
_HELD = 128  # small frames


@dataclass(frozen=True)
class Bend:
    """One frame's parallax. A static point at plate pixel p is at p + ``shape``(p) @ ``ways`` of the registered frame
    (its pixels taken to the plate by `Camera.to_plate`), and a little further.

    ``ways`` float32 (K, 2); ``shape`` float32 (h', w', K), coarse, over a plate of ``size`` (width, height). ``rest``
    float32 (h", w", 2), coarser still: that little, of the lens, the shutter and the homography's own error.
    """

    ways: np.ndarray
    shape: np.ndarray
    rest: np.ndarray
    size: tuple[int, int]

    def shift(self, points: np.ndarray) -> np.ndarray:
        """How far plate pixels float32 (h, w, 2), (x, y), are moved: float32 (h, w, 2)."""
        depth = _looked_up(self.shape, points, self.size).reshape(*points.shape[:2], -1)
        return depth @ self.ways + _looked_up(self.rest, points, self.size)

    def from_plate(self, points: np.ndarray) -> np.ndarray:
        """Where plate pixels float32 (h, w, 2) are in the registered frame, float32 (h, w, 2)."""
        return points + self.shift(points)

    def to_plate(self, points: np.ndarray) -> np.ndarray:
        """The opposite of `from_plate`. At an edge of depth, where near things hide far ones, one of the answers."""
        out = points
        for _ in range(_STEPS):  # half steps: where the bend is steep whole ones swing
            out = (0.5 * (out + points - self.shift(out))).astype(np.float32)
        return out


def _looked_up(coarse: np.ndarray, points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    scale = np.array(coarse.shape[1::-1], np.float32) / np.array(size, np.float32)
    at = ((points + 0.5) * scale - 0.5).astype(np.float32)
    return cv2.remap(coarse, at, ONE_MAP, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


@dataclass(frozen=True)
class Parallax:
    """The `Bend` of every frame: ``ways`` float32 (T, K, 2), ``rest`` float32 (T, h", w", 2), the others as there."""

    ways: np.ndarray
    shape: np.ndarray
    rest: np.ndarray
    size: tuple[int, int]

    def __getitem__(self, t: int) -> Bend:
        return Bend(self.ways[t], self.shape, self.rest[t], self.size)

    def scaled(self, sx: float, sy: float) -> Parallax:
        """The same for a plate ``sx`` times as wide and ``sy`` times as high."""
        size = (round(self.size[0] * sx), round(self.size[1] * sy))
        scale = np.array([sx, sy], np.float32)
        return Parallax(self.ways * scale, self.shape, self.rest * scale, size)

    @property
    def furthest_px(self) -> float:
        """How far it moves anything in any frame, pixels."""
        places = self.shape.reshape(-1, self.shape.shape[-1])
        return float(max(np.linalg.norm(places @ ways, axis=1).max() for ways in self.ways))


def measure_parallax(
    frames: np.ndarray, blocked: np.ndarray, to_plate: np.ndarray, size: tuple[int, int], reference: int
) -> Parallax | None:
    """Learn the parallax of ``frames`` uint8 (T, H, W, 3) RGB from optical flow; None where there is too little to see.

    ``blocked`` boolean (T, H, W) is not of the static world (the object). ``to_plate`` float64 (T, 3, 3) registers each
    frame on a plate of ``size`` (width, height). Flow is chained from frame ``reference`` frame by frame, measured
    again over the whole way, and then twice against the plate that results.
    """
    index = sample_indices(len(frames))
    num_ways = min(_WAYS, len(index) - 1)
    if num_ways < 1:
        return None
    film = _Registered(frames, blocked, to_plate, size)
    flows = _chained(film, index, reference)
    target, known = film[reference]
    flow, valid = _compared_all(film, index, target, known, flows)
    # the reference may show a place as it seldom is, and all else moved against it
    flow -= _usual(flow, valid)
    ways, shape = _fit(flow, valid, _texture(target), num_ways)
    target, known = _plate(film, index, ways, shape)
    flows = [_field(way, shape, film.size) for way in ways]
    flow, valid = _compared_all(film, index, target, known, flows)
    ways, shape = _fit(flow, valid, _texture(target), num_ways)
    target, known = _plate(film, index, ways, shape)
    between = [np.interp(np.arange(len(frames)), index, column) for column in ways.reshape(len(index), -1).T]
    guess = np.stack(between, axis=1).reshape(len(frames), num_ways, 2).astype(np.float32)
    texture, plane = _texture(target), _plane(*shape.shape[:2])

    def settled(t: int) -> tuple[np.ndarray, np.ndarray]:
        flow, valid = _compared(target, known, *film[t], _field(guess[t], shape, film.size))
        first = np.concatenate([guess[t], np.zeros((plane.shape[-1], 2), np.float32)])
        own = _ways(flow, valid * texture, np.dstack([shape, plane]), first)
        tilted = plane @ own[num_ways:]
        if not shape.any():  # one plane is enough: what is left of it is noise
            return own[:num_ways], _shrunk(tilted)
        return own[:num_ways], _rest(flow - shape @ own[:num_ways], tilted, valid)

    found = list(at_once(settled, range(len(frames))))
    small = Parallax(np.stack([w for w, _ in found]), shape, np.stack([r for _, r in found]), film.size)
    return replace(small.scaled(size[0] / film.size[0], size[1] / film.size[1]), size=size)


class _Registered:
    """Small frames laid on a small plate of ``size`` (width, height), made when they are asked for and held a while."""

    def __init__(
        self, frames: np.ndarray, blocked: np.ndarray, to_plate: np.ndarray, size: tuple[int, int]
    ) -> None:
        self._shrink = min(1.0, _FLOW_PX / max(size))
        self.size = (max(8, round(size[0] * self._shrink)), max(8, round(size[1] * self._shrink)))
        self._matrices = np.diag([self.size[0] / size[0], self.size[1] / size[1], 1.0]) @ to_plate
        self._frames, self._blocked = frames, blocked
        self._held = lru_cache(_HELD)(self._made)

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, t: int) -> tuple[np.ndarray, np.ndarray]:
        """Frame ``t``, uint8 (h, w, 3), its border continued; boolean (h, w), where it shows the static world."""
        return self._held(t)

    def _made(self, t: int) -> tuple[np.ndarray, np.ndarray]:
        rim = np.ones((2 * _BLOCKED_RIM_PX + 1, 2 * _BLOCKED_RIM_PX + 1), np.uint8)
        free = np.where(cv2.dilate(self._blocked[t].view(np.uint8), rim) > 0, 0, 255).astype(np.uint8)
        image, matrix = self._frames[t], self._matrices[t]
        if self._shrink < 1:
            size = (round(image.shape[1] * self._shrink), round(image.shape[0] * self._shrink))
            matrix = matrix @ np.diag([image.shape[1] / size[0], image.shape[0] / size[1], 1.0])
            image, free = (cv2.resize(x, size, interpolation=cv2.INTER_AREA) for x in (image, free))
        image = cv2.warpPerspective(image, matrix, self.size, borderMode=cv2.BORDER_REPLICATE)
        return image, cv2.warpPerspective(free, matrix, self.size) > 250


def _chained(film: _Registered, index: np.ndarray, reference: int) -> list[np.ndarray]:
    """Flow from the reference to every frame in ``index``, added up from frame to frame: steps are short and sure."""
    num = len(film)
    flows = {reference: np.zeros((film.size[1], film.size[0], 2), np.float32)}
    for way in (1, -1):
        steps = range(reference, num - 1 if way > 0 else 0, way)
        total = flows[reference]

        def step(t: int, way: int = way) -> np.ndarray:
            (image, free), (later, also_free) = film[t], film[t + way]
            # what moves would draw along what it hides
            aimed = np.where((free & also_free)[..., None], image, later)
            return dis_flow(aimed, later, preset="fast")

        for t, flow in zip(steps, at_once(step, steps), strict=True):
            total = total + warp(flow, total)
            if t + way in index:
                flows[t + way] = total
    return [flows[int(t)] for t in index]


def _compared(
    target: np.ndarray, known: np.ndarray, image: np.ndarray, free: np.ndarray, start: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Flow from ``target`` to ``image`` near ``start``, in cells: float32 (h', w', 2), and where to believe it."""
    seen = known & warp(free, start)
    aimed = np.where(
        seen[..., None], target, warp(image, start)
    )  # what has no counterpart keeps to the start
    flow = dis_flow(aimed, image, initial=start, preset="fast")
    return _cells(flow), _cells((seen & warp(free, flow)).astype(np.float32)) > 0.99


def _compared_all(
    film: _Registered, index: np.ndarray, target: np.ndarray, known: np.ndarray, flows: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """`_compared` with every sample, each near its own of ``flows``: float32 (N, h', w', 2), boolean (N, h', w')."""

    def compared(n: int) -> tuple[np.ndarray, np.ndarray]:
        return _compared(target, known, *film[int(index[n])], flows[n])

    seen = list(at_once(compared, range(len(index))))
    return np.stack([f for f, _ in seen]), np.stack([v for _, v in seen])


def _fit(
    flow: np.ndarray, valid: np.ndarray, texture: np.ndarray, num_ways: int
) -> tuple[np.ndarray, np.ndarray]:
    """``ways`` float32 (N, K, 2) and ``shape`` float32 (h', w', K) that explain ``flow`` float32 (N, h', w', 2) where
    it is ``valid`` boolean (N, h', w'), outliers voted down."""
    num, height, width = valid.shape
    rows = flow.transpose(0, 3, 1, 2).reshape(2 * num, -1)
    weight = np.repeat(valid.reshape(num, -1), 2, axis=0).astype(np.float32)
    sure = np.flatnonzero((valid.mean(axis=0) > _MOSTLY_SEEN).ravel() & (texture.ravel() > 0.3))
    if sure.size < 4 * num_ways:
        return np.zeros((num, num_ways, 2), np.float32), np.zeros((height, width, num_ways), np.float32)
    sure = sure[:: -(-sure.size // _BASIS_PLACES)]
    some, known = rows[:, sure], weight[:, sure]
    far = max(_OUTLIER_PX, _FAR * float(np.median(np.abs(some[known > 0]))))
    kept = np.clip(some, -far, far) * known
    basis = np.linalg.eigh(kept @ kept.T)[1][:, ::-1][:, :num_ways]  # the strongest ways
    share = _shares(basis, some, known)
    for _ in range(_ROUNDS):
        voted = known / (1 + ((some - basis @ share) / _OUTLIER_PX) ** 2)
        share = _shares(basis, some, voted)
        basis = np.linalg.qr(_shares(share.T, some.T, voted.T).T)[0]
        share = _shares(basis, some, voted)
    # a thing that moves has a way of its own, but few places go that way
    moved = np.abs(share) / np.sqrt(num)  # usually, pixels
    basis[:, (moved > _NOISE_PX).mean(axis=1) < _SHARED] = 0
    share = _shares(basis, some, known)
    # a way that moves next to nothing is noise, and a place seldom seen must not make much of it
    doubt = _NOISE_PX**2 / np.maximum((share**2).mean(axis=1), 1e-6)
    share = _shares(basis, rows, weight, doubt)
    for _ in range(_ROUNDS):
        share = _shares(basis, rows, weight / (1 + ((rows - basis @ share) / _OUTLIER_PX) ** 2), doubt)
    close = weight * (np.abs(rows - basis @ share) < 2 * _OUTLIER_PX)
    explained = close.sum(axis=0) > 0.5 * weight.sum(axis=0)
    shape = share.T.reshape(height, width, num_ways).astype(np.float32)
    shape = membrane(shape, ~explained.reshape(height, width) | (valid.mean(axis=0) < _HARDLY_SEEN))
    shape = np.dstack([cv2.medianBlur(np.ascontiguousarray(shape[..., k]), 5) for k in range(num_ways)])
    shape = cv2.GaussianBlur(shape, (0, 0), _SMOOTH_CELLS).reshape(height, width, num_ways)
    return basis.reshape(num, 2, num_ways).transpose(0, 2, 1).astype(np.float32), shape


def _usual(flow: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """The median of ``flow`` float32 (N, h', w', 2) over the frames in which it is ``valid``: float32 (h', w', 2)."""
    ranked = np.sort(np.where(valid[..., None], flow, np.float32(np.inf)), axis=0)
    middle = (np.maximum(valid.sum(axis=0), 1) - 1) // 2
    usual = np.take_along_axis(ranked, middle[None, ..., None], axis=0)[0]
    return np.where(np.isfinite(usual), usual, 0).astype(np.float32)


def _shares(
    basis: np.ndarray, rows: np.ndarray, weight: np.ndarray, doubt: np.ndarray | float = _RIDGE
) -> np.ndarray:
    """Least squares for every column of ``rows`` (R, P) by ``basis`` (R, K), weighted (R, P): float (K, P).

    ``doubt`` (K,) draws towards 0.
    """
    num = basis.shape[1]
    products = (basis[:, :, None] * basis[:, None, :]).reshape(len(basis), -1)
    normal = (products.T @ weight).T.reshape(-1, num, num) + doubt * np.eye(num, dtype=basis.dtype)
    return np.linalg.solve(normal, (basis.T @ (weight * rows)).T[..., None])[..., 0].T


def _ways(flow: np.ndarray, weight: np.ndarray, shape: np.ndarray, guess: np.ndarray) -> np.ndarray:
    """One frame's ways, float32 (K, 2), from its ``flow`` (h', w', 2) and the known ``shape``."""
    places, seen, weight = shape.reshape(-1, shape.shape[-1]), flow.reshape(-1, 2), weight.reshape(-1, 1)
    ways = guess
    for usual in (
        8,
        4,
        2,
        1,
        1,
    ):  # generous at first: a homography that is far off makes everything an outlier
        off = ((seen - places @ ways) ** 2).sum(axis=1, keepdims=True)
        voted = weight / (1 + off / (usual * _OUTLIER_PX) ** 2)
        normal = places.T @ (voted * places) + _RIDGE * np.eye(len(ways), dtype=np.float32)
        ways = np.linalg.solve(normal, places.T @ (voted * seen) + _RIDGE * guess)
    return ways.astype(np.float32)


def _plane(height: int, width: int) -> np.ndarray:
    """What an error of the homography looks like, to the second order: float32 (height, width, 6)."""
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    return np.dstack([np.ones_like(x), x, y, x * x, x * y, y * y]).astype(np.float32)


def _rest(off: np.ndarray, tilted: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """What the ways leave, float32 (h", w", 2), of ``off`` float32 (h', w', 2): ``tilted``, which is of the whole
    picture, and a little more that is smooth, continued where it is not little, for what is there moves or changes."""
    hole = ~valid | (np.abs(off - tilted).max(axis=-1) > _LITTLE_PX)
    share = _shrunk(1 - hole.astype(np.float32))
    mean = _shrunk((off - tilted) * ~hole[..., None])
    smooth = membrane(mean / np.maximum(share, 1e-3)[..., None], share < 0.5)
    return cv2.GaussianBlur(smooth, (0, 0), 1.0) + _shrunk(tilted)


def _shrunk(field: np.ndarray) -> np.ndarray:
    size = (max(2, field.shape[1] // _REST_CELLS), max(2, field.shape[0] // _REST_CELLS))
    return cv2.resize(field, size, interpolation=cv2.INTER_AREA)


def _plate(
    film: _Registered, index: np.ndarray, ways: np.ndarray, shape: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The median of every second sample, bent: uint8 (h, w, 3), and where it is known."""

    def bent(n: int) -> tuple[np.ndarray, np.ndarray]:
        image, free = film[int(index[n])]
        field = _field(ways[n], shape, film.size)
        return warp(image, field), warp(free, field)

    seen = list(at_once(bent, range(0, len(index), 2)))
    free = np.stack([f for _, f in seen])
    return masked_median(np.stack([image for image, _ in seen]), free), free.sum(axis=0) > 0


def _field(ways: np.ndarray, shape: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(shape @ ways, size, interpolation=cv2.INTER_LINEAR)


def _cells(values: np.ndarray) -> np.ndarray:
    size = (max(1, values.shape[1] // _CELL_PX), max(1, values.shape[0] // _CELL_PX))
    return cv2.resize(values, size, interpolation=cv2.INTER_AREA)


def _texture(image: np.ndarray) -> np.ndarray:
    """How much there is to hold flow by: float32 (h', w'), 0 to 1, in cells."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    edges = np.hypot(cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1))
    return np.minimum(_cells(edges) / _STRONG_EDGE, 1)


def frame_grid(matrix: np.ndarray, size: tuple[int, ...], step: int) -> np.ndarray:
    """Pixels of a picture of ``size`` (H, W) taken through a homography: float32 (h', w', 2), (x, y).

    Sample (i, j) is pixel (i - 1, j - 1) * ``step``; it is straight enough in between (see `enlarged`).
    """
    ys, xs = (np.arange(-step, n + 2 * step, step, dtype=np.float32) for n in size)
    grid = np.stack(np.meshgrid(xs, ys), axis=-1)
    return cv2.perspectiveTransform(grid, matrix).astype(np.float32)


def enlarged(coarse: np.ndarray, rows: slice, cols: slice, step: float, first: float = 0) -> np.ndarray:
    """Rows and columns of a picture of which ``coarse`` has every ``step``-th pixel; pixel 0 is sample ``first``."""
    stride_y, stride_x = rows.step or 1, cols.step or 1
    move = np.array(
        [[stride_x / step, 0, cols.start / step + first], [0, stride_y / step, rows.start / step + first]]
    )
    size = -(-(cols.stop - cols.start) // stride_x), -(-(rows.stop - rows.start) // stride_y)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(coarse, move, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
