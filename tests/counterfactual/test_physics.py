"""What the simulator does is what the textbook says, within 2 %."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest

os.environ.setdefault("MUJOCO_GL", "egl")
pytest.importorskip("mujoco", reason="the extra data is not installed")

from aftermath.counterfactual.camera import project, view_at
from aftermath.counterfactual.families import FAMILIES, make_scene
from aftermath.counterfactual.scene import Body, CameraPath, Light, Room, Scene, Shape
from aftermath.counterfactual.simulate import Motion, simulate
from aftermath.counterfactual.surfaces import Surface
from aftermath.errors import InputError

GREY = Surface("plain", (0.5, 0.5, 0.5))
G = 9.81


def world(*bodies: Body) -> Scene:
    """Bodies over a bare floor, and one far away that is removed."""
    far = Body("far", (Shape("sphere", (0.1,), GREY),), (9.0, 9.0, 0.1))
    camera = CameraPath((0.0, -3.0, 1.5), (0.0, 0.0, 0.2))
    return Scene("test", 0, ("far",), (*bodies, far), Room(GREY, GREY), Light((0, 0, 3)), camera, shutter=0.0)


def ball(name: str, x: float, z: float, vx: float = 0.0, **more: float) -> Body:
    body = Body(name, (Shape("sphere", (0.1,), GREY),), (x, 0.0, z), velocity=(vx, 0.0, 0.0), rest=False)
    return replace(body, **more)  # type: ignore[arg-type]


def places(motion: Motion, row: int) -> np.ndarray:
    return motion.poses[:, 0, row, :3]


def test_a_thing_in_the_air_falls_by_half_g_t_squared() -> None:
    scene = world(ball("ball", 0.0, 5.0, vx=0.7))
    at, time = places(simulate(scene, without_removed=False), 0)[:20], np.arange(20) / 24
    np.testing.assert_allclose((5.0 - at)[1:, 2], 0.5 * G * time[1:] ** 2, rtol=0.02)
    np.testing.assert_allclose(at[1:, 0], 0.7 * time[1:], rtol=0.02)


@pytest.mark.parametrize(("mass", "bounce"), [(0.5, 1.0), (1.5, 1.0), (0.5, 0.5)])
def test_two_balls_collide_as_momentum_and_restitution_say(mass: float, bounce: float) -> None:
    one = ball("one", -0.5, 5.0, vx=2.0, mass_kg=0.5, bounce=bounce, friction=0.0)
    two = ball("two", 0.0, 5.0, mass_kg=mass, bounce=bounce, friction=0.0)
    motion = simulate(world(one, two), without_removed=False)
    speeds = [float(np.diff(places(motion, row)[10:18, 0]).mean() * 24) for row in (0, 1)]
    expected = (
        (0.5 - bounce * mass) / (0.5 + mass) * 2.0,
        0.5 * (1 + bounce) / (0.5 + mass) * 2.0,
    )
    np.testing.assert_allclose(speeds, expected, atol=0.02 * 2.0)
    contact = next(c for c in motion.contacts if {c.first, c.second} == {"one", "two"})
    assert contact.start_s == pytest.approx(0.15, abs=0.01)


def test_a_sliding_block_stops_where_friction_stops_it() -> None:
    block = Body(
        "block",
        (Shape("box", (0.15, 0.15, 0.05), GREY),),
        (0.0, 0.0, 0.05),
        velocity=(1.5, 0.0, 0.0),
        friction=0.3,
    )
    end = places(simulate(world(block), without_removed=False), 0)[-1, 0]
    assert end == pytest.approx(1.5**2 / (2 * 0.3 * G), rel=0.02)


def test_the_same_scene_moves_the_same_and_nothing_moves_without_a_cause() -> None:
    scene = make_scene("light", 3)
    one, again = (simulate(scene, without_removed=False) for _ in range(2))
    assert np.array_equal(one.poses, again.poses) and one.contacts == again.contacts


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_the_same_for_the_same_seed_and_survives_json(family: str) -> None:
    scene = make_scene(family, 5)
    assert scene == make_scene(family, 5) == Scene.from_json(scene.to_json())
    assert len({make_scene(family, seed).to_json() for seed in range(20)}) == 20


def test_what_is_no_scene_is_refused() -> None:
    with pytest.raises(InputError, match="JSON of a scene"):
        Scene.from_json('{"family": 3}')
    with pytest.raises(InputError, match="removed"):
        replace(world(ball("ball", 0, 1)), removed=("nobody",))
    with pytest.raises(InputError, match="collision"):
        make_scene("nonsense", 0)


def test_the_camera_sees_its_target_in_the_middle() -> None:
    scene = make_scene("control", 1)
    x, y = project(view_at(scene, 0), np.array(scene.camera.target), scene.size)
    assert (x, y) == pytest.approx(((scene.size[0] - 1) / 2, (scene.size[1] - 1) / 2), abs=0.01)
