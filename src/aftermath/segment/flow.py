"""`FlowSegmenter`, the embedded default: graph cut on the prompted frames, optical flow from there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np

from aftermath.core import Clip
from aftermath.errors import InputError
from aftermath.scene.base import Camera, CameraKind
from aftermath.scene.camera import estimate_camera
from aftermath.segment.base import PointPrompt, Progress, Prompts, nothing_in
from aftermath.segment.contained import fill_contained
from aftermath.segment.groups import BOX_SLACK, SAME_OBJECT
from aftermath.segment.memory import between, settled
from aftermath.segment.prompt_region import Surroundings, region_of_box, region_of_points, take_away
from aftermath.segment.second_look import look_again
from aftermath.segment.shapes import grown
from aftermath.segment.tracker import Tracker

__all__ = ["FirstLook", "FlowSegmenter"]

_ONE_OBJECT = 0.15  # of an object's size: parts no further apart than twice this belong together


@dataclass
class _Object:
    """One object: its masks on the frames where they are known, and in every frame once it was followed."""

    known: dict[int, np.ndarray]
    masks: np.ndarray | None = None


@dataclass
class _Work:
    """What `segment` needs at every turn. ``drawn``: frames on which the user said where the object ends."""

    clip: Clip
    camera: Camera
    progress: Progress
    drawn: frozenset[int] = frozenset()
    done: int = 0
    steps: int = 1
    views: dict[int, Surroundings] = field(default_factory=dict)

    def view(self, frame: int) -> Surroundings:
        if frame not in self.views:
            median, agreed = settled(self.clip.frames, frame, self.camera)
            self.views[frame] = Surroundings.of(self.clip.frames[frame], median, agreed)
        return self.views[frame]

    @property
    def stands_still(self) -> bool:
        """Whether the camera does."""
        return self.camera.kind is CameraKind.STILL

    def tick(self) -> None:
        self.done += 1
        self.steps = max(self.steps, self.done)
        self.progress(self.done, self.steps)


class FlowSegmenter:
    """Needs no weights: one `Tracker` for each prompted object and direction; the masks are joined."""

    name = "flow"

    def segment(self, clip: Clip, prompts: Prompts, progress: Progress) -> np.ndarray:
        """See `Segmenter.segment`. A prompt on another frame that meets an object already followed corrects
        it there (the nearest prompted frame then decides); one that does not is a further object."""
        nothing_hidden = np.broadcast_to(False, (len(clip), clip.height, clip.width))
        drawn = [p.frame for p in prompts.masks] + [p.frame for p in prompts.points if not p.positive]
        work = _Work(clip, estimate_camera(clip, nothing_hidden), progress, frozenset(drawn))
        work.steps = len(clip) * max(1, len(prompts.frames)) * (1 + work.stands_still)
        objects: list[_Object] = []
        for frame in prompts.frames:
            for mask in _prompted(work, prompts, frame):
                _add(work, objects, frame, mask)
            _correct(work, objects, prompts, frame)
        if not objects:
            raise InputError(
                "only background points", "nothing says where the object is", "add a box or a point on it"
            )
        joined, *others = (_followed(work, one) for one in objects)
        for masks in others:
            joined |= masks
        return joined


class FirstLook:
    """What prompts show on their own frame, before it is followed: an answer to a click.

    What was seen of a frame is kept for the next one on it. ``camera``: of ``clip``, by `estimate_camera`.
    """

    def __init__(self, clip: Clip, camera: Camera) -> None:
        self._work = _Work(clip, camera, lambda done, total: None)
        self.shape = clip.height, clip.width

    def object_on(self, frame: int, prompts: Prompts) -> np.ndarray:
        """Boolean (H, W): what the prompts of ``frame`` lead to, in pixels of the clip; all False where to nothing.

        Raises `InputError` for a frame that is not there, and prompts that lie on no object.
        """
        if not 0 <= frame < len(self._work.clip):
            raise InputError(f"frame {frame}", f"must be one of 0 to {len(self._work.clip) - 1}")
        found = np.zeros(self._work.clip.frames.shape[1:3], bool)
        for mask in _prompted(self._work, prompts, frame):
            found |= mask
        return found


def _prompted(work: _Work, prompts: Prompts, frame: int) -> Iterator[np.ndarray]:
    """The masks that the prompts of one frame lead to, bool (H, W) each."""
    given = [p.mask.astype(bool) for p in prompts.masks if p.frame == frame]
    for mask in given:
        yield _not_empty(mask, f"the mask on frame {frame}", "give one with an object")
    points = [p for p in prompts.points if p.frame == frame]
    pixels = {p: _pixel(work.clip, p) for p in points}
    negative = [pixels[p] for p in points if not p.positive]
    loose = [p for p in points if p.positive and not any(mask[pixels[p][::-1]] for mask in given)]
    for prompt in prompts.boxes:
        if prompt.frame != frame:
            continue
        near = prompt.box.grown(BOX_SLACK * max(prompt.box.width, prompt.box.height))
        own = [p for p in loose if near.contains(p.x, p.y)]
        loose = [p for p in loose if p not in own]
        mask = region_of_box(work.view(frame), prompt.box, [pixels[p] for p in own], negative)
        yield _not_empty(mask, *nothing_in(prompt.box, frame, work.clip))
    if loose:
        mask = region_of_points(work.view(frame), [pixels[p] for p in loose], negative)
        _not_empty(
            mask, f"the points on frame {frame}", "click on the middle of the object, or draw a box round it"
        )
        yield from _parts(mask)


def _add(work: _Work, objects: list[_Object], frame: int, mask: np.ndarray) -> None:
    """Let ``mask`` correct the object it meets on ``frame``, or be a new one."""
    for one in objects:
        if frame in one.known:
            continue
        there = _followed(work, one)[frame]
        if (there & mask).sum() >= SAME_OBJECT * (there | mask).sum():
            one.known[frame], one.masks = mask, None
            return
    objects.append(_Object({frame: mask}))


def _correct(work: _Work, objects: list[_Object], prompts: Prompts, frame: int) -> None:
    """Apply the background points of ``frame`` to objects that other frames' prompts brought here."""
    negative = [_pixel(work.clip, p) for p in prompts.points if p.frame == frame and not p.positive]
    for one in objects:
        if not negative or frame in one.known:
            continue
        there = _followed(work, one)[frame]
        left = take_away(work.clip.frames[frame], there, negative)
        if not np.array_equal(left, there):
            one.known[frame], one.masks = left, None


def _followed(work: _Work, one: _Object) -> np.ndarray:
    """The object's mask in every frame, bool (T, H, W): from each frame follow the nearest known one."""
    if one.masks is not None:
        return one.masks
    frames, count = work.clip.frames, len(work.clip)
    masks = np.zeros((count, work.clip.height, work.clip.width), bool)
    others = np.zeros_like(masks)
    keys = sorted(one.known)
    for at, key in enumerate(keys):
        first = 0 if at == 0 else (keys[at - 1] + key) // 2 + 1
        stop = count if at == len(keys) - 1 else (key + keys[at + 1]) // 2 + 1
        masks[key] = one.known[key]
        work.tick()
        if not masks[key].any():  # said to be absent here, and so until the next frame that says otherwise
            continue
        for direction, end in ((1, stop), (-1, first - 1)):
            tracker = Tracker.start(frames[key], one.known[key], *work.view(key).behind(one.known[key]))
            others[key] = tracker.others
            for t in range(key + direction, end, direction):
                masks[t] = tracker.step(frames[t], between(work.camera, t - direction, t))
                others[t] = tracker.others
                work.tick()
    if work.stands_still and any(masks[key].any() for key in keys):
        look_again(frames, masks, others, keys, work.drawn, work.tick)
    fill_contained(masks, keys)
    one.masks = masks
    return masks


def _parts(mask: np.ndarray) -> Iterator[np.ndarray]:
    """The objects in ``mask``, bool (H, W): parts with little space between them are one."""
    reach = max(2, round(_ONE_OBJECT * float(mask.sum()) ** 0.5))
    count, labels = cv2.connectedComponents(grown(mask, reach).astype(np.uint8), connectivity=8)
    for label in range(1, count):
        yield mask & (labels == label)


def _not_empty(mask: np.ndarray, what: str, remedy: str) -> np.ndarray:
    if not mask.any():
        raise InputError(what, "must lie on an object, but none stands out there", remedy)
    return mask


def _pixel(clip: Clip, point: PointPrompt) -> tuple[int, int]:
    return min(max(int(point.x), 0), clip.width - 1), min(max(int(point.y), 0), clip.height - 1)
