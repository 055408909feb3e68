"""The nouns every room shares: numpy and nothing heavier."""

from aftermath.core.clip import Clip
from aftermath.core.geometry import Box, Grid, fit_long_side, valid_length
from aftermath.core.plan import Action, AffectedObject, Belonging, Category, PathPoint, Plan, Sighting
from aftermath.core.quadmask import Level, Quadmask, check_levels, grow_object, quantise

__all__ = [
    "Action",
    "AffectedObject",
    "Belonging",
    "Box",
    "Category",
    "Clip",
    "Grid",
    "Level",
    "PathPoint",
    "Plan",
    "Quadmask",
    "Sighting",
    "check_levels",
    "fit_long_side",
    "grow_object",
    "quantise",
    "valid_length",
]
