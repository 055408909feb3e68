"""`Scene`: what is simulated and filmed, described without any engine. Metres, kilograms, seconds, z up, RGB in 0..1.

The floor is z = 0; the camera looks along +y; x goes to the right of the picture.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from dataclasses import dataclass
from enum import StrEnum

from aftermath.counterfactual.surfaces import Surface
from aftermath.errors import InputError

__all__ = [
    "Actor",
    "Body",
    "CameraPath",
    "Key",
    "Light",
    "Move",
    "Room",
    "Scene",
    "Shape",
    "Soft",
    "Tie",
]

Vector = tuple[float, float, float]


class Move(StrEnum):
    """What the camera does."""

    STILL = "still"
    PAN = "pan"
    ZOOM = "zoom"
    ORBIT = "orbit"
    HAND_HELD = "hand-held"


@dataclass(frozen=True)
class Shape:
    """One primitive: box (half sides), sphere (radius), cylinder or capsule (radius, half length), ellipsoid (radii).

    ``at`` and ``euler_deg`` (about x, then y, then z) are relative to the body.
    """

    kind: str
    size: tuple[float, ...]
    surface: Surface
    at: Vector = (0.0, 0.0, 0.0)
    euler_deg: Vector = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Soft:
    """What a body that gives is made of: foam of that stiffness, as so many ``cells`` along x, y and z.

    ``damping_s``: how long the foam resists being pressed fast (Kelvin and Voigt); ``taper``, 0..1: by how much it is
    thinner at its rim, as a cushion is.
    """

    young_pa: float
    cells: tuple[int, int, int]
    damping_s: float = 0.01
    taper: float = 0.0


@dataclass(frozen=True)
class Body:
    """One thing, by where and how fast it starts.

    ``bounce`` is its coefficient of restitution, ``rolling_m`` its rolling resistance as a lever arm. A
    ``fixed`` one never moves; what does not start at ``rest`` is left where it is while the others settle; what
    is not ``solid`` touches nothing. A ``soft`` one has one shape, a box or an ellipsoid.
    """

    name: str
    shapes: tuple[Shape, ...]
    at: Vector
    euler_deg: Vector = (0.0, 0.0, 0.0)
    velocity: Vector = (0.0, 0.0, 0.0)
    spin: Vector = (0.0, 0.0, 0.0)
    mass_kg: float = 0.4
    friction: float = 0.6
    rolling_m: float = 0.0015
    bounce: float = 0.3
    fixed: bool = False
    rest: bool = True
    solid: bool = True
    soft: Soft | None = None


@dataclass(frozen=True)
class Tie:
    """``hung`` hangs from ``holder`` by the point ``at`` of its own and may turn about it; or, ``rigid``, is held
    as it is when the tie begins. It lasts from ``from_s`` until ``until_s``, or to the end, and goes with the holder.
    """

    hung: str
    holder: str
    at: Vector = (0.0, 0.0, 0.0)
    rigid: bool = False
    from_s: float = 0.0
    until_s: float | None = None


@dataclass(frozen=True)
class Key:
    """Where an actor's grip is at a time, how far its hand is turned about its own axis, and how far the whole actor
    has gone from where it started."""

    time_s: float
    grip: Vector
    turn_deg: float = 0.0
    gone: Vector = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Actor:
    """An arm that is moved: ``links`` are the bodies from the shoulder to the hand, of ``lengths_m`` (the hand's:
    to the middle of its grip), each with its origin at its joint and its z along it.

    ``aim`` is where the hand points, ``bend`` to where the elbow goes (both of length 1); ``keys`` say where the grip
    is, in between it moves with the least jerk. The bodies of ``mount`` go along as they stand.
    """

    links: tuple[str, ...]
    lengths_m: tuple[float, ...]
    shoulder: Vector
    aim: Vector
    bend: Vector
    keys: tuple[Key, ...]
    mount: tuple[str, ...] = ()

    @property
    def bodies(self) -> tuple[str, ...]:
        """All that the actor is made of."""
        return (*self.links, *self.mount)


@dataclass(frozen=True)
class Light:
    """A lamp of ``radius_m`` above the scene that casts the shadows; ``ambient`` 0..1 comes from everywhere.

    ``sun``: it shines from as far as can be; ``second``: where a weaker lamp is that casts shadows too. A ``window``
    before the lamp lets its light through in panes only.
    """

    at: Vector
    colour: Vector = (0.62, 0.6, 0.56)
    radius_m: float = 0.12
    ambient: float = 0.42
    sun: bool = False
    second: Vector | None = None
    window: bool = False


@dataclass(frozen=True)
class CameraPath:
    """Where the camera starts, looks, and what it does; ``amount`` in metres (pan), radians (orbit), source
    pixels at 384 wide (hand-held) or as a factor of the focal length at the end (zoom)."""

    eye: Vector
    target: Vector
    fov_y_deg: float = 34.0
    move: Move = Move.STILL
    amount: float = 0.0
    phase: float = 0.0


@dataclass(frozen=True)
class Room:
    """The floor, z = 0; a wall at y = ``wall_y_m`` and one at x = ``side_x_m``, or none; and what stands about and is
    touched by nothing. ``place`` says in words where that is.

    With a ``table``, (half its width, front y, back y), the floor is its top, and ``ground`` lies ``drop_m`` below it.
    ``sky``: the colours of horizon and zenith.
    """

    floor: Surface
    wall: Surface | None = None
    wall_y_m: float = 1.6
    clutter: tuple[Shape, ...] = ()
    floor_friction: float = 0.6
    side_x_m: float | None = None
    table: tuple[float, float, float] | None = None
    ground: Surface | None = None
    drop_m: float = 0.0
    sky: tuple[Vector, Vector] | None = None
    place: str = "A room"


@dataclass(frozen=True)
class Scene:
    """All there is to know before anything moves; ``removed`` names the bodies that go.

    ``size``: (width, height) in pixels, even; ``shutter``: the share of a frame's time that it is exposed;
    ``caption`` tells what is seen without the removed. Raises `InputError` for what cannot be filmed.
    """

    family: str
    seed: int
    removed: tuple[str, ...]
    bodies: tuple[Body, ...]
    room: Room
    light: Light
    camera: CameraPath
    ties: tuple[Tie, ...] = ()
    actors: tuple[Actor, ...] = ()
    num_frames: int = 49
    rate: int = 24
    size: tuple[int, int] = (384, 224)
    shutter: float = 0.5
    grain: float = 1.0
    caption: str = ""

    def __post_init__(self) -> None:
        names = [body.name for body in self.bodies]
        if len(set(names)) != len(names):
            raise InputError(f"bodies {names}", "every body needs a name of its own")
        wanted = {*self.removed, *(name for tie in self.ties for name in (tie.hung, tie.holder))}
        wanted |= {name for actor in self.actors for name in actor.bodies}
        if not self.removed or not wanted <= set(names):
            raise InputError(f"removed {list(self.removed)}", f"must be of the bodies {names}")
        if self.num_frames < 2 or self.rate < 1:
            raise InputError(
                f"{self.num_frames} frames at {self.rate}/s", "must be at least 2, at 1/s or more"
            )
        if any(side < 16 or side % 2 for side in self.size):
            raise InputError(f"size {self.size[0]}x{self.size[1]}", "both sides must be even, 16 or more")

    def to_json(self) -> str:
        """The whole scene as JSON text."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False)

    @staticmethod
    def from_json(text: str) -> Scene:
        """Read what `to_json` wrote. Raises `InputError` for anything else."""
        try:
            return _read(Scene, json.loads(text))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError("scene", f"must be the JSON of a scene ({error})") from error


def _read(kind: typing.Any, value: typing.Any) -> typing.Any:
    """Build a value of type ``kind`` from plain JSON."""
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return kind(**{name: _read(hints[name], part) for name, part in value.items()})  # type: ignore[operator]
    if typing.get_origin(kind) is tuple:
        kinds = typing.get_args(kind)
        one = kinds[0] if kinds[-1] is Ellipsis else None
        return tuple(_read(one or kinds[i], part) for i, part in enumerate(value))
    if isinstance(kind, types.UnionType):  # this or None
        return value if value is None else _read(typing.get_args(kind)[0], value)
    return kind(value)
