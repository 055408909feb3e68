"""Who finds the object on this machine, and whether a model lies here complete: no torch is needed to tell."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from aftermath import eyes
from aftermath.config import MaskOptions, SegmenterName
from aftermath.errors import InputError, WeightsError
from aftermath.hub import ready
from aftermath.models import DINO, SAM2, SAM3
from test_models import weights

constants = pytest.importorskip("huggingface_hub.constants", reason="the extra sam is not installed")
pytest.importorskip("transformers", reason="the extra sam is not installed")


def save(folder: Path, kind: str, *, tokenizer: bool) -> Path:
    """The files of a model, as small as they may be."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": kind}))
    (folder / "model.safetensors").write_bytes(weights(np.ones(3, np.float32)))
    (folder / "preprocessor_config.json").write_text("{}")
    if tokenizer:
        (folder / "tokenizer.json").write_text("{}")
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub's."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def fetched(cache: Path, name: str, kind: str, *, tokenizer: bool) -> Path:
    place = cache / f"models--{name.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("abc")
    return save(place / "snapshots" / "abc", kind, tokenizer=tokenizer)


def test_a_model_is_ready_where_all_its_files_are_here_and_whole(cache: Path, tmp_path: Path) -> None:
    for name, kind, tokenizer in (
        (SAM2, "sam2_video", False),
        (SAM3, "sam3_video", True),
        (DINO, "grounding-dino", True),
        ("someone/own-sam", "sam2_video", False),
    ):
        assert not ready(name)
        folder = fetched(cache, name, kind, tokenizer=tokenizer)
        assert ready(name) and ready(folder) and ready(str(folder))
    for lacking in ("config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json"):
        folder = save(tmp_path / lacking, "grounding-dino", tokenizer=True)
        (folder / lacking).unlink()
        assert not ready(folder)
    file = folder.parent / "config.json" / "model.safetensors"
    shutil.copy(file, folder / "pytorch_model.bin")
    (folder / "model.safetensors").write_bytes(file.read_bytes()[:-1])
    assert not ready(folder) and not ready("no/such") and not ready("nothing") and not ready(tmp_path / "x")


def test_models_that_see_are_listed_verified_and_fetched_only_by_name(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from aftermath import hub, models
    from aftermath.cli import models as commands

    asked: list[str] = []
    monkeypatch.setattr(hub, "fetch", lambda name, **_: asked.append(name))
    commands.download_command()
    assert asked == [models.BASE, models.VOID]
    fetched(cache, SAM2, "sam2_video", tokenizer=False)
    own = save(tmp_path / "own", "grounding-dino", tokenizer=True)
    capsys.readouterr()
    for folder, name in ((None, SAM2), (own, DINO)):
        commands.list_command(folder)
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 6
        assert [line.split()[0] for line in lines if "not here" not in line] == [models.NANO, name]
        commands.verify_command(folder)
        assert capsys.readouterr().out.count("all numbers finite") == 1


def test_the_best_segmenter_that_can_run_is_taken(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, why = eyes.choose_segmenter(MaskOptions())
    assert name is SegmenterName.FLOW and f"aftermath models download {SAM2}" in why
    assert eyes.build_segmenter(MaskOptions(), print).name == "flow"
    fetched(cache, SAM2, "sam2_video", tokenizer=False)
    monkeypatch.setattr(eyes, "has_card", lambda: False)
    assert eyes.choose_segmenter(MaskOptions())[0] is SegmenterName.FLOW  # it would take long
    monkeypatch.setattr(eyes, "has_card", lambda: True)
    assert eyes.choose_segmenter(MaskOptions())[0] is SegmenterName.SAM2
    assert eyes.build_segmenter(MaskOptions(), print).name == "sam2"
    assert eyes.choose_segmenter(MaskOptions(segmenter=SegmenterName.FLOW))[0] is SegmenterName.FLOW


def refused(options: MaskOptions, error: type[Exception] = InputError) -> str:
    with pytest.raises(error) as raised:
        eyes.choose_segmenter(options)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_one_asked_for_by_name_must_be_able_to_run(cache: Path, tmp_path: Path) -> None:
    for name, published in ((SegmenterName.SAM2, SAM2), (SegmenterName.SAM3, SAM3)):
        assert f"aftermath models download {published}" in refused(MaskOptions(segmenter=name))
    fetched(cache, SAM3, "sam3_video", tokenizer=True)
    assert eyes.choose_segmenter(MaskOptions(segmenter=SegmenterName.SAM3)) == ("sam3", "asked for")
    own = save(tmp_path / "own", "sam3_tracker_video", tokenizer=False)
    for asked in (SegmenterName.AUTO, SegmenterName.SAM2):  # what the folder holds decides
        found = eyes.choose_segmenter(MaskOptions(segmenter=asked, segmenter_model=str(own)))
        assert found == (SegmenterName.SAM3, "a model was given")
    assert eyes.choose_segmenter(MaskOptions(segmenter_model="someone/sam"))[0] is SegmenterName.SAM2
    assert "download someone/sam" in refused(MaskOptions(segmenter_model="someone/sam", offline=True))
    assert "must be a folder" in refused(MaskOptions(segmenter_model=str(tmp_path / "nothing")))
    assert "no such file" in refused(MaskOptions(segmenter_model=str(tmp_path)), WeightsError)


def test_without_the_extra_flow_works_and_the_others_say_what_to_install(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eyes, "find_spec", lambda name: None if name == "torch" else SimpleNamespace())
    name, why = eyes.choose_segmenter(MaskOptions())
    assert name is SegmenterName.FLOW and 'pip install ".[sam]"' in why
    for options in (MaskOptions(segmenter=SegmenterName.SAM2), MaskOptions(segmenter_model="a/b")):
        assert 'SAM needs the extra sam: in its folder, pip install ".[sam]"' in refused(options)
    assert eyes.build_finder(MaskOptions()) is None
    with pytest.raises(InputError, match="needs the extra sam"):
        eyes.build_finder(MaskOptions(text_model="a/b"))


def test_words_are_read_by_the_model_that_is_here(cache: Path, tmp_path: Path) -> None:
    def model(**options: Any) -> str | None:
        finder = eyes.build_finder(MaskOptions(**options))
        return None if finder is None else finder._model

    assert model() is None
    fetched(cache, SAM3, "sam3_video", tokenizer=True)
    assert model() == SAM3
    fetched(cache, DINO, "grounding-dino", tokenizer=True)
    assert model() == DINO
    assert model(text_model="someone/eye") == "someone/eye"
    with pytest.raises(InputError, match="aftermath models download someone/eye"):
        model(text_model="someone/eye", offline=True)
    with pytest.raises(InputError, match="must be a folder"):
        model(text_model=str(tmp_path / "nothing"))
    with pytest.raises(WeightsError, match="no such file"):
        model(text_model=str(tmp_path))


def test_to_tell_who_finds_the_object_needs_no_torch(environment: dict[str, str], tmp_path: Path) -> None:
    own = save(tmp_path / "own", "sam2_video", tokenizer=False)
    code = (
        "import sys\nfrom aftermath.config import MaskOptions\nfrom aftermath.eyes import *\n"
        "from aftermath.hub import ready\nfrom aftermath.models import SAM2\n"
        f"assert ready({str(own)!r}) and not ready(SAM2)\n"
        f"assert choose_segmenter(MaskOptions(segmenter_model={str(own)!r}))[0] == 'sam2'\n"
        "assert choose_segmenter(MaskOptions())[0] == 'flow' and build_finder(MaskOptions()) is None\n"
        "assert build_segmenter(MaskOptions(), print).name == 'flow'\n"
        f"assert build_segmenter(MaskOptions(segmenter_model={str(own)!r}), print).name == 'sam2'\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
