"""`DraftRenderer`: background plate, moving layers, grain; streamed, on any CPU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from aftermath.core import Box, Level
from aftermath.render.base import Job, Progress, Rendered
from aftermath.render.draft.backdrop import Backdrop, build_backdrop
from aftermath.render.draft.grain import GrainField
from aftermath.render.draft.layers import Layer, cut_bystanders, cut_layers, cut_sprites, paint, scraps
from aftermath.render.draft.nearest import View

__all__ = ["Draft", "DraftRenderer", "prepare"]


class DraftRenderer:
    """The embedded renderer; see `Renderer`."""

    name = "draft"

    def render(self, job: Job, progress: Progress) -> Rendered:
        """Build the plate and cut the layers, then stream the frames; see `Renderer.render`."""
        draft = prepare(job, progress)
        return Rendered(draft.frames(), draft.report)


@dataclass(frozen=True)
class Draft:
    """A draft ready to be painted.

    ``layers``: the things that go where the source does not show them, full-size pixels. ``passing``: what is not
    acted on and is completed where it was hidden. ``scraps``: boolean (256,), the labels of tracks that are no things.
    ``report``: see `Rendered`.
    """

    job: Job
    backdrop: Backdrop
    layers: list[Layer]
    passing: list[Layer]
    scraps: np.ndarray
    report: dict[str, object]
    progress: Progress

    def frames(self) -> Iterator[np.ndarray]:
        """A new pass over the frames, as in `Rendered`."""
        for frame, _, _ in self._painted():
            yield frame

    def composed(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """A new pass: each frame, uint8 (H, W, 3) RGB, the source's own pixels wherever the quadmask says keep, and
        where it does not: boolean (H, W)."""
        for frame, source, levels in self._painted():
            changed = levels != Level.KEEP
            yield np.where(changed[..., None], frame, source), changed

    def _painted(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Each frame with its source and its quadmask."""
        changed_px = invented_px = 0
        num = len(self.job.clip)
        grain: GrainField | None = None
        pairs = zip(self.job.source(), self.job.quadmask_source(), strict=False)
        for t, (source, levels) in enumerate(pairs):
            if t >= num:
                break
            grain = grain or GrainField(self.backdrop.grain, levels.shape[:2], self.job.seed)
            view = View.around(source, levels != Level.KEEP)
            frame = source
            if view is not None:
                frame, invented = self._frame(grain, t, source, levels, view)
                changed_px += cv2.countNonZero(view.changed.view(np.uint8))
                invented_px += cv2.countNonZero(cv2.bitwise_and(invented, view.changed.view(np.uint8)))
            self.report["invented_share"] = round(invented_px / max(1, changed_px), 4)
            self.progress(num + t + 1, 2 * num)
            yield frame, source, levels

    def _frame(
        self, grain: GrainField, t: int, source: np.ndarray, levels: np.ndarray, view: View
    ) -> tuple[np.ndarray, np.ndarray]:
        """One frame of the world without the object, uint8 (H, W, 3), and what of ``view`` was invented, uint8 0 or
        1."""
        painted, reach, invented = self.backdrop.in_frame(t, view, grain)
        paint(painted, self.passing, t, (view.x, view.y))  # what is hidden of them; what is seen follows
        keep = _kept_things(self.job, self.scraps, t, levels, view)
        if keep is not None:
            part = (keep.rows, keep.cols)
            painted[part] = cv2.blendLinear(painted[part], view.source[part], 1 - keep.weight, keep.weight)
        paint(painted, self.layers, t, (view.x, view.y))
        cv2.copyTo(view.source, (reach == 0).astype(np.uint8), painted)
        frame = source.copy()
        frame[view.y : view.y + len(painted), view.x : view.x + painted.shape[1]] = painted
        return frame, invented


def prepare(job: Job, progress: Progress) -> Draft:
    """Build the plate and cut the layers; ``progress`` is told of this half now, of the other while frames are
    painted."""
    sprites = cut_sprites(job)
    no_things = scraps(job)
    bystanders = cut_bystanders(job, no_things)
    wanted: dict[int, Box] = {}
    for sprite in (*sprites.values(), *bystanders.values()):
        wanted[sprite.frame] = sprite.box.union(wanted.get(sprite.frame, sprite.box))
    backdrop, frames = build_backdrop(job, wanted, progress)
    layers = cut_layers(job, backdrop, frames, sprites)
    passing = cut_layers(job, backdrop, frames, bystanders)
    report: dict[str, object] = {
        "camera": str(job.scene.camera.kind),
        "invented_share": 0.0,
        "layers": [{"id": thing.id, "cut_from_frame": sprite.frame} for thing, sprite in sprites.items()],
        "grain_sigma": [round(float(s), 2) for s in backdrop.grain.sigma],
    }
    return Draft(job, backdrop, layers, passing, no_things, report, progress)


@dataclass(frozen=True)
class _Kept:
    """``weight`` float32 (h, w), how much of the source stays, at ``rows`` and ``cols`` of the view."""

    weight: np.ndarray
    rows: slice
    cols: slice


def _kept_things(job: Job, scraps: np.ndarray, t: int, levels: np.ndarray, view: View) -> _Kept | None:
    """Things that pass and are not affected stay as they are; None where there are none."""
    kept = (job.scene.labels[t] > 0) & ~scraps[job.scene.labels[t]]
    for thing in job.plan.applied:
        if thing.id in job.masks and thing.frames[0] <= t < thing.frames[1]:  # before, it is as it was
            kept = kept & ~job.masks[thing.id][t]
    height, width = levels.shape
    sx, sy = kept.shape[1] / width, kept.shape[0] / height
    seen = Box(
        view.x * sx, view.y * sy, (view.x + view.source.shape[1]) * sx, (view.y + view.source.shape[0]) * sy
    )
    part = np.zeros_like(kept)
    part[seen.slices(kept.shape[1], kept.shape[0])] = kept[seen.slices(kept.shape[1], kept.shape[0])]
    box = Box.of_mask(part)
    if box is None:
        return None
    inside = box.grown(2).scaled(1 / sx, 1 / sy).moved(-view.x, -view.y)
    rows, cols = inside.slices(view.source.shape[1], view.source.shape[0])
    soft = cv2.GaussianBlur(kept.astype(np.float32), (0, 0), 1.0)
    # the part of the analysed picture under the box, resampled to full size
    matrix = np.array(
        [[sx, 0, (view.x + cols.start + 0.5) * sx - 0.5], [0, sy, (view.y + rows.start + 0.5) * sy - 0.5]]
    )
    size = (cols.stop - cols.start, rows.stop - rows.start)
    weight = cv2.warpAffine(soft, matrix, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    here = levels[view.y + rows.start : view.y + rows.stop, view.x + cols.start : view.x + cols.stop]
    return _Kept(np.clip(2 * weight, 0, 1) * (here > Level.OVERLAP).astype(np.float32), rows, cols)
