"""Light that the object changes: its shadow, its reflection, its glow."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from aftermath.core import Box, Clip
from aftermath.core.channels import channel_max, channel_mean, channel_min
from aftermath.reason.kinematics import mask_centers
from aftermath.scene.analyse import plate_in_frame
from aftermath.scene.base import CameraKind, Scene
from aftermath.scene.fineness import EDGE_PX, FINE_PX, fineness
from aftermath.scene.membrane import membrane

__all__ = ["find_artifacts", "still_artifacts"]

_BRIDGE_PX = 4  # light may start this far from the object's mask
_PERIOD_SHARE = 0.04  # of the object's size: it rests while it stays within this distance
_AWAY = 1.6  # of its size: so far away it does nothing to the light here
_TRAVEL, _BESIDE = 1.5, 2.0  # of its size: how far it must go, and how far from it its light is looked for
_PLACE = 0.25  # of its size: rests that are no further apart are at one place
_DRIFT_SHARE = 0.05  # of the picture's diagonal: seen from further apart the surroundings look otherwise
_REACH = 1.1  # of the object's size: how far a still object's shadow is looked for
_AT_FOOT = 0.3  # share of its contact with the object
_COLOR_BINS, _COMMON_SHARE = 40, 0.004
_FADE_PX, _FADE_LEVELS = 4, 5.0  # of 255: a shadow's last fade is still a shadow
_OUTSIDE_PX = 21
_LOOKS = 9  # frames of a rest that are compared
_RESTLESS_LEVELS, _RESTLESS_NOISE = 4.0, 2.0  # of 255, and of the noise: what changes by more in most of them
_RESTLESS_PX, _OFTEN_SOFT = 9, 0.2  # looked for in squares of this side; soft in so many frames of the rest
_LEAST_ROUGH, _UNUSUAL = 0.08, 1.5  # fine structure: relative to the light, and to that of the surroundings
_SHADE, _TINT = 0.07, 0.07  # relative: how much darker, or how much more of the object's colour


def find_artifacts(
    clip: Clip, primary: np.ndarray, scene: Scene, ignore: np.ndarray, deep: np.ndarray
) -> np.ndarray:
    """Pixels whose light ``primary`` changes: boolean (T, H, W), the object itself left out.

    Four sources: what the comparison with the plate calls soft and what touches the object; what keeps its place
    beside a moving object without touching it; for an object that rests in several places, what it did to the light
    in one of them, carried to the others (the plate may hold the shadow of the place where it rests longest); and
    one still picture of every rest (`still_artifacts`).
    ``ignore`` boolean (T, H, W): pixels that belong to other things; ``deep`` boolean (T, H, W): pixels known to be
    its shadow although they look solid.
    """
    rests = _rests(primary, scene)
    soft = _Soft(scene.soft, primary, ignore, _restless(clip, rests, primary, scene))
    attached = np.empty(primary.shape, bool)  # frame by frame from here: a long clip's masks are large
    for t, (gone, others) in enumerate(zip(primary, ignore, strict=True)):
        attached[t] = _attached(soft[t], gone, others)
    _add_going_along(attached, soft, primary, scene)
    for t, shadow in enumerate(deep):
        attached[t] |= shadow
    _settle(attached, clip, primary, scene, rests, soft.restless)
    for t, (gone, others) in enumerate(zip(primary, ignore, strict=True)):
        light = _tidy(attached[t] & ~gone & ~others)
        attached[t] = _to_its_edge(light, clip.frames[t], scene, t, gone) if light.any() else light
    return attached


def _to_its_edge(light: np.ndarray, frame: np.ndarray, scene: Scene, t: int, gone: np.ndarray) -> np.ndarray:
    """``light``, boolean (H, W), grown to its last fade: as far as the frame still differs from what stands behind.

    Where it does not differ even in its midst the plate holds it too and tells nothing: then as far as the frame
    differs from what lies a little further out. ``gone`` boolean (H, W): the object.
    """
    most = _grown(light, _FADE_PX)
    box = Box.of_mask(most)
    assert box is not None
    here = box.grown(_FADE_PX).slices(light.shape[1], light.shape[0])
    plate, known = plate_in_frame(
        scene.plate, scene.seen, scene.camera.to_plate[t], light.shape, scene.bend(t)
    )
    change = channel_max(np.abs(_smooth(frame[here]) - _smooth(plate[here])))
    midst = light[here] & known[here]
    if not midst.any() or np.median(change[midst]) < _FADE_LEVELS:
        out = light.copy()
        out[here] |= _grown(light[here], 1) | (
            most[here] & _unlike_outside(frame[here], most[here] | gone[here])
        )
        return out
    out = light.copy()
    fading = known[here] & (change > _FADE_LEVELS)
    out[here] |= _grown(light[here], 1) | (most[here] & (fading | ~known[here]))
    return out


def _unlike_outside(frame: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Where ``frame``, uint8 (h, w, 3), differs from the mean of what lies near and not ``inside``; boolean (h, w)."""
    outside = (~inside).astype(np.float32)
    size = (_OUTSIDE_PX, _OUTSIDE_PX)
    weight = np.maximum(cv2.blur(outside, size), 1e-3)[..., None]
    mean = cv2.blur(frame * outside[..., None], size) / weight
    return channel_max(np.abs(_smooth(frame) - mean)) > _FADE_LEVELS


def _smooth(picture: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 1.5)


def _grown(mask: np.ndarray, radius_px: int) -> np.ndarray:
    shape = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius_px + 1, 2 * radius_px + 1))
    return cv2.dilate(mask.astype(np.uint8), shape) > 0


@dataclass(frozen=True)
class _Soft:
    """Soft pixels that belong neither to the object nor to another thing: boolean (H, W), frame by frame.

    ``restless`` boolean (H, W): what changes while the object rests, a dress or leaves, is not its doing.
    """

    soft: np.ndarray
    primary: np.ndarray
    ignore: np.ndarray
    restless: np.ndarray

    def __getitem__(self, t: int) -> np.ndarray:
        return self.soft[t] & ~self.primary[t] & ~self.ignore[t] & ~self.restless


def _attached(soft: np.ndarray, primary: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The soft pieces of one frame that touch the object; what is nearer to another thing is that thing's."""
    if not primary.any() or not soft.any():
        return np.zeros_like(soft)
    if others.any():
        away = [cv2.distanceTransform((~m).astype(np.uint8), cv2.DIST_L2, 3) for m in (primary, others)]
        soft = soft & (away[0] <= away[1])
    size = 2 * _BRIDGE_PX + 1
    grown = cv2.dilate(primary.astype(np.uint8), np.ones((size, size), np.uint8))
    joined = cv2.morphologyEx(soft.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    _, labels = cv2.connectedComponents(joined)
    touching = np.unique(labels[(grown > 0) & (joined > 0)])
    return np.isin(labels, touching[touching > 0]) & soft


def _add_going_along(attached: np.ndarray, soft: _Soft, primary: np.ndarray, scene: Scene) -> None:
    """Add to ``attached`` the soft pixels that keep their place beside the object while it travels, touching or not.

    Seen from the object the world passes by and averages out; its own shadow and reflection stay.
    """
    centers = np.stack([_frame_center(mask) for mask in primary])
    frames = np.flatnonzero(np.isfinite(centers[:, 0]) & ~_cut(primary))
    if frames.size < 4:
        return
    size = float(np.sqrt(np.median([np.count_nonzero(primary[t]) for t in frames])))
    travel = mask_centers(primary, scene.camera.to_plate)[frames]
    if np.ptp(travel, axis=0).max() < _TRAVEL * size:
        return
    reach = round(_BESIDE * size)
    shown = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    for t in frames.tolist():
        shown += _around(soft[t], _whole_px(centers[t]), reach)
    steady = cv2.dilate((shown / frames.size > 0.4).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    height, width = primary.shape[1:]
    for t in np.flatnonzero(np.isfinite(centers[:, 0])).tolist():
        x, y = _whole_px(centers[t])
        y0, y1 = max(0, y - reach), min(height, y + reach + 1)
        x0, x1 = max(0, x - reach), min(width, x + reach + 1)
        if y0 < y1 and x0 < x1:
            part = steady[y0 - y + reach : y1 - y + reach, x0 - x + reach : x1 - x + reach]
            attached[t, y0:y1, x0:x1] |= part & soft[t][y0:y1, x0:x1]


def _frame_center(mask: np.ndarray) -> tuple[float, float]:
    box = Box.of_mask(mask)
    return box.center if box else (np.nan, np.nan)


def _whole_px(center: np.ndarray) -> tuple[int, int]:
    return round(float(center[0])), round(float(center[1]))


def _cut(mask: np.ndarray) -> np.ndarray:
    """Boolean (T,): frames in which the picture's border cuts the object, so that its centre is not its own."""
    edges = (mask[:, 0], mask[:, -1], mask[:, :, 0], mask[:, :, -1])
    return np.array([any(edge[t].any() for edge in edges) for t in range(len(mask))])


def _around(mask: np.ndarray, center: tuple[int, int], reach: int) -> np.ndarray:
    x, y = center
    padded = np.pad(mask, reach)
    return padded[y : y + 2 * reach + 1, x : x + 2 * reach + 1].astype(np.float32)


def _rests(primary: np.ndarray, scene: Scene) -> list[_Rest]:
    """The times in which the object, boolean (T, H, W), stays put."""
    centers = mask_centers(primary, scene.camera.to_plate)
    return [
        _Rest(scene, stretch)
        for period in _periods(centers, max(1.5, _PERIOD_SHARE * _size_px(primary)))
        for stretch in _stretches(period, scene)
    ]


def _size_px(primary: np.ndarray) -> float:
    """The root of the object's area, in the middle of the frames that show it."""
    return float(np.sqrt(np.median([np.count_nonzero(mask) for mask in primary if mask.any()])))


def _restless(clip: Clip, rests: list[_Rest], primary: np.ndarray, scene: Scene) -> np.ndarray:
    """Boolean (H, W): what changes for most of the time that the object rests in one place, and is often soft. The
    light of what rests does neither.

    Before a still camera; another one's pictures of a textured thing differ of themselves.
    """
    restless = np.zeros(scene.soft.shape[1:], bool)
    if scene.camera.kind is not CameraKind.STILL:
        return restless
    limit = _RESTLESS_LEVELS + _RESTLESS_NOISE * scene.noise
    side = (_RESTLESS_PX, _RESTLESS_PX)
    for frames in _places(rests, mask_centers(primary, scene.camera.to_plate), _PLACE * _size_px(primary)):
        if len(frames) < _LOOKS:
            continue
        looks = clip.frames[_spread(frames, _LOOKS)]
        typical = np.median(looks, axis=0).astype(np.uint8)
        changes = np.median([channel_max(cv2.absdiff(look, typical)) for look in looks], axis=0) > limit
        often = np.zeros(restless.shape, np.float32)
        for t in frames:  # one by one: a long clip's masks are large
            often += scene.soft[t]
        often /= len(frames)
        restless |= (cv2.blur(changes.astype(np.float32), side) > 0.5) & (cv2.blur(often, side) > _OFTEN_SOFT)
    return restless


def _places(rests: list[_Rest], centers: np.ndarray, near_px: float) -> list[np.ndarray]:
    """The frames of all rests at one place, for each place. ``centers``: the object's, float (T, 2)."""
    homes: list[np.ndarray] = []
    frames: list[np.ndarray] = []
    for rest in rests:
        home = np.median(centers[rest.frames], axis=0)
        known = [n for n, other in enumerate(homes) if np.linalg.norm(home - other) < near_px]
        if known:
            frames[known[0]] = np.concatenate([frames[known[0]], rest.frames])
        else:
            homes.append(home)
            frames.append(rest.frames)
    return frames


def _settle(
    artifacts: np.ndarray,
    clip: Clip,
    primary: np.ndarray,
    scene: Scene,
    rests: list[_Rest],
    restless: np.ndarray,
) -> None:
    """Complete ``artifacts`` boolean (T, H, W) in place: while the object rests its light rests too. What most frames
    of the rest show is there in all of them, and what it does to the light at one resting place it does at every other.

    The camera is taken out: everything is compared in the pixels of one frame, of a moving camera's in those of a frame
    near by. ``restless`` boolean (H, W) is left out.
    """
    centers, size = mask_centers(primary, scene.camera.to_plate), _size_px(primary)
    footprints = [_mostly(artifacts, rest) for rest in rests]
    if scene.camera.kind is not CameraKind.PARALLAX:
        for n, rest in enumerate(rests):
            away = np.linalg.norm(centers - np.median(centers[rest.frames], axis=0), axis=1)
            if not np.nanmax(away) > _AWAY * size:  # else other frames show the place without the object
                footprints[n] |= still_artifacts(_typical_frame(clip, rest), _mostly(primary, rest))
    for target in rests:
        together = np.zeros(primary.shape[1:], bool)
        home = np.median(centers[target.frames], axis=0)
        for source, footprint in zip(rests, footprints, strict=True):
            dx, dy = home - np.median(centers[source.frames], axis=0)
            step = np.array([[1, 0, dx], [0, 1, dy], [0, 0, 1]], np.float64)
            light = footprint & ~restless
            together |= _warped(light, np.linalg.inv(target.to_plate) @ step @ source.to_plate)
        for t in target.frames:
            artifacts[t] = target.back(together, t)


def _stretches(period: np.ndarray, scene: Scene) -> list[np.ndarray]:
    """``period``, cut where a moving camera has gone far, so that each part is seen from about one place."""
    if scene.camera.kind is not CameraKind.MOVING:
        return [period]
    height, width = scene.soft.shape[1:]
    corners = np.array([[[0, 0], [width, 0], [0, height], [width, height]]], float)
    seen = np.stack([cv2.perspectiveTransform(corners, scene.camera.to_plate[t])[0] for t in period])
    cuts, begun = [], 0
    for n in range(len(period)):
        if np.linalg.norm(seen[n] - seen[begun], axis=-1).max() > _DRIFT_SHARE * np.hypot(width, height):
            cuts, begun = [*cuts, n], n
    parts = np.split(period, cuts)
    return [part for part in parts if len(part) >= 3] or [period]


class _Rest:
    """Frames in which the object stays put, and how the camera of one of them sees the others."""

    def __init__(self, scene: Scene, frames: np.ndarray) -> None:
        kind, to_plate = scene.camera.kind, scene.camera.to_plate
        near = kind is CameraKind.MOVING
        self.frames = frames
        self.to_plate = to_plate[int(frames[len(frames) // 2]) if near else scene.camera.reference_idx]
        moves = kind in (CameraKind.DRIFTING, CameraKind.MOVING)
        self._matrices = np.linalg.inv(self.to_plate) @ to_plate if moves else None

    def seen(self, image: np.ndarray, t: int) -> np.ndarray:
        """Frame ``t``'s picture uint8 (H, W[, 3]), or its mask boolean (H, W), as that one frame would show it."""
        return image if self._matrices is None else _warped(image, self._matrices[t])

    def back(self, mask: np.ndarray, t: int) -> np.ndarray:
        """A mask of that one frame, boolean (H, W), in frame ``t``."""
        return mask if self._matrices is None else _warped(mask, np.linalg.inv(self._matrices[t]))


def _warped(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    size = image.shape[1::-1]
    if image.dtype == bool:
        return cv2.warpPerspective(image.astype(np.uint8), matrix, size, flags=cv2.INTER_NEAREST) > 0
    return cv2.warpPerspective(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _mostly(masks: np.ndarray, rest: _Rest) -> np.ndarray:
    """Boolean (H, W): where ``masks`` (T, H, W) holds in more than half of the frames."""
    count = np.zeros(masks.shape[1:], np.int32)
    for t in rest.frames:
        count += rest.seen(masks[t], t)
    return 2 * count > len(rest.frames)


def _periods(centers: np.ndarray, reach_px: float) -> list[np.ndarray]:
    """Frame indices of each stretch of at least three frames in which the object stays put."""
    periods: list[list[int]] = []
    for t in np.flatnonzero(np.isfinite(centers[:, 0])):
        home = np.median(centers[periods[-1]], axis=0) if periods else None
        if home is not None and np.linalg.norm(centers[t] - home) < reach_px and t - periods[-1][-1] <= 3:
            periods[-1].append(int(t))
        else:
            periods.append([int(t)])
    return [np.array(p) for p in periods if len(p) >= 3]


def _spread(frames: np.ndarray, limit: int) -> np.ndarray:
    """At most ``limit`` of ``frames``, evenly spread."""
    return frames[np.linspace(0, len(frames) - 1, min(len(frames), limit)).astype(int)]


def _typical_frame(clip: Clip, rest: _Rest) -> np.ndarray:
    looks = [rest.seen(clip.frames[t], t) for t in _spread(rest.frames, _LOOKS)]
    return np.median(looks, axis=0).astype(np.uint8)


def still_artifacts(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Shadow and glow round a thing in one picture: boolean (H, W).

    ``image`` uint8 (H, W, 3) RGB, ``mask`` boolean (H, W). The surroundings further out are continued smoothly
    towards the object; what is evenly darker than that, or tinted by the object's own colour, touches the object,
    fades before it reaches the surroundings and has no fine structure of its own, is its doing.
    """
    out = np.zeros_like(mask)
    box = Box.of_mask(mask)
    if box is None:
        return out
    reach = _REACH * float(np.sqrt(mask.sum()))
    window = box.grown(1.6 * reach).slices(mask.shape[1], mask.shape[0])
    inside, picture = mask[window], image[window].astype(np.float32)
    away = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, 5)
    smooth = cv2.GaussianBlur(np.where(inside[..., None], membrane(picture, away < 3), picture), (0, 0), 3.0)
    expected = membrane(smooth, away < reach)
    ratio = (smooth + 3) / (expected + 3)
    tint = _tint(picture[inside].mean(axis=0), expected)
    ring = (away < 0.95 * reach) & ~inside & ~_common(smooth, away >= reach)
    most, mean = channel_max(ratio), channel_mean(ratio)
    shade, even = 1 - most, most - channel_min(ratio) < 0.25
    colored = ((ratio - mean[..., None]) * tint).sum(axis=-1) * (away < 0.7 * reach)
    ring &= ~_rough(picture, expected, away >= reach)
    sure = ring & (((shade > _SHADE) & even) | (colored > _TINT))
    likely = ring & (((shade > 0.5 * _SHADE) & even) | (colored > 0.6 * _TINT))
    out[window] = _bounded(likely, sure, inside, away, reach)
    return out


def _rough(picture: np.ndarray, expected: np.ndarray, surroundings: np.ndarray) -> np.ndarray:
    """Where ``picture`` is not what is ``expected``, both float32 (H, W, 3), in another light: it has fine structure
    beyond what the ``surroundings`` boolean (H, W) have themselves. Boolean (H, W)."""
    grey = channel_mean(picture) + 3
    own = fineness(grey / cv2.GaussianBlur(grey, (0, 0), FINE_PX))[surroundings]
    usual = float(np.percentile(own, 80)) if own.size else 1.0
    fine = fineness(grey / (channel_mean(expected) + 3))
    rough = (fine > max(_LEAST_ROUGH, _UNUSUAL * usual)).astype(np.uint8)
    return cv2.morphologyEx(rough, cv2.MORPH_OPEN, np.ones((EDGE_PX, EDGE_PX), np.uint8)) > 0


def _common(smooth: np.ndarray, surroundings: np.ndarray) -> np.ndarray:
    """Colours that the ``surroundings`` boolean (H, W) show too: a skirting board, not a shadow; boolean (H, W)."""
    bins = (np.clip(smooth, 0, 255) / 256 * _COLOR_BINS).astype(int)
    flat = (bins[..., 0] * _COLOR_BINS + bins[..., 1]) * _COLOR_BINS + bins[..., 2]
    count = np.bincount(flat[surroundings], minlength=_COLOR_BINS**3).astype(np.float32)
    return (count / max(1.0, float(count.sum())))[flat] > _COMMON_SHARE


def _tint(color: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Unit direction, per pixel (H, W, 3), in which light bounced off ``color`` would shift the channels."""
    shift = (color + 3) / (expected + 3)
    shift = shift - shift.mean(axis=-1, keepdims=True)
    return shift / np.maximum(np.linalg.norm(shift, axis=-1, keepdims=True), 0.2)


def _bounded(
    likely: np.ndarray, sure: np.ndarray, inside: np.ndarray, away: np.ndarray, reach: float
) -> np.ndarray:
    """The likely pieces with a sure core that touch the object's foot and end before the surroundings begin.

    A shadow starts where the object stands; what touches its upper half only is something dark behind it.
    """
    likely = cv2.morphologyEx(likely.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(likely)
    foot = np.arange(len(inside))[:, None] > np.percentile(np.nonzero(inside)[0], 50)
    beside = (away < 6) & sure
    touching = set(np.unique(labels[beside]).tolist()) - {0}
    edge = (away > 0.85 * reach) & (likely > 0)
    out = np.zeros_like(sure)
    for label in touching:
        piece = labels == label
        area = stats[label, cv2.CC_STAT_AREA]
        at_foot = (beside & piece & foot).sum() > _AT_FOOT * (beside & piece).sum()
        if at_foot and (edge & piece).sum() < 0.08 * area and (sure & piece).sum() > 0.2 * area:
            out |= piece
    return out


def _tidy(mask: np.ndarray) -> np.ndarray:
    """Specks off, ragged borders closed."""
    if not mask.any():
        return mask
    out = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
    return cv2.morphologyEx(out, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
