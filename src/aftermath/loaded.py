"""What finds and what paints, with the models that they have loaded."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from aftermath.config import Engine, MaskOptions, RemoveOptions

if TYPE_CHECKING:
    from aftermath.render.base import Renderer
    from aftermath.segment.base import Segmenter
    from aftermath.segment.text import TextFinder

__all__ = ["LoadedModels"]

_T = TypeVar("_T")
_OF_A_CLIP = {
    "seed",
    "codec",
    "feather_px",
    "credentials",
    "certificate",
    "key",
}  # options that no renderer is made by


class LoadedModels:
    """Given to several calls of `aftermath.remove`, one after another, it keeps what they load from one to the next.

    One segmenter, one finder and one renderer stay; options that ask for another let go of the one before. With
    ``keep`` False each is made anew and nothing stays in memory.
    """

    def __init__(self, *, keep: bool = True) -> None:
        self._keep = keep
        self._kept: dict[str, tuple[object, Any]] = {}
        self._warn: Callable[[str], None] = lambda line: None

    def segmenter(self, options: MaskOptions, warn: Callable[[str], None]) -> Segmenter:
        """See `aftermath.eyes.build_segmenter`."""
        from aftermath.eyes import build_segmenter, choose_segmenter

        self._warn = warn  # of the run that uses it now
        key = choose_segmenter(options)[0], options.segmenter_model, options.offline
        return self._have("segmenter", key, lambda: build_segmenter(options, lambda line: self._warn(line)))

    def finder(self, options: MaskOptions) -> TextFinder | None:
        """See `aftermath.eyes.build_finder`."""
        from aftermath.eyes import build_finder

        key = options.text_model, options.offline
        return self._have("finder", key, lambda: build_finder(options))

    def renderer(self, engine: Engine, options: RemoveOptions) -> Renderer:
        """See `aftermath.engines.build_renderer`."""
        from aftermath.engines import build_renderer

        analysis = {item.name for item in dataclasses.fields(MaskOptions)} - {"offline"}
        key = (
            engine,
            tuple(sorted((k, str(v)) for k, v in vars(options).items() if k not in analysis | _OF_A_CLIP)),
        )
        return self._have("renderer", key, lambda: build_renderer(engine, options, keep=self._keep))

    def _have(self, kind: str, key: object, make: Callable[[], _T]) -> _T:
        known, value = self._kept.get(kind, (None, None))
        if value is not None and known == key:
            return value
        self._kept.pop(kind, None)
        del value  # before another is loaded
        made = make()
        if self._keep:
            self._kept[kind] = key, made
        return made
