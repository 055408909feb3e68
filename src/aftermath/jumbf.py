"""A C2PA manifest made a function of what it says: equal results are to have equal bytes.

c2pa puts 16 random bytes, a salt, into every assertion; hashes and the signature follow from them. Here each salt is
derived from the signer's secret instead, so that it still cannot be guessed (which is what it is for, where an
assertion is taken out later), and what depends on it is computed anew. Lengths stay.

A manifest store is a tree of boxes (JUMBF, ISO/IEC 19566-5: four bytes of length, four of type). A ``jumb`` box begins
with a ``jumd`` box, which holds 16 bytes of type, one of flags, its name, and here the salt in a ``c2sh`` box. The hash
of an assertion is that of its box without the first eight bytes (C2PA 2.2, 8.4.2.3).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["settled"]

_HEADER = 8
_NAME = _HEADER + 17  # where the name begins in a jumd box
_SALT = 16
_SIGNATURE_CONTEXT = b"\x84\x6aSignature1"  # CBOR: an array of four, and its first (RFC 9052, 4.4)
_EMPTY = b"\x40"
_SIGN1 = b"\xd2\x84"  # CBOR: tagged as COSE_Sign1, an array of four


@dataclass(frozen=True)
class _Box:
    kind: bytes
    start: int
    end: int

    @property
    def content(self) -> slice:
        return slice(self.start + _HEADER, self.end)


def settled(store: bytes, label: str, secret: bytes, sign: Callable[[bytes], bytes]) -> bytes:
    """The manifest store, with the manifest called ``label`` free of chance and signed anew by ``sign``.

    Raises ValueError for a store of another form than this knows.
    """
    data = bytearray(store)
    (whole,) = _boxes(data, 0, len(data))
    parts = _children(data, _children(data, whole)[label])
    assertions = _children(data, parts["c2pa.assertions"])
    before = {name: _hash(data, box) for name, box in assertions.items()}
    for name, box in assertions.items():
        at = data.find(b"c2sh", box.start, box.end) + 4
        data[at : at + _SALT] = hmac.digest(secret, f"{label} {name}".encode(), "sha256")[:_SALT]
    while changed := {n: now for n, box in assertions.items() if (now := _hash(data, box)) != before[n]}:
        for (
            name,
            now,
        ) in changed.items():  # an assertion that names another holds its hash, and the claim all of them
            data = data.replace(before[name], now)
        before |= changed
    _sign(data, parts["c2pa.claim.v2"], parts["c2pa.signature"], sign)
    return bytes(data)


def _sign(data: bytearray, claim: _Box, signature: _Box, sign: Callable[[bytes], bytes]) -> None:
    """Sign the claim: COSE_Sign1 with the payload beside it (RFC 9052, 4.4); the signature comes last."""
    said, around = _cbor(data, claim), _cbor(data, signature)
    sealed = bytes(data[around.content])
    if not sealed.startswith(_SIGN1):
        raise ValueError("the signature is not COSE_Sign1")
    protected = sealed[2 : 2 + _length_of_bytes(sealed, 2)]
    made = sign(_SIGNATURE_CONTEXT + protected + _EMPTY + _as_bytes(bytes(data[said.content])))
    data[around.end - len(made) : around.end] = made


def _boxes(data: bytearray, start: int, end: int) -> Iterator[_Box]:
    while start < end:
        length = int.from_bytes(data[start : start + 4], "big")
        if not _HEADER <= length <= end - start:
            raise ValueError("a box does not fit")
        yield _Box(bytes(data[start + 4 : start + _HEADER]), start, start + length)
        start += length


def _children(data: bytearray, box: _Box) -> dict[str, _Box]:
    """The ``jumb`` boxes in ``box``, by name."""
    named = {}
    for child in _boxes(data, box.content.start, box.end):
        if child.kind == b"jumb":
            at = child.content.start + _NAME
            named[data[at : data.index(0, at)].decode()] = child
    return named


def _cbor(data: bytearray, box: _Box) -> _Box:
    return next(child for child in _boxes(data, box.content.start, box.end) if child.kind == b"cbor")


def _hash(data: bytearray, box: _Box) -> bytes:
    return hashlib.sha256(data[box.content]).digest()


def _length_of_bytes(data: bytes, at: int) -> int:
    """How long the CBOR byte string is that begins ``at``, its head included."""
    short = data[at] - 0x40
    if 0 <= short < 24:
        return 1 + short
    width = {0x58: 1, 0x59: 2, 0x5A: 4}[data[at]]
    return 1 + width + int.from_bytes(data[at + 1 : at + 1 + width], "big")


def _as_bytes(content: bytes) -> bytes:
    """``content`` as a CBOR byte string."""
    length = len(content)
    for head, width in ((0x58, 1), (0x59, 2), (0x5A, 4)):
        if length < 256**width:
            short = bytes([0x40 + length]) if length < 24 else bytes([head]) + length.to_bytes(width, "big")
            return short + content
    raise ValueError("too long")
