"""``aftermath evaluate`` as a process, once well and once badly."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import drawn_pairs as drawn

Cli = Callable[..., subprocess.CompletedProcess[str]]


def test_as_a_process(cli: Cli, tmp_path: Path) -> None:
    drawn.write_pair(tmp_path / "pairs" / "one")
    drawn.write_video(tmp_path / "theirs" / "one.mkv", drawn.without())
    report = tmp_path / "report"
    done = cli(
        "evaluate",
        tmp_path / "pairs",
        "--outputs",
        tmp_path / "theirs",
        "--baseline",
        "untouched",
        "--report",
        report,
    )
    assert done.returncode == 0, done.stderr
    assert "theirs" in done.stdout and "untouched" in done.stdout and "100.0 dB #1" in done.stdout
    told = json.loads((report / "scores.json").read_text(encoding="utf-8"))
    assert told["systems"]["theirs"]["scores"]["completeness"]["mean"] == 1
    assert (report / "index.html").is_file() and (report / "pictures" / "001.png").is_file()


def test_bad_input_is_one_line_and_two(cli_here: Cli, tmp_path: Path) -> None:
    done = cli_here("evaluate", tmp_path, "--baseline", "truth", "--report", tmp_path / "report")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1 and "holds no pairs" in done.stderr
    assert not (tmp_path / "report").exists()


def test_an_engine_that_cannot_run_at_all_is_told_before_anything_is_done(
    cli_here: Cli, tmp_path: Path
) -> None:
    drawn.write_pair(tmp_path / "pairs" / "one")
    words = ("evaluate", tmp_path / "pairs", "--engine", "void", "--model", tmp_path / "none")
    done = cli_here(*words, "--report", tmp_path / "report")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and str(tmp_path / "none") in done.stderr
    assert not (tmp_path / "report").exists()


def test_a_system_without_a_single_score_is_no_success(cli_here: Cli, tmp_path: Path) -> None:
    drawn.write_pair(tmp_path / "pairs" / "one")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "one.mp4").write_bytes(b"no film")
    words = ("evaluate", tmp_path / "pairs", "--outputs", tmp_path / "theirs", "--baseline", "truth")
    done = cli_here(*words, "--report", tmp_path / "report")
    assert done.returncode == 1 and "theirs: not one pair could be scored" in done.stderr
    assert "100.0 dB #1" in done.stdout, "the others are scored"
