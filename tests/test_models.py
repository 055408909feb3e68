"""``aftermath models`` against a server on this machine that speaks the hub's protocol."""

from __future__ import annotations

import hashlib
import json
import re
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from aftermath.cli import models as commands
from aftermath.cli.models import list_command
from aftermath.errors import InputError, WeightsError
from aftermath.hub import complete, fetch, verify
from aftermath.models import BASE
from conftest import Cli

constants = pytest.importorskip("huggingface_hub.constants", reason="the extra void is not installed")

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAME = "netflix/void-model"
LARGE = "void_pass1.safetensors"


def weights(values: np.ndarray) -> bytes:
    """A safetensors file of one tensor."""
    entry = {"dtype": "F32", "shape": [len(values)], "data_offsets": [0, values.nbytes]}
    header = json.dumps({"w": entry}).encode()
    return len(header).to_bytes(8, "little") + header + values.tobytes()


class Hub:
    """One model. ``cut`` ends what is sent of a file at this byte, ``most`` after so many; with ``stalls`` the
    connection stays open then. ``lie`` changes the last byte, ``refusal`` is the answer to all, ``slow`` waits."""

    def __init__(self) -> None:
        many = np.arange(750_000, dtype=np.float32)
        self.files = {
            LARGE: weights(many),
            "void_pass2.safetensors": weights(many[:9]),
            "README.md": b"read me",
        }
        self.cut: int | None = None
        self.most: int | None = None
        self.stalls = threading.Event()
        self.lie = False
        self.refusal: tuple[int, str] | None = None
        self.slow = 0.0
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
                if hub.refusal is not None:
                    return self.refuse(*hub.refusal)
                api = f"/api/models/{NAME}"
                if path in (api, f"{api}/revision/main"):
                    siblings = [{"rfilename": one.pop("path"), **one} for one in hub.listing()]
                    return self.json({"id": NAME, "sha": COMMIT, "siblings": siblings})
                if path.startswith(f"{api}/tree/"):
                    return self.json(hub.listing())
                name = path.rsplit("/", 1)[-1]
                if not path.startswith(f"/{NAME}/resolve/") or name not in hub.files:
                    return self.refuse(404, "RepoNotFound")
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
                    time.sleep(hub.slow)
                    stop = min(hub.cut or len(data), start + hub.most if hub.most is not None else len(data))
                    self.wfile.write(data[start:stop])
                    if stop < len(data):
                        self.close_connection = True
                    while hub.stalls.is_set() and stop < len(data):
                        time.sleep(0.02)

            def refuse(self, status: int, code: str) -> None:
                self.send_response(status)
                self.send_header("X-Error-Code", code)
                self.send_header("Content-Length", "0")
                self.end_headers()

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
    hub.stalls.clear()
    hub.server.shutdown()
    hub.server.server_close()
    thread.join()


@pytest.fixture
def hub_here(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """The hub of this process, which loses no time between its tries. Its cache is ``tmp_path / "hub"``."""
    from aftermath import downloads

    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.4)
    monkeypatch.setattr(downloads, "_WAITS_S", (0.01,) * 4)
    monkeypatch.setattr(downloads, "_LOOK_S", 0.02)
    return hub


def ranges(hub: Hub) -> list[str]:
    """What was asked of the large file's content, in order."""
    return [asked for path, asked in hub.asked if path.endswith(LARGE) and asked]


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


def test_a_download_that_breaks_off_goes_on_where_it_was(
    hub_here: Hub, cli_here: Cli, tmp_path: Path
) -> None:
    hub, cli = hub_here, cli_here
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
    failed(cli("models", "download", "netflix/nothing"), "netflix/nothing", "no such model", "check the name")
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


def test_what_a_run_must_fetch_it_fetches_with_progress(hub_here: Hub, tmp_path: Path) -> None:
    from aftermath.config import Engine, RemoveOptions
    from aftermath.engines import fetch_weights

    own = ("vae/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors")
    for part in own:  # a base model without VOID's weights: those come from the hub
        (tmp_path / "base" / part).parent.mkdir(parents=True)
        (tmp_path / "base" / part).write_bytes(b"whatever")
    told: list[tuple[int, int]] = []
    options = RemoveOptions(model=str(tmp_path / "base"), passes=2)
    known = fetch_weights(Engine.VOID, options, lambda done, total: told.append((done, total)))
    blobs = {path.name for path in (tmp_path / "hub").rglob("blobs/*")}
    assert (
        len(known) == 4 and set(known[:2]) <= blobs
    )  # the hub's own hashes; of the small file its content's
    sizes = [len(hub_here.files[name]) for name in (LARGE, "void_pass2.safetensors")]
    assert [total for done, total in told if done == total] == sizes
    fetch_weights(Engine.DRAFT, options, lambda done, total: pytest.fail("the draft needs none"))


def told_by(act: Callable[[], object], error: type[Exception] = WeightsError) -> str:
    """The one line with which ``act`` fails."""
    with pytest.raises(error) as raised:
        act()
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_a_connection_that_stalls_or_breaks_is_made_again_while_there_is_progress(hub_here: Hub) -> None:
    hub_here.most = 1_000_000
    hub_here.stalls.set()
    folder = fetch(NAME)
    assert (folder / LARGE).read_bytes() == hub_here.files[LARGE]
    assert ranges(hub_here) == [f"bytes={begin}-" for begin in (0, 1_000_000, 2_000_000, 3_000_000)]


def test_what_brings_nothing_is_given_up(hub_here: Hub, tmp_path: Path) -> None:
    hub_here.cut = 2_000_000
    line = told_by(lambda: fetch(NAME, to=tmp_path / "a b"))
    assert "the connection failed" in line and f"{NAME} --to '{tmp_path}/a b'" in line
    assert ranges(hub_here) == ["bytes=0-", *["bytes=2000000-"] * 5]
    hub_here.asked.clear()
    hub_here.refusal = (403, "")  # no try more will change that
    told_by(lambda: fetch(NAME))
    assert len(hub_here.asked) == 1


def test_of_two_that_fetch_at_once_one_waits_and_takes_what_the_other_fetched(
    hub_here: Hub, tmp_path: Path
) -> None:
    hub_here.slow = 0.1
    told: list[tuple[str, int, int]] = []
    for to in (None, tmp_path / "to"):
        hub_here.asked.clear()
        told.clear()
        with ThreadPoolExecutor(2) as pool:
            both = [pool.submit(fetch, NAME, to=to, progress=lambda *now: told.append(now)) for _ in range(2)]
            folders = {one.result() for one in both}
        assert ranges(hub_here) == ["bytes=0-"]
        assert (folders.pop() / LARGE).read_bytes() == hub_here.files[LARGE] and not folders
        assert (LARGE, 0, len(hub_here.files[LARGE])) in told  # how far the other is
    blobs = tmp_path / "hub" / f"models--{NAME.replace('/', '--')}" / "blobs"
    assert all(re.fullmatch("[0-9a-f]{64}", path.name) for path in blobs.iterdir())


@pytest.mark.parametrize("last", [7.0, np.nan])
def test_what_verify_says_of_a_damaged_file_mends_it(hub_here: Hub, tmp_path: Path, last: float) -> None:
    for to in (None, tmp_path / "to"):
        file = fetch(NAME, to=to) / LARGE
        file.write_bytes(hub_here.files[LARGE][:-4] + np.float32(last).tobytes())
        line = told_by(lambda: list(verify(to)))  # noqa: B023 - called at once
        damaged = re.search(r"delete (.*) and fetch it again with: aftermath models download (.*)", line)
        assert damaged and damaged[2].startswith(NAME) and ("--to" in damaged[2]) == (to is not None)
        (file if damaged[1] == "it" else Path(damaged[1])).unlink()
        if to is None:
            assert f"{LARGE} is missing" in told_by(lambda: list(verify()))
        fetch(NAME, to=to)
        assert len(list(verify(to))) == 2


def test_offline_what_is_in_the_folder_counts(
    hub_here: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = tmp_path / "to"
    fetch(NAME)
    fetch(NAME, to=to)
    hub_here.asked.clear()
    assert fetch(NAME, to=to, offline=True) == to
    assert "not in " in told_by(lambda: fetch(BASE, to=to, offline=True))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert (fetch(NAME) / LARGE).is_file() and fetch(NAME, to=to) == to
    (to / LARGE).unlink()
    (to / "void_pass2.safetensors").rename(to / f"{LARGE}.index.json")
    assert "HF_HUB_OFFLINE" in told_by(lambda: fetch(NAME, to=tmp_path / "none"))
    assert hub_here.asked == []


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        ((401, ""), ("check the name", "licence", "hf auth login", "HF_TOKEN")),
        ((401, "GatedRepo"), ("licence must be accepted on", "hf auth login")),
        ((403, ""), ("licence must be accepted on", "hf auth login")),
        ((404, "RepoNotFound"), ("no such model", "check the name")),
        ((404, "RevisionNotFound"), ("of the revision main",)),
        ((500, ""), ("the hub refuses it",)),
    ],
)
def test_what_the_hub_refuses_is_told_with_what_to_do(
    hub_here: Hub, refusal: tuple[int, str], told: tuple[str, ...]
) -> None:
    hub_here.refusal = refusal
    line = told_by(lambda: fetch(NAME, revision="main"))
    assert str(refusal[0]) in line
    for words in told:
        assert words in line


def put(cache: Path, name: str, *files: str) -> Path:
    """Files of a model in the hub's cache, as small as they may be."""
    place = cache / f"models--{name.replace('/', '--')}"
    folder = place / "snapshots" / COMMIT
    (place / "refs").mkdir(parents=True, exist_ok=True)
    (place / "refs" / "main").write_text(COMMIT)
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        content = weights(np.ones(3, np.float32)) if file.endswith(".safetensors") else b"{}"
        (folder / file).write_bytes(content)
    return folder


WHOLE = (
    "transformer/config.json",
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "tokenizer/spiece.model",
    "scheduler/scheduler_config.json",
)


@pytest.mark.parametrize("file", WHOLE)
def test_what_a_model_lacks_is_told_and_what_cannot_be_read(
    hub_here: Hub, tmp_path: Path, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = put(tmp_path / "hub", BASE, *WHOLE)
    put(tmp_path / "hub", NAME, LARGE)  # one pass is enough
    assert len(list(verify())) == 3 and complete() and not complete((1, 2))
    list_command(None)
    assert "incomplete" not in capsys.readouterr().out
    if file.endswith(".json"):
        (folder / file).write_text("{")
        assert f"delete it and fetch it again with: aftermath models download {BASE}" in told_by(
            lambda: list(verify())
        )
    (folder / file).unlink()
    line = told_by(lambda: list(verify()))
    assert f"{file} is missing" in line and f"aftermath models download {BASE}" in line
    list_command(None)
    assert f"incomplete, 0.0 GB in {folder}, without {file}" in capsys.readouterr().out
    assert not complete()


def test_a_shard_that_is_missing_and_a_download_that_has_not_ended_are_told(
    hub_here: Hub, cli_here: Cli, tmp_path: Path
) -> None:
    folder = put(tmp_path / "hub", BASE, *WHOLE)
    index = folder / "transformer" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}))
    put(tmp_path / "hub", BASE, "transformer/one.safetensors")
    failed(cli_here("models", "verify"), "transformer/two.safetensors is missing")
    index.unlink()
    hub_here.cut = 2_000_000
    to = tmp_path / "to"
    for where in ((), ("--to", to)):
        failed(cli_here("models", "download", NAME, *where), "the connection failed")
        assert f"{NAME:<40} incomplete, 0.0 GB" in cli_here("models", "list", *where).stdout
        failed(cli_here("models", "verify", *where[1:]), f"{NAME} is incomplete")


def test_no_other_models_weights_are_offered_for_a_folder_that_is_not_the_hubs(tmp_path: Path) -> None:
    folder = put(tmp_path / "hub", BASE, *WHOLE)
    (folder / "vae" / "config.json").unlink()
    line = told_by(lambda: list(verify(folder)))
    assert "vae/config.json is missing" in line and "download" not in line


def test_what_of_void_is_not_here_is_named_with_its_command(
    hub_here: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aftermath import engines
    from aftermath.config import Engine, RemoveOptions

    monkeypatch.setattr(engines, "missing", lambda engine: "")
    options = RemoveOptions(engine=Engine.VOID, passes=2)

    def told() -> str:
        return told_by(lambda: engines.choose_engine(options), InputError)

    assert told().endswith("fetch the published ones with: aftermath models download")
    folder = put(tmp_path / "hub", BASE, *WHOLE)
    put(tmp_path / "hub", NAME, LARGE)
    assert "fetch void_pass2.safetensors of netflix/void-model" in told()
    assert told().endswith(f"aftermath models download {NAME}")
    put(tmp_path / "hub", NAME, "void_pass2.safetensors")
    assert engines.choose_engine(options)[0] is Engine.VOID
    (folder / "tokenizer" / "spiece.model").unlink()
    assert f"fetch tokenizer/spiece.model of {BASE}" in told()


def test_without_a_terminal_a_line_tells_now_and_then_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tell, now = commands._lines(), 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    for percent in range(101):  # 10 s each: ten of them take longer than the 30 s
        now = 10.0 * percent
        tell("a.safetensors", percent * 10**8, 10**10)
    tell("b.safetensors", 10**6, 10**6)  # what takes no time is not told of
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "a.safetensors: 3%, 0.3 of 10.0 GB"
    assert [line.split()[1] for line in lines[1:3]] == ["13%,", "23%,"] and len(lines) == 10


def test_who_leaves_while_it_tells_hears_no_complaint(environment: dict[str, str]) -> None:
    for words in (("models", "list"), ("--help",)):
        command = [sys.executable, "-m", "aftermath", *words]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == ("", 141)
        process.stderr.close()
