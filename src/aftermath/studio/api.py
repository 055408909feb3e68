"""What the page asks of the server: JSON, frames as JPEG, the quadmask as bytes, and a stream of news.

Every address begins with /studio/api. Names in addresses are checked against what there is; none of them is a path.
"""

from __future__ import annotations

import asyncio
import functools
import json
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from aftermath.errors import AftermathError, InputError
from aftermath.media.runs import Stage, write_whole
from aftermath.media.video import read_frames
from aftermath.segment.base import Prompts
from aftermath.studio.frames import jpeg
from aftermath.studio.painting import between
from aftermath.studio.project import Project
from aftermath.studio.queue import State
from aftermath.studio.studio import Studio
from aftermath.studio.work import Kind

__all__ = ["add_errors", "build_router"]

_JSON_BYTES = 4 * 2**20
_LEVELS_BYTES = 64 * 2**20
_NEWS_S = 0.2  # how often news are looked for
_MOST_THUMBNAILS = 60
_KEEP = {"cache-control": "private, max-age=3600"}  # the address changes with the content
_FRESH = {"cache-control": "no-store"}


def add_errors(app: FastAPI) -> None:
    """Tell what was wrong in one line, as JSON: 400 for what was asked, 404 for what is not there."""

    @app.exception_handler(AftermathError)
    async def _(request: Request, error: Exception) -> Response:
        return JSONResponse({"error": str(error)}, 400 if isinstance(error, InputError) else 500)

    @app.exception_handler(KeyError)
    @app.exception_handler(IndexError)
    async def _(request: Request, error: Exception) -> Response:
        return JSONResponse({"error": "there is no such thing here"}, 404)


def build_router(studio: Studio) -> APIRouter:
    """The addresses of one studio."""
    router = APIRouter(prefix="/studio/api")
    get, workspace, queue = studio.workspace.get, studio.workspace, studio.queue

    @router.get("/projects")
    def projects() -> Any:
        listed = [] if studio.public else [_told(studio, one) for one in workspace.all()]
        opened = studio.opened.id if studio.opened else None
        return {
            "projects": listed,
            "examples": sorted(studio.examples),
            "opened": opened,
            "upload_bytes": studio.limits.num_bytes,
        }

    @router.post("/projects")
    async def upload(request: Request, name: str) -> Any:
        length = request.headers.get("content-length", "")
        number = int(length) if length.isdigit() else None
        await run_in_threadpool(studio.sweep)
        made = await workspace.receive(name[:200], request.stream(), number)
        queue.add(made.id, Kind.READ)
        return studio.state(made)

    @router.post("/examples/{name}")
    def example(name: str) -> Any:
        made = studio.open_example(name)
        return studio.state(made)

    @router.get("/examples/{name}/picture")
    def example_picture(name: str) -> Response:
        return Response(_first_picture(studio.examples[name]), media_type="image/jpeg", headers=_KEEP)

    @router.get("/projects/{project_id}")
    def state(project_id: str) -> Any:
        return studio.state(get(project_id))

    @router.patch("/projects/{project_id}")
    async def edit(project_id: str, request: Request) -> Any:
        project, changes = get(project_id), await _json(request)
        return await run_in_threadpool(lambda: studio.edit(project, changes))

    @router.delete("/projects/{project_id}")
    def forget(project_id: str) -> Any:
        project = get(project_id)
        queue.stop(project.id)
        workspace.forget(project)
        return {}

    @router.get("/projects/{project_id}/events")
    async def events(project_id: str, request: Request) -> Response:
        project = get(project_id)
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(_news(studio, project, request), 200, headers, "text/event-stream")

    @router.get("/projects/{project_id}/frames/{side}/{frame}")
    def picture(project_id: str, side: str, frame: int, width: int = 0) -> Response:
        shown = _picture(get(project_id), side, frame)
        return Response(jpeg(shown, min(max(width, 0), 4096)), media_type="image/jpeg", headers=_KEEP)

    @router.get("/projects/{project_id}/strip")
    def strip(project_id: str, count: int = 8) -> Response:
        shown = _strip(get(project_id), min(max(count, 1), _MOST_THUMBNAILS))
        return Response(shown, media_type="image/jpeg", headers=_KEEP)

    @router.get("/projects/{project_id}/levels/{frame}")
    def levels(project_id: str, frame: int) -> Response:
        values = get(project_id).levels(frame)
        return Response(values.tobytes(), media_type="application/octet-stream", headers=_FRESH)

    @router.put("/projects/{project_id}/levels/{frame}")
    async def paint(project_id: str, frame: int, request: Request) -> Any:
        project, body = get(project_id), await _body(request, _LEVELS_BYTES)
        before = project.before
        if before is None or len(body) != before.shape[0] * before.shape[1]:
            raise InputError("the painted frame", "must be a byte a pixel, at the size that is analysed")
        values = np.frombuffer(body, np.uint8).reshape(before.shape[:2])
        await run_in_threadpool(lambda: project.paint(frame, values))
        return project.painted()

    @router.delete("/projects/{project_id}/levels/{frame}")
    def unpaint(project_id: str, frame: int) -> Any:
        project = get(project_id)
        project.unpaint(frame)
        return project.painted()

    @router.post("/projects/{project_id}/between")
    async def fill(project_id: str, request: Request) -> Any:
        project, asked = get(project_id), await _json(request)
        first, last = _whole(asked, "first"), _whole(asked, "last")
        await run_in_threadpool(lambda: _paint_between(project, first, last))
        return project.painted()

    @router.post("/projects/{project_id}/click")
    async def click(project_id: str, request: Request) -> Response:
        project, asked = get(project_id), await _json(request)
        frame, document = _whole(asked, "frame"), project.document.edited(asked.get("document", {}))
        prompts = document.prompts()
        here = Prompts(
            tuple(box for box in prompts.boxes if box.frame == frame),
            tuple(point for point in prompts.points if point.frame == frame),
        )
        mask = await run_in_threadpool(lambda: studio.clicks.mask(project, here, frame))
        return Response(mask.tobytes(), media_type="application/octet-stream", headers=_FRESH)

    @router.post("/projects/{project_id}/run/{kind}")
    def run(project_id: str, kind: Kind) -> Any:
        project = get(project_id)
        if kind is not Kind.READ and not project.document.pointed:
            raise InputError("the object", "nothing says what to remove", "click on it, or draw a box")
        queue.add(project.id, kind)
        return studio.state(project)

    @router.post("/projects/{project_id}/stop")
    def stop(project_id: str) -> Any:
        project = get(project_id)
        queue.stop(project.id)
        return studio.state(project)

    @router.get("/projects/{project_id}/files/{what}")
    def download(project_id: str, what: str) -> Response:
        project = get(project_id)
        path, suffix = _file(project, what)
        headers = (
            {}
            if what in ("sheet", "matches")
            else {"content-disposition": _attachment(project, what, suffix)}
        )
        return FileResponse(path, headers=headers | _FRESH)

    return router


async def _news(studio: Studio, project: Project, request: Request) -> AsyncIterator[str]:
    """The state of a project whenever it differs from what was told last."""
    told, seen, quiet = "", None, 0.0
    while not await request.is_disconnected() and not studio.closing:
        stamp = studio.stamp(project)
        if stamp != seen:
            seen = stamp
            try:
                state = await run_in_threadpool(lambda: json.dumps(studio.state(project)))
            except AftermathError:
                return  # it was thrown away
            if state != told:
                told, quiet = state, 0.0
                yield f"data: {state}\n\n"
        elif quiet > 10:
            quiet = 0.0
            yield ": still here\n\n"
        await asyncio.sleep(_NEWS_S)
        quiet += _NEWS_S


def _told(studio: Studio, project: Project) -> dict[str, Any]:
    """A project in the list of all: how it stands with it is what its last job says, or whether there is a result."""
    last = next((job.state for job in studio.queue.of(project.id)[-1:] if job.state is not State.DONE), None)
    stands = last or ("made" if project.result is not None else "")
    return {
        "id": project.id,
        "name": project.document.name,
        "stands": stands,
        "read": project.before is not None,
    }


@functools.lru_cache(maxsize=16)
def _first_picture(clip: Path) -> bytes:
    """A film's twentieth frame, where something happens already, or its last."""
    shown = None
    for frame in read_frames(clip):
        shown = frame
        if frame.index == 20:
            break
    if shown is None:
        raise KeyError(clip.name)
    return jpeg(shown.rgb(), 360)


async def _body(request: Request, limit: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise InputError("the request", f"must hold {limit} bytes at most")
    return bytes(body)


async def _json(request: Request) -> dict[str, Any]:
    try:
        asked = json.loads(await _body(request, _JSON_BYTES))
    except ValueError as error:
        raise InputError("the request", "must be JSON") from error
    if not isinstance(asked, dict):
        raise InputError("the request", "must be an object")
    return asked


def _whole(asked: dict[str, Any], name: str) -> int:
    value = asked.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(name, "must be a whole number")
    return value


def _picture(project: Project, side: str, frame: int) -> np.ndarray:
    """A frame of one side; ``difference``: how far the two are apart, eight times as bright."""
    before, after = project.before, project.after
    if before is None or (side != "before" and after is None):
        raise IndexError(frame)
    if side == "before":
        return before.read(frame)
    assert after is not None
    if side == "after":
        return after.read(frame)
    if side != "difference":
        raise KeyError(side)
    apart = np.abs(before.read(frame).astype(np.int16) - after.read(frame)).astype(np.uint16)
    return np.minimum(8 * apart, 255).astype(np.uint8)


def _strip(project: Project, count: int) -> bytes:
    """Thumbnails side by side, at even distances."""
    before = project.before
    if before is None:
        raise IndexError(0)
    height, width = before.shape[:2]
    size = max(1, round(width * 64 / height)), 64
    chosen = [round(t) for t in np.linspace(0, before.num_frames - 1, count)]
    return jpeg(np.hstack([cv2.resize(before.read(t), size, interpolation=cv2.INTER_AREA) for t in chosen]))


def _paint_between(project: Project, first: int, last: int) -> None:
    painted = project.painted_frames()
    if first not in painted or last not in painted or last - first < 2:
        raise InputError("first and last", "must be painted frames with others between them")
    start, end = project.levels(first), project.levels(last)
    for frame in range(first + 1, last):
        project.paint(frame, between(start, end, (frame - first) / (last - first)))


_FILES = {
    "quadmask": ("quadmask.mkv", ".quadmask.mkv"),
    "matches": ("run/matches.png", ".matches.png"),
    "sheet": (f"run/{Stage.CONTACT_SHEET}.png", ".png"),
    "side-by-side": (f"run/{Stage.SIDE_BY_SIDE}.mp4", ".compare.mp4"),
    "record": ("run/run.json", ".run.json"),
}
_BULKY = {".frames"}


def _file(project: Project, what: str) -> tuple[Path, str]:
    """The file of that name, and what to call it after the clip's. Raises KeyError where it was not made."""
    if what == "video":
        path = project.result
        if path is None:
            raise KeyError(what)
        return path, f".removed{path.suffix}"
    if what == "plan":
        plan, target = project.plan(), project.root / "plan.json"
        if plan is None:
            raise KeyError(what)
        write_whole(target, lambda part: part.write_text(plan.to_json(), encoding="utf-8"))
        return target, ".plan.json"
    if what == "project":
        target = project.root / "project.zip"
        write_whole(target, lambda part: _zip(project, part))
        return target, ".aftermath.zip"
    name, suffix = _FILES[what]
    path = project.root / name
    if what == "quadmask" and project.painted_frames() and (project.root / "painted.mkv").is_file():
        path = project.root / "painted.mkv"
    if not path.is_file():
        raise KeyError(what)
    return path, suffix


def _zip(project: Project, target: Path) -> None:
    """Everything of the project but what can be made again from it."""
    with zipfile.ZipFile(target, "w") as file:
        for path in sorted(project.root.rglob("*")):
            inside = path.relative_to(project.root)
            hidden = any(part.startswith(".") or part == "scratch" for part in inside.parts)
            if path.is_file() and not hidden and path.suffix not in _BULKY and path.name != "project.zip":
                file.write(path, Path(project.id) / inside)


def _attachment(project: Project, what: str, suffix: str) -> str:
    """A name for the download, safe in a header whatever the project is called."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "-_ ") else "_" for c in project.document.name)
    return f'attachment; filename="{kept.strip() or "clip"}{suffix}"'
