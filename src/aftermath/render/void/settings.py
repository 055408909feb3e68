"""What a user may ask of a model, and which passes of it that comes to."""

from __future__ import annotations

from dataclasses import dataclass, replace

from aftermath.config import Focus, Guide, Memory, Quantize
from aftermath.errors import InputError
from aftermath.render.void.memory import choose
from aftermath.render.void.published import Manner, PassManner

__all__ = ["FAST_STEPS", "Settings", "check_settings", "passes_of"]

FAST_STEPS = {1: 10, 2: 15}
"""Steps of each pass with ``fast``, where 30 and 50 were published; a model made for fewer keeps its own."""


@dataclass(frozen=True)
class Settings:
    """What a user may choose; 0 and an empty name stand for what was published, or for what ``model`` says of itself.

    ``size``: (height, width) that a clip is painted at, turned for one that stands upright.
    """

    model: str = ""
    passes: int = 1
    steps: int = 0
    guidance: float = 0.0
    size: tuple[int, int] = (0, 0)
    focus: Focus = Focus.AUTO
    guide: Guide = Guide.NONE
    memory: Memory = Memory.AUTO
    quantize: Quantize = Quantize.NONE
    fast: bool = False
    compile: bool = False
    offline: bool = False


def check_settings(settings: Settings, manner: Manner) -> None:
    """Raise `InputError` where a model of such a ``manner`` cannot run so, or not on this machine."""
    if settings.guide is Guide.DRAFT and settings.passes == 2:
        raise InputError(
            "guide draft with two passes", "it stands in for the first pass", "leave --passes away"
        )
    passes_of(manner, settings)
    choose(settings.memory, settings.quantize, 0, 0)


def passes_of(manner: Manner, settings: Settings) -> tuple[PassManner, ...]:
    """Those that are run, with what the user chose. Raises `InputError` where the model has not so many."""
    if settings.passes > len(manner.passes) or (settings.guide is Guide.DRAFT and len(manner.passes) < 2):
        asked = "--guide" if settings.guide is Guide.DRAFT else "--passes"
        raise InputError(
            f"{settings.model} has no second pass", "it must be one with two", f"leave {asked} away"
        )
    chosen = manner.passes[1:] if settings.guide is Guide.DRAFT else manner.passes[: settings.passes]
    return tuple(
        replace(
            one,
            steps=settings.steps or (min(FAST_STEPS[one.number], one.steps) if settings.fast else one.steps),
            guidance=settings.guidance or one.guidance,
        )
        for one in chosen
    )
