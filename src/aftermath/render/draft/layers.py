"""Things that remain, put back where they would be: at rest, on along their way, or fallen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from aftermath.core import Action, AffectedObject, Level, PathPoint
from aftermath.render.base import Job
from aftermath.render.draft.backdrop import Backdrop, Frames
from aftermath.render.draft.matte import cut_out
from aftermath.render.draft.nearest import View
from aftermath.scene.base import Track
from aftermath.scene.shadows import Shadow, find_lighting, light_of
from aftermath.scene.sprites import Sprite, best_frame, cut_sprite, ground_of, put

__all__ = ["Layer", "cut_bystanders", "cut_layers", "cut_sprites", "paint", "painted_order", "scraps"]

_ROUND = 0.86  # circularity from which a thing that goes on is taken to roll
_MARGIN_PX = 6  # analysed pixels round the sprite: its blurred rim
_SCRAP_SHARE = 0.001  # of the picture
_LEFTOVER_SHARE, _ONLY_THERE = 0.0025, 0.85  # of the picture; of a track's pixels
_PART_SHARE, _RIM_PX = 0.6, 2  # of a track's pixels
_CROSSED_PX, _SEARCH_PX = 5, 5  # analysed pixels
_KNOWN_SHARE = 0.9  # of the window: with less, the background's own colours are no help


@dataclass(frozen=True)
class Layer:
    """A thing cut out at full size, and where its centre goes.

    ``color`` float32 (h, w, 3); ``alpha`` float32 (h, w), 1 where it hides the background; ``light`` float32
    (h, w, 3), what its rim and its shadow leave of the background's light. ``center`` (x, y) inside the window.
    ``path``: frame to (x, y), full-size pixels. ``shadow``: what it casts where it has none in ``light``, analysed
    pixels, each ``scale`` full-size ones.
    """

    thing: AffectedObject
    color: np.ndarray
    alpha: np.ndarray
    light: np.ndarray
    center: tuple[float, float]
    radius_px: float
    path: dict[int, tuple[float, float]]
    rolls: bool
    shadow: Shadow | None
    scale: float

    def bottom(self, t: int) -> float:
        """Its lowest pixel in frame ``t``: what stands lower in the picture stands nearer."""
        return self.path[t][1] + self.radius_px if t in self.path else -np.inf

    def corner(self, t: int) -> tuple[float, float]:
        """(x, y) of the window's first pixel in frame ``t``, to parts of a pixel."""
        return self.path[t][0] - self.center[0], self.path[t][1] - self.center[1]

    def angle(self, t: int) -> float:
        """How far it has turned in frame ``t``, clockwise, radians: the way it rolled over its radius."""
        if not self.rolls:
            return 0.0
        return (self.path[t][0] - self.path[min(self.path)][0]) / max(self.radius_px, 1.0)

    def motion(self, before: int, after: int) -> np.ndarray:
        """What takes a pixel (x, y, 1) of it in frame ``before`` to its place in frame ``after``: float64 (2, 3)."""
        turned = self.angle(after) - self.angle(before)
        turn = np.array([[np.cos(turned), -np.sin(turned)], [np.sin(turned), np.cos(turned)]])
        start, end = np.array(self.path[before]), np.array(self.path[after])
        return np.column_stack([turn, end - turn @ start])

    def cast(self, t: int) -> tuple[np.ndarray, int, int] | None:
        """The shadow that is cast for it in frame ``t``: float32 (h, w), 0 to 1, and its corner (x, y), whole pixels
        since its rim is soft; None where it has its own."""
        if self.shadow is None:
            return None
        x, lowest = self.path[t][0], max(y for _, y in self.path.values())
        shade, left, top = self.shadow.shade((lowest - self.path[t][1]) / self.scale, self.scale)
        return shade, round(x + left), round(lowest + top)


def cut_sprites(job: Job) -> dict[AffectedObject, Sprite]:
    """The best view of each thing that remains, at the analysed size."""
    gone = job.quadmask.primary | light_of(job.plan, job.masks, job.quadmask.primary.shape)
    sprites = {}
    for thing in job.plan.applied:
        if thing.action is Action.VANISHES or thing.in_place or thing.id not in job.masks:
            continue
        mask = job.masks[thing.id]
        t = best_frame(mask, gone, thing.frames[0])
        sprite = (
            cut_sprite(mask[t], job.scene, t, gone[t], outlined=thing.outlined) if t is not None else None
        )
        if sprite is not None:
            sprites[thing] = sprite
    return sprites


def scraps(job: Job) -> np.ndarray:
    """Which labels are of tracks that are no things of their own, boolean (256,): too small, and seen hardly anywhere
    but in what changes, or seen for the most part where another thing is that is acted on.

    They are what is left of a thing that was not followed whole, of the object, of shadows.
    """
    own = {thing.id for thing in job.plan.applied}
    seen, inside, frames, taken = (np.zeros(256, np.int64) for _ in range(4))
    for t, (labels, levels) in enumerate(zip(job.scene.labels, job.quadmask, strict=True)):
        here = np.bincount(labels.ravel(), minlength=256)
        seen, frames = seen + here, frames + (here > 0)
        inside += np.bincount(labels[levels != Level.KEEP], minlength=256)
        acted_on = [
            job.masks[thing.id][t]
            for thing in job.plan.applied
            if thing.id in job.masks
            and thing.action is not Action.VANISHES
            and thing.frames[0] <= t < thing.frames[1]
        ]
        if acted_on:
            taken += np.bincount(labels[_grown(np.logical_or.reduce(acted_on), _RIM_PX)], minlength=256)
    small = (seen / np.maximum(frames, 1) < _LEFTOVER_SHARE * job.scene.labels[0].size) & (
        inside > _ONLY_THERE * seen
    )
    part = taken > _PART_SHARE * seen
    for track in job.scene.tracks:
        part[track.label] &= track.id not in own
    return small | part


def cut_bystanders(job: Job, scraps: np.ndarray) -> dict[AffectedObject, Sprite]:
    """What moves, is not acted on, and is crossed by the object or its light: a view of each that shows it whole, with
    its way through the clip as a path, so that what is hidden of it can be painted in. ``scraps`` as they are found."""
    shaded = light_of(job.plan, job.masks, job.quadmask.primary.shape)
    gone = job.quadmask.primary | shaded
    acted_on = {thing.id for thing in job.plan.applied}
    found = {}
    for track in job.scene.tracks:
        mask = job.scene.mask(track)
        usual = float(np.median(track.areas_px[track.seen]))
        if (
            track.id in acted_on
            or scraps[track.label]
            or usual < _SCRAP_SHARE * mask[0].size
            or (mask & shaded).sum() > 0.3 * mask.sum()
        ):
            continue
        near = np.array(
            [
                _grown(m, _CROSSED_PX) & g if m.any() else np.zeros_like(m)
                for m, g in zip(mask, gone, strict=True)
            ]
        )
        crossed = track.seen & near.any(axis=(1, 2))
        clear = np.flatnonzero(track.seen & ~crossed & (track.areas_px > 0.85 * usual))
        if not crossed.any() or clear.size < 2:
            continue
        worst = int(near.sum(axis=(1, 2)).argmax())
        t = int(clear[np.abs(clear - worst).argmin()])
        sprite = cut_sprite(mask[t], job.scene, t, gone[t])
        if sprite is not None:
            found[_on_its_way(job, track, mask, gone, clear, sprite)] = sprite
    return found


def _on_its_way(
    job: Job, track: Track, mask: np.ndarray, gone: np.ndarray, clear: np.ndarray, sprite: Sprite
) -> AffectedObject:
    """A thing that goes where it is seen to go; where the object covers a part of it, by what still shows.

    Its middle is that of what is seen, or lies evenly between where more than half of it is hidden; it is then moved
    to where the outline of ``sprite`` explains best what is seen, except in ``clear`` frames.
    """
    frames = np.arange(clear[0], clear[-1] + 1)
    shown = np.flatnonzero(track.areas_px > 0.5 * track.areas_px[sprite.frame])
    middle = np.stack([np.interp(frames, shown, track.centers_px[shown, axis]) for axis in (0, 1)], axis=1)
    sx, sy = job.clip.scale
    points = []
    for t, center in zip(frames, middle, strict=True):
        x, y, w = np.linalg.inv(job.scene.camera.to_plate[t]) @ (*center, 1.0)
        x, y = x / w, y / w
        if t not in clear and mask[t].any():
            x, y = _matched(sprite, mask[t], gone[t], x, y)
        points.append(PathPoint(int(t), float(x / sx), float(y / sy)))
    span = (int(frames[0]), int(frames[-1]) + 1)
    return AffectedObject(track.id, "thing", Action.STAYS, "passes", 1.0, span, path=tuple(points))


def _matched(sprite: Sprite, seen: np.ndarray, gone: np.ndarray, x: float, y: float) -> tuple[float, float]:
    """The place near (x, y) where the sprite's outline differs least from ``seen`` outside ``gone``."""
    best, least = (x, y), np.inf
    steps = range(-_SEARCH_PX, _SEARCH_PX + 1)
    rows, cols = (
        sprite.box.moved(x - sprite.center[0], y - sprite.center[1])
        .grown(_SEARCH_PX + 2)
        .slices(*seen.shape[::-1])
    )
    part, open_to_view = seen[rows, cols], ~gone[rows, cols]
    for dy, dx in sorted(
        ((dy, dx) for dy in steps for dx in steps), key=lambda step: step[0] ** 2 + step[1] ** 2
    ):
        there = np.zeros_like(part)
        left = sprite.left + round(x + dx - sprite.center[0]) - cols.start
        put(there, sprite.solid, left, sprite.top + round(y + dy - sprite.center[1]) - rows.start)
        off = np.count_nonzero((there ^ part) & open_to_view)
        if off < least:
            best, least = (x + dx, y + dy), off
    return best


def _grown(mask: np.ndarray, radius_px: int) -> np.ndarray:
    size = 2 * radius_px + 1
    return cv2.dilate(mask.astype(np.uint8), np.ones((size, size), np.uint8)) > 0


def cut_layers(
    job: Job, backdrop: Backdrop, frames: Frames, sprites: Mapping[AffectedObject, Sprite]
) -> list[Layer]:
    """Cut things out of their frames, at full size."""
    return [
        _layer(job, backdrop, frames.kept[sprite.frame], thing, sprite, _cast(job, thing, sprite))
        for thing, sprite in sprites.items()
    ]


def _cast(job: Job, thing: AffectedObject, sprite: Sprite) -> Shadow | None:
    """The shadow of a thing that comes down and brought none of its own."""
    if thing.action is not Action.FALLS or sprite.has_shadow:
        return None
    shaded = light_of(job.plan, job.masks, job.quadmask.primary.shape)
    lighting = find_lighting(job.clip.frames, job.quadmask.primary & ~shaded, shaded)
    center = (sprite.center[0] - sprite.left, sprite.center[1] - sprite.top)
    return Shadow.of(sprite.solid, center, lighting)


def _layer(
    job: Job,
    backdrop: Backdrop,
    frame: np.ndarray,
    thing: AffectedObject,
    sprite: Sprite,
    shadow: Shadow | None,
) -> Layer:
    height, width = frame.shape[:2]
    sx, sy = width / job.clip.width, height / job.clip.height
    solid = np.pad(sprite.solid.astype(np.uint8), _MARGIN_PX)
    soft = np.pad(sprite.soft.astype(np.uint8), _MARGIN_PX)
    left, top = (sprite.left - _MARGIN_PX) * sx, (sprite.top - _MARGIN_PX) * sy
    size = (round(solid.shape[1] * sx), round(solid.shape[0] * sy))
    x0, y0 = round(left), round(top)
    around = _window(frame, x0, y0, size)
    view = View(around.astype(np.uint8), np.ones(around.shape[:2], bool), x0, y0)
    behind, reach, invented = backdrop.in_frame(sprite.frame, view, None)
    behind = behind.astype(np.float32)
    beside = _smooth(_beside(job, sprite), size, sx) > 0.05  # the object's colour is not its shadow
    known = (reach > 0) & (invented == 0) & ~beside
    hull = np.pad(sprite.hull, _MARGIN_PX)
    seen, maybe = (cv2.resize(m.astype(np.float32), size) > 0.5 for m in (solid, hull))
    matte = cut_out(around, seen, maybe, sx, behind if known.mean() > _KNOWN_SHARE else None)
    near = cv2.dilate(soft, np.ones((15, 15), np.uint8))
    near = cv2.dilate(soft, np.ones((7, 7), np.uint8)) | np.where(hull, near, 0)
    shade = _smooth(near, size, sx)
    if thing.action is Action.STAYS and not thing.path:  # its own ground is better than an invented one
        ground = _smooth(np.pad(ground_of(sprite), _MARGIN_PX), size, sx)
        shade = np.maximum(shade, ground * cv2.GaussianBlur(invented.astype(np.float32), (0, 0), 1.0))
    shade = shade * ~beside
    light = np.clip((matte.around + 4) / (behind + 4), 0.2, 1.6)
    light[reach == 0] = 1
    light = cv2.GaussianBlur(light, (0, 0), 0.6)
    light = 1 + (light - 1) * shade[..., None]
    center = (sprite.center[0] * sx - x0, sprite.center[1] * sy - y0)
    path = _path(job, thing, sprite, sx, sy)
    bottom = np.flatnonzero(sprite.solid.any(axis=1))[-1] + 1 + sprite.top
    return Layer(
        thing=thing,
        color=matte.color,
        alpha=matte.alpha,
        light=light.astype(np.float32),
        center=center,
        radius_px=float(bottom * sy - sprite.center[1] * sy),
        path=path,
        rolls=thing.action is Action.GOES_ON and _circularity(sprite.solid) > _ROUND,
        shadow=shadow,
        scale=sx,
    )


def _beside(job: Job, sprite: Sprite) -> np.ndarray:
    """Where the primary object is seen in the sprite's window and its margin, uint8 0 or 1."""
    rows, cols = sprite.box.slices(job.clip.width, job.clip.height)
    return np.pad(job.quadmask.primary[sprite.frame][rows, cols], _MARGIN_PX).astype(np.uint8)


def _window(image: np.ndarray, x0: int, y0: int, size: tuple[int, int]) -> np.ndarray:
    """A window of ``image`` (H, W, 3), continued past the border, float32."""
    height, width = image.shape[:2]
    ys = np.clip(np.arange(y0, y0 + size[1]), 0, height - 1)
    xs = np.clip(np.arange(x0, x0 + size[0]), 0, width - 1)
    return image[np.ix_(ys, xs)].astype(np.float32)


def _smooth(mask: np.ndarray, size: tuple[int, int], scale: float) -> np.ndarray:
    """A mask of the analysed size as a soft alpha of full size, float32 (h, w)."""
    grown = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    soft = cv2.GaussianBlur(grown, (0, 0), max(0.8, 0.7 * scale))
    return np.clip(1.6 * soft - 0.3, 0, 1)


def _circularity(solid: np.ndarray) -> float:
    contours, _ = cv2.findContours(solid.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    largest = max(contours, key=cv2.contourArea)
    _, radius = cv2.minEnclosingCircle(largest)
    return float(cv2.contourArea(largest) / max(np.pi * radius**2, 1e-6))


def _path(
    job: Job, thing: AffectedObject, sprite: Sprite, sx: float, sy: float
) -> dict[int, tuple[float, float]]:
    first, last = thing.frames
    to_plate = job.scene.camera.to_plate
    if thing.path:
        return thing.positions()
    rest = to_plate[sprite.frame] @ (*sprite.center, 1.0)
    out = {}
    for t in range(first, last):
        x, y, w = np.linalg.inv(to_plate[t]) @ rest
        out[t] = (float(x / w * sx), float(y / w * sy))
    return out


def paint(canvas: np.ndarray, layers: list[Layer], t: int, corner: tuple[int, int]) -> None:
    """Put the layers of frame ``t`` on ``canvas`` uint8 (h, w, 3), whose corner is at ``corner`` (x, y) of the
    frame; the nearer ones last; in place."""
    for layer in painted_order(layers, t):
        _paint_one(canvas, layer, t, corner)


def painted_order(layers: list[Layer], t: int) -> list[Layer]:
    """The layers that frame ``t`` has, the nearer ones last."""
    return sorted((one for one in layers if t in one.path), key=lambda one: one.bottom(t))


def _paint_one(canvas: np.ndarray, layer: Layer, t: int, corner: tuple[int, int]) -> None:
    x, y = layer.path[t][0] - corner[0], layer.path[t][1] - corner[1]
    color, alpha = _turned(layer, t) if layer.rolls else (layer.color, layer.alpha)
    _paint_shadow(canvas, layer, t, corner)
    left, top = x - layer.center[0], y - layer.center[1]
    x0, y0 = int(np.floor(left)), int(np.floor(top))
    height, width = canvas.shape[:2]
    ya, yb = max(0, y0), min(height, y0 + alpha.shape[0] + 1)
    xa, xb = max(0, x0), min(width, x0 + alpha.shape[1] + 1)
    if ya >= yb or xa >= xb:
        return
    # to parts of a pixel, so that a slow thing glides
    move, size = np.array([[1, 0, left - xa], [0, 1, top - ya]], np.float64), (xb - xa, yb - ya)
    moved_color = cv2.warpAffine(color, move, size, borderMode=cv2.BORDER_REPLICATE)
    moved_alpha = cv2.warpAffine(alpha, move, size)[..., None]
    moved_light = cv2.warpAffine(layer.light, move, size, borderValue=(1, 1, 1))
    under = canvas[ya:yb, xa:xb]
    over = under * moved_light * (1 - moved_alpha) + moved_color * moved_alpha
    canvas[ya:yb, xa:xb] = np.clip(np.rint(over), 0, 255)


def _turned(layer: Layer, t: int) -> tuple[np.ndarray, np.ndarray]:
    """The colours and the alpha of a rolling thing, whose outline does not turn."""
    matrix = cv2.getRotationMatrix2D(layer.center, -np.degrees(layer.angle(t)), 1.0)
    size = (layer.alpha.shape[1], layer.alpha.shape[0])
    color = cv2.warpAffine(layer.color, matrix, size, borderMode=cv2.BORDER_REPLICATE)
    return color, layer.alpha


def _paint_shadow(canvas: np.ndarray, layer: Layer, t: int, corner: tuple[int, int]) -> None:
    """Darken ``canvas`` where the thing's shadow falls in frame ``t``; in place."""
    cast = layer.cast(t)
    if cast is None or layer.shadow is None:
        return
    shade, left, top = cast
    x0, y0 = left - corner[0], top - corner[1]
    height, width = canvas.shape[:2]
    ya, yb = max(0, y0), min(height, y0 + shade.shape[0])
    xa, xb = max(0, x0), min(width, x0 + shade.shape[1])
    if ya >= yb or xa >= xb:
        return
    deep = shade[ya - y0 : yb - y0, xa - x0 : xb - x0, None] * (1 - layer.shadow.lighting.dims)
    canvas[ya:yb, xa:xb] = np.rint(canvas[ya:yb, xa:xb] * (1 - deep))
