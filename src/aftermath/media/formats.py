"""What each output codec can hold, and what of a source it cannot."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from av.codec.codec import find_best_pix_fmt_of_list

from aftermath.config import Codec
from aftermath.errors import InputError
from aftermath.media import planes
from aftermath.media.files import check_folder

__all__ = ["Codec", "Recipe", "check_name", "check_target", "output_format", "recipe"]


@dataclass(frozen=True)
class Recipe:
    """One encoder: the file suffixes it goes into, the pixel formats we give it, and its options.

    ``whole_chroma``: it takes subsampled chroma only where the size divides. ``limited``: it has no full
    range.
    """

    encoder: str
    suffixes: tuple[str, ...]
    pix_fmts: tuple[str, ...]
    options: dict[str, str] = field(default_factory=dict)
    whole_chroma: bool = False
    limited: bool = False


def _yuv(
    *depths: int, subsampling: tuple[str, ...] = ("420", "422", "444"), alpha: str = ""
) -> tuple[str, ...]:
    return tuple(f"yuv{alpha}{s}p" + ("" if d == 8 else f"{d}le") for d in depths for s in subsampling)


_LOSSLESS = (
    *_yuv(8, subsampling=("410", "411", "440")),
    *_yuv(8, 9, 10, 12, 14, 16),
    *_yuv(8, 9, 10, 16, alpha="a"),
    *_yuv(12, subsampling=("422", "444"), alpha="a"),
    *_yuv(10, 12, subsampling=("440",)),
    *("gray", "gray9le", "gray10le", "gray12le", "gray14le", "gray16le"),
    *("bgr0", "gbrp9le", "gbrp10le", "gbrp12le", "gbrp14le", "gbrp16le"),
    *("bgra", "gbrap10le", "gbrap12le", "gbrap14le", "gbrap16le"),
)

# crf 14 is visually lossless (56 dB on clean 4K); "faster" encodes eight 4K frames a second on two cores, and
# the short look-ahead keeps x264 under 0.8 GB there. Its macroblock tree reads memory that nobody wrote (the
# assembly, with B-frames), so that equal input would give other bytes from run to run.
# x265 gives the packets of a clip of one or two frames random times when it may reorder: no B-frames.
_RECIPES = {
    Codec.H264: Recipe(
        "libx264",
        (".mp4", ".mov", ".m4v", ".mkv"),
        _yuv(8, 10),
        {"crf": "13", "preset": "veryfast", "rc-lookahead": "10", "mbtree": "0"},
        whole_chroma=True,
    ),
    Codec.HEVC: Recipe(
        "libx265",
        (".mp4", ".mov", ".mkv"),
        _yuv(8, 10, 12),
        {"crf": "15", "preset": "veryfast", "x265-params": "log-level=none:rc-lookahead=10:bframes=0"},
        whole_chroma=True,
    ),
    Codec.PRORES: Recipe(
        "prores_ks",
        (".mov", ".mkv"),
        ("yuv422p10le", "yuv444p10le", "yuva444p10le"),
        {"vendor": "apl0"},
        limited=True,
    ),
    Codec.FFV1: Recipe("ffv1", (".mkv",), _LOSSLESS, {"level": "3", "slicecrc": "1", "g": "1"}),
    Codec.PNG: Recipe("png", ("", ".png"), ("rgb24", "rgba", "rgb48be", "rgba64be", "gray", "gray16be")),
}

_NUMBERED = re.compile(r"[^%]*%0?\d*d[^%]*\.png", re.IGNORECASE)

# FFmpeg's FF_LOSS_* flags (libavutil/pixdesc.h), as find_best_pix_fmt_of_list returns them.
_LOSSES = {
    0x01: "colour is kept at a lower resolution ({source} becomes {target})",
    0x02: "{source_bits} bits a sample become {target_bits}",
    0x04: "{source} is converted to {target}, which is not exact",
    0x08: "transparency is dropped",
    0x20: "colour is dropped",
    0x40: "{source} is stored as {target}, which not every player shows",
}


def recipe(codec: Codec) -> Recipe:
    """The encoder behind ``codec``."""
    return _RECIPES[codec]


def check_target(target: Path, codec: Codec) -> None:
    """Raise `InputError` where ``target`` cannot become a file (or, for PNG, a folder) of ``codec``."""
    check_name(target, codec)
    check_folder(target)


def check_name(target: Path, codec: Codec) -> None:
    """The same for a folder that is still to be made."""
    suffix, allowed = target.suffix.lower(), recipe(codec).suffixes
    if codec is Codec.PNG:
        _check_pictures(target)
    elif suffix not in allowed:
        kinds = " or ".join(allowed)
        others = [c.value for c in Codec if c is not Codec.PNG and suffix in recipe(c).suffixes]
        remedy = f"name it {target.stem}{allowed[0]}" + (f" or use --codec {others[0]}" if others else "")
        raise InputError(str(target), f"{codec.value} is written to {kinds}", remedy)
    elif target.is_dir():
        raise InputError(
            str(target), "this is a folder, not a file", f"name a file in it, as in {target}/out.mp4"
        )


def _check_pictures(target: Path) -> None:
    if target.suffix and not _NUMBERED.fullmatch(target.name):
        allowed = "png is written to a folder, or to numbered files such as frame_%05d.png"
        raise InputError(str(target), allowed, f"name a folder, as in {target.stem}")
    if target.exists() and not target.is_dir():
        raise InputError(str(target), "this file is in the way of a folder", "name another folder")
    if target.is_dir() and any(not re.fullmatch(r"\d{5}\.png", entry.name) for entry in target.iterdir()):
        raise InputError(str(target), "this folder holds other files", "name a new or an empty folder")


def output_format(pix_fmt: str, codec: Codec, width: int, height: int) -> tuple[str, list[str]]:
    """The pixel format in which ``codec`` keeps most of planar ``pix_fmt``, and a sentence for each thing
    lost.
    """
    chosen = recipe(codec)
    exact = {"gbrp": "bgr0", "gbrap": "bgra"}.get(pix_fmt, pix_fmt)  # ffv1 packs 8-bit RGB
    if exact in chosen.pix_fmts and (not chosen.whole_chroma or planes.divides(exact, width, height)):
        return exact, []
    candidates = [c for c in chosen.pix_fmts if not chosen.whole_chroma or planes.divides(c, width, height)]
    wanted = pix_fmt
    if pix_fmt.startswith("gray") and "gray" not in chosen.pix_fmts:
        wanted = pix_fmt.removesuffix("le").replace("gray", "yuv420p") + (
            "le" if pix_fmt.endswith("le") else ""
        )
    best, loss = find_best_pix_fmt_of_list(candidates, wanted, has_alpha=planes.has_alpha(pix_fmt))
    assert best is not None
    names = {
        "source": pix_fmt,
        "target": best.name,
        "source_bits": planes.bit_depth(pix_fmt),
        "target_bits": planes.bit_depth(best.name),
    }
    if wanted != pix_fmt or loss & 0x04 or not chosen.whole_chroma:
        loss &= ~0x40  # more room for colour than the source needs matters only where players may refuse it
    return best.name, [sentence.format(**names) for flag, sentence in _LOSSES.items() if loss & flag]
