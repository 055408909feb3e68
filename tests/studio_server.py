"""A studio as a real server on loopback, and a real Chromium in front of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
HALF_PX = 336  # half of the examples' width: what they show is found at that size too, in half the time


@dataclass
class Answer:
    """What the server said."""

    code: int
    body: bytes
    headers: dict[str, str]

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Server:
    """``aftermath studio`` as a process of its own."""

    workspace: Path
    environment: dict[str, str]
    words: tuple[str, ...] = ()
    process: subprocess.Popen[str] | None = None
    address: str = ""
    told: list[str] = field(default_factory=list)

    @property
    def command(self) -> list[str]:
        if self.words[:1] == ("app.py",):  # the hosted demo
            return [sys.executable, str(EXAMPLES.parent / "app.py")]
        own = [sys.executable, "-m", "aftermath", "studio", *self.words]
        return [*own, "--port", "0", "--no-browser", "--workspace", str(self.workspace)]

    def start(self) -> Server:
        self.process = subprocess.Popen(
            self.command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.environment,
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.told.append(line)
            found = re.search(r"http://\S+", line)
            if found:
                self.address = found[0]
                return self
        raise AssertionError("".join(self.told))

    def stop(self, kind: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(kind)
        assert self.process.stdout is not None
        self.told.append(self.process.stdout.read())
        return self.process.wait(120)

    def ask(
        self, path: str, method: str = "GET", body: Any = None, headers: dict[str, str] | None = None
    ) -> Answer:
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, headers or {}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=200) as answer:
                return Answer(answer.status, answer.read(), dict(answer.headers))
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.read(), dict(error.headers))

    def upload(self, name: str, content: bytes) -> Answer:
        from urllib.parse import quote

        return self.ask(f"/studio/api/projects?name={quote(name)}", "POST", content)

    def state(self, project: str) -> Any:
        return self.ask(f"/studio/api/projects/{project}").json()

    def wait(self, project: str, until: Callable[[Any], bool], seconds: float = 400) -> Any:
        """The state of a project once ``until`` is true of it."""
        end = time.monotonic() + seconds
        while not until(state := self.state(project)):
            assert time.monotonic() < end, state
            time.sleep(0.2)  # to be asked costs the server as much as a small job
        return state


def ended(state: Any) -> bool:
    """Whether nothing is done or waits to be."""
    return all(job["state"] not in ("waiting", "running") for job in state["jobs"])


def studio_environment(home: Path) -> dict[str, str]:
    """The environment of a fresh account."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("UV_RUN")}
    return {**ours, "HOME": str(home), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


@pytest.fixture(scope="session")
def new_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Start a server: ``new_server(*words, workspace=...)``. All are stopped in the end."""
    pytest.importorskip("gradio", reason="the extra studio is not installed")
    made: list[Server] = []

    def start(*words: object, workspace: Path | None = None, **environment: str) -> Server:
        folder = workspace or tmp_path_factory.mktemp("workspace")
        told = studio_environment(tmp_path_factory.mktemp("home")) | environment
        made.append(Server(folder, told, tuple(map(str, words))))
        return made[-1].start()

    yield start
    for server in made:
        if server.process is not None and server.process.poll() is None:
            server.process.kill()
            server.process.wait()
        if server.process is not None and server.process.stdout is not None:
            server.process.stdout.close()


@pytest.fixture(scope="session")
def server(new_server: Callable[..., Server]) -> Server:
    """One that several tests share, each with projects of its own: to start one takes longer than most of them do."""
    return new_server("--upload-gb", "0.01", "--analysis-long-side-px", HALF_PX)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """The browser."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no chromium here (Debian's package chromium)")
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()
