"""What a prompt took: a thing, or a piece of the wall or the floor."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from aftermath.segment.plausible import surface_sign

HEIGHT, WIDTH, PLANK_PX = 120, 200, 20


def planks() -> np.ndarray:
    """A floor of brown planks with dark joints, each of its own lightness: uint8 (H, W, 3)."""
    rng = np.random.default_rng(2)
    picture = np.zeros((HEIGHT, WIDTH, 3))
    for top in range(0, HEIGHT, PLANK_PX):
        for left in range(0, WIDTH, 2 * PLANK_PX):
            picture[top : top + PLANK_PX, left : left + 2 * PLANK_PX] = np.array((150, 110, 70)) + rng.normal(
                0, 6
            )
    picture += cv2.GaussianBlur(rng.normal(0, 40, (HEIGHT, WIDTH)), (0, 0), 2)[..., None]
    picture[::PLANK_PX] = (60, 40, 25)
    picture[:, :: 2 * PLANK_PX] = (60, 40, 25)
    return np.clip(picture, 0, 255).astype(np.uint8)


def block(top: int, left: int, height: int, width: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top : top + height, left : left + width] = True
    return mask


@pytest.mark.parametrize(
    ("mask", "says"),
    [
        (block(41, 81, 19, 39), "has the colours of what is round it"),
        (block(0, 0, 20, WIDTH), "lies along 38% of the picture's border"),
        (block(40, 0, 80, 120), "covers 40% of the picture"),
        (np.zeros((HEIGHT, WIDTH), bool), ""),
    ],
    ids=["a plank", "a wall", "most of the floor", "nothing"],
)
def test_a_piece_of_the_floor(mask: np.ndarray, says: str) -> None:
    assert surface_sign(planks(), mask) == says


@pytest.mark.parametrize("color", [(200, 40, 40), (40, 60, 190), (235, 235, 230)])
def test_a_thing_on_it(color: tuple[int, int, int]) -> None:
    picture, mask = planks(), block(45, 70, 34, 30)
    picture[mask] = color
    assert surface_sign(picture, mask) == ""


def test_a_thing_may_have_the_colours_of_the_object_it_stands_on() -> None:
    picture, thing, carrier = planks(), block(35, 80, 30, 30), block(45, 0, 60, WIDTH)
    picture[thing | carrier] = (60, 120, 160)
    assert surface_sign(picture, thing) == "has the colours of what is round it"
    assert surface_sign(picture, thing, ignore=carrier) == ""
