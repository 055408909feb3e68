"""Where encoded frames go: one encoder and its container, or a folder of pictures."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import av
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from aftermath.media import planes
from aftermath.media.decode import VideoInfo, Warn
from aftermath.media.formats import Codec, Recipe, output_format, recipe
from aftermath.media.streams import StreamCopy

__all__ = ["FileSink", "Fit", "PictureSink", "Sink"]

_MAX_THREADS = 8  # each encoding thread holds frames of its own
_SLICED_PX = 64
_AHEAD_S = 1  # sound is written this far ahead of the picture, so that players find both together


@dataclass(frozen=True)
class Fit:
    """Brings every frame into the encoder's pixel format, range and matrix."""

    pix_fmt: str
    source: planes.Colour
    target: planes.Colour
    first: av.VideoFrame

    @staticmethod
    def of(first: av.VideoFrame, codec: Codec, warn: Warn) -> Fit:
        """Choose for frames like ``first``; what is lost goes to ``warn``."""
        name, source = first.format.name, planes.Colour.of(first)
        pix_fmt, losses = output_format(name, codec, first.width, first.height)
        for loss in losses:
            warn(f"{codec.value}: {loss}")
        to_rgb, from_rgb = av.VideoFormat(pix_fmt).is_rgb, first.format.is_rgb
        full = to_rgb or pix_fmt.startswith("gray") or (source.full and not from_rgb)
        if recipe(codec).limited and source.full:
            full = False
            if not from_rgb:
                warn(f"{codec.value}: full-range samples become limited range, which is not exact")
        return Fit(pix_fmt, source, planes.Colour(source.matrix, full), first)

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        """The frame as the encoder takes it; the frame itself where nothing changes."""
        return planes.convert(frame, self.pix_fmt, self.source, self.target)

    def tag(self, context: VideoCodecContext) -> None:
        """Write the size, format and colour tags of the encoded frames into an encoder."""
        first = self.first
        context.width, context.height, context.pix_fmt = first.width, first.height, self.pix_fmt
        context.color_primaries, context.color_trc = first.color_primaries, first.color_trc
        rgb = av.VideoFormat(self.pix_fmt).is_rgb
        made_from_rgb = first.format.is_rgb and not rgb
        untagged = first.color_range == 0 and not self.target.full
        context.colorspace = 0 if rgb else self.target.matrix if made_from_rgb else first.colorspace
        context.color_range = 0 if untagged and not made_from_rgb else 2 if self.target.full else 1


class Sink(Protocol):
    """Where encoded frames go."""

    def write(self, frame: av.VideoFrame) -> None:
        """Encode one frame."""
        ...

    def finish(self) -> None:
        """Write what the encoder still holds, and close."""
        ...

    def close(self) -> None:
        """Close without a word, complete or not."""
        ...


def _may_be_whole(width: int, height: int) -> bool:
    """Whether FFmpeg's ffv1 takes a picture of this size in one slice: larger ones it divides in four at least."""
    return width <= 352 and height <= 288


class FileSink:
    """One encoder and the container it writes into."""

    def __init__(
        self,
        path: Path,
        chosen: Recipe,
        fit: Fit,
        time_base: Fraction,
        rate: Fraction,
        options: dict[str, str] | None = None,
    ) -> None:
        movie = path.suffix.lower() in (".mp4", ".mov", ".m4v")
        self._fit, self._time_base = fit, time_base
        self._streams: StreamCopy | None = None
        self._count, self._last = 0, 0
        # the header in front lets a browser play the file while it loads
        # Without bitexact, Matroska draws random identifiers: the same frames would give other bytes.
        flags = {"fflags": "+bitexact"} | ({"movflags": "+faststart"} if movie else {})
        self._container = av.open(str(path), "w", options=flags)
        options = chosen.options | (options or {})
        width, height = fit.first.width, fit.first.height
        if chosen.encoder == "ffv1" and min(width, height) < _SLICED_PX and _may_be_whole(width, height):
            options["slices"] = "1"  # it cannot divide a picture of one to three pixels
        video = self._container.add_stream(chosen.encoder, rate=rate, options=options)
        assert isinstance(video, VideoStream)
        self.video, context = video, video.codec_context
        fit.tag(context)
        context.time_base = video.time_base = time_base
        context.thread_count = min(os.cpu_count() or 1, _MAX_THREADS)
        if chosen.encoder == "libx265" and movie:
            context.codec_tag = "hvc1"  # Apple's players open no other

    def copy_streams(self, source: VideoInfo, warn: Warn) -> None:
        """Copy the source's other streams along with the picture."""
        self._streams = StreamCopy(source, self._container, warn)

    def describe(self, comment: str) -> None:
        """Say what the film is in its metadata, after what the source says of itself. Before the first frame."""
        known = self._container.metadata
        name = next((name for name in known if name.lower() == "comment"), "comment")
        said = known.get(name, "")
        if comment not in said.splitlines():
            self._container.metadata[name] = f"{said}\n{comment}".strip()

    def write(self, frame: av.VideoFrame) -> None:
        """Encode one frame at its own time."""
        pts = frame.pts or 0
        start_s = self._streams.start_s if self._streams else Fraction(0)
        fitted = self._fit(frame)
        fitted.pts, fitted.time_base = pts - round(start_s / self._time_base), self._time_base
        fitted.pict_type = 0
        if self._streams:
            self._streams.advance(pts * self._time_base + _AHEAD_S)
        self._count, self._last = self._count + 1, pts
        self._container.mux(self.video.encode(fitted))
        fitted.pts = pts  # the frame may be the caller's own

    def finish(self) -> None:
        """Write what the encoder still holds, the rest of the sound, and the header."""
        self._container.mux(self.video.encode(None))
        if self._streams:
            self._streams.finish(self._count, self._last)
            self._streams.close()
        self._container.close()

    def close(self) -> None:
        """Close, complete or not; what is wrong by now has been raised before."""
        with contextlib.suppress(FFmpegError, OSError, ValueError):
            self._container.close()
        if self._streams:
            self._streams.close()


class PictureSink:
    """A folder of PNG files."""

    def __init__(self, folder: Path, numbered: str, fit: Fit, time_base: Fraction, warn: Warn) -> None:
        folder.mkdir()
        self._folder, self._numbered, self._fit, self._warn = folder, numbered, fit, warn
        self._encoder = av.CodecContext.create("png", "w")
        assert isinstance(self._encoder, VideoCodecContext)
        fit.tag(self._encoder)
        self._encoder.time_base = time_base
        self._count, self._last, self._steps = 0, 0, set[int]()

    def write(self, frame: av.VideoFrame) -> None:
        """Write one file."""
        pts = frame.pts or 0
        if self._count:
            self._steps.add(pts - self._last)
        name = self._numbered % self._count
        (self._folder / name).write_bytes(b"".join(bytes(p) for p in self._encoder.encode(self._fit(frame))))
        self._count, self._last = self._count + 1, pts

    def finish(self) -> None:
        """Say what pictures cannot hold."""
        if self._steps and max(self._steps) - min(self._steps) > 1:
            self._warn("png files hold no times: the variable frame rate is lost")

    def close(self) -> None:
        """Nothing is open between two files."""
