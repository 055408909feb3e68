"""From clean pictures to files that are the same for the same pictures: sensor grain, H.264, quadmasks."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.container import OutputContainer
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

__all__ = ["REPEATABLE", "add_grain", "add_stream", "write_pictures", "write_quadmask", "yuv420"]

GRAIN_SIGMA = 1.2
REPEATABLE = {"threads": "1", "x264-params": "asm=0"}  # x264's vector code now and then gives other bytes


def add_grain(picture: np.ndarray, seed: tuple[int, ...], sigma: float = GRAIN_SIGMA) -> np.ndarray:
    """Add sensor grain, soft and mostly grey, to uint8 (H, W, 3): the same for the same ``seed``.

    ``sigma``: its standard deviation, of 255.
    """
    rng = np.random.default_rng(seed)
    grey, coloured = rng.normal(size=(*picture.shape[:2], 1)), rng.normal(size=picture.shape)
    grain = cv2.GaussianBlur(0.9 * grey + 0.43 * coloured, (3, 3), 0.5)
    grain *= sigma / grain.std()
    return np.clip(np.rint(picture + grain), 0, 255).astype(np.uint8)


def write_pictures(path: Path, frames: Iterable[np.ndarray], rate: int, shape: tuple[int, ...]) -> None:
    """Encode uint8 (H, W, 3) RGB frames of ``shape`` as H.264, BT.709, tagged as such; H and W even."""
    with av.open(str(path), "w") as container:
        stream = add_stream(container, rate, shape, {"crf": "12", "preset": "veryfast"} | REPEATABLE)
        stream.color_range = ColorRange.MPEG
        stream.colorspace, stream.color_primaries = Colorspace.ITU709, ColorPrimaries.BT709
        stream.color_trc = ColorTrc.BT709
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(yuv420(picture), format="yuv420p")))
        container.mux(stream.encode())


def write_quadmask(path: Path, values: np.ndarray, rate: int, preset: str = "veryslow") -> None:
    """Encode a quadmask, uint8 (T, H, W), so that 0, 63, 127 and 255 come back exactly."""
    with av.open(str(path), "w") as container:
        stream = add_stream(container, rate, values[0].shape, {"qp": "0", "preset": preset} | REPEATABLE)
        for level in values:
            grey = np.repeat(level[..., None], 3, axis=-1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(yuv420(grey), format="yuv420p")))
        container.mux(stream.encode())


def yuv420(picture: np.ndarray) -> np.ndarray:
    """BT.709 limited range, chroma sited left: uint8 (H, W, 3) to PyAV's (H * 3 / 2, W); H and W even.

    Not swscale, whose last bit depends on where in memory a picture lies.
    """
    red, green, blue = np.moveaxis(picture / 255, -1, 0)
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    planes = [16 + 219 * luma]
    for difference, scale in ((blue - luma, 1.8556), (red - luma, 1.5748)):
        pairs = np.pad((difference[::2] + difference[1::2]) / 2, ((0, 0), (1, 0)), mode="edge")
        planes.append(128 + 224 / scale * (pairs[:, :-2:2] + 2 * pairs[:, 1:-1:2] + pairs[:, 2::2]) / 4)
    levels = [np.rint(plane).astype(np.uint8) for plane in planes]
    return np.concatenate([level.reshape(-1, picture.shape[1]) for level in levels])


def add_stream(
    container: OutputContainer, rate: int, shape: tuple[int, ...], options: dict[str, str]
) -> av.VideoStream:
    """A stream of H.264, 4:2:0, for pictures of ``shape`` (H, W, ...)."""
    stream = container.add_stream("libx264", rate=Fraction(rate), options=options)
    stream.pix_fmt, stream.height, stream.width = "yuv420p", shape[0], shape[1]
    return stream
