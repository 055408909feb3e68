"""The four example scenes, described without any engine: metres, kilograms, seconds, z up, RGB in 0..1.

The floor is z = 0; the camera looks along +y from 25 to 35 degrees above the horizon; a wall closes the view.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from aftermath.counterfactual.surfaces import Surface

__all__ = ["SCENES", "Body", "Scene", "Shape", "Shot"]

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Shape:
    """One primitive; ``size`` in MuJoCo's convention (radius; half sides; radius and half length)."""

    kind: str
    size: tuple[float, ...]
    surface: Surface
    at: Vector = (0.0, 0.0, 0.0)
    euler_deg: Vector = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Body:
    """Something that may move. ``action`` is what becomes of it without the removed object ("none": nothing).

    ``rolling_m`` is the rolling resistance as a lever arm; ``bounce`` 0 (dead) to 1 (steel).
    """

    name: str
    shapes: tuple[Shape, ...]
    at: Vector
    velocity: Vector = (0.0, 0.0, 0.0)
    spin: Vector = (0.0, 0.0, 0.0)
    mass_kg: float = 0.4
    friction: float = 0.6
    rolling_m: float = 0.0015
    bounce: float = 0.3
    action: str = "none"


@dataclass(frozen=True)
class Shot:
    """Where the camera stands and looks. ``drift_px``: amplitude of a hand-held sway, source pixels."""

    eye: Vector
    target: Vector
    fov_y_deg: float = 32.0
    drift_px: float = 0.0


@dataclass(frozen=True)
class Scene:
    """``removed`` names the body that goes; ``prompt`` describes the picture without it."""

    name: str
    prompt: str
    num_frames: int
    removed: str
    bodies: tuple[Body, ...]
    floor: Surface
    wall: Surface
    shot: Shot
    clutter: tuple[Shape, ...] = field(default=())
    lamp: Vector = (-1.6, -1.2, 3.6)
    sound: bool = False
    seed: int = 0


def _ball(name: str, radius: float, surface: Surface, x: float, y: float, vx: float = 0.0) -> Body:
    """A ball on the floor that already rolls without slipping along x."""
    return Body(
        name,
        (Shape("sphere", (radius,), surface),),
        at=(x, y, radius),
        velocity=(vx, 0.0, 0.0),
        spin=(0.0, vx / radius, 0.0),
    )


def _books(x: float, y: float) -> tuple[Shape, ...]:
    """A pile of three books on the floor."""
    covers = ((0.55, 0.16, 0.14), (0.16, 0.27, 0.42), (0.72, 0.62, 0.4))
    turns = (8.0, -12.0, 21.0)
    return tuple(
        Shape(
            "box",
            (0.17 - 0.015 * i, 0.12, 0.025),
            Surface("plain", cover),
            (x, y, 0.025 + 0.05 * i),
            (0, 0, turn),
        )
        for i, (cover, turn) in enumerate(zip(covers, turns, strict=True))
    )


def _plant(x: float, y: float) -> tuple[Shape, ...]:
    """A pot with a round bush."""
    leaf = Surface("carpet", (0.16, 0.34, 0.14), (0.3, 0.48, 0.2), repeat=2)
    return (
        Shape(
            "cylinder", (0.14, 0.13), Surface("plaster", (0.62, 0.36, 0.26), (0.5, 0.28, 0.2)), (x, y, 0.13)
        ),
        Shape("ellipsoid", (0.22, 0.2, 0.25), leaf, (x, y, 0.46)),
        Shape("ellipsoid", (0.13, 0.13, 0.15), leaf, (x + 0.13, y - 0.06, 0.62)),
    )


def _skirting(y: float, colour: tuple[float, float, float]) -> Shape:
    """The board along the foot of the wall."""
    return Shape("box", (4.0, 0.012, 0.06), Surface("plain", colour), (0, y - 0.012, 0.06))


def _frame(x: float, y: float, z: float) -> tuple[Shape, ...]:
    """A picture on the wall."""
    return (
        Shape(
            "box", (0.3, 0.015, 0.22), Surface("wood", (0.3, 0.2, 0.13), (0.2, 0.12, 0.07)), (x, y - 0.015, z)
        ),
        Shape(
            "box",
            (0.26, 0.017, 0.18),
            Surface("plaster", (0.75, 0.73, 0.66), (0.3, 0.42, 0.5)),
            (x, y - 0.017, z),
        ),
    )


WALL_Y_M = 1.5


def _collision() -> Scene:
    blue = Surface("bands", (0.1, 0.2, 0.5), (0.85, 0.85, 0.8), shine=0.3)
    red = Surface("spots", (0.72, 0.1, 0.1), (0.9, 0.88, 0.82), shine=0.3)
    return Scene(
        name="collision",
        prompt="A red ball with white spots rests on a wooden floor. Nothing moves.",
        num_frames=73,
        removed="blue ball",
        bodies=(
            replace(_ball("blue ball", 0.13, blue, x=-1.25, y=-0.04, vx=1.2), mass_kg=0.7),
            replace(_ball("red ball", 0.13, red, x=0.0, y=0.0), bounce=0.75, action="stays"),
        ),
        floor=Surface("planks", (0.62, 0.49, 0.35), (0.4, 0.28, 0.18), repeat=3),
        wall=Surface("plaster", (0.72, 0.74, 0.7), (0.62, 0.65, 0.62), repeat=2),
        clutter=(_skirting(WALL_Y_M, (0.85, 0.84, 0.8)), *_books(-1.15, 0.95), *_plant(1.25, 1.1)),
        shot=Shot(eye=(0.1, -2.9, 1.75), target=(0.1, 0.12, 0.12)),
        sound=True,
        seed=1,
    )


def _support() -> Scene:
    clay = Surface("plaster", (0.12, 0.42, 0.45), (0.2, 0.55, 0.52), shine=0.35)
    return Scene(
        name="support",
        prompt="A teal vase drops onto a grey carpet and comes to rest, upright.",
        num_frames=49,
        removed="crate",
        bodies=(
            Body(
                "crate",
                (Shape("box", (0.26, 0.2, 0.21), Surface("wood", (0.76, 0.62, 0.42), (0.55, 0.4, 0.24))),),
                at=(0.05, 0.0, 0.21),
                mass_kg=6.0,
            ),
            Body(
                "vase",
                (
                    Shape("cylinder", (0.085, 0.03), clay, (0, 0, -0.13)),
                    Shape("ellipsoid", (0.115, 0.115, 0.11), clay, (0, 0, -0.03)),
                    Shape("cylinder", (0.045, 0.07), clay, (0, 0, 0.09)),
                    Shape("cylinder", (0.06, 0.01), clay, (0, 0, 0.16)),
                ),
                at=(0.02, -0.02, 0.42 + 0.16),
                mass_kg=1.2,
                bounce=0.25,
                action="falls",
            ),
        ),
        floor=Surface("carpet", (0.46, 0.47, 0.46), (0.36, 0.37, 0.4), repeat=4),
        wall=Surface("plaster", (0.78, 0.7, 0.58), (0.7, 0.62, 0.52), repeat=2),
        clutter=(
            _skirting(WALL_Y_M, (0.5, 0.36, 0.25)),
            *_plant(-1.2, 1.0),
            *_books(1.05, 0.75),
            *_frame(0.75, WALL_Y_M, 0.75),
        ),
        shot=Shot(eye=(0.05, -2.6, 1.7), target=(0.05, 0.1, 0.3)),
        seed=2,
    )


def _passer() -> Scene:
    tyre = Surface("plain", (0.08, 0.08, 0.09))
    wheels = tuple(
        Shape("cylinder", (0.07, 0.025), tyre, (x, y, -0.08), (90, 0, 0))
        for x in (-0.17, 0.17)
        for y in (-0.12, 0.12)
    )
    return Scene(
        name="passer",
        prompt="An empty room with a polished tiled floor. Nothing moves.",
        num_frames=73,
        removed="toy van",
        bodies=(
            Body(
                "toy van",
                (
                    Shape(
                        "box",
                        (0.29, 0.12, 0.085),
                        Surface("plain", (0.88, 0.62, 0.1), shine=0.3),
                        (0, 0, 0.01),
                    ),
                    Shape(
                        "box",
                        (0.2, 0.105, 0.065),
                        Surface("plain", (0.9, 0.88, 0.82), shine=0.3),
                        (-0.05, 0, 0.15),
                    ),
                    Shape(
                        "box",
                        (0.17, 0.107, 0.035),
                        Surface("plain", (0.12, 0.17, 0.22), shine=0.5),
                        (-0.05, 0, 0.155),
                    ),
                    *wheels,
                ),
                at=(-2.15, -0.15, 0.15),
                velocity=(1.4, 0.0, 0.0),
                friction=0.0,  # it glides: its wheels are for show
                rolling_m=0.0,
            ),
        ),
        floor=Surface("tiles", (0.5, 0.5, 0.5), (0.26, 0.26, 0.27), repeat=3, shine=0.4, mirror=0.16),
        wall=Surface("plaster", (0.58, 0.66, 0.7), (0.5, 0.58, 0.62), repeat=2),
        clutter=(
            _skirting(WALL_Y_M, (0.86, 0.86, 0.84)),
            *_plant(-1.3, 1.1),
            *_frame(0.1, WALL_Y_M, 0.7),
            *_books(1.2, 0.95),
        ),
        shot=Shot(eye=(0.0, -2.9, 1.65), target=(0.0, 0.1, 0.2)),
        lamp=(1.5, -1.4, 3.6),
        seed=3,
    )


def _control() -> Scene:
    orange = Surface("check", (0.9, 0.42, 0.08), (0.75, 0.3, 0.05), shine=0.3)
    return Scene(
        name="control",
        prompt="A green striped cube glides to the left across a terrazzo floor; the camera sways a little.",
        num_frames=61,
        removed="orange ball",
        bodies=(
            _ball("orange ball", 0.14, orange, x=-0.95, y=-0.45, vx=0.85),
            Body(
                "green cube",
                (Shape("box", (0.12, 0.12, 0.12), Surface("bands", (0.12, 0.42, 0.2), (0.8, 0.82, 0.7))),),
                at=(1.15, 0.3, 0.12),
                velocity=(-0.9, 0.0, 0.0),
                friction=0.0,  # a robot's steady pace
                rolling_m=0.0,
            ),
        ),
        floor=Surface("terrazzo", (0.66, 0.63, 0.58), (0.35, 0.3, 0.28), repeat=2),
        wall=Surface("plaster", (0.66, 0.6, 0.64), (0.58, 0.53, 0.57), repeat=2),
        clutter=(
            _skirting(WALL_Y_M, (0.84, 0.82, 0.8)),
            *_books(-1.2, 1.0),
            *_plant(1.3, 1.15),
            *_frame(-0.5, WALL_Y_M, 0.72),
        ),
        shot=Shot(eye=(0.0, -2.8, 1.75), target=(0.0, 0.1, 0.15), drift_px=4.0),
        seed=4,
    )


SCENES: dict[str, Scene] = {scene.name: scene for scene in (_collision(), _support(), _passer(), _control())}
