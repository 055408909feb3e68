from dataclasses import fields

import numpy as np
import pytest

from aftermath.core import Clip
from aftermath.scene.analyse import analyse_scene, plate_in_frame
from aftermath.scene.base import CameraKind, Scene
from aftermath.scene.membrane import membrane
from aftermath.scene.sprites import best_frame, cut_sprite, stamp
from scenes import BLUE, RED, Drawn, Thing, carried, collision, iou, line, passing, stopped


@pytest.mark.parametrize(
    ("make", "name"),
    [(collision, "target"), (stopped, "ball"), (passing, "other"), (passing, "late"), (carried, "cup")],
)
def test_a_thing_that_moves_is_one_track(make, name):
    removal = make()
    truth = removal.drawn.mask(name)
    best = max(removal.scene.tracks, key=lambda track: iou(removal.scene.mask(track), truth))
    assert iou(removal.scene.mask(best), truth) > 0.75
    shown = truth.sum(axis=(1, 2)) > 100
    assert (best.seen & shown).sum() >= 0.9 * shown.sum()
    both = best.seen & shown
    off = np.linalg.norm(best.centers_px - removal.drawn.things[name].centers, axis=1)[both]
    assert np.median(off) < 1.5 and off.max() < 9


def test_the_object_itself_is_no_track():
    scene = passing().scene
    for t, labels in enumerate(scene.labels):
        assert not (labels[passing().primary[t]] > 0).any()


def test_shadows_are_soft_and_things_are_not():
    removal = passing()
    other = removal.drawn.mask("other")
    shade = (removal.drawn.shade("other") > 0.15) & ~other
    assert (removal.scene.soft & shade).sum() > 0.7 * shade.sum()
    assert (removal.scene.soft & other).sum() < 0.1 * other.sum()


def test_a_moving_camera_keeps_still_things_still():
    """A thing that rests in the world has no track of its own, one that moves has, in plate pixels."""
    camera = np.tile(np.eye(3), (20, 1, 1))
    camera[:, 0, 2] = np.linspace(0, -60, 20)
    mover = Thing(line((0, 60, 50), (19, 250, 50), num=20), BLUE)
    rests = Thing(line((0, 200, 130), num=20), RED)
    drawn = Drawn({"mover": mover, "rests": rests}, num=20, camera=camera)
    scene = analyse_scene(drawn.clip, drawn.mask("rests"))
    assert scene.camera.kind is CameraKind.MOVING
    large = [track for track in scene.tracks if np.median(track.areas_px[track.seen]) > 200]
    assert len(large) == 1
    centers = large[0].centers_px[large[0].seen]
    steps = np.diff(centers, axis=0)
    assert np.median(steps, axis=0) == pytest.approx((10, 0), abs=0.5)  # 190 px in 19 frames, in the world


@pytest.mark.parametrize("pan_px", [0, pytest.param(40, marks=pytest.mark.long)])
@pytest.mark.parametrize("last", [False, True])
def test_what_rests_for_nearly_all_of_a_clip_is_no_background(pan_px, last):
    """Three frames show the floor where a ball came to rest, or from where it left: it is one thing all the time."""
    camera = np.tile(np.eye(3), (48, 1, 1))
    camera[:, 0, 2] = np.linspace(0, -pan_px, 48)
    way = [(0, 190, 90), (44, 190, 90), (47, 60, 90)] if last else [(0, 60, 90), (3, 190, 90)]
    ball = Thing(line(*way, num=48), BLUE)
    object_ = Thing(line((0, 280, 140), num=48), RED)
    drawn = Drawn({"ball": ball, "object": object_}, num=48, camera=camera)
    told: list[tuple[int, int]] = []
    scene = analyse_scene(drawn.clip, drawn.mask("object"), lambda done, of: told.append((done, of)))
    truth = drawn.mask("ball")
    assert (
        told == sorted(told) and told[-1][0] == told[-1][1]
    )  # a second look at everything is told as more to do
    large = [track for track in scene.tracks if np.median(track.areas_px[track.seen]) > 200]
    assert len(large) == 1
    assert iou(scene.mask(large[0]), truth) > 0.85
    home = np.linalg.norm(scene.plate.astype(float) - BLUE, axis=-1) < 60
    assert home.sum() < 20


def test_exposure_that_drifts_makes_no_tracks():
    gains = np.ones((20, 3), np.float32) * np.linspace(0.9, 1.15, 20, dtype=np.float32)[:, None]
    drawn = Drawn({"box": Thing(line((0, 160, 90), num=20), RED)}, num=20, gains=gains)
    scene = analyse_scene(drawn.clip, drawn.mask("box"))
    assert scene.tracks == () and not scene.labels.any()
    assert scene.gains / scene.gains[10] == pytest.approx(gains / gains[10], abs=0.03)


@pytest.mark.parametrize(("width", "height", "num"), [(318, 239, 3), (70, 50, 1), (90, 160, 2)])
def test_odd_sizes_and_short_clips(width, height, num):
    disc = Thing(line((0, width / 2, height / 2), num=num), RED, (20, 20))
    drawn = Drawn({"disc": disc}, num=num, size=(width, height))
    scene = analyse_scene(drawn.clip, drawn.mask("disc"))
    assert scene.labels.shape == scene.soft.shape == (num, height, width)
    assert scene.plate.shape[:2] == scene.seen.shape


def test_a_scene_survives_being_taken_apart():
    scene = collision().scene
    back = Scene.from_arrays(scene.to_arrays())
    for one in fields(Scene):
        a, b = getattr(scene, one.name), getattr(back, one.name)
        if isinstance(a, np.ndarray):
            assert np.array_equal(a, b) and a.dtype == b.dtype, one.name
    assert back.camera.kind is scene.camera.kind and np.array_equal(
        back.camera.to_plate, scene.camera.to_plate
    )
    assert [t.id for t in back.tracks] == [t.id for t in scene.tracks]
    for a, b in zip(scene.tracks, back.tracks, strict=True):
        assert np.array_equal(a.centers_px, b.centers_px, equal_nan=True) and np.array_equal(
            a.areas_px, b.areas_px
        )
    empty = Scene.from_arrays({**scene.to_arrays(), "track_labels": np.zeros(0, np.int64),
                               "centers_px": np.zeros((0, 32, 2)), "areas_px": np.zeros((0, 32))})  # fmt: skip
    assert empty.tracks == ()


def test_progress_is_told_to_the_end():
    drawn = Drawn({"disc": Thing(line((0, 40, 40), num=5), RED)}, num=5, size=(90, 80))
    told: list[tuple[int, int]] = []
    analyse_scene(drawn.clip, drawn.mask("disc"), lambda done, of: told.append((done, of)))
    assert told == sorted(told) and told[-1][0] == told[-1][1]


def test_the_plate_as_a_frame_sees_it():
    plate = np.arange(40 * 60 * 3, dtype=np.uint8).reshape(40, 60, 3)
    seen = np.ones((40, 60), bool)
    shift = np.array([[1, 0, 20], [0, 1, 10], [0, 0, 1]], float)
    image, known = plate_in_frame(plate, seen, shift, (30, 50), None)
    assert np.array_equal(image[:20, :30], plate[10:30, 20:50])
    assert known[:25, :35].all() and not known[:, 45:].any()


def test_a_membrane_keeps_what_is_known_and_is_smooth_between():
    x = np.tile(np.linspace(0, 100, 64, dtype=np.float32), (40, 1))
    hole = np.zeros((40, 64), bool)
    hole[10:30, 20:44] = True
    broken = np.where(hole, 999, x).astype(np.float32)
    filled = membrane(broken, hole)
    assert np.array_equal(filled[~hole], x[~hole])
    assert np.abs(filled - x)[hole].max() < 12
    assert np.array_equal(membrane(x, ~np.ones_like(hole)), x)
    assert membrane(np.dstack([broken] * 3), hole).shape == (40, 64, 3)


def test_the_best_frame_is_whole_and_clear_of_the_object():
    mask, primary = np.zeros((2, 10, 40, 60), bool)
    mask[:, 10:20, 10:20] = True
    mask[6, 10:14] = False  # half hidden
    primary[5:, 10:20, 21:30] = True
    assert best_frame(mask, primary, 8) == 4
    assert best_frame(np.zeros_like(mask), primary, 8) is None
    assert best_frame(mask, primary, 0) == 0


def test_a_sprite_brings_its_shadow_and_is_stamped_where_asked():
    removal = passing()
    t, mask = 10, removal.drawn.mask("late")
    sprite = cut_sprite(mask[t], removal.scene, t, removal.primary[t])
    assert sprite is not None and sprite.soft.sum() > 0.3 * sprite.solid.sum()
    assert not (sprite.soft & sprite.solid).any()
    canvas = np.zeros((180, 320), bool)
    stamp(canvas, sprite.solid, sprite, sprite.center[0] + 7, sprite.center[1] + 5)
    assert iou(canvas, np.roll(mask[t], (5, 7), axis=(0, 1))) > 0.85
    stamp(canvas, sprite.solid, sprite, -500, 900)  # far outside: nothing happens
    assert cut_sprite(np.zeros_like(mask[t]), removal.scene, t, removal.primary[t]) is None


def test_analysis_leaves_the_clip_alone():
    drawn = Drawn({"disc": Thing(line((0, 40, 40), num=4), RED)}, num=4, size=(90, 80))
    frames = drawn.clip.frames.copy()
    clip = Clip(frames, drawn.clip.times_s, 90, 80)
    frames.setflags(write=False)
    analyse_scene(clip, drawn.mask("disc"))
    assert np.array_equal(frames, drawn.clip.frames)
