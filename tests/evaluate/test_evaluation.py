"""Scores, physics and reports on a small drawn pair whose answers are known."""

from __future__ import annotations

import json
import math
import re
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import drawn_pairs as drawn
import numpy as np
import pytest

from aftermath.core import Quadmask
from aftermath.errors import InputError
from aftermath.evaluate.evaluation import Evaluation, evaluate
from aftermath.evaluate.lpips import _scorer, load_lpips
from aftermath.evaluate.measures import HEADLINES, MEASURES, Judge, Scores
from aftermath.evaluate.pairs import Pair, find_pairs, load_pair
from aftermath.evaluate.physics import Behaviour, Track, behaves, behaviour
from aftermath.evaluate.plots import line_plot
from aftermath.evaluate.report import as_json, as_markdown, as_table, write_report
from aftermath.evaluate.scores import removal_completeness
from aftermath.evaluate.sheets import Sheets
from aftermath.evaluate.systems import (
    Baseline,
    EngineSystem,
    Folder,
    Given,
    Unscored,
    baseline,
    baseline_named,
    folders,
)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return load_pair(find_pairs(drawn.write_pair(tmp_path_factory.mktemp("pairs") / "push"))[0])


@pytest.fixture(scope="module")
def judged(pair: Pair) -> dict[str, Scores]:
    judge = Judge(pair)
    return {str(which): judge.score(baseline(which).output(pair).frames) for which in Baseline}


def test_the_truth_scores_perfect(judged: dict[str, Scores]) -> None:
    values = judged["truth"].values
    assert {values[key] for key in values if key.startswith(("psnr", "keep"))} == {100.0}
    assert values["ssim_changed"] == pytest.approx(1)
    assert values["warp_excess"] == values["center_error_px"] == 0
    assert values["completeness"] == values["found_share"] == values["behaves_share"] == 1


def test_untouched_is_worst_in_what_changes_and_inpainting_between(judged: dict[str, Scores]) -> None:
    for key in ("psnr_changed", "psnr_object", "ssim_changed", "completeness"):
        untouched, inpaint, truth = (judged[name].values[key] for name in ("untouched", "inpaint", "truth"))
        assert untouched < inpaint < truth, key
    assert judged["untouched"].values["warp_excess"] > judged["truth"].values["warp_excess"]
    assert judged["untouched"].values["completeness"] == pytest.approx(0, abs=1e-6)


def test_untouched_shows_the_thing_where_it_was_pushed(judged: dict[str, Scores]) -> None:
    thing = judged["untouched"].things[0]
    pushed = [math.dist(drawn.blue_at(t), drawn.REST) for t in range(drawn.NUM_FRAMES)]
    limit = drawn.WIDTH / 4
    assert thing.errors_px == pytest.approx([min(limit, p) for p in pushed], abs=1.5)
    assert (thing.does, thing.should, thing.behaves) == ("moves", "rests", False)


@pytest.mark.parametrize(("dx", "dy"), [(4, 0), (-7, 6), (25, -20)])
def test_a_shifted_thing_gives_its_shift(pair: Pair, dx: int, dy: int) -> None:
    shifted = drawn.without((drawn.REST[0] + dx, drawn.REST[1] + dy))
    scores = Judge(pair).score(shifted)
    assert scores.values["center_error_px"] == pytest.approx(math.hypot(dx, dy), abs=1)
    assert scores.values["found_share"] == 1
    assert scores.things[0].does == "rests"


def test_a_thing_blotted_out_is_not_found(pair: Pair) -> None:
    scores = Judge(pair).score(np.stack([drawn.floor()] * drawn.NUM_FRAMES))
    assert scores.values["found_share"] == 0
    assert scores.values["center_error_px"] == drawn.WIDTH / 4
    assert scores.things[0].does == "lost"


def test_what_vanishes_half_way_does_not_rest(judged: dict[str, Scores]) -> None:
    thing = judged["inpaint"].things[0]
    assert 0.4 < thing.found_share < 0.8
    assert (thing.does, thing.behaves) == ("lost", False)


def test_a_smear_is_not_the_thing(pair: Pair) -> None:
    smeared = np.stack([cv2.GaussianBlur(frame, (0, 0), 7) for frame in pair.truth])
    assert Judge(pair).score(smeared).values["found_share"] == 0


def test_a_way_too_short_is_not_the_way(pair: Pair) -> None:
    thing = pair.things[0]
    true = [(5.0 + 3 * t, 5.0) for t in range(12)]
    for share, good in ((1.0, True), (0.7, True), (0.3, False), (-1.0, False)):
        found = tuple((5.0 + share * 3 * t, 5.0) for t in range(12))
        assert behaves(Track(thing, 158, tuple(true), found), 180)[0] is good


def test_half_an_object_left_is_half_complete(pair: Pair) -> None:
    faint = ((pair.truth.astype(int) + pair.source) // 2).astype(np.uint8)
    region = pair.quadmask.primary
    assert removal_completeness(faint, pair.source, pair.truth, region) == pytest.approx(0.5, abs=0.02)
    late = np.concatenate([pair.truth[:6], pair.source[6:]])
    assert 0.3 < removal_completeness(late, pair.source, pair.truth, region) < 0.7
    nothing = np.zeros_like(region)
    assert math.isnan(removal_completeness(faint, pair.source, pair.truth, nothing))


def test_what_is_kept_may_be_the_sources_or_the_truths(pair: Pair) -> None:
    noisy = pair.truth.copy()
    keep = pair.regions["keep"]
    noisy[keep] = np.clip(noisy[keep].astype(int) + 9, 0, 255)
    scores = Judge(pair).score(noisy).values
    assert scores["keep_db"] == pytest.approx(20 * math.log10(255 / 9), abs=0.3)
    assert scores["psnr_changed"] == 100


def test_what_a_thing_does() -> None:
    rest, fall = [(5.0, 5.0)] * 9, [(5.0 + t / 4, 5.0 + t * t) for t in range(9)]
    slide = [(5.0 + 3 * t, 5.0 + t) for t in range(9)]
    assert [behaviour(way, 9, 100)[0] for way in (rest, fall, slide)] == ["rests", "falls", "moves"]
    assert behaviour([*rest[:3], *[None] * 6], 9, 100)[0] is Behaviour.LOST


def test_both_forms_are_read(tmp_path: Path) -> None:
    drawn.write_pair(tmp_path / "a")
    drawn.write_pair(tmp_path / "b", training_form=True, family="pushes")
    (tmp_path / "else").mkdir()
    drawn.write_pair(tmp_path / ".c.part")  # being made, or left over
    assert [(one.name, one.family) for one in find_pairs(tmp_path)] == [("a", ""), ("b", "pushes")]
    assert load_pair(find_pairs(tmp_path / "b")[0]).things[0].name == "blue <disc>"


def test_the_truth_of_generated_pairs_is_read(pair: Pair, tmp_path: Path) -> None:
    folder = drawn.write_pair(tmp_path / "a", training_form=True)
    (folder / "truth.json").write_text(json.dumps(drawn.generated_json()), encoding="utf-8")
    files = find_pairs(folder)[0]
    generated = load_pair(files)
    assert files.family == "collision"
    assert [thing.name for thing in generated.things] == ["blue disc"]
    assert generated.things[0].boxes == pair.things[0].boxes
    assert generated.things[0].centers == pair.things[0].centers
    assert Judge(generated).score(drawn.without((74, 45))).values["center_error_px"] == pytest.approx(
        4, abs=1
    )


def test_bad_pairs_are_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no pairs"):
        find_pairs(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        find_pairs(tmp_path / "nowhere")
    folder = drawn.write_pair(tmp_path / "a")
    mask = (folder / "quadmask_0.mp4").rename(tmp_path / "mask.mp4")
    with pytest.raises(InputError, match=r"without quadmask_0\.mp4"):
        find_pairs(tmp_path)
    mask.rename(folder / "quadmask_0.mp4")
    (folder / "truth.json").write_text('{"things": [{"affected": true}]}')
    with pytest.raises(InputError, match=r"truth\.json"):
        load_pair(find_pairs(folder)[0])
    (folder / "truth.json").write_text("{")
    with pytest.raises(InputError, match="JSON"):
        find_pairs(folder)
    (folder / "truth.json").unlink()
    drawn.write_video(folder / "rgb_removed.mp4", drawn.without()[:, :80])
    with pytest.raises(InputError, match=r"rgb_removed\.mp4 is 158x80"):
        evaluate(folder, [baseline(Baseline.TRUTH)])
    drawn.write_video(folder / "rgb_removed.mp4", drawn.without()[:-1])
    with pytest.raises(InputError, match="one size and length"):
        evaluate(folder, [baseline(Baseline.TRUTH)])


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Evaluation, Path]:
    """Two pairs, four systems: one resized and too long, and missing or short where it can be."""
    root = tmp_path_factory.mktemp("evaluated")
    name = '<b>one & "two"\'s'
    drawn.write_pair(root / "pairs" / name, family="<i>")
    drawn.write_pair(root / "pairs" / "two", training_form=True, family="other")
    small = [cv2.resize(frame, (79, 45), interpolation=cv2.INTER_AREA) for frame in drawn.without()]
    drawn.write_video(root / "<u>" / f"{name}.mkv", np.stack([*small, small[-1]]), rate=10)
    drawn.write_video(root / "<u>" / "two" / "out.mp4", drawn.without()[:-1])
    drawn.write_video(root / "lazy" / "two.mp4", drawn.without())
    sheets = Sheets(root / "report" / "pictures")
    systems = [*map(baseline, Baseline), *folders([root / "<u>", root / "lazy"])]
    evaluation = evaluate(root / "pairs", systems, shown=sheets)
    write_report(evaluation, root / "report", sheets.files)
    return evaluation, root / "report"


def test_what_does_not_fit_is_noted_or_counted(scored: tuple[Evaluation, Path]) -> None:
    evaluation, _ = scored
    first, second = evaluation.of("<u>")
    notes = " ".join(first.notes)
    assert (
        "13 frames for 12" in notes and "resized to 158x90" in notes and "10 frames a second for 12" in notes
    )
    assert 15 < first.value("psnr_changed") < 60
    assert second.failure == "11 frames of 12" and math.isnan(second.value("psnr_changed"))
    assert [entry.failure for entry in evaluation.failures("lazy")] == ["no output"]


def test_ranks(scored: tuple[Evaluation, Path]) -> None:
    evaluation, _ = scored
    for key in ("psnr_changed", "ssim_changed", "completeness"):
        of = evaluation.summary(MEASURES[key])
        # lazy gave the truth itself, but only for one pair: that wins nothing
        assert [of[name].rank for name in ("truth", "inpaint", "untouched", "lazy")] == [1, 2, 3, 4]
        for family in evaluation.families:
            of = evaluation.summary(MEASURES[key], family)
            assert of["truth"].rank == 1 and of["untouched"].mean < of["inpaint"].mean < of["truth"].mean


def test_the_report_escapes_names(scored: tuple[Evaluation, Path]) -> None:
    evaluation, folder = scored
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "<b>one" not in page and "<u>" not in page and "<i>" not in page and "<disc>" not in page
    assert "&lt;b&gt;one &amp; &quot;two&quot;&#x27;s" in page and "&lt;u&gt;" in page
    assert "<script" not in page and "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    pictures = re.findall(r'<img src="([^"]+)"', page)
    assert len(pictures) == 2 and all((folder / one).is_file() for one in pictures)
    assert cv2.imread(str(folder / pictures[0])).shape[1] > 600
    told = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    assert told == json.loads(json.dumps(as_json(evaluation)))
    assert told["systems"]["truth"]["scores"]["psnr_changed"]["rank"] == 1


def test_the_table_says_what_is_measured(scored: tuple[Evaluation, Path]) -> None:
    evaluation, _ = scored
    table = as_table(evaluation)
    heads = [str(column.header) for column in table.columns]
    assert heads[0] == "system" and heads[-1] == "pairs" and MEASURES[HEADLINES[0]].title in heads
    assert "LPIPS changed" not in heads or "LPIPS: " in evaluation.notes[0]
    assert "| truth | 100.0 dB #1 |" in as_markdown(evaluation)


def test_systems_that_cannot_be(tmp_path: Path) -> None:
    pairs = tmp_path / "pairs"
    drawn.write_pair(pairs / "one")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no output for any of 1 pairs"):
        evaluate(pairs, [Folder("empty", tmp_path / "empty")])
    with pytest.raises(InputError, match="no such folder"):
        evaluate(pairs, [Folder("none", tmp_path / "none")])
    with pytest.raises(InputError, match="nothing to score"):
        evaluate(pairs, [])
    with pytest.raises(InputError, match="differ in name"):
        evaluate(pairs, [baseline(Baseline.TRUTH)] * 2)
    with pytest.raises(InputError, match="untouched, inpaint, truth"):
        baseline_named("best")


def test_an_engine_is_run_and_scored(pair: Pair, tmp_path: Path) -> None:
    from aftermath.config import Engine

    for given in Given:
        system = EngineSystem(Engine.DRAFT, tmp_path, given=given)
        assert system.output(pair).frames.shape == pair.truth.shape


def test_things_that_stand_apart_are_boxed_apart(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One box round two things would hold whatever stands between them; nobody draws such a one."""
    from aftermath.config import Engine

    primary = np.zeros(pair.truth.shape[:3], bool)
    primary[2:, 20:40, 10:30] = primary[2:, 25:45, 100:118] = primary[2:, 60, 60] = True
    two = replace(
        pair,
        files=replace(pair.files, about={}),
        quadmask=Quadmask.from_masks(primary, np.zeros_like(primary)),
    )
    told: list[str] = []

    def remove(source: Path, output: Path, *, boxes: list[str], **_: object) -> None:
        told.extend(boxes)
        raise InputError("enough", "the boxes are known")

    monkeypatch.setattr(sys.modules["aftermath.remove"], "remove", remove)
    with pytest.raises(Unscored):
        EngineSystem(Engine.DRAFT, tmp_path, given=Given.BOX).output(two)
    assert told == ["10,20,30,40@2", "100,25,118,45@2"]


def test_lpips_sees_the_region_alone(pair: Pair) -> None:
    torch = pytest.importorskip("torch", reason="the extra void is not installed")
    score = _scorer(torch, lambda a, b: (a - b).abs().mean())
    keep = pair.regions["keep"]
    assert score(pair.source, pair.truth, pair.regions["changed"]) > 0.005
    assert score(pair.source, pair.truth, keep) == pytest.approx(0, abs=1e-6)


def test_lpips_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    told = load_lpips()[1]
    assert "AlexNet_Weights" in told or "pip install" in told
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert load_lpips()[1].startswith(
        "LPIPS left out: torchmetrics is not installed; it needs the extra metrics"
    )


@pytest.mark.long
def test_lpips_of_every_region_by_the_real_code(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With weights drawn at random in the place of AlexNet's: the code is the real one, the numbers are not."""
    pytest.importorskip("torchmetrics", reason="the extra metrics is not installed")
    import torch
    import torchvision

    torch.manual_seed(1)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    weights = torchvision.models.alexnet().state_dict()
    torch.save(weights, tmp_path / "hub" / "checkpoints" / "alexnet-owt-7be5be79.pth")
    lpips, told = load_lpips()
    assert lpips is not None and told == "LPIPS: AlexNet, torchmetrics"
    judge = Judge(pair, lpips)
    truth, untouched = judge.score(pair.truth).values, judge.score(pair.source).values
    for region in ("object", "affected", "changed", "all"):
        assert abs(truth[f"lpips_{region}"]) < 1e-6 < untouched[f"lpips_{region}"]


def test_plots_leave_gaps_and_escape() -> None:
    plot = line_plot("<a>", {"<s>": [1, 2, math.nan, 4, 3]}, {"<s>": "#000"})
    assert plot.count("<polyline") == 2 and "<a>" not in plot and "<s>" not in plot
    assert line_plot("none", {"s": [math.nan]}, {"s": "#000"}) == ""
