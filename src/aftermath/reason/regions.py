"""From a plan and its masks to the quadmask. Pure: nothing is decided here, only drawn."""

from __future__ import annotations

import cv2
import numpy as np

from aftermath.config import Regions
from aftermath.core import Action, AffectedObject, Clip, Grid, Quadmask
from aftermath.reason.base import Reasoning
from aftermath.scene.base import Scene
from aftermath.scene.shadows import Shadow, find_lighting, light_of
from aftermath.scene.sprites import Sprite, best_frame, cut_sprite, put, stamp

__all__ = ["build_quadmask"]

_HALO_PX = 3  # blur, anti-aliasing and compression carry an object's colour this far past its mask
_HALO_OUTLINED_PX = 2  # past one that was cut along its outline
_HOLE_SHARE = 0.001  # of the picture: smaller ones are what a mask missed of a thing
_SHADE_SEEN = 0.04  # of the shadow's depth


def build_quadmask(
    clip: Clip, scene: Scene, primary: np.ndarray, reasoning: Reasoning, *, regions: Regions = Regions.EXACT
) -> Quadmask:
    """Draw ``primary`` boolean (T, H, W) and every applied finding of the plan as a quadmask of the clip's size.

    ``Regions.EXACT`` keeps the shapes; ``Regions.GRID`` grows affected ones to whole cells as the reference does.
    Frame 0 never holds affected pixels (the published weights were trained so); light that the object changes goes
    with the object there.
    """
    affected = np.zeros_like(primary)
    first_light = np.zeros(primary.shape[1:], bool)
    for thing in reasoning.plan.applied:
        mask = reasoning.masks.get(thing.id)
        if mask is None:
            continue
        if thing.action is Action.VANISHES:
            affected |= (
                mask & ~primary
            )  # behind the object it changes nothing: the place is filled all the same
            first_light |= mask[0]
        elif thing.in_place:
            affected |= _grown(mask, _HALO_PX)
        else:
            affected |= _moved(clip, scene, thing, mask, primary)
            if thing.action is Action.FALLS:
                affected |= _cast(clip, scene, thing, mask, primary, reasoning)
    if reasoning.belongings is not None:
        primary = primary | reasoning.belongings
    primary = _grown(primary, _HALO_PX)
    for frame, others in zip(primary, affected, strict=True):
        others |= _small_holes(frame | others)
    primary[0] |= first_light
    affected[0] = False
    if regions is Regions.GRID:
        grid = Grid(clip.width, clip.height)
        affected = np.stack([grid.snap(frame) if frame.any() else frame for frame in affected])
    return Quadmask.from_masks(primary, affected)


def _moved(
    clip: Clip, scene: Scene, thing: AffectedObject, mask: np.ndarray, primary: np.ndarray
) -> np.ndarray:
    """Where a thing was seen and should not be, and where it should be and was not seen."""
    out = np.zeros_like(mask)
    first, last = thing.frames
    source = best_frame(mask, primary, first)
    if source is None:
        return out
    for t in range(first, last):
        if mask[t].any():
            seen = cut_sprite(mask[t], scene, t, primary[t], outlined=thing.outlined)
            if seen is not None:
                stamp(out[t], _soft_shape(seen, thing), seen, *seen.center)
    sprite = cut_sprite(mask[source], scene, source, primary[source], outlined=thing.outlined)
    assert sprite is not None
    shape = _soft_shape(sprite, thing)
    sx, sy = clip.scale
    if thing.action is Action.STAYS and not thing.path:
        for t in range(first, last):
            stamp(out[t], shape, sprite, *_carried_by_camera(scene, sprite, t))
    for t, (x, y) in thing.positions().items():
        stamp(out[t], shape, sprite, x * sx, y * sy)
    return out


def _cast(
    clip: Clip,
    scene: Scene,
    thing: AffectedObject,
    mask: np.ndarray,
    primary: np.ndarray,
    reasoning: Reasoning,
) -> np.ndarray:
    """Where a thing that comes down darkens the ground that its shadow has not reached yet, boolean (T, H, W)."""
    out = np.zeros_like(mask)
    source = best_frame(mask, primary, thing.frames[0])
    sprite = None if source is None else cut_sprite(mask[source], scene, source, primary[source])
    places = thing.positions()
    if sprite is None or sprite.has_shadow or not places:
        return out
    lighting = find_lighting(clip.frames, primary, light_of(reasoning.plan, reasoning.masks, primary.shape))
    center = (sprite.center[0] - sprite.left, sprite.center[1] - sprite.top)
    shadow = Shadow.of(sprite.solid, center, lighting)
    sx, sy = clip.scale
    lowest = max(y for _, y in places.values()) * sy
    for t, (x, y) in places.items():
        shade, left, top = shadow.shade(lowest - y * sy, 1.0)
        put(out[t], shade > _SHADE_SEEN, round(x * sx + left), round(lowest + top))
    return out


def _carried_by_camera(scene: Scene, sprite: Sprite, t: int) -> tuple[float, float]:
    """Where a thing at rest in the world is in frame ``t``."""
    at_rest = scene.camera.to_plate[sprite.frame] @ (*sprite.center, 1.0)
    x, y, w = np.linalg.inv(scene.camera.to_plate[t]) @ at_rest
    return x / w, y / w


def _soft_shape(sprite: Sprite, thing: AffectedObject) -> np.ndarray:
    """The thing, its shadow and a halo, boolean, in the sprite's window."""
    return _grown_frame(sprite.whole, _HALO_OUTLINED_PX if thing.outlined else _HALO_PX)


def _grown(mask: np.ndarray, radius_px: int) -> np.ndarray:
    out = np.zeros_like(mask)
    for grown, frame in zip(out, mask, strict=True):
        if frame.any():
            grown[:] = _grown_frame(frame, radius_px)
    return out


def _small_holes(changed: np.ndarray) -> np.ndarray:
    """What is enclosed by ``changed`` boolean (H, W) and hardly larger than a speck, boolean (H, W)."""
    kept = np.pad(~changed, 1, constant_values=True).astype(
        np.uint8
    )  # so that the border joins what is outside
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(kept, connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] < _HOLE_SHARE * changed.size
    small[0] = False  # what changes
    return np.asarray(small)[np.asarray(pieces, np.int64)[1:-1, 1:-1]]


def _grown_frame(frame: np.ndarray, radius_px: int) -> np.ndarray:
    size = 2 * radius_px + 1
    return cv2.dilate(frame.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))) > 0
