"""A thing that stands still in the world, followed through a clip whose camera moves."""

from __future__ import annotations

import cv2
import numpy as np

from aftermath.core import Box

__all__ = ["followed"]

_SEARCH_PX = 3  # from one frame to the next
_BETTER = 0.95  # of the difference: less gain is no reason to move
_RIM_PX = 2


def followed(frames: np.ndarray, thing: np.ndarray, frame: int, to_plate: np.ndarray) -> np.ndarray:
    """``thing`` boolean (H, W), seen in one ``frame``, in all of them: boolean (T, H, W).

    ``frames`` uint8 (T, H, W, 3); ``to_plate`` float64 (T, 3, 3), the camera. What is raised above the ground drifts
    against it, so in each frame, outward from the first, the thing's picture is looked for close to where the camera
    and its drift so far put it (least squares over its own pixels).
    """
    out = np.zeros((len(frames), *thing.shape), bool)
    out[frame] = thing
    box = Box.of_mask(thing)
    if box is None:
        return out
    box = box.grown(_RIM_PX)
    for others in (range(frame + 1, len(frames)), range(frame - 1, -1, -1)):
        drift, step = np.zeros(2), (0, 0)
        for t in others:
            way = np.linalg.inv(to_plate[t]) @ to_plate[frame]
            corners = np.array([[box.x0, box.y0], [box.x1, box.y0], [box.x0, box.y1], [box.x1, box.y1]])
            there = cv2.perspectiveTransform(corners[:, None], way)[:, 0] + drift
            left, top = (int(v) for v in np.floor(there.min(axis=0)))
            size = tuple(int(v) for v in np.ceil(there.max(axis=0)) - (left, top))
            if min(size) < 1 or max(size) > 2 * max(thing.shape):
                break
            way = np.array([[1, 0, drift[0] - left], [0, 1, drift[1] - top], [0, 0, 1]]) @ way
            shape = cv2.warpPerspective(thing.view(np.uint8) * 255, way, size) > 127
            image = cv2.warpPerspective(frames[frame], way, size, borderMode=cv2.BORDER_REPLICATE)
            step = _nearby(frames[t], image, shape, left, top) or step
            drift += step
            _lay(out[t], shape, left + step[0], top + step[1])
    return out


def _nearby(
    frame: np.ndarray, image: np.ndarray, shape: np.ndarray, left: int, top: int
) -> tuple[int, int] | None:
    """How far ``shape`` boolean (h, w) of ``image`` uint8 (h, w, 3) is from ``left`` and ``top`` in ``frame``: (x, y).

    None where that is too close to the picture's border to look.
    """
    around = Box(left, top, left + shape.shape[1], top + shape.shape[0]).grown(_SEARCH_PX)
    rows, cols = around.slices(frame.shape[1], frame.shape[0])
    cut_off = rows.stop - rows.start < around.height or cols.stop - cols.start < around.width
    if cut_off or not shape.any():
        return None
    off = cv2.matchTemplate(frame[rows, cols], image, cv2.TM_SQDIFF, mask=shape.astype(np.uint8))
    y, x = np.unravel_index(int(off.argmin()), off.shape)
    if off[y, x] > _BETTER * off[_SEARCH_PX, _SEARCH_PX]:
        return 0, 0
    return int(x) - _SEARCH_PX, int(y) - _SEARCH_PX


def _lay(out: np.ndarray, shape: np.ndarray, left: int, top: int) -> None:
    """``shape`` boolean (h, w) into ``out`` boolean (H, W), in place; what lies outside is cut off."""
    rows, cols = Box(left, top, left + shape.shape[1], top + shape.shape[0]).slices(*out.shape[::-1])
    out[rows, cols] = shape[rows.start - top : rows.stop - top, cols.start - left : cols.stop - left]
