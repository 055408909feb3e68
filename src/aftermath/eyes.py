"""Who finds the object, and why: by what the user pointed at, and by words."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

from aftermath.config import MaskOptions, SegmenterName
from aftermath.errors import InputError, extra_needed
from aftermath.hub import ready
from aftermath.models import DINO, SAM2, SAM3, has_card, here, model_type

if TYPE_CHECKING:
    from aftermath.segment.base import Segmenter
    from aftermath.segment.text import TextFinder

__all__ = ["build_finder", "build_segmenter", "check_eyes", "choose_segmenter", "missing"]

_PARTS = ("huggingface_hub", "safetensors", "torch", "torchvision", "transformers")
_PUBLISHED = {SegmenterName.SAM2: SAM2, SegmenterName.SAM3: SAM3}
_ANYWHERE = "the segmenter flow runs on any computer"


def missing(what: str = "SAM") -> str:
    """What ``what`` lacks on this machine; empty where it can run."""
    return extra_needed(what, "sam") if any(find_spec(part) is None for part in _PARTS) else ""


def choose_segmenter(options: MaskOptions) -> tuple[SegmenterName, str]:
    """The segmenter that will find the object, and why.

    Raises `InputError` where one asked for by name, or with weights of its own, cannot run here, `WeightsError` where
    the folder of its weights is none of a model.
    """
    asked, model = options.segmenter, options.segmenter_model
    if asked is SegmenterName.FLOW:
        return SegmenterName.FLOW, "asked for"
    lacking = missing()
    if asked is SegmenterName.AUTO and not model:
        if lacking:
            return SegmenterName.FLOW, lacking
        if not ready(SAM2):
            return (
                SegmenterName.FLOW,
                f"SAM 2's weights are not on this machine (aftermath models download {SAM2})",
            )
        if not has_card():
            return (
                SegmenterName.FLOW,
                "SAM 2's weights are here, but no graphics card (--segmenter sam2 takes long)",
            )
        return SegmenterName.SAM2, "its weights and a graphics card are here"
    name = SegmenterName.SAM2 if asked is SegmenterName.AUTO else asked
    what = f"segmenter {name}"
    if lacking:
        raise InputError(what, lacking, _ANYWHERE)
    if not model:
        _there(_PUBLISHED[name], what, _ANYWHERE)
        return name, "asked for"
    folder = here(model)  # before a clip is looked at for nothing
    if folder is not None:
        name = SegmenterName.SAM3 if model_type(folder).startswith("sam3") else SegmenterName.SAM2
    elif options.offline:
        _there(model, what, _ANYWHERE)
    return name, "a model was given"


def build_segmenter(options: MaskOptions, warn: Callable[[str], None]) -> Segmenter:
    """The segmenter that `choose_segmenter` chose; ``warn`` is told what a person should know while it works."""
    name, _ = choose_segmenter(options)
    if name is SegmenterName.SAM2 or name is SegmenterName.SAM3:
        from aftermath.segment.sam import SamSegmenter

        return SamSegmenter(options.segmenter_model, offline=options.offline, kind=name, warn=warn)
    from aftermath.segment.flow import FlowSegmenter

    return FlowSegmenter()


def check_eyes(options: MaskOptions, *, words: bool) -> None:
    """Raise `InputError` where the segmenter, or for ``words`` who finds by them, cannot run here."""
    choose_segmenter(options)
    if not words or build_finder(options) is not None:
        return
    lacking = missing("finding by words")
    raise InputError(
        "text",
        lacking or "needs the weights of a model that finds objects by words",
        "or point with --box"
        if lacking
        else f"fetch them with: aftermath models download {DINO}, or point with --box",
    )


def build_finder(options: MaskOptions) -> TextFinder | None:
    """Who finds objects by words: the model that was given, else Grounding DINO, else SAM 3; None where none is here.

    Raises `InputError` where the model that was given cannot run here, `WeightsError` where its folder is none of a
    model.
    """
    model, lacking = options.text_model, missing("finding by words")
    if model:
        if lacking:
            raise InputError(f"text model {model!r}", lacking, "point with --box or --point")
        folder = here(model)
        if folder is not None:
            model_type(folder)
        elif options.offline:
            _there(model, f"text model {model!r}", "point with --box or --point")
    elif not lacking:
        model = next((name for name in (DINO, SAM3) if ready(name)), "")
    if not model:
        return None
    from aftermath.segment.text import TextFinder

    return TextFinder(model, offline=options.offline)


def _there(model: str, what: str, otherwise: str) -> None:
    """Raise `InputError` unless the weights are on this machine."""
    if not ready(model):
        raise InputError(
            what,
            "must have its weights here",
            f"fetch them with: aftermath models download {model} ({otherwise})",
        )
