"""What moves: solid things told from shadows, and followed from frame to frame."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import cv2
import numpy as np

from aftermath.core import Box
from aftermath.core.channels import channel_max, channel_mean, channel_min
from aftermath.scene.base import Track

__all__ = ["Difference", "difference", "follow"]

_MAX_THINGS = 40  # a frame in pieces finer than this is not understood by following each
_MAX_TRACKS = 250  # labels are uint8
_GAP_FRAMES = 8  # a thing may be out of sight this long and still be the same
_MIN_FRAMES = 3
_TEXTURE_WINDOW_PX = 9
_LOW = 7.0  # levels: what differs by less is not seen to differ


@dataclass(frozen=True)
class Difference:
    """One frame against the plate, in frame pixels: ``amount`` uint8 (H, W), the largest channel's difference;
    ``solid`` and ``soft`` boolean (H, W): a thing hides the background, or changes its light only."""

    amount: np.ndarray
    solid: np.ndarray
    soft: np.ndarray


def difference(frame: np.ndarray, plate: np.ndarray, known: np.ndarray, noise: float) -> Difference:
    """Tell what differs from ``plate`` (both uint8 (H, W, 3) RGB, same pixels) and whether light alone explains it.

    Light that is taken away scales all channels alike (Horprasert et al. 1999, "A statistical approach for real-time
    robust background subtraction and shadow detection"), and whatever it does the background's fine texture still
    shows through. ``known`` boolean (H, W): where the plate may be trusted; elsewhere nothing differs.
    """
    height, width = known.shape
    rough = (channel_max(cv2.absdiff(frame, plate)) > _LOW) & known
    rough = cv2.morphologyEx(rough.astype(np.uint8), cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    amount, solid, soft = (
        np.zeros(known.shape, np.uint8),
        np.zeros(known.shape, bool),
        np.zeros(known.shape, bool),
    )
    box = Box.of_mask(rough > 0)
    if box is not None:  # most of a picture stands still: look closely only where something differs
        part = box.grown(2 * _TEXTURE_WINDOW_PX).slices(width, height)
        amount[part], solid[part], soft[part] = _difference(frame[part], plate[part], known[part], noise)
    return Difference(amount, solid, soft)


def _difference(
    frame: np.ndarray, plate: np.ndarray, known: np.ndarray, noise: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    smooth_frame, smooth_plate = (cv2.GaussianBlur(x, (3, 3), 0).astype(np.float32) for x in (frame, plate))
    # half a pixel of misregistration moves a value by half its gradient
    edges = 0.5 * _edge_strength(smooth_plate)
    off = channel_max(cv2.absdiff(smooth_frame, smooth_plate))
    amount = np.maximum(off - edges, 0) * known
    low, high = max(_LOW, 3 * noise), max(20.0, 6 * noise)
    ratio = (smooth_frame + 3) / (smooth_plate + 3)
    least, most = channel_min(ratio), channel_max(ratio)
    # what light is left comes from around and has a colour of its own: the deeper the shadow the more it shows
    tint = 0.10 + 0.45 * np.clip(1 - channel_mean(ratio), 0, 1)
    dimmed = (most < 1.02) & (least > 0.42) & (most - least < tint)
    see_through = _texture_shows(smooth_frame, smooth_plate, noise) & (least > 0.3)
    solid = _cleaned((amount > high) & ~dimmed & ~see_through)
    rim = cv2.dilate(solid.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    solid |= rim & (amount > low) & ~dimmed
    soft = cv2.medianBlur(((amount > low) & ~solid).astype(np.uint8), 5) > 0
    return np.minimum(amount, 255).astype(np.uint8), solid, soft & ~solid


def _edge_strength(image: np.ndarray) -> np.ndarray:
    gray = channel_mean(image)
    return np.hypot(cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1)) / 8


def _texture_shows(frame: np.ndarray, plate: np.ndarray, noise: float) -> np.ndarray:
    """Where the fine texture of the plate is seen in the frame: boolean (H, W)."""
    size = (_TEXTURE_WINDOW_PX, _TEXTURE_WINDOW_PX)
    gray_a, gray_b = channel_mean(frame), channel_mean(plate)
    fine_a, fine_b = gray_a - cv2.blur(gray_a, size), gray_b - cv2.blur(gray_b, size)
    both = cv2.blur(fine_a * fine_b, size)
    energy_a, energy_b = cv2.blur(fine_a**2, size), cv2.blur(fine_b**2, size)
    textured = energy_b > max(1.0, noise) ** 2
    return textured & (both > 0.75 * np.sqrt(energy_a * energy_b + 1e-6)) & (energy_a > 0.15 * energy_b)


def _cleaned(mask: np.ndarray) -> np.ndarray:
    """Specks off, cracks and holes closed."""
    out = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    out = cv2.morphologyEx(out, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7)))
    contours, _ = cv2.findContours(out, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(out, contours, -1, 1, thickness=cv2.FILLED)
    return out > 0


@dataclass
class _Thing:
    """A connected solid piece of one frame."""

    mask: np.ndarray  # boolean, cropped
    top: int
    left: int
    center: np.ndarray  # (x, y), plate pixels
    area: float
    color: np.ndarray  # mean Lab


@dataclass
class _Path:
    things: dict[int, _Thing] = field(default_factory=dict)

    @property
    def last(self) -> int:
        return next(reversed(self.things))

    def predict(self, t: int) -> np.ndarray:
        """Where its centre should be: on along its last step, for a while."""
        frames = list(self.things)[-3:]
        here = self.things[frames[-1]].center
        if len(frames) < 2:
            return here
        step = (here - self.things[frames[0]].center) / (frames[-1] - frames[0])
        return here + step * min(t - frames[-1], 3)


def follow(
    frames: np.ndarray, differences: Iterable[Difference], primary: np.ndarray, to_plate: np.ndarray
) -> tuple[tuple[Track, ...], np.ndarray]:
    """Link the solid pieces of every frame into tracks.

    ``frames`` uint8 (T, H, W, 3) RGB; ``primary`` boolean (T, H, W) is not a thing of its own; ``to_plate`` float64
    (T, 3, 3). Pieces are matched greedily by predicted place, size and colour, the surest pair first. Returns the
    tracks and their labels, uint8 (T, H, W).
    """
    paths: list[_Path] = []
    for t, diff in enumerate(differences):
        grown = cv2.dilate(primary[t].astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        lab = cv2.cvtColor(frames[t], cv2.COLOR_RGB2LAB)
        things = _pieces(diff.solid & ~grown, lab, to_plate[t])
        open_paths = [p for p in paths if t - p.last <= _GAP_FRAMES]
        taken = _match(open_paths, things, t, frames.shape[1:3])
        for i in taken:
            _claim(grown, things[i])
        for path in open_paths:
            if t not in path.things and t - path.last == 1:
                _look_closer(path, t, diff, grown, lab, to_plate[t])
        paths += [_Path({t: thing}) for i, thing in enumerate(things) if i not in taken]
    return _write(paths, primary)


def _pieces(solid: np.ndarray, lab: np.ndarray, to_plate: np.ndarray) -> list[_Thing]:
    least = max(24, solid.size // 12000)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(solid.astype(np.uint8))
    order = np.argsort(-stats[1:, cv2.CC_STAT_AREA])[:_MAX_THINGS] + 1
    things = []
    for label in order:
        left, top, width, height, area = stats[label]
        if area >= least:
            mask = labels[top : top + height, left : left + width] == label
            things.append(_thing(mask, top, left, lab, to_plate))
    return things


def _thing(mask: np.ndarray, top: int, left: int, lab: np.ndarray, to_plate: np.ndarray) -> _Thing:
    ys, xs = np.nonzero(mask)
    x, y, w = to_plate @ (xs.mean() + left, ys.mean() + top, 1.0)
    color = lab[top : top + mask.shape[0], left : left + mask.shape[1]][mask].mean(axis=0)
    return _Thing(mask, int(top), int(left), np.array([x / w, y / w]), float(mask.sum()), color)


def _match(paths: list[_Path], things: list[_Thing], t: int, size: tuple[int, ...]) -> set[int]:
    """Give each path at most one piece of frame ``t``; returns the pieces taken."""
    reach = 0.12 * math.hypot(*size)
    pairs = []
    for p, path in enumerate(paths):
        for i, thing in enumerate(things):
            cost = _cost(path, thing, t, reach)
            if cost < 1.0:
                pairs.append((cost, p, i))
    taken_paths: set[int] = set()
    taken: set[int] = set()
    for _, p, i in sorted(pairs):
        if p not in taken_paths and i not in taken:
            paths[p].things[t] = things[i]
            taken_paths.add(p)
            taken.add(i)
    return taken


def _cost(path: _Path, thing: _Thing, t: int, reach: float) -> float:
    """0 for the same thing at its predicted place, 1 or more for another thing."""
    last = path.things[path.last]
    distance = min(math.dist(path.predict(t), thing.center), math.dist(last.center, thing.center))
    if distance >= reach:
        return 1.0
    size_ratio = abs(np.log(thing.area / last.area)) / np.log(4.0)
    color = float(np.linalg.norm(thing.color - last.color)) / 60.0
    return float(np.sqrt((distance / reach) ** 2 + size_ratio**2 + color**2))


def _look_closer(
    path: _Path, t: int, diff: Difference, taken: np.ndarray, lab: np.ndarray, to_plate: np.ndarray
) -> None:
    """A thing blurred by its own speed lets the background through: take what differs most at its place.

    Only from pixels that are not ``taken``, boolean (H, W), by the primary object or another path.
    """
    last = path.things[path.last]
    x, y, w = np.linalg.inv(to_plate) @ (*path.predict(t), 1.0)
    half = 0.9 * np.sqrt(last.area)
    height, width = diff.amount.shape
    top, bottom = int(max(0, y / w - half)), int(min(height, y / w + half + 1))
    left, right = int(max(0, x / w - half)), int(min(width, x / w + half + 1))
    if bottom - top < 3 or right - left < 3:
        return
    amount = np.where(taken[top:bottom, left:right], 0, diff.amount[top:bottom, left:right])
    strong = _cleaned(amount > max(20.0, 0.5 * float(np.percentile(amount, 98))))
    if 0.35 * last.area < strong.sum() < 2.0 * last.area:
        path.things[t] = _thing(strong, top, left, lab, to_plate)
        _claim(taken, path.things[t])


def _claim(taken: np.ndarray, thing: _Thing) -> None:
    """Mark the pixels of ``thing`` in ``taken``, boolean (H, W); in place."""
    height, width = thing.mask.shape
    taken[thing.top : thing.top + height, thing.left : thing.left + width] |= thing.mask


def _write(paths: list[_Path], primary: np.ndarray) -> tuple[tuple[Track, ...], np.ndarray]:
    num_frames = len(primary)
    labels = np.zeros(primary.shape, np.uint8)
    least = min(_MIN_FRAMES, num_frames)
    kept = sorted((p for p in paths if len(p.things) >= least), key=lambda p: -_weight(p))[:_MAX_TRACKS]
    tracks = []
    for label, path in enumerate(kept, start=1):
        centers, areas = np.full((num_frames, 2), np.nan), np.zeros(num_frames)
        for t, thing in path.things.items():
            rows = slice(thing.top, thing.top + thing.mask.shape[0])
            cols = slice(thing.left, thing.left + thing.mask.shape[1])
            labels[t, rows, cols][thing.mask & (labels[t, rows, cols] == 0)] = label
            centers[t], areas[t] = thing.center, thing.area
        tracks.append(Track(label, centers, areas))
    return tuple(tracks), labels


def _weight(path: _Path) -> float:
    return sum(thing.area for thing in path.things.values())
