"""What a person decided about one clip: the document that the studio edits, as JSON on the disk.

Everything is in pixels of the source, upright, and frames counted from 0, as on the command line.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aftermath.config import Codec, Engine, ReasonerName, RemoveOptions
from aftermath.config import Regions as RegionShape
from aftermath.core import Action, Box, PathPoint
from aftermath.errors import InputError, plainly
from aftermath.models import NANO
from aftermath.reason.base import Hint
from aftermath.segment.base import BoxPrompt, PointPrompt, Prompts

__all__ = ["Choices", "Document", "Model", "Quality", "Way"]

_Pixel = Annotated[float, Field(ge=-100_000, le=100_000, allow_inf_nan=False)]
_Frame = Annotated[int, Field(ge=0, le=1_000_000)]
_MOST_SEED = 2**53  # what a browser's numbers hold
_Words = Annotated[str, Field(max_length=500)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Point(_Strict):
    """A click: on the object, or with ``positive`` unset beside it."""

    x: _Pixel
    y: _Pixel
    frame: _Frame
    positive: bool = True


class Rectangle(_Strict):
    """A box drawn round the object."""

    x0: _Pixel
    y0: _Pixel
    x1: _Pixel
    y1: _Pixel
    frame: _Frame


class Told(_Strict):
    """What the user knows: the thing there does this."""

    x: _Pixel
    y: _Pixel
    frame: _Frame
    action: Action


class Place(_Strict):
    """Where the middle of a thing is in one frame of the result."""

    frame: _Frame
    x: _Pixel
    y: _Pixel


class Way(_Strict):
    """What a person changed of one finding; None is as it was found."""

    applied: bool | None = None
    action: Action | None = None
    path: tuple[Place, ...] | None = Field(default=None, max_length=1000)

    def positions(self) -> tuple[PathPoint, ...] | None:
        """The path in the order of its frames, one point a frame; the last one given for a frame holds."""
        if self.path is None:
            return None
        by_frame = {place.frame: PathPoint(place.frame, place.x, place.y) for place in self.path}
        return tuple(by_frame[frame] for frame in sorted(by_frame))


class Model(StrEnum):
    """Whose weights VOID has. Names alone: a browser names no folder."""

    PUBLISHED = ""
    NANO = NANO
    GIVEN = "given"  # the one that the server was started with


class Quality(StrEnum):
    """How long VOID may take."""

    QUICK = "quick"  # few steps, not exact
    NORMAL = "normal"
    BEST = "best"  # a second pass that steadies


class Choices(_Strict):
    """The options that a browser may set."""

    engine: Engine = Engine.AUTO
    model: Model = Model.PUBLISHED
    quality: Quality = Quality.NORMAL
    codec: Codec = Codec.H264
    regions: RegionShape = RegionShape.EXACT
    reasoner: ReasonerName = ReasonerName.MOTION
    seed: Annotated[int, Field(ge=0, lt=_MOST_SEED)] = 0
    credentials: bool = True

    @classmethod
    def of(cls, base: RemoveOptions) -> Choices:
        """What a new project begins with, where the server was started with these options."""
        own = {Model.PUBLISHED, Model.NANO}
        return cls(
            engine=base.engine,
            model=Model(base.model) if base.model in own else Model.GIVEN,
            quality=Quality.QUICK if base.fast else Quality.BEST if base.passes == 2 else Quality.NORMAL,
            codec=base.codec,
            regions=base.regions,
            reasoner=base.reasoner,
            seed=min(base.seed, _MOST_SEED - 1),
            credentials=base.credentials,
        )

    def options(self, base: RemoveOptions) -> RemoveOptions:
        """The options of a run: those that the server was started with, and these over them."""
        given = base.model if self.model is Model.GIVEN or self.engine is Engine.AUTO else str(self.model)
        if self.codec is Codec.PNG:
            raise InputError("codec png", "must be a film here", "the command line writes numbered pictures")
        return replace(
            base,
            engine=self.engine,
            model="" if self.engine is Engine.DRAFT else given,
            fast=self.quality is Quality.QUICK,
            passes=2 if self.quality is Quality.BEST and self.model is not Model.NANO else 1,
            codec=self.codec,
            regions=self.regions,
            reasoner=self.reasoner,
            seed=self.seed,
            credentials=self.credentials,
        )


class Document(_Strict):
    """One clip and what to do with it. ``clip``: a file of the project's folder, or the path of one that the person who
    started the server named. ``ways``: what was changed of the findings, by their id."""

    name: _Words
    clip: str
    points: tuple[Point, ...] = Field(default=(), max_length=200)
    boxes: tuple[Rectangle, ...] = Field(default=(), max_length=50)
    text: _Words = ""
    pick: tuple[Annotated[int, Field(ge=1, le=1000)], ...] = Field(default=(), max_length=50)
    told: tuple[Told, ...] = Field(default=(), max_length=50)
    ways: dict[Annotated[str, Field(max_length=100)], Way] = Field(default_factory=dict, max_length=200)
    prompt: _Words = ""
    choices: Choices = Choices()

    def edited(self, changes: Any) -> Document:
        """The document with some fields replaced by what a browser sent. Raises `InputError`."""
        if not isinstance(changes, dict) or not changes.keys() <= _EDITABLE:
            raise InputError("the change", f"must be an object with some of {', '.join(sorted(_EDITABLE))}")
        try:
            return Document.model_validate(self.model_dump(mode="json") | changes)
        except ValidationError as error:
            first = error.errors()[0]
            raise InputError(".".join(map(str, first["loc"])), plainly(first["msg"])) from error

    @property
    def pointed(self) -> bool:
        """Whether it says what the object is."""
        return bool(self.text or self.boxes or any(point.positive for point in self.points))

    def prompts(self) -> Prompts:
        """What was pointed at. Words go without it: they say the object by themselves."""
        return Prompts(
            tuple(BoxPrompt(Box(box.x0, box.y0, box.x1, box.y1), box.frame) for box in self.boxes),
            tuple(PointPrompt(p.x, p.y, p.frame, p.positive) for p in self.points),
        )

    def asked(self) -> dict[str, Any]:
        """The arguments of `aftermath.mask` that say what the object is and what the user knows."""
        hints = [Hint(told.x, told.y, told.frame, told.action) for told in self.told]
        if self.text:
            return {"text": self.text, "pick": list(self.pick), "affected": hints}
        prompts = self.prompts()
        return {"boxes": list(prompts.boxes), "points": list(prompts.points), "affected": hints}


_EDITABLE = frozenset(Document.model_fields) - {"clip"}
