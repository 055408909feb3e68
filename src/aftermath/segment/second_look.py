"""A second look at a followed object before a still camera: once the whole clip is known, so is what stands behind.

Axes: time, then y before x.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import cv2
import numpy as np

from aftermath.ahead import at_once
from aftermath.core import Box
from aftermath.scene.fineness import EDGE_PX, FINE_PX, WINDOW_PX, fineness
from aftermath.scene.plate import masked_median
from aftermath.segment.colours import ColourModel, bins_of
from aftermath.segment.cut import cut, edge_cost
from aftermath.segment.memory import Plate, Window, difference, largest
from aftermath.segment.shapes import filled, grown

__all__ = ["look_again"]

_SAMPLES = 41
_HALO = 0.12  # of the object's size: what may belong to it beside its mask
_AGREE = 12  # grey levels
_LEAST_VIEWS = 4  # frames that show a place at least
_REACH = 0.6  # of the object's size: how far from its mask more of it may be
_FRONT, _FOLLOWED, _UNKNOWN, _ANOTHER = 2.5, 1.0, 3.0, 3.0  # what each kind of evidence counts
_SHADOW = 1.8  # share by which a difference counts less that looks like a shadow
_ROUGH = 0.7
_COMMON = 2e-3  # of the object's pixels: a colour that is its own
_GREY, _LEVELS = np.full((1, 3), 1 / 3, np.float32), 3.0
_LEAST_ROUGH = 0.02
_CLOSE = 0.15  # of the object's size: so near a piece apart may be its own
_ALIKE, _UNLIKELY = 0.3, -0.5  # log ratios of colours
_PIECE = 0.01  # of the object's area: the least piece
_HOLE = 0.06
_COVERS, _SAME_NOISE = 0.6, 4.0  # intersection over union with where it stood; times the noise of a pixel
_THIN = 0.03  # of the object's size: half of the least width of a limb


def look_again(
    frames: np.ndarray,
    masks: np.ndarray,
    others: np.ndarray,
    begun: Collection[int],
    kept: Collection[int],
    tick: Callable[[], None],
) -> None:
    """Correct ``masks``, bool (T, H, W), in place, by what the whole clip shows of the backdrop.

    ``frames``: uint8 (T, H, W, 3) RGB of a camera that stands still; ``others``: bool (T, H, W), what is known to be
    another thing; ``begun``: frames from which the object was followed; ``kept``: frames whose mask stays. ``tick`` is
    called once a frame.
    """
    seen = np.flatnonzero(masks.any(axis=(1, 2)))
    sure = [t for t in begun if masks[t].any()]
    size_px = float(np.sqrt(np.median(masks[seen].sum(axis=(1, 2)))))
    colours = _colours(frames, masks, sure)
    behind, noise = _backdrop(frames, masks, others, size_px)
    # it may be the object itself, at rest where it was not followed
    behind.known[_likely(behind.colour, colours)] = False
    look = _Look(frames, masks, others, behind, noise, size_px, colours)
    todo = [int(t) for t in seen if t not in kept]
    for t, (window, mask) in zip(todo, at_once(look.at, todo), strict=True):
        masks[t][window] = mask
        tick()
    for _ in range(len(frames) - len(todo)):
        tick()
    _keep_what_rests(frames, masks, others, sure, max(_AGREE, _SAME_NOISE * noise))


def _keep_what_rests(
    frames: np.ndarray, masks: np.ndarray, others: np.ndarray, sure: Collection[int], agree: float
) -> None:
    """Give ``masks`` back what a hand over it took, in place: where the object covers about what it did on a frame that
    is ``sure``, what lies within it there and looks as it did then is the object still."""
    for t in np.flatnonzero(masks.any(axis=(1, 2))).tolist():
        key = min(sure, key=lambda one: abs(one - t))
        box = Box.of_mask(masks[key])
        if t == key or box is None:
            continue
        here = box.slices(masks.shape[2], masks.shape[1])
        once, now = masks[key][here], masks[t]
        both = np.count_nonzero(once & now[here])
        if both < _COVERS * (np.count_nonzero(once) + np.count_nonzero(now) - both):
            continue
        same = largest(cv2.absdiff(frames[t][here], frames[key][here])) <= agree
        now[here] |= once & same & ~others[t][here]


def _backdrop(
    frames: np.ndarray, masks: np.ndarray, others: np.ndarray, size_px: float
) -> tuple[Plate, float]:
    """What most frames show where nothing is known to stand before it, and the noise of a pixel."""
    chosen = np.unique(np.linspace(0, len(frames) - 1, _SAMPLES).round().astype(int))
    halo = max(3, round(_HALO * size_px))
    free = ~np.stack([grown(masks[t], halo) | grown(others[t], 3) for t in chosen])
    median = masked_median(frames[chosen], free).astype(np.float32)
    off = np.stack([largest(cv2.absdiff(frames[t].astype(np.float32), median)) for t in chosen])
    count = free.sum(axis=0)
    known = (count >= min(_LEAST_VIEWS, len(chosen))) & (((off < _AGREE) & free).sum(axis=0) > 0.5 * count)
    sample = off[:, ::4, ::4][free[:, ::4, ::4] & known[None, ::4, ::4]]
    noise = min(12.0, max(0.8, float(np.median(sample)))) if sample.size else 2.0
    return Plate(median, known), noise


def _colours(frames: np.ndarray, masks: np.ndarray, sure: Collection[int]) -> tuple[ColourModel, ColourModel]:
    """Those of the object on the frames that are ``sure``, and of what is round it there."""
    bins = {t: bins_of(frames[t]) for t in sure}
    inside = [bins[t][masks[t]] for t in sure]
    outside = [bins[t][~grown(masks[t], 3)] for t in sure]
    return ColourModel(np.concatenate(inside)), ColourModel(np.concatenate(outside))


def _likely(picture: np.ndarray, colours: tuple[ColourModel, ColourModel]) -> np.ndarray:
    """Where ``picture``, float32 (H, W, 3), may show the object: bool (H, W)."""
    own, around = colours
    return cv2.blur(own.against(around, bins_of(picture.round().astype(np.uint8))), (5, 5)) > _UNLIKELY


def _rough(image: np.ndarray, behind: np.ndarray, noise: float) -> np.ndarray:
    """Where ``image``, uint8 (h, w, 3), is not the light on ``behind``, float32 (h, w, 3), made weaker or stronger, for
    that changes slowly: white fur before a bright floor is as a shadow in colour, but has hairs and folds. Bool (h, w);
    the edge of a shadow is too narrow to count.
    """
    light, dark = (cv2.transform(picture.astype(np.float32), _GREY) + _LEVELS for picture in (image, behind))
    # what light does to a textured floor is uneven too
    own = fineness(dark / cv2.GaussianBlur(dark, (0, 0), FINE_PX))
    least = np.maximum(np.maximum(_LEAST_ROUGH, 3 * noise / dark), own)
    rough = (fineness(light / dark) > least).astype(np.uint8)
    cores = cv2.erode(rough, np.ones((EDGE_PX, EDGE_PX), np.uint8))
    return cv2.dilate(cores, np.ones((EDGE_PX - WINDOW_PX + 1,) * 2, np.uint8)) > 0


@dataclass(frozen=True)
class _Look:
    """What the look at one frame needs."""

    frames: np.ndarray
    masks: np.ndarray
    others: np.ndarray
    behind: Plate
    noise: float
    size_px: float
    colours: tuple[ColourModel, ColourModel]

    def at(self, t: int) -> tuple[Window, np.ndarray]:
        """A window of frame ``t`` and the mask in it, bool (h, w)."""
        image, mask = self.frames[t], self.masks[t]
        box = Box.of_mask(mask)
        assert box is not None, "only frames that show the object are looked at"
        window = box.grown(_REACH * self.size_px).slices(mask.shape[1], mask.shape[0])
        before, another, known = mask[window], self.others[t][window], self.behind.known[window]
        differs, shadow = difference(image[window], self.behind.colour[window], self.noise, exact=False)
        rough = _rough(image[window], self.behind.colour[window], self.noise)
        front = np.where(differs > 0, differs * (1 - _SHADOW * shadow), differs)
        front = np.where(rough, np.maximum(differs, _ROUGH), front)
        own = self.colours[0].share[bins_of(image[window])] > _COMMON
        front = np.where(cv2.blur(own.astype(np.float32), (5, 5)) > 0.5, front, np.minimum(front, 0))
        away = cv2.distanceTransform((~before).astype(np.uint8), cv2.DIST_L2, 3) / (_REACH * self.size_px)
        evidence = (
            _FRONT * front * known
            + np.where(known, _FOLLOWED, _UNKNOWN) * np.where(before, 1, -1)
            - _FRONT * np.square(np.minimum(away, 2))
            - _ANOTHER * (another & ~before)
        )
        found = cut(evidence.astype(np.float32), edge_cost(image[window]), before)
        found = self._settled(
            self._without_strips(filled(found, _HOLE), before), before, another, image[window]
        )
        return window, found if found.any() else before

    def _without_strips(self, found: np.ndarray, before: np.ndarray) -> np.ndarray:
        """``found`` less what is new along the mask ``before`` and too thin for a limb, as the dark seam at its foot
        is; bool (h, w) all."""
        radius = max(1, round(_THIN * self.size_px))
        limb = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        new = cv2.morphologyEx((found & ~before).astype(np.uint8), cv2.MORPH_OPEN, limb) > 0
        return (found & before) | new

    def _settled(
        self, found: np.ndarray, before: np.ndarray, another: np.ndarray, image: np.ndarray
    ) -> np.ndarray:
        """The pieces of ``found`` that hold some of the mask ``before``, and those close to it that look like the
        object; bool (h, w) all."""
        count, pieces, stats, _ = cv2.connectedComponentsWithStats(found.astype(np.uint8), connectivity=8)
        labels = np.asarray(pieces, np.int32)
        areas = stats[:, cv2.CC_STAT_AREA]
        held = np.bincount(labels[before], minlength=count)
        keep = (held > 0.05 * areas) & (areas > 0)
        keep[0] = False
        if count > 1 + np.count_nonzero(keep):
            near = np.bincount(
                labels[grown(keep[labels], max(3, round(_CLOSE * self.size_px)))], minlength=count
            )
            beside = np.bincount(labels[grown(another, 3)], minlength=count)
            own, around = self.colours
            alike = np.bincount(labels[own.against(around, bins_of(image)) > _ALIKE], minlength=count)
            keep |= (near > 0) & (beside == 0) & (alike > 0.5 * areas) & (areas > _PIECE * before.sum())
            keep[0] = False
        return keep[labels]
