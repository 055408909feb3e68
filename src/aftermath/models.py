"""What models there are, which files each is made of, and whether a folder holds them: asks neither hub nor network.

Where they lie on this machine, and how they come here, `hub` knows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from aftermath.errors import InputError, WeightsError
from aftermath.weights import find_shards, read_header, replaced

__all__ = [
    "BASE",
    "DINO",
    "KNOWN",
    "NANO",
    "SAM2",
    "SAM3",
    "VOCABULARIES",
    "VOID",
    "KnownModel",
    "files_in",
    "has_card",
    "here",
    "is_name",
    "matches",
    "may_be",
    "missing_files",
    "model_type",
    "pass_file",
    "patterns",
    "read_json",
    "whole",
]

NANO = "nano"
"""The small model of our own, which lies in the package."""
BASE = "alibaba-pai/CogVideoX-Fun-V1.5-5b-InP"
VOID = "netflix/void-model"
SAM2 = "facebook/sam2.1-hiera-base-plus"
SAM3 = "facebook/sam3"
DINO = "IDEA-Research/grounding-dino-tiny"

VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json")
"""The files one of which every tokenizer needs."""

_OURS = Path(__file__).with_name("nano")
_NAME = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")
_FOLDERS = ("transformer", "vae", "text_encoder", "tokenizer", "scheduler")
_FILES = ("*.json", "*.safetensors", "*.model")
_BASE_FILES = ("model_index.json", *(f"{folder}/{file}" for folder in _FOLDERS for file in _FILES))
_VOID_FILES = ("void_pass*.safetensors", "void_pass*.safetensors.index.json")
_SEEING_FILES = (  # of one model of transformers, its processors and its tokenizer
    "config.json",
    "model.safetensors",
    "model-*.safetensors",
    "model.safetensors.index.json",
    "*processor_config.json",  # preprocessor_config.json, video_preprocessor_config.json too
)
_READING_FILES = (
    "added_tokens.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
)
_ANY_FILES = _BASE_FILES + _VOID_FILES + _SEEING_FILES + _READING_FILES
_SEEING_WEIGHTS = ("model.safetensors",)
_SEEING_ONLY = ("sam2_video", "sam3_tracker_video")  # kinds of model that read no words
_WEIGHTS = ("diffusion_pytorch_model.safetensors", "model.safetensors")
_READS = ("spiece.model", "tokenizer.json")  # one of which T5's tokenizer needs
_OWN_KIND = "VoidPipeline"  # what a model that aftermath saved says it is: whole in itself, and not the hub's


@dataclass(frozen=True)
class KnownModel:
    """A model that aftermath can use.

    ``kinds``: what its config.json may say it is, where it has one; ``standard``: fetched when no name is given.
    """

    name: str
    what: str
    patterns: tuple[str, ...]
    kinds: tuple[str, ...] = ()
    standard: bool = True


KNOWN = (
    KnownModel(BASE, "the base model: text encoder, VAE, transformer", _BASE_FILES),
    KnownModel(VOID, "VOID's transformer, pass 1 and pass 2", _VOID_FILES),
    KnownModel(
        SAM2,
        "finds the object's pixels: --segmenter sam2",
        _SEEING_FILES,
        ("sam2_video", "sam2"),
        standard=False,
    ),
    KnownModel(
        SAM3,
        "finds the object's pixels, and objects by words: --segmenter sam3, --text-model; "
        "its licence must be accepted on the hub first",
        _SEEING_FILES + _READING_FILES,
        ("sam3_video", "sam3_tracker_video", "sam3"),
        standard=False,
    ),
    KnownModel(
        DINO,
        "finds objects by words",
        _SEEING_FILES + _READING_FILES,
        ("grounding-dino", "mm-grounding-dino"),
        standard=False,
    ),
)


def pass_file(pass_number: int) -> str:
    """The name of the published weights of a pass."""
    return f"void_pass{pass_number}.safetensors"


def is_name(model: str) -> bool:
    """Whether ``model`` is written as the names on the hub are."""
    return _NAME.fullmatch(model) is not None


def here(model: str | Path) -> Path | None:
    """The path that ``model`` is, None where it is a name on the hub. Raises `InputError` where it is neither."""
    if model == NANO:
        return _OURS
    path = Path(model).expanduser()
    if path.exists():
        return path
    if isinstance(model, Path) or not is_name(model):
        raise InputError(
            f"model {str(model)!r}",
            f"it must be a folder or file that is there, or a name on the hub such as {BASE}",
        )
    return None


def has_card() -> bool:
    """Whether there is a graphics card that torch can use."""
    import torch

    return torch.cuda.is_available() or torch.backends.mps.is_available()


def model_type(folder: Path) -> str:
    """What kind of model a folder holds, in transformers' words. Raises `WeightsError` where it does not say."""
    path = folder / "config.json"
    if not path.is_file():
        raise WeightsError(
            f"{path}: no such file; {folder} must be the folder of a model, as aftermath models download fetches it"
        )
    kind = read_json(path).get("model_type")
    if not isinstance(kind, str):
        raise WeightsError(f"{path}: it names no model_type, so what it configures is not known")
    return kind


def may_be(name: str, folder: Path) -> bool:
    """Whether what a folder says of itself is what ``name`` is: several models name their files alike."""
    kinds = next((model.kinds for model in KNOWN if model.name == name), ())
    try:
        return not kinds or model_type(folder) in kinds
    except WeightsError:
        return False


def patterns(name: str, only: str | None = None) -> list[str]:
    """What of a model is used, as patterns of its files' names; of one that is not known, all that could be.

    ``only``: the one file wanted of it.
    """
    if only:
        return [only]
    return list(_known()[name].patterns if name in _known() else _ANY_FILES)


def matches(file: str, wanted: Sequence[str]) -> bool:
    """Whether a file, by its name in a model, is one of the ``wanted``, which are `patterns`."""
    return any(fnmatch(file, pattern) for pattern in wanted)


def files_in(folder: Path, wanted: Sequence[str]) -> dict[str, Path]:
    """The files of a folder that are ``wanted``, by their names in it; see `matches`."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    named = {path.relative_to(folder).as_posix(): path for path in files}
    return {own: path for own, path in named.items() if matches(own, wanted)}


def whole(folder: Path, name: str = "", only: str | None = None) -> bool:
    """Whether a folder holds all that is used of a model, the weights whole by their headers.

    ``only`` is the one file wanted of it, without which VOID is never whole: one pass of it does without the other.
    Where ``name`` is neither the base nor VOID: all of a model that sees, perhaps one that reads too.
    """
    if name not in (BASE, VOID):
        return only is None and _sees(folder)
    if name == VOID and only is None:
        return False
    try:
        for file in _weights(folder, only):
            read_header(file)
    except (WeightsError, OSError):
        return False
    return name == VOID or all((folder / own).is_file() for own in _needed(name, folder))


def _sees(folder: Path) -> bool:
    """Whether a folder holds all that is used of a model that sees, perhaps one that reads too."""
    try:
        kind = model_type(folder)
        for file in find_shards(folder, _SEEING_WEIGHTS):
            read_header(file)
    except (WeightsError, OSError):
        return False
    reads = any((folder / file).is_file() for file in VOCABULARIES)
    return any(folder.glob("*processor_config.json")) and (reads or kind in _SEEING_ONLY)


def _weights(folder: Path, only: str | None) -> list[Path]:
    """The files of weights that are used of the base, or that the one file ``only`` leads to."""
    if only is not None:
        return find_shards(folder / only, ())
    return [file for part in ("vae", "text_encoder") for file in find_shards(folder / part, _WEIGHTS)]


def missing_files(name: str, folder: Path) -> list[str]:
    """The files that a model's folder lacks, by their names in it. One pass of VOID does without the other."""
    lacking = [own for own in _needed(name, folder) if not (folder / own).is_file()]
    # in the hub's cache a name is a link, and what it leads to may have been deleted
    links = [path for path in sorted(folder.rglob("*")) if path.is_symlink() and not path.exists()]
    left = [path.relative_to(folder).as_posix() for path in links]
    lacking += [own for own in left if own not in lacking and matches(own, patterns(name))]
    for own, path in files_in(folder, patterns(name)).items():
        if own.endswith(".index.json"):
            with suppress(WeightsError):  # what is wrong with the index itself is told by who reads it
                shards = [file for file in find_shards(path, ()) if not file.is_file()]
                lacking += [file.relative_to(folder).as_posix() for file in shards]
    return lacking


def _needed(name: str, folder: Path) -> Iterator[str]:
    """What must be in a model's folder, but for the shards that an index names."""
    if name == VOID:
        yield _one(folder, [f"{pass_file(n)}{end}" for n in (1, 2) for end in ("", ".index.json")])
    elif name == BASE:
        index = _index(folder)
        reads = index.get("text_encoder") != [None, None]  # a small one may do without
        for part in ("transformer", "vae", *(["text_encoder"] if reads else [])):
            yield f"{part}/config.json"
            # VOID's own weights stand in for the base's, unless it is a model that has them in this place
            if part != "transformer" or index.get("_class_name") == _OWN_KIND:
                file = f"{part}/{_SEEING_WEIGHTS[0] if part == 'text_encoder' else _WEIGHTS[0]}"
                yield _one(folder, [file, f"{file}.index.json"])
        if reads:
            yield _one(folder, [f"tokenizer/{file}" for file in _READS])
        yield "scheduler/scheduler_config.json"
    elif name in _known():
        yield "config.json"
        yield _one(folder, [f"{_SEEING_WEIGHTS[0]}{end}" for end in ("", ".index.json")])
        if not any(folder.glob("*processor_config.json")):
            yield "preprocessor_config.json"
        with suppress(WeightsError):
            if model_type(folder) not in _SEEING_ONLY and name != SAM2:
                yield _one(folder, VOCABULARIES)


def _one(folder: Path, files: Sequence[str]) -> str:
    """The first of ``files`` that is there, else the first of all."""
    return next((file for file in files if (folder / file).is_file()), files[0])


def _known() -> dict[str, KnownModel]:
    return {model.name: model for model in KNOWN}


def read_json(path: Path, command: str = "aftermath models download") -> dict[str, Any]:
    """The object in a JSON file; ``command``: see `replaced`. Raises `WeightsError` where there is none."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: not a JSON file that can be read; {replaced(path, command)}") from error
    if not isinstance(found, dict):
        raise WeightsError(f"{path}: it must hold one JSON object; {replaced(path, command)}")
    return found


def _index(folder: Path) -> dict[str, Any]:
    """What a model says it is made of; empty where it does not, or not so that it can be read."""
    try:
        return read_json(folder / "model_index.json")
    except WeightsError:
        return {}
