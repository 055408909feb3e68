from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

import aftermath
from aftermath import MaskOptions, RemoveOptions
from aftermath.core import Action, Level
from aftermath.media.masks import read_masks, write_masks
from aftermath.media.video import read_frames, write_rgb_video
from conftest import Cli
from small_clip import BOX, FRAMES, HEIGHT, WIDTH, scene


def frames(path: Path) -> list[np.ndarray]:
    return [frame.rgb() for frame in read_frames(path)]


def test_the_main_command_removes_the_object(cli: Cli, clip: Path, tmp_path: Path) -> None:
    done = cli("remove", clip, "--box", BOX, "-o", tmp_path / "out.mp4")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for word in ("out.mp4", "camera", "still", "draft", "invented", "contact_sheet.png"):
        assert word in done.stdout
    before, after = frames(clip), frames(tmp_path / "out.mp4")
    assert len(after) == len(before) == FRAMES
    for frame in after:
        red = frame[42:80, 34:58].astype(int)
        assert (red[..., 0] - red[..., 1]).mean() < 40  # 175 in the clip
    folder = tmp_path / "out.mp4.aftermath"
    names = {"contact_sheet.png", "plan.json", "quadmask.mkv", "run.json", "side_by_side.mp4", "stages"}
    assert {path.name for path in folder.iterdir()} == names


def test_the_same_command_again_says_that_nothing_was_done(cli_here: Cli, clip: Path, tmp_path: Path) -> None:
    command = ["remove", clip, "--box", BOX, "-o", tmp_path / "out.mp4"]
    assert "reused" not in cli_here(*command).stdout
    again = cli_here(*command).stdout
    assert "reused    everything" in again
    assert ", 0 s of work" in again
    assert (
        "reused    segment, scene, reason, regions, quadmask of" in cli_here(*command, "--seed", "5").stdout
    )


@pytest.mark.long
def test_mask_ends_with_the_command_that_goes_on(cli: Cli, clip: Path, tmp_path: Path) -> None:
    first = cli(
        "mask", clip, "--box", BOX, "--point", "!10,10", "--regions", "grid", "-o", tmp_path / "q.mkv"
    )
    assert first.returncode == 0, first.stderr
    (line,) = (line for line in first.stdout.splitlines() if line.startswith("  next "))
    program, *words = shlex.split(line)[1:]
    assert program == "aftermath"
    *words, output = words
    assert output == "out.mp4"
    done = cli(*words, tmp_path / output, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["reused"] == ["segment", "scene", "reason", "regions", "quadmask"]
    plan = tmp_path / "q.mkv.aftermath" / "plan.json"
    assert f"what you edit in {plan} is followed" in first.stdout
    edited = cli(*words, tmp_path / output, "--plan", plan)
    assert edited.returncode == 0, edited.stderr


def test_what_others_show_is_not_called_invented(cli_here: Cli, clip: Path, tmp_path: Path) -> None:
    told = cli_here("remove", clip, "--box", "80,90,96,108", "-o", tmp_path / "out.mp4").stdout
    assert "invented  nothing" in told
    assert "no frame shows" not in told


def test_a_point_on_the_wall_is_questioned(cli_here: Cli, clip: Path, tmp_path: Path) -> None:
    command = ["mask", clip, "--point", "110,20", "-o", tmp_path / "out.mkv"]
    first, again = cli_here(*command), cli_here(*command)
    assert first.returncode == 0, first.stderr
    assert first.stderr.count("\n") == 1
    assert first.stderr.startswith("warning: the object ")
    assert "--box" in first.stderr
    assert again.stderr == first.stderr


def test_what_is_kept_is_bit_exact_with_a_lossless_codec(clip: Path, tmp_path: Path) -> None:
    result = aftermath.remove(
        clip, tmp_path / "out.mkv", boxes=[BOX], options=RemoveOptions(codec=aftermath.Codec.FFV1)
    )
    masks = list(read_masks(result.quadmask))
    for before, after, levels in zip(native(clip), native(result.output), masks, strict=True):
        for plane_before, plane_after in zip(before, after, strict=True):
            ratio = levels.shape[0] // plane_before.shape[0]
            keep = (levels == 255).reshape(plane_before.shape[0], ratio, plane_before.shape[1], ratio)
            whole = keep.all(axis=(1, 3))
            assert whole.mean() > 0.5
            assert (plane_before[whole] == plane_after[whole]).all()


def native(path: Path) -> list[list[np.ndarray]]:
    with av.open(str(path)) as container:
        return [
            [np.frombuffer(p, np.uint8).reshape(p.height, p.line_size)[:, : p.width].copy() for p in f.planes]
            for f in container.decode(video=0)
        ]


def test_json_is_one_object_and_nothing_else(cli: Cli, clip: Path, tmp_path: Path) -> None:
    done = cli("remove", clip, "--point", "45,60", "-o", tmp_path / "out.mp4", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    told = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    assert told["output"] == str(tmp_path / "out.mp4")
    assert told["num_frames"] == FRAMES
    assert Path(told["contact_sheet"]).exists()
    assert set(told) == {field.name for field in fields(aftermath.Result)}


def test_quiet_says_nothing(cli: Cli, clip: Path, tmp_path: Path) -> None:
    done = cli("remove", clip, "--box", BOX, "-o", tmp_path / "out.mp4", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_library_does_the_same_as_the_command_line(
    cli: Cli, clip: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    assert cli("remove", clip, "--box", BOX, "-o", tmp_path / "a.mp4").returncode == 0
    code = f"import aftermath; print(aftermath.remove({str(clip)!r}, 'b.mp4', boxes=[{BOX!r}]).output)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path
    )
    assert (done.stdout, done.stderr) == ("b.mp4\n", "")
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_mask_stops_at_the_quadmask(cli_here: Cli, clip: Path, tmp_path: Path, suffix: str) -> None:
    output = tmp_path / f"mask{suffix}"
    done = cli_here("mask", clip, "--box", BOX, "-o", output)
    assert done.returncode == 0, done.stderr
    masks = list(read_masks(output))
    assert len(masks) == FRAMES
    for levels in masks:
        assert set(np.unique(levels)) <= {0, 63, 127, 255}
        assert (levels[42:81, 32:60] <= 63).mean() > 0.9
        assert (levels[:, 70:] == 255).all()


def test_a_quadmask_is_used_untouched(clip: Path, tmp_path: Path) -> None:
    levels = np.full((HEIGHT, WIDTH), 255, np.uint8)
    levels[40:84, 31:61] = 0
    levels[84:95, 31:70] = 127
    given = [np.full_like(levels, 255) if t == 3 else levels for t in range(FRAMES)]
    given[0] = np.where(levels == 127, np.uint8(255), levels)
    write_masks(tmp_path / "quadmask.mkv", given, Fraction(12))
    result = aftermath.remove(clip, tmp_path / "out.mp4", quadmask=tmp_path / "quadmask.mkv")
    assert all((a == b).all() for a, b in zip(read_masks(result.quadmask), given, strict=True))
    assert "used as it was given" in result.notes[0]


def test_a_mask_video_is_the_object_as_it_is(clip: Path, tmp_path: Path) -> None:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[41:83, 31:61] = 255
    write_masks(tmp_path / "mask.mkv", [mask] * FRAMES, Fraction(12))
    result = aftermath.mask(clip, tmp_path / "out.mkv", mask=tmp_path / "mask.mkv")
    for levels in read_masks(result.output):
        assert (levels[mask > 0] <= 63).all()
        assert (levels[:, 70:] == 255).all()


def test_a_mask_of_one_frame_is_followed(cli_here: Cli, clip: Path, tmp_path: Path) -> None:
    mask = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    mask[42:81, 32:60] = 255
    av.VideoFrame.from_ndarray(mask).save(str(tmp_path / "mask.png"))
    done = cli_here("mask", clip, "--mask", f"{tmp_path / 'mask.png'}@6", "-o", tmp_path / "out.mkv")
    assert done.returncode == 0, done.stderr
    for levels in read_masks(tmp_path / "out.mkv"):
        assert (levels[44:80, 34:58] <= 63).mean() > 0.9


def test_a_sequence_folder_stands_in_for_a_clip(cli_here: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "sequence"
    folder.mkdir()
    write_rgb_video(folder / "input_video.mp4", scene(), Fraction(12), crf=8)
    levels = np.full((HEIGHT, WIDTH), 255, np.uint8)
    levels[40:84, 31:61] = 0
    write_masks(folder / "quadmask_0.mp4", [levels] * FRAMES, Fraction(12))
    (folder / "prompt.json").write_text('{"bg": "A wall."}')
    (folder / "vlm_analysis.json").write_text(
        json.dumps({"affected_objects": [{"noun": "thing", "box": [80, 90, 96, 108], "action": "stays"}]})
    )
    done = cli_here("remove", folder, "-o", tmp_path / "out.mp4", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [thing["noun"] for thing in told["plan"]["affected_objects"]] == ["thing"]
    record = json.loads((tmp_path / "out.mp4.aftermath" / "run.json").read_text())
    assert record["request"]["prompt"] == "A wall."


MOVER_FIRST, MOVER_LAST = (80, 90, 96, 108), (136, 90, 152, 108)  # where the blue thing is, x0 y0 x1 y1


def test_what_the_user_knows_is_acted_on(cli_here: Cli, clip: Path, tmp_path: Path) -> None:
    done = cli_here(
        "remove", clip, "--box", BOX, "--affected", "88,99:stays", "-o", tmp_path / "out.mp4", "--json"
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)["plan"]["affected_objects"]
    assert ("stays", True, 1.0) in [(t["action"], t["applied"], t["confidence"]) for t in told]
    check_that_the_mover_stays(tmp_path)


def test_a_plan_is_acted_on(cli_here: Cli, clip: Path, tmp_path: Path) -> None:
    stays = {"noun": "blue thing", "box": MOVER_FIRST, "action": "stays", "frames": [1, FRAMES]}
    (tmp_path / "plan.json").write_text(json.dumps({"affected_objects": [stays]}))
    done = cli_here(
        "remove", clip, "--box", BOX, "--plan", tmp_path / "plan.json", "-o", tmp_path / "out.mp4", "--json"
    )
    assert done.returncode == 0, done.stderr
    assert [t["noun"] for t in json.loads(done.stdout)["plan"]["affected_objects"]] == ["blue thing"]
    check_that_the_mover_stays(tmp_path)


def check_that_the_mover_stays(folder: Path) -> None:
    *_, levels = read_masks(folder / "out.mp4.aftermath" / "quadmask.mkv")
    *_, after = frames(folder / "out.mp4")
    for (x0, y0, x1, y1), is_there in ((MOVER_FIRST, True), (MOVER_LAST, False)):
        place = slice(y0 + 3, y1 - 3), slice(x0 + 3, x1 - 3)
        assert (levels[place] == 127).mean() > 0.9
        blue = after[place].astype(int)
        assert ((blue[..., 2] - blue[..., 0]).mean() > 60) == is_there


def test_a_plan_of_an_earlier_run_can_be_given_back(cli_here: Cli, clip: Path, tmp_path: Path) -> None:
    first = aftermath.remove(clip, tmp_path / "out.mp4", boxes=[BOX])
    done = cli_here(
        "remove",
        clip,
        "--box",
        BOX,
        "--plan",
        first.folder / "plan.json",
        "-o",
        tmp_path / "out.mp4",
        "--fresh",
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "size", [(160, 120, 1), (318, 239, 4), (120, 214, 5)], ids=["one frame", "odd size", "portrait"]
)
def test_any_size(
    cli_here: Cli, make_clip: Callable[..., Path], tmp_path: Path, size: tuple[int, ...]
) -> None:
    width, height, _ = size
    clip = make_clip("any.mp4", *size)
    box = f"{width * 0.18:.0f},{height * 0.33:.0f},{width * 0.39:.0f},{height * 0.7:.0f}"
    done = cli_here("remove", clip, "--box", box, "-o", tmp_path / "out.mp4", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["width"], told["height"], told["num_frames"]) == size
    assert [frame.shape for frame in frames(tmp_path / "out.mp4")] == [(height, width, 3)] * size[2]


@pytest.mark.long
def test_a_thousand_frames(cli: Cli, make_clip: Callable[..., Path], tmp_path: Path) -> None:
    clip = make_clip("long.mp4", 64, 48, 1000)
    levels = np.full((48, 64), 255, np.uint8)
    levels[15:34, 11:26] = 0
    write_masks(tmp_path / "quadmask.mkv", [levels] * 1000, Fraction(12))
    done = cli("remove", clip, "--quadmask", tmp_path / "quadmask.mkv", "-o", tmp_path / "out.mp4", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["num_frames"] == len(frames(tmp_path / "out.mp4")) == 1000


@pytest.mark.parametrize("arguments", [["--help"], ["remove", "--help"], ["--version"]])
def test_help_needs_nothing_heavy(arguments: list[str], environment: dict[str, str]) -> None:
    code = (
        "import sys\nfrom aftermath.cli import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit as end: assert not end.code\n"
        "heavy = {'numpy', 'cv2', 'av', 'torch'} & set(sys.modules)\nassert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr


def test_every_option_is_on_the_command_line_with_its_default(cli_here: Cli) -> None:
    told = cli_here("remove", "--help").stdout
    for option in fields(RemoveOptions):
        assert f"--{option.name.replace('_', '-')}" in told
        name = option.name.replace("_", "-")
        shown = {False: f"no-{name}", True: name} if isinstance(option.default, bool) else {}
        assert f"default: {shown.get(option.default, option.default)}" in told


def test_mask_offers_only_what_it_reads(cli_here: Cli) -> None:
    told = cli_here("mask", "--help").stdout
    own = {option.name for option in fields(MaskOptions)}
    for option in fields(RemoveOptions):
        assert (f"--{option.name.replace('_', '-')}" in told) == (option.name in own)


def test_doctor(cli: Cli, cli_here: Cli) -> None:
    done = cli("doctor")
    assert done.returncode == 0
    for word in ("aftermath", "numpy", "cores", "memory", "engine draft", "codec h264"):
        assert word in done.stdout
    told = json.loads(cli_here("doctor", "--json").stdout)
    assert told["codecs"]["ffv1"] is True
    assert told["engines"]["draft"] == "ready"


def test_doctor_where_nothing_of_googles_is_installed(cli_here: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google", None)
    done = cli_here("doctor")
    assert done.returncode == 0
    assert "needs the extra vlm" in done.stdout


def test_an_error_of_ours_is_one_line_and_debug_shows_where(cli: Cli, clip: Path, tmp_path: Path) -> None:
    command = ["remove", clip, "--box", "900,1,950,9", "-o", tmp_path / "out.mp4"]
    assert cli(*command).stderr.count("\n") == 1
    assert "Traceback" in cli(*command, "--debug").stderr


def test_public_names_exist_and_are_sorted() -> None:
    assert all(hasattr(aftermath, name) for name in aftermath.__all__)
    assert all(a < b for a, b in pairwise(aftermath.__all__))


def test_the_actions_of_affected_are_those_of_a_plan(cli_here: Cli) -> None:
    told = cli_here("remove", "--help").stdout
    for action in Action:
        assert str(action) in told


@pytest.mark.parametrize("name", ["pictures", "pictures/frame_%04d.png"])
def test_pictures(cli_here: Cli, clip: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    command = ["remove", clip, "--box", BOX, "-o", tmp_path / name, "--codec", "png", "--json"]
    first, second = cli_here(*command), cli_here(*command)
    assert first.returncode == second.returncode == 0, first.stderr
    assert len(list((tmp_path / "pictures").glob("*.png"))) == FRAMES
    assert len(frames(Path(json.loads(first.stdout)["side_by_side"]))) == FRAMES
    assert "output" in json.loads(second.stdout)["reused"]


def test_a_failure_is_json_too(cli: Cli, clip: Path, tmp_path: Path) -> None:
    done = cli("remove", clip, "--box", "900,0,910,9", "-o", tmp_path / "out.mp4", "--json")
    assert done.returncode == 2
    told = json.loads(done.stdout)
    assert told["kind"] == "InputError"
    assert told["error"] in done.stderr


def test_boxes_and_points_may_be_numbers(clip: Path, tmp_path: Path) -> None:
    said, counted = tmp_path / "said.mkv", tmp_path / "counted.mkv"
    aftermath.mask(clip, said, boxes=[BOX], points=["45,60"])
    aftermath.mask(clip, counted, boxes=[(30, 40, 62, 84)], points=[(45, 60)])  # type: ignore[list-item]
    assert said.read_bytes() == counted.read_bytes()


def test_a_prompt_that_took_next_to_nothing_is_questioned(clip: Path, tmp_path: Path) -> None:
    speck = np.full((12, 120, 160), 255, np.uint8)
    speck[:, 50:54, 40:44] = 0
    write_masks(tmp_path / "q.mkv", iter(speck), Fraction(12))
    result = aftermath.remove(clip, tmp_path / "out.mp4", quadmask=tmp_path / "q.mkv")
    assert any("only 16 pixels large" in line for line in result.warnings)


def test_an_inverted_quadmask_is_questioned(clip: Path, tmp_path: Path) -> None:
    levels = np.zeros((120, 160), np.uint8)
    levels[50:80, 40:60] = 255
    write_masks(tmp_path / "q.mkv", iter([levels] * 12), Fraction(12))
    result = aftermath.remove(clip, tmp_path / "out.mp4", quadmask=tmp_path / "q.mkv")
    assert any("is it inverted?" in line for line in result.warnings)


def test_a_given_quadmask_is_grown_where_asked(clip: Path, tmp_path: Path) -> None:
    levels = np.full((12, 120, 160), Level.KEEP, np.uint8)
    levels[:, 50:60, 40:50] = Level.PRIMARY
    write_masks(tmp_path / "q.mkv", iter(levels), Fraction(12))
    for grow, wide in ((0, 10), (36, 16)):  # 36 pixels of 1920 are 3 of 160
        options = MaskOptions(grow_px=grow)
        result = aftermath.mask(clip, tmp_path / f"{grow}.mkv", quadmask=tmp_path / "q.mkv", options=options)
        assert [int((frame[55] == Level.PRIMARY).sum()) for frame in read_masks(result.output)] == [wide] * 12
