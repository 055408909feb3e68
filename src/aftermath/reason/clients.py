"""Two ways to ask a vision-language model: Gemini, and whatever speaks OpenAI's chat completions (extra ``vlm``).

OpenAI's form is spoken by Ollama, vLLM, llama.cpp and LM Studio too, so that nothing need leave the building. Both
clients are the makers' own libraries, which wait and try again where a server is busy. Keys come from the environment,
and are taken out of everything that is raised.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from aftermath.errors import InputError, ReasonerError, extra_needed
from aftermath.reason.answer import LARGEST_ANSWER
from aftermath.reason.prompt import Picture

__all__ = ["Client", "GeminiClient", "OpenAiClient", "Question"]

_TRIES = 3
_DELAY_S = 0.5  # before the second try; then longer
_POLL_S = 0.5
_LARGEST_BODY = 80 * LARGEST_ANSWER  # bytes: streamed, every word comes in a frame of its own
_LONGEST_LINE = 500  # characters of an error
_INLINE_BYTES = 15_000_000  # a request to Gemini may be 20 MB; what is larger is uploaded first
_GEMINI_MODEL = "gemini-3-pro-preview"
_OPENAI_MODEL = "gpt-5-mini"
_GEMINI_KEYS = ("GEMINI_API_KEY", "GOOGLE_API_KEY")
_OPENAI_KEYS = ("AFTERMATH_VLM_KEY", "OPENAI_API_KEY")
_USER_MUST_ACT = (401, 403, 404)
_UNKNOWN_FORM = (400, 422, 501)  # what servers say that do not know structured output


@dataclass(frozen=True)
class Question:
    """What is asked. ``video``: the whole clip as a file, for a model that sees films; ``earlier``: answers that could
    not be used, each with what was wrong."""

    text: str
    pictures: tuple[Picture, ...]
    schema: dict[str, Any]
    video: Path | None = None
    earlier: tuple[tuple[str, str], ...] = ()


class Client(Protocol):
    """Someone who can be asked. Raises `ReasonerError` where no answer comes."""

    name: str
    sees_video: bool

    @property
    def identity(self) -> tuple[str, ...]:
        """Who answers: what an answer that is kept depends on."""
        ...

    def ask(self, question: Question) -> str:
        """The answer's text, of at most `LARGEST_ANSWER` characters."""
        ...


class OpenAiClient:
    """Chat completions at ``url``, at OpenAI's where that is empty. Raises `InputError` where something is missing."""

    name = "openai"
    sees_video = False

    def __init__(self, url: str = "", model: str = "", *, timeout_s: float = 120.0) -> None:
        if find_spec("openai") is None:
            raise InputError(
                "reasoner openai", extra_needed("it", "vlm"), "the reasoner motion needs nothing"
            )
        _check_address(url)
        # a key of OpenAI's is not for everybody on the way to a server without encryption
        self._key = _key(*_OPENAI_KEYS[: 1 if url.startswith("http://") else None])
        if not self._key and not url:
            raise InputError(
                "reasoner openai",
                f"must be given a key in the environment ({_OPENAI_KEYS[1]}), or --vlm-url of a server of your own",
            )
        self._url, self._model, self._timeout_s = url, model, timeout_s

    @property
    def identity(self) -> tuple[str, ...]:
        """See `Client.identity`."""
        return self.name, self._url, self._model

    def ask(self, question: Question) -> str:
        """See `Client.ask`. Structured output is asked for, and done without where the server does not know it."""
        import openai

        client = openai.OpenAI(
            base_url=self._url or None,
            api_key=self._key or "none",
            timeout=self._timeout_s,
            max_retries=_TRIES - 1,
            http_client=openai.DefaultHttpxClient(**_bounded(self._timeout_s)),
        )
        with _told_plainly(self.name, self._key), client:
            model = self._model or self._named(client)
            messages = _chat(question)
            form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": question.schema}}
            try:
                return self._answer(client, model=model, messages=messages, response_format=form)
            except openai.APIStatusError as error:
                if error.status_code not in _UNKNOWN_FORM:
                    raise
            return self._answer(client, model=model, messages=messages)

    def _named(self, client: Any) -> str:
        """The model of a server that has only one."""
        if not self._url:
            return _OPENAI_MODEL
        served = [model.id for model in client.models.list()]
        if len(served) == 1:
            return served[0]
        listed = ", ".join(served[:20]) or "none"
        raise ReasonerError(f"--vlm-model must name a model; the server has: {listed}", lasting=True)

    def _answer(self, client: Any, **request: Any) -> str:
        """One request, streamed where the server can: what comes late is waited for while more comes."""
        create = client.chat.completions.with_streaming_response.create
        with create(stream=True, **request) as response:
            return _usable(_completion(response.read()), self._key)


class GeminiClient:
    """Google's Gemini, which sees the whole film. Raises `InputError` where something is missing."""

    name = "gemini"
    sees_video = True

    def __init__(self, url: str = "", model: str = "", *, timeout_s: float = 120.0) -> None:
        if find_spec("google") is None or find_spec("google.genai") is None:
            raise InputError(
                "reasoner gemini", extra_needed("it", "vlm"), "the reasoner motion needs nothing"
            )
        _check_address(url)
        self._key = _key(*_GEMINI_KEYS)
        if not self._key:
            raise InputError(
                "reasoner gemini",
                f"must be given a key in the environment ({_GEMINI_KEYS[0]})",
                "or take --reasoner openai with --vlm-url of a server of your own, or --reasoner motion",
            )
        self._url, self._model, self._timeout_s = url, model or _GEMINI_MODEL, timeout_s

    @property
    def identity(self) -> tuple[str, ...]:
        """See `Client.identity`."""
        return self.name, self._url, self._model

    def ask(self, question: Question) -> str:
        """See `Client.ask`."""
        from google import genai
        from google.genai import types

        retry = types.HttpRetryOptions(attempts=_TRIES, initial_delay=_DELAY_S, max_delay=20, jitter=_DELAY_S)
        options = types.HttpOptions(
            base_url=self._url or None,
            timeout=round(1000 * self._timeout_s),
            retry_options=retry,
            client_args=_bounded(self._timeout_s),
        )
        config = types.GenerateContentConfig(
            response_mime_type="application/json", response_json_schema=question.schema
        )
        with (
            _told_plainly(self.name, self._key),
            genai.Client(api_key=self._key, vertexai=False, http_options=options) as client,
            self._film(client, question.video) as film,
        ):
            contents = _contents(question, film)
            pieces = client.models.generate_content_stream(
                model=self._model, contents=contents, config=config
            )
            return _usable("".join(piece.text or "" for piece in pieces), self._key)

    @contextlib.contextmanager
    def _film(self, client: Any, video: Path | None) -> Iterator[Any]:
        """The film as a part of the request: in it, or uploaded for as long as the request takes."""
        from google.genai import types

        if video is None:
            yield None
            return
        if video.stat().st_size <= _INLINE_BYTES:
            yield types.Part.from_bytes(data=video.read_bytes(), mime_type="video/mp4")
            return
        file = client.files.upload(file=video, config={"mime_type": "video/mp4"})
        try:
            ends = time.monotonic() + self._timeout_s
            while file.state == types.FileState.PROCESSING:
                if time.monotonic() > ends:
                    raise ReasonerError("the film that was uploaded is still not ready")
                time.sleep(_POLL_S)
                file = client.files.get(name=file.name)
            if file.state == types.FileState.FAILED:
                raise ReasonerError("the film that was uploaded cannot be read there")
            yield types.Part.from_uri(file_uri=file.uri, mime_type="video/mp4")
        finally:
            with contextlib.suppress(Exception):  # it goes by itself after two days
                client.files.delete(name=file.name)


def _chat(question: Question) -> list[dict[str, Any]]:
    """The question as messages of OpenAI's form; pictures inside."""
    content: list[dict[str, Any]] = [{"type": "text", "text": question.text}]
    for picture in question.pictures:
        url = "data:image/jpeg;base64," + base64.b64encode(picture.jpeg).decode()
        content += [
            {"type": "text", "text": picture.caption},
            {"type": "image_url", "image_url": {"url": url}},
        ]
    messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
    for answer, complaint in question.earlier:
        messages += [{"role": "assistant", "content": answer}, {"role": "user", "content": complaint}]
    return messages


def _contents(question: Question, film: Any) -> list[Any]:
    """The same in Gemini's form."""
    from google.genai import types

    parts: list[Any] = [types.Part.from_text(text=question.text)]
    for picture in question.pictures:
        parts += [
            types.Part.from_text(text=picture.caption),
            types.Part.from_bytes(data=picture.jpeg, mime_type="image/jpeg"),
        ]
    if film is not None:
        parts += [types.Part.from_text(text="The whole video:"), film]
    contents = [types.Content(role="user", parts=parts)]
    for answer, complaint in question.earlier:
        contents += [
            types.Content(role="model", parts=[types.Part.from_text(text=answer)]),
            types.Content(role="user", parts=[types.Part.from_text(text=complaint)]),
        ]
    return contents


def _check_address(url: str) -> None:
    if url and not url.startswith(("http://", "https://")):
        raise InputError(
            f"vlm-url {url!r}", "must begin with http:// or https://", "such as http://localhost:11434/v1"
        )
    if "@" in url.split("?")[0].removeprefix("https://").removeprefix("http://").split("/")[0]:
        raise InputError(
            "vlm-url",
            "must not hold a password: it is written down",
            f"give a key in {_OPENAI_KEYS[0]} instead",
        )


def _key(*names: str) -> str:
    """The first key that the environment has; empty for none. Raises `InputError` for what cannot be one."""
    name, key = next(((name, key) for name in names if (key := os.environ.get(name, "").strip())), ("", ""))
    if not (key.isascii() and key.isprintable()):  # the libraries would say so, and show it
        raise InputError(f"the key in {name}", "must be letters, digits and signs of ASCII alone")
    return key


def _bounded(timeout_s: float) -> dict[str, Any]:
    """What makes an httpx client whose responses end, however much or slowly the server goes on sending."""

    def bound(response: Any) -> None:
        response.stream = _bounded_stream(response.stream, timeout_s)

    return {"event_hooks": {"response": [bound]}}


def _bounded_stream(stream: Any, timeout_s: float) -> Any:
    ends = time.monotonic() + timeout_s

    class Bounded(type(stream)):  # of the kind that the library checks for: httpx's, or its successor's
        def __init__(self) -> None: ...

        def __iter__(self) -> Iterator[bytes]:
            size = 0
            for piece in stream:
                size += len(piece)
                if size > _LARGEST_BODY:
                    raise ReasonerError("the answer has no end; it was not read on")
                if time.monotonic() > ends:
                    raise ReasonerError(f"no whole answer within {timeout_s:g} s (--vlm-timeout-s)")
                yield piece

        def close(self) -> None:
            stream.close()

    return Bounded()


def _usable(text: str, key: str) -> str:
    """An answer that can be kept: not too long, without the key, and of whole characters."""
    if len(text) > LARGEST_ANSWER:
        raise ReasonerError(f"the answer is too long ({len(text)} characters)")
    return _without(key, text).encode("utf-8", errors="replace").decode()


def _without(key: str, text: str) -> str:
    return text.replace(key, "(the key)") if key else text


def _completion(body: bytes) -> str:
    """The text in a chat completion: streamed as events, or whole from a server that does not stream."""
    text = body.decode("utf-8", errors="replace")
    # not splitlines: JSON may hold line separators of Unicode as they are
    lines = [line.removeprefix("data:").strip() for line in text.split("\n") if line.startswith("data:")]
    try:
        events = [json.loads(line) for line in lines or [text] if line and line != "[DONE]"]
        for event in events:
            if event.get("error"):
                raise ReasonerError(f"the server broke off: {_message(event['error'])}")
        choices = [choice for event in events for choice in event.get("choices") or []]
        return "".join(_content(choice) for choice in choices if choice.get("index", 0) == 0)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ReasonerError("what came is no chat completion, or half of one") from error


def _content(choice: dict[str, Any]) -> str:
    return (choice.get("delta") or choice.get("message") or {}).get("content") or ""


def _message(error: Any) -> str:
    return str(error.get("message") if isinstance(error, dict) else error)


@contextlib.contextmanager
def _told_plainly(name: str, key: str) -> Iterator[None]:
    """Raise what the libraries raise as one line of `ReasonerError`, without the key."""
    try:
        yield
    except InputError:
        raise
    except ReasonerError as error:
        raise ReasonerError(f"{name}: {_line(str(error), key)}", lasting=error.lasting) from None
    except Exception as error:  # theirs have no common base, and httpx's come through
        code = getattr(error, "status_code", None) or getattr(error, "code", None)
        said = _line(_said(error), key) or type(error).__name__
        remedy = {
            401: "; is the key right?",
            403: "; may the key do that?",
            404: "; is the name of the model (--vlm-model) or the address (--vlm-url) right?",
        }.get(code if isinstance(code, int) else 0, "")
        if "Timeout" in type(error).__name__:
            remedy = "; --vlm-timeout-s says how long to wait"
        answered = f"it answered {code}: {said}" if isinstance(code, int) else said
        # without their error as the cause: a traceback would show the request with its headers
        raise ReasonerError(f"{name}: {answered}{remedy}", lasting=code in _USER_MUST_ACT) from None


def _said(error: Exception) -> str:
    """The gist of an error."""
    body = getattr(error, "body", None)
    message = body.get("message") if isinstance(body, dict) else getattr(error, "message", None)
    cause = error.__cause__
    if isinstance(cause or error, json.JSONDecodeError):
        return "what came is not in the API's form, or half of it"
    if cause is not None and str(cause) and getattr(error, "status_code", None) is None:
        return str(cause)  # "Connection error." says less
    return str(message or error)


def _line(text: str, key: str) -> str:
    """One short line, without the key; that goes first, for half of it is too much as well."""
    text = " ".join("".join(c if c.isprintable() else " " for c in _without(key, text)).split())
    return text[:_LONGEST_LINE]
