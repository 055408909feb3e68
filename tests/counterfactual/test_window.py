"""Boards that shape a lamp's light are never before the camera: MuJoCo is asked what each ray of a picture meets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aftermath.counterfactual.camera import view_at
from aftermath.counterfactual.engine import build_model, load_mujoco
from aftermath.counterfactual.families import FAMILIES, make_scene
from aftermath.counterfactual.scene import Scene
from aftermath.counterfactual.window import BOARDS, in_view

pytest.importorskip("mujoco", reason="the extra data is not installed")

SEEN = (("actor", 60086), ("hanging", 60043), ("support", 60212), ("container", 60265))


def boards_met(scene: Scene) -> bool:
    """Whether a ray meets a window's board first, in any of 13 frames."""
    mujoco, model = load_mujoco(), build_model(scene)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    (window,) = (b for b in range(1, model.nbody) if not model.body(b).name and model.body_geomnum[b] == 6)
    width, height = scene.size
    for t in np.linspace(0, scene.num_frames - 1, 13):
        view = view_at(scene, t)
        x, y = np.meshgrid(np.linspace(-width / 2, width / 2, 33), np.linspace(-height / 2, height / 2, 21))
        rays = np.stack([x, y, np.full_like(x, -view.focal_px(height))], -1).reshape(-1, 3) @ view.axes.T
        for ray in rays:
            met = np.array([-1], np.int32)
            mujoco.mj_ray(model, data, view.eye, ray, None, 1, -1, met)
            if met[0] >= 0 and model.geom_bodyid[met[0]] == window:
                return True
    return False


@pytest.mark.parametrize(("family", "seed"), SEEN)
def test_a_window_that_would_be_seen_is_left_out(family: str, seed: int) -> None:
    scene = make_scene(family, seed)
    boarded = replace(scene, light=replace(scene.light, window=True))
    assert len(BOARDS) == 6 and in_view(boarded) and boards_met(boarded)
    assert not scene.light.window


def test_scenes_with_a_window_show_none_of_it() -> None:
    scenes = [make_scene(family, seed) for seed in range(30) for family in FAMILIES]
    windows = [scene for scene in scenes if scene.light.window]
    assert len(windows) > 20
    for scene in windows[::6]:
        assert not boards_met(scene)
