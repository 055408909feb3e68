"""A run that was stopped, however, goes on and ends with the bytes it would have had."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import aftermath
from aftermath import InputError, RemoveOptions, Result
from small_clip import BOX, write_scene

KILLED_AT = """
import os, signal, sys
import aftermath

def progress(stage, done, total):
    if stage == sys.argv[3] and done == int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)

aftermath.remove(sys.argv[1], sys.argv[2], boxes=["{box}"], progress=progress)
"""
MADE = ("out.mp4", "quadmask.mkv", "plan.json", "contact_sheet.png", "side_by_side.mp4")


def remove(clip: Path, output: Path, **others: object) -> Result:
    return aftermath.remove(clip, output, boxes=[BOX], **others)  # type: ignore[arg-type]


def made(result: Result) -> dict[str, bytes]:
    return {name: path.read_bytes() for name in MADE if (path := find(result, name)).exists()}


def find(result: Result, name: str) -> Path:
    return result.output if name == "out.mp4" else result.folder / name


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """A run that nothing stopped, of a clip that lies beside its output."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write_scene(folder / "clip.mp4")
    return remove(folder / "clip.mp4", folder / "out.mp4")


@pytest.fixture(scope="session")
def undisturbed(whole: Result) -> dict[str, bytes]:
    """What the same command makes when nothing stops it."""
    files = made(whole)
    assert set(files) == set(MADE)
    return files


@pytest.fixture
def finished(whole: Result, clip: Path, tmp_path: Path) -> Result:
    """A run of ``clip`` to ``out.mp4`` that ended long ago: a copy."""
    shutil.copytree(whole.output.parent, tmp_path, dirs_exist_ok=True)
    result = remove(clip, tmp_path / "out.mp4")
    assert "output" in result.reused
    return result


@pytest.mark.parametrize(
    ("stage", "done"),
    [
        ("output", 1),
        *(
            pytest.param(stage, done, marks=pytest.mark.long)
            for stage, done in (
                ("read", 3),
                ("scene", 2),
                ("quadmask", 5),
                ("output", 12),
                ("side_by_side", 4),
            )
        ),
    ],
)
def test_after_a_kill_the_same_command_gives_the_same_bytes(
    clip: Path, tmp_path: Path, undisturbed: dict[str, bytes], stage: str, done: int
) -> None:
    output = tmp_path / "out.mp4"
    script = [sys.executable, "-c", KILLED_AT.format(box=BOX), str(clip), str(output), stage, str(done)]
    assert subprocess.run(script).returncode == -signal.SIGKILL
    assert made(remove(clip, output)) == undisturbed
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["clip.mp4", "out.mp4"]
    assert not list((tmp_path / "out.mp4.aftermath").rglob("*.part*"))


def test_a_finished_run_does_no_work_again(clip: Path, tmp_path: Path) -> None:
    first = remove(clip, tmp_path / "out.mp4")
    before = made(first)
    stages: list[str] = []
    second = remove(clip, tmp_path / "out.mp4", progress=lambda stage, done, total: stages.append(stage))
    assert stages == []
    assert first.reused == ()
    assert second.reused == (
        "segment", "scene", "reason", "regions", "quadmask", "output", "contact_sheet", "side_by_side",
    )  # fmt: skip
    assert made(second) == before
    assert second.plan == first.plan
    assert second.invented_share == first.invented_share


def test_a_long_clip_that_lies_on_the_disk_gives_the_same_bytes(
    clip: Path, tmp_path: Path, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aftermath.media.mapped._IN_MEMORY_BYTES", 1000)
    result = remove(clip, tmp_path / "out.mp4")
    assert made(result) == undisturbed
    assert not (result.folder / "scratch").exists()


def test_only_what_an_option_changes_is_made_again(clip: Path, tmp_path: Path, finished: Result) -> None:
    assert finished.output == tmp_path / "out.mp4"
    other = remove(clip, tmp_path / "out.mp4", options=RemoveOptions(feather_px=9))
    assert other.reused == ("segment", "scene", "reason", "regions", "quadmask")


def test_another_clip_of_the_same_name_is_noticed(make_clip: Callable[..., Path], tmp_path: Path) -> None:
    remove(make_clip(), tmp_path / "out.mp4")
    assert remove(make_clip("clip.mp4", 160, 120, 9), tmp_path / "out.mp4").reused == ()


def test_fresh_starts_over(clip: Path, tmp_path: Path, finished: Result) -> None:
    before = made(finished)
    again = remove(clip, tmp_path / "out.mp4", fresh=True)
    assert again.reused == ()
    assert made(again) == before


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("stages/segment.npz", "bit"),
        ("stages/scene.npz", "half"),
        ("quadmask.mkv", "empty"),
        ("quadmask.mkv", "bit"),
        ("out.mp4", "half"),
    ],
)
def test_a_damaged_file_is_noticed_and_made_again(
    clip: Path, tmp_path: Path, finished: Result, name: str, how: str
) -> None:
    before = made(finished)
    path = find(finished, name)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes({"bit": content, "half": content[: len(content) // 2], "empty": b""}[how])
    again = remove(clip, tmp_path / "out.mp4")
    assert any(path.name in warning for warning in again.warnings)
    assert made(again) == before


@pytest.mark.parametrize("content", ["{", '{"key": 1}'])
def test_a_damaged_record_is_noticed(clip: Path, tmp_path: Path, finished: Result, content: str) -> None:
    before = made(finished)
    (finished.folder / "stages" / "scene.json").write_text(content)
    again = remove(clip, tmp_path / "out.mp4")
    assert "scene" not in again.reused
    assert any("scene" in warning for warning in again.warnings)
    assert made(again) == before


def test_a_result_that_was_deleted_is_made_again(clip: Path, tmp_path: Path, finished: Result) -> None:
    before = made(finished)
    finished.output.unlink()
    (finished.folder / "contact_sheet.png").unlink()
    assert made(remove(clip, tmp_path / "out.mp4")) == before


def test_ctrl_c_leaves_nothing_half_written_and_can_be_continued(
    clip: Path, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    def interrupt(stage: str, done: int, total: int) -> None:
        if (stage, done) == ("output", 5):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        remove(clip, tmp_path / "out.mp4", progress=interrupt)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["clip.mp4"]
    again = remove(clip, tmp_path / "out.mp4")
    assert "quadmask" in again.reused
    assert made(again) == undisturbed


@pytest.mark.parametrize("kind", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)])
def test_the_command_line_stops_with_one_line(
    make_clip: Callable[..., Path], tmp_path: Path, environment: dict[str, str], kind: signal.Signals
) -> None:
    clip, output = make_clip("long.mp4", 160, 120, 60), tmp_path / "out.mp4"
    command = [
        sys.executable,
        "-m",
        "aftermath",
        "remove",
        str(clip),
        "--box",
        BOX,
        "-o",
        str(output),
    ]
    environment["PYTHONWARNINGS"] = ""  # an interrupt between an open and its with is beyond us, and harmless
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    started = tmp_path / "out.mp4.aftermath" / "stages" / "segment.json"
    while not started.exists() and running.poll() is None:
        time.sleep(0.01)
    running.send_signal(kind)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert out == ""
    assert err.count("\n") == 1
    assert "the same command" in err
    assert not output.exists()


def test_two_runs_do_not_share_a_folder(clip: Path, tmp_path: Path) -> None:
    refusals: list[str] = []

    def intrude(stage: str, done: int, total: int) -> None:
        if (stage, done) == ("read", 1):
            with pytest.raises(InputError) as refusal:
                remove(clip, tmp_path / "other.mp4", work=tmp_path / "run")
            refusals.append(str(refusal.value))

    result = remove(clip, tmp_path / "out.mp4", work=tmp_path / "run", progress=intrude)
    assert len(refusals) == 1
    assert "another run" in refusals[0]
    assert result.output.exists()


def test_a_run_leaves_files_it_did_not_make_alone(clip: Path, tmp_path: Path) -> None:
    work = tmp_path / "run"
    work.mkdir()
    (work / "notes.txt").write_text("mine")
    with pytest.raises(InputError):
        aftermath.remove(clip, tmp_path / "out.mp4", points=["10,10@99"], work=work, fresh=True)
    remove(clip, tmp_path / "out.mp4", work=work, fresh=True)
    assert (work / "notes.txt").read_text() == "mine"


def test_the_record_says_what_ran(clip: Path, tmp_path: Path) -> None:
    result = remove(clip, tmp_path / "out.mp4", options=RemoveOptions(seed=5))
    record = json.loads((result.folder / "run.json").read_text())
    assert record["options"]["seed"] == 5
    assert record["versions"]["numpy"]
    assert record["peak_memory_mb"] > 10
    assert {"read", "segment", "scene", "reason", "output"} <= set(record["stage_times_s"])
    assert record["camera"] == result.camera
    assert record["engine"] == "draft"


def test_a_plan_that_was_edited_is_followed_and_never_lost(
    clip: Path, tmp_path: Path, finished: Result
) -> None:
    plan = finished.folder / "plan.json"
    untouched, bytes_before = plan.read_text(), finished.output.read_bytes()
    blue = {
        "noun": "blue thing",
        "category": "physical",
        "action": "stays",
        "why": "",
        "box": [80, 90, 96, 108],
        "frames": [0, 12],
    }
    plan.write_text(json.dumps({"affected_objects": [blue]}))
    for again in (remove(clip, tmp_path / "out.mp4"), remove(clip, tmp_path / "out.mp4")):
        assert [thing.noun for thing in again.plan.applied] == ["blue thing"]
        assert any("was edited: it is followed" in line for line in again.warnings)
        assert "blue thing" in plan.read_text()
    assert again.output.read_bytes() != bytes_before
    forgotten = remove(clip, tmp_path / "out.mp4", fresh=True)
    assert plan.read_text() == untouched
    assert forgotten.output.read_bytes() == bytes_before
    assert not any("edited" in line for line in forgotten.warnings)


def test_a_quadmask_that_was_painted_in_is_not_made_again(clip: Path, tmp_path: Path) -> None:
    output = tmp_path / "q.mkv"
    aftermath.mask(clip, output, boxes=[BOX])
    painted = output.read_bytes() + b"painted"
    output.write_bytes(painted)
    with pytest.raises(InputError, match="--quadmask"):
        aftermath.mask(clip, output, boxes=[BOX])
    assert output.read_bytes() == painted
    aftermath.mask(clip, output, boxes=[BOX], fresh=True)
    assert output.read_bytes() != painted
