"""Which renderer paints, and why."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from aftermath.config import Engine
from aftermath.errors import InputError

if TYPE_CHECKING:
    from aftermath.render.base import Renderer

__all__ = ["build_renderer", "choose_engine", "missing"]


def missing(engine: Engine) -> str:
    """What ``engine`` lacks on this machine; empty where it can run."""
    if engine is Engine.VOID and find_spec("aftermath.render.void") is None:
        return "the VOID model is not part of this installation"
    return ""


def choose_engine(wanted: Engine) -> tuple[Engine, str]:
    """The engine that will paint, and why. Raises `InputError` where the one asked for cannot run here."""
    if wanted is not Engine.AUTO:
        lacking = missing(wanted)
        if lacking:
            raise InputError(f"engine {wanted}", lacking, "the engine draft runs on any computer")
        return wanted, "asked for"
    lacking = missing(Engine.VOID)
    return (Engine.DRAFT, lacking) if lacking else (Engine.VOID, "its weights and a GPU are here")


def build_renderer(engine: Engine) -> Renderer:
    """A renderer of the kind that `choose_engine` chose."""
    from aftermath.render.draft.renderer import DraftRenderer

    assert engine is Engine.DRAFT, engine
    return DraftRenderer()
