"""Times, sound and subtitles come through; what is cut off in the middle is read as far as it goes."""

from __future__ import annotations

import os
from fractions import Fraction
from itertools import accumulate
from pathlib import Path

import av
import numpy as np
import pytest
from source_clips import all_samples, copy_through, make_source, same

from aftermath.errors import InputError
from aftermath.media.mapped import let_go
from aftermath.media.video import Codec, VideoWriter, probe, read_clip, read_frames, write_rgb_video

UNEVEN = list(accumulate([0, *[3000, 4500, 3750, 3003] * 5]))  # ticks of 1/90000 s
TARGETS = [
    (Codec.H264, "out.mp4"),
    (Codec.HEVC, "out.mp4"),
    (Codec.PRORES, "out.mov"),
    (Codec.FFV1, "out.mkv"),
]


def packets(path: Path, kind: str) -> list[tuple[bytes, Fraction]]:
    """Every packet of the first stream of a kind, and its time in seconds."""
    with av.open(str(path)) as container:
        stream = next(iter(getattr(container.streams, kind)), None)
        if stream is None:
            return []
        found = [p for p in container.demux(stream) if p.dts is not None]
        return [(bytes(p), p.pts * p.time_base) for p in found]


def times(path: Path) -> list[float]:
    return [frame.time_s for frame in read_frames(path)]


def first_s(path: Path) -> Fraction:
    return next(read_frames(path)).pts * probe(path).time_base


def length_s(path: Path) -> float:
    with av.open(str(path)) as container:
        return container.duration / av.time_base


@pytest.mark.parametrize(("codec", "name"), TARGETS)
def test_variable_frame_rate_is_kept(tmp_path: Path, codec: Codec, name: str) -> None:
    source = make_source(tmp_path / "source.mp4", codec="libx264", ticks=UNEVEN, time_base=Fraction(1, 90000))
    copy_through(source, tmp_path / name, codec)
    rounding = 0.5e-3 if name.endswith(".mkv") else 0  # Matroska counts milliseconds
    assert times(source) == pytest.approx([tick / 90000 for tick in UNEVEN], abs=1e-9)
    assert times(tmp_path / name) == pytest.approx(times(source), abs=rounding + 1e-9)
    assert length_s(tmp_path / name) == pytest.approx(length_s(source), abs=2e-3)
    assert read_clip(tmp_path / name, 64).times_s == pytest.approx(times(source), abs=rounding + 1e-9)


@pytest.mark.parametrize(("codec", "name"), TARGETS)
def test_an_even_rate_stays_exactly_that_rate(tmp_path: Path, codec: Codec, name: str) -> None:
    source = make_source(
        tmp_path / "source.mp4", codec="libx264", num_frames=9, time_base=Fraction(1001, 30000)
    )
    copy_through(source, tmp_path / name, codec)
    assert probe(source).frame_rate == probe(tmp_path / name).frame_rate == Fraction(30000, 1001)
    assert probe(tmp_path / name).estimated_frames == 9


@pytest.mark.parametrize("container", [".mp4", ".mkv"])
@pytest.mark.parametrize("sound", ["aac", "pcm_s16le", "libopus", "flac", "libmp3lame"])
@pytest.mark.parametrize(("codec", "name"), [TARGETS[0], *TARGETS[2:]])
def test_sound_is_copied_packet_by_packet_and_in_time(
    tmp_path: Path, container: str, sound: str, codec: Codec, name: str
) -> None:
    source = make_source(
        tmp_path / f"source{container}", codec="libx264", num_frames=6, sound=sound, sound_delay_s=0.25
    )
    warnings = copy_through(source, tmp_path / name, codec)
    before, after = packets(source, "audio"), packets(tmp_path / name, "audio")
    if name.endswith(".mov") and sound in ("libopus", "flac"):
        assert after == [] and "left out" in warnings[0]
        return
    assert warnings == []
    assert [data for data, _ in before] == [data for data, _ in after]
    shifts = [float(new - old) for (_, old), (_, new) in zip(before, after, strict=True)]
    assert shifts == pytest.approx([shifts[0]] * len(shifts), abs=1e-3)
    picture = [float(first_s(path)) for path in (source, tmp_path / name)]
    assert shifts[0] == pytest.approx(picture[1] - picture[0], abs=1e-3)


def test_sound_and_picture_lie_together_in_the_file(tmp_path: Path) -> None:
    source = make_source(
        tmp_path / "source.mkv", num_frames=40, ticks=[12 * i for i in range(40)], sound="pcm_s16le"
    )
    copy_through(source, tmp_path / "out.mkv")
    with av.open(str(tmp_path / "out.mkv")) as container:
        order = [packet.stream.type for packet in container.demux() if packet.dts is not None]
    assert "video" in order[:4], "the sound may not stand in front of the whole picture"


def test_subtitles_go_where_the_container_takes_them(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source.mkv", codec="libx264", subtitles="subrip")
    assert copy_through(source, tmp_path / "out.mkv") == []
    assert packets(tmp_path / "out.mkv", "subtitles") == packets(source, "subtitles") != []
    (warning,) = copy_through(source, tmp_path / "out.mp4", Codec.H264)
    assert "subtitle" in warning and ".mp4" in warning
    assert probe(tmp_path / "out.mp4").num_subtitles == 0


def test_streams_are_left_alone_where_told_so_and_said_where_impossible(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source.mkv", sound="aac")
    assert copy_through(source, tmp_path / "out.mkv", copy_streams=False) == []
    assert probe(tmp_path / "out.mkv").num_audio == 0
    assert any("sound" in warning for warning in copy_through(source, tmp_path / "out", Codec.PNG))


def test_titles_and_languages_are_kept(tmp_path: Path) -> None:
    source = make_source(tmp_path / "plain.mkv", sound="aac")
    with av.open(str(source)) as before, av.open(str(tmp_path / "named.mkv"), "w") as named:
        named.metadata["title"] = "A glass of water"
        copies = {s.index: named.add_stream_from_template(s, opaque=True) for s in before.streams}
        copies[1].metadata["language"] = "deu"
        for packet in before.demux():
            if packet.dts is not None:
                packet.stream = copies[packet.stream_index]
                named.mux(packet)
    copy_through(tmp_path / "named.mkv", tmp_path / "out.mkv")
    with av.open(str(tmp_path / "out.mkv")) as after:
        assert after.metadata["title"] == "A glass of water"
        assert after.streams.audio[0].language == "deu"


def test_a_transport_stream_that_starts_late_starts_at_nought(tmp_path: Path) -> None:
    source = make_source(
        tmp_path / "source.ts",
        codec="libx264",
        ticks=[126_000 + 3750 * i for i in range(8)],
        time_base=Fraction(1, 90000),
        sound="aac",
        sound_delay_s=1.5,
    )
    copy_through(source, tmp_path / "out.mp4", Codec.H264)
    assert times(tmp_path / "out.mp4") == pytest.approx(times(source))
    before = packets(source, "audio")[0][1] - first_s(source)
    after = packets(tmp_path / "out.mp4", "audio")[0][1] - first_s(tmp_path / "out.mp4")
    assert float(after) == pytest.approx(float(before), abs=2e-3)
    assert first_s(tmp_path / "out.mp4") < 0.1


@pytest.mark.parametrize(("codec", "name"), [(Codec.H264, "long.mp4"), (Codec.FFV1, "long.mkv")])
def test_a_clip_cut_off_in_the_middle_gives_what_decodes(tmp_path: Path, codec: Codec, name: str) -> None:
    source = make_source(tmp_path / "source.mkv", num_frames=60, sound="aac")
    whole = tmp_path / name
    copy_through(source, whole, codec)
    expected = all_samples(whole)
    os.truncate(whole, int(whole.stat().st_size * 0.6))
    said: list[str] = []
    frames = list(read_frames(whole, said.append))
    assert 10 < len(frames) < 60
    assert len(said) == 1 and "cut off" in said[0] and str(len(frames)) in said[0]
    assert same(all_samples(whole)[:10], expected[:10])
    copy_through(whole, tmp_path / "saved.mkv")
    assert len(times(tmp_path / "saved.mkv")) == len(frames)


def test_a_whole_clip_gives_no_warning(tmp_path: Path) -> None:
    for name, codec in (
        ("a.mp4", "libx264"),
        ("b.mkv", "ffv1"),
        ("c.mov", "mpeg4"),
        ("d.avi", "mjpeg"),
        ("e.ts", "libx264"),
    ):
        pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        source = make_source(tmp_path / name, pix_fmt, codec=codec, num_frames=12, sound="libmp3lame")
        said: list[str] = []
        assert len(list(read_frames(source, said.append))) == 12
        assert said == []


def test_an_mp4_without_its_header_is_refused(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source.mp4", codec="libx264", num_frames=30)  # the header comes last
    os.truncate(source, int(source.stat().st_size * 0.6))
    with pytest.raises(InputError, match="cut off"):
        probe(source)


def test_not_a_video(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("this is a letter, not a film\n" * 99)
    (tmp_path / "empty.mp4").touch()
    tone = tmp_path / "tone.wav"
    with av.open(str(tone), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        chunk = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        chunk.sample_rate = 8000
        container.mux(stream.encode(chunk))
    for path, words in (
        (tmp_path / "missing.mp4", "no such file"),
        (tmp_path / "text.mp4", "not a video"),
        (tmp_path / "empty.mp4", "not a video"),
        (tone, "sound but no picture"),
        (tmp_path, "a folder"),
    ):
        with pytest.raises(InputError, match=words):
            probe(path)
        with pytest.raises(InputError, match=words):
            next(read_frames(path))


def test_a_header_without_a_frame_is_refused(tmp_path: Path) -> None:
    for name in ("none.avi", "none.mp4", "none.mkv"):
        with av.open(str(tmp_path / name), "w") as container:
            video = container.add_stream("mpeg4", rate=24)
            video.width, video.height, video.pix_fmt = 32, 24, "yuv420p"
            container.start_encoding()
        with pytest.raises(InputError, match=r"no frame|no picture|not a video"):
            probe(tmp_path / name)


def test_one_frame_and_a_thousand_frames(tmp_path: Path) -> None:
    for count in (1, 1000):
        frames = (np.full((16, 32, 3), index % 200, np.uint8) for index in range(count))
        write_rgb_video(tmp_path / "clip.mp4", frames, Fraction(25))
        assert len(times(tmp_path / "clip.mp4")) == count
        assert probe(tmp_path / "clip.mp4").frame_rate == 25
        copy_through(tmp_path / "clip.mp4", tmp_path / "out.mp4", Codec.H264)
        assert len(times(tmp_path / "out.mp4")) == count


def test_a_large_clip_is_mapped_from_disk_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, scratch = make_source(tmp_path / "source.mkv"), tmp_path / "scratch"
    scratch.mkdir()
    small = read_clip(source, 320)
    monkeypatch.setattr("aftermath.media.mapped._IN_MEMORY_BYTES", 1000)
    seen: list[tuple[int, int]] = []
    large = read_clip(source, 320, scratch, progress=lambda done, total: seen.append((done, total)))
    assert not large.frames.flags.writeable
    let_go()
    assert np.array_equal(small.frames, large.frames)
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert list(scratch.iterdir()) == []


def test_rgb_previews_play_everywhere_and_keep_their_times(tmp_path: Path) -> None:
    frames = [np.full((48, 64, 3), value, np.uint8) for value in (10, 120, 230)]
    write_rgb_video(tmp_path / "even.mp4", frames, [0.0, 0.1, 0.35])
    assert probe(tmp_path / "even.mp4").pix_fmt == "yuv420p"
    assert times(tmp_path / "even.mp4") == pytest.approx([0.0, 0.1, 0.35], abs=1e-4)
    for wanted, frame in zip(frames, read_frames(tmp_path / "even.mp4"), strict=True):
        assert np.abs(frame.rgb().astype(int) - wanted).max() <= 2
    odd = np.random.default_rng(0).integers(0, 255, (2, 239, 318, 3)).astype(np.uint8)
    write_rgb_video(tmp_path / "odd.mkv", odd, 12, Codec.FFV1)
    assert all(
        np.array_equal(a, f.rgb()) for a, f in zip(odd, read_frames(tmp_path / "odd.mkv"), strict=True)
    )
    write_rgb_video(tmp_path / "odd.mp4", odd, 12)
    assert (probe(tmp_path / "odd.mp4").width, probe(tmp_path / "odd.mp4").height) == (318, 239)


def test_the_source_is_not_changed_by_being_written(tmp_path: Path) -> None:
    source = make_source(
        tmp_path / "source.ts", codec="libx264", ticks=[126_000, 130_000], time_base=Fraction(1, 90000)
    )
    info = probe(source)
    with VideoWriter(tmp_path / "out.mkv", info, Codec.FFV1) as writer:
        for frame in read_frames(source):
            before = frame.picture.pts
            writer.write(frame)
            assert frame.picture.pts == before
