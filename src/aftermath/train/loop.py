"""The loop: one for both passes and the VAE, on whatever `accelerate` was configured for."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType
from diffusers.training_utils import EMAModel
from torch.distributed.tensor import DTensor

from aftermath.ahead import ahead
from aftermath.errors import AftermathError, InputError, extra_needed
from aftermath.media.files import alone_in, explained, full_disk_told
from aftermath.train.recipe import Recipe

__all__ = ["Progress", "Sheet", "Task", "TrainingDiverged", "fit"]

Progress = Callable[[str, int, int], None]
"""Called with (what is done, steps done, steps in all)."""

_KEPT = 2  # checkpoints
_LOSS_EVERY = 10
_FREE = ("steps", "save_every", "validate_every")  # may differ when a run goes on
_WRITTEN = "model-is-written"  # in a checkpoint: so is the model that belongs to it


class TrainingDiverged(AftermathError):  # noqa: N818 - says what happened, as its siblings do
    """The loss, or its gradient, is no number any more."""


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

    def holding(self, weights: dict[str, torch.Tensor]) -> AbstractContextManager[None]:
        """While it lasts `validate` and `save` take ``weights``, those of `network` by their names, for the network:
        of that, each process may hold a part alone."""
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

    Raises `InputError` where ``folder`` holds another run, another process is at work there, or the disk is full;
    `TrainingDiverged` where the loss or its gradient is no number: the last checkpoint and its model are kept.
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
        with alone_in(folder) if accelerator.is_main_process else nullcontext(), full_disk_told(folder):
            return _Run(accelerator, task, recipe, folder, progress or (lambda *_: None)).go()
    finally:
        AcceleratorState._reset_state()  # it is one for the process, and the next run may want another precision


def _same_run(recipe: Recipe, folder: Path, identity: str) -> None:
    """Write down what is trained, or see that it is what the folder holds already."""
    place = folder / "recipe.json"
    now = json.loads(json.dumps({**asdict(recipe), "data": identity}))
    if place.exists():
        before = _read_recipe(place)
        names = [name for name in now if name not in _FREE and before.get(name) != now[name]]
        if names:
            told = ", ".join(
                "other pairs or another model"
                if name == "data"
                else f"{name} {before.get(name)} there and {now[name]} now"
                for name in names
            )
            raise InputError(f"{folder}: {told}", "a run goes on as it began", "write to another folder")
    part = place.with_suffix(f".{os.getpid()}.part")  # every process of a run writes the same
    part.write_text(json.dumps(now, indent=1), "utf-8")
    part.replace(place)


def _read_recipe(place: Path) -> dict[str, Any]:
    try:
        known = json.loads(place.read_text("utf-8"))
    except ValueError:
        known = None
    if not isinstance(known, dict):
        raise InputError(
            f"{place}", "cannot be read, so it is not known what was trained there", "write to another folder"
        )
    return known


class _Run:
    def __init__(
        self, accelerator: Accelerator, task: Task, recipe: Recipe, folder: Path, progress: Progress
    ) -> None:
        self._accelerator, self._task, self._recipe = accelerator, task, recipe
        self._folder, self._progress = folder, progress
        optimizer = torch.optim.AdamW(
            [p for p in task.network.parameters() if p.requires_grad],
            lr=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            betas=(0.9, 0.99),
        )
        self._sharded = accelerator.distributed_type is DistributedType.FSDP
        if self._sharded and not accelerator.is_fsdp2:
            raise InputError(
                "FSDP 1", "only its second version is supported", "set fsdp_version: 2 for accelerate"
            )
        if accelerator.distributed_type is DistributedType.DEEPSPEED:
            _told_to_deepspeed(accelerator, recipe)
        self._network, self._optimizer = accelerator.prepare(task.network, optimizer)
        # not those from before: where they are divided among the processes they are others now
        self._trained = [p for p in self._network.parameters() if p.requires_grad]
        self._ema = EMAModel(self._trained, decay=recipe.ema, min_decay=0.0) if recipe.ema else None
        if self._ema is not None:
            self._ema.to(accelerator.device)
            if not self._sharded:  # of what is divided, accelerate would keep the first process' part alone
                accelerator.register_for_checkpointing(self._ema)
        self._writer: Any = None

    def go(self) -> int:
        recipe, accelerator = self._recipe, self._accelerator
        begun = self._restore()
        if accelerator.is_main_process:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._folder / "logs"), purge_step=begun + 1)
        self._progress("train", begun, recipe.steps)
        unwritten = begun > 0 and not self._is_written(begun)
        accelerator.wait_for_everyone()
        if unwritten:  # the run was killed between its checkpoint and its model
            self._write_model(begun)
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
                    raise TrainingDiverged(self._last_good("loss", step))
                accelerator.backward(loss)
                if accelerator.sync_gradients and not math.isfinite(self._clipped()):
                    raise TrainingDiverged(self._last_good("gradient", step))
                self._optimizer.step()
                self._optimizer.zero_grad()
        if self._ema is not None:
            self._ema.step(self._trained)
        if accelerator.is_main_process and (step + 1) % _LOSS_EVERY == 0:
            mean = sum(losses) / len(losses)
            self._writer.add_scalar("loss", mean, step + 1)
            with (self._folder / "losses.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step + 1, "loss": mean}) + "\n")

    def _clipped(self) -> float:
        """Shorten the gradient to what the recipe allows; how long it was."""
        norm = self._accelerator.clip_grad_norm_(self._trained, self._recipe.clip_gradient or math.inf)
        if norm is None:  # DeepSpeed clips by itself, and tells only after the step
            return 0.0
        return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)

    def _last_good(self, what: str, step: int) -> str:
        kept = self._checkpoints()
        good = f"the last good weights are {kept[-1]}" if kept else "there was no checkpoint before"
        return (
            f"step {step}: the {what} is no number any more; {good}. Take a smaller learning_rate, or look "
            "at the pairs of that step"
        )

    def _checkpoint(self, step: int) -> Path:
        return self._folder / "checkpoints" / f"{step:08d}"

    def _is_written(self, step: int) -> bool:
        """Whether the model is that of this checkpoint: a run may be killed between the two."""
        return (self._folder / "model").exists() and (self._checkpoint(step) / _WRITTEN).exists()

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
            if self._sharded and self._ema is not None:
                _load_part(self._ema, self._part_of_mean(kept[-1]))
        except Exception as error:  # whatever torch finds wrong with a file, it is that file
            raise InputError(
                f"{kept[-1]}",
                f"this checkpoint cannot be gone on from ({_first_line(error)})",
                "delete it to go on from the one before",
            ) from error
        return int(kept[-1].name)

    def _save(self, step: int) -> None:
        """A state to go on from, and the model; each is there whole or not at all."""
        target, accelerator = self._checkpoint(step), self._accelerator
        part = target.with_suffix(".part")
        with explained(target), _none_left(part), full_disk_told(target), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            accelerator.save_state(str(part), safe_serialization=False)
            if self._sharded and self._ema is not None:
                _save_part(self._ema, self._part_of_mean(part))
            accelerator.wait_for_everyone()
            if accelerator.is_main_process:
                part.replace(target)
            self._write_model(step)
            if accelerator.is_main_process:
                for old in self._checkpoints()[:-_KEPT]:
                    shutil.rmtree(old)
        accelerator.wait_for_everyone()

    def _part_of_mean(self, checkpoint: Path) -> Path:
        """Where this process keeps its part of the running mean, if the weights are divided."""
        return checkpoint / f"mean-{self._accelerator.process_index}-of-{self._accelerator.num_processes}.pt"

    def _write_model(self, step: int) -> None:
        model, part, old = (self._folder / name for name in ("model", "model.part", "model.oldpart"))
        with self._as_it_stands() as is_mine:
            if not is_mine:
                return
            shutil.rmtree(part, ignore_errors=True)
            with _none_left(part), full_disk_told(model):
                self._task.save(part)
            if model.exists():
                model.replace(old)
            part.replace(model)
            (self._checkpoint(step) / _WRITTEN).touch()
            shutil.rmtree(old, ignore_errors=True)

    def _validate(self, step: int) -> None:
        self._network.eval()
        with self._as_it_stands() as is_mine, torch.no_grad():
            if not is_mine:
                return
            sheet = self._task.validate(step)
        for name, value in sheet.numbers.items():
            self._writer.add_scalar(f"validation/{name}", value, step)
        for name, picture in sheet.pictures.items():
            self._writer.add_image(f"validation/{name}", picture, step, dataformats="HWC")
        with (self._folder / "validation.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **sheet.numbers}) + "\n")

    @contextmanager
    def _as_it_stands(self) -> Iterator[bool]:
        """While it lasts the task holds the mean of the weights, whole. All processes must come here, for what is
        divided among them is put together; whether this one is to use it is given."""
        is_mine = self._accelerator.is_main_process
        with _averaged(self._ema, self._trained):
            if not self._sharded:
                yield is_mine
                return
            weights: dict[str, Any] = self._accelerator.get_state_dict(self._network)
            with self._task.holding(weights) if is_mine else nullcontext():
                yield is_mine


@contextmanager
def _none_left(half: Path) -> Iterator[None]:
    """What is half written when something fails takes no room."""
    try:
        yield
    except Exception:
        shutil.rmtree(half, ignore_errors=True)
        raise


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


@contextmanager
def _averaged(ema: EMAModel | None, trained: list[torch.nn.Parameter]) -> Iterator[None]:
    """While it lasts the network holds the running mean of its weights."""

    @torch.no_grad()
    def exchange() -> None:  # one after the other: there is no room for a third set of all weights
        for mean, weight in zip(
            ema.shadow_params if ema is not None else (), trained, strict=ema is not None
        ):
            kept = weight.detach().clone()
            weight.copy_(mean)
            mean.copy_(kept)

    exchange()
    try:
        yield
    finally:
        exchange()


def _mine(mean: torch.Tensor) -> torch.Tensor:
    """What this process holds of it."""
    return mean.to_local() if isinstance(mean, DTensor) else mean


def _save_part(ema: EMAModel, path: Path) -> None:
    state = {**ema.state_dict(), "shadow_params": [_mine(mean) for mean in ema.shadow_params]}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path)


@torch.no_grad()
def _load_part(ema: EMAModel, path: Path) -> None:
    state = torch.load(path, weights_only=True)
    for mean, kept in zip(ema.shadow_params, state.pop("shadow_params"), strict=True):
        _mine(mean).copy_(kept)
    ema.load_state_dict(state)


def _told_to_deepspeed(accelerator: Accelerator, recipe: Recipe) -> None:
    """What DeepSpeed wants to know beforehand."""
    plugin = accelerator.state.deepspeed_plugin
    assert plugin is not None
    if plugin.zero_stage == 3:
        raise InputError("ZeRO 3", "the third stage is not supported here", "take the second, or FSDP 2")
    known = plugin.deepspeed_config
    known["train_micro_batch_size_per_gpu"] = recipe.batch
    known["gradient_accumulation_steps"] = recipe.accumulate
    known["gradient_clipping"] = recipe.clip_gradient


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _share(step: int, recipe: Recipe) -> float:
    """Of the learning rate: rising over the warm-up, then a half cosine down to a twentieth."""
    if step < recipe.warmup_steps:
        return (step + 1) / recipe.warmup_steps
    done = (step - recipe.warmup_steps) / max(1, recipe.steps - recipe.warmup_steps)
    return 0.05 + 0.95 * (1 + math.cos(math.pi * min(1.0, done))) / 2
