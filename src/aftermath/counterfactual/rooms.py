"""Random parts of scenes: colours, surfaces, things, rooms, lights, cameras. All from one seeded generator."""

from __future__ import annotations

import colorsys
import math
from dataclasses import replace

import numpy as np

from aftermath.counterfactual.scene import Body, CameraPath, Light, Move, Room, Shape
from aftermath.counterfactual.surfaces import Colour, Surface

__all__ = ["ROOMS", "Parts"]

_HUES = (
    ("red", 0.0), ("orange", 0.07), ("yellow", 0.14), ("green", 0.34), ("teal", 0.49), ("blue", 0.61),
    ("purple", 0.76), ("pink", 0.92),
)  # fmt: skip
_COATS = {"plain": "", "bands": "banded ", "spots": "spotted ", "check": "checked ", "terrazzo": "speckled "}
_FLOORS = {
    "planks": "a wooden floor",
    "carpet": "a carpet",
    "tiles": "a tiled floor",
    "terrazzo": "a terrazzo floor",
    "plaster": "a concrete floor",
}
ROOMS = ("room", "room", "corner", "table", "outdoors", "hall")
KINDS = ("ball", "cube", "block", "can", "vase", "bottle")


class Parts:
    """Draws the parts of one scene; no two of its things have the same name."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self._names: set[str] = set()

    def between(self, low: float, high: float) -> float:
        """A number from the range, to a tenth of a millimetre."""
        return round(float(self.rng.uniform(low, high)), 4)

    def one_of(self, *choices: str) -> str:
        """One of the words."""
        return choices[int(self.rng.integers(len(choices)))]

    def chance(self, share: float) -> bool:
        """True that often."""
        return bool(self.rng.random() < share)

    def coat(self) -> tuple[str, Surface]:
        """A colourful surface, and the words for it."""
        word, hue = _HUES[int(self.rng.integers(len(_HUES)))]
        pattern = self.one_of(*_COATS)
        ground = _rgb(hue + self.between(-0.02, 0.02), self.between(0.6, 0.9), self.between(0.5, 0.85))
        accent = self._pale() if self.chance(0.6) else _rgb(hue + 0.5, 0.5, 0.4)
        return f"{_COATS[pattern]}{word}", Surface(pattern, ground, accent, 1.0, self.between(0, 0.5))

    def thing(self, kind: str = "", *, size: tuple[float, float] = (0.09, 0.16), heavy: bool = False) -> Body:
        """A thing that stands on z = 0 at the origin: a ball, cube, block, can, vase or bottle."""
        kind = kind or self.one_of(*KINDS)
        words, surface = self.coat()
        while f"{words} {kind}" in self._names:
            words, surface = self.coat()
        name = f"{words} {kind}"
        self._names.add(name)
        scale = self.between(*size)
        shapes, half_height = self._shapes(kind, scale, surface)
        mass = round((6.0 if heavy else 1.2) * (scale / 0.12) ** 3 * self.between(0.7, 1.4), 3)
        turn = self.between(-180, 180)
        friction, bounce = self.between(0.3, 0.8), self.between(0.1, 0.5)
        return Body(
            name, shapes, (0.0, 0.0, half_height), (0.0, 0.0, turn), mass_kg=mass, friction=friction, bounce=bounce,
            rolling_m=self.between(0.0003, 0.0015),
        )  # fmt: skip

    def named(
        self, noun: str, shapes: tuple[Shape, ...], at: tuple[float, float, float], **more: object
    ) -> Body:
        """A thing made by hand, its name kept apart from the others'."""
        name, number = noun, 2
        while name in self._names:
            name, number = f"{noun} {number}", number + 1
        self._names.add(name)
        return replace(Body(name, shapes, at), **more)  # type: ignore[arg-type]

    def room(self, *, mirror: bool = False, kinds: tuple[str, ...] = ROOMS) -> Room:
        """One of the kinds of places: a floor, walls or a far background, and some things that stand about."""
        kind = self.one_of(*kinds)
        floor, words = self._floor(mirror, outdoors=kind == "outdoors")
        friction = self.between(0.4, 0.8)
        if kind == "outdoors":
            return Room(floor, sky=self._sky(), floor_friction=friction, place=f"Outdoors, {words}")
        if kind == "hall":
            dim = self._pale()
            sky = _scaled(dim, self.between(0.3, 0.9)), _scaled(dim, self.between(0.1, 0.5))
            return Room(floor, sky=sky, floor_friction=friction, place=f"A wide hall with {words}")
        tint = self._pale() if self.chance(0.7) else self._earthy()
        wall = Surface(
            self.one_of("plaster", "plain", "wood", "tiles"), tint, _scaled(tint, self.between(0.75, 0.95)),
            self.between(1.5, 4),
        )  # fmt: skip
        if kind == "table":
            table = self.between(1.3, 1.6), self.between(-0.9, -0.75), self.between(1.1, 1.3)
            ground, _ = self._floor(False, outdoors=False)
            back, drop = self.between(2.2, 3.4), self.between(0.6, 0.8)
            clutter = self._clutters(back, int(self.rng.integers(2, 7)), -drop)
            place = f"A table with {words.replace('floor', 'top').replace('a carpet', 'a cloth')} in a room"
            return Room(
                floor, wall, back, clutter, friction, table=table, ground=ground, drop_m=drop, place=place
            )
        back = self.between(1.4, 2.2)
        side = (1 if self.chance(0.5) else -1) * self.between(1.5, 2.0) if kind == "corner" else None
        skirting = Shape("box", (5.0, 0.012, 0.06), Surface("plain", self._pale()), (0, back - 0.012, 0.06))
        clutter = (skirting, *self._clutters(back, int(self.rng.integers(0, 6)), 0.0))
        place = f"A {'corner of a room' if side else 'room'} with {words}"
        return Room(floor, wall, back, clutter, friction, side_x_m=side, place=place)

    def light(self, *, outdoors: bool = False) -> Light:
        """A lamp, above and in front, warm or cold, alone, with another or behind a window; or the sun."""
        side = 1 if self.chance(0.5) else -1
        at = (side * self.between(0.4, 2.0), self.between(-2.0, -0.4), self.between(3.0, 4.2))
        warm, power = self.between(-0.05, 0.07), self.between(0.5, 0.72)
        colour = (round(power + warm, 4), power, round(power - warm, 4))
        radius, ambient = self.between(0.04, 0.2), self.between(0.32, 0.5)
        if outdoors:
            bright = _scaled(colour, 1.25)
            return Light(at, bright, round(radius / 2, 4), ambient, sun=True)
        more = self.one_of("", "", "", "second", "window")
        second = (-side * self.between(0.8, 2.0), self.between(-2.0, 0.0), self.between(2.8, 3.8))
        return Light(
            at, colour, radius, ambient, second=second if more == "second" else None, window=more == "window"
        )

    def camera(
        self, target: tuple[float, float, float], distance_m: float = 3.0, *, low: bool = False
    ) -> CameraPath:
        """A place before the scene, ``low`` so that the horizon may be seen, and one of the five moves."""
        angle = self.between(-0.35, 0.35)
        height = self.between(0.12, 0.4) if low else self.between(0.28, 0.75)
        far = distance_m * self.between(0.9, 1.15)
        flat = far * math.cos(height)
        eye = (
            round(target[0] + flat * math.sin(angle), 4), round(target[1] - flat * math.cos(angle), 4),
            round(target[2] + far * math.sin(height), 4),
        )  # fmt: skip
        move = Move(self.one_of(*Move))
        side = 1 if self.chance(0.5) else -1
        amount = {
            Move.STILL: 0.0,
            Move.PAN: side * self.between(0.15, 0.5),
            Move.ZOOM: self.between(1.1, 1.4) if side > 0 else self.between(0.75, 0.92),
            Move.ORBIT: side * self.between(0.1, 0.35),
            Move.HAND_HELD: self.between(1.5, 5.0),
        }[move]
        return CameraPath(eye, target, self.between(30, 38), move, amount, self.between(0, 6.28))

    def _shapes(self, kind: str, r: float, coat: Surface) -> tuple[tuple[Shape, ...], float]:
        if kind == "ball":
            return (Shape("sphere", (r,), coat),), r
        if kind == "cube":
            return (Shape("box", (r, r, r), coat),), r
        if kind == "block":
            sides = (r * self.between(0.8, 1.3), r * self.between(0.6, 1), r * self.between(0.5, 1.2))
            return (Shape("box", tuple(round(side, 4) for side in sides), coat),), round(sides[2], 4)
        if kind == "can":
            half = round(r * self.between(0.9, 1.4), 4)
            return (Shape("cylinder", (round(0.75 * r, 4), half), coat),), half
        if kind == "vase":
            foot = Shape("cylinder", (0.7 * r, 0.25 * r), coat, (0, 0, -1.05 * r))
            body = Shape("ellipsoid", (0.95 * r, 0.95 * r, 0.95 * r), coat, (0, 0, -0.2 * r))
            neck = Shape("cylinder", (0.4 * r, 0.6 * r), coat, (0, 0, 0.8 * r))
            return (foot, body, neck), 1.3 * r
        base = Shape("cylinder", (0.55 * r, 0.9 * r), coat, (0, 0, -0.5 * r))
        neck = Shape("cylinder", (0.22 * r, 0.5 * r), coat, (0, 0, 0.9 * r))
        return (base, neck), 1.4 * r

    def _floor(self, mirror: bool, *, outdoors: bool) -> tuple[Surface, str]:
        """A surface to stand on, and the words for it."""
        if outdoors and not mirror and self.chance(0.6):
            grass = _rgb(self.between(0.2, 0.33), self.between(0.35, 0.6), self.between(0.3, 0.5))
            return Surface("carpet", grass, _scaled(grass, 0.6), self.between(3, 6), 0.0), "on grass"
        pattern = self.one_of("tiles", "terrazzo") if mirror else self.one_of(*_FLOORS)
        ground = self._earthy()
        shine = 0.4 if mirror else self.between(0, 0.2)
        glossy = mirror or (pattern in ("tiles", "planks") and not outdoors and self.chance(0.4))
        reflects = self.between(0.12, 0.3) if glossy else 0.0
        accent = _scaled(ground, self.between(0.55, 0.8))
        floor = Surface(pattern, ground, accent, self.between(2, 5), shine, reflects)
        return floor, f"on {_FLOORS[pattern].replace(' floor', ' ground')}" if outdoors else _FLOORS[pattern]

    def _sky(self) -> tuple[Colour, Colour]:
        """Blue, or grey with clouds, or an evening's; horizon and zenith."""
        if self.chance(0.6):
            hue, value = self.between(0.55, 0.62), self.between(0.75, 0.95)
            return _rgb(hue, self.between(0.05, 0.25), 0.95), _rgb(hue, self.between(0.4, 0.7), value)
        if self.chance(0.5):
            grey = self.between(0.55, 0.85)
            return _rgb(0.6, 0.03, grey), _rgb(0.6, 0.08, round(0.8 * grey, 4))
        return _rgb(self.between(0.04, 0.1), self.between(0.3, 0.6), 0.95), _rgb(0.63, 0.45, 0.55)

    def _clutters(self, wall_y: float, count: int, z: float) -> tuple[Shape, ...]:
        """What stands at the foot of the wall, on the height ``z``."""
        shapes = [shape for _ in range(count) for shape in self._clutter(wall_y)]
        return tuple(replace(s, at=(s.at[0], s.at[1], round(s.at[2] + z, 4))) for s in shapes)

    def _clutter(self, wall_y: float) -> tuple[Shape, ...]:
        x, y = self.between(-1.9, 1.9), wall_y - self.between(0.2, 0.45)
        _, coat = self.coat()
        kind = self.one_of("books", "plant", "picture", "box", "lamp")
        if kind == "books":
            return tuple(
                Shape(
                    "box",
                    (0.16, 0.11, 0.025),
                    self.coat()[1],
                    (x, y, 0.025 + 0.05 * i),
                    (0, 0, self.between(-25, 25)),
                )
                for i in range(int(self.rng.integers(2, 5)))
            )
        if kind == "plant":
            leaf = Surface("carpet", (0.16, 0.34, 0.14), (0.3, 0.48, 0.2), 2.0)
            pot = Shape("cylinder", (0.13, 0.13), coat, (x, y, 0.13))
            bush = Shape("ellipsoid", (0.2, 0.2, self.between(0.2, 0.32)), leaf, (x, y, 0.45))
            return pot, bush
        if kind == "picture":
            z = self.between(0.7, 1.3)
            size = (self.between(0.15, 0.35), 0.015, self.between(0.12, 0.3))
            return (Shape("box", size, coat, (x, wall_y - 0.015, z)),)
        if kind == "box":
            half = self.between(0.1, 0.22)
            wood = Surface("wood", self._earthy(), (0.4, 0.3, 0.2))
            return (
                Shape("box", (half * 1.2, half, half), wood, (x, y, half), (0, 0, self.between(-30, 30))),
            )
        pole = Shape("cylinder", (0.02, 0.5), Surface("plain", (0.2, 0.2, 0.2)), (x, y, 0.5))
        return pole, Shape("cylinder", (0.16, 0.12), Surface("plain", self._pale()), (x, y, 1.05))

    def _pale(self) -> Colour:
        return _rgb(self.between(0, 1), self.between(0.02, 0.22), self.between(0.65, 0.9))

    def _earthy(self) -> Colour:
        return _rgb(self.between(0.02, 0.16), self.between(0.05, 0.5), self.between(0.35, 0.72))


def _rgb(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return round(red, 4), round(green, 4), round(blue, 4)


def _scaled(colour: Colour, factor: float) -> Colour:
    return round(colour[0] * factor, 4), round(colour[1] * factor, 4), round(colour[2] * factor, 4)
