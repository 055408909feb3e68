"""A layer is painted where it says it is, and its pixels go where it says they go."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from aftermath.core import Action, AffectedObject, Plan, Quadmask
from aftermath.render.base import Job
from aftermath.render.draft.layers import Layer, paint, scraps
from scenes import frames_of, iou, passing

PATH = {0: (40.0, 50.0), 1: (47.3, 52.6), 2: (58.9, 51.0)}


def disc(*, rolls: bool) -> Layer:
    """A disc with a pattern on it, 36 pixels wide in a window of 50."""
    y, x = np.mgrid[:50, :50].astype(np.float32)
    texture = np.random.default_rng(3).uniform(0, 255, (50, 50, 3)).astype(np.float32)
    return Layer(
        thing=AffectedObject("disc", "disc", Action.GOES_ON, "", 1.0, (0, 3)),
        color=128 + 5 * (cv2.GaussianBlur(texture, (0, 0), 2.5) - 128),
        alpha=np.clip(18.5 - np.hypot(x - 24, y - 25), 0, 1),
        light=np.ones((50, 50, 3), np.float32),
        center=(24.0, 25.0),
        radius_px=18.0,
        path=PATH,
        rolls=rolls,
        shadow=None,
        scale=1.0,
    )


def painted(layer: Layer, t: int) -> np.ndarray:
    canvas = np.zeros((100, 110, 3), np.uint8)
    paint(canvas, [layer], t, (0, 0))
    return canvas


@pytest.mark.parametrize("rolls", [False, True])
@pytest.mark.parametrize(("before", "after"), [(0, 1), (1, 2), (2, 1), (0, 2)])
def test_a_pixel_is_painted_where_the_motion_takes_it(rolls: bool, before: int, after: int):
    layer = disc(rolls=rolls)
    matrix = layer.motion(before, after)
    first, second = painted(layer, before), painted(layer, after)
    fetched = cv2.warpAffine(
        second, matrix, first.shape[1::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )
    x, y = PATH[before]
    ys, xs = np.mgrid[: first.shape[0], : first.shape[1]]
    inside = np.hypot(xs - x, ys - y) < 16
    assert np.abs(fetched[inside].astype(int) - first[inside]).mean() < 2
    assert np.abs(second[inside].astype(int) - first[inside]).mean() > 20  # its pattern would show it


def test_what_does_not_roll_does_not_turn():
    assert disc(rolls=False).angle(2) == 0
    assert disc(rolls=True).angle(2) == pytest.approx((58.9 - 40) / 18)
    assert np.allclose(disc(rolls=False).motion(0, 1), [[1, 0, 7.3], [0, 1, 2.6]])


def test_the_corner_is_where_the_window_is_painted():
    layer = disc(rolls=False)
    left, top = layer.corner(0)
    assert (left, top) == (16, 25)
    assert np.array_equal(painted(layer, 0)[25 + 20, 16 + 20], np.rint(layer.color[20, 20]))


def test_a_track_of_what_is_acted_on_under_another_name_is_no_bystander():
    """What is raised above the ground seems to move before a moving camera: it must not be painted back."""
    removal = passing()
    track = max(removal.scene.tracks, key=lambda t: iou(removal.scene.mask(t), removal.drawn.mask("other")))
    other = AffectedObject("standing-0", "thing", Action.FALLS, "stands", 0.7, (0, len(removal.clip)))

    def found(mask: np.ndarray) -> np.ndarray:
        plan = Plan(*removal.drawn.size, len(removal.clip), affected=(other,))
        quadmask = Quadmask.from_masks(removal.primary, np.zeros_like(removal.primary))
        job = Job(
            removal.clip, quadmask, plan, removal.scene, {other.id: mask},
            frames_of(removal.clip.frames), lambda: iter(quadmask),
        )  # fmt: skip
        return scraps(job)

    assert found(removal.drawn.mask("other"))[track.label]
    assert not found(np.zeros_like(removal.primary))[track.label]
