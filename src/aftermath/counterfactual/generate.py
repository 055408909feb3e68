"""Many pairs: resumable, on as many processes as are wanted, the same files for any number of them."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from aftermath.counterfactual.families import FAMILIES
from aftermath.counterfactual.pairs import PAIR_FILES, Wanted, make_pair, pair_name
from aftermath.counterfactual.suite import HELD_OUT_SEEDS
from aftermath.errors import AftermathError, InputError
from aftermath.media.files import explained

__all__ = ["Generated", "generate", "list_pairs"]

_LOST = (
    "a worker process ended by itself (out of memory?); the same command goes on, fewer --workers need less"
)
_WATCH_S = 0.5


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
    """Which pairs these words mean: seeds from ``seed`` on, the families in turn (all of them where none is named).

    Raises `InputError` for numbers out of range, an unknown family, or seeds of `HELD_OUT_SEEDS` not asked for.
    """
    for name, value, least in (("pairs", num_pairs, 1), ("frames", num_frames, 2), ("seed", seed, 0)):
        if value < least:
            raise InputError(f"--{name} {value}", f"must be {least} or more")
    if any(side < 32 or side % 2 for side in size):
        raise InputError(f"--size {size[0]}x{size[1]}", "both sides must be even, 32 or more")
    unknown = [family for family in families if family not in FAMILIES]
    if unknown:
        raise InputError(f"--family {unknown[0]}", f"must be one of {', '.join(FAMILIES)}")
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
    progress: Callable[[str, int, int], None] | None = None,
) -> Generated:
    """Make the pairs that ``folder`` does not hold yet, each in a folder of its own; see `pairs` for what is in it.

    Raises `InputError` for a place that cannot be written, a full disk, a missing OpenGL library, or pairs of
    another size or length in the way; `AftermathError` where a pair could not be made.
    """
    folder = Path(folder)
    if num_workers < 1:
        raise InputError(f"--workers {num_workers}", "must be 1 or more")
    _prepare(folder)
    missing, rejected = [], 0
    for wanted in pairs:
        if (folder / pair_name(wanted)).exists() and not _cleared(folder / pair_name(wanted)):
            rejected += _rejected_before(folder / pair_name(wanted), wanted)
        else:
            missing.append(wanted)
    kept, tell = len(pairs) - len(missing), progress or (lambda *_: None)
    tell("pairs", kept, len(pairs))
    for done, count in enumerate(_made(folder, missing, min(num_workers, len(missing))), start=1):
        rejected += count
        tell("pairs", kept + done, len(pairs))
    return Generated(folder, len(missing), kept, rejected)


def _prepare(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError(str(folder), "is a file", "name a folder")
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for part in folder.glob(".*.part"):  # what a killed run left half-written
            shutil.rmtree(part, ignore_errors=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(str(folder), "cannot be written to", "write elsewhere")


def _cleared(folder: Path) -> bool:
    """Whether it was half a pair, files of ours lacking or empty and nothing else there, and is gone now."""
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()} if folder.is_dir() else {"": 0}
    if not sizes.keys() <= set(PAIR_FILES) or all(sizes.get(name, 0) for name in PAIR_FILES):
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


def _made(folder: Path, missing: Sequence[Wanted], num_workers: int) -> Iterator[int]:
    """Make them, and say for each, in any order, how many were rejected."""
    os.environ.setdefault("LP_NUM_THREADS", "1")  # Mesa's software renderer gains nothing from more
    if num_workers <= 1:
        for wanted in missing:
            yield make_pair(wanted, folder / pair_name(wanted))
        return
    # spawned, for a forked OpenGL does not work
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(num_workers, context, initializer=_watch, initargs=(os.getpid(),))
    try:
        waiting = [executor.submit(make_pair, wanted, folder / pair_name(wanted)) for wanted in missing]
        for one in as_completed(waiting):
            yield one.result()
    except BrokenProcessPool as error:
        raise AftermathError(_LOST) from error
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        executor.shutdown(cancel_futures=True)


def _watch(parent: int) -> None:
    """In a worker: leave Ctrl-C to the parent, and end when it is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_WATCH_S)
    os._exit(1)
