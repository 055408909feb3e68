"""The server: the studio's addresses and Gradio's page in one application, behind the guard."""

from __future__ import annotations

import contextlib
import inspect
import os
import socket
import threading
import webbrowser
from collections.abc import AsyncIterator, Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from aftermath.config import RemoveOptions
from aftermath.errors import InputError, WeightsError, extra_needed
from aftermath.studio.document import Choices
from aftermath.studio.limits import Limits
from aftermath.studio.studio import Studio
from aftermath.studio.workspace import Workspace, default_workspace

__all__ = ["build_app", "serve"]

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def build_app(studio: Studio, *, password: str = "", open_hosts: bool = False, framed: bool = False) -> Any:
    """The ASGI application. ``open_hosts``: it may be spoken to under any name; see `aftermath.studio.guard.Guard`."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    with _no_stubs():
        import gradio as gr
    from fastapi import FastAPI
    from starlette.middleware.gzip import GZipMiddleware
    from starlette.staticfiles import StaticFiles

    from aftermath.studio.api import add_errors, build_router
    from aftermath.studio.guard import Guard
    from aftermath.studio.page import STATIC, build_page, style

    @contextlib.asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        studio.queue.start()
        try:
            yield
        finally:
            studio.closing = True
            studio.queue.close()

    app = FastAPI(lifespan=life, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(GZipMiddleware, minimum_size=2000, compresslevel=1)
    add_errors(app)
    app.include_router(build_router(studio))
    app.mount("/studio/static", StaticFiles(directory=STATIC))
    css = (STATIC / "page.css").read_text(encoding="utf-8")
    app = gr.mount_gradio_app(
        app,
        build_page(),
        path="/",
        theme=style(),
        css=css,
        footer_links=[],
        ssr_mode=False,
        enable_monitoring=False,
        show_error=False,
    )
    return Guard(app, password=password, hosts=() if open_hosts else _LOOPBACK, framed=framed)


def serve(
    clip: Path | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    password: str = "",
    workspace: Path | None = None,
    browser: bool = True,
    public: bool = False,
    limits: Limits | None = None,
    options: RemoveOptions | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """Serve the studio until it is stopped.

    ``host``: other than this machine alone it needs a ``password``, unless it is ``public``: a hosted demo, where
    everybody is a stranger to everybody. ``options``: what a new project begins with, and what a browser may not set:
    models by folder, a language model's server, a certificate. ``port``: 0 for any. ``say`` is told the address once it
    answers. Raises `InputError` for what cannot be, `WeightsError` where Gradio is not installed.
    """
    if find_spec("gradio") is None:
        raise WeightsError(extra_needed("the studio", "studio"))
    if host not in _LOOPBACK and not password and not public:
        raise InputError(
            f"host {host}",
            "must not be reached by others without a password",
            "add --password, or leave --host away",
        )
    base = options or RemoveOptions()
    projects = Workspace(workspace or default_workspace(), limits or Limits(), Choices.of(base))
    studio = Studio(projects, base, public=public)
    if clip is not None:
        studio.opened = studio.open(clip)
    with _bound(host, port) as listening:
        import uvicorn

        app = build_app(studio, password=password, open_hosts=host not in _LOOPBACK, framed=public)
        address = _address(listening, host)
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=3, ws="none")
        server = _server(config, lambda: _ready(address, browser, say), studio)
        server.run(sockets=[listening])


@contextlib.contextmanager
def _no_stubs() -> Iterator[None]:
    """Gradio, imported here, writes no type stubs beside its components.

    It parses its own source for them at every start: half of the time until the studio answers. It leaves out a
    component whose file it cannot find, so meanwhile it finds none.
    """
    found = inspect.getfile

    def getfile(thing: Any) -> str:
        if type(thing).__module__ == "gradio.component_meta":
            raise OSError("no stubs")
        return found(thing)

    inspect.getfile = getfile
    try:
        yield
    finally:
        inspect.getfile = found


def _ready(address: str, browser: bool, say: Callable[[str], None]) -> None:
    say(address)
    if browser:
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()


def _server(config: Any, ready: Callable[[], None], studio: Studio) -> Any:
    """One that says when it answers; a class in a function, since uvicorn comes with an extra."""
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                ready()

        def handle_exit(self, sig: int, frame: Any) -> None:
            studio.closing = True  # streams of news end, or the server would wait for them
            super().handle_exit(sig, frame)

    return Server(config)


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise InputError(
            f"port {port} of {host}", f"cannot be used ({error.strerror})", "give another with --port"
        ) from error
    return listening


def _address(listening: socket.socket, host: str) -> str:
    shown = f"[{host}]" if ":" in host else ("127.0.0.1" if host == "0.0.0.0" else host)
    return f"http://{shown}:{listening.getsockname()[1]}"
