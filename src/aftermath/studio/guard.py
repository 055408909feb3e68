"""Who may ask what: nothing foreign, nothing without the password, nothing of Gradio's that the page does not need.

A plain ASGI layer before everything else, so that no route can be forgotten.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

__all__ = ["Guard"]

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
# What the page loads, and what is ours. Gradio's own doors to files, uploads, other servers and functions stay shut.
_OPEN = re.compile(
    r"/|/studio/(api|static)/.*|/assets/.*|/static/.*|/theme\.css|/favicon\.ico|/manifest\.json|/robots\.txt"
)
# Gradio makes its templates from text, which wants unsafe-eval; nothing from elsewhere is let in by that.
_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; style-src 'self' 'unsafe-inline'; "
    "script-src 'self' 'unsafe-inline' 'unsafe-eval'; font-src 'self' data:; connect-src 'self'; object-src 'none'; "
    "frame-ancestors 'self'; base-uri 'self'; form-action 'self'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


class Guard:
    """``app``: the ASGI application behind it. ``password``: asked for by HTTP Basic, with any name; empty for none.
    ``hosts``: names under which the server may be spoken to; empty for any (a proxy or a password stands before it).
    ``framed``: other sites may show it in a frame, as the hub does with its Spaces."""

    def __init__(
        self, app: Any, *, password: str = "", hosts: Iterable[str] = _LOOPBACK, framed: bool = False
    ) -> None:
        self._app, self._password, self._hosts = app, password, frozenset(hosts)
        policy = _POLICY.replace("frame-ancestors 'self'; ", "") if framed else _POLICY
        self._headers = [(k.encode(), v.encode()) for k, v in (_HEADERS | {_FIRST: policy}).items()]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return  # nothing here speaks over web sockets
        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        refused = self._refusal(scope["method"], scope["path"], headers)
        if refused is not None:
            await _answer(send, *refused, more=self._headers)
            return

        async def dressed(message: Any) -> None:
            if message["type"] == "http.response.start":
                own = {name for name, _ in self._headers}
                kept = [pair for pair in message.get("headers", []) if pair[0].lower() not in own]
                message = {**message, "headers": [*kept, *self._headers]}
            await send(message)

        await self._app(scope, receive, dressed)

    def _refusal(
        self, method: str, path: str, headers: dict[str, str]
    ) -> tuple[int, str, dict[str, str]] | None:
        host = headers.get("host", "")
        if self._hosts and _name(host) not in self._hosts:
            return 403, "this server is not spoken to under that name", {}  # another site's name led here
        origin = headers.get("origin")
        if origin is not None and (origin == "null" or urlsplit(origin).netloc != host):
            return 403, "requests from other sites are refused", {}
        site = headers.get("sec-fetch-site", "none")
        if site not in ("none", "same-origin") and not (
            method == "GET" and headers.get("sec-fetch-mode") == "navigate"
        ):
            return 403, "requests from other sites are refused", {}
        if self._password and not self._known(headers.get("authorization", "")):
            return 401, "the password, please", {"www-authenticate": 'Basic realm="aftermath studio"'}
        if not _OPEN.fullmatch(path):
            return 404, "there is nothing here", {}
        return None

    def _known(self, authorization: str) -> bool:
        kind, _, told = authorization.partition(" ")
        try:
            password = base64.b64decode(told, validate=True).decode().partition(":")[2]
        except ValueError:
            return False
        return kind.lower() == "basic" and hmac.compare_digest(password.encode(), self._password.encode())


_FIRST = "content-security-policy"


def _name(host: str) -> str:
    """The host without its port."""
    return (urlsplit(f"//{host}").hostname or "") if host else ""


async def _answer(send: Any, code: int, text: str, headers: dict[str, str], more: list[Any]) -> None:
    body = text.encode()
    told = {"content-type": "text/plain; charset=utf-8", "content-length": str(len(body))} | headers
    pairs = [(k.encode(), v.encode()) for k, v in told.items()]
    await send({"type": "http.response.start", "status": code, "headers": [*pairs, *more]})
    await send({"type": "http.response.body", "body": body})
