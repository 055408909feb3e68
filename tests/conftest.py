"""Fixtures for tests of the whole program: small clips, and the command line as a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import cache_from_source
from pathlib import Path

# before NumPy and torch are loaded: on small arrays threads only wait for each other, and other tests run beside
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings

from small_clip import write_scene

# a machine that is busy fails no test
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

pytest_plugins = ["studio_server"]

Cli = Callable[..., subprocess.CompletedProcess[str]]


def pytest_configure(config: pytest.Config) -> None:
    """Ctrl-C works in what is started here; and packages that lie uncompiled are compiled once for all processes.

    Where Python may not write beside them, a process that imports diffusers would otherwise compile 3000 modules before
    its first line, which takes longer than what it is started for. A usual installation has its bytecode; this gives
    these tests the same.
    """
    # a shell's background job ignores it, and so would whatever it starts
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if sys.dont_write_bytecode and not Path(cache_from_source(pytest.__file__)).exists():
        compiled = config.rootpath / ".pytest_cache" / "d" / "bytecode"
        sys.pycache_prefix, sys.dont_write_bytecode = str(compiled), False
        os.environ["PYTHONPYCACHEPREFIX"] = str(compiled)
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.fixture(scope="session", autouse=True)
def config_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Where the self-made certificate of a test run lies: not in the tester's own folder. All sign with the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        yield


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Torch on one thread: for small arrays threads would only wait for each other."""
    torch = pytest.importorskip("torch", reason="the extra void is not installed")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def make_clip(tmp_path: Path) -> Callable[..., Path]:
    """Write the scene: ``make_clip(name, width, height, num_frames)``."""

    def make(name: str = "clip.mp4", *size: int) -> Path:
        write_scene(tmp_path / name, *size)
        return tmp_path / name

    return make


@pytest.fixture
def clip(make_clip: Callable[..., Path]) -> Path:
    """The scene at 160x120, 12 frames."""
    return make_clip()


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The environment of a fresh account, but for its certificate."""
    home = tmp_path / "home"
    home.mkdir()
    ours = {name: value for name, value in os.environ.items() if not name.startswith("UV_RUN")}
    # torch's threads would only wait for each other: the models are tiny, and other tests run beside
    return {**ours, "HOME": str(home), "PYTHONWARNINGS": "error", "COLUMNS": "200", "OMP_NUM_THREADS": "1"}


@pytest.fixture
def cli(environment: dict[str, str]) -> Cli:
    """Run the command line as a process of its own."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "aftermath", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)

    return run


@pytest.fixture
def cli_here(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Cli]:
    """Run the command line in this process: starting one takes longer than most commands do."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        from aftermath.cli import main

        words = [str(argument) for argument in arguments]
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            main(words)
        assert isinstance(left.value.code, int)
        return subprocess.CompletedProcess(words, left.value.code, *capfd.readouterr())

    handlers = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)}
    yield run
    for kind, handler in handlers.items():
        signal.signal(kind, handler)
