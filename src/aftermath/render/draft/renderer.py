"""`DraftRenderer`: background plate, moving layers, grain; streamed, on any CPU."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from aftermath.core import Level
from aftermath.render.base import Job, Progress, Rendered
from aftermath.render.draft.backdrop import Backdrop, View, build_backdrop
from aftermath.render.draft.grain import add_grain
from aftermath.render.draft.layers import Layer, cut_layers, cut_sprites, paint

__all__ = ["DraftRenderer"]


class DraftRenderer:
    """The embedded renderer; see `Renderer`."""

    name = "draft"

    def render(self, job: Job, progress: Progress) -> Rendered:
        """Build the plate and cut the layers, then stream the frames; see `Renderer.render`."""
        sprites = cut_sprites(job)
        wanted = {sprite.frame: sprite.box for sprite in sprites.values()}
        backdrop, frames = build_backdrop(job, wanted, progress)
        layers = cut_layers(job, backdrop, frames, sprites)
        report: dict[str, object] = {
            "camera": str(job.scene.camera.kind),
            "invented_share": 0.0,
            "layers": [{"id": name, "cut_from_frame": sprite.frame} for name, sprite in sprites.items()],
            "grain_sigma": [round(float(s), 2) for s in backdrop.grain.sigma],
        }
        return Rendered(_frames(job, backdrop, layers, report, progress), report)


def _frames(
    job: Job, backdrop: Backdrop, layers: list[Layer], report: dict[str, object], progress: Progress
) -> Iterator[np.ndarray]:
    changed_px = invented_px = 0
    num = len(job.clip)
    pairs = zip(job.source(), job.quadmask_source(), strict=False)
    for t, (source, levels) in enumerate(pairs):
        if t >= num:
            break
        view = View.around(source, levels != Level.KEEP)
        frame = source
        if view is not None:
            frame, invented = _frame(job, backdrop, layers, t, source, levels, view)
            changed_px += int(view.changed.sum())
            invented_px += int((invented & view.changed).sum())
        report["invented_share"] = round(invented_px / max(1, changed_px), 4)
        progress(num + t + 1, 2 * num)
        yield frame


def _frame(
    job: Job, backdrop: Backdrop, layers: list[Layer], t: int, source: np.ndarray, levels: np.ndarray, view: View
) -> tuple[np.ndarray, np.ndarray]:
    """One frame of the world without the object, uint8 (H, W, 3), and what of ``view`` was invented."""
    plate, reach, invented = backdrop.in_frame(t, view)
    canvas = add_grain(plate, backdrop.grain, job.seed, t)
    keep = _kept_things(job, t, levels, view)
    if keep is not None:
        canvas += (view.source - canvas) * keep[..., None]
    paint(canvas, layers, t, (view.x, view.y))
    frame = source.copy()
    rows, cols = slice(view.y, view.y + len(canvas)), slice(view.x, view.x + canvas.shape[1])
    painted = np.clip(np.rint(canvas), 0, 255).astype(np.uint8)
    frame[rows, cols] = np.where(reach[..., None], painted, view.source)
    return frame, invented


def _kept_things(job: Job, t: int, levels: np.ndarray, view: View) -> np.ndarray | None:
    """Things that pass and are not affected stay as they are: float32 (h, w) of ``view``, None without any."""
    kept = job.scene.labels[t] > 0
    for thing in job.plan.applied:
        if thing.id in job.masks:
            kept = kept & ~job.masks[thing.id][t]
    if not kept.any():
        return None
    height, width = levels.shape
    soft = cv2.GaussianBlur(kept.astype(np.float32), (0, 0), 1.0)
    # the part of the analysed picture under the view, resampled
    matrix = np.array([[kept.shape[1] / width, 0, view.x * kept.shape[1] / width],
                       [0, kept.shape[0] / height, view.y * kept.shape[0] / height]])  # fmt: skip
    size = view.changed.shape[1::-1]
    soft = cv2.warpAffine(soft, matrix, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    inside = levels[view.y : view.y + size[1], view.x : view.x + size[0]]
    return np.where(inside > Level.OVERLAP, np.clip(2 * soft, 0, 1), 0).astype(np.float32)
