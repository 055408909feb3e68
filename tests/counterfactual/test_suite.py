"""The pairs that are held out: which they are, and that none is trained on."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from aftermath.counterfactual import HELD_OUT_SEEDS, check_trainable
from aftermath.counterfactual.families import FAMILIES
from aftermath.counterfactual.suite import read_suite
from aftermath.errors import InputError
from conftest import Cli

SUITE = Path(__file__).parents[2] / "benchmarks" / "suite.json"


def test_the_suite_is_sixty_held_out_pairs_of_every_family() -> None:
    pairs = read_suite(SUITE)
    assert len(pairs) == len({(pair.family, pair.seed) for pair in pairs}) == 60
    assert all(pair.seed in HELD_OUT_SEEDS for pair in pairs)
    assert set(Counter(pair.family for pair in pairs).values()) == {60 // len(FAMILIES)}
    assert {pair.family for pair in pairs} == set(FAMILIES)
    assert {(pair.num_frames, pair.size) for pair in pairs} == {(49, (384, 224))}


def test_a_held_out_pair_is_not_trained_on(tmp_path: Path) -> None:
    for name, about in {"a": {"seed": 999_999}, "b": {"bg": "not ours"}, "c": {"seed": 1_000_000}}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "metadata.json").write_text(json.dumps(about), encoding="utf-8")
    check_trainable([tmp_path / "a", tmp_path / "b", tmp_path / "without metadata"])
    with pytest.raises(InputError, match=r"c has seed 1000000.*held out"):
        check_trainable(sorted(tmp_path.iterdir()))


@pytest.mark.parametrize(
    ("text", "words", "told"),
    [
        ("[]", (), "suite's JSON"),
        ('{"num_frames": 5, "size": [64, 48], "pairs": [{"family": "control", "seed": 3}]}', (), "1000000"),
        ("{}", ("--seed", "3"), "leave out --seed"),
    ],
)
def test_what_is_no_suite_is_one_line_and_exit_2(
    text: str, words: tuple[str, ...], told: str, cli_here: Cli, tmp_path: Path
) -> None:
    (tmp_path / "suite.json").write_text(text, encoding="utf-8")
    done = cli_here("generate", tmp_path / "out", "--suite", tmp_path / "suite.json", *words)
    assert done.returncode == 2 and told in done.stderr and len(done.stderr.splitlines()) == 1
