import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aftermath.core import Action, AffectedObject, Belonging, Box, Category, Grid, PathPoint, Plan, Sighting
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
def sightings(draw) -> tuple[Sighting, ...]:
    cells = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 13)), min_size=1, max_size=4, unique=True)
    frames = sorted(draw(st.lists(st.integers(0, NUM - 1), unique=True, max_size=3)))
    grid = Grid(WIDTH, HEIGHT)
    return tuple(Sighting(t, tuple(grid.box_of(*cell) for cell in sorted(draw(cells)))) for t in frames)


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
        sightings=draw(sightings()),
    )


@st.composite
def plans(draw) -> Plan:
    names = draw(st.lists(st.text("abcdef-0123", min_size=1, max_size=6), unique=True, max_size=4))
    return Plan(
        WIDTH,
        HEIGHT,
        NUM,
        tuple(draw(affected(name)) for name in names),
        tuple(draw(st.lists(st.builds(Belonging, words, words, sightings()), max_size=3))),
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
    rows, cols = 8, 14
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
    assert cup.path == (PathPoint(5, 205, 112.5), PathPoint(20, 205, 292.5))  # 14 x 8 cells
    assert cup.box is not None
    assert (cup.box.width, cup.box.height, cup.box.center) == (
        pytest.approx(640 / 14, abs=0.1),
        90,
        (205, 112.5),
    )
    assert ball.box == Box(320, 135, 365, 180) and not ball.path
    assert train.box is None
    assert shadow.category is Category.VISUAL_ARTIFACT and shadow.box == Box(91, 225, 182, 270)
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


def test_a_models_cells_and_frames_outside_are_taken_for_the_nearest():
    thing = {
        "noun": "cup",
        "will_move": True,
        "first_appears_frame": 900,
        "trajectory_path": [
            {"frame": 900, "grid_row": 90, "grid_col": 90},
            {"frame": -3, "grid_row": -1, "grid_col": -1},
        ],
        "grid_localizations": [{"frame": 77, "grid_regions": [[8, 14], {"row": -1, "col": 3}]}],
    }
    (found,) = read(json.dumps({"affected_objects": [thing]})).affected
    grid = Grid(WIDTH, HEIGHT)
    assert found.path == (
        PathPoint(0, *grid.box_of(0, 0).center),
        PathPoint(NUM - 1, *grid.box_of(7, 13).center),
    )
    assert found.sightings == (Sighting(NUM - 1, (grid.box_of(0, 3), grid.box_of(7, 13))),)


def test_the_older_dialect_is_read():
    cells = [[6, 4], [6, 5], [7, 4], [7, 5]]
    file = {
        "primary_subject": {"noun": "person", "position": [[1, 3]]},
        "integral_belongings": [],
        "affected_subjects": [
            {"noun": "shadow", "why": "cast", "current_position": [[5, 3], [5, 4]], "will_move": False},
            {"noun": "bed", "current_position": cells, "will_move": True, "final_position": cells},
            {"noun": "cup", "current_position": [[1, 1]], "will_move": True, "final_position": [[7, 1]]},
        ],
        "scene_description": "a gym",
        "confidence": 0.95,
        "grid_rows": 8,
        "grid_cols": 14,
    }
    plan = read(json.dumps(file))
    shadow, bed, cup = plan.affected
    assert (shadow.action, bed.action, cup.action) == (Action.VANISHES, Action.STAYS, Action.FALLS)
    assert shadow.category is Category.VISUAL_ARTIFACT and bed.category is Category.PHYSICAL
    assert bed.box == Box(182, 270, 274, 360) and not cup.path  # how it falls is for us to find
    assert read(plan.to_json()) == plan
    again = read(plan.to_json(older=True))
    assert [(t.noun, t.action, t.box) for t in again.affected[:2]] == [
        (t.noun, t.action, t.box) for t in plan.affected[:2]
    ]
    moved = AffectedObject(
        "a", "cup", Action.FALLS, "held", 0.9, (0, NUM), box=Box(50, 50, 90, 90),
        path=(PathPoint(0, 70, 70), PathPoint(20, 70, 340)),
    )  # fmt: skip
    written = json.loads(plan.with_affected((moved,)).to_json(older=True))["affected_subjects"][0]
    assert written["current_position"] == [[1, 1]] and written["final_position"] == [[7, 1]]
    assert read(plan.with_affected((moved,)).to_json(older=True)).affected[0].action is Action.FALLS
