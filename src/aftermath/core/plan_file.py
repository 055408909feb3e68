"""A plan as JSON: our own form, which is the reference's with keys beside it, and the reference's older dialect.

The reference speaks of cells of a grid (see `Grid`) where we speak of pixels; what a language model wrote may lie
outside the grid or the clip, and is taken for the nearest cell or frame. What we wrote ourselves must fit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from aftermath.core.geometry import Box, Grid
from aftermath.core.plan import Action, AffectedObject, Belonging, Category, PathPoint, Plan, Sighting
from aftermath.errors import InputError, plainly

__all__ = ["PlanFile", "check_size", "file_of", "from_json", "text_of", "to_json", "to_older_json"]

_LIGHT = re.compile(
    r"\b(shadows?|reflections?|glows?|glare|wake|ripples?|splash\w*|footprints?)\b", re.IGNORECASE
)
_LEVEL = 0.8  # how sure a finding is of which nobody says how sure


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class _Cell(_Lenient):
    row: int
    col: int


def _as_cell(value: Any) -> Any:
    """A cell that was written [row, col]."""
    return (
        {"row": value[0], "col": value[1]} if isinstance(value, list | tuple) and len(value) == 2 else value
    )


_AnyCell = Annotated[_Cell, BeforeValidator(_as_cell)]


class _CellsAt(_Lenient):
    frame: int
    grid_regions: list[_AnyCell] = []


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
    original_position_grid: _AnyCell | None = None
    id: str | None = None
    action: Action | None = None
    applied: bool = True
    directed: bool = False
    confidence: float | None = Field(default=None, ge=0, le=1)
    frames: tuple[int, int] | None = None
    box: tuple[float, float, float, float] | None = None
    path: list[_Point] = []
    sighted: bool = False
    in_place: bool = False


class _Subject(_Lenient):
    """An affected object of the older dialect, as it is in the first frame."""

    noun: str
    why: str = ""
    current_position: list[_AnyCell] = []
    will_move: bool = False
    final_position: list[_AnyCell] = []
    movement_reasoning: str = ""


class _Belonging(_Lenient):
    noun: str
    why: str = ""
    grid_localizations: list[_CellsAt] = []


class PlanFile(_Lenient):
    """What may stand in a file."""

    integral_belongings: list[_Belonging | str] = []
    affected_objects: list[_Affected] | None = None
    affected_subjects: list[_Subject] | None = None
    scene_description: str = ""
    confidence: float = Field(default=1.0, ge=0, le=1)
    reasoner: str = ""
    notes: list[str] = []
    size: tuple[int, int] | None = None
    num_frames: int | None = None
    grid_rows: int | None = Field(default=None, ge=1, le=200)
    grid_cols: int | None = Field(default=None, ge=1, le=200)


def text_of(path: Path) -> str:
    """The text of a plan file. Raises `InputError`."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        reason = error.strerror or "unknown reason"
        raise InputError(
            f"plan {path}", f"must be a file that can be read ({reason})", "name another"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"plan {path}", "must be JSON text in UTF-8", "save it as UTF-8") from error


def file_of(text: str, name: str) -> PlanFile:
    """What stands in ``text``. Raises `InputError` where that is no plan."""
    remedy = "mend it there; the form is that of a run's own plan.json"
    try:
        file = PlanFile.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
        what = f"{name}: {where.removeprefix('.')}" if where else name
        raise InputError(what, plainly(first["msg"]), remedy) from error
    if file.affected_objects is None and file.affected_subjects is None:
        raise InputError(f"{name}: affected_objects", "is missing", remedy)
    return file


def check_size(file: PlanFile, width: int, height: int, name: str) -> None:
    """Raise `InputError` where the file was made for another size."""
    if file.size is not None and tuple(file.size) != (width, height):
        made_for = f"{name}: size {file.size[0]}x{file.size[1]}"
        raise InputError(made_for, f"must be the clip's, {width}x{height}", "give the plan of this clip")


def from_json(text: str, width: int, height: int, num_frames: int, name: str) -> Plan:
    """See `Plan.from_json`."""
    file = file_of(text, name)
    check_size(file, width, height, name)
    if file.num_frames is not None and file.num_frames != num_frames:
        made_for = f"{name}: num_frames {file.num_frames}"
        raise InputError(made_for, f"must be the clip's, {num_frames}", "give the plan of this clip")
    grid = Grid(width, height, file.grid_rows or 0, file.grid_cols or 0)
    affected = tuple(
        _affected(thing, index, grid, num_frames, f"{name}: affected_objects[{index}]")
        for index, thing in enumerate(file.affected_objects or [])
    ) + tuple(
        _subject(thing, index, grid, num_frames) for index, thing in enumerate(file.affected_subjects or [])
    )
    ids = [thing.id for thing in affected]
    twice = [one for one in ids if ids.count(one) > 1]
    if twice:
        raise InputError(
            f"{name}: id {twice[0]!r}", "must stand there once only", "give each object an id of its own"
        )
    belongings = tuple(
        Belonging(b)
        if isinstance(b, str)
        else Belonging(b.noun, b.why, _sightings(b.grid_localizations, grid, num_frames))
        for b in file.integral_belongings
    )
    return Plan(
        width, height, num_frames, affected, belongings,
        file.scene_description, file.confidence, file.reasoner, tuple(file.notes),
    )  # fmt: skip


def _affected(thing: _Affected, index: int, grid: Grid, num_frames: int, where: str) -> AffectedObject:
    first = _frame(thing.first_appears_frame, num_frames)
    path = tuple(PathPoint(p.frame, p.x, p.y) for p in thing.path)
    outside = [p.frame for p in path if not 0 <= p.frame < num_frames]
    if outside:
        raise InputError(
            f"{where}, {thing.noun}: a path point on frame {outside[0]}",
            f"must be on one of the clip's frames 0 to {num_frames - 1}",
            "count frames from 0",
        )
    path = path or _cell_path(thing.trajectory_path, grid, num_frames)
    return AffectedObject(
        id=thing.id or f"thing-{index}",
        noun=thing.noun,
        action=thing.action or _action(thing),
        why=thing.why,
        confidence=_LEVEL if thing.confidence is None else thing.confidence,
        frames=_clamped(thing.frames, num_frames) if thing.frames else (first, num_frames),
        category=thing.category,
        box=Box(*thing.box) if thing.box else None if thing.id else _box(thing, grid),
        path=path,
        directed=thing.directed or (thing.id is None and bool(path)),
        applied=thing.applied,
        # where we wrote cells only for the reference to read, they say no more than the box
        sightings=_sightings(thing.grid_localizations, grid, num_frames)
        if thing.sighted or not thing.id
        else (),
        in_place=thing.in_place,
    )


def _subject(thing: _Subject, index: int, grid: Grid, num_frames: int) -> AffectedObject:
    """The older dialect has no kinds: light is told by its name, and what ends where it is has come to rest."""
    light = bool(_LIGHT.search(thing.noun))
    here, there = (
        {(c.row, c.col) for c in cells} for cells in (thing.current_position, thing.final_position)
    )
    moves = thing.will_move and bool(there - here)
    seen = _sightings([_CellsAt(frame=0, grid_regions=thing.current_position)], grid, num_frames)
    return AffectedObject(
        id=f"thing-{index}",
        noun=thing.noun,
        action=Action.VANISHES if light else Action.FALLS if moves else Action.STAYS,
        why=thing.why or thing.movement_reasoning,
        confidence=_LEVEL,
        frames=(0, num_frames),
        category=Category.VISUAL_ARTIFACT if light else Category.PHYSICAL,
        box=seen[0].bounds if seen else None,
        sightings=seen,
    )


def _frame(frame: int, num_frames: int) -> int:
    return min(max(frame, 0), num_frames - 1)


def _clamped(frames: tuple[int, int], num_frames: int) -> tuple[int, int]:
    first = _frame(frames[0], num_frames)
    return first, min(max(frames[1], first + 1), num_frames)


def _cell_path(points: list[_CellPoint], grid: Grid, num_frames: int) -> tuple[PathPoint, ...]:
    """The middles of cells; of several on one frame the last."""
    middles = {
        _frame(p.frame, num_frames): grid.box_of(*grid.clamped(p.grid_row, p.grid_col)).center for p in points
    }
    return tuple(PathPoint(t, *middle) for t, middle in sorted(middles.items()))


def _sightings(places: list[_CellsAt], grid: Grid, num_frames: int) -> tuple[Sighting, ...]:
    cells: dict[int, set[tuple[int, int]]] = {}
    for place in places:
        here = cells.setdefault(_frame(place.frame, num_frames), set())
        here |= {grid.clamped(cell.row, cell.col) for cell in place.grid_regions}
    return tuple(
        Sighting(t, tuple(grid.box_of(*cell) for cell in sorted(here)))
        for t, here in sorted(cells.items())
        if here
    )


def _action(thing: _Affected) -> Action:
    if thing.category is Category.VISUAL_ARTIFACT:
        return Action.VANISHES
    if thing.should_have_stayed or not thing.will_move:
        return Action.STAYS
    return Action.GOES_ON if thing.currently_moving else Action.FALLS


def _box(thing: _Affected, grid: Grid) -> Box | None:
    if thing.original_position_grid:
        return grid.box_of(*grid.clamped(thing.original_position_grid.row, thing.original_position_grid.col))
    cells = [
        grid.clamped(cell.row, cell.col) for at in thing.grid_localizations[:1] for cell in at.grid_regions
    ]
    if cells:
        return Sighting(0, tuple(grid.box_of(*cell) for cell in cells)).bounds
    if not thing.trajectory_path:
        return None
    start, size = thing.trajectory_path[0], thing.object_size_grids or _CellSize()
    x, y = grid.box_of(*grid.clamped(start.grid_row, start.grid_col)).center
    w, h = size.cols * grid.width / grid.cols / 2, size.rows * grid.height / grid.rows / 2
    sides = (round(side, 1) for side in (x - w, y - h, x + w, y + h))
    return Box(*sides).clipped(grid.width, grid.height)


def to_json(plan: Plan) -> str:
    """See `Plan.to_json`."""
    grid = Grid(plan.width, plan.height)
    content = {
        "integral_belongings": [_write_belonging(b, grid) for b in plan.belongings],
        "affected_objects": [_write_affected(thing, grid) for thing in plan.affected],
        "scene_description": plan.scene_description,
        "confidence": plan.confidence,
        "reasoner": plan.reasoner,
        "notes": list(plan.notes),
        "size": [plan.width, plan.height],
        "num_frames": plan.num_frames,
        "grid_rows": grid.rows,
        "grid_cols": grid.cols,
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def to_older_json(plan: Plan) -> str:
    """See `Plan.to_json`."""
    grid = Grid(plan.width, plan.height)
    content = {
        "integral_belongings": [b.noun for b in plan.belongings],
        "affected_subjects": [_write_subject(thing, grid) for thing in plan.applied],
        "scene_description": plan.scene_description,
        "confidence": plan.confidence,
        "grid_rows": grid.rows,
        "grid_cols": grid.cols,
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _write_subject(thing: AffectedObject, grid: Grid) -> dict[str, Any]:
    boxes = thing.sightings[0].boxes if thing.sightings else (thing.box,) if thing.box else ()
    here = sorted({cell for box in boxes for cell in grid.cells_of(box)})
    places = list(thing.positions().values())
    moves = thing.action in (Action.FALLS, Action.GOES_ON)
    noun = thing.noun
    if thing.action is Action.VANISHES and not _LIGHT.search(noun):
        noun = f"reflection: {noun}"  # the dialect tells light by its name
    there = here
    if moves and thing.box is not None and places:
        dx, dy = (places[-1][axis] - thing.box.center[axis] for axis in (0, 1))
        there = grid.cells_of(thing.box.moved(dx, dy))
    return {
        "noun": noun,
        "why": thing.why,
        "current_position": here,
        "will_move": moves,
        "movement_path": sorted({grid.cell_of(x, y) for x, y in places}) if moves else [],
        "final_position": there,
        "movement_reasoning": f"{thing.noun} {thing.action}",
    }


def _write_belonging(belonging: Belonging, grid: Grid) -> dict[str, Any]:
    out: dict[str, Any] = {"noun": belonging.noun, "why": belonging.why}
    if belonging.sightings:
        out["grid_localizations"] = _write_sightings(belonging.sightings, grid)
    return out


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
            "rows": max(1, round(thing.box.height / grid.cell_px + 0.499)),
            "cols": max(1, round(thing.box.width / grid.cell_px + 0.499)),
        }
        row, col = grid.cell_of(*thing.box.center)
        if thing.action is Action.STAYS:
            out |= {"currently_moving": True, "should_have_stayed": True}
            out["original_position_grid"] = {"row": row, "col": col}
    if thing.in_place:
        out["in_place"] = True
    if thing.sightings:
        out["sighted"] = True
        out["grid_localizations"] = _write_sightings(thing.sightings, grid)
    elif thing.box is not None and thing.category is Category.VISUAL_ARTIFACT:
        out["grid_localizations"] = _write_sightings([Sighting(thing.frames[0], (thing.box,))], grid)
    if thing.action is Action.GOES_ON:
        out["currently_moving"] = True
    if thing.path:
        cells = [(p.frame, *grid.cell_of(p.x, p.y)) for p in thing.path]
        out["trajectory_path"] = [{"frame": f, "grid_row": r, "grid_col": c} for f, r, c in cells]
    return out


def _write_sightings(sightings: Iterable[Sighting], grid: Grid) -> list[dict[str, Any]]:
    return [
        {
            "frame": seen.frame,
            "grid_regions": [
                {"row": row, "col": col}
                for row, col in sorted({cell for box in seen.boxes for cell in grid.cells_of(box)})
            ],
        }
        for seen in sightings
    ]
