"""``aftermath generate`` from outside: what it writes, that it goes on, what it refuses."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("MUJOCO_GL", "egl")
pytest.importorskip("mujoco", reason="the extra data is not installed")

from aftermath.core import Level
from aftermath.counterfactual.flat import draw_flat
from aftermath.counterfactual.label import quadmask_of, reason_to_reject, still_alike
from aftermath.errors import InputError
from aftermath.evaluate.pairs import find_pairs, read_video
from aftermath.media.masks import read_quadmask
from aftermath.media.video import read_frames
from conftest import Cli

FRAMES, WIDTH, HEIGHT = 9, 96, 64
TINY = ("--size", f"{WIDTH}x{HEIGHT}", "--frames", str(FRAMES))
MADE = ("--pairs", "3", "--seed", "5", "--family", "collision", "--family", "support", "--family", "light")
NAMES = ["collision-00000005", "light-00000007", "support-00000006"]


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pairs, made by one process."""
    out = tmp_path_factory.mktemp("pairs") / "out"
    command = [sys.executable, "-m", "aftermath", "generate", str(out), *MADE, *TINY]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "3 pairs made" in done.stdout and "rejected" in done.stdout
    return out


def truth_of(pair: Path) -> dict[str, Any]:
    return json.loads((pair / "truth.json").read_text(encoding="utf-8"))


def mask_of(pair: Path) -> np.ndarray:
    return np.stack(list(read_quadmask(pair / "mask.mp4", expect=(FRAMES, HEIGHT, WIDTH))))


def test_a_pair_is_the_reference_s_training_folder(pairs: Path) -> None:
    assert sorted(path.name for path in pairs.iterdir()) == NAMES
    for name in NAMES:
        names = {"rgb_full.mp4", "rgb_removed.mp4", "mask.mp4", "metadata.json", "truth.json", "scene.json"}
        assert {path.name for path in (pairs / name).iterdir()} == names
        for video in ("rgb_full.mp4", "rgb_removed.mp4"):
            frames = [frame.rgb() for frame in read_frames(pairs / name / video)]
            assert np.shape(frames) == (FRAMES, HEIGHT, WIDTH, 3)
        metadata = json.loads((pairs / name / "metadata.json").read_text(encoding="utf-8"))
        assert metadata["bg"].startswith(("A ", "Outdoors, "))


def test_the_mask_has_the_object_and_no_affected_pixel_on_frame_0(pairs: Path) -> None:
    for name in NAMES:
        mask = mask_of(pairs / name)
        assert set(np.unique(mask)) <= {0, 63, 127, 255}
        assert set(np.unique(mask[0])) <= {0, 255}
        assert (mask <= Level.OVERLAP).any() and (mask == Level.AFFECTED).any()


def test_what_is_kept_looks_the_same_in_both_worlds(pairs: Path) -> None:
    for name in NAMES:
        full, removed = (
            np.stack([f.rgb() for f in read_frames(pairs / name / video)]).astype(int)
            for video in ("rgb_full.mp4", "rgb_removed.mp4")
        )
        kept = mask_of(pairs / name) == Level.KEEP
        kept[0] = False  # where shadows are not marked
        assert np.abs(full - removed).max(axis=-1)[kept].mean() < 6  # grain and codec
        assert np.abs(full - removed).max(axis=-1)[mask_of(pairs / name) == Level.PRIMARY].mean() > 15


def test_the_tracks_are_where_the_labels_are(pairs: Path) -> None:
    checked = 0
    for name in NAMES:
        for thing in truth_of(pairs / name)["things"]:
            for track in filter(None, (thing["with"], thing["without"])):
                assert len(track["center"]) == len(track["seen"]) == len(track["pose"]) == FRAMES
                for center, seen, box in zip(track["center"], track["seen"], track["box"], strict=True):
                    inside = box and box[0] > 1 and box[2] < WIDTH - 1 and box[1] > 1 and box[3] < HEIGHT - 1
                    if (
                        inside
                        and thing["name"].endswith("ball")
                        and box[2] - box[0] > 0.9 * (box[3] - box[1])
                    ):
                        assert np.hypot(*np.subtract(center, seen)) < 2.5
                        checked += 1
    assert checked > 5


def test_the_removed_pixels_are_the_removed_s_box(pairs: Path) -> None:
    for name in NAMES:
        mask = mask_of(pairs / name)
        gone = [thing for thing in truth_of(pairs / name)["things"] if thing["removed"]]
        for t in range(FRAMES):
            boxes = [thing["with"]["box"][t] for thing in gone if thing["with"]["box"][t]]
            y, x = np.nonzero(mask[t] <= Level.OVERLAP)
            if boxes:
                low, high = np.min(boxes, axis=0)[:2], np.max(boxes, axis=0)[2:]
                assert [x.min(), y.min(), x.max() + 1, y.max() + 1] == [*low, *high]
            else:
                assert len(x) == 0


@pytest.mark.long
def test_the_same_bytes_for_any_number_of_workers_and_a_finished_pair_is_kept(
    pairs: Path, cli: Cli, cli_here: Cli, tmp_path: Path
) -> None:
    done = cli("generate", tmp_path / "out", *MADE, *TINY, "--workers", "2", "--json")
    assert done.returncode == 0, done.stderr
    assert digests(tmp_path / "out") == digests(pairs)
    again = cli_here("generate", tmp_path / "out", *MADE, *TINY, "--json")
    first, second = json.loads(done.stdout), json.loads(again.stdout)
    assert (first["made"], second["made"], second["kept"]) == (3, 0, 3)
    assert second["rejected"] == first["rejected"]
    (tmp_path / "out" / NAMES[1] / "mask.mp4").write_bytes(b"")
    mended = cli_here("generate", tmp_path / "out", *MADE, *TINY, "--json")
    assert json.loads(mended.stdout)["made"] == 1 and digests(tmp_path / "out") == digests(pairs)
    other = cli_here("generate", tmp_path / "out", *MADE, "--size", "64x64", "--frames", "5")
    assert other.returncode == 2 and "96x64" in other.stderr


def test_what_is_no_pair_of_ours_is_in_the_way(cli_here: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "out" / "control-00000003"
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    done = cli_here("generate", tmp_path / "out", "--family", "control", "--seed", "3", "--pairs", "1", *TINY)
    assert done.returncode == 2 and "move it away" in done.stderr and len(done.stderr.splitlines()) == 1
    assert (folder / "notes.txt").read_text(encoding="utf-8") == "mine"


@pytest.mark.long
def test_a_killed_worker_costs_nothing_and_a_killed_run_goes_on_to_the_same_bytes(
    pairs: Path, cli: Cli, environment: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "aftermath", "generate", str(out), *MADE, *TINY]
    running = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    _wait(lambda: any(out.glob(".*.part")) or running.poll() is not None)
    for worker in _workers(running.pid):
        os.kill(worker, signal.SIGSEGV)  # as graphics libraries do
    _wait(lambda: (out / NAMES[0]).exists() or running.poll() is not None)
    assert running.poll() is None
    running.send_signal(signal.SIGKILL)
    running.wait()
    half = out / f".{NAMES[2]}.part"
    half.mkdir(exist_ok=True)
    (half / "rgb_full.mp4").write_bytes(b"half")
    done = cli("generate", out, *MADE, *TINY)
    assert done.returncode == 0, done.stderr
    assert digests(out) == digests(pairs)


def test_two_runs_do_not_work_in_one_folder(cli_here: Cli, tmp_path: Path) -> None:
    from aftermath.media.files import alone_in

    out = tmp_path / "out"
    out.mkdir()
    with alone_in(out):
        done = cli_here("generate", out, *MADE, *TINY)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "another is at work there; wait for it" in done.stderr
    assert not list(out.iterdir())


def _workers(pid: int) -> list[int]:
    """Of a running command, where processes can be listed."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    found = map(int, children.read_text().split()) if children.exists() else ()
    return [child for child in found if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def test_flat_pairs_are_drawn_the_same_each_time_and_kept(cli_here: Cli, tmp_path: Path) -> None:
    words = ("--family", "flat", "--pairs", "4", "--seed", "30", *TINY)
    for name in ("one", "two"):
        done = cli_here("generate", tmp_path / name, *words, "--json")
        assert done.returncode == 0, done.stderr
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    again = cli_here("generate", tmp_path / "one", *words, "--json")
    assert json.loads(again.stdout)["made"] == 0
    for pair in find_pairs(tmp_path / "one"):
        seen, truth = read_video(pair.source), read_video(pair.truth)
        assert seen.shape == truth.shape == (FRAMES, HEIGHT, WIDTH, 3)
        mask = mask_of(pair.source.parent)
        assert {Level.PRIMARY, Level.AFFECTED, Level.KEEP} <= set(np.unique(mask).tolist())
        assert not np.isin(mask[0], (Level.AFFECTED, Level.OVERLAP)).any()
        apart = np.abs(seen.astype(int) - truth).max(axis=-1)
        kept = apart[1:][mask[1:] == Level.KEEP]  # the mask's first frame tells no shadow
        assert np.percentile(kept, 95) < 10  # grain and codec
        assert apart[mask == Level.PRIMARY].mean() > 20


def test_what_a_bystander_of_a_flat_pair_hides_is_not_the_object() -> None:
    pair = draw_flat(2003, (88, 48), 9)  # a ball stands before the bottle
    apart = np.abs(pair.seen.astype(int) - pair.truth).max(axis=-1)
    assert (apart[pair.quadmask == Level.PRIMARY] > 2).mean() > 0.98


def _wait(ready: Callable[[], bool], limit_s: float = 120) -> None:
    end = time.monotonic() + limit_s
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--family", "nonsense"), "collision, stopped"),
        (("--pairs", "0"), "1 or more"),
        (("--frames", "1"), "2 or more"),
        (("--size", "big"), "WIDTHxHEIGHT"),
        (("--size", "97x64"), "even"),
        (("--size", "40000x64"), "4096 at most"),
        (("--workers", "0"), "1 or more"),
        (("--seed", "999999", "--pairs", "2"), "held out"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    words: tuple[str, ...], told: str, cli_here: Cli, tmp_path: Path
) -> None:
    done = cli_here("generate", tmp_path / "out", *words)
    assert done.returncode == 2
    assert told in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_without_a_gl_library_the_package_is_named(
    cli: Cli, environment: dict[str, str], tmp_path: Path
) -> None:
    environment["PYOPENGL_PLATFORM"] = environment["MUJOCO_GL"] = "osmesa"
    environment["LD_LIBRARY_PATH"] = str(tmp_path)
    done = cli("generate", tmp_path / "out", "--pairs", "1", *TINY)
    if done.returncode == 0:
        pytest.skip("OSMesa is installed here")
    assert done.returncode == 2
    assert "libosmesa6" in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_full_disk_is_told_and_leaves_no_half_of_a_pair(
    environment: dict[str, str], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "aftermath", "generate", str(tmp_path / "out"), "--pairs", "1", *TINY]
    limited = ["bash", "-c", 'ulimit -f 1; exec "$@"', "bash", *command]  # files of at most 1 KB
    done = subprocess.run(limited, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2, done.stderr
    assert "no room left" in done.stderr and len(done.stderr.splitlines()) == 1
    assert list((tmp_path / "out").iterdir()) == []


def test_an_input_error_comes_back_whole_from_a_worker() -> None:
    error = pickle.loads(pickle.dumps(InputError("value", "allowed", "remedy")))
    assert (str(error), error.remedy) == ("value: allowed; remedy", "remedy")


def test_a_pair_that_shows_nothing_is_rejected() -> None:
    nothing = np.zeros((3, 64, 96), bool)
    mask = np.full((3, 64, 96), Level.KEEP, np.uint8)
    assert "hardly seen" in reason_to_reject(mask, nothing, interacts=True)
    mask[:, 20:40, 20:40] = Level.PRIMARY
    assert "nothing visible" in reason_to_reject(mask, nothing, interacts=True)
    assert reason_to_reject(mask, nothing, interacts=False) == ""
    assert "shadow" in reason_to_reject(mask, nothing, interacts=False, lights=True)
    assert "moves differently" in still_alike({"ball": 0.0}, interacts=True)
    assert "moves differently" in still_alike({"ball": 0.5}, interacts=False)
    assert still_alike({"ball": 0.5}, interacts=True) == still_alike({}, interacts=False) == ""


def test_the_quadmask_tells_the_object_from_physics_and_from_shadow() -> None:
    primary = np.zeros((2, 40, 40), bool)
    primary[:, 10:20, 10:20] = True
    truth = np.full((2, 40, 40, 3), 100, np.uint8)
    seen, unseen = truth.copy(), truth.copy()
    seen[:, 10:20, 10:20] = 200  # the object
    seen[:, 25:30, 5:15] = 70  # its shadow
    unseen[:, 15:20, 15:20] = 30  # behind it something lies elsewhere
    displaced = np.zeros_like(primary)
    displaced[:, 30:32, 30:32] = True  # of one colour with what is behind it
    mask = quadmask_of(primary, seen, unseen, truth, displaced)
    assert set(np.unique(mask[0])) == {0, 255}
    assert (mask[1, 25:30, 5:15] == 127).all() and (mask[1, 15:20, 15:20] == 63).all()
    assert (mask[1, 10:14, 10:20] == 0).all() and (mask[1] == 255).sum() == 1600 - 100 - 50 - 4
