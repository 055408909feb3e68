"""Small drawn scenes whose truth is known: discs and boxes with soft shadows on a textured, noisy ground."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache

import cv2
import numpy as np

from aftermath.config import Regions
from aftermath.core import Action, Clip, Plan, Quadmask
from aftermath.reason.base import Hint, Reasoning
from aftermath.reason.motion import MotionReasoner
from aftermath.reason.regions import build_quadmask
from aftermath.render.base import Job, Rendered, Source
from aftermath.render.draft.renderer import DraftRenderer
from aftermath.scene.analyse import analyse_scene
from aftermath.scene.base import Scene

SIZE = (320, 180)
NUM = 32
RED, BLUE, GREEN, GRAY = (200, 40, 40), (40, 60, 190), (40, 130, 50), (70, 70, 75)
_ROOM_PX = 200  # ground drawn past the picture, for cameras that move


@dataclass(frozen=True)
class Thing:
    """A disc or a box of ``size`` (width, height); ``centers`` (T, 2), world pixels, NaN where absent."""

    centers: np.ndarray
    color: tuple[int, int, int]
    size: tuple[float, float] = (28, 28)
    round: bool = True
    shadow: float = 0.4  # share of the light it takes away at most


@dataclass(frozen=True, eq=False)
class Drawn:
    """A scene of ``things``; world to frame pixels by ``camera`` float64 (T, 3, 3). Equal to itself alone."""

    things: dict[str, Thing]
    num: int = NUM
    size: tuple[int, int] = SIZE
    camera: np.ndarray | None = None
    gains: np.ndarray | None = None
    noise: float = 1.5

    @cached_property
    def clip(self) -> Clip:
        """The frames, 24 a second."""
        return Clip(_draw(self), np.arange(self.num) / 24, *self.size)

    def mask(self, name: str) -> np.ndarray:
        """Where a thing is seen, what stands before it left out: boolean (T, H, W)."""
        out = np.zeros((self.num, self.size[1], self.size[0]), bool)
        names = list(self.things)
        for t in range(self.num):
            x, y = self._world(t)
            for one in names[names.index(name) :]:
                cover = _cover(self.things[one], t, x, y) > 0.5
                out[t] = cover if one == name else out[t] & ~cover
        return out

    def shade(self, name: str) -> np.ndarray:
        """The share of light a thing's shadow takes away: float32 (T, H, W)."""
        return np.stack([_shade(self.things[name], t, *self._world(t)) for t in range(self.num)])

    def without(self, name: str, **moved: Thing) -> Drawn:
        """The true counterfactual: the scene without a thing, with others going as told."""
        things = {key: thing for key, thing in self.things.items() if key != name}
        return replace(self, things=things | moved)

    def _world(self, t: int) -> tuple[np.ndarray, np.ndarray]:
        return world_pixels(self.size, None if self.camera is None else self.camera[t])


@dataclass(frozen=True)
class Removal:
    """One thing removed from a drawn scene by the embedded stages, each through its public door.

    The analysis sees the picture ``shrink`` times smaller; the renderer reads and writes the whole one.
    """

    drawn: Drawn
    name: str
    hints: tuple[Hint, ...] = ()
    shrink: int = 1

    @property
    def clip(self) -> Clip:
        """What is analysed."""
        return _analysed(self.drawn, self.name, self.shrink)[0]

    @property
    def primary(self) -> np.ndarray:
        """The object's pixels, boolean (T, H, W), analysed."""
        return _analysed(self.drawn, self.name, self.shrink)[1]

    @property
    def scene(self) -> Scene:
        """What the analysis finds: the same whatever the hints, so it is made once."""
        return _analysed(self.drawn, self.name, self.shrink)[2]

    @cached_property
    def reasoning(self) -> Reasoning:
        """What the motion reasoner finds."""
        return MotionReasoner().reason(self.clip, self.primary, self.scene, self.hints, silent)

    def quadmask(self, regions: Regions = Regions.EXACT) -> Quadmask:
        """What may change, analysed size."""
        return build_quadmask(self.clip, self.scene, self.primary, self.reasoning, regions=regions)

    def render(self, seed: int = 0) -> tuple[np.ndarray, Rendered]:
        """The new frames and what came with them."""
        return render(self, self.reasoning.plan, self.quadmask(), seed=seed)

    @cached_property
    def rendered(self) -> tuple[np.ndarray, Rendered]:
        """The same, made once."""
        return self.render()


@lru_cache(maxsize=16)
def _analysed(drawn: Drawn, name: str, shrink: int) -> tuple[Clip, np.ndarray, Scene]:
    clip, primary = drawn.clip, drawn.mask(name)
    if shrink > 1:
        size = (drawn.size[0] // shrink, drawn.size[1] // shrink)
        frames = [cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in clip.frames]
        clip, primary = Clip(np.stack(frames), clip.times_s, *drawn.size), primary[:, ::shrink, ::shrink]
    return clip, primary, analyse_scene(clip, primary)


def render(
    removal: Removal,
    plan: Plan,
    quadmask: Quadmask,
    *,
    seed: int = 0,
    source: Source | None = None,
) -> tuple[np.ndarray, Rendered]:
    """Run the draft renderer; the frames at full size, uint8 (T, H, W, 3), and the `Rendered`."""
    job = Job(
        removal.clip, quadmask, plan, removal.scene, removal.reasoning.masks,
        source or frames_of(removal.drawn.clip.frames),
        lambda: (enlarged(levels, removal.shrink) for levels in quadmask), seed=seed,
    )  # fmt: skip
    rendered = DraftRenderer().render(job, silent)
    return np.stack(list(rendered.frames)), rendered


def frames_of(frames: np.ndarray) -> Source:
    """A job's source over frames in memory, uint8 (T, H, W, 3)."""

    def source(only: Collection[int] | None = None) -> Iterator[np.ndarray]:
        return (frame for t, frame in enumerate(frames) if only is None or t in only)

    return source


def enlarged(levels: np.ndarray, factor: int) -> np.ndarray:
    """A frame of a quadmask, every pixel ``factor`` times as wide and high."""
    return levels.repeat(factor, axis=0).repeat(factor, axis=1)


def silent(done: int, of: int) -> None:
    """A progress that tells nobody."""


def line(*points: tuple[int, float, float], num: int = NUM) -> np.ndarray:
    """Centres (T, 2) through (frame, x, y) points, straight between; NaN before the first, rest after the last."""
    frames, xs, ys = np.array(points, float).T
    t = np.arange(num)
    out = np.stack([np.interp(t, frames, xs), np.interp(t, frames, ys)], axis=1)
    out[t < frames[0]] = np.nan
    return out


def world_pixels(size: tuple[int, int], camera: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """World x and y of every pixel of a frame, float64 (H, W) each."""
    x, y = np.meshgrid(np.arange(size[0], dtype=float), np.arange(size[1], dtype=float))
    if camera is None:
        return x, y
    wx, wy, w = np.einsum("ij,jhw->ihw", np.linalg.inv(camera), np.stack([x, y, np.ones_like(x)]))
    return wx / w, wy / w


def ground(size: tuple[int, int], seed: int = 5) -> np.ndarray:
    """Textured ground, float32 (H, W, 3), with fine grain and broad patches."""
    random = np.random.default_rng(seed)
    out = np.full((size[1], size[0], 3), (150, 140, 125), np.float32)
    for sigma, contrast in ((1.2, 7.0), (4.0, 9.0), (20.0, 10.0)):
        field = cv2.GaussianBlur(random.standard_normal(out.shape[:2], np.float32), (0, 0), sigma)
        out += (field / field.std() * contrast)[..., None]
    return out


def psnr(a: np.ndarray, b: np.ndarray, where: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB over the pixels ``where``, boolean (T, H, W)."""
    error = (a[where].astype(np.float64) - b[where]) ** 2
    return float(10 * np.log10(255**2 / max(error.mean(), 1e-9)))


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boolean masks."""
    return float((a & b).sum() / max(1, (a | b).sum()))


def center_of_color(frame: np.ndarray, color: tuple[int, int, int], near: float = 60) -> np.ndarray:
    """(x, y) of the middle of the pixels that look like ``color``; NaN where there are none."""
    ys, xs = np.nonzero(np.linalg.norm(frame.astype(float) - color, axis=-1) < near)
    return np.array([xs.mean(), ys.mean()]) if xs.size else np.array([np.nan, np.nan])


def _draw(drawn: Drawn) -> np.ndarray:
    width, height = drawn.size
    canvas = ground((width + 2 * _ROOM_PX, height + 2 * _ROOM_PX))
    random = np.random.default_rng(11)
    frames = np.empty((drawn.num, height, width, 3), np.uint8)
    for t in range(drawn.num):
        x, y = drawn._world(t)
        at = ((x + _ROOM_PX).astype(np.float32), (y + _ROOM_PX).astype(np.float32))
        picture = cv2.remap(canvas, *at, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        for thing in drawn.things.values():
            picture *= 1 - _shade(thing, t, x, y)[..., None]
        for thing in drawn.things.values():
            cover = _cover(thing, t, x, y)[..., None]
            picture += cover * (np.array(thing.color, np.float32) - picture)
        if drawn.gains is not None:
            picture *= drawn.gains[t]
        picture += random.normal(0, drawn.noise, picture.shape)
        frames[t] = np.clip(picture.round(), 0, 255)
    return frames


def _cover(thing: Thing, t: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """How much of each pixel a thing hides: float32 (H, W)."""
    cx, cy = thing.centers[t]
    if np.isnan(cx):
        return np.zeros(x.shape, np.float32)
    rx, ry = thing.size[0] / 2, thing.size[1] / 2
    if thing.round:
        return np.clip(rx - np.hypot(x - cx, y - cy) + 0.5, 0, 1).astype(np.float32)
    inside = np.clip(rx - np.abs(x - cx) + 0.5, 0, 1) * np.clip(ry - np.abs(y - cy) + 0.5, 0, 1)
    return inside.astype(np.float32)


def _shade(thing: Thing, t: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A soft ellipse on the ground at the thing's foot, a little to the right."""
    cx, cy = thing.centers[t]
    if np.isnan(cx) or thing.shadow == 0:
        return np.zeros(x.shape, np.float32)
    rx, ry = 0.75 * thing.size[0], 0.3 * thing.size[1]
    cx, cy = cx + 0.35 * thing.size[0], cy + 0.45 * thing.size[1]
    return (thing.shadow * np.exp(-((((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2) ** 2))).astype(np.float32)


# Scenes that several tests look at. Each is worked out once a process: look, don't touch.


@cache
def collision() -> Removal:
    """A red disc hits a resting blue one at frame 14, which rolls off."""
    target = Thing(line((0, 190, 100), (14, 190, 100), (31, 300, 100)), BLUE)
    striker = Thing(line((0, 20, 100), (14, 162, 100), (31, 175, 100)), RED)
    return Removal(Drawn({"target": target, "striker": striker}), "striker")


def collision_truth() -> Drawn:
    """Without the red disc the blue one rests."""
    return collision().drawn.without("striker", target=Thing(line((0, 190, 100)), BLUE))


PUSHED_AT = (190, 100)


@cache
def pushed_along() -> Removal:
    """A red disc meets a blue one that rested for most of the clip and pushes it along to the end; frame 21 is the
    first that shows it elsewhere. What stands behind it is seen for the last two frames, and not all of it."""
    target = Thing(line((0, *PUSHED_AT), (20, *PUSHED_AT), (31, 256, 100)), BLUE)
    pusher = Thing(line((0, 42, 100), (20, 162, 100), (31, 228, 100)), RED)
    return Removal(Drawn({"target": target, "pusher": pusher}), "pusher")


@cache
def pushed_a_little() -> Removal:
    """A red box pushes a blue one by less than its own width and backs off."""
    block = Thing(line((0, *PUSHED_AT), (16, *PUSHED_AT), (20, 206, 100)), BLUE, (40, 40), round=False)
    pusher = Thing(
        line((0, 51, 100), (16, 155, 100), (20, 171, 100), (31, 100, 100)), RED, (30, 22), round=False
    )
    return Removal(Drawn({"block": block, "pusher": pusher}), "pusher")


@cache
def stopped() -> Removal:
    """A blue disc rolls 7.3 px a frame into a resting red box at frame 20 and stops there."""
    ball = Thing(line((0, 40, 105), (20, 186, 105), (31, 184, 105)), BLUE)
    return Removal(
        Drawn({"block": Thing(line((0, 220, 100)), RED, (40, 50), round=False), "ball": ball}), "block"
    )


def stopped_truth() -> Drawn:
    """Without the box the disc rolls on."""
    return stopped().drawn.without("block", ball=Thing(line((0, 40, 105), (31, 40 + 31 * 7.3, 105)), BLUE))


@cache
def carried() -> Removal:
    """A red box carries a blue one across the picture on its back."""
    cup = Thing(line((0, 60, 70), (31, 260, 80)), BLUE, (26, 26), round=False, shadow=0)
    tray = Thing(line((0, 60, 96), (31, 260, 106)), RED, (50, 26), round=False, shadow=0)
    return Removal(Drawn({"tray": tray, "cup": cup}), "tray")


@cache
def passing() -> Removal:
    """A red box crosses; a blue disc goes the other way, a green one comes and rests. Nothing meets."""
    return Removal(
        Drawn({
            "late": Thing(line((4, 20, 30), (14, 240, 30)), GREEN, (24, 24)),
            "other": Thing(line((0, 290, 132), (31, 30, 132)), BLUE, (24, 24)),
            "goer": Thing(line((0, 30, 85), (31, 290, 85)), RED, (36, 36), round=False),
        }),
        "goer",
    )  # fmt: skip


@cache
def standing() -> Removal:
    """A blue box stands still on a red one."""
    cup = Thing(line((0, 150, 78)), BLUE, (24, 24), round=False, shadow=0)
    return Removal(
        Drawn({"table": Thing(line((0, 150, 110)), RED, (60, 40), round=False), "cup": cup}), "table"
    )


@cache
def falling() -> Removal:
    """The same, and the user says that the blue one falls; it does not roll."""
    return Removal(standing().drawn, "table", (Hint(150, 78, 0, Action.FALLS),))
