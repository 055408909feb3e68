"""What a result says of itself, and what ``aftermath inspect`` makes of that: signed, tampered, encoded anew."""

from __future__ import annotations

import datetime
import json
import shutil
import stat
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

import aftermath
from aftermath import Codec, InputError, Inspection, RemoveOptions, Result, Verdict
from aftermath.media.video import read_frames, write_rgb_video
from conftest import Cli
from small_clip import scene, write_scene

SIZE = (96, 72, 4)
SMALL_BOX = "18,24,38,52"
TODAY = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


def remove(clip: Path, output: Path, **options: Any) -> Result:
    return aftermath.remove(clip, output, boxes=[SMALL_BOX], options=RemoveOptions(**options))


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """A result, signed by default, with its original beside it; nothing may change it."""
    folder = tmp_path_factory.mktemp("signed")
    write_scene(folder / "clip.mp4", *SIZE)
    return remove(folder / "clip.mp4", folder / "out.mp4")


def original(result: Result) -> Path:
    return result.output.with_name("clip.mp4")


@pytest.fixture
def copy(signed: Result, tmp_path: Path) -> Path:
    """The result alone, as somebody would be sent it."""
    return Path(shutil.copy(signed.output, tmp_path / "sent.mp4"))


def run_record(result: Result) -> dict[str, Any]:
    return json.loads((result.folder / "run.json").read_text())


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def certify(
    key: Any,
    *,
    signer: Any = None,
    issuer: str = "Some Authority",
    subject: str = "Ada's Edits",
    first: datetime.datetime = TODAY - DAY,
    last: datetime.datetime = TODAY + DAY,
    authority: bool = False,
    purpose: x509.ObjectIdentifier | None = ExtendedKeyUsageOID.EMAIL_PROTECTION,
) -> bytes:
    """A certificate in PEM for ``key``, signed by ``signer`` or else by itself."""
    signer = signer or key
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign"), False
    ) | {"encipher_only": False, "decipher_only": False}
    builder = (
        x509.CertificateBuilder()
        .subject_name(named(subject))
        .issuer_name(named(issuer))
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(first)
        .not_valid_after(last)
        .add_extension(x509.BasicConstraints(authority, None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=not authority, key_cert_sign=authority, **usage), critical=True
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    if purpose is not None and not authority:
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    digest = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(signer, digest).public_bytes(Encoding.PEM)


def pem(key: Any, password: bytes = b"") -> bytes:
    lock = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock)


def write_pair(folder: Path, key: Any, certificate: bytes, password: bytes = b"") -> tuple[str, str]:
    """The certificate and the key as files: their names."""
    (folder / "cert.pem").write_bytes(certificate)
    (folder / "key.pem").write_bytes(pem(key, password))
    return str(folder / "cert.pem"), str(folder / "key.pem")


def test_a_result_says_what_it_is(signed: Result, cli: Cli, copy: Path) -> None:
    done = cli("inspect", copy)
    assert (done.returncode, done.stderr) == (0, "")
    for words in (
        "sent.mp4: intact",
        "self-made certificate",
        "there is no time-stamp",
        f"by        aftermath {run_record(signed)['versions']['aftermath']}",
        f"Removed the object in the box {SMALL_BOX} of frame 0",
        "compositeSynthetic (IPTC)",
        "painted by the engine draft",
        f"clip.mp4, SHA-256 {aftermath_digest(original(signed))}",
        "metadata  Edited with aftermath",
    ):
        assert words in done.stdout
    assert "run.json" not in done.stdout
    assert str(copy.parent.parent) not in done.stdout.replace(str(copy), "")
    record = run_record(signed)
    assert record["provenance"]["credentials"] == record["credentials"] == signed.credentials
    assert record["credentials"]["self_made"] is True
    assert record["provenance"]["metadata"].startswith("Edited with aftermath")


def aftermath_digest(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_manifest_tells_no_path_and_holds_no_picture(signed: Result, copy: Path) -> None:
    content = copy.read_bytes()
    assert b"c2pa.actions" in content
    for private in (str(signed.folder.parent).encode(), b"thumbnail", str(Path.home()).encode()):
        assert private not in content
    (_, edited) = aftermath.inspect(copy).credentials.edits
    (change,) = edited["changes"]
    spatial, frames = change["region"]
    shape = spatial["shape"]
    assert 12 <= shape["origin"]["x"] <= 20
    assert 34 <= shape["origin"]["x"] + shape["width"] <= 96
    assert frames["frame"] == {"start": 0, "end": SIZE[2] - 1}


def test_the_same_command_gives_the_same_bytes(signed: Result, tmp_path: Path) -> None:
    again = remove(original(signed), tmp_path / "another name.mp4")
    assert again.output.read_bytes() == signed.output.read_bytes()


def test_the_picture_is_that_of_an_unsigned_result(signed: Result, tmp_path: Path) -> None:
    plain = remove(original(signed), tmp_path / "out.mp4", credentials=False)
    for a, b in zip(read_frames(plain.output), read_frames(signed.output), strict=True):
        assert (a.pts, a.rgb().tobytes()) == (b.pts, b.rgb().tobytes())
    assert len(signed.output.read_bytes()) - len(plain.output.read_bytes()) < 5000


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.7, 0.95, 0.999])
def test_one_flipped_bit_is_told(cli_here: Cli, copy: Path, share: float) -> None:
    content = bytearray(copy.read_bytes())
    content[int(len(content) * share)] ^= 1
    copy.write_bytes(content)
    done = cli_here("inspect", copy)
    assert done.returncode == 1
    assert "sent.mp4: CHANGED after it was signed" in done.stdout
    if share > 0.5:
        assert "problem   the film is not what was signed (assertion.bmffHash.mismatch)" in done.stdout


@pytest.mark.parametrize("how", ["cut", "longer", "edited words", "edited hash"])
def test_other_tampering_is_told(copy: Path, how: str) -> None:
    content = copy.read_bytes()
    words = b"Removed the object"
    assert content.count(words) == 1
    hashed = content.index(b"dhash") + 10
    copy.write_bytes(
        {
            "cut": content[:-300],
            "longer": content + b"more",
            "edited words": content.replace(words, b"Touched the object"),
            "edited hash": content[:hashed] + bytes([content[hashed] ^ 1]) + content[hashed + 1 :],
        }[how]
    )
    assert aftermath.inspect(copy).verdict is Verdict.CHANGED


def test_a_broken_manifest_is_no_crash(copy: Path) -> None:
    whole = copy.read_bytes()
    start = whole.index(b"jumb") - 4
    for at in (*range(start - 40, start, 8), *range(start, start + 3500, 97)):
        content = bytearray(whole)
        content[at] ^= 0xFF
        copy.write_bytes(content)
        found = aftermath.inspect(copy)
        assert found.in_words()
        assert found.verdict in (Verdict.CHANGED, Verdict.INTACT)  # padding is not covered


def encoded_anew(source: Path, target: Path) -> None:
    with av.open(str(source)) as film, av.open(str(target), "w") as out:
        out.metadata.update(film.metadata)
        stream = out.add_stream("libx264", rate=12, options={"crf": "20"})
        stream.width, stream.height, stream.pix_fmt = SIZE[0], SIZE[1], "yuv420p"
        for frame in film.decode(video=0):
            frame.pict_type = 0
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def test_encoded_anew_only_the_metadata_are_left(cli_here: Cli, copy: Path, tmp_path: Path) -> None:
    encoded_anew(copy, tmp_path / "anew.mp4")
    done = cli_here("inspect", tmp_path / "anew.mp4")
    assert done.returncode == 0
    assert "not signed; its metadata say that it was edited, which anyone can write" in done.stdout
    assert "engine draft" in done.stdout


def test_nothing_known_proves_nothing(cli_here: Cli, signed: Result) -> None:
    done = cli_here("inspect", original(signed))
    assert done.returncode == 0
    assert "nothing is known" in done.stdout
    assert "proves nothing" in done.stdout


def test_left_out_on_request(
    cli_here: Cli, signed: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME")
    command = ["remove", original(signed), "--box", SMALL_BOX, "-o", tmp_path / "out.mp4"]
    done = cli_here(*command, "--no-credentials")
    assert "signed    no: left out as asked for (--no-credentials)" in done.stdout
    record = json.loads((tmp_path / "out.mp4.aftermath" / "run.json").read_text())
    assert record["provenance"]["credentials"] == {"why_not": "left out as asked for (--no-credentials)"}
    assert b"c2pa" not in (tmp_path / "out.mp4").read_bytes()
    home = Path.home()
    assert not (home / ".config").exists()
    again = cli_here(*command)  # asked for after all: only the output is made again
    assert "reused    segment, scene, reason, regions, quadmask of" in again.stdout
    assert "signed    with a self-made certificate" in again.stdout
    own = home / ".config" / "aftermath" / "self-made.pem"
    assert stat.S_IMODE(own.stat().st_mode) == 0o600
    assert stat.S_IMODE(own.parent.stat().st_mode) == 0o700
    assert "reused    everything" in cli_here(*command).stdout


@pytest.mark.parametrize(
    ("name", "codec"),
    [("out.mov", Codec.PRORES), ("out.m4v", Codec.H264), ("out.mp4", Codec.HEVC)],
)
def test_every_movie_is_signed(signed: Result, tmp_path: Path, name: str, codec: Codec) -> None:
    result = remove(original(signed), tmp_path / name, codec=codec)
    found = aftermath.inspect(result.output, original=original(signed))
    assert (found.verdict, found.is_original) == (Verdict.INTACT, True)
    assert found.metadata == (run_record(result)["provenance"]["metadata"],)


@pytest.mark.parametrize(
    ("name", "codec", "why"),
    [("out.mkv", Codec.FFV1, ".mkv cannot hold any"), ("out", Codec.PNG, "a folder of pictures")],
)
def test_what_cannot_be_signed_says_so_in_the_record(
    cli_here: Cli, signed: Result, tmp_path: Path, name: str, codec: Codec, why: str
) -> None:
    result = remove(original(signed), tmp_path / name, codec=codec)
    assert why in run_record(result)["provenance"]["credentials"]["why_not"]
    told = cli_here("inspect", result.output, "--original", original(signed)).stdout
    assert "not signed; it is the file that the run.json beside it is of" in told
    assert ("Edited with aftermath" in told) == (codec is not Codec.PNG)
    assert "4 of 4 frames differ visibly" in told
    file = result.output / "00002.png" if codec is Codec.PNG else result.output
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    done = cli_here("inspect", result.output)
    assert done.returncode == 1
    assert "CHANGED: it is no longer the file that the run.json beside it is of" in done.stdout


def test_what_the_source_says_of_itself_stays(signed: Result, tmp_path: Path) -> None:
    clip = tmp_path / "spoken.mkv"
    with av.open(str(original(signed))) as film, av.open(str(clip), "w") as out:
        out.metadata["comment"] = "shot by Ada"
        copied = out.add_stream_from_template(film.streams.video[0])
        for packet in film.demux(video=0):
            if packet.dts is not None:
                packet.stream = copied
                out.mux(packet)
    for name, codec in (("out.mp4", Codec.H264), ("out.mkv", Codec.FFV1)):
        result = remove(clip, tmp_path / name, codec=codec)
        with av.open(str(result.output)) as film:
            (comment,) = (value for key, value in film.metadata.items() if key.lower() == "comment")
        first, second = comment.splitlines()
        assert first == "shot by Ada"
        assert second.startswith("Edited with aftermath")
    assert aftermath.inspect(tmp_path / "out.mp4").credentials.original == "spoken.mkv"


def test_words_are_told_as_they_were_said(signed: Result, tmp_path: Path) -> None:
    mask = np.full((SIZE[1], SIZE[0], 3), 0, np.uint8)
    mask[25:49, 19:36] = 255
    cv2.imwrite(str(tmp_path / "a private name.png"), mask)
    result = aftermath.remove(original(signed), tmp_path / "out.mp4", mask=tmp_path / "a private name.png")
    told = aftermath.inspect(result.output).in_words()
    assert "Removed the object of a given mask" in told
    assert b"private" not in result.output.read_bytes()


def test_an_edit_of_an_edit_carries_the_first_ones_credentials(
    signed: Result, copy: Path, tmp_path: Path
) -> None:
    twice = [aftermath.remove(copy, tmp_path / name, boxes=["46,52,60,67"]) for name in ("a.mp4", "b.mp4")]
    assert twice[0].output.read_bytes() == twice[1].output.read_bytes()
    found = aftermath.inspect(twice[0].output, original=copy)
    assert (found.verdict, found.is_original) == (Verdict.INTACT, True)
    assert len(found.credentials.earlier) == 1
    assert found.credentials.earlier_problems == ()
    content = bytearray(copy.read_bytes())
    content[-400] ^= 1
    copy.write_bytes(content)
    fooled = aftermath.remove(copy, tmp_path / "c.mp4", boxes=["46,52,60,67"])
    found = aftermath.inspect(fooled.output)
    assert found.verdict is Verdict.INTACT  # it is what was signed; what it was made of was not
    assert "of those this did not hold" in found.in_words()


KINDS: dict[str, Callable[[], Any]] = {
    "es256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "es512": lambda: ec.generate_private_key(ec.SECP521R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ps256": lambda: rsa.generate_private_key(65537, 2048),
}


@pytest.mark.parametrize("algorithm", list(KINDS))
def test_the_users_own_certificate(
    cli_here: Cli, signed: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, algorithm: str
) -> None:
    authority, key = ec.generate_private_key(ec.SECP256R1()), KINDS[algorithm]()
    (tmp_path / "authority.pem").write_bytes(certify(authority, subject="Some Authority", authority=True))
    certificate = certify(key, signer=authority)
    names = write_pair(tmp_path, key, certificate, password=b"sesame" if algorithm == "es256" else b"")
    monkeypatch.setenv("AFTERMATH_KEY_PASSWORD", "sesame")
    options = {"certificate": names[0], "key": names[1]}
    a, b = (remove(original(signed), tmp_path / name, **options) for name in ("a.mp4", "b.mp4"))
    assert a.credentials["algorithm"] == algorithm
    assert (a.output.read_bytes() == b.output.read_bytes()) == (algorithm != "ps256")
    told = cli_here("inspect", a.output).stdout
    assert "intact" in told
    assert "by Ada's Edits, as the certificate says; whether it is theirs was not checked" in told
    told = cli_here("inspect", a.output, "--trust", tmp_path / "authority.pem").stdout
    assert "by Ada's Edits; the certificate leads to one of those that --trust names" in told
    (tmp_path / "authority.pem").write_bytes(certify(key, issuer="Ada's Edits", authority=True))
    assert "was not checked" in cli_here("inspect", a.output, "--trust", tmp_path / "authority.pem").stdout


@pytest.mark.long
def test_a_certificate_that_expired_since_is_no_tampering(signed: Result, tmp_path: Path) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=2)
    certificate, secret = write_pair(tmp_path, key, certify(key, last=soon))
    result = remove(original(signed), tmp_path / "out.mp4", certificate=certificate, key=secret)
    time.sleep(max(0.0, (soon - datetime.datetime.now(datetime.UTC)).total_seconds()) + 1.1)
    found = aftermath.inspect(result.output)
    assert found.verdict is Verdict.INTACT
    assert "expired" in found.in_words()


OTHER = ed25519.Ed25519PrivateKey.generate()
BAD_PAIRS: dict[str, tuple[Callable[[Any], bytes], str]] = {
    "another's key": (lambda _: certify(OTHER), "does not belong to the certificate"),
    "expired": (lambda key: certify(key, first=TODAY - 9 * DAY, last=TODAY - DAY), "is valid from"),
    "not yet valid": (lambda key: certify(key, first=TODAY + DAY, last=TODAY + 9 * DAY), "is valid from"),
    "no purpose": (lambda key: certify(key, purpose=None), "C2PA does not take it"),
    "for servers": (
        lambda key: certify(key, purpose=ExtendedKeyUsageOID.SERVER_AUTH),
        "C2PA does not take it",
    ),
    "an authority": (lambda key: certify(key, authority=True), "C2PA does not take it"),
    "no PEM": (lambda _: b"hello", "must be a certificate in PEM"),
}


@pytest.mark.parametrize("case", list(BAD_PAIRS))
def test_a_certificate_that_cannot_sign_is_refused_before_any_work(
    cli_here: Cli, signed: Result, tmp_path: Path, case: str
) -> None:
    make, words = BAD_PAIRS[case]
    key = ed25519.Ed25519PrivateKey.generate()
    names = write_pair(tmp_path, key, make(key))
    line = refused(cli_here, tmp_path, original(signed), "--certificate", names[0], "--key", names[1])
    assert words in line


def refused(cli_here: Cli, folder: Path, clip: Path, *options: object) -> str:
    """The one line with which ``remove`` refuses; it leaves nothing behind."""
    before = sorted(folder.iterdir())
    done = cli_here("remove", clip, "--box", SMALL_BOX, "-o", folder / "out.mp4", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert sorted(folder.iterdir()) == before
    return done.stderr


def test_other_pairs_that_are_refused(
    cli_here: Cli, signed: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = original(signed)
    key = ed25519.Ed25519PrivateKey.generate()
    certificate, secret = write_pair(tmp_path, key, certify(key), password=b"sesame")
    pair = ("--certificate", certificate, "--key", secret)
    assert "is encrypted; put its password into AFTERMATH_KEY_PASSWORD" in refused(
        cli_here, tmp_path, clip, *pair
    )
    monkeypatch.setenv("AFTERMATH_KEY_PASSWORD", "open")
    assert "cannot be opened with the password" in refused(cli_here, tmp_path, clip, *pair)
    assert "no such file" in refused(cli_here, tmp_path, clip, *pair[:3], tmp_path / "none.pem")
    assert "must come with --key" in refused(cli_here, tmp_path, clip, *pair[:2])
    assert "must come with --certificate" in refused(cli_here, tmp_path, clip, *pair[2:])
    assert "must be a private key" in refused(cli_here, tmp_path, clip, *pair[:3], certificate)
    assert "nothing would be signed" in refused(cli_here, tmp_path, clip, *pair, "--no-credentials")
    weak = rsa.generate_private_key(65537, 1024)
    certificate, secret = write_pair(tmp_path, weak, certify(weak))
    line = refused(cli_here, tmp_path, clip, "--certificate", certificate, "--key", secret)
    assert "RSA of 2048 bits" in line


def test_a_self_made_certificate_that_cannot_be_kept_or_read(
    signed: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text("a file in the way of the folder")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    result = remove(original(signed), tmp_path / "out.mp4")
    (warning,) = result.warnings
    assert "serves once" in warning
    assert aftermath.inspect(result.output).verdict is Verdict.INTACT
    (tmp_path / "other" / "aftermath").mkdir(parents=True)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "other"))
    (tmp_path / "other" / "aftermath" / "self-made.pem").write_text("not a key")
    with pytest.raises(InputError, match=r"self-made\.pem"):
        remove(original(signed), tmp_path / "next.mp4")
    assert not (tmp_path / "next.mp4.aftermath").exists()


def test_ctrl_c_while_signing_leaves_nothing(
    signed: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aftermath import credentials

    sign = credentials._sign

    def stopped(*arguments: Any) -> str:
        sign(*arguments)
        assert any(".signed.part" in path.name for path in tmp_path.iterdir())
        raise KeyboardInterrupt

    monkeypatch.setattr(credentials, "_sign", stopped)
    with pytest.raises(KeyboardInterrupt):
        remove(original(signed), tmp_path / "out.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4.aftermath"]
    monkeypatch.undo()
    assert remove(original(signed), tmp_path / "out.mp4").output.read_bytes() == signed.output.read_bytes()


def test_without_c2pa_all_else_works(
    cli_here: Cli, signed: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)
    result = remove(original(signed), tmp_path / "out.mp4")
    assert "c2pa-python is not installed" in run_record(result)["provenance"]["credentials"]["why_not"]
    done = cli_here("inspect", result.output)
    assert (done.returncode, done.stdout) == (2, "")
    assert "c2pa-python" in done.stderr


def test_runs_that_begin_together_share_one_certificate(
    signed: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda n: remove(original(signed), tmp_path / f"{n}.mp4"), range(4)))
    assert [result.warnings for result in results] == [()] * 4
    assert len({result.output.read_bytes() for result in results}) == 1
    assert [path.name for path in (tmp_path / "config" / "aftermath").iterdir()] == ["self-made.pem"]


def test_a_film_that_cannot_be_signed_is_not_lost(
    signed: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aftermath.credentials._HEAD_ROOM", -(1 << 14))  # as if c2pa wrote it elsewhere
    result = remove(original(signed), tmp_path / "out.mp4")
    assert "signing failed" in result.credentials["why_not"]
    assert any("without Content Credentials" in warning for warning in result.warnings)
    assert aftermath.inspect(result.output).verdict is Verdict.RECORDED


def two_squares(folder: Path) -> tuple[Path, Path]:
    """A lossless film, and the same with a square changed in its frames 1 and 2."""
    frames = list(scene(64, 48, 4))
    write_rgb_video(folder / "original.mkv", frames, 12, Codec.FFV1)
    for frame in frames[1:3]:
        frame[10:20, 30:44] = 0
    write_rgb_video(folder / "file.mkv", frames, 12, Codec.FFV1)
    return folder / "file.mkv", folder / "original.mkv"


def test_what_differs_is_found_and_drawn(cli_here: Cli, tmp_path: Path) -> None:
    file, source = two_squares(tmp_path)
    done = cli_here("inspect", file, "--original", source, "--picture", tmp_path / "seen.png", "--json")
    assert done.returncode == 0
    told = json.loads(done.stdout)
    assert [one["box"] is not None for one in told["differences"]["frames"]] == [False, True, True, False]
    second = told["differences"]["frames"][1]
    assert second["any_share"] == pytest.approx(140 / (64 * 48), rel=0.05)
    for side, (low, high) in {"x0": (28, 30), "y0": (8, 10), "x1": (44, 46), "y1": (20, 22)}.items():
        assert low <= second["box"][side] <= high
    assert second["largest"] > 50
    sheet = cv2.imread(str(tmp_path / "seen.png"))
    assert sheet is not None
    red = (sheet[..., 2].astype(int) - sheet[..., 1] > 90).sum(axis=0)
    assert red.any()
    words = cli_here("inspect", file, "--original", source).stdout
    assert "2 of 4 frames differ visibly, the first 1, the last 2" in words
    assert "sound     neither has any" in words
    assert "whether it is the one that was edited cannot be told" in words


def test_an_encoders_noise_is_no_edit(signed: Result, tmp_path: Path) -> None:
    encoded_anew(original(signed), tmp_path / "anew.mp4")
    found = aftermath.inspect(tmp_path / "anew.mp4", original=original(signed))
    assert found.differences is not None
    assert found.differences.visible == ()
    assert any(one.largest for one in found.differences.frames)
    assert "no visible difference" in found.in_words()
    same = aftermath.inspect(original(signed), original=original(signed))
    assert "every pixel is the original's" in same.in_words()


def test_other_lengths_and_sizes_are_said(signed: Result, tmp_path: Path) -> None:
    write_scene(tmp_path / "short.mp4", *SIZE[:2], 2)
    write_scene(tmp_path / "small.mp4", 64, 48, SIZE[2])
    short = aftermath.inspect(signed.output, original=tmp_path / "short.mp4")
    assert "4, and 2 in the original: the first are compared" in short.in_words()
    assert "NOT the one that the credentials name" in short.in_words()
    picture = tmp_path / "seen.png"
    small = aftermath.inspect(signed.output, original=tmp_path / "small.mp4", picture=picture)
    assert "96x72, and 64x48 in the original: not compared" in small.in_words()
    assert small.picture is None
    assert not picture.exists()


def with_sound(path: Path, pitch: float, seconds: float = 0.5) -> Path:
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=12)
        video.width, video.height, video.pix_fmt = SIZE[0], SIZE[1], "yuv420p"
        audio = out.add_stream("aac", rate=8000)
        for picture in scene(*SIZE):
            out.mux(video.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        wave = np.sin(np.arange(int(8000 * seconds)) * pitch).astype(np.float32)[None] * 0.5
        heard = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
        heard.sample_rate = 8000
        out.mux(audio.encode(heard))
        out.mux(audio.encode(None))
        out.mux(video.encode(None))
    return path


def test_sound_is_compared(tmp_path: Path) -> None:
    clip, other = with_sound(tmp_path / "clip.mp4", 0.3), with_sound(tmp_path / "other.mp4", 0.5)
    result = remove(clip, tmp_path / "out.mov")
    assert sound(aftermath.inspect(result.output, original=clip)) == "the same, byte for byte"
    assert sound(aftermath.inspect(result.output, original=other)).startswith("differs")
    write_scene(tmp_path / "silent.mp4", *SIZE)
    silent = aftermath.inspect(tmp_path / "silent.mp4", original=clip)
    assert sound(silent) == "0 streams, and 1 in the original"


def sound(found: Inspection) -> str:
    assert found.differences is not None
    return found.differences.sound


def test_what_cannot_be_inspected_is_one_line(cli_here: Cli, signed: Result, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no film")
    (tmp_path / "empty").mkdir()
    clip, seen = original(signed), tmp_path / "seen.png"
    for arguments, words in (
        (["none.mp4"], "no such file"),
        ([tmp_path / "text.mp4"], "not a video"),
        ([tmp_path / "empty"], "a folder without numbered pictures"),
        ([clip, "--original", tmp_path / "text.mp4"], "not a video"),
        ([clip, "--original", tmp_path / "none.mp4"], "no such file"),
        ([clip, "--picture", seen], "give --original too"),
        ([clip, "--original", clip, "--picture", tmp_path / "seen.jpg"], "must end in .png"),
        ([clip, "--original", clip, "--picture", tmp_path / "no" / "seen.png"], "there is no folder"),
        ([clip, "--trust", tmp_path / "text.mp4"], "must hold certificates"),
        ([clip, "--trust", tmp_path / "none.pem"], "must be a file of certificates"),
    ):
        done = cli_here("inspect", *arguments)
        assert (done.returncode, done.stdout) == (2, ""), arguments
        assert done.stderr.count("\n") == 1
        assert words in done.stderr
    assert not seen.exists()


def test_a_batch_signs_and_refuses_like_remove(cli_here: Cli, signed: Result, tmp_path: Path) -> None:
    job = {"clip": str(original(signed)), "boxes": [SMALL_BOX], "out": "out.mp4"}
    (tmp_path / "jobs.jsonl").write_text(json.dumps(job))
    done = cli_here("batch", tmp_path / "jobs.jsonl", "-o", tmp_path / "results")
    assert done.returncode == 0, done.stderr
    assert aftermath.inspect(tmp_path / "results" / "out.mp4").verdict is Verdict.INTACT
    (tmp_path / "jobs.jsonl").write_text(json.dumps(job | {"certificate": "cert.pem"}))
    done = cli_here("batch", tmp_path / "jobs.jsonl", "-o", tmp_path / "others")
    assert done.returncode == 2
    assert "must come with --key" in done.stderr
    assert not (tmp_path / "others").exists()
    key = ed25519.Ed25519PrivateKey.generate()
    write_pair(tmp_path, key, certify(key))  # named from where the list of jobs lies
    (tmp_path / "jobs.jsonl").write_text(json.dumps(job | {"certificate": "cert.pem", "key": "key.pem"}))
    done = cli_here("batch", tmp_path / "jobs.jsonl", "-o", tmp_path / "others")
    assert done.returncode == 0, done.stderr
    assert aftermath.inspect(tmp_path / "others" / "out.mp4").credentials.signer == "Ada's Edits"
