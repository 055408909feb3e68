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

from aftermath.media.decode import VideoInfo, Warn, is_cut, open_input, video_stream

__all__ = ["StreamCopy"]

_WARM_UP_S = Fraction(8, 100)  # what Opus needs, and more than AAC does


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

    def __init__(self, info: VideoInfo, target: OutputContainer, warn: Warn) -> None:
        self._source, self._target, self._warn = open_input(info.path), target, warn
        self._info = info
        self.start_s = max(Fraction(0), Fraction(self._source.start_time or 0, av.time_base))
        self._copies: dict[int, Stream] = {}
        self._add_streams()
        self._packets = self._read()
        self._next = next(self._packets, None)

    def _add_streams(self) -> None:
        picture, left_out = video_stream(self._source), []
        in_track = self._add_chapters()
        for stream in self._source.streams:
            if stream.type in ("audio", "subtitle"):
                self._add(stream)
            elif in_track and stream.type == "data" and stream.name == "bin_data":
                in_track = False
            elif stream.index != picture.index:
                cover = stream.disposition & Disposition.attached_pic
                left_out.append("cover image" if cover else f"{stream.type} stream")
        for name in sorted(set(left_out)):
            count = left_out.count(name)
            self._warn(f"{self._info.path}: {count} {name}{'s' if count > 1 else ''} not copied")
        self._target.metadata.update(self._source.metadata)

    def _add_chapters(self) -> bool:
        """Copy the chapters; True where the source, an mp4, also has a track of data that names them."""
        chapters = self._source.chapters()
        for chapter in chapters:
            shift = round(self.start_s / (chapter["time_base"] or 1))
            chapter["start"], chapter["end"] = max(0, chapter["start"] - shift), chapter["end"] - shift
        if chapters:
            self._target.set_chapters(chapters)
        return bool(chapters) and "mp4" in self._source.format.name

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
                if packet.dts is not None and not packet.is_corrupt and not self._is_cut_away(packet):
                    yield packet
        except (FFmpegError, OSError):
            self._warn("the sound or the subtitles end early: the source is cut off or damaged")

    def _is_cut_away(self, packet: Packet) -> bool:
        """Whether an edit list hides the packet, which Matroska could not: there it would be heard.

        What decoders warm up on, just before the start, stays.
        """
        if not packet.is_discard:
            return False
        end_s = ((packet.dts or 0) + (packet.duration or 0)) * packet.time_base
        return not self.start_s - _WARM_UP_S <= end_s <= self.start_s

    def advance(self, until_s: Fraction | None) -> None:
        """Write the packets due before ``until_s`` (in the source's time), or all that are left."""
        while (packet := self._next) is not None:
            if until_s is not None and packet.dts * packet.time_base > until_s:  # type: ignore[operator]
                return
            self._next = next(self._packets, None)
            shift = round(self.start_s / packet.time_base)
            packet.dts -= shift  # type: ignore[operator]
            packet.pts = None if packet.pts is None else packet.pts - shift
            packet.stream = self._copies[packet.stream_index]
            self._target.mux(packet)

    def finish(self, num_frames: int, last_pts: int) -> None:
        """Write what is left; of a source that is cut off, only what goes with the ``num_frames`` it still has."""
        step, time_base = 1 / self._info.frame_rate, self._info.time_base
        end_pts = last_pts + round(step / time_base)
        cut = is_cut(self._source, video_stream(self._source), self._info, num_frames, end_pts)
        self.advance(end_pts * time_base if cut else None)

    def close(self) -> None:
        """Let go of the source."""
        self._source.close()
