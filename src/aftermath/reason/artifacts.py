"""Light that the object changes: its shadow, its reflection, its glow."""

from __future__ import annotations

import cv2
import numpy as np

from aftermath.core import Box, Clip
from aftermath.reason.kinematics import mask_centers
from aftermath.scene.base import Scene
from aftermath.scene.membrane import membrane

__all__ = ["find_artifacts", "still_artifacts"]

_BRIDGE_PX = 4  # light may start this far from the object's mask
_PERIOD_SHARE = 0.25  # of the object's size: it rests while it stays within this distance
_REACH = 1.1  # of the object's size: how far a still object's shadow is looked for
_DARKER, _TINTED = 0.93, 0.07


def find_artifacts(clip: Clip, primary: np.ndarray, scene: Scene, ignore: np.ndarray) -> np.ndarray:
    """Pixels whose light ``primary`` changes: boolean (T, H, W), the object itself left out.

    Three sources: what the comparison with the plate calls soft and what touches the object; for an object that
    rests in several places, what it did to the light in one of them, carried to the others (the plate may hold the
    shadow of the place where it rests longest); and where it never moves, one still picture (`still_artifacts`).
    ``ignore`` boolean (T, H, W): pixels that belong to other things.
    """
    soft = scene.soft & ~primary & ~ignore
    attached = np.stack([_attached(s, p) for s, p in zip(soft, primary, strict=True)])
    attached = _carried_over(attached, primary, scene)
    if _rests(primary, scene):
        still = still_artifacts(_typical_frame(clip, primary), primary.mean(axis=0) > 0.5)
        attached |= still[None]
    attached &= ~primary & ~ignore
    return np.stack([_tidy(frame) for frame in attached])


def _attached(soft: np.ndarray, primary: np.ndarray) -> np.ndarray:
    """The soft pieces of one frame that touch the object."""
    if not primary.any() or not soft.any():
        return np.zeros_like(soft)
    size = 2 * _BRIDGE_PX + 1
    grown = cv2.dilate(primary.astype(np.uint8), np.ones((size, size), np.uint8))
    joined = cv2.morphologyEx(soft.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    _, labels = cv2.connectedComponents(joined)
    touching = np.unique(labels[(grown > 0) & (joined > 0)])
    return np.isin(labels, touching[touching > 0]) & soft


def _carried_over(artifacts: np.ndarray, primary: np.ndarray, scene: Scene) -> np.ndarray:
    """Add to every resting place what the object did to the light in another one."""
    centers = mask_centers(primary, scene.camera.to_plate)
    size = float(np.sqrt(np.median(primary.sum(axis=(1, 2))[np.isfinite(centers[:, 0])])))
    periods = _periods(centers, _PERIOD_SHARE * size)
    if len(periods) < 2:
        return artifacts
    out = artifacts.copy()
    for source in periods:
        footprint = artifacts[source].mean(axis=0) > 0.5
        for target in periods:
            if source is target or not footprint.any():
                continue
            dx, dy = np.median(centers[target], axis=0) - np.median(centers[source], axis=0)
            matrix = np.array([[1, 0, dx], [0, 1, dy]], np.float64)
            moved = cv2.warpAffine(footprint.astype(np.uint8), matrix, footprint.shape[::-1]) > 0
            out[target] |= moved[None]
    return out


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


def _rests(primary: np.ndarray, scene: Scene) -> bool:
    """Whether the object covers about the same pixels throughout, so that no frame shows them without it."""
    always, ever = (primary.mean(axis=0) > 0.9).sum(), primary.any(axis=0).sum()
    return bool(ever) and always > 0.5 * ever and np.array_equal(scene.camera.to_plate[0], np.eye(3))


def _typical_frame(clip: Clip, primary: np.ndarray) -> np.ndarray:
    index = np.flatnonzero(primary.any(axis=(1, 2)))
    chosen = index[np.linspace(0, len(index) - 1, min(len(index), 9)).astype(int)]
    return np.median(clip.frames[chosen], axis=0).astype(np.uint8)


def still_artifacts(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Shadow and glow round a thing in one picture: boolean (H, W).

    ``image`` uint8 (H, W, 3) RGB, ``mask`` boolean (H, W). The surroundings further out are continued smoothly
    towards the object; what is evenly darker than that, or tinted by the object's own colour, touches the object and
    fades before it reaches the surroundings, is its doing.
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
    ring = (away < 0.95 * reach) & ~inside
    darker = (ratio.max(axis=-1) < _DARKER) & (np.ptp(ratio, axis=-1) < 0.25)
    colored = ((ratio - ratio.mean(axis=-1, keepdims=True)) * tint).sum(axis=-1) > _TINTED
    found = _bounded(ring & (darker | (colored & (away < 0.5 * reach))), inside, away, reach)
    out[window] = found
    return out


def _tint(color: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Unit direction, per pixel (H, W, 3), in which light bounced off ``color`` would shift the channels."""
    shift = (color + 3) / (expected + 3)
    shift = shift - shift.mean(axis=-1, keepdims=True)
    return shift / np.maximum(np.linalg.norm(shift, axis=-1, keepdims=True), 0.2)


def _bounded(found: np.ndarray, inside: np.ndarray, away: np.ndarray, reach: float) -> np.ndarray:
    """The pieces that touch the object and end before the surroundings begin."""
    found = cv2.morphologyEx(found.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(found)
    touching = set(np.unique(labels[(away < 6) & (found > 0)]).tolist()) - {0}
    edge = (away > 0.85 * reach) & (found > 0)
    out = np.zeros_like(inside)
    for label in touching:
        piece = labels == label
        if (edge & piece).sum() < 0.08 * stats[label, cv2.CC_STAT_AREA]:
            out |= piece
    return out


def _tidy(mask: np.ndarray) -> np.ndarray:
    """Specks off, ragged borders closed and grown a little: a shadow's last fade is still a shadow."""
    if not mask.any():
        return mask
    out = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
    out = cv2.morphologyEx(out, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    return cv2.dilate(out, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))) > 0
