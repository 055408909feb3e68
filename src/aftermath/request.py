"""What the user asked for: the one place where prompts are read, checked and scaled.

Written forms, in pixels of the source (upright), frames counted from 0:

- box ``X0,Y0,X1,Y1[@FRAME]``
- point ``X,Y[@FRAME]``; ``!X,Y[@FRAME]`` is background
- affected ``X,Y[@FRAME]:falls|stays|goes-on|vanishes``
- mask ``FILE[@FRAME]``: the frame, for a single picture
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from aftermath.core import Action, Box, Clip
from aftermath.errors import InputError
from aftermath.reason.base import Hint
from aftermath.segment.base import BoxPrompt, PointPrompt, Prompts

__all__ = ["Request", "parse_affected", "parse_box", "parse_point", "read_request"]

_PROMPTS = "one of --box, --point, --mask or --quadmask"
_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True)
class Request:
    """One clip and what to remove from it. Prompts and hints are in pixels of the source, upright.

    Exactly one of ``prompts``, ``mask`` and ``quadmask`` says what the object is. ``mask_frame`` is None
    where the mask is a video of the clip's length.
    """

    clip: Path
    prompts: Prompts = field(default_factory=Prompts)
    mask: Path | None = None
    mask_frame: int | None = None
    quadmask: Path | None = None
    hints: tuple[Hint, ...] = ()
    plan: Path | None = None
    prompt: str = ""

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that is read."""
        return tuple(path for path in (self.clip, self.mask, self.quadmask, self.plan) if path is not None)

    def check_within(self, width: int, height: int) -> None:
        """Raise `InputError` for a prompt outside a picture of ``width`` x ``height`` pixels."""
        for prompt in self.prompts.boxes:
            _check_box(prompt.box, width, height)
        for point in (*self.prompts.points, *self.hints):
            if not (0 <= point.x < width and 0 <= point.y < height):
                raise InputError(
                    f"point {point.x:g},{point.y:g}",
                    f"inside the picture: x from 0 to {width - 1}, y from 0 to {height - 1}",
                )

    def check_frames(self, num_frames: int) -> None:
        """Raise `InputError` for a prompt on a frame that the clip does not have."""
        frames = [*self.prompts.frames, *(hint.frame for hint in self.hints)]
        if self.mask_frame is not None:
            frames.append(self.mask_frame)
        for frame in frames:
            if frame >= num_frames:
                raise InputError(f"frame {frame}", f"this clip has the frames 0 to {num_frames - 1}")

    def scaled_prompts(self, clip: Clip) -> Prompts:
        """The prompts in pixels of the analysed clip."""
        sx, sy = clip.scale
        boxes = tuple(replace(p, box=p.box.scaled(sx, sy)) for p in self.prompts.boxes)
        points = tuple(replace(p, x=p.x * sx, y=p.y * sy) for p in self.prompts.points)
        return Prompts(boxes, points)

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
) -> Request:
    """Put together what was asked, from text or from prompts in source pixels.

    A sequence folder in place of ``clip`` brings its own quadmask, prompt and plan; whatever is given beside
    it wins.

    Raises `InputError` for text that cannot be read, files that are not there, no prompt, or prompts that
    contradict.
    """
    mask_path, mask_frame = _split_mask(mask)
    request = Request(
        clip=Path(clip),
        prompts=Prompts(
            tuple(parse_box(b) if isinstance(b, str) else b for b in boxes),
            tuple(parse_point(p) if isinstance(p, str) else p for p in points),
        ),
        mask=mask_path,
        mask_frame=mask_frame,
        quadmask=None if quadmask is None else Path(quadmask),
        hints=tuple(parse_affected(a) if isinstance(a, str) else a for a in affected),
        plan=None if plan is None else Path(plan),
        prompt=prompt,
    )
    if request.clip.is_dir():
        request = _from_folder(request)
    _check_kinds(request)
    for path in request.files:
        if not path.exists():
            raise InputError(f"{path}", "no such file", "check the name")
    return request


def parse_box(text: str) -> BoxPrompt:
    """Read ``X0,Y0,X1,Y1[@FRAME]``. Raises `InputError`."""
    form = "a box is X0,Y0,X1,Y1 or X0,Y0,X1,Y1@FRAME in pixels"
    place, frame = _split_frame(text, text, form)
    x0, y0, x1, y1 = _numbers(place, 4, text, form)
    return BoxPrompt(Box(x0, y0, x1, y1), frame)


def parse_point(text: str) -> PointPrompt:
    """Read ``X,Y[@FRAME]``, or ``!X,Y[@FRAME]`` for background. Raises `InputError`."""
    form = "a point is X,Y or X,Y@FRAME in pixels, with ! before it for background"
    place, frame = _split_frame(text.removeprefix("!"), text, form)
    x, y = _numbers(place, 2, text, form)
    return PointPrompt(x, y, frame, positive=not text.startswith("!"))


def parse_affected(text: str) -> Hint:
    """Read ``X,Y[@FRAME]:ACTION``. Raises `InputError`."""
    form = f"X,Y:ACTION or X,Y@FRAME:ACTION, where ACTION is one of {', '.join(Action)}"
    where, colon, action = text.rpartition(":")
    if not colon or action not in set(Action):
        raise InputError(f"affected {text!r}", form)
    place, frame = _split_frame(where, text, form)
    x, y = _numbers(place, 2, text, form)
    return Hint(x, y, frame, Action(action))


def _split_frame(text: str, whole: str, form: str) -> tuple[str, int]:
    place, at, frame = text.partition("@")
    if at and not (frame.isascii() and frame.isdigit()):
        raise InputError(f"{whole!r}", form)
    return place, int(frame) if at else 0


def _numbers(text: str, count: int, whole: str, form: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count or not all(math.isfinite(number) for number in numbers):
        raise InputError(f"{whole!r}", form)
    return numbers


def _split_mask(mask: str | Path | None) -> tuple[Path | None, int | None]:
    """The file, and for a single picture the frame it belongs to."""
    if mask is None:
        return None, None
    path, frame = Path(mask), 0
    name, at, number = str(mask).rpartition("@")
    if at and number.isascii() and number.isdigit() and not path.exists():
        path, frame = Path(name), int(number)
        if path.suffix.lower() not in _PICTURES:
            raise InputError(f"{mask}", "@FRAME goes with a single picture", "leave it away for a mask video")
    return path, frame if path.suffix.lower() in _PICTURES else None


def _check_kinds(request: Request) -> None:
    prompts = request.prompts
    given = [
        name
        for name, there in (
            ("--box" if prompts.boxes else "--point", prompts.boxes or prompts.points),
            ("--mask", request.mask),
            ("--quadmask", request.quadmask),
        )
        if there
    ]
    if not given:
        raise InputError("no prompt", f"say what to remove with {_PROMPTS}")
    if len(given) > 1:
        raise InputError(
            f"{' and '.join(given)}", "they say different things about the same pixels", f"give {_PROMPTS}"
        )
    if prompts.points and not prompts.boxes and not any(point.positive for point in prompts.points):
        raise InputError("only background points", "at least one --box or --point on the object")


def _check_box(box: Box, width: int, height: int) -> None:
    text = f"box {box.x0:g},{box.y0:g},{box.x1:g},{box.y1:g}"
    if box.x0 >= box.x1 or box.y0 >= box.y1:
        raise InputError(text, "X0 left of X1 and Y0 above Y1", "the form is left,top,right,bottom")
    if box.x0 < 0 or box.y0 < 0 or box.x1 > width or box.y1 > height:
        raise InputError(text, f"inside the picture: x from 0 to {width}, y from 0 to {height}")


def _from_folder(request: Request) -> Request:
    """Complete a request from the files of a sequence folder (the reference's form)."""
    folder = request.clip
    clip = folder / "input_video.mp4"
    if not clip.is_file():
        raise InputError(
            f"folder {folder}", "a sequence folder holds input_video.mp4", "or give a video file"
        )
    request = replace(request, clip=clip, prompt=request.prompt or _background(folder / "prompt.json"))
    if request.prompts != Prompts() or request.mask or request.quadmask:
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
        raise InputError(f"{path}", 'a JSON object {"bg": "the scene after removal"}') from error
