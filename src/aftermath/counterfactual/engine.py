"""A `Scene` as a MuJoCo model. The only file here that knows how MuJoCo wants things said."""

from __future__ import annotations

import importlib
import math
import os
from typing import Any

import numpy as np

from aftermath.counterfactual.camera import view_at
from aftermath.counterfactual.scene import Body, Light, Scene, Shape, Soft, Vector
from aftermath.counterfactual.surfaces import Surface, paint
from aftermath.counterfactual.window import BOARDS, SHARE
from aftermath.errors import InputError, extra_needed

__all__ = ["STEPS_PER_S", "build_model", "load_mujoco", "open_renderer", "soft_ids", "soft_points"]

STEPS_PER_S = 1536
_CONTACT_RATE = 300.0  # rad/s: how stiff a contact is; a blow between two balls lasts some 10 ms
_SKIN_M = 0.012
_ROOM_M = 5.0
_SUNLIT_M = 3.5
_FLAT_PX, _CUBE_PX = 512, 128
_NO_GL = "install a software one (Debian: libegl1 and libgl1-mesa-dri, or libosmesa6 with MUJOCO_GL=osmesa)"


def load_mujoco() -> Any:
    """The mujoco module, for headless EGL unless MUJOCO_GL says otherwise. Raises `InputError` without it."""
    os.environ.setdefault("MUJOCO_GL", "egl")
    try:
        mujoco = importlib.import_module("mujoco")
    except ImportError as error:
        if error.name == "mujoco":
            raise InputError("mujoco", extra_needed("generating pairs", "data")) from error
        raise InputError(f"no OpenGL ({error})", "rendering needs an OpenGL library", _NO_GL) from error
    except (OSError, AttributeError, RuntimeError) as error:  # what PyOpenGL says where a library is missing
        raise InputError(f"no OpenGL ({error})", "rendering needs an OpenGL library", _NO_GL) from error
    mujoco.set_mju_user_warning(_not_told)  # or it prints, and writes a log where it stands
    return mujoco


def _not_told(_: str) -> None:
    """What blows up is found by MuJoCo's own counters, and the scene rejected."""


def soft_ids(scene: Scene, model: Any) -> dict[str, int]:
    """The flex of every soft body, by its name."""
    mujoco = load_mujoco()
    names = [body.name for body in scene.bodies if body.soft]
    return {name: mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_FLEX, name) for name in names}


def soft_points(model: Any, flex: int) -> slice:
    """Which of all the points of flexes are those of one."""
    start = model.flex_vertadr[flex]
    return slice(start, start + model.flex_vertnum[flex])


def open_renderer(model: Any, size: tuple[int, int]) -> Any:
    """A renderer for (width, height). Raises `InputError` where there is no OpenGL."""
    try:
        return load_mujoco().Renderer(model, size[1], size[0])
    except Exception as error:  # PyOpenGL and MuJoCo have many names for it
        raise InputError(f"no OpenGL ({error})", "rendering needs an OpenGL library", _NO_GL) from error


def build_model(scene: Scene) -> Any:
    """Compile the scene: a body or, where it is soft, a flex for each `Body`, under its name; equalities in the
    order of the ties; a camera."""
    mujoco = load_mujoco()
    spec = mujoco.MjSpec()
    spec.option.timestep = 1 / STEPS_PER_S
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 10  # without it, soft friction lets things creep
    visual = spec.visual
    visual.global_.offwidth, visual.global_.offheight = scene.size
    visual.quality.shadowsize, visual.quality.offsamples = 1024, 0
    visual.map.shadowscale = 0.9  # the lamp's whole cone casts shadows
    visual.map.znear = 0.02
    visual.headlight.ambient, visual.headlight.diffuse = [scene.light.ambient] * 3, [0.12] * 3
    visual.headlight.specular = [0] * 3
    _add_lights(mujoco, spec, scene.light)
    spec.worldbody.add_camera(name="camera", pos=scene.camera.eye, fovy=view_at(scene, 0).fov_y_deg)
    _add_room(mujoco, spec, scene)
    moved = {name for actor in scene.actors for name in actor.bodies}
    for index, body in enumerate(scene.bodies):
        if body.soft:
            _add_soft(mujoco, spec, body, scene.seed + index)
        else:
            _add_body(mujoco, spec, body, scene.seed + index, moved=body.name in moved)
    for tie in scene.ties:
        kind, scale = (mujoco.mjtEq.mjEQ_WELD, 1) if tie.rigid else (mujoco.mjtEq.mjEQ_CONNECT, 0)
        spec.add_equality(
            type=kind, objtype=mujoco.mjtObj.mjOBJ_BODY, name1=tie.hung, name2=tie.holder,
            data=[*tie.at, *[0] * 7, scale, 0], solref=[0.005, 1], active=tie.from_s <= 0,
        )  # fmt: skip
    return spec.compile()


def _add_lights(mujoco: Any, spec: Any, light: Light) -> None:
    """The lamp first, then a weak light from the other side so that no face is flat, then a second lamp."""
    lamp = np.array(light.at)
    if light.sun:
        spec.stat.extent = _SUNLIT_M
        spec.visual.map.shadowclip = 1
        spec.worldbody.add_light(
            type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL, pos=lamp, dir=-lamp, diffuse=light.colour,
            specular=[0.4] * 3, castshadow=True,
        )  # fmt: skip
    else:
        _add_lamp(spec, lamp, np.array(light.colour))
    spec.worldbody.add_light(
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL, pos=[-lamp[0], lamp[1], lamp[2]], dir=[lamp[0], 2, -2],
        diffuse=[0.12, 0.13, 0.15], specular=[0] * 3, castshadow=False,
    )  # fmt: skip
    if light.second:
        _add_lamp(spec, np.array(light.second), 0.55 * np.array(light.colour))
    if light.window:
        _add_window(mujoco, spec, lamp)


def _add_lamp(spec: Any, at: np.ndarray, colour: np.ndarray) -> None:
    spec.worldbody.add_light(
        pos=at, dir=-at, cutoff=45, exponent=1, diffuse=colour, specular=[0.4] * 3, castshadow=True
    )


def _add_window(mujoco: Any, spec: Any, lamp: np.ndarray) -> None:
    """Bars and a frame on the light's way, square to it."""
    z = lamp / np.linalg.norm(lamp)
    quat = np.zeros(4)
    mujoco.mju_quatZ2Vec(quat, z)
    frame = spec.worldbody.add_body(pos=SHARE * lamp, quat=quat)
    for size, at in BOARDS:
        frame.add_geom(
            type=mujoco.mjtGeom.mjGEOM_BOX, size=[*size, 0.01], pos=[*at, 0], contype=0, conaffinity=0
        )


def _add_room(mujoco: Any, spec: Any, scene: Scene) -> None:
    room, flat, seed = scene.room, mujoco.mjtTexture.mjTEXTURE_2D, scene.seed
    floor = {"friction": [room.floor_friction, 0.005, 0.0001], "condim": 6}
    far = 8 if room.sky else 2 if room.table else 1
    lowest = room.ground or room.floor
    _add_plane(
        mujoco,
        spec,
        _add_material(spec, lowest, seed, flat, times=far),
        _ROOM_M * far,
        (0, 0, -room.drop_m),
        **floor,
    )
    if room.table:
        wide, front, back = room.table
        half, middle = (wide, (back - front) / 2, 0.025), (0.0, (back + front) / 2, -0.025)
        _add_geom(mujoco, spec, spec.worldbody, Shape("box", half, room.floor, middle), seed, **floor)
        for x in (-wide + 0.08, wide - 0.08):
            for y in (front + 0.08, back - 0.08):
                leg = Shape("box", (0.04, 0.04, room.drop_m / 2), room.floor, (x, y, -room.drop_m / 2 - 0.03))
                _add_geom(mujoco, spec, spec.worldbody, leg, seed)
    if room.wall:
        wall = _add_material(spec, room.wall, seed, flat)
        unseen = {"contype": 0, "conaffinity": 0}
        height, wide = 2 - room.drop_m, _ROOM_M * (2 if room.table else 1)
        _add_plane(mujoco, spec, wall, wide, (0, room.wall_y_m, height), (1, 1, 0, 0), 2, **unseen)
        if room.side_x_m is not None:
            turn = (1, 0, math.copysign(1, -room.side_x_m), 0)
            _add_plane(mujoco, spec, wall, 2, (room.side_x_m, 0, height), turn, _ROOM_M, **unseen)
    if room.sky:
        spec.add_texture(
            name="sky", type=mujoco.mjtTexture.mjTEXTURE_SKYBOX, builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
            rgb1=room.sky[1], rgb2=room.sky[0], width=_FLAT_PX, height=_FLAT_PX,
        )  # fmt: skip
    for index, shape in enumerate(room.clutter):
        _add_geom(mujoco, spec, spec.worldbody, shape, seed + index, contype=0, conaffinity=0)


def _add_plane(
    mujoco: Any, spec: Any, material: str, half_x: float, at: Vector, quat: tuple[float, ...] = (1, 0, 0, 0),
    half_y: float | None = None, **physics: Any,
) -> None:  # fmt: skip
    spec.worldbody.add_geom(
        type=mujoco.mjtGeom.mjGEOM_PLANE, size=[half_x, half_y or half_x, 0.1], pos=at, quat=quat,
        material=material, **physics,
    )  # fmt: skip


def _add_body(mujoco: Any, spec: Any, body: Body, seed: int, *, moved: bool) -> None:
    """``moved``: where it is, is set from outside."""
    part = spec.worldbody.add_body(
        name=body.name, pos=body.at, quat=_quaternion(mujoco, body.euler_deg), mocap=moved
    )
    if not body.fixed and not moved:
        part.add_freejoint()
    damping = _damping_ratio(body.bounce)
    volumes = [_volume(shape) for shape in body.shapes]
    for shape, volume in zip(body.shapes, volumes, strict=True):
        _add_geom(
            mujoco, spec, part, shape, seed, condim=6, priority=1, mass=body.mass_kg * volume / sum(volumes),
            friction=[body.friction, 0.005, body.rolling_m], contype=body.solid, conaffinity=body.solid,
            solref=[-(_CONTACT_RATE**2), -2 * damping * _CONTACT_RATE], solimp=[0.99, 0.99, 0.001, 0.5, 2],
        )  # fmt: skip


def _add_soft(mujoco: Any, spec: Any, body: Body, seed: int) -> None:
    """A lattice of points with foam between them (Saint Venant and Kirchhoff's, in MuJoCo's flex).

    What is round lies in a lattice of fewer, straight cells: a cube's cells bent into a ball are too flat to be stable.
    """
    shape, soft, is_round = body.shapes[0], body.soft, body.shapes[0].kind == "ellipsoid"
    assert soft is not None
    half, counts = np.array(shape.size) - _SKIN_M, np.array(soft.cells) * (2 if is_round else 1) + 1
    flex = spec.worldbody.make_flex(
        body.name, type="grid", dim=3, count=counts, spacing=2 * half / (counts - 1), radius=_SKIN_M, mass=body.mass_kg,
        pos=body.at, quat=_quaternion(mujoco, body.euler_deg), dof="trilinear" if is_round else "full",
        cellcount=soft.cells if is_round else None,
    )  # fmt: skip
    flex.young, flex.poisson, flex.damping = soft.young_pa, 0.2, soft.damping_s
    flex.material = _add_material(spec, shape.surface, seed, mujoco.mjtTexture.mjTEXTURE_2D)
    flex.friction, flex.selfcollide = (
        [body.friction, 0.005, body.rolling_m],
        mujoco.mjtFlexSelf.mjFLEXSELF_NONE,
    )
    flex.contype = flex.conaffinity = int(body.solid)
    flex.priority, flex.solref, flex.solimp = 2, [0.003, 1], [0.99, 0.99, 0.001, 0.5, 2]
    flex.flatskin = shape.kind == "box" and not soft.taper
    lattice = np.stack(np.meshgrid(*(np.linspace(-1, 1, count) for count in counts), indexing="ij"), -1)
    spots = lattice.reshape(-1, 3)  # in the order of the flex's points
    flex.texcoord = (spots[:, :2] / 2 + 0.5 + 0.2 * spots[:, 2:]).ravel().tolist()
    turned = np.zeros(9)
    mujoco.mju_quat2Mat(turned, _quaternion(mujoco, body.euler_deg))
    places = (_bulged(shape, soft, spots) * half) @ turned.reshape(3, 3).T + body.at
    if is_round:
        flex.vert = places.ravel().tolist()
    else:
        for name, place in zip(flex.vertbody, places, strict=True):
            spec.body(name).pos = place


def _bulged(shape: Shape, soft: Soft, spots: np.ndarray) -> np.ndarray:
    """The points of a cube, (P, 3) in -1..1, where they are in a ball or a cushion."""
    if shape.kind == "ellipsoid":
        far = np.linalg.norm(spots, axis=1, keepdims=True)
        ball = spots * np.abs(spots).max(axis=1, keepdims=True) / np.maximum(far, 1e-9)
        return ball.clip(min=(-1, -1, -0.88))  # a foot to rest on, for on a point it would roll
    out = (np.abs(spots[:, :2]) ** 4).sum(axis=1).clip(0, 1)
    return spots * np.stack([np.ones_like(out), np.ones_like(out), 1 - soft.taper * out], axis=1)


def _volume(shape: Shape) -> float:
    """Roughly: enough to share out a body's mass."""
    size = shape.size
    if shape.kind == "sphere":
        return 4.19 * size[0] ** 3
    if shape.kind in ("cylinder", "capsule"):
        return 6.28 * size[0] ** 2 * size[1]
    return (8 if shape.kind == "box" else 4.19) * math.prod(size)


def _add_geom(mujoco: Any, spec: Any, parent: Any, shape: Shape, seed: int, **physics: Any) -> None:
    parent.add_geom(
        type=getattr(mujoco.mjtGeom, f"mjGEOM_{shape.kind.upper()}"), size=np.resize((*shape.size, 0, 0), 3),
        pos=shape.at, quat=_quaternion(mujoco, shape.euler_deg),
        material=_add_material(spec, shape.surface, seed, mujoco.mjtTexture.mjTEXTURE_CUBE), **physics,
    )  # fmt: skip


def _add_material(spec: Any, surface: Surface, seed: int, kind: Any, times: float = 1) -> str:
    """Add the surface's texture and material once, and name it; tiled so many ``times`` more often."""
    flat = kind == load_mujoco().mjtTexture.mjTEXTURE_2D
    name = f"{surface}{seed if flat else seed % 4}{flat}"
    if any(material.name == name for material in spec.materials):
        return name
    size = _FLAT_PX if flat else _CUBE_PX
    picture = np.tile(paint(surface, size, seed), (1 if flat else 6, 1, 1))
    texture = spec.add_texture(name=name, type=kind, width=size, height=len(picture), nchannel=3)
    texture.data = picture.tobytes()
    material = spec.add_material(
        name=name, texrepeat=[surface.repeat * times] * 2, specular=surface.shine, shininess=0.5,
        reflectance=surface.mirror,
    )  # fmt: skip
    material.textures[load_mujoco().mjtTextureRole.mjTEXROLE_RGB] = name
    return name


def _damping_ratio(bounce: float) -> float:
    """The damping ratio whose restitution is ``bounce``, where a contact pushes and never pulls; at most 1.

    Schwager and Poeschel, arXiv 0706.3957: e = exp(-z / s (pi - atan2(2 z s, 1 - 2 z^2))), s = sqrt(1 - z^2).
    """
    low, high = 0.0, 1.0 - 1e-9
    for _ in range(40):
        middle = (low + high) / 2
        root = math.sqrt(1 - middle**2)
        gone = math.pi - math.atan2(2 * middle * root, 1 - 2 * middle**2)
        low, high = (middle, high) if math.exp(-middle / root * gone) > bounce else (low, middle)
    return low


def _quaternion(mujoco: Any, euler_deg: tuple[float, float, float]) -> np.ndarray:
    quat = np.zeros(4)
    mujoco.mju_euler2Quat(quat, np.radians(euler_deg), "XYZ")
    return quat
