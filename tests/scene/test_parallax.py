import cv2
import numpy as np
import pytest

from aftermath.scene.camera import estimate_camera
from aftermath.scene.parallax import Bend, enlarged, frame_grid, measure_parallax
from scenes import RED, SIZE, Drawn, Thing, line
from two_depths import EDGE_PX, NEAR_PX, NUM, SINKS, filmed, to_plate

NONE = np.zeros((NUM, SIZE[1], SIZE[0]), bool)


def found(frames: np.ndarray, blocked: np.ndarray) -> np.ndarray:
    """Where the plate's pixels are in every frame, less where they are in the middle one: (T, H, W, 2)."""
    parallax = measure_parallax(frames, blocked, to_plate(), SIZE, NUM // 2)
    assert parallax is not None
    y, x = np.mgrid[: SIZE[1], : SIZE[0]].astype(np.float32)
    points = np.stack([x, y], axis=-1)
    moved = np.stack([parallax[t].shift(points) for t in range(NUM)])
    return moved - moved[NUM // 2]


def test_near_things_pass_far_ones():
    moved = found(filmed().frames, NONE)
    way = NEAR_PX[:, None, None] - NEAR_PX[NUM // 2]
    near, far = moved[:, EDGE_PX + 8 : -8, 40:-40, 0], moved[:, 8 : EDGE_PX - 8, 40:-40, 0]
    assert np.abs(near + way).mean() < 0.5 and np.abs(far).mean() < 0.5
    assert np.abs(moved[:, 8:-8, 40:-40, 1]).mean() < 0.3


def test_what_sinks_and_comes_back_is_not_followed():
    """It moves as far as near things do, but not in the camera's rhythm."""
    moved = found(filmed(sinks=True).frames, NONE)
    (rows, cols), when = SINKS
    assert np.abs(moved[when][:, rows, cols]).mean() < 0.7


def test_what_is_blocked_does_not_draw_its_surroundings_along():
    clip = filmed(passes=True)
    blocked = np.stack([np.linalg.norm(f.astype(float) - RED, axis=-1) < 60 for f in clip.frames])
    moved = found(clip.frames, blocked)
    assert np.abs(moved[:, 8 : EDGE_PX - 8, 40:-40]).mean() < 0.5


def test_one_plane_has_next_to_none():
    camera = np.tile(np.eye(3), (20, 1, 1))
    camera[:, 0, 2] = np.linspace(0, -40, 20)
    clip = Drawn({"disc": Thing(line((0, 60, 90), num=20), RED)}, num=20, camera=camera).clip
    none = np.zeros(clip.frames.shape[:3], bool)
    registered = estimate_camera(clip, none)
    parallax = measure_parallax(clip.frames, none, registered.to_plate, SIZE, registered.reference_idx)
    assert parallax is not None
    inner = parallax.shape[20:-20, 40:-40]
    assert max(np.abs(inner @ ways).mean() for ways in parallax.ways) < 0.3


def test_a_clip_of_one_frame_has_none():
    assert measure_parallax(filmed().frames[:1], NONE[:1], np.eye(3)[None], SIZE, 0) is None


def test_there_and_back():
    y, x = np.mgrid[:45, :80].astype(np.float32)
    shape = np.stack([np.sin(x / 12), np.cos(y / 9)], axis=-1)
    ways = np.array([[6, 1], [-2, 4]], np.float32)
    bend = Bend(ways, shape, np.zeros((2, 2, 2), np.float32), SIZE)
    points = frame_grid(np.eye(3), (180, 320), 8)[3:-3, 3:-3]
    assert np.abs(bend.to_plate(bend.from_plate(points)) - points).max() < 0.3


@pytest.mark.parametrize("step", [4, 16])
def test_a_grid_is_read_between_its_samples(step):
    matrix = np.array([[1.1, 0.02, 5], [-0.03, 0.9, 7], [0, 0, 1]])
    grid = frame_grid(matrix, (90, 160), step)
    every = enlarged(grid, slice(10, 90), slice(3, 160, 2), step, first=1)
    y, x = np.mgrid[10:90, 3:160:2].astype(np.float32)
    exact = cv2.perspectiveTransform(np.stack([x, y], axis=-1), matrix)
    assert every.shape == exact.shape and np.abs(every - exact).max() < 0.05
