"""The reasoner that asks a vision-language model what else would be different."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from aftermath.core import Clip, Plan
from aftermath.errors import InputError, ReasonerError
from aftermath.media.runs import key_of, write_whole
from aftermath.reason.answer import answer_schema, read_answer
from aftermath.reason.clients import Client, Question
from aftermath.reason.prompt import question_text, shown_pictures

__all__ = ["VlmReasoner", "answers_folder"]

_TRIES = 2


def answers_folder() -> Path:
    """Where answers are kept: the same question to the same model is asked once."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "aftermath" / "answers"


class VlmReasoner:
    """Asks ``client``; says what is affected and roughly where, and leaves pixels and physics to others."""

    def __init__(
        self,
        client: Client,
        *,
        video: Callable[[], Path] | None = None,
        keep: Callable[[str, bytes], None] = lambda name, content: None,
        fresh: bool = False,
    ) -> None:
        """``video`` makes the clip as a file, for a model that sees films; ``keep`` is given everything that is sent
        and received, by name; ``fresh`` asks anew what was answered before."""
        self._client, self._video, self._keep, self._fresh = client, video, keep, fresh

    def plan(self, clip: Clip, primary: np.ndarray) -> Plan:
        """What the model says of ``primary``, boolean (T, H, W): a plan without paths, whose things have sightings.

        Asked once more with what was wrong where the answer cannot be used. Raises `ReasonerError`.
        """
        question = self._question(clip, primary)
        read = self._reader(clip)
        place = answers_folder() / f"{self._key(question)}.json"
        kept = None if self._fresh else _kept(place)
        if kept is not None:
            with contextlib.suppress(InputError):
                plan = read(kept)
                self._keep("answer_0.txt", kept.encode())
                return replace(
                    plan, notes=(*plan.notes, "the answer is one that was kept (--fresh asks anew)")
                )
        wrong: InputError | None = None
        for number in range(_TRIES):
            answer = self._client.ask(question)
            self._keep(f"answer_{number}.txt", answer.encode())
            try:
                plan = read(answer)
            except InputError as error:
                complaint = f"That cannot be used: {error}. Answer again, with the one JSON object alone."
                self._keep(f"complaint_{number}.txt", complaint.encode())
                question = replace(question, earlier=(*question.earlier, (answer or "(nothing)", complaint)))
                wrong = error
                continue
            with contextlib.suppress(
                OSError, InputError
            ):  # a home that cannot be written costs a request, not the run
                place.parent.mkdir(parents=True, exist_ok=True)
                write_whole(place, lambda part, answer=answer: part.write_text(json.dumps(answer), "utf-8"))
            return plan
        raise ReasonerError(f"{self._client.name}: no usable answer, asked twice: {wrong}")

    def _question(self, clip: Clip, primary: np.ndarray) -> Question:
        video = self._video() if self._video is not None and self._client.sees_video else None
        text = question_text(clip, primary, with_video=video is not None)
        pictures = tuple(shown_pictures(clip, primary))
        self._keep("question.md", text.encode())
        for picture in pictures:
            self._keep(picture.name, picture.jpeg)
        self._keep(
            "asked.json", json.dumps({"of": self._client.identity, "video": video is not None}).encode()
        )
        return Question(text, pictures, answer_schema(), video)

    def _key(self, question: Question) -> str:
        shown = [hashlib.sha256(picture.jpeg).hexdigest() for picture in question.pictures]
        return key_of(
            of=self._client.identity,
            text=question.text,
            pictures=shown,
            schema=question.schema,
            video=question.video and hashlib.sha256(question.video.read_bytes()).hexdigest(),
        )

    def _reader(self, clip: Clip) -> Callable[[str], Plan]:
        size = {"width": clip.source_width, "height": clip.source_height, "num_frames": len(clip)}
        return lambda text: read_answer(text, **size, reasoner=self._client.name)


def _kept(place: Path) -> str | None:
    """An answer that was kept; None where there is none that can be read."""
    try:
        answer = json.loads(place.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return answer if isinstance(answer, str) else None
