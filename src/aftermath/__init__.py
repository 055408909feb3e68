"""Remove an object from a video together with everything it caused."""

from aftermath.config import Codec, Engine, MaskOptions, Regions, RemoveOptions
from aftermath.errors import (
    AftermathError,
    InputError,
    MediaError,
    OutOfMemory,
    ReasonerError,
    WeightsError,
)
from aftermath.remove import Result, mask, remove

__all__ = [
    "AftermathError",
    "Codec",
    "Engine",
    "InputError",
    "MaskOptions",
    "MediaError",
    "OutOfMemory",
    "ReasonerError",
    "Regions",
    "RemoveOptions",
    "Result",
    "WeightsError",
    "mask",
    "remove",
]
