"""The segmenter through its public door, on clips whose truth is known because they are drawn here."""

import cv2
import numpy as np
import pytest

from aftermath.core import Box, Clip
from aftermath.errors import InputError
from aftermath.segment.base import BoxPrompt, MaskPrompt, PointPrompt, Prompts
from aftermath.segment.flow import FlowSegmenter
from aftermath.segment.second_look import look_again

HEIGHT, WIDTH = 180, 318
BLUE, RED, GREEN = (40, 70, 190), (190, 45, 50), (50, 160, 60)


def texture(height: int, width: int, colour=(150, 140, 120), contrast=28, seed=0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    fine = cv2.GaussianBlur(rng.normal(0, 1, (height, width, 1)).astype(np.float32), (0, 0), 2)
    coarse = cv2.GaussianBlur(rng.normal(0, 1, (height, width, 3)).astype(np.float32), (0, 0), 9)
    fine, coarse = fine[..., None] / fine.std(), coarse / coarse.std()
    return np.clip(np.array(colour) + contrast * (0.6 * fine + 0.5 * coarse), 0, 255).astype(np.float32)


def disc(x: float, y: float, radius: float, size=(HEIGHT, WIDTH)) -> np.ndarray:
    """Coverage of every pixel, 0 to 1: one pixel of soft rim."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    return np.clip(radius + 0.5 - np.hypot(columns - x, rows - y), 0, 1)


def square(x: float, y: float, half: float, size=(HEIGHT, WIDTH)) -> np.ndarray:
    rows, columns = np.mgrid[: size[0], : size[1]]
    inside = np.minimum(half + 0.5 - np.abs(columns - x), half + 0.5 - np.abs(rows - y))
    return np.clip(inside, 0, 1)


def paint(picture: np.ndarray, coverage: np.ndarray, colour, x: float, y: float) -> np.ndarray:
    """Draw a thing of stripes that move with it."""
    rows, columns = np.mgrid[: picture.shape[0], : picture.shape[1]]
    stripes = 1 + 0.18 * np.sign(np.sin((columns - x) / 3.1) * np.sin((rows - y) / 4.3))
    painted = np.clip(np.array(colour) * stripes[..., None], 0, 255)
    return picture + coverage[..., None] * (painted - picture)


def clip_of(pictures: list[np.ndarray]) -> Clip:
    noise = np.random.default_rng(5).normal(0, 1.5, (len(pictures), *pictures[0].shape))
    frames = np.clip(np.round(np.stack(pictures) + noise), 0, 255).astype(np.uint8)
    return Clip(frames, np.arange(len(frames)) / 24, frames.shape[2], frames.shape[1])


def scene(paths: list, shape=disc, size_px=22, colour=BLUE, height=HEIGHT, width=WIDTH):
    """A thing along ``paths`` [(x, y) or None] on a textured background: the clip and its true masks."""
    background = texture(height, width)
    pictures, truth = [], []
    for at in paths:
        coverage = np.zeros((height, width)) if at is None else shape(*at, size_px, (height, width))
        pictures.append(paint(background, coverage, colour, *(at or (0, 0))))
        truth.append(coverage > 0.5)
    return clip_of(pictures), np.stack(truth)


def segment(clip: Clip, **prompts) -> np.ndarray:
    mask = FlowSegmenter().segment(clip, Prompts(**prompts), lambda done, total: None)
    assert mask.shape == clip.frames.shape[:3] and mask.dtype == bool
    return mask


def overlap(mask: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Intersection over union of each frame; 1 where both are empty."""
    union = (mask | truth).sum((1, 2))
    return np.where(union > 0, (mask & truth).sum((1, 2)) / np.maximum(union, 1), 1.0)


def box_round(x: float, y: float, radius: float, frame: int = 0) -> BoxPrompt:
    margin = radius + 3
    return BoxPrompt(Box(x - margin, y - margin, x + margin, y + margin), frame)


@pytest.mark.parametrize("shape", [disc, square])
def test_a_moving_thing_is_followed_from_one_box(shape):
    clip, truth = scene([(50 + 6 * t, 80 + 2 * t) for t in range(20)], shape)
    mask = segment(clip, boxes=(box_round(50, 80, 22),))
    assert overlap(mask, truth).min() > 0.9


def test_the_camera_may_pan():
    background = texture(HEIGHT, WIDTH + 120)
    pictures, truth = [], []
    for t in range(20):
        picture = background[:, 4 * t : 4 * t + WIDTH]
        coverage = disc(150 + t, 90, 20)
        pictures.append(paint(picture, coverage, RED, 150 + t, 90))
        truth.append(coverage > 0.5)
    mask = segment(clip_of(pictures), boxes=(box_round(150, 90, 20),))
    assert overlap(mask, np.stack(truth)).min() > 0.88


def rising_top(x: float, foot: float, t: int) -> np.ndarray:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    height = np.minimum(foot - rows, rows - foot + 48 + 0.3 * t)
    return np.clip(np.minimum(22.5 - np.abs(columns - x), 0.5 + height), 0, 1)


def coming_nearer(x: float, foot: float, t: int) -> np.ndarray:
    return square(x, foot - 24 - 0.3 * t, 24 * (1 + 0.01 * t))


@pytest.mark.long
@pytest.mark.parametrize(
    ("shape", "colour", "least"), [(rising_top, (120, 115, 100), 0.78), (coming_nearer, GREEN, 0.9)]
)
def test_a_thing_that_creeps_before_a_moving_camera(shape, colour, least):
    """It moves by a third of a pixel in a frame, which none of two frames shows."""
    background = cv2.resize(texture(HEIGHT, WIDTH), None, fx=1.25, fy=1.25)
    pictures, truth = [], []
    for t in range(40):
        zoom = np.array([[0.8 + 0.005 * t, 0, -0.5 * t], [0, 0.8 + 0.005 * t, -0.3 * t]])
        picture = cv2.warpAffine(background, zoom, (WIDTH, HEIGHT), flags=cv2.INTER_AREA)
        x, foot = zoom @ (170, 160, 1)
        coverage = shape(x, foot, t)
        pictures.append(paint(picture, coverage, colour, x, foot - 0.3 * t))
        truth.append(coverage > 0.5)
    mask = segment(clip_of(pictures), boxes=(BoxPrompt(Box(109, 77, 163, 131)),))
    assert overlap(mask, np.stack(truth)).min() > least


def test_a_thing_at_rest_does_not_flicker():
    clip, truth = scene([(120, 90)] * 12)
    mask = segment(clip, boxes=(box_round(120, 90, 22),))
    assert overlap(mask, truth).min() > 0.93
    assert (mask != mask[0]).any(axis=0).sum() <= 12  # pixels that ever change, of some 1,500


def test_a_small_fast_thing():
    clip, truth = scene([(20 + 17 * t, 40 + 4 * t) for t in range(16)], size_px=8, colour=RED)
    mask = segment(clip, boxes=(box_round(20, 40, 8),))
    scores = overlap(mask, truth)
    assert scores.mean() > 0.8 and scores.min() > 0.6


def test_a_box_on_a_middle_frame_works_both_ways():
    clip, truth = scene([(50 + 7 * t, 100) for t in range(25)])
    mask = segment(clip, boxes=(box_round(50 + 7 * 12, 100, 22, frame=12),))
    assert overlap(mask, truth).min() > 0.88


def test_lost_behind_something_and_found_again():
    background, front = texture(HEIGHT, WIDTH), texture(HEIGHT, WIDTH, GREEN, 15, seed=3)
    post = np.zeros((HEIGHT, WIDTH))
    post[:, 130:190] = 1
    pictures, truth = [], []
    for t in range(30):
        x = 40 + 8 * t
        coverage = disc(x, 90, 18) * (1 - post)
        picture = background * (1 - post[..., None]) + front * post[..., None]
        pictures.append(paint(picture, coverage, BLUE, x, 90))
        truth.append(coverage > 0.5)
    truth = np.stack(truth)
    mask = segment(clip_of(pictures), boxes=(box_round(40, 90, 18),))
    area = truth.sum((1, 2))
    whole, hidden = area > 0.9 * area.max(), area == 0
    scores = overlap(mask, truth)
    assert scores[whole].min() > 0.85
    assert not mask[hidden].any()


def test_a_thing_at_rest_comes_back_when_what_hid_it_has_passed():
    background = texture(HEIGHT, WIDTH)
    pictures, truth = [], []
    for t in range(26):
        x = -60 + 16 * t
        cover = square(x, 90, 42)
        coverage = disc(150, 90, 20) * (1 - cover)
        picture = paint(background, disc(150, 90, 20), RED, 150, 90)
        pictures.append(paint(picture, cover, GREEN, x, 90))
        truth.append(coverage > 0.5)
    truth = np.stack(truth)
    mask = segment(clip_of(pictures), boxes=(box_round(150, 90, 20),))
    area = truth.sum((1, 2))
    scores = overlap(mask, truth)
    assert scores[area == area.max()].min() > 0.88
    assert mask[area == 0].sum() == 0
    assert scores[(area > 0.3 * area.max())].min() > 0.6


def test_a_thing_that_leaves_the_picture_and_returns():
    out = [(250 + 12 * t, 90) for t in range(9)]
    clip, truth = scene(out + [None] * 4 + out[::-1])
    mask = segment(clip, boxes=(box_round(250, 90, 22),))
    scores = overlap(mask, truth)
    area = truth.sum((1, 2))
    assert scores[area > 0.5 * area.max()].min() > 0.85
    assert not mask[area == 0].any()


def test_a_pushed_thing_is_not_mixed_up_with_what_pushed_it():
    background = texture(HEIGHT, WIDTH)
    pictures, truth = [], []
    for t in range(24):
        pusher = min(30 + 9 * t, 30 + 9 * 12)
        pushed = max(170, pusher + 40)
        coverage = disc(pushed, 90, 20)
        picture = paint(background, disc(pusher, 90, 20), RED, pusher, 90)
        pictures.append(paint(picture, coverage, BLUE, pushed, 90))
        truth.append(coverage > 0.5)
    mask = segment(clip_of(pictures), boxes=(box_round(170, 90, 20),))
    assert overlap(mask, np.stack(truth)).min() > 0.88


def test_a_shadow_is_not_the_object():
    background = texture(HEIGHT, WIDTH)
    pictures, truth = [], []
    for t in range(16):
        x = 60 + 9 * t
        coverage = disc(x, 80, 20)
        shade = cv2.GaussianBlur(disc(x + 16, 98, 20), (0, 0), 2)
        pictures.append(paint(background * (1 - 0.4 * shade[..., None]), coverage, RED, x, 80))
        truth.append(coverage > 0.5)
    mask = segment(clip_of(pictures), boxes=(BoxPrompt(Box(36, 56, 100, 122)),))
    assert overlap(mask, np.stack(truth)).min() > 0.85


def two_things():
    background = texture(HEIGHT, WIDTH)
    pictures, first, second = [], [], []
    for t in range(16):
        a, b = (60 + 5 * t, 50), (240 - 5 * t, 130)
        pictures.append(paint(paint(background, disc(*a, 18), BLUE, *a), square(*b, 16), RED, *b))
        first.append(disc(*a, 18) > 0.5)
        second.append(square(*b, 16) > 0.5)
    return clip_of(pictures), np.stack(first), np.stack(second)


def test_two_boxes_are_two_objects():
    clip, first, second = two_things()
    mask = segment(clip, boxes=(box_round(60, 50, 18), box_round(240, 130, 16)))
    assert overlap(mask, first | second).min() > 0.9


def test_boxes_of_two_objects_may_stand_on_different_frames():
    clip, first, second = two_things()
    mask = segment(clip, boxes=(box_round(60, 50, 18), box_round(240 - 50, 130, 16, frame=10)))
    assert overlap(mask, first | second).min() > 0.88


def test_only_what_was_asked_for():
    clip, first, _ = two_things()
    assert overlap(segment(clip, boxes=(box_round(60, 50, 18),)), first).min() > 0.9


@pytest.mark.parametrize("step", [0, 5])
def test_one_point_is_enough(step):
    clip, truth = scene([(90 + step * t, 90) for t in range(12)])
    mask = segment(clip, points=(PointPrompt(92, 88),))
    assert overlap(mask, truth).min() > 0.85


def test_points_on_two_things_are_two_objects():
    clip, first, second = two_things()
    mask = segment(clip, points=(PointPrompt(60, 50), PointPrompt(240, 130)))
    assert overlap(mask, first | second).min() > 0.85


def halves(frames: int = 8):
    """A red and a green half that touch, in one box."""
    background = texture(HEIGHT, WIDTH)
    left, right = square(130, 90, 20), square(171, 90, 20)
    picture = paint(paint(background, left, RED, 130, 90), right, GREEN, 171, 90)
    return clip_of([picture] * frames), left > 0.5, right > 0.5


def test_a_background_point_takes_away():
    clip, left, right = halves()
    box = BoxPrompt(Box(106, 66, 196, 114))
    both = segment(clip, boxes=(box,))
    assert overlap(both, (left | right)[None]).min() > 0.9
    one = segment(clip, boxes=(box,), points=(PointPrompt(175, 90, positive=False),))
    assert overlap(one, left[None]).min() > 0.85


def test_a_background_point_on_a_later_frame_corrects_from_there():
    clip, left, right = halves(13)
    wrong = MaskPrompt(left | right, 0)
    mask = segment(clip, masks=(wrong,), points=(PointPrompt(175, 90, 12, positive=False),))
    assert overlap(mask[7:], left[None]).min() > 0.85
    assert overlap(mask[:6], (left | right)[None]).min() > 0.9


def test_a_background_point_on_the_object_itself_says_it_is_not_there():
    clip, truth = scene([(120, 90)] * 13)
    mask = segment(clip, masks=(MaskPrompt(truth[0]),), points=(PointPrompt(120, 90, 12, positive=False),))
    assert overlap(mask[:6], truth[:6]).min() > 0.95
    assert not mask[7:].any()


def test_a_point_beside_the_box_prompt_adds():
    clip, left, right = halves()
    box = BoxPrompt(Box(106, 66, 196, 114))
    mask = segment(clip, boxes=(box,), points=(PointPrompt(130, 90), PointPrompt(175, 90)))
    assert overlap(mask, (left | right)[None]).min() > 0.9


def test_a_mask_is_exact_on_its_frame_and_carried_from_there():
    clip, truth = scene([(60 + 5 * t, 90) for t in range(15)])
    mask = segment(clip, masks=(MaskPrompt(truth[7], 7),))
    assert np.array_equal(mask[7], truth[7])
    assert overlap(mask, truth).min() > 0.9


def test_a_second_box_corrects_the_same_object():
    clip, truth = scene([(60 + 5 * t, 90) for t in range(15)])
    mask = segment(clip, boxes=(box_round(60, 90, 22), box_round(60 + 70, 90, 22, frame=14)))
    assert overlap(mask, truth).min() > 0.9


@pytest.mark.parametrize(("height", "width"), [(318, 239), (239, 318), (97, 61)])
def test_odd_and_portrait_sizes(height, width):
    path = [(width / 2, height * (0.35 + 0.03 * t)) for t in range(8)]
    clip, truth = scene(path, size_px=14, height=height, width=width)
    mask = segment(clip, boxes=(box_round(*path[0], 14),))
    assert overlap(mask, truth).min() > 0.85


def test_a_single_frame():
    clip, truth = scene([(120, 90)])
    assert overlap(segment(clip, boxes=(box_round(120, 90, 22),)), truth).min() > 0.9


def test_the_same_input_gives_the_same_masks():
    clip, _ = scene([(60 + 9 * t, 90) for t in range(6)])
    boxes = (box_round(60, 90, 22),)
    assert np.array_equal(segment(clip, boxes=boxes), segment(clip, boxes=boxes))


def test_progress_goes_up_to_the_end():
    clip, _ = scene([(60 + 5 * t, 90) for t in range(6)])
    seen = []
    prompts = Prompts((box_round(60, 90, 22),))
    FlowSegmenter().segment(clip, prompts, lambda done, total: seen.append((done, total)))
    done, totals = zip(*seen, strict=True)
    assert list(done) == sorted(done) and done[-1] == totals[-1]
    assert all(d <= t for d, t in seen)


def test_prompts_that_lead_to_nothing_are_refused():
    clip, _ = scene([(120, 90)] * 3)
    with pytest.raises(InputError, match="mask on frame 0"):
        segment(clip, masks=(MaskPrompt(np.zeros((HEIGHT, WIDTH), bool)),))
    with pytest.raises(InputError, match="background"):
        segment(clip, points=(PointPrompt(10, 10, positive=False),))
    with pytest.raises(InputError):
        segment(clip)


def glass(background: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A tumbler whose upper left and middle base show the background through them, within a dark rim; the rim's colour
    stands beside it too, so that colours do not tell."""
    background = background.copy()
    background[50:130, 92:98] *= 0.7
    outside, inside = square(150, 90, 44) > 0.5, square(150, 90, 42) > 0.5
    clear = np.zeros_like(outside)
    clear[46:64, 106:150] = clear[124:135, 134:166] = True
    picture = paint(background, outside.astype(float), RED, 150, 90)
    picture[clear] = background[clear]
    picture[clear & outside & ~inside] *= 0.7
    return picture, outside


def test_a_bite_that_shows_the_background_belongs_to_the_thing():
    picture, truth = glass(texture(HEIGHT, WIDTH, contrast=8))
    mask = segment(clip_of([picture] * 6), boxes=(BoxPrompt(Box(106, 46, 195, 135)),))
    assert overlap(mask, truth[None]).min() > 0.97


def test_a_true_notch_stays_open():
    background = texture(HEIGHT, WIDTH, contrast=8)
    truth = square(150, 90, 44) > 0.5
    truth[46:64, 106:150] = False
    picture = paint(background, truth.astype(float), RED, 150, 90)
    mask = segment(clip_of([picture] * 6), boxes=(BoxPrompt(Box(106, 46, 195, 135)),))
    assert overlap(mask, truth[None]).min() > 0.97


def with_a_second_thing(path: list) -> tuple[Clip, np.ndarray, np.ndarray]:
    """A red square at rest and a green disc along ``path`` before it: the clip and both true masks."""
    thing, second = square(150, 100, 44), np.stack([disc(x, y, 17) for x, y in path])
    picture = paint(texture(HEIGHT, WIDTH), thing, RED, 150, 100)
    pictures = [paint(picture, cover, GREEN, *at) for cover, at in zip(second, path, strict=True)]
    return clip_of(pictures), thing > 0.5, second > 0.5


def test_the_wall_that_thin_bars_enclose_is_not_theirs():
    """A frame stands before a wall; all round its inside lies an edge."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    x, y = np.abs(columns - 160), np.abs(rows - 90)
    truth = (x < 60) & (y < 45) & ~((x < 53) & (y < 38))
    picture = paint(texture(HEIGHT, WIDTH, contrast=10), truth.astype(float), RED, 160, 90)
    clip = clip_of([picture] * 3)
    mask = segment(clip, boxes=(BoxPrompt(Box(98, 43, 223, 138), 0),))
    assert overlap(mask, np.stack([truth] * 3)).min() > 0.9


def test_what_falls_into_a_thing_and_stays_goes_with_it():
    falls = [(140, min(20 + 8 * t, 116)) for t in range(24)]
    clip, thing, disc_seen = with_a_second_thing(falls)
    mask = segment(clip, boxes=(BoxPrompt(Box(105, 55, 196, 146)),))
    entering = disc_seen[6] & thing
    assert (mask[6] & entering).sum() < 0.3 * entering.sum()  # still half outside: a thing of its own
    assert overlap(mask, thing[None])[10:].min() > 0.93


def test_what_passes_before_a_thing_does_not_go_with_it():
    clip, thing, disc_seen = with_a_second_thing([(30 + 10 * t, 100) for t in range(24)])
    mask = segment(clip, boxes=(BoxPrompt(Box(105, 55, 196, 146)),))
    assert overlap(mask, thing[None] & ~disc_seen).min() > 0.9
    within = slice(10, 15)
    assert (mask & disc_seen)[within].sum() < 0.1 * disc_seen[within].sum()


def test_a_hole_that_is_there_from_the_start_stays_a_hole():
    background = texture(HEIGHT, WIDTH)
    ring = disc(150, 90, 40) * (1 - disc(150, 90, 18))
    clip = clip_of([paint(background, ring, RED, 150, 90)] * 12)
    mask = segment(clip, masks=(MaskPrompt(ring > 0.5),))
    assert overlap(mask, (ring > 0.5)[None]).min() > 0.9


def test_what_comes_touches_and_goes_was_another_thing_though_it_looks_alike():
    background = texture(HEIGHT, WIDTH)
    pictures, truth, visitor = [], [], []
    for t in range(44):
        thing = (230 - 2 * t, 90 + 8 * np.sin(t / 4))
        reach = min(1, t / 20, max(0, 1 - (t - 28) / 14))  # from frame 20 to 28 they touch
        other = (30 + reach * (thing[0] - 64), 60 + reach * 22)
        picture = paint(background, disc(*other, 20), RED, *other)
        pictures.append(paint(picture, disc(*thing, 20), RED, *thing))
        truth.append(disc(*thing, 20) > 0.5)
        visitor.append((disc(*other, 20) > 0.5) & ~truth[-1])
    truth = np.stack(truth)
    mask = segment(clip_of(pictures), boxes=(box_round(230, 90, 20),))
    scores = overlap(mask, truth)
    assert scores.min() > 0.8
    assert scores[31:].min() > 0.95
    assert (mask & np.stack(visitor)).sum((1, 2)).max() < 0.2 * visitor[0].sum()


def test_what_left_the_picture_is_not_found_again_in_another_thing_that_moves():
    background = texture(HEIGHT, WIDTH)
    pictures, truth = [], []
    for t in range(30):
        thing, other = (230 + 10 * t, 60), (90 + 50 * np.sin(t / 6), 120)
        picture = paint(background, disc(*other, 20), RED, *other)
        pictures.append(paint(picture, disc(*thing, 20), RED, *thing))
        truth.append(disc(*thing, 20) > 0.5)
    truth = np.stack(truth)
    mask = segment(clip_of(pictures), boxes=(box_round(230, 60, 20),))
    assert overlap(mask, truth)[:6].min() > 0.85
    assert not mask[truth.sum((1, 2)) == 0].any()


def test_pale_limbs_before_a_pale_floor_are_found_again_by_what_the_whole_clip_shows():
    """A red thing with a limb pale as the floor, which it draws in and stretches out."""
    floor = texture(HEIGHT, WIDTH, colour=(205, 203, 198), contrast=2)
    floor[:50] = texture(50, WIDTH)
    pictures, truth, limbs = [], [], []
    for t in range(40):
        x, out = 60 + 5 * t, 14 + 16 * np.cos(t / 3)
        limb, body = square(x, 100 + out, 11), disc(x, 100, 24)
        picture = paint(floor, limb, (212, 204, 196), x, 100 + out)
        pictures.append(paint(picture, body, RED, x, 100))
        truth.append(np.maximum(limb, body) > 0.5)
        limbs.append(truth[-1] & (body < 0.5))
    mask = segment(clip_of(pictures), masks=(MaskPrompt(truth[0]),))
    truth, limbs = np.stack(truth), np.stack(limbs)
    large = limbs.sum((1, 2)) > 200
    assert large.sum() > 10
    assert ((mask & limbs).sum((1, 2)) / limbs.sum((1, 2)).clip(1))[large].min() > 0.8
    assert overlap(mask, truth).min() > 0.85


def test_what_rests_is_whole_again_after_a_hand_was_over_it():
    """Nothing shows what stands behind a thing that never moves; what looks as it did is the thing still."""
    clip, truth = scene([(150, 90)] * 12, square, 24)
    masks, others = truth.copy(), np.zeros_like(truth)
    masks[5:, 70:78, 130:160] = False  # gaps, as a hand leaves them
    others[5, 66:114, 126:150] = True  # there the hand is still
    moved = masks[11].copy()
    masks[11] = np.roll(moved, 30, axis=1)  # a mask elsewhere is left as it is
    look_again(clip.frames, masks, others, [0], [0, 11], lambda: None)
    assert overlap(masks[6:11], truth[6:11]).min() > 0.97
    assert not (masks[5] & others[5] & ~truth[4]).any() and not masks[5, 70:78, 130:148].any()
    assert np.array_equal(masks[11], np.roll(moved, 30, axis=1))
