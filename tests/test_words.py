"""From a sentence to a film: words, SAM 2 and a language model together, with tiny models of random weights."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from aftermath.media.masks import read_masks
from aftermath.media.video import probe, read_frames
from conftest import Cli
from small_clip import BOX, FRAMES, HEIGHT, WIDTH

pytest.importorskip("transformers", reason="the extra sam is not installed")
pytest.importorskip("openai", reason="the extra vlm is not installed")
sys.path += [str(Path(__file__).parent / room) for room in ("segment", "reason")]


@pytest.fixture(scope="module")
def eyes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    from tiny_models import save_dino, save_sam2

    folder = tmp_path_factory.mktemp("eyes")
    return {"dino": save_dino(folder / "dino"), "sam2": save_sam2(folder / "sam2")}


@pytest.mark.long
@pytest.mark.usefixtures("one_thread")
def test_words_sam_and_a_language_model_from_start_to_end(
    cli_here: Cli, clip: Path, eyes: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vlm_server import Reply, serving

    from aftermath.segment import text

    monkeypatch.setitem(text._LEAST, "dino", 0.0)  # random weights are sure of nothing
    answer = {"affected_objects": [], "scene_description": "an empty table", "confidence": 0.8}
    with serving(Reply(json.dumps(answer))) as server:
        done = cli_here(
            *("remove", clip, "--text", "the man and his bike", "-o", tmp_path / "out.mp4"),
            *("--text-model", eyes["dino"], "--segmenter-model", eyes["sam2"]),
            *("--reasoner", "openai", "--vlm-url", server.openai_url, "--engine", "draft"),
        )
    assert done.returncode == 0, done.stderr
    assert "the words fit several things: 1 " in done.stderr and "--pick NUMBER chooses" in done.stderr
    folder = tmp_path / "out.mp4.aftermath"
    assert (folder / "matches.png").stat().st_size > 0
    assert json.loads((folder / "plan.json").read_text())["reasoner"] == "openai"
    info = probe(tmp_path / "out.mp4")
    assert (info.width, info.height, len(list(read_frames(info.path)))) == (WIDTH, HEIGHT, FRAMES)
    picked = cli_here(
        *("mask", clip, "--text", "the man and his bike", "--pick", "2", "-o", tmp_path / "q.mkv"),
        *("--text-model", eyes["dino"], "--segmenter-model", eyes["sam2"]),
    )
    assert picked.returncode == 0, picked.stderr
    assert len(list(read_masks(tmp_path / "q.mkv"))) == FRAMES
    refused = cli_here(
        *("mask", clip, "--text", "the man", "--pick", "99", "-o", tmp_path / "r.mkv"),
        *("--text-model", eyes["dino"]),
    )
    assert refused.returncode == 2 and "pick 99: must be a number of a match, 1 to" in refused.stderr
    assert not list(tmp_path.glob("r.mkv*"))


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (("--text", "the man"), "aftermath models download IDEA-Research/grounding-dino-tiny"),
        (("--text", ""), "no prompt"),
        (("--text", "a man", "--box", BOX), "they say different things"),
        (("--pick", "1", "--box", BOX), "must come with --text"),
        (("--box", BOX, "--segmenter", "sam2"), "aftermath models download facebook/sam2.1-hiera-base-plus"),
        (("--text", "x" * 300, "--text-model", "DINO"), "must have at most"),
    ],
)
def test_words_that_cannot_be_used_are_refused(
    cli_here: Cli, clip: Path, eyes: dict[str, Path], tmp_path: Path, asked: tuple[str, ...], told: str
) -> None:
    given = [str(eyes["dino"]) if word == "DINO" else word for word in asked]
    done = cli_here("mask", clip, *given, "-o", tmp_path / "q.mkv")
    assert done.returncode == 2, done.stderr
    assert told in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "home"]
