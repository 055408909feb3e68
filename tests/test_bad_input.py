"""Every input that cannot be used: exit code 2, one clear line, nothing left behind."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import aftermath
from aftermath import InputError, MaskOptions, RemoveOptions
from aftermath.media.masks import write_masks
from aftermath.media.video import write_rgb_video
from conftest import Cli
from small_clip import BOX, FRAMES, HEIGHT, WIDTH, scene

Refused = Callable[..., str]


def tree(folder: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.fixture
def refused(cli_here: Cli, tmp_path: Path) -> Refused:
    """Run the command line, and return the one line with which it refused."""

    def run(*arguments: object) -> str:
        before = tree(tmp_path)
        done = cli_here(*arguments)
        assert done.returncode == 2, done
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1, done.stderr
        assert tree(tmp_path) == before
        return done.stderr

    return run


def mask_video(
    path: Path, value: int | np.ndarray, frames: int = FRAMES, shape: tuple = (HEIGHT, WIDTH)
) -> Path:
    write_masks(path, [np.broadcast_to(np.uint8(value), shape).copy()] * frames, Fraction(12))
    return path


def sound_only(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)


def no_frames(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=12)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        container.start_encoding()


def test_no_such_file(refused: Refused, tmp_path: Path) -> None:
    line = refused("remove", tmp_path / "gone.mp4", "--box", BOX, "-o", tmp_path / "out.mp4")
    assert "gone.mp4" in line
    assert "no such file" in line


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path.write_text("this is no film"), "not a video"),
        (lambda path: path.write_bytes(b""), "not a video"),
        (sound_only, "sound"),
        (no_frames, ""),
    ],
    ids=["text", "empty", "sound only", "zero frames"],
)
def test_a_file_that_shows_nothing(
    refused: Refused, tmp_path: Path, make: Callable[[Path], object], says: str
) -> None:
    make(tmp_path / "odd.mp4")
    line = refused("remove", tmp_path / "odd.mp4", "--box", BOX, "-o", tmp_path / "out.mp4")
    assert "odd.mp4" in line
    assert says in line


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ([], "no prompt"),
        (["--plan", "gone.json"], "add the prompt"),
        (["--box", "200,40,260,84"], "must lie in the picture: x from 0 to 160"),
        (["--box", "-4,40,60,84"], "x from 0 to 160"),
        (["--box", "62,40,30,84"], "X0 left of X1"),
        (["--box", "30,84,62,40"], "X0 left of X1"),
        (["--box", "30,40,62"], "X0,Y0,X1,Y1"),
        (["--box", "30,40,62,nan"], "X0,Y0,X1,Y1"),
        (["--box", "a,b,c,d"], "X0,Y0,X1,Y1"),
        (["--box", "30,40,62,84@x"], "X0,Y0,X1,Y1"),
        (["--box", f"{BOX}@999"], "must be one of the clip's frames 0 to 11"),
        (["--point", "40,60@999"], "frames 0 to 11"),
        (["--point", "40,600"], "y from 0 to 119"),
        (["--point", "!40,60"], "background"),
        (["--point", "here"], "X,Y"),
        (["--box", BOX, "--affected", "90,95:explodes"], "falls, stays, goes-on, vanishes"),
        (["--box", BOX, "--affected", "900,95:falls"], "x from 0 to 159"),
        (["--box", BOX, "--affected", "90,95@400:falls"], "frames 0 to 11"),
        (["--box", BOX, "--engine", "void"], "engine void"),
        (["--box", BOX, "--feather-px", "-1"], "--feather-px -1.0: must be greater than or equal to 0"),
        (["--box", BOX, "--seed", "x"], "'--seed': must be a whole number"),
        (["--box", BOX, "--codec", "ffv1"], "mkv"),
        (["--box", BOX, "--codec", "vhs"], "'vhs' must be one of 'h264'"),
        (["--box", BOX, "--codec", "png"], "name a folder"),
        (["--box", BOX, "--no-such-option"], "aftermath remove --help"),
        (["--box", BOX, "--affected", "120,20:falls"], "must point at a thing"),
        (["--box", BOX, "--mask", "gone.mkv"], "--box and --mask"),
        (["--mask", "gone.mkv"], "no such file"),
        (["--box", BOX, "--plan", "gone.json"], "no such file"),
    ],
    ids=lambda value: " ".join(value) or "no prompt" if isinstance(value, list) else "",
)
def test_a_prompt_or_an_option_that_cannot_be(
    refused: Refused, clip: Path, tmp_path: Path, prompt: list[str], says: str
) -> None:
    assert says in refused("remove", clip, *prompt, "-o", tmp_path / "out.mp4")


def test_a_box_that_leads_to_nothing_is_named_as_it_was_drawn(refused: Refused, tmp_path: Path) -> None:
    """In the clip's own pixels, whatever size it is analysed at."""
    clip = tmp_path / "plain.mp4"
    write_rgb_video(clip, (np.full((480, 640, 3), 120, np.uint8) for _ in range(4)), Fraction(12))
    words = ("--box", "200,100,300,260@2", "--analysis-long-side-px", "320", "-o", tmp_path / "out.mp4")
    told = refused("remove", clip, *words)
    assert "the box 200,100,300,260 on frame 2: must lie on an object" in told
    assert "add points on it: --point 250,180@2" in told


HALF = np.repeat(np.uint8([[255, 0]]), WIDTH // 2, axis=1).repeat(HEIGHT, axis=0)


@pytest.mark.parametrize("kind", ["--mask", "--quadmask"])
@pytest.mark.parametrize(
    ("value", "frames", "shape", "says"),
    [
        (HALF, FRAMES + 3, HALF.shape, "frames"),
        (HALF[:60], FRAMES, (60, WIDTH), "160x120"),
        (None, FRAMES, HALF.shape, ""),
        ("all", FRAMES, HALF.shape, ""),
        (90, FRAMES, HALF.shape, ""),
    ],
    ids=["longer", "smaller", "empty", "everything", "grey"],
)
def test_a_mask_that_does_not_fit(
    refused: Refused,
    clip: Path,
    tmp_path: Path,
    kind: str,
    value: object,
    frames: int,
    shape: tuple[int, int],
    says: str,
) -> None:
    nothing, everything = (0, 255) if kind == "--mask" else (255, 0)
    content = (
        {None: nothing, "all": everything}.get(value, value) if not isinstance(value, np.ndarray) else value
    )
    mask = mask_video(tmp_path / "m.mkv", content, frames, shape)
    line = refused("remove", clip, kind, mask, "-o", tmp_path / "out.mp4")
    assert says in line


def test_the_output_is_the_input(refused: Refused, clip: Path) -> None:
    assert "overwrite" in refused("remove", clip, "--box", BOX, "-o", clip)


def test_the_output_is_the_mask(refused: Refused, clip: Path, tmp_path: Path) -> None:
    mask = mask_video(tmp_path / "m.mkv", HALF)
    assert "overwrite" in refused("mask", clip, "--quadmask", mask, "-o", mask)


def test_a_target_that_cannot_be_written(refused: Refused, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "taken.mp4").mkdir()
    (tmp_path / "file").write_text("")
    for target in ("none/out.mp4", "file/out.mp4", "taken.mp4", "out.xyz"):
        assert target in refused("remove", clip, "--box", BOX, "-o", tmp_path / target)


def test_a_run_folder_that_cannot_be_made(refused: Refused, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    line = refused(
        "remove", clip, "--box", BOX, "-o", tmp_path / "out.mp4", "--work", tmp_path / "file" / "run"
    )
    assert "--work" in line


def test_a_run_folder_in_which_a_file_is_in_the_way(cli: Cli, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "scratch").write_text("mine")
    done = cli("remove", clip, "--box", BOX, "-o", tmp_path / "out.mp4", "--work", tmp_path / "run")
    assert done.returncode == 2, done
    assert "--work" in done.stderr
    assert done.stderr.count("\n") == 1
    assert (tmp_path / "run" / "scratch").read_text() == "mine"


@pytest.mark.parametrize("room", [2_000, 60_000], ids=["for no stage", "for no output"])
def test_a_full_disk(clip: Path, tmp_path: Path, environment: dict[str, str], room: int) -> None:
    before = tree(tmp_path)
    command = ["remove", clip, "--box", BOX, "-o", tmp_path / "out.mkv", "--codec", "ffv1"]
    done = subprocess.run(
        [sys.executable, "-m", "aftermath", *map(str, command)],
        capture_output=True,
        text=True,
        env=environment,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)),
    )
    assert done.returncode == 2, done
    assert "room" in done.stderr
    assert done.stderr.count("\n") == 1
    assert tree(tmp_path) == before


def test_a_folder_that_is_no_sequence(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "input_video.mp4" in refused("remove", tmp_path / "empty", "-o", tmp_path / "out.mp4")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "must be JSON"),
        ("[]", "must be an object"),
        ('{"affected_objects": [{}]}', "affected_objects[0].noun: is missing"),
        ('{"affected_objects": [{"noun": "a", "path": "1,2"}]}', "affected_objects[0].path: must be a list"),
        (
            '{"affected_objects": [{"noun": "a", "path": [{"frame": 1, "x": "b", "y": 2}]}]}',
            "affected_objects[0].path[0].x: must be a number",
        ),
        (
            '{"affected_objects": [{"noun": "a", "path": [{"frame": 99, "x": 1, "y": 2}]}]}',
            "affected_objects[0], a: a path point on frame 99: must be on one of the clip's frames 0 to 11",
        ),
        ('{"affected_objects": [], "size": [8, 6]}', "must be the clip's, 160x120"),
        ('{"affected_objects": [], "num_frames": 7}', "must be the clip's, 12"),
        ("\udcff", "UTF-8"),
    ],
)
def test_a_plan_that_is_none(refused: Refused, clip: Path, tmp_path: Path, text: str, says: str) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text(text, errors="surrogateescape")
    line = refused("remove", clip, "--box", BOX, "--plan", plan, "-o", tmp_path / "out.mp4")
    assert f"plan {plan}: " in line
    assert says in line
    assert "; " in line


def test_a_plan_that_is_a_folder(refused: Refused, clip: Path, tmp_path: Path) -> None:
    line = refused("remove", clip, "--box", BOX, "--plan", tmp_path, "-o", tmp_path / "out.mp4")
    assert "must be a file that can be read" in line


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"boxes": BOX}, f"boxes='{BOX}': must be a list; write boxes=['{BOX}']"),
        ({"boxes": [{30, 40, 62, 84}]}, "in boxes: must be text of the form X0,Y0,X1,Y1"),
        ({"boxes": [(30, 40, 62)]}, "box '30,40,62': must be X0,Y0,X1,Y1"),
        ({"points": None}, "points=None: must be a list"),
        ({"boxes": [BOX], "affected": [3]}, "3 in affected: must be text"),
        ({"boxes": [BOX], "plan": {}}, "plan={}: must be the name of a file"),
        ({"boxes": [BOX], "prompt": 3}, "prompt=3: must be text"),
        ({"boxes": [BOX], "work": 3}, "work=3: must be the name"),
        ({"boxes": [BOX], "options": {"codec": "h264"}}, "must be RemoveOptions"),
        ({"boxes": [BOX], "options": MaskOptions()}, "must be RemoveOptions"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_the_library_refuses_in_the_same_words(
    clip: Path, tmp_path: Path, given: dict[str, Any], says: str
) -> None:
    before = tree(tmp_path)
    with pytest.raises(InputError, match=re.escape(says)):
        aftermath.remove(clip, tmp_path / "out.mp4", **given)
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"codec": "vhs"}, "codec='vhs': must be 'h264', 'hevc', 'prores', 'ffv1' or 'png'"),
        ({"seed": "x"}, "seed='x': must be a whole number"),
        ({"feather_px": -1}, "feather_px=-1: must be greater than or equal to 0"),
        ({"sed": 1}, "sed=1: is no option; the options are segmenter"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_options_that_cannot_be(given: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=re.escape(says)):
        RemoveOptions(**given)


def test_a_clip_cut_off_in_the_middle_is_used_as_far_as_it_goes(cli: Cli, tmp_path: Path) -> None:
    write_rgb_video(tmp_path / "whole.mkv", scene(WIDTH, HEIGHT, 30), Fraction(12), crf=8)
    whole = (tmp_path / "whole.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) * 2 // 3])
    done = cli("remove", tmp_path / "cut.mkv", "--box", BOX, "-o", tmp_path / "out.mp4")
    assert done.returncode == 0, done
    assert "warning: " in done.stderr
    with av.open(str(tmp_path / "out.mp4")) as made:
        assert 5 < sum(1 for _ in made.decode(video=0)) < 30
