"""Remove an object from a video together with everything it caused."""

from aftermath.batch import Batch, batch
from aftermath.config import Codec, Engine, MaskOptions, Regions, RemoveOptions
from aftermath.errors import (
    AftermathError,
    InputError,
    MediaError,
    OutOfMemory,
    ReasonerError,
    WeightsError,
)
from aftermath.inspection import Inspection, Verdict, inspect
from aftermath.loaded import LoadedModels
from aftermath.remove import Result, mask, remove

__all__ = [
    "AftermathError",
    "Batch",
    "Codec",
    "Engine",
    "InputError",
    "Inspection",
    "LoadedModels",
    "MaskOptions",
    "MediaError",
    "OutOfMemory",
    "ReasonerError",
    "Regions",
    "RemoveOptions",
    "Result",
    "Verdict",
    "WeightsError",
    "batch",
    "inspect",
    "mask",
    "remove",
]
