import cv2
import numpy as np
import pytest

from aftermath.render.draft.grain import Grain, GrainField, measure_grain


def grainy(sigma: float, blur_px: float, count: int = 12, size: int = 64) -> list[np.ndarray]:
    random = np.random.default_rng(3)
    out = []
    for _ in range(count):
        noise = random.standard_normal((size, size, 3)).astype(np.float32)
        if blur_px:
            noise = cv2.GaussianBlur(noise, (0, 0), blur_px)
        out.append((noise / noise.std() * sigma).round().astype(np.int16))
    return out


@pytest.mark.parametrize(("sigma", "blur_px"), [(2.0, 0.0), (4.0, 0.0), (4.0, 0.8), (6.0, 1.2)])
def test_grain_is_measured(sigma, blur_px):
    grain = measure_grain(grainy(sigma, blur_px))
    assert grain.sigma == pytest.approx([sigma] * 3, rel=0.15)
    assert grain.blur_px == pytest.approx(blur_px, abs=0.2)


def test_edges_and_things_left_over_are_not_grain():
    residuals = grainy(2.0, 0)
    for residual in residuals[::3]:
        residual[:, 20:24] += 60
        residual[40:50, 40:50] -= 80
    assert measure_grain(residuals).sigma == pytest.approx([2] * 3, rel=0.3)


@pytest.mark.parametrize(
    "residuals", [[], [np.zeros((8, 8, 3), np.int16)], [np.zeros((64, 64, 3), np.int16)]]
)
def test_no_grain_where_none_can_be_seen(residuals):
    assert (measure_grain(residuals).sigma == 0).all()


@pytest.mark.parametrize("blur_px", [0.0, 1.0])
def test_new_grain_is_like_the_measured(blur_px):
    grain = Grain(np.array([2, 3, 4], np.float32), blur_px)
    field = GrainField(grain, (90, 120), seed=5)
    frames = []
    for t in range(6):
        image = np.zeros((90, 120, 3), np.float32)
        field.add(image, t)
        frames.append(image)
    assert np.std(frames, axis=(0, 1, 2)) == pytest.approx([2, 3, 4], rel=0.08)
    assert measure_grain([f.round().astype(np.int16) for f in frames]).blur_px == pytest.approx(
        blur_px, abs=0.25
    )
    assert abs(np.corrcoef(frames[0].ravel(), frames[1].ravel())[0, 1]) < 0.3  # another one in every frame


def test_grain_depends_on_seed_and_frame_alone():
    grain = Grain(np.full(3, 3, np.float32), 0.7)

    def added(seed: int, frame: int) -> np.ndarray:
        image = np.zeros((40, 50, 3), np.float32)
        GrainField(grain, (40, 50), seed).add(image, frame)
        return image

    assert np.array_equal(added(1, 7), added(1, 7))
    assert not np.array_equal(added(1, 7), added(2, 7)) and not np.array_equal(added(1, 7), added(1, 8))


def test_silent_grain_adds_nothing():
    image = np.ones((10, 10, 3), np.float32)
    GrainField(Grain(np.zeros(3, np.float32), 0.0), (10, 10), 0).add(image, 3)
    assert (image == 1).all()
