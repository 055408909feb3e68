import re
from dataclasses import replace

import cv2
import numpy as np
import pytest

from aftermath.core import Action, AffectedObject, Category, Clip
from aftermath.errors import InputError
from aftermath.reason.base import Hint
from aftermath.reason.events import Cause, Mover, find_event
from aftermath.reason.motion import MotionReasoner
from aftermath.reason.standing import in_the_outline
from aftermath.scene.analyse import analyse_scene
from aftermath.scene.base import CameraKind
from scenes import (
    BLUE,
    GREEN,
    PUSHED_AT,
    RED,
    Drawn,
    Removal,
    Thing,
    carried,
    collision,
    ground,
    iou,
    line,
    passing,
    pushed_a_little,
    pushed_along,
    silent,
    standing,
    stopped,
)

VISIBLE_SHADE = 0.05  # seven levels of 140


def physical(removal: Removal) -> list[AffectedObject]:
    return [thing for thing in removal.reasoning.plan.affected if thing.category is Category.PHYSICAL]


def beside_things(removal: Removal) -> np.ndarray:
    return ~np.any([removal.drawn.mask(name) for name in removal.drawn.things], axis=0)


def path_of(thing: AffectedObject, num: int) -> np.ndarray:
    path = np.full((num, 2), np.nan)
    for point in thing.path:
        path[point.frame] = point.x, point.y
    return path


def test_a_thing_that_is_hit_stays():
    removal = collision()
    (thing,) = physical(removal)
    assert thing.action is Action.STAYS and thing.applied and thing.confidence > 0.7
    assert 8 <= thing.frames[0] <= 15 and thing.frames[1] == removal.drawn.num
    assert thing.box is not None and np.abs(np.subtract(thing.box.center, (190, 100))).max() < 4
    assert re.search("until frame 1[3-6].* touched", thing.why) and "blue" in thing.noun
    seen, truth = removal.reasoning.masks[thing.id], removal.drawn.mask("target")
    overlap = [iou(a, b) for a, b in zip(seen, truth, strict=True)]
    # until frame 18 its shadow and the striker's lie on one another, so deep that they look solid
    assert min(overlap) > 0.7 and min(overlap[19:]) > 0.85


@pytest.mark.parametrize(
    ("make", "name", "moves"), [(pushed_along, "target", 21), (pushed_a_little, "block", 17)]
)
def test_a_thing_that_is_pushed_stays(make, name, moves):
    removal = make()
    (thing,) = physical(removal)
    assert thing.action is Action.STAYS and thing.applied and "blue" in thing.noun
    assert re.search(rf"rested until frame {moves}, when the object touched", thing.why)
    seen, truth = removal.reasoning.masks[thing.id], removal.drawn.mask(name)
    assert min(iou(a, b) for a, b in zip(seen, truth, strict=True)) > 0.7


def test_a_hint_on_a_thing_that_rests_in_the_plate_names_its_track():
    hinted = Removal(pushed_along().drawn, "pusher", (Hint(*PUSHED_AT, 0, Action.STAYS),))
    (thing,) = physical(hinted)
    assert thing.id.startswith("track-") and thing.frames[0] <= 21
    assert iou(hinted.reasoning.masks[thing.id][0], hinted.drawn.mask("target")[0]) > 0.7


def test_a_hint_on_a_dot_is_refused():
    dot = np.zeros((32, 180, 320), bool)
    dot[:, 30:32, 40:42] = True
    with pytest.raises(InputError, match="a dot of 4 pixels"):
        _ = Removal(passing().drawn, "goer", (Hint(41, 31, 31, Action.STAYS, dot),)).reasoning


def test_a_thing_that_leaves_by_itself_is_not_claimed():
    """The blue disc rests for long and goes before the object has come near."""
    goer = Thing(line((0, 190, 100), (14, 190, 100), (24, 290, 60)), BLUE)
    late = Thing(line((0, 30, 100), (16, 30, 100), (31, 150, 100)), RED)
    assert physical(Removal(Drawn({"goer": goer, "late": late}), "late")) == []


def test_a_thing_that_is_stopped_goes_on():
    removal = stopped()
    (thing,) = physical(removal)
    assert thing.action is Action.GOES_ON and thing.applied
    assert 15 <= thing.frames[0] <= 22
    path = path_of(thing, removal.drawn.num)
    straight = np.stack([40 + 7.3 * np.arange(32), np.full(32, 105)], axis=1)
    off = np.linalg.norm(path - straight, axis=1)[thing.frames[0] :]
    assert np.isfinite(off).all() and off.max() < 8


def test_what_sets_off_by_itself_is_not_acted_on():
    """The blue disc stands, rolls off with nothing near it, and stops at the box: as whoever walks up to something."""
    block = Thing(line((0, 250, 100)), RED, (40, 50), round=False)
    walker = Thing(line((0, 60, 105), (10, 60, 105), (25, 216, 105), (31, 216, 105)), BLUE)
    (thing,) = physical(Removal(Drawn({"block": block, "walker": walker}), "block"))
    assert thing.action is Action.GOES_ON and not thing.applied and thing.confidence <= 0.4
    assert "set itself in motion at about frame 1" in thing.why


def test_a_thing_that_is_thrown_back_goes_on():
    block = Thing(line((0, 220, 100)), RED, (40, 50), round=False)
    ball = Thing(line((0, 30, 105), (18, 186, 105), (31, 90, 105)), BLUE)
    (thing,) = physical(Removal(Drawn({"block": block, "ball": ball}), "block"))
    assert thing.action is Action.GOES_ON
    assert thing.path[-1].x > 270 and abs(thing.path[-1].y - 105) < 4  # straight on: 299


def test_a_thing_that_is_carried_falls():
    removal = carried()
    (thing,) = physical(removal)
    assert thing.action is Action.FALLS and thing.applied and thing.frames == (0, 32)
    assert "carried" in thing.why
    path = path_of(thing, 32)
    assert np.ptp(path[:, 0]) == 0 and path[0, 1] == pytest.approx(70, abs=2)
    assert path[-1, 1] == pytest.approx(96, abs=3)  # the tray's footing


def test_a_thing_that_dangles_below_its_carrier_falls():
    sway = line((0, 60, 72), (8, 110, 80), (16, 160, 72), (24, 210, 80), (31, 260, 72))
    lamp = Thing(sway, BLUE, (24, 24), round=False, shadow=0)
    kite = Thing(line((0, 60, 45), (31, 260, 45)), RED, (44, 26), shadow=0)
    (thing,) = physical(Removal(Drawn({"kite": kite, "lamp": lamp}), "kite"))
    assert thing.action is Action.FALLS and thing.applied and "carried" in thing.why
    assert max(point.y for point in thing.path) > 180 + 10  # no shadow tells of a floor: out of the picture


def test_what_is_left_of_a_ghost_is_not_moved():
    """A large still thing beside the object turns into a scrap at its touch."""
    track = np.zeros((32, 180, 320), bool)
    track[:12, 80:120, 160:200] = True
    track[12:, 80:90, 150:165] = True
    centers = np.where(np.arange(32)[:, None] < 12, (179.5, 99.5), (157.0, 84.5))
    cause = Mover.of(np.zeros_like(track), np.zeros((32, 2)))
    gap = np.where(np.arange(32) < 10, 40.0, 2.0)
    assert find_event(Mover.of(track, centers), Cause("the object", cause), gap) is None


def test_what_comes_up_at_the_object_is_a_scrap_of_it():
    """A piece that the object's mask lost runs beside it and stops: the same way is a blow for what came from afar."""
    x = np.concatenate([40 + 5.0 * np.arange(20), np.full(20, 135.0)])
    where, gap = np.stack([x, np.full(40, 90.0)], axis=1), np.where(np.arange(40) < 18, 25.0, 1.0)
    track = np.zeros((40, 180, 320), bool)
    for t in range(40):
        track[t, 80:100, int(x[t]) - 10 : int(x[t]) + 10] = True
    block = np.zeros_like(track)
    block[:, 50:130, 150:230] = True
    cause = Cause("the object", Mover.of(block, np.full((40, 2), (190.0, 90.0))))
    from_afar = find_event(Mover.of(track, where), cause, gap)
    assert from_afar is not None and from_afar.action is Action.GOES_ON
    late = track & (np.arange(40) >= 8)[:, None, None]
    known = np.where(late.any(axis=(1, 2))[:, None], where, np.nan)
    late_gap = np.where(np.arange(40) < 8, np.inf, gap)
    assert find_event(Mover.of(late, known), cause, late_gap) is None


@pytest.mark.parametrize(("colour", "goes"), [(RED, True), (BLUE, False)])
def test_a_piece_of_the_object_that_its_mask_missed_goes_with_it(colour, goes):
    """It comes up beside the object, in its colours, and stays with it; in another colour it may be something held."""
    body = Thing(line((0, 50, 80), (31, 270, 80)), RED, (50, 44), round=False, shadow=0)
    x = np.interp(8, (0, 31), (50, 270))
    paw = Thing(line((8, x, 112), (31, 270, 112)), colour, (16, 16), round=False, shadow=0)
    removal = Removal(Drawn({"body": body, "paw": paw}), "body")
    gone = [thing.id for thing in removal.reasoning.plan.applied if thing.action is Action.VANISHES]
    paws = removal.drawn.mask("paw")
    taken = np.any([removal.reasoning.masks[name] for name in gone] or [np.zeros_like(paws)], axis=0) & paws
    assert bool(taken.sum() > 0.8 * paws.sum()) is goes


def test_ground_that_the_plate_does_not_show_is_no_thing():
    """The plate shows the struck disc where it rested, and the frames show bare ground there."""
    hit = collision()
    scene, target = hit.scene, hit.drawn.mask("target")
    bare = hit.drawn.without("target").clip.frames
    assert scene.camera.kind is CameraKind.STILL and np.array_equal(scene.camera.to_plate[0], np.eye(3))
    frames = np.where(target[..., None], bare, hit.clip.frames)
    plate = np.where(target[0][..., None], hit.clip.frames[0], scene.plate)
    clip = Clip(frames, hit.clip.times_s, 320, 180)
    reasoning = MotionReasoner().reason(clip, hit.primary, replace(scene, plate=plate), (), silent)
    assert not [thing for thing in reasoning.plan.affected if thing.category is Category.PHYSICAL]


def fallen_onto(top: float) -> Removal:
    """A blue disc drops onto a red box, 1.2 px a frame faster every frame, and rests there."""
    t = np.arange(32)
    y = np.minimum(14 + 0.6 * t**2, top)
    ball = Thing(np.stack([np.full(32, 150.0), y], axis=1), BLUE, (22, 22), shadow=0)
    return Removal(
        Drawn({"box": Thing(line((0, 150, 130)), RED, (60, 44), round=False), "ball": ball}), "box"
    )


def test_a_fall_that_the_object_catches_ends_on_its_footing():
    (thing,) = physical(fallen_onto(97))
    assert thing.action is Action.FALLS and thing.applied and "caught" in thing.why
    path = path_of(thing, 32)
    assert 9 <= thing.frames[0] <= 13 and path[-1, 1] == pytest.approx(141, abs=5)
    first = thing.frames[0]
    assert path[first + 1, 1] - path[first, 1] == pytest.approx(
        1.2 * (first + 0.5), abs=2
    )  # it does not halt


@pytest.mark.parametrize("height_m", [0.5, 6.0])
def test_the_pictures_height_says_how_fast_things_fall(height_m):
    removal = carried()
    reasoner = MotionReasoner(height_m)
    plan = reasoner.reason(removal.clip, removal.primary, removal.scene, (), silent).plan
    (thing,) = (one for one in plan.affected if one.action is Action.FALLS)
    path = path_of(thing, 32)
    assert path[2, 1] - path[0, 1] == pytest.approx(0.5 * 9.81 * 180 / height_m / 12**2, abs=0.2)


def test_a_hit_is_handed_on():
    removal = Removal(
        Drawn({
            "last": Thing(line((0, 235, 100), (20, 235, 100), (31, 310, 100)), GREEN),
            "middle": Thing(line((0, 130, 100), (10, 130, 100), (20, 206, 100), (31, 190, 30)), BLUE),
            "first": Thing(line((0, 20, 100), (10, 102, 100), (31, 60, 30)), RED),
        }),
        "first",
    )  # fmt: skip
    found = [thing for thing in physical(removal) if thing.action is Action.STAYS]
    middle, last = (next(thing for thing in found if color in thing.noun) for color in ("blue", "green"))
    assert 4 <= middle.frames[0] <= 12 and 8 <= last.frames[0] <= 22
    assert re.search("until frame (9|1[0-2])", middle.why) and re.search("until frame (19|2[0-2])", last.why)
    assert "the object" in middle.why and middle.noun in last.why


def test_things_that_only_pass_are_left_alone():
    assert physical(passing()) == []


def test_nearness_without_a_change_of_motion_is_nothing():
    """The walker passes 3 px below the box, over its shadow, as evenly as before."""
    box = Thing(line((0, 160, 80)), RED, (36, 36), round=False)
    walker = Thing(line((0, 30, 113), (31, 290, 113)), BLUE, (24, 24))
    assert physical(Removal(Drawn({"box": box, "walker": walker}), "box")) == []


def test_what_passes_close_a_little_slower_is_left_alone():
    """Half hidden in passing, a thing seems to lag a little; a blow would have changed its speed by far more."""
    x = np.interp(np.arange(40), [0, 17, 39], [20, 149, 303])  # 7.6 px a frame, then 7
    track = np.zeros((40, 180, 340), bool)
    for mask, at in zip(track, x, strict=True):
        mask[100:130, round(at) - 15 : round(at) + 15] = True
    thing = Mover.of(track, np.stack([x, np.full(40, 114.5)], axis=1))
    box = Mover.of(np.zeros_like(track), np.full((40, 2), (180.0, 60.0)))
    gap = np.where(np.abs(np.arange(40) - 22.5) < 6, 4.0, 30.0)
    assert find_event(thing, Cause("the object", box), gap) is None


def test_nothing_moves_and_nothing_is_claimed():
    removal = Removal(Drawn({"box": Thing(line((0, 160, 90)), RED, (36, 36), round=False, shadow=0)}), "box")
    assert removal.scene.tracks == ()
    assert removal.reasoning.plan.applied == () and removal.reasoning.masks == {}


def seen_in_passing(pan_px: float) -> Removal:
    """A red box that rests throughout, seen by a camera that pans."""
    camera = np.tile(np.eye(3), (32, 1, 1))
    camera[:, 0, 2], camera[:, 1, 2] = np.linspace(0, -pan_px, 32), np.linspace(0, 4, 32)
    box = Thing(line((0, 160, 90)), RED, (44, 40), round=False)
    return Removal(Drawn({"box": box}, camera=camera), "box")


def drifting() -> Removal:
    return seen_in_passing(9)


def panning() -> Removal:
    return seen_in_passing(60)


@pytest.mark.parametrize(
    "make",
    [
        passing,
        collision,
        stopped,
        standing,
        *(pytest.param(m, marks=pytest.mark.long) for m in (drifting, panning)),
    ],
)
def test_the_objects_shadow_is_found(make):
    removal = make()
    (thing,) = (t for t in removal.reasoning.plan.affected if t.action is Action.VANISHES)
    assert (
        thing.category is Category.VISUAL_ARTIFACT and thing.noun == "shadow of the object" and thing.applied
    )
    free = beside_things(removal)
    shade = (removal.drawn.shade(removal.name) > VISIBLE_SHADE) & free
    found = removal.reasoning.masks[thing.id] & free
    assert (found & shade).sum() > 0.8 * shade.sum()
    assert iou(found, shade) > 0.5  # found ones are grown by the last fade


@pytest.mark.parametrize(("make", "name"), [(passing, "other"), (passing, "late"), (stopped, "ball")])
def test_the_shadow_of_another_thing_is_left_alone(make, name):
    removal = make()
    mine = removal.drawn.shade(removal.name) > 0.02
    theirs = (removal.drawn.shade(name) > VISIBLE_SHADE) & ~mine & beside_things(removal)
    assert (removal.reasoning.masks["light"] & theirs).sum() < 0.1 * theirs.sum()


def test_what_stands_on_the_object_is_offered():
    removal = standing()
    (thing,) = physical(removal)
    assert thing.action is Action.FALLS and not thing.applied and thing.confidence < 0.5
    assert removal.reasoning.plan.offered == (thing,)
    assert iou(removal.reasoning.masks[thing.id][0], removal.drawn.mask("cup")[0]) > 0.7


def standing_in_front(pan_px: float = 0) -> Drawn:
    """A blue box stands on a red one and hides part of its top; a green one is behind, its lower half hidden."""
    camera = np.tile(np.eye(3), (32, 1, 1))
    camera[:, 0, 2] = np.linspace(0, -pan_px, 32)
    green = Thing(line((0, 172, 84)), GREEN, (18, 24), round=False, shadow=0)
    table = Thing(line((0, 150, 115)), RED, (70, 50), round=False)
    cup = Thing(line((0, 138, 84)), BLUE, (20, 28), round=False, shadow=0)
    return Drawn({"green": green, "table": table, "cup": cup}, camera=camera if pan_px else None)


@pytest.mark.parametrize("pan_px", [0, pytest.param(60, marks=pytest.mark.long)])
def test_what_hides_part_of_the_objects_top_stands_on_it_and_falls(pan_px):
    drawn = standing_in_front(pan_px)
    removal = Removal(drawn, "table")
    (thing,) = physical(removal)
    assert thing.action is Action.FALLS and thing.applied and thing.confidence > 0.5
    found, truth = removal.reasoning.masks[thing.id], drawn.mask("cup")
    assert min(iou(found[t], truth[t]) for t in (0, 15, 31)) > 0.8
    assert path_of(thing, 32)[-1, 1] > 110
    kept = Removal(drawn, "table", (Hint(138, 78, 0, Action.STAYS),))
    assert [thing.action for thing in physical(kept)] == [Action.STAYS]


@pytest.mark.parametrize("pan_px", [0, 60])
def test_what_hides_all_of_the_objects_top_stands_on_it_and_falls(pan_px):
    camera = np.tile(np.eye(3), (32, 1, 1))
    camera[:, 0, 2] = np.linspace(0, -pan_px, 32)
    post = Thing(line((0, 150, 118)), RED, (26, 44), round=False)
    slab = Thing(line((0, 152, 84)), BLUE, (52, 28), round=False, shadow=0)
    drawn = Drawn({"post": post, "slab": slab}, camera=camera if pan_px else None)
    removal = Removal(drawn, "post")
    (thing,) = physical(removal)
    assert thing.action is Action.FALLS and thing.applied
    found, truth = removal.reasoning.masks[thing.id], drawn.mask("slab")
    assert min(iou(found[t], truth[t]) for t in (0, 15, 31)) > 0.8


@pytest.mark.parametrize("base", [104, 112, 130])
def test_what_is_wider_and_stands_behind_stands_on_nothing(base):
    behind = Thing(line((0, 150, base - 30)), BLUE, (60, 60), round=False, shadow=0)
    post = Thing(line((0, 150, 118)), RED, (26, 44), round=False)
    drawn = Drawn({"behind": behind, "post": post})
    assert in_the_outline(drawn.clip.frames[0], drawn.mask("post")[0]) == []


def test_on_what_the_picture_cuts_off_above_stands_nothing():
    drawn = Drawn({"post": Thing(line((0, 150, 18)), RED, (26, 44), round=False)})
    assert in_the_outline(drawn.clip.frames[0], drawn.mask("post")[0]) == []


def test_ground_seen_through_a_hollow_object_stands_on_nothing():
    floor = np.random.default_rng(4).uniform(90, 160, (30, 40, 3)).astype(np.float32)
    image = np.clip(cv2.resize(floor, (160, 120), interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8)
    post = np.zeros((120, 160), bool)
    post[20:100, 70:78] = True
    post[94:100, 50:98] = True
    image[post] = (200, 30, 40)
    assert in_the_outline(image, post) == []


def test_a_hint_settles_what_was_offered():
    hinted = Removal(standing().drawn, "table", (Hint(150, 78, 3, Action.FALLS),))
    (thing,) = physical(hinted)
    assert thing.applied and thing.action is Action.FALLS
    path = path_of(thing, 32)
    assert path[0, 1] == pytest.approx(78, abs=3) and path[-1, 1] == pytest.approx(118, abs=4)


def test_a_hint_on_a_moving_thing_names_its_track():
    hinted = Removal(passing().drawn, "goer", (Hint(290, 132, 0, Action.STAYS),))
    (thing,) = physical(hinted)
    assert thing.action is Action.STAYS and thing.id.startswith("track-") and thing.applied
    assert iou(hinted.reasoning.masks[thing.id], hinted.drawn.mask("other")) > 0.8


def test_a_hint_with_a_mask_needs_no_motion():
    drawn = standing().drawn
    cup = drawn.mask("cup")
    (thing,) = physical(Removal(drawn, "table", (Hint(150, 78, 0, Action.FALLS, cup),)))
    assert thing.applied and thing.action is Action.FALLS


def test_a_hint_that_points_at_nothing_is_refused():
    with pytest.raises(InputError) as refused:
        _ = Removal(standing().drawn, "table", (Hint(30, 30, 0, Action.FALLS),)).reasoning
    assert refused.value.remedy


def test_reasoning_changes_nothing_it_was_given():
    removal = collision()
    before = [removal.drawn.clip.frames.copy(), removal.primary.copy(), removal.scene.labels.copy()]
    again = Removal(replace(removal.drawn), "striker")  # drawn and analysed anew
    assert again.reasoning.plan == removal.reasoning.plan  # and the same comes out
    after = [removal.drawn.clip.frames, removal.primary, removal.scene.labels]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def mirrored() -> tuple[Clip, np.ndarray]:
    """An orange box that slides over a polished gray floor, with a shadow behind it; and its mask."""
    rng = np.random.default_rng(5)
    floor = 150 + cv2.GaussianBlur(rng.normal(0, 60, (120, 200)).astype(np.float32), (0, 0), 3)[..., None]
    frames, masks = [], np.zeros((24, 120, 200), bool)
    for t in range(24):
        frame, x = np.repeat(floor, 3, axis=2), 30 + 5 * t
        box = np.array((220, 130, 20), np.float32)
        frame[70:100, x : x + 30] += 0.35 * (box - frame[70:100, x : x + 30])
        frame[62:90, x - 18 : x] *= 0.65
        frame[40:70, x : x + 30] = box
        masks[t, 40:70, x : x + 30] = True
        frames.append(np.clip(frame + rng.normal(0, 1.5, frame.shape), 0, 255).astype(np.uint8))
    return Clip(np.stack(frames), np.arange(24) / 24, 200, 120), masks


def test_a_shadow_with_a_reflection_is_called_both():
    clip, primary = mirrored()
    reasoning = MotionReasoner().reason(clip, primary, analyse_scene(clip, primary), (), silent)
    (light,) = reasoning.plan.affected
    assert light.noun == "shadow with reflection of the object"


def before_a_curtain() -> tuple[Clip, np.ndarray]:
    """A red cup with its shadow, that rests and is then moved along; behind it folds go up a curtain."""
    rng, room = np.random.default_rng(3), ground((200, 120)).astype(np.float32)
    height = np.arange(70)[:, None, None]
    frames, masks = [], np.zeros((48, 120, 200), bool)
    for t in range(48):
        frame, x = room.copy(), 85 + max(0, 4 * (t - 36))
        frame[:70, 55:140] *= 1 + 0.15 * np.sin(height / 8 + t / 6)
        frame[92:98, x - 4 : x + 30] *= 0.7
        frame[56:94, x : x + 26] = (200, 30, 40)
        masks[t, 56:94, x : x + 26] = True
        frames.append(np.clip(frame + rng.normal(0, 1.5, frame.shape), 0, 255).astype(np.uint8))
    return Clip(np.stack(frames), np.arange(48) / 24, 200, 120), masks


def test_what_sways_behind_a_resting_object_is_not_its_light():
    clip, primary = before_a_curtain()
    scene = analyse_scene(clip, primary)
    light = MotionReasoner().reason(clip, primary, scene, (), silent).masks["light"]
    assert scene.soft[:36, :50].sum() > 10_000, "the curtain changes softly"
    assert light[:, :54].mean(axis=(1, 2)).max() < 0.005
    assert light[:36, 95:97, 83:113].mean() > 0.9, "the shadow at its foot"


def test_what_went_behind_the_object_is_what_comes_out_again():
    """A ball is stopped behind a box and rolls out elsewhere a second later; without the box it would not be there.
    What comes out and looks otherwise is another thing."""
    way = (0, 30, 95), (10, 121, 95), (16, 126, 95), (21, 160, 92), (40, 160, 90), (47, 160, 40)
    ball = Thing(line(*way, num=48), BLUE)
    other = Thing(line((0, 160, 90), (39, 160, 90), (47, 230, 90), num=48), GREEN)
    box = Thing(line((0, 165, 92), num=48), RED, size=(60, 60), round=False)
    removal = Removal(Drawn({"ball": ball, "other": other, "box": box}, num=48), "box")
    goes_on = [t for t in removal.reasoning.plan.applied if t.action is Action.GOES_ON]
    assert len(goes_on) == 1
    mask, truth = removal.reasoning.masks[goes_on[0].id], removal.drawn.mask("ball")
    assert mask[46][truth[46]].mean() > 0.9
    assert not mask[removal.drawn.mask("other")].any()
