"""Every option of a run, with its only default. The command line is generated from these fields."""

import dataclasses
import functools
from enum import StrEnum
from typing import Annotated, Any, Self, TypeVar, cast

from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass

from aftermath.errors import InputError, plainly

__all__ = [
    "Codec",
    "Engine",
    "Focus",
    "Guide",
    "MaskOptions",
    "Memory",
    "Quantize",
    "ReasonerName",
    "Regions",
    "RemoveOptions",
    "SegmenterName",
]


class Codec(StrEnum):
    """How the result is encoded."""

    H264 = "h264"
    HEVC = "hevc"
    PRORES = "prores"
    FFV1 = "ffv1"
    PNG = "png"


class Engine(StrEnum):
    """Who paints the new pixels; ``auto`` takes the best that can run here, and says why."""

    AUTO = "auto"
    DRAFT = "draft"
    VOID = "void"


class SegmenterName(StrEnum):
    """Who finds the object's pixels; ``auto`` takes SAM 2 where it and its weights are here, else ``flow``."""

    AUTO = "auto"
    FLOW = "flow"
    SAM2 = "sam2"
    SAM3 = "sam3"


class ReasonerName(StrEnum):
    """Who decides what the object caused: what moves and touches, a language model, or both checking each other."""

    MOTION = "motion"
    GEMINI = "gemini"
    OPENAI = "openai"  # whatever speaks OpenAI's chat completions
    MOTION_GEMINI = "motion+gemini"
    MOTION_OPENAI = "motion+openai"


class Memory(StrEnum):
    """How the VOID model shares a graphics card's memory; ``auto`` takes the fastest that fits."""

    AUTO = "auto"
    FULL = "full"  # everything on the card
    OFFLOAD = "offload"  # on the card what works at the moment
    LOW = "low"  # block by block through the card
    CPU = "cpu"  # no card at all


class Quantize(StrEnum):
    """How the transformer's weights are stored; all but ``none`` change the picture a little."""

    NONE = "none"
    FP8 = "fp8"
    INT8 = "int8"
    INT4 = "int4"


class Focus(StrEnum):
    """What of the picture the VOID model sees: what changes with its surroundings, or all."""

    AUTO = "auto"
    WHOLE = "whole"


class Guide(StrEnum):
    """Whose motion the VOID model follows: its own first pass's, or that of the draft."""

    NONE = "none"
    DRAFT = "draft"


class Regions(StrEnum):
    """The shape of affected regions: the things' own, or whole cells of the reference's grid."""

    EXACT = "exact"
    GRID = "grid"


_T = TypeVar("_T")


def _in_our_words(cls: type[_T]) -> type[_T]:
    """Let a pydantic dataclass refuse a value with one line of `InputError`, not with a `ValidationError`."""
    theirs: Any = cls.__init__

    @functools.wraps(theirs)
    def ours(self: Any, *args: Any, **options: Any) -> None:
        try:
            theirs(self, *args, **options)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"]))
            known = [item.name for item in dataclasses.fields(cast(Any, cls))]
            remedy = "" if name in known else f"the options are {', '.join(known)}"
            raise InputError(f"{name}={first['input']!r}", plainly(first["msg"]), remedy) from error

    setattr(cls, "__init__", ours)  # noqa: B010 - a type checker would not let the assignment pass
    return cls


@_in_our_words
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class MaskOptions:
    """How a clip is analysed. Raises `InputError` for a value that cannot be and for a name that is no option."""

    segmenter: Annotated[
        SegmenterName,
        Field(description="Who finds the object's pixels; auto: SAM 2 where its weights and a card are."),
    ] = SegmenterName.AUTO
    segmenter_model: Annotated[
        str, Field(description="The segmenter's weights: a folder or a hub name; SAM 2 or SAM 3.")
    ] = ""
    text_model: Annotated[
        str,
        Field(description="Who finds objects by words: a folder or a hub name; Grounding DINO or SAM 3."),
    ] = ""
    offline: Annotated[bool, Field(description="Never ask the hub: all weights must be here.")] = False
    reasoner: Annotated[
        ReasonerName,
        Field(
            description="Who decides what the object caused: what moves, a vision-language model, or both."
        ),
    ] = ReasonerName.MOTION
    vlm_url: Annotated[
        str,
        Field(description="Address of the language model's server, such as http://localhost:11434/v1."),
    ] = ""
    vlm_model: Annotated[
        str, Field(description="Name of the language model. Without it a server's only one, or a usual one.")
    ] = ""
    vlm_timeout_s: Annotated[
        float, Field(gt=0, le=3600, description="How long an answer may take, seconds.")
    ] = 120.0
    regions: Annotated[
        Regions, Field(description="Affected regions: the things' own shapes, or whole grid cells.")
    ] = Regions.EXACT
    grow_px: Annotated[
        float,
        Field(
            ge=0,
            le=100,
            description="Grow the object of a given mask or quadmask, in pixels of a 1920-pixel picture: "
            "against a rim where it is drawn tighter than the object's blur.",
        ),
    ] = 0.0
    analysis_long_side_px: Annotated[
        int, Field(ge=64, le=4096, description="Long side of the picture that is analysed, pixels.")
    ] = 960
    picture_height_m: Annotated[
        float,
        Field(
            ge=0,
            le=10_000,
            description="Height of what the picture shows, metres: how fast things fall. "
            "0: what falls in the clip tells, or else 1.5 m.",
        ),
    ] = 0.0

    @classmethod
    def given(cls, options: Self | None) -> Self:
        """``options``, or the defaults for None. Raises `InputError` for options of another kind."""
        if options is None:
            return cls()
        if not isinstance(options, cls):
            kind = cls.__name__
            raise InputError(f"options={options!r}", f"must be {kind}", f"write options={kind}(...)")
        return options


@_in_our_words
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class RemoveOptions(MaskOptions):
    """How an object is removed: the analysis, the new pixels and the file."""

    engine: Annotated[
        Engine, Field(description="Who paints the new pixels; auto says which it took and why.")
    ] = Engine.AUTO
    codec: Annotated[Codec, Field(description="How the result is encoded; ffv1 and png lose nothing.")] = (
        Codec.H264
    )
    feather_px: Annotated[
        float, Field(ge=0, le=100, description="Width of the seam, in pixels of a 1920-pixel picture.")
    ] = 3.0
    model: Annotated[
        str,
        Field(description="VOID's weights: nano, a folder or a hub name. Without it auto takes the draft."),
    ] = ""
    passes: Annotated[
        int, Field(ge=1, le=2, description="Passes of the VOID model; the second steadies.")
    ] = 1
    steps: Annotated[
        int,
        Field(ge=0, le=1000, description="Steps of a pass; 0: as the model says, 30 and in the second 50."),
    ] = 0
    guidance: Annotated[
        float,
        Field(
            ge=0,
            le=100,
            description="Guidance by the prompt; 0: as the model says, 1 and in the second pass 6.",
        ),
    ] = 0.0
    model_width_px: Annotated[
        int,
        Field(
            ge=0,
            le=4096,
            multiple_of=16,
            description="Width at which the VOID model paints, pixels; 0: as it says, 672.",
        ),
    ] = 0
    model_height_px: Annotated[
        int,
        Field(
            ge=0,
            le=4096,
            multiple_of=16,
            description="Height at which it paints; turned for an upright clip; 0: as it says, 384.",
        ),
    ] = 0
    focus: Annotated[
        Focus,
        Field(description="VOID sees what changes and its surroundings at its full size, or the whole."),
    ] = Focus.AUTO
    guide: Annotated[
        Guide,
        Field(description="draft: VOID's second pass alone, moved as the draft moves (--plan directs it)."),
    ] = Guide.NONE
    memory: Annotated[
        Memory, Field(description="How VOID shares the card's memory; auto takes the fastest that fits.")
    ] = Memory.AUTO
    quantize: Annotated[
        Quantize, Field(description="Smaller weights for VOID; int8 and int4 need the extra quant.")
    ] = Quantize.NONE
    fast: Annotated[
        bool, Field(description="VOID in fewer steps, with less padding: several times faster, not exact.")
    ] = False
    compile: Annotated[
        bool, Field(description="Compile VOID's transformer first: pays where many clips follow.")
    ] = False
    seed: Annotated[int, Field(ge=0, lt=2**63, description="The same seed gives the same result.")] = 0
    credentials: Annotated[
        bool,
        Field(
            description="Sign the result with Content Credentials that say it was edited (.mp4, .mov, .m4v)."
        ),
    ] = True
    certificate: Annotated[
        str, Field(description="Sign with this certificate (PEM, and its chain) in place of a self-made one.")
    ] = ""
    key: Annotated[
        str, Field(description="The certificate's private key (PEM); its password in AFTERMATH_KEY_PASSWORD.")
    ] = ""
