"""What it is worth to tell a model what is affected: ``python benchmarks/ablation.py PAIRS SUITE --model START``.

From one START, and on the same PAIRS in the same order, nano's first pass is trained on as many steps in four ways:
told the quadmask in four levels, in three, in two, or the object alone; and a second pass on the first of them. All are
then scored on SUITE (`aftermath evaluate`): each told what it was trained to be told, and the first also with a box
round the object alone, from which the program finds the rest itself. What is done already in ``--work`` is taken.
Prints Markdown.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aftermath.config import Engine
from aftermath.evaluate.evaluation import Evaluation, evaluate
from aftermath.evaluate.measures import MEASURES
from aftermath.evaluate.report import as_json
from aftermath.evaluate.systems import EngineSystem, Given
from aftermath.train import recipe_named
from aftermath.train.run import train

SHOWN = ("psnr_changed", "ssim_changed", "completeness", "center_error_px", "found_share", "behaves_share")


@dataclass(frozen=True)
class Way:
    """One thing that a model may be told, and what it is then scored with."""

    name: str
    told: str
    given: Given
    trained: dict[str, Any] | None = None
    begins: str = ""
    recipe: str = "nano_pass1"
    passes: int = 1

    @property
    def model(self) -> str:
        """Whose model it is scored with."""
        return self.begins if self.trained is None else self.name


WAYS = (
    Way("four", "quadmask, four levels", Given.QUADMASK, {"levels": "four"}),
    Way("three", "quadmask, three levels", Given.QUADMASK, {"levels": "three"}),
    Way("two", "quadmask, two levels", Given.QUADMASK, {"levels": "two"}),
    Way("object", "the object alone", Given.OBJECT, {"regions": "object"}),
    Way("box", "four levels, from a box: the program's own regions", Given.BOX, begins="four"),
    Way("four_twice", "four levels, and a second pass", Given.QUADMASK, {}, "four", "nano_pass2", 2),
)


def main() -> None:
    """Train, score and print."""
    parser = argparse.ArgumentParser(description="What telling a model what is affected is worth.")
    parser.add_argument("pairs", type=Path)
    parser.add_argument("suite", type=Path)
    parser.add_argument("--model", required=True, help="what all begin from")
    parser.add_argument("--work", type=Path, default=Path("ablation"))
    parser.add_argument("--latents", type=Path, help="where encoded pairs are kept")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="as of aftermath train"
    )
    parser.add_argument("--only", nargs="*", help=f"some of {', '.join(way.name for way in WAYS)}")
    parser.add_argument("--train-only", action="store_true")
    options = parser.parse_args()
    common = dict(_field(one) for one in options.set)
    ways = [way for way in WAYS if not options.only or way.name in options.only]
    for way in ways:
        if way.trained is not None:
            _train(way, options, common)
    if options.train_only:
        return
    systems = {
        way.told: EngineSystem(
            Engine.VOID,
            options.work / "outputs",
            str(_model(options.work, way.model)),
            way.given,
            passes=way.passes,
        )
        for way in ways
    }
    evaluation = evaluate(options.suite, list(systems.values()), told=_told)
    scores = json.dumps(as_json(evaluation), indent=1, ensure_ascii=False)
    (options.work / "scores.json").write_text(scores + "\n", encoding="utf-8")
    print(_table(evaluation, systems))


def _field(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    try:
        read = json.loads(value)
    except ValueError:
        return name, value
    return name, tuple(map(tuple, read)) if name == "sizes" else tuple(read) if name == "crop" else read


def _told(done: int, total: int, what: str) -> None:
    print(f"{done} of {total}: {what}", file=sys.stderr)


def _told_by_fifties(name: str) -> Callable[[str, int, int], None]:
    def tell(what: str, done: int, steps: int) -> None:
        if done % 50 == 0:
            _told(done, steps, f"{name}: {what}")

    return tell


def _model(work: Path, name: str) -> Path:
    return work / "models" / name


def _train(way: Way, options: argparse.Namespace, common: dict[str, Any]) -> None:
    assert way.trained is not None
    begins = _model(options.work, way.begins) if way.begins else options.model
    done = train(
        recipe_named(way.recipe, **{**common, **way.trained}),
        options.pairs,
        options.work / "runs" / way.name,
        model=begins,
        latents=options.latents,
        progress=_told_by_fifties(way.name),
    )
    link = _model(options.work, way.name)  # an evaluation calls a model by its folder
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(done.model.resolve(), target_is_directory=True)


def _table(evaluation: Evaluation, systems: dict[str, EngineSystem]) -> str:
    measures = [MEASURES[key] for key in SHOWN]
    lines = [["told", *(measure.title for measure in measures)], ["---"] * (1 + len(measures))]
    for told, system in systems.items():
        means = [evaluation.summary(measure)[system.name].mean for measure in measures]
        lines.append([told, *(measure.written(mean) for measure, mean in zip(measures, means, strict=True))])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
