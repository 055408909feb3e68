"""`Studio`: all that the page is told, put together from the projects, the queue and the clock."""

from __future__ import annotations

import functools
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from aftermath.config import Engine, ReasonerName, RemoveOptions
from aftermath.core import Plan
from aftermath.engines import choose_engine
from aftermath.errors import AftermathError, InputError
from aftermath.studio.clicks import Clicks
from aftermath.studio.document import Choices, Model
from aftermath.studio.estimate import History
from aftermath.studio.limits import Limits
from aftermath.studio.project import Project
from aftermath.studio.queue import Job, Queue, State
from aftermath.studio.work import Kind
from aftermath.studio.workspace import Workspace

__all__ = ["Studio", "find_examples"]

_KEPT_S = 24 * 3600  # how long a hosted demo keeps a project
_EXAMPLES = ("collision", "support", "passer", "control")


def find_examples() -> dict[str, Path]:
    """The clips that come with the program, by name; none where it came without."""
    for folder in (Path(__file__).parents[1] / "examples", Path(__file__).parents[3] / "examples"):
        clips = {name: folder / name / "input_video.mp4" for name in _EXAMPLES}
        if any(clip.is_file() for clip in clips.values()):
            return {name: clip for name, clip in clips.items() if clip.is_file()}
    return {}


@dataclass
class Studio:
    """One server's projects, queue and options. ``opened``: the project of the clip that it was started with.
    ``public``: of a hosted demo, where one visitor is not told of another's projects."""

    workspace: Workspace
    base: RemoveOptions = field(default_factory=RemoveOptions)
    public: bool = False
    opened: Project | None = None
    closing: bool = False

    def __post_init__(self) -> None:
        root = self.workspace.root
        self.clicks, self.history, self.examples = Clicks(), History(root / "history.json"), find_examples()
        self.queue = Queue(root, self.base, self.limits, self._ended)

    @property
    def limits(self) -> Limits:
        """Of what may be opened."""
        return self.workspace.limits

    def open(self, clip: Path) -> Project:
        """The project of a file of this machine, read if it was not. Raises `InputError`."""
        project = self.workspace.open(clip)
        if project.before is None or not (project.root / "camera.json").exists():
            self.queue.add(project.id, Kind.READ)
        return project

    def open_example(self, name: str) -> Project:
        """The project of an example; a visitor of a hosted demo has one of their own. Raises KeyError."""
        clip = self.examples[name]
        if not self.public:
            return self.open(clip)
        self.sweep()
        project = self.workspace.copy(clip, name)
        self.queue.add(project.id, Kind.READ)
        return project

    def edit(self, project: Project, changes: dict[str, Any]) -> dict[str, Any]:
        """Change the document; see `Document.edited`."""
        wanted = project.document.edited(changes).choices.reasoner
        if self.public and wanted is not ReasonerName.MOTION:
            raise InputError(
                f"reasoner {wanted}", "is not offered here", "run the studio yourself, with your own key"
            )
        project.edit(changes)
        return self.state(project)

    def sweep(self) -> None:
        """Throw away what visitors of a hosted demo left a day ago."""
        for project in self.workspace.all() if self.public else []:
            touched = (project.root / "document.json").stat().st_mtime
            if time.time() - touched > _KEPT_S and not any(job.open for job in self.queue.of(project.id)):
                self.workspace.forget(project)

    def state(self, project: Project) -> dict[str, Any]:
        """Everything that the page shows of a project, but for the pictures."""
        # before the files: a job told as done has written all that it makes
        jobs = [self.told(job) for job in self.queue.of(project.id)[-3:]]
        document, status, before = project.document, project.status, project.before
        plan, result = project.plan(), project.result
        engine, why = self.engine(document.choices)
        return {
            "id": project.id,
            "document": document.model_dump(mode="json", exclude={"clip"}),
            "clip": None
            if before is None or "width" not in status
            else {
                "width": status["width"],
                "height": status["height"],
                "analysed": [before.shape[1], before.shape[0]],
                "frames": before.num_frames,
                "times": [round(time, 4) for time in before.times_s],
                "sound": status.get("sound", False),
                "warnings": status.get("read_warnings", []),
                "clickable": (project.root / "camera.json").exists(),
            },
            "affected": [] if plan is None else _affected(plan),
            "found": plan is not None,
            "mask": {
                "fresh": status.get("mask_key") == project.mask_key,
                "rev": f"{status.get('found_rev', 0)}-{status.get('segmented', '')[:8]}-{project.asked_key[:8]}",
                "warnings": status.get("warnings", []),
                "notes": status.get("notes", []),
                "matches": bool(document.text) and (project.run / "matches.png").is_file(),
                "camera": status.get("camera", ""),
            },
            **project.painted(),
            "result": None if result is None else _result(project, status),
            "engine": {"name": engine, "why": why},
            "given": Path(self.base.model).name if self.base.model not in tuple(Model)[:2] else "",
            "estimate": self.history.estimate(project, Engine(engine)).words if engine else "",
            "jobs": jobs,
        }

    def stamp(self, project: Project) -> object:
        """Something that differs whenever the state may; looked at often, so it costs next to nothing."""
        return project.stamp(), [(job, self.queue.before(job)) for job in self.queue.of(project.id)[-3:]]

    def told(self, job: Job) -> dict[str, Any]:
        """A job, as the page shows it."""
        return asdict(job) | {"before": self.queue.before(job) if job.state is State.WAITING else 0}

    def engine(self, choices: Choices) -> tuple[str, str]:
        """Which engine would paint, and why; no name where none can, and why not."""
        name, why = _engine(choices.engine, choices.options(self.base))
        if (
            not name
            and choices.engine is Engine.VOID
            and choices.model is Model.PUBLISHED
            and "weights" in why
        ):
            why = "VOID's weights are not on this machine; fetch them with: aftermath models download"
        return name, why

    def _ended(self, job: Job) -> None:
        """Remember what a whole result took."""
        if job.kind is not Kind.REMOVE or job.state is not State.DONE or job.facts.get("reused"):
            return
        try:
            project = self.workspace.get(job.project)
            self.history.add(project, Engine(job.facts["engine"]), job.facts["seconds"])
        except (KeyError, AftermathError, OSError):
            return


@functools.lru_cache(maxsize=64)
def _engine(engine: Engine, options: RemoveOptions) -> tuple[str, str]:
    try:
        chosen, why = choose_engine(options)
    except AftermathError as error:
        return "", str(error)
    return str(chosen), why.replace("no --model was given, and ", "")  # a browser gives none


def _affected(plan: Plan) -> list[dict[str, Any]]:
    return [
        {
            "id": thing.id,
            "noun": thing.noun,
            "action": thing.action,
            "category": thing.category,
            "why": thing.why,
            "confidence": round(thing.confidence, 2),
            "applied": thing.applied,
            "frames": list(thing.frames),
            "box": None if thing.box is None else [thing.box.x0, thing.box.y0, thing.box.x1, thing.box.y1],
            "path": [[point.frame, point.x, point.y] for point in thing.path],
            "directed": thing.directed,
        }
        for thing in plan.affected
    ]


def _result(project: Project, status: dict[str, Any]) -> dict[str, Any]:
    result = project.result
    assert result is not None
    return {
        "fresh": status.get("result_key") == project.result_key,
        "shown": project.after is not None,
        "rev": status.get("result_rev", 0),
        "name": result.name,
        "bytes": result.stat().st_size,
        "engine": status.get("engine", ""),
        "why": status.get("engine_why", ""),
        "seconds": status.get("seconds", 0),
        "warnings": status.get("result_warnings", []),
        "invented": status.get("invented_share"),
        "model": status.get("result_model", ""),
        "credentials": status.get("credentials", {}).get("why_not", ""),
    }
