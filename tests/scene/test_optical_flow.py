import cv2
import numpy as np
import pytest

from aftermath.scene.optical_flow import consistency, dis_flow, warp


def texture(height: int, width: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).uniform(0, 255, (height, width, 3)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 3)
    return cv2.normalize(soft, np.empty_like(soft), 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


@pytest.mark.parametrize("preset", ["fast", "medium"])
@pytest.mark.parametrize("grey", [False, True])
def test_flow_points_from_the_first_picture_to_the_second(preset, grey):
    big = texture(159, 238)
    a, b = big[10:139, 12:210], big[7:136, 7:205]  # b shows everything 5 px further right, 3 px further down
    if grey:
        a, b = a[..., 1], b[..., 1]
    flow = dis_flow(a, b, preset=preset)
    assert flow.shape == (129, 198, 2) and flow.dtype == np.float32
    inner = flow[15:-15, 15:-15]
    assert np.abs(np.median(inner, axis=(0, 1)) - (5, 3)).max() < 0.2
    assert np.quantile(np.abs(inner - (5, 3)), 0.95) < 1


def test_an_initial_flow_finds_what_lies_too_far_and_is_not_written_to():
    big = texture(200, 400)
    a, b = big[20:180, 110:390], big[20:180, 20:300]  # 90 px to the right
    initial = np.zeros((160, 280, 2), np.float32)
    initial[..., 0] = 88
    before = initial.copy()
    near = dis_flow(a, b, initial=initial, preset="fast")[20:-20, 20:160]
    assert np.abs(np.median(near, axis=(0, 1)) - (90, 0)).max() < 0.5
    assert np.array_equal(initial, before)


@pytest.mark.parametrize("size", [(1, 1), (7, 40), (31, 33)])
def test_tiny_pictures_have_a_flow(size):
    image = texture(*size)
    flow = dis_flow(image, image)
    assert flow.shape == (*size, 2) and np.abs(flow).max() < 0.5


def test_sizes_must_agree():
    with pytest.raises(ValueError, match="sizes"):
        dis_flow(np.zeros((40, 40), np.uint8), np.zeros((40, 41), np.uint8))


def test_warp_samples_where_the_flow_points():
    image = np.arange(5 * 7, dtype=np.uint8).reshape(5, 7)
    flow = np.zeros((5, 7, 2), np.float32)
    flow[..., 0] = 2
    assert np.array_equal(warp(image, flow)[:, :5], image[:, 2:])
    assert np.array_equal(warp(image, flow)[:, 5:], image[:, [6, 6]])  # past the border: the border's value


def test_warp_keeps_types_and_labels():
    flow = np.full((6, 6, 2), 0.4, np.float32)
    labels = np.tile(np.array([0, 63, 255], np.uint8), (6, 2))
    assert set(np.unique(warp(labels, flow, nearest=True))) == {0, 63, 255}
    assert warp(labels > 0, flow).dtype == bool
    assert warp(labels.astype(np.float32)[..., None].repeat(2, -1), flow).shape == (6, 6, 2)


def test_warping_by_the_flow_brings_the_second_picture_onto_the_first():
    big = texture(120, 160)
    a, b = big[4:110, 9:150], big[2:108, 5:146]
    back = warp(b, dis_flow(a, b))
    error = np.abs(back.astype(int) - a)[12:-12, 12:-12]
    assert error.mean() < 2 < np.abs(a.astype(int) - b).mean()


def test_consistency_is_small_where_both_agree_and_large_where_something_was_hidden():
    background = texture(100, 160)
    a, b = background.copy(), background.copy()
    square = texture(30, 30, seed=7)
    a[35:65, 40:70] = square
    b[35:65, 50:80] = square
    error = consistency(dis_flow(a, b), dis_flow(b, a))
    assert error.shape == (100, 160) and error.dtype == np.float32
    assert np.median(error[:20]) < 0.2
    assert np.median(error[40:60, 45:65]) < 0.5  # the square itself is followed
    hidden = error[40:60, 71:79]  # seen in a, behind the square in b
    assert np.median(hidden) > 1
