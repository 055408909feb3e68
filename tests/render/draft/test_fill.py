from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from aftermath.errors import InputError
from aftermath.render.draft.fill import complete

HEIGHT, WIDTH = 130, 150
HOLE = np.zeros((HEIGHT, WIDTH), bool)
HOLE[45:85, 50:98] = True
Y, X = np.mgrid[:HEIGHT, :WIDTH].astype(np.float64)


def rgb(grey: np.ndarray) -> np.ndarray:
    """A grey picture (H, W) with a slight tint, uint8 (H, W, 3)."""
    return np.rint(grey[..., None] * (1.0, 0.95, 0.9)).clip(0, 255).astype(np.uint8)


def stripes() -> np.ndarray:
    return rgb(128 + 80 * np.sign(np.sin((0.8 * X + 0.6 * Y) * 2 * np.pi / 13)))


def checker() -> np.ndarray:
    return rgb(60 + 140 * ((X // 9 + Y // 9) % 2))


def horizon() -> np.ndarray:
    return rgb(np.where(Y < 60 + 0.1 * X, 200 - 0.3 * Y, 90 + 10 * np.sin(X / 3)))


def wood() -> np.ndarray:
    noise = np.random.default_rng(3).standard_normal((HEIGHT, WIDTH))
    grain = cv2.GaussianBlur(noise, (0, 0), sigmaX=14, sigmaY=0.8)
    return rgb(140 + 25 * grain / grain.std())


def sand() -> np.ndarray:
    return rgb(120 + np.random.default_rng(4).normal(0, 12, (HEIGHT, WIDTH)) + 0.3 * X)


def wall() -> np.ndarray:
    """Light falling off to one side."""
    return np.rint(np.stack([60 + 0.9 * X, 200 - 0.6 * Y, 90 + 0.4 * X + 0.3 * Y], axis=2)).astype(np.uint8)


def hidden(image: np.ndarray, hole: np.ndarray = HOLE) -> np.ndarray:
    """The picture with something loud where the hole is: none of it may be seen in the result."""
    return np.where(hole[..., None], np.array([255, 0, 255], np.uint8), image)


def telea(image: np.ndarray) -> np.ndarray:
    return cv2.inpaint(hidden(image), HOLE.astype(np.uint8), 3, cv2.INPAINT_TELEA)


def error(result: np.ndarray, truth: np.ndarray) -> float:
    return float(np.abs(result.astype(float) - truth)[HOLE].mean())


def texture(image: np.ndarray, where: np.ndarray) -> float:
    """Mean squared step from row to row."""
    return float((np.diff(image.astype(float), axis=0)[where[1:]] ** 2).mean())


@pytest.mark.parametrize("truth", [stripes, checker, horizon])
def test_structure_goes_on_through_the_hole(truth: Callable[[], np.ndarray]) -> None:
    image = truth()
    ours = complete(hidden(image), HOLE)
    assert error(ours, image) < 0.25 * error(telea(image), image)
    assert error(ours, image) < 4


@pytest.mark.parametrize("truth", [wood, sand])
def test_texture_is_as_rough_as_its_surroundings(truth: Callable[[], np.ndarray]) -> None:
    image = truth()
    inside = cv2.erode(HOLE.astype(np.uint8), np.ones((5, 5))).astype(bool)
    around = texture(image, ~HOLE)
    assert texture(complete(hidden(image), HOLE), inside) == pytest.approx(around, rel=0.35)
    assert texture(telea(image), inside) < 0.35 * around


def test_light_that_falls_off_stays_smooth() -> None:
    image = wall()
    ours = complete(hidden(image), HOLE)
    assert error(ours, image) < 2
    steps = np.abs(np.diff(ours.astype(int), axis=0)).max(), np.abs(np.diff(ours.astype(int), axis=1)).max()
    assert max(steps) <= 6


@pytest.mark.parametrize("truth", [stripes, sand])
def test_what_is_known_is_untouched_and_a_seed_says_all(truth: Callable[[], np.ndarray]) -> None:
    image = hidden(truth())
    before = image.copy()
    first, second = complete(image, HOLE, seed=5), complete(image, HOLE, seed=5)
    assert np.array_equal(first[~HOLE], image[~HOLE])
    assert np.array_equal(first, second)
    assert np.array_equal(image, before)


def test_the_colour_of_what_is_hidden_never_leaks() -> None:
    loud, dark = hidden(sand()), np.where(HOLE[..., None], np.uint8(0), sand())
    assert np.array_equal(complete(loud, HOLE), complete(dark, HOLE))


def test_only_usable_pixels_are_copied() -> None:
    image = sand()
    image[:, 110:] = (20, 200, 20)
    usable = np.broadcast_to(X < 104, HOLE.shape).copy()
    hole = HOLE.copy()
    hole[45:85, 50:104] = True
    green = complete(hidden(image, hole), hole, usable)[hole].astype(int)
    assert (green[:, 1] - green[:, 0]).max() < 30


@pytest.mark.parametrize("seed", [3, 5])  # with both a second vase once stood in the hole
def test_no_thing_that_stands_apart_is_copied(seed: int) -> None:
    red = (200, 40, 60)
    noise = cv2.GaussianBlur(
        np.random.default_rng(seed).normal(size=(160, 240)).astype(np.float32), (0, 0), 3
    )
    floor = np.clip(np.array((190, 180, 110)) + 12 * noise[..., None] / noise.std(), 0, 255).astype(np.uint8)
    for x, y in ((30, 40), (60, 110), (120, 30), (200, 60), (205, 120), (100, 135), (25, 130)):
        cv2.circle(floor, (x, y), 11, red, -1)
        cv2.rectangle(floor, (x - 4, y - 18), (x + 4, y), red, -1)
    hole = np.zeros(floor.shape[:2], bool)
    hole[55:112, 100:170] = True
    result = complete(hidden(floor, hole), hole, seed=seed)
    assert np.abs(result[hole].astype(int) - red).max(axis=1).min() > 60


@pytest.mark.long
def test_a_hole_larger_than_the_working_size_keeps_its_grain() -> None:
    noise = np.random.default_rng(1).standard_normal((520, 700))
    image = rgb(130 + 25 * cv2.GaussianBlur(noise, (0, 0), sigmaX=6, sigmaY=1.0) * 4)
    hole = np.zeros(noise.shape, bool)
    hole[120:390, 200:470] = True
    ours = complete(hidden(image, hole), hole)
    inside = cv2.erode(hole.astype(np.uint8), np.ones((9, 9))).astype(bool)
    assert texture(ours, inside) == pytest.approx(texture(image, ~hole), rel=0.3)


@pytest.mark.parametrize(
    "region",
    [np.s_[:40, :50], np.s_[-37:, 60:90], np.s_[:, 60:80], np.s_[50:52, 20:120], np.s_[64, 70]],
    ids=["corner", "edge", "from side to side", "sliver", "one pixel"],
)
def test_holes_anywhere(region: tuple[slice, slice]) -> None:
    hole = np.zeros_like(HOLE)
    hole[region] = True
    ours = complete(hidden(wall(), hole), hole)
    assert np.array_equal(ours[~hole], wall()[~hole])
    assert np.abs(ours.astype(int) - wall())[hole].mean() < 12


def test_several_holes_are_filled_each_from_its_own_surroundings() -> None:
    image = np.concatenate([stripes(), checker()], axis=1)
    hole = np.concatenate([HOLE, HOLE], axis=1)
    ours = complete(hidden(image, hole), hole)
    assert np.abs(ours.astype(float) - image)[hole].mean() < 5


@pytest.mark.long
def test_a_thin_strip_along_a_large_picture() -> None:
    y, x = np.mgrid[:1010, :1000]
    image = rgb(128 + 60 * np.sign(np.sin(0.5 * x + 0.3 * y)))
    hole = np.zeros(image.shape[:2], bool)
    hole[:, :7] = hole[:7] = True
    ours = complete(hidden(image, hole), hole)
    assert np.array_equal(ours[~hole], image[~hole])
    assert np.abs(ours.astype(int) - image)[hole].mean() < 15


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (6, 40), (9, 9), (17, 23)])
def test_pictures_of_any_size(size: tuple[int, int]) -> None:
    image = np.full((*size, 3), (90, 120, 150), np.uint8)
    hole = np.zeros(size, bool)
    hole[size[0] // 2, size[1] // 2 :] = True
    ours = complete(hidden(image, hole), hole)
    if not hole.all():
        assert np.abs(ours.astype(int) - image).max() <= 1


def test_nothing_to_fill_and_nothing_to_fill_from() -> None:
    image = sand()
    same = complete(image, np.zeros_like(HOLE))
    assert np.array_equal(same, image) and same is not image
    flat = complete(image, np.ones_like(HOLE))
    assert np.allclose(flat[0, 0], image.mean(axis=(0, 1)), atol=0.51) and len(np.unique(flat)) <= 3
    smooth = complete(hidden(wall()), HOLE, np.zeros_like(HOLE))
    assert error(smooth, wall()) < 2


def test_progress_ends_at_the_whole() -> None:
    heard: list[tuple[int, int]] = []
    complete(hidden(stripes()), HOLE, progress=lambda done, total: heard.append((done, total)))
    done = [step for step, _ in heard]
    assert done == sorted(done) and heard[-1][0] == heard[-1][1]


@pytest.mark.parametrize("broken", ["grey", "float", "hole", "usable"])
def test_what_does_not_fit_is_refused(broken: str) -> None:
    image, hole, usable = sand(), HOLE, ~HOLE
    if broken == "grey":
        image = image[..., 0]
    if broken == "float":
        image = image / 255
    if broken == "hole":
        hole = HOLE[1:]
    if broken == "usable":
        usable = usable.astype(np.uint8)
    with pytest.raises(InputError):
        complete(image, hole, usable)
