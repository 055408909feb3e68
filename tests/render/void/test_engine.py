"""The VOID engine, whole, with a tiny model of random weights: once as a command, then through the API."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra void is not installed")

import torch
from diffusers.models.transformers.cogvideox_transformer_3d import CogVideoXBlock
from safetensors.torch import load_file, save_file
from tiny import save_tiny_model

import aftermath
from aftermath.config import Codec, Engine, Guide, Memory, Quantize, ReasonerName, RemoveOptions
from aftermath.core import Level
from aftermath.errors import InputError, WeightsError
from aftermath.media.masks import read_masks
from aftermath.media.planes import planes_of
from aftermath.media.video import probe, read_frames
from aftermath.reasoners import build_client
from aftermath.render.void.published import manner_of
from conftest import Cli
from small_clip import BOX


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model"))


pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = RemoveOptions(
    engine=Engine.VOID, codec=Codec.FFV1, model_width_px=64, model_height_px=48, steps=1, seed=1
)


def test_two_passes_from_the_command_line(cli_here: Cli, clip: Path, model: Path, tmp_path: Path):
    """A clip much shorter than the model's window."""
    size = ("--model-width-px", 64, "--model-height-px", 48, "--steps", 2, "--guidance", 3)
    done = cli_here(
        *("remove", clip, "--box", BOX, "-o", tmp_path / "out.mkv", "--codec", "ffv1", "--engine", "void"),
        *("--model", model, "--passes", 2, "--prompt", "an empty table", *size, "--json"),
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["engine"] == "void"
    check(clip, tmp_path / "out.mkv", Path(told["quadmask"]), 12)


@pytest.mark.long
def test_a_clip_longer_than_the_window_and_of_odd_size(
    make_clip: Callable[..., Path], model: Path, tmp_path: Path
):
    clip, output = make_clip("clip.mp4", 121, 91, 94), tmp_path / "out.mkv"
    options = dataclasses.replace(SMALL, model=str(model))
    result = aftermath.remove(clip, output, boxes=["23,30,47,64"], prompt="a table", options=options)
    check(clip, output, result.quadmask, 94)


@pytest.mark.long
def test_the_seed_and_the_guidance_decide(clip: Path, model: Path, tmp_path: Path):
    def painted(name: str, **more: float) -> np.ndarray:
        options = dataclasses.replace(SMALL, model=str(model), fast=True, **more)  # 13 frames, not 85
        aftermath.remove(clip, tmp_path / name, boxes=[BOX], prompt="a table", options=options)
        return np.stack([frame.rgb() for frame in read_frames(tmp_path / name)])

    first = painted("a.mkv")
    assert np.array_equal(first, painted("b.mkv"))
    assert not np.array_equal(first, painted("c.mkv", seed=2))
    assert not np.array_equal(first, painted("d.mkv", guidance=7))


@pytest.mark.long
def test_what_a_model_said_of_the_scene_is_the_prompt(clip: Path, model: Path, tmp_path: Path):
    plan = tmp_path / "vlm_analysis.json"
    options = dataclasses.replace(SMALL, model=str(model), fast=True)
    for name, scene, told in (("a.mkv", "an empty table", False), ("b.mkv", "", True)):
        plan.write_text(json.dumps({"affected_objects": [], "scene_description": scene}))
        result = aftermath.remove(clip, tmp_path / name, boxes=[BOX], plan=plan, options=options)
        assert any("--prompt" in line for line in result.warnings) == told
    first, second = (
        np.stack([frame.rgb() for frame in read_frames(tmp_path / name)]) for name in ("a.mkv", "b.mkv")
    )
    assert not np.array_equal(first, second)


@pytest.mark.long
def test_the_published_weights_are_found_where_the_hub_keeps_them(
    cli: Cli, environment: dict[str, str], clip: Path, model: Path, tmp_path: Path
):
    """And nothing is asked of the network, which is not there."""
    hub = tmp_path / "hub"
    environment |= {"HF_HUB_CACHE": str(hub), "HF_ENDPOINT": "http://127.0.0.1:9"}
    base = put_in_cache(hub, "alibaba-pai/CogVideoX-Fun-V1.5-5b-InP")
    shutil.copytree(model, base, dirs_exist_ok=True)
    (base / "model_index.json").write_text("{}")
    weights = base / "transformer" / "diffusion_pytorch_model.safetensors"
    shutil.move(weights, put_in_cache(hub, "netflix/void-model") / "void_pass1.safetensors")
    told = json.loads(cli("doctor", "--json").stdout)
    assert told["auto"].startswith("draft: the published weights are here, but no graphics card")
    size = ("--model-width-px", 64, "--model-height-px", 48, "--steps", 1)
    done = cli("remove", clip, "--box", BOX, "-o", tmp_path / "out.mp4", "--engine", "void", *size, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert any("--prompt" in line for line in told["warnings"])


def put_in_cache(hub: Path, name: str) -> Path:
    """An empty snapshot of a model, laid out as the hub's client does."""
    place = hub / f"models--{name.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("0" * 40)
    (place / "snapshots" / ("0" * 40)).mkdir(parents=True)
    return place / "snapshots" / ("0" * 40)


@pytest.mark.parametrize("name", ["no/such/folder", "nothing here"])
def test_a_model_that_is_none_is_refused_before_anything_is_made(name: str, clip: Path, tmp_path: Path):
    options = dataclasses.replace(SMALL, model=name)
    with pytest.raises(InputError, match="model"):
        aftermath.remove(clip, tmp_path / "out.mkv", boxes=[BOX], options=options)
    assert list(tmp_path.iterdir()) == [clip]


def check(clip: Path, output: Path, quadmask: Path, num_frames: int) -> None:
    """The result has the clip's own size, rate and length; what is kept is the clip's, the rest is painted."""
    before, after = probe(clip), probe(output)
    assert (after.width, after.height, after.frame_rate) == (before.width, before.height, before.frame_rate)
    pairs = list(zip(read_frames(clip), read_frames(output), read_masks(quadmask), strict=True))
    assert len(pairs) == num_frames
    for source, result, levels in pairs:
        differs = planes_of(source.picture)[0] != planes_of(result.picture)[0]
        kept = levels == Level.KEEP
        assert differs[~kept].mean() > 0.5
        assert not differs[kept].any()


@pytest.mark.long
def test_the_draft_guides_the_second_pass_alone(clip: Path, model: Path, tmp_path: Path):
    """And where the plan sends a thing elsewhere, the model starts from other noise."""

    def painted(name: str, end: int) -> np.ndarray:
        way = [{"frame": 0, "x": 88, "y": 99}, {"frame": 11, "x": end, "y": 99}]
        stays = {
            "noun": "blue thing",
            "category": "physical",
            "action": "stays",
            "why": "",
            "frames": [0, 12],
        }
        plan = {"affected_objects": [stays | {"box": [80, 90, 96, 108], "path": way, "directed": True}]}
        (tmp_path / "plan.json").write_text(json.dumps(plan))
        options = dataclasses.replace(SMALL, model=str(model), guide=Guide.DRAFT, fast=True)
        result = aftermath.remove(
            clip, tmp_path / name, boxes=[BOX], prompt="a", plan=tmp_path / "plan.json", options=options
        )
        report = json.loads((result.folder / "run.json").read_text())["render"]
        assert [one["number"] for one in report["passes"]] == [2]
        assert report["guide"] == "draft"
        return np.stack([frame.rgb() for frame in read_frames(tmp_path / name)])

    assert not np.array_equal(painted("a.mkv", 140), painted("b.mkv", 60))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"memory": Memory.LOW}, "graphics card"),
        ({"quantize": Quantize.INT4}, "quant"),
        ({"guide": Guide.DRAFT, "passes": 2}, "first pass"),
        ({"model": "nano", "passes": 2}, "no second pass.*leave --passes away"),
        ({"model": "nano", "guide": Guide.DRAFT}, "no second pass.*leave --guide away"),
        ({"model": "netflix/void-model"}, "must be the base model"),
        ({"model_width_px": 70}, "multiple of 16"),
        ({"model_width_px": 16_000_000}, "4096"),
    ],
)
def test_what_cannot_be_is_one_line(
    options: dict, complaint: str, clip: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Before the clip is looked at."""
    monkeypatch.setattr("aftermath.stages.segment", lambda *_: pytest.fail("analysed"))
    if "quantize" in options and find_spec("bitsandbytes"):
        pytest.skip("the extra quant is installed")
    with pytest.raises(InputError, match=complaint) as raised:
        chosen = dataclasses.replace(SMALL, **{"model": str(model)} | options)
        aftermath.remove(clip, tmp_path / "out.mkv", boxes=[BOX], options=chosen)
    assert "\n" not in str(raised.value)


def test_weights_that_changed_are_painted_with_anew(clip: Path, model: Path, tmp_path: Path):
    own = Path(shutil.copytree(model, tmp_path / "model"))
    chosen = dataclasses.replace(SMALL, model=str(own), fast=True)

    def painted() -> tuple[bytes, bool]:
        result = aftermath.remove(clip, tmp_path / "out.mkv", boxes=[BOX], prompt="a", options=chosen)
        return (tmp_path / "out.mkv").read_bytes(), "output" in result.reused

    first, reused = painted()
    assert not reused
    assert painted() == (first, True)
    path = own / "transformer" / "diffusion_pytorch_model.safetensors"
    save_file({name: value * 1.3 for name, value in load_file(path).items()}, path)
    second, reused = painted()
    assert not reused
    assert second != first
    path = own / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"beta_end": 0.02}))
    assert painted()[1] is False


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"size": [0, 0]}, "multiples of 16"),
        ({"least_frames": 7}, "8k[+]5"),
        ({"passes": []}, "passes"),
        ({"passes": [{"number": 1, "steps": 0, "guidance": 1.0, "levels": "three"}]}, "0 steps"),
        ({"passes": [{"number": 1, "steps": 1, "guidance": float("nan"), "levels": "three"}]}, "nan"),
        ({"overlap_frames": 9}, "multiple of 8"),
    ],
)
def test_what_a_model_says_of_itself_must_be_possible(said: dict, told: str, tmp_path: Path):
    usual = json.loads((Path(aftermath.__file__).parent / "nano" / "aftermath.json").read_text())
    (tmp_path / "aftermath.json").write_text(json.dumps(usual | said))
    with pytest.raises(WeightsError, match=told):
        manner_of(tmp_path)


@pytest.mark.long
def test_a_compiled_model_paints_the_same(clip: Path, model: Path, tmp_path: Path):
    if shutil.which("c++") is None and shutil.which("g++") is None:
        pytest.skip("no compiler on this machine")
    blocks: list[str] = []
    torch._dynamo.reset()
    compiled = CogVideoXBlock.compile

    def seen(block, *args, **more):
        blocks.append(type(block).__name__)
        return compiled(block, *args, **more)

    pictures = []
    for compiles in (False, True):
        chosen = dataclasses.replace(SMALL, model=str(model), compile=compiles, fast=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(CogVideoXBlock, "compile", seen)
            aftermath.remove(clip, tmp_path / f"{compiles}.mkv", boxes=[BOX], prompt="a", options=chosen)
        pictures.append(np.stack([frame.rgb() for frame in read_frames(tmp_path / f"{compiles}.mkv")]))
    assert blocks == ["CogVideoXBlock"] * 2
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    assert np.abs(pictures[0].astype(int) - pictures[1]).max() <= 1


KEYS = {"_void_options", "segment", "reason"}
ELSEWHERE = {"segmenter_model", "text_model"}  # `eyes` reads them: tests/test_eyes.py


@pytest.mark.long
def test_every_option_is_read(clip: Path, model: Path, tmp_path: Path):
    """By the code that acts on it: keys of stages and the record of a run do not count."""
    read: set[str] = set()

    class Watched(RemoveOptions):
        def __getattribute__(self, name: str):
            frame = sys._getframe(1)
            if (
                frame.f_globals.get("__name__", "").startswith("aftermath.")
                and frame.f_code.co_name not in KEYS
            ):
                read.add(name)
            return super().__getattribute__(name)

    for engine in (Engine.VOID, Engine.DRAFT):
        small = {item.name: getattr(SMALL, item.name) for item in dataclasses.fields(SMALL)}
        options = Watched(**small | {"engine": engine, "model": str(model), "fast": True})
        aftermath.remove(clip, tmp_path / f"{engine}.mkv", boxes=[BOX], prompt="a table", options=options)
    given = tmp_path / "draft.mkv.aftermath" / "quadmask.mkv"
    aftermath.mask(clip, tmp_path / "q.mkv", quadmask=given, options=Watched())
    asks = Watched(reasoner=ReasonerName.OPENAI, vlm_url="http://localhost:1/v1", vlm_model="m")
    assert build_client(asks) is not None
    assert {item.name for item in dataclasses.fields(RemoveOptions)} - read - ELSEWHERE == set()
