"""What a batch is to do: a folder of clips or a JSONL file, read and checked before anything is begun.

A folder::

    clips/
    ├── duck.mp4
    ├── duck.mask.mp4         white is the object (or a picture of frame 0: duck.mask.png)
    ├── ball.mov
    ├── ball.quadmask.mkv
    └── table/                a sequence folder: input_video.mp4, quadmask_0.mp4, prompt.json

A JSONL file has one job a line, an object with the arguments of `aftermath.remove` and the fields of `RemoveOptions`:
``{"clip": "duck.mp4", "boxes": ["18,84,62,132"], "out": "no-duck.mp4", "seed": 3}``. Files are named from where it
lies, ``out`` and ``work`` from the folder of the results.
"""

from __future__ import annotations

import inspect
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from aftermath.config import Codec, RemoveOptions
from aftermath.core import Plan
from aftermath.credentials import choose_signing
from aftermath.engines import choose_engine
from aftermath.errors import AftermathError, InputError
from aftermath.eyes import check_eyes
from aftermath.media.formats import check_name, recipe
from aftermath.media.runs import default_folder
from aftermath.media.video import probe
from aftermath.reasoners import check_reasoner
from aftermath.remove import remove
from aftermath.request import Request, path_given, read_request

__all__ = ["Job", "read_jobs"]

_VIDEOS = (".mp4", ".mov", ".mkv", ".m4v", ".webm", ".avi", ".mpg", ".mpeg", ".ts")
_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
_PROMPTS = {"boxes", "points", "text", "mask", "quadmask"}
_FILES = ("clip", "mask", "quadmask", "plan")
_MODELS = ("model", "segmenter_model", "text_model", "certificate", "key")  # files too, where they are here
_RUN = {"output", "options", "fresh", "models", "progress"}  # of `remove`, and not a clip's own
_BESIDE = re.compile(r"(?P<clip>.+)\.(?P<kind>mask|quadmask)")


@dataclass(frozen=True)
class Job:
    """One clip: where it was asked for, and what `remove` is given. All paths are absolute."""

    where: str
    clip: Path
    output: Path
    arguments: Mapping[str, Any]
    options: RemoveOptions

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.arguments.get("work") or default_folder(self.output)


def read_jobs(
    source: str | Path | Sequence[Mapping[str, Any]],
    results: Path,
    *,
    options: RemoveOptions,
    prompt: str = "",
    text: str = "",
    here: bool = True,
) -> list[Job]:
    """The jobs that a folder, a JSONL file or a list of objects means. ``options``, ``prompt`` and ``text`` serve where
    a job does not say otherwise. ``here``: they will run on this machine, so what they need must be on it.

    Raises `InputError`, with the line, for the first thing that cannot be: keys that are none, files that are not
    there, prompts outside the picture, one output for two jobs, an output that is an input.
    """
    base = Path.cwd()
    if isinstance(source, str | Path):
        path = path_given("source", source)
        base = (path if path.is_dir() else path.parent).absolute()
        told = _of_folder(path) if path.is_dir() else _of_file(path)
    else:
        told = ((f"job {number}", job) for number, job in enumerate(source, 1))
    jobs, requests = [], []
    for where, line in told:
        with _told(where):
            job = _job(where, line, base, results.absolute(), options, prompt, text)
            requests.append(_checked(job, here=here))
            jobs.append(job)
    if not jobs:
        raise InputError(
            f"{source}", "holds no clips", "a clip needs a mask beside it, such as a.mp4 and a.mask.mp4"
        )
    _check_together(jobs, requests, source if isinstance(source, str | Path) else None)
    return jobs


@contextmanager
def _told(where: str) -> Iterator[None]:
    """Say where something went wrong."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{where}: {error.value}", error.allowed, error.remedy) from error


def _of_file(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError as error:
        raise InputError(f"{path}", "no such file or folder", "check the name") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}", "must be a folder of clips, or text with a JSON object a line") from error
    for number, line in enumerate(lines, 1):
        where = f"{path.name} line {number}"
        if not line.strip():
            continue
        try:
            yield where, json.loads(line, object_pairs_hook=_once)
        except ValueError as error:
            raise InputError(f"{where}: {line.strip()[:60]}", f"must be one JSON object ({error})") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    told = dict(pairs)
    if len(told) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)} stands there twice")
    return told


def _of_folder(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    if (folder / "input_video.mp4").is_file():  # one sequence
        yield folder.absolute().name, {"clip": str(folder.absolute())}
        return
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    masks: dict[str, dict[str, str]] = {}
    for entry in entries:
        found = _BESIDE.fullmatch(entry.stem)
        if found and entry.is_file() and entry.suffix.lower() in (*_VIDEOS, *_PICTURES):
            masks.setdefault(found["clip"], {})[found["kind"]] = entry.name
    clips = [
        e for e in entries if e.is_file() and e.suffix.lower() in _VIDEOS and not _BESIDE.fullmatch(e.stem)
    ]
    for stem in masks.keys() - {clip.stem for clip in clips}:
        name = next(iter(masks[stem].values()))
        raise InputError(
            f"{folder / name}", f"there is no clip {stem} beside it", "name the mask after its clip"
        )
    for clip in clips:
        yield clip.name, {"clip": clip.name, **masks.get(clip.stem, {})}
    for entry in entries:
        if entry.is_dir() and (entry / "input_video.mp4").is_file():
            yield entry.name, {"clip": entry.name}


def _job(
    where: str,
    line: Any,
    base: Path,
    results: Path,
    options: RemoveOptions,
    prompt: str,
    text: str,
) -> Job:
    if not isinstance(line, Mapping):
        raise InputError(
            f"{str(line)[:60]}", "must be a JSON object", 'such as {"clip": "a.mp4", "boxes": [...]}'
        )
    unknown = [str(key) for key in line if key not in _keys()]
    if unknown:
        raise InputError(f"{unknown[0]!r}", "is no key of a job", f"the keys are {', '.join(_keys())}")
    if "clip" not in line:
        raise InputError("clip", "is missing", "name a video or a sequence folder")
    told = dict(line)
    for name in _FILES:
        if told.get(name) is not None:
            told[name] = base / path_given(name, told[name])
    own = {item.name: told.pop(item.name) for item in fields(RemoveOptions) if item.name in told}
    for name in _MODELS:
        if isinstance(own.get(name), str) and own[name] and (base / own[name]).exists():
            own[name] = str(base / own[name])
    settings = RemoveOptions(**(asdict(options) | own)) if own else options
    clip, out = told.pop("clip"), told.pop("out", None)
    if out is None:
        out = _named(clip.name if clip.is_dir() else clip.stem, settings.codec)
    if told.get("work") is not None:
        told["work"] = results / path_given("work", told["work"])
    if text and not _PROMPTS & told.keys() and not (clip / "quadmask_0.mp4").is_file():
        told["text"] = text
    told.setdefault("prompt", prompt)
    return Job(where, clip, results / path_given("out", out), told, settings)


@cache
def _keys() -> tuple[str, ...]:
    """What a line may say."""
    arguments = [name for name in inspect.signature(remove).parameters if name not in _RUN]
    return (arguments[0], "out", *arguments[1:], *(item.name for item in fields(RemoveOptions)))


def _named(stem: str, codec: Codec) -> str:
    """The result of a clip where nothing says how to name it; pictures go into a folder."""
    return stem + recipe(codec).suffixes[0]


def _checked(job: Job, *, here: bool) -> Request:
    asked = {name: value for name, value in job.arguments.items() if name != "work"}
    request = read_request(job.clip, **asked)
    check_name(job.output, job.options.codec)
    if here:
        _check_machine(job.options, words=bool(request.text))
        choose_signing(job.options, job.output)
    try:
        info = probe(request.clip)
    except AftermathError:  # no film: that clip will fail, and no other
        return request
    request.check_within(info.width, info.height)
    if request.plan is not None:
        Plan.check(request.plan, width=info.width, height=info.height)
    return request


@cache
def _check_machine(options: RemoveOptions, *, words: bool) -> None:
    choose_engine(options)
    check_eyes(options, words=words)
    check_reasoner(options)


def _check_together(jobs: Sequence[Job], requests: Sequence[Request], source: str | Path | None) -> None:
    """Raise `InputError` where jobs get in each other's way."""
    read = {
        _real(path): job.where for job, request in zip(jobs, requests, strict=True) for path in request.files
    }
    if source is not None and Path(source).is_file():
        read[_real(Path(source))] = "the list of jobs"
    written: dict[str, str] = {}
    for job in jobs:
        if _real(job.output) in read:
            whose = read[_real(job.output)]
            raise InputError(
                f"{job.where}: {job.output}",
                f"the output must not overwrite an input (of {whose})",
                "give another name with out, or -o another folder",
            )
        for path in (job.output, job.folder):
            other = written.setdefault(_real(path), job.where)
            if other != job.where:
                raise InputError(
                    f"{job.where}: {path}",
                    f"is written by {other} too",
                    "give one of them another name with out",
                )


def _real(path: Path) -> str:
    return os.path.realpath(path)
