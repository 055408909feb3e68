"""From clean pictures to files: sensor grain, a synthesised sound track, H.264 and AAC."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

from aftermath.counterfactual.film import REPEATABLE, add_grain, add_stream, write_quadmask, yuv420

__all__ = ["AUDIO_RATE", "add_grain", "rolling_sound", "write_quadmask", "write_video"]

AUDIO_RATE = 44_100


def rolling_sound(
    speeds: Iterable[np.ndarray], touching: np.ndarray, step_rate: float, seed: int
) -> np.ndarray:
    """What balls sound like: noise as loud as they roll fast, and a click where two meet.

    ``speeds``: metres a second at ``step_rate`` steps a second, one float array (N,) a ball; ``touching``:
    boolean (N,). Returns float32 (samples,) in -1..1 at `AUDIO_RATE`.
    """
    rng = np.random.default_rng(seed)
    speeds = list(speeds)
    times = np.arange(round(len(touching) / step_rate * AUDIO_RATE)) / AUDIO_RATE
    steps = np.arange(len(touching)) / step_rate
    track = 0.0004 * rng.normal(size=len(times))  # the room
    for speed in speeds:
        smooth = np.convolve(speed, np.ones(24) / 24, mode="same")
        rumble = _low_pass(rng.normal(size=len(times)), 420.0) + 0.15 * _low_pass(
            rng.normal(size=len(times)), 2500.0
        )
        track += 0.22 * rumble * np.interp(times, steps, smooth)
    starts = np.flatnonzero(touching & ~np.append(False, touching[:-1]))
    for start in starts[:1]:  # later ones are the same blow, still ringing
        track += 0.5 * max(speed[start] for speed in speeds) * _click(times - start / step_rate)
    return np.clip(track, -1, 1).astype(np.float32)


def _low_pass(signal: np.ndarray, cutoff_hz: float) -> np.ndarray:
    spectrum = np.fft.rfft(signal)
    spectrum /= 1 + (np.fft.rfftfreq(len(signal), 1 / AUDIO_RATE) / cutoff_hz) ** 2
    return np.fft.irfft(spectrum, len(signal))


def _click(time_s: np.ndarray) -> np.ndarray:
    """Three damped tones that start at 0 s."""
    after = np.maximum(time_s, 0)
    tones = ((1150, 90, 0.6), (2630, 160, 0.4), (4210, 260, 0.25))
    ring = sum(
        share * np.exp(-decay * after) * np.sin(2 * np.pi * hertz * after) for hertz, decay, share in tones
    )
    return np.where(time_s >= 0, ring, 0.0)


def write_video(path: Path, frames: Sequence[np.ndarray], rate: int, sound: np.ndarray | None = None) -> None:
    """Encode uint8 (H, W, 3) RGB frames as H.264, BT.709, tagged as such; ``sound`` as AAC beside them."""
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = add_stream(container, rate, frames[0].shape, {"crf": "13", "preset": "slow"} | REPEATABLE)
        stream.color_range = ColorRange.MPEG
        stream.colorspace, stream.color_primaries = Colorspace.ITU709, ColorPrimaries.BT709
        stream.color_trc = ColorTrc.BT709
        audio = None
        if sound is not None:
            audio = container.add_stream("aac", rate=AUDIO_RATE, layout="mono")
            audio.bit_rate = 96_000
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(yuv420(picture), format="yuv420p")))
        container.mux(stream.encode())
        if audio is not None and sound is not None:
            _write_sound(container, audio, sound)


def _write_sound(container: OutputContainer, stream: av.AudioStream, sound: np.ndarray) -> None:
    for start in range(0, len(sound), 1024):
        frame = av.AudioFrame.from_ndarray(sound[None, start : start + 1024], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = AUDIO_RATE, start, Fraction(1, AUDIO_RATE)
        container.mux(stream.encode(frame))
    container.mux(stream.encode())
