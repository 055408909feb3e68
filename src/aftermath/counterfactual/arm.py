"""Where an actor's links are at any time: least-jerk paths of the grip and inverse kinematics. Pure, numpy only."""

from __future__ import annotations

import numpy as np

from aftermath.counterfactual.scene import Actor

__all__ = ["grip_path", "link_poses"]

_BISECTIONS = 48


def link_poses(actor: Actor, times_s: np.ndarray) -> np.ndarray:
    """Poses of the links at K times: float64 (K, L, 7), x y z of the joint in metres, quaternion w x y z.

    Shoulder to wrist is an arc whose joints all bend alike, in the plane of the reach and ``bend``: two links are
    solved exactly, and of more the one pose that bends least. What is out of reach is pointed at.
    """
    grip, turn, gone = grip_path(actor, times_s)
    aim, arm = np.array(actor.aim), np.array(actor.lengths_m[:-1])
    shoulder = np.array(actor.shoulder) + gone
    wrist = grip - aim * actor.lengths_m[-1]
    reach = wrist - shoulder
    distance = np.linalg.norm(reach, axis=1)
    along = reach / distance[:, None]
    aside = np.array(actor.bend) - (along @ np.array(actor.bend))[:, None] * along
    aside /= np.linalg.norm(aside, axis=1, keepdims=True)
    steps = np.exp(-1j * np.outer(_bends(distance, arm), np.arange(len(arm))))
    chord = steps @ arm
    directions = steps * (np.conj(chord) / np.abs(chord))[:, None]
    places, at = [], shoulder
    for k, length in enumerate(arm):
        z = directions[:, k, None].real * along + directions[:, k, None].imag * aside
        places.append(np.concatenate([at, _quaternion(z, aside)], axis=1))
        at = at + length * z
    places.append(np.concatenate([at, _hand(actor, np.radians(turn))], axis=1))
    return np.stack(places, axis=1)


def grip_path(actor: Actor, times_s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Grip (K, 3) in metres, turn (K,) in degrees, and how far the actor has gone (K, 3).

    From key to key with the least jerk: s = 10 u^3 - 15 u^4 + 6 u^5 (Flash and Hogan, 1985).
    """
    when = np.array([key.time_s for key in actor.keys])
    values = np.array([(*key.grip, key.turn_deg, *key.gone) for key in actor.keys])
    if len(when) == 1:
        values, when = np.repeat(values, 2, axis=0), np.array([when[0], when[0] + 1.0])
    first = np.clip(np.searchsorted(when, times_s, side="right") - 1, 0, len(when) - 2)
    u = np.clip((times_s - when[first]) / (when[first + 1] - when[first]), 0, 1)
    share = (u**3 * (10 - 15 * u + 6 * u * u))[:, None]
    path = values[first] + share * (values[first + 1] - values[first])
    return path[:, :3], path[:, 3], path[:, 4:]


def _bends(distance: np.ndarray, arm: np.ndarray) -> np.ndarray:
    """By how much every joint bends, so that the arc's chord is ``distance``: radians (K,)."""
    low, high = np.zeros(len(distance)), np.full(len(distance), 2 * np.pi / len(arm))
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        far = np.abs(np.exp(-1j * np.outer(middle, np.arange(len(arm)))) @ arm) > distance
        low, high = np.where(far, middle, low), np.where(far, high, middle)
    return low


def _hand(actor: Actor, turn: np.ndarray) -> np.ndarray:
    """The hand points where it should, and turns about that: quaternions (K, 4)."""
    z = np.array(actor.aim)
    base = next(v for v in (np.eye(3)[0], np.eye(3)[1]) if abs(v @ z) < 0.8)
    x = base - (base @ z) * z
    x /= np.linalg.norm(x)
    y = np.cross(z, x)
    turned = np.cos(turn)[:, None] * x + np.sin(turn)[:, None] * y
    return _quaternion(np.repeat(z[None], len(turn), axis=0), turned)


def _quaternion(z: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The turn that takes the axes to ``z`` and as near as can be to ``x``, both (K, 3): w x y z (K, 4)."""
    x = x - (x * z).sum(axis=1, keepdims=True) * z
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    m = np.stack([x, np.cross(z, x), z], axis=2)
    # of the four ways to read a quaternion off a matrix, the one that divides by the largest number
    xx, yy, zz = m[:, 0, 0], m[:, 1, 1], m[:, 2, 2]
    a, b, c = m[:, 2, 1] - m[:, 1, 2], m[:, 0, 2] - m[:, 2, 0], m[:, 1, 0] - m[:, 0, 1]
    d, e, f = m[:, 1, 0] + m[:, 0, 1], m[:, 0, 2] + m[:, 2, 0], m[:, 2, 1] + m[:, 1, 2]
    ways = np.stack(
        [
            np.stack([1 + xx + yy + zz, a, b, c], axis=1),
            np.stack([a, 1 + xx - yy - zz, d, e], axis=1),
            np.stack([b, d, 1 - xx + yy - zz, f], axis=1),
            np.stack([c, e, f, 1 - xx - yy + zz], axis=1),
        ],
        axis=1,
    )
    best = np.abs(ways[:, np.arange(4), np.arange(4)]).argmax(axis=1)
    quat = ways[np.arange(len(ways)), best]
    return quat / np.linalg.norm(quat, axis=1, keepdims=True)
