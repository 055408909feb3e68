"""Light round a still thing, in one picture."""

from __future__ import annotations

import cv2
import numpy as np

from aftermath.reason.artifacts import still_artifacts

SIZE = 200, 320
MUG = slice(60, 120), slice(120, 180)


def table(seed: int = 0) -> np.ndarray:
    """A bright table with a blue mug on it and the mug's soft shadow to its right, uint8 (H, W, 3)."""
    noise = np.random.default_rng(seed).normal(0, 1.5, (*SIZE, 1))
    shade = np.ones(SIZE, np.float32)
    cv2.ellipse(shade, (190, 118), (40, 14), 0, 0, 360, 0.75, -1)
    picture = 225 * cv2.GaussianBlur(shade, (0, 0), 2)[..., None] + noise
    picture = np.repeat(picture, 3, axis=-1)
    picture[MUG] = (40, 90, 200)
    return picture.clip(0, 255).astype(np.uint8)


def mug() -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[MUG] = True
    return mask


def test_what_has_structure_of_its_own_is_no_light():
    """A dark thing stands in the mug's shadow and touches it, as a hand with a watch that holds it."""
    bare = still_artifacts(table(), mug())
    assert bare[105:128, 185:215].mean() > 0.9
    hand = slice(84, 118), slice(181, 212)
    picture = table()
    rows, columns = np.mgrid[hand]
    picture[hand] = (110 + 60 * ((rows // 4 + columns // 4) % 2))[..., None]
    found = still_artifacts(picture, mug())
    assert found[86:116, 184:209].mean() < 0.1
    assert found[120:128, 185:215].mean() > 0.7
    plain = table()  # the same thing without structure is as a shadow: nothing tells it from one
    plain[hand] = 150
    assert still_artifacts(plain, mug())[86:116, 184:209].mean() > 0.9
