"""The loop: one for both passes and the VAE, on whatever `accelerate` was configured for."""

from __future__ import annotations

import json
import math
import shutil
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from diffusers.training_utils import EMAModel

from aftermath.ahead import ahead
from aftermath.errors import AftermathError, InputError, extra_needed
from aftermath.media.files import explained
from aftermath.train.recipe import Recipe

__all__ = ["Progress", "Sheet", "Task", "TrainingDiverged", "fit"]

Progress = Callable[[str, int, int], None]
"""Called with (what is done, steps done, steps in all)."""

_KEPT = 2  # checkpoints
_LOSS_EVERY = 10
_FREE = ("steps", "save_every", "validate_every")  # may differ when a run goes on


class TrainingDiverged(AftermathError):  # noqa: N818 - says what happened, as its siblings do
    """The loss is no number any more."""


@dataclass(frozen=True)
class Sheet:
    """What validation shows: numbers by name, and pictures by name, uint8 (H, W, 3) RGB."""

    numbers: dict[str, float] = field(default_factory=dict)
    pictures: dict[str, np.ndarray] = field(default_factory=dict)


class Task(Protocol):
    """What is trained: everything that is not the loop's business."""

    network: torch.nn.Module
    """Its forward takes what `batch` gives and returns the loss; what is trained requires gradients."""

    def batch(self, step: int, rank: int, world: int) -> dict[str, torch.Tensor]:
        """What process ``rank`` of ``world`` sees in one step, on the CPU; decided by these numbers alone."""
        ...

    def validate(self, step: int) -> Sheet:
        """Try the network as it stands (it holds the weights that would be saved)."""
        ...

    def save(self, folder: Path) -> None:
        """Write the network as it stands, as a model that ``--model`` takes."""
        ...


def fit(
    task: Task, recipe: Recipe, folder: Path, *, identity: str = "", progress: Progress | None = None
) -> int:
    """Train ``task`` for ``recipe.steps`` steps in all; returns how many of them an earlier call had done.

    ::

        folder/
        ├── recipe.json      what was asked for
        ├── checkpoints/     the last two states, from which the same call goes on
        ├── model/           the model as of the last checkpoint
        ├── losses.jsonl     one line for every ten steps
        └── logs/            TensorBoard

    Gone on from a checkpoint, a run gives the weights that it would have given without the stop. Ctrl-C writes a
    checkpoint first. ``identity``: of the data, told apart from others'.

    Raises `InputError` where ``folder`` holds another run, `TrainingDiverged` where the loss is no number: the last
    checkpoint is kept.
    """
    if find_spec("tensorboard") is None:
        raise InputError("aftermath train", extra_needed("it", "train"))
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _same_run(recipe, folder, identity)
    accelerator = Accelerator(
        mixed_precision=str(recipe.precision),
        gradient_accumulation_steps=recipe.accumulate,
        cpu=not torch.cuda.is_available() and not torch.backends.mps.is_available(),
    )
    try:
        return _Run(accelerator, task, recipe, folder, progress or (lambda *_: None)).go()
    finally:
        AcceleratorState._reset_state()  # it is one for the process, and the next run may want another precision


def _same_run(recipe: Recipe, folder: Path, identity: str) -> None:
    """Write down what is trained, or see that it is what the folder holds already."""
    place = folder / "recipe.json"
    now = json.loads(json.dumps({**asdict(recipe), "data": identity}))
    if place.exists():
        before = json.loads(place.read_text("utf-8"))
        names = [name for name in now if name not in _FREE and before.get(name) != now[name]]
        if names:
            told = ", ".join(f"{name} {before.get(name)} there and {now[name]} now" for name in names)
            raise InputError(f"{folder}: {told}", "a run goes on as it began", "write to another folder")
    part = place.with_suffix(".part")
    part.write_text(json.dumps(now, indent=1), "utf-8")
    part.replace(place)


class _Run:
    def __init__(
        self, accelerator: Accelerator, task: Task, recipe: Recipe, folder: Path, progress: Progress
    ) -> None:
        self._accelerator, self._task, self._recipe = accelerator, task, recipe
        self._folder, self._progress = folder, progress
        self._trained = [p for p in task.network.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(
            self._trained, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, betas=(0.9, 0.99)
        )
        self._network, self._optimizer = accelerator.prepare(task.network, optimizer)
        self._ema = EMAModel(self._trained, decay=recipe.ema, min_decay=0.0) if recipe.ema else None
        if self._ema is not None:
            self._ema.to(accelerator.device)
            accelerator.register_for_checkpointing(self._ema)
        self._writer: Any = None

    def go(self) -> int:
        recipe, accelerator = self._recipe, self._accelerator
        begun = self._restore()
        if accelerator.is_main_process:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._folder / "logs"), purge_step=begun)
        self._progress("train", begun, recipe.steps)
        if begun and accelerator.is_main_process and not (self._folder / "model").exists():
            with self._averaged():  # the run was killed between its checkpoint and its model
                self._write_model()
        batches, step = ahead(self._batches(begun)), begun
        try:
            for batch in batches:
                with _undivided():
                    self._step(step, batch)
                    step += 1
                self._progress("train", step, recipe.steps)
                last = step == recipe.steps
                if step % recipe.save_every == 0 or last:
                    self._save(step)
                if recipe.validation_pairs and (step % recipe.validate_every == 0 or last):
                    self._validate(step)
        except KeyboardInterrupt:
            if step > begun and not self._checkpoint(step).exists():
                self._save(step)
            raise
        finally:
            batches.close()  # type: ignore[attr-defined]  # a generator
            if self._writer is not None:
                self._writer.close()
        return begun

    def _batches(self, begun: int) -> Iterator[list[dict[str, torch.Tensor]]]:
        """For every step its batches, ``accumulate`` of them."""
        rank, world, times = (
            self._accelerator.process_index,
            self._accelerator.num_processes,
            self._recipe.accumulate,
        )
        for step in range(begun, self._recipe.steps):
            yield [self._task.batch(step * times + part, rank, world) for part in range(times)]

    def _step(self, step: int, batches: list[dict[str, torch.Tensor]]) -> None:
        recipe, accelerator = self._recipe, self._accelerator
        losses = []
        for group in self._optimizer.param_groups:
            group["lr"] = recipe.learning_rate * _share(step, recipe)
        self._network.train()
        for batch in batches:
            with accelerator.accumulate(self._network):
                loss = self._network(**{name: value.to(accelerator.device) for name, value in batch.items()})
                losses.append(float(loss.detach()))
                if not math.isfinite(losses[-1]):  # before it reaches a weight
                    raise TrainingDiverged(self._last_good(step))
                accelerator.backward(loss)
                if accelerator.sync_gradients and recipe.clip_gradient:
                    accelerator.clip_grad_norm_(self._trained, recipe.clip_gradient)
                self._optimizer.step()
                self._optimizer.zero_grad()
        if self._ema is not None:
            self._ema.step(self._trained)
        if accelerator.is_main_process and (step + 1) % _LOSS_EVERY == 0:
            mean = sum(losses) / len(losses)
            self._writer.add_scalar("loss", mean, step + 1)
            with (self._folder / "losses.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step + 1, "loss": mean}) + "\n")

    def _last_good(self, step: int) -> str:
        kept = self._checkpoints()
        good = f"the last good weights are {kept[-1]}" if kept else "there was no checkpoint before"
        return (
            f"step {step}: the loss is no number any more; {good}. Take a smaller learning_rate, or look "
            "at the pairs of that step"
        )

    def _checkpoint(self, step: int) -> Path:
        return self._folder / "checkpoints" / f"{step:08d}"

    def _checkpoints(self) -> list[Path]:
        return sorted((self._folder / "checkpoints").glob("[0-9]" * 8))

    def _restore(self) -> int:
        """Go on from the last checkpoint; the number of steps done."""
        for half in [*(self._folder / "checkpoints").glob("*.part"), *self._folder.glob("model.*part")]:
            shutil.rmtree(half, ignore_errors=True)
        kept = self._checkpoints()
        if not kept:
            return 0
        try:
            self._accelerator.load_state(str(kept[-1]))
        except Exception as error:  # whatever torch finds wrong with a file, it is that file
            raise InputError(
                f"{kept[-1]}",
                f"this checkpoint cannot be gone on from ({str(error).splitlines()[0]})",
                "delete it to go on from the one before",
            ) from error
        return int(kept[-1].name)

    def _save(self, step: int) -> None:
        """A state to go on from, and the model; each is there whole or not at all."""
        target, accelerator = self._checkpoint(step), self._accelerator
        part = target.with_suffix(".part")
        with explained(target), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            accelerator.save_state(str(part), safe_serialization=False)
            accelerator.wait_for_everyone()
            if accelerator.is_main_process:
                part.replace(target)
                with self._averaged():
                    self._write_model()
                for old in self._checkpoints()[:-_KEPT]:
                    shutil.rmtree(old)
        accelerator.wait_for_everyone()

    def _write_model(self) -> None:
        model, part, old = (self._folder / name for name in ("model", "model.part", "model.oldpart"))
        shutil.rmtree(part, ignore_errors=True)
        self._task.save(part)
        if model.exists():
            model.replace(old)
        part.replace(model)
        shutil.rmtree(old, ignore_errors=True)

    def _validate(self, step: int) -> None:
        if not self._accelerator.is_main_process:
            return
        self._network.eval()
        with self._averaged(), torch.no_grad():
            sheet = self._task.validate(step)
        for name, value in sheet.numbers.items():
            self._writer.add_scalar(f"validation/{name}", value, step)
        for name, picture in sheet.pictures.items():
            self._writer.add_image(f"validation/{name}", picture, step, dataformats="HWC")
        with (self._folder / "validation.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **sheet.numbers}) + "\n")

    def _averaged(self) -> _Averaged:
        return _Averaged(self._ema, self._trained)


@contextmanager
def _undivided() -> Iterator[None]:
    """Put a first Ctrl-C or polite stop off until what is inside is done: half a step is none to go on from."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[int] = []
    before = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)}

    def note(kind: int, frame: FrameType | None) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(kind)

    for kind in before:
        signal.signal(kind, note)
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
    if caught:
        raise KeyboardInterrupt


class _Averaged:
    """While it lasts the network holds the running mean of its weights."""

    def __init__(self, ema: EMAModel | None, trained: list[torch.nn.Parameter]) -> None:
        self._ema, self._trained = ema, trained

    def __enter__(self) -> None:
        if self._ema is not None:
            self._ema.store(self._trained)
            self._ema.copy_to(self._trained)

    def __exit__(self, *_: object) -> None:
        if self._ema is not None:
            self._ema.restore(self._trained)


def _share(step: int, recipe: Recipe) -> float:
    """Of the learning rate: rising over the warm-up, then a half cosine down to a twentieth."""
    if step < recipe.warmup_steps:
        return (step + 1) / recipe.warmup_steps
    done = (step - recipe.warmup_steps) / max(1, recipe.steps - recipe.warmup_steps)
    return 0.05 + 0.95 * (1 + math.cos(math.pi * min(1.0, done))) / 2
