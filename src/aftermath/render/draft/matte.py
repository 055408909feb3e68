"""How much of each pixel at a thing's rim is the thing, and what its own colour is there."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from aftermath.scene.sprites import without_spurs

__all__ = ["Matte", "cut_out"]

_INSIDE_PX, _OUTSIDE_PX = 1.5, 2.0  # analysed pixels: how far the rim may lie from where the mask says
_ALIKE = 18.0  # levels between thing and background from which colour says more than the outline
_STRANGE = 25.0  # levels from any mixture of the two
_MISSED_SHARE = 0.6  # of the thing's size
_SMOOTHNESS = 4.0  # levels: what the guide may waver within one side
_CRISP = 0.06  # alpha this near to 0 or 1 is 0 or 1


@dataclass(frozen=True)
class Matte:
    """``alpha`` float32 (h, w); ``color`` float32 (h, w, 3), the thing without what shines in at its rim;
    ``around`` float32 (h, w, 3), the picture with the thing's rim and inside replaced by what lies beside it."""

    alpha: np.ndarray
    color: np.ndarray
    around: np.ndarray


def cut_out(
    image: np.ndarray, solid: np.ndarray, hull: np.ndarray, scale: float, behind: np.ndarray | None
) -> Matte:
    """Cut a thing out of ``image`` float32 (h, w, 3).

    ``solid`` and ``hull``, boolean (h, w): what was seen of the thing and what may be the thing too, enlarged ``scale``
    times. A pixel near the rim is a mixture a F + (1 - a) B. F is carried outwards from the surely inside, B inwards
    from the surely outside; with ``behind`` (the background there, float32 (h, w, 3)) only its change of light is
    carried. The projection of the pixel on the line from B to F gives a; where both look alike, or neither like the
    pixel, the outline decides. A guided filter (He et al. 2013) then lets a follow the picture's own edges.
    """
    depth = _depth(solid)
    # a thin thing has no surely inside at this depth: its ridge is; a spur may be a scrap of shadow
    inside = (depth > min(_INSIDE_PX * scale, 0.6 * float(depth.max()))) & without_spurs(solid)
    own = _carried(image, inside, scale)
    missed = _missed(image, own, solid, hull | solid)
    outside = _depth(hull | solid | missed) < -_OUTSIDE_PX * scale
    if behind is None or missed.any():  # the plate may show the thing where the analysis missed it
        beside = _carried(image, outside, scale)
    else:
        beside = _carried((image + 4) / (behind + 4), outside, scale) * (behind + 4) - 4
    away = own - beside
    apart = (away**2).sum(axis=-1)
    shown = ((image - beside) * away).sum(axis=-1) / np.maximum(apart, 1.0)
    mixed = beside + np.clip(shown, 0, 1)[..., None] * away
    astray = ((image - mixed) ** 2).sum(axis=-1)  # a third colour: neither of them explains it
    trust = apart / (apart + _ALIKE**2) * np.exp(-astray / _STRANGE**2)
    guess = np.clip(0.5 + depth / max(1.0, scale), 0, 1)
    alpha = trust * np.clip(shown, 0, 1) + (1 - trust) * guess
    alpha[inside], alpha[outside] = 1, 0
    radius = max(1, round(1.5 * scale))
    guide = np.clip(image, 0, 255).astype(np.uint8)
    alpha = cv2.ximgproc.guidedFilter(guide, alpha.astype(np.float32), radius, _SMOOTHNESS**2)
    alpha = np.clip((alpha - _CRISP) / (1 - 2 * _CRISP), 0, 1)
    alpha[inside], alpha[outside] = 1, 0
    part = alpha[..., None]
    unmixed = np.clip((image - (1 - part) * beside) / np.maximum(part, 0.25), 0, 255)
    sure = np.clip((part - 0.3) / 0.6, 0, 1)
    color = sure * unmixed + (1 - sure) * own
    around = np.where(outside[..., None], image, beside)
    return Matte(alpha, color.astype(np.float32), around.astype(np.float32))


def _missed(image: np.ndarray, own: np.ndarray, solid: np.ndarray, hull: np.ndarray) -> np.ndarray:
    """Pixels beside the thing that look like it, boolean (h, w): where it rested for long the analysis may take a part
    of it for background. None where so much looks like it that it may well be background."""
    like = ((image - own) ** 2).sum(axis=-1) < _ALIKE**2
    near = _depth(hull) > -_MISSED_SHARE * np.sqrt(np.count_nonzero(solid))
    _, pieces = cv2.connectedComponents(((like & near) | hull).astype(np.uint8))
    touching = np.unique(pieces[hull])
    missed = np.isin(pieces, touching[touching > 0]) & ~hull
    thick = cv2.morphologyEx(missed.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
    share = np.count_nonzero(thick) / np.count_nonzero(solid)
    return thick if 0.02 < share < _MISSED_SHARE else np.zeros_like(solid)


def _depth(mask: np.ndarray) -> np.ndarray:
    """How far each pixel is inside ``mask`` boolean (h, w), negative outside; float32 (h, w). All round is outside."""
    inside = np.pad(mask.astype(np.uint8), 1)
    away = (cv2.distanceTransform(m, cv2.DIST_L2, 5)[1:-1, 1:-1] for m in (inside, 1 - inside))
    return np.subtract(*away)


def _carried(image: np.ndarray, known: np.ndarray, scale: float) -> np.ndarray:
    """``image`` where it is ``known``, and what lies nearest elsewhere: float32 (h, w, 3).

    Normalised convolution close by, and from there on coarser and coarser pictures (pull-push, after Gortler et al.,
    "The Lumigraph", 1996), whose cost does not grow with the distance.
    """
    out = image.astype(np.float32)
    if not known.any() or known.all():
        return out
    weight = known.astype(np.float32)
    total = cv2.GaussianBlur(weight, (0, 0), 0.75 * scale)
    mean = (
        cv2.GaussianBlur(out * weight[..., None], (0, 0), 0.75 * scale) / np.maximum(total, 1e-6)[..., None]
    )
    near = ~known & (total > 0.02)
    out[near] = mean[near]
    weight[near] = 1
    return _pulled(out * weight[..., None], weight)


def _pulled(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Fill float32 (h, w, 3) ``values``, already times their ``weight`` (h, w) in [0, 1], where that is below 1."""
    mean = values / np.maximum(weight, 1e-6)[..., None]
    height, width = weight.shape
    if weight.min() >= 1 or max(height, width) <= 2:
        return mean
    half = ((width + 1) // 2, (height + 1) // 2)
    coarse = _pulled(*(cv2.resize(each, half, interpolation=cv2.INTER_AREA) for each in (values, weight)))
    rest = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    part = weight[..., None]
    return part * mean + (1 - part) * rest
