"""Whatever a source is made of, what is kept comes back exactly and what is new in the right colours."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import Interpolation
from source_clips import all_samples, copy_through, make_source, picture, same, samples, turn_clip

from aftermath.media import planes
from aftermath.media.video import Codec, probe, read_clip, read_frames

FORMATS = [
    *("yuv420p", "yuv422p", "yuv444p", "yuv440p", "yuv411p", "yuv410p"),
    *("yuv420p10le", "yuv422p10le", "yuv444p10le", "yuv420p12le", "yuv444p12le", "yuv420p16le"),
    *("gray", "gray10le", "gray16le", "bgr0", "bgra", "gbrp10le", "gbrp16le", "yuva420p", "yuva444p10le"),
]
SIZES = [(320, 240), (318, 239)]


def centre_weight(width: int, height: int) -> np.ndarray:
    weight = np.zeros((height, width), np.float32)
    weight[60:121, 81:160] = 1.0
    weight[121:125, 81:160] = 0.5
    return weight


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("pix_fmt", FORMATS)
def test_a_lossless_copy_is_exact(tmp_path: Path, pix_fmt: str, size: tuple[int, int]) -> None:
    source = make_source(tmp_path / "source.mkv", pix_fmt, *size, num_frames=2)
    assert copy_through(source, tmp_path / "out.mkv") == []
    assert same(all_samples(source), all_samples(tmp_path / "out.mkv"))
    assert probe(tmp_path / "out.mkv").pix_fmt == probe(source).pix_fmt


@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(
    "pix_fmt", ["yuv420p", "yuv422p10le", "yuv444p12le", "gray", "gbrp10le", "bgr0", "yuv410p"]
)
def test_only_what_changes_changes(tmp_path: Path, pix_fmt: str, size: tuple[int, int], full: bool) -> None:
    width, height = size
    source = make_source(tmp_path / "source.mkv", pix_fmt, width, height, num_frames=1, full=full)
    colour = np.empty((height, width, 3), np.uint8)
    colour[:] = (140, 90, 110)
    weight = centre_weight(width, height)
    copy_through(source, tmp_path / "out.mkv", rgb=colour, changed=weight)

    before, after = next(read_frames(source)), next(read_frames(tmp_path / "out.mkv"))
    for old, new in zip(samples(before), samples(after), strict=True):
        y, x = -(-height // old.shape[0]), -(-width // old.shape[1])
        padded = np.pad(weight, ((0, old.shape[0] * y - height), (0, old.shape[1] * x - width)))
        touched = padded.reshape(old.shape[0], y, old.shape[1], x).max((1, 3)) > 0
        assert np.array_equal(old[~touched], new[~touched])
    wanted = (
        colour if not pix_fmt.startswith("gray") else np.full_like(colour, 107)
    )  # BT.601 luma of that colour
    inner = (slice(66, 115), slice(90, 150))
    assert np.abs(after.rgb()[inner].astype(int) - wanted[inner]).max() <= 2


@pytest.mark.parametrize("matrix", [1, 5, 6, 7, 9], ids=lambda number: f"matrix {number}")
@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("pix_fmt", ["yuv444p", "yuv420p", "yuv444p10le", "yuv422p12le"])
def test_a_frames_own_picture_put_back_is_the_frame(
    tmp_path: Path, pix_fmt: str, full: bool, matrix: int
) -> None:
    source = make_source(
        tmp_path / "source.mkv", pix_fmt, num_frames=1, full=full, tags={"colorspace": matrix}
    )
    frame = next(read_frames(source))
    again = planes.put_in(frame.picture, frame.rgb(), np.ones((240, 320), np.float32))
    unit = 2 ** (planes.bit_depth(pix_fmt) - 8)
    for old, new in zip(samples(frame), planes.planes_of(again), strict=True):
        difference = (new.astype(int) - old.astype(int)) / unit
        assert np.abs(difference).mean() < 0.5, "the two directions use another matrix or range"
        assert abs(difference.mean()) < 0.15, "a bias that would show as a tint"


def test_what_lies_outside_the_weight_does_not_matter(tmp_path: Path) -> None:
    frame = next(read_frames(make_source(tmp_path / "source.mkv", num_frames=1)))
    weight = centre_weight(320, 240)
    clean = picture(320, 240, 3)
    dirty = np.where(weight[..., None] > 0, clean, np.random.default_rng(1).integers(0, 255, clean.shape))
    left, right = (planes.put_in(frame.picture, rgb.astype(np.uint8), weight) for rgb in (clean, dirty))
    assert all(
        np.array_equal(a, b) for a, b in zip(planes.planes_of(left), planes.planes_of(right), strict=True)
    )


def test_weights_of_zero_return_the_frame_itself(tmp_path: Path) -> None:
    frame = next(read_frames(make_source(tmp_path / "source.mkv", num_frames=1)))
    nothing = np.zeros((240, 320), np.float32)
    assert planes.put_in(frame.picture, picture(320, 240, 0), nothing) is frame.picture


PACKED = {
    **{"nv12": "yuv420p", "nv21": "yuv420p", "nv16": "yuv422p", "nv24": "yuv444p"},
    **{"p010le": "yuv420p10le", "p210le": "yuv422p10le", "p016le": "yuv420p16le"},
    **{"yuyv422": "yuv422p", "uyvy422": "yuv422p", "yuv420p10be": "yuv420p10le", "gray16be": "gray16le"},
    **{"rgb24": "gbrp", "bgr24": "gbrp", "rgba": "gbrap", "argb": "gbrap", "0bgr": "gbrp"},
    **{"rgb48be": "gbrp16le", "rgb48le": "gbrp16le", "yuvj420p": "yuv420p", "y210le": "yuv422p10le"},
}


@pytest.mark.parametrize("packed", PACKED)
def test_packed_formats_are_taken_apart_without_loss(packed: str) -> None:
    planar = PACKED[packed]
    original = av.VideoFrame(318, 240, planar)
    random = np.random.default_rng(2)
    for plane in planes.planes_of(original):
        plane[:] = random.integers(0, 2 ** planes.bit_depth(planar), plane.shape)
    full = 2 if packed.startswith("yuvj") else 1
    original.color_range = full
    exact = {"src_color_range": full, "dst_color_range": full, "interpolation": Interpolation.BICUBIC}
    mixed = original.reformat(format=packed, **exact)
    again = planes.to_planar(mixed)
    assert again.format.name == planar
    for old, new in zip(planes.planes_of(original), planes.planes_of(again), strict=True):
        assert np.array_equal(old, new)


@pytest.mark.parametrize("pix_fmt", ["rgb24", "gray", "rgba", "rgb48be"])
def test_a_png_is_a_clip_of_one_frame(tmp_path: Path, pix_fmt: str) -> None:
    source = make_source(tmp_path / "source.mkv", "bgr0", 31, 17, num_frames=1)
    frame = next(read_frames(source)).picture.reformat(format=pix_fmt)
    encoder = av.CodecContext.create("png", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = (
        31,
        17,
        pix_fmt,
        probe(source).time_base,
    )
    (tmp_path / "one.png").write_bytes(b"".join(bytes(packet) for packet in encoder.encode(frame)))
    assert len(read_clip(tmp_path / "one.png", 31)) == 1
    assert (probe(tmp_path / "one.png").width, probe(tmp_path / "one.png").height) == (31, 17)


@pytest.mark.parametrize("codec", [Codec.H264, Codec.HEVC, Codec.PRORES, Codec.PNG])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le", "gray", "bgra", "yuv444p12le", "yuv411p"])
def test_every_codec_takes_every_source(
    tmp_path: Path, pix_fmt: str, size: tuple[int, int], codec: Codec
) -> None:
    source = make_source(tmp_path / "source.mkv", pix_fmt, *size, num_frames=2)
    target = tmp_path / {Codec.PRORES: "out.mov", Codec.PNG: "out"}.get(codec, "out.mp4")
    copy_through(source, target, codec)
    written = target / "00001.png" if codec is Codec.PNG else target
    info = probe(written)
    assert (info.width, info.height) == size
    old, new = list(read_frames(source))[1], list(read_frames(written))[-1]
    assert np.abs(old.rgb().astype(int) - new.rgb()).mean() < 2


@pytest.mark.parametrize(
    ("pix_fmt", "size", "codec", "name", "said"),
    [
        ("yuv420p12le", (320, 240), Codec.H264, "out.mp4", "12 bits a sample become 10"),
        ("yuva420p", (320, 240), Codec.H264, "out.mp4", "transparency is dropped"),
        ("yuv420p", (318, 239), Codec.H264, "out.mp4", "not every player shows"),
        ("bgr0", (320, 240), Codec.HEVC, "out.mp4", "not exact"),
        ("yuv444p", (320, 240), Codec.PNG, "out", "not exact"),
        ("yuv422p10le", (320, 240), Codec.PRORES, "out.mov", ""),
        ("yuv420p", (320, 240), Codec.H264, "out.mp4", ""),
        ("yuv422p10le", (320, 240), Codec.HEVC, "out.mkv", ""),
    ],
)
def test_what_a_codec_cannot_keep_is_said_once(
    tmp_path: Path, pix_fmt: str, size: tuple[int, int], codec: Codec, name: str, said: str
) -> None:
    source = make_source(tmp_path / "source.mkv", pix_fmt, *size)
    warnings = copy_through(source, tmp_path / name, codec)
    assert len(warnings) == (1 if said else 0)
    assert said in "".join(warnings)


def test_full_range_into_prores_is_converted_and_said(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source.mkv", "yuv422p", full=True, num_frames=1)
    assert "limited range" in "".join(copy_through(source, tmp_path / "out.mov", Codec.PRORES))
    old, new = next(read_frames(source)).rgb(), next(read_frames(tmp_path / "out.mov")).rgb()
    assert np.abs(old.astype(int) - new).max() <= 6


@pytest.mark.parametrize("codec", [Codec.FFV1, Codec.H264, Codec.HEVC])
def test_colour_tags_are_kept(tmp_path: Path, codec: Codec) -> None:
    tags = {"color_primaries": 9, "color_trc": 16, "colorspace": 9, "color_range": 1}  # HDR10
    source = make_source(tmp_path / "source.mkv", "yuv420p10le", tags=tags)
    copy_through(source, tmp_path / "out.mkv", codec)
    info = probe(tmp_path / "out.mkv")
    assert {tag: getattr(info, tag) for tag in tags} == tags


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("size", [(320, 240), (318, 242)], ids=str)
def test_rotation_is_applied_to_the_planes(tmp_path: Path, size: tuple[int, int], degrees: int) -> None:
    flat = make_source(tmp_path / "source.mp4", "yuv420p", *size, codec="libx264", num_frames=2)
    lying = all_samples(flat)
    turn_clip(flat, degrees)
    info = probe(flat)
    assert info.rotation == degrees
    assert (info.width, info.height) == (size if degrees % 180 == 0 else size[::-1])
    upright = all_samples(flat)
    for before, after in zip(lying, upright, strict=True):
        for old, new in zip(before, after, strict=True):
            assert np.array_equal(np.rot90(old, -degrees // 90), new)
    assert copy_through(flat, tmp_path / "out.mkv") == []
    assert probe(tmp_path / "out.mkv").rotation == 0
    assert same(upright, all_samples(tmp_path / "out.mkv"))


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_mirrored_clip_becomes_upright(tmp_path: Path, degrees: int) -> None:
    source = make_source(tmp_path / "source.mp4", codec="libx264", num_frames=2)
    lying = all_samples(source)
    turn_clip(source, degrees, mirrored=True)
    upright = all_samples(source)
    for before, after in zip(lying, upright, strict=True):
        for old, new in zip(before, after, strict=True):
            assert np.array_equal(np.rot90(old[:, ::-1], -degrees // 90), new)
    assert copy_through(source, tmp_path / "out.mkv") == []
    assert same(upright, all_samples(tmp_path / "out.mkv"))


@pytest.mark.parametrize(("pix_fmt", "size"), [("yuv422p", (320, 240)), ("yuv420p", (318, 239))])
def test_turned_chroma_that_no_longer_fits_becomes_full_and_is_said(
    tmp_path: Path, pix_fmt: str, size: tuple[int, int]
) -> None:
    codec = "mpeg4" if pix_fmt == "yuv420p" else "libx264"  # H.264 takes no odd sizes
    source = make_source(tmp_path / "source.mp4", pix_fmt, *size, codec=codec)
    flat = next(read_frames(source)).rgb()
    turn_clip(source, 90)
    said: list[str] = []
    frames = list(read_frames(source, said.append))
    assert len(said) == 1 and "4:4:4" in said[0]
    assert frames[0].picture.format.name == "yuv444p"
    assert np.abs(np.rot90(flat, -1).astype(int) - frames[0].rgb()).mean() < 1


def test_the_analysed_size_is_an_area_average(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source.mkv", "yuv444p", 320, 240)
    clip = read_clip(source, 80)
    assert clip.frames.shape == (4, 60, 80, 3)
    assert (clip.source_width, clip.source_height) == (320, 240)
    for small, frame in zip(clip.frames, read_frames(source), strict=True):
        mean = frame.rgb().reshape(60, 4, 80, 4, 3).mean((1, 3))
        assert np.abs(small - mean).max() < 2
    assert read_clip(source, 9999).frames.shape == (4, 240, 320, 3)


@pytest.mark.parametrize("codec", ["libx264", "ffv1"])
def test_colour_stays_where_it_was(tmp_path: Path, codec: str) -> None:
    """H.264 tags its chroma as standing left, FFV1 does not: both show and take an edge in the same place."""
    source = make_source(tmp_path / "source.mkv", "yuv420p", 64, 32, codec=codec, num_frames=1)
    picture = next(read_frames(source)).picture
    luma, blue, red = (plane.copy() for plane in planes.planes_of(picture))
    luma[:], blue[:], red[:, :16], red[:, 16:] = 128, 128, 100, 160
    for plane, values in zip(planes.planes_of(picture), (luma, blue, red), strict=True):
        plane[:] = values
    shown = planes.to_rgb(picture)[16, :, 0].astype(int)
    assert shown[31] + shown[32] == pytest.approx(shown[16] + shown[48], abs=2)
    again = planes.put_in(picture, planes.to_rgb(picture), np.ones((32, 64), np.float32))
    assert (
        np.abs(planes.planes_of(again)[2].astype(int) - red).max() <= 5
    )  # the overshoot of a bicubic kernel
