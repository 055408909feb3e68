"""From what a plan names to pixels: which mask is meant by "the red ball, in these cells of that frame".

A language model says what and roughly where. The pixels come from what is known already, the surest first: a track of
the scene that lies in the cells, what a detector finds there by name, what a segmenter cuts out of the cells' box.
Light is what of the picture's changes lies in the cells; only where the picture tells nothing, the cells themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import cv2
import numpy as np

from aftermath.core import AffectedObject, Belonging, Box, Clip, Sighting
from aftermath.core.channels import channel_max
from aftermath.errors import InputError
from aftermath.scene.analyse import plate_in_frame
from aftermath.scene.base import CameraKind, Scene
from aftermath.segment.base import BoxPrompt, PointPrompt, Prompts, Segmenter

__all__ = ["Found", "Grounding", "Named"]

_INSIDE = 0.6  # of a track's pixels that must lie in the cells
_SLACK = 0.25  # of a cell: how far outside them still counts
_FILLED = 0.04  # intersection over union of a track's box and the cells: a speck is not what fills them
_NAMED = 0.1  # intersection over union of a detector's box and the cells
_LIGHT_PX = 40
_TOLD_SHARE = 0.02  # of the cells: what changes less tells nothing
_CHANGE = 3.0  # times the noise
_MOVED_SHARE = 0.05  # of a thing's pixels


class Named(Protocol):
    """Where a detector found a name: ``box`` in pixels of the analysed clip, on ``frame``."""

    box: Box
    frame: int
    score: float


@dataclass(frozen=True)
class Found:
    """A thing's pixels, boolean (T, H, W), the frame on which they are surest and a pixel (x, y) inside them there.

    ``moves``: it is one of the scene's tracks.
    """

    mask: np.ndarray
    frame: int
    point: tuple[float, float]
    moves: bool = False


class Grounding:
    """Looks for what is named in one clip. ``find`` looks for a name on some frames; None where no detector is here."""

    def __init__(
        self,
        clip: Clip,
        primary: np.ndarray,
        scene: Scene,
        segmenter: Segmenter,
        find: Callable[[str, Sequence[int]], Sequence[Named]] | None = None,
    ) -> None:
        self._clip, self._primary, self._scene = clip, primary, scene
        self._segmenter, self._find = segmenter, find

    def thing(self, named: AffectedObject | Belonging) -> Found | None:
        """The pixels of a thing in every frame that shows it; None where nothing is found."""
        places = self._places(named)
        return self._track(places) or self._by_name(named.noun, places) or self._in_box(places)

    def light(self, thing: AffectedObject, known: np.ndarray | None) -> np.ndarray | None:
        """Where light that the object changes lies, boolean (T, H, W); None where neither cells nor picture tell.

        ``known``: what was found of it without being told, boolean (T, H, W); that, where it lies in the cells.
        """
        cells = self._cells_everywhere(thing)
        if cells is None:
            return known
        cells[~self._primary.any(axis=(1, 2))] = False  # no light without the object
        for pixels in (known, self._scene.soft, self._unlike):
            if pixels is None:
                continue
            inside = cells & pixels & ~self._primary
            if inside.any() and np.count_nonzero(inside) > max(
                _LIGHT_PX, _TOLD_SHARE * np.count_nonzero(cells)
            ):
                return known if pixels is known else inside
        return cells & ~self._primary

    def changes(self, found: Found) -> np.ndarray | None:
        """What changes of a thing that keeps its place, boolean (T, H, W); None where that is next to nothing."""
        scene = self._scene
        changed = found.mask & ((scene.labels > 0) | scene.soft | self._unlike) & ~self._primary
        shares = changed.sum(axis=(1, 2)) / np.maximum(1, found.mask.sum(axis=(1, 2)))
        return changed if shares.max() > _MOVED_SHARE else None

    def _places(self, named: AffectedObject | Belonging) -> dict[int, Box]:
        """Where it was seen: frame to the box round its cells, pixels of the analysed clip."""
        sx, sy = self._clip.scale
        cells = {seen.frame: seen.bounds.scaled(sx, sy) for seen in named.sightings}
        if not cells and isinstance(named, AffectedObject) and named.box is not None:
            cells = {named.frames[0]: named.box.scaled(sx, sy)}
        return cells

    @cached_property
    def _cell_px(self) -> float:
        return min(self._clip.width, self._clip.height) / 8

    def _track(self, places: dict[int, Box]) -> Found | None:
        """The track that lies in the cells most exactly."""
        best, most = None, 0.0
        for track in self._scene.tracks:
            overlaps, frames = 0.0, []
            for t, box in places.items():
                here = self._scene.labels[t] == track.label
                own = Box.of_mask(here)
                if own is None:
                    continue
                near = box.grown(_SLACK * self._cell_px)
                rows, cols = near.slices(self._clip.width, self._clip.height)
                if here[rows, cols].sum() < _INSIDE * here.sum() or _overlap(own, box) < _FILLED:
                    overlaps = 0.0
                    break
                overlaps += _overlap(own, box)
                frames.append(t)
            if overlaps > most:
                best, most = (track, frames), overlaps
        if best is None:
            return None
        track, frames = best
        mask = self._scene.mask(track)
        return _found(
            mask, max(frames, key=lambda t: np.count_nonzero(mask[t] & ~self._primary[t])), moves=True
        )

    def _by_name(self, noun: str, places: dict[int, Box]) -> Found | None:
        """What a detector finds under that name, in the cells where there are any."""
        if self._find is None or not noun:
            return None
        frames = self._clearest(places) or [0]
        try:
            matches = self._find(noun, frames)
        except InputError:
            return None
        fitting = [m for m in matches if m.frame not in places or _overlap(m.box, places[m.frame]) > _NAMED]
        if not fitting:
            return None
        match = max(fitting, key=lambda m: m.score)
        return self._segmented(match.box, match.frame)

    def _in_box(self, places: dict[int, Box]) -> Found | None:
        """What a segmenter cuts out of the cells, on the frame in which the object covers least of them."""
        frames = self._clearest(places)
        return self._segmented(places[frames[0]], frames[0]) if frames else None

    def _segmented(self, box: Box, frame: int) -> Found | None:
        """What a segmenter cuts out of ``box`` on ``frame``. What moves is a track; this keeps its place, so one frame
        is cut and carried to the others by the camera's motion."""
        box = box.grown(_SLACK * self._cell_px).clipped(self._clip.width, self._clip.height)
        rows, cols = box.slices(self._clip.width, self._clip.height)
        covered = np.argwhere(self._primary[frame][rows, cols])
        points: tuple[PointPrompt, ...] = ()
        if len(covered):  # the object that goes is not part of it
            y, x = covered[np.abs(covered - covered.mean(axis=0)).sum(axis=1).argmin()]
            points = (PointPrompt(float(x + cols.start), float(y + rows.start), positive=False),)
        prompts = Prompts(boxes=(BoxPrompt(box),), points=points)
        still = replace(
            self._clip, frames=self._clip.frames[frame : frame + 1], times_s=self._clip.times_s[:1]
        )
        try:
            (mask,) = self._segmenter.segment(still, prompts, lambda done, total: None)
        except InputError:
            return None
        return _found(self._carried(mask, frame) & ~self._primary, frame)

    def _carried(self, mask: np.ndarray, frame: int) -> np.ndarray:
        """A mask of ``frame``, boolean (H, W), in every frame: boolean (T, H, W)."""
        to_plate, size = self._scene.camera.to_plate, mask.shape[::-1]
        drawn = mask.astype(np.uint8)
        return np.stack(
            [
                cv2.warpPerspective(
                    drawn, np.linalg.inv(there) @ to_plate[frame], size, flags=cv2.INTER_NEAREST
                )
                > 0
                for there in to_plate
            ]
        )

    def _clearest(self, places: dict[int, Box]) -> list[int]:
        """The frames of ``places``, those first in which the object covers least of the cells."""

        def covered(t: int) -> float:
            rows, cols = places[t].slices(self._clip.width, self._clip.height)
            here = self._primary[t][rows, cols]
            return float(here.mean()) if here.size else 1.0

        return sorted(places, key=covered)

    def _cells_everywhere(self, thing: AffectedObject) -> np.ndarray | None:
        """The cells of light in every frame, boolean (T, H, W): those of the sightings before and after it."""
        sightings = thing.sightings
        if not sightings and thing.box is not None:
            sightings = (Sighting(thing.frames[0], (thing.box,)),)
        if not sightings:
            return None
        frames = np.array([seen.frame for seen in sightings])
        drawn = [self._drawn(seen) for seen in sightings]
        out = np.zeros(self._primary.shape, bool)
        for t in range(len(out)):
            before, after = np.flatnonzero(frames <= t), np.flatnonzero(frames >= t)
            for index in {*before[-1:].tolist(), *after[:1].tolist()}:
                out[t] |= drawn[index]
        return out

    def _drawn(self, seen: Sighting) -> np.ndarray:
        out = np.zeros(self._primary.shape[1:], bool)
        for box in seen.boxes:
            out[box.scaled(*self._clip.scale).slices(self._clip.width, self._clip.height)] = True
        return out

    @cached_property
    def _unlike(self) -> np.ndarray:
        """Where the frames differ from what stands behind and show no other thing: boolean (T, H, W).

        Nowhere for a camera that moves through the scene: there they differ wherever depth is not known well."""
        scene, out = self._scene, np.zeros(self._primary.shape, bool)
        if scene.camera.kind not in (CameraKind.STILL, CameraKind.DRIFTING):
            return out
        limit = _CHANGE * max(1.0, scene.noise)
        for t, frame in enumerate(self._clip.frames):
            plate, known = plate_in_frame(
                scene.plate, scene.seen, scene.camera.to_plate[t], out.shape[1:], scene.bend(t)
            )
            apart = cv2.absdiff(cv2.GaussianBlur(frame, (0, 0), 1.5), cv2.GaussianBlur(plate, (0, 0), 1.5))
            out[t] = known & (channel_max(apart) > limit) & (scene.labels[t] == 0)
        return out


def _overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    wide = min(a.x1, b.x1) - max(a.x0, b.x0)
    tall = min(a.y1, b.y1) - max(a.y0, b.y0)
    if wide <= 0 or tall <= 0:
        return 0.0
    both = wide * tall
    return both / (a.width * a.height + b.width * b.height - both)


def _found(mask: np.ndarray, frame: int, *, moves: bool = False) -> Found | None:
    """``mask`` with the pixel inside it that lies nearest to its middle on ``frame``."""
    inside = np.argwhere(mask[frame])
    if not len(inside):
        return None
    y, x = inside[np.linalg.norm(inside - inside.mean(axis=0), axis=1).argmin()]
    return Found(mask, frame, (float(x), float(y)), moves)
