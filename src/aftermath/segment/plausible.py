"""Whether what a prompt took is a thing, or rather a piece of the wall or the floor."""

from __future__ import annotations

import cv2
import numpy as np

from aftermath.segment.colours import ColourModel, bins_of
from aftermath.segment.shapes import grown

__all__ = ["LARGE_SHARE", "surface_sign"]

LARGE_SHARE = 0.3  # of the picture: a thing is rarely so large, a wall mostly is
_RIM_SHARE = 0.2  # of the picture's border
_LIKENESS = 0.55  # Bhattacharyya: things in clips have below 0.4, one plank or tile among many above 0.7
_RING_SHARE, _SEAM_PX = 0.3, 3  # how far round it is looked, of its size; what its blurred border takes


def surface_sign(image: np.ndarray, mask: np.ndarray, ignore: np.ndarray | None = None) -> str:
    """What speaks for a wall or a floor in place of a thing, in words that follow "it"; empty where nothing does.

    ``image`` uint8 (H, W, 3) RGB, ``mask`` boolean (H, W). A wall is large or lies along the picture's border; a
    plank or a tile has the colours of its surroundings. ``ignore`` boolean (H, W) does not count as surroundings.
    """
    height, width = mask.shape
    share = float(mask.mean())
    rim = (mask[0].sum() + mask[-1].sum() + mask[:, 0].sum() + mask[:, -1].sum()) / (2 * (height + width))
    if share > LARGE_SHARE:
        return f"covers {share:.0%} of the picture"
    if rim > _RIM_SHARE:
        return f"lies along {rim:.0%} of the picture's border"
    reach = max(2 * _SEAM_PX, round(_RING_SHARE * float(mask.sum()) ** 0.5))
    ring = grown(mask, reach) & ~grown(mask, _SEAM_PX)
    if ignore is not None:
        ring &= ~ignore
    if not mask.any() or not ring.any():
        return ""
    bins = bins_of(cv2.medianBlur(image, 5))
    alike = ColourModel(bins[mask]).likeness(ColourModel(bins[ring])) > _LIKENESS
    return "has the colours of what is round it" if alike else ""
