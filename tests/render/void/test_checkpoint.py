"""Weights in every form they come in, and what is said of those that are not right."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the extra void is not installed")

from safetensors.torch import load_file, save_file  # noqa: E402
from tiny import golden, save_tiny_model, text_encoder, transformer, vae  # noqa: E402

from aftermath.errors import AftermathError, InputError, WeightsError  # noqa: E402
from aftermath.render.void.checkpoint import SECOND_PASS, fetch_weights, load_pipeline  # noqa: E402

Weights = dict[str, "torch.Tensor"]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("saved") / "model")


@pytest.fixture
def model(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "model"))


@pytest.fixture
def base(model: Path) -> Path:
    """The base model's layout: its index names a pipeline of others, and its transformer says something else."""
    index = json.loads((model / "model_index.json").read_text())
    (model / "model_index.json").write_text(
        json.dumps(index | {"_class_name": "CogVideoXFunInpaintPipeline"})
    )
    path = model / "transformer" / "diffusion_pytorch_model.safetensors"
    save_file({name: value + 1 for name, value in load_file(path).items()}, path)
    return model


def load(folder: Path, **more: object):
    return load_pipeline(folder, dtype=torch.float32, offline=True, **more)


def same(found: Weights, expected: Weights) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)


def test_a_saved_pipeline_comes_back_as_it_was(saved: Path):
    pipe = load(saved, verify=True)
    assert same(pipe.transformer.state_dict(), transformer().state_dict())
    assert same(pipe.vae.state_dict(), vae().state_dict())
    expected = text_encoder()(golden("t5_io")["input_ids"])[0]
    assert torch.equal(pipe.text_encoder(golden("t5_io")["input_ids"])[0], expected)
    assert pipe.encode_prompt("a red ball").shape == (1, 226, 32)
    assert not any(part.training for part in (pipe.transformer, pipe.vae, pipe.text_encoder))


@pytest.mark.parametrize(("number", "scheduler"), [(1, "DDIMScheduler"), (2, "CogVideoXDDIMScheduler")])
def test_each_pass_takes_its_own_weights_and_scheduler(base: Path, number: int, scheduler: str):
    for one in (1, 2):
        moved = {name: value + 10 * one for name, value in golden("transformer").items()}
        save_file(moved, base / f"void_pass{one}.safetensors")
    pipe = load(base, pass_number=number)
    expected = {name: value + 10 * number for name, value in golden("transformer").items()}
    assert same(pipe.transformer.state_dict(), expected)
    assert type(pipe.scheduler).__name__ == scheduler
    assert pipe.scheduler.config.prediction_type == "v_prediction"
    assert pipe.scheduler.config.timestep_spacing == "trailing"


def shard(weights: Weights, folder: Path, name: str) -> Path:
    """Write ``weights`` as two files and their index."""
    folder.mkdir(exist_ok=True)
    keys = sorted(weights)
    parts = {"a-1-of-2.safetensors": keys[::2], "a-2-of-2.safetensors": keys[1::2]}
    for file, own in parts.items():
        save_file({key: weights[key] for key in own}, folder / file)
    places = {key: file for file, own in parts.items() for key in own}
    path = folder / f"{name}.index.json"
    path.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return path


def test_weights_may_be_a_file_a_folder_or_shards(base: Path, tmp_path: Path):
    weights = golden("transformer")
    index = shard(weights, tmp_path / "shards", "void_pass1.safetensors")
    (tmp_path / "one").mkdir()
    save_file(weights, tmp_path / "one" / "void_pass1.safetensors")
    for given in (index, index.parent, tmp_path / "one", tmp_path / "one" / "void_pass1.safetensors"):
        assert same(load(base, weights=given).transformer.state_dict(), weights)


def test_columns_that_are_lacking_come_from_the_base(base: Path, tmp_path: Path):
    weights = dict(golden("transformer"))
    key = "patch_embed.proj.weight"
    whole = weights[key]
    weights[key] = torch.cat([whole[:, :128], whole[:, -128:]], dim=1)
    save_file(weights, tmp_path / "narrow.safetensors")
    found = load(base, weights=tmp_path / "narrow.safetensors").transformer.state_dict()[key]
    assert torch.equal(found, torch.cat([whole[:, :128], whole[:, 128:-128] + 1, whole[:, -128:]], dim=1))


def as_published(base: Path) -> torch.Tensor:
    """Make ``base`` read one channel of mask, as the published one does: 33 channels. Its columns for that channel."""
    config = base / "transformer" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"in_channels": 33}))
    path = base / "transformer" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    whole = weights["patch_embed.proj.weight"]
    weights["patch_embed.proj.weight"] = torch.cat([whole[:, :136], whole[:, -128:]], dim=1)
    save_file(weights, path)
    return whole[:, 128:136]


def test_the_published_base_has_one_channel_for_its_mask_and_void_sixteen(base: Path, tmp_path: Path):
    mask, key = as_published(base), "patch_embed.proj.weight"
    weights = dict(golden("transformer"))
    save_file(weights, tmp_path / "void_pass1.safetensors")
    pipe = load(base, weights=tmp_path)
    assert pipe.transformer.config.in_channels == 48
    assert same(pipe.transformer.state_dict(), weights)
    whole = weights[key]
    weights[key] = torch.cat([whole[:, :128], whole[:, -128:]], dim=1)
    save_file(weights, tmp_path / "narrow.safetensors")
    found = load(base, weights=tmp_path / "narrow.safetensors").transformer.state_dict()[key]
    assert torch.equal(found, torch.cat([whole[:, :128], mask.repeat(1, 16), whole[:, -128:]], dim=1))


def without_a_key(path: Path):
    weights = load_file(path)
    del weights["proj_out.bias"]
    save_file(weights, path)


def with_a_stranger(path: Path):
    save_file(load_file(path) | {"stranger.weight": torch.zeros(2)}, path)


def with_another_shape(path: Path):
    save_file(load_file(path) | {"proj_out.bias": torch.zeros(2)}, path)


def with_nan(path: Path):
    save_file(load_file(path) | {"proj_out.bias": torch.full((128,), torch.nan).bfloat16()}, path)


def cut_in_half(path: Path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def cut_in_its_header(path: Path):
    path.write_bytes(path.read_bytes()[:40])


def too_long(path: Path):
    path.write_bytes(path.read_bytes() + b"more")


def a_web_page(path: Path):
    path.write_text("<!doctype html><title>Sign in</title>")


def empty(path: Path):
    path.write_bytes(b"")


def a_pickle(path: Path):
    path.unlink()
    torch.save({}, path.with_suffix(".bin"))


def gone(path: Path):
    path.unlink()


def sharded_beyond_its_folder(path: Path):
    path.unlink()
    path.with_name(f"{path.name}.index.json").write_text('{"weight_map": {"a": "../b.safetensors"}}')


WRONG = [
    (without_a_key, "misses proj_out.bias"),
    (with_a_stranger, "stranger.weight"),
    (with_another_shape, "proj_out.bias has shape (2,)"),
    (with_nan, "proj_out.bias holds NaN"),
    (cut_in_half, "half a download"),
    (cut_in_its_header, "half a download"),
    (too_long, "4 bytes longer"),
    (a_web_page, "not a safetensors file"),
    (empty, "not a safetensors file"),
    (a_pickle, "a pickle"),
    (gone, "aftermath models download"),
    (sharded_beyond_its_folder, "files of its own folder"),
]


@pytest.mark.parametrize(("spoil", "told"), WRONG, ids=lambda value: getattr(value, "__name__", ""))
def test_wrong_weights_are_told_in_one_line(model: Path, spoil: Callable[[Path], None], told: str):
    spoil(model / "transformer" / "diffusion_pytorch_model.safetensors")
    with pytest.raises(WeightsError) as caught:
        load(model, verify=True)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", ["transformer", "vae", "text_encoder", "tokenizer", "scheduler"])
def test_a_part_that_is_missing_is_named(model: Path, part: str):
    shutil.rmtree(model / part)
    with pytest.raises(WeightsError, match=part):
        load(model)


def test_what_is_no_model_is_told(tmp_path: Path, saved: Path):
    wrong: list[tuple[object, dict[str, object], type[AftermathError]]] = [
        (tmp_path / "nowhere", {}, InputError),
        ("no such thing", {}, InputError),
        (saved, {"pass_number": 3}, InputError),
        (saved, {"weights": tmp_path / "nowhere.safetensors"}, InputError),
    ]
    for given, more, kind in wrong:
        with pytest.raises(kind):
            load(given, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [1, 2])
def test_a_pipeline_of_one_pass_is_not_taken_for_the_other(tmp_path: Path, number: int):
    saved = save_tiny_model(tmp_path, {1: "DDIMScheduler", 2: "CogVideoXDDIMScheduler"}[number])
    shutil.rmtree(saved / SECOND_PASS)
    assert type(load(saved, pass_number=number).scheduler).__name__.endswith("DDIMScheduler")
    with pytest.raises(WeightsError, match=f"holds pass {number}, and pass {3 - number} was asked for"):
        load(saved, pass_number=3 - number)


def test_a_second_pass_that_is_half_there_is_told_before_the_first_is_painted(base: Path):
    for one in (1, 2):
        save_file(golden("transformer"), base / f"void_pass{one}.safetensors")
    cut_in_half(base / "void_pass2.safetensors")
    fetch_weights(base, 1, offline=True)
    with pytest.raises(WeightsError, match=r"void_pass2\.safetensors: half a download"):
        fetch_weights(base, 2, offline=True)


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("transformer/config.json", {"num_layers": "many"}),
        ("vae/config.json", {"block_out_channels": 4}),
        ("vae/config.json", {"down_block_types": ["NoSuchBlock"] * 4}),
        ("scheduler/scheduler_config.json", {"beta_schedule": "no such"}),
        ("tokenizer/tokenizer.json", {}),
    ],
)
def test_a_configuration_that_describes_nothing_is_told(model: Path, part: str, said: dict[str, object]):
    path = model / part
    path.write_text(json.dumps(json.loads(path.read_text()) | said if said else {}))
    with pytest.raises(WeightsError, match=part.split("/")[0]) as caught:
        load(model)
    assert "\n" not in str(caught.value)
