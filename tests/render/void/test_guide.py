"""The draft as a guide: what it moves goes as the user said, to parts of a pixel; the rest as the background does."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest

from aftermath.core import Action, Box, Level, PathPoint, Plan, Quadmask
from aftermath.errors import InputError
from aftermath.reason.base import Hint, Reasoning
from aftermath.reason.regions import build_quadmask
from aftermath.render.base import Job
from aftermath.render.void import guide as guides
from aftermath.render.void.guide import DraftGuide, draft_guide
from aftermath.scene.optical_flow import dis_flow
from scenes import (
    BLUE,
    RED,
    Drawn,
    Removal,
    Thing,
    center_of_color,
    enlarged,
    falling,
    frames_of,
    line,
    passing,
    silent,
    stopped,
)

WHOLE = Box(0, 0, 320, 180)
CROP = Box(40, 12, 304, 156)  # shrunk along one axis, enlarged along the other
SIZES = [((180, 320), WHOLE), ((96, 168), WHOLE), ((152, 232), CROP)]
FALL = (PathPoint(0, 150, 78), PathPoint(16, 214, 94), PathPoint(31, 274, 109))
ROLL = (PathPoint(18, 171, 105), PathPoint(24, 200, 60), PathPoint(31, 200, 40))


def directed(removal: Removal, *points: PathPoint, quadmask: Quadmask | None = None) -> Job:
    """The removal with its moving thing sent along ``points``."""
    plan = removal.reasoning.plan.with_affected(
        tuple(
            thing if thing.action is Action.VANISHES else replace(thing, path=points, directed=True)
            for thing in removal.reasoning.plan.affected
        )
    )
    return job_of(removal, plan, quadmask)


def job_of(removal: Removal, plan: Plan, quadmask: Quadmask | None = None) -> Job:
    masks = removal.reasoning.masks
    levels = quadmask or build_quadmask(removal.clip, removal.scene, removal.primary, Reasoning(plan, masks))
    return Job(
        removal.clip, levels, plan, removal.scene, masks, frames_of(removal.drawn.clip.frames),
        lambda: (enlarged(one, removal.shrink) for one in levels),
    )  # fmt: skip


@cache
def fall_guide(size: tuple[int, int] = (180, 320), box: Box = WHOLE) -> DraftGuide:
    return draft_guide(directed(falling(), *FALL), size, box, silent, dis_flow)


@cache
def roll_guide(size: tuple[int, int] = (180, 320), box: Box = WHOLE) -> DraftGuide:
    return draft_guide(directed(stopped(), *ROLL), size, box, silent, dis_flow)


def scale_of(guide: DraftGuide) -> np.ndarray:
    """Model pixels to a source's, (x, y)."""
    _, height, width, _ = guide.frames.shape
    return np.array([width / guide.box.width, height / guide.box.height])


def at(guide: DraftGuide, x: float, y: float) -> np.ndarray:
    """A place of the source, pixels, in the model's picture."""
    return (np.array([x - guide.box.x0, y - guide.box.y0]) + 0.5) * scale_of(guide) - 0.5


def near(guide: DraftGuide, x: float, y: float, reach: float) -> np.ndarray:
    """What lies within ``reach`` source pixels of a place along both axes: boolean (h, w)."""
    ys, xs = np.indices(guide.frames.shape[1:3])
    away = np.abs(np.stack([xs, ys], -1) - at(guide, x, y)) / scale_of(guide)
    return (away <= reach).all(axis=-1)


def path(points: tuple[PathPoint, ...], t: int) -> np.ndarray:
    frames = [point.frame for point in points]
    return np.array([np.interp(t, frames, [getattr(point, axis) for point in points]) for axis in ("x", "y")])


@pytest.mark.parametrize(("size", "box"), SIZES)
@pytest.mark.parametrize(("before", "after"), [(3, 4), (4, 3), (15, 16), (17, 18), (30, 31)])
def test_inside_a_layer_the_flow_is_its_step(size, box, before, after):
    guide = fall_guide(size, box)
    step = (path(FALL, after) - path(FALL, before)) * scale_of(guide)
    inside = near(guide, *path(FALL, before), 10)
    assert inside.any()
    assert np.abs(guide.flow(before, after)[inside] - step).max() < 1e-3


@pytest.mark.parametrize(("size", "box"), SIZES)
def test_the_layer_of_the_guide_is_where_its_picture_shows_it(size, box):
    """What flows as the layer is what is blue, but for the rim."""
    guide = fall_guide(size, box)
    for t in (4, 12, 25):
        blue = (
            np.linalg.norm(guide.frames[t].astype(float) - BLUE, axis=-1) < 75
        )  # half of it and half ground
        flow = guide.flow(t, t + 1)
        moves = np.linalg.norm(flow, axis=-1) > 0.5 * scale_of(guide).min() * np.hypot(4, 1)
        assert (blue & moves).sum() > 0.9 * max(blue.sum(), moves.sum())
        found = center_of_color(guide.frames[t], BLUE)
        assert np.abs(found - at(guide, *path(FALL, t))).max() < 0.8 * scale_of(guide).max()


@pytest.mark.parametrize(("size", "box"), SIZES)
def test_behind_layers_nothing_moves_where_the_camera_rests(size, box):
    """Not beside the layer, not in its shadow, not where the object was."""
    for guide, points in ((fall_guide(size, box), FALL), (roll_guide(size, box), ROLL)):
        for before, after in ((20, 21), (23, 22)):
            behind = ~near(guide, *path(points, before), 15.5)
            length = np.linalg.norm(guide.flow(before, after)[behind], axis=-1)
            assert length.mean() < 0.1 and length.max() < 0.8


def test_nothing_of_the_objects_motion_is_left():
    removal = passing()
    guide = draft_guide(job_of(removal, removal.reasoning.plan), (180, 320), WHOLE, silent, dis_flow)
    frames = removal.drawn.clip.frames
    for t in (3, 12, 20, 27):
        gone = removal.primary[t] & ~removal.drawn.mask("other")[t]
        assert np.linalg.norm(guide.flow(t, t + 1)[gone], axis=-1).max() < 0.5
        assert np.linalg.norm(dis_flow(frames[t], frames[t + 1])[gone], axis=-1).mean() > 5


def test_where_the_source_is_kept_its_flow_is_too():
    """The ball before it is stopped, in frames of which nothing changes but the object."""
    guide, frames = roll_guide(), stopped().drawn.clip.frames
    ball = stopped().drawn.mask("ball")[8]
    for before, after in ((8, 9), (9, 8)):
        own = guide.flow(before, after)
        assert np.abs(own[ball] - dis_flow(frames[before], frames[after])[ball]).max() < 1e-3
    assert np.abs(guide.flow(8, 9)[ball].mean(axis=0) - (7.3, 0)).max() < 0.6


@pytest.mark.parametrize(("make", "first", "points"), [(fall_guide, 0, FALL), (roll_guide, 17, ROLL)])
def test_the_first_step_leads_from_where_the_source_shows_the_thing(make, first, points):
    """Frame 0 never shows anything affected; a path that begins later begins where the thing was seen before."""
    guide = make()
    seen = center_of_color(guide.frames[first], BLUE)
    step = center_of_color(guide.frames[first + 1], BLUE) - seen
    for sign, flow, center in (
        (1, guide.flow(first, first + 1), seen),
        (-1, guide.flow(first + 1, first), path(points, first + 1)),
    ):
        middle = near(guide, *center, 1.5)
        # colour tells a place to half a pixel
        assert np.abs(sign * flow[middle].mean(axis=0) - step).max() < 0.5


def test_the_first_step_turns_too():
    guide = roll_guide()
    x, y = np.rint(center_of_color(guide.frames[17], BLUE)).astype(int)
    flow = guide.flow(17, 18)
    assert (flow[y - 10, x] - flow[y + 10, x])[0] == pytest.approx(2 * 10 * np.sin(7 / 15), abs=1)


def test_what_the_estimator_sees_of_a_layer_is_not_believed():
    """Under the layer and a rim round it the flow of the surroundings goes on."""

    def flow(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        found = np.full((*a.shape[:2], 2), (1.5, -0.5), np.float32)
        found[near(guide, *path(FALL, 10), 14)] = (40, 30)
        return found

    guide = replace(fall_guide(), estimate=flow)
    behind = ~near(guide, *path(FALL, 10), 13.5)
    assert np.abs(guide.flow(10, 11)[behind] - (1.5, -0.5)).max() < 1e-3


@pytest.mark.parametrize(("size", "box"), SIZES)
def test_a_rolling_things_rim_turns(size, box):
    """Without slipping: its foot rests, its top goes twice as fast, as far as it goes sideways."""
    guide = roll_guide(size, box)
    radius = guide.layers[0].radius_px
    assert radius == pytest.approx(14, abs=1.5)
    middle = path(ROLL, 20)
    step = path(ROLL, 21) - middle
    angle = step[0] / radius
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    flow = guide.flow(20, 21) / scale_of(guide)
    for offset in ((0, 12), (0, -12), (12, 0), (-12, 0)):
        x, y = np.rint(at(guide, *(middle + offset))).astype(int)
        arm = ((x, y) - at(guide, *middle)) / scale_of(guide)
        assert np.abs(flow[y, x] - step - (turn @ arm - arm)).max() < 1e-3
        if offset[0] == 0:  # foot and top
            assert flow[y, x][0] == pytest.approx(step[0] * (1 - arm[1] / radius), abs=0.15)


def test_a_frame_and_itself_is_zero():
    guide = fall_guide((96, 168))
    for t in (0, 7, 31):
        flow = guide.flow(t, t)
        assert flow.shape == (96, 168, 2) and flow.dtype == np.float32 and not flow.any()


def test_keep_pixels_hold_no_layer():
    """Where the user's quadmask keeps the source, the layer neither shows nor moves."""
    removal = falling()
    job = directed(removal, *FALL)
    levels = job.quadmask.values.copy()
    levels[:, :, 200:] = Level.KEEP
    job = directed(removal, *FALL, quadmask=Quadmask(levels))
    guide = draft_guide(job, (180, 320), WHOLE, silent, dis_flow)
    source = removal.drawn.clip.frames
    for t in (12, 13, 20):
        assert np.array_equal(guide.frames[t][:, 200:], source[t][:, 200:])
        assert np.linalg.norm(guide.flow(t, t + 1)[:, 202:], axis=-1).max() < 1


@pytest.mark.long
@pytest.mark.parametrize("kind", ["pan", "zoom"])
def test_the_background_goes_with_the_camera(kind):
    num = 16
    camera = np.tile(np.eye(3), (num, 1, 1))
    for t in range(num):
        if kind == "pan":
            camera[t, :2, 2] = (-3 * t, 0.5 * t)
        else:
            camera[t, :2] = cv2.getRotationMatrix2D((160, 90), 0, 1 + 0.01 * t)
    things = {
        "table": Thing(line((0, 150, 110), num=num), RED, (60, 40), round=False),
        "cup": Thing(line((0, 150, 78), num=num), BLUE, (24, 24), round=False, shadow=0),
    }
    removal = Removal(Drawn(things, num=num, camera=camera), "table", (Hint(150, 78, 0, Action.FALLS),))
    points = (PathPoint(0, 150, 78), PathPoint(15, 195, 108))
    guide = draft_guide(directed(removal, *points), (152, 232), CROP, silent, dis_flow)
    ys, xs = np.indices((152, 232))
    full = np.stack([xs, ys], -1).reshape(-1, 1, 2) / scale_of(guide) + (CROP.x0, CROP.y0)
    full += 0.5 / scale_of(guide) - 0.5
    for before, after in ((2, 3), (9, 8), (13, 14)):
        moved = cv2.perspectiveTransform(full, camera[after] @ np.linalg.inv(camera[before]))
        truth = ((moved - full) * scale_of(guide)).reshape(152, 232, 2)
        off = np.linalg.norm(guide.flow(before, after) - truth, axis=-1)
        behind = ~near(guide, *path(points, before), 14)
        assert off[behind].mean() < 0.12 and np.percentile(off[behind], 99) < 0.5
        step = (path(points, after) - path(points, before)) * scale_of(guide)
        inside = near(guide, *path(points, before), 9)
        assert np.abs(guide.flow(before, after)[inside] - step).max() < 1e-3


def test_noise_follows_the_directed_way():
    """Along the way it is the same noise, in every latent as good as new; the source's motion leads it nowhere."""
    torch = pytest.importorskip("torch", reason="the extra void is not installed")
    from aftermath.render.void.noise import motion_of, warp_noise

    box, size = Box(96, 32, 296, 144), (112, 200)
    points = (
        PathPoint(0, 150, 78),
        PathPoint(24, 246, 102),
    )  # 2 latents right and half a one down in 4 frames
    guide = draft_guide(directed(falling(), *points), size, box, silent, dis_flow)
    motion = ((guide.flow(t, t + 1), guide.flow(t + 1, t)) for t in range(24))
    source = (np.ascontiguousarray(frame[32:144, 96:296]) for frame in falling().drawn.clip.frames[:25])

    def warped(pairs):
        return warp_noise(pairs, *size, generator=torch.Generator().manual_seed(1), channels=128)[0].numpy()

    def alike(noise: np.ndarray, k: int, since: int, step: tuple[int, int]) -> float:
        """Of the latents well inside the thing in latent ``k``, with those ``step`` (x, y) before in ``since``."""
        x, y = np.floor((path(points, 4 * k) - (96, 32) + 0.5) / 8).astype(int)
        here = noise[k][:, y, x - 1 : x + 1]
        there = noise[since][:, y - step[1], x - 1 - step[0] : x + 1 - step[0]]
        return float(np.corrcoef(here.ravel(), there.ravel())[0, 1])

    guided, plain = warped(motion), warped(motion_of(source))
    chance = 5 / np.sqrt(256)
    for k in (2, 4, 6):  # two latents on it is one lower, and four further right
        assert alike(guided, k, k - 2, (4, 1)) > 0.8
        assert abs(alike(plain, k, k - 2, (4, 1))) < chance
        assert abs(alike(guided, k, k - 2, (0, 0))) < chance
    assert alike(guided, 6, 0, (12, 3)) > 0.6
    for latents in guided:
        assert abs(latents.mean()) < 5 / np.sqrt(latents.size)
        assert abs(latents.var() - 1) < 5 * np.sqrt(2 / latents.size)


def test_large_frames_lie_on_the_disk(monkeypatch: pytest.MonkeyPatch, tmp_path):
    there = fall_guide((96, 168))
    monkeypatch.setattr(guides, "is_large", lambda num_bytes: num_bytes > 1000)
    mapped = draft_guide(directed(falling(), *FALL), (96, 168), WHOLE, silent, dis_flow, folder=tmp_path)
    assert np.array_equal(mapped.frames, there.frames) and np.array_equal(mapped.changed, there.changed)
    assert not mapped.frames.flags.owndata and not mapped.frames.flags.writeable
    assert np.array_equal(mapped.flow(4, 5), there.flow(4, 5))
    assert not list(tmp_path.iterdir())


def test_a_clip_with_nothing_to_do_is_its_own_guide():
    removal = falling()
    nothing = Quadmask.from_masks(*np.zeros((2, *removal.primary.shape), bool))
    told: list[tuple[int, int]] = []
    job = job_of(removal, Plan(320, 180, 32), nothing)
    guide = draft_guide(job, (180, 320), WHOLE, lambda *steps: told.append(steps), dis_flow)
    assert np.array_equal(guide.frames, removal.drawn.clip.frames) and not guide.changed.any()
    assert np.allclose(guide.flow(3, 4), dis_flow(*removal.drawn.clip.frames[3:5]), atol=1e-5)
    assert told[-1] == (64, 64)


@pytest.mark.parametrize("box", [Box(-1, 0, 320, 180), Box(0, 0, 321, 180), Box(20, 20, 20, 60)])
def test_a_box_outside_the_picture_is_named(box):
    with pytest.raises(InputError, match="320x180"):
        draft_guide(directed(falling(), *FALL), (96, 168), box, silent, dis_flow)
