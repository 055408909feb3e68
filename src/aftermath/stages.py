"""One function a stage: what it does, what its result depends on, and how that is kept.

`aftermath.remove` calls them in order. Every function takes the `Session` first, and gives back what stands
in the run folder where that is still good.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from aftermath.ahead import ahead
from aftermath.composite import blend_weight, seam_width_px
from aftermath.config import Codec, Engine, ReasonerName, RemoveOptions
from aftermath.core import Box, Clip, Level, Quadmask
from aftermath.credentials import Edit, Signing, seal
from aftermath.engines import fetch_weights
from aftermath.errors import InputError
from aftermath.eyes import choose_segmenter
from aftermath.media.masks import read_binary_mask, read_masks, resize_levels, write_masks
from aftermath.media.runs import Record, Stage, digest, write_whole
from aftermath.media.video import VideoWriter, read_clip, read_frames, write_rgb_video
from aftermath.models import VOID
from aftermath.preview import contact_sheet, save_picture, side_by_side
from aftermath.provenance import package_version
from aftermath.reason.base import Reasoning
from aftermath.render.base import Job
from aftermath.scene.base import Scene
from aftermath.segment.base import BoxPrompt, MaskPrompt, Prompts
from aftermath.session import Session, Steps

if TYPE_CHECKING:
    from aftermath.segment.text import TextFinder

__all__ = [
    "analyse",
    "copy_quadmask",
    "film_masks",
    "notes",
    "paint",
    "reason",
    "regions",
    "segment",
    "show",
    "write_quadmask",
]

_T = TypeVar("_T")
_LEAST_PX = 40  # of the analysed picture
_INVERTED_SHARE = 0.6
_BY = f"Made by aftermath {package_version()}"


def segment(session: Session) -> np.ndarray:
    """The object's pixels: boolean (T, H, W) at the analysed size."""
    request, options = session.request, session.options
    return session.arrays(
        Stage.SEGMENT,
        lambda steps: {"primary": _checked(session, _primary(session, steps))},
        prompts=request.prompts,
        mask=_digest(request.mask),
        mask_frame=request.mask_frame,
        quadmask=_digest(request.quadmask),
        text=request.text,
        pick=request.pick,
        grow_px=options.grow_px,
        segmenter=[choose_segmenter(options)[0], options.segmenter_model, options.text_model],
        long_side_px=options.analysis_long_side_px,
    )["primary"]


def analyse(session: Session, primary: np.ndarray) -> Scene:
    """The camera, what stands behind, and what moves."""
    from aftermath.scene.analyse import analyse_scene

    arrays = session.arrays(
        Stage.SCENE, lambda steps: analyse_scene(session.clip, primary, steps).to_arrays()
    )
    return Scene.from_arrays(arrays)


def reason(session: Session, primary: np.ndarray, scene: Scene) -> Reasoning:
    """What else would be different; a plan that the user gave replaces what the reasoner finds."""
    from aftermath.reasoning import decide, from_arrays, to_arrays

    request, options = session.request, session.options
    arrays = session.arrays(
        Stage.REASON,
        lambda steps: to_arrays(decide(session, primary, scene, steps)),
        hints=request.hints,
        plan=_digest(request.plan),
        trajectories=request.trajectories,
        reasoner=[options.reasoner, options.vlm_url, options.vlm_model],
        segmenter=[choose_segmenter(options)[0], options.segmenter_model, options.text_model],
        picture_height_m=options.picture_height_m,
    )
    return from_arrays(arrays)


def _asks_a_model(session: Session) -> bool:
    """Whether a language model is asked in this run, or was for it."""
    return session.options.reasoner is not ReasonerName.MOTION and session.request.plan is None


def regions(session: Session, primary: np.ndarray, scene: Scene, reasoning: Reasoning) -> Quadmask:
    """The quadmask at the analysed size; one that the user gave is used as it is."""
    from aftermath.reason.regions import build_quadmask

    shape = session.options.regions

    def make(steps: Steps) -> dict[str, np.ndarray]:
        if session.request.quadmask is not None:
            return {"levels": session.given_levels}
        return {"levels": build_quadmask(session.clip, scene, primary, reasoning, regions=shape).values}

    return Quadmask(session.arrays(Stage.REGIONS, make, regions=shape)["levels"])


def write_quadmask(session: Session, levels: Quadmask) -> Path:
    """The quadmask at the source's size, as a lossless file that is streamed from here on."""
    target = session.folder.file(Stage.QUADMASK)

    def write(steps: Steps) -> None:
        frames = _counted(_full_quadmask(session, levels), len(levels), steps)
        write_masks(target, frames, session.info.frame_rate)

    session.produce(Stage.QUADMASK, write)
    return target


def copy_quadmask(session: Session, quadmask: Path) -> None:
    """The quadmask as the output, in the form that the output's suffix asks for. Raises `InputError` where somebody
    painted in it since it was made."""
    if session.folder.changed(Stage.MASK_OUTPUT, session.output):
        raise InputError(
            f"{session.output}",
            "it was changed since it was made, which would be lost",
            f"use it with remove --quadmask {session.output}, give -o another name, or forget it with --fresh",
        )
    session.produce(
        Stage.MASK_OUTPUT,
        lambda steps: write_masks(session.output, read_masks(quadmask), session.info.frame_rate),
        target=session.output,
        output=session.output.suffix,
    )


def paint(
    session: Session,
    scene: Scene,
    reasoning: Reasoning,
    levels: Quadmask,
    quadmask: Path,
    engine: Engine,
    options: RemoveOptions,
    signing: Signing,
) -> Record:
    """Render the new pixels and join them into the source's frames, at its size, in the output, which says so."""
    clip_file, info = session.info.path, session.info
    prompt = session.request.prompt or reasoning.plan.scene_description
    seam_px = seam_width_px(options.feather_px, info.width, info.height)
    weights = fetch_weights(engine, options, session.steps("download"))

    def source(only: Collection[int] | None = None) -> Iterator[np.ndarray]:
        frames = read_frames(clip_file)
        return ahead(frame.rgb() for frame in frames if only is None or frame.index in only)

    def write(steps: Steps) -> Mapping[str, Any]:
        job = Job(
            clip=session.clip,
            quadmask=levels,
            plan=reasoning.plan,
            scene=scene,
            masks=reasoning.masks,
            source=source,
            quadmask_source=lambda: ahead(read_masks(quadmask)),
            prompt=prompt,
            seed=options.seed,
            warn=session.warn,
        )
        rendered = session.models.renderer(engine, options).render(job, session.steps("render"))
        pictures = _counted(read_frames(clip_file), len(levels), steps)
        edit = _edit(session, levels, reasoning, engine, options)
        signed: dict[str, Any] = {"why_not": signing.why_not}

        def sign(film: Path) -> None:
            told = replace(edit, invented_share=rendered.report.get("invented_share"))
            signed.update(seal(film, told, signing, session.warn))

        with VideoWriter(
            session.output,
            info,
            options.codec,
            warn=session.warn,
            comment=edit.comment,
            seal=None if signing.why_not else sign,
        ) as writer:
            blend = (blend_weight(mask, seam_px) for mask in read_masks(quadmask))
            # what is next is painted while this is encoded
            for frame, weight, rgb in zip(pictures, ahead(blend), ahead(rendered.frames), strict=True):
                writer.write(frame, rgb, weight)
        said = "" if options.codec is Codec.PNG else edit.comment
        return rendered.report | {"provenance": {"metadata": said, "credentials": signed}}

    return session.produce(
        Stage.OUTPUT,
        write,
        target=session.output,
        engine=engine,
        void=[*_void_options(options), *weights] if engine is Engine.VOID else None,
        codec=options.codec,
        seam_px=seam_px,
        seed=options.seed,
        prompt=prompt,
        output=session.output.suffix,
        signing=signing.key,
        title=clip_file.name,
    )


def _edit(
    session: Session, levels: Quadmask, reasoning: Reasoning, engine: Engine, options: RemoveOptions
) -> Edit:
    """What the output is to say of itself. Of a model in a folder only the folder's own name is told."""
    model = (options.model or VOID) if engine is Engine.VOID else ""
    things = reasoning.plan.applied
    return Edit(
        original=session.info.path,
        sha256=session.clip_sha256,
        removed=session.request.in_words(),
        effects=tuple(f"{thing.noun} {thing.action} from frame {thing.frames[0]}" for thing in things),
        engine=engine,
        model=Path(model).absolute().name if model and Path(model).exists() else model,
        region=_region(levels, session.info.width, session.info.height),
        frames=_extent(levels.changed.max(axis=(1, 2))),
    )


def _region(levels: Quadmask, width: int, height: int) -> Box | None:
    """Round everything that may change in some frame, pixels of a picture of this size; None where nothing may."""
    changed = levels.changed.max(axis=0)
    if not changed.any():
        return None
    (top, bottom), (left, right) = _extent(changed.max(axis=1)), _extent(changed.max(axis=0))
    sx, sy = width / changed.shape[1], height / changed.shape[0]
    return Box(math.floor(left * sx), math.floor(top * sy), math.ceil(right * sx), math.ceil(bottom * sy))


def _extent(line: np.ndarray) -> tuple[int, int]:
    """From the first that is set to one past the last; 0, 0 where none is."""
    places = np.flatnonzero(line)
    return (int(places[0]), int(places[-1]) + 1) if places.size else (0, 0)


def film_masks(session: Session, levels: Quadmask, reasoning: Reasoning) -> None:
    """What was decided, as a film."""
    from aftermath.mask_film import mask_film

    clip, target = session.clip, session.folder.file(Stage.MASK_PREVIEW)

    def film(steps: Steps) -> None:
        frames = _counted(mask_film(clip, levels, reasoning.plan), len(clip), steps)
        write_rgb_video(
            target, frames, clip.times_s.tolist(), comment=f"{_BY}: a quadmask, drawn over its clip"
        )

    session.produce(Stage.MASK_PREVIEW, film)


def show(session: Session, levels: Quadmask, result: Path | None) -> None:
    """The contact sheet, and with a ``result`` the side-by-side: both from the file as it was encoded."""
    folder, sheet, pair = session.folder, Stage.CONTACT_SHEET, Stage.SIDE_BY_SIDE

    @functools.cache
    def after() -> Clip | None:
        if result is None:
            return None
        size = max(session.clip.width, session.clip.height)
        file = result / "%05d.png" if result.is_dir() else result
        return read_clip(file, size, folder.scratch, session.steps("preview"))

    def draw(steps: Steps) -> None:
        picture = contact_sheet(session.clip, levels, after())
        write_whole(folder.file(sheet), lambda part: save_picture(part, picture))

    def film(steps: Steps) -> None:
        shown = after()
        assert shown is not None
        frames = _counted(side_by_side(session.clip, shown), len(shown), steps)
        comment = f"{_BY}: a film before and after an object was removed from it"
        write_rgb_video(folder.file(pair), frames, shown.times_s.tolist(), comment=comment)

    session.produce(sheet, draw)
    if result is not None:
        session.produce(pair, film)


def notes(session: Session, reasoning: Reasoning, levels: Quadmask) -> tuple[str, ...]:
    """What to know of a run: where a model and motion agree, and how far findings reach in a quadmask of the user's."""
    if session.request.quadmask is None:
        # what the camera is, is said elsewhere
        told = tuple(note for note in reasoning.plan.notes if not note.startswith("the camera is "))
        return told if _asks_a_model(session) else ()
    told = ["the quadmask is used as it was given: findings are acted on inside it only"]
    for thing in reasoning.plan.applied:
        mask = reasoning.masks.get(thing.id)
        if mask is not None and not any((m & a).any() for m, a in zip(mask, levels.changed, strict=True)):
            told.append(f"outside the quadmask, so not acted on: {thing.noun} {thing.action}")
    return tuple(told)


def _primary(session: Session, steps: Steps) -> np.ndarray:
    request, clip = session.request, session.clip
    if request.quadmask is not None:
        return session.given_levels <= Level.OVERLAP
    if request.mask is not None and request.mask_frame is None:
        return np.stack([_shrunk(mask, clip) for mask in _given_mask(session, request.mask, len(clip))])
    prompts = request.scaled_prompts(clip)
    if request.mask is not None:
        (picture,) = _given_mask(session, request.mask, 1)
        prompts = Prompts(masks=(MaskPrompt(_shrunk(picture, clip), request.mask_frame or 0),))
    if request.text:
        prompts = _named(session, session.models.finder(session.options))
    return session.models.segmenter(session.options, session.warn).segment(clip, prompts, steps)


def _named(session: Session, finder: TextFinder | None) -> Prompts:
    """Boxes round what the user's words name; what was found stands in the run folder, as a numbered picture."""
    from aftermath.segment.text import chosen, picture

    assert finder is not None  # looked for before the clip was decoded
    request, clip = session.request, session.clip
    matches = finder.find(clip, request.text)
    taken = chosen(matches, request.pick)
    drawn = picture(clip.frames[matches[0].frame], matches)
    file = session.folder.root / "matches.png"
    write_whole(file, lambda part: save_picture(part, drawn))
    if len(matches) > len(taken) and not request.pick:
        listed = ", ".join(
            f"{number} {match.phrase} ({match.score:.2f}{'' if match in taken else ', left'})"
            for number, match in enumerate(matches, 1)
        )
        session.warn(f"the words fit several things: {listed}; {file} shows them, --pick NUMBER chooses")
    return Prompts(
        boxes=tuple(BoxPrompt(match.box, match.frame) for match in taken if match.mask is None),
        masks=tuple(MaskPrompt(match.mask, match.frame) for match in taken if match.mask is not None),
    )


def _checked(session: Session, primary: np.ndarray) -> np.ndarray:
    if not primary.any():
        raise InputError("the object", "must have a pixel in some frame", "point at it in another way")
    if primary.all():
        raise InputError(
            "the object", "must leave some of the scene, but covers it all", "draw a smaller box"
        )
    _question(session, primary)
    return primary


def _question(session: Session, primary: np.ndarray) -> None:
    """Warn where the object is hardly anything, most of the picture, or looks like a wall or a floor."""
    from aftermath.segment.plausible import LARGE_SHARE, surface_sign

    clip, prompts = session.clip, session.request.prompts
    areas = primary.sum(axis=(1, 2))
    largest = int(areas.argmax())
    if areas[largest] < _LEAST_PX:
        session.warn(
            f"the object is only {areas[largest]} pixels large where it is largest (frame {largest}, analysed at "
            f"{clip.width}x{clip.height}): if it is larger, draw a --box round it"
        )
        return
    if session.request.quadmask is not None and primary.mean() > _INVERTED_SHARE:
        session.warn(
            f"the quadmask calls {primary.mean():.0%} of the picture the object: 0 is the object and 255 is kept; "
            "is it inverted?"
        )
    if prompts.boxes:  # what was drawn is meant; what has spread far beyond it is not
        boxes = [prompt.box.scaled(*clip.scale) for prompt in prompts.boxes]
        drawn_px = sum(box.width * box.height for box in boxes)
        limit_px = max(2 * drawn_px, LARGE_SHARE * primary[0].size)
        signs = {largest: f"covers {primary[largest].mean():.0%} of the picture"}
        signs = signs if areas[largest] > limit_px else {}
    else:
        frames = sorted({largest, *(point.frame for point in prompts.points)}) if prompts.points else []
        signs = {t: surface_sign(clip.frames[t], primary[t]) for t in frames}
    for t, sign in signs.items():
        if sign:
            session.warn(
                f"the object {sign} in frame {t}: where that is the wall or the floor, draw a --box round the"
                " thing alone, or give points that are not it (--point '!X,Y')"
            )
            return


def _shrunk(mask: np.ndarray, clip: Clip) -> np.ndarray:
    """A full-size boolean mask at the analysed size."""
    levels = np.where(mask, np.uint8(Level.PRIMARY), np.uint8(Level.KEEP))
    return resize_levels(levels, clip.width, clip.height) == Level.PRIMARY


def _full_quadmask(session: Session, levels: Quadmask) -> Iterator[np.ndarray]:
    """The quadmask's frames at the source's size: the user's own masks untouched, ours enlarged."""
    request, info = session.request, session.info
    if request.quadmask is not None:
        yield from session.given_quadmask()
        return
    own = request.mask if request.mask_frame is None else None
    masks = None if own is None else _given_mask(session, own, len(levels))
    for frame in levels:
        full = resize_levels(frame, info.width, info.height)
        yield full if masks is None else _with_primary(full, next(masks))


def _with_primary(levels: np.ndarray, primary: np.ndarray) -> np.ndarray:
    """The levels, with every pixel of ``primary``, boolean (H, W), belonging to the object."""
    affected = (levels == Level.AFFECTED) | (levels == Level.OVERLAP)
    primary = primary | (levels <= Level.OVERLAP)
    return Quadmask.from_masks(primary[None], affected[None]).values[0]


def _given_mask(session: Session, path: Path, num_frames: int) -> Iterator[np.ndarray]:
    for mask in read_binary_mask(path, expect=(num_frames, session.info.height, session.info.width)):
        drawn = np.where(mask, np.uint8(Level.PRIMARY), np.uint8(Level.KEEP))
        yield session.grown(drawn) == Level.PRIMARY


def _void_options(options: RemoveOptions) -> list[object]:
    """What changes what the model paints."""
    size = options.model_height_px, options.model_width_px
    means = options.focus, options.guide, options.memory, options.quantize, options.fast
    return [options.model, options.passes, options.steps, options.guidance, *size, *means]


def _digest(path: Path | None) -> str | None:
    return None if path is None else digest(path)


def _counted(items: Iterator[_T], total: int, steps: Steps) -> Iterator[_T]:
    """The same items, telling ``steps`` after each."""
    for index, item in enumerate(items):
        yield item
        steps(index + 1, total)
