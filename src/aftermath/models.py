"""Models on the hub and on this machine: where they are, and how they come here.

The layout is the hub's own cache, so that what other programs fetched is found and theirs find ours. Large files are
fetched by `downloads`, and left where the hub's client looks for them.
"""

from __future__ import annotations

import errno
import json
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aftermath.downloads import Progress, fetch_file, sha256_of
from aftermath.errors import InputError, WeightsError, extra_needed
from aftermath.weights import check_finite, find_shards, read_header, replaced

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

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
    "begun",
    "complete",
    "fetch",
    "has_card",
    "here",
    "how_to_fetch",
    "lacking",
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
_READS = ("spiece.model", "tokenizer.json")  # one of which T5's tokenizer needs
_OWN_KIND = "VoidPipeline"  # what a model that aftermath saved says it is: whole in itself, and not the hub's
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

    Goes on where an earlier call stopped. Where ``to`` is None it lies in the hub's cache. Offline, which the hub's
    own HF_HUB_OFFLINE asks for too, what is there must be all. Raises `InputError` where the hub has no such names,
    `WeightsError` where it cannot be had: no network, no such model, no leave, a full disk, a hash that is not the
    hub's.
    """
    if not _NAME.fullmatch(name):
        raise InputError(f"model {name!r}", f"it must be a name on the hub such as {BASE}")
    if find_spec("huggingface_hub") is None:
        raise WeightsError(_EXTRA)
    from httpx2 import HTTPError
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    if offline or constants.HF_HUB_OFFLINE:
        return _fetched(name, to, revision, only)
    wanted = _asked(name, only)
    try:
        _fetch_large_files(name, to, revision, wanted, progress)
        return Path(snapshot_download(name, revision=revision, allow_patterns=wanted, local_dir=to))
    except HFValidationError as error:
        raise InputError(f"model {name!r}", f"it must be a name on the hub such as {BASE}") from error
    except HfHubHTTPError as error:
        raise WeightsError(f"{name}: {_refusal(name, revision, error)}") from error
    except (HTTPError, ConnectionError, LocalEntryNotFoundError) as error:
        if isinstance(error.__cause__, HfHubHTTPError):
            raise WeightsError(f"{name}: {_refusal(name, revision, error.__cause__)}") from error
        raise WeightsError(
            f"{name}: the connection failed ({_first_line(error)}); what came is kept, and the rest is fetched by: "
            f"{_command(name, to)}"
        ) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise WeightsError(
                f"{name}: the disk is full ({error.filename or to or 'the cache'}); make room, or give another "
                "folder with --to; what came is kept"
            ) from error
        raise WeightsError(f"{name}: {_first_line(error)}") from error


def _fetched(name: str, to: Path | None, revision: str | None, only: str | None) -> Path:
    """The folder of a model without the network. Raises `WeightsError` where not all that is used of it is there."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    place, asked, folder = f"in {to}" if to else "on this machine", _asked(name, only), to
    if folder is None:
        try:
            found = snapshot_download(name, revision=revision, allow_patterns=asked, local_files_only=True)
        except LocalEntryNotFoundError as error:
            raise WeightsError(_not_here(name, f"not {place}", to)) from error
        folder = Path(found)
    if not folder.is_dir() or not any(_wanted(own, asked) for own in _files(folder)):
        raise WeightsError(_not_here(name, f"not {place}", to))
    if missing := [] if only else _missing(name, folder):
        raise WeightsError(_not_here(name, f"{missing[0]} of it is not {place}", to))
    return folder


def _not_here(name: str, what: str, to: Path | None) -> str:
    return (
        f"{name}: {what}, and offline was asked for (--offline, or HF_HUB_OFFLINE); "
        f"fetch it with: {_command(name, to)}"
    )


def _refusal(name: str, revision: str | None, error: HfHubHTTPError) -> str:
    """What an answer of the hub means, and what to do."""
    from huggingface_hub import constants
    from huggingface_hub.errors import DisabledRepoError, GatedRepoError

    status = error.response.status_code
    leave = (
        f"its licence must be accepted on {constants.ENDPOINT}/{name}, by whoever `hf auth login` "
        "(or a token in HF_TOKEN) says you are"
    )
    if isinstance(error, DisabledRepoError):
        return f"the hub has closed it ({status})"
    if isinstance(error, GatedRepoError) or status == 403:
        return f"the hub gives it only to those it knows ({status}): {leave}"
    if status == 401:  # what the hub says of unknown names too, to whoever has not logged in
        return f"the hub gives it to nobody it does not know ({status}): check the name; where it is right, {leave}"
    if status == 404:
        which = f", or none of the revision {revision}" if revision else ""
        return f"there is no such model{which} on the hub ({status}); check the name"
    return f"the hub refuses it: {_first_line(error)}"


def _fetch_large_files(
    name: str, to: Path | None, revision: str | None, wanted: list[str], progress: Progress | None
) -> None:
    """What the hub keeps as large files, with a hash each; the client fetches the small ones.

    Locked where the client locks them, so that neither fetches what the other does.
    """
    from huggingface_hub import HfApi, constants, hf_hub_url

    info = HfApi().model_info(
        name, revision=revision, files_metadata=True, timeout=constants.HF_HUB_ETAG_TIMEOUT
    )
    files = [f for f in info.siblings or [] if _wanted(f.rfilename, wanted)]
    if not files:
        raise WeightsError(f"{name}: it holds none of {', '.join(wanted)}")
    cache = Path(constants.HF_HUB_CACHE)
    for file in files:
        if file.lfs is None or file.size is None:
            continue
        if to is None:
            target = cache / _cache_folder(name) / "blobs" / file.lfs.sha256
            lock = cache / ".locks" / _cache_folder(name) / f"{file.lfs.sha256}.lock"
        else:
            target = to / file.rfilename
            lock = _noted(to, file.rfilename, "lock")
        if target.exists() and target.stat().st_size == file.size:
            continue
        url = hf_hub_url(name, file.rfilename, revision=info.sha)
        fetch_file(url, target, file.size, file.lfs.sha256, file.rfilename, progress, lock=lock)


def present(name: str, to: Path | None = None) -> dict[str, Path]:
    """The files of a model that are on this machine, by their name in it: in ``to``, else in the hub's cache."""
    folder = _snapshot(name) if to is None else to
    if folder is None or not folder.is_dir() or (to is not None and not _may_be(name, to)):
        return {}
    return {own: path for own, path in _files(folder).items() if _wanted(own, _patterns(name))}


def begun(name: str, to: Path | None = None) -> int:
    """Bytes of a model that came and are not in their place yet: a download goes on with them."""
    if to is not None:
        if not to.is_dir() or not _may_be(name, to):
            return 0
        patterns = [f"{pattern}.part" for pattern in _patterns(name)]
        return sum(path.stat().st_size for own, path in _files(to).items() if _wanted(own, patterns))
    blobs = _cache() / _cache_folder(name) / "blobs"
    # before any of them is in its place whole files lie there too
    kinds = ("*.part", "*.incomplete") if (blobs.parent / "snapshots").is_dir() else ("*",)
    return sum(path.stat().st_size for kind in kinds for path in blobs.glob(kind) if path.is_file())


def lacking(name: str, to: Path | None = None) -> list[str]:
    """The files, by their names in it, that a model of which some are on this machine lacks; see `present`.

    One pass of VOID does without the other.
    """
    folder = _snapshot(name) if to is None else to
    return _missing(name, folder) if folder is not None and present(name, to) else []


def complete(pass_numbers: Sequence[int] = (1,)) -> bool:
    """Whether all that VOID's passes need lies in the hub's cache, whole by its size."""
    return _kept(BASE, None) is not None and all(_kept(VOID, pass_file(n)) for n in pass_numbers)


def how_to_fetch(pass_numbers: Sequence[int] = (1,)) -> str:
    """What of VOID is not here or not whole, and the command that fetches it, where `complete` says that some is."""
    passes = [pass_file(n) for n in pass_numbers if _kept(VOID, pass_file(n)) is None]
    base = _kept(BASE, None) is None
    if base and passes:
        return f"fetch the published ones with: {_command()}"
    if base:
        what = next(iter(lacking(BASE)), "")
        return f"fetch {what and f'{what} of '}{BASE}, which is not here or not whole, with: {_command(BASE)}"
    what = " and ".join(passes)
    return f"fetch {what} of {VOID}, not here or not whole, with: {_command(VOID)}"


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
    if not path.is_file():
        raise WeightsError(
            f"{path}: no such file; {folder} must be the folder of a model, as aftermath models download fetches it"
        )
    kind = _json(path).get("model_type")
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
    needed = [] if name == VOID else _needed(name, folder)
    return folder if all((folder / own).is_file() for own in needed) else None


def _missing(name: str, folder: Path) -> list[str]:
    """The files that a model's folder lacks, by their names in it."""
    lacking = [own for own in _needed(name, folder) if not (folder / own).is_file()]
    # in the hub's cache a name is a link, and what it leads to may have been deleted
    links = [path for path in sorted(folder.rglob("*")) if path.is_symlink() and not path.exists()]
    left = [path.relative_to(folder).as_posix() for path in links]
    lacking += [own for own in left if own not in lacking and _wanted(own, _patterns(name))]
    for own, path in _files(folder).items():
        if own.endswith(".index.json") and _wanted(own, _patterns(name)):
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


def verify(folder: Path | None = None) -> Iterator[tuple[Path, str]]:
    """Read every file of weights in ``folder``, else of the known models in the hub's cache; (file, what was checked).

    Raises `WeightsError` at the first that is missing, half there, holds NaN, or has not the hash that the hub gave
    for it, at a configuration that cannot be read, and where there is nothing to verify.
    """
    if folder is not None and not folder.is_dir():
        raise InputError(
            f"{folder}", "it must be a folder of weights", "aftermath models list --to DIR shows one"
        )
    if folder is not None and (folder / "config.json").exists():
        _json(folder / "config.json", _again("", folder))  # which says whose files they are
    some = False
    for name in [model.name for model in KNOWN]:
        if present(name, folder) or begun(name, folder):
            some = True
            yield from _verified(name, folder)
    if not some:
        raise WeightsError(
            f"{folder or 'the cache'}: no weights there; fetch them with: aftermath models download"
        )


def _verified(name: str, folder: Path | None) -> Iterator[tuple[Path, str]]:
    """See `verify`: one model, of which something is there."""
    files, missing, again = present(name, folder), lacking(name, folder), _again(name, folder)
    if missing or not files:
        place = folder or _snapshot(name) or _cache() / _cache_folder(name)
        what = f"{missing[0]} is missing" if missing else "a download of it has not ended"
        remedy = f"the rest is fetched by: {again}" if again else "copy the rest from where this came from"
        raise WeightsError(f"{place}: {f'{name} is incomplete, ' if again else ''}{what}; {remedy}")
    for path in files.values():
        if path.suffix == ".json":
            _json(path, again)
    for path in files.values():
        if path.suffix != ".safetensors":
            continue
        check_finite(path, again)
        recorded = _recorded_hash(path, folder)
        if recorded is None:
            yield path, "whole, all numbers finite; no hash of it is known here"
            continue
        if sha256_of(path) != recorded:
            raise WeightsError(f"{path}: not what the hub said it is (sha256); {replaced(path, again)}")
        yield path, "whole, all numbers finite, the hub's own hash"


def _json(path: Path, command: str = "aftermath models download") -> dict[str, Any]:
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
        return _json(folder / "model_index.json")
    except WeightsError:
        return {}


def _recorded_hash(path: Path, folder: Path | None) -> str | None:
    """The hub's hash of a file: the cache names what it stores by it, a folder keeps it beside."""
    if folder is None:
        # the first link's: the cache may keep what several models share behind a second one, by another hash
        found = path.readlink().name if path.is_symlink() else path.name
    else:
        noted = _noted(folder, path.relative_to(folder).as_posix(), "metadata")
        lines = noted.read_text("utf-8").split() if noted.is_file() else []
        found = lines[1] if len(lines) > 1 else ""
    return found if _HASH.fullmatch(found) else None


def _snapshot(name: str) -> Path | None:
    """The folder of a model in the hub's cache."""
    place = _cache() / _cache_folder(name)
    ref = place / "refs" / "main"
    return place / "snapshots" / ref.read_text("utf-8").strip() if ref.is_file() else None


def _cache() -> Path:
    """The hub's cache. Raises `WeightsError` without the extra that brings the hub's client."""
    if find_spec("huggingface_hub") is None:
        raise WeightsError(_EXTRA)
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _noted(folder: Path, file: str, ending: str) -> Path:
    """Where the hub's client keeps what it knows of a file in a folder of the user's."""
    return folder / ".cache" / "huggingface" / "download" / f"{file}.{ending}"


def _files(folder: Path) -> dict[str, Path]:
    """The files of a folder by their names in it."""
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}


def _command(name: str = "", to: Path | None = None) -> str:
    """What fetches a model."""
    place = f"--to {shlex.quote(str(to))}" if to else ""
    return " ".join(word for word in ("aftermath models download", name, place) if word)


def _may_be(name: str, folder: Path) -> bool:
    """Whether what a folder says of itself is what ``name`` is: several models name their files alike."""
    kinds = next((model.kinds for model in KNOWN if model.name == name), ())
    try:
        return not kinds or model_type(folder) in kinds
    except WeightsError:
        return False


def _cache_folder(name: str) -> str:
    return f"models--{name.replace('/', '--')}"


def _again(name: str, folder: Path | None) -> str:
    """What fetches a model that lies in ``folder`` again; empty where its files may be others' than the hub's."""
    hubs = folder is None or (folder / ".cache" / "huggingface").is_dir()
    return _command(name, folder) if hubs else ""  # a download would replace weights that somebody trained


def _asked(name: str, only: str | None) -> list[str]:
    return [only] if only else list(_patterns(name))


def _known() -> dict[str, KnownModel]:
    return {model.name: model for model in KNOWN}


def _patterns(name: str) -> tuple[str, ...]:
    """What of a model is used; of one that is not known, all that could be."""
    if name in _known():
        return _known()[name].patterns
    return _BASE_FILES + _VOID_FILES + _SEEING_FILES + _READING_FILES


def _wanted(file: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch(file, pattern) for pattern in patterns)


def _first_line(error: BaseException) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
