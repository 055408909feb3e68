"""One pair of worlds as the reference's training folder, with the truth beside it::

    collision-00000007/
    ├── rgb_full.mp4      what the camera saw
    ├── rgb_removed.mp4   the same scene, simulated anew without the removed
    ├── mask.mp4          the quadmask, lossless: 0 removed, 63 both, 127 affected, 255 keep
    ├── metadata.json     {"bg": caption of the scene after removal, ...}
    ├── truth.json        tracks, poses and actions of every thing in both worlds, contacts, what was rejected
    └── scene.json        the `Scene`

The folder is there whole or not at all. Same family, seed, size and length: same bytes.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from aftermath.counterfactual.camera import project, view_at
from aftermath.counterfactual.captions import actions, caption
from aftermath.counterfactual.families import FAMILIES, make_scene
from aftermath.counterfactual.film import add_grain, write_pictures, write_quadmask
from aftermath.counterfactual.label import differs, quadmask_of, reason_to_reject, still_alike
from aftermath.counterfactual.render import NUM_SAMPLES, Studio
from aftermath.counterfactual.scene import Body, Scene
from aftermath.counterfactual.simulate import Motion, apart_m, moved_apart_m, simulate
from aftermath.errors import AftermathError
from aftermath.media.files import explained

__all__ = ["PAIR_FILES", "Pair", "Wanted", "film_scene", "make_pair", "pair_name", "write_pair"]

PAIR_FILES = ("rgb_full.mp4", "rgb_removed.mp4", "mask.mp4", "metadata.json", "truth.json", "scene.json")
_MAX_ATTEMPTS = 40
_ELSEWHERE_M = 0.006  # about a pixel


@dataclass(frozen=True)
class Wanted:
    """Which pair: all that decides its bytes."""

    family: str
    seed: int
    num_frames: int = 49
    size: tuple[int, int] = (384, 224)


@dataclass(frozen=True)
class Pair:
    """A filmed scene. ``seen`` and ``truth``: uint8 (T, H, W, 3), RGB, without grain; ``quadmask``: uint8 (T, H, W);
    the labels, uint8 (T, S, H, W): 1 + the body's place in the scene, 0 the room."""

    scene: Scene
    real: Motion
    without: Motion
    seen: np.ndarray
    truth: np.ndarray
    quadmask: np.ndarray
    labels_real: np.ndarray
    labels_without: np.ndarray


def pair_name(wanted: Wanted) -> str:
    """The folder's name."""
    return f"{wanted.family}-{wanted.seed:08d}"


def make_pair(wanted: Wanted, folder: Path) -> int:
    """Make the first pair of this seed that teaches something as ``folder``; returns how many were rejected.

    Raises `InputError` where there is no OpenGL, no MuJoCo or no room on the disk, `AftermathError` where no scene
    of this seed will do.
    """
    rejected: list[str] = []
    while len(rejected) < _MAX_ATTEMPTS:
        scene = make_scene(
            wanted.family, wanted.seed, len(rejected), num_frames=wanted.num_frames, size=wanted.size
        )
        pair = film_scene(scene)
        if not isinstance(pair, str):
            write_pair(pair, folder, rejected)
            return len(rejected)
        rejected.append(pair)
    raise AftermathError(
        f"{pair_name(wanted)}: {_MAX_ATTEMPTS} scenes in a row were rejected ({rejected[-1]})"
    )


def film_scene(scene: Scene) -> Pair | str:
    """Simulate, render and label a scene; or why it is rejected."""
    family = FAMILIES.get(scene.family)
    interacts, lights = (family.interacts, family.lights) if family else (True, False)
    with Studio(scene) as studio:
        real, without = (
            simulate(scene, without_removed=gone, num_samples=NUM_SAMPLES, model=studio.model)
            for gone in (False, True)
        )
        if not (real.stable and without.stable):
            return "the simulation is unstable"
        moved = moved_apart_m(scene, real, without)
        if why := still_alike(moved, interacts=interacts):  # before the costly part
            return why
        frames = range(scene.num_frames)
        seen = np.stack([studio.picture(real, t, show_removed=True) for t in frames])
        hidden = [
            [studio.picture(motion, t, show_removed=False) for motion in (without, real)] for t in frames
        ]
        truth, unseen = (np.stack(pictures) for pictures in zip(*hidden, strict=True))
        labels = np.stack([studio.labels(real, t, show_removed=True) for t in frames])
        labels_without = np.stack([studio.labels(without, t, show_removed=False) for t in frames])
    gone = [1 + i for i, body in enumerate(scene.bodies) if body.name in scene.removed]
    primary = np.asarray(np.isin(labels, gone).any(axis=1))
    displaced = _displaced(scene, real, without, (labels, labels_without))
    quadmask = quadmask_of(primary, seen, unseen, truth, displaced)
    physics = np.stack([differs(unseen[t], truth[t]) for t in frames])
    if why := reason_to_reject(quadmask, physics, interacts=interacts, lights=lights):
        return why
    visible = {body.name for i, body in enumerate(scene.bodies) if (labels_without == i + 1).any()}
    scene = replace(scene, caption=caption(scene, without, visible))
    return Pair(scene, real, without, seen, truth, quadmask, labels, labels_without)


def _displaced(
    scene: Scene, real: Motion, without: Motion, labels: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """Where, in either world, a thing is seen that is elsewhere in the other: boolean (T, H, W).

    Of what is soft, only where it is elsewhere.
    """
    apart = apart_m(scene, real, without)
    shown = np.zeros((scene.num_frames, *labels[0].shape[2:]), bool)
    for frame, row in zip(*np.nonzero(apart > _ELSEWHERE_M), strict=True):
        body = scene.bodies[row]
        if body.name in scene.removed:
            continue
        for world, motion in zip(labels, (real, without), strict=True):
            seen = (world[frame] == row + 1).any(axis=0)
            if body.soft and seen.any():
                far = np.linalg.norm(
                    real.points[body.name][frame] - without.points[body.name][frame], axis=-1
                )
                seen &= _about(
                    scene, frame, motion.points[body.name][frame][far > _ELSEWHERE_M], _gap_m(body)
                )
            shown[frame] |= seen
    return shown


def _about(scene: Scene, frame: int, points: np.ndarray, radius_m: float) -> np.ndarray:
    """The pixels within ``radius_m`` of any of the points (P, 3): boolean (H, W)."""
    view, picture = view_at(scene, frame), np.zeros(scene.size[::-1], np.uint8)
    depth = (view.eye - points) @ view.axes[:, 2]
    radius = np.ceil(radius_m * view.focal_px(scene.size[1]) / depth.clip(0.1)).astype(int)
    for (x, y), pixels in zip(project(view, points, scene.size), radius, strict=True):
        if np.isfinite(x):
            cv2.circle(picture, (round(x), round(y)), int(pixels), 1, cv2.FILLED)
    return picture > 0


def _gap_m(body: Body) -> float:
    """How far the points of a soft body are apart, at most."""
    assert body.soft is not None
    sides = zip(body.shapes[0].size, body.soft.cells, strict=True)
    return max(2 * half / count for half, count in sides)


def write_pair(pair: Pair, folder: Path, rejected: list[str]) -> None:
    """Write the folder under another name and let it appear when it is complete."""
    scene, part = pair.scene, folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    with explained(folder):
        part.mkdir()
        try:
            for name, pictures, number in (("rgb_full", pair.seen, 0), ("rgb_removed", pair.truth, 1)):
                grainy = (add_grain(p, (scene.seed, number, t), scene.grain) for t, p in enumerate(pictures))
                write_pictures(part / f"{name}.mp4", grainy, scene.rate, pictures[0].shape)
            write_quadmask(part / "mask.mp4", pair.quadmask, scene.rate, preset="fast")
            _write(part / "scene.json", scene.to_json())
            _write(part / "truth.json", json.dumps(_truth(pair, rejected), ensure_ascii=False))
            _write(part / "metadata.json", json.dumps(_metadata(scene, len(rejected)), ensure_ascii=False))
            part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _write(path: Path, text: str) -> None:
    path.write_text(text + "\n", encoding="utf-8")


def _metadata(scene: Scene, num_rejected: int) -> dict[str, object]:
    """``bg`` and ``prompt`` are one text: readers of the reference's folders ask for either."""
    return {
        "bg": scene.caption, "prompt": scene.caption, "family": scene.family, "seed": scene.seed,
        "num_frames": scene.num_frames, "frame_rate": scene.rate, "size": list(scene.size), "rejected": num_rejected,
    }  # fmt: skip


def _truth(pair: Pair, rejected: list[str]) -> dict[str, object]:
    """Pixels are (x, y), the first pixel's centre (0, 0); boxes are half-open; null: not seen in that frame.

    ``center``: where the body's own origin is in the picture, hidden or not; ``seen``: the middle of what is seen
    of it. A pose is x, y, z in metres and the quaternion w, x, y, z, at mid exposure.
    """
    scene = pair.scene
    does = actions(scene, pair.real, pair.without)
    return {
        "family": scene.family,
        "seed": scene.seed,
        "frame_rate": scene.rate,
        "num_frames": scene.num_frames,
        "size": list(scene.size),
        "caption": scene.caption,
        "removed": list(scene.removed),
        "rejected": rejected,
        "things": [
            {
                "name": body.name,
                "removed": body.name in scene.removed,
                "action": str(does.get(body.name) or "none"),
                "with": _track(scene, pair.real, pair.labels_real, row),
                "without": None
                if body.name in scene.removed
                else _track(scene, pair.without, pair.labels_without, row),
            }
            for row, body in enumerate(scene.bodies)
        ],
        "contacts": {
            "with": [asdict(contact) for contact in pair.real.contacts],
            "without": [asdict(contact) for contact in pair.without.contacts],
        },
        "camera": [_camera(scene, frame) for frame in range(scene.num_frames)],
    }


def _track(scene: Scene, motion: Motion, labels: np.ndarray, row: int) -> dict[str, object]:
    middle = motion.poses[:, motion.poses.shape[1] // 2, row]
    centers = [
        project(view_at(scene, frame), pose[:3], scene.size).round(2).tolist()
        for frame, pose in enumerate(middle)
    ]
    seen = [_seen(samples == row + 1) for samples in labels]
    return {
        "center": [None if np.isnan(center).any() else center for center in centers],
        "seen": [center for center, _ in seen],
        "box": [box for _, box in seen],
        "pose": middle.round(5).tolist(),
    }


def _seen(samples: np.ndarray) -> tuple[list[float] | None, list[int] | None]:
    """Centroid and box of boolean (S, H, W)."""
    share = samples.sum(axis=0)
    y, x = np.nonzero(share)
    if not len(x):
        return None, None
    weights = share[y, x]
    center = [round(float(np.average(axis, weights=weights)), 2) for axis in (x, y)]
    return center, [int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1]


def _camera(scene: Scene, frame: int) -> dict[str, object]:
    view = view_at(scene, frame)
    return {
        "eye": view.eye.round(5).tolist(),
        "axes": view.axes.round(6).tolist(),
        "fov_y_deg": round(view.fov_y_deg, 4),
    }
