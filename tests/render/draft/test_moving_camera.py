"""What the draft renderer paints where the camera passes near things and far ones."""

from functools import cache

import numpy as np

from aftermath.core import Plan, Quadmask
from aftermath.render.base import Job
from aftermath.render.draft.renderer import DraftRenderer
from aftermath.scene.analyse import analyse_scene
from aftermath.scene.base import Scene
from scenes import RED, SIZE, frames_of, psnr, silent
from two_depths import EDGE_PX, NUM, disc, filmed, sunk

MIDDLE = slice(40, 280)  # the cells of the quadmask
LOWER = slice(60, 165)


@cache
def result() -> tuple[np.ndarray, Quadmask, Scene]:
    """The disc taken out; the affected cells are large, as the reference draws them, and hold the mat's edge too."""
    clip, primary = filmed(sinks=True, passes=True), disc()
    affected = np.zeros(primary.shape, bool)
    affected[1:, LOWER, MIDDLE] = True
    quadmask = Quadmask.from_masks(primary, affected)
    scene = analyse_scene(clip, primary)
    job = Job(
        clip, quadmask, Plan(*SIZE, NUM), scene, {}, frames_of(clip.frames), lambda: iter(quadmask), seed=0
    )
    return np.stack(list(DraftRenderer().render(job, silent).frames)), quadmask, scene


def test_the_mat_is_not_torn():
    """Nothing changes at its edge: what is there is as sharp as the source in every frame."""
    frames, quadmask, _ = result()
    source, truth = filmed(sinks=True, passes=True).frames, filmed().frames
    mat = np.zeros(source.shape[:3], bool)
    mat[:, EDGE_PX + 3 : LOWER.stop, MIDDLE] = True
    edge = np.zeros(source.shape[:3], bool)
    edge[:, EDGE_PX - 6 : EDGE_PX + 3, MIDDLE] = True
    edge &= ~quadmask.primary
    edge &= ~sunk()
    worst = min(psnr(frames[t : t + 1], truth[t : t + 1], (mat | edge)[t : t + 1]) for t in range(1, NUM))
    assert worst > 34


def test_what_sank_is_at_rest():
    frames, _, _ = result()
    truth, source = filmed().frames, filmed(sinks=True).frames
    assert psnr(source, truth, sunk()) < 20
    assert psnr(frames, truth, sunk()) > 27


def test_nothing_of_the_object_is_left():
    frames, quadmask, _ = result()
    assert psnr(frames, filmed().frames, quadmask.primary) > 30
    red = np.linalg.norm(frames.astype(float) - RED, axis=-1) < 60
    assert (red & quadmask.changed).sum() < 0.005 * quadmask.primary.sum()


def test_what_shows_the_background_already_stays_as_it_is():
    frames, quadmask, scene = result()
    source = filmed(sinks=True, passes=True).frames
    clear = quadmask.changed & ~quadmask.primary & ~sunk()
    assert scene.parallax is not None
    assert (frames == source).all(axis=-1)[clear].mean() > 0.7
