"""Where an object went: the shift between two frames, and the place where a lost one shows again."""

from __future__ import annotations

import cv2
import numpy as np

from aftermath.core import Box

__all__ = ["find_again", "find_shift"]

_COARSE_PX = 48  # objects are searched for at about this size
_FAR_COST = 60.0  # grey levels squared, for a shift off the predicted one by the object's own size
_HIDDEN_COST = 200.0  # grey levels squared, for a place wholly outside the picture
_SMALL_SHARE = 0.15  # of the object's area: what must show before it is called found
_LARGE_SHARE = 2.5  # and what it may have become at most
_LIKELY = 0.8  # evidence from which a pixel may be the lost object's
_MIN_PX = 6


def find_shift(last: np.ndarray, mask: np.ndarray, now: np.ndarray, velocity: np.ndarray) -> np.ndarray:
    """How far the object moved from ``last`` to ``now``, uint8 (H, W, 3) RGB: float64 (dx, dy), pixels.

    The masked view is compared at every shift in reach of the predicted ``velocity`` (squared difference at a
    coarse scale, far shifts a little dearer). Shifts under two coarse pixels are left to the flow.
    """
    box = Box.of_mask(mask)
    assert box is not None, "only an object in view moves"
    window = box.slices(mask.shape[1], mask.shape[0])
    size = max(box.width, box.height)
    scale = min(1.0, _COARSE_PX / size)
    reach = 24 + 0.6 * size + float(np.linalg.norm(velocity))
    area = box.grown(reach)
    x0, y0 = int(area.x0), int(area.y0)
    x1, y1 = int(np.ceil(area.x1)), int(np.ceil(area.y1))
    view = _padded_view(now, x0, y0, x1, y1)
    seen = _padded_view(np.full(mask.shape, 255, np.uint8), x0, y0, x1, y1, constant=True)
    small = cv2.resize(view, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    width, height = max(1, round(box.width * scale)), max(1, round(box.height * scale))
    patch = cv2.resize(last[window], (width, height), interpolation=cv2.INTER_AREA)
    share = cv2.resize(mask[window].astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    inside = cv2.resize(seen, (small.shape[1], small.shape[0]), interpolation=cv2.INTER_AREA) > 128
    score = _masked_difference(small, patch, share, inside)
    y, x = np.mgrid[: score.shape[0], : score.shape[1]]
    shift_x, shift_y = x / scale + x0 - box.x0, y / scale + y0 - box.y0
    far = np.hypot(shift_x - velocity[0], shift_y - velocity[1]) / max(1.0, size)
    total = score + _FAR_COST * far
    at = np.unravel_index(np.argmin(total), total.shape)
    shift = np.array([shift_x[at], shift_y[at]], float)
    return shift if np.linalg.norm(shift) >= 2 / scale else np.zeros(2)


def _masked_difference(
    image: np.ndarray, patch: np.ndarray, share: np.ndarray, inside: np.ndarray
) -> np.ndarray:
    """Mean squared difference of ``patch``, weighted by ``share``, at every place; outside does not count."""
    weight = share.astype(np.float32)
    picture = image.astype(np.float32) * inside[..., None]
    seen = inside.astype(np.float32)
    total = np.zeros((image.shape[0] - patch.shape[0] + 1, image.shape[1] - patch.shape[1] + 1), np.float32)
    for channel in range(3):
        own = patch[..., channel].astype(np.float32)
        one = picture[..., channel]
        total += cv2.matchTemplate(one * one, weight, cv2.TM_CCORR)
        total -= 2 * cv2.matchTemplate(one, own * weight, cv2.TM_CCORR)
        total += cv2.matchTemplate(seen, own * own * weight, cv2.TM_CCORR)
    count = cv2.matchTemplate(seen, weight, cv2.TM_CCORR)
    part = count / max(1e-6, float(weight.sum()))
    return np.where(part > 0.25, total / np.maximum(count, 1e-6), 1e9) + _HIDDEN_COST * (1 - part)


def _padded_view(image: np.ndarray, x0: int, y0: int, x1: int, y1: int, constant: bool = False) -> np.ndarray:
    height, width = image.shape[:2]
    left, top, right, bottom = max(0, -x0), max(0, -y0), max(0, x1 - width), max(0, y1 - height)
    inner = image[max(0, y0) : max(0, min(y1, height)), max(0, x0) : max(0, min(x1, width))]
    mode = cv2.BORDER_CONSTANT if constant else cv2.BORDER_REPLICATE
    return cv2.copyMakeBorder(inner, top, bottom, left, right, mode, value=0)


def find_again(likely: np.ndarray, area: float, near: tuple[float, float]) -> np.ndarray | None:
    """The most object-like patch of a picture where ``likely``, float32 (H, W), says object where positive.

    ``area``: the pixels the object had when last in full view; ``near``: (x, y) where that was: of two
    patches as good the nearer one. Returns bool (H, W), or None.
    """
    patches = (cv2.GaussianBlur(likely, (5, 5), 0) > _LIKELY).astype(np.uint8)
    patches = cv2.morphologyEx(patches, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    _, labels, stats, centers = cv2.connectedComponentsWithStats(patches, connectivity=8)
    height, width = likely.shape
    best, best_score = None, 0.0
    for label, (x, y, w, h, pixels) in enumerate(stats.tolist()):
        at_border = x == 0 or y == 0 or x + w == width or y + h == height
        least = (0.5 if at_border else 1) * _SMALL_SHARE * area
        if label == 0 or not max(_MIN_PX, least) <= pixels <= _LARGE_SHARE * area:
            continue
        patch = labels == label
        away = float(np.hypot(*(centers[label] - near))) / float(np.hypot(width, height))
        score = float(likely[patch].mean()) * min(1.0, pixels / area) ** 0.5 * (1 - 0.5 * away)
        if score > best_score:
            best, best_score = patch, score
    return best
