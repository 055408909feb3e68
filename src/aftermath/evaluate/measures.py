"""Which scores there are, and how one output is scored: everything that is known of a video, in one place."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from aftermath.evaluate.lpips import Lpips
from aftermath.evaluate.pairs import REGIONS, Pair
from aftermath.evaluate.physics import Track, behaves, follow
from aftermath.evaluate.scores import (
    IDENTICAL_DB,
    Flows,
    keep_fidelity,
    psnr,
    psnr_by_frame,
    removal_completeness,
    ssim_by_region,
    true_flows,
    warp_error,
)

__all__ = ["HEADLINES", "MEASURES", "Judge", "Measure", "Scores", "ThingScore"]


@dataclass(frozen=True)
class Measure:
    """One score: its key in ``scores.json``, how people read it, and which way is better."""

    key: str
    title: str
    unit: str
    higher_is_better: bool
    what: str
    digits: int = 2

    def written(self, value: float) -> str:
        """For a table; a dash for what cannot be said."""
        if math.isnan(value):
            return "–"
        if self.unit == "share":
            return f"{value:.1%}"
        return f"{value:.{self.digits}f}{' ' + self.unit if self.unit else ''}"


def _of_regions(
    key: str, title: str, unit: str, what: str, digits: int, *, higher_is_better: bool = True
) -> list[Measure]:
    return [
        Measure(f"{key}_{r}", f"{title} {r}", unit, higher_is_better, f"{what}, {r}", digits) for r in REGIONS
    ]


MEASURES: dict[str, Measure] = {
    one.key: one
    for one in (
        *_of_regions("psnr", "PSNR", "dB", "peak signal-to-noise ratio against the truth", 1),
        *_of_regions("ssim", "SSIM", "", "structural similarity against the truth (Wang et al. 2004)", 3),
        *_of_regions(
            "lpips", "LPIPS", "", "LPIPS against the truth (Zhang et al. 2018)", 3, higher_is_better=False
        ),
        Measure(
            "warp_excess",
            "warp error",
            "",
            False,
            "change along the true motion in the changed region, beyond the truth's own; levels of 255 "
            "(after Lai et al. 2018)",
        ),
        Measure(
            "keep_db",
            "keep fidelity",
            "dB",
            True,
            "what need not change: PSNR to the source or the truth, the nearer",
            1,
        ),
        Measure(
            "completeness",
            "object gone",
            "share",
            True,
            "how much of the object's appearance is gone where it was",
        ),
        Measure(
            "center_error_px",
            "centre error",
            "px",
            False,
            "affected things: mean distance from the true place; not found counts as a quarter of the width",
            1,
        ),
        Measure(
            "found_share", "things found", "share", True, "affected things: frames in which they are found"
        ),
        Measure(
            "behaves_share", "behave", "share", True, "affected things that rest, fall or move as they should"
        ),
    )
}

HEADLINES = (
    "psnr_changed",
    "ssim_changed",
    "lpips_changed",
    "warp_excess",
    "keep_db",
    "completeness",
    "center_error_px",
    "behaves_share",
)
"""What the first table shows, and what systems are ranked by."""


@dataclass(frozen=True)
class ThingScore:
    """One affected thing in one output. Distances and centres in pixels, one a frame; nan, None: not scored."""

    name: str
    error_px: float
    found_share: float
    does: str
    should: str
    behaves: bool
    errors_px: list[float]
    wanted: list[tuple[float, float] | None]
    found: list[tuple[float, float] | None]


@dataclass(frozen=True)
class Scores:
    """One output: ``values`` by the keys of `MEASURES`, nan where a score has nothing to measure."""

    values: dict[str, float]
    things: tuple[ThingScore, ...]
    psnr_by_frame: list[float]


class Judge:
    """Scores outputs for one pair; what depends on the pair alone is made once."""

    def __init__(self, pair: Pair, lpips: Lpips | None = None) -> None:
        self._pair, self._lpips = pair, lpips
        self._regions = pair.regions
        # where the truth shows another thing, that thing's error would pass for the object
        self._background = pair.quadmask.primary & ~pair.quadmask.affected
        self._flows: Flows = true_flows(pair.truth)
        self._true_warp_error = warp_error(pair.truth, self._flows, self._regions["changed"])

    def score(self, video: np.ndarray) -> Scores:
        """All scores of ``video``, uint8 (T, H, W, 3) RGB of the pair's shape."""
        pair, regions = self._pair, self._regions
        changed, filmed, true = regions["changed"], pair.source, pair.truth
        similar = ssim_by_region(video, true, regions)
        values = {f"psnr_{name}": _capped(psnr(video, true, region)) for name, region in regions.items()}
        values |= {f"ssim_{name}": value for name, value in similar.items()}
        if self._lpips:
            values |= {f"lpips_{name}": self._lpips(video, true, region) for name, region in regions.items()}
        values["warp_error"] = warp_error(video, self._flows, changed)
        values["warp_excess"] = _excess(values["warp_error"], self._true_warp_error)
        values["keep_db"] = _capped(keep_fidelity(video, filmed, true, regions["keep"]))
        values["completeness"] = removal_completeness(video, filmed, true, self._background)
        things = [self._thing(follow(video, true, thing)) for thing in pair.things]
        values |= {
            "center_error_px": _mean([thing.error_px for thing in things]),
            "found_share": _mean([thing.found_share for thing in things]),
            "behaves_share": _mean([float(thing.behaves) for thing in things]),
        }
        return Scores(values, tuple(things), psnr_by_frame(video, true, changed))

    def _thing(self, track: Track) -> ThingScore:
        height, width = self._pair.truth.shape[1:3]
        good, does, should = behaves(track, math.hypot(width, height))
        errors = track.errors
        return ThingScore(
            track.thing.name,
            _mean(errors),
            track.found_share,
            str(does),
            str(should),
            good,
            errors,
            list(track.wanted),
            list(track.found),
        )


def _capped(decibel: float) -> float:
    return decibel if math.isnan(decibel) else min(IDENTICAL_DB, decibel)


def _excess(error: float, least: float) -> float:
    return error if math.isnan(error) else max(0.0, error - least)


def _mean(values: list[float]) -> float:
    """Of those that are numbers; nan where none is."""
    known = np.array([value for value in values if not math.isnan(value)])
    return float(known.mean()) if known.size else math.nan
