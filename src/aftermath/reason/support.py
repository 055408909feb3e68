"""What stands on the object through the clip: it would lose its support."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from aftermath.core import Clip
from aftermath.reason.events import Mover
from aftermath.reason.standing import in_the_outline, standing_on
from aftermath.reason.still import followed
from aftermath.scene.base import CameraKind, Scene, Track

__all__ = ["Support"]

_KNOWN_SHARE, _SAME_SHARE = 0.3, 0.6  # of its pixels
_LOOKS, _LOOKS_MOVING = 3, 5  # frames in which it is looked for, before a still camera and a moving one
_STANDS_OVERLAP = 0.5  # intersection over union with what another look shows
_RESTS, _RESTS_MOVING = 0.2, 0.4  # of the object: above the ground it drifts before a moving camera


class Support:
    """The object as something that others stand on. Masks are boolean (T, H, W), of one frame (H, W)."""

    def __init__(self, clip: Clip, primary: np.ndarray, scene: Scene, mover: Mover) -> None:
        """``mover``: ``primary``, the object's mask, with its centers."""
        self.clip, self.primary, self.scene = clip, primary, scene
        self._object = mover
        self._still = scene.camera.kind is CameraKind.STILL

    @cached_property
    def rests(self) -> bool:
        """Whether the object keeps its place through the clip; on what does not, nothing is looked for."""
        centers = self._object.centers[np.isfinite(self._object.centers[:, 0])]
        least = _RESTS if self._still else _RESTS_MOVING
        return bool(np.ptp(centers, axis=0).max(initial=0) < least * self._object.size_px)

    @cached_property
    def first(self) -> int:
        """The first frame that shows the object."""
        return int(np.flatnonzero(self.primary.any(axis=(1, 2)))[0])

    def standing(self, known: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The masks of what stands on the object and is none of ``known``, each seen so in two frames."""
        shown = np.flatnonzero(self.primary.any(axis=(1, 2)))
        if not self.rests or not shown.size:
            return []
        num_looks = _LOOKS if self._still else _LOOKS_MOVING
        times = [int(t) for t in shown[np.unique(np.linspace(0, len(shown) - 1, num_looks).astype(int))]]
        looks = {t: in_the_outline(self.clip.frames[t], self.primary[t]) for t in times}
        found: list[np.ndarray] = []
        for t, things in looks.items():
            for thing in things:
                if self._is_known(thing, t, [*known, *found]):
                    continue
                mask = self._seen_again(thing, t, looks)
                if mask is not None:
                    found.append(mask)
        return found

    def touching(self, known: Sequence[np.ndarray]) -> np.ndarray | None:
        """The mask of what seems to stand on the object because it touches it from above; None where that is one of
        ``known`` or nothing."""
        if not self.rests:
            return None
        thing = standing_on(self.clip.frames[self.first], self.primary[self.first])
        if thing is None or self._is_known(thing, self.first, known):
            return None
        return self._carried(thing, self.first)

    def at(self, frame: int, x: int, y: int) -> np.ndarray | None:
        """The mask of what stands on the object at a pixel of a frame; None where nothing does."""
        if not self.rests:
            return None
        image, primary = self.clip.frames[frame], self.primary[frame]
        touches = standing_on(image, primary)
        things = [*in_the_outline(image, primary), *([] if touches is None else [touches])]
        found = next((thing for thing in things if thing[y, x]), None)
        return None if found is None else self._carried(found, frame)

    def tracks_of(self, masks: Sequence[np.ndarray], tracks: Sequence[Track]) -> set[str]:
        """The ids of ``tracks`` that are nothing but ``masks`` of things that do not move."""
        if not masks:
            return set()
        still = np.logical_or.reduce(masks)
        seen = ((track.id, self.scene.mask(track)) for track in tracks)
        return {
            name
            for name, mask in seen
            if np.count_nonzero(mask & still) > _SAME_SHARE * np.count_nonzero(mask)
        }

    def _seen_again(
        self, thing: np.ndarray, frame: int, looks: dict[int, list[np.ndarray]]
    ) -> np.ndarray | None:
        """``thing`` of one frame in all, each as the nearest of ``looks`` shows it; None where no other shows it."""
        mask = self._carried(thing, frame)
        again = {
            t: other
            for t, others in looks.items()
            for other in others
            if t != frame and _overlap(mask[t], other) > _STANDS_OVERLAP
        }
        if not again and len(looks) > 1:
            return None
        if not self._still:
            masks = {frame: mask} | {t: self._carried(other, t) for t, other in again.items()}
            for t in range(len(mask)):
                mask[t] = masks[min(masks, key=lambda f: abs(f - t))][t]
        return mask

    def _is_known(self, thing: np.ndarray, frame: int, known: Sequence[np.ndarray]) -> bool:
        """Whether ``thing`` is one of ``known``, or moves: that is judged by its motion."""
        taken = [mask[frame] for mask in known]
        if self._still:  # before a moving camera all that is raised above the ground seems to move
            taken.append(self.scene.labels[frame] > 0)
        return any(mask[thing].mean() > _KNOWN_SHARE for mask in taken)

    def _carried(self, thing: np.ndarray, frame: int) -> np.ndarray:
        """``thing`` of one frame in all: it keeps its place beside the object."""
        if self._still:
            return np.repeat(thing[None], len(self.clip), axis=0) & ~self.primary
        return followed(self.clip.frames, thing, frame, self.scene.camera.to_plate) & ~self.primary


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two masks, boolean (H, W)."""
    return np.count_nonzero(one & other) / max(1, np.count_nonzero(one | other))
