"""Film the example clips: ``python examples/render.py [NAME ...]`` (all of them without one; minutes each).

Every example is the reference's sequence folder, with the truth beside it::

    examples/collision/
    ├── input_video.mp4    what the camera saw, 672x384 at 24/s (`collision`: with sound)
    ├── quadmask_0.mp4     the true quadmask, lossless: 0 object, 63 both, 127 affected, 255 keep
    ├── prompt.json        {"bg": "the scene after removal"}
    ├── rgb_removed.mp4    the true counterfactual: the same scene, simulated anew without the object
    └── truth.json         the object's box, and where everything else is in both worlds

The labels come from three renderings, as in VOID's training data (arXiv 2604.02296): A shows everything; in C
the object is invisible but still acts; B was simulated without it. Primary is the object's own pixels in A;
affected is what differs between A and B outside of it (so shadow and reflection count) and between C and B
inside. Frame 0 has no affected pixels. The same scene gives the same bytes.

Needs the `data` extra (MuJoCo), with EGL; without it, OSMesa.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import cv2
import numpy as np
from film import add_grain, rolling_sound, write_quadmask, write_video
from scenery import SCENES, Body, Scene
from world import FRAME_RATE, HEIGHT, STEPS_PER_FRAME, WIDTH, Motion, World

DIFFERENCE = 10  # of 255, on any channel: what counts as another look
SPECK_PX = 24  # smaller changes are noise of the shadow map
FOLDER = Path(__file__).parent
PRIMARY, OVERLAP, AFFECTED, KEEP = 0, 63, 127, 255


def film(scene: Scene, folder: Path) -> None:
    """Simulate, render and write one example into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    world = World(scene)
    real, without = world.simulate(without_removed=False), world.simulate(without_removed=True)
    frames = range(scene.num_frames)
    seen = np.stack([world.picture(real, t, show_removed=True) for t in frames])
    truth = np.stack([world.picture(without, t, show_removed=False) for t in frames])
    owners = np.stack([world.labels(real, t, show_removed=True) for t in frames])
    owners_truth = np.stack([world.labels(without, t, show_removed=False) for t in frames])
    primary = (owners == world.bodies[scene.removed]).any(axis=1)
    quadmask = _quadmask(primary, seen, truth, _unseen(world, real, without, truth))
    sound = _sound(world, real) if scene.sound else None
    write_video(folder / "input_video.mp4", _with_grain(seen, scene.seed, 0), FRAME_RATE, sound)
    write_video(folder / "rgb_removed.mp4", _with_grain(truth, scene.seed, 1), FRAME_RATE)
    write_quadmask(folder / "quadmask_0.mp4", quadmask, FRAME_RATE)
    _write_json(folder / "prompt.json", {"bg": scene.prompt})
    _write_json(folder / "truth.json", _truth(world, primary, owners, owners_truth))


def _with_grain(pictures: np.ndarray, *seed: int) -> list[np.ndarray]:
    return [add_grain(picture, (*seed, t)) for t, picture in enumerate(pictures)]


def _unseen(world: World, real: Motion, without: Motion, truth: np.ndarray) -> np.ndarray:
    """Rendering C, uint8 (T, H, W, 3); it is B wherever the object touched nothing."""
    columns = [world.qpos_of(body.name) for body in world.scene.bodies if body.name != world.scene.removed]
    if all(np.array_equal(real.qpos[..., column], without.qpos[..., column]) for column in columns):
        return truth
    return np.stack([world.picture(real, t, show_removed=False) for t in range(world.scene.num_frames)])


def _quadmask(primary: np.ndarray, seen: np.ndarray, truth: np.ndarray, unseen: np.ndarray) -> np.ndarray:
    """The four levels, uint8 (T, H, W), from the object's pixels and the renderings A, B and C."""
    affected = np.zeros_like(primary)
    for t in range(1, len(primary)):
        outside, inside = _differs(seen[t], truth[t]), _differs(unseen[t], truth[t])
        affected[t] = np.where(primary[t], _tidy(inside & primary[t]), _tidy(outside & ~primary[t]))
    values = np.full(primary.shape, KEEP, np.uint8)
    values[affected] = AFFECTED
    values[primary] = PRIMARY
    values[primary & affected] = OVERLAP
    return values


def _differs(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return cv2.absdiff(one, other).max(axis=-1) >= DIFFERENCE


def _tidy(mask: np.ndarray) -> np.ndarray:
    """Close pinholes and drop specks of a boolean (H, W)."""
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(closed)
    large = stats[:, cv2.CC_STAT_AREA] >= SPECK_PX
    large[0] = False
    return large[np.asarray(labels, np.intp)]


def _sound(world: World, motion: Motion) -> np.ndarray:
    speeds = [world.speed(motion, body.name) for body in world.scene.bodies]
    return rolling_sound(speeds, motion.touching, FRAME_RATE * STEPS_PER_FRAME, world.scene.seed)


def _truth(world: World, primary: np.ndarray, owners: np.ndarray, truth: np.ndarray) -> dict[str, object]:
    """What `truth.json` says, from the labels (T, SAMPLES, H, W) of A and B.

    Pixels of the picture, (x, y); boxes half-open; null for the centre of a thing out of view.
    """
    scene = world.scene
    frame = _first_well_seen(primary)
    others = [body for body in scene.bodies if body.name != scene.removed]
    return {
        "name": scene.name,
        "frame_rate": FRAME_RATE,
        "num_frames": scene.num_frames,
        "size": [WIDTH, HEIGHT],
        "removed": {"name": scene.removed, "frame": frame, "box": _box(primary[frame])},
        "things": [
            _thing(body, owners == world.bodies[body.name], truth == world.bodies[body.name])
            for body in others
        ],
    }


def _thing(body: Body, real: np.ndarray, truth: np.ndarray) -> dict[str, object]:
    """One entry of ``things``, from the body's masks (T, SAMPLES, H, W) in both worlds."""
    first = int(np.flatnonzero(real.any(axis=(1, 2, 3)))[0])
    mask = real[first].all(axis=0)
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return {
        "name": body.name,
        "affected": body.action != "none",
        "action": body.action,
        "click": {"x": int(x), "y": int(y), "frame": first},
        "box": _box(real[first].any(axis=0)),
        "centers_source": [_center(mask) for mask in real],
        "centers_removed": [_center(mask) for mask in truth],
    }


def _center(samples: np.ndarray) -> list[float] | None:
    """Centroid of what is seen of a thing, boolean (SAMPLES, H, W); the first pixel's centre is (0, 0)."""
    if not samples.any():
        return None
    _, y, x = np.nonzero(samples)
    return [round(float(x.mean()), 2), round(float(y.mean()), 2)]


def _first_well_seen(masks: np.ndarray) -> int:
    """The first frame in which the object is in view and free of the picture's border."""
    inside = masks.any(axis=(1, 2))
    inside &= ~(masks[:, [0, -1]].any(axis=(1, 2)) | masks[:, :, [0, -1]].any(axis=(1, 2)))
    return int(np.flatnonzero(inside)[0])


def _box(mask: np.ndarray) -> list[int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]


def _write_json(path: Path, content: dict[str, object]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")


def _need_renderer(scene: Scene) -> None:
    """Start again with OSMesa where EGL does not work; the choice is made when MuJoCo is imported."""
    try:
        World(scene)
    except Exception as error:
        if os.environ["MUJOCO_GL"] != "egl":
            raise
        print(
            f"EGL does not work here ({error}): trying OSMesa (Debian: libosmesa6)",
            file=sys.stderr,
            flush=True,
        )
        os.environ["MUJOCO_GL"] = "osmesa"
        os.environ.pop("PYOPENGL_PLATFORM", None)  # MuJoCo set it to EGL
        os.execv(sys.executable, [sys.executable, *sys.argv])


def main() -> None:
    """Film the named examples."""
    parser = argparse.ArgumentParser(description="Film the example clips.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SCENES)}; all without one")
    parser.add_argument("-o", "--output", type=Path, default=FOLDER, help="where the folders go")
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(SCENES))
    if unknown:
        parser.error(f"no example is called {unknown[0]}: {', '.join(SCENES)}")
    names = options.names or list(SCENES)
    _need_renderer(SCENES[names[0]])
    for name in names:
        film(SCENES[name], options.output / name)
        print(f"{name}: {options.output / name}", flush=True)


if __name__ == "__main__":
    main()
