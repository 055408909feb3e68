"""Small source clips of any pixel format, made with PyAV alone."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorRange

from aftermath.media import planes
from aftermath.media.decode import SourceFrame
from aftermath.media.video import Codec, VideoWriter, probe, read_frames

TONE_RATE = 48_000
_SUBTITLE_HEADER = b"""[Script Info]

[V4+ Styles]
Format: Name
Style: Default

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


def picture(width: int, height: int, index: int) -> np.ndarray:
    """uint8 (H, W, 3): colours that every format can show, a little different in each frame."""
    y, x = np.mgrid[:height, :width]
    red = 60 + 120 * x / width
    green = 70 + 100 * y / height
    blue = 120 + 50 * np.sin((x + y + 5 * index) / 15)
    return np.stack([red, green, blue], -1).astype(np.uint8)


def _frame(pix_fmt: str, width: int, height: int, index: int, full: bool) -> av.VideoFrame:
    rgb = av.VideoFrame.from_ndarray(picture(width, height, index), "rgb24")
    target = ColorRange.JPEG if full else ColorRange.MPEG
    return rgb.reformat(format=pix_fmt, src_color_range=ColorRange.JPEG, dst_color_range=target)


def make_source(
    path: Path,
    pix_fmt: str = "yuv420p",
    width: int = 320,
    height: int = 240,
    *,
    num_frames: int = 4,
    codec: str = "ffv1",
    full: bool = False,
    tags: dict[str, int] | None = None,
    ticks: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 24),
    sound: str | None = None,
    sound_delay_s: float = 0.25,
    subtitles: str | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Encode a source clip; ``ticks``: times of its frames in ``time_base``; ``tags``: for the encoder."""
    with av.open(str(path), "w") as container:
        video = container.add_stream(
            codec, rate=1 / time_base if ticks is None else 24, options=options or {}
        )
        video.width, video.height, video.pix_fmt = width, height, pix_fmt
        video.codec_context.time_base = video.time_base = time_base
        if full:
            video.codec_context.color_range = ColorRange.JPEG
        for tag, value in (tags or {}).items():
            setattr(video.codec_context, tag, value)
        tone = container.add_stream(sound, rate=TONE_RATE, layout="mono") if sound else None
        text = container.add_stream(subtitles) if subtitles else None
        if text is not None:
            text.codec_context.subtitle_header = _SUBTITLE_HEADER
        for index, tick in enumerate(ticks or range(num_frames)):
            frame = _frame(pix_fmt, width, height, index, full)
            frame.pts, frame.time_base = tick, time_base
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if tone is not None:
            _write_tone(container, tone, sound_delay_s)
        if text is not None:
            _write_subtitle(container, text)
    return path


def _write_tone(container, stream, delay_s: float) -> None:
    resampler = av.AudioResampler(stream.codec_context.format.name, "mono", TONE_RATE)
    for index in range(24):
        samples = (8000 * np.sin(np.arange(1024) / (9 + index))).astype(np.int16)[None]
        chunk = av.AudioFrame.from_ndarray(samples, "s16", "mono")
        chunk.sample_rate, chunk.time_base = TONE_RATE, Fraction(1, TONE_RATE)
        chunk.pts = round(delay_s * TONE_RATE) + 1024 * index
        for converted in resampler.resample(chunk):
            container.mux(stream.encode(converted))
    container.mux(stream.encode(None))


def _write_subtitle(container, stream) -> None:
    for start_ms in (0, 60):
        packet = av.Packet(b"a line of text")
        packet.stream, packet.time_base = stream, Fraction(1, 1000)
        packet.pts = packet.dts = start_ms
        packet.duration = 50
        container.mux(packet)


def copy_through(
    source: Path,
    target: Path,
    codec: Codec = Codec.FFV1,
    rgb: np.ndarray | None = None,
    changed: np.ndarray | None = None,
    **options: bool,
) -> list[str]:
    """Decode a clip and write it again, as it is or with a picture put in; returns what was warned of."""
    said: list[str] = []
    with VideoWriter(target, probe(source), codec, warn=said.append, **options) as writer:
        for frame in read_frames(source, said.append):
            writer.write(frame, rgb, changed)
    return said


def samples(frame: SourceFrame) -> list[np.ndarray]:
    """The planes of one frame."""
    return [plane.copy() for plane in planes.planes_of(frame.picture)]


def all_samples(path: Path) -> list[list[np.ndarray]]:
    """The planes of every frame."""
    return [samples(frame) for frame in read_frames(path)]


def same(left: list[list[np.ndarray]], right: list[list[np.ndarray]]) -> bool:
    """Whether two clips are equal, sample by sample."""
    return len(left) == len(right) and all(
        len(a) == len(b) and all(np.array_equal(p, q) for p, q in zip(a, b, strict=True))
        for a, b in zip(left, right, strict=True)
    )


# Display matrices of ISO/IEC 14496-12 for a picture that a player turns clockwise by so much.
_ONE = 1 << 16
DISPLAY_MATRICES = {
    0: (_ONE, 0, 0, _ONE),
    90: (0, _ONE, -_ONE, 0),
    180: (-_ONE, 0, 0, -_ONE),
    270: (0, -_ONE, _ONE, 0),
}


def turn_clip(path: Path, degrees: int, mirrored: bool = False) -> None:
    """Write a display matrix into the tkhd box of an mp4's only track; ``mirrored``: left-right, then turned."""
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4
    a, b, c, d = DISPLAY_MATRICES[degrees]
    a, b = (-a, -b) if mirrored else (a, b)
    data[start + 40 : start + 76] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


def remux(
    source: Path,
    target: Path,
    *,
    shift_s: Fraction = Fraction(0),
    chapters: Sequence[tuple[int, int, str]] = (),
    before: bytes = b"",
    options: dict[str, str] | None = None,
) -> Path:
    """Copy the streams of a clip into another file, in the order of their times.

    ``shift_s`` moves every packet: an mp4 hides what comes to lie before 0 with an edit list. ``chapters``: start and
    end in ms, and title. ``before`` is put in front of the data of every video packet.
    """
    with av.open(str(source)) as clip, av.open(str(target), "w", options=options or {}) as out:
        titled = [
            {"id": i, "start": a, "end": b, "time_base": Fraction(1, 1000), "metadata": {"title": title}}
            for i, (a, b, title) in enumerate(chapters)
        ]
        if titled:
            out.set_chapters(titled)  # type: ignore[arg-type]
        copies = {s.index: out.add_stream_from_template(s, opaque=True) for s in clip.streams}
        packets = [packet for packet in clip.demux() if packet.dts is not None]
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            ticks = int(shift_s / packet.time_base)
            if before and packet.stream.type == "video":
                longer = av.Packet(before + bytes(packet))
                longer.pts, longer.dts, longer.time_base = packet.pts, packet.dts, packet.time_base
                longer.is_keyframe = packet.is_keyframe
                longer.stream, packet = packet.stream, longer
            packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks
            packet.stream = copies[packet.stream_index]
            out.mux(packet)
    return target
