"""What differs between two films, frame by frame: how much, where, by how much, and whether the sound does."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import cv2
import numpy as np

from aftermath.core import Box
from aftermath.media.decode import open_input
from aftermath.media.video import probe, read_frames

__all__ = ["Differences", "FrameDifference", "compare", "differing", "film_of", "visibly"]

# An encoder changes nearly every sample a little, now up and now down; an edit changes neighbours together, and more
# than everything round them. So what counts is the mean difference of a neighbourhood, against that of the whole frame.
# Of the examples' frames encoded anew at crf 16 to 32 hardly one pixel in a thousand passes (most in passer, at 26).
_AROUND_PX = 5
_TIMES_USUAL = 6
_LEAST, _ENOUGH = 10, 30  # of 255: less is never seen, more always


@dataclass(frozen=True)
class FrameDifference:
    """How one frame differs. ``share``: of its pixels, visibly; ``any_share``: of its pixels, at all; ``largest``: the
    largest difference of a sample, of 255; ``box``: round what differs visibly, half-open, None where nothing does."""

    frame: int
    share: float
    any_share: float
    largest: int
    box: Box | None


@dataclass(frozen=True)
class Differences:
    """Two films, a file and its original, compared. Pairs are (file, original); sizes are width and height, pixels.

    ``frames`` is empty where the sizes differ. ``sound``: a sentence.
    """

    num_frames: tuple[int, int]
    sizes: tuple[tuple[int, int], tuple[int, int]]
    frames: tuple[FrameDifference, ...]
    sound: str

    @property
    def visible(self) -> tuple[FrameDifference, ...]:
        """The frames that differ visibly."""
        return tuple(one for one in self.frames if one.box is not None)


def film_of(path: Path) -> Path:
    """What a film is read from: the file, or the numbered pictures of a folder that `remove` wrote."""
    return path / "%05d.png" if path.is_dir() else path


def compare(
    path: Path, original: Path, progress: Callable[[int, int], None] = lambda done, total: None
) -> Differences:
    """Compare a film with its original. Raises `InputError` for what is no film."""
    file, source = film_of(path), film_of(original)
    ours, theirs = probe(file), probe(source)
    sizes = (ours.width, ours.height), (theirs.width, theirs.height)
    total = max(ours.estimated_frames, theirs.estimated_frames)
    counts, found = [0, 0], []
    for left, right in zip_longest(read_frames(file), read_frames(source)):
        counts[0] += left is not None
        counts[1] += right is not None
        if left is not None and right is not None and sizes[0] == sizes[1]:
            found.append(_difference(left.index, left.rgb(), right.rgb()))
        progress(max(counts), max(total, *counts))
    return Differences((counts[0], counts[1]), sizes, tuple(found), _sound(file, source))


def differing(
    path: Path, original: Path, frames: Collection[int]
) -> Iterator[tuple[int, float, np.ndarray, np.ndarray]]:
    """Some frames of both: index, time in seconds, and both pictures, uint8 (H, W, 3), the original's first."""
    for left, right in zip(read_frames(film_of(path)), read_frames(film_of(original)), strict=False):
        if left.index in frames:
            yield left.index, left.time_s, right.rgb(), left.rgb()
        if left.index >= max(frames):
            return


def visibly(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Which pixels of two pictures, uint8 (H, W, 3), differ by more than an encoder does: boolean (H, W)."""
    apart = cv2.absdiff(left, right).max(axis=2).astype(np.float32)
    near = cv2.blur(apart, (_AROUND_PX, _AROUND_PX))
    limit = np.clip(_TIMES_USUAL * np.median(near), _LEAST, _ENOUGH)
    square = np.ones((_AROUND_PX, _AROUND_PX), np.uint8)
    return cv2.morphologyEx((near > limit).astype(np.uint8), cv2.MORPH_OPEN, square) > 0


def _difference(frame: int, left: np.ndarray, right: np.ndarray) -> FrameDifference:
    apart = cv2.absdiff(left, right).max(axis=2)
    seen = visibly(left, right)
    box = None
    if seen.any():
        x, y, width, height = cv2.boundingRect(seen.astype(np.uint8))
        box = Box(x, y, x + width, y + height)
    return FrameDifference(frame, float(seen.mean()), float((apart > 0).mean()), int(apart.max()), box)


def _sound(path: Path, original: Path) -> str:
    (ours, our_packets), (theirs, their_packets) = _heard(path), _heard(original)
    if not ours and not theirs:
        return "neither has any"
    if len(ours) != len(theirs):
        return f"{len(ours)} streams, and {len(theirs)} in the original"
    if ours == theirs:
        return "the same, byte for byte"
    count, kept = our_packets.total(), (our_packets & their_packets).total()
    if kept == count:
        return f"the original's own, of which {their_packets.total() - count} packets are left out"
    return f"differs: {kept} of {count} packets are the original's own"


def _heard(path: Path) -> tuple[list[bytes], Counter[bytes]]:
    """The digest of every audio stream, and those of all their packets: containers may cut a stream differently."""
    packets: Counter[bytes] = Counter()
    with open_input(path) as container:
        whole = {stream.index: hashlib.sha256() for stream in container.streams.audio}
        for packet in container.demux(list(container.streams.audio)) if whole else ():
            if packet.size:
                whole[packet.stream_index].update(bytes(packet))
                packets[hashlib.sha256(bytes(packet)).digest()] += 1
    return [one.digest() for one in whole.values()], packets
