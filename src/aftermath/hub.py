"""Models of the hub: what of them is on this machine, and how the rest comes here.

The layout is the hub's own cache, so that what other programs fetched is found and theirs find ours. Large files are
fetched by `downloads`, and left where the hub's client looks for them.
"""

from __future__ import annotations

import errno
import re
import shlex
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from aftermath.downloads import Progress, fetch_file, sha256_of
from aftermath.errors import InputError, WeightsError, extra_needed
from aftermath.models import (
    BASE,
    KNOWN,
    VOID,
    files_in,
    here,
    is_name,
    matches,
    may_be,
    missing_files,
    pass_file,
    patterns,
    read_json,
    whole,
)
from aftermath.weights import check_finite, replaced

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

__all__ = [
    "begun",
    "complete",
    "fetch",
    "how_to_fetch",
    "identity_of",
    "lacking",
    "located",
    "present",
    "ready",
    "verify",
]

_HASH = re.compile(r"[0-9a-f]{64}")
_SMALL_BYTES = 100_000_000  # read whole within a second
_EXTRA = extra_needed("the hub", "void")


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
    found = here(model) or kept
    return found or fetch(str(model), offline=offline, revision=revision, only=only, progress=progress)


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
    if not is_name(name):
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
    wanted = patterns(name, only)
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

    place, asked, folder = f"in {to}" if to else "on this machine", patterns(name, only), to
    if folder is None:
        try:
            found = snapshot_download(name, revision=revision, allow_patterns=asked, local_files_only=True)
        except LocalEntryNotFoundError as error:
            raise WeightsError(_not_here(name, f"not {place}", to)) from error
        folder = Path(found)
    if not folder.is_dir() or not files_in(folder, asked):
        raise WeightsError(_not_here(name, f"not {place}", to))
    if missing := [] if only else missing_files(name, folder):
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
    files = [f for f in info.siblings or [] if matches(f.rfilename, wanted)]
    if not files:
        raise WeightsError(f"{name}: it holds none of {', '.join(wanted)}")
    place = _place(name)
    for file in files:
        if file.lfs is None or file.size is None:
            continue
        if to is None:
            target = place / "blobs" / file.lfs.sha256
            lock = place.parent / ".locks" / place.name / f"{file.lfs.sha256}.lock"
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
    if folder is None or not folder.is_dir() or (to is not None and not may_be(name, to)):
        return {}
    return files_in(folder, patterns(name))


def begun(name: str, to: Path | None = None) -> int:
    """Bytes of a model that came and are not in their place yet: a download goes on with them."""
    if to is not None:
        if not to.is_dir() or not may_be(name, to):
            return 0
        parts = [f"{pattern}.part" for pattern in patterns(name)]
        return sum(path.stat().st_size for path in files_in(to, parts).values())
    blobs = _place(name) / "blobs"
    # before any of them is in its place whole files lie there too
    kinds = ("*.part", "*.incomplete") if (blobs.parent / "snapshots").is_dir() else ("*",)
    return sum(path.stat().st_size for kind in kinds for path in blobs.glob(kind) if path.is_file())


def lacking(name: str, to: Path | None = None) -> list[str]:
    """The files, by their names in it, that a model of which some are on this machine lacks; see `present`."""
    folder = _snapshot(name) if to is None else to
    return missing_files(name, folder) if folder is not None and present(name, to) else []


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


def ready(name: str | Path) -> bool:
    """Whether a model lies complete on this machine: a known one, another of the hub's, or a folder.

    Complete are configuration, weights (whole by their headers), and the files of its processor and tokenizer. Imports
    no torch; without the extra that brings the hub's client only folders are looked at.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return whole(path)
    if name == VOID:
        return _kept(VOID, pass_file(1)) is not None
    return _kept(str(name), None) is not None


def _kept(name: str, only: str | None) -> Path | None:
    """The folder of a model in the hub's cache, where what is used of it is there: the hub need not be asked."""
    if find_spec("huggingface_hub") is None or not is_name(name):
        return None
    folder = _snapshot(name)
    return folder if folder is not None and whole(folder, name, only) else None


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
        read_json(folder / "config.json", _again("", folder))  # which says whose files they are
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
        place = folder or _snapshot(name) or _place(name)
        what = f"{missing[0]} is missing" if missing else "a download of it has not ended"
        remedy = f"the rest is fetched by: {again}" if again else "copy the rest from where this came from"
        raise WeightsError(f"{place}: {f'{name} is incomplete, ' if again else ''}{what}; {remedy}")
    for path in files.values():
        if path.suffix == ".json":
            read_json(path, again)
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


def identity_of(path: Path) -> str:
    """What tells a file from another that lies in its place later: its content's hash, which in the hub's cache is its
    name; of a large one elsewhere its size and time."""
    known = _recorded_hash(path, None)
    if known is not None:
        return known
    status = path.stat()
    return sha256_of(path) if status.st_size < _SMALL_BYTES else f"{status.st_size} {status.st_mtime_ns}"


def _snapshot(name: str) -> Path | None:
    """The folder of a model in the hub's cache."""
    place = _place(name)
    ref = place / "refs" / "main"
    return place / "snapshots" / ref.read_text("utf-8").strip() if ref.is_file() else None


def _place(name: str) -> Path:
    """Where a model lies in the hub's cache. Raises `WeightsError` without the extra that brings the hub's client."""
    if find_spec("huggingface_hub") is None:
        raise WeightsError(_EXTRA)
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}"


def _noted(folder: Path, file: str, ending: str) -> Path:
    """Where the hub's client keeps what it knows of a file in a folder of the user's."""
    return folder / ".cache" / "huggingface" / "download" / f"{file}.{ending}"


def _command(name: str = "", to: Path | None = None) -> str:
    """What fetches a model."""
    place = f"--to {shlex.quote(str(to))}" if to else ""
    return " ".join(word for word in ("aftermath models download", name, place) if word)


def _again(name: str, folder: Path | None) -> str:
    """What fetches a model that lies in ``folder`` again; empty where its files may be others' than the hub's."""
    hubs = folder is None or (folder / ".cache" / "huggingface").is_dir()
    return _command(name, folder) if hubs else ""  # a download would replace weights that somebody trained


def _first_line(error: BaseException) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
