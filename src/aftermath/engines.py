"""Which renderer paints, and why."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

from aftermath.config import Engine, Guide, RemoveOptions
from aftermath.errors import InputError, extra_needed
from aftermath.hub import complete, how_to_fetch, located
from aftermath.models import BASE, VOID, has_card, here

if TYPE_CHECKING:
    from aftermath.render.base import Renderer
    from aftermath.render.void.settings import Settings

__all__ = ["build_renderer", "choose_engine", "fetch_weights", "missing"]


_PARTS = ("torch", "diffusers", "transformers")


def missing(engine: Engine) -> str:
    """What ``engine`` lacks on this machine; empty where it can run."""
    if engine is Engine.VOID and any(find_spec(part) is None for part in _PARTS):
        return extra_needed("the VOID model", "void")
    return ""


def choose_engine(options: RemoveOptions) -> tuple[Engine, str]:
    """The engine that will paint, and why. Raises `InputError` where the one asked for cannot run here."""
    if options.engine is Engine.DRAFT:
        return Engine.DRAFT, "asked for"
    lacking = missing(Engine.VOID)
    published = not lacking and not options.model and complete(_passes(options))
    if options.engine is Engine.AUTO:
        if lacking:
            return Engine.DRAFT, lacking
        if options.model:
            _check_void(options)
            return Engine.VOID, "a model was given"
        if not published:
            return Engine.DRAFT, "no --model was given, and the published weights are not on this machine"
        if not has_card():
            return (
                Engine.DRAFT,
                "the published weights are here, but no graphics card (--engine void takes hours)",
            )
        _check_void(options)
        return Engine.VOID, "the published weights and a graphics card are here"
    if lacking:
        raise InputError("engine void", lacking, "the engine draft runs on any computer")
    if not options.model and not published:
        raise InputError(
            "engine void",
            "must be given its weights",
            f"name them with --model FOLDER_OR_NAME, or {how_to_fetch(_passes(options))}",
        )
    _check_void(options)
    return Engine.VOID, "asked for"


def _check_void(options: RemoveOptions) -> None:
    """Refuse what VOID cannot do here before a clip is analysed for nothing, as far as it can be known without the
    network. Raises `InputError`, `WeightsError`."""
    model = options.model or BASE
    if model == VOID:
        raise InputError(
            f"model {VOID}",
            "it must be the base model, to which VOID's weights are added by themselves",
            f"leave --model away, or name a folder that holds both; {how_to_fetch(_passes(options))}",
        )
    folder = here(model)
    if folder is None and options.offline:
        located(model, offline=True)  # what is not here is told now
    from aftermath.render.void import checkpoint
    from aftermath.render.void.published import MANNER_FILE, PUBLISHED, manner_of
    from aftermath.render.void.settings import check_settings

    check_settings(_settings(options), manner_of(model) if folder else PUBLISHED)
    if folder and not any((folder / name).is_file() for name in ("model_index.json", MANNER_FILE)):
        checkpoint.text_encoder_files(model)  # what is no model at all, a clip or an empty folder, is told


def _passes(options: RemoveOptions) -> tuple[int, ...]:
    """The passes whose weights are needed."""
    return (2,) if options.guide is Guide.DRAFT else tuple(range(1, options.passes + 1))


def fetch_weights(engine: Engine, options: RemoveOptions, steps: Callable[[int, int], None]) -> list[str]:
    """Have the weights of ``engine`` on this machine; ``steps`` is told (bytes done, bytes in all) of each file.

    What is returned tells them from others that lie in the same place later.
    """
    if engine is not Engine.VOID:
        return []
    from aftermath.render.void import checkpoint

    for number in _passes(options):
        checkpoint.fetch_weights(
            options.model or BASE,
            number,
            offline=options.offline,
            progress=lambda _, done, total: steps(done, total),
        )
    return checkpoint.weights_identity(options.model or BASE, _passes(options), offline=options.offline)


def build_renderer(engine: Engine, options: RemoveOptions, *, keep: bool = False) -> Renderer:
    """A renderer of the kind that `choose_engine` chose; ``keep``: what it loads stays for its next clip."""
    if engine is Engine.VOID:
        from aftermath.render.void.renderer import VoidRenderer

        return VoidRenderer(_settings(options), keep=keep)
    from aftermath.render.draft.renderer import DraftRenderer

    return DraftRenderer()


def _settings(options: RemoveOptions) -> Settings:
    """What of ``options`` the model's renderer reads."""
    from aftermath.render.void.settings import Settings

    return Settings(
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
