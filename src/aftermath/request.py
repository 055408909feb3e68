"""What the user asked for: the one place where prompts are read, checked and scaled.

Written forms, in pixels of the source (upright), frames counted from 0:

- box ``X0,Y0,X1,Y1[@FRAME]``
- point ``X,Y[@FRAME]``; ``!X,Y[@FRAME]`` is background
- affected ``X,Y[@FRAME]:falls|stays|goes-on|vanishes``
- mask ``FILE[@FRAME]``: the frame, for a single picture
- trajectory ``NAME: X,Y@FRAME X,Y@FRAME ...``: where the middle of a thing goes; NAME as the plan calls it
- text: what to remove, in words; pick: which of what was found by them, counted from 1
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from aftermath.core import Action, Box, Clip, PathPoint
from aftermath.errors import InputError
from aftermath.reason.base import Hint
from aftermath.segment.base import BoxPrompt, PointPrompt, Prompts

__all__ = [
    "Request",
    "Trajectory",
    "parse_affected",
    "parse_box",
    "parse_point",
    "parse_trajectory",
    "path_given",
    "read_request",
]

_T = TypeVar("_T")
_BOX = "X0,Y0,X1,Y1 or X0,Y0,X1,Y1@FRAME"
_POINT = "X,Y or X,Y@FRAME, with ! before it where the object is not"
_AFFECTED = f"X,Y:ACTION or X,Y@FRAME:ACTION, where ACTION is one of {', '.join(Action)}"
_TRAJECTORY = "NAME: X,Y@FRAME X,Y@FRAME ..., with two points at least"
_PROMPTS = "one of --box, --point, --text, --mask or --quadmask"
_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True)
class Trajectory:
    """Where the middle of the thing called ``name`` goes, source pixels; in order, one point a frame at most."""

    name: str
    path: tuple[PathPoint, ...]


@dataclass(frozen=True)
class Request:
    """One clip and what to remove from it. Prompts and hints are in pixels of the source, upright.

    Exactly one of ``prompts``, ``text``, ``mask`` and ``quadmask`` says what the object is. ``mask_frame`` is None
    where the mask is a video of the clip's length. ``pick``: of what the text finds, these, counted from 1.
    """

    clip: Path
    prompts: Prompts = field(default_factory=Prompts)
    mask: Path | None = None
    mask_frame: int | None = None
    quadmask: Path | None = None
    hints: tuple[Hint, ...] = ()
    plan: Path | None = None
    prompt: str = ""
    text: str = ""
    pick: tuple[int, ...] = ()
    trajectories: tuple[Trajectory, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that is read."""
        return tuple(path for path in (self.clip, self.mask, self.quadmask, self.plan) if path is not None)

    def check_within(self, width: int, height: int) -> None:
        """Raise `InputError` for a prompt outside a picture of ``width`` x ``height`` pixels."""
        for prompt in self.prompts.boxes:
            _check_box(prompt.box, width, height)
        ways = [point for way in self.trajectories for point in way.path[:1]]  # it may leave the picture
        for name, points in (("point", self.prompts.points), ("affected", self.hints), ("trajectory", ways)):
            for point in points:
                if not (0 <= point.x < width and 0 <= point.y < height):
                    raise InputError(
                        f"{name} {point.x:g},{point.y:g}",
                        f"must lie in the picture: x from 0 to {width - 1}, y from 0 to {height - 1}",
                        f"give pixels of the source, which is {width}x{height}",
                    )

    def check_frames(self, num_frames: int) -> None:
        """Raise `InputError` for a prompt on a frame that the clip does not have."""
        frames = [*self.prompts.frames, *(hint.frame for hint in self.hints)]
        frames += [point.frame for way in self.trajectories for point in way.path]
        if self.mask_frame is not None:
            frames.append(self.mask_frame)
        for frame in frames:
            if not 0 <= frame < num_frames:
                raise InputError(
                    f"frame {frame}",
                    f"must be one of the clip's frames 0 to {num_frames - 1}",
                    "count frames from 0",
                )

    def in_words(self) -> str:
        """What is removed, as a sentence's object; no path and no name of a file."""
        if self.text:
            return f'what was called "{self.text}"'
        if self.mask or self.quadmask:
            return f"the object of a given {'mask' if self.mask else 'quadmask'}"
        places = [
            f"in the box {p.box.x0:g},{p.box.y0:g},{p.box.x1:g},{p.box.y1:g} of frame {p.frame}"
            for p in self.prompts.boxes
        ]
        places += [f"at {p.x:g},{p.y:g} of frame {p.frame}" for p in self.prompts.points if p.positive]
        return f"the object {' and '.join(places)}"

    def scaled_prompts(self, clip: Clip) -> Prompts:
        """The prompts in pixels of the analysed clip."""
        return self.prompts.scaled(*clip.scale)

    def scaled_hints(self, clip: Clip) -> tuple[Hint, ...]:
        """The hints in pixels of the analysed clip."""
        sx, sy = clip.scale
        return tuple(replace(hint, x=hint.x * sx, y=hint.y * sy) for hint in self.hints)


def read_request(
    clip: str | Path,
    *,
    boxes: Sequence[str | BoxPrompt] = (),
    points: Sequence[str | PointPrompt] = (),
    mask: str | Path | None = None,
    quadmask: str | Path | None = None,
    affected: Sequence[str | Hint] = (),
    plan: str | Path | None = None,
    prompt: str = "",
    text: str = "",
    pick: Sequence[int] = (),
    trajectories: Sequence[str | Trajectory] = (),
) -> Request:
    """Put together what was asked, from text or from prompts in source pixels.

    A sequence folder in place of ``clip`` brings its own quadmask, prompt and plan; whatever is given beside
    it wins.

    Raises `InputError` for text that cannot be read, files that are not there, no prompt, or prompts that
    contradict.
    """
    if not isinstance(prompt, str):
        raise InputError(f"prompt={prompt!r}", "must be text", "say what the scene looks like without it")
    if not isinstance(text, str):
        raise InputError(f"text={text!r}", "must be text", 'say what to remove, such as "the red ball"')
    if isinstance(pick, str) or not isinstance(pick, Iterable) or not all(type(one) is int for one in pick):
        raise InputError(f"pick={pick!r}", "must be a list of whole numbers", "write pick=[2]")
    if pick and not text:
        raise InputError(f"pick {pick[0]}", "must come with --text", "it chooses among what the words find")
    mask_path, mask_frame = _split_mask(mask)
    request = Request(
        clip=path_given("clip", clip),
        prompts=Prompts(
            _all("boxes", boxes, BoxPrompt, parse_box, _BOX),
            _all("points", points, PointPrompt, parse_point, _POINT),
        ),
        mask=mask_path,
        mask_frame=mask_frame,
        quadmask=None if quadmask is None else path_given("quadmask", quadmask),
        hints=_all("affected", affected, Hint, parse_affected, _AFFECTED),
        plan=None if plan is None else path_given("plan", plan),
        prompt=prompt,
        text=text.strip(),
        pick=tuple(pick),
        trajectories=_all("trajectories", trajectories, Trajectory, parse_trajectory, _TRAJECTORY),
    )
    if request.clip.is_dir():
        request = _from_folder(request)
    _check_kinds(request)
    for path in request.files:
        if not path.exists():
            raise InputError(f"{path}", "no such file", "check the name")
    return request


def path_given(name: str, value: Any) -> Path:
    """The file or folder that the argument ``name`` says. Raises `InputError` for what is no path."""
    if not isinstance(value, str | os.PathLike) or not str(value):
        raise InputError(f"{name}={value!r}", "must be the name of a file or folder", "give text or a Path")
    return Path(value)


def _all(name: str, values: Any, kind: type[_T], parse: Callable[[str], _T], form: str) -> tuple[_T, ...]:
    """The prompts of one kind, read where they are text."""
    if isinstance(values, str | kind):
        raise InputError(f"{name}={values!r}", "must be a list", f"write {name}=[{values!r}]")
    if not isinstance(values, Iterable):
        raise InputError(f"{name}={values!r}", "must be a list", f"its entries are text of the form {form}")
    read: list[_T] = []
    for value in values:
        if isinstance(value, tuple | list) and all(isinstance(number, int | float) for number in value):
            value = ",".join(map(str, value))  # (18, 84, 62, 132) says the same
        if not isinstance(value, str | kind):
            raise InputError(f"{value!r} in {name}", f"must be text of the form {form}")
        read.append(parse(value) if isinstance(value, str) else value)
    return tuple(read)


def parse_box(text: str) -> BoxPrompt:
    """Read ``X0,Y0,X1,Y1[@FRAME]``. Raises `InputError`."""
    what, form = f"box {text!r}", f"must be {_BOX}, in pixels"
    place, frame = _split_frame(text, what, form)
    x0, y0, x1, y1 = _numbers(place, 4, what, form)
    return BoxPrompt(Box(x0, y0, x1, y1), frame)


def parse_point(text: str) -> PointPrompt:
    """Read ``X,Y[@FRAME]``, or ``!X,Y[@FRAME]`` for background. Raises `InputError`."""
    what, form = f"point {text!r}", f"must be {_POINT}, in pixels"
    place, frame = _split_frame(text.removeprefix("!"), what, form)
    x, y = _numbers(place, 2, what, form)
    return PointPrompt(x, y, frame, positive=not text.startswith("!"))


def parse_affected(text: str) -> Hint:
    """Read ``X,Y[@FRAME]:ACTION``. Raises `InputError`."""
    what, form = f"affected {text!r}", f"must be {_AFFECTED}"
    where, colon, action = text.rpartition(":")
    if not colon or action not in set(Action):
        raise InputError(what, form)
    place, frame = _split_frame(where, what, form)
    x, y = _numbers(place, 2, what, form)
    return Hint(x, y, frame, Action(action))


def parse_trajectory(text: str) -> Trajectory:
    """Read ``NAME: X,Y@FRAME X,Y@FRAME ...``. Raises `InputError`."""
    what, form = f"trajectory {text!r}", f"must be {_TRAJECTORY}"
    name, colon, places = text.rpartition(":")
    points = []
    for place in places.split():
        where, frame = _split_frame(place, what, form)
        if "@" not in place:
            raise InputError(what, form, f"{place!r} lacks its @FRAME")
        x, y = _numbers(where, 2, what, form)
        points.append(PathPoint(frame, x, y))
    frames = [point.frame for point in points]
    if not colon or not name.strip() or len(points) < 2:
        raise InputError(what, form, "such as 'guitar: 310,120@0 330,420@20'")
    if frames != sorted(set(frames)):
        raise InputError(what, "must have its points in the order of their frames, one on each")
    return Trajectory(name.strip(), tuple(points))


def _split_frame(text: str, what: str, form: str) -> tuple[str, int]:
    place, at, frame = text.partition("@")
    if at and not (frame.isascii() and frame.isdigit()):
        raise InputError(what, form, "FRAME is a whole number, 0 for the first frame")
    return place, int(frame) if at else 0


def _numbers(text: str, count: int, what: str, form: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count or not all(math.isfinite(number) for number in numbers):
        raise InputError(what, form, f"give {count} numbers with a comma between them")
    return numbers


def _split_mask(mask: str | Path | None) -> tuple[Path | None, int | None]:
    """The file, and for a single picture the frame it belongs to."""
    if mask is None:
        return None, None
    path, frame = path_given("mask", mask), 0
    name, at, number = str(mask).rpartition("@")
    if at and number.isascii() and number.isdigit() and not path.exists():
        path, frame = Path(name), int(number)
        if path.suffix.lower() not in _PICTURES:
            raise InputError(
                f"{mask}", "must be a picture where @FRAME is given", "leave @FRAME away for a video"
            )
    return path, frame if path.suffix.lower() in _PICTURES else None


def _check_kinds(request: Request) -> None:
    prompts = request.prompts
    given = [
        name
        for name, there in (
            ("--box" if prompts.boxes else "--point", prompts.boxes or prompts.points),
            ("--text", request.text),
            ("--mask", request.mask),
            ("--quadmask", request.quadmask),
        )
        if there
    ]
    if not given and request.plan is not None:
        raise InputError(
            f"plan {request.plan} without a prompt",
            "a plan says what the object caused, not which pixels it is",
            "add the prompt of the run that made it (--box, --point, --text or --mask), or --quadmask",
        )
    if not given:
        raise InputError("no prompt", "nothing says what to remove", f"give {_PROMPTS}")
    if len(given) > 1:
        raise InputError(
            f"{' and '.join(given)}", "they say different things about the same pixels", f"give {_PROMPTS}"
        )
    if prompts.points and not prompts.boxes and not any(point.positive for point in prompts.points):
        raise InputError(
            "only background points", "nothing says where the object is", "add a --box or a --point on it"
        )


def _check_box(box: Box, width: int, height: int) -> None:
    text = f"box {box.x0:g},{box.y0:g},{box.x1:g},{box.y1:g}"
    if box.x0 >= box.x1 or box.y0 >= box.y1:
        raise InputError(text, "must have X0 left of X1 and Y0 above Y1", "give left,top,right,bottom")
    if box.x0 < 0 or box.y0 < 0 or box.x1 > width or box.y1 > height:
        raise InputError(
            text,
            f"must lie in the picture: x from 0 to {width}, y from 0 to {height}",
            f"give pixels of the source, which is {width}x{height}",
        )


def _from_folder(request: Request) -> Request:
    """Complete a request from the files of a sequence folder (the reference's form)."""
    folder = request.clip
    clip = folder / "input_video.mp4"
    if not clip.is_file():
        raise InputError(
            f"folder {folder}", "must hold input_video.mp4, being a folder", "give that, or a video file"
        )
    request = replace(request, clip=clip, prompt=request.prompt or _background(folder / "prompt.json"))
    if request.prompts != Prompts() or request.text or request.mask or request.quadmask:
        return request
    quadmask, plan = folder / "quadmask_0.mp4", folder / "vlm_analysis.json"
    return replace(
        request,
        quadmask=quadmask if quadmask.is_file() else None,
        plan=request.plan or (plan if plan.is_file() else None),
    )


def _background(path: Path) -> str:
    if not path.is_file():
        return ""
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["bg"])
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise InputError(f"{path}", 'must be JSON like {"bg": "the scene after removal"}') from error
