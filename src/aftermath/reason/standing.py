"""What motion cannot show: a thing that stands still on the object, and where it would come to rest."""

from __future__ import annotations

import cv2
import numpy as np

from aftermath.core import Box

__all__ = ["drop_below", "standing_on"]


def standing_on(image: np.ndarray, primary: np.ndarray) -> np.ndarray | None:
    """The thing that touches the object from above and would lose its support: boolean (H, W), or None.

    ``image`` uint8 (H, W, 3) RGB, ``primary`` boolean (H, W). The strip just above the object is compared with what
    lies beside it at the same height; where it differs, a graph cut finds the thing's outline.
    """
    box = Box.of_mask(primary)
    if box is None or box.y0 < 6 or min(box.width, box.height) < 8:
        return None
    height, width = primary.shape
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float32)
    seed = _strip_above(lab, primary, box)
    if seed is None:
        return None
    reach = 1.3 * max(box.width, box.height)
    rows, cols = Box(box.x0 - 0.3 * box.width, box.y0 - reach, box.x1 + 0.3 * box.width, box.y1).slices(
        width, height
    )
    found = _cut(image[rows, cols], seed[rows, cols], primary[rows, cols])
    if found is None:
        return None
    out = np.zeros_like(primary)
    out[rows, cols] = found
    top = Box.of_mask(out)
    assert top is not None
    rests_inside = top.x0 > box.x0 - 0.3 * box.width and top.x1 < box.x1 + 0.3 * box.width
    bounded = top.y0 > rows.start + 1 and 0.03 * primary.sum() < out.sum() < 3.0 * primary.sum()
    return out if rests_inside and bounded else None


def _strip_above(lab: np.ndarray, primary: np.ndarray, box: Box) -> np.ndarray | None:
    """Pixels right above the object that look like nothing beside it at the same height."""
    depth = max(4, round(0.06 * box.height))
    seed = np.zeros_like(primary)
    left, right = max(0, int(box.x0 - 4)), min(primary.shape[1] - 1, int(box.x1 + 4))
    for x in range(int(box.x0 + 0.05 * box.width), int(box.x1 - 0.05 * box.width)):
        column = np.flatnonzero(primary[:, x])
        if column.size == 0 or column[0] < depth + 2:
            continue
        rows = slice(column[0] - depth - 2, column[0] - 2)
        here = lab[rows, x].mean(axis=0)
        beside = [lab[rows, side].mean(axis=0) for side in (left, right)]
        between = np.clip(here, np.minimum(*beside), np.maximum(*beside))
        seed[rows, x] = np.linalg.norm(here - between) > 22
    seed = cv2.morphologyEx(seed.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 5), np.uint8)) > 0
    return seed if seed.sum() > 0.08 * box.width * depth else None


def _cut(image: np.ndarray, seed: np.ndarray, primary: np.ndarray) -> np.ndarray | None:
    if seed.sum() < 20:
        return None
    labels = np.full(seed.shape, cv2.GC_PR_BGD, np.uint8)
    around = Box.of_mask(seed)
    assert around is not None
    likely = np.zeros_like(seed)
    tall = max(around.width, around.height)
    rows, cols = Box(around.x0 - 4, around.y1 - 1.6 * tall, around.x1 + 4, around.y1).slices(
        *seed.shape[::-1]
    )
    likely[rows, cols] = True
    labels[likely] = cv2.GC_PR_FGD
    labels[seed] = cv2.GC_FGD
    labels[primary] = cv2.GC_BGD
    labels[:2], labels[:, :2], labels[:, -2:] = cv2.GC_BGD, cv2.GC_BGD, cv2.GC_BGD
    cv2.setRNGSeed(0)  # grabCut seeds its colour models from OpenCV's global generator
    models = np.zeros((1, 65)), np.zeros((1, 65))
    bgr = np.ascontiguousarray(image[..., ::-1])
    cv2.grabCut(bgr, labels, (0, 0, 1, 1), *models, 6, cv2.GC_INIT_WITH_MASK)
    found = ((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)).astype(np.uint8)
    found = cv2.morphologyEx(found, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    _, pieces = cv2.connectedComponents(found)
    hit = np.bincount(pieces[seed], minlength=pieces.max() + 1)
    hit[0] = 0
    return pieces == hit.argmax() if hit.any() else None


def drop_below(thing: np.ndarray, primary: np.ndarray) -> float:
    """How far, in pixels, a thing on the object falls until it stands where the object stood.

    ``thing`` and ``primary`` boolean (H, W). Seen from above, the object shows its top face, of depth d, over its
    front, of height h; a thing in the middle of the top face stands d/2 below the object's highest pixel and comes
    to rest d/2 above its lowest, so it falls by the object's height in the picture less d. The thing's lowest pixel is
    the front of its own base, as much foreshortened as the top face (taken to be as deep as it is wide).
    """
    on, below = Box.of_mask(thing), Box.of_mask(primary)
    if on is None or below is None:
        return 0.0
    lowest = thing[int(on.y1 - max(2, 0.08 * on.height)) : int(on.y1)]
    base = float(np.count_nonzero(lowest.any(axis=0)))
    front = max(0.0, on.y1 - below.y0)  # of the thing's own base, which stands before its middle
    half_depth = front * below.width / (below.width + base)
    least = max(0.0, below.y1 - on.y1) * 0.5
    above = max(0.0, below.y0 - on.y1)  # it has not quite landed yet
    return float(above + max(below.height - 2 * half_depth, least))
