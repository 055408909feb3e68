"""What the model sees of a clip, in chunks: the part, the size and the frames of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch

from aftermath.config import Focus
from aftermath.core import Box, Level
from aftermath.core.geometry import valid_length
from aftermath.render.base import Job
from aftermath.render.void.conditioning import latent_frames
from aftermath.render.void.encode import chunk_lengths
from aftermath.render.void.frames import (
    focus_box,
    model_quadmask,
    model_size,
    model_video,
    padded,
    padded_indices,
)
from aftermath.render.void.published import Manner
from aftermath.render.void.settings import Settings

__all__ = ["View"]

_LONGEST = 197  # frames: what is longer is padded to no more than its next valid length


@dataclass(frozen=True)
class View:
    """What the model sees of a clip: ``box`` of each frame, at ``size`` (h, w), ``num`` frames at their ``places``."""

    box: Box
    size: tuple[int, int]
    num: int
    places: np.ndarray

    @classmethod
    def of(cls, job: Job, settings: Settings, manner: Manner) -> View:
        """Of the clip of ``job``."""
        width, height = job.clip.source_width, job.clip.source_height
        asked = (settings.size[0] or manner.size[0], settings.size[1] or manner.size[1])
        size = model_size(width, height, asked)
        box = Box(0, 0, width, height)
        if settings.focus is Focus.AUTO:
            box = focus_box((levels != Level.KEEP for levels in job.quadmask), size, width, height)
        num = len(job.quadmask)
        # the published padding makes short clips as long as the window; the fast way does without
        least = valid_length(num) if settings.fast else manner.least_frames
        return cls(box, size, num, padded_indices(num, least, valid_length(max(num, _LONGEST))))

    @property
    def lengths(self) -> list[int]:
        """Frames that the VAE reads at a time."""
        return chunk_lengths(len(self.places))

    @property
    def latents(self) -> int:
        """Of the padded clip."""
        return latent_frames(len(self.places))

    def video(self, job: Job) -> Iterator[torch.Tensor]:
        """Chunks (1, 3, n, h, w) in [0, 1]."""
        frames = padded(model_video(job.source(), self.size, self.box), self.num, self.places)
        return (chunk.movedim(0, 1)[None] for chunk in self._chunks(frames))

    def quadmask(self, job: Job) -> Iterator[torch.Tensor]:
        """Chunks (1, n, h, w) of the four levels."""
        frames = padded(model_quadmask(job.quadmask_source(), self.size, self.box), self.num, self.places)
        return (chunk[None] for chunk in self._chunks(frames))

    def _chunks(self, frames: Iterator[torch.Tensor]) -> Iterator[torch.Tensor]:
        for length in self.lengths:
            yield torch.stack(list(islice(frames, length)))
