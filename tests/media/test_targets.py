"""A target is complete or not there; one that cannot be is refused with what is allowed and what to do."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from source_clips import all_samples, copy_through, make_source, same

from aftermath.errors import InputError, MediaError
from aftermath.media.masks import write_masks
from aftermath.media.video import Codec, VideoWriter, check_target, probe, read_frames, write_rgb_video


def left_behind(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.parametrize(
    ("name", "codec", "words"),
    [
        ("out.mp4", Codec.FFV1, ".mkv"),
        ("out.mp4", Codec.PRORES, ".mov"),
        ("out.avi", Codec.H264, ".mp4"),
        ("out", Codec.HEVC, ".mp4"),
        ("out.mp4", Codec.PNG, "folder"),
        ("out.png", Codec.PNG, "numbered"),
        ("nowhere/out.mp4", Codec.H264, "no folder"),
        ("file.txt/out.mp4", Codec.H264, "no folder"),
        ("folder.mp4", Codec.H264, "a folder"),
        ("file.txt", Codec.PNG, "folder"),
        ("full", Codec.PNG, "other files"),
    ],
)
def test_targets_that_cannot_be(tmp_path: Path, name: str, codec: Codec, words: str) -> None:
    (tmp_path / "file.txt").touch()
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "holiday.jpg").touch()
    source = make_source(tmp_path / "source.mkv", num_frames=1)
    before = left_behind(tmp_path)
    for refuse in (
        lambda: check_target(tmp_path / name, codec),
        lambda: VideoWriter(tmp_path / name, probe(source), codec),
        lambda: write_rgb_video(tmp_path / name, [np.zeros((8, 8, 3), np.uint8)], 24, codec),
    ):
        with pytest.raises(InputError, match=words) as caught:
            refuse()
        assert caught.value.value and caught.value.allowed and "\n" not in str(caught.value)
    assert left_behind(tmp_path) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="cannot be written"):
        check_target(tmp_path / "out.mp4", Codec.H264)


def test_the_source_is_never_the_target(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source.mkv", num_frames=1)
    (tmp_path / "link.mkv").symlink_to(source)
    for path in (source, tmp_path / "link.mkv"):
        with pytest.raises(InputError, match="input"):
            VideoWriter(path, probe(source), Codec.FFV1)


@pytest.mark.parametrize("name", ["out.mkv", "pictures"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, SystemExit])
def test_an_interrupted_write_leaves_the_old_file(
    tmp_path: Path, name: str, error: type[BaseException]
) -> None:
    codec = Codec.PNG if name == "pictures" else Codec.FFV1
    source = make_source(tmp_path / "source.mkv", sound="aac")
    copy_through(source, tmp_path / name, codec)
    before = left_behind(tmp_path)
    written = tmp_path / name / "00000.png" if codec is Codec.PNG else tmp_path / name
    old = written.read_bytes()
    with pytest.raises(error), VideoWriter(tmp_path / name, probe(source), codec) as writer:
        for frame in read_frames(source):
            writer.write(frame)
            if frame.index == 2:
                raise error
    assert left_behind(tmp_path) == before
    assert written.read_bytes() == old


def test_ctrl_c_in_a_process_of_its_own(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source.mkv", num_frames=2)
    program = f"""
import itertools, pathlib
from aftermath.media.video import VideoWriter, probe, read_frames
source = pathlib.Path({str(source)!r})
frames = list(read_frames(source))
with VideoWriter(source.with_name("out.mp4"), probe(source)) as writer:
    for index in itertools.count():
        frames[0].picture.pts = index * 40
        writer.write(frames[0])
        if index == 60:
            print("writing", flush=True)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "writing\n"
            assert any(name.endswith(".part.mp4") for name in left_behind(tmp_path))
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()  # or it would write for ever
    assert "KeyboardInterrupt" in errors
    assert left_behind(tmp_path) == ["source.mkv"]


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "pictures"])
def test_a_full_disk_is_one_clear_line(tmp_path: Path, name: str) -> None:
    codec = {".mp4": Codec.H264, ".mkv": Codec.FFV1, "": Codec.PNG}[Path(name).suffix]
    source = make_source(tmp_path / "source.mkv", "yuv444p", num_frames=12)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6000, hard))  # no file may grow beyond this
    try:
        with pytest.raises(InputError, match="no room"):
            copy_through(source, tmp_path / name, codec)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert left_behind(tmp_path) == ["source.mkv"]


def test_nothing_to_write_is_an_error(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source.mkv", num_frames=1)
    with pytest.raises(MediaError, match="no frame"), VideoWriter(tmp_path / "out.mp4", probe(source)):
        pass
    with pytest.raises(MediaError, match="no frame"):
        write_rgb_video(tmp_path / "out.mp4", [], 24)
    with pytest.raises(MediaError, match="no mask"):
        write_masks(tmp_path / "out.mkv", [], 24)
    assert left_behind(tmp_path) == ["source.mkv"]


def test_pictures_in_a_folder_and_under_numbered_names(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source.mkv", "bgr0", 318, 239)
    wanted = [frame.rgb() for frame in read_frames(source)]
    assert copy_through(source, tmp_path / "pictures", Codec.PNG) == []
    assert copy_through(source, tmp_path / "frame_%03d.png", Codec.PNG) == []
    for pattern in ("pictures/{:05d}.png", "frame_{:03d}.png"):
        for index, rgb in enumerate(wanted):
            (frame,) = read_frames(tmp_path / pattern.format(index))
            assert np.array_equal(frame.rgb(), rgb)
    copy_through(source, tmp_path / "pictures", Codec.PNG)  # its own pictures may be replaced
    assert len(left_behind(tmp_path / "pictures")) == 4
    assert len(left_behind(tmp_path)) == 6


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source.mkv", num_frames=12, sound="aac")
    for codec, suffix in ((Codec.H264, "mp4"), (Codec.FFV1, "mkv")):
        copy_through(source, tmp_path / f"a.{suffix}", codec)
        copy_through(source, tmp_path / f"b.{suffix}", codec)
        assert same(all_samples(tmp_path / f"a.{suffix}"), all_samples(tmp_path / f"b.{suffix}"))
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
