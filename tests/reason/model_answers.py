"""What a good model would say of the examples: their truth, told in the coarse cells that a model speaks in."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from aftermath.core import Box, Grid, Level
from aftermath.media.masks import read_quadmask

__all__ = ["EXAMPLES", "NAMES", "model_answer", "true_levels", "truth"]

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = ("collision", "control", "passer", "support")
_SCENES = {
    "collision": "A red ball rests on a wooden floor.",
    "control": "A green cube slides over the floor.",
    "passer": "An empty street of toys.",
    "support": "A vase falls to the floor.",
}
_TOUCHED = 0.1  # of a cell, from which on a model says that the light lies in it


def truth(name: str) -> dict[str, Any]:
    """``truth.json`` of an example."""
    return json.loads((EXAMPLES / name / "truth.json").read_text())


@cache
def true_levels(name: str) -> np.ndarray:
    """The true quadmask, uint8 (T, H, W)."""
    (width, height), num = truth(name)["size"], truth(name)["num_frames"]
    return np.stack(list(read_quadmask(EXAMPLES / name / "quadmask_0.mp4", expect=(num, height, width))))


def model_answer(name: str) -> dict[str, Any]:
    """The answer in the reference's keys."""
    facts = truth(name)
    (width, height), num = facts["size"], facts["num_frames"]
    grid = Grid(width, height)
    frames = sorted({int(share * (num - 1)) for share in np.linspace(0, 1, 10).round(2)})
    affected = [_thing(thing, grid) for thing in facts["things"] if thing["affected"]]
    light = _light(name, facts, grid, frames)
    if light:
        affected.append(
            {
                "noun": "shadow",
                "category": "visual_artifact",
                "why": "the object casts it",
                "will_move": False,
                "grid_localizations": light,
            }
        )
    return {
        "integral_belongings": [],
        "affected_objects": affected,
        "scene_description": _SCENES[name],
        "confidence": 0.9,
    }


def _thing(thing: dict[str, Any], grid: Grid) -> dict[str, Any]:
    cells = grid.cells_of(Box(*thing["box"]))
    row, col = grid.cell_of(thing["click"]["x"], thing["click"]["y"])
    said: dict[str, Any] = {
        "noun": thing["name"],
        "category": "physical",
        "why": "the object acts on it",
        "will_move": thing["action"] == "falls",
        "grid_localizations": [
            {"frame": thing["click"]["frame"], "grid_regions": [{"row": r, "col": c} for r, c in cells]}
        ],
    }
    if thing["action"] == "stays":
        return said | {
            "currently_moving": True,
            "should_have_stayed": True,
            "original_position_grid": {"row": row, "col": col},
        }
    path = [{"frame": 0, "grid_row": row, "grid_col": col}, {"frame": 20, "grid_row": 7, "grid_col": col}]
    return said | {"trajectory_path": path, "object_size_grids": {"rows": 2, "cols": 2}}


def _light(name: str, facts: dict[str, Any], grid: Grid, frames: list[int]) -> list[dict[str, Any]]:
    """Cells in which something beside the affected things changes, in each frame that the model is shown."""
    found = []
    for t in frames:
        affected = np.isin(true_levels(name)[max(t, 1)], (Level.AFFECTED, Level.OVERLAP))
        for thing in facts["things"]:
            if thing["affected"]:
                w, h = thing["box"][2] - thing["box"][0], thing["box"][3] - thing["box"][1]
                for key in ("centers_source", "centers_removed"):
                    x, y = thing[key][t]
                    rows, cols = Box(x - w, y - h, x + w, y + h).slices(grid.width, grid.height)
                    affected[rows, cols] = False
        cells = [
            {"row": row, "col": col}
            for row in range(grid.rows)
            for col in range(grid.cols)
            if affected[grid.box_of(row, col).slices(grid.width, grid.height)].mean() > _TOUCHED
        ]
        if cells:
            found.append({"frame": t, "grid_regions": cells})
    return found
