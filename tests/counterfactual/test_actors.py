"""Arms that hold, drop, push and press, and foam that is pressed: in both worlds, as physics has it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("MUJOCO_GL", "egl")
pytest.importorskip("mujoco", reason="the extra data is not installed")

from aftermath.counterfactual.arm import grip_path, link_poses
from aftermath.counterfactual.families import make_scene
from aftermath.counterfactual.generate import generate
from aftermath.counterfactual.pairs import Wanted, film_scene, make_pair, pair_name
from aftermath.counterfactual.scene import Body, CameraPath, Light, Room, Scene, Shape, Soft, Tie
from aftermath.counterfactual.simulate import Motion, simulate
from aftermath.counterfactual.surfaces import Surface

GREY = Surface("plain", (0.5, 0.5, 0.5))
G, RATE = 9.81, 24


def found(fits: Callable[[Tie], bool]) -> Scene:
    """The first scene of an arm whose tie fits, without blur."""
    scenes = (make_scene("actor", seed, num_frames=33) for seed in range(60))
    return replace(next(s for s in scenes if s.ties and s.ties[0].rigid and fits(s.ties[0])), shutter=0.0)


def place(scene: Scene, motion: Motion, name: str) -> np.ndarray:
    return motion.poses[:, 0, [body.name for body in scene.bodies].index(name), :3]


def test_what_is_held_falls_by_half_g_t_squared_where_the_arm_is_gone() -> None:
    scene = found(lambda tie: tie.from_s == 0 and tie.until_s is None)
    thing, hand = scene.ties[0].hung, scene.ties[0].holder
    real, without = (simulate(scene, without_removed=gone) for gone in (False, True))
    apart = place(scene, real, thing) - place(scene, real, hand)
    assert np.ptp(np.linalg.norm(apart, axis=1)) < 0.002
    np.testing.assert_allclose(place(scene, real, thing)[0], place(scene, without, thing)[0], atol=1e-3)
    lands = min(c.start_s for c in without.contacts if {c.first, c.second} == {"floor", thing})
    time = np.arange(int(lands * RATE)) / RATE
    drop = place(scene, without, thing)[0, 2] - place(scene, without, thing)[: len(time), 2]
    assert len(time) > 5
    np.testing.assert_allclose(drop[3:], 0.5 * G * time[3:] ** 2, rtol=0.02)


def test_what_is_let_go_falls_from_then_on() -> None:
    scene = found(lambda tie: tie.from_s == 0 and tie.until_s is not None and 0.4 < tie.until_s < 0.9)
    thing, until = scene.ties[0].hung, scene.ties[0].until_s
    assert until
    motion = simulate(scene, without_removed=False)
    held = next(
        c
        for c in motion.contacts
        if thing in (c.first, c.second) and scene.ties[0].holder in (c.first, c.second)
    )
    assert held.end_s == pytest.approx(until, abs=0.002)
    lands = min(
        c.start_s for c in motion.contacts if {c.first, c.second} == {"floor", thing} and c.start_s > until
    )
    first, last = int(until * RATE) + 1, int(lands * RATE)
    falling = np.diff(place(scene, motion, thing)[first : last + 1, 2], 2) * RATE**2
    np.testing.assert_allclose(falling, -G, rtol=0.02)


def test_what_is_pushed_stays_where_the_arm_is_gone() -> None:
    hands = (
        (scene, scene.actors[0].links[-1])
        for scene in (make_scene("actor", s, num_frames=40) for s in range(40))
    )
    scene, hand = next((s, h) for s, h in hands if not s.ties and not any(body.soft for body in s.bodies))
    real, without = (simulate(scene, without_removed=gone) for gone in (False, True))
    touched = next(c for c in real.contacts if hand in (c.first, c.second))
    thing = touched.first if touched.second == hand else touched.second
    assert np.ptp(place(scene, without, thing), axis=0).max() < 0.002
    moved = np.linalg.norm(np.diff(place(scene, real, thing), axis=0), axis=1)
    assert moved.sum() > 0.03 and moved[: int(touched.start_s * RATE)].max() < 0.001
    arm = set(scene.actors[0].bodies)
    assert all(len({c.first, c.second} & arm) < 2 for c in real.contacts)
    assert not any(hand not in (c.first, c.second) for c in real.contacts if {c.first, c.second} & arm)


def test_links_hang_together_and_the_grip_is_where_it_should_be() -> None:
    actor = make_scene("actor", 7).actors[0]
    times = np.linspace(0, 2, 9)
    poses = link_poses(actor, times)
    w, x, y, z = np.moveaxis(poses[..., 3:], -1, 0)
    along = np.stack([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)], axis=-1)
    ends = poses[..., :3] + along * np.array(actor.lengths_m)[:, None]
    np.testing.assert_allclose(ends[:, :-1], poses[:, 1:, :3], atol=1e-6)
    np.testing.assert_allclose(ends[:, -1], grip_path(actor, times)[0], atol=1e-6)
    still = [grip_path(actor, np.array([key.time_s - 1e-3, key.time_s + 1e-3]))[0] for key in actor.keys]
    assert all(
        np.abs(np.diff(pair, axis=0)).max() < 1e-5 for pair in still
    )  # least jerk: at rest at every key


def foam(heavy_kg: float, *, falls: bool) -> Scene:
    soft = Body(
        "foam", (Shape("box", (0.2, 0.2, 0.1), GREY),), (0, 0, 0.1), mass_kg=3, soft=Soft(6e3, (4, 4, 2))
    )
    weight = Body(
        "weight", (Shape("box", (0.1, 0.1, 0.1), GREY),), (0, 0, 0.45 if falls else 0.305), mass_kg=heavy_kg,
        bounce=0.1, rest=not falls,
    )  # fmt: skip
    camera = CameraPath((0.0, -2.0, 1.0), (0.0, 0.0, 0.1))
    return Scene(
        "test", 0, ("weight",), (soft, weight), Room(GREY, GREY), Light((0.5, -1, 3)), camera, num_frames=14,
        size=(48, 32),
    )  # fmt: skip


def test_foam_springs_back_where_what_lay_on_it_is_gone() -> None:
    scene = foam(8.0, falls=False)
    real, without = (
        simulate(scene, without_removed=gone).points["foam"][:, 0, :, 2] for gone in (False, True)
    )
    bare = simulate(foam(8.0, falls=True), without_removed=True).points["foam"][:, 0, :, 2]
    pressed = bare[-1].mean() - real[-1].mean()
    assert pressed > 0.006 and real.min() > 0  # and not through the floor
    assert bare[-1].mean() - without[0].mean() > 0.6 * pressed  # it starts pressed in both worlds
    assert abs(bare[-1].mean() - without[-1].mean()) < 0.1 * pressed


def test_foam_that_is_pressed_through_itself_is_rejected_without_a_word(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert film_scene(foam(80.0, falls=True)) == "the simulation is unstable"
    assert capfd.readouterr() == ("", "") and not list(tmp_path.iterdir())


@pytest.mark.long
def test_arms_and_foam_give_the_same_bytes_for_any_number_of_workers(tmp_path: Path) -> None:
    pairs = [Wanted(family, seed, 5, (64, 48)) for family, seed in (("actor", 9), ("soft", 10))]
    for pair in pairs:
        make_pair(pair, tmp_path / pair_name(pair))
    generate(tmp_path / "two", pairs, num_workers=2)
    for pair in pairs:
        for path in (tmp_path / pair_name(pair)).iterdir():
            one, two = (
                hashlib.sha256(p.read_bytes()).hexdigest()
                for p in (path, tmp_path / "two" / path.parent.name / path.name)
            )
            assert one == two, path


def test_a_table_ends_where_it_ends() -> None:
    ball = Body(
        "ball", (Shape("sphere", (0.1,), GREY),), (0.6, 0.0, 0.1), velocity=(2.0, 0.0, 0.0), friction=0.1
    )
    far = Body("far", (Shape("sphere", (0.1,), GREY),), (-0.6, 0.5, 0.1))
    room = Room(GREY, GREY, 3.0, table=(0.9, -0.8, 1.0), ground=GREY, drop_m=0.7)
    camera = CameraPath((0.0, -3.0, 1.5), (0.0, 0.0, 0.2))
    scene = Scene("test", 0, ("far",), (ball, far), room, Light((0, 0, 3)), camera, num_frames=24)
    heights = place(scene, simulate(scene, without_removed=False), "ball")[:, 2]
    assert heights[2] == pytest.approx(0.1, abs=0.005) and heights[-1] == pytest.approx(-0.6, abs=0.1)
