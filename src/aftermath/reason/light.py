"""What is light and not a thing: the object's reflection, the deep part of its shadow; and what to call it."""

from __future__ import annotations

from functools import cached_property

import cv2
import numpy as np

from aftermath.core import Clip
from aftermath.core.channels import channel_max, channel_min
from aftermath.reason.events import Mover
from aftermath.scene.analyse import plate_in_frame
from aftermath.scene.base import CameraKind, Scene, Track

__all__ = ["BLUR_PX", "Light", "colour_shares"]

BLUR_PX = 4
"""How far a thing's own blur reaches beyond its mask."""

_FAINT, _VERY_FAINT = 0.45, 0.25  # of the object's own contrast: a reflection is paler than what it reflects
_SCRAP_SHARE = 0.0004  # of the picture
_KIND = 0.25  # of the changed light: less is the ragged rim of the other kind
_TINTED = 0.12  # difference between the channels' ratios to the background
_FRAMES = 7
_COMES_UP, _STAYS_BY = 0.4, 0.5  # of the object's size: how near a piece of it comes up and stays
_PIECE_SHARE = 0.3  # of the object's area: the largest piece
_COMMON = 0.002  # of the object: a colour that is its own
_OWN_COLOURS = 0.6  # of a piece: so much has such colours


def colour_shares(frame: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """How often each hue and strength of colour occurs in ``mask``, boolean (H, W); light and shade left out. Float32
    (24, 24), sums to 1."""
    lab = cv2.cvtColor(frame, cv2.COLOR_RGB2LAB)
    hist = cv2.calcHist([lab], [1, 2], mask.astype(np.uint8), [24, 24], [0, 256, 0, 256])
    share = (hist / max(1.0, float(hist.sum()))).astype(np.float32)
    return cv2.GaussianBlur(share, (3, 3), 0)


class Light:
    """Tells light from things in one clip. ``primary``: boolean (T, H, W), and ``moving`` its motion."""

    def __init__(self, clip: Clip, primary: np.ndarray, scene: Scene, moving: Mover) -> None:
        self._clip, self._primary, self._scene, self._object = clip, primary, scene, moving

    def is_light(self, track: Track) -> bool:
        """A solid-looking piece that is light all the same: a reflection, or the deep part of a shadow."""
        frames = np.flatnonzero(track.seen & np.isfinite(self._object.centers[:, 0]))
        if frames.size == 0:
            return False
        return self._is_faint_copy(track, frames) or self._is_deep_shadow(track, frames)

    def is_own_piece(self, track: Track, gap: np.ndarray) -> bool:
        """Whether it is a piece of the object that its mask missed: it comes up beside the object, never goes far from
        it, has its colours, and is on nothing else. ``gap`` float64 (T,): its distance from the object, pixels.

        Only before a still camera, where what rests has a track from the beginning.
        """
        frames, size_px = np.flatnonzero(track.seen), self._object.size_px
        if self._scene.camera.kind is not CameraKind.STILL or frames[0] == 0:
            return False
        came, went = gap[frames[0]], gap[frames].max()
        if not (came < _COMES_UP * size_px and went < _STAYS_BY * size_px):
            return False
        if np.median(track.areas_px[frames]) > _PIECE_SHARE * size_px**2:
            return False
        t = int(track.areas_px.argmax())
        mask = self._scene.mask(track)
        shared = colour_shares(self._clip.frames[t], mask[t])[self._own_colours].sum()
        return bool(shared > _OWN_COLOURS and self._is_nearest(mask, gap, frames))

    def _is_nearest(self, mask: np.ndarray, gap: np.ndarray, frames: np.ndarray) -> bool:
        """Whether nothing much larger than it is as close as the object, in most ``frames``."""
        near = 0
        for t in frames:
            labels, area = self._scene.labels[t], 2 * np.count_nonzero(mask[t])
            larger = (np.bincount(labels.ravel(), minlength=256) > area) & (np.arange(256) > 0)
            away = cv2.distanceTransform((~mask[t]).astype(np.uint8), cv2.DIST_L2, 3)
            near += int((away[larger[labels]] > gap[t]).all())
        return bool(near > 0.5 * len(frames))

    @cached_property
    def _own_colours(self) -> np.ndarray:
        """Which colours the object has, boolean (24, 24), as `colour_shares` tells them."""
        t = int(self._object.areas.argmax())
        return colour_shares(self._clip.frames[t], self._primary[t]) > _COMMON

    def is_large_enough(self, track: Track) -> bool:
        """Whether it is more than a scrap left over from something else."""
        return bool(
            np.median(track.areas_px[track.seen]) >= _SCRAP_SHARE * self._clip.width * self._clip.height
        )

    def kind_of_light(self, mask: np.ndarray) -> tuple[str, str]:
        """What to call it, and why it goes."""
        t = int(mask.sum(axis=(1, 2)).argmax())
        shown = np.flatnonzero(mask.any(axis=(1, 2)))
        sampled = shown[np.linspace(0, len(shown) - 1, _FRAMES).astype(int)]
        dimmed, tinted = np.median([self._changes_of_light(mask[i], int(i)) for i in sampled], axis=0)
        if max(dimmed, tinted) < _KIND:  # the plate holds it too: compare with what lies beside
            beside = cv2.dilate(mask[t].astype(np.uint8), np.ones((15, 15), np.uint8)) > 0
            beside &= ~mask[t] & ~self._primary[t]
            frame = self._clip.frames[t].astype(np.float32)
            darker = beside.any() and frame[mask[t]].mean() < 0.97 * frame[beside].mean()
            dimmed, tinted = float(darker), float(not darker)
        shadow, color = dimmed >= _KIND, tinted >= _KIND
        noun = "shadow with reflection" if shadow and color else "shadow" if shadow else "reflection or glow"
        return (
            f"{noun} of the object",
            "touches the object, lets the background show through, and comes and goes with it",
        )

    def _is_faint_copy(self, track: Track, frames: np.ndarray) -> bool:
        """It travels with the object like something held, but differs from the background far less than it.

        The paler it is the more it may waver: what a floor mirrors breaks up at every joint. A scrap need not be
        pale: too small to be held, it is the edge of a shadow.
        """
        here, there = track.centers_px[frames], self._object.centers[frames]
        travelled = np.ptp(there, axis=0).max()
        if frames.size < 3 or travelled < 3:
            return False
        apart = max(0.0, np.ptp(here - there, axis=0).max() - 3) / travelled
        if not self.is_large_enough(track) and apart < 0.2:
            return True
        t = int(frames[np.argmax(track.areas_px[frames])])
        paleness = self._contrast(self._scene.mask(track)[t], t) / max(
            1.0, self._contrast(self._primary[t], t)
        )
        return (paleness < _FAINT and apart < 0.4) or (paleness < _VERY_FAINT and apart < 0.65)

    def _contrast(self, mask: np.ndarray, t: int) -> float:
        """Mean difference from the background inside ``mask`` of frame ``t``, levels of 255."""
        scene = self._scene
        to_plate, bend = scene.camera.to_plate[t], scene.bend(t)
        plate, known = plate_in_frame(scene.plate, scene.seen, to_plate, mask.shape, bend)
        use = mask & known
        if not use.any():
            return 0.0
        return float(np.abs(self._clip.frames[t][use].astype(np.int16) - plate[use]).mean())

    def _is_deep_shadow(self, track: Track, frames: np.ndarray) -> bool:
        """It never moves of itself and is there only while the object rests beside it."""
        centers = track.centers_px[frames]
        if np.ptp(centers, axis=0).max() > 0.35 * np.sqrt(track.areas_px[frames].max()) + 2:
            return False
        if frames.size == len(self._clip):
            return False
        t = frames[len(frames) // 2]
        near = cv2.dilate(self._primary[t].astype(np.uint8), np.ones((13, 13), np.uint8)) > 0
        if not (self._scene.mask(track)[t] & near).any():
            return False
        here = self._object.centers[frames]
        rested = np.ptp(here, axis=0).max() < 0.3 * self._object.size_px
        return bool(rested and np.nanmax(np.linalg.norm(self._object.centers - here[0], axis=1)) > 3)

    def _changes_of_light(self, mask: np.ndarray, t: int) -> tuple[float, float]:
        """Shares of ``mask``, boolean (H, W), that are evenly dimmed, and that are tinted or lit, in frame ``t``.

        A shadow takes from all channels alike; a reflection or a glow brings the object's colour. The object's
        blurred border does so too, and is left out.
        """
        scene = self._scene
        to_plate, bend = scene.camera.to_plate[t], scene.bend(t)
        plate, known = plate_in_frame(scene.plate, scene.seen, to_plate, mask.shape, bend)
        border = np.ones((2 * BLUR_PX + 1, 2 * BLUR_PX + 1), np.uint8)
        use = mask & known & (cv2.dilate(self._primary[t].astype(np.uint8), border) == 0)
        if not use.any():
            return 0.0, 0.0
        here, there = (
            cv2.GaussianBlur(x.astype(np.float32), (0, 0), 1.5) for x in (self._clip.frames[t], plate)
        )
        ratio = ((here + 3) / (there + 3))[use]
        most = channel_max(ratio)
        uneven = most - channel_min(ratio) > _TINTED
        return float((~uneven & (most < 0.95)).mean()), float((uneven | (most > 1.05)).mean())
