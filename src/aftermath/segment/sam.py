"""`SamSegmenter`: SAM 2.1 and SAM 3 follow what was pointed at through the clip, forwards and backwards.

SAM 2 (Ravi et al. 2024, arXiv 2408.00714) and SAM 3 (Carion et al. 2025, arXiv 2511.16719): a frame's pixels attend to
the memory of prompted frames and of the frames just passed. Every object has a session of its own, so that objects may
begin on different frames; what the picture encoder makes of a frame is shared. Frames are prepared when they are
needed, and memories that nothing will attend to any more are dropped: what is held does not grow with the clip.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from aftermath.config import SegmenterName
from aftermath.core import Clip
from aftermath.errors import InputError, OutOfMemory
from aftermath.models import SAM2, SAM3
from aftermath.segment.base import Progress, Prompts, nothing_in
from aftermath.segment.groups import Group, grouped, is_same, share_negative
from aftermath.segment.pretrained import best_device, load_model, load_processor, opened

__all__ = ["SamSegmenter"]

Warn = Callable[[str], None]
"""Called with one line that a person should read."""

_KINDS = {
    "sam2_video": ("Sam2VideoModel", "Sam2VideoProcessor"),
    "sam2": ("Sam2VideoModel", "Sam2VideoProcessor"),  # its weights tell whether the memory is there
    "sam3_video": ("Sam3TrackerVideoModel", "Sam3TrackerVideoProcessor"),
    "sam3_tracker_video": ("Sam3TrackerVideoModel", "Sam3TrackerVideoProcessor"),
}
_FRAMES_KEPT = 2  # prepared pictures; the one in work, and one that a prompt looks at again


class SamSegmenter:
    """Follows objects with SAM 2.1 or SAM 3; needs their weights.

    Args:
        model: a folder or a name on the hub; where empty, the published one of ``kind``. Which of the two models a
            folder holds is read from its config.json.
        offline: use only what is on this machine.
        kind: SAM2 or SAM3.
        device: "auto", "cuda", "mps" or "cpu". bfloat16 on cuda, float32 elsewhere.
        warn: told where a card's memory did not do and the processor goes on.

    Raises `InputError` from `segment` where the model or device is none, `WeightsError` where the weights cannot be
    had or used.
    """

    def __init__(
        self,
        model: str = "",
        *,
        offline: bool = False,
        kind: Literal[SegmenterName.SAM2, SegmenterName.SAM3] = SegmenterName.SAM2,
        device: str = "auto",
        warn: Warn | None = None,
    ) -> None:
        self.name = str(kind)
        self._model = model or (SAM3 if kind is SegmenterName.SAM3 else SAM2)
        self._offline = offline
        self._device = device
        self._warn: Warn = warn or (lambda line: None)
        self._loaded: _Loaded | None = None

    def segment(self, clip: Clip, prompts: Prompts, progress: Progress) -> np.ndarray:
        """See `Segmenter.segment`. A prompt on another frame that meets an object already followed corrects
        it there; one that does not is a further object. On the frame of a given mask the object is that mask."""
        if not (prompts.masks or prompts.boxes or any(p.positive for p in prompts.points)):
            raise InputError(
                "only background points", "nothing says where the object is", "add a box or a point on it"
            )
        import torch

        try:
            return _Work(self._ready(), clip, prompts, progress).run()
        except torch.OutOfMemoryError as error:
            complaint = str(error).splitlines()[0]
        if best_device(self._device) == "cpu":
            raise OutOfMemory(f"{self.name}: {complaint}")
        self._warn(
            f"{self.name}: the card's memory is too small for it; it goes on, slower, on the processor"
        )
        self._loaded, self._device = None, "cpu"
        torch.cuda.empty_cache()
        return _Work(self._ready(), clip, prompts, progress).run()

    def _ready(self) -> _Loaded:
        """The model, loaded once."""
        if self._loaded is None:
            import torch
            import transformers

            device = best_device(self._device)
            folder, kind = opened(self._model, tuple(_KINDS), "this segmenter", offline=self._offline)
            model_class, processor_class = (getattr(transformers, name) for name in _KINDS[kind])
            self.name = str(SegmenterName.SAM3 if kind.startswith("sam3") else SegmenterName.SAM2)
            dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
            processor = load_processor(processor_class, folder)
            self._loaded = _Loaded(
                load_model(model_class, folder, device=device, dtype=dtype), processor, device
            )
        return self._loaded


@dataclass(frozen=True)
class _Loaded:
    """Transformers' model and processor, and where they are."""

    model: Any
    processor: Any
    device: str

    @property
    def reach(self) -> int:
        """How many frames back a frame may attend to, at most."""
        config = self.model.config
        return max(config.num_maskmem, config.max_object_pointers_in_encoder) - 1


class _Frames(Mapping[int, Any]):
    """The clip's frames as the model takes them, float (3, S, S), prepared on demand; a few are kept."""

    def __init__(self, clip: Clip, loaded: _Loaded) -> None:
        self._clip, self._loaded = clip, loaded
        self._kept: OrderedDict[int, Any] = OrderedDict()

    def __len__(self) -> int:
        return len(self._clip)

    def __iter__(self):
        return iter(range(len(self._clip)))

    def __getitem__(self, frame: int) -> Any:
        if frame not in self._kept:
            picture = np.ascontiguousarray(self._clip.frames[frame])[None]
            prepared = self._loaded.processor.video_processor(videos=picture, return_tensors="pt")
            self._kept[frame] = prepared.pixel_values_videos[0][0].to(self._loaded.model.dtype)
            while len(self._kept) > _FRAMES_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(frame)
        return self._kept[frame]


class _Object:
    """One object: a session of the model's, and the frames where the user said what it is."""

    def __init__(self, work: _Work, number: int) -> None:
        self._loaded, self._size = work.loaded, (work.clip.height, work.clip.width)
        self.number = number
        self.session = work.new_session()
        self.given: dict[int, np.ndarray] = {}

    @property
    def _outputs(self) -> dict[str, dict[int, dict[str, Any]]]:
        return self.session.output_dict_per_obj[0]

    @property
    def first(self) -> int:
        """The first prompted frame."""
        return min(self._outputs["cond_frame_outputs"])

    def prompt(self, frame: int, group: Group, *, reverse: bool = False) -> np.ndarray:
        """Say what the object is on ``frame``; its mask there, bool (H, W). Later frames remember that one."""
        self._loaded.processor.add_inputs_to_inference_session(
            self.session, frame_idx=frame, obj_ids=self.number, **_inputs(group)
        )
        told = self._loaded.model(self.session, frame_idx=frame, reverse=reverse)
        corrected = self._outputs["non_cond_frame_outputs"].pop(frame, None)
        if (
            corrected is not None
        ):  # transformers would forget it; SAM 2's own demo keeps it as a prompted frame
            self._outputs["cond_frame_outputs"][frame] = corrected
        self.given.pop(frame, None)
        if group.mask is not None:
            self.given[frame] = group.mask
        return self._answer(frame, told, reverse)

    def step(self, frame: int, *, reverse: bool = False) -> np.ndarray:
        """The object on ``frame``, bool (H, W). Frames must come in order, one way or the other."""
        return self._answer(
            frame, self._loaded.model(self.session, frame_idx=frame, reverse=reverse), reverse
        )

    def _answer(self, frame: int, told: Any, reverse: bool) -> np.ndarray:
        self._forget(frame, reverse)
        if frame in self.given:
            return self.given[frame]
        (masks,) = self._loaded.processor.post_process_masks([told.pred_masks.float()], [list(self._size)])
        return masks[0, 0].cpu().numpy().astype(bool)

    def restart(self) -> None:
        """Forget what was followed; what was prompted stays."""
        self._outputs["non_cond_frame_outputs"].clear()
        self.session.frames_tracked_per_obj[0].clear()

    def _forget(self, frame: int, reverse: bool) -> None:
        """Drop what no later frame attends to: all but the memories within reach.

        Those just after the first prompted frame stay too: going back from there begins with them.
        """
        reach, followed = self._loaded.reach, self._outputs["non_cond_frame_outputs"]
        begins = min(self._outputs["cond_frame_outputs"], default=frame)
        for old in list(followed):
            behind = old - frame if reverse else frame - old
            if behind >= reach and not begins < old < begins + reach:
                del followed[old]
        for outputs in self._outputs.values():
            if frame in outputs:
                outputs[frame].pop("high_res_masks", None)  # only its memory is attended to
        if frame in followed:
            followed[frame].pop("pred_masks", None)


@dataclass
class _Work:
    """One clip with its prompts on the way through the model."""

    loaded: _Loaded
    clip: Clip
    prompts: Prompts
    progress: Progress
    objects: list[_Object] = field(default_factory=list)
    unplaced: set[int] = field(default_factory=set)
    done: int = 0
    steps: int = 1
    prompted: int = 0

    def __post_init__(self) -> None:
        self.frames = _Frames(self.clip, self.loaded)
        self.cache: Any = None

    def new_session(self) -> Any:
        """An empty session of the model that shares the clip's frames and what the encoder made of them."""
        device, model = self.loaded.device, self.loaded.model
        session = self.loaded.processor.init_video_session(
            inference_device=device, video_storage_device="cpu", dtype=model.dtype
        )
        session.processed_frames = self.frames
        session.video_height, session.video_width = self.clip.height, self.clip.width
        self.cache = session.cache = self.cache or session.cache
        return session

    def run(self) -> np.ndarray:
        """Boolean (T, H, W): all objects together. Prompts are placed first, then all is followed both ways."""
        frames, length = self.prompts.frames, len(self.clip)
        self.steps = frames[-1] - frames[0] + 1 + length
        self._place_all()
        latest = max(one.first for one in self.objects)
        earliest = min(one.first for one in self.objects)
        self.steps = self.done + (length - earliest) + latest
        found = np.zeros((length, self.clip.height, self.clip.width), bool)
        for one in self.objects:
            one.restart()
        for t in range(earliest, length):
            for one in self.objects:
                if t >= one.first:
                    found[t] |= one.step(t)
            self._tick()
        for t in range(latest - 1, -1, -1):
            masks = [(one, one.step(t, reverse=True)) for one in self.objects if t < one.first]
            if t in self.unplaced:
                masks = self._taken_away(t, masks)
            for _, mask in masks:
                found[t] |= mask
            self._tick()
        return found

    def _place_all(self) -> None:
        """Decide whose each prompt is, following what is known so far from one prompted frame to the next."""
        frames = self.prompts.frames
        for t in range(frames[0], frames[-1] + 1):
            there = [one.step(t) for one in self.objects]
            if t in frames:
                self._place(t, there)
            self._tick()

    def _place(self, frame: int, there: list[np.ndarray]) -> None:
        groups, taken = share_negative(self.prompts, frame, grouped(self.prompts, frame, there), there)
        if not groups and not there:
            self.unplaced.add(frame)  # background points before anything is known: on the way back
        met: set[int] = set()
        for group in groups:
            at = group.followed
            if at in met:  # a mask or a box has said it already
                continue
            if at is None:
                self.prompted += 1
                alone = _Object(self, self.prompted)
                mask = _not_empty(alone.prompt(frame, group), group, frame, self.clip)
                at = next((i for i, old in enumerate(there) if i not in met and is_same(old, mask)), None)
                if at is None:
                    self.objects.append(alone)
                    continue
            met.add(at)
            self.objects[at].prompt(frame, group if group.mask is not None else group.merged(taken[at]))
        for at, negative in enumerate(taken):
            if negative and at not in met:
                self.objects[at].prompt(frame, Group(negative=negative))

    def _taken_away(
        self, frame: int, masks: list[tuple[_Object, np.ndarray]]
    ) -> list[tuple[_Object, np.ndarray]]:
        """Apply the background points of a frame that lies before all other prompts."""
        _, taken = share_negative(self.prompts, frame, [], [mask for _, mask in masks])
        return [
            (one, one.prompt(frame, Group(negative=own), reverse=True) if own else mask)
            for (one, mask), own in zip(masks, taken, strict=True)
        ]

    def _tick(self) -> None:
        self.done += 1
        self.steps = max(self.steps, self.done)
        self.progress(self.done, self.steps)


def _inputs(group: Group) -> dict[str, Any]:
    """A group as the processor takes it: one picture, one object."""
    if group.mask is not None:
        return {"input_masks": group.mask}
    told: dict[str, Any] = {}
    points = [*group.positive, *group.negative]
    if points:
        told["input_points"] = [[[[float(x), float(y)] for x, y in points]]]
        told["input_labels"] = [[[1] * len(group.positive) + [0] * len(group.negative)]]
    if group.box is not None:
        told["input_boxes"] = [[[float(v) for v in (group.box.x0, group.box.y0, group.box.x1, group.box.y1)]]]
    return told


def _not_empty(mask: np.ndarray, group: Group, frame: int, clip: Clip) -> np.ndarray:
    """``mask``, the answer to ``group``. Raises `InputError` where nothing was found."""
    if mask.any():
        return mask
    what, remedy = f"the points on frame {frame}", "click on the middle of the object, or draw a box round it"
    if group.mask is not None:
        what, remedy = f"the mask on frame {frame}", "give one with an object"
    elif group.box is not None:
        what, remedy = nothing_in(group.box, frame, clip)
    raise InputError(what, "must lie on an object, but none stands out there", remedy)
