"""Models on the hub and on this machine: where they are, and how they come here.

The layout is the hub's own cache, so that what other programs fetched is found and theirs find ours. Large files are
fetched by `downloads`, and left where the hub's client looks for them.
"""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path

from aftermath.downloads import Progress, fetch_file, sha256_of
from aftermath.errors import InputError, WeightsError, extra_needed
from aftermath.weights import check_finite, find_shards, read_header

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
    "Progress",
    "complete",
    "fetch",
    "has_card",
    "here",
    "located",
    "model_type",
    "pass_file",
    "present",
    "ready",
    "verify",
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
_SEEING_WEIGHTS = ("model.safetensors",)
_SEEING_ONLY = ("sam2_video", "sam3_tracker_video")  # kinds of model that read no words
_WEIGHTS = ("diffusion_pytorch_model.safetensors", "model.safetensors")
_HASH = re.compile(r"[0-9a-f]{64}")
_EXTRA = extra_needed("the hub", "void")


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


def located(
    model: str | Path,
    *,
    offline: bool = False,
    revision: str | None = None,
    only: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """The folder or file of ``model``, a path or a name on the hub, fetched where it must be.

    ``only`` is the one file wanted of it. Raises `InputError` where there is no such path and the name is none of the
    hub's, `WeightsError` where it is not here and cannot be fetched.
    """
    kept = None if revision else _kept(str(model), only)
    return (
        here(model)
        or kept
        or fetch(str(model), offline=offline, revision=revision, only=only, progress=progress)
    )


def here(model: str | Path) -> Path | None:
    """The path that ``model`` is, None where it is a name on the hub. Raises `InputError` where it is neither."""
    if model == NANO:
        return _OURS
    path = Path(model).expanduser()
    if path.exists():
        return path
    if isinstance(model, Path) or not _NAME.fullmatch(model):
        raise InputError(
            f"model {str(model)!r}",
            f"it must be a folder or file that is there, or a name on the hub such as {BASE}",
        )
    return None


def fetch(
    name: str,
    *,
    to: Path | None = None,
    offline: bool = False,
    revision: str | None = None,
    only: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """The folder of a model of the hub, with what of it is used; what is missing is fetched.

    Goes on where an earlier call stopped. Where ``to`` is None it lies in the hub's cache. Raises `InputError` where
    the hub has no such names, `WeightsError` where it cannot be had: no network, no such model, a full disk, a hash
    that is not the hub's.
    """
    if not _NAME.fullmatch(name):
        raise InputError(f"model {name!r}", f"it must be a name on the hub such as {BASE}")
    if find_spec("huggingface_hub") is None:
        raise WeightsError(_EXTRA)
    from httpx2 import HTTPError
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    wanted = [only] if only else list(_patterns(name))
    if offline:
        try:
            return Path(
                snapshot_download(name, revision=revision, allow_patterns=wanted, local_files_only=True)
            )
        except LocalEntryNotFoundError as error:
            raise WeightsError(
                f"{name}: not on this machine, and offline was asked for; "
                f"fetch it with: aftermath models download {name}"
            ) from error
    try:
        _fetch_large_files(name, to, revision, wanted, progress)
        return Path(snapshot_download(name, revision=revision, allow_patterns=wanted, local_dir=to))
    except HFValidationError as error:
        raise InputError(f"model {name!r}", f"it must be a name on the hub such as {BASE}") from error
    except HfHubHTTPError as error:
        raise WeightsError(f"{name}: the hub refuses it: {_first_line(error)}") from error
    except (HTTPError, ConnectionError, LocalEntryNotFoundError) as error:
        raise WeightsError(
            f"{name}: the connection failed ({_first_line(error)}); what came is kept, and the rest is fetched by: "
            f"aftermath models download {name}"
        ) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise WeightsError(
                f"{name}: the disk is full ({error.filename or to or 'the cache'}); make room, or give another "
                "folder with --to; what came is kept"
            ) from error
        raise WeightsError(f"{name}: {_first_line(error)}") from error


def _fetch_large_files(
    name: str, to: Path | None, revision: str | None, wanted: list[str], progress: Progress | None
) -> None:
    """What the hub keeps as large files, with a hash each; the client fetches the small ones."""
    from huggingface_hub import HfApi, constants, hf_hub_url

    info = HfApi().model_info(name, revision=revision, files_metadata=True)
    files = [f for f in info.siblings or [] if _wanted(f.rfilename, wanted)]
    if not files:
        raise WeightsError(f"{name}: it holds none of {', '.join(wanted)}")
    blobs = Path(constants.HF_HUB_CACHE) / _cache_folder(name) / "blobs"
    for file in files:
        if file.lfs is None or file.size is None:
            continue
        target = blobs / file.lfs.sha256 if to is None else to / file.rfilename
        if target.exists() and target.stat().st_size == file.size:
            continue
        url = hf_hub_url(name, file.rfilename, revision=info.sha)
        fetch_file(url, target, file.size, file.lfs.sha256, file.rfilename, progress)


def present(name: str, to: Path | None = None) -> dict[str, Path]:
    """The files of a model that are on this machine, by their name in it: in ``to``, else in the hub's cache."""
    folder = _snapshot(name) if to is None else to
    if folder is None or not folder.is_dir() or (to is not None and not _may_be(name, to)):
        return {}
    files = {
        path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()
    }
    return {own: path for own, path in files.items() if _wanted(own, _patterns(name))}


def complete(pass_numbers: Sequence[int] = (1,)) -> bool:
    """Whether all that VOID's passes need lies in the hub's cache, whole by its size."""
    return _kept(BASE, None) is not None and all(_kept(VOID, pass_file(n)) for n in pass_numbers)


def has_card() -> bool:
    """Whether there is a graphics card that torch can use."""
    import torch

    return torch.cuda.is_available() or torch.backends.mps.is_available()


def ready(name: str | Path) -> bool:
    """Whether a model lies complete on this machine: a known one, another of the hub's, or a folder.

    Complete are configuration, weights (whole by their headers), and the files of its processor and tokenizer. Imports
    no torch; without the extra that brings the hub's client only folders are looked at.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return _whole(path)
    if name == VOID:
        return _kept(VOID, pass_file(1)) is not None
    return _kept(str(name), None) is not None


def model_type(folder: Path) -> str:
    """What kind of model a folder holds, in transformers' words. Raises `WeightsError` where it does not say."""
    path = folder / "config.json"
    try:
        found = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise WeightsError(
            f"{path}: no such file; {folder} must be the folder of a model, as aftermath models download fetches it"
        ) from error
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: not a JSON file that can be read") from error
    kind = found.get("model_type") if isinstance(found, dict) else None
    if not isinstance(kind, str):
        raise WeightsError(f"{path}: it names no model_type, so what it configures is not known")
    return kind


def _whole(folder: Path) -> bool:
    """Whether a folder holds all that is used of a model that sees, perhaps one that reads too."""
    try:
        kind = model_type(folder)
        for file in find_shards(folder, _SEEING_WEIGHTS):
            read_header(file)
    except (WeightsError, OSError):
        return False
    reads = any((folder / file).is_file() for file in VOCABULARIES)
    return any(folder.glob("*processor_config.json")) and (reads or kind in _SEEING_ONLY)


def _kept(name: str, only: str | None) -> Path | None:
    """The folder of a model in the hub's cache, where what is used of it is there: the hub need not be asked."""
    if find_spec("huggingface_hub") is None or not _NAME.fullmatch(name):
        return None
    folder = _snapshot(name)
    if folder is None or (name == VOID and only is None):
        return None
    if name not in (BASE, VOID):
        return folder if only is None and _whole(folder) else None
    try:
        if only is not None:
            files = find_shards(folder / only, ())
        else:
            files = [f for part in ("vae", "text_encoder") for f in find_shards(folder / part, _WEIGHTS)]
        for file in files:
            read_header(file)
    except (WeightsError, OSError):
        return None
    configs = (
        [] if name == VOID else [f"{part}/config.json" for part in ("transformer", "vae", "text_encoder")]
    )
    return folder if all((folder / config).is_file() for config in configs) else None


def verify(folder: Path | None = None) -> Iterator[tuple[Path, str]]:
    """Read every file of weights in ``folder``, else of the known models in the hub's cache; (file, what was checked).

    Raises `WeightsError` at the first that is half there, holds NaN, or has not the hash that the hub gave for it,
    and where there is nothing to verify.
    """
    if folder is not None and not folder.is_dir():
        raise InputError(
            f"{folder}", "it must be a folder of weights", "aftermath models list --to DIR shows one"
        )
    files = sorted({path for model in KNOWN for path in present(model.name, folder).values()})
    weights = [path for path in files if path.suffix == ".safetensors"]
    if not weights:
        raise WeightsError(
            f"{folder or 'the cache'}: no weights there; fetch them with: aftermath models download"
        )
    for path in weights:
        check_finite(path)
        recorded = _recorded_hash(path, folder)
        if recorded is None:
            yield path, "whole, all numbers finite; no hash of it is known here"
            continue
        if sha256_of(path) != recorded:
            raise WeightsError(
                f"{path}: not what the hub said it is (sha256); delete it and fetch it again: aftermath models download"
            )
        yield path, "whole, all numbers finite, the hub's own hash"


def _recorded_hash(path: Path, folder: Path | None) -> str | None:
    """The hub's hash of a file: the cache names what it stores by it, a folder keeps it beside."""
    if folder is None:
        found = path.resolve().name
    else:
        noted = folder / ".cache" / "huggingface" / "download" / f"{path.relative_to(folder)}.metadata"
        lines = noted.read_text("utf-8").split() if noted.is_file() else []
        found = lines[1] if len(lines) > 1 else ""
    return found if _HASH.fullmatch(found) else None


def _snapshot(name: str) -> Path | None:
    """The folder of a model in the hub's cache."""
    if find_spec("huggingface_hub") is None:
        raise WeightsError(_EXTRA)
    from huggingface_hub import constants

    place = Path(constants.HF_HUB_CACHE) / _cache_folder(name)
    ref = place / "refs" / "main"
    return place / "snapshots" / ref.read_text("utf-8").strip() if ref.is_file() else None


def _may_be(name: str, folder: Path) -> bool:
    """Whether what a folder says of itself is what ``name`` is: several models name their files alike."""
    kinds = next((model.kinds for model in KNOWN if model.name == name), ())
    try:
        return not kinds or model_type(folder) in kinds
    except WeightsError:
        return False


def _cache_folder(name: str) -> str:
    return f"models--{name.replace('/', '--')}"


def _patterns(name: str) -> tuple[str, ...]:
    """What of a model is used; of one that is not known, all that could be."""
    known = {model.name: model.patterns for model in KNOWN}
    return known.get(name, _BASE_FILES + _VOID_FILES + _SEEING_FILES + _READING_FILES)


def _wanted(file: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch(file, pattern) for pattern in patterns)


def _first_line(error: BaseException) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
