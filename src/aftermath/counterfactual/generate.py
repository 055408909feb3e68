"""Many pairs: resumable, on as many workers as are wanted, the same files for any number of them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2

from aftermath.counterfactual.families import FAMILIES
from aftermath.counterfactual.flat import FLAT, FLAT_FILES, write_flat
from aftermath.counterfactual.pairs import PAIR_FILES, Wanted, make_pair, pair_name
from aftermath.counterfactual.suite import HELD_OUT_SEEDS
from aftermath.errors import InputError
from aftermath.media.files import alone_in, explained
from aftermath.workers import check_shared, check_workers, run_jobs

__all__ = ["Generated", "generate", "list_pairs"]


_MOST_PX = 4096  # of a side: a picture larger than that few renderers hold
_TRIES = 3  # now and then, after dozens of scenes, a worker dies within the graphics library; its pair is made again


@dataclass(frozen=True)
class Generated:
    """``made`` now, ``kept`` from an earlier run, and ``rejected`` on the way to all of them."""

    folder: Path
    made: int
    kept: int
    rejected: int


def list_pairs(
    num_pairs: int,
    seed: int,
    families: Sequence[str] = (),
    *,
    num_frames: int = 49,
    size: tuple[int, int] = (384, 224),
    held_out: bool = False,
) -> list[Wanted]:
    """Which pairs these words mean: seeds from ``seed`` on, the families in turn (where none is named all but `FLAT`).

    Raises `InputError` for numbers out of range, an unknown family, or seeds of `HELD_OUT_SEEDS` not asked for.
    """
    for name, value, least in (("pairs", num_pairs, 1), ("frames", num_frames, 2), ("seed", seed, 0)):
        if value < least:
            raise InputError(f"--{name} {value}", f"must be {least} or more")
    if any(side < 32 or side > _MOST_PX or side % 2 for side in size):
        raise InputError(
            f"--size {size[0]}x{size[1]}", f"both sides must be even, 32 or more, {_MOST_PX} at most"
        )
    unknown = [family for family in families if family not in (*FAMILIES, FLAT)]
    if unknown:
        raise InputError(f"--family {unknown[0]}", f"must be one of {', '.join((*FAMILIES, FLAT))}")
    if not held_out and seed < HELD_OUT_SEEDS.stop and seed + num_pairs > HELD_OUT_SEEDS.start:
        raise InputError(
            f"seeds {seed} to {seed + num_pairs - 1}",
            f"{HELD_OUT_SEEDS.start} to {HELD_OUT_SEEDS.stop - 1} are held out for evaluation",
            "choose others, or ask for them with --held-out",
        )
    chosen = list(dict.fromkeys(families)) or list(FAMILIES)
    return [Wanted(chosen[i % len(chosen)], seed + i, num_frames, size) for i in range(num_pairs)]


def generate(
    folder: Path,
    pairs: Sequence[Wanted],
    *,
    num_workers: int = 1,
    ray: str = "",
    progress: Callable[[str, int, int], None] | None = None,
) -> Generated:
    """Make the pairs that ``folder`` does not hold yet, each in a folder of its own; see `pairs` for what is in it.

    ``num_workers`` processes work on it, or with ``ray``, an address, as many workers there; see `aftermath.cluster`.

    Raises `InputError` for a place that cannot be written, a full disk, a missing OpenGL library, or pairs of
    another size or length or another run in the way, or a Ray that does not answer; `AftermathError` where a pair could
    not be made.
    """
    folder = Path(folder)
    check_workers(num_workers, ray)
    _prepare(folder)
    with alone_in(folder):
        return _generate(folder, pairs, num_workers, ray, progress or (lambda *_: None))


def _generate(
    folder: Path, pairs: Sequence[Wanted], num_workers: int, ray: str, tell: Callable[[str, int, int], None]
) -> Generated:
    with explained(folder):
        for part in folder.glob(".*.part"):  # what a killed run left half-written
            shutil.rmtree(part, ignore_errors=True)
    missing, rejected = [], 0
    for wanted in pairs:
        if (folder / pair_name(wanted)).exists() and not _cleared(folder / pair_name(wanted)):
            rejected += _rejected_before(folder / pair_name(wanted), wanted)
        else:
            missing.append(wanted)
    kept = len(pairs) - len(missing)
    tell("pairs", kept, len(pairs))
    make = partial(_maker, folder.absolute())
    made = run_jobs(make, missing, num_workers=num_workers, ray=ray, apart=True, tries=_TRIES)
    for done, (at, count) in enumerate(made, start=1):
        check_shared(folder / pair_name(missing[at]), ray)
        rejected += count
        tell("pairs", kept + done, len(pairs))
    return Generated(folder, len(missing), kept, rejected)


def _prepare(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError(str(folder), "is a file", "name a folder")
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(str(folder), "cannot be written to", "write elsewhere")


def _cleared(folder: Path) -> bool:
    """Whether it was half a pair, files of ours lacking or empty and nothing else there, and is gone now."""
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()} if folder.is_dir() else {"": 0}
    ours = FLAT_FILES if folder.name.startswith(f"{FLAT}-") else PAIR_FILES
    if not sizes.keys() <= set(ours) or all(sizes.get(name, 0) for name in ours):
        return False
    with explained(folder):
        shutil.rmtree(folder)
    return True


def _rejected_before(folder: Path, wanted: Wanted) -> int:
    """How many were rejected for a finished pair. Raises `InputError` where it is not the pair that is wanted."""
    try:
        metadata = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
        found = metadata["num_frames"], tuple(metadata["size"])
        rejected = int(metadata["rejected"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(str(folder), f"holds no pair of ours ({error})", "move it away") from error
    if found != (wanted.num_frames, wanted.size):
        raise InputError(
            f"{folder} has {found[0]} frames of {found[1][0]}x{found[1][1]}",
            f"asked for are {wanted.num_frames} of {wanted.size[0]}x{wanted.size[1]}",
            "write to another folder",
        )
    return rejected


def _maker(folder: Path) -> Callable[[Wanted], int]:
    """In a worker: make a pair, and say how many scenes were rejected on the way."""
    os.environ.setdefault("LP_NUM_THREADS", "1")  # Mesa's software renderer gains nothing from more
    cv2.setNumThreads(1)

    def make(wanted: Wanted) -> int:
        if wanted.family == FLAT:
            write_flat(wanted.seed, folder / pair_name(wanted), wanted.size, wanted.num_frames)
            return 0
        return make_pair(wanted, folder / pair_name(wanted))

    return make
