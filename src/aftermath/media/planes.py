"""Pictures as planes: the one place that knows pixel formats, colour matrices and orientation.

A *planar* picture is an `av.VideoFrame` whose components stand in planes of their own, native byte order:
``yuv420p`` ``yuv422p10le`` ``gbrp`` ``gray12le`` and their kin. Every other format holds the same samples in
another order and is taken apart without loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import av
import cv2
import numpy as np
from av.error import FFmpegError
from av.sidedata.sidedata import SideData, SideDataContainer
from av.sidedata.sidedata import Type as SideDataType
from av.video.reformatter import ColorRange, Interpolation

from aftermath.errors import MediaError

__all__ = [
    "Colour",
    "Turn",
    "bit_depth",
    "convert",
    "divides",
    "from_planes",
    "has_alpha",
    "is_gray",
    "planar_format",
    "planes_of",
    "put_in",
    "side_data",
    "to_planar",
    "to_rgb",
]

_STRIP_PX = 64  # rows blended at a time: a whole number of chroma samples
_ACCURATE = Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP | Interpolation.ACCURATE_RND
_SUBSAMPLING = {(1, 1): "444", (2, 1): "422", (2, 2): "420", (1, 2): "440", (4, 1): "411", (4, 4): "410"}
_RGB_ORDER = ([0, 1, 0], [0, 0, 1], [1, 0, 0])  # planes of gbrp: green, blue, red

# ITU-T H.273 table 4, MatrixCoefficients: the red and blue shares of luma.
_LUMA_SHARES = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
_SWSCALE_NAME = {6: 5}  # swscale knows 5 and 6, which are equal, by one number


@dataclass(frozen=True)
class Colour:
    """How luma and chroma stand for RGB: ``matrix`` as numbered in ITU-T H.273, ``full`` for samples from 0
    up.
    """

    matrix: int
    full: bool

    @staticmethod
    def of(frame: av.VideoFrame) -> Colour:
        """What the frame is tagged with; where it is not, BT.709 from 720 lines up and BT.601 below.

        Untagged gray and RGB are full range, untagged luma and chroma limited: what FFmpeg assumes.
        """
        matrix = {10: 9}.get(frame.colorspace, frame.colorspace)
        if matrix not in _LUMA_SHARES:
            matrix = 1 if min(frame.width, frame.height) >= 720 else 6
        name = frame.format.name
        untagged_full = name.startswith(("gray", "yuvj", "ya", "mono")) or frame.format.is_rgb
        full = (
            untagged_full
            if frame.color_range == ColorRange.UNSPECIFIED
            else frame.color_range == ColorRange.JPEG
        )
        return Colour(matrix, full or frame.format.is_rgb)

    @property
    def _range(self) -> ColorRange:
        return ColorRange.JPEG if self.full else ColorRange.MPEG

    @property
    def _swscale_matrix(self) -> int:
        return _SWSCALE_NAME.get(self.matrix, self.matrix)


def bit_depth(pix_fmt: str) -> int:
    """Bits of the deepest component."""
    return max(component.bits for component in av.VideoFormat(pix_fmt).components)


def has_alpha(pix_fmt: str) -> bool:
    """Whether one component is opacity."""
    return any(component.is_alpha for component in av.VideoFormat(pix_fmt).components)


def is_gray(pix_fmt: str) -> bool:
    """Whether one component, opacity aside, is all there is."""
    return sum(not component.is_alpha for component in av.VideoFormat(pix_fmt).components) == 1


def _subsampling(pix_fmt: str) -> tuple[int, int]:
    """(x, y): luma samples to one chroma sample."""
    layout = av.VideoFormat(pix_fmt, 64, 64)
    chroma = layout.components[min(1, len(layout.components) - 1)]
    return (64 // chroma.width, 64 // chroma.height) if not is_gray(pix_fmt) else (1, 1)


def divides(pix_fmt: str, width: int, height: int) -> bool:
    """Whether every chroma sample of a picture this size stands for whole pixels."""
    x, y = _subsampling(pix_fmt)
    return width % x == 0 and height % y == 0


def planar_format(pix_fmt: str) -> str:
    """The planar format that holds every sample of ``pix_fmt``; floats become 16-bit integers."""
    layout = av.VideoFormat(pix_fmt)
    bits = min(16, max(8, bit_depth(pix_fmt)))
    depth = "" if bits == 8 else f"{bits}le"
    alpha = "a" if has_alpha(pix_fmt) or layout.has_palette else ""
    if layout.is_rgb or layout.is_bayer or layout.has_palette or pix_fmt.startswith("xyz"):
        return f"gbr{alpha}p{depth}"
    if is_gray(pix_fmt):
        return f"gray{depth}"
    return f"yuv{alpha}{_SUBSAMPLING[_subsampling(pix_fmt)]}p{depth}"


def to_planar(frame: av.VideoFrame, pix_fmt: str | None = None) -> av.VideoFrame:
    """The same samples in planes; the frame itself where it is planar already."""
    target = pix_fmt or planar_format(frame.format.name)
    colour = Colour.of(frame)
    return _tagged(convert(frame, target, colour, colour), frame)


def convert(
    frame: av.VideoFrame, pix_fmt: str, source: Colour, target: Colour, size: tuple[int, int] | None = None
) -> av.VideoFrame:
    """Another pixel format, range, matrix or (width, height), rounded accurately; area-averaged where it
    shrinks.
    """
    width, height = size or (frame.width, frame.height)
    if (frame.format.name, frame.width, frame.height) == (pix_fmt, width, height) and source == target:
        return frame
    kernel = Interpolation.AREA if width < frame.width or height < frame.height else Interpolation.BICUBIC
    try:
        return frame.reformat(
            width,
            height,
            pix_fmt,
            src_colorspace=source._swscale_matrix,
            dst_colorspace=target._swscale_matrix,
            interpolation=kernel | _ACCURATE,
            src_color_range=source._range,
            dst_color_range=target._range,
            threads=1,  # PyAV before 19 starts more anew for every frame, which takes longer than they save
        )
    except (FFmpegError, ValueError) as error:
        raise MediaError(f"pixel format {frame.format.name} cannot be read as {pix_fmt}: {error}") from error


def to_rgb(frame: av.VideoFrame, size: tuple[int, int] | None = None) -> np.ndarray:
    """uint8 (H, W, 3) RGB of a planar frame, at another (width, height) where asked.

    A chroma sample is taken to stand amid its pixels, as `put_in` takes it, whatever the frame's tag says.
    """
    colour = Colour.of(frame)
    if _subsampling(frame.format.name) != (1, 1):  # a copy has no tag of where chroma stands
        frame = from_planes(planes_of(frame), frame.format.name, frame)
    # to planes, since swscale takes three times as long to write the same values side by side
    green, blue, red = planes_of(convert(frame, "gbrp", colour, Colour(colour.matrix, full=True), size))
    return cv2.merge([red, green, blue])


def planes_of(frame: av.VideoFrame) -> list[np.ndarray]:
    """The planes of a planar frame as views, uint8 or uint16 (h, w): Y U V, G B R or gray, then alpha."""
    dtype = np.dtype(np.uint8 if bit_depth(frame.format.name) == 8 else np.uint16)
    views = []
    for plane in frame.planes:
        stride = plane.line_size
        offset = (plane.height - 1) * -stride if stride < 0 else 0  # some decoders store the last row first
        shape, strides = (plane.height, plane.width), (stride, dtype.itemsize)
        views.append(np.ndarray(shape, dtype, buffer=plane, offset=offset, strides=strides))  # type: ignore[arg-type]
    return views


def _tagged(frame: av.VideoFrame, like: av.VideoFrame) -> av.VideoFrame:
    """Give ``frame`` the times and colour tags of ``like``."""
    if frame is not like:
        frame.pts, frame.duration = like.pts, like.duration
        if like.time_base is not None:
            frame.time_base = like.time_base
        frame.color_range, frame.colorspace = like.color_range, like.colorspace
        frame.color_primaries, frame.color_trc = like.color_primaries, like.color_trc
    return frame


def from_planes(planes: list[np.ndarray], pix_fmt: str, like: av.VideoFrame) -> av.VideoFrame:
    """A new planar frame with copies of ``planes`` and the times and tags of ``like``."""
    height, width = planes[0].shape
    frame = av.VideoFrame(width, height, pix_fmt)
    for view, plane in zip(planes_of(frame), planes, strict=True):
        view[:] = plane
    return _tagged(frame, like)


def side_data(frame: av.VideoFrame) -> list[SideData]:
    """What a frame carries beside its samples; a frame asked for it outlives its use (a reference cycle)."""
    container = cast(SideDataContainer, frame.side_data)
    return [container[index] for index in range(len(container))]


@dataclass(frozen=True)
class Turn:
    """What makes a stored picture upright: transpose it, then mirror it left-right and top-bottom."""

    transpose: bool = False
    mirror_x: bool = False
    mirror_y: bool = False

    @staticmethod
    def of(frame: av.VideoFrame) -> Turn:
        """Read the display matrix (ISO/IEC 14496-12, 6.2.2); other angles go to the nearest quarter turn."""
        matrices = [bytes(data) for data in side_data(frame) if data.type is SideDataType.DISPLAYMATRIX]
        if not matrices:
            return Turn()
        a, b, _, c, d = np.frombuffer(matrices[0], np.int32)[:5].tolist()
        if abs(b) + abs(c) > abs(a) + abs(d):
            return Turn(transpose=True, mirror_x=c < 0, mirror_y=b < 0)
        return Turn(mirror_x=a < 0, mirror_y=d < 0)

    @property
    def degrees(self) -> int:
        """The clockwise rotation in it; a mirrored picture also counts as one turned by 0 to 270."""
        if self.transpose:
            return 90 if self.mirror_x else 270
        return 180 if self.mirror_x and self.mirror_y else 0

    def needs_full_chroma(self, pix_fmt: str, width: int, height: int) -> bool:
        """Whether chroma samples would no longer stand over their pixels: 4:2:2 on its side, odd sizes
        mirrored.
        """
        x, y = _subsampling(pix_fmt)
        mirror_x, mirror_y = (
            (self.mirror_y, self.mirror_x) if self.transpose else (self.mirror_x, self.mirror_y)
        )
        return (self.transpose and x != y) or bool(mirror_x and width % x) or bool(mirror_y and height % y)

    def apply(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Turn a planar frame, sample by sample."""
        if self == Turn():
            return frame
        name = frame.format.name
        if self.needs_full_chroma(name, frame.width, frame.height):
            alpha, bits = "a" if has_alpha(name) else "", bit_depth(name)
            frame = to_planar(frame, f"yuv{alpha}444p" + ("" if bits == 8 else f"{bits}le"))
        return from_planes([self._turned(plane) for plane in planes_of(frame)], frame.format.name, frame)

    def _turned(self, plane: np.ndarray) -> np.ndarray:
        plane = plane.T if self.transpose else plane
        return plane[:: -1 if self.mirror_y else 1, :: -1 if self.mirror_x else 1]


def put_in(frame: av.VideoFrame, rgb: np.ndarray, weight: np.ndarray) -> av.VideoFrame:
    """Blend a picture into a planar frame in the frame's own samples; the frame itself is left as it is.

    ``rgb``: uint8 (H, W, 3); ``weight``: float32 (H, W), 0 keeps and 1 replaces. RGB becomes luma and chroma
    by the definition in ITU-T H.273, in floating point and full chroma; a chroma sample takes the weighted
    mean of its pixels. Samples whose pixels all weigh 0 are not touched, and what ``rgb`` holds there does
    not matter.
    """
    name = frame.format.name
    step, matrix, mixed = _subsampling(name), _from_rgb(name, Colour.of(frame)), None
    for top in range(0, frame.height, _STRIP_PX):  # what is being blended stays in the processor's cache
        rows = slice(top, min(top + _STRIP_PX, frame.height))
        columns = _extent(weight[rows], step[0])
        if columns.stop > 0:
            mixed = mixed or from_planes(planes_of(frame), name, frame)
            _put_strip(mixed, rows, columns, rgb, weight, matrix)
    return mixed or frame


def _put_strip(
    frame: av.VideoFrame,
    rows: slice,
    columns: slice,
    rgb: np.ndarray,
    weight: np.ndarray,
    matrix: np.ndarray,
) -> None:
    """Blend these rows and columns, which begin with a whole chroma sample, into ``frame``."""
    part = np.ascontiguousarray(weight[rows, columns], np.float32)
    patch = cv2.transform(rgb[rows, columns].astype(np.float32), matrix).reshape(*part.shape, -1)
    for plane, channel in zip(planes_of(frame), np.moveaxis(patch, -1, 0), strict=False):  # alpha stays
        x, y = -(-frame.width // plane.shape[1]), -(-frame.height // plane.shape[0])
        view = plane[rows.start // y : -(-rows.stop // y), columns.start // x : -(-columns.stop // x)]
        _blend(view, channel, part, (x, y))


def _extent(weight: np.ndarray, step: int) -> slice:
    """The columns that hold every weight above 0, from a whole chroma sample (``step`` pixels) on; empty where there
    is none."""
    columns = np.flatnonzero(weight.max(axis=0) > 0)
    if columns.size == 0:
        return slice(0, 0)
    right = -(-(int(columns[-1]) + 1) // step) * step
    return slice(int(columns[0]) // step * step, min(right, weight.shape[1]))


def _from_rgb(pix_fmt: str, colour: Colour) -> np.ndarray:
    """float32 (planes, 4): RGB in 0..255 and 1 to the samples of ``pix_fmt`` (ITU-T H.273, 8.3)."""
    bits = bit_depth(pix_fmt)
    unit = 2.0 ** (bits - 8)
    peak = 255 * unit  # swscale's white, a little under 2^bits - 1: what `to_rgb` read must come back
    if av.VideoFormat(pix_fmt).is_rgb:
        return np.hstack([np.array(_RGB_ORDER) * peak / 255, np.zeros((3, 1))]).astype(np.float32)
    red, blue = _LUMA_SHARES[colour.matrix]
    luma = np.array([red, 1 - red - blue, blue])
    cb, cr = (np.array([0, 0, 1]) - luma) / (2 * (1 - blue)), (np.array([1, 0, 0]) - luma) / (2 * (1 - red))
    luma_scale, chroma_scale = (peak, peak) if colour.full else (219 * unit, 224 * unit)
    zero, middle = 0 if colour.full else 16 * unit, 128 * unit
    matrix = [
        [*(luma * luma_scale / 255), zero],
        [*(cb * chroma_scale / 255), middle],
        [*(cr * chroma_scale / 255), middle],
    ]
    return np.array(matrix[:1] if pix_fmt.startswith("gray") else matrix, np.float32)


def _blend(view: np.ndarray, channel: np.ndarray, weight: np.ndarray, step: tuple[int, int]) -> None:
    """Blend ``channel`` (h, w) into the samples of ``view``, each the mean of ``step`` (x, y) pixels."""
    if step != (1, 1):
        total = _block_mean(channel * weight, view.shape, step)
        weight = _block_mean(weight, view.shape, step)
        channel = np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)
    mixed = view + weight * (channel - view)
    limit = np.iinfo(view.dtype).max
    np.copyto(view, np.clip(np.rint(mixed), 0, limit).astype(view.dtype), where=weight > 0)


def _block_mean(values: np.ndarray, shape: tuple[int, ...], step: tuple[int, int]) -> np.ndarray:
    height, width = shape[0] * step[1], shape[1] * step[0]
    missing = (
        (0, height - values.shape[0]),
        (0, width - values.shape[1]),
    )  # a block cut by the border of the picture
    values = np.pad(values, missing, mode="edge") if any(map(any, missing)) else values
    return cv2.resize(values, (shape[1], shape[0]), interpolation=cv2.INTER_AREA)
