"""A clip as the model takes it: its size, its length, its numbers; and back."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
import torch
from torch.nn import functional

from aftermath.core import Level

__all__ = ["model_quadmask", "model_size", "model_video", "padded_indices", "source_frame"]

_LEVELS = torch.tensor([int(level) for level in Level], dtype=torch.uint8)
_BOUNDS = torch.tensor([31.0, 95.0, 191.0])


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


def model_size(width: int, height: int, size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) that the model paints a clip of this size at: ``size``, turned for a clip that stands upright."""
    long, short = max(size), min(size)
    return (long, short) if height > width else (short, long)


def model_video(frames: Iterable[np.ndarray], size: tuple[int, int]) -> torch.Tensor:
    """uint8 (H, W, 3) frames to float32 (T, 3, h, w) in [0, 1], resized to ``size`` (h, w) by area averaging."""
    return torch.cat([_averaged(frame.transpose(2, 0, 1), size) / 255 for frame in frames])


def model_quadmask(frames: Iterable[np.ndarray], size: tuple[int, int]) -> torch.Tensor:
    """uint8 (H, W) quadmask frames to uint8 (T, h, w) of the four levels.

    Averaged over areas as the video is, then taken to a level by the bounds that the weights met: at most 31, 95, 191.
    """
    small = torch.cat([_averaged(frame[None], size)[:, 0] for frame in frames])
    return _LEVELS[torch.bucketize(small, _BOUNDS)]


def source_frame(frame: torch.Tensor, width: int, height: int) -> np.ndarray:
    """One painted frame, float (3, h, w) in [0, 1], at the source's size: uint8 (height, width, 3)."""
    small = (frame.float() * 255).round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()
    return np.clip(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), 0, 255)


def _averaged(planes: np.ndarray, size: tuple[int, int]) -> torch.Tensor:
    """uint8 (C, H, W) to float32 (1, C, h, w), 0 to 255."""
    pixels = torch.from_numpy(np.ascontiguousarray(planes)).float()[None]
    return functional.interpolate(pixels, size=size, mode="area")
