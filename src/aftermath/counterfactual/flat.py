"""Flat pairs: cut-outs before a painted room, each moved by a simple law. No MuJoCo, and a fraction of a pair's time.

They are what a model meets first: that the object goes with its shadow, that what lay behind it comes back, and that a
thing which is elsewhere without it is painted there, as it looked, and no longer here. What a thing does is drawn, not
simulated (it falls evenly, bounces once, slows down), so nothing is scored on them, and the suite holds none.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from aftermath.core import Level
from aftermath.counterfactual.film import add_grain, write_pictures, write_quadmask
from aftermath.counterfactual.label import quadmask_of
from aftermath.counterfactual.surfaces import PATTERNS, Surface, paint
from aftermath.media.files import explained

__all__ = ["FLAT", "FLAT_FILES", "FlatPair", "draw_flat", "write_flat"]

FLAT = "flat"
"""The name of the family."""
FLAT_FILES = ("rgb_full.mp4", "rgb_removed.mp4", "mask.mp4", "metadata.json")
_RATE = 24
_SAMPLES = 2  # over the exposure
_TEXTURE_PX = 192
_MARGIN = 0.15  # of the picture on every side, for the camera to move in
_LEAST_APART = 0.01  # of the picture's width: closer, a thing counts as where it was
_SEEN_PX = 40  # at 384x224, on the frame that shows most of it

Path2D = np.ndarray
"""Where a cut-out is at each moment, float (moments, 4): x and y of the spot on the floor that it stands on or is
above, its height over it, all in picture widths; and its turn in degrees."""


@dataclass(frozen=True)
class FlatPair:
    """``seen`` and ``truth``: uint8 (T, H, W, 3), RGB, without grain; ``quadmask``: uint8 (T, H, W)."""

    seen: np.ndarray
    truth: np.ndarray
    quadmask: np.ndarray
    caption: str


@dataclass(frozen=True)
class _CutOut:
    """``look``: float32 (S, S, 4), RGB and its share, of a thing ``size`` picture widths wide and high."""

    look: np.ndarray
    size: float
    real: Path2D
    without: Path2D


def draw_flat(seed: int, size: tuple[int, int], num_frames: int) -> FlatPair:
    """Draw the pair of a seed, ``size`` (width, height) in pixels: the same for the same numbers."""
    attempt = 0
    while True:
        pair = _drawn(np.random.default_rng([seed, 0xF1A7, attempt]), size, num_frames)
        shown = (pair.quadmask <= Level.OVERLAP).sum(axis=(1, 2)).max()
        moved = np.isin(pair.quadmask, (Level.AFFECTED, Level.OVERLAP)).sum(axis=(1, 2)).max()
        if min(shown, moved) > _SEEN_PX * size[0] * size[1] / (384 * 224):
            return pair
        attempt += 1


def write_flat(seed: int, folder: Path, size: tuple[int, int], num_frames: int) -> None:
    """Write a pair as the reference's training folder, without ``truth.json``; there whole or not at all."""
    pair, part = draw_flat(seed, size, num_frames), folder.with_name(f".{folder.name}.part")
    about = {
        "bg": pair.caption, "prompt": pair.caption, "family": FLAT, "seed": seed, "num_frames": num_frames,
        "frame_rate": _RATE, "size": list(size), "rejected": 0,
    }  # fmt: skip
    shutil.rmtree(part, ignore_errors=True)
    with explained(folder):
        part.mkdir()
        try:
            for name, pictures, number in (("rgb_full", pair.seen, 0), ("rgb_removed", pair.truth, 1)):
                grainy = (add_grain(p, (seed, number, t)) for t, p in enumerate(pictures))
                write_pictures(part / f"{name}.mp4", grainy, _RATE, pictures[0].shape)
            write_quadmask(part / "mask.mp4", pair.quadmask, _RATE, preset="fast")
            (part / "metadata.json").write_text(json.dumps(about, ensure_ascii=False) + "\n", "utf-8")
            part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _drawn(rng: np.random.Generator, size: tuple[int, int], num_frames: int) -> FlatPair:
    stage = _Stage(rng, size, num_frames)
    times = np.arange(num_frames * _SAMPLES) / (num_frames * _SAMPLES)
    removed, others = _happening(rng, times)
    still = [_bystander(rng, len(times)) for _ in range(rng.integers(0, 4))]
    films: dict[str, np.ndarray] = {}
    for name, world, gone in (("seen", "real", False), ("unseen", "real", True), ("truth", "without", True)):
        shown = [*still, *others, *([] if gone else removed)]
        films[name] = np.stack([stage.picture(t, shown, world) for t in range(num_frames)])
    here, there = [*still, *others, *removed], [*still, *others]
    primary = np.stack([stage.seen(t, removed, here, "real") for t in range(num_frames)])
    displaced = np.zeros_like(primary)
    for thing in others:
        apart = np.linalg.norm(thing.real[:, :3] - thing.without[:, :3], axis=1)[::_SAMPLES] > _LEAST_APART
        for t in np.flatnonzero(apart).tolist():
            displaced[t] |= stage.seen(t, [thing], here, "real") | stage.seen(t, [thing], there, "without")
    quadmask = quadmask_of(primary, films["seen"], films["unseen"], films["truth"], displaced)
    return FlatPair(films["seen"], films["truth"], quadmask, "cut-outs before a wall")


class _Stage:
    """The room, the camera's way and how cut-outs are drawn before it."""

    def __init__(self, rng: np.random.Generator, size: tuple[int, int], num_frames: int) -> None:
        self._size = size
        width, height = (round(side * (1 + 2 * _MARGIN)) for side in size)
        self._horizon = float(rng.uniform(0.2, 0.5)) * height
        self._room = _room(rng, (width, height), self._horizon)
        self._views = _views(rng, num_frames * _SAMPLES)
        self._lean = float(rng.uniform(-0.8, 0.8))  # where the lamp stands: shadows fall to the other side
        self._dark, self._soft = float(rng.uniform(0.25, 0.7)), float(rng.uniform(0.04, 0.2))

    def picture(self, frame: int, things: list[_CutOut], world: str) -> np.ndarray:
        """Frame ``frame`` of a ``world``, uint8 (H, W, 3): the mean over the exposure."""
        total = np.zeros((self._size[1], self._size[0], 3), np.float32)
        for at in range(frame * _SAMPLES, (frame + 1) * _SAMPLES):
            view = self._view(at)
            picture = cv2.warpAffine(self._room, view, self._size, flags=cv2.INTER_LINEAR)
            for thing in things:
                self._cast(picture, thing, getattr(thing, world)[at], view)
            for thing in _by_depth(things, world, at):
                _lay(picture, thing.look, _placed(thing, getattr(thing, world)[at], view, self._size[0]))
            total += picture
        return np.clip(np.rint(total / _SAMPLES), 0, 255).astype(np.uint8)

    def seen(self, frame: int, things: list[_CutOut], among: list[_CutOut], world: str) -> np.ndarray:
        """Whose pixels are any of ``things``'s, not hidden by others of ``among``, which holds them: bool (H, W)."""
        most = np.zeros((self._size[1], self._size[0]), np.float32)
        for at in range(frame * _SAMPLES, (frame + 1) * _SAMPLES):
            view, found = self._view(at), np.zeros_like(most)
            for thing in _by_depth(among, world, at):
                place = _placed(thing, getattr(thing, world)[at], view, self._size[0])
                share = cv2.warpAffine(np.ascontiguousarray(thing.look[..., 3]), place, self._size)
                mine = any(thing is one for one in things)
                found = np.maximum(found, share) if mine else found * (1 - share)
            np.maximum(most, found, out=most)
        return most > 0.05

    def _view(self, at: int) -> np.ndarray:
        """From the room's pixels, or from widths times the picture's width, to the picture's: (2, 3)."""
        x, y, zoom, turn = self._views[at]
        width, height = self._size
        middle = (0.5 + _MARGIN + x) * width, (0.5 + _MARGIN) * height + y * width
        view = cv2.getRotationMatrix2D(middle, turn, zoom)
        view[:, 2] += np.array([width / 2, height / 2]) - middle
        return view

    def _cast(self, picture: np.ndarray, thing: _CutOut, where: np.ndarray, view: np.ndarray) -> None:
        """Darken the floor under a thing; the higher it is, the further off and the softer."""
        x, y, high, _ = where
        width, reach = self._size[0], thing.size * (0.55 + 0.3 * abs(self._lean))
        centre = np.array([x + self._lean * (high + 0.35 * thing.size), y]) * width
        side = 48
        rows, columns = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
        edge = self._soft + 0.8 * min(1.0, high / 0.3)
        share = np.clip((1 - np.hypot(columns, rows)) / edge, 0, 1).astype(np.float32)
        look = np.dstack([np.zeros((side, side, 3), np.float32), share * self._dark])
        scale = np.array([reach, 0.35 * reach]) * width / side * (1 + 0.5 * min(1.0, high / 0.3))
        local = np.array(
            [[2 * scale[0], 0, centre[0] - scale[0] * side], [0, 2 * scale[1], centre[1] - scale[1] * side]]
        )
        _lay(picture, look, view @ np.vstack([local, [0, 0, 1]]))


def _by_depth(things: list[_CutOut], world: str, at: int) -> list[_CutOut]:
    """The furthest first: the nearer stands lower in the picture."""
    return sorted(things, key=lambda thing: getattr(thing, world)[at, 1])


def _room(rng: np.random.Generator, size: tuple[int, int], horizon: float) -> np.ndarray:
    """A wall and a floor in perspective, float32 (H, W, 3)."""
    width, height = size
    picture = np.empty((height, width, 3), np.float32)
    wall = _painted(rng, 512)
    times = rng.uniform(0.6, 1.6)
    flat = np.array([[times * width / 512, 0, 0], [0, times * width / 512, 0]])
    picture[:] = cv2.warpAffine(wall, flat, size, borderMode=cv2.BORDER_WRAP, flags=cv2.INTER_AREA)
    near = rng.uniform(0.8, 2.0) * 512
    corners = np.array([[0, 0], [near, 0], [near, near], [0, near]], np.float32)
    seen = np.array(
        [[0, horizon], [width, horizon], [1.8 * width, 1.3 * height], [-0.8 * width, 1.3 * height]]
    )
    floor = cv2.warpPerspective(
        _painted(rng, 512), cv2.getPerspectiveTransform(corners, seen.astype(np.float32)), size,
        borderMode=cv2.BORDER_WRAP, flags=cv2.INTER_LINEAR,
    )  # fmt: skip
    picture[int(horizon) :] = floor[int(horizon) :]
    across, down = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    light = 1 + rng.uniform(-0.25, 0.25) * across + rng.uniform(-0.25, 0.25) * down
    return np.clip(picture * light[..., None], 0, 255).astype(np.float32)


def _painted(rng: np.random.Generator, size_px: int) -> np.ndarray:
    colour, accent = rng.uniform(0.08, 0.95, 3), rng.uniform(0.05, 0.95, 3)
    if rng.random() < 0.6:  # near its ground, as most things are
        accent = np.clip(colour * rng.uniform(0.5, 1.5), 0, 1)
    surface = Surface(str(rng.choice(sorted(PATTERNS))), tuple(colour), tuple(accent))
    return paint(surface, size_px, int(rng.integers(1 << 30))).astype(np.float32)


def _views(rng: np.random.Generator, count: int) -> np.ndarray:
    """x, y (in picture widths), zoom and turn (degrees) of the camera: still, panning, zooming or held by hand."""
    views, t = np.zeros((count, 4)), np.linspace(-0.5, 0.5, count)
    views[:, 2] = 1
    kind = rng.choice(["still", "pan", "zoom", "hand"], p=[0.4, 0.25, 0.15, 0.2])
    if kind == "pan":
        views[:, :2] = t[:, None] * rng.uniform(-0.16, 0.16, 2) * [1, 0.4]
    elif kind == "zoom":
        views[:, 2] = 1 + t * rng.uniform(-0.3, 0.3)
    elif kind == "hand":
        for wave in range(1, 4):
            phase = rng.uniform(0, 2 * np.pi, 4)
            views += np.sin(2 * np.pi * wave * t[:, None] + phase) * [0.012, 0.008, 0.006, 0.5] / wave
    return views


def _look(rng: np.random.Generator) -> np.ndarray:
    """A ball, a box, a bottle or a blob, textured and lit: float32 (S, S, 4)."""
    side = _TEXTURE_PX
    rows, columns = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    kind = rng.choice(["ball", "box", "bottle", "blob"])
    wide, tall = rng.uniform(0.5, 1, 2)
    if kind == "ball":
        inside = np.hypot(columns, rows)
    elif kind == "box":
        inside = np.maximum(abs(columns) / wide, abs((rows - 1) / 2 / tall + 0.5) * 2)
    elif kind == "bottle":
        narrow = wide * np.where(rows < rng.uniform(-0.4, 0.2), rng.uniform(0.3, 0.7), 0.9)
        inside = np.maximum(abs(columns) / narrow, abs(rows))
    else:
        angle = np.arctan2(rows, columns)
        bumps = sum(rng.uniform(-0.12, 0.12) * np.cos(k * angle + rng.uniform(0, 6)) for k in range(2, 6))
        inside = np.hypot(columns, rows) / (0.8 + bumps)
    share = np.clip((1 - inside) * side / 6, 0, 1)
    lit = 1 + rng.uniform(0.1, 0.45) * (rng.uniform(-1, 1) * columns - rows * rng.uniform(0.2, 1))
    if kind != "box":
        lit -= 0.35 * np.clip(inside, 0, 1) ** 2
    repeat = int(rng.integers(1, 3))
    texture = cv2.resize(
        np.tile(_painted(rng, side), (repeat, repeat, 1)), (side, side), interpolation=cv2.INTER_AREA
    )
    colour = np.clip(texture * lit[..., None], 0, 255)
    return np.dstack([colour, share]).astype(np.float32)


def _placed(thing: _CutOut, where: np.ndarray, view: np.ndarray, width: int) -> np.ndarray:
    """From a look's pixels to the picture's, (2, 3)."""
    x, y, high, turn = where
    scale, half = thing.size * width / _TEXTURE_PX, _TEXTURE_PX / 2
    local = cv2.getRotationMatrix2D((half, half), turn, scale)
    local[:, 2] += np.array([x, y - high - thing.size / 2]) * width - half
    return view @ np.vstack([local, [0, 0, 1]])


def _lay(picture: np.ndarray, look: np.ndarray, place: np.ndarray) -> None:
    """Lay a look, float32 (S, S, 4), over a picture, float32 (H, W, 3), in place."""
    side = len(look)
    corners = place @ np.array([[0, side, side, 0], [0, 0, side, side], [1, 1, 1, 1]])
    x0, y0 = np.floor(corners.min(axis=1)).astype(int).clip(0)
    x1, y1 = np.minimum(np.ceil(corners.max(axis=1)).astype(int) + 1, picture.shape[1::-1])
    if x1 <= x0 or y1 <= y0:
        return
    moved = place.copy()
    moved[:, 2] -= (x0, y0)
    shrunk = float(np.sqrt(abs(np.linalg.det(place[:, :2]))))
    if shrunk < 0.5:  # or the texture flickers
        small = cv2.resize(look, None, fx=2 * shrunk, fy=2 * shrunk, interpolation=cv2.INTER_AREA)
        moved[:, :2] *= side / len(small)
        look = small
    laid = cv2.warpAffine(look, moved, (int(x1 - x0), int(y1 - y0)), flags=cv2.INTER_LINEAR)
    share = laid[..., 3:]
    part = picture[y0:y1, x0:x1]
    part += share * (laid[..., :3] - part)


def _bystander(rng: np.random.Generator, count: int) -> _CutOut:
    way = np.tile(_spot(rng), (count, 1))
    return _CutOut(_look(rng), rng.uniform(0.05, 0.16), way, way)


def _spot(rng: np.random.Generator) -> np.ndarray:
    """Somewhere on the floor."""
    return np.array([_MARGIN + rng.uniform(0.1, 0.9), _MARGIN + rng.uniform(0.3, 0.55), 0.0, 0.0])


_Ways = tuple[Path2D, list[tuple[Path2D, Path2D]]]
"""Of the removed, and of each thing that it acts on with it and without it."""


def _happening(rng: np.random.Generator, times: np.ndarray) -> tuple[list[_CutOut], list[_CutOut]]:
    """The removed, and what it acts on."""
    kinds = (_carries, _stops, _hits, _moves_along, _holds)
    size, spot = rng.uniform(0.1, 0.24), _spot(rng)
    many = int(rng.integers(1, 3))
    sizes = rng.uniform(0.07, 0.17, many)
    act = kinds[rng.integers(len(kinds))]
    way, ways = act(rng, times, spot, size, sizes)
    removed = _CutOut(_look(rng), size, way, way)
    return [removed], [_CutOut(_look(rng), one, *both) for one, both in zip(sizes, ways, strict=True)]


def _still(times: np.ndarray, spot: np.ndarray) -> Path2D:
    return np.tile(spot, (len(times), 1))


def _fallen(rng: np.random.Generator, times: np.ndarray, way: Path2D, start: float) -> Path2D:
    """As ``way`` until ``start``, then down to the floor from there, with a small bounce and some drift."""
    found, after = way.copy(), np.clip(times - start, 0, None)
    first = way[min(int(np.searchsorted(times, start)), len(times) - 1)]
    weight = rng.uniform(4, 12)
    lands = np.sqrt(2 * max(1e-6, first[2]) / weight)
    back = rng.uniform(0, 0.45) * weight * lands
    high = np.where(
        after < lands,
        first[2] - weight * after**2 / 2,
        np.clip(back * (after - lands) - weight * (after - lands) ** 2 / 2, 0, None),
    )
    fallen = after > 0
    drift, spin = rng.uniform(-0.25, 0.25), rng.uniform(-120, 120)
    slowed = np.minimum(after, lands) + (1 - np.exp(-3 * np.clip(after - lands, 0, None))) / 3
    found[fallen, 0] = first[0] + drift * slowed[fallen]
    found[fallen, 1] = first[1]
    found[fallen, 2] = high[fallen]
    found[fallen, 3] = first[3] + spin * slowed[fallen]
    return found


def _carries(
    rng: np.random.Generator, times: np.ndarray, spot: np.ndarray, size: float, sizes: np.ndarray
) -> _Ways:
    """Things stand on it, and fall."""
    way, ways = _still(times, spot), []
    for index, one in enumerate(sizes):
        on = spot + np.array(
            [size * rng.uniform(-0.3, 0.3), 0.002 * (index + 1), size * 0.95 + one * 0.8 * index, 0]
        )
        real = _still(times, on)
        ways.append((real, _fallen(rng, times, real, 0.0 if rng.random() < 0.8 else rng.uniform(0, 0.3))))
    return way, ways


def _holds(
    rng: np.random.Generator, times: np.ndarray, spot: np.ndarray, size: float, sizes: np.ndarray
) -> _Ways:
    """It is high up, and things hang from it."""
    high = rng.uniform(0.1, 0.3)
    swing = rng.uniform(0, 0.05) * np.sin(2 * np.pi * (rng.uniform(0.5, 2) * times + rng.random()))
    way = _still(times, spot + np.array([0, 0, high, 0]))
    way[:, 0] += swing
    ways = []
    for one in sizes:
        real = way + np.array([size * rng.uniform(-0.4, 0.4), 0.002, -one * 0.9, 0])
        real[:, 2] = real[:, 2].clip(0.02)
        ways.append((real, _fallen(rng, times, real, 0.0)))
    return way, ways


def _rolled(times: np.ndarray, spot: np.ndarray, speed: np.ndarray, size: float, drag: float) -> Path2D:
    """Along the floor from ``spot``, slowing down."""
    way = _still(times, spot)
    gone = (1 - np.exp(-drag * times)) / drag
    way[:, :2] += gone[:, None] * speed
    way[:, 3] = -gone * speed[0] / size * 115
    return way


def _stops(
    rng: np.random.Generator, times: np.ndarray, spot: np.ndarray, size: float, sizes: np.ndarray
) -> _Ways:
    """Things come up to it and stay or bounce back; without it they go on."""
    way, ways = _still(times, spot), []
    for one in sizes:
        side, hits = rng.choice([-1, 1]), rng.uniform(0.1, 0.7)
        drag, gap = rng.uniform(0.1, 2), (size + one) / 2
        reach = rng.uniform(0.25, 0.6)
        gone = (1 - np.exp(-drag * hits)) / drag
        speed = np.array([-side * reach / gone, 0.0])
        start = spot + np.array([side * (gap + reach), rng.uniform(-0.01, 0.03), 0, 0])
        without = _rolled(times, start, speed, one, drag)
        real, late = without.copy(), times > hits
        back = rng.uniform(0, 0.5)
        touch = without[~late][-1]
        real[late] = touch - back * (without[late] - touch)
        ways.append((real, without))
    return way, ways


def _hits(
    rng: np.random.Generator, times: np.ndarray, spot: np.ndarray, size: float, sizes: np.ndarray
) -> _Ways:
    """It comes and knocks things on; without it they stay."""
    side, hits, drag = rng.choice([-1, 1]), rng.uniform(0.1, 0.6), rng.uniform(0.1, 1.5)
    speed = np.array([-side * rng.uniform(0.4, 1.2), 0.0])
    way = _rolled(times, spot, speed, size, drag)
    there = way[int(np.searchsorted(times, hits))]
    keeps = rng.uniform(0, 0.8)
    late = times > hits
    way[late, 0] = there[0] + keeps * (way[late, 0] - there[0])
    ways = []
    for one in sizes:
        without = _still(times, there + np.array([-side * (size + one) / 2, rng.uniform(-0.01, 0.03), 0, 0]))
        gone = np.clip(times - hits, 0, None)
        knocked = _rolled(gone, without[0], speed * rng.uniform(0.5, 1.2), one, rng.uniform(0.3, 3))
        ways.append((knocked, without))
    return way, ways


def _moves_along(
    rng: np.random.Generator, times: np.ndarray, spot: np.ndarray, size: float, sizes: np.ndarray
) -> _Ways:
    """It takes things along; without it they stay where they were."""
    ease = np.clip((times - rng.uniform(0, 0.4)) / rng.uniform(0.3, 0.8), 0, 1)
    ease = ease**2 * (3 - 2 * ease)
    to = np.array(
        [rng.uniform(-0.5, 0.5), rng.uniform(-0.05, 0.05), rng.uniform(0, 0.15), rng.uniform(-30, 30)]
    )
    way = spot + ease[:, None] * to
    ways = []
    for one in sizes:
        beside = np.array([rng.choice([-1, 1]) * (size + one) * 0.4, rng.uniform(-0.01, 0.03), 0, 0])
        real = way + beside
        without = _still(times, real[0])
        if rng.random() < 0.3:  # it only lets go of it on the way
            without = _fallen(rng, times, real, rng.uniform(0, 0.5))
        ways.append((real, without))
    return way, ways
