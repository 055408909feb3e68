"""From a clip and the object in it to a `Scene`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np

from aftermath.ahead import at_once
from aftermath.core import Clip
from aftermath.scene.align import align
from aftermath.scene.base import CameraKind, Scene
from aftermath.scene.camera import estimate_camera, plate_canvas
from aftermath.scene.plate import build_plate, exposure_gains, sample_indices, warp_to_plate
from aftermath.scene.resting import find_resting, without_resting
from aftermath.scene.tracks import Difference, difference, follow

__all__ = ["analyse_scene", "plate_in_frame"]

_HALO_PX = 4  # blur carries an object's colour this far past its mask
_SOFT, _SOLID = 1, 2

Progress = Callable[[int, int], None]


def analyse_scene(clip: Clip, primary: np.ndarray, progress: Progress | None = None) -> Scene:
    """Find the camera, the plate behind what moves, and every moving thing beside ``primary``.

    ``primary`` boolean (T, H, W): the object's pixels.
    """
    tell = progress or (lambda done, of: None)
    num = len(clip)
    camera = estimate_camera(clip, primary, lambda done, of: tell(done, 2 * num))
    camera, width, height = plate_canvas(camera, clip.width, clip.height)
    index = sample_indices(num)
    kernel = np.ones((2 * _HALO_PX + 1, 2 * _HALO_PX + 1), np.uint8)
    samples = np.stack([warp_to_plate(clip.frames[t], camera.to_plate[t], (width, height)) for t in index])
    usable = [cv2.erode(np.where(primary[t], 0, 255).astype(np.uint8), kernel) for t in index]
    valid = np.stack([
        warp_to_plate(u, camera.to_plate[t], (width, height)) > 250 for u, t in zip(usable, index, strict=True)
    ])  # fmt: skip
    middle = samples[int(np.searchsorted(index, camera.reference_idx))]
    gains = exposure_gains(samples, valid, middle)
    for sample, gain in zip(samples, gains, strict=True):
        if (gain != 1).any():
            sample[:] = np.clip(sample / gain, 0, 255).astype(np.uint8)
    moves = camera.kind is not CameraKind.STILL
    if moves:
        _lay_on_one_another(samples, valid)
    plate = build_plate(samples, valid)
    trusted = plate.seen
    if not moves:
        resting = find_resting(samples, valid, primary[index], plate)
        plate = without_resting(plate, resting)
        # what is continued behind them from around is good enough to tell them from
        trusted = np.logical_or.reduce([plate.seen, *(thing.around for thing in resting)])
    all_gains = np.stack([np.interp(np.arange(num), index, gains[:, c]) for c in range(3)], 1).astype(
        np.float32
    )
    kinds = np.zeros(primary.shape, np.uint8)  # all that outlives a difference: a long clip's are large

    def look(t: int) -> Difference:
        image, known = plate_in_frame(plate.image, trusted, camera.to_plate[t], clip.frames.shape[1:3])
        lit = np.clip(image * all_gains[t], 0, 255).astype(np.uint8) if (all_gains[t] != 1).any() else image
        if moves:
            lit = align(clip.frames[t], lit, ~known | primary[t])
        return difference(clip.frames[t], lit, known & ~primary[t], plate.noise)

    def differences() -> Iterator[Difference]:
        for t, found in enumerate(at_once(look, range(num))):
            kinds[t][found.soft], kinds[t][found.solid] = _SOFT, _SOLID
            yield found
            tell(num + t + 1, 2 * num)

    tracks, labels = follow(clip.frames, differences(), primary, camera.to_plate)
    for kind, label in zip(kinds, labels, strict=True):
        kind[:] = (kind == _SOFT) | ((kind == _SOLID) & (label == 0))
    soft = kinds.view(bool)
    return Scene(camera, plate.image, plate.seen, labels, soft, all_gains, plate.noise, tracks)


def _lay_on_one_another(samples: np.ndarray, valid: np.ndarray) -> None:
    """Bend every sample uint8 (N, h, w, 3) onto a first plate, which needs no more than every second one; in place."""
    first = build_plate(samples[::2], valid[::2], settle=False)

    def bent(n: int) -> np.ndarray:
        return align(first.image, samples[n], ~valid[n] | ~first.seen)

    for n, sample in enumerate(at_once(bent, range(len(samples)))):
        samples[n] = sample


def plate_in_frame(
    plate: np.ndarray, seen: np.ndarray, to_plate: np.ndarray, size: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """The plate as one frame's camera sees it: uint8 (H, W, 3), and where it is known, boolean (H, W).

    ``size`` is (H, W) of the frame.
    """
    height, width = size
    if np.array_equal(to_plate, np.eye(3)) and plate.shape[:2] == (height, width):
        return plate, seen
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    image = cv2.warpPerspective(plate, to_plate, (width, height), flags=flags)
    known = cv2.warpPerspective(seen.astype(np.uint8) * 255, to_plate, (width, height), flags=flags) > 250
    return image, known
