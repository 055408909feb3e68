"""What a file says of how it was made, whether it still is what was signed, and how it differs from its original."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aftermath.errors import InputError

if TYPE_CHECKING:
    from aftermath.credentials import Credentials
    from aftermath.differences import Differences

__all__ = ["Inspection", "Verdict", "inspect"]

# Everything heavy is imported where it is used, as in `aftermath.remove`.
_CLAIM = "Edited with aftermath "
_SHOWN = 6  # frames in the picture
_PLAINLY = {
    "assertion.bmffHash.mismatch": "the film is not what was signed",
    "assertion.dataHash.mismatch": "the file is not what was signed",
    "assertion.hashedURI.mismatch": "a part of the record was changed",
    "claimSignature.mismatch": "the record is not what the certificate's key signed",
    "signingCredential.expired": "the certificate has expired; no time-stamp tells whether it was valid when it signed",
    "signingCredential.invalid": "the certificate is not of a kind that C2PA accepts",
}


class Verdict(StrEnum):
    """What is known of a file."""

    INTACT = "intact"  # signed, and what was signed
    CHANGED = "changed"  # no longer what was signed, or what its run.json is of
    RECORDED = "recorded"  # not signed; what its run.json, which anyone can write, is of
    CLAIMED = "claimed"  # only its metadata say so, which anyone can write
    UNKNOWN = "unknown"  # which proves nothing


_IN_WORDS = {
    Verdict.INTACT: "intact: it carries Content Credentials, and is what was signed",
    Verdict.RECORDED: "not signed; it is the file that the run.json beside it is of, which anyone can write",
    Verdict.CLAIMED: "not signed; its metadata say that it was edited, which anyone can write or take out",
    Verdict.UNKNOWN: "nothing is known: it says nothing of an edit, which proves nothing",
}


@dataclass(frozen=True)
class Inspection:
    """What was found out about ``file``.

    ``metadata``: what its container says of an edit of ours; ``record``: the run.json beside it, None without one;
    ``is_recorded``: whether the file is the one that it is of. ``is_original``: whether the original that was given
    is the one that the credentials name, None where that cannot be told. ``differences``: None without an
    original; ``picture``: None where none was drawn, as of films of different sizes.
    """

    file: Path
    verdict: Verdict
    credentials: Credentials
    metadata: tuple[str, ...]
    record: Path | None
    is_recorded: bool
    original: Path | None
    is_original: bool | None
    differences: Differences | None
    picture: Path | None

    def in_words(self) -> str:
        """The same for a person to read."""
        return "\n".join([f"{self.file}: {self._summary()}", *self._told(), *self._compared()])

    def _summary(self) -> str:
        if self.verdict is not Verdict.CHANGED:
            return _IN_WORDS[self.verdict]
        if self.credentials.there:
            return "CHANGED after it was signed: what its Content Credentials say does not hold for it"
        return "CHANGED: it is no longer the file that the run.json beside it is of"

    def _told(self) -> Iterator[str]:
        found = self.credentials
        if found.there:
            if found.signer or found.issuer:
                yield _line("signed", _signer(found))
                yield _line("when", found.signed_at or "not known: there is no time-stamp")
            if found.program:
                yield _line("by", found.program)
            yield from (_line("edit" if at == 0 else "", text) for at, text in enumerate(_edits(found)))
            if found.original:
                sum_ = f", SHA-256 {found.original_sha256}" if found.original_sha256 else ""
                yield _line("original", f"{found.original}{sum_}")
            for name in found.earlier:
                yield _line("", f"which carried Content Credentials of its own, signed by {name}")
            yield from (
                _line("", f"and of those this did not hold: {_plainly(text)}")
                for text in found.earlier_problems
            )
            yield from (_line("problem", _plainly(text)) for text in found.problems)
        yield from (_line("metadata", text) for text in self.metadata)
        if self.record is not None:
            same = (
                "of this file, which has not changed since"
                if self.is_recorded
                else "of another state of this file"
            )
            yield _line("run.json", f"{self.record}: {same}")

    def _compared(self) -> Iterator[str]:
        if self.differences is None:
            return
        known = {
            True: "the one that the credentials name (the same SHA-256)",
            False: "NOT the one that the credentials name (another SHA-256)",
            None: "whether it is the one that was edited cannot be told",
        }
        yield f"compared with {self.original}: {known[self.is_original]}"
        yield from _difference(self.differences)
        if self.picture is not None:
            yield _line("look at", str(self.picture))


def inspect(
    file: str | Path,
    *,
    original: str | Path | None = None,
    picture: str | Path | None = None,
    trust: str | Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Inspection:
    """Read what ``file`` says of itself and check it; ask nothing of the network.

    With the ``original`` compare every frame and the sound, and write into ``picture`` (.png) frames on which what
    differs is marked. ``trust``: PEM of the authorities whose certificates are believed. A folder of pictures that
    `aftermath.remove` wrote may stand for a film. Raises `InputError` for what is not there or no film.
    """
    from aftermath.credentials import Credentials, State, read_credentials
    from aftermath.differences import compare
    from aftermath.media.runs import digest
    from aftermath.request import path_given

    path = path_given("file", file)
    source = None if original is None else path_given("original", original)
    target = None if picture is None else path_given("picture", picture)
    _check(path, source, target)
    believed = "" if trust is None else _believed(path_given("trust", trust))
    credentials = Credentials(State.NONE) if path.is_dir() else read_credentials(path, believed)
    metadata = _metadata(path, needed=not credentials.there)
    record, recorded = _record(path)
    is_recorded = record is not None and digest(path) == recorded
    tell = progress or (lambda stage, done, total: None)
    differences = None
    if source is not None:
        differences = compare(path, source, lambda done, total: tell("compare", done, total))
        if target is not None and differences.frames:
            _draw(path, source, differences, target)
    named = credentials.original_sha256
    return Inspection(
        file=path,
        verdict=_verdict(credentials, metadata, record, is_recorded),
        credentials=credentials,
        metadata=metadata,
        record=record,
        is_recorded=is_recorded,
        original=source,
        is_original=digest(source) == named if source is not None and named else None,
        differences=differences,
        picture=target if differences is not None and differences.frames else None,
    )


def _verdict(
    credentials: Credentials, metadata: tuple[str, ...], record: Path | None, is_recorded: bool
) -> Verdict:
    if credentials.there:
        return Verdict(credentials.state.value)
    if record is not None:
        return Verdict.RECORDED if is_recorded else Verdict.CHANGED
    return Verdict.CLAIMED if metadata else Verdict.UNKNOWN


def _check(path: Path, original: Path | None, picture: Path | None) -> None:
    from aftermath.media.files import check_folder, is_same

    for one in (path, original):
        if one is not None and not one.exists():
            raise InputError(f"{one}", "no such file", "check the name")
        if one is not None and one.is_dir() and not any(one.glob("*.png")):
            raise InputError(
                f"{one}", "a folder without numbered pictures", "name a film, or what --codec png wrote"
            )
    if picture is None:
        return
    if original is None:
        raise InputError(f"picture {picture}", "shows what differs from the original", "give --original too")
    if picture.suffix.lower() != ".png":
        raise InputError(f"picture {picture}", "must end in .png", f"name it {picture.stem}.png")
    if any(is_same(picture, one) for one in (path, original)):
        raise InputError(f"picture {picture}", "must not overwrite an input", "give it another name")
    if picture.is_dir():
        raise InputError(f"picture {picture}", "is a folder", f"name a file in it, as in {picture}/out.png")
    check_folder(picture)


def _believed(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"trust {path}", "must be a file of certificates in PEM", "check the name"
        ) from error
    if "BEGIN CERTIFICATE" not in text:
        raise InputError(f"trust {path}", "must hold certificates in PEM (-----BEGIN CERTIFICATE-----)")
    return text


def _metadata(path: Path, *, needed: bool) -> tuple[str, ...]:
    """What a film's container says of an edit. Raises `InputError` where it is no film, and that is ``needed``."""
    from aftermath.differences import film_of
    from aftermath.media.decode import open_input

    try:
        with open_input(film_of(path)) as container:
            said = [value for name, value in container.metadata.items() if name.lower() == "comment"]
    except InputError:
        if needed:
            raise
        return ()
    return tuple(line for value in said for line in value.splitlines() if line.startswith(_CLAIM))


def _record(path: Path) -> tuple[Path | None, str]:
    """The ``run.json`` in the run folder beside a result, and which file it is of."""
    from aftermath.media.runs import default_folder

    file = default_folder(path) / "run.json"
    try:
        recorded = json.loads(file.read_text(encoding="utf-8"))["provenance"]["output_sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return None, ""
    return file, str(recorded)


def _draw(path: Path, original: Path, found: Differences, target: Path) -> None:
    """Some of the frames that differ visibly, spread over them, or where none does, over all."""
    from aftermath.differences import differing, visibly
    from aftermath.media.runs import write_whole
    from aftermath.preview import Moment, difference_sheet, save_picture

    frames = [one.frame for one in found.visible] or [one.frame for one in found.frames]
    steps = min(_SHOWN, len(frames)) - 1
    chosen = {frames[round(at * (len(frames) - 1) / max(1, steps))] for at in range(steps + 1)}
    moments = [
        Moment(frame, time_s, before, after, visibly(after, before))
        for frame, time_s, before, after in differing(path, original, chosen)
    ]
    sheet = difference_sheet(moments)
    write_whole(target, lambda part: save_picture(part, sheet))


def _line(name: str, text: str) -> str:
    return f"  {name:<9} {text}"


def _plainly(problem: str) -> str:
    code = problem.partition(":")[0]
    return f"{_PLAINLY[code]} ({code})" if code in _PLAINLY else problem


def _signer(found: Credentials) -> str:
    if found.self_made:
        return (
            "with a self-made certificate of aftermath, which does not tell who signed: anyone can make one"
        )
    name = found.signer + (f" ({found.issuer})" if found.issuer and found.issuer != found.signer else "")
    if found.trusted:
        return f"by {name or found.issuer}; the certificate leads to one of those that --trust names"
    return f"by {name}, as the certificate says; whether it is theirs was not checked (--trust AUTHORITIES.pem does)"


def _edits(found: Credentials) -> Iterator[str]:
    """What was done, each in a line; what opened the original is no edit."""
    for action in found.edits:
        if action.get("action") == "c2pa.opened":
            continue
        kind = str(action.get("action", "")).removeprefix("c2pa.")
        yield str(action.get("description") or kind)
        if source := str(action.get("digitalSourceType", "")):
            yield f"kind of picture: {source.rpartition('/')[2]} (IPTC)"
        for change in action.get("changes") or []:
            if where := _where(change.get("region") or []):
                yield f"{change.get('description') or 'changed'}: {where}"
    facts = found.facts
    if "engine" in facts:
        yield f"painted by the engine {facts['engine']}" + (
            f", model {facts['model']}" if "model" in facts else ""
        )
    if "invented_share" in facts:
        yield f"invented: {facts['invented_share']:.1%} of the hole, which no frame of the original shows"
    yield from (f"also changed: {text}" for text in facts.get("also_changed", ()))


def _where(region: list[dict[str, Any]]) -> str:
    parts = []
    for one in region:
        shape, frames = one.get("shape") or {}, one.get("frame") or {}
        if shape.get("type") == "rectangle" and "origin" in shape:
            x, y = shape["origin"]["x"], shape["origin"]["y"]
            parts.append(f"within x {x:g} to {x + shape['width']:g}, y {y:g} to {y + shape['height']:g}")
        if {"start", "end"} <= frames.keys():
            parts.append(f"frames {frames['start']} to {frames['end']}")
    return ", ".join(parts)


def _difference(found: Differences) -> Iterator[str]:
    (ours, theirs), ((width, height), (their_width, their_height)) = found.num_frames, found.sizes
    same = (
        "as many as the original"
        if ours == theirs
        else f"and {theirs} in the original: the first are compared"
    )
    yield _line("frames", f"{ours}, {same}")
    if found.sizes[0] != found.sizes[1]:
        yield _line(
            "size", f"{width}x{height}, and {their_width}x{their_height} in the original: not compared"
        )
    elif not any(one.largest for one in found.frames):
        yield _line("picture", "every pixel is the original's")
    elif not found.visible:
        largest = max(one.largest for one in found.frames)
        yield _line(
            "picture", f"no visible difference: what there is (at most {largest} of 255) may be the encoder's"
        )
    else:
        yield from (_line("picture" if at == 0 else "", text) for at, text in enumerate(_visible(found)))
    yield _line("sound", found.sound)


def _visible(found: Differences) -> Iterator[str]:
    shown, most = found.visible, max(found.visible, key=lambda one: one.share)
    boxes = [one.box for one in shown if one.box is not None]
    whole = boxes[0]
    for box in boxes:
        whole = whole.union(box)
    largest = max(shown, key=lambda one: one.largest)
    count = f"{len(shown)} of {len(found.frames)} frames differ visibly"
    yield f"{count}, the first {shown[0].frame}, the last {shown[-1].frame}"
    yield f"most of all frame {most.frame}: {most.share:.1%} of its pixels; {_mean(found):.1%} of all"
    yield f"within x {whole.x0:g} to {whole.x1:g}, y {whole.y0:g} to {whole.y1:g}"
    yield f"by {largest.largest} of 255 at most (frame {largest.frame})"


def _mean(found: Differences) -> float:
    return sum(one.share for one in found.frames) / len(found.frames)
