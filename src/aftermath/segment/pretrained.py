"""Models of transformers from a folder or the hub: strictly, from safetensors only, on the device there is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aftermath.errors import InputError, WeightsError
from aftermath.hub import located
from aftermath.models import model_type
from aftermath.weights import find_shards, read_header

__all__ = ["best_device", "load_model", "load_processor", "opened"]

_WEIGHTS = ("model.safetensors",)
_NAMED = 4  # keys an error names
_UNREADABLE = (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError, ImportError)


def best_device(wanted: str) -> str:
    """``wanted``, or for "auto" the card where there is one. Raises `InputError` for a card that is not there."""
    import torch

    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return next(name for name, there in found.items() if there)
    if not found.get(wanted.partition(":")[0], False):
        raise InputError(
            f"device {wanted!r}",
            f"must be auto or one that is here: {', '.join(n for n in found if found[n])}",
        )
    return wanted


def opened(model: str, kinds: Sequence[str], purpose: str, *, offline: bool) -> tuple[Path, str]:
    """The folder of ``model``, fetched where it must be, and which of ``kinds`` it is, in transformers' words.

    Raises `InputError` where there is no such path or name, `WeightsError` where it cannot be had, is incomplete,
    or of another kind.
    """
    folder = located(model, offline=offline)
    if not folder.is_dir():
        raise WeightsError(f"{folder}: it must be the folder of a model, with its config.json")
    kind = model_type(folder)
    if kind not in kinds:
        raise WeightsError(
            f"{folder}: a model of the kind {kind}, which {purpose} cannot use; it takes {', '.join(kinds)}"
        )
    for file in find_shards(folder, _WEIGHTS):  # pickles and halves are refused before anything is loaded
        read_header(file)
    return folder, kind


def load_model(kind: Any, folder: Path, *, device: str, dtype: Any) -> Any:
    """An instance of transformers' class ``kind``, in evaluation mode on ``device``, all numbers of type ``dtype``.

    Raises `WeightsError` where a weight is missing, of another shape, or the files cannot be read.
    """
    with _quietly():
        try:
            model, told = kind.from_pretrained(
                folder,
                dtype=dtype,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                ignore_mismatched_sizes=True,  # they are told below, by name
                output_loading_info=True,
            )
        except _UNREADABLE as error:
            raise WeightsError(
                f"{folder}: {kind.__name__} cannot be made of it ({_first_line(error)})"
            ) from error
    # keys left over are no error: published files hold buffers that newer code computes, and SAM 3's file two models
    for what, keys in (
        ("misses", told["missing_keys"]),
        ("has other shapes in", told["mismatched_keys"]),
    ):
        if keys:
            names = sorted(str(key[0] if isinstance(key, tuple) else key) for key in keys)
            first = ", ".join(names[:_NAMED]) + (" ..." if len(names) > _NAMED else "")
            raise WeightsError(
                f"{folder}: it {what} {first} ({len(names)} in all); these weights are incomplete or of another model"
            )
    return model.to(device).eval()


def load_processor(kind: Any, folder: Path) -> Any:
    """An instance of transformers' class ``kind``. Raises `WeightsError` where its files are missing."""
    try:
        with _quietly():
            return kind.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except _UNREADABLE as error:
        raise WeightsError(
            f"{folder}: its processor cannot be read ({_first_line(error)}); "
            "fetch it again with: aftermath models download"
        ) from error


@contextmanager
def _quietly() -> Iterator[None]:
    """Without transformers' own progress bars and reports: the library prints nothing, and says in an error why."""
    from transformers.utils import logging

    bars, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
