"""Which pairs are for scoring alone: the seeds that are held out, and the fixed suite made of them.

A suite's file, ``benchmarks/suite.json``: ``{"num_frames": 49, "size": [384, 224], "pairs": [{"family": "collision",
"seed": 1000000}, ...]}``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from aftermath.counterfactual.families import FAMILIES
from aftermath.counterfactual.pairs import Wanted
from aftermath.errors import InputError

__all__ = ["HELD_OUT_SEEDS", "check_trainable", "read_suite"]

HELD_OUT_SEEDS = range(1_000_000, 1_001_000)
"""Kept for evaluation: never made for training unless asked."""


def check_trainable(pairs: Iterable[Path]) -> None:
    """See to it that none of these pair folders is held out; those that name no seed are not ours, and pass.

    Raises `InputError` for the first whose JSON files name a seed of `HELD_OUT_SEEDS`, or one cannot be read.
    """
    for folder in pairs:
        for name in ("metadata.json", "truth.json", "scene.json"):  # one of them may be lost
            seed = _seed_in(Path(folder) / name)
            if seed in HELD_OUT_SEEDS:
                raise InputError(
                    f"{folder} has seed {seed}",
                    f"{HELD_OUT_SEEDS.start} to {HELD_OUT_SEEDS.stop - 1} are held out for evaluation",
                    "take it out of the training pairs",
                )


def _seed_in(file: Path) -> int | None:
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(str(file.parent), f"its {file.name} cannot be read ({error})") from error
    seed = about.get("seed") if isinstance(about, dict) else None
    return seed if isinstance(seed, int) else None


def read_suite(path: Path) -> list[Wanted]:
    """The pairs of a suite's file. Raises `InputError` for what is none, or names an unknown family or other seeds."""
    try:
        about = json.loads(Path(path).read_text(encoding="utf-8"))
        width, height = about["size"]
        pairs = [
            Wanted(
                str(pair["family"]), int(pair["seed"]), int(about["num_frames"]), (int(width), int(height))
            )
            for pair in about["pairs"]
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"--suite {path}", f"must be a suite's JSON ({error})") from error
    for pair in pairs:
        if pair.family not in FAMILIES or pair.seed not in HELD_OUT_SEEDS:
            raise InputError(
                f"--suite {path}: {pair.family} {pair.seed}",
                f"must be one of {', '.join(FAMILIES)} and a seed from {HELD_OUT_SEEDS.start} on",
            )
    return pairs
