"""`TextFinder`: words to boxes, with Grounding DINO or the concepts of SAM 3.

Grounding DINO (Liu et al. 2023, arXiv 2303.05499) gives boxes; SAM 3 (Carion et al. 2025, arXiv 2511.16719) gives
masks too. Phrases are looked for one by one: the models confuse the words of several.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np

from aftermath.core import Box, Clip
from aftermath.errors import InputError, WeightsError
from aftermath.models import DINO, VOCABULARIES
from aftermath.segment.pretrained import best_device, load_model, load_processor, opened

__all__ = ["Match", "TextFinder", "chosen", "phrases", "picture"]

_LONGEST = 200  # letters of a text
_SAM3_WORDS = 32  # tokens that SAM 3 reads
_LEAST = {"dino": 0.3, "sam3": 0.5}  # scores from which a thing counts as found: the models' own
_ONE_THING = 0.6  # intersection over union from which two boxes show one thing
_MOST = 9  # matches of a phrase that are worth a number
_MORE_FRAMES = 5  # looked at where the first shows nothing

_COLOURS = "black|white|gr[ae]y|red|green|blue|yellow|orange|purple|pink|brown|beige|gold|silver"
_PAIR = re.compile(rf"\b({_COLOURS}) and ({_COLOURS})\b")  # "black and white" is one thing's look
_JOINED = "\0"
_BETWEEN = re.compile(r"[,.;\n&]|\b(?:and|plus)\b")
_LEADING = re.compile(
    r"^(?:(?:a|an|the|this|that|these|those|his|her|its|their|my|your|our|both|all|some) )+"
)


@dataclass(frozen=True)
class Match:
    """A thing that fits ``phrase``: its box in pixels of the analysed clip, on ``frame``; ``score`` 0 to 1.

    ``mask``, boolean (H, W), where the model tells pixels and not only a box.
    """

    box: Box
    score: float
    phrase: str
    frame: int
    mask: np.ndarray | None = None


class TextFinder:
    """Finds what words say.

    Args:
        model: a folder or a name on the hub: Grounding DINO or SAM 3, as its config.json says; where empty, the
            published Grounding DINO.
        offline: use only what is on this machine.
        device: "auto", "cuda", "mps" or "cpu"; float32 on all, since few pictures are looked at.
    """

    def __init__(self, model: str = "", *, offline: bool = False, device: str = "auto") -> None:
        self._model = model or DINO
        self._offline = offline
        self._device = device
        self._eye: _Eye | None = None

    def find(self, clip: Clip, text: str, frames: Sequence[int] | None = None) -> tuple[Match, ...]:
        """What fits each phrase of ``text``, best first; each phrase has one match at least.

        ``frames`` are looked at in turn until a phrase is found; by default the first, then some spread over the clip.

        Raises:
            InputError: the text is empty or too long, a frame is not in the clip, or a phrase finds nothing.
            WeightsError: the model cannot be had or used.
        """
        wanted = phrases(text)
        looked = _spread(len(clip)) if frames is None else list(dict.fromkeys(frames))
        for frame in looked:
            if not 0 <= frame < len(clip):
                raise InputError(f"frame {frame}", f"must be one of the clip's, 0 to {len(clip) - 1}")
        found: list[Match] = []
        for phrase in wanted:
            found += self._best(clip, phrase, looked)
        return tuple(sorted(found, key=lambda match: -match.score))

    def _best(self, clip: Clip, phrase: str, frames: Sequence[int]) -> list[Match]:
        """The matches of a phrase on the first frame that has any."""
        eye = self._ready()
        for frame in frames:
            seen = [
                Match(box.clipped(clip.width, clip.height), score, phrase, frame, mask)
                for box, score, mask in eye.look(np.ascontiguousarray(clip.frames[frame]), phrase)
            ]
            kept = _distinct([match for match in seen if match.box.width >= 1 and match.box.height >= 1])
            if kept:
                return kept[:_MOST]
        named = ", ".join(map(str, frames))
        raise InputError(
            f"{phrase!r}",
            f"nothing fits it on frame{'s' if len(frames) > 1 else ''} {named}",
            "use other words, or point at it with --box",
        )

    def _ready(self) -> _Eye:
        """The model, loaded once."""
        if self._eye is None:
            import torch
            import transformers

            device = best_device(self._device)
            folder, kind = opened(self._model, tuple(_EYES), "finding by words", offline=self._offline)
            if not any((folder / file).is_file() for file in VOCABULARIES):
                # transformers would make do with a vocabulary of no words, and find anything
                raise WeightsError(
                    f"{folder}: no tokenizer there ({' or '.join(VOCABULARIES)}); "
                    "fetch it with: aftermath models download"
                )
            model, processor, eye = _EYES[kind]
            loaded: _Eye = eye(
                load_model(getattr(transformers, model), folder, device=device, dtype=torch.float32),
                load_processor(getattr(transformers, processor), folder),
                device,
            )
            self._eye = loaded
        return self._eye


Seen = tuple[Box, float, np.ndarray | None]
"""A box in the picture's pixels, its score, and a mask (H, W) where there is one."""


class _Eye(Protocol):
    def look(self, picture: np.ndarray, phrase: str) -> list[Seen]:
        """What fits ``phrase`` in ``picture``, uint8 (H, W, 3)."""
        ...


@dataclass(frozen=True)
class _Dino:
    """Grounding DINO: boxes."""

    model: Any
    processor: Any
    device: str

    def look(self, picture: np.ndarray, phrase: str) -> list[Seen]:
        """See `_Eye.look`."""
        import torch

        given = self.processor(images=picture, text=f"{phrase}.", return_tensors="pt").to(self.device)
        with torch.inference_mode():
            told = self.model(**given)
        (result,) = self.processor.post_process_grounded_object_detection(
            told, given["input_ids"], threshold=_LEAST["dino"], target_sizes=[picture.shape[:2]]
        )
        return [
            (Box(*box), score, None)
            for box, score in zip(result["boxes"].tolist(), result["scores"].tolist(), strict=True)
        ]


@dataclass(frozen=True)
class _Concepts:
    """SAM 3: a mask for everything that fits."""

    model: Any
    processor: Any
    device: str

    def look(self, picture: np.ndarray, phrase: str) -> list[Seen]:
        """See `_Eye.look`. Raises `InputError` for a phrase that is too long for it."""
        import torch

        if len(self.processor.tokenizer(phrase)["input_ids"]) > _SAM3_WORDS:
            raise InputError(
                f"{phrase!r}", f"must have at most {_SAM3_WORDS} words or parts of words for SAM 3"
            )
        given = self.processor(images=picture, text=phrase, return_tensors="pt").to(self.device)
        with torch.inference_mode():
            told = self.model(**given)
        (result,) = self.processor.post_process_instance_segmentation(
            told, threshold=_LEAST["sam3"], target_sizes=[picture.shape[:2]]
        )
        seen: list[Seen] = []
        for score, mask in zip(result["scores"].tolist(), result["masks"], strict=True):
            pixels = mask.cpu().numpy().astype(bool)
            box = Box.of_mask(pixels)  # the pixels are what counts; the model's own box may differ a little
            if box is not None:
                seen.append((box, score, pixels))
        return seen


_EYES: dict[str, tuple[str, str, Any]] = {
    "grounding-dino": ("AutoModelForZeroShotObjectDetection", "AutoProcessor", _Dino),
    "mm-grounding-dino": ("AutoModelForZeroShotObjectDetection", "AutoProcessor", _Dino),
    "sam3": ("Sam3Model", "Sam3Processor", _Concepts),
    "sam3_video": ("Sam3Model", "Sam3Processor", _Concepts),
}


def phrases(text: str) -> tuple[str, ...]:
    """The things that a text names: "the man in red and his bike" gives "man in red" and "bike".

    Lower case, without leading articles, each once. Raises `InputError` where the text names nothing or is too long.
    """
    if len(text) > _LONGEST:
        raise InputError(
            f"a text of {len(text)} letters", f"must have at most {_LONGEST}", "name the thing in a few words"
        )
    joined = _PAIR.sub(rf"\1{_JOINED}\2", " ".join(text.lower().split()))
    parts = (" ".join(part.replace(_JOINED, " and ").split()) for part in _BETWEEN.split(joined))
    named = [_LEADING.sub("", f"{part} ").strip() for part in parts]
    found = tuple(dict.fromkeys(part for part in named if re.search(r"\w", part)))
    if not found:
        raise InputError(
            f"the text {text!r}", "must name what is to be found", 'write for example "the red ball"'
        )
    return found


def chosen(matches: Sequence[Match], pick: tuple[int, ...] = ()) -> tuple[Match, ...]:
    """The matches that are meant: those with the numbers ``pick``, from 1 on; without any, the best of each phrase.

    Raises `InputError` for a number that no match has.
    """
    for number in pick:
        if not 1 <= number <= len(matches):
            raise InputError(f"pick {number}", f"must be a number of a match, 1 to {len(matches)}")
    if pick:
        return tuple(matches[number - 1] for number in dict.fromkeys(pick))
    best: dict[str, Match] = {}
    for match in matches:
        if match.phrase not in best or match.score > best[match.phrase].score:
            best[match.phrase] = match
    return tuple(best.values())


_HUES = ((255, 214, 0), (0, 224, 255), (255, 110, 199), (120, 255, 120), (255, 150, 60), (190, 160, 255))
_DARK = (18, 18, 20)
_Place = tuple[int, int, int, int]  # of a label: x0, y0, x1, y1


def picture(frame_rgb: np.ndarray, matches: Sequence[Match]) -> np.ndarray:
    """The frame with each match's box, number and score, for a person to choose by: uint8 (H, W, 3), RGB.

    ``frame_rgb`` uint8 (H, W, 3). A label that finds no room at its box stands where there is some, with a line to it.
    """
    out = frame_rgb.copy()
    height, width = out.shape[:2]
    size = int(np.clip(min(height, width) / 22, 12, 64))
    thick = max(2, size // 10)
    hues = [_HUES[at % len(_HUES)] for at in range(len(matches))]
    for match, hue in zip(matches, hues, strict=True):
        box = match.box.clipped(width, height)
        corners = (int(box.x0), int(box.y0)), (max(int(box.x1) - 1, 0), max(int(box.y1) - 1, 0))
        cv2.rectangle(out, *corners, _DARK, thick + 2)  # a dark rim, so that it is seen on any ground
        cv2.rectangle(out, *corners, hue, thick)
    texts = [f"{number}  {match.score:.2f}" for number, match in enumerate(matches, start=1)]
    places: list[_Place] = []
    for match, text, hue in zip(matches, texts, hues, strict=True):
        box = match.box.clipped(width, height)
        places.append(_room(box, _label_size(text, size), (width, height), places))
        _lead(out, places[-1], box, hue, size)
    for text, place, hue in zip(texts, places, hues, strict=True):
        _label(out, text, place, hue, size)
    return out


def _label_size(text: str, size: int) -> tuple[int, int]:
    """(width, height) of a label, pixels."""
    _, _, width, _ = cv2.getTextSize((1, 1), text, (0, 0), cv2.FontFace("sans"), size, 700)
    return width + size, round(size * 1.5)


def _room(
    box: Box,
    label: tuple[int, int],
    picture: tuple[int, int],
    taken: Sequence[_Place],
) -> _Place:
    """Where a label goes, (x0, y0, x1, y1): at its box where it covers no other label, else the nearest free place."""
    (wide, high), (width, height) = label, picture

    def at(x: float, y: float) -> _Place:
        left, top = int(min(max(x, 0), max(width - wide, 0))), int(min(max(y, 0), max(height - high, 0)))
        return left, top, left + wide, top + high

    places = [
        at(box.x0, box.y0 - high),
        at(box.x0, box.y0),
        at(box.x1 - wide, box.y0 - high),
        at(box.x0, box.y1),
        at(box.x1 - wide, box.y1 - high),
    ]
    grid = [
        at(x, y) for y in range(0, max(height - high, 1), high) for x in range(0, max(width - wide, 1), wide)
    ]
    grid.sort(key=lambda place: (place[0] - box.x0) ** 2 + (place[1] - box.y0) ** 2)
    free = (p for p in (*places, *grid) if not any(_overlap(p, other) for other in taken))
    # more labels than fit: the one that covers least
    return next(free, min(grid or places, key=lambda p: sum(_overlap(p, other) for other in taken)))


def _overlap(a: _Place, b: _Place) -> int:
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))


def _lead(out: np.ndarray, place: _Place, box: Box, hue: tuple[int, int, int], size: int) -> None:
    """A line from a label to its box, where it stands away from it."""
    x0, y0, x1, y1 = place
    near = box.grown(2 * size)
    if not (near.x0 <= x1 and x0 <= near.x1 and near.y0 <= y1 and y0 <= near.y1):
        middle, target = (
            (round((x0 + x1) / 2), round((y0 + y1) / 2)),
            (round(box.center[0]), round(box.center[1])),
        )
        cv2.line(out, middle, target, hue, max(2, size // 10))


def _label(out: np.ndarray, text: str, place: _Place, hue: tuple[int, int, int], size: int) -> None:
    x0, y0, x1, y1 = place
    cv2.rectangle(out, (x0, y0), (x1 - 1, y1 - 1), hue, cv2.FILLED)
    cv2.putText(out, text, (x0 + size // 2, y1 - round(size * 0.4)), _DARK, cv2.FontFace("sans"), size, 700)


def _distinct(matches: list[Match]) -> list[Match]:
    """Best first, without those that show the same thing as a better one (non-maximum suppression)."""
    kept: list[Match] = []
    for match in sorted(matches, key=lambda one: -one.score):
        if all(_iou(match.box, better.box) < _ONE_THING for better in kept):
            kept.append(match)
    return kept


def _iou(a: Box, b: Box) -> float:
    wide, high = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
    both = max(wide, 0.0) * max(high, 0.0)
    return both / (a.width * a.height + b.width * b.height - both)


def _spread(num_frames: int) -> list[int]:
    """Frame 0, then some evenly spread to the end."""
    return list(dict.fromkeys(round(float(t)) for t in np.linspace(0, num_frames - 1, 1 + _MORE_FRAMES)))
