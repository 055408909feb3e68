"""Whole runs that ask a language model: what comes of a good answer, and of every way in which none comes."""

from __future__ import annotations

import itertools
import json
import shutil
import socket
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
from vlm_server import Reply, VlmServer, serving

import aftermath
from aftermath.core import Box, Grid, Level
from aftermath.media.masks import read_quadmask
from aftermath.media.video import write_rgb_video
from aftermath.reason import clients
from conftest import Cli
from scenes import BLUE, GREEN, RED, Drawn, Thing, line

pytest.importorskip("openai", reason="the extra vlm is not installed")
pytest.importorskip("google.genai", reason="the extra vlm is not installed")

KEY = "sk-proj-0123456789-secret"
WIDTH, HEIGHT, NUM = 160, 120, 16
GRID = Grid(WIDTH, HEIGHT)
BLUE_BOX, POST_BOX = Box(84, 49, 106, 71), Box(26, 12, 50, 36)
BOX = "0,48,23,73"
DRAWN = Drawn(
    {
        "post": Thing(line((0, 38, 24)), GREEN, (24, 24), round=False, shadow=0),
        "target": Thing(line((0, 95, 60), (7, 95, 60), (15, 150, 60), num=NUM), BLUE, (22, 22)),
        "striker": Thing(line((0, 10, 60), (7, 73, 60), (15, 80, 60), num=NUM), RED, (22, 22)),
    },
    num=NUM,
    size=(WIDTH, HEIGHT),
)
FALLS_BACK = "; what moves alone decided what is affected (--fresh asks again)"
Run = Callable[..., CompletedProcess[str]]


@pytest.fixture(scope="module")
def by_motion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the clip, and ``mask.mkv`` of a run that asked nobody: a red disc hits a blue one."""
    folder = tmp_path_factory.mktemp("motion")
    write_rgb_video(folder / "clip.mp4", iter(DRAWN.clip.frames), Fraction(24), crf=8)
    found = aftermath.mask(folder / "clip.mp4", folder / "mask.mkv", boxes=[BOX]).plan
    assert [(one.id, one.action) for one in found.affected] == [("light", "vanishes"), ("track-1", "stays")]
    return folder


@pytest.fixture
def folder(by_motion: Path, tmp_path: Path) -> Path:
    """The clip, and a run folder for ``out.mkv`` in which the object and the scene are known already."""
    shutil.copy(by_motion / "clip.mp4", tmp_path)
    stages = tmp_path / "out.mkv.aftermath" / "stages"
    stages.mkdir(parents=True)
    for name in ("segment", "scene"):
        for file in (by_motion / "mask.mkv.aftermath" / "stages").glob(f"{name}.*"):
            shutil.copy(file, stages)
    return tmp_path


@pytest.fixture
def _settled(tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A fresh account with a key, and no patience between tries."""
    for name in ("GOOGLE_API_KEY", "OPENAI_BASE_URL"):
        environment.pop(name, None)
        monkeypatch.delenv(name, raising=False)
    environment |= {
        "AFTERMATH_VLM_KEY": KEY, "GEMINI_API_KEY": KEY, "XDG_CACHE_HOME": str(tmp_path / "home" / ".cache")
    }  # fmt: skip
    monkeypatch.setattr(clients, "_DELAY_S", 0.01)
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)


@pytest.fixture
def run(folder: Path, _settled: None, cli_here: Cli) -> Run:
    """``aftermath mask`` of the clip: ``run(reasoner, server, *others)``. Whatever comes, it ends plainly."""

    def ask(reasoner: str, server: VlmServer | None, *others: object) -> CompletedProcess[str]:
        where: list[object] = []
        if server is not None:
            where = ["--vlm-url", server.root if reasoner.endswith("gemini") else server.openai_url]
        done = cli_here(
            "mask", folder / "clip.mp4", "--box", BOX, "-o", folder / "out.mkv", "--reasoner", reasoner,
            *where, *others,
        )  # fmt: skip
        for text in (done.stdout, done.stderr):
            assert "Traceback" not in text
            assert KEY not in text
        for file in (*folder.rglob("*.json"), *folder.rglob("*.txt"), *folder.rglob("*.md")):
            assert KEY not in file.read_text("utf-8", errors="replace"), file
        assert not (folder / "out.mkv.aftermath" / "scratch").exists()
        return done

    return ask


def places(box: Box, *frames: int) -> list[dict[str, Any]]:
    regions = [{"row": row, "col": col} for row, col in GRID.cells_of(box)]
    return [{"frame": t, "grid_regions": regions} for t in frames]


def ball(**more: Any) -> dict[str, Any]:
    """What a good model says of the blue disc."""
    row, col = GRID.cell_of(*BLUE_BOX.center)
    return {
        "noun": "blue ball", "category": "physical", "why": "it is hit", "will_move": False,
        "currently_moving": True, "should_have_stayed": True, "confidence": 0.5,
        "original_position_grid": {"row": row, "col": col}, "grid_localizations": places(BLUE_BOX, 0, 1),
    } | more  # fmt: skip


def said(*things: dict[str, Any], **more: Any) -> Reply:
    answer = {
        "integral_belongings": [], "affected_objects": list(things),
        "scene_description": "A blue ball on sand.", "confidence": 0.9,
    }  # fmt: skip
    return Reply(json.dumps(answer | more))


def levels(file: Path) -> np.ndarray:
    return np.stack(list(read_quadmask(file, expect=(NUM, HEIGHT, WIDTH))))


def record(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "out.mkv.aftermath" / "run.json").read_text())


def warnings(done: CompletedProcess[str]) -> list[str]:
    return done.stderr.splitlines()


FAULTS = {
    "busy": Reply(f"try later, {KEY}", 429, headers={"retry-after": "0.01"}),
    "broken": Reply(f"\x1b[31moops\n{KEY}", 500),
    "refused": Reply("too large", 400),
    "slow": Reply("{}", pause_s=30),
    "cut": Reply(said(ball()).text, cut=150),
    "empty": Reply(""),
    "prose": Reply("I see a ball and a wall."),
    "half": Reply(said(ball()).text[:200]),
    "untyped": said(ball(noun=7)),
    "deep": Reply('{"affected_objects":' + "[" * 50_000),
    "huge": Reply("x" * 3_000_000),
    "page": Reply(raw=b"<html>hotel</html>"),
    "silent": Reply(raw=b"{}"),
}


REASONERS = ("openai", "motion+gemini", "gemini", "motion+openai")


@pytest.mark.parametrize(("fault", "reasoner"), list(zip(FAULTS, itertools.cycle(REASONERS), strict=False)))
def test_where_no_answer_comes_motion_decides_and_one_line_says_so(
    by_motion: Path, folder: Path, run: Run, fault: str, reasoner: str
) -> None:
    timeout_s = 0.2 if fault == "slow" else 20
    with serving(FAULTS[fault]) as server:
        done = run(reasoner, server, "--vlm-timeout-s", timeout_s)
    assert done.returncode == 0
    (warning,) = warnings(done)
    assert warning.startswith(f"warning: {reasoner.removeprefix('motion+')}: ")
    assert warning.endswith(FALLS_BACK)
    assert (levels(folder / "out.mkv") == levels(by_motion / "mask.mkv")).all()
    assert "blue thing stays" in done.stdout
    assert record(folder)["reused"] == ["segment", "scene"]


@pytest.mark.parametrize("reasoner", ["openai", "motion+gemini"])
@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_only_the_user_can_mend_ends_the_run_and_loses_nothing(
    folder: Path, run: Run, status: int, reasoner: str
) -> None:
    with serving(Reply(f"no, {KEY}\n.", status)) as server:
        done = run(reasoner, server)
        assert done.returncode == 1
        assert done.stdout == ""
        assert len(server.questions) == 1
    (line,) = warnings(done)
    assert line.startswith(f"aftermath: {reasoner.removeprefix('motion+')}: it answered {status}")
    assert not (folder / "out.mkv").exists()
    with serving(said(ball())) as server:
        assert run(reasoner, server).returncode == 0
    assert record(folder)["reused"] == ["segment", "scene"]


def test_a_server_that_is_not_there_falls_back(by_motion: Path, folder: Path, run: Run) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    done = run("openai", None, "--vlm-url", url, "--vlm-model", "m")
    assert done.returncode == 0
    (warning,) = warnings(done)
    assert "refused" in warning
    assert (levels(folder / "out.mkv") == levels(by_motion / "mask.mkv")).all()


@pytest.mark.long
def test_a_fallback_stays_with_the_run_until_it_is_asked_afresh(
    by_motion: Path, folder: Path, run: Run
) -> None:
    """What was looked at is what is then acted on."""
    with serving(Reply("down", 500)) as server:
        first = run("motion+openai", server)
        asked = len(server.questions)
        server.replies[:] = [said(ball())]
        again = run("motion+openai", server)
        assert warnings(first) == warnings(again) and "--fresh asks again" in warnings(first)[0]
        assert len(server.questions) == asked
        assert record(folder)["reused"][:3] == ["segment", "scene", "reason"]
        assert (levels(folder / "out.mkv") == levels(by_motion / "mask.mkv")).all()
        done = run("motion+openai", server, "--fresh")
    assert (done.returncode, warnings(done)) == (0, [])
    assert "motion and the model agree" in done.stdout
    with serving(Reply("down", 500)) as server:  # at another address: another question
        assert len(warnings(run("motion+openai", server))) == 1
        assert record(folder)["reused"] == ["segment", "scene"]


def test_an_answer_is_reused_with_the_run(folder: Path, run: Run) -> None:
    with serving(said(ball())) as server:
        first = run("motion+openai", server)
        again = run("motion+openai", server)
        assert len(server.questions) == 1
        assert "reused    segment, scene, reason, regions" in again.stdout
        fresh = run("motion+openai", server, "--fresh")
        assert len(server.questions) == 2
    assert first.returncode == again.returncode == fresh.returncode == 0


@pytest.mark.parametrize("reasoner", ["motion+openai", "motion+gemini"])
def test_where_both_agree_the_lines_say_so(by_motion: Path, folder: Path, run: Run, reasoner: str) -> None:
    with serving(said(ball())) as server:
        done = run(reasoner, server)
    assert (done.returncode, warnings(done)) == (0, [])
    assert "  note      blue ball stays: motion and the model agree" in done.stdout
    assert "shadow of the object vanishes: found by its motion; the model does not mention it" in done.stdout
    found = {thing["noun"]: thing for thing in record(folder)["findings"]}
    assert found["blue ball"]["id"] == "track-1"
    assert found["blue ball"]["confidence"] > 0.95
    assert (levels(folder / "out.mkv") == levels(by_motion / "mask.mkv")).all()


def test_where_they_differ_motion_is_followed_and_the_line_says_so(folder: Path, run: Run) -> None:
    with serving(said(ball(will_move=True, currently_moving=False, should_have_stayed=False))) as server:
        done = run("motion+openai", server)
    assert "blue ball: motion says stays, and is followed; the model says falls" in done.stdout
    found = {thing["noun"]: thing for thing in record(folder)["findings"]}
    assert found["blue ball"]["action"] == "stays"


@pytest.mark.parametrize("reasoner", ["openai", "gemini"])
def test_a_model_alone_decides_alone(folder: Path, run: Run, reasoner: str) -> None:
    with serving(said(ball())) as server:
        done = run(reasoner, server)
    assert (done.returncode, warnings(done)) == (0, [])
    (thing,) = record(folder)["findings"]
    assert (thing["id"], thing["noun"], thing["action"]) == ("track-1", "blue ball", "stays")


def test_a_model_that_says_nothing_is_affected_is_believed_where_it_decides_alone(
    folder: Path, run: Run
) -> None:
    with serving(said()) as server:
        done = run("openai", server)
    assert (done.returncode, warnings(done)) == (0, [])
    assert record(folder)["findings"] == []
    assert (levels(folder / "out.mkv") == Level.PRIMARY).any()


def test_what_covers_everything_is_offered(by_motion: Path, folder: Path, run: Run) -> None:
    flood = places(Box(0, 0, WIDTH, HEIGHT), *range(NUM))
    everything = [
        ball(noun="everything", category=kind, grid_localizations=flood)
        for kind in ("physical", "visual_artifact")
    ]
    belongings = [{"noun": "everything", "grid_localizations": flood}]
    with serving(said(*everything, integral_belongings=belongings)) as server:
        done = run("motion+openai", server)
    assert done.returncode == 0
    assert "offered   everything" in done.stdout
    assert "would cover most of the picture: offered, not acted on" in done.stdout
    assert (levels(folder / "out.mkv") == levels(by_motion / "mask.mkv")).all()


def test_belongings_join_the_object(by_motion: Path, folder: Path, run: Run) -> None:
    post = {"noun": "green box", "why": "worn", "grid_localizations": places(POST_BOX, 0)}
    with serving(said(integral_belongings=[post, {"noun": "hat"}])) as server:
        done = run("openai", server)
    assert done.returncode == 0
    assert "hat, said to go with the object, was not found" in done.stdout
    rows, cols = POST_BOX.grown(-4).slices(WIDTH, HEIGHT)
    assert (levels(folder / "out.mkv")[:, rows, cols] == Level.PRIMARY).mean() > 0.9
    assert (levels(by_motion / "mask.mkv")[:, rows, cols] == Level.KEEP).all()


@pytest.mark.parametrize("reasoner", ["openai", "motion+gemini"])
def test_the_run_folder_holds_what_was_said(folder: Path, run: Run, reasoner: str) -> None:
    exchange = folder / "out.mkv.aftermath" / "vlm"
    exchange.mkdir()
    (exchange / "answer_9.txt").write_text("of an earlier run")
    with serving(Reply("hm"), said(ball())) as server:
        run(reasoner, server, "--vlm-model", "m7")
        url = server.root if "gemini" in reasoner else server.openai_url
    assert (exchange / "answer_0.txt").read_text() == "hm"
    assert "cannot be used" in (exchange / "complaint_0.txt").read_text()
    assert (exchange / "answer_1.txt").read_text() == said(ball()).text
    assert "8 rows and 11 columns" in (exchange / "question.md").read_text()
    asked = json.loads((exchange / "asked.json").read_text())
    assert asked == {"of": [reasoner.removeprefix("motion+"), url, "m7"], "video": "gemini" in reasoner}
    assert len(list(exchange.glob("frame_*.jpg"))) == 10
    assert (exchange / "object_0000.jpg").read_bytes()[:2] == b"\xff\xd8"
    assert not (exchange / "answer_9.txt").exists()


def test_several_models_without_a_name_are_listed(folder: Path, run: Run) -> None:
    with serving(said(ball()), models=("llava", "qwen")) as server:
        done = run("openai", server)
    assert done.returncode == 1
    (line,) = warnings(done)
    assert "--vlm-model must name a model; the server has: llava, qwen" in line


def test_a_result_is_painted_with_what_the_model_said(folder: Path, run: Run, cli_here: Cli) -> None:
    with serving(said(ball())) as server:
        run("motion+openai", server)
        done = cli_here(
            "remove", folder / "clip.mp4", "--box", BOX, "-o", folder / "out.mp4", "--engine", "draft",
            "--work", folder / "out.mkv.aftermath", "--reasoner", "motion+openai",
            "--vlm-url", server.openai_url,
        )  # fmt: skip
        assert len(server.questions) == 1
    assert (done.returncode, done.stderr) == (0, "")
    assert {"segment", "scene", "reason", "regions", "quadmask"} <= set(record(folder)["reused"])
    assert "blue ball stays" in done.stdout


def test_one_run_in_a_process_of_its_own(
    folder: Path, environment: dict[str, str], _settled: None, cli: Cli
) -> None:
    """With warnings as errors: nothing is left open, nothing old is used."""
    with serving(said(ball())) as server:
        done = cli(
            "remove", folder / "clip.mp4", "--box", BOX, "-o", folder / "out.mp4", "--engine", "draft",
            "--work", folder / "out.mkv.aftermath",
            "--reasoner", "motion+gemini", "--vlm-url", server.root, "--json",
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    notes = json.loads(done.stdout)["notes"]
    assert "blue ball stays: motion and the model agree" in notes


@pytest.mark.parametrize("reasoner", ["openai", "gemini", "motion+openai", "motion+gemini"])
def test_without_a_key_nothing_is_begun(
    by_motion: Path,
    tmp_path: Path,
    _settled: None,
    cli_here: Cli,
    monkeypatch: pytest.MonkeyPatch,
    reasoner: str,
) -> None:
    for name in ("AFTERMATH_VLM_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    before = set(tmp_path.rglob("*"))
    for command, output in (("mask", "new.mkv"), ("remove", "new.mp4")):
        done = cli_here(
            command, by_motion / "clip.mp4", "--box", BOX, "-o", tmp_path / output, "--reasoner", reasoner
        )
        assert (done.returncode, done.stdout) == (2, "")
        (line,) = warnings(done)
        assert "_API_KEY" in line
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--reasoner", "openai", "--vlm-url", "localhost:1"], "http"),
        (["--reasoner", "gpt"], "reasoner"),
        (["--reasoner", "openai", "--vlm-timeout-s", "0"], "vlm-timeout-s"),
    ],
)
def test_options_that_cannot_be_are_refused_in_one_line(
    by_motion: Path, tmp_path: Path, _settled: None, cli_here: Cli, words: list[str], named: str
) -> None:
    done = cli_here("mask", by_motion / "clip.mp4", "--box", BOX, "-o", tmp_path / "x.mkv", *words)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = warnings(done)
    assert named in line
    assert not (tmp_path / "x.mkv.aftermath").exists()


def test_a_plan_in_the_older_dialect_is_followed(by_motion: Path, folder: Path, run: Run) -> None:
    cells = [list(cell) for cell in GRID.cells_of(BLUE_BOX)]
    old = {
        "affected_subjects": [
            {"noun": "blue ball", "why": "hit", "current_position": cells, "will_move": False}
        ]
    }
    (folder / "old.json").write_text(json.dumps(old))
    with serving(said()) as server:
        done = run("openai", server, "--plan", folder / "old.json")
        assert server.questions == []
    (warning,) = warnings(done)
    assert done.returncode == 0 and "the plan does not name the shadow" in warning
    (thing,) = record(folder)["findings"]
    assert (thing["id"], thing["noun"], thing["action"]) == ("track-1", "blue ball", "stays")
    rows, cols = BLUE_BOX.grown(-6).slices(WIDTH, HEIGHT)
    theirs = levels(folder / "out.mkv")[8:, rows, cols]
    assert (theirs == levels(by_motion / "mask.mkv")[8:, rows, cols]).mean() > 0.95


def found(folder: Path, noun: str) -> dict[str, Any]:
    (thing,) = [one for one in record(folder)["findings"] if one["noun"] == noun]
    return thing


def test_a_named_thing_goes_the_way_that_it_is_given(folder: Path, run: Run) -> None:
    done = run("motion", None, "--trajectory", "blue: 95,60@4 95,100@12")
    assert (done.returncode, warnings(done)) == (0, [])
    thing = found(folder, "blue thing")
    assert (thing["id"], thing["directed"], thing["action"]) == ("track-1", True, "goes-on")
    assert thing["path"] == [{"frame": 4, "x": 95, "y": 60}, {"frame": 12, "x": 95, "y": 100}]
    assert (levels(folder / "out.mkv")[14, 90:110, 86:104] == Level.AFFECTED).mean() > 0.5


def test_what_a_model_named_can_be_led_by_that_name(folder: Path, run: Run) -> None:
    with serving(said(ball())) as server:
        done = run("motion+openai", server, "--trajectory", "blue ball: 95,60@4 95,100@12")
    assert (done.returncode, warnings(done)) == (0, [])
    assert found(folder, "blue ball")["directed"]


def test_a_thing_that_nobody_named_is_found_where_its_way_begins(folder: Path, run: Run) -> None:
    x, y = POST_BOX.center
    done = run("motion", None, "--trajectory", f"green box: {x},{y}@2 {x},100@10")
    assert (done.returncode, warnings(done)) == (0, [])
    thing = found(folder, "green box")
    assert (thing["directed"], thing["applied"]) == (True, True)
    rows, cols = POST_BOX.grown(-4).slices(WIDTH, HEIGHT)
    assert (levels(folder / "out.mkv")[12, rows, cols] == Level.AFFECTED).mean() > 0.8


@pytest.mark.parametrize(
    ("way", "says"),
    [
        ("shadow of the object: 20,70@0 60,70@9", "that is light"),
        ("nothing: 140,110@0 100,110@9", "must name a thing that is affected"),
        ("blue thing: 95,60@4 95,100@16", "frames 0 to 15"),
        ("blue thing: 195,60@4 95,100@9", "must lie in the picture"),
        ("blue thing: 95,60@4", "trajectory"),
        ("blue thing: 95,60 95,100", "lacks its @FRAME"),
        ("blue thing 95,60@4 95,100@9", "trajectory"),
        (": 95,60@4 95,100@9", "trajectory"),
        ("blue thing: 95,60@9 95,100@4", "order"),
        ("blue thing: 95,60@4 95,nan@9", "trajectory"),
        ("blue thing: 95,60@-4 95,10@9", "trajectory"),
    ],
)
def test_a_way_that_cannot_be_is_refused_in_one_line(folder: Path, run: Run, way: str, says: str) -> None:
    done = run("motion", None, "--trajectory", way)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = warnings(done)
    assert says in line
    assert not (folder / "out.mkv").exists()
