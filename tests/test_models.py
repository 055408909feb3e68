"""``aftermath models`` against a server on this machine that speaks the hub's protocol."""

from __future__ import annotations

import hashlib
import json
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from conftest import Cli

pytest.importorskip("huggingface_hub", reason="the extra void is not installed")

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAME = "netflix/void-model"
LARGE = "void_pass1.safetensors"


def weights(values: np.ndarray) -> bytes:
    """A safetensors file of one tensor."""
    entry = {"dtype": "F32", "shape": [len(values)], "data_offsets": [0, values.nbytes]}
    header = json.dumps({"w": entry}).encode()
    return len(header).to_bytes(8, "little") + header + values.tobytes()


class Hub:
    """One model; ``cut`` ends an answer after so many bytes, ``lie`` changes the last byte."""

    def __init__(self) -> None:
        many = np.arange(750_000, dtype=np.float32)
        self.files = {
            LARGE: weights(many),
            "void_pass2.safetensors": weights(many[:9]),
            "README.md": b"read me",
        }
        self.cut: int | None = None
        self.lie = False
        self.asked: list[tuple[str, str | None]] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def listing(self) -> list[dict[str, object]]:
        return [
            {"type": "file", "path": name, "oid": "a" * 40, **size(data)} for name, data in self.files.items()
        ]

    def sent(self, name: str) -> bytes:
        data = self.files[name]
        return data[:-1] + bytes([data[-1] ^ 1]) if self.lie else data

    def _handler(hub) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - the handler has a self of its own
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_HEAD(self) -> None:
                self.answer(body=False)

            def do_GET(self) -> None:
                self.answer(body=True)

            def answer(self, *, body: bool) -> None:
                path = urlsplit(self.path).path
                hub.asked.append((path, self.headers["Range"]))
                api = f"/api/models/{NAME}"
                if path in (api, f"{api}/revision/main"):
                    siblings = [{"rfilename": one.pop("path"), **one} for one in hub.listing()]
                    return self.json({"id": NAME, "sha": COMMIT, "siblings": siblings})
                if path.startswith(f"{api}/tree/"):
                    return self.json(hub.listing())
                name = path.rsplit("/", 1)[-1]
                if not path.startswith(f"/{NAME}/resolve/") or name not in hub.files:
                    self.send_response(404)
                    self.send_header("X-Error-Code", "RepoNotFound")
                    self.send_header("Content-Length", "0")
                    return self.end_headers()
                data = hub.sent(name)
                asked = self.headers["Range"]
                start = int(asked.removeprefix("bytes=").split("-")[0]) if asked else 0
                self.send_response(206 if asked else 200)
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("ETag", f'"{hashlib.sha256(hub.files[name]).hexdigest()}"')
                self.send_header("Content-Length", str(len(data) - start))
                if asked:
                    self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
                self.end_headers()
                if body:
                    self.wfile.write(data[start : hub.cut])
                    if hub.cut is not None:
                        self.close_connection = True

            def json(self, value: object) -> None:
                data = json.dumps(value).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        return Handler


def size(data: bytes) -> dict[str, object]:
    if len(data) < 10:
        return {"size": len(data)}
    digest = hashlib.sha256(data).hexdigest()
    return {
        "size": len(data),
        "lfs": {"oid": digest, "sha256": digest, "size": len(data), "pointerSize": 130},
    }


@pytest.fixture
def hub(environment: dict[str, str]) -> Iterator[Hub]:
    """The server, and an environment that knows no other hub."""
    hub = Hub()
    for name in [name for name in environment if name.startswith("HF_") or name.lower().endswith("_proxy")]:
        del environment[name]
    environment |= {
        "HF_ENDPOINT": hub.url,
        "PYTHONWARNINGS": "default",
    }  # the client's own warnings are not ours
    thread = threading.Thread(target=hub.server.serve_forever, args=(0.02,))
    thread.start()
    yield hub
    hub.server.shutdown()
    hub.server.server_close()
    thread.join()


def ranges(hub: Hub) -> list[str | None]:
    """What was asked of the large file, in order."""
    return [asked for path, asked in hub.asked if path.endswith(LARGE)]


def failed(done: subprocess.CompletedProcess[str], *told: str) -> None:
    lines = [line for line in done.stderr.splitlines() if line.startswith("aftermath: ")]
    assert done.returncode == 1, done.stderr
    assert len(lines) == 1 and "Traceback" not in done.stderr, done.stderr
    for word in told:
        assert word in lines[0]


def test_a_model_is_fetched_listed_verified_and_then_needs_no_network(hub: Hub, cli: Cli) -> None:
    assert "not here" in cli("models", "list").stdout
    done = cli("models", "download", NAME)
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip().removeprefix(f"{NAME}: "))
    assert sorted(path.name for path in folder.iterdir()) == [LARGE, "void_pass2.safetensors"]
    assert (folder / LARGE).read_bytes() == hub.files[LARGE]
    assert f"{NAME:<40} 0.0 GB in {folder}" in cli("models", "list").stdout
    assert cli("models", "verify").stdout.count("the hub's own hash") == 2
    hub.asked.clear()
    again = cli("models", "download", NAME, "--offline")
    assert again.stdout == done.stdout, again.stderr
    assert hub.asked == []


@pytest.mark.long
def test_a_download_that_breaks_off_goes_on_where_it_was(hub: Hub, cli: Cli, tmp_path: Path) -> None:
    hub.cut = 2_000_000
    to = tmp_path / "weights"
    failed(cli("models", "download", NAME, "--to", to), "the rest is fetched by", "aftermath models download")
    kept = (to / f"{LARGE}.part").stat().st_size
    assert kept > 0 and not (to / LARGE).exists()
    hub.cut = None
    hub.asked.clear()
    done = cli("models", "download", NAME, "--to", to)
    assert done.returncode == 0, done.stderr
    assert ranges(hub)[0] == f"bytes={kept}-"
    assert (to / LARGE).read_bytes() == hub.files[LARGE]
    assert not list(to.glob("*.part"))
    assert cli("models", "verify", to).stdout.count("the hub's own hash") == 2
    (to / LARGE).write_bytes(hub.files[LARGE][:-4] + np.float32(7).tobytes())
    failed(cli("models", "verify", to), LARGE, "sha256")
    (to / LARGE).write_bytes(hub.files[LARGE][:-4] + np.float32(np.nan).tobytes())
    failed(cli("models", "verify", to), LARGE, "NaN")
    (to / LARGE).write_bytes(hub.files[LARGE][:-4])
    failed(cli("models", "verify", to), LARGE, "half a download")


def test_what_is_not_what_the_hub_says_is_thrown_away(hub: Hub, cli: Cli, tmp_path: Path) -> None:
    hub.lie = True
    failed(cli("models", "download", NAME, "--to", tmp_path / "to"), LARGE, "sha256")
    assert not list((tmp_path / "to").glob("void*"))


def test_a_full_disk_is_told_and_what_came_is_kept(
    hub: Hub, environment: dict[str, str], tmp_path: Path
) -> None:
    to, largest = tmp_path / "to", 1 << 21

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))

    command = [sys.executable, "-m", "aftermath", "models", "download", NAME, "--to", str(to)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=300, preexec_fn=limit
    )
    failed(done, "disk is full", "--to")
    assert 0 < (to / f"{LARGE}.part").stat().st_size <= largest


@pytest.mark.long
def test_what_cannot_be_had_is_told_in_one_line(
    hub: Hub, cli: Cli, environment: dict[str, str], tmp_path: Path
) -> None:
    failed(cli("models", "download", NAME, "--offline"), "offline", f"aftermath models download {NAME}")
    failed(cli("models", "download", "netflix/nothing"), "netflix/nothing", "the hub refuses it")
    failed(cli("models", "verify", tmp_path), "no weights")
    for wrong in ("void-model", "a--b/c", "../x"):
        done = cli("models", "download", wrong)
        assert done.returncode == 2 and "it must be a name on the hub" in done.stderr
    environment["HF_ENDPOINT"] = "http://127.0.0.1:9"  # nobody listens there
    failed(cli("models", "download", NAME), "the connection failed")


def test_without_the_extra_it_says_what_to_install(environment: dict[str, str]) -> None:
    program = "import sys; sys.modules['huggingface_hub'] = None; from aftermath.cli import main; main()"
    for arguments in (["list"], ["download"], ["verify"]):
        command = [sys.executable, "-c", program, "models", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
        failed(done, 'pip install ".[void]"')


def test_what_a_run_must_fetch_it_fetches_with_progress(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    from aftermath.config import Engine, RemoveOptions
    from aftermath.engines import fetch_weights

    (tmp_path / "base").mkdir()  # a base model without VOID's weights: those come from the hub
    told: list[tuple[int, int]] = []
    options = RemoveOptions(model=str(tmp_path / "base"), passes=2)
    fetch_weights(Engine.VOID, options, lambda done, total: told.append((done, total)))
    sizes = [len(hub.files[name]) for name in (LARGE, "void_pass2.safetensors")]
    assert [total for done, total in told if done == total] == sizes
    fetch_weights(Engine.DRAFT, options, lambda done, total: pytest.fail("the draft needs none"))
