"""The four values survive every write and read; a mask that does not fit is refused with the reason."""

from __future__ import annotations

import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from aftermath.core import Level, Quadmask, quantise
from aftermath.errors import InputError
from aftermath.media.masks import read_binary_mask, read_masks, read_quadmask, resize_levels, write_masks
from aftermath.media.video import Codec, write_rgb_video

LEVELS = [int(level) for level in Level]
SHAPE = (3, 39, 58)  # frames, height, width


def quadmask() -> np.ndarray:
    values = np.full(SHAPE, Level.KEEP, np.uint8)
    values[1:, 20:30, 5:40] = Level.AFFECTED
    values[:, 5:25, 10:30] = Level.PRIMARY
    values[1:, 20:25, 10:30] = Level.OVERLAP
    return values


@settings(max_examples=40)
@given(
    values=hnp.arrays(
        np.uint8,
        st.tuples(st.integers(1, 4), st.integers(1, 50), st.integers(1, 50)),
        elements=st.integers(0, 255),
    ),
    suffix=st.sampled_from([".mkv", ".mp4"]),
)
def test_every_value_survives_at_every_size(values: np.ndarray, suffix: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"mask{suffix}"
        write_masks(path, values, Fraction(24000, 1001))
        assert np.array_equal(np.stack(list(read_masks(path))), values)


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
@pytest.mark.parametrize(
    "size", [(318, 239), (320, 240), (239, 318), (1200, 60), (60, 1200), (4000, 32), (353, 2)], ids=str
)
def test_a_quadmask_survives(tmp_path: Path, size: tuple[int, int], suffix: str) -> None:
    width, height = size
    values = np.random.default_rng(0).choice(np.array(LEVELS, np.uint8), (4, height, width))
    write_masks(tmp_path / f"mask{suffix}", Quadmask(values), Fraction(12))
    again = np.stack(list(read_quadmask(tmp_path / f"mask{suffix}", expect=(4, height, width))))
    assert np.array_equal(Quadmask(again).values, values)


@pytest.mark.parametrize(
    ("pix_fmt", "codec", "options"),
    [
        ("yuv444p", "libx264", {"crf": "20"}),
        ("yuv420p", "libx264", {"crf": "23"}),
        ("yuv420p10le", "libx264", {"crf": "18"}),
        ("gray", "libx264", {"qp": "0"}),
        ("bgr0", "ffv1", {}),
        ("yuvj420p", "mjpeg", {"qmin": "2", "qmax": "3"}),
    ],
)
@pytest.mark.parametrize("tag", [0, 1, 2], ids=["untagged", "limited", "full"])
def test_quadmasks_of_other_programs(
    tmp_path: Path, pix_fmt: str, codec: str, options: dict[str, str], tag: int
) -> None:
    """Written from RGB, as limited or full range, with loss: the levels come back."""
    smooth = np.full((2, 120, 160), Level.KEEP, np.uint8)
    smooth[:, 20:100, 20:60], smooth[:, 40:80, 60:120], smooth[:, 40:80, 40:60] = (0, 127, 63)
    if codec == "mjpeg" and tag == 1:
        pytest.skip("motion JPEG is full range")
    stored = 2 if tag == 2 or codec == "mjpeg" else 1
    with av.open(str(tmp_path / "mask.mkv"), "w") as container:
        stream = container.add_stream(codec, rate=12, options=options)
        stream.width, stream.height, stream.pix_fmt = 160, 120, pix_fmt
        stream.codec_context.color_range = tag
        for index, frame in enumerate(smooth):
            rgb = av.VideoFrame.from_ndarray(np.repeat(frame[..., None], 3, -1), "rgb24")
            picture = rgb.reformat(format=pix_fmt, src_color_range=2, dst_color_range=stored)
            picture.pts = index
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    again = np.stack(list(read_quadmask(tmp_path / "mask.mkv", expect=(2, 120, 160))))
    assert (again != smooth).mean() < 0.01


def test_masks_are_read_from_images_and_folders(tmp_path: Path) -> None:
    values = quadmask()
    rgb = np.repeat(values[..., None], 3, axis=-1)
    write_rgb_video(tmp_path / "pictures", rgb, 24, Codec.PNG)
    assert np.array_equal(np.stack(list(read_masks(tmp_path / "pictures"))), values)
    assert np.array_equal(next(read_masks(tmp_path / "pictures" / "00001.png")), values[1])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no images"):
        list(read_masks(tmp_path / "empty"))


def test_a_black_and_white_mask(tmp_path: Path) -> None:
    mask = quadmask() <= Level.OVERLAP
    write_masks(tmp_path / "mask.mkv", mask * np.uint8(255), Fraction(24))
    assert np.array_equal(np.stack(list(read_binary_mask(tmp_path / "mask.mkv", expect=SHAPE))), mask)


QUADMASK_FAULTS = {
    "frames": (quadmask()[:2], "2 frames"),
    "more frames": (np.concatenate([quadmask(), quadmask()]), "more than 3"),
    "size": (quadmask()[:, :-1], "58x38"),
    "levels": (np.full(SHAPE, 190, np.uint8), "off the four levels"),
    "empty": (np.full(SHAPE, Level.KEEP, np.uint8), "empty mask"),
    "affected only": (np.full(SHAPE, Level.AFFECTED, np.uint8), "empty mask"),
    "everything": (np.zeros(SHAPE, np.uint8), "covers everything"),
}


@pytest.mark.parametrize("fault", QUADMASK_FAULTS)
def test_quadmasks_that_do_not_fit(tmp_path: Path, fault: str) -> None:
    values, words = QUADMASK_FAULTS[fault]
    write_masks(tmp_path / "mask.mkv", values, Fraction(24))
    with pytest.raises(InputError, match=words) as caught:
        list(read_quadmask(tmp_path / "mask.mkv", expect=SHAPE))
    assert caught.value.remedy and "\n" not in str(caught.value)


BINARY_FAULTS = {
    "frames": (np.zeros((2, *SHAPE[1:]), np.uint8), "2 frames"),
    "size": (np.zeros((3, 39, 60), np.uint8), "60x39"),
    "grey": (np.full(SHAPE, 127, np.uint8), "grey"),
    "empty": (np.zeros(SHAPE, np.uint8), "empty mask"),
    "everything": (np.full(SHAPE, 255, np.uint8), "covers everything"),
}


@pytest.mark.parametrize("fault", BINARY_FAULTS)
def test_binary_masks_that_do_not_fit(tmp_path: Path, fault: str) -> None:
    values, words = BINARY_FAULTS[fault]
    write_masks(tmp_path / "mask.mkv", values, Fraction(24))
    with pytest.raises(InputError, match=words) as caught:
        list(read_binary_mask(tmp_path / "mask.mkv", expect=SHAPE))
    assert caught.value.remedy and "\n" not in str(caught.value)


def test_masks_go_into_known_containers_only(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.mkv"):
        write_masks(tmp_path / "mask.avi", quadmask(), Fraction(24))
    with pytest.raises(InputError, match="no folder"):
        write_masks(tmp_path / "nowhere" / "mask.mkv", quadmask(), Fraction(24))
    assert list(tmp_path.iterdir()) == []


levels_frame = hnp.arrays(
    np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=st.sampled_from(LEVELS)
)


@given(frame=levels_frame, width=st.integers(1, 80), height=st.integers(1, 80))
def test_resizing_invents_no_level(frame: np.ndarray, width: int, height: int) -> None:
    resized = resize_levels(frame, width, height)
    assert resized.shape == (height, width) and resized.dtype == np.uint8
    assert set(np.unique(resized)) <= set(np.unique(frame))


@given(frame=levels_frame, factor=st.integers(1, 4))
def test_shrinking_takes_the_majority_and_undoes_growing_by_repetition(
    frame: np.ndarray, factor: int
) -> None:
    grown = frame.repeat(factor, 0).repeat(factor, 1)
    assert np.array_equal(resize_levels(grown, frame.shape[1], frame.shape[0]), frame)


def test_growing_keeps_edges_smooth() -> None:
    """A disc enlarged eightfold stays within a pixel of the disc drawn at that size; blocks would not."""
    y, x = np.mgrid[:40, :40]
    small = np.where((x - 19.5) ** 2 + (y - 19.5) ** 2 < 12**2, Level.PRIMARY, Level.KEEP).astype(np.uint8)
    y, x = np.mgrid[:320, :320]
    truth = (x - 159.5) ** 2 + (y - 159.5) ** 2 < 96**2
    smooth = resize_levels(small, 320, 320) == Level.PRIMARY
    blocks = small.repeat(8, 0).repeat(8, 1) == Level.PRIMARY
    assert (smooth != truth).sum() < 0.85 * (blocks != truth).sum()


def test_the_border_between_keep_and_primary_never_reads_as_affected(tmp_path: Path) -> None:
    values = quadmask()[:1]
    assert set(np.unique(resize_levels(values[0], 23, 17))) == {0, 255}
    assert np.array_equal(quantise(values), values)
