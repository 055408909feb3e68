"""What the draft renderer paints where the camera passes near things and far ones."""

from functools import cache

import numpy as np
import pytest

from aftermath.core import Action, AffectedObject, PathPoint, Plan, Quadmask
from aftermath.render.base import Job
from aftermath.render.draft.renderer import DraftRenderer
from aftermath.scene.analyse import analyse_scene
from aftermath.scene.base import Scene
from scenes import BLUE, RED, SIZE, frames_of, psnr, silent
from two_depths import BLUE_AT, BLUE_PX, EDGE_PX, FAR_PX, NUM, blue_x, disc, filmed, sunk

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


@pytest.mark.long
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


@pytest.mark.long
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


@pytest.mark.long
def test_what_stays_is_there_when_the_place_shows_its_background():
    """The blue disc was pushed away, so that later frames show the bare wall where it would rest."""
    clip, primary, pushed_at = filmed(passes=True, pushed=True), disc(), 12
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    home = np.round(BLUE_AT - FAR_PX)
    away, rest = (np.hypot(x - at[:, None, None], y - 90) for at in (blue_x(), home))
    affected = (away < BLUE_PX + 1) | (rest < BLUE_PX + 4)
    affected[:pushed_at] = False
    quadmask = Quadmask.from_masks(primary, affected)
    path = tuple(PathPoint(t, float(home[t]), 90.0) for t in range(pushed_at, NUM))
    ball = AffectedObject("ball", "ball", Action.STAYS, "rested", 1.0, (pushed_at, NUM), path=path)
    scene = analyse_scene(clip, primary)
    assert scene.parallax is not None
    plan, masks = Plan(*SIZE, NUM, affected=(ball,)), {"ball": away < BLUE_PX + 1}
    job = Job(clip, quadmask, plan, scene, masks, frames_of(clip.frames), lambda: iter(quadmask))
    frames = np.stack(list(DraftRenderer().render(job, silent).frames))
    blue = np.linalg.norm(frames.astype(float) - BLUE, axis=-1) < 60
    assert away[-1][rest[-1] < BLUE_PX].min() > 2 * BLUE_PX
    assert min(blue[t][rest[t] < BLUE_PX - 2].mean() for t in range(pushed_at, NUM)) > 0.95
    assert (blue & (away < BLUE_PX) & (rest > BLUE_PX + 4))[pushed_at:].sum() < 50
