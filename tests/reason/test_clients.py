"""Both clients over real HTTP, with a server on this machine that behaves well or as badly as it is told."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from vlm_server import Reply, VlmServer, serving

from aftermath.errors import InputError, ReasonerError
from aftermath.reason import clients
from aftermath.reason.answer import LARGEST_ANSWER, answer_schema
from aftermath.reason.clients import Client, GeminiClient, OpenAiClient, Question
from aftermath.reason.prompt import Picture

openai = pytest.importorskip("openai", reason="the extra vlm is not installed")
pytest.importorskip("google.genai", reason="the extra vlm is not installed")

KEY = "sk-proj-0123456789-secret"
TEXT = 'héllo {"affected_objects": []} – 物\u2028.'
Make = Callable[..., Client]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key, and no patience between tries."""
    for name in ("AFTERMATH_VLM_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.setenv(name, KEY)
    for name in ("GOOGLE_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(clients, "_DELAY_S", 0.01)
    monkeypatch.setattr(clients, "_POLL_S", 0.01)
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)


@pytest.fixture(params=[OpenAiClient, GeminiClient], ids=["openai", "gemini"])
def make(request: pytest.FixtureRequest) -> Make:
    """A client of a server: ``make(server, model, timeout_s)``."""

    def build(server: VlmServer, model: str = "", timeout_s: float = 20) -> Client:
        url = server.openai_url if request.param is OpenAiClient else server.root
        return request.param(url, model, timeout_s=timeout_s)

    return build


def jpeg(shade: int) -> bytes:
    return cv2.imencode(".jpg", np.full((16, 16, 3), shade, np.uint8))[1].tobytes()


PICTURES = (Picture("a.jpg", "the first", jpeg(10)), Picture("b.jpg", "the second", jpeg(200)))
QUESTION = Question("What falls?", PICTURES, answer_schema())


@pytest.fixture
def films(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "clip.mp4"
    path.write_bytes(bytes(range(256)) * 8)
    yield path


def failure(
    make: Make, *replies: Reply, timeout_s: float = 20, **how: Any
) -> tuple[ReasonerError, VlmServer]:
    """The error of asking, which holds in every case: one short line, without the key and without a cause."""
    with serving(*replies, **how) as server, pytest.raises(ReasonerError) as raised:
        client = make(server, timeout_s=timeout_s)
        client.ask(QUESTION)
    error = raised.value
    assert str(error).startswith(client.name + ": ")
    assert str(error).isprintable()
    assert len(str(error)) < 700
    assert KEY not in str(error)
    assert error.__cause__ is None
    assert error.__suppress_context__
    return error, server


@pytest.mark.parametrize("streams", [True, False])
def test_the_answer_comes_whole(make: Make, streams: bool) -> None:
    with serving(Reply(TEXT), streams=streams) as server:
        assert make(server).ask(QUESTION) == TEXT
        assert len(server.questions) == 1


def test_it_is_read_as_it_comes_in(make: Make) -> None:
    with serving(Reply(TEXT)) as server:
        make(server).ask(QUESTION)
        (path, body), *_ = server.asked[-1:]
    assert body.get("stream") or "streamGenerateContent" in path


def test_openai_structured_output_is_asked_for_and_done_without() -> None:
    with serving(Reply(TEXT)) as server:
        OpenAiClient(server.openai_url).ask(QUESTION)
        (body,) = server.questions
    assert body["response_format"]["json_schema"]["schema"] == QUESTION.schema
    with serving(Reply(TEXT), structured=False) as server:
        assert OpenAiClient(server.openai_url).ask(QUESTION) == TEXT
        asked = server.questions
    assert ["response_format" in body for body in asked] == [True, False]


def test_gemini_is_told_the_schema() -> None:
    with serving(Reply(TEXT)) as server:
        GeminiClient(server.root).ask(QUESTION)
        (body,) = server.questions
    config = body["generationConfig"]
    assert config["responseMimeType"] == "application/json"
    assert config["responseJsonSchema"] == QUESTION.schema


def openai_parts(body: dict[str, Any]) -> list[str | bytes]:
    """What an OpenAI server got first: texts, and pictures as bytes."""
    return [
        part["text"] if part["type"] == "text" else base64.b64decode(part["image_url"]["url"].split(",")[1])
        for part in body["messages"][0]["content"]
    ]


def gemini_parts(body: dict[str, Any]) -> list[Any]:
    """The same of a Gemini server, with films; what was uploaded as it is."""
    return [
        part["text"]
        if "text" in part
        else base64.urlsafe_b64decode(part["inlineData"]["data"])
        if "inlineData" in part
        else part["fileData"]
        for part in body["contents"][0]["parts"]
    ]


def test_openai_gets_the_pictures() -> None:
    with serving(Reply(TEXT)) as server:
        OpenAiClient(server.openai_url).ask(QUESTION)
        parts = openai_parts(server.questions[0])
    assert parts == ["What falls?", "the first", PICTURES[0].jpeg, "the second", PICTURES[1].jpeg]
    assert isinstance(parts[4], bytes)
    assert abs(int(cv2.imdecode(np.frombuffer(parts[4], np.uint8), 1).mean()) - 200) < 3


def test_gemini_gets_the_pictures_and_the_film(films: Path) -> None:
    with serving(Reply(TEXT)) as server:
        GeminiClient(server.root).ask(Question(QUESTION.text, PICTURES, {}, films))
        parts = gemini_parts(server.questions[0])
        assert (server.uploaded, server.deleted) == ([], [])
    assert parts[:5] == ["What falls?", "the first", PICTURES[0].jpeg, "the second", PICTURES[1].jpeg]
    assert parts[-1] == films.read_bytes()


@pytest.mark.parametrize("reply", [Reply(TEXT), Reply("no", 400)])
def test_a_large_film_is_uploaded_and_deleted_again(
    films: Path, monkeypatch: pytest.MonkeyPatch, reply: Reply
) -> None:
    monkeypatch.setattr(clients, "_INLINE_BYTES", 100)
    with serving(reply) as server:
        try:
            GeminiClient(server.root).ask(Question(QUESTION.text, (), {}, films))
        except ReasonerError:
            assert reply.status == 400
        parts = gemini_parts(server.questions[0])
        assert b"".join(server.uploaded) == films.read_bytes()
        assert len(server.deleted) == 1
        assert server.deleted[0].endswith("/files/abc")
    assert (parts[-1].get("fileUri") or parts[-1]["file_uri"]).endswith("/v1beta/files/abc")


@pytest.mark.parametrize("state", ["FAILED", "PROCESSING"])
def test_a_film_that_is_never_ready_is_deleted_and_said(
    films: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    monkeypatch.setattr(clients, "_INLINE_BYTES", 100)
    with serving(Reply(TEXT), film=state) as server, pytest.raises(ReasonerError, match="film") as raised:
        GeminiClient(server.root, timeout_s=1).ask(Question(QUESTION.text, (), {}, films))
    assert not raised.value.lasting
    assert len(server.deleted) == 1
    assert server.questions == []


def test_earlier_answers_and_complaints_are_sent() -> None:
    again = Question("What falls?", (), {}, earlier=(("nothing", "say it in JSON"), ("{", "whole")))
    with serving(Reply(TEXT)) as server:
        OpenAiClient(server.openai_url).ask(again)
        GeminiClient(server.root).ask(again)
        chat, gemini = server.questions
    assert [(m["role"], m["content"]) for m in chat["messages"][1:]] == [
        ("assistant", "nothing"), ("user", "say it in JSON"), ("assistant", "{"), ("user", "whole")
    ]  # fmt: skip
    assert [(c["role"], c["parts"][0]["text"]) for c in gemini["contents"][1:]] == [
        ("model", "nothing"), ("user", "say it in JSON"), ("model", "{"), ("user", "whole")
    ]  # fmt: skip


@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_the_user_must_mend_lasts(make: Make, status: int) -> None:
    error, server = failure(make, Reply(f"you sent\n\x1b[31m{KEY}", status))
    assert error.lasting
    assert str(status) in str(error)
    assert "?" in str(error)
    assert len(server.questions) == 1


@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_is_refused_is_not_asked_for_ever(make: Make, status: int) -> None:
    error, server = failure(make, Reply(f"your key {KEY} " + "x" * 3_000, status))
    assert not error.lasting
    assert str(status) in str(error)
    assert len(server.questions) <= 2


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_waited_for(make: Make, status: int) -> None:
    busy = Reply("wait", status, headers={"retry-after": "0.02"})
    with serving(busy, busy, Reply(TEXT)) as server:
        assert make(server).ask(QUESTION) == TEXT
        assert len(server.questions) == 3


@pytest.mark.parametrize("status", [429, 500])
def test_a_server_that_stays_busy_is_given_up(make: Make, status: int) -> None:
    error, server = failure(make, Reply(f"down {KEY}", status, headers={"retry-after": "0.02"}))
    assert not error.lasting
    assert str(status) in str(error)
    assert len(server.questions) == 3


def test_a_slow_server_is_given_up(make: Make) -> None:
    error, _ = failure(make, Reply(TEXT, pause_s=30), timeout_s=0.2)
    assert not error.lasting
    assert "--vlm-timeout-s" in str(error)


def test_a_server_that_goes_on_slowly_for_ever_is_given_up(make: Make) -> None:
    error, _ = failure(make, Reply("x", endless=True, pause_s=0.02), timeout_s=0.3)
    assert "--vlm-timeout-s" in str(error)
    assert not error.lasting


def test_a_server_that_goes_on_fast_for_ever_is_given_up(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "_LARGEST_BODY", 1_000_000)
    error, _ = failure(make, Reply("x" * 20_000, endless=True))
    assert "no end" in str(error)
    assert not error.lasting


def test_an_endless_error_is_given_up(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "_LARGEST_BODY", 100_000)
    failure(make, Reply(raw=b"x" * 1_000_000, status=500))


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("size", [LARGEST_ANSWER + 1, 10_000_000])
def test_an_answer_that_is_too_long_is_refused(make: Make, streams: bool, size: int) -> None:
    error, _ = failure(make, Reply("x" * size), streams=streams)
    assert "too long" in str(error)
    assert not error.lasting


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("cut", [0, 1, 300])
def test_a_connection_that_is_cut_is_said(make: Make, cut: int, streams: bool) -> None:
    error, _ = failure(make, Reply("x" * 500, cut=cut), streams=streams)
    assert not error.lasting


@pytest.mark.parametrize("streams", [True, False])
def test_an_empty_answer_is_an_answer(make: Make, streams: bool) -> None:
    with serving(Reply(""), streams=streams) as server:
        assert make(server).ask(QUESTION) == ""


@pytest.mark.parametrize("raw", [b"{}", b'{"choices": [], "candidates": []}', b'{"choices": null}'])
def test_an_answer_without_any_choice_is_an_empty_one(make: Make, raw: bytes) -> None:
    with serving(Reply(raw=raw)) as server:
        assert make(server).ask(QUESTION) == ""


@pytest.mark.parametrize(
    "raw",
    [
        b"<html>Welcome to our hotel</html>",
        b"\xff\xfe\x00",
        b"{" * 100_000,
        b'{"choices": [{"message": {"content": {"a": 1}}}], "candidates": [{"content": 3}]}',
        b'{"choices": [3], "candidates": [3]}',
        b'data: {"choices": [{"del\n\n',
        b'data: {"choices": "x", "candidates": [3]}\n\n',
        b'data: {"error": {"message": "sk-proj-0123456789-secret\\nbroke", "code": 500}}\n\n',
    ],
    ids=range(8),
)
def test_what_is_no_answer_of_the_api_is_said(make: Make, raw: bytes) -> None:
    error, _ = failure(make, Reply(raw=raw))
    assert not error.lasting


def test_a_refused_connection_is_said(make: Make) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        server = VlmServer.__new__(VlmServer)
        server.root = f"http://127.0.0.1:{free.getsockname()[1]}"
        server.openai_url = f"{server.root}/v1"
    with pytest.raises(ReasonerError) as raised:
        make(server, "m").ask(QUESTION)
    assert not raised.value.lasting
    assert "refused" in str(raised.value)


def test_half_a_character_does_not_hurt(make: Make) -> None:
    with serving(Reply("a\ud800b")) as server:
        assert make(server).ask(QUESTION).encode() == b"a?b"


def test_the_key_goes_to_the_server_alone(make: Make) -> None:
    """Not even back out of an answer in which the server repeats what it was sent."""
    with serving(Reply(f"your key is {KEY}")) as server:
        client = make(server)
        assert KEY not in client.ask(QUESTION)
        assert KEY in json.dumps(server.headers)
        assert KEY not in json.dumps(server.asked)
        assert KEY not in repr(client.identity)


@pytest.mark.parametrize("at", range(440, 500, 7))
def test_no_half_of_the_key_is_shown_where_an_error_is_cut(make: Make, at: int) -> None:
    error, _ = failure(make, Reply("x" * at + KEY, 400))
    assert KEY[:6] not in str(error)


@pytest.mark.parametrize("said", [f"  {KEY}\n", f"{KEY}\r\n"])
def test_a_key_with_a_line_end_is_taken_without(
    make: Make, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    for name in ("AFTERMATH_VLM_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.setenv(name, said)
    with serving(Reply(TEXT)) as server:
        assert make(server).ask(QUESTION) == TEXT


@pytest.mark.parametrize("key", ["sk-ü-secret", "sk-\n-secret"])
def test_a_key_that_cannot_be_one_is_refused_unseen(
    make: Make, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    for name in ("AFTERMATH_VLM_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.setenv(name, key)
    with serving(Reply(TEXT)) as server, pytest.raises(InputError, match="_KEY") as refused:
        make(server)
    assert "secret" not in str(refused.value)


def test_without_a_key_only_a_server_of_ones_own_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AFTERMATH_VLM_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.setenv(name, " ")
    with pytest.raises(InputError, match="OPENAI_API_KEY"):
        OpenAiClient()
    with pytest.raises(InputError, match="GEMINI_API_KEY"):
        GeminiClient()
    with serving(Reply(TEXT)) as server:
        assert OpenAiClient(server.openai_url).ask(QUESTION) == TEXT
    monkeypatch.setenv("GOOGLE_API_KEY", KEY)
    with serving(Reply(TEXT)) as server:
        assert GeminiClient(server.root).ask(QUESTION) == TEXT


def test_an_address_must_be_one() -> None:
    with pytest.raises(InputError, match="http"):
        OpenAiClient("localhost:11434")
    with pytest.raises(InputError, match="http"):
        GeminiClient("localhost:11434")


def test_a_server_with_several_models_says_which() -> None:
    with serving(Reply(TEXT), models=("llava", f"qw\nen {KEY}")) as server:
        with pytest.raises(ReasonerError, match=r"--vlm-model.* llava, qw en") as raised:
            OpenAiClient(server.openai_url).ask(QUESTION)
        assert raised.value.lasting
        assert KEY not in str(raised.value)
        assert server.questions == []
        assert OpenAiClient(server.openai_url, "llava").ask(QUESTION) == TEXT
        assert server.questions[0]["model"] == "llava"
    with serving(Reply(TEXT), models=()) as server, pytest.raises(ReasonerError, match="none"):
        OpenAiClient(server.openai_url).ask(QUESTION)


def test_a_servers_only_model_is_asked(make: Make) -> None:
    with serving(Reply(TEXT), models=("our-own",)) as server:
        OpenAiClient(server.openai_url).ask(QUESTION)
        assert server.questions[0]["model"] == "our-own"


def test_gemini_asks_the_model_that_was_named() -> None:
    with serving(Reply(TEXT)) as server:
        GeminiClient(server.root, "gemini-x").ask(QUESTION)
        assert "models/gemini-x:" in server.asked[0][0]


def test_nothing_is_printed(
    make: Make, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GOOGLE_API_KEY", "another")
    with serving(Reply(TEXT)) as server:
        make(server).ask(QUESTION)
    failure(make, Reply("no", 500))
    assert capfd.readouterr() == ("", "")


def test_a_key_of_openais_is_not_sent_without_encryption(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AFTERMATH_VLM_KEY", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with serving(Reply("{}")) as server:
        OpenAiClient(server.openai_url, "m").ask(Question("?", (), {}))
        assert not any(KEY in value for headers in server.headers for value in headers.values())
    with pytest.raises(InputError, match="must not hold a password") as refused:
        OpenAiClient("https://me:hunter2@example.org/v1")
    assert "hunter2" not in str(refused.value)
