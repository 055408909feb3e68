"""The folder of all projects: made, listed, opened by their names, thrown away."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import secrets
import shutil
import threading
from collections.abc import AsyncIterator
from pathlib import Path

from aftermath.errors import InputError
from aftermath.media.files import explained
from aftermath.studio.document import Choices, Document
from aftermath.studio.limits import Limits, check_clip
from aftermath.studio.project import Project

__all__ = ["Workspace", "default_workspace"]

_ID = re.compile(r"[0-9a-f]{16}")
_SUFFIX = re.compile(r"\.[a-z0-9]{1,5}")
_DRAIN_S = 1.0
_LEAST_FREE = 2**30  # bytes of disk that an upload leaves


def default_workspace() -> Path:
    """Where projects stand when no folder is named."""
    home = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(home).expanduser() / "aftermath" / "studio"


class Workspace:
    """The projects in the folder ``root``, which is made where it is not. Raises `InputError` where it cannot be.

    ``choices``: what a new one begins with.
    """

    def __init__(self, root: Path, limits: Limits, choices: Choices | None = None) -> None:
        self.root, self.limits, self._choices = root.absolute(), limits, choices or Choices()
        self._known: dict[str, Project] = {}
        self._lock = threading.Lock()
        with explained(self.root):
            (self.root / "projects").mkdir(parents=True, exist_ok=True)

    def get(self, project_id: str) -> Project:
        """The project of that name. Raises KeyError where there is none, whatever the name is."""
        if not _ID.fullmatch(project_id):
            raise KeyError(project_id)
        with self._lock:
            root = self.root / "projects" / project_id
            if not (root / "document.json").is_file():
                self._known.pop(project_id, None)
                raise KeyError(project_id)
            return self._known.setdefault(project_id, Project(root))

    def all(self) -> list[Project]:
        """Every project, the one changed last first."""
        documents = (self.root / "projects").glob("*/document.json")
        stamped = sorted(((file.stat().st_mtime, file.parent.name) for file in documents), reverse=True)
        return [self.get(name) for _, name in stamped if _ID.fullmatch(name)]

    def open(self, clip: Path) -> Project:
        """The project of a file of this machine, used where it lies; the same file leads to the same project.

        Raises `InputError` for what is no video.
        """
        clip = clip.absolute()
        if clip.is_dir():
            clip = clip / "input_video.mp4"  # a sequence folder
        check_clip(clip, str(clip), self.limits)
        name = hashlib.sha256(str(clip).encode()).hexdigest()[:16]
        try:
            return self.get(name)
        except KeyError:
            called = clip.parent.name if clip.name == "input_video.mp4" else clip.stem
            return self._made(name, Document(name=called[:100], clip=str(clip), choices=self._choices))

    def copy(self, clip: Path, name: str) -> Project:
        """A new project with a copy of a clip of ours."""
        project_id = secrets.token_hex(8)
        target = self.root / "projects" / project_id / "clip" / f"clip{clip.suffix}"
        with explained(target):
            target.parent.mkdir(parents=True)
            shutil.copyfile(clip, target)
        return self._made(project_id, Document(name=name, clip=f"clip/{target.name}", choices=self._choices))

    async def receive(self, name: str, chunks: AsyncIterator[bytes], length: int | None) -> Project:
        """A project of an uploaded file, called ``name``; ``length``: of it in bytes, where that was said.

        Raises `InputError` for what is larger than allowed, before it is all here, and for what is no video.
        """
        limit = self.limits.num_bytes
        project_id = secrets.token_hex(8)
        folder = self.root / "projects" / project_id
        suffix = Path(name).suffix.lower()
        clip = Path("clip") / f"clip{suffix if _SUFFIX.fullmatch(suffix) else '.bin'}"
        if length is not None and length > limit:
            await _drain(chunks)
            raise _too_large(name, limit)
        if shutil.disk_usage(self.root).free < (length or 0) + _LEAST_FREE:
            raise InputError(name, "does not fit on this disk", "free some space")
        (folder / "clip").mkdir(parents=True)
        try:
            size = 0
            with explained(folder), (folder / clip).open("wb") as store:
                async for chunk in chunks:
                    size += len(chunk)
                    if size > limit:
                        raise _too_large(name, limit)
                    store.write(chunk)
            check_clip(folder / clip, name, self.limits)
            title = Path(name).stem[:100] or "clip"
            return self._made(project_id, Document(name=title, clip=str(clip), choices=self._choices))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def forget(self, project: Project) -> None:
        """Throw a project away; a file that was used where it lies stays."""
        with self._lock:
            self._known.pop(project.id, None)
        shutil.rmtree(project.root, ignore_errors=True)

    def _made(self, project_id: str, document: Document) -> Project:
        root = self.root / "projects" / project_id
        with explained(root):
            root.mkdir(parents=True, exist_ok=True)
        Project(root).keep(document)
        return self.get(project_id)


async def _drain(chunks: AsyncIterator[bytes]) -> None:
    """Take what is on its way for a moment: a sender that is cut off in the middle hears no answer."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_S):
            async for _ in chunks:
                pass


def _too_large(name: str, limit: int) -> InputError:
    return InputError(
        name, f"more than {limit / 2**30:.3g} GB", "cut out the part that matters, or use the command line"
    )
