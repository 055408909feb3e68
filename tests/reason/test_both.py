"""Motion and a model, joined: on findings of a few pixels, made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from aftermath.core import Action, AffectedObject, Category, Plan
from aftermath.reason.base import Reasoning
from aftermath.reason.both import joined, told_by_model

FALLS, STAYS, GOES_ON, VANISHES = Action.FALLS, Action.STAYS, Action.GOES_ON, Action.VANISHES


def thing(name: str, action: Action, sure: float = 0.8, noun: str = "", **more: Any) -> AffectedObject:
    kind = Category.VISUAL_ARTIFACT if action is VANISHES else Category.PHYSICAL
    return AffectedObject(name, noun or name, action, f"why {name}", sure, (0, 2), kind, **more)


def where(first: int, last: int) -> np.ndarray:
    """Columns of a picture of twenty columns and one row, in two frames."""
    out = np.zeros((2, 1, 20), bool)
    out[..., first:last] = True
    return out


def found(reasoner: str, *things: tuple[AffectedObject, np.ndarray | None], **more: Any) -> Reasoning:
    plan = Plan(
        20, 1, 2, tuple(one for one, _ in things), reasoner=reasoner, notes=(f"note of {reasoner}",), **more
    )
    return Reasoning(plan, {one.id: mask for one, mask in things if mask is not None})


def motion(*things: tuple[AffectedObject, np.ndarray | None]) -> Reasoning:
    return found("motion", *things)


def model(*things: tuple[AffectedObject, np.ndarray | None], **more: Any) -> Reasoning:
    return found("openai", *things, scene_description="A table.", **more)


def said(reasoning: Reasoning) -> list[tuple[str, str, Action]]:
    return [(one.id, one.noun, one.action) for one in reasoning.plan.affected]


def check_whole(reasoning: Reasoning) -> None:
    """What every outcome must be: written and read again, with a mask for what is acted on alone."""
    plan = reasoning.plan
    assert Plan.from_json(plan.to_json(), width=20, height=1, num_frames=2).affected
    ids = [one.id for one in plan.affected]
    assert len(set(ids)) == len(ids)
    assert set(reasoning.masks) <= set(ids)
    assert {one.id for one in plan.applied} <= set(reasoning.masks)


def test_what_both_say_is_surer_than_either() -> None:
    ours, theirs = thing("track-1", STAYS, 0.6), thing("model-0", STAYS, 0.5, "cup")
    both = joined(motion((ours, where(0, 10))), model((theirs, where(2, 12))))
    check_whole(both)
    (one,) = both.plan.affected
    assert (one.id, one.noun, one.action, one.applied) == ("track-1", "cup", STAYS, True)
    assert one.confidence == pytest.approx(0.8)
    assert one.why == "why track-1; why model-0"
    assert both.plan.reasoner == "motion+openai"
    assert both.plan.scene_description == "A table."
    assert both.plan.notes == (
        "note of motion", "note of openai", "cup stays: motion and the model agree"
    )  # fmt: skip
    assert (both.masks["track-1"] == where(0, 10)).all()


def test_what_motion_only_offered_is_applied_where_the_model_says_it_too() -> None:
    ours, theirs = thing("track-1", FALLS, 0.3, applied=False), thing("track-1", FALLS, 0.5)
    (one,) = joined(motion((ours, where(0, 5))), model((theirs, where(0, 5)))).plan.affected
    assert one.applied


@pytest.mark.parametrize(
    ("sure", "followed", "note"),
    [
        (0.9, STAYS, "cup: motion says stays, and is followed; the model says falls"),
        (0.3, FALLS, "cup: the model says falls, and is followed; motion says stays"),
    ],
)
def test_of_two_actions_the_surer_measurement_decides(sure: float, followed: Action, note: str) -> None:
    both = joined(
        motion((thing("track-1", STAYS, sure), where(0, 5))),
        model((thing("model-0", FALLS, 0.6, "cup"), where(0, 5))),
    )
    check_whole(both)
    (one,) = both.plan.affected
    assert (one.id, one.noun, one.action) == ("track-1", "cup", followed)
    assert one.confidence == pytest.approx(0.7 * (sure if followed is STAYS else 0.6))
    assert both.plan.notes[-1] == note


def test_what_only_one_says_stays_and_a_note_says_who() -> None:
    both = joined(
        motion(
            (thing("track-1", STAYS), where(0, 5)), (thing("track-2", FALLS, 0.2, applied=False), where(5, 6))
        ),
        model((thing("model-0", FALLS, noun="cup"), where(10, 15))),
    )
    check_whole(both)
    assert said(both) == [
        ("track-1", "track-1", STAYS),
        ("track-2", "track-2", FALLS),
        ("model-0", "cup", FALLS),
    ]
    assert both.plan.notes[2:] == (
        "track-1 stays: found by its motion; the model does not mention it",
        "cup falls: said by the model; motion does not show it",
    )
    assert set(both.masks) == {"track-1", "track-2", "model-0"}


def test_what_the_user_said_wins_over_the_model() -> None:
    both = joined(
        motion((thing("track-1", FALLS, 1.0), where(0, 5))),
        model((thing("track-1", STAYS, 0.9), where(0, 5))),
    )
    (one,) = both.plan.affected
    assert (one.action, one.confidence) == (FALLS, 1.0)
    assert both.plan.notes[-1] == "track-1 falls: said by the user; the model says it stays"


def test_things_that_touch_are_two() -> None:
    both = joined(
        motion((thing("track-1", STAYS), where(0, 10))), model((thing("model-0", STAYS), where(8, 18)))
    )
    assert len(both.plan.affected) == 2


def test_the_scenes_name_says_more_than_the_place() -> None:
    """Of two that a model names the one with the track's own name is it, and no name stands there twice."""
    both = joined(
        motion((thing("track-1", STAYS), where(0, 10))),
        model(
            (thing("model-0", STAYS, noun="saucer"), where(0, 9)),
            (thing("track-1", STAYS, noun="cup"), where(0, 3)),
        ),
    )
    check_whole(both)
    assert said(both) == [("track-1", "cup", STAYS), ("model-0", "saucer", STAYS)]


def test_light_in_one_place_is_one_however_coarsely_it_is_told() -> None:
    both = joined(
        motion((thing("light", VANISHES), where(4, 8))),
        model(
            (thing("model-0", VANISHES, noun="shadow"), where(0, 20)),
            (thing("model-1", VANISHES, noun="reflection"), where(6, 9)),
            (thing("model-2", VANISHES, noun="glow"), where(15, 20)),
        ),
    )
    check_whole(both)
    assert said(both) == [("light", "shadow", VANISHES), ("model-2", "glow", VANISHES)]
    assert (both.masks["light"] == where(4, 8)).all()


def test_light_on_a_thing_is_not_that_thing() -> None:
    both = joined(
        motion((thing("light", VANISHES), where(0, 9))), model((thing("model-0", STAYS), where(0, 9)))
    )
    assert [one.action for one in both.plan.affected] == [VANISHES, STAYS]


def test_what_the_model_only_offers_agrees_with_nothing() -> None:
    whole = thing("model-0", STAYS, 0.9, "everything", applied=False)
    ours = (thing("track-1", STAYS, 0.8), where(0, 20))
    for mask in (None, where(0, 20)):
        both = joined(motion(ours), model((whole, mask)))
        check_whole(both)
        assert [(one.noun, one.applied) for one in both.plan.affected] == [
            ("track-1", True),
            ("everything", False),
        ]
        assert both.plan.affected[0].confidence == 0.8


def test_what_the_model_names_without_pixels_is_kept() -> None:
    both = joined(motion(), model((thing("model-0", FALLS, applied=False), None)))
    assert [one.applied for one in both.plan.affected] == [False]
    assert both.masks == {}


def test_of_nothing_comes_nothing() -> None:
    for both in (joined(motion(), model()), told_by_model(motion(), model())):
        assert (both.plan.affected, dict(both.masks), both.belongings) == ((), {}, None)


def test_the_whole_is_as_sure_as_its_least_sure_part() -> None:
    ours = [(thing("track-1", STAYS, 0.9), where(0, 3)), (thing("track-2", STAYS, 0.6), where(4, 6))]
    assert joined(motion(*ours), model(confidence=0.95)).plan.confidence == 0.6
    offered = (thing("model-0", STAYS, 0.1, applied=False), None)
    assert joined(motion(*ours), model(offered)).plan.confidence == 0.6
    assert joined(motion(), model(confidence=0.4)).plan.confidence == 0.4


@pytest.mark.parametrize("join", [joined, told_by_model])
def test_what_goes_with_the_object_is_the_models_to_say(join: Any) -> None:
    theirs = model()
    hat = where(2, 3)
    assert join(motion(), Reasoning(theirs.plan, {}, hat)).belongings is hat


def test_a_model_alone_is_followed_but_for_what_the_user_said() -> None:
    both = told_by_model(
        motion(
            (thing("track-1", FALLS, 1.0), where(0, 5)),
            (thing("track-2", STAYS, 0.9), where(6, 9)),
            (thing("hint-0", VANISHES, 1.0), where(15, 18)),
        ),
        model(
            (thing("track-1", STAYS, 0.9, "cup"), where(0, 4)),
            (thing("model-1", GOES_ON, 0.7, "jug"), where(10, 14)),
            (thing("model-2", VANISHES, 0.7, "shadow"), where(14, 19)),
        ),
    )
    check_whole(both)
    assert said(both) == [
        ("track-1", "track-1", FALLS), ("hint-0", "hint-0", VANISHES), ("model-1", "jug", GOES_ON)
    ]  # fmt: skip
    assert both.plan.reasoner == "openai"
    assert (both.masks["track-1"] == where(0, 5)).all()
    assert set(both.masks) == {"track-1", "hint-0", "model-1"}
