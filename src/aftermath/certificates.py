"""Who signs a result: the user's certificate, or one that this program made for itself.

A self-made certificate proves that a file was not changed since, and nothing about who signed it: anyone can make
one with any name. So its name says what it is, and so does everything that speaks of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from aftermath.errors import InputError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey
    from cryptography.x509 import Certificate

__all__ = ["SELF_MADE", "Identity", "own_file", "own_identity", "read_identity"]

SELF_MADE = "self-made certificate of aftermath"
"""The name in a self-made certificate."""

_PASSWORD = "AFTERMATH_KEY_PASSWORD"  # the name of a variable, not a secret
_FIRST_DAY = datetime(2020, 1, 1, tzinfo=UTC)
_NO_LAST_DAY = datetime(
    9999, 12, 31, 23, 59, 59, tzinfo=UTC
)  # "no well-defined expiration" (RFC 5280, 4.1.2.5)
_LEAST_RSA_BITS = 2048


@dataclass(frozen=True)
class Identity:
    """A certificate and the means to sign with it.

    ``chain``: PEM, the signing certificate first; ``key``: PEM too; ``algorithm``: by its C2PA name (es256, ed25519
    ...); ``sign``: from bytes to the signature as COSE holds it. ``secret``: bytes that only who has the key can
    know. ``fingerprint``: SHA-256 of the signing certificate.
    """

    chain: str
    algorithm: str
    name: str
    self_made: bool
    fingerprint: str
    key: bytes = field(repr=False)
    sign: Callable[[bytes], bytes] = field(repr=False)
    secret: bytes = field(repr=False)


def read_identity(certificate: Path, key: Path) -> Identity:
    """The user's own. Raises `InputError` for files that are not there or cannot be read, and for a pair that does not
    match or is not valid today."""
    from cryptography import x509

    what = f"certificate {certificate}"
    try:
        chain = x509.load_pem_x509_certificates(_content("certificate", certificate))
    except ValueError as error:
        raise InputError(what, "must be a certificate in PEM (-----BEGIN CERTIFICATE-----)") from error
    private = _private_key(key, _content("key", key))
    if chain[0].public_key() != private.public_key():
        remedy = "the signing certificate must stand first in its file, those that vouch for it after it"
        raise InputError(f"key {key}", f"does not belong to the certificate {certificate}", remedy)
    first, last = chain[0].not_valid_before_utc, chain[0].not_valid_after_utc
    if not first <= datetime.now(UTC) <= last:
        raise InputError(what, f"is valid from {first:%Y-%m-%d} to {last:%Y-%m-%d} only", "renew it")
    return _identity(chain, private, f"key {key}", self_made=False)


def own_file() -> Path:
    """Where the self-made certificate is kept, with its key."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "aftermath" / "self-made.pem"


def own_identity(warn: Callable[[str], None]) -> Identity:
    """The self-made certificate of this account, made when first needed; only the account can read its key.

    Where it cannot be kept it serves once, which ``warn`` is told.
    """
    from cryptography import x509

    path = own_file()
    try:
        content = path.read_bytes() if path.exists() else _kept(path, _made())
    except OSError as error:
        content = _made()
        warn(f"{path}: the self-made certificate cannot be kept ({error.strerror}), and serves once")
    try:
        chain = x509.load_pem_x509_certificates(content)
        return _identity(chain, _private_key(path, content), str(path), self_made=True)
    except ValueError as error:
        raise InputError(str(path), "is damaged", "delete it, and another is made") from error


def _made() -> bytes:
    """A new key and a certificate for it that C2PA accepts, both as PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = Ed25519PrivateKey.generate()  # its signatures hold nothing random: equal results have equal bytes
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, SELF_MADE)])
    known = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    usage = dict.fromkeys(
        (
            *(
                "content_commitment",
                "key_encipherment",
                "data_encipherment",
                "key_agreement",
                "key_cert_sign",
            ),
            *("crl_sign", "encipher_only", "decipher_only"),
        ),
        False,
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_FIRST_DAY)
        .not_valid_after(_NO_LAST_DAY)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=True, **usage), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .add_extension(known, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(known), critical=False)
        .sign(key, None)
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return secret + certificate.public_bytes(Encoding.PEM)


def _kept(path: Path, content: bytes) -> bytes:
    """``content``, now in ``path``; or what another process has put there at the same time."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".self-made.")  # nobody else may read it
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        with contextlib.suppress(FileExistsError):
            os.link(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path.read_bytes()


def _content(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{name} {path}", "no such file", "check the name") from error
    except OSError as error:
        raise InputError(f"{name} {path}", f"cannot be read ({error.strerror})") from error


def _private_key(path: Path, content: bytes) -> PrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    password = os.environ.get(_PASSWORD)
    try:
        return load_pem_private_key(content, password.encode() if password else None)  # type: ignore[return-value]
    except TypeError:  # a password for a key that needs none, or none for one that does
        if password:
            return load_pem_private_key(content, None)  # type: ignore[return-value]
        raise InputError(f"key {path}", "is encrypted", f"put its password into {_PASSWORD}") from None
    except (ValueError, UnsupportedAlgorithm) as error:
        allowed = f"cannot be opened with the password in {_PASSWORD}"
        if not password or b"ENCRYPTED" not in content:
            allowed = "must be a private key in PEM (-----BEGIN PRIVATE KEY-----)"
        raise InputError(f"key {path}", allowed) from error


def _identity(chain: list[Certificate], private: PrivateKey, what: str, *, self_made: bool) -> Identity:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    algorithm, sign = _signer(private, what)
    pem, first = Encoding.PEM, chain[0]
    own = private.private_bytes(pem, PrivateFormat.PKCS8, NoEncryption())
    return Identity(
        chain="".join(one.public_bytes(pem).decode() for one in chain),
        algorithm=algorithm,
        name=first.subject.rfc4514_string(),
        self_made=self_made,
        fingerprint=hashlib.sha256(first.public_bytes(Encoding.DER)).hexdigest(),
        key=own,
        sign=sign,
        secret=hashlib.sha256(own).digest(),
    )


def _signer(private: PrivateKey, what: str) -> tuple[str, Callable[[bytes], bytes]]:
    """The C2PA algorithm of a key, and how it signs: without chance where the algorithm allows (not RSA's).

    Raises `InputError` for a kind of key that C2PA does not take (specification 2.2, 13.2.1).
    """
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    if isinstance(private, ed25519.Ed25519PrivateKey):
        return "ed25519", private.sign
    if isinstance(private, ec.EllipticCurvePrivateKey):
        kinds = {
            256: ("es256", hashes.SHA256()),
            384: ("es384", hashes.SHA384()),
            521: ("es512", hashes.SHA512()),
        }
        if private.curve.name in ("secp256r1", "secp384r1", "secp521r1"):
            name, digest = kinds[private.key_size]
            means = ec.ECDSA(digest, deterministic_signing=True)  # RFC 6979
            width = (private.key_size + 7) // 8

            def sign(data: bytes) -> bytes:
                return b"".join(
                    n.to_bytes(width, "big") for n in decode_dss_signature(private.sign(data, means))
                )

            return name, sign
    if isinstance(private, rsa.RSAPrivateKey) and private.key_size >= _LEAST_RSA_BITS:
        digest = hashes.SHA256()
        pss = padding.PSS(padding.MGF1(digest), digest.digest_size)
        return "ps256", lambda data: private.sign(data, pss, digest)
    allowed = (
        f"must be of a kind that C2PA takes: P-256, P-384, P-521, Ed25519, or RSA of {_LEAST_RSA_BITS} bits"
    )
    raise InputError(what, allowed)
