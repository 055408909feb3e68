"""What is trained, on what, and how: one `Recipe`, and the functions that make the usual ones.

The two passes of VOID differ by a few fields, and nano from VOID by its size; there is one loop for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from enum import StrEnum
from math import inf
from typing import Any

from aftermath.core.geometry import valid_length
from aftermath.errors import InputError
from aftermath.render.void.conditioning import MaskLevels

__all__ = [
    "RECIPES",
    "Part",
    "Precision",
    "Recipe",
    "Regions",
    "nano_pass1",
    "nano_pass2",
    "nano_vae",
    "recipe_named",
    "void_pass1",
    "void_pass2",
]


class Part(StrEnum):
    """Which network is trained."""

    TRANSFORMER = "transformer"
    VAE = "vae"


class Precision(StrEnum):
    """What the network computes in; its weights stay float32, and the sums that need it."""

    FLOAT32 = "no"
    BFLOAT16 = "bf16"


class Regions(StrEnum):
    """What of the quadmask the model is told."""

    ALL = "all"
    OBJECT = "object"  # not what it affected: for the ablation


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One training run. Raises `InputError` for a value that cannot be.

    ``sizes``: (height, width) that clips are brought to, each a bucket of its own; a clip that changes little is cut
    to what changes and its surroundings, as ``--focus auto`` does. ``crop``: (height, width) cut at random from that,
    near what changes; None for all of it. ``num_frames``: the longest clip; shorter ones keep their length, padded as
    when painting. ``batch``: clips a process and step. ``accumulate``: steps whose gradients are summed into one.
    ``variants``: of each pair, the first as it is, the others mirrored by turns and with their colours exchanged.
    ``emphasis``: how many times more a place that changes counts. ``start_share``: of the clips that meet the noisiest
    step, where all is decided; the others meet a random one. ``degradation``: of warped noise, pass 2 alone.
    ``prompt_dropout``: share of the clips whose prompt is left out. ``lora_rank``: 0 trains all weights.
    ``decoder_only``: a VAE's encoder stays as it is, so latents made of it stay right.
    ``patch``: latents along the side of a token of nano; 0 as the model has it, 4 in a new one. A model of 2 told 4 is
    made one for pictures twice as large, one of 4 told 2 for half as large (`resized`): it learns on small ones, whose
    pairs are made and read sooner.
    ``compiled``: the transformer, by `torch.compile`: a minute at first (and a C++ compiler on a processor), then
    shorter steps.
    ``ema``: decay of the running mean of the weights, which is what is saved; 0 for none.
    """

    name: str
    part: Part = Part.TRANSFORMER
    pass_number: int = 1
    levels: MaskLevels = MaskLevels.FOUR
    regions: Regions = Regions.ALL
    sizes: tuple[tuple[int, int], ...] = ((384, 672),)
    crop: tuple[int, int] | None = None
    num_frames: int = 85
    steps: int = 1000
    variants: int = 1
    batch: int = 1
    accumulate: int = 1
    learning_rate: float = 1e-5
    warmup_steps: int = 50
    weight_decay: float = 0.01
    clip_gradient: float = 1.0
    ema: float = 0.0
    emphasis: float = 0.0
    start_share: float = 0.0
    degradation: float = 0.3
    prompt_dropout: float = 0.1
    precision: Precision = Precision.BFLOAT16
    checkpointing: bool = True
    patch: int = 0
    compiled: bool = False
    lora_rank: int = 0
    decoder_only: bool = False
    save_every: int = 500
    validate_every: int = 500
    validation_pairs: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        for name, kind in (
            ("part", Part),
            ("levels", MaskLevels),
            ("regions", Regions),
            ("precision", Precision),
        ):
            object.__setattr__(self, name, _one_of(kind, name, getattr(self, name)))
        checks: tuple[tuple[str, bool, str], ...] = (
            ("steps", self.steps >= 1, "must be 1 or more"),
            ("variants", self.variants in range(1, 13), "must be from 1 to 12"),
            ("batch", self.batch >= 1, "must be 1 or more"),
            ("accumulate", self.accumulate >= 1, "must be 1 or more"),
            ("learning_rate", 0 < self.learning_rate <= 1, "must be above 0, and 1 at most"),
            ("pass_number", self.pass_number in (1, 2), "must be 1 or 2"),
            ("ema", 0 <= self.ema < 1, "must be from 0 to below 1"),
            ("degradation", 0 <= self.degradation <= 1, "must be from 0 to 1"),
            ("start_share", 0 <= self.start_share <= 1, "must be from 0 to 1"),
            ("prompt_dropout", 0 <= self.prompt_dropout <= 1, "must be from 0 to 1"),
            ("patch", self.patch in (0, 2, 4), "must be 0, 2 or 4"),
            ("lora_rank", self.lora_rank >= 0, "must be 0 or more"),
            ("seed", self.seed >= 0, "must be 0 or more"),
            ("warmup_steps", self.warmup_steps >= 0, "must be 0 or more"),
            ("weight_decay", 0 <= self.weight_decay < inf, "must be 0 or more"),
            ("clip_gradient", 0 <= self.clip_gradient < inf, "must be 0, for not at all, or more"),
            ("emphasis", 0 <= self.emphasis < inf, "must be 0 or more"),
            ("save_every", self.save_every >= 1, "must be 1 or more"),
            ("validate_every", self.validate_every >= 1, "must be 1 or more"),
            ("validation_pairs", self.validation_pairs >= 0, "must be 0 or more"),
            ("sizes", _are_sizes(self.sizes), "must be a list of them, as [[192,336]]: " + _SIDES),
            ("crop", self.crop is None or _fits(self.crop), _SIDES),
            ("num_frames", self._length_fits(), "must be 8k+5, such as 21, 53 or 85 (a VAE: 4k+1)"),
        )
        for name, good, allowed in checks:
            if not good:
                raise InputError(f"{name} {getattr(self, name)}", allowed)

    def _length_fits(self) -> bool:
        if self.part is Part.VAE:
            return self.num_frames >= 1 and self.num_frames % 4 == 1
        return self.num_frames == valid_length(self.num_frames)

    def changed(self, **changes: Any) -> Recipe:
        """Another recipe. Raises `InputError` for a name that no recipe has."""
        known = {field.name for field in fields(self)}
        for name in changes.keys() - known:
            raise InputError(f"recipe field {name}", f"must be one of {', '.join(sorted(known))}")
        return replace(self, **changes)


_SIDES = "each must be height and width, multiples of 16"


def _one_of(kind: type[StrEnum], name: str, value: str) -> StrEnum:
    """The member that a word means, for all that asks whether it is that member."""
    try:
        return kind(value)
    except ValueError as error:
        raise InputError(f"{name} {value}", f"must be one of {', '.join(kind)}") from error


def _are_sizes(sizes: object) -> bool:
    return isinstance(sizes, list | tuple) and bool(sizes) and all(_fits(size) for size in sizes)


def _fits(size: object) -> bool:
    return (
        isinstance(size, list | tuple)
        and len(size) == 2
        and all(isinstance(side, int) and side >= 16 and side % 16 == 0 for side in size)
    )


def void_pass1(**changes: Any) -> Recipe:
    """Pass 1 of the published model, as its authors say they trained it but for the optimiser (AdamW for CAME)."""
    recipe = Recipe(name="void_pass1", levels=MaskLevels.THREE, sizes=((256, 448),), num_frames=69)
    return recipe.changed(**changes)


def void_pass2(**changes: Any) -> Recipe:
    """Pass 2: from pass 1's weights, on warped noise, seeing two levels."""
    return void_pass1(name="void_pass2", pass_number=2, levels=MaskLevels.TWO).changed(**changes)


def nano_vae(**changes: Any) -> Recipe:
    """The VAE of nano: crops of both worlds, short enough for a processor. Its encoder begins, and stays, linear."""
    recipe = Recipe(
        name="nano_vae",
        part=Part.VAE,
        sizes=((224, 384),),
        crop=(96, 96),
        num_frames=9,
        batch=2,
        learning_rate=3e-5,  # what begins as an exact sum of large terms is torn by larger steps
        steps=6000,
        ema=0.995,
        decoder_only=True,
        precision=Precision.BFLOAT16,  # on a processor too: its convolutions take two thirds of the time
        checkpointing=False,
    )
    return recipe.changed(**changes)


def nano_pass1(**changes: Any) -> Recipe:
    """nano's transformer: from nothing, or from what ``model`` holds."""
    recipe = Recipe(
        name="nano_pass1",
        sizes=((192, 336),),
        num_frames=53,
        batch=4,
        learning_rate=5e-4,
        warmup_steps=200,
        steps=10000,
        ema=0.999,
        emphasis=4.0,
        start_share=0.25,
        prompt_dropout=0.0,
        precision=Precision.FLOAT32,
        checkpointing=False,
    )
    return recipe.changed(**changes)


def nano_pass2(**changes: Any) -> Recipe:
    """nano's second pass: from its first, on warped noise."""
    return nano_pass1(name="nano_pass2", pass_number=2, learning_rate=2e-4).changed(**changes)


RECIPES = {make.__name__: make for make in (void_pass1, void_pass2, nano_vae, nano_pass1, nano_pass2)}


def recipe_named(name: str, **changes: Any) -> Recipe:
    """One of `RECIPES`. Raises `InputError` for no such one."""
    if name not in RECIPES:
        raise InputError(f"recipe {name!r}", f"must be one of {', '.join(RECIPES)}")
    return RECIPES[name](**changes)
