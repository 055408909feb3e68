"""What a model answers is read where it can be, cleaned, and never trusted further than cells go."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aftermath.core import Action, Category, Grid, Plan
from aftermath.errors import InputError
from aftermath.reason.answer import LARGEST_ANSWER, answer_schema, read_answer

SIZE = {"width": 160, "height": 120, "num_frames": 12}  # a grid of 8 rows and 11 columns
GRID = Grid(160, 120)


def read(answer: str | dict[str, Any]) -> Plan:
    return read_answer(answer if isinstance(answer, str) else json.dumps(answer), **SIZE, reasoner="m")


def cells(*places: tuple[int, int], frame: int = 0) -> dict[str, Any]:
    return {"frame": frame, "grid_regions": [{"row": row, "col": col} for row, col in places]}


def cup(**more: Any) -> dict[str, Any]:
    seen = [cells((2, 3), (2, 4))]
    return {
        "noun": "blue cup", "category": "physical", "why": "held", "will_move": True, "grid_localizations": seen
    } | more  # fmt: skip


def answer(*things: Any, **more: Any) -> dict[str, Any]:
    return {
        "integral_belongings": [], "affected_objects": list(things),
        "scene_description": "A table.", "confidence": 0.9,
    } | more  # fmt: skip


GOOD = answer(cup())
PLAN = read(GOOD)


def test_a_plain_answer_is_read() -> None:
    (thing,) = PLAN.affected
    assert (thing.id, thing.noun, thing.action, thing.applied) == ("model-0", "blue cup", Action.FALLS, True)
    assert [seen.frame for seen in thing.sightings] == [0]
    assert thing.sightings[0].boxes == (GRID.box_of(2, 3), GRID.box_of(2, 4))
    assert (PLAN.scene_description, PLAN.confidence, PLAN.reasoner) == ("A table.", 0.9, "m")
    assert PLAN.notes == ()


@pytest.mark.parametrize(
    "around",
    [
        "```json\n{}\n```",
        "```\n{}```",
        "Sure! The {{cup}} falls, see {{row: 3}}:\n{}\nHope that helps {{ :) }}.",
        'The cup is 5" tall {{"a": 1}} {}',
        "<think>{{\"affected_objects\": [}}</think>{}",
        "\ufeff \r\n\t{}\x00",
        "{}{{",
    ],
)  # fmt: skip
def test_what_stands_round_it_does_not_matter(around: str) -> None:
    assert read(around.format(json.dumps(GOOD))) == PLAN
    assert read(around.format(json.dumps(GOOD, indent=2))) == PLAN


def test_trailing_commas_do_not_matter_and_commas_in_words_stay() -> None:
    text = json.dumps(answer(cup(why='a, b ,] and , } \\" ,]')), indent=1)
    spoilt = re.sub(r"(\n\s*[\]}])", r" ,\1", text)
    assert spoilt != text
    with pytest.raises(ValueError):
        json.loads(spoilt)
    assert read(spoilt).affected[0].why == 'a, b ,] and , } \\" ,]'
    assert read(f'It is 5" high: {spoilt}') == read(text)


def test_line_breaks_inside_strings_are_read() -> None:
    assert read(json.dumps(answer(cup(why="a@b"))).replace("@", "\n")).affected[0].why == "a b"


def test_of_two_answers_the_last_with_affected_things_counts() -> None:
    first, last = json.dumps(answer(cup(noun="red ball"))), json.dumps(GOOD)
    assert read(f'{first} No, wait. {last} {{"confidence": 0.1}}') == PLAN


@pytest.mark.parametrize(
    "wrong", ["", "  \n", "I cannot help with that.", "{", "[]", "null", '"{}"', "{}", '{"a": 1}']
)
def test_what_is_no_answer_is_refused(wrong: str) -> None:
    with pytest.raises(InputError, match="answer"):
        read(wrong)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_half_an_answer_is_refused(share: float) -> None:
    text = json.dumps(GOOD)
    with pytest.raises(InputError):
        read(text[: int(share * len(text))])


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (answer(cup(noun=3)), "affected_objects[0].noun"),
        (answer(cup(noun=" \x1b[1m\x07 ")), "affected_objects[0].noun"),
        (answer({"category": "physical"}), "affected_objects[0].noun"),
        (answer("cup"), "affected_objects[0]"),
        (answer(cup(category="magic")), "affected_objects[0].category"),
        (answer(cup(will_move="perhaps")), "affected_objects[0].will_move"),
        (answer(cup(grid_localizations=[{"frame": "x", "grid_regions": []}])), "frame"),
        (answer(cup(grid_localizations=[{"frame": 0, "grid_regions": [{"row": 1.5, "col": 0}]}])), "row"),
        (answer(cup(grid_localizations="all")), "grid_localizations"),
        (answer(cup(confidence=1.2)), "confidence"),
        (answer(cup(confidence=-0.1)), "confidence"),
        (answer(cup(confidence="high")), "confidence"),
        (answer(confidence=7), "confidence"),
        (answer(confidence=float("nan")), "confidence"),
        (answer(affected_objects={"noun": "cup"}), "affected_objects"),
        (answer(affected_objects=None), "affected_objects"),
        (answer(scene_description=["x"]), "scene_description"),
        (answer(integral_belongings=7), "integral_belongings"),
        (answer(cup(noun="\ud800")), "answer"),
    ],
)  # fmt: skip
def test_wrong_types_are_refused_in_one_line_that_names_the_place(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError) as refused:
        read(wrong)
    assert named in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "plan.json" not in str(refused.value)  # which a model does not have


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 39_000,
        '{"a":' * 50_000,
        '{"affected_objects":' + "[" * 900 + "]" * 900 + "}",
        '{"affected_objects":' + '[{"affected_objects":' * 5_000 + "1" + "}]" * 5_000 + "}",
        '{"affected_objects": [], "confidence":' + "[" * 90_000 + "]" * 90_000 + "}",
        '"' + '\\"' * 90_000,
        '{"a":"' + '\\"' * 90_000,
        '{"' * 95_000,
        "{" * 195_000,
        '{"a":' * 900 + "[" + "1," * 90_000,
        '{"a":' + "1" * 190_000,
        "," + " " * 190_000,
        "\x1b[" * 90_000,
        "x" * 10_000_000,
        json.dumps(GOOD) + " " * 10_000_000,
    ],
    ids=range(16),
)  # fmt: skip
def test_monsters_are_refused(text: str) -> None:
    with pytest.raises(InputError) as refused:
        read(text)
    assert len(str(refused.value)) < 300


def test_an_answer_may_be_long_but_not_endless() -> None:
    text = json.dumps(GOOD)
    assert read(text + "." * (LARGEST_ANSWER - len(text))) == PLAN
    with pytest.raises(InputError, match=str(LARGEST_ANSWER)):
        read(text + "." * (LARGEST_ANSWER + 1 - len(text)))


def test_nulls_stand_for_nothing() -> None:
    empty = {
        "trajectory_path": None,
        "original_position_grid": None,
        "object_size_grids": None,
        "confidence": None,
    }
    said = answer(
        cup(**empty, grid_localizations=[cells((2, 3), (2, 4)), {"frame": 3, "grid_regions": None}, None])
    )
    assert read(said | {"integral_belongings": None}) == PLAN
    hat = {"noun": "hat", "why": None, "grid_localizations": None}
    assert [b.noun for b in read(answer(cup(), integral_belongings=[hat, None])).belongings] == ["hat"]


def test_cells_and_frames_outside_are_taken_for_the_nearest() -> None:
    thing = cup(
        first_appears_frame=10**9,
        grid_localizations=[
            cells((-3, 99), frame=-7),
            cells((10**30, -(10**30)), frame=4_000_000_000_000),
        ],
        trajectory_path=[{"frame": -1, "grid_row": 99, "grid_col": 99}],
    )
    (read_thing,) = read(answer(thing)).affected
    first, last = read_thing.sightings
    assert (first.frame, first.boxes) == (0, (GRID.box_of(0, GRID.cols - 1),))
    assert (last.frame, last.boxes) == (11, (GRID.box_of(GRID.rows - 1, 0),))
    assert read_thing.frames == (11, 12)
    assert [point.frame for point in read_thing.path] == [0]


@pytest.mark.parametrize("rows", [float("nan"), float("inf"), -2, 0, "two", [1]])
def test_a_size_that_says_nothing_is_left_out(rows: Any) -> None:
    way = [{"frame": 0, "grid_row": 3, "grid_col": 3}]
    size = {"rows": rows, "cols": 1}
    (thing,) = read(answer(cup(grid_localizations=[], trajectory_path=way, object_size_grids=size))).affected
    assert thing.box is not None
    assert thing.box.contains(*GRID.box_of(3, 3).center)
    assert thing.box.width < 20
    assert Plan.from_json(read(answer(cup(trajectory_path=way, object_size_grids=size))).to_json(), **SIZE)


@pytest.mark.parametrize(
    ("said", "read_as"),
    [
        ("red \x1b[31mball\x1b[0m", "red ball"),
        ("\x1b]0;owned\x07ball", "ball"),
        ("ball\x1b]8;;http://x\x1b\\", "ball"),
        ("\x9b2Jball", "ball"),
        ("ba\x00ll\r\nof \u202eyarn\u2066", "ba ll of yarn"),
        ("<img src=x onerror=alert(1)>ball</b>", "ball"),
        ("<script>alert(1)</script>", "alert(1)"),
        ("cup < 3 > 2", "cup < 3 > 2"),
        ("x" * 5_000, "x" * 59 + "…"),
    ],
)
def test_names_are_one_plain_short_line(said: str, read_as: str) -> None:
    plan = read(answer(cup(noun=said, why=said), scene_description=said, integral_belongings=[said]))
    assert plan.affected[0].noun == plan.belongings[0].noun == read_as
    for text, longest in ((plan.affected[0].why, 300), (plan.scene_description, 600)):
        assert text.isprintable()
        assert len(text) <= longest
        assert text.startswith(read_as[:-1])


def test_of_many_things_five_count_and_a_note_says_so() -> None:
    hats = [{"noun": f"hat {n}"} for n in range(9)]
    plan = read(answer(*(cup(noun=f"cup {n}") for n in range(8)), integral_belongings=hats))
    assert [thing.noun for thing in plan.affected] == [f"cup {n}" for n in range(5)]
    assert [b.noun for b in plan.belongings] == ["hat 0", "hat 1", "hat 2"]
    assert plan.notes == ("the model named 8 affected things; 3 were left out",)


EVERYWHERE = [(row, col) for row in range(GRID.rows) for col in range(GRID.cols)]


@pytest.mark.parametrize("category", list(Category))
def test_what_covers_the_picture_is_offered_not_applied(category: Category) -> None:
    flood = cup(
        noun="everything", category=category, grid_localizations=[cells((1, 1)), cells(*EVERYWHERE, frame=5)]
    )
    plan = read(answer(flood, cup()))
    assert [thing.applied for thing in plan.affected] == [False, True]
    assert plan.notes == ("the everything would cover most of the picture: offered, not acted on",)


def test_a_thing_as_large_as_the_picture_is_offered_not_applied() -> None:
    way = [{"frame": 0, "grid_row": 4, "grid_col": 5}]
    huge = cup(grid_localizations=[], trajectory_path=way, object_size_grids={"rows": 1e300, "cols": 1e300})
    assert not read(answer(huge)).affected[0].applied


def test_a_belonging_that_covers_the_picture_does_not_go_with_the_object() -> None:
    hats = [{"noun": "scene", "grid_localizations": [cells(*EVERYWHERE)]}, {"noun": "hat"}, {"noun": "<b>"}]
    assert [b.noun for b in read(answer(integral_belongings=hats)).belongings] == ["hat"]


def test_what_only_we_may_say_is_ignored() -> None:
    ours = {
        "id": "track-1", "action": "vanishes", "applied": False, "directed": True, "frames": [3, 4],
        "box": [0, 0, 160, 120], "path": [{"frame": 99, "x": 1, "y": 1}], "sighted": False,
    }  # fmt: skip
    around = {
        "size": [1, 1], "num_frames": 3, "grid_rows": 1, "grid_cols": 1, "reasoner": "motion", "notes": ["said"]
    }  # fmt: skip
    assert read(answer(cup(**ours), **around)) == PLAN


def test_light_is_an_artifact_whatever_its_kind_was_said_to_be() -> None:
    (light,) = read(answer(cup(noun="shadow", category="visual_artifact"))).affected
    assert (light.action, light.category) == (Action.VANISHES, Category.VISUAL_ARTIFACT)


@pytest.mark.parametrize(
    ("moving", "stayed", "will", "action"),
    [
        (False, False, True, Action.FALLS),
        (True, True, False, Action.STAYS),
        (True, False, True, Action.GOES_ON),
        (False, False, False, Action.STAYS),
    ],
)
def test_the_references_flags_say_what_a_thing_does(
    moving: bool, stayed: bool, will: bool, action: Action
) -> None:
    said = {"currently_moving": moving, "should_have_stayed": stayed, "will_move": will}
    assert read(answer(cup(**said))).affected[0].action is action


def test_the_schema_asks_for_what_is_read_and_for_nothing_of_ours() -> None:
    schema = answer_schema()
    assert set(schema["properties"]) == set(GOOD)
    thing = schema["$defs"]["_Affected"]["properties"]
    assert not {"id", "action", "applied", "directed", "box", "path", "frames", "sighted"} & set(thing)
    references = set(re.findall(r'"#/\$defs/(\w+)"', json.dumps(schema)))
    assert references <= set(schema["$defs"])


@settings(derandomize=True)
@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    for whole in (text, f'{{"affected_objects": {text}', json.dumps({"affected_objects": [{"noun": text}]})):
        try:
            plan = read(whole)
        except InputError as error:
            assert str(error)
        else:
            assert all(thing.noun.isprintable() and thing.noun for thing in plan.affected)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(sorted(
        ["noun", "row", "col", "frame", "grid_regions", "why", "rows", "cols", "grid_row", "grid_col", "id", "box"]
    )), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


THEIR_KEYS = sorted(answer_schema()["$defs"]["_Affected"]["properties"])
ODD_THINGS = st.dictionaries(st.sampled_from(THEIR_KEYS), JSON, max_size=6).map(lambda thing: cup() | thing)


@settings(derandomize=True)
@given(
    st.fixed_dictionaries(
        {"affected_objects": JSON | st.lists(ODD_THINGS, max_size=3)},
        optional={"integral_belongings": JSON, "confidence": JSON},
    )
)
def test_any_json_is_read_or_refused_and_what_is_read_can_be_written(said: dict[str, Any]) -> None:
    try:
        plan = read(said)
    except InputError:
        return
    again = Plan.from_json(plan.to_json(), **SIZE)
    assert [thing.id for thing in again.affected] == [thing.id for thing in plan.affected]


WORDS = st.text(st.characters(exclude_characters='{}"', exclude_categories=["Cs"]), max_size=40)
PLACES = st.tuples(st.integers(0, 7), st.integers(0, 10))
THINGS = st.builds(
    lambda noun, light, places: cup(
        noun=noun, category="visual_artifact" if light else "physical", grid_localizations=[cells(*places)]
    ),
    st.sampled_from(["ball", "the ] cup, red", 'a "sign"', "Tür"]),
    st.booleans(),
    st.lists(PLACES, min_size=1, max_size=5),
)


@settings(derandomize=True)
@given(st.lists(THINGS, max_size=4), WORDS, WORDS, st.sampled_from([None, 2]))
def test_any_good_answer_is_read_the_same_whatever_prose_is_round_it(
    things: list[dict[str, Any]], before: str, after: str, indent: int | None
) -> None:
    text = json.dumps(answer(*things), indent=indent, ensure_ascii=False)
    assert read(before + text + after) == read(text)
