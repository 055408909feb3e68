"""The whole flow, and the only place that sequences stages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aftermath.config import Engine, MaskOptions, RemoveOptions

if TYPE_CHECKING:
    from aftermath.core import Plan, Quadmask
    from aftermath.loaded import LoadedModels
    from aftermath.media.runs import Record
    from aftermath.reason.base import Hint, Reasoning
    from aftermath.request import Trajectory
    from aftermath.scene.base import Scene
    from aftermath.segment.base import BoxPrompt, PointPrompt
    from aftermath.session import Progress, Session

__all__ = ["Result", "mask", "remove"]

# Everything heavy is imported where it is used, so that `aftermath --help` answers at once.


@dataclass(frozen=True)
class Result:
    """What a run made and found. Files of ``folder`` that the run did not make are None.

    ``reused``: the stages that were taken from the run folder; ``stage_times_s`` of those is what they once took.
    ``credentials``: who signed the output and how, or ``why_not``; empty for a quadmask.
    """

    output: Path
    folder: Path
    quadmask: Path
    contact_sheet: Path
    side_by_side: Path | None
    mask_preview: Path | None
    plan: Plan
    num_frames: int
    width: int
    height: int
    camera: str
    engine: str
    engine_why: str
    invented_share: float | None
    credentials: dict[str, Any]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    stage_times_s: dict[str, float]
    reused: tuple[str, ...]


def remove(
    clip: str | Path,
    output: str | Path,
    *,
    boxes: Sequence[str | BoxPrompt] = (),
    points: Sequence[str | PointPrompt] = (),
    text: str = "",
    pick: Sequence[int] = (),
    mask: str | Path | None = None,
    quadmask: str | Path | None = None,
    affected: Sequence[str | Hint] = (),
    trajectories: Sequence[str | Trajectory] = (),
    plan: str | Path | None = None,
    prompt: str = "",
    options: RemoveOptions | None = None,
    work: str | Path | None = None,
    fresh: bool = False,
    models: LoadedModels | None = None,
    progress: Progress | None = None,
) -> Result:
    """Remove an object from ``clip``, with everything it caused, and write the result to ``output``.

    The object is what ``boxes`` and ``points`` show, or ``text`` says (``pick`` chooses among what it finds), or
    ``mask`` (a black-and-white video of the clip's length, or one picture), or ``quadmask``. ``affected`` is what the
    user knows and the picture does not show; ``trajectories`` say where things go; ``plan`` (a ``plan.json`` or the
    reference's ``vlm_analysis.json``) replaces what the reasoner finds. Written forms and coordinates: see
    `aftermath.request`. ``clip`` may be a sequence folder. ``work``: the run folder, by default ``OUTPUT.aftermath``; a
    run that was stopped goes on there, unless ``fresh``. ``models``, given to several calls, stay loaded between them.

    Raises `InputError` for anything that cannot be used, and leaves nothing behind then; `MediaError` where
    a file cannot be decoded or encoded.
    """
    from aftermath import stages
    from aftermath.credentials import choose_signing
    from aftermath.engines import choose_engine
    from aftermath.request import path_given, read_request
    from aftermath.session import Session

    options = RemoveOptions.given(options)
    engine, why = choose_engine(options)
    request = read_request(
        clip,
        boxes=boxes,
        points=points,
        text=text,
        pick=pick,
        mask=mask,
        quadmask=quadmask,
        affected=affected,
        trajectories=trajectories,
        plan=plan,
        prompt=prompt,
    )
    target = path_given("output", output)
    signing = choose_signing(options, target)
    with Session(
        request,
        target,
        options,
        codec=options.codec,
        work=None if work is None else path_given("work", work),
        fresh=fresh,
        models=models,
        progress=progress,
    ) as session:
        primary = stages.segment(session)
        scene = stages.analyse(session, primary)
        reasoning = stages.reason(session, primary, scene)
        levels = stages.regions(session, primary, scene, reasoning)
        quadmask_file = stages.write_quadmask(session, levels)
        painted = stages.paint(session, scene, reasoning, levels, quadmask_file, engine, options, signing)
        stages.show(session, levels, session.output)
        return _finish(session, scene, reasoning, levels, engine, why, painted)


def mask(
    clip: str | Path,
    output: str | Path,
    *,
    boxes: Sequence[str | BoxPrompt] = (),
    points: Sequence[str | PointPrompt] = (),
    text: str = "",
    pick: Sequence[int] = (),
    mask: str | Path | None = None,
    quadmask: str | Path | None = None,
    affected: Sequence[str | Hint] = (),
    trajectories: Sequence[str | Trajectory] = (),
    plan: str | Path | None = None,
    options: MaskOptions | None = None,
    work: str | Path | None = None,
    fresh: bool = False,
    models: LoadedModels | None = None,
    progress: Progress | None = None,
) -> Result:
    """Stop at the quadmask, and write that to ``output`` (.mkv or .mp4, lossless). See `remove`."""
    from aftermath import stages
    from aftermath.request import path_given, read_request
    from aftermath.session import Session

    request = read_request(
        clip,
        boxes=boxes,
        points=points,
        text=text,
        pick=pick,
        mask=mask,
        quadmask=quadmask,
        affected=affected,
        trajectories=trajectories,
        plan=plan,
    )
    with Session(
        request,
        path_given("output", output),
        MaskOptions.given(options),
        work=None if work is None else path_given("work", work),
        fresh=fresh,
        models=models,
        progress=progress,
    ) as session:
        primary = stages.segment(session)
        scene = stages.analyse(session, primary)
        reasoning = stages.reason(session, primary, scene)
        levels = stages.regions(session, primary, scene, reasoning)
        stages.copy_quadmask(session, stages.write_quadmask(session, levels))
        stages.show(session, levels, None)
        stages.film_masks(session, levels, reasoning)
        return _finish(session, scene, reasoning, levels)


def _finish(
    session: Session,
    scene: Scene,
    reasoning: Reasoning,
    levels: Quadmask,
    engine: Engine | None = None,
    why: str = "",
    painted: Record | None = None,
) -> Result:
    """Write the record of the run, and hand its outcome back."""
    from aftermath import stages
    from aftermath.media.runs import Stage
    from aftermath.provenance import run_record

    folder, facts = session.folder, dict(painted.facts) if painted else {}
    provenance = facts.pop("provenance", {})
    result = Result(
        output=session.output,
        folder=folder.root,
        quadmask=folder.file(Stage.QUADMASK),
        contact_sheet=folder.file(Stage.CONTACT_SHEET),
        side_by_side=folder.file(Stage.SIDE_BY_SIDE) if engine else None,
        mask_preview=None if engine else folder.file(Stage.MASK_PREVIEW),
        plan=reasoning.plan,
        num_frames=len(levels),
        width=session.info.width,
        height=session.info.height,
        camera=str(scene.camera.kind),
        engine=str(engine or ""),
        engine_why=why,
        invented_share=facts.get("invented_share"),
        credentials=provenance.get("credentials", {}),
        warnings=tuple(session.warnings),
        notes=stages.notes(session, reasoning, levels),
        stage_times_s=dict(session.seconds),
        reused=tuple(session.reused),
    )
    folder.keep_plan(reasoning.plan.to_json(), followed=session.follows_edit)
    plan = json.loads(reasoning.plan.to_json())
    record = run_record(
        **{name: value for name, value in vars(result).items() if name != "plan"},
        findings=plan["affected_objects"],
        request=asdict(session.request),
        options=asdict(session.options),
        render=facts,
        provenance=provenance | ({"output_sha256": painted.sha256} if painted else {}),
    )
    folder.write_text(folder.run_file, record)
    return result
