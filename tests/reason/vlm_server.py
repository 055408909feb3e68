"""A server on this machine that speaks both models' wire formats, and misbehaves as it is told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["Reply", "VlmServer", "serving"]

_PIECES = 7


@dataclass(frozen=True)
class Reply:
    """One answer. ``status`` other than 200 is an error with ``text`` as its message; ``cut`` ends the body after so
    many bytes; ``pause_s`` is waited before it; ``headers`` are added; ``raw`` is the body as it is; ``endless`` sends
    the text again and again, every ``pause_s``, until nobody listens."""

    text: str = ""
    status: int = 200
    cut: int | None = None
    pause_s: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    endless: bool = False


class VlmServer:
    """Gives its ``replies`` in turn, the last one for ever. ``asked`` holds every request's path and body."""

    def __init__(
        self,
        *replies: Reply,
        streams: bool = True,
        structured: bool = True,
        models: tuple[str, ...] = ("m",),
        film: str = "ACTIVE",
    ) -> None:
        self.replies, self.streams, self.structured, self.models = list(replies), streams, structured, models
        self.film = film
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.headers: list[dict[str, str]] = []
        self.uploaded: list[bytes] = []
        self.deleted: list[str] = []
        self.stopped = threading.Event()
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self.root = f"http://127.0.0.1:{self._server.server_port}"
        self.openai_url = f"{self.root}/v1"

    @property
    def questions(self) -> list[dict[str, Any]]:
        """The bodies of the requests for an answer."""
        return [body for path, body in self.asked if "chat/completions" in path or "enerateContent" in path]

    def next_reply(self) -> Reply:
        with self._lock:
            return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]

    def run(self) -> None:
        self._server.serve_forever(poll_interval=0.02)

    def stop(self) -> None:
        self.stopped.set()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def serving(*replies: Reply, **how: Any) -> Iterator[VlmServer]:
    """A server for as long as the context lasts."""
    server = VlmServer(*replies, **how)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is none."""


def _handler(vlm: VlmServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            if self.path.startswith("/v1/models"):
                listed = [
                    {"id": name, "object": "model", "created": 0, "owned_by": "us"} for name in vlm.models
                ]
                return self.send(200, json.dumps({"object": "list", "data": listed}).encode())
            if "/files/" in self.path:
                return self.send(200, json.dumps(self.file(vlm.film)).encode())
            return self.send(404, b"{}")

        def do_DELETE(self) -> None:
            vlm.deleted.append(self.path)
            self.send(200, b"{}")

        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.path.startswith("/upload/"):
                return self.upload(data)
            vlm.asked.append((self.path, json.loads(data or b"{}")))
            vlm.headers.append(dict(self.headers))
            body = vlm.asked[-1][1]
            if "response_format" in body and not vlm.structured:
                return self.error(400, "response_format is not supported")
            reply = vlm.next_reply()
            gemini = "enerateContent" in self.path
            frame = _gemini if gemini else _openai
            if reply.endless:
                return self.never_end(f"data: {json.dumps(frame(reply.text, True))}\n\n".encode(), reply)
            vlm.stopped.wait(reply.pause_s)
            if reply.raw is not None:
                return self.send(reply.status, reply.raw, reply)
            if reply.status != 200:
                return self.error(reply.status, reply.text, reply.headers)
            wanted = "streamGenerateContent" in self.path or body.get("stream", False)
            if not (wanted and vlm.streams):
                return self.send(200, json.dumps(frame(reply.text, False)).encode(), reply)
            step = max(1, -(-len(reply.text) // _PIECES))
            pieces = [reply.text[at : at + step] for at in range(0, len(reply.text), step)]
            events = [f"data: {json.dumps(frame(piece, True))}\n\n" for piece in pieces]
            if not gemini:
                events.append("data: [DONE]\n\n")
            return self.send(200, "".join(events).encode(), reply, "text/event-stream")

        def error(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
            body = {"error": {"message": message, "code": status, "status": "FAILED", "type": "fault"}}
            self.send(status, json.dumps(body).encode(), Reply(headers=headers or {}))

        def send(
            self, status: int, body: bytes, reply: Reply | None = None, kind: str = "application/json"
        ) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            for name, value in (reply.headers if reply else {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body[: reply.cut if reply else None])
            if reply and reply.cut is not None:
                self.close_connection = True

        def never_end(self, event: bytes, reply: Reply) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            self.close_connection = True
            while not vlm.stopped.wait(reply.pause_s):
                self.wfile.write(event)

        def upload(self, data: bytes) -> None:
            if "start" in self.headers.get("X-Goog-Upload-Command", ""):
                target = f"{vlm.root}/upload/v1beta/files?upload_id=1"
                return self.send(
                    200, b"{}", Reply(headers={"x-goog-upload-url": target, "x-goog-upload-status": "active"})
                )
            vlm.uploaded.append(data)
            done = json.dumps({"file": self.file("PROCESSING")}).encode()
            return self.send(200, done, Reply(headers={"x-goog-upload-status": "final"}))

        def file(self, state: str) -> dict[str, Any]:
            uri = f"{vlm.root}/v1beta/files/abc"
            return {"name": "files/abc", "uri": uri, "mimeType": "video/mp4", "state": state}

    return Handler


def _openai(text: str, part: bool) -> dict[str, Any]:
    kind, key = ("chat.completion.chunk", "delta") if part else ("chat.completion", "message")
    choice = {
        "index": 0,
        key: {"role": "assistant", "content": text},
        "finish_reason": None if part else "stop",
    }
    return {"id": "1", "object": kind, "created": 0, "model": "m", "choices": [choice]}


def _gemini(text: str, part: bool) -> dict[str, Any]:
    content = {"role": "model", "parts": [{"text": text}]}
    return {"candidates": [{"content": content, "index": 0, **({} if part else {"finishReason": "STOP"})}]}
