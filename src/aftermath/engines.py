"""Which renderer paints, and why."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from aftermath.config import Engine, RemoveOptions
from aftermath.errors import InputError
from aftermath.models import here

if TYPE_CHECKING:
    from aftermath.render.base import Renderer

__all__ = ["build_renderer", "choose_engine", "missing"]


_PARTS = ("torch", "diffusers", "transformers")


def missing(engine: Engine) -> str:
    """What ``engine`` lacks on this machine; empty where it can run."""
    if engine is Engine.VOID and any(find_spec(part) is None for part in _PARTS):
        return 'the VOID model needs the extra void: pip install "aftermath[void]"'
    return ""


def choose_engine(options: RemoveOptions) -> tuple[Engine, str]:
    """The engine that will paint, and why. Raises `InputError` where the one asked for cannot run here."""
    lacking = missing(Engine.VOID)
    if options.engine is Engine.DRAFT:
        return Engine.DRAFT, "asked for"
    if options.engine is Engine.AUTO and (lacking or not options.model):
        return Engine.DRAFT, lacking or "no --model was given"
    if lacking:
        raise InputError("engine void", lacking, "the engine draft runs on any computer")
    if not options.model:
        raise InputError("engine void", "must be given its weights", "name them with --model FOLDER_OR_NAME")
    here(options.model)  # before a clip is analysed for nothing
    return Engine.VOID, "asked for" if options.engine is Engine.VOID else "a model was given"


def build_renderer(engine: Engine, options: RemoveOptions) -> Renderer:
    """A renderer of the kind that `choose_engine` chose."""
    if engine is Engine.VOID:
        from aftermath.render.void.renderer import Settings, VoidRenderer

        return VoidRenderer(
            Settings(
                model=options.model,
                passes=options.passes,
                steps=options.steps,
                guidance=options.guidance,
                size=(options.model_height_px, options.model_width_px),
                focus=options.focus,
                guide=options.guide,
                memory=options.memory,
                quantize=options.quantize,
                fast=options.fast,
                compile=options.compile,
                offline=options.offline,
            )
        )
    from aftermath.render.draft.renderer import DraftRenderer

    return DraftRenderer()
