from collections.abc import Collection, Iterator
from dataclasses import replace

import cv2
import numpy as np
import pytest

from aftermath.core import Action, Level, PathPoint, Plan, Quadmask
from aftermath.reason.base import Reasoning
from aftermath.reason.regions import build_quadmask
from aftermath.render.base import Job
from aftermath.render.draft.renderer import DraftRenderer
from scenes import (
    BLUE,
    PUSHED_AT,
    RED,
    Drawn,
    Removal,
    Thing,
    carried,
    center_of_color,
    collision,
    collision_truth,
    enlarged,
    falling,
    frames_of,
    iou,
    line,
    passing,
    psnr,
    pushed_a_little,
    pushed_along,
    render,
    silent,
    standing,
    stopped,
    stopped_truth,
)


def composed(removal: Removal, frames: np.ndarray) -> np.ndarray:
    """The new pixels where the quadmask lets them, the source's elsewhere."""
    return np.where(removal.quadmask().changed[..., None], frames, removal.drawn.clip.frames)


def gain_db(removal: Removal, truth: Drawn) -> tuple[float, float]:
    """PSNR of the result in the changed region, and how much that is above the untouched input."""
    frames, _ = removal.rendered
    changed = removal.quadmask().changed
    result = psnr(frames, truth.clip.frames, changed)
    return result, result - psnr(removal.drawn.clip.frames, truth.clip.frames, changed)


def test_a_collision_that_never_was():
    removal, truth = collision(), collision_truth()
    result, gain = gain_db(removal, truth)
    assert result > 32 and gain > 15
    frames = composed(removal, removal.rendered[0])
    for t in (2, 12, 20, 31):
        assert np.abs(center_of_color(frames[t], BLUE) - (190, 100)).max() < 1.5
        assert np.isnan(center_of_color(frames[t], RED)).all()


@pytest.mark.long
@pytest.mark.parametrize(("make", "name"), [(pushed_along, "target"), (pushed_a_little, "block")])
def test_a_push_that_never_was(make, name):
    removal = make()
    rest = replace(removal.drawn.things[name], centers=line((0, *PUSHED_AT)))
    result, gain = gain_db(removal, removal.drawn.without("pusher", **{name: rest}))
    assert result > 29 and gain > 10
    frames = composed(removal, removal.rendered[0])
    for frame in frames[1:]:
        blue = np.linalg.norm(frame.astype(float) - BLUE, axis=-1) < 60
        assert iou(blue, removal.drawn.mask(name)[0]) > 0.9  # whole, at its place, and nowhere else


def test_a_thing_that_nothing_stops():
    removal, truth = stopped(), stopped_truth()
    result, gain = gain_db(removal, truth)
    assert result > 22 and gain > 9
    frames = composed(removal, removal.rendered[0])
    for t in (10, 17, 20, 25, 31):
        assert np.abs(center_of_color(frames[t], BLUE) - (40 + 7.3 * t, 105)).max() < 8
        assert np.isnan(center_of_color(frames[t], RED)).all()


def test_a_thing_that_nobody_carries():
    removal = carried()
    frames = composed(removal, removal.rendered[0])
    centers = np.array([center_of_color(frame, BLUE) for frame in frames[1:]])
    assert np.abs(centers[:, 0] - 60).max() < 2
    assert centers[-1, 1] == pytest.approx(96, abs=3)
    assert np.isnan([center_of_color(frame, RED)[0] for frame in frames[1:]]).all()


def test_a_thing_that_nothing_supports():
    removal = falling()
    frames = composed(removal, removal.rendered[0])
    centers = np.array([center_of_color(frame, BLUE) for frame in frames[1:]])
    assert np.abs(centers[:, 0] - 150).max() < 2
    assert centers[-1, 1] == pytest.approx(118, abs=4) and centers[0, 1] < 82
    assert np.isnan([center_of_color(frame, RED)[0] for frame in frames[1:]]).all()


def test_what_passes_behind_the_hole_is_shown_as_it_was():
    removal = passing()
    result, gain = gain_db(removal, removal.drawn.without("goer"))
    assert result > 35 and gain > 20
    _, rendered = removal.rendered
    assert rendered.report["invented_share"] == 0 and rendered.report["camera"] == "still"


@pytest.mark.parametrize("make", [passing, standing])
def test_the_grain_is_the_sources(make):
    """Frame to frame, new pixels differ as much as the source's do, and no more alike."""
    removal = make()
    frames, rendered = removal.rendered
    assert rendered.report["grain_sigma"] == pytest.approx([1.5] * 3, abs=0.3)
    hole = removal.quadmask().changed
    for name in removal.drawn.things:
        hole = hole & ~removal.drawn.mask(name) | removal.primary & hole
    both = hole[10] & hole[11]
    steps = frames[11][both].astype(float) - frames[10][both]
    assert steps.std() == pytest.approx(1.5 * np.sqrt(2), rel=0.2)


def test_the_same_seed_gives_the_same_frames_and_another_seed_other_grain():
    removal = collision()
    first, again, other = (removal.render(seed=seed)[0] for seed in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert psnr(first, other, removal.quadmask().changed) > 30  # the grain alone


def test_a_directed_path_wins():
    removal = stopped()
    plan = removal.reasoning.plan
    points = (PathPoint(18, 171, 105), PathPoint(24, 200, 60), PathPoint(31, 200, 40))
    directed = plan.with_affected(
        tuple(
            replace(thing, path=points, directed=True) if thing.action is Action.GOES_ON else thing
            for thing in plan.affected
        )
    )
    told = Reasoning(directed, removal.reasoning.masks)
    quadmask = build_quadmask(removal.clip, removal.scene, removal.primary, told)
    frames, _ = render(removal, directed, quadmask)
    for frame, levels in zip(frames, quadmask, strict=True):  # what the composite lets through
        frame[levels == Level.KEEP] = 0
    for t, center in ((24, (200, 60)), (28, (200, 60 - 20 * 4 / 7)), (31, (200, 40))):
        assert np.abs(center_of_color(frames[t], BLUE) - center).max() < 2


def test_what_passed_before_the_object_is_not_behind_it():
    """A disc before the object for less long than the object is there leaves nothing in the picture behind."""
    disc = Thing(
        np.r_[line((0, 40, 60), (7, 160, 95))[:8], line((0, 160, 95))[8:21], np.full((11, 2), np.nan)], BLUE
    )
    pillar = Thing(line((0, 160, 90)), RED, (70, 90), round=False, shadow=0)
    removal = Removal(Drawn({"pillar": pillar, "disc": disc}), "pillar")
    frames = composed(removal, removal.rendered[0])
    assert (
        np.isnan(center_of_color(frames[-1], BLUE)).all() and np.isnan(center_of_color(frames[-1], RED)).all()
    )


def test_the_source_is_read_no_more_than_twice():
    removal = collision()
    passes: list[int] = []

    def source(only: Collection[int] | None = None) -> Iterator[np.ndarray]:
        passes.append(0)
        for frame in frames_of(removal.drawn.clip.frames)(only):
            passes[-1] += 1
            yield frame

    frames, _ = render(removal, removal.reasoning.plan, removal.quadmask(), source=source)
    assert len(frames) == removal.drawn.num
    assert len(passes) <= 2 and max(passes) <= removal.drawn.num


def test_the_source_is_never_written_to():
    removal = collision()
    frozen = removal.drawn.clip.frames.copy()
    frozen.setflags(write=False)
    frames, _ = render(removal, removal.reasoning.plan, removal.quadmask(), source=frames_of(frozen))
    assert np.array_equal(frozen, removal.drawn.clip.frames) and frames.flags.writeable


def test_nothing_to_do_gives_the_source():
    removal = collision()
    nothing = Quadmask.from_masks(*np.zeros((2, *removal.primary.shape), bool))
    frames, rendered = render(removal, Plan(320, 180, 32), nothing)
    assert np.array_equal(frames, removal.drawn.clip.frames) and rendered.report["invented_share"] == 0


@pytest.mark.long
def test_a_drifting_camera():
    camera = np.tile(np.eye(3), (20, 1, 1))
    camera[:, 0, 2], camera[:, 1, 2] = np.linspace(0, -11, 20), np.linspace(0, 4, 20)
    goer = Thing(line((0, 40, 90), (19, 280, 90), num=20), RED, (36, 36))
    removal = Removal(Drawn({"goer": goer}, num=20, camera=camera), "goer")
    result, gain = gain_db(removal, removal.drawn.without("goer"))
    assert result > 32 and gain > 18


def test_a_change_of_exposure_is_followed():
    gains = np.ones((20, 3), np.float32)
    gains[8:] = 1.2
    goer = Thing(line((0, 40, 90), (19, 280, 90), num=20), RED, (36, 36))
    removal = Removal(Drawn({"goer": goer}, num=20, gains=gains), "goer")
    result, gain = gain_db(removal, removal.drawn.without("goer"))
    assert result > 34 and gain > 18


@pytest.mark.parametrize(("size", "num"), [((318, 239), 3), ((160, 90), 1), ((90, 160), 2)])
def test_short_clips_and_odd_sizes(size, num):
    disc = Thing(line((0, size[0] / 2, size[1] / 2), num=num), RED, (30, 30), shadow=0)
    removal = Removal(Drawn({"disc": disc}, num=num, size=size), "disc")
    frames, rendered = removal.rendered
    assert frames.shape == (num, size[1], size[0], 3) and frames.dtype == np.uint8
    assert np.isnan([center_of_color(frame, RED)[0] for frame in frames]).all()
    assert rendered.report["invented_share"] == 1
    unchanged = ~removal.quadmask().changed
    assert np.array_equal(composed(removal, frames)[unchanged], removal.drawn.clip.frames[unchanged])


def test_an_object_that_fills_the_picture():
    box = Thing(line((0, 45, 30), num=2), RED, (200, 200), round=False, shadow=0)
    frames, rendered = Removal(Drawn({"box": box}, num=2, size=(90, 60)), "box").rendered
    assert frames.shape == (2, 60, 90, 3) and rendered.report["invented_share"] == 1


def test_a_source_larger_than_the_analysis():
    """Analysed at half the size, rendered whole: the disc rests where it rested, as sharp as it was."""
    removal = Removal(collision().drawn, "striker", shrink=2)
    frames, _ = removal.rendered
    source, truth = removal.drawn.clip.frames, collision_truth().clip.frames
    assert frames.shape == source.shape and removal.quadmask().values.shape == (32, 90, 160)
    changed = np.stack([enlarged(levels, 2) for levels in removal.quadmask()]) < 255
    assert psnr(frames, truth, changed) > 28
    shown = np.where(changed[..., None], frames, source)
    for t in (12, 20, 31):
        assert np.abs(center_of_color(shown[t], BLUE) - (190, 100)).max() < 1.5
    detail = [cv2.Laplacian(f[80:120, 170:230], cv2.CV_32F).std() for f in (shown[25], truth[25])]
    assert detail[0] > 0.5 * detail[1]


def test_a_scrap_that_was_not_followed_with_its_thing_goes_with_it():
    """What is labelled apart from the ball that was pushed away, and seen nowhere but where that is painted out."""
    removal = collision()
    target, labels = removal.drawn.mask("target"), removal.scene.labels.copy()
    scrap = np.zeros_like(target)
    scrap[20:, 96:104] = target[20:, 96:104]
    scrap &= np.cumsum(scrap, axis=2) < 8
    labels[scrap] = 9
    masks = {name: mask & ~scrap for name, mask in removal.reasoning.masks.items()}
    job = Job(
        removal.clip, removal.quadmask(), removal.reasoning.plan, replace(removal.scene, labels=labels), masks,
        frames_of(removal.drawn.clip.frames), lambda: iter(removal.quadmask()),
    )  # fmt: skip
    frames = np.stack(list(DraftRenderer().render(job, silent).frames))
    blue = np.linalg.norm(frames.astype(float) - BLUE, axis=-1) < 60
    assert scrap.any(axis=(1, 2))[20:].all()
    assert not blue[25:][scrap[25:] & removal.quadmask().changed[25:]].any()


def test_a_thing_is_whole_until_it_is_touched():
    """The shadow that vanishes lies across a thing that nothing has happened to yet."""
    removal, truth = collision(), collision_truth()
    frames = composed(removal, removal.rendered[0])
    rest = truth.mask("target")[0]
    for t in range(1, 18):
        blue = np.linalg.norm(frames[t].astype(float) - BLUE, axis=-1) < 60
        assert (blue & rest).sum() > 0.95 * rest.sum(), t


def test_a_finding_switched_off_stays_as_it_was_and_is_completed():
    """The blue disc still rolls off; what the red one and its shadow hid of it is there."""
    removal = collision()
    plan = removal.reasoning.plan
    off = plan.with_affected(
        tuple(replace(thing, applied=thing.action is Action.VANISHES) for thing in plan.affected)
    )
    told = Reasoning(off, removal.reasoning.masks)
    quadmask = build_quadmask(removal.clip, removal.scene, removal.primary, told)
    frames, _ = render(removal, off, quadmask)
    source, truth = removal.drawn.clip.frames, removal.drawn.without("striker").clip.frames
    shown = np.where(quadmask.changed[..., None], frames, source)
    assert psnr(shown, truth, quadmask.changed) > 28
    whole = removal.drawn.without("striker").mask("target")
    for t in range(1, removal.drawn.num):
        blue = np.linalg.norm(shown[t].astype(float) - BLUE, axis=-1) < 60
        assert (blue & whole[t]).sum() > 0.95 * whole[t].sum(), t
        assert (blue & ~whole[t]).sum() < 0.08 * whole[t].sum(), t


def test_what_falls_casts_a_shadow_the_way_the_object_did():
    """The ground right of where the blue box comes to rest is darker than left of it, as it was beside the red one."""
    removal = falling()
    frames = composed(removal, removal.rendered[0])
    bare = replace(removal.drawn, things={}).clip.frames
    ratio = cv2.GaussianBlur(frames[-1].astype(np.float32), (0, 0), 2) / cv2.GaussianBlur(
        bare[-1].astype(np.float32), (0, 0), 2
    )
    box = center_of_color(frames[-1], BLUE)
    x, y = round(box[0]), round(box[1] + 10)
    assert ratio[y - 4 : y + 4, x + 16 : x + 22].mean() < 0.9
    assert ratio[y - 4 : y + 4, x - 24 : x - 18].mean() > 0.92
