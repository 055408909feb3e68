"""Content Credentials (C2PA, c2pa.org): a signed manifest in a film that says how it was made, and its reading.

The manifest says: opened this original (its name, its SHA-256, its own credentials where it has some), edited by this
version of aftermath, what was removed, what else changed and where, which engine and model made the new pixels. It
holds no picture, no path and no time. What is signed is the whole file but the manifest itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from aftermath.certificates import SELF_MADE, Identity, own_file, own_identity, read_identity
from aftermath.config import Codec, Engine, RemoveOptions
from aftermath.core import Box
from aftermath.errors import InputError, MediaError
from aftermath.jumbf import settled
from aftermath.media.decode import Warn
from aftermath.media.runs import digest
from aftermath.provenance import package_version

__all__ = ["Credentials", "Edit", "Signing", "State", "choose_signing", "read_credentials", "seal"]

_FORMATS = {".mp4": "video/mp4", ".m4v": "video/x-m4v", ".mov": "video/quicktime"}
"""What can hold credentials, of what is written here."""

# IPTC's vocabulary of digital source types. VOID inpaints what it was trained to: the compositing of trained
# algorithmic media with some other media. What the draft adds is computed from the clip alone, by an algorithm that
# nobody trained: a composite with synthetic elements. Neither is an enhancement: what is to be seen is another.
_SOURCE_TYPES = {
    Engine.VOID: "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia",
    Engine.DRAFT: "http://cv.iptc.org/newscodes/digitalsourcetype/compositeSynthetic",
}
# What a signing certificate may be for (C2PA 2.2, 14.5.1): e-mail, documents, and C2PA's own; c2pa-rs alone knows less.
_PURPOSES = ("1.3.6.1.5.5.7.3.4", "1.3.6.1.5.5.7.3.36", "1.3.6.1.4.1.311.76.59.1.9", "1.3.6.1.4.1.62558.2.1")
_SETTINGS: dict[str, Any] = {
    "verify": {"verify_after_sign": False, "remote_manifest_fetch": False, "ocsp_fetch": False},
    "builder": {"thumbnail": {"enabled": False}},
    "trust": {"trust_config": "\n".join(_PURPOSES)},
}
_ORIGINAL = "original"  # how the actions refer to it
_OURS = "aftermath.edit"  # among an action's parameters
_HEAD_ROOM = 4096  # bytes before the manifest in a film
_REMAINS_WITHIN = 1 << 18
_SIGNER = "signingCredential."
_PIXEL = bytes.fromhex(  # the smallest PNG, to try a certificate on
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c6360000000020001"
    "4875a8220000000049454e44ae426082"
)


@dataclass(frozen=True)
class Signing:
    """Whether a result is signed, and how. ``identity`` is the user's; without one the self-made one signs.

    ``why_not`` is empty where it is signed.
    """

    identity: Identity | None = None
    why_not: str = ""

    @property
    def key(self) -> list[str]:
        """What of it a result depends on. Which of its self-made certificates signed makes no difference."""
        return [self.why_not, self.identity.fingerprint if self.identity else ""]


@dataclass(frozen=True)
class Edit:
    """What was done to which clip, as its credentials tell it.

    ``model``: empty where none painted; ``region``: what may differ, source pixels; ``frames``: half-open.
    ``invented_share``: of the pixels that changed, those that no frame shows; None where that is not known.
    """

    original: Path
    sha256: str
    removed: str
    effects: tuple[str, ...]
    engine: Engine
    model: str
    region: Box | None
    frames: tuple[int, int]
    invented_share: float | None = None

    @property
    def comment(self) -> str:
        """One line for a container's metadata."""
        made = f"engine {self.engine}" + (f", model {self.model}" if self.model else "")
        return (
            f"Edited with aftermath {package_version()}: an object was removed, with what it caused ({made})"
        )


class State(StrEnum):
    """What the credentials of a file say about the file."""

    INTACT = "intact"
    CHANGED = "changed"
    NONE = "none"


@dataclass(frozen=True)
class Credentials:
    """What was read from a file.

    ``trusted``: the certificate leads to one that the caller trusts. ``signed_at``: by a time-stamp; empty without one.
    ``edits``: the actions of the manifest, as they stand there. ``original``: name and SHA-256, empty where not told.
    ``problems``: what does not hold, in c2pa's words. ``earlier``: who signed the credentials that the original carried
    itself, ``earlier_problems`` what did not hold of those. ``facts``: what an edit of ours tells beside.
    """

    state: State
    signer: str = ""
    issuer: str = ""
    self_made: bool = False
    trusted: bool = False
    signed_at: str = ""
    program: str = ""
    edits: tuple[dict[str, Any], ...] = ()
    original: str = ""
    original_sha256: str = ""
    earlier: tuple[str, ...] = ()
    earlier_problems: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def there(self) -> bool:
        """Whether the file carries any, whole or broken."""
        return self.state is not State.NONE


def choose_signing(options: RemoveOptions, output: Path) -> Signing:
    """How ``output`` is to be signed, and everything about the user's certificate checked. Raises `InputError`."""
    given = bool(options.certificate or options.key)
    why_not = _why_not(options, output)
    if given and why_not:
        option = f"--certificate {options.certificate}" if options.certificate else f"--key {options.key}"
        raise InputError(
            option, f"nothing would be signed: {why_not}", "leave it out, or write a signed .mp4 or .mov"
        )
    if bool(options.certificate) != bool(options.key):
        there, lacking = ("--certificate", "--key") if options.certificate else ("--key", "--certificate")
        raise InputError(
            f"{there} {options.certificate or options.key}", f"must come with {lacking}", "give both"
        )
    if not given:
        if not why_not and own_file().exists():
            own_identity(lambda _: None)  # one that is damaged is known before any work
        return Signing(why_not=why_not)
    identity = read_identity(Path(options.certificate), Path(options.key))
    _try(identity, options.certificate)
    return Signing(identity)


def _why_not(options: RemoveOptions, output: Path) -> str:
    if not options.credentials:
        return "left out as asked for (--no-credentials)"
    if options.codec is Codec.PNG:
        return "a folder of pictures holds none as a whole"
    if output.suffix.lower() not in _FORMATS:
        return f"{output.suffix.lower()} cannot hold any"
    try:
        import c2pa  # noqa: F401
    except (ImportError, OSError):  # no wheel for this system, or its library does not load
        return "c2pa-python is not installed or does not work on this system"
    return ""


def _try(identity: Identity, certificate: str) -> None:
    """Sign a pixel: only c2pa knows all that it asks of a certificate. Raises `InputError`."""
    import io

    import c2pa

    created = {"action": "c2pa.created", "digitalSourceType": "http://c2pa.org/digitalsourcetype/empty"}
    manifest = {"assertions": [{"label": "c2pa.actions", "data": {"actions": [created]}}]}
    out = io.BytesIO()
    try:
        builder = c2pa.Builder(manifest, _context())
        builder.sign(_signer(identity), "image/png", io.BytesIO(_PIXEL), out)
        told = json.loads(c2pa.Reader("image/png", out, context=_context()).json())
        complaint = ", ".join(_failures(told["validation_results"]["activeManifest"]))
    except c2pa.C2paError as error:
        complaint = str(error).partition(": ")[2]
    if complaint:
        raise InputError(
            f"certificate {certificate}",
            f"C2PA does not take it ({complaint})",
            "it needs the usages digital signature and e-mail protection or document signing, and key identifiers, "
            "and must not be an authority",
        )


def seal(film: Path, edit: Edit, signing: Signing, warn: Warn) -> dict[str, Any]:
    """Put credentials into a complete film, and read them back. Returns what ``run.json`` keeps of them.

    The signed film takes the place of ``film`` at once, or not at all. Equal films, edits and keys give equal bytes,
    but for RSA keys, whose signatures are drawn by lot. Where c2pa cannot sign the film, the self-made certificate
    gives way, for a film that took hours is worth more: ``warn`` is told, and so is run.json. Raises `InputError`
    where the disk is full, `MediaError` where the user's own certificate cannot sign.
    """
    import c2pa

    identity = signing.identity or own_identity(warn)
    part = film.with_name(f"{film.stem.removesuffix('.part')}.signed.part{film.suffix}")
    try:
        # in a thread, for an interrupt within c2pa's calls of Python would be lost
        with ThreadPoolExecutor(1) as other:
            label = other.submit(_sign, film, part, edit, identity).result()
        part.replace(film)
    except (c2pa.C2paError, OSError, ValueError, KeyError) as error:
        if shutil.disk_usage(film.parent).free < film.stat().st_size:
            remedy = "free as much as the film takes, or write elsewhere"
            raise InputError("Content Credentials", "no room left on the disk", remedy) from error
        why_not = f"signing failed: {' '.join(str(error).split())}"
        if signing.identity is not None:
            raise MediaError(f"Content Credentials: {why_not}; --no-credentials leaves them out") from error
        warn(f"without Content Credentials: {why_not}")
        return {"why_not": why_not}
    finally:
        part.unlink(missing_ok=True)
    return {
        "why_not": "",
        "manifest": label,
        "signer": identity.name,
        "self_made": identity.self_made,
        "algorithm": identity.algorithm,
        "certificate_sha256": identity.fingerprint,
    }


def _sign(film: Path, part: Path, edit: Edit, identity: Identity) -> str:

    manifest = _manifest(edit, identity)
    name = _uuid(digest(film), json.dumps(manifest, sort_keys=True), identity.fingerprint)
    label = f"urn:c2pa:{name}"
    manifest |= {"label": label, "instance_id": f"xmp:iid:{name}"}
    builder = _builder(manifest, edit)
    with film.open("rb") as source, part.open("w+b") as target:
        store = builder.sign(_signer(identity), _FORMATS[film.suffix.lower()], source, target)
        target.seek(0)
        at = target.read(len(store) + _HEAD_ROOM).find(store)
        if at < 0:
            raise ValueError("the manifest does not stand where it should")
        target.seek(at)
        target.write(settled(store, label, identity.secret, identity.sign))
    problems = read_credentials(part)
    if problems.state is not State.INTACT:
        raise ValueError(f"it does not read back: {', '.join(problems.problems)}")
    return label


def _builder(manifest: dict[str, Any], edit: Edit) -> Any:
    """What will write the manifest, with the original as its ingredient: as c2pa reads it where that can, for then its
    own credentials go with it, and else by its name alone."""
    import c2pa

    kind = edit.original.suffix.lower().lstrip(".")
    ingredient = {
        "title": edit.original.name,
        "relationship": "parentOf",
        "label": _ORIGINAL,
        "instance_id": f"xmp:iid:{_uuid(edit.sha256)}",
    }
    if kind in c2pa.Reader.get_supported_mime_types():
        builder = c2pa.Builder(manifest, _context())
        with contextlib.suppress(c2pa.C2paError), edit.original.open("rb") as original:
            builder.add_ingredient(ingredient, _FORMATS.get(f".{kind}", kind), original)
            return builder
    by_name = ingredient | {"format": f"video/{kind or 'unknown'}"}
    return c2pa.Builder(manifest | {"ingredients": [by_name]}, _context())


def _manifest(edit: Edit, identity: Identity) -> dict[str, Any]:
    program = {"name": "aftermath", "version": package_version()}
    facts = {
        "removed": edit.removed,
        "also_changed": list(edit.effects),
        "engine": str(edit.engine),
        "model": edit.model,
        "invented_share": edit.invented_share,
        "original_sha256": edit.sha256,
        "certificate": "self-made" if identity.self_made else "given by the user",
    }
    edited: dict[str, Any] = {
        "action": "c2pa.edited",
        "description": f"Removed {edit.removed}" + (", with what it caused" if edit.effects else ""),
        "softwareAgent": program,
        "digitalSourceType": _SOURCE_TYPES[edit.engine],
        # one object: c2pa writes several parameters of ours in an order drawn by lot
        "parameters": {_OURS: {name: value for name, value in facts.items() if value not in ("", None)}},
    }
    if edit.region is not None:
        box, (first, end) = edit.region, edit.frames
        shape = {
            "type": "rectangle",
            "unit": "pixel",
            "origin": {"x": box.x0, "y": box.y0},
            "width": box.width,
            "height": box.height,
        }
        where = [
            {"type": "spatial", "shape": shape},
            {"type": "frame", "frame": {"start": first, "end": end - 1}},
        ]
        edited["changes"] = [{"description": "everything that was repainted", "region": where}]
    opened = {"action": "c2pa.opened", "parameters": {"ingredientIds": [_ORIGINAL]}}
    actions = {"actions": [opened, edited], "allActionsIncluded": True}
    return {
        "claim_generator_info": [program],
        "assertions": [{"label": "c2pa.actions", "created": True, "data": actions}],
    }


def read_credentials(path: Path, trusted: str = "") -> Credentials:
    """What credentials ``path`` carries, and whether it still is what was signed; nothing is asked of the network.

    ``trusted``: PEM of the authorities that the caller trusts. A file of a kind that holds none has none.
    Raises `InputError` where c2pa is not here.
    """
    try:
        import c2pa
    except (ImportError, OSError) as error:
        raise InputError("Content Credentials", "need c2pa-python", "pip install c2pa-python") from error
    try:
        reader = c2pa.Reader(path, context=_context(trusted))
        told = json.loads(reader.json())
    except (c2pa.C2paError, ValueError) as error:  # among them that there are none, or could not be any
        return _unread(path, " ".join(str(error).split()))
    return _read(told)


def _unread(path: Path, problem: str) -> Credentials:
    """Something in which c2pa finds no credentials that it can read: broken ones where there are remains of any."""
    head = b""
    with contextlib.suppress(OSError), path.open("rb") as file:
        head = file.read(_REMAINS_WITHIN)
    if not all(part in head for part in (b"c2pa.assertions", b"c2pa.signature")):
        return Credentials(State.NONE)
    return Credentials(
        State.CHANGED, problems=(f"what is left of the credentials cannot be read: {problem}",)
    )


def _read(told: dict[str, Any]) -> Credentials:
    manifests = told.get("manifests", {})
    active = manifests.get(told.get("active_manifest"), {})
    signature = active.get("signature_info", {})
    data = [one["data"] for one in active.get("assertions", []) if one["label"].startswith("c2pa.actions")]
    edits = tuple(action for actions in data for action in actions.get("actions", []))
    ours = [(action.get("parameters") or {}).get(_OURS) for action in edits]
    facts = next((one for one in ours if isinstance(one, dict)), {})
    parents = [one for one in active.get("ingredients", []) if one.get("relationship") == "parentOf"]
    programs = active.get("claim_generator_info") or [{}]
    results = told.get("validation_results") or {}
    problems = _failures(results.get("activeManifest"))
    # of the original's own credentials: what was found when it was opened, and what is found now
    checks = [(one.get("validation_results") or {}).get("activeManifest") for one in parents]
    checks += [one.get("validationDeltas") for one in results.get("ingredientDeltas") or []]
    changed = any(not code.startswith(_SIGNER) for code in problems)
    name = signature.get("common_name") or ""
    return Credentials(
        state=State.CHANGED if changed else State.INTACT,
        signer=name,
        issuer=signature.get("issuer") or "",
        self_made=name == SELF_MADE,
        trusted=told.get("validation_state") == "Trusted",
        signed_at=signature.get("time") or "",
        program=" ".join(str(programs[0].get(part, "")) for part in ("name", "version")).strip(),
        edits=edits,
        original=parents[0].get("title", "") if parents else "",
        original_sha256=str(facts.get("original_sha256", "")),
        earlier=tuple(
            (one.get("signature_info", {}).get("common_name") or "somebody without a name")
            for label, one in manifests.items()
            if label != told.get("active_manifest")
        ),
        earlier_problems=tuple(problem for check in checks for problem in _failures(check)),
        problems=problems,
        facts=facts,
    )


def _failures(found: dict[str, Any] | None) -> tuple[str, ...]:
    """What does not hold, but for the certificate's leading to nobody known, each with its code in front."""
    return tuple(
        f"{one['code']}: {one.get('explanation', '')}"
        for one in (found or {}).get("failure", [])
        if one["code"] != f"{_SIGNER}untrusted"
    )


def _context(trusted: str = "") -> Any:
    import c2pa

    trust = _SETTINGS["trust"] | ({"trust_anchors": trusted} if trusted else {})
    return c2pa.Context(c2pa.Settings.from_dict(_SETTINGS | {"trust": trust}))


def _signer(identity: Identity) -> Any:
    import c2pa

    info = c2pa.C2paSignerInfo(
        alg=identity.algorithm.encode(),
        sign_cert=identity.chain.encode(),
        private_key=identity.key,
        ta_url=None,
    )
    return c2pa.Signer.from_info(info)


def _uuid(*parts: str) -> str:
    """A UUID that says what it is made of (in the form of version 4, which C2PA asks for)."""
    total = hashlib.sha256("\0".join(parts).encode()).digest()
    return str(uuid.UUID(bytes=total[:16], version=4))
