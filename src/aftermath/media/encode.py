"""From frames to a file that is either complete or not there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from itertools import count
from pathlib import Path
from types import TracebackType

import av
import numpy as np

from aftermath.errors import InputError, MediaError
from aftermath.media import planes
from aftermath.media.decode import SourceFrame, VideoInfo, Warn
from aftermath.media.files import explained, is_same, publish, temporary_for
from aftermath.media.formats import Codec, check_target, recipe
from aftermath.media.sinks import FileSink, Fit, PictureSink, Sink

__all__ = ["Codec", "VideoWriter", "check_target", "write_rgb_video"]

_FINE_TIME_BASE = Fraction(1, 90_000)


class VideoWriter:
    """Write frames under a temporary name; ``target`` appears when the ``with`` block ends without an error.

    Times, colour tags and, where the codec can, the pixel format are those of the source; sound, subtitles,
    chapters and titles are copied unless ``copy_streams`` is unset. What cannot be kept is told to ``warn``.
    Matroska holds times in whole milliseconds. ``comment`` is added to a film's metadata; ``seal`` is given the
    complete file before it appears, and may change it.

    Raises `InputError` for a target that cannot be, that is the source, or that the disk has no room for;
    `MediaError` where encoding fails or no frame was written.
    """

    def __init__(
        self,
        target: Path,
        info: VideoInfo,
        codec: Codec = Codec.H264,
        *,
        copy_streams: bool = True,
        warn: Warn | None = None,
        comment: str = "",
        seal: Callable[[Path], None] | None = None,
    ) -> None:
        self._target, self._info, self._codec = Path(target), info, Codec(codec)
        self._comment, self._seal = comment, seal
        self._copy_streams, self._warn = copy_streams, warn or (lambda _: None)
        check_target(self._target, self._codec)
        if is_same(self._target, info.path):
            raise InputError(str(target), "the output is the input", "give the output another name")
        self._cleanup = contextlib.ExitStack()
        self._sink: Sink | None = None

    def __enter__(self) -> VideoWriter:
        self._temporary = self._cleanup.enter_context(temporary_for(self._target))
        return self

    def write(
        self, source: SourceFrame, rgb: np.ndarray | None = None, changed: np.ndarray | None = None
    ) -> None:
        """Append ``source``, with ``rgb`` blended in by the weights ``changed``.

        ``rgb``: uint8 (H, W, 3); ``changed``: float32 (H, W), 0 keeps and 1 replaces. Samples that no changed
        pixel shares are the source's own, at its own bit depth.
        """
        frame = source.picture
        if rgb is not None and changed is not None:
            frame = planes.put_in(frame, rgb, changed)
        with explained(self._target):
            if self._sink is None:
                self._sink = self._open(frame)
            self._sink.write(frame)

    def _open(self, frame: av.VideoFrame) -> Sink:
        fit = Fit.of(frame, self._codec, self._warn)
        info = self._info
        if self._codec is Codec.PNG:
            for number, name in ((info.num_audio, "sound"), (info.num_subtitles, "subtitles")):
                if number and self._copy_streams:
                    self._warn(f"png files hold no {name}: left out")
            numbered = self._target.name if "%" in self._target.name else "%05d.png"
            sink = PictureSink(self._temporary, numbered, fit, info.time_base, self._warn)
        else:
            sink = FileSink(self._temporary, recipe(self._codec), fit, info.time_base, info.frame_rate)
            sink.video.sample_aspect_ratio = info.sample_aspect_ratio
        self._cleanup.callback(sink.close)
        if isinstance(sink, FileSink) and self._copy_streams:
            sink.copy_streams(info, self._warn)
        if isinstance(sink, FileSink) and self._comment:
            sink.describe(self._comment)
        return sink

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._cleanup.__exit__(kind, error, trace)
            return
        with self._cleanup:
            if self._sink is None:
                raise MediaError(f"{self._target}: there was no frame to write")
            with explained(self._target):
                self._sink.finish()
                if self._seal is not None:
                    self._seal(self._temporary)
            publish(self._temporary, self._target)


def write_rgb_video(
    target: Path,
    frames: Iterable[np.ndarray],
    rate: Fraction | int | Sequence[float],
    codec: Codec = Codec.H264,
    crf: int | None = None,
    comment: str = "",
) -> None:
    """Write uint8 (H, W, 3) RGB frames at a frame rate, or at the times (seconds) given one by one.

    H.264 and HEVC get 4:2:0, which every player shows, where the size is even and 4:4:4 where it is not; FFV1
    and PNG keep the RGB exactly. ``comment`` goes into a film's metadata. Raises as `VideoWriter` does.
    """
    target = Path(target)
    check_target(target, codec)
    even = isinstance(rate, int | Fraction)
    time_base = 1 / Fraction(rate) if even else _FINE_TIME_BASE  # type: ignore[arg-type]
    mean = Fraction(rate) if even else _mean_rate(rate)  # type: ignore[arg-type]
    ticks = count() if even else (round(time / time_base) for time in rate)  # type: ignore[union-attr]
    sink: Sink | None = None
    with contextlib.ExitStack() as cleanup:
        temporary = cleanup.enter_context(temporary_for(target))
        for rgb, tick in zip(frames, ticks, strict=False):
            frame = _from_rgb(rgb, lossy=codec in (Codec.H264, Codec.HEVC))
            frame.pts, frame.time_base = tick, time_base
            with explained(target):
                if sink is None:
                    sink = _open_rgb(temporary, target, frame, codec, mean, crf)
                    cleanup.callback(sink.close)
                    if isinstance(sink, FileSink) and comment:
                        sink.describe(comment)
                sink.write(frame)
        if sink is None:
            raise MediaError(f"{target}: there was no frame to write")
        with explained(target):
            sink.finish()
        publish(temporary, target)


def _mean_rate(times_s: Sequence[float]) -> Fraction:
    span = times_s[-1] - times_s[0] if len(times_s) > 1 else 0
    return Fraction((len(times_s) - 1) / span).limit_denominator(1001) if span > 0 else Fraction(24)


def _from_rgb(rgb: np.ndarray, lossy: bool) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), "rgb24")
    if not lossy:
        return planes.to_planar(frame)
    colour = planes.Colour.of(frame)
    target = planes.Colour(colour.matrix, full=False)
    name = "yuv420p" if planes.divides("yuv420p", frame.width, frame.height) else "yuv444p"
    frame = planes.convert(frame, name, colour, target)
    frame.colorspace, frame.color_range = target.matrix, 1
    return frame


def _open_rgb(
    temporary: Path, target: Path, frame: av.VideoFrame, codec: Codec, rate: Fraction, crf: int | None
) -> Sink:
    fit, time_base = Fit.of(frame, codec, lambda _: None), frame.time_base or _FINE_TIME_BASE
    if codec is Codec.PNG:
        numbered = target.name if "%" in target.name else "%05d.png"
        return PictureSink(temporary, numbered, fit, time_base, lambda _: None)
    return FileSink(temporary, recipe(codec), fit, time_base, rate, {} if crf is None else {"crf": str(crf)})
