"""From a clip and the object in it to a `Scene`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from aftermath.ahead import at_once
from aftermath.core import Clip
from aftermath.scene.base import Camera, CameraKind, Scene, Track
from aftermath.scene.camera import estimate_camera, plate_canvas
from aftermath.scene.parallax import ONE_MAP, Bend, Parallax, enlarged, frame_grid, measure_parallax
from aftermath.scene.plate import Plate, build_plate, exposure_gains, sample_indices, warp_to_plate
from aftermath.scene.resting import Place, find_ghosts, find_resting, without_resting
from aftermath.scene.tracks import Difference, difference, follow

__all__ = ["analyse_scene", "plate_in_frame"]

_BESIDE = 0.5  # of the object's size: so close what its mask missed may be
_HALO_PX = 4  # blur carries an object's colour this far past its mask
_SOFT, _SOLID = 1, 2
_GRID_PX = 4  # of the parallax; it is smooth in between
_EDGE_CELLS, _EDGE_PX = 5, 1.5
_SIDE_PX = 3
_THIN_PX, _CLOSE_PX = 3, 6

Progress = Callable[[int, int], None]


def analyse_scene(clip: Clip, primary: np.ndarray, progress: Progress | None = None) -> Scene:
    """Find the camera, the plate behind what moves, and every moving thing beside ``primary``.

    ``primary`` boolean (T, H, W): the object's pixels.
    """
    tell = progress or (lambda done, of: None)
    num = len(clip)
    frames = _registered(clip, primary, lambda done, of: tell(done, 2 * num))
    plate, trusted = _first_plate(frames)
    kinds = np.zeros(primary.shape, np.uint8)  # all that outlives a difference: a long clip's are large

    def followed(looks: int) -> tuple[tuple[Track, ...], np.ndarray]:
        def differences() -> Iterator[Difference]:
            for t, found in enumerate(at_once(lambda t: frames.difference(t, plate, trusted), range(num))):
                kinds[t] = np.select([found.solid, found.soft], [_SOLID, _SOFT], 0)
                yield found
                tell(looks * num + t + 1, max(2, looks + 1) * num)

        return follow(clip.frames, differences(), primary, frames.camera.to_plate)

    tracks, labels = followed(1)
    ghosts = find_ghosts(tracks, lambda track, t: frames.place(track, t, labels[t], kinds[t]), plate)
    if ghosts:  # with a better plate everything is seen anew
        plate = without_resting(plate, ghosts)
        trusted = np.logical_or.reduce([trusted, *(thing.around for thing in ghosts)])
        tracks, labels = followed(2)
    for kind, label in zip(kinds, labels, strict=True):
        soft = (kind == _SOFT) | ((kind == _SOLID) & (label == 0))
        kind[:] = soft if frames.parallax is None else _whole(soft) & (label == 0)
    soft, parallax = kinds.view(bool), frames.parallax
    return Scene(
        frames.camera, plate.image, plate.seen, labels, soft, frames.gains, plate.noise, tracks, parallax
    )


def _first_plate(frames: _Frames) -> tuple[Plate, np.ndarray]:
    """The plate, without what rested before a still camera, and where it may be trusted, boolean (h, w); sets the
    exposure of ``frames`` by it."""
    num, camera = len(frames.clip), frames.camera
    index = sample_indices(num)
    samples = np.stack([frames.laid(frames.clip.frames[t], t) for t in index])
    usable = [np.where(_grown(frames.primary[t]), 0, 255).astype(np.uint8) for t in index]
    valid = np.stack([frames.laid(u, t) > 250 for u, t in zip(usable, index, strict=True)])
    middle = samples[int(np.searchsorted(index, camera.reference_idx))]
    gains = exposure_gains(samples, valid, middle)
    for sample, gain in zip(samples, gains, strict=True):
        if (gain != 1).any():
            sample[:] = np.clip(sample / gain, 0, 255).astype(np.uint8)
    frames.gains[:] = np.stack([np.interp(np.arange(num), index, gains[:, c]) for c in range(3)], 1)
    around = round(
        _BESIDE * float(np.sqrt(np.median([area for area in frames.primary.sum(axis=(1, 2)) if area] or [0])))
    )
    beside = np.stack([frames.laid(_grown(frames.primary[t], around).astype(np.uint8), t) > 0 for t in index])
    plate = build_plate(samples, valid, beside)
    if camera.kind is not CameraKind.STILL:
        return plate, plate.seen
    resting = find_resting(samples, valid, frames.primary[index], plate)
    plate = without_resting(plate, resting)
    # what is continued behind them from around is good enough to tell them from
    return plate, np.logical_or.reduce([plate.seen, *(thing.around for thing in resting)])


def _registered(clip: Clip, primary: np.ndarray, tell: Progress) -> _Frames:
    camera = estimate_camera(clip, primary, tell)
    camera, *size = plate_canvas(camera, clip.width, clip.height)
    parallax = None
    if camera.kind is not CameraKind.STILL:
        parallax = measure_parallax(
            clip.frames, primary, camera.to_plate, (size[0], size[1]), camera.reference_idx
        )
    gains = np.ones((len(clip), 3), np.float32)
    return _Frames(clip, primary, camera, (size[0], size[1]), parallax, gains)


@dataclass(frozen=True)
class _Frames:
    """A clip's frames, and how each lies on the plate.

    ``primary`` boolean (T, H, W): the object. ``size``: width and height of the plate. ``gains`` float32 (T, 3): how
    much brighter than the plate each frame is.
    """

    clip: Clip
    primary: np.ndarray
    camera: Camera
    size: tuple[int, int]
    parallax: Parallax | None
    gains: np.ndarray

    def bend(self, t: int) -> Bend | None:
        return None if self.parallax is None else self.parallax[t]

    def laid(self, image: np.ndarray, t: int) -> np.ndarray:
        """``image`` (H, W[, 3]), as frame ``t`` sees it, in plate pixels."""
        (width, height), to_plate, bend = self.size, self.camera.to_plate[t], self.bend(t)
        if bend is None:
            return warp_to_plate(image, to_plate, self.size)
        grid = bend.from_plate(frame_grid(np.eye(3), (height, width), _GRID_PX))
        grid = cv2.perspectiveTransform(grid, np.linalg.inv(to_plate))
        where = enlarged(grid, slice(0, height), slice(0, width), _GRID_PX, first=1)
        return cv2.remap(image, where, ONE_MAP, cv2.INTER_LINEAR)

    def difference(self, t: int, plate: Plate, trusted: np.ndarray) -> Difference:
        """Frame ``t`` against ``plate`` where that is ``trusted``, boolean (h, w)."""
        frame, to_plate, gain, bend = (
            self.clip.frames[t],
            self.camera.to_plate[t],
            self.gains[t],
            self.bend(t),
        )
        size = frame.shape[:2]
        image, known = plate_in_frame(plate.image, trusted, to_plate, size, bend)
        lit = np.clip(image * gain, 0, 255).astype(np.uint8) if (gain != 1).any() else image
        if bend is not None:
            lit = _either_depth(lit, frame, _at_depth_edges(bend, to_plate, size))
        return difference(frame, lit, known & ~self.primary[t], plate.noise)

    def place(self, track: Track, t: int, labels: np.ndarray, kinds: np.ndarray) -> Place:
        """What frame ``t`` shows round ``track``; ``labels`` and ``kinds`` uint8 (H, W) are the frame's own."""
        image, others = self.laid(self.clip.frames[t], t), (labels > 0) & (labels != track.label)
        if (self.gains[t] != 1).any():
            image = np.clip(image / self.gains[t], 0, 255).astype(np.uint8)
        masks = labels == track.label, kinds == _SOFT, ~_grown(self.primary[t] | others)
        marked, soft, free = (self.laid(mask.astype(np.uint8) * 255, t) > 127 for mask in masks)
        return Place(image, marked, soft, free)


def _grown(mask: np.ndarray, around_px: int = _HALO_PX) -> np.ndarray:
    """A mask boolean (H, W) and its halo."""
    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * around_px + 1, 2 * around_px + 1), np.uint8)) > 0


def _whole(soft: np.ndarray) -> np.ndarray:
    """A mask boolean (H, W) without what is thin, which are edges that do not quite lie on one another, and without
    holes and gaps, in which what moved happens to look like what was there."""
    broad, wide = (
        cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * px + 1, 2 * px + 1)) for px in (_THIN_PX, _CLOSE_PX)
    )
    seen = soft.astype(np.uint8)
    cores = cv2.morphologyEx(seen, cv2.MORPH_OPEN, broad)
    return cv2.morphologyEx(cv2.bitwise_and(cv2.dilate(cores, broad), seen), cv2.MORPH_CLOSE, wide) > 0


def plate_in_frame(
    plate: np.ndarray, seen: np.ndarray, to_plate: np.ndarray, size: tuple[int, ...], bend: Bend | None
) -> tuple[np.ndarray, np.ndarray]:
    """The plate as one frame's camera sees it: uint8 (H, W, 3), and where it is known, boolean (H, W).

    ``size`` is (H, W) of the frame, ``bend`` its parallax.
    """
    height, width = size
    if bend is not None:
        grid = bend.to_plate(frame_grid(to_plate, size, _GRID_PX))
        where = enlarged(grid, slice(0, height), slice(0, width), _GRID_PX, first=1)
        image = cv2.remap(plate, where, ONE_MAP, cv2.INTER_LINEAR)
        return image, cv2.remap(seen.astype(np.uint8) * 255, where, ONE_MAP, cv2.INTER_LINEAR) > 250
    if np.array_equal(to_plate, np.eye(3)) and plate.shape[:2] == (height, width):
        return plate, seen
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    image = cv2.warpPerspective(plate, to_plate, (width, height), flags=flags)
    known = cv2.warpPerspective(seen.astype(np.uint8) * 255, to_plate, (width, height), flags=flags) > 250
    return image, known


def _at_depth_edges(bend: Bend, to_plate: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Where near meets far: the parallax differs from that of a close neighbour; boolean (H, W)."""
    height, width = size
    grid = frame_grid(to_plate, size, _GRID_PX)
    moved = bend.to_plate(grid) - grid
    near = np.ones((_EDGE_CELLS, _EDGE_CELLS), np.uint8)
    spread = (cv2.dilate(moved, near) - cv2.erode(moved, near)).max(axis=-1)
    return enlarged(spread, slice(0, height), slice(0, width), _GRID_PX, first=1) > _EDGE_PX


def _either_depth(plate: np.ndarray, frame: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """``plate`` uint8 (H, W, 3) with what ``frame`` shows wherever, at ``edges`` of depth, a place close by shows it
    too: on which side of the edge a pixel lies is not known that well."""
    if not edges.any():
        return plate
    around = np.ones((2 * _SIDE_PX + 1, 2 * _SIDE_PX + 1), np.uint8)
    likely = np.clip(frame, cv2.erode(plate, around), cv2.dilate(plate, around))
    return np.where(edges[..., None], likely, plate)
