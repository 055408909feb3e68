"""What cameras, editors and broadcasters put into files beside plain pictures: kept, or said."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from source_clips import all_samples, copy_through, make_source, picture, remux, same

from aftermath.errors import InputError
from aftermath.media.video import Codec, VideoWriter, probe, read_frames

TARGETS = [(Codec.FFV1, "out.mkv"), (Codec.H264, "out.mp4"), (Codec.PRORES, "out.mov")]
CHAPTERS = [(0, 100, "The hall"), (100, 400, "The fall")]


def titles(path: Path) -> list[tuple[float, float, str]]:
    with av.open(str(path)) as container:
        return [
            (float(c["start"] * c["time_base"]), float(c["end"] * c["time_base"]), c["metadata"]["title"])
            for c in container.chapters()
        ]


def ends(path: Path) -> dict[str, float]:
    """When the last packet of each kind ends, in seconds."""
    with av.open(str(path)) as container:
        found: dict[str, float] = {}
        for packet in container.demux():
            if packet.size and packet.pts is not None:
                end = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                found[packet.stream.type] = max(end, found.get(packet.stream.type, 0.0))
    return found


@pytest.mark.parametrize(("codec", "name"), TARGETS)
@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_chapters_are_copied(tmp_path: Path, container: str, codec: Codec, name: str) -> None:
    plain = make_source(tmp_path / "plain.mp4", codec="libx264", num_frames=10, sound="aac")
    source = remux(plain, tmp_path / f"source.{container}", chapters=CHAPTERS)
    assert copy_through(source, tmp_path / name, codec) == []
    assert titles(tmp_path / name) == titles(source) == [(0.0, 0.1, "The hall"), (0.1, 0.4, "The fall")]


def test_chapters_move_with_a_clip_that_starts_late(tmp_path: Path) -> None:
    plain = make_source(tmp_path / "plain.mp4", codec="libx264", num_frames=10)
    late = [(a + 2000, b + 2000, title) for a, b, title in CHAPTERS]
    source = remux(plain, tmp_path / "source.mkv", chapters=late, shift_s=Fraction(2))
    copy_through(source, tmp_path / "out.mp4", Codec.H264)
    assert titles(tmp_path / "out.mp4") == [(0.0, 0.1, "The hall"), (0.1, 0.4, "The fall")]


@pytest.mark.parametrize("encoder", ["libx264", "mpeg2video"])
def test_an_interlaced_clip_keeps_its_frames_and_it_is_said(tmp_path: Path, encoder: str) -> None:
    options = {"flags": "+ilme+ildct"} | ({"x264-params": "tff=1"} if encoder == "libx264" else {})
    source = make_source(
        tmp_path / "source.ts", codec=encoder, time_base=Fraction(1, 25), num_frames=6, options=options
    )
    (warning,) = copy_through(source, tmp_path / "out.mkv")
    assert "interlaced" in warning
    assert len(all_samples(source)) == 6
    assert same(all_samples(source), all_samples(tmp_path / "out.mkv"))


@pytest.mark.parametrize(("codec", "name"), TARGETS)
def test_what_an_edit_list_hides_stays_hidden(tmp_path: Path, codec: Codec, name: str) -> None:
    whole = make_source(
        tmp_path / "whole.mp4", codec="libx264", num_frames=24, sound="aac", sound_delay_s=0.0
    )
    source = remux(whole, tmp_path / "source.mp4", shift_s=Fraction(-1, 4))
    expected = all_samples(whole)[6:]
    assert same(all_samples(source), expected)
    assert copy_through(source, tmp_path / name, codec) == []
    frames = list(read_frames(tmp_path / name))
    assert len(frames) == 18
    first_s = float(frames[0].pts * probe(tmp_path / name).time_base)
    assert first_s < 0.11, "sound that the edit list hid would be heard before the picture"
    if codec is Codec.FFV1:
        assert same(all_samples(tmp_path / name), expected)
    sound = [ends(path)["audio"] for path in (source, tmp_path / name)]
    assert sound[1] - sound[0] == pytest.approx(first_s, abs=2e-3)


def test_a_picture_that_starts_after_the_sound_still_does(tmp_path: Path) -> None:
    ticks = [90_000 + 3750 * i for i in range(6)]
    source = make_source(
        tmp_path / "source.mp4",
        codec="libx264",
        ticks=ticks,
        time_base=Fraction(1, 90000),
        sound="aac",
        sound_delay_s=0.0,
    )
    copy_through(source, tmp_path / "out.mp4", Codec.H264)
    first = next(read_frames(tmp_path / "out.mp4"))
    assert first.pts * probe(tmp_path / "out.mp4").time_base == 1
    assert ends(tmp_path / "out.mp4")["audio"] == pytest.approx(ends(source)["audio"], abs=1e-3)


def test_closed_captions_are_left_out_and_it_is_said(tmp_path: Path) -> None:
    plain = make_source(tmp_path / "plain.mp4", codec="libx264", num_frames=3, options={"bf": "0"})
    # ITU-T T.35, United States, ATSC "GA94": one pair of caption bytes (ANSI/CTA-708, A/53 part 4)
    message = b"\xb5\x00\x31GA94\x03\xc1\xff\xfc\x94\x2c\xff"
    unit = b"\x06\x04" + bytes([len(message)]) + message + b"\x80"
    source = remux(plain, tmp_path / "source.mp4", before=len(unit).to_bytes(4, "big") + unit)
    (warning,) = copy_through(source, tmp_path / "out.mkv")
    assert "captions" in warning
    assert same(all_samples(plain), all_samples(tmp_path / "out.mkv"))


def test_each_lost_description_of_hdr_is_said_once(tmp_path: Path) -> None:
    light = "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
    source = make_source(
        tmp_path / "source.mkv",
        "yuv420p10le",
        codec="libx265",
        tags={"color_primaries": 9, "color_trc": 16, "colorspace": 9},
        options={"x265-params": f"log-level=none:{light}:max-cll=1000,400"},
    )
    said = copy_through(source, tmp_path / "out.mkv")
    assert [line.split(":")[0] for line in said] == ["content light level", "mastering display metadata"]


def test_transparent_webm_keeps_its_opacity(tmp_path: Path) -> None:
    source = make_source(
        tmp_path / "source.webm", "yuva420p", codec="libvpx-vp9", options={"auto-alt-ref": "0"}
    )
    assert probe(source).pix_fmt == "yuva420p"
    assert copy_through(source, tmp_path / "out.mkv") == []
    assert same(all_samples(source), all_samples(tmp_path / "out.mkv"))
    assert any("transparency" in line for line in copy_through(source, tmp_path / "out.mp4", Codec.H264))


def test_a_gif_keeps_its_times(tmp_path: Path) -> None:
    source = make_source(
        tmp_path / "source.gif", "rgb8", codec="gif", num_frames=5, time_base=Fraction(1, 10)
    )
    assert copy_through(source, tmp_path / "out.mkv") == []
    assert [f.time_s for f in read_frames(tmp_path / "out.mkv")] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert same(all_samples(source), all_samples(tmp_path / "out.mkv"))


def test_numbered_pictures_are_a_clip(tmp_path: Path) -> None:
    for index in range(3):
        cv2.imwrite(str(tmp_path / f"in_{index:03d}.png"), picture(64, 48, index)[..., ::-1])
    for _ in range(2):  # the second time the output is there already
        assert copy_through(tmp_path / "in_%03d.png", tmp_path / "out.mkv") == []
    frames = [frame.rgb() for frame in read_frames(tmp_path / "out.mkv")]
    assert np.array_equal(frames, [picture(64, 48, index) for index in range(3)])
    with pytest.raises(InputError, match="the output is the input"):
        VideoWriter(tmp_path / "in_%03d.png", probe(tmp_path / "in_%03d.png"), Codec.PNG)


@pytest.mark.parametrize("encoder", ["libx264", "mpeg2video"])
def test_a_transport_stream_cut_off_is_noticed(tmp_path: Path, encoder: str) -> None:
    source = make_source(
        tmp_path / "source.ts", codec=encoder, num_frames=40, time_base=Fraction(1, 25), options={"bf": "0"}
    )
    whole = all_samples(source)
    os.truncate(source, source.stat().st_size // 2 // 188 * 188 + 99)
    said: list[str] = []
    count = len(list(read_frames(source, said.append)))
    assert 10 < count < 40
    assert len(said) == 1 and "cut off" in said[0]
    assert same(all_samples(source), whole[:count]), "no frame may be half grey"


def test_sound_ends_with_a_picture_that_was_cut_off(tmp_path: Path) -> None:
    made = make_source(tmp_path / "made.mkv", num_frames=40, sound="pcm_s16le", sound_delay_s=0.0)
    faststart = {"movflags": "+faststart"}
    copy_through(made, tmp_path / "made.mp4", Codec.H264)
    source = remux(tmp_path / "made.mp4", tmp_path / "source.mp4", options=faststart)
    os.truncate(source, source.stat().st_size // 2)
    copy_through(source, tmp_path / "out.mp4", Codec.H264)
    end = ends(tmp_path / "out.mp4")
    assert 0.2 < end["audio"] <= end["video"] + 0.05 < 1.0


@pytest.mark.parametrize(("shape", "count"), [((240, 320), 6), ((8000, 16000), 4)])
def test_a_frame_that_grows_beyond_all_measure_is_not_decoded(
    tmp_path: Path, shape: tuple[int, int], count: int
) -> None:
    small, grown = (cv2.imencode(".jpg", np.full(of, 90, np.uint8))[1] for of in ((120, 160), shape))
    with av.open(str(tmp_path / "film.mkv"), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuvj420p"
        for t, jpeg in enumerate([small, small, small, grown, grown, small]):
            packet = av.Packet(jpeg.tobytes())
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, t, t, Fraction(1, 10)
            container.mux(packet)
    said: list[str] = []
    sizes = [frame.rgb().shape for frame in read_frames(tmp_path / "film.mkv", said.append)]
    assert sizes == [(120, 160, 3)] * count
    assert ("4 of about 6 frames could be read" in said[-1]) == (count == 4)
