"""Carrying one object's mask from frame to frame, noticing its loss, finding it again."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from aftermath.core import Box
from aftermath.scene.optical_flow import dis_flow, warp
from aftermath.segment.colours import ColourModel, bins_of
from aftermath.segment.cut import cut, edge_cost
from aftermath.segment.memory import Memory, Plate, Window, largest
from aftermath.segment.others import beside_at_first, go_on, hides
from aftermath.segment.search import find_again, find_shift
from aftermath.segment.shapes import filled, grown

__all__ = ["Tracker"]

# What each kind of evidence counts at most.
_COLOUR, _BACKDROP, _OWN, _CARRIED, _UNCHANGED = 0.8, 1.8, 2.0, 2.5, 4.0
_SHADOW = 1.8  # share by which a difference counts less that looks like a shadow
_MATCH = 14.0  # grey levels: a flow that leaves more than this is not believed
_FAR, _LIKELY_FAR = 0.25, 0.2  # evidence a pixel; the share of it where all else speaks for the object
_STILL_PX = 0.4  # flow is no better than that
_REST = 0.02  # of its size: so much a thing at rest may seem to move, for what moves in it or before it
_SLOW_PX, _SLOW_FRAMES = 1.0, 12  # what moves less than this is compared with a frame so long ago at most
_SAME_SHARE = 0.9  # of the object must look as it did, or it is compared with the frame before
_MARGIN_PX = 20
_BARE, _BARE_FROM = 2.0, 0.4  # how much more what is surely the backdrop counts, and from how sure
_ANOTHER = 2.5  # what speaks against another thing
# of the object's size: where what comes up may be a part of it, and where an alike piece is one
_NEAR, _CLOSE = 0.3, 0.3
_ALIKE = 0.3  # a log ratio of colours
_HELD, _SEAM_PX = 0.15, 5  # share of a piece that lies along another thing, and how far its border may be off
_HOLE = 0.06  # of the object's area: holes below that are not holes
_MIN_PX = 6  # pixels below which there is nothing to follow


@dataclass
class _Anchor:
    """The frame that others are compared with, where the mask is known, and what is another thing, bool (H, W) both.
    ``camera`` and ``motion``: the homographies from there to the last frame, of the scene and of the object;
    ``age``: frames since.

    A thing that moves by a third of a pixel in a frame is not seen to move at all, and its mask stays behind; so
    the frame before is the anchor only where things move enough, and else one some frames ago.
    """

    image: np.ndarray
    mask: np.ndarray
    others: np.ndarray
    camera: np.ndarray = field(default_factory=lambda: np.eye(3))
    motion: np.ndarray = field(default_factory=lambda: np.eye(3))
    age: int = 0


@dataclass
class Tracker:
    """One object, followed in one direction from a frame where its mask is known.

    `step` takes the next frame and gives its mask: the cheapest cut through the sum of what flow, colours, the
    backdrop, the object's own remembered look and the frame before say about each pixel. Everything is in pixels
    of the last frame seen.
    """

    anchor: _Anchor
    bins: np.ndarray
    mask: np.ndarray
    backdrop: Memory
    plate: Plate
    own: Memory
    model: ColourModel
    first_model: ColourModel
    area: float
    center: tuple[float, float]
    velocity: np.ndarray
    lost: bool = False
    resting: bool = True

    @classmethod
    def start(cls, image: np.ndarray, mask: np.ndarray, backdrop: Memory, plate: Plate) -> Tracker:
        """Begin at ``image``, uint8 (H, W, 3) RGB, where the object is ``mask``, bool (H, W), not empty.

        ``backdrop``, ``plate``: what is known to stand behind; they become this tracker's own.
        """
        bins = bins_of(image)
        return cls(
            anchor=_Anchor(image, mask, beside_at_first(image, mask, plate, backdrop.noise)),
            bins=bins,
            mask=mask,
            backdrop=backdrop,
            plate=plate,
            own=Memory.of(image, ~mask),
            model=ColourModel(bins[mask]),
            first_model=ColourModel(bins[mask]),
            area=float(mask.sum()),
            center=_center(mask),
            velocity=np.zeros(2),
        )

    @property
    def others(self) -> np.ndarray:
        """What was last known to be another thing, bool (H, W); nothing before a camera that moves."""
        return self.anchor.others & self.backdrop.exact

    def step(self, image: np.ndarray, camera: np.ndarray) -> np.ndarray:
        """The mask in the next frame; ``camera``: the homography from the last frame's pixels to its."""
        self.backdrop.follow(camera)
        self.plate.follow(camera)
        bins = bins_of(image)
        if self.lost:
            self.own.follow(camera)
            mask = np.zeros_like(self.mask)
        else:
            mask = self._carry(image, camera)
        if not self._plausible(image, mask):
            others = self._others(image, np.zeros_like(mask), self.anchor.others)
            mask = self._find(image, others)
            self.anchor = _Anchor(image, mask, others & ~mask)
        self.lost = not mask.any()
        if self.lost:
            self.velocity = np.zeros(2)
        else:
            self._learn(bins, mask)
        self._remember(image, mask)
        self.mask, self.bins = mask, bins
        return mask

    def _carry(self, image: np.ndarray, camera: np.ndarray) -> np.ndarray:
        """Follow the object from the last frame."""
        height, width = self.mask.shape
        anchor = self.anchor
        camera = camera @ anchor.camera
        box = Box.of_mask(anchor.mask)
        assert box is not None, "only an object in view is carried"
        shift = find_shift(anchor.image, anchor.mask, image, self.velocity * (1 + anchor.age))
        reach = _MARGIN_PX + 0.15 * max(box.width, box.height)
        there = box.moved(*shift)
        joint = Box(
            min(box.x0, there.x0), min(box.y0, there.y0), max(box.x1, there.x1), max(box.y1, there.y1)
        )
        window = joint.grown(reach).slices(width, height)
        back, (carried, others), trust = self._carried(image, window, shift)
        motion = _motion(back, window, (carried > 0.5) & (trust > 0.5), camera)
        self.own.follow(motion @ np.linalg.inv(anchor.motion) if anchor.age else motion)
        self.resting = _apart_px(motion, camera, [box.center]) < _REST * max(box.width, box.height)
        own, in_front = self._looks_own(image, window), self._in_front(image, window)
        colour = self._colour(image, window)
        hiding, another = hides(in_front), (others > 0.5) & (trust > 0.5)
        own, in_front, colour = (
            np.where(another, np.minimum(says, 0), says) for says in (own, in_front, colour)
        )
        far = _far(carried > 0.5, float(np.linalg.norm(shift)))
        far *= np.where((in_front > 0.5) & (colour > 0), _LIKELY_FAR, 1)  # an arm may come out fast
        unchanged = self._unchanged(image, window, camera)
        if self.backdrop.exact:  # the very backdrop: what else speaks for the object is chance
            bare = np.clip((-in_front - _BARE_FROM) / (1 - _BARE_FROM), 0, 1)
            own, colour, unchanged = (
                np.where(says > 0, says * (1 - bare), says) for says in (own, colour, unchanged)
            )
            in_front = in_front - _BARE / _BACKDROP * bare
        evidence = (
            _COLOUR * colour
            + _BACKDROP * in_front
            + _CARRIED * (2 * carried - 1) * trust
            - _ANOTHER * another
            + _OWN * own
            + _UNCHANGED * np.where(unchanged < 0, unchanged * (1 - own), unchanged)
            - far * (1 - own)
        )
        found = cut(evidence.astype(np.float32), edge_cost(image[window]), carried > 0.5)
        alike = hides(in_front) & (colour > _ALIKE) & ~another & self.backdrop.exact
        found = self._settle(
            found, carried > 0.5, self._moved(motion, camera)[window], alike, grown(others > 0.5, 3)
        )
        found = filled(_closed(found, in_front), _HOLE)
        mask = np.zeros_like(self.mask)
        mask[window] = found
        self.velocity = 0.5 * self.velocity + 0.5 * (shift / (1 + anchor.age))
        anchor.camera, anchor.motion, anchor.age = camera, motion, anchor.age + 1
        slow = not shift.any() and _apart_px(motion, camera, _corners(box)) <= _SLOW_PX
        trusted = trust[carried > 0.5] > 0.5
        unturned = trusted.any() and trusted.mean() > _SAME_SHARE
        if not (slow and unturned and anchor.age < _SLOW_FRAMES):
            still_others = self._others(image, mask, anchor.others)
            at = another | (grown(others > 0.5, _SEAM_PX) & (carried < 0.3)) | ~self._near(mask)[window]
            still_others[window] = (still_others[window] | another) & at & hiding & ~found
            self.anchor = _Anchor(image, mask, still_others & ~mask)
        return mask

    def _others(self, image: np.ndarray, mask: np.ndarray, before: np.ndarray) -> np.ndarray:
        """What is another thing in this frame and was ``before``, or comes up far from ``mask``; bool (H, W) all."""
        if not self.backdrop.exact:
            return np.zeros_like(mask)
        whole = slice(0, image.shape[0]), slice(0, image.shape[1])
        return go_on(hides(self._in_front(image, whole)), before, self._near(mask), self.area)

    def _near(self, mask: np.ndarray) -> np.ndarray:
        """The box of ``mask`` and what is close to it, anywhere where it is lost; bool (H, W) both."""
        box = Box.of_mask(mask)
        near = np.full_like(mask, box is None)
        if box is not None:
            near[box.grown(_NEAR * max(box.width, box.height)).slices(mask.shape[1], mask.shape[0])] = True
        return near

    def _carried(
        self, image: np.ndarray, window: Window, shift: np.ndarray
    ) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray], np.ndarray]:
        """The flow back to the anchor, float32 (h, w, 2), where it says that the object is and that other things
        are, float32 (h, w) each, 0 to 1, and how far to trust that, 0 to 1.

        Two flows compete at each pixel, one that starts from rest and one from the object's own motion; the
        one that explains the pixel better wins.
        """
        now, last = image[window], self.anchor.image[window]
        things = [mask[window].astype(np.float32) for mask in (self.anchor.mask, self.others)]
        starts: list[np.ndarray | None] = [None]
        if np.linalg.norm(shift) > 2:
            starts.append(np.broadcast_to(-shift.astype(np.float32), (*now.shape[:2], 2)))
        flows, beliefs = [], []
        for start in starts:
            back = dis_flow(now, last, initial=start)
            error = cv2.blur(largest(cv2.absdiff(warp(last, back), now)).astype(np.float32), (5, 5))
            flows.append(back)
            beliefs.append(np.exp(-np.square(error / _MATCH)) + 1e-4)
        votes = [np.square(np.square(belief)) for belief in beliefs]
        object_, others = (
            np.average([warp(thing, back) for back in flows], axis=0, weights=votes) for thing in things
        )
        better = (
            flows[0] if len(flows) == 1 else np.where((votes[1] > votes[0])[..., None], flows[1], flows[0])
        )
        return better, (object_, others), np.max(beliefs, axis=0)

    def _looks_own(self, image: np.ndarray, window: Window) -> np.ndarray:
        """1 where a pixel looks as this part of the object did, 0 where nothing says so; float32 (h, w)."""
        differs, _ = self.own.evidence(image, window)
        return np.maximum(0, -differs)

    def _colour(self, image: np.ndarray, window: Window) -> np.ndarray:
        """How much more likely a colour is the object's than its surroundings', log ratio; float32 (h, w)."""
        outside = ~grown(self.mask, 3)
        background = ColourModel(self.bins[outside])
        background.blend(ColourModel(self.bins[window][outside[window]]), 0.5)
        return self.model.against(background, bins_of(image[window]))

    def _in_front(self, image: np.ndarray, window: Window) -> np.ndarray:
        """1 where something hides what stands behind, -1 where nothing does; float32 (h, w)."""
        differs, shadow = self.backdrop.evidence(image, window)
        differs = np.where(differs > 0, differs * (1 - _SHADOW * shadow), differs)
        from_plate, known = self.plate.evidence(image, window, self.backdrop.noise)
        return np.where(known, np.minimum(differs, from_plate), differs)

    def _unchanged(self, image: np.ndarray, window: Window, camera: np.ndarray) -> np.ndarray:
        """1 where the camera sees the same as in the anchor and that was the object, -1 where it was not,
        0 where something changed; float32 (h, w)."""
        last, mask = self.anchor.image, self.anchor.mask
        if not np.array_equal(camera, np.eye(3)):
            size = mask.shape[1], mask.shape[0]
            last = cv2.warpPerspective(last, camera, size, borderMode=cv2.BORDER_REPLICATE)
            mask = cv2.warpPerspective(mask.astype(np.uint8), camera, size, flags=cv2.INTER_NEAREST) > 0
        change = largest(cv2.absdiff(image[window], last[window])).astype(np.float32)
        change = cv2.dilate(cv2.GaussianBlur(change, (3, 3), 0), np.ones((3, 3), np.uint8))
        limit = 2.5 * self.backdrop.noise + 2
        return np.clip((2 * limit - change) / limit, 0, 1) * np.where(mask[window], 1, -1)

    def _moved(self, motion: np.ndarray, camera: np.ndarray) -> np.ndarray:
        """The anchor's mask moved by ``motion``, bool (H, W); all True where the camera's motion explains it."""
        if np.array_equal(motion, camera):
            return np.ones_like(self.mask)
        mask = self.anchor.mask.astype(np.uint8)
        return cv2.warpPerspective(mask, motion, mask.shape[::-1], flags=cv2.INTER_NEAREST) > 0

    def _settle(
        self,
        found: np.ndarray,
        carried: np.ndarray,
        moved: np.ndarray,
        alike: np.ndarray,
        beside_others: np.ndarray,
    ) -> np.ndarray:
        """Drop what does not hang together with the object, what it left behind, and what hangs on another thing; keep
        what comes out close to it and is ``alike``. All bool (h, w)."""
        count, labels, stats, _ = cv2.connectedComponentsWithStats(found.astype(np.uint8), connectivity=8)
        if count > 1:
            areas = stats[:, cv2.CC_STAT_AREA]
            overlap = np.bincount(labels[carried], minlength=count)
            along = np.bincount(labels[moved], minlength=count)
            keep = (overlap >= 0.2 * areas) & (along >= 0.3 * areas) & (areas >= 0.03 * areas[1:].max())
            main = 1 + int(np.argmax(areas[1:]))
            held = np.bincount(labels[beside_others], minlength=count) / areas
            reach = max(3, round(_CLOSE * float(areas[main]) ** 0.5))
            close = np.bincount(labels[grown(labels == main, reach)], minlength=count) > 0
            new = close & (np.bincount(labels[alike], minlength=count) > 0.5 * areas) & (held < _HELD / 3)
            keep &= held < _HELD
            keep[main] = overlap[main] >= 0.2 * areas[main]
            keep |= new & (areas >= 0.03 * areas[main]) & keep[main]
            keep[0] = False
            found = keep[labels]
        return found

    def _plausible(self, image: np.ndarray, mask: np.ndarray) -> bool:
        """Whether ``mask`` can be the object: its size, its colours, not what the backdrop shows anyway."""
        box = Box.of_mask(mask)
        if box is None:
            return False
        area = float(mask.sum())
        if area < max(_MIN_PX, 0.06 * self.area) or area > 3 * self.area:
            return False
        window = box.slices(mask.shape[1], mask.shape[0])
        inside = mask[window]
        model = ColourModel(bins_of(image[window])[inside])
        if max(model.likeness(self.model), model.likeness(self.first_model)) < 0.35:
            return False
        return float((self._in_front(image, window)[inside] < -0.5).mean()) < 0.6

    def _learn(self, bins: np.ndarray, mask: np.ndarray) -> None:
        """Follow slow changes of size and colours."""
        area = float(mask.sum())
        self.center = _center(mask)
        self.area += (0.1 if area > 0.6 * self.area else 0.01) * (area - self.area)
        if area < 0.5 * self.area:  # half hidden: not a view to learn from
            return
        self.model.blend(ColourModel(bins[mask]), 0.05)
        self.model.blend(self.first_model, 0.05)

    def _remember(self, image: np.ndarray, mask: np.ndarray) -> None:
        """Take in what stands behind, and what the object looks like where."""
        hidden = grown(mask, 3) if mask.any() else mask
        # What stands before a thing at rest is not what stands behind it.
        self.backdrop.learn(image, hidden | self.own.known if self.resting else hidden)
        self.own.learn(image, ~mask)
        self.own.noise = self.backdrop.noise  # a thing that turns or bends is not a noisy picture
        box = Box.of_mask(self.own.known)
        if box is not None:
            window = box.slices(mask.shape[1], mask.shape[0])
            self.own.known[window] &= mask[window] | (self._in_front(image, window) > -0.5)

    def _find(self, image: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Look for the lost object in the whole picture but the ``others``, bool (H, W); all False where it is not
        seen."""
        whole = slice(0, image.shape[0]), slice(0, image.shape[1])
        background = ColourModel(bins_of(np.clip(self.backdrop.colour, 0, 255).astype(np.uint8)))
        colour = self.model.against(background, bins_of(image))
        likely = _COLOUR * colour + _BACKDROP * self._in_front(image, whole)
        likely += _OWN * self._looks_own(image, whole)
        around = grown(others, max(3, round(_CLOSE * self.area**0.5)))
        likely = np.where(around, np.minimum(likely, -1), likely)
        found = find_again(likely, self.area, self.center)
        if found is None:
            return np.zeros(image.shape[:2], bool)
        box = Box.of_mask(found)
        assert box is not None, "a found object has pixels"
        window = box.grown(_MARGIN_PX).slices(image.shape[1], image.shape[0])
        evidence = likely[window] + np.where(found[window], 0.5, -0.5)
        mask = np.zeros(image.shape[:2], bool)
        mask[window] = cut(evidence.astype(np.float32), edge_cost(image[window]), found[window])
        return mask if self._plausible(image, mask) else np.zeros_like(mask)


def _center(mask: np.ndarray) -> tuple[float, float]:
    box = Box.of_mask(mask)
    assert box is not None, "only an object in view has a centre"
    return box.center


def _closed(found: np.ndarray, in_front: np.ndarray) -> np.ndarray:
    """Close notches and slits of ``found``, bool (h, w), too narrow to be true, where no background shows."""
    radius = max(1, round(0.02 * float(found.sum()) ** 0.5))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    closed = cv2.morphologyEx(found.astype(np.uint8), cv2.MORPH_CLOSE, kernel) > 0
    return found | (closed & (in_front > -0.3))


def _motion(back: np.ndarray, window: Window, body: np.ndarray, camera: np.ndarray) -> np.ndarray:
    """The object's own motion from the last frame to this one as a similarity, float64 (3, 3), from the flow
    ``back`` over ``body``, bool (h, w); the camera's where the two cannot be told apart."""
    rows, columns = np.nonzero(body)
    if len(rows) < 12:
        return camera
    chosen = slice(None, None, max(1, len(rows) // 400))
    here = np.stack([columns[chosen], rows[chosen]], 1).astype(np.float32)
    there = here + back[rows[chosen], columns[chosen]]
    corner = np.array([window[1].start, window[0].start], np.float32)
    here, there = here + corner, there + corner
    unmoved = cv2.perspectiveTransform(there[:, None], camera)[:, 0]
    if np.median(np.linalg.norm(unmoved - here, axis=1)) < _STILL_PX:
        return camera
    cv2.setRNGSeed(0)
    matrix, _ = cv2.estimateAffinePartial2D(there, here, method=cv2.RANSAC, ransacReprojThreshold=1.5)
    return camera if matrix is None else np.vstack([matrix, [0, 0, 1]])


def _corners(box: Box) -> list[tuple[float, float]]:
    return [(x, y) for x in (box.x0, box.x1) for y in (box.y0, box.y1)]


def _apart_px(motion: np.ndarray, camera: np.ndarray, places: list[tuple[float, float]]) -> float:
    """How far two homographies take any of ``places`` (x, y) apart."""
    ends = [cv2.perspectiveTransform(np.array([places]), matrix)[0] for matrix in (motion, camera)]
    return float(np.linalg.norm(ends[0] - ends[1], axis=1).max())


def _far(carried: np.ndarray, speed: float) -> np.ndarray:
    """What a pixel pays for lying away from where the object was carried: objects grow little in a frame."""
    if not carried.any():
        return np.zeros(carried.shape, np.float32)
    distance = cv2.distanceTransform((~carried).astype(np.uint8), cv2.DIST_L2, 3)
    return np.clip(_FAR * (distance - 2 - 0.2 * speed), 0, 8)
