"""From a box or points on one frame to the object's mask on that frame."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from aftermath.core import Box
from aftermath.segment.colours import ColourModel, bins_of
from aftermath.segment.cut import cut, edge_cost, grab_cut
from aftermath.segment.memory import Memory, Plate, Window, difference
from aftermath.segment.outline import without_bites
from aftermath.segment.shapes import edge_strength, filled, grown, main_parts

__all__ = ["Surroundings", "region_of_box", "region_of_points", "take_away"]

_MOTION, _COLOUR, _SURE = 3.0, 0.8, 20.0  # what each kind of evidence counts at most
_RING_SHARE = 0.15  # of a box's side: how much around it is looked at
_FLOODS = (3, 5, 8, 12, 17, 23, 30)  # Lab levels a flood may climb from its point
_CRUMBS = 0.15  # of an object: what is left below that when a part is taken away is nothing
_COMMON = 5e-3  # of the pixels round a box: a colour that the background has
_PIECE = 0.02  # of what was found: smaller pieces of background are left to the cut
_ALIKE, _UNLIKE = 0.5, 0.25  # Bhattacharyya coefficients
_MAX_POINT_SHARE = 0.5  # of the picture: an object pointed at is smaller


@dataclass(frozen=True)
class Surroundings:
    """One frame and what moves in it: ``image`` uint8 (H, W, 3) RGB; ``differs`` float32 (H, W), from -1
    (shows what most frames show) to 1 (does not), nearer 0 where the frames disagree or a shadow would
    explain it; ``moved`` bool (H, W), where it surely differs. ``median``: float32 (H, W, 3), what most
    frames show."""

    image: np.ndarray
    median: np.ndarray
    settled: np.ndarray
    differs: np.ndarray
    moved: np.ndarray

    @classmethod
    def of(cls, image: np.ndarray, median: np.ndarray, settled: np.ndarray) -> Surroundings:
        """Compare a frame with the ``median``, float32 (H, W, 3), of the clip; ``settled``: bool (H, W),
        where most frames agree on it."""
        differs, shadow = difference(image, median, 2.0, exact=False)
        moved = ((differs > 0) & (shadow < 0.5) & settled).astype(np.uint8)
        moved = cv2.morphologyEx(moved, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        moved = cv2.morphologyEx(moved, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
        share = np.where(settled, 1, 0.5) * np.where(differs > 0, 1 - 1.4 * shadow, 1)
        return cls(image, median, settled, (differs * share).astype(np.float32), moved > 0)

    @property
    def shown(self) -> np.ndarray:
        """The median as a picture, uint8 (H, W, 3) RGB."""
        return np.clip(np.round(self.median), 0, 255).astype(np.uint8)

    def behind(self, mask: np.ndarray) -> tuple[Memory, Plate]:
        """What stands behind the object ``mask``, bool (H, W), as far as this frame and the clip show it.

        The clip's median shows the place that an object left, but also the object itself where it stays or
        came to rest: where it looks like the object, it is not believed.
        """
        hidden = grown(mask, 3)
        bins = bins_of(self.image)
        likeness = ColourModel(bins[mask]).against(ColourModel(bins[~hidden]), bins_of(self.shown))
        known = self.settled & (cv2.blur(likeness, (5, 5)) < -0.5) & (~mask | (self.differs > 0.5))
        plate = Plate(self.median, known)
        memory = Memory.of(self.image, hidden)
        alone = _moves_alone(self.moved, grown(mask, 4), mask)
        left = hidden & (known | alone) & (self.differs > 0.5)
        memory.colour[left] = self.median[left]
        memory.known |= left
        return memory, plate


def region_of_box(
    scene: Surroundings, box: Box, positive: list[tuple[int, int]], negative: list[tuple[int, int]]
) -> np.ndarray:
    """The object inside ``box``, refined by points (x, y): bool (H, W), possibly empty.

    GrabCut from the box. Where the box holds something that moves, alone, its motion says which pixels.
    """
    height, width = scene.image.shape[:2]
    margin = _RING_SHARE * max(box.width, box.height) + 4
    window = box.grown(margin).slices(width, height)
    inside = np.zeros((height, width), bool)
    inside[box.slices(width, height)] = True
    inside = inside[window]
    if inside.all():  # the box is the picture: its rim is the only background there is
        inside = cv2.erode(inside.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0) > 0
    image = scene.image[window]
    labels = np.where(inside, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    _mark(labels, image, window, positive, negative, 0.03 * min(box.width, box.height))
    if _moves_alone(scene.moved[window], inside, inside):
        found = _cut_by_motion(scene, window, labels)
        found = main_parts(filled(found, 0.1), labels == cv2.GC_FGD)
    else:
        found = _without_backdrop(image, labels, grab_cut(image, labels))
        found = main_parts(filled(found, 0.1), labels == cv2.GC_FGD)
        found = without_bites(found, image, labels == cv2.GC_BGD)
    mask = np.zeros((height, width), bool)
    mask[window] = found
    return mask


def _without_backdrop(image: np.ndarray, labels: np.ndarray, found: np.ndarray) -> np.ndarray:
    """``found`` bool (h, w), cut again without what it merely encloses: the wall between a table's legs.

    GrabCut learns the object's colours from all of the box, and where edges close round a piece of background nothing
    turns that out. It has the colours that are common outside of the box and none of the rest of what was found.
    """
    bins, outside = bins_of(image), labels == cv2.GC_BGD
    if not outside.any():
        return found
    around = ColourModel(bins[outside])
    common = cv2.blur((around.share[bins] > _COMMON).astype(np.float32), (5, 5)) > 0.6
    for _ in range(2):
        alike = cv2.morphologyEx((common & found).astype(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
        _, pieces, stats, _ = cv2.connectedComponentsWithStats(alike, connectivity=4)
        backdrop = np.zeros_like(found)
        for n in np.flatnonzero(stats[1:, cv2.CC_STAT_AREA] > _PIECE * found.sum()) + 1:
            piece = pieces == n
            rest = found & ~grown(piece, 2)
            if rest.sum() < max(30, 0.05 * found.sum()):
                continue
            own = ColourModel(bins[piece])
            if own.likeness(around) > _ALIKE and own.likeness(ColourModel(bins[rest])) < _UNLIKE:
                backdrop |= piece
        if not backdrop.any():
            break
        labels = np.where((labels == cv2.GC_PR_FGD) & ~found, cv2.GC_PR_BGD, labels).astype(np.uint8)
        labels[backdrop & (labels != cv2.GC_FGD)] = cv2.GC_BGD
        cut_again = grab_cut(image, labels)
        if not cut_again.any():
            break
        found = cut_again
    return found


def _cut_by_motion(scene: Surroundings, window: Window, labels: np.ndarray) -> np.ndarray:
    """What differs from the settled picture, then what shares its colours too; bool (h, w)."""
    image, differs = scene.image[window], scene.differs[window]
    sure = np.select([labels == cv2.GC_BGD, labels == cv2.GC_FGD], [-_SURE, _SURE], 0).astype(np.float32)
    cost, bins, behind = edge_cost(image), bins_of(image), bins_of(scene.shown[window])
    found = cut(_MOTION * differs + sure, cost, differs > 0)
    for _ in range(2):
        if not found.any() or found.all():
            break
        own, background = ColourModel(bins[found]), ColourModel(bins[~found])
        colour = own.against(background, bins)
        # Where the settled picture looks more like the object, it is what came to rest there later.
        later = own.against(background, behind) > colour + 1
        moved = np.where(later & (differs > 0), -differs, differs)
        found = cut(_MOTION * moved + _COLOUR * colour + sure, cost, found)
    return found


def _moves_alone(moved: np.ndarray, inside: np.ndarray, body: np.ndarray) -> bool:
    """Whether what moves fills a good part of ``body`` and ends ``inside``, nothing else moving about it."""
    reach = max(3, round(_RING_SHARE * float(inside.sum()) ** 0.5))
    ring = grown(inside, reach) & ~inside
    share = (moved & body).sum() / max(1, body.sum())
    around = (moved & ring).sum() / max(1, ring.sum())
    return share > 0.25 and around < 0.05


def _mark(
    labels: np.ndarray, image: np.ndarray, window: Window,
    positive: list[tuple[int, int]], negative: list[tuple[int, int]], radius: float,
) -> None:  # fmt: skip
    """Write points into GrabCut's labels: a background point with the region around it, an object point with
    the patch of its colour within ``radius``."""
    smooth = cv2.medianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2LAB), 5)
    inner = [_shifted(points, window, labels.shape) for points in (positive, negative)]
    for point in inner[1]:
        labels[_grown_region(smooth, edge_strength(smooth), point, inner[0])] = cv2.GC_BGD
    for point in inner[0]:
        near = np.zeros(labels.shape, np.uint8)
        cv2.circle(near, point, max(2, round(radius)), 1, -1)
        labels[(near > 0) & _flood(smooth, point, 8)] = cv2.GC_FGD


def _shifted(points: list[tuple[int, int]], window: Window, shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """The points inside ``window``, in its own pixels."""
    moved = [(x - window[1].start, y - window[0].start) for x, y in points]
    return [(x, y) for x, y in moved if 0 <= x < shape[1] and 0 <= y < shape[0]]


def region_of_points(
    scene: Surroundings, positive: list[tuple[int, int]], negative: list[tuple[int, int]]
) -> np.ndarray:
    """The object under the ``positive`` points (x, y) and not under the ``negative`` ones: bool (H, W).

    A point on something that moves means all of that. Elsewhere a region grows from it through like
    colours, as far as its border lies best on edges; GrabCut then finds the object that these regions are
    part of.
    """
    smooth = cv2.medianBlur(cv2.cvtColor(scene.image, cv2.COLOR_RGB2LAB), 5)
    edges = edge_strength(smooth)
    seeds, probable = np.zeros(scene.moved.shape, bool), _hull(positive, scene.moved.shape)
    for point in positive:
        region = _grown_region(smooth, edges, point, negative)
        seeds |= region | _moving_part(scene, region, point, negative)
    probable |= seeds
    box = Box.of_mask(probable)
    if box is None:
        return probable
    window, labels = _labels_round(seeds, probable, box)
    _mark(labels, scene.image[window], window, positive, negative, 0.03 * min(box.width, box.height))
    mask = np.zeros_like(seeds)
    found = filled(grab_cut(scene.image[window], labels), 0.1)
    # Floods creep along edges between two surfaces: what they bring is thin.
    square = np.ones((5, 5) if min(box.width, box.height) > 60 else (3, 3), np.uint8)
    mask[window] = cv2.morphologyEx(found.astype(np.uint8), cv2.MORPH_OPEN, square) > 0
    return _parts_at(mask, positive)


def _labels_round(seeds: np.ndarray, probable: np.ndarray, box: Box) -> tuple[Window, np.ndarray]:
    """GrabCut's labels, and their window: sure inside ``seeds``, open around what is ``probable``."""
    size = max(box.width, box.height)
    window = box.grown(0.25 * size + 6).slices(seeds.shape[1], seeds.shape[0])
    labels = np.full(seeds.shape, cv2.GC_BGD, np.uint8)
    labels[grown(probable, max(1, round(0.06 * size)))] = cv2.GC_PR_BGD
    labels[probable] = cv2.GC_PR_FGD
    labels[cv2.erode(seeds.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0] = cv2.GC_FGD
    return window, labels[window]


def _hull(points: list[tuple[int, int]], shape: tuple[int, ...]) -> np.ndarray:
    """What lies between the points, bool (H, W): several on one object span it."""
    between = np.zeros(shape, np.uint8)
    if len(points) > 2:
        cv2.fillConvexPoly(between, cv2.convexHull(np.array(points, np.int32)), 1)
    return between > 0


def _parts_at(mask: np.ndarray, points: list[tuple[int, int]]) -> np.ndarray:
    """The parts of ``mask`` on which a point lies; all of it where none does."""
    _, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    wanted = {int(labels[y, x]) for x, y in points} - {0}
    return np.isin(labels, list(wanted)) if wanted else mask


def take_away(image: np.ndarray, mask: np.ndarray, negative: list[tuple[int, int]]) -> np.ndarray:
    """``mask``, bool (H, W), without the parts that the ``negative`` points (x, y) lie on; crumbs go with them."""
    smooth = cv2.medianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2LAB), 5)
    edges = edge_strength(smooth)
    left = mask.copy()
    for point in negative:
        if left[point[1], point[0]]:
            left &= ~_grown_region(smooth, edges, point, [])
    whole = cv2.morphologyEx(left.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
    return left if whole.sum() >= _CRUMBS * mask.sum() else np.zeros_like(mask)


def _moving_part(
    scene: Surroundings, region: np.ndarray, point: tuple[int, int], negative: list[tuple[int, int]]
) -> np.ndarray:
    """The thing at ``point`` (x, y) that moves alone; ``region``, bool (H, W), is a sample of its colours."""
    bins = bins_of(scene.image)
    outside = ~(region | scene.moved)
    if not (scene.moved[point[1], point[0]] and region.any() and outside.any()):
        return np.zeros_like(region)
    own, background = ColourModel(bins[region]), ColourModel(bins[outside])
    later = own.against(background, bins_of(scene.shown)) > own.against(background, bins) + 1
    part = _parts_at(scene.moved & ~later, [point])
    apart = part[point[1], point[0]] and not any(part[y, x] for x, y in negative)
    apart = apart and part.mean() < _MAX_POINT_SHARE and _moves_alone(scene.moved, grown(part, 2), part)
    return part if apart else np.zeros_like(part)


def _grown_region(
    lab: np.ndarray, edges: np.ndarray, point: tuple[int, int], negative: list[tuple[int, int]]
) -> np.ndarray:
    best, best_score = np.zeros(lab.shape[:2], bool), -1.0
    for levels in _FLOODS:
        region = filled(_flood(lab, point, levels), 0.2)
        if region.mean() > _MAX_POINT_SHARE or any(region[y, x] for x, y in negative):
            break
        inner = cv2.erode(region.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0) > 0
        border = region & ~inner
        at_rim = border.copy()
        at_rim[1:-1, 1:-1] = False
        score = float(edges[border].mean()) * (1 - at_rim.sum() / border.sum())
        if score > best_score or not best.any():
            best, best_score = region, score
    return best


def _flood(lab: np.ndarray, point: tuple[int, int], levels: int) -> np.ndarray:
    """Pixels joined to ``point`` (x, y) whose colour lies within ``levels`` of its own: bool (H, W)."""
    reached = np.zeros((lab.shape[0] + 2, lab.shape[1] + 2), np.uint8)
    flags = 8 | cv2.FLOODFILL_FIXED_RANGE | cv2.FLOODFILL_MASK_ONLY | (1 << 8)
    span = (2 * levels, levels, levels)  # lightness varies more within a thing than colour does
    cv2.floodFill(lab.copy(), reached, point, (0, 0, 0), span, span, flags)
    return reached[1:-1, 1:-1] > 0
