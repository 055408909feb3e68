"""A clip as the model takes it: its size, its length, its numbers; and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

import cv2
import numpy as np
import torch
from torch.nn import functional

from aftermath.core import Box, Level

__all__ = [
    "focus_box",
    "model_quadmask",
    "model_size",
    "model_video",
    "padded",
    "padded_indices",
    "source_frame",
]

_T = TypeVar("_T")

_LEVELS = torch.tensor([int(level) for level in Level], dtype=torch.uint8)
_BOUNDS = torch.tensor([31.0, 95.0, 191.0])
_AROUND = 0.5  # of what changes, on each side: what it touches and what lights it
_MOST = 0.75  # of the picture: cutting off less than the rest is not worth another shape


def padded_indices(num_frames: int, least: int, most: int) -> np.ndarray:
    """Which frame of the clip stands at each place of the padded one: int (T,).

    The clip is followed by itself backwards (the frame at the turn twice), and that again from its start, until the
    length is one that the model takes: the smallest 4k+1, and 4 more where that makes an odd number of latent frames;
    no less than ``least``, and no more than ``most``, where it is cut.
    """
    num_frames = min(num_frames, most)
    length = -(-(num_frames - 1) // 4) * 4 + 1
    if length // 4 % 2 == 0:
        length += 4
    length = max(min(length, most), least)
    there_and_back = np.r_[np.arange(num_frames), np.arange(num_frames)[::-1]]
    return there_and_back[np.arange(length) % len(there_and_back)]


def padded(items: Iterable[_T], num_frames: int, places: np.ndarray) -> Iterator[_T]:
    """The ``num_frames`` items of a clip at the ``places`` that `padded_indices` gives them, in a stream.

    Only what the end repeats is held.
    """
    tail = places[num_frames:]
    first = int(tail.min()) if tail.size else num_frames
    held: list[_T] = []
    for index, item in enumerate(islice(items, num_frames)):
        if index >= first:
            held.append(item)
        if index < len(places):
            yield item
    for place in tail:
        yield held[int(place) - first]


def model_size(width: int, height: int, size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) that the model paints a clip of this size at: ``size``, turned for a clip that stands upright."""
    long, short = max(size), min(size)
    return (long, short) if height > width else (short, long)


def focus_box(changed: Iterable[np.ndarray], size: tuple[int, int], width: int, height: int) -> Box:
    """The part of a clip of ``width`` x ``height`` pixels that the model should see: whole pixels, fixed for the clip.

    ``changed``: boolean (h', w') of any size, a frame each, where the result may differ. What changes and as much round
    it again as it is large, in the shape that the model paints, ``size`` (h, w), and no smaller than that: the
    picture is never enlarged. The whole picture where that would be most of it.
    """
    whole = Box(0, 0, width, height)
    found: Box | None = None
    for frame in changed:
        box = Box.of_mask(frame)
        if box is not None:
            box = box.scaled(width / frame.shape[1], height / frame.shape[0])
            found = box if found is None else found.union(box)
    if found is None:
        return whole
    tall, wide = size
    needed_x, needed_y = found.width * (1 + 2 * _AROUND), found.height * (1 + 2 * _AROUND)
    scale = max(1.0, needed_x / wide, needed_y / tall)
    box_width, box_height = min(width, round(scale * wide)), min(height, round(scale * tall))
    if box_width * box_height > _MOST * width * height:
        return whole
    x, y = found.center
    left = min(max(round(x - box_width / 2), 0), width - box_width)
    top = min(max(round(y - box_height / 2), 0), height - box_height)
    return Box(left, top, left + box_width, top + box_height)


def model_video(frames: Iterable[np.ndarray], size: tuple[int, int], box: Box) -> Iterator[torch.Tensor]:
    """uint8 (H, W, 3) frames to float32 (3, h, w) in [0, 1]: what ``box`` holds, area-averaged to ``size`` (h, w)."""
    for frame in frames:
        yield _averaged(frame[box.slices(frame.shape[1], frame.shape[0])].transpose(2, 0, 1), size) / 255


def model_quadmask(frames: Iterable[np.ndarray], size: tuple[int, int], box: Box) -> Iterator[torch.Tensor]:
    """uint8 (H, W) quadmask frames to uint8 (h, w) of the four levels.

    Averaged over areas as the video is, then taken to a level by the bounds that the weights met: at most 31, 95, 191.
    """
    for frame in frames:
        small = _averaged(frame[box.slices(frame.shape[1], frame.shape[0])][None], size)[0]
        yield _LEVELS[torch.bucketize(small, _BOUNDS)]


def source_frame(frame: torch.Tensor, box: Box, width: int, height: int) -> np.ndarray:
    """One painted frame, float (3, h, w) in [0, 1], at its place in the source: uint8 (height, width, 3), black
    outside of ``box``."""
    small = (frame.float() * 255).round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()
    large = cv2.resize(small, (int(box.width), int(box.height)), interpolation=cv2.INTER_CUBIC)
    if large.shape[:2] == (height, width):
        return large
    out = np.zeros((height, width, 3), np.uint8)
    out[box.slices(width, height)] = large
    return out


def _averaged(planes: np.ndarray, size: tuple[int, int]) -> torch.Tensor:
    """uint8 (C, H, W) to float32 (C, h, w), 0 to 255."""
    pixels = torch.from_numpy(np.ascontiguousarray(planes)).float()[None]
    return functional.interpolate(pixels, size=size, mode="area")[0]
