"""`Plan`: what the reasoning decided, in the form that people, language models and our own reasoner share.

On disk a plan is JSON: the keys of the reference's ``vlm_analysis.json`` (``integral_belongings``,
``affected_objects`` with ``noun``, ``category``, ``why``, ``will_move`` and grid cells, ``scene_description``,
``confidence``), and beside them, in every affected object, what our renderer needs and the reference's reader
skips: ``id``, ``action``, ``applied``, ``confidence``, ``frames``, ``box`` and ``path`` in source pixels.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aftermath.core.geometry import Box, Grid
from aftermath.errors import InputError, plainly

__all__ = ["Action", "AffectedObject", "Belonging", "Category", "PathPoint", "Plan"]


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
class AffectedObject:
    """One thing that would look or move differently without the primary object.

    ``id`` names its masks; ``frames`` is the half-open range in which the result differs because of it;
    ``box`` is where it stands in frame ``frames[0]``, source pixels. ``path`` says where its centre goes in the
    result: a path with ``directed`` set came from the user and wins over any computed one; an empty one is the
    renderer's to compute. A finding with ``applied`` unset is offered, not acted on.
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

    def to_json(self) -> str:
        """The plan as JSON text, in the reference's keys and ours (see the top of this file)."""
        return json.dumps(_write(self), indent=2, ensure_ascii=False) + "\n"

    @staticmethod
    def from_json(text: str, *, width: int, height: int, num_frames: int, name: str = "plan") -> Plan:
        """Read a plan for a clip of the given size and length.

        Accepts our own files and the reference's ``vlm_analysis.json``; grid cells become boxes and paths.
        Raises `InputError` for anything that is not such a file or does not fit the clip.
        """
        return _read(text, width, height, num_frames, name)

    @staticmethod
    def load(path: Path, *, width: int, height: int, num_frames: int) -> Plan:
        """Read a plan file; see `from_json`."""
        text = _text(path)
        return Plan.from_json(text, width=width, height=height, num_frames=num_frames, name=f"plan {path}")

    @staticmethod
    def check(path: Path, *, width: int, height: int) -> None:
        """Raise the `InputError` of `load` for everything that shows before the clip's length is known."""
        name = f"plan {path}"
        _check_size(_file(_text(path), name), width, height, name)


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _Cell(_Lenient):
    row: int
    col: int


class _CellsAt(_Lenient):
    frame: int
    grid_regions: list[_Cell] = []


class _CellPoint(_Lenient):
    frame: int
    grid_row: int
    grid_col: int


class _CellSize(_Lenient):
    rows: float = 1
    cols: float = 1


class _Point(_Lenient):
    frame: int
    x: float
    y: float


class _Affected(_Lenient):
    noun: str
    category: Category = Category.PHYSICAL
    why: str = ""
    will_move: bool = False
    first_appears_frame: int = 0
    movement_description: str = ""
    grid_localizations: list[_CellsAt] = []
    object_size_grids: _CellSize | None = None
    trajectory_path: list[_CellPoint] = []
    currently_moving: bool = False
    should_have_stayed: bool = False
    original_position_grid: _Cell | None = None
    id: str | None = None
    action: Action | None = None
    applied: bool = True
    directed: bool = False
    confidence: float | None = Field(default=None, ge=0, le=1)
    frames: tuple[int, int] | None = None
    box: tuple[float, float, float, float] | None = None
    path: list[_Point] = []


class _Belonging(_Lenient):
    noun: str
    why: str = ""


class _PlanFile(_Lenient):
    integral_belongings: list[_Belonging | str] = []
    affected_objects: list[_Affected]
    scene_description: str = ""
    confidence: float = Field(default=1.0, ge=0, le=1)
    reasoner: str = ""
    notes: list[str] = []
    size: tuple[int, int] | None = None
    num_frames: int | None = None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        reason = error.strerror or "unknown reason"
        raise InputError(
            f"plan {path}", f"must be a file that can be read ({reason})", "name another"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"plan {path}", "must be JSON text in UTF-8", "save it as UTF-8") from error


def _file(text: str, name: str) -> _PlanFile:
    try:
        return _PlanFile.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
        what = f"{name}: {where.removeprefix('.')}" if where else name
        raise InputError(
            what, plainly(first["msg"]), "mend it there; the form is that of a run's own plan.json"
        ) from error


def _check_size(file: _PlanFile, width: int, height: int, name: str) -> None:
    if file.size is not None and tuple(file.size) != (width, height):
        made_for = f"{name}: size {file.size[0]}x{file.size[1]}"
        raise InputError(made_for, f"must be the clip's, {width}x{height}", "give the plan of this clip")


def _read(text: str, width: int, height: int, num_frames: int, name: str) -> Plan:
    file = _file(text, name)
    _check_size(file, width, height, name)
    if file.num_frames is not None and file.num_frames != num_frames:
        made_for = f"{name}: num_frames {file.num_frames}"
        raise InputError(made_for, f"must be the clip's, {num_frames}", "give the plan of this clip")
    grid = Grid(width, height)
    affected = tuple(
        _affected(thing, index, grid, num_frames, f"{name}: affected_objects[{index}]")
        for index, thing in enumerate(file.affected_objects)
    )
    ids = [thing.id for thing in affected]
    twice = [one for one in ids if ids.count(one) > 1]
    if twice:
        raise InputError(
            f"{name}: id {twice[0]!r}", "must stand there once only", "give each object an id of its own"
        )
    belongings = tuple(
        Belonging(b) if isinstance(b, str) else Belonging(b.noun, b.why) for b in file.integral_belongings
    )
    return Plan(
        width, height, num_frames, affected, belongings,
        file.scene_description, file.confidence, file.reasoner, tuple(file.notes),
    )  # fmt: skip


def _affected(thing: _Affected, index: int, grid: Grid, num_frames: int, where: str) -> AffectedObject:
    first = min(max(thing.first_appears_frame, 0), num_frames - 1)
    path = tuple(PathPoint(p.frame, p.x, p.y) for p in thing.path) or tuple(
        PathPoint(p.frame, *grid.box_of(p.grid_row, p.grid_col).center) for p in thing.trajectory_path
    )
    outside = [p.frame for p in path if not 0 <= p.frame < num_frames]
    if outside:
        raise InputError(
            f"{where}, {thing.noun}: a path point on frame {outside[0]}",
            f"must be on one of the clip's frames 0 to {num_frames - 1}",
            "count frames from 0",
        )
    return AffectedObject(
        id=thing.id or f"thing-{index}",
        noun=thing.noun,
        action=thing.action or _action(thing),
        why=thing.why,
        confidence=0.8 if thing.confidence is None else thing.confidence,
        frames=_clamped(thing.frames, num_frames) if thing.frames else (first, num_frames),
        category=thing.category,
        box=Box(*thing.box) if thing.box else None if thing.id else _box(thing, grid),
        path=path,
        directed=thing.directed or (thing.id is None and bool(path)),
        applied=thing.applied,
    )


def _clamped(frames: tuple[int, int], num_frames: int) -> tuple[int, int]:
    first = min(max(frames[0], 0), num_frames - 1)
    return first, min(max(frames[1], first + 1), num_frames)


def _action(thing: _Affected) -> Action:
    if thing.category is Category.VISUAL_ARTIFACT:
        return Action.VANISHES
    if thing.should_have_stayed or not thing.will_move:
        return Action.STAYS
    return Action.GOES_ON if thing.currently_moving else Action.FALLS


def _box(thing: _Affected, grid: Grid) -> Box | None:
    cells = [cell for at in thing.grid_localizations[:1] for cell in at.grid_regions]
    if thing.original_position_grid:
        cells = [thing.original_position_grid]
    elif not cells and thing.trajectory_path:
        start, size = thing.trajectory_path[0], thing.object_size_grids or _CellSize()
        x, y = grid.box_of(start.grid_row, start.grid_col).center
        w, h = size.cols * grid.cell_px / 2, size.rows * grid.cell_px / 2
        return Box(x - w, y - h, x + w, y + h).clipped(grid.width, grid.height)
    if not cells:
        return None
    boxes = [grid.box_of(cell.row, cell.col) for cell in cells]
    return Box(
        min(b.x0 for b in boxes), min(b.y0 for b in boxes), max(b.x1 for b in boxes), max(b.y1 for b in boxes)
    )


def _write(plan: Plan) -> dict[str, Any]:
    grid = Grid(plan.width, plan.height)
    return {
        "integral_belongings": [{"noun": b.noun, "why": b.why} for b in plan.belongings],
        "affected_objects": [_write_affected(thing, grid) for thing in plan.affected],
        "scene_description": plan.scene_description,
        "confidence": plan.confidence,
        "reasoner": plan.reasoner,
        "notes": list(plan.notes),
        "size": [plan.width, plan.height],
        "num_frames": plan.num_frames,
    }


def _write_affected(thing: AffectedObject, grid: Grid) -> dict[str, Any]:
    moves = thing.action in (Action.FALLS, Action.GOES_ON)
    out: dict[str, Any] = {
        "noun": thing.noun,
        "category": str(thing.category),
        "why": thing.why,
        "will_move": moves,
        "first_appears_frame": thing.frames[0],
        "movement_description": f"{thing.noun} {thing.action}" if moves else "",
        "id": thing.id,
        "action": str(thing.action),
        "applied": thing.applied,
        "directed": thing.directed,
        "confidence": round(thing.confidence, 3),
        "frames": list(thing.frames),
        "path": [{"frame": p.frame, "x": round(p.x, 1), "y": round(p.y, 1)} for p in thing.path],
    }
    if thing.box is not None:
        out["box"] = [round(v, 1) for v in (thing.box.x0, thing.box.y0, thing.box.x1, thing.box.y1)]
        out["object_size_grids"] = {
            "rows": max(1, int(np.ceil(thing.box.height / grid.cell_px))),
            "cols": max(1, int(np.ceil(thing.box.width / grid.cell_px))),
        }
        row, col = grid.cell_of(*thing.box.center)
        if thing.action is Action.STAYS:
            out |= {"currently_moving": True, "should_have_stayed": True}
            out["original_position_grid"] = {"row": row, "col": col}
        if thing.category is Category.VISUAL_ARTIFACT:
            out["grid_localizations"] = [{"frame": thing.frames[0], "grid_regions": _cells(thing.box, grid)}]
    if thing.action is Action.GOES_ON:
        out["currently_moving"] = True
    if thing.path:
        cells = [(p.frame, *grid.cell_of(p.x, p.y)) for p in thing.path]
        out["trajectory_path"] = [{"frame": f, "grid_row": r, "grid_col": c} for f, r, c in cells]
    return out


def _cells(box: Box, grid: Grid) -> list[dict[str, int]]:
    top, left = grid.cell_of(box.x0, box.y0)
    bottom, right = grid.cell_of(max(box.x0, box.x1 - 1e-6), max(box.y0, box.y1 - 1e-6))
    return [{"row": r, "col": c} for r in range(top, bottom + 1) for c in range(left, right + 1)]
