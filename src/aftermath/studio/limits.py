"""What may be opened: real videos, of bounded size. A file is judged by what is in it, never by its name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av
from av.container import InputContainer
from av.error import FFmpegError

from aftermath.errors import InputError
from aftermath.media.video import VideoInfo, probe

__all__ = ["Limits", "check_clip"]

# Containers alone: FFmpeg also opens playlists and scripts, which name other files and addresses to read.
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,ogg,flv,asf,mxf,gif"
_OPTIONS = {"format_whitelist": _FORMATS, "protocol_whitelist": "file", "max_streams": "32"}


@dataclass(frozen=True)
class Limits:
    """How large a clip may be: bytes of the file, pixels of a picture, seconds, frames."""

    num_bytes: int = 4 * 2**30
    picture_px: int = 8192 * 4608
    seconds: float = 600.0
    frames: int = 20_000


def check_clip(path: Path, name: str, limits: Limits) -> VideoInfo:
    """What the video file at ``path`` says of itself; ``name`` is what to call it.

    The header is believed before a picture is decoded, so that a small file that promises a huge picture costs nothing.
    Raises `InputError` for what is no video or larger than ``limits``.
    """
    try:
        with av.open(str(path), metadata_errors="replace", options=_OPTIONS) as container:
            _check_header(container, name, limits)
    except (FFmpegError, OSError, ValueError) as error:
        allowed = "not a video, or one cut off before its header was written"
        raise InputError(name, allowed, "give a file that a video player opens") from error
    info = probe(path)
    _check_size(info.width, info.height, name, limits)
    return info


def _check_header(container: InputContainer, name: str, limits: Limits) -> None:
    for stream in container.streams.video:
        _check_size(stream.width, stream.height, name, limits)
        length_s = float(stream.duration * (stream.time_base or 0)) if stream.duration else 0.0
        length_s = max(length_s, (container.duration or 0) / av.time_base)
        if length_s > limits.seconds:
            raise InputError(
                name,
                f"{length_s:.0f} s long; {limits.seconds:g} s at most",
                "cut out the part that matters, or use the command line",
            )
        if stream.frames > limits.frames:
            raise InputError(
                name,
                f"{stream.frames} frames; {limits.frames} at most",
                "cut out the part that matters, or use the command line",
            )


def _check_size(width: int, height: int, name: str, limits: Limits) -> None:
    if width * height > limits.picture_px:
        allowed = f"{width}x{height} pixels; {limits.picture_px / 1e6:.0f} million at most"
        raise InputError(name, allowed, "scale it down first")
