"""``aftermath batch`` from outside: folders and lists of clips, failures, going on, workers, models that stay."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import aftermath
from aftermath.config import Codec, Engine, RemoveOptions, SegmenterName
from aftermath.errors import InputError
from aftermath.media.masks import write_masks
from conftest import Cli
from small_clip import BOX, HEIGHT, WIDTH, write_scene

FRAMES = 6
PLAIN = ("--engine", "draft", "--segmenter", "flow")


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A folder with a clip and its mask, one with its quadmask, and a sequence folder."""
    folder = tmp_path / "clips"
    (folder / "table").mkdir(parents=True)
    for name in ("a.mp4", "b.mov", "table/input_video.mp4"):
        write_scene(folder / name, WIDTH, HEIGHT, FRAMES)
    quadmask = np.full((FRAMES, HEIGHT, WIDTH), 255, np.uint8)
    quadmask[:, 40:84, 30:62] = 0
    write_masks(folder / "a.mask.mkv", iter(255 - quadmask), 12)
    write_masks(folder / "b.quadmask.mkv", iter(quadmask), 12)
    write_masks(folder / "table" / "quadmask_0.mp4", iter(quadmask), 12)
    return folder


def listed(folder: Path, *jobs: dict[str, Any] | str) -> Path:
    lines = [job if isinstance(job, str) else json.dumps(job) for job in jobs]
    (folder / "jobs.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "jobs.jsonl"


def statuses(out: Path) -> list[str]:
    lines = (out / "batch.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["status"] for line in lines]


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.long
def test_a_folder_of_clips_gives_what_remove_gives_and_is_kept(clips: Path, cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    done = cli("batch", clips, "-o", out, *PLAIN, "--workers", 2, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["done"], told["kept"], told["failed"]) == (3, 0, 0)
    assert statuses(out) == ["done"] * 3
    options = RemoveOptions(engine=Engine.DRAFT, segmenter=SegmenterName.FLOW)
    for name, clip, prompt in (
        ("a.mp4", clips / "a.mp4", {"mask": clips / "a.mask.mkv"}),
        ("b.mp4", clips / "b.mov", {"quadmask": clips / "b.quadmask.mkv"}),
        ("table.mp4", clips / "table", {}),
    ):
        aftermath.remove(clip, tmp_path / "alone.mp4", options=options, fresh=True, **prompt)
        assert sha(out / name) == sha(tmp_path / "alone.mp4")
    made = {path: path.stat().st_mtime_ns for path in out.glob("*.mp4")}
    (out / "b.mp4").write_bytes(b"damaged")
    again = aftermath.batch(clips, out, options=options)
    assert [one.status for one in again.outcomes] == ["kept", "done", "kept"]
    assert {p.name for p, t in made.items() if p.stat().st_mtime_ns == t} == {"a.mp4", "table.mp4"}


@pytest.mark.long
def test_a_clip_that_fails_stops_no_other_and_is_tried_again(clips: Path, cli: Cli, tmp_path: Path) -> None:
    (clips / "bad.mp4").write_bytes(b"no film at all")
    out = tmp_path / "out"
    jobs = listed(
        clips,
        {"clip": "bad.mp4", "boxes": [BOX]},
        "",
        {"clip": "a.mp4", "boxes": [[30, 40, 62, 84]], "out": "sub/x.mkv", "codec": "ffv1"},
    )
    done = cli("batch", jobs, "-o", out, *PLAIN, "--quiet")
    assert done.returncode == 1 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "jobs.jsonl line 1" in line and "bad.mp4" in line
    assert statuses(out) == ["failed", "done"]
    assert (out / "sub" / "x.mkv").is_file() and not (out / "bad.mp4").exists()
    stopped = cli("batch", jobs, "-o", tmp_path / "other", *PLAIN, "--fail-fast", "--quiet")
    assert stopped.returncode == 1 and statuses(tmp_path / "other") == ["failed", "left"]
    shutil.copy(clips / "a.mp4", clips / "bad.mp4")
    assert cli("batch", jobs, "-o", out, *PLAIN).returncode == 0
    assert statuses(out) == ["done", "kept"]


GOOD = {"clip": "a.mp4", "boxes": [BOX]}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ({**GOOD, "boxs": []}, "'boxs': is no key"),
        ("not json", "one JSON object"),
        ('{"clip": "a.mp4", "clip": "b.mov"}', "clip stands there twice"),
        ("[1]", "JSON object"),
        ({"boxes": [BOX]}, "clip: is missing"),
        ({"clip": "none.mp4", "boxes": [BOX]}, "no such file"),
        ({"clip": "a.mp4"}, "no prompt"),
        ({"clip": "a.mp4", "mask": "none.mkv"}, "no such file"),
        ({"clip": "a.mp4", "boxes": ["0,0,900,10"]}, "must lie in the picture"),
        ({"clip": "a.mp4", "boxes": BOX}, "must be a list"),
        ({"clip": "a.mp4", "text": "duck", "pick": 3}, "list of whole numbers"),
        ({**GOOD, "seed": -1}, "seed=-1"),
        ({**GOOD, "engine": "best"}, "engine='best'"),
        ({**GOOD, "out": "a.avi"}, "h264 is written to"),
        ({**GOOD, "out": "a.mp4"}, "line 1"),
        ({**GOOD, "out": "{clips}/b.mov"}, "must not overwrite an input"),
        ({**GOOD, "out": "{clips}/jobs.jsonl.mp4/../jobs.mp4", "work": "a.mp4.aftermath"}, "line 1"),
    ],
)
def test_a_bad_line_is_told_by_its_number_before_anything_is_done(
    line: dict[str, Any] | str, told: str, clips: Path, cli_here: Cli, tmp_path: Path
) -> None:
    if isinstance(line, dict) and "out" in line:
        line = {**line, "out": line["out"].replace("{clips}", str(clips))}
    jobs = listed(clips, GOOD, {"clip": "b.mov", "boxes": [BOX]}, line)
    done = cli_here("batch", jobs, "-o", tmp_path / "out", *PLAIN)
    assert done.returncode == 2
    (said,) = done.stderr.splitlines()
    assert "jobs.jsonl line 3" in said and told in said
    assert not (tmp_path / "out").exists()


def test_a_bad_folder_is_one_line(clips: Path, cli_here: Cli, tmp_path: Path) -> None:
    def refused(*words: object) -> str:
        done = cli_here("batch", *words, *PLAIN)
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
        return done.stderr

    assert "must not overwrite an input" in refused(clips, "-o", clips)
    assert "no such file" in refused(tmp_path / "none", "-o", tmp_path / "out")
    assert "1 or more" in refused(clips, "-o", tmp_path / "out", "--workers", 0)
    assert "auto, local" in refused(clips, "-o", tmp_path / "out", "--ray", "nonsense")
    assert "is a file" in refused(clips, "-o", clips / "a.mp4")
    (clips / "a.mask.mkv").rename(clips / "c.mask.mkv")
    assert "no clip c" in refused(clips, "-o", tmp_path / "out")
    (clips / "c.mask.mkv").unlink()
    assert "a.mp4: no prompt" in refused(clips, "-o", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    assert "holds no clips" in refused(tmp_path / "empty", "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.long
def test_a_killed_run_and_a_killed_worker(clips: Path, cli: Cli, environment: dict[str, str], tmp_path: Path):
    """A worker that ends by itself costs its clip; a killed run leaves no process, and the next one goes on."""
    jobs = listed(clips, *({**GOOD, "out": f"{number}.mp4", "seed": number} for number in range(4)))
    command = [sys.executable, "-m", "aftermath", "batch", str(jobs), "-o", str(tmp_path / "out"), *PLAIN]
    running = subprocess.Popen(
        [*command, "--workers", "2", "--quiet"], env=environment, stderr=subprocess.PIPE
    )
    until(lambda: len(workers_of(running.pid)) == 2)
    victim = workers_of(running.pid)[0]
    until(lambda: any((tmp_path / "out").glob("*.aftermath")))
    os.kill(victim, signal.SIGKILL)
    _, said = running.communicate(timeout=120)
    assert running.returncode == 1 and b"ended by itself" in said
    assert sorted(statuses(tmp_path / "out")) == ["done"] * 3 + ["failed"]
    shutil.rmtree(tmp_path / "out")
    running = subprocess.Popen([*command, "--workers", "2"], env=environment)
    report = tmp_path / "out" / "batch.jsonl"
    until(lambda: report.exists() and report.read_text() != "")
    workers = workers_of(running.pid)
    running.kill()
    running.wait()
    until(lambda: not any(alive(pid) for pid in workers))
    assert cli(*command[3:]).returncode == 0
    assert "kept" in statuses(tmp_path / "out")


def workers_of(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    if not children.exists():
        pytest.skip("processes cannot be listed here")
    found = map(int, children.read_text().split())
    return [child for child in found if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def until(ready: Any, limit_s: float = 60) -> None:
    end = time.monotonic() + limit_s
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.long
def test_a_worker_loads_its_model_once(clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In two passes too, and a clip with another seed gets what it gets alone."""
    pytest.importorskip("diffusers", reason="the extra void is not installed")
    sys.path.insert(0, str(Path(__file__).parent / "render" / "void"))
    from tiny import save_tiny_model

    from aftermath.render.void import renderer
    from aftermath.render.void.published import PUBLISHED, write_manner

    loaded: list[int] = []
    load = renderer.load_pipeline

    def counted(*args: Any, **options: Any) -> Any:
        loaded.append(options["pass_number"])
        return load(*args, **options)

    monkeypatch.setattr(renderer, "load_pipeline", counted)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    model = save_tiny_model(tmp_path / "model")
    write_manner(replace(PUBLISHED, size=(48, 64), least_frames=5), model)
    options = RemoveOptions(
        engine=Engine.VOID,
        segmenter=SegmenterName.FLOW,
        model=str(model),
        codec=Codec.FFV1,
        steps=1,
        passes=2,
    )
    jobs = [{"clip": str(clips / "a.mp4"), "boxes": [BOX], "seed": n, "out": f"{n}.mkv"} for n in range(2)]
    jobs.append({**jobs[0], "passes": 1, "out": "one.mkv"})
    done = aftermath.batch(jobs, tmp_path / "out", options=options, prompt="a table")
    assert [one.status for one in done.outcomes] == ["done"] * 3
    assert loaded == [1, 2, 1]  # the last asks for another renderer
    alone = RemoveOptions(**{**vars(options), "seed": 1})
    aftermath.remove(clips / "a.mp4", tmp_path / "alone.mkv", boxes=[BOX], prompt="a table", options=alone)
    assert sha(tmp_path / "out" / "1.mkv") == sha(tmp_path / "alone.mkv")
    with pytest.raises(InputError, match=r"job 2: .boxs"):
        aftermath.batch([jobs[0], {"boxs": 1}], tmp_path / "out")


def test_without_ray_the_extra_is_named(
    clips: Path, cli_here: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aftermath import workers

    monkeypatch.setattr(workers, "find_spec", lambda name: None)
    for command in (("batch", clips, "-o", tmp_path / "out", *PLAIN), ("generate", tmp_path / "pairs")):
        done = cli_here(*command, "--ray", "local")
        assert done.returncode == 2
        assert 'pip install ".[scale]"' in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.long
@pytest.mark.skipif(find_spec("ray") is None, reason="the extra scale is not installed")
def test_on_ray_the_files_are_the_same(
    clips: Path, cli_here: Cli, environment: dict[str, str], tmp_path: Path
) -> None:
    """A port where none is answers at once. Starting Ray costs most of the time, so `generate`, whose jobs go the
    same way, is not tried on it too."""
    environment.pop("PYTHONWARNINGS")
    few = tmp_path / "few"
    few.mkdir()
    for name in ("a.mp4", "a.mask.mkv"):
        shutil.copy(clips / name, few)
    (few / "c.mp4").write_bytes(b"no film at all")
    shutil.copy(clips / "a.mask.mkv", few / "c.mask.mkv")

    refused = cli_here("generate", str(tmp_path / "none"), "--ray", "127.0.0.1:9")
    assert refused.returncode == 2 and "no Ray answers" in refused.stderr
    plain = cli_here("batch", str(few), "-o", str(tmp_path / "plain"), *PLAIN)
    command = [sys.executable, "-m", "aftermath", "batch", str(few), "-o", str(tmp_path / "ray"), *PLAIN]
    on_ray = subprocess.run(
        [*command, "--workers", "2", "--ray", "local"],
        capture_output=True,
        text=True,
        env=environment,
        timeout=240,
        check=False,
    )
    for way, done in (("plain", plain), ("ray", on_ray)):
        assert done.returncode == 1, done.stderr
        assert statuses(tmp_path / way) == ["done", "failed"]
    files = [p.relative_to(tmp_path / "plain") for p in sorted((tmp_path / "plain").rglob("*.mp4"))]
    assert files
    for file in (f for f in files if "side_by_side" not in f.name):
        assert sha(tmp_path / "plain" / file) == sha(tmp_path / "ray" / file)
    assert not any("ray" in path.name for path in Path(environment["HOME"]).glob(".*"))
