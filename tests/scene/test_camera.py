from dataclasses import replace

import cv2
import numpy as np
import pytest

from aftermath.core import Clip
from aftermath.scene.base import CameraKind
from aftermath.scene.camera import estimate_camera, plate_canvas
from scenes import BLUE, GRAY, NUM, RED, SIZE, Drawn, Thing, ground, line

WALKER = Thing(line((0, 30, 90), (31, 290, 90)), BLUE)
CORNERS = np.array([[[0, 0]], [[319, 0]], [[0, 179]], [[319, 179]], [[160, 90]]], float)


def shifting(dx: float, dy: float, num: int = NUM) -> np.ndarray:
    """A camera that moves evenly by (dx, dy) pixels in all."""
    camera = np.tile(np.eye(3), (num, 1, 1))
    camera[:, 0, 2], camera[:, 1, 2] = np.linspace(0, -dx, num), np.linspace(0, -dy, num)
    return camera


def zooming_and_turning(num: int = NUM) -> np.ndarray:
    out = []
    for t in np.linspace(-1, 1, num):
        turned = np.vstack([cv2.getRotationMatrix2D((160, 90), 6 * t, 1 + 0.12 * t), [0, 0, 1]])
        tilted = np.array([[1, 0, 0], [0, 1, 0], [1e-4 * t, 5e-5 * t, 1]])
        out.append(tilted @ turned)
    return np.array(out)


def largest_error(drawn: Drawn, to_plate: np.ndarray, reference: int) -> float:
    """How far the found homographies are from the true ones anywhere in any frame, pixels."""
    assert drawn.camera is not None
    errors = []
    for world_to_frame, found in zip(drawn.camera, to_plate, strict=True):
        truth = drawn.camera[reference] @ np.linalg.inv(world_to_frame)
        pair = [cv2.perspectiveTransform(CORNERS, matrix)[:, 0] for matrix in (truth, found)]
        errors.append(np.linalg.norm(pair[0] - pair[1], axis=1).max())
    return max(errors)


def camera_of(drawn: Drawn, name: str = "walker"):
    return estimate_camera(drawn.clip, drawn.mask(name))


def test_a_still_camera_is_exactly_still():
    camera = camera_of(Drawn({"walker": WALKER}))
    assert camera.kind is CameraKind.STILL
    assert np.array_equal(camera.to_plate, np.tile(np.eye(3), (NUM, 1, 1)))


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (shifting(8, 3), CameraKind.DRIFTING),
        (shifting(90, -20), CameraKind.MOVING),
        (zooming_and_turning(), CameraKind.MOVING),
    ],
    ids=["drift", "pan", "zoom and turn"],
)
def test_known_cameras_are_recovered(path, kind):
    drawn = Drawn({"walker": WALKER}, camera=path)
    camera = camera_of(drawn)
    assert camera.kind is kind
    assert camera.reference_idx == NUM // 2 and camera.residual_px < 1
    assert largest_error(drawn, camera.to_plate, camera.reference_idx) < 2.5


@pytest.mark.parametrize("camera", [None, shifting(40, 0)], ids=["still", "pan"])
def test_a_large_thing_that_moves_does_not_carry_the_camera_along(camera):
    bus = Thing(line((0, -20, 95), (31, 240, 95)), GRAY, (180, 110), round=False, shadow=0)
    small = Thing(line((0, 60, 20)), RED, (20, 20))
    drawn = Drawn({"bus": bus, "small": small}, camera=camera)
    found = camera_of(drawn, "small")
    if camera is None:
        assert found.kind is CameraKind.STILL
    else:
        assert largest_error(drawn, found.to_plate, found.reference_idx) < 2


def two_depths(num: int = 12) -> Clip:
    """A camera that goes sideways: the lower part of the ground is four times as near as the upper."""
    far, near = ground((SIZE[0] + 200, SIZE[1])), ground((SIZE[0] + 200, SIZE[1]), seed=9)
    frames = []
    for t in range(num):
        frame = far[:, 2 * t : 2 * t + SIZE[0]].copy()
        frame[70:] = near[70:, 8 * t : 8 * t + SIZE[0]]
        frames.append(np.clip(frame, 0, 255).astype(np.uint8))
    return Clip(np.array(frames), np.arange(num) / 24, *SIZE)


def test_depth_is_never_taken_for_a_still_camera():
    clip = two_depths()
    camera = estimate_camera(clip, np.zeros(clip.frames.shape[:3], bool))
    assert camera.kind in (CameraKind.PARALLAX, CameraKind.MOVING)


def test_the_canvas_holds_every_frame_but_does_not_grow_for_ever():
    drawn = Drawn({"walker": WALKER}, camera=shifting(60, 0))
    camera, width, height = plate_canvas(camera_of(drawn), *SIZE)
    assert 320 + 58 <= width <= 320 + 66 and 180 <= height <= 186
    for matrix in camera.to_plate:
        xy = cv2.perspectiveTransform(CORNERS, matrix)
        assert (xy > -1).all() and (xy < (width + 1, height + 1)).all()
    far = replace(camera, to_plate=shifting(-5000, 0))
    _, width, height = plate_canvas(far, *SIZE)
    assert (width, height) == (640, 180)


def test_one_frame_and_a_blank_picture_have_a_camera():
    for num in (1, 5):
        blank = Clip(np.full((num, 50, 70, 3), 90, np.uint8), np.arange(num) / 24, 70, 50)
        assert estimate_camera(blank, np.zeros((num, 50, 70), bool)).kind is CameraKind.STILL
