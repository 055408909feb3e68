"""The embedded reasoner: what else would be different, told from motion, contact and light alone. No network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial

import cv2
import numpy as np

from aftermath.core import Action, AffectedObject, Box, Category, Clip, Plan
from aftermath.errors import InputError
from aftermath.reason.artifacts import find_artifacts
from aftermath.reason.base import Hint, Progress, Reasoning
from aftermath.reason.entries import noun_of, source_box, source_path
from aftermath.reason.events import CUT_PX, Cause, Event, Mover, find_event, measured
from aftermath.reason.kinematics import fall_of, gaps, mask_centers
from aftermath.reason.light import BLUR_PX, Light, colour_shares
from aftermath.reason.paths import falling_path, going_on_path
from aftermath.reason.standing import drop_below
from aftermath.reason.support import Support
from aftermath.reason.willing import starts_by_itself
from aftermath.scene.analyse import plate_in_frame
from aftermath.scene.base import CameraKind, Scene, Track
from aftermath.scene.plate import outline_strength
from aftermath.scene.sprites import best_frame
from aftermath.scene.tracks import difference

__all__ = ["MotionReasoner"]

_MAX_THINGS = 40
_OFFER_CONFIDENCE = 0.25
_STANDS_CONFIDENCE = 0.7
_SURE_PX = 0.7  # what registration may leave unexplained before motion is doubted
_MEETING_PX, _MEETING_FRAMES = 8, 12
_BARE_SHARE = 0.6  # of the strength of the plate's edges
_TOUCHER_SHARE = 0.1  # of a thing's area: what is smaller does not set it in motion
_SAME_LOOK, _SAME_SIZE = 0.5, 1.5  # Bhattacharyya distance; it may be half hidden, but not grow much
_LEFT_SHARE = 0.03  # of a thing: what differs from its rest by less is still at rest
_DOT_SHARE = 0.0001  # of the picture: so little is no thing that a user could mean
_GRAVITY_M_S2 = 9.81
_PICTURE_HEIGHT_M = 1.5  # a table-top or a room corner is about this
# what pulls more or less than in a picture so high is no gravity
_LEAST_HEIGHT_M, _MOST_HEIGHT_M = 0.25, 12.0


@dataclass(frozen=True)
class _Finding:
    thing: AffectedObject
    mask: np.ndarray
    mover: Mover


class MotionReasoner:
    """Decides from the plate and the tracks of everything that moves; see `Reasoner`."""

    name = "motion"

    def __init__(self, picture_height_m: float = 0.0) -> None:
        """``picture_height_m`` says how fast things fall; with 0 a thing that is seen to fall tells."""
        self._picture_height_m = picture_height_m

    def reason(
        self, clip: Clip, primary: np.ndarray, scene: Scene, hints: tuple[Hint, ...], progress: Progress
    ) -> Reasoning:
        """Find what would be different without ``primary``, boolean (T, H, W); see `Reasoner.reason`."""
        view = _View(clip, primary, scene, self._picture_height_m)
        attached = [
            t
            for t in scene.tracks
            if view.kinds.is_light(t) or view.kinds.is_own_piece(t, view.gaps[:, t.label])
        ]
        things = [t for t in scene.tracks if t not in attached and view.kinds.is_large_enough(t)][
            :_MAX_THINGS
        ]
        light = view.light(attached, things)
        findings = [view.told(hint, number) for number, hint in enumerate(hints)]
        standing = view.standing(findings)
        still = view.support.tracks_of([finding.mask for finding in standing], things)
        settled = {finding.thing.id for finding in findings} | still
        findings += standing
        progress(1, 4)
        findings += view.struck([t for t in things if t.id not in settled], findings)
        findings = view.seen_again(findings, things)
        progress(2, 4)
        findings = light + [view.from_meeting(f, light) for f in findings]
        progress(3, 4)
        if not any(f.thing.action is Action.FALLS for f in findings):
            findings += view.offered(findings)
        progress(4, 4)
        plan = Plan(
            clip.source_width,
            clip.source_height,
            len(clip),
            tuple(f.thing for f in findings),
            scene_description="",
            confidence=min((f.thing.confidence for f in findings if f.thing.applied), default=0.9),
            reasoner=self.name,
            notes=(f"the camera is {scene.camera.kind}",),
        )
        return Reasoning(plan, {f.thing.id: f.mask for f in findings})

    def follow(
        self, clip: Clip, primary: np.ndarray, scene: Scene, hint: Hint, cast: np.ndarray | None
    ) -> tuple[AffectedObject, np.ndarray]:
        """One hint alone: the thing with its way, computed as if this reasoner had found it, and its mask.

        ``cast``: the object's shadow, boolean (T, H, W), where it is known. Raises `InputError` where nothing is there.
        """
        view = _View(clip, primary, scene, self._picture_height_m)
        view.cast = cast
        finding = view.told(hint, 0)
        return finding.thing, finding.mask


class _View:
    """One clip seen by the reasoner; the primary object's motion is measured once."""

    def __init__(self, clip: Clip, primary: np.ndarray, scene: Scene, picture_height_m: float) -> None:
        self.clip, self.primary, self.scene = clip, primary, scene
        self.picture_height_m = picture_height_m
        self.object = self.measured(primary)
        self.kinds = Light(clip, primary, scene, self.object)
        self.support = Support(clip, primary, scene, self.object)
        self.cast: np.ndarray | None = None  # the object's shadow, boolean (T, H, W), once it is found

    @cached_property
    def gaps(self) -> np.ndarray:
        """How far every track is from the object: float64 (T, 256)."""
        return gaps(self.scene.labels, self.primary)

    @cached_property
    def movers(self) -> dict[int, Mover]:
        """All tracks, by their labels."""
        (areas, edge), longest = measured(self.scene.labels), max(self.clip.width, self.clip.height)
        return {
            t.label: Mover(t.centers_px, areas[:, t.label], edge[:, t.label] > CUT_PX, longest)
            for t in self.scene.tracks
        }

    def measured(self, mask: np.ndarray) -> Mover:
        """What a mask, boolean (T, H, W), marks."""
        return Mover.of(mask, mask_centers(mask, self.scene.camera.to_plate))

    def struck(self, tracks: list[Track], known: list[_Finding]) -> list[_Finding]:
        """Things the object acted on, and things those act on in turn."""
        causes = [(Cause("the object", self.object), self.primary)]
        causes += [(Cause(f.thing.noun, f.mover, f.thing.frames[0]), f.mask) for f in known]
        found: list[_Finding] = []
        waiting = list(tracks)
        while causes:
            cause, there = causes.pop(0)
            gap = self.gaps if there is self.primary else gaps(self.scene.labels, there)
            for track in list(waiting):
                mover = self.movers[track.label]
                event = find_event(mover, cause, gap[:, track.label], partial(self.leaves_rest, track))
                if event is None:
                    continue
                waiting.remove(track)
                mask = self.scene.mask(track)
                if self.is_bare(mask, event.first):
                    continue
                finding = self.doubted(self.finding(track.id, mask, mover, event))
                found.append(finding)
                if finding.thing.applied:  # from a guess nothing follows
                    causes.append((Cause(finding.thing.noun, mover, event.first), finding.mask))
        return found

    def is_bare(self, mask: np.ndarray, first: int) -> bool:
        """Whether ``mask``, boolean (T, H, W), is no thing but bare ground that the plate does not show: it has no
        outline in the frame that shows it best before frame ``first``, and the plate has one there."""
        t = best_frame(mask, self.primary, first)
        if t is None:
            return False
        scene, size = self.scene, mask.shape[1:]
        plate, _ = plate_in_frame(scene.plate, scene.seen, scene.camera.to_plate[t], size, scene.bend(t))
        shown, hidden = (outline_strength(image, mask[t]) for image in (self.clip.frames[t], plate))
        return shown < _BARE_SHARE * hidden

    def doubted(self, finding: _Finding) -> _Finding:
        """``finding``, or a guess where its motion may have another reason."""
        if self.scene.camera.residual_px > _SURE_PX:
            return _only_offered(finding, "the camera's motion is not fully explained here")
        if finding.thing.action in (Action.GOES_ON, Action.STAYS):
            start = self.starts_by_itself(finding)
            if start is not None:
                return _only_offered(
                    finding, f"it set itself in motion at about frame {start}, with nothing touching it"
                )
        return finding

    def starts_by_itself(self, finding: _Finding) -> int | None:
        """The frame in which a thing moves off of its own will; None where it never does."""
        mover, gap = finding.mover, gaps(self.scene.labels, finding.mask)
        least = _TOUCHER_SHARE * mover.size_px**2
        touchers = [label for label, other in self.movers.items() if other.areas.max() > least]
        gap[
            :,
            [label for label in range(256) if label not in touchers or f"track-{label}" == finding.thing.id],
        ] = np.inf
        near = np.minimum(gap.min(axis=1), gaps(self.primary.view(np.uint8), finding.mask)[:, 1])
        return starts_by_itself(mover.whole_centers, near > _MEETING_PX, mover.size_px)

    def seen_again(self, findings: list[_Finding], tracks: list[Track]) -> list[_Finding]:
        """``findings`` with what goes behind the object for long and comes out again as another track: no thing comes
        from there that did not go there."""
        taken = {finding.thing.id for finding in findings}
        out = []
        for finding in findings:
            mask = finding.mask
            last = np.flatnonzero(mask.any(axis=(1, 2)))[-1:]
            for track in tracks:
                if track.id in taken or track.seen[: last.max(initial=0) + 1].any():
                    continue
                later = self.scene.mask(track)
                if self.comes_out(mask, later):
                    taken.add(track.id)
                    mask, last = mask | later, np.flatnonzero(track.seen)[-1:]
            out.append(finding if mask is finding.mask else replace(finding, mask=mask))
        return out

    def comes_out(self, before: np.ndarray, after: np.ndarray) -> bool:
        """Whether ``before`` ends at the object, and ``after`` begins there later and looks the same; boolean
        (T, H, W) both."""
        last, first = (np.flatnonzero(mask.any(axis=(1, 2))) for mask in (before, after))
        if not last.size or not first.size or not last[-1] < first[0]:
            return False
        near = np.ones((2 * _MEETING_PX + 1, 2 * _MEETING_PX + 1), np.uint8)
        for mask, t in ((before, last[-1]), (after, first[0])):
            if not (cv2.dilate(mask[t].astype(np.uint8), near) > 0)[self.primary[t]].any():
                return False
        best = [int(mask.sum(axis=(1, 2)).argmax()) for mask in (before, after)]
        sizes = [np.count_nonzero(mask[t]) for mask, t in zip((before, after), best, strict=True)]
        old, new = (
            colour_shares(self.clip.frames[t], mask[t]) for mask, t in zip((before, after), best, strict=True)
        )
        alike = cv2.compareHist(old, new, cv2.HISTCMP_BHATTACHARYYA) < _SAME_LOOK
        return bool(alike and sizes[1] < _SAME_SIZE * sizes[0])

    def leaves_rest(self, thing: Track | np.ndarray, changed: int) -> int:
        """The first frame of those up to ``changed`` in which ``thing``, a track or a mask boolean (T, H, W), does not
        look as it did at rest."""
        mask = self.scene.mask(thing) if isinstance(thing, Track) else thing
        rest = best_frame(mask, self.primary, changed)
        if rest is None or self.scene.camera.kind is not CameraKind.STILL:
            return changed
        pose = cv2.dilate(mask[rest].astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        border = np.ones((2 * BLUR_PX + 1, 2 * BLUR_PX + 1), np.uint8)
        first = changed
        while first - 1 > rest:
            free = pose & (cv2.dilate(self.primary[first - 1].astype(np.uint8), border) == 0)
            now, then = self.clip.frames[first - 1], self.clip.frames[rest]
            if difference(now, then, free, self.scene.noise).solid.sum() < _LEFT_SHARE * pose.sum():
                break
            first -= 1
        return first

    def finding(self, name: str, mask: np.ndarray, mover: Mover, event: Event) -> _Finding:
        """What happened to the thing ``mask``, boolean (T, H, W), as an entry of the plan, with the path it would
        take."""
        path = self.path(mask, mover, event)
        thing = AffectedObject(
            id=name,
            noun=noun_of(self.clip, mask),
            action=event.action,
            why=event.why,
            confidence=event.confidence,
            frames=(event.first, len(self.clip)),
            box=source_box(
                self.clip, mask, max(0, event.first - (event.action is Action.STAYS))
            ),  # where it rests
            path=source_path(self.clip, self.scene.camera, path),
        )
        return _Finding(thing, mask, mover)

    def path(self, mask: np.ndarray, mover: Mover, event: Event) -> np.ndarray:
        """Where its centre goes, float64 (T, 2) plate pixels, NaN where it is not moved."""
        num = len(self.clip)
        if event.action is Action.GOES_ON:
            return going_on_path(mover.centers, event.first, num)
        if event.action is Action.FALLS:
            first = int(np.flatnonzero(mover.areas)[0]) if event.first == 0 else event.first
            drop = self.drop(mask[first], first)
            fall = fall_of(mover.centers, slice(0, first))
            rate = self.clip.frame_rate
            speed = 0.0 if fall is None else (fall.speed + fall.pull * (first - fall.frame)) * rate
            return falling_path(tuple(mover.centers[first]), drop, first, num, rate, self.pull_px_s2, speed)
        return np.full((num, 2), np.nan)

    @cached_property
    def pull_px_s2(self) -> float:
        """Gravity in the picture: what the longest fall in the clip shows, unless the user gave the scale."""
        of_height = _GRAVITY_M_S2 * self.clip.height
        seen = None if self.picture_height_m else self.seen_pull()
        return seen or of_height / (self.picture_height_m or _PICTURE_HEIGHT_M)

    def seen_pull(self) -> float | None:
        """The pull on things that are seen to fall, px a second squared; None where nothing falls, or where the camera
        moves: what is raised above the ground drifts then, and may seem to fall slowly."""
        if self.scene.camera.kind is not CameraKind.STILL:
            return None
        of_height = _GRAVITY_M_S2 * self.clip.height
        movers = [self.movers[t.label] for t in self.scene.tracks if self.kinds.is_large_enough(t)]
        pulls = []
        for mover in [self.object, *movers[:_MAX_THINGS]]:
            centers = mover.whole_centers
            for stop in range(4, len(centers) + 1):
                fall = fall_of(centers, slice(max(0, stop - 8), stop))
                if fall is not None:
                    pulls.append(fall.pull * self.clip.frame_rate**2)
        likely = [pull for pull in pulls if _LEAST_HEIGHT_M < of_height / pull < _MOST_HEIGHT_M]
        return float(np.median(likely)) if likely else None

    def from_meeting(self, finding: _Finding, light: list[_Finding]) -> _Finding:
        """Let a thing that meets the object be drawn from where it enters what vanishes, not cut by its border."""
        thing, first = finding.thing, finding.thing.frames[0]
        if thing.action not in (Action.GOES_ON, Action.STAYS) or first == 0:
            return finding
        gone = self.primary if not light else self.primary | light[0].mask
        near = np.ones((2 * _MEETING_PX + 1, 2 * _MEETING_PX + 1), np.uint8)
        earlier = first
        while (
            earlier > 1
            and (cv2.dilate(finding.mask[earlier - 1].astype(np.uint8), near) > 0)[gone[earlier - 1]].any()
        ):
            earlier -= 1
        if thing.action is Action.STAYS:  # however long the object is beside it: it rests
            there = finding.mover.centers[earlier:first]
            there = there[np.isfinite(there[:, 0])]
            if not len(there) or np.ptp(there, axis=0).max() > 2 + 0.1 * finding.mover.size_px:
                return finding
            return replace(finding, thing=replace(thing, frames=(earlier, thing.frames[1])))
        if first - earlier > _MEETING_FRAMES:
            return finding
        before = np.full((len(self.clip), 2), np.nan)
        before[earlier:first] = finding.mover.centers[earlier:first]
        path = source_path(self.clip, self.scene.camera, before) + thing.path
        return replace(finding, thing=replace(thing, frames=(earlier, thing.frames[1]), path=path))

    def drop(self, thing: np.ndarray, t: int) -> float:
        """How far it falls in frame ``t``, pixels: onto the object's own footing, or where it was carried, to its
        lowest point. What hangs below the object falls to where the object's shadow lies, or out of the picture.
        """
        on, under = Box.of_mask(thing), Box.of_mask(self.primary[t])
        if on is None or under is None:
            return 0.0
        if self.support.rests:
            return drop_below(thing, self.primary[t])
        if under.y1 > on.y1:
            return under.y1 - on.y1
        shadow = None if self.cast is None else Box.of_mask(self.cast[t])
        if shadow is not None and shadow.center[1] > on.y1:
            return shadow.center[1] - on.y1
        return self.clip.height - on.y0

    def light(self, attached: list[Track], things: list[Track]) -> list[_Finding]:
        """The object's shadow, reflection and glow."""
        others, deep = self.belonging(things), self.belonging(attached)
        mask = find_artifacts(self.clip, self.primary, self.scene, others, deep)
        if mask.sum() < 40:
            return []
        frames = np.flatnonzero(mask.any(axis=(1, 2)))
        name, why = self.kinds.kind_of_light(mask)
        thing = AffectedObject(
            id="light",
            noun=name,
            action=Action.VANISHES,
            why=why,
            confidence=0.8,
            frames=(int(frames[0]), int(frames[-1]) + 1),
            category=Category.VISUAL_ARTIFACT,
            box=source_box(self.clip, mask, int(frames[0])),
        )
        self.cast = mask
        return [_Finding(thing, mask, self.measured(mask))]

    def belonging(self, tracks: list[Track]) -> np.ndarray:
        """Boolean (T, H, W): the pixels of ``tracks``."""
        if not tracks:
            return np.broadcast_to(False, self.primary.shape)
        out = np.empty(self.primary.shape, bool)
        for mask, labels in zip(out, self.scene.labels, strict=True):
            mask[:] = np.isin(labels, [track.label for track in tracks])
        return out

    def told(self, hint: Hint, number: int) -> _Finding:
        """What the user said about the thing at a pixel."""
        mask, name = self.at(hint)
        mask = mask & ~self.primary
        sx, sy = self.clip.scale
        areas = mask.sum(axis=(1, 2))
        if not areas[hint.frame]:
            raise InputError(
                f"affected {hint.x / sx:.0f},{hint.y / sy:.0f}@{hint.frame}",
                "must point at a thing, but nothing stands out there",
                "point at the middle of the thing, or give a frame that shows it whole",
            )
        usual = float(np.median(areas[areas > 0]))
        if usual < _DOT_SHARE * mask[0].size:
            raise InputError(
                f"affected {hint.x / sx:.0f},{hint.y / sy:.0f}@{hint.frame}",
                f"must point at a thing, but what stands out there is a dot of {usual:.0f} pixels",
                "point at the middle of the thing, give a frame that shows it clear of the object, or hand in a plan",
            )
        mover = self.measured(mask)
        first = hint.first
        gap = gaps(mask.astype(np.uint8), self.primary)[:, 1]
        event = find_event(mover, Cause("the object", self.object), gap, partial(self.leaves_rest, mask))
        if event is not None and event.action is hint.action:
            first = event.first
        told = Event(hint.action, first, hint.why, hint.confidence)
        finding = self.finding(name or f"told-{number}", mask, mover, told)
        noun = hint.noun or finding.thing.noun
        return replace(finding, thing=replace(finding.thing, noun=noun))

    def at(self, hint: Hint) -> tuple[np.ndarray, str | None]:
        """The mask of the thing a hint points at, boolean (T, H, W), and the id of its track if it has one."""
        x, y = round(hint.x), round(hint.y)
        y = min(max(y, 0), self.clip.height - 1)
        x = min(max(x, 0), self.clip.width - 1)
        label = int(self.scene.labels[hint.frame, y, x])
        if label:
            return self.scene.labels == label, f"track-{label}"
        # what stands on the object is looked for first: its outline is surer than one grown from a single pixel
        standing = self.support.at(hint.frame, x, y)
        if standing is not None:
            return standing, None
        return (np.zeros_like(self.primary) if hint.mask is None else hint.mask), None

    def standing(self, known: list[_Finding]) -> list[_Finding]:
        """Things that stand on an object that keeps its place: they lose their support."""
        why = "stands on the object, some or all of whose top it hides, and would lose its support"
        return [
            self.falling(f"standing-{number}", mask, why, _STANDS_CONFIDENCE)
            for number, mask in enumerate(self.support.standing(_places(known)))
        ]

    def offered(self, known: list[_Finding]) -> list[_Finding]:
        """A thing that seems to stand on the object; the user decides. What the object leaves behind does not."""
        mask = self.support.touching(_places(known))
        if mask is None:
            return []
        why = "seems to stand on the object and would lose its support; nothing moves, so this is a guess"
        finding = self.falling("standing", mask, why, _OFFER_CONFIDENCE)
        return [replace(finding, thing=replace(finding.thing, applied=False))]

    def falling(self, name: str, mask: np.ndarray, why: str, confidence: float) -> _Finding:
        """What stands on the object, boolean (T, H, W), as it falls from the first frame that shows the object."""
        return self.finding(
            name, mask, self.measured(mask), Event(Action.FALLS, self.support.first, why, confidence)
        )


def _places(findings: list[_Finding]) -> list[np.ndarray]:
    """The masks of ``findings`` that are things, boolean (T, H, W) each."""
    return [finding.mask for finding in findings if finding.thing.action is not Action.VANISHES]


def _only_offered(finding: _Finding, doubt: str) -> _Finding:
    """``finding`` as a guess, for what ``doubt`` says; the user decides."""
    thing = finding.thing
    why = f"{thing.why}; {doubt}, so this is a guess"
    unsure = replace(thing, applied=False, why=why, confidence=min(thing.confidence, 0.4))
    return replace(finding, thing=unsure)
