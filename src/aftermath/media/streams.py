"""Sound, subtitles, chapters and titles, copied from the source without being decoded."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.container import OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Disposition, Stream

from aftermath.media.decode import Warn, open_input, video_stream

__all__ = ["StreamCopy"]


def _takes(container_format: str, stream: Stream) -> bool:
    """Whether a container can hold the stream: only writing a header tells, so one is written to memory."""
    trial = av.open(io.BytesIO(), "w", format=container_format)
    try:
        trial.add_stream_from_template(stream, opaque=True)
        trial.start_encoding()
        return True
    except (FFmpegError, ValueError):
        return False
    finally:
        with contextlib.suppress(FFmpegError, ValueError):
            trial.close()


class StreamCopy:
    """Copies every audio and subtitle stream that the target's container takes; says which it does not.

    Make it after the video stream was added and before the first packet is written. ``start_s`` is the time
    of the source that becomes 0, so that every stream keeps its offset from the picture.
    """

    def __init__(self, source: Path, target: OutputContainer, warn: Warn) -> None:
        self._source, self._target, self._warn = open_input(source), target, warn
        self.start_s = max(Fraction(0), Fraction(self._source.start_time or 0, av.time_base))
        self._copies: dict[int, Stream] = {}
        self._add_streams(source)
        self._packets = self._read()
        self._next = next(self._packets, None)

    def _add_streams(self, source: Path) -> None:
        picture, left_out = video_stream(self._source), []
        for stream in self._source.streams:
            if stream.type in ("audio", "subtitle"):
                self._add(stream)
            elif stream.index != picture.index:
                cover = stream.disposition & Disposition.attached_pic
                left_out.append("cover image" if cover else f"{stream.type} stream")
        for name in sorted(set(left_out)):
            count = left_out.count(name)
            self._warn(f"{source}: {count} {name}{'s' if count > 1 else ''} not copied")
        self._target.metadata.update(self._source.metadata)
        if chapters := self._source.chapters():
            self._target.set_chapters(chapters)

    def _add(self, stream: Stream) -> None:
        if not _takes(self._target.format.name, stream):
            name = stream.codec_context.name if stream.codec_context else "of an unknown codec"
            suffix = Path(self._target.name).suffix
            self._warn(f"{stream.type} {name} cannot be stored in {suffix} and is left out; .mkv takes it")
            return
        copy = self._target.add_stream_from_template(stream, opaque=True)
        copy.metadata.update(stream.metadata)
        copy.disposition = stream.disposition
        self._copies[stream.index] = copy

    def _read(self) -> Iterator[Packet]:
        if not self._copies:
            return
        try:
            for packet in self._source.demux([self._source.streams[index] for index in self._copies]):
                if packet.dts is not None and not packet.is_corrupt:
                    yield packet
        except (FFmpegError, OSError):
            self._warn("the sound or the subtitles end early: the source is cut off or damaged")

    def advance(self, until_s: Fraction | None) -> None:
        """Write the packets due before ``until_s`` (in the source's time), or all that are left."""
        while (packet := self._next) is not None:
            if until_s is not None and packet.dts * packet.time_base > until_s:  # type: ignore[operator]
                return
            self._next = next(self._packets, None)
            shift = int(self.start_s / packet.time_base)
            packet.dts -= shift  # type: ignore[operator]
            packet.pts = None if packet.pts is None else packet.pts - shift
            packet.stream = self._copies[packet.stream_index]
            self._target.mux(packet)

    def close(self) -> None:
        """Let go of the source."""
        self._source.close()
