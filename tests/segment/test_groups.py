"""Whose a prompt is: which of one frame's prompts mean one object, and which object already followed they mean."""

import numpy as np
import pytest

from aftermath.core import Box
from aftermath.segment.base import BoxPrompt, MaskPrompt, PointPrompt, Prompts
from aftermath.segment.groups import Group, grouped, is_same, share_negative


def mask(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    found = np.zeros((60, 80), bool)
    found[y0:y1, x0:x1] = True
    return found


def test_a_box_takes_the_points_in_it_and_close_to_it_and_the_others_are_one_object() -> None:
    points = tuple(PointPrompt(x, y) for x, y in ((15, 15), (32, 15), (60, 15), (70, 50)))
    prompts = Prompts(
        boxes=(BoxPrompt(Box(10, 10, 30, 30)), BoxPrompt(Box(1, 1, 2, 2), 7)),
        points=(*points, PointPrompt(5, 5, 7), PointPrompt(20, 20, positive=False)),
    )
    assert grouped(prompts, 0) == [
        Group(box=Box(10, 10, 30, 30), positive=((15, 15), (32, 15))),
        Group(positive=((60, 15), (70, 50))),
    ]
    assert grouped(prompts, 3) == []


def test_points_on_a_mask_say_nothing_and_on_a_followed_object_correct_it() -> None:
    prompts = Prompts(
        masks=(MaskPrompt(mask(0, 0, 10, 10)),),
        points=(PointPrompt(5, 5), PointPrompt(25, 25), PointPrompt(70, 50), PointPrompt(999, 999)),
    )
    given, on_it, loose = grouped(prompts, 0, [mask(40, 0, 50, 10), mask(20, 20, 30, 30)])
    assert given.mask is not None and given.followed is None
    assert on_it == Group(positive=((25, 25),), followed=1)
    assert loose == Group(positive=((70, 50), (999, 999)))


@pytest.mark.parametrize(
    ("at", "to"),
    [
        ((32, 20), ["box"]),
        ((20, 20), ["box"]),
        ((50, 20), ["points"]),
        ((78, 58), ["followed"]),
        ((3, 55), []),  # nearest to the mask, which is exact
    ],
)
def test_a_background_point_goes_to_the_nearest_object(at: tuple[int, int], to: list[str]) -> None:
    prompts = Prompts(points=(PointPrompt(*at, positive=False), PointPrompt(1, 1, 4, positive=False)))
    groups = [
        Group(box=Box(10, 10, 30, 30)),
        Group(positive=((55, 20),)),
        Group(mask=mask(0, 50, 5, 60)),
    ]
    (box, points, exact), (followed, nowhere) = share_negative(
        prompts, 0, groups, [mask(70, 50, 80, 60), mask(0, 0, 0, 0)]
    )
    given = {"box": box.negative, "points": points.negative, "mask": exact.negative, "followed": followed}
    assert [name for name, negative in given.items() if negative] == to
    assert nowhere == ()


def test_a_background_point_that_two_objects_hold_goes_to_both() -> None:
    prompts = Prompts(points=(PointPrompt(20, 20, positive=False),))
    (box,), (followed,) = share_negative(prompts, 0, [Group(box=Box(10, 10, 30, 30))], [mask(15, 15, 40, 40)])
    assert box.negative == followed == ((20, 20),)
    assert box.merged(followed) == box


def test_two_masks_are_one_object_where_they_share_enough() -> None:
    assert is_same(mask(0, 0, 10, 10), mask(0, 0, 10, 4))
    assert not is_same(mask(0, 0, 10, 10), mask(0, 0, 10, 2))
    assert not is_same(mask(0, 0, 0, 0), mask(0, 0, 0, 0))
