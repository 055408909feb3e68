"""What the camera did: every frame registered to one reference frame by its background."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from aftermath.core import Clip
from aftermath.scene.base import Camera, CameraKind

__all__ = ["estimate_camera", "plate_canvas"]

_STILL_PX = 0.6  # corners that move less than this never moved
_STILL_SHARE = 0.4  # where this share of the corners stands still, the rest are things, not the camera
_ALIKE_CUTOFF = 24  # a difference beyond this counts no more: it is a thing that moved
_DRIFT_SHARE = 0.05  # of the picture's diagonal: more than this is a moving camera
_CORRECTION_SHARE = 0.02  # of the diagonal: one step's error is less; a direct fit further off is mistaken
_PARALLAX_PX = 1.2  # what a homography may leave unexplained, median over the picture
_MAX_CORNERS = 600
_LEAST_CORNERS = 12
_MAX_CANVAS_GROWTH = 2.0

Progress = Callable[[int, int], None]


def estimate_camera(clip: Clip, primary: np.ndarray, progress: Progress | None = None) -> Camera:
    """Register every frame of ``clip`` to its middle frame.

    Shi-Tomasi corners outside ``primary`` (boolean (T, H, W)) are followed frame by frame (pyramidal Lucas-Kanade)
    away from the reference, robustly fitted (RANSAC), chained, and then corrected against the reference directly,
    so that errors do not add up. While nothing has moved, that most corners stand still is all that is asked.
    Returns homographies from frame pixels to pixels of the plate canvas.
    """
    reference = len(clip) // 2
    middle = cv2.cvtColor(clip.frames[reference], cv2.COLOR_RGB2GRAY)
    to_reference = np.tile(np.eye(3), (len(clip), 1, 1))
    residuals = np.zeros(len(clip))
    correction_px = _CORRECTION_SHARE * float(np.hypot(clip.width, clip.height))
    done = 0
    for direction in (1, -1):
        chain, before = np.eye(3), middle
        stop = len(clip) if direction > 0 else -1
        for t in range(reference + direction, stop, direction):
            gray = cv2.cvtColor(clip.frames[t], cv2.COLOR_RGB2GRAY)
            both = primary[t] | primary[reference]
            residual = _residual_if_still(gray, middle, both) if _unmoved(chain) else None
            direct = chain
            if residual is None:
                step, _ = _fit(gray, before, primary[t], np.eye(3))
                chain = chain @ step
                direct, residual = _fit(gray, middle, both, chain)
            alike = _furthest(direct, chain, clip.width, clip.height) < correction_px
            if alike and residual <= max(2.0, 2 * residuals[t - direction]):
                chain = direct
            to_reference[t], residuals[t], before = chain, residual, gray
            done += 1
            if progress:
                progress(done, len(clip) - 1)
    kind = _kind(to_reference, residuals, clip.width, clip.height)
    if kind is CameraKind.STILL:
        to_reference[:] = np.eye(3)
    return Camera(kind, to_reference, reference, float(np.median(residuals)))


def plate_canvas(camera: Camera, width: int, height: int) -> tuple[Camera, int, int]:
    """Grow the plate until it holds every frame; returns the shifted camera and the plate's width and height.

    The canvas is at most `_MAX_CANVAS_GROWTH` times the picture on each axis: what a long pan shows beyond that is
    seen in its own frames and needs no plate.
    """
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]], float).T
    moved = camera.to_plate @ corners
    xy = moved[:, :2] / np.maximum(moved[:, 2:], 1e-6)
    grow_x, grow_y = (_MAX_CANVAS_GROWTH - 1) * width, (_MAX_CANVAS_GROWTH - 1) * height
    left = int(np.floor(np.clip(xy[:, 0].min(), -grow_x, 0)))
    top = int(np.floor(np.clip(xy[:, 1].min(), -grow_y, 0)))
    right = int(np.ceil(np.clip(xy[:, 0].max(), width, width + grow_x)))
    bottom = int(np.ceil(np.clip(xy[:, 1].max(), height, height + grow_y)))
    shift = np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1]], float)
    shifted = Camera(camera.kind, shift @ camera.to_plate, camera.reference_idx, camera.residual_px)
    return shifted, right - left, bottom - top


def _residual_if_still(gray: np.ndarray, target: np.ndarray, exclude: np.ndarray) -> float | None:
    """How far corners moved (median, pixels) where so many stand still that the camera does; else None.

    Needs no pyramid, since what moves further than its finest level reaches does not stand still.
    """
    points = _corners(gray, exclude)
    if points is None:
        return None
    tracked, good = _followed(gray, target, points, points, levels=0)
    apart = np.linalg.norm((tracked - points)[:, 0], axis=1)[good]
    still = np.count_nonzero(apart < _STILL_PX)
    return float(np.median(apart)) if still > _STILL_SHARE * len(points) else None


def _fit(
    gray: np.ndarray, target: np.ndarray, exclude: np.ndarray, guess: np.ndarray
) -> tuple[np.ndarray, float]:
    """Homography from ``gray`` to ``target`` near ``guess``, and its median residual in pixels."""
    points = _corners(gray, exclude)
    if points is None:
        return guess, 0.0
    predicted = cv2.perspectiveTransform(points, guess).astype(np.float32)
    tracked, good = _followed(gray, target, points, predicted)
    if good.sum() < _LEAST_CORNERS:
        return guess, 0.0
    a, b = points[good, 0], tracked[good, 0]
    fitted = _simplest_model(a, b)
    if fitted is None:
        return guess, 0.0
    best = _most_alike(gray, target, exclude, fitted)
    left = np.linalg.norm(cv2.perspectiveTransform(a[:, None], best)[:, 0] - b, axis=1)
    return best, float(np.median(left))


def _corners(gray: np.ndarray, exclude: np.ndarray) -> np.ndarray | None:
    """Corners (N, 1, 2) of ``gray`` well outside ``exclude``, xy in pixels; None: too few."""
    allowed = np.where(cv2.dilate(exclude.astype(np.uint8), np.ones((9, 9))) > 0, 0, 255).astype(np.uint8)
    spacing = max(5, min(gray.shape) // 40)
    points = cv2.goodFeaturesToTrack(gray, _MAX_CORNERS, 0.005, spacing, mask=allowed)
    return None if points is None or len(points) < _LEAST_CORNERS else points


def _followed(
    gray: np.ndarray, target: np.ndarray, points: np.ndarray, predicted: np.ndarray, levels: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    """Where ``points`` are in ``target``, and which of them come back from there to where they were."""
    options = {"winSize": (21, 21), "maxLevel": levels, "flags": cv2.OPTFLOW_USE_INITIAL_FLOW}
    tracked, ok, _ = cv2.calcOpticalFlowPyrLK(gray, target, points, predicted.copy(), **options)
    back, ok_back, _ = cv2.calcOpticalFlowPyrLK(target, gray, tracked, points.copy(), **options)
    cycle = np.linalg.norm((back - points)[:, 0], axis=1)
    return tracked, (ok[:, 0] > 0) & (ok_back[:, 0] > 0) & (cycle < 0.7)


def _most_alike(gray: np.ndarray, target: np.ndarray, exclude: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    """``fitted``, or no motion where that makes the pictures at least as alike.

    Corners gather on things that move (a shirt, a hand); the pixels of the whole picture outvote them.
    """
    if _unmoved(fitted):
        return fitted
    size = (gray.shape[1], gray.shape[0])
    warped = cv2.warpPerspective(gray, fitted, size, borderMode=cv2.BORDER_REPLICATE)
    compare = ~exclude
    moved = np.minimum(cv2.absdiff(warped, target)[compare], _ALIKE_CUTOFF).mean()
    unmoved = np.minimum(cv2.absdiff(gray, target)[compare], _ALIKE_CUTOFF).mean()
    return np.eye(3) if unmoved <= 1.05 * moved else fitted


def _simplest_model(a: np.ndarray, b: np.ndarray) -> np.ndarray | None:
    """No motion where the picture allows it, and a similarity where it explains almost as much as a homography."""
    if np.mean(np.linalg.norm(b - a, axis=1) < _STILL_PX) > _STILL_SHARE:
        return np.eye(3)
    cv2.setRNGSeed(0)  # RANSAC draws from OpenCV's global generator: same input, same camera
    full, inliers = cv2.findHomography(a, b, cv2.RANSAC, 1.5)
    similar, similar_inliers = cv2.estimateAffinePartial2D(a, b, method=cv2.RANSAC, ransacReprojThreshold=1.0)
    if similar is not None and (full is None or similar_inliers.sum() >= 0.93 * inliers.sum()):
        return np.vstack([similar, [0, 0, 1]])
    return full


def _kind(to_reference: np.ndarray, residuals: np.ndarray, width: int, height: int) -> CameraKind:
    shift = np.array([_furthest(matrix, np.eye(3), width, height) for matrix in to_reference])
    if np.percentile(shift, 95) < _STILL_PX:
        return CameraKind.STILL
    if np.median(residuals) > _PARALLAX_PX:
        return CameraKind.PARALLAX
    drift = _DRIFT_SHARE * float(np.hypot(width, height))
    return CameraKind.DRIFTING if shift.max() < drift else CameraKind.MOVING


def _unmoved(matrix: np.ndarray) -> bool:
    return np.array_equal(matrix, np.eye(3))


def _furthest(a: np.ndarray, b: np.ndarray, width: int, height: int) -> float:
    """How far apart two homographies take the corners of a picture at most, pixels."""
    corners = np.array([[[0, 0]], [[width, 0]], [[0, height]], [[width, height]]], float)
    apart = cv2.perspectiveTransform(corners, a) - cv2.perspectiveTransform(corners, b)
    return float(np.linalg.norm(apart, axis=-1).max())
