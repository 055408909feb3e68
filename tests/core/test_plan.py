import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aftermath.core import Action, AffectedObject, Belonging, Box, Category, PathPoint, Plan
from aftermath.errors import InputError

WIDTH, HEIGHT, NUM = 640, 360, 50


def read(text: str) -> Plan:
    return Plan.from_json(text, width=WIDTH, height=HEIGHT, num_frames=NUM)


def load(path: Path) -> Plan:
    return Plan.load(path, width=WIDTH, height=HEIGHT, num_frames=NUM)


words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=20)
tenths = st.integers(-2000, 8000).map(lambda n: n / 10)  # files hold tenths of a pixel
shares = st.integers(0, 1000).map(lambda n: n / 1000)


@st.composite
def boxes(draw) -> Box:
    x, y = draw(st.integers(0, 6000)), draw(st.integers(0, 3000))
    return Box(x / 10, y / 10, (x + draw(st.integers(1, 400))) / 10, (y + draw(st.integers(1, 400))) / 10)


@st.composite
def affected(draw, name: str) -> AffectedObject:
    first = draw(st.integers(0, NUM - 1))
    frames = draw(st.lists(st.integers(0, NUM - 1), unique=True, max_size=5))
    return AffectedObject(
        id=name,
        noun=draw(words),
        action=draw(st.sampled_from(Action)),
        why=draw(words),
        confidence=draw(shares),
        frames=(first, draw(st.integers(first + 1, NUM))),
        category=draw(st.sampled_from(Category)),
        box=draw(st.none() | boxes()),
        path=tuple(PathPoint(t, draw(tenths), draw(tenths)) for t in frames),
        directed=draw(st.booleans()),
        applied=draw(st.booleans()),
    )


@st.composite
def plans(draw) -> Plan:
    names = draw(st.lists(st.text("abcdef-0123", min_size=1, max_size=6), unique=True, max_size=4))
    return Plan(
        WIDTH,
        HEIGHT,
        NUM,
        tuple(draw(affected(name)) for name in names),
        tuple(draw(st.lists(st.builds(Belonging, words, words), max_size=3))),
        draw(words),
        draw(shares | st.just(1.0)),
        draw(words),
        tuple(draw(st.lists(words, max_size=3))),
    )


@settings(max_examples=150)
@given(plans())
def test_a_plan_survives_its_file(plan):
    assert read(plan.to_json()) == plan


@settings(max_examples=60)
@given(plans())
def test_a_plan_is_written_in_the_references_keys(plan):
    file = json.loads(plan.to_json())
    assert {"integral_belongings", "affected_objects", "scene_description", "confidence"} <= file.keys()
    rows, cols = 8, 15
    for thing, written in zip(plan.affected, file["affected_objects"], strict=True):
        assert {"noun", "category", "why", "will_move", "first_appears_frame"} <= written.keys()
        assert written["will_move"] == (thing.action in (Action.FALLS, Action.GOES_ON))
        for point in written.get("trajectory_path", []):
            assert 0 <= point["grid_row"] < rows and 0 <= point["grid_col"] < cols
        for at in written.get("grid_localizations", []):
            assert at["grid_regions"]
            assert all(0 <= cell["row"] < rows and 0 <= cell["col"] < cols for cell in at["grid_regions"])


@settings(max_examples=60)
@given(plans())
def test_applied_and_offered_share_out_the_findings(plan):
    assert sorted(t.id for t in plan.applied + plan.offered) == sorted(t.id for t in plan.affected)
    assert all(t.applied for t in plan.applied) and not any(t.applied for t in plan.offered)


REFERENCE = {
    "edit_instruction": "remove the hand",
    "integral_belongings": [{"noun": "ring", "why": "worn"}, "watch"],
    "affected_objects": [
        {
            "noun": "cup",
            "category": "physical",
            "why": "held",
            "will_move": True,
            "first_appears_frame": 5,
            "movement_description": "falls",
            "object_size_grids": {"rows": 2, "cols": 1},
            "trajectory_path": [
                {"frame": 5, "grid_row": 2, "grid_col": 4},
                {"frame": 20, "grid_row": 6, "grid_col": 4},
            ],
        },
        {
            "noun": "ball",
            "will_move": False,
            "currently_moving": True,
            "should_have_stayed": True,
            "original_position_grid": {"row": 3, "col": 7},
        },
        {"noun": "train", "will_move": True, "currently_moving": True},
        {
            "noun": "shadow",
            "category": "visual_artifact",
            "grid_localizations": [
                {"frame": 0, "grid_regions": [{"row": 5, "col": 2}, {"row": 5, "col": 3}]}
            ],
        },
    ],
    "scene_description": "a table",
    "confidence": 0.9,
}


def test_the_references_file_is_read():
    plan = read(json.dumps(REFERENCE))
    cup, ball, train, shadow = plan.affected
    assert [t.action for t in plan.affected] == [Action.FALLS, Action.STAYS, Action.GOES_ON, Action.VANISHES]
    assert plan.belongings == (Belonging("ring", "worn"), Belonging("watch"))
    assert (plan.scene_description, plan.confidence) == ("a table", 0.9)
    assert cup.frames == (5, NUM) and cup.directed
    assert cup.path == (PathPoint(5, 202.5, 112.5), PathPoint(20, 202.5, 292.5))  # cells of 45 pixels
    assert cup.box == Box(180, 67.5, 225, 157.5)
    assert ball.box == Box(315, 135, 360, 180) and not ball.path
    assert train.box is None
    assert shadow.category is Category.VISUAL_ARTIFACT and shadow.box == Box(90, 225, 180, 270)
    assert len({t.id for t in plan.affected}) == 4 and plan.applied == plan.affected
    assert read(plan.to_json()) == plan  # once read, it is ours


@pytest.mark.parametrize(
    "text",
    ["", "no json", "[]", "{}", '{"affected_objects": 3}', '{"affected_objects": [{}]}',
     '{"affected_objects": [{"noun": "a", "action": "explodes"}]}',
     '{"affected_objects": [], "confidence": 7}',
     '{"affected_objects": [], "size": [10, 10]}',
     '{"affected_objects": [], "num_frames": 3}',
     '{"affected_objects": [{"noun": "a", "id": "x"}, {"noun": "b", "id": "x"}]}',
     '{"affected_objects": [{"noun": "a", "path": [{"frame": 50, "x": 1, "y": 1}]}]}'],
)  # fmt: skip
def test_what_is_no_plan_is_refused(text):
    with pytest.raises(InputError):
        read(text)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"plan\.json"):
        load(tmp_path / "plan.json")
    (tmp_path / "plan.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"plan\.json"):
        load(tmp_path / "plan.json")


def test_frames_past_the_end_are_cut():
    thing = {"noun": "a", "id": "a", "frames": [-4, 900]}
    (found,) = read(json.dumps({"affected_objects": [thing]})).affected
    assert found.frames == (0, NUM)
