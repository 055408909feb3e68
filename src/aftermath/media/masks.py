"""Masks as files: written so that every value comes back, read from whatever people have."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from aftermath.core import Level, check_levels, quantise
from aftermath.errors import InputError, MediaError
from aftermath.media import planes
from aftermath.media.decode import SourceFrame, read_frames
from aftermath.media.files import check_folder, explained, publish, temporary_for
from aftermath.media.formats import Recipe
from aftermath.media.sinks import FileSink, Fit

__all__ = ["read_binary_mask", "read_masks", "read_quadmask", "resize_levels", "write_masks"]

_PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"}
_BLACK, _WHITE = 48, 207  # a black-and-white mask may ring this far
_MAX_GREY_SHARE = 0.02
_MPEG, _JPEG = 1, 2  # limited and full range, as tagged

# 4:4:4 at qp 0 is the form of the reference's quadmask_0.mp4; other readers take H.264 gray for limited range
_FORMS = {
    ".mkv": ("gray", Recipe("ffv1", (".mkv",), ("gray",), {"level": "3", "slicecrc": "1"})),
    ".mp4": ("yuv444p", Recipe("libx264", (".mp4",), ("yuv444p",), {"qp": "0", "preset": "veryfast"})),
}


def write_masks(target: Path, frames: Iterable[np.ndarray], rate: Fraction) -> None:
    """Write uint8 (H, W) frames without loss, at any size: all 256 values come back.

    ``.mkv``: FFV1, gray. ``.mp4``: lossless H.264 with the values as full-range luma. Raises `InputError` for
    another suffix or a place that cannot be written, `MediaError` for no frames at all.
    """
    target = Path(target)
    if target.suffix.lower() not in _FORMS:
        raise InputError(str(target), "masks are written to .mkv or .mp4", f"name it {target.stem}.mkv")
    check_folder(target)
    pix_fmt, recipe = _FORMS[target.suffix.lower()]
    rate, sink = Fraction(rate), None
    with contextlib.ExitStack() as cleanup:
        temporary = cleanup.enter_context(temporary_for(target))
        for index, values in enumerate(frames):
            frame = _frame_of(values, pix_fmt)
            frame.pts, frame.time_base = index, 1 / rate
            with explained(target):
                if sink is None:
                    sink = FileSink(temporary, recipe, _as_is(frame), 1 / rate, rate)
                    cleanup.callback(sink.close)
                sink.write(frame)
        if sink is None:
            raise MediaError(f"{target}: there was no mask to write")
        with explained(target):
            sink.finish()
        publish(temporary, target)


def _frame_of(values: np.ndarray, pix_fmt: str) -> av.VideoFrame:
    height, width = values.shape
    frame = av.VideoFrame(width, height, pix_fmt)
    luma, *chroma = planes.planes_of(frame)
    luma[:] = values
    for plane in chroma:
        plane[:] = 128
    frame.color_range = _JPEG
    return frame


def _as_is(frame: av.VideoFrame) -> Fit:
    colour = planes.Colour.of(frame)
    return Fit(frame.format.name, colour, colour, frame)


def read_masks(path: Path) -> Iterator[np.ndarray]:
    """Read uint8 (H, W) frames from a video, one image, or a folder of images in the order of their names.

    Values are luma as the file holds it; only a file tagged as limited range is stretched to 0..255, and one
    in RGB is turned to gray. Raises `InputError` for what cannot be read.
    """
    path = Path(path)
    if not path.is_dir():
        yield from (_values(frame) for frame in read_frames(path))
        return
    pictures = sorted(entry for entry in path.iterdir() if entry.suffix.lower() in _PICTURES)
    if not pictures:
        raise InputError(
            str(path), "this folder holds no images", "give a mask video, an image, or a folder of PNG files"
        )
    for picture in pictures:
        yield from (_values(frame) for frame in read_frames(picture))


def _values(frame: SourceFrame) -> np.ndarray:
    picture = frame.picture
    if picture.format.is_rgb:
        return cv2.cvtColor(frame.rgb(), cv2.COLOR_RGB2GRAY)
    luma = planes.planes_of(picture)[0]
    if luma.dtype != np.uint8:
        luma = (luma >> (planes.bit_depth(picture.format.name) - 8)).astype(np.uint8)
    if picture.color_range == _MPEG:
        return cv2.LUT(luma, _STRETCHED)
    return luma.copy()


_STRETCHED = np.clip(np.rint((np.arange(256) - 16) * (255 / 219)), 0, 255).astype(np.uint8)


def resize_levels(frame: np.ndarray, width: int, height: int) -> np.ndarray:
    """A quadmask frame, uint8 (H, W), at another size: uint8 (height, width), with no value that was not
    there.

    Each level is resized as a picture of its own and the strongest wins: borders stay smooth where it grows,
    and the majority decides where it shrinks. The lower level, the one nearer to the object, wins a tie.
    """
    if frame.shape == (height, width):
        return frame
    shrinks = width * height < frame.size
    kernel = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    levels = np.flatnonzero(cv2.calcHist([frame], [0], None, [256], [0, 256]))
    result = np.full((height, width), levels[0], np.uint8)
    best: np.ndarray | None = None
    for level in levels if len(levels) > 1 else []:
        here = (frame == level).astype(np.uint16) * np.uint16(0xFFFF)  # half the memory of floats
        share = cv2.resize(here, (width, height), interpolation=kernel)
        if best is None:
            best = share
        else:
            np.copyto(result, np.uint8(level), where=share > best)
            np.maximum(best, share, out=best)
    return result


def read_quadmask(path: Path, *, expect: tuple[int, int, int]) -> Iterator[np.ndarray]:
    """Read a quadmask for a clip of (frames, height, width): uint8 (H, W) frames of the four levels, in a
    stream.

    Lossy values go to the nearest level. Raises `InputError`, while it is read, for another size or length,
    values off the levels, no object in any frame, or nothing left to keep.
    """
    primary = kept = False
    for index, values in enumerate(_fitting(Path(path), expect)):
        check_levels(values, f"{path}, frame {index},")
        levels = quantise(values)
        primary = primary or bool((levels <= Level.OVERLAP).any())
        kept = kept or bool((levels == Level.KEEP).any())
        yield levels
    if not primary:
        raise InputError(
            str(path), "an empty mask: no pixel of any frame is 0 or 63, the object", "mark the object"
        )
    if not kept:
        raise InputError(
            str(path), "the mask covers everything: no pixel is 255, keep", "leave some background"
        )


def read_binary_mask(path: Path, *, expect: tuple[int, int, int]) -> Iterator[np.ndarray]:
    """Read a black-and-white mask for a clip of (frames, height, width): boolean (H, W) frames, True where
    white.

    Raises `InputError`, while it is read, for another size or length, grey values, no white pixel, or only
    white ones.
    """
    some = rest = False
    for index, values in enumerate(_fitting(Path(path), expect)):
        _check_black_and_white(values, f"{path}, frame {index},")
        mask = values > 127
        some, rest = some or bool(mask.any()), rest or not mask.all()
        yield mask
    if not some:
        raise InputError(str(path), "an empty mask: no pixel of any frame is white", "paint the object white")
    if not rest:
        raise InputError(
            str(path), "the mask covers everything: every pixel is white", "leave the background black"
        )


def _check_black_and_white(values: np.ndarray, name: str) -> None:
    share = np.count_nonzero((values > _BLACK) & (values < _WHITE)) / values.size
    if share > _MAX_GREY_SHARE:
        raise InputError(
            f"{name} is grey in {share:.0%} of its pixels",
            "a mask is black and white, white on the object",
            "give a mask of 0, 63, 127 and 255 with --quadmask",
        )


def _fitting(path: Path, expect: tuple[int, int, int]) -> Iterator[np.ndarray]:
    """The frames of a mask, of the clip's size and as many as it has."""
    num_frames, height, width = expect
    count = 0
    for values in read_masks(path):
        count += 1
        if values.shape != (height, width):
            found = f"{path} is {values.shape[1]}x{values.shape[0]}"
            raise InputError(found, f"the clip is {width}x{height}", "make the mask at the size of the clip")
        if count > num_frames:
            break
        yield values
    if count != num_frames:
        found = f"{path} has {'more than ' + str(num_frames) if count > num_frames else count} frames"
        raise InputError(found, f"the clip has {num_frames}", "make one mask for each frame of the clip")
