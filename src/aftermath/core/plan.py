"""`Plan`: what the reasoning decided, in the form that people, language models and our own reasoner share.

On disk a plan is JSON: the keys of the reference's ``vlm_analysis.json`` (``integral_belongings``,
``affected_objects`` with ``noun``, ``category``, ``why``, ``will_move`` and grid cells, ``scene_description``,
``confidence``), and beside them, in every affected object, what our renderer needs and the reference's reader
skips: ``id``, ``action``, ``applied``, ``confidence``, ``frames``, ``box`` and ``path`` in source pixels. How that is
read and written stands in `aftermath.core.plan_file`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

import numpy as np

from aftermath.core.geometry import Box

__all__ = ["Action", "AffectedObject", "Belonging", "Category", "PathPoint", "Plan", "Sighting"]


class Action(StrEnum):
    """What becomes of a thing once the primary object is gone."""

    FALLS = "falls"  # it was held, carried or supported
    STAYS = "stays"  # it was set in motion, and now rests where it was
    GOES_ON = "goes-on"  # it was stopped or deflected, and now keeps going
    VANISHES = "vanishes"  # it was a shadow, a reflection or a glow


class Category(StrEnum):
    """The reference's two kinds of affected objects."""

    PHYSICAL = "physical"
    VISUAL_ARTIFACT = "visual_artifact"


@dataclass(frozen=True)
class PathPoint:
    """Where the centre of a thing is in one frame of the result; source pixels."""

    frame: int
    x: float
    y: float


@dataclass(frozen=True)
class Sighting:
    """Where somebody saw a thing in one frame, roughly: boxes that together hold it, source pixels."""

    frame: int
    boxes: tuple[Box, ...]

    @property
    def bounds(self) -> Box:
        """The smallest box round all of them."""
        first, *others = self.boxes
        for box in others:
            first = first.union(box)
        return first


@dataclass(frozen=True)
class AffectedObject:
    """One thing that would look or move differently without the primary object.

    ``id`` names its masks; ``frames`` is the half-open range in which the result differs because of it;
    ``box`` is where it stands in frame ``frames[0]``, source pixels. ``path`` says where its centre goes in the
    result: a path with ``directed`` set came from the user and wins over any computed one; an empty one is the
    renderer's to compute. ``sightings``: where a language model saw it, cells of its grid. ``in_place``: it never
    leaves its place (a bed that gives way), so that at rest it is what stands behind. A finding with ``applied`` unset
    is offered, not acted on.
    """

    id: str
    noun: str
    action: Action
    why: str
    confidence: float
    frames: tuple[int, int]
    category: Category = Category.PHYSICAL
    box: Box | None = None
    path: tuple[PathPoint, ...] = ()
    directed: bool = False
    applied: bool = True
    sightings: tuple[Sighting, ...] = ()
    in_place: bool = False

    @property
    def outlined(self) -> bool:
        """Whether its mask was cut along its outline; that of a track is what differs from the background."""
        return not self.id.startswith("track-")

    def positions(self) -> dict[int, tuple[float, float]]:
        """The path with every frame filled in, frame to (x, y) in source pixels; empty without a path.

        Between two points straight and even. A directed path holds its last point to the end; one that was
        computed ends where the thing left the picture.
        """
        if not self.path:
            return {}
        points = sorted(self.path, key=lambda point: point.frame)
        frames = [point.frame for point in points]
        first, last = max(self.frames[0], frames[0]), self.frames[1]
        asked = range(first, last if self.directed else min(last, frames[-1] + 1))
        xs = np.interp(asked, frames, [point.x for point in points])
        ys = np.interp(asked, frames, [point.y for point in points])
        return {t: (float(x), float(y)) for t, x, y in zip(asked, xs, ys, strict=True)}


@dataclass(frozen=True)
class Belonging:
    """Something that goes with the primary object, such as what it wears. The reference's form."""

    noun: str
    why: str = ""
    sightings: tuple[Sighting, ...] = ()


@dataclass(frozen=True)
class Plan:
    """The affected objects of one clip; ``width`` and ``height`` are the source's pixels, upright."""

    width: int
    height: int
    num_frames: int
    affected: tuple[AffectedObject, ...] = ()
    belongings: tuple[Belonging, ...] = ()
    scene_description: str = ""
    confidence: float = 1.0
    reasoner: str = ""
    notes: tuple[str, ...] = field(default=())

    @property
    def applied(self) -> tuple[AffectedObject, ...]:
        """The findings that are acted on."""
        return tuple(thing for thing in self.affected if thing.applied)

    @property
    def offered(self) -> tuple[AffectedObject, ...]:
        """The findings that wait for the user to confirm them."""
        return tuple(thing for thing in self.affected if not thing.applied)

    def with_affected(self, affected: tuple[AffectedObject, ...]) -> Plan:
        """The same plan with other findings."""
        return replace(self, affected=affected)

    def to_json(self, *, older: bool = False) -> str:
        """The plan as JSON text, in the reference's keys and ours (see the top of this file).

        ``older``: in the reference's older dialect, which knows cells only and no times.
        """
        from aftermath.core.plan_file import to_json, to_older_json

        return to_older_json(self) if older else to_json(self)

    @staticmethod
    def from_json(text: str, *, width: int, height: int, num_frames: int, name: str = "plan") -> Plan:
        """Read a plan for a clip of the given size and length.

        Accepts our own files, the reference's ``vlm_analysis.json`` and its older dialect (``affected_subjects``);
        grid cells become boxes and paths. Raises `InputError` for anything that is not such a file or does not fit
        the clip.
        """
        from aftermath.core.plan_file import from_json

        return from_json(text, width, height, num_frames, name)

    @staticmethod
    def load(path: Path, *, width: int, height: int, num_frames: int) -> Plan:
        """Read a plan file; see `from_json`."""
        from aftermath.core.plan_file import text_of

        text = text_of(path)
        return Plan.from_json(text, width=width, height=height, num_frames=num_frames, name=f"plan {path}")

    @staticmethod
    def check(path: Path, *, width: int, height: int) -> None:
        """Raise the `InputError` of `load` for everything that shows before the clip's length is known."""
        from aftermath.core.plan_file import check_size, file_of, text_of

        name = f"plan {path}"
        check_size(file_of(text_of(path), name), width, height, name)
