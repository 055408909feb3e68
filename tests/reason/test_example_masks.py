"""The examples' quadmasks against their truth: by motion, by what a good model would answer, and by both."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from model_answers import EXAMPLES, model_answer, true_levels, truth
from vlm_server import Reply, serving

import aftermath
from aftermath.config import MaskOptions, ReasonerName
from aftermath.core import Level
from aftermath.media.masks import read_quadmask

pytest.importorskip("openai", reason="the extra vlm is not installed")

LEAST = {"motion": 0.6, "openai": 0.75, "motion+openai": 0.75}  # intersection over union
KEPT_TOUCHED = 0.02


def affected(levels: np.ndarray) -> np.ndarray:
    return np.isin(levels, (Level.AFFECTED, Level.OVERLAP))


# the example that has everything: light, and a thing that stands on the object; benchmarks/masks.py has all four
@pytest.mark.long
@pytest.mark.parametrize("name", ["support"])
def test_affected_regions_fit_the_truth(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    true, removed = true_levels(name), truth(name)["removed"]
    box = f"{','.join(map(str, removed['box']))}@{removed['frame']}"
    clip, out = EXAMPLES / name / "input_video.mp4", tmp_path / "q.mkv"
    expected = sorted(thing["action"] for thing in truth(name)["things"] if thing["affected"])
    with serving(Reply(json.dumps(model_answer(name)))) as server:
        for reasoner in ("motion", "openai", "motion+openai"):
            options = MaskOptions(reasoner=ReasonerName(reasoner), vlm_url=server.openai_url)
            result = aftermath.mask(clip, out, boxes=[box], options=options)
            levels = np.stack(list(read_quadmask(out, expect=true.shape)))
            ours, theirs = affected(levels), affected(true)
            fits = np.count_nonzero(ours & theirs) / np.count_nonzero(ours | theirs)
            assert fits >= LEAST[reasoner], reasoner
            kept = true == Level.KEEP
            assert np.count_nonzero(kept & (levels < Level.KEEP)) <= KEPT_TOUCHED * np.count_nonzero(kept)
            acted = sorted(str(t.action) for t in result.plan.applied if t.action != "vanishes")
            assert acted == expected
    assert {"segment", "scene"} <= set(result.reused)
