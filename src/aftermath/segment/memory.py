"""What stands behind the object: remembered while it is in view, and moved along with the camera.

A pixel that looks as its background did is not the object's; one that does not may be. This is what keeps a
tracker from drifting onto the background and lets it find the object again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from aftermath.scene.base import Camera

__all__ = ["Memory", "Plate", "between", "difference", "largest", "settled"]

Window = tuple[slice, slice]

_STILL_PX = 0.2  # camera motion below this is measuring noise
_DARKEST = 0.3  # of the light that falls beside it: what a shadow keeps at least
_TINTS = 0.012, 0.024  # chromaticity shifts by this in what is surely, and in what may be, a shadow
_SLOW, _FAST = 0.05, 0.3  # shares by which the memory follows a changed and an unchanged picture
_SUM = np.ones((1, 3), np.float32)
_SAMPLES = 13  # frames that say what stays
_AGREE = 12  # grey levels


def difference(
    image: np.ndarray, behind: np.ndarray, noise: float, exact: bool
) -> tuple[np.ndarray, np.ndarray]:
    """How an image differs from what stands behind.

    ``image``: uint8 (H, W, 3) RGB; ``behind``: float32 (H, W, 3); ``noise``: standard deviation of a
    pixel's value. ``exact``: whether the two are aligned to the pixel; without it a pixel's neighbours
    count as the same. Returns float32 (H, W) in -1 (same) to 1 (different), and bool (H, W), where it looks
    like a shadow on ``behind``: darker by at most 65 %, of the same chromaticity.
    """
    picture = cv2.GaussianBlur(image, (3, 3), 0).astype(np.float32)
    smooth = cv2.GaussianBlur(behind, (3, 3), 0)
    low, high = smooth, smooth
    if not exact:
        square = np.ones((3, 3), np.uint8)
        low, high = cv2.erode(smooth, square), cv2.dilate(smooth, square)
    distance = largest(cv2.max(picture - high, low - picture))
    limit = 3.5 * noise + 5
    return np.clip((distance - limit) / limit, -1, 1), _shadow(picture, smooth)


def largest(channels: np.ndarray) -> np.ndarray:
    """The largest of three channels, (H, W) for (H, W, 3): several times faster than numpy's max."""
    first, second, third = cv2.split(channels)
    return cv2.max(cv2.max(first, second), third)


def _shadow(picture: np.ndarray, behind: np.ndarray) -> np.ndarray:
    """How much ``picture`` looks like a shadow on ``behind``: float32 (H, W), 0 to 1.

    Darker, of the same chromaticity (Horprasert et al. 1999), but for the tint of what light is left.
    """
    picture, behind = cv2.blur(picture, (3, 3)), cv2.blur(behind, (3, 3))
    dark, light = cv2.transform(picture, _SUM) + 1, cv2.transform(behind, _SUM) + 1
    tint = largest(cv2.absdiff(picture / dark[..., None], behind / light[..., None]))
    darker = (dark > _DARKEST * light) & (dark < 0.97 * light)
    return np.clip((_TINTS[1] - tint) / (_TINTS[1] - _TINTS[0]), 0, 1) * darker


def settled(frames: np.ndarray, idx: int, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """What most frames agree on, seen from frame ``idx``.

    ``frames``: uint8 (T, H, W, 3) RGB. Returns float32 (H, W, 3), the median over a sample of the frames,
    and bool (H, W), where at least half of them agree on it.
    """
    height, width = frames.shape[1:3]
    chosen = np.unique(np.linspace(0, len(frames) - 1, _SAMPLES).round().astype(int))
    views = []
    for other in chosen:
        step = between(camera, int(other), idx)
        view = frames[other]
        if not np.array_equal(step, np.eye(3)):
            view = cv2.warpPerspective(view, step, (width, height), borderMode=cv2.BORDER_REPLICATE)
        views.append(view)
    median = np.median(np.stack(views), axis=0).astype(np.float32)
    votes = np.sum([largest(cv2.absdiff(view.astype(np.float32), median)) < _AGREE for view in views], axis=0)
    return median, votes >= len(views) / 2


def between(camera: Camera, start: int, end: int) -> np.ndarray:
    """The homography from pixels of frame ``start`` to pixels of frame ``end``: float64 (3, 3).

    Exactly the identity where the camera moved less than can be measured.
    """
    matrix = np.linalg.solve(camera.to_plate[end], camera.to_plate[start])
    matrix = matrix / matrix[2, 2]
    square = np.array([[0, 0, 1], [500, 0, 1], [0, 500, 1], [500, 500, 1]], float).T
    moved = matrix @ square
    shift = np.abs(moved[:2] / moved[2] - square[:2]).max()
    return np.eye(3) if shift < _STILL_PX else matrix


@dataclass
class Memory:
    """The memory of one tracker. ``colour``: float32 (H, W, 3) RGB; ``known``: bool (H, W), where it holds
    anything; ``noise``: standard deviation of an unchanged pixel; ``exact``: no camera motion has blurred
    it yet."""

    colour: np.ndarray
    known: np.ndarray
    noise: float = 2.0
    exact: bool = True

    @classmethod
    def of(cls, image: np.ndarray, hidden: np.ndarray) -> Memory:
        """Start from one frame, uint8 (H, W, 3); ``hidden``: bool (H, W), what is not background in it."""
        return cls(image.astype(np.float32), ~hidden)

    def follow(self, step: np.ndarray) -> None:
        """Move along with the camera by one homography."""
        if np.array_equal(step, np.eye(3)):
            return
        height, width = self.known.shape
        self.colour = cv2.warpPerspective(
            self.colour, step, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        inside = cv2.warpPerspective(
            self.known.astype(np.uint8), step, (width, height), flags=cv2.INTER_NEAREST
        )
        self.known = inside > 0
        self.exact = False

    def evidence(self, image: np.ndarray, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """`difference` inside ``window``; 0 where nothing is known."""
        known = self.known[window]
        differs, shadow = difference(image[window], self.colour[window], self.noise, self.exact)
        return differs * known, shadow * known

    def learn(self, image: np.ndarray, hidden: np.ndarray) -> None:
        """Take in a frame, uint8 (H, W, 3), except where ``hidden``, bool (H, W)."""
        seen = image.astype(np.float32)
        distance = largest(cv2.absdiff(seen, self.colour))
        both = ~hidden & self.known
        sample = distance[::3, ::3][both[::3, ::3]]
        if sample.size:
            self.noise = min(12.0, 0.8 * self.noise + 0.2 * max(0.8, float(np.median(sample))))
        same = distance < 4 * self.noise + 6
        for where, share in ((both & same, _FAST), (both & ~same, _SLOW), (~hidden & ~self.known, 1.0)):
            cv2.accumulateWeighted(seen, self.colour, share, where.astype(np.uint8))
        self.known |= ~hidden


@dataclass
class Plate:
    """What most frames of the clip show: ``colour`` float32 (H, W, 3) RGB, and ``known`` bool (H, W), where
    that is background, both in pixels of the frame begun with; ``matrix`` leads from there to the present."""

    colour: np.ndarray
    known: np.ndarray
    matrix: np.ndarray = field(default_factory=lambda: np.eye(3))

    def follow(self, step: np.ndarray) -> None:
        """Move along with the camera by one homography."""
        self.matrix = step @ self.matrix

    def evidence(self, image: np.ndarray, window: Window, noise: float) -> tuple[np.ndarray, np.ndarray]:
        """`difference` from the plate inside ``window``, and bool (h, w), where the plate is known."""
        if np.array_equal(self.matrix, np.eye(3)):
            colour, known = self.colour[window], self.known[window]
        else:
            rows, columns = window
            corner = np.array([[1, 0, -columns.start], [0, 1, -rows.start], [0, 0, 1]], float)
            size = columns.stop - columns.start, rows.stop - rows.start
            matrix = corner @ self.matrix
            colour = cv2.warpPerspective(self.colour, matrix, size, borderMode=cv2.BORDER_REPLICATE)
            known = (
                cv2.warpPerspective(self.known.astype(np.uint8), matrix, size, flags=cv2.INTER_NEAREST) > 0
            )
        differs, _ = difference(image[window], colour, noise, exact=False)
        return differs, known
