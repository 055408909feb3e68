"""What the page is told of a project, while a worker goes on with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from aftermath.studio.limits import Limits
from aftermath.studio.project import Project
from aftermath.studio.studio import Studio
from aftermath.studio.work import Kind
from aftermath.studio.workspace import Workspace
from small_clip import write_scene


def test_a_job_told_as_ended_has_its_result_told_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job ends in the middle of the telling: then it is told as it stood before, never ended without a result."""
    scene = tmp_path / "scene.mp4"
    write_scene(scene)

    async def chunks() -> AsyncIterator[bytes]:
        yield scene.read_bytes()

    studio = Studio(Workspace(tmp_path / "workspace", Limits()))
    project = asyncio.run(studio.workspace.receive("scene.mp4", chunks(), None))
    studio.queue.add(project.id, Kind.REMOVE)  # no worker was started: it waits
    plan = Project.plan

    def ends_meanwhile(self: Project) -> Any:
        found = plan(self)
        studio.queue.stop(self.id)
        return found

    monkeypatch.setattr(Project, "plan", ends_meanwhile)
    assert [job["state"] for job in studio.state(project)["jobs"]] == ["waiting"]
    assert [job["state"] for job in studio.state(project)["jobs"]] == ["stopped"]
