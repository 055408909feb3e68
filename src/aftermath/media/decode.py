"""From a video file to upright frames, one at a time."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Disposition
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from aftermath.core import Clip, fit_long_side
from aftermath.errors import InputError
from aftermath.media import planes
from aftermath.media.mapped import is_large, map_chunks

__all__ = [
    "Progress",
    "SourceFrame",
    "VideoInfo",
    "Warn",
    "is_cut",
    "open_input",
    "probe",
    "read_clip",
    "read_frames",
]

Warn = Callable[[str], None]
"""Told, in one line, what could not be kept or read."""

Progress = Callable[[int, int], None]
"""Called with (frames done, frames expected)."""

_CELLS = 188, 192, 204  # bytes: what a transport stream is made of, plain, with times, with error correction
_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's own decoders of these leave opacity out
_HEAVY_PX = 1280 * 720
_MAX_THREADS = 8  # each decoding thread holds frames of its own
_MAX_GROWN_PX = 2**26  # what frames may grow to in the middle of a film, however few bytes promise it

_DESCRIPTIONS = {
    "MASTERING_DISPLAY_METADATA",
    "CONTENT_LIGHT_LEVEL",
    "AMBIENT_VIEWING_ENVIRONMENT",
    "DYNAMIC_HDR_PLUS",
    "DOVI_METADATA",
    "DYNAMIC_HDR_VIVID",
    "SPHERICAL",
    "STEREO3D",
}


@dataclass(frozen=True)
class VideoInfo:
    """What a video file says about itself; sizes in pixels of the upright picture.

    ``rotation``: clockwise degrees already applied. ``pix_fmt``: as stored. ``color_*``: ITU-T H.273 numbers,
    2 (and range 0) where the file says nothing. ``frame_rate``: the mean where the rate varies.
    ``duration_s``: 0 where the file does not say. ``estimated_frames``: what the header promises, at least 1.
    """

    path: Path
    width: int
    height: int
    frame_rate: Fraction
    time_base: Fraction
    pix_fmt: str
    bit_depth: int
    rotation: int
    color_range: int
    color_primaries: int
    color_trc: int
    colorspace: int
    sample_aspect_ratio: Fraction
    codec: str
    duration_s: float
    num_audio: int
    num_subtitles: int
    estimated_frames: int


@dataclass
class SourceFrame:
    """One decoded frame, upright.

    ``pts``: in the file's ``time_base``. ``time_s``: seconds from the first frame. ``picture``: its own
    samples, in planes (see `aftermath.media.planes`).
    """

    index: int
    pts: int
    time_s: float
    picture: av.VideoFrame = field(repr=False)

    def rgb(self) -> np.ndarray:
        """uint8 (H, W, 3), RGB."""
        return planes.to_rgb(self.picture)


def open_input(path: Path) -> InputContainer:
    """Open a media file. Raises `InputError` where there is none or nothing in it can be read."""
    if path.is_dir():
        raise InputError(str(path), "a folder, not a video file", "name the file in it")
    try:
        return av.open(str(path), metadata_errors="replace")
    except FileNotFoundError as error:
        raise InputError(str(path), "no such file", "check the path") from error
    except PermissionError as error:
        raise InputError(str(path), "this file may not be read", "change its permissions") from error
    except (FFmpegError, OSError, ValueError) as error:
        allowed = "not a video, or one cut off before its header was written"
        raise InputError(str(path), allowed, "give a file that a video player opens") from error


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[InputContainer]:
    """Open a file, and free its decoder at once afterwards.

    A container and its streams refer to one another, and the collector, which counts objects, does not know
    what they weigh: a 4K decoder left over holds 200 MB. Small pictures are not worth its time.
    """
    container = open_input(path)
    try:
        yield container
    finally:
        heavy = any(stream.width * stream.height > _HEAVY_PX for stream in container.streams.video)
        container.close()
        del container
        if heavy:
            gc.collect()


def video_stream(container: InputContainer) -> VideoStream:
    """The picture to edit: the first video stream that is not a cover image.

    Raises `InputError` where the file has none.
    """
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic and stream.codec_context is not None:
            return stream
    what = "holds sound but no picture" if container.streams.audio else "holds no picture"
    raise InputError(container.name, what, "give a video file")


def probe(path: Path) -> VideoInfo:
    """Read the header and the first frame.

    Raises `InputError` for no such file, not a video, audio only, or not one frame that decodes.
    """
    path = Path(path)
    with _opened(path) as container:
        stream = video_stream(container)
        first = next(_decoded(container, stream, []), None)
        if first is None:
            raise InputError(str(path), "holds no frame that can be decoded", "give a complete video file")
        return _describe(path, container, stream, first)


def _describe(path: Path, container: InputContainer, stream: VideoStream, first: av.VideoFrame) -> VideoInfo:
    turn, context = planes.Turn.of(first), stream.codec_context
    rate = stream.average_rate or stream.guessed_rate or Fraction(24)
    time_base = stream.time_base or 1 / rate
    duration_s = (
        float(stream.duration * time_base) if stream.duration else (container.duration or 0) / av.time_base
    )
    aspect = stream.sample_aspect_ratio or Fraction(1)
    return VideoInfo(
        path=path,
        width=first.height if turn.transpose else first.width,
        height=first.width if turn.transpose else first.height,
        frame_rate=Fraction(rate),
        time_base=Fraction(time_base),
        pix_fmt=first.format.name,
        bit_depth=planes.bit_depth(first.format.name),
        rotation=turn.degrees,
        color_range=int(first.color_range),
        color_primaries=int(first.color_primaries),
        color_trc=int(first.color_trc),
        colorspace=int(first.colorspace),
        sample_aspect_ratio=1 / aspect if turn.transpose else aspect,
        codec=context.name,
        duration_s=duration_s,
        num_audio=len(container.streams.audio),
        num_subtitles=len(container.streams.subtitles),
        estimated_frames=max(1, stream.frames or round(duration_s * rate)),
    )


def _decoded(container: InputContainer, stream: VideoStream, damage: list[str]) -> Iterator[av.VideoFrame]:
    """Every frame that decodes, in the order of showing; what does not is noted in ``damage``."""
    decoder = _decoder(stream)
    for packet in _packets(container, stream, damage):
        try:
            frames = decoder.decode(packet)
        except FFmpegError as error:
            damage.append(str(error))
        else:
            yield from frames


def _decoder(stream: VideoStream) -> VideoCodecContext:
    """The decoder of the picture, with threads; a frame far larger than the header says is damage to it."""
    decoder = stream.codec_context
    if stream.metadata.get("alpha_mode") == "1" and decoder.name in _WITH_ALPHA:
        decoder = av.CodecContext.create(_WITH_ALPHA[decoder.name], "r")
        assert isinstance(decoder, VideoCodecContext)
    decoder.thread_type = "AUTO"  # type: ignore[assignment]
    decoder.thread_count = min(os.cpu_count() or 1, _MAX_THREADS)
    decoder.options = {"max_pixels": str(max(_MAX_GROWN_PX, stream.width * stream.height))}
    return decoder


def _packets(
    container: InputContainer, stream: VideoStream, damage: list[str]
) -> Iterator[Packet[VideoStream] | None]:
    """The packets of the picture that are whole; None asks for what the decoder still holds.

    A transport stream cut off inside a cell loses its last packet too: nothing in it tells its length, and the
    decoder would fill what is missing with grey.
    """
    cut = container.format.name == "mpegts" and all(container.size % cell for cell in _CELLS)
    before: Packet[VideoStream] | None = None
    try:
        for packet in container.demux(stream):
            if packet.is_corrupt or (cut and before and not packet.size):
                damage.append("a frame is incomplete")
            elif before is not None:
                yield before
            before = before if packet.is_corrupt else packet
        yield before
    except (FFmpegError, OSError) as error:
        damage.append(str(error))
        yield before
        yield None


def read_frames(path: Path, warn: Warn | None = None) -> Iterator[SourceFrame]:
    """Decode a video frame by frame, upright and in planes; only a few frames are in memory at a time.

    A damaged clip, or one cut off in the middle, yields what decodes; ``warn`` is then told once. Times that
    are missing or run backwards are replaced by steps of one frame. Raises `InputError` as `probe` does.
    """
    path, warn = Path(path), warn or _ignore
    info, damage, last, count = probe(path), [], None, 0
    with _opened(path) as container:
        stream = video_stream(container)
        upright, first_pts = _Upright(warn), 0
        step = max(1, round(1 / (info.frame_rate * info.time_base)))
        for frame in _decoded(container, stream, damage):
            pts = frame.pts if frame.pts is not None else (0 if last is None else last + step)
            pts = pts if last is None or pts > last else last + step
            first_pts, last = (pts if last is None else first_pts), pts
            frame.pts, frame.time_base = pts, info.time_base
            yield SourceFrame(count, pts, float((pts - first_pts) * info.time_base), upright(frame))
            count += 1
        if last is not None and (damage or is_cut(container, stream, info, count, last + step)):
            warn(f"{path}: cut off or damaged; {count} of about {info.estimated_frames} frames could be read")


def _ignore(_: str) -> None: ...


def is_cut(container: InputContainer, stream: VideoStream, info: VideoInfo, count: int, end_pts: int) -> bool:
    """Whether a clip of which ``count`` frames were read, the last one up to ``end_pts``, is not all there: its
    header promises samples beyond the end of the file, or clearly more than was shown.
    """
    if len(stream.index_entries):
        end = stream.index_entries[-1]
        if end.pos + end.size > info.path.stat().st_size:
            return True
    if "mp4" in container.format.name:
        return False  # an edit list may show less than there is
    end_s = end_pts * info.time_base + 2 / info.frame_rate
    return count < stream.frames or end_s < _promised_s(container, stream)


def _promised_s(container: InputContainer, stream: VideoStream) -> Fraction:
    """The length of the picture by the header; 0 where it does not say."""
    if stream.duration and stream.time_base:
        return stream.duration * stream.time_base
    if found := re.fullmatch(r"(\d+):(\d+):([\d.]+)", stream.metadata.get("DURATION", "")):  # Matroska
        return int(found[1]) * 3600 + int(found[2]) * 60 + Fraction(found[3])
    return Fraction(container.duration or 0, av.time_base) if len(container.streams) == 1 else Fraction(0)


class _Upright:
    """Turns every frame into planes of one format and size, the way up it is meant to be seen."""

    def __init__(self, warn: Warn) -> None:
        self._warn = warn
        self._layout: tuple[str, int, int] | None = None
        self._turn = planes.Turn()

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        if self._layout is None:
            self._layout = (planes.planar_format(frame.format.name), frame.width, frame.height)
            # side data is read once: a frame asked for it is in a reference cycle and outlives its use
            self._turn = planes.Turn.of(frame)
            self._announce(frame)
        name, width, height = self._layout
        if (frame.width, frame.height) != (width, height):
            frame = self._resized(frame, width, height)
        frame.pict_type = 0  # the source's choice of key frames is not the encoder's
        return self._turn.apply(planes.to_planar(frame, name))

    def _announce(self, frame: av.VideoFrame) -> None:
        name, turn = frame.format.name, self._turn
        if turn.needs_full_chroma(name, frame.width, frame.height):
            self._warn(
                f"{name} turned by {turn.degrees} degrees becomes 4:4:4, so that colour stays in place"
            )
        beside = {data.type.name for data in planes.side_data(frame)}
        for lost in sorted(beside & _DESCRIPTIONS):
            self._warn(
                f"{lost.lower().replace('_', ' ')}: the samples are kept, this description of them is not"
            )
        if "A53_CC" in beside:
            self._warn("closed captions in the picture are left out")
        if frame.interlaced_frame:
            self._warn("the clip is interlaced; its frames are kept as they are and marked progressive")

    def _resized(self, frame: av.VideoFrame, width: int, height: int) -> av.VideoFrame:
        self._warn(
            f"the picture changes to {frame.width}x{frame.height}; it is scaled back to {width}x{height}"
        )
        colour = planes.Colour.of(frame)
        return planes.convert(frame, frame.format.name, colour, colour, (width, height))


def read_clip(
    path: Path,
    long_side_px: int,
    scratch: Path | None = None,
    progress: Progress | None = None,
    warn: Warn | None = None,
) -> Clip:
    """Decode a whole video at the size it is analysed at, area-averaged to ``long_side_px`` and never
    enlarged.

    A large clip is kept in the folder ``scratch``, where one is given, and mapped (`aftermath.media.mapped`).
    Raises `InputError` as `probe` does.
    """
    info, times = probe(path), []
    width, height = fit_long_side(info.width, info.height, long_side_px)
    size = None if (width, height) == (info.width, info.height) else (width, height)

    def pictures() -> Iterator[np.ndarray]:
        for frame in read_frames(path, warn):
            yield planes.to_rgb(frame.picture, size)
            times.append(frame.time_s)
            if progress:
                progress(len(times), max(len(times), info.estimated_frames))

    shape = (-1, height, width, 3)
    if scratch and is_large(info.estimated_frames * width * height * 3):
        frames = map_chunks(pictures(), np.uint8, shape, scratch)
    else:
        store = io.BytesIO()  # grows by itself; a list would be there twice in the end
        for picture in pictures():
            store.write(picture.data)
        frames = np.frombuffer(store.getbuffer(), np.uint8).reshape(shape)
    return Clip(frames, np.array(times), info.width, info.height)
