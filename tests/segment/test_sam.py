"""SAM 2 and SAM 3 with tiny random weights: the real classes, so all is real but the masks' meaning."""

from __future__ import annotations

import gc
import json
import shutil
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aftermath.config import SegmenterName
from aftermath.core import Box, Clip
from aftermath.errors import InputError, OutOfMemory, WeightsError
from aftermath.segment import sam
from aftermath.segment.base import BoxPrompt, MaskPrompt, PointPrompt, Prompts
from aftermath.segment.sam import SamSegmenter

pytest.importorskip("transformers", reason="the extra sam is not installed")
pytestmark = pytest.mark.usefixtures("one_thread")

HEIGHT, WIDTH = 61, 90
KINDS = ["sam2", "sam3"]


def silent(done: int, total: int) -> None:
    assert 0 < done <= total


def noise(num_frames: int) -> Clip:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (num_frames, HEIGHT, WIDTH, 3), dtype=np.uint8)
    return Clip(frames, np.arange(num_frames) / 24, WIDTH, HEIGHT)


def rectangle(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y0:y1, x0:x1] = True
    return mask


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    from tiny_models import save_sam2, save_sam3

    folder = tmp_path_factory.mktemp("sam")
    return {"sam2": save_sam2(folder / "sam2"), "sam3": save_sam3(folder / "sam3")}


class Spy:
    """What a segmenter sends to transformers: prompts, and frames with their direction."""

    def __init__(self, segmenter: SamSegmenter, monkeypatch: pytest.MonkeyPatch) -> None:
        loaded = segmenter._ready()
        self.prompts: list[tuple[int, int, dict[str, Any]]] = []
        self.frames: list[tuple[int, bool]] = []
        self.sessions: list[Any] = []
        add, forward = loaded.processor.add_inputs_to_inference_session, loaded.model.forward

        def added(session: Any, *, frame_idx: int, obj_ids: int, **inputs: Any) -> Any:
            self.prompts.append((frame_idx, obj_ids, inputs))
            return add(session, frame_idx=frame_idx, obj_ids=obj_ids, **inputs)

        def ran(session: Any, *, frame_idx: int, reverse: bool) -> Any:
            self.frames.append((frame_idx, reverse))
            self.sessions.append(session)
            return forward(session, frame_idx=frame_idx, reverse=reverse)

        monkeypatch.setattr(loaded.processor, "add_inputs_to_inference_session", added)
        monkeypatch.setattr(loaded.model, "forward", ran)


@pytest.mark.parametrize("kind", KINDS)
def test_it_gives_what_transformers_gives_with_the_whole_clip_in_memory(
    models: dict[str, Path], kind: str
) -> None:
    clip, at = noise(44), 19  # further from both ends than any memory reaches
    segmenter = SamSegmenter(str(models[kind]))
    found = segmenter.segment(clip, Prompts(points=(PointPrompt(20, 30, at),)), silent)
    assert segmenter.name == kind and found.dtype == bool and found.shape == (44, HEIGHT, WIDTH)
    loaded = segmenter._ready()
    session = loaded.processor.init_video_session(video=clip.frames)
    point = {"input_points": [[[[20.0, 30.0]]]], "input_labels": [[[1]]]}
    loaded.processor.add_inputs_to_inference_session(session, at, 1, **point)
    loaded.model(session, frame_idx=at)
    for reverse in (False, True):
        for told in loaded.model.propagate_in_video_iterator(session, start_frame_idx=at, reverse=reverse):
            (masks,) = loaded.processor.post_process_masks([told.pred_masks], [[HEIGHT, WIDTH]])
            assert np.array_equal(masks[0, 0].numpy(), found[told.frame_idx]), told.frame_idx
    assert 0.05 < found.mean() < 0.95


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_held_does_not_grow_with_the_clip(
    models: dict[str, Path], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = SamSegmenter(str(models[kind]))
    reach = segmenter._ready().reach
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    held, memories, step = [], [], sam._Object.step
    get = sam._Frames.__getitem__

    def watched(frames: sam._Frames, frame: int) -> Any:
        picture = get(frames, frame)
        alive.add(picture)
        return picture

    def stepped(one: sam._Object, frame: int, *, reverse: bool = False) -> np.ndarray:
        mask = step(one, frame, reverse=reverse)
        held.append(len(alive))
        memories.append(sum(len(outputs) for outputs in one._outputs.values()))
        assert not any("high_res_masks" in o for outputs in one._outputs.values() for o in outputs.values())
        return mask

    monkeypatch.setattr(sam._Frames, "__getitem__", watched)
    monkeypatch.setattr(sam._Object, "step", stepped)
    gc.collect()
    segmenter.segment(noise(60), Prompts(points=(PointPrompt(20, 30, 30),)), silent)
    assert reach == 15 and len(held) == 60
    assert max(held) <= sam._FRAMES_KEPT + 1
    assert max(memories) <= 1 + 2 * reach < 60


def test_frames_are_gone_through_forwards_then_backwards(
    models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = SamSegmenter(str(models["sam2"]))
    spy = Spy(segmenter, monkeypatch)
    told: list[tuple[int, int]] = []
    segmenter.segment(
        noise(6),
        Prompts(boxes=(BoxPrompt(Box(10, 10, 40, 40), 2),)),
        lambda done, total: told.append((done, total)),
    )
    assert spy.frames == [(2, False), *((t, False) for t in range(2, 6)), (1, True), (0, True)]
    assert [done for done, _ in told] == list(range(1, len(told) + 1)) and told[-1][0] == told[-1][1]


@pytest.mark.parametrize("kind", KINDS)
def test_on_the_frame_of_a_mask_the_object_is_that_mask(models: dict[str, Path], kind: str) -> None:
    clip, mask = noise(5), rectangle(11, 7, 37, 40)
    mask[20, 20] = False  # finer than the model's own grid
    found = SamSegmenter(str(models[kind])).segment(clip, Prompts(masks=(MaskPrompt(mask, 2),)), silent)
    assert np.array_equal(found[2], mask)
    assert not np.array_equal(found[3], mask)


@pytest.mark.parametrize("kind", KINDS)
def test_the_model_itself_returns_a_mask_that_it_was_given(models: dict[str, Path], kind: str) -> None:
    loaded = SamSegmenter(str(models[kind]))._ready()
    work = sam._Work(loaded, noise(2), Prompts(), silent)
    one, mask = sam._Object(work, 1), rectangle(10, 8, 60, 40)
    one.prompt(0, sam.Group(mask=mask))
    one.given.clear()
    answer = one.step(0)
    assert (answer & mask).sum() > 0.9 * (answer | mask).sum()


def test_objects_are_followed_apart_and_a_late_one_is_found_earlier(models: dict[str, Path]) -> None:
    clip, segmenter = noise(24), SamSegmenter(str(models["sam2"]))
    early = MaskPrompt(rectangle(5, 5, 15, 15), 0)
    late = MaskPrompt(rectangle(70, 40, 80, 50), 20)
    alone = [segmenter.segment(clip, Prompts(masks=(one,)), silent) for one in (early, late)]
    together = segmenter.segment(clip, Prompts(masks=(late, early)), silent)
    assert np.array_equal(together, alone[0] | alone[1])
    assert alone[1][:20].any(axis=(1, 2)).all()
    assert not np.array_equal(together[3], alone[0][3])


def test_each_object_is_sent_its_own_prompts(
    models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = SamSegmenter(str(models["sam2"]))
    spy = Spy(segmenter, monkeypatch)
    mask = rectangle(2, 50, 8, 58)
    prompts = Prompts(
        boxes=(BoxPrompt(Box(10, 10, 30, 30)),),
        points=(
            PointPrompt(31, 20),  # within the box's slack
            PointPrompt(70, 20),
            PointPrompt(75, 25),
            PointPrompt(4, 54),  # on the mask: says nothing new
            PointPrompt(36, 20, positive=False),  # nearest to the box
            PointPrompt(80, 40, positive=False),  # nearest to the loose points
        ),
        masks=(MaskPrompt(mask),),
    )
    segmenter.segment(noise(2), prompts, silent)
    (_, first, given), (_, second, box), (_, third, points) = spy.prompts
    assert (first, second, third) == (1, 2, 3)
    assert list(given) == ["input_masks"] and np.array_equal(given["input_masks"], mask)
    assert box == {
        "input_boxes": [[[10.0, 10.0, 30.0, 30.0]]],
        "input_points": [[[[31.0, 20.0], [36.0, 20.0]]]],
        "input_labels": [[[1, 0]]],
    }
    assert points == {
        "input_points": [[[[70.0, 20.0], [75.0, 25.0], [80.0, 40.0]]]],
        "input_labels": [[[1, 1, 0]]],
    }


def test_a_second_prompt_that_meets_an_object_corrects_it(
    models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, segmenter = noise(20), SamSegmenter(str(models["sam2"]))
    first = MaskPrompt(rectangle(10, 10, 40, 40), 4)
    alone = segmenter.segment(clip, Prompts(masks=(first,)), silent)
    better = alone[12].copy()
    better[:8] = False
    spy = Spy(segmenter, monkeypatch)
    found = segmenter.segment(clip, Prompts(masks=(first, MaskPrompt(better, 12))), silent)
    assert [(frame, number) for frame, number, _ in spy.prompts] == [(4, 1), (12, 2), (12, 1)]
    assert np.array_equal(found[4], first.mask) and np.array_equal(found[12], better)
    outputs = spy.sessions[-1].output_dict_per_obj[0]["cond_frame_outputs"]
    assert sorted(outputs) == [4, 12]  # both are remembered, wherever the object is followed
    assert spy.frames[-4:] == [(3, True), (2, True), (1, True), (0, True)]
    for t in (8, 11, 13, 19):
        assert not np.array_equal(found[t], alone[t])


def test_points_on_another_frame_go_to_the_object_they_lie_on(
    models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, segmenter = noise(12), SamSegmenter(str(models["sam2"]))
    first = MaskPrompt(rectangle(10, 10, 40, 40), 0)
    there = segmenter.segment(clip, Prompts(masks=(first,)), silent)[8]
    y, x = np.argwhere(there)[0].tolist()
    v, u = np.argwhere(~there)[-1].tolist()
    spy = Spy(segmenter, monkeypatch)
    points = (PointPrompt(x, y, 8), PointPrompt(u, v, 8, positive=False))
    segmenter.segment(clip, Prompts(masks=(first,), points=points), silent)
    assert [(frame, number) for frame, number, _ in spy.prompts] == [(0, 1), (8, 1)]
    assert spy.prompts[1][2]["input_labels"] == [[[1, 0]]]
    spy.prompts.clear()
    segmenter.segment(clip, Prompts(masks=(first,), points=points[1:]), silent)
    assert [(frame, number) for frame, number, _ in spy.prompts] == [(0, 1), (8, 1)]
    assert spy.prompts[1][2] == {"input_points": [[[[float(u), float(v)]]]], "input_labels": [[[0]]]}


def test_background_points_before_all_else_are_used_on_the_way_back(
    models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, segmenter = noise(10), SamSegmenter(str(models["sam2"]))
    mask = MaskPrompt(rectangle(10, 10, 40, 40), 6)
    alone = segmenter.segment(clip, Prompts(masks=(mask,)), silent)
    spy = Spy(segmenter, monkeypatch)
    prompts = Prompts(masks=(mask,), points=(PointPrompt(60, 20, 3, positive=False),))
    found = segmenter.segment(clip, prompts, silent)
    assert [(frame, number) for frame, number, _ in spy.prompts] == [(6, 1), (3, 1)]
    assert np.array_equal(found[4:], alone[4:]) and not np.array_equal(found[:4], alone[:4])


def test_a_clip_of_one_frame_and_numbers_of_half_the_width(models: dict[str, Path]) -> None:
    import torch

    prompts = Prompts(boxes=(BoxPrompt(Box(10, 10, 40, 40)),))
    for kind in KINDS:
        segmenter = SamSegmenter(str(models[kind]))
        assert segmenter.segment(noise(1), prompts, silent).shape == (1, HEIGHT, WIDTH)
        exact = segmenter.segment(noise(5), prompts, silent)
        segmenter._ready().model.to(torch.bfloat16)  # as on a card
        masks = (MaskPrompt(rectangle(60, 5, 80, 20), 3),)
        assert segmenter.segment(noise(5), Prompts(boxes=prompts.boxes, masks=masks), silent).any()
        rough = segmenter.segment(noise(5), prompts, silent)
        assert (exact == rough).mean() > 0.8


def test_prompts_that_lead_to_nothing_are_told(models: dict[str, Path]) -> None:
    segmenter = SamSegmenter(str(models["sam2"]))
    with pytest.raises(InputError, match="only background points"):
        segmenter.segment(noise(2), Prompts(points=(PointPrompt(1, 1, positive=False),)), silent)
    with pytest.raises(InputError, match="the mask on frame 1"):
        segmenter.segment(noise(2), Prompts(masks=(MaskPrompt(rectangle(0, 0, 0, 0), 1),)), silent)
    segmenter._ready().model.mask_decoder.pred_obj_score_head.proj_out.bias.data.fill_(-10.0)
    with pytest.raises(InputError, match="the box 1,2,30,40 on frame 0"):
        segmenter.segment(noise(2), Prompts(boxes=(BoxPrompt(Box(1, 2, 30, 40)),)), silent)
    with pytest.raises(InputError, match="the points on frame 1"):
        segmenter.segment(noise(2), Prompts(points=(PointPrompt(3, 4, 1),)), silent)


def test_a_card_that_is_too_small_gives_way_to_the_processor(
    models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    load, asked, told = sam.load_model, [], []

    def full(kind: Any, folder: Path, *, device: str, dtype: Any) -> Any:
        asked.append((device, dtype))
        if device == "cuda":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return load(kind, folder, device=device, dtype=dtype)

    monkeypatch.setattr(sam, "best_device", lambda wanted: "cuda" if wanted == "auto" else wanted)
    monkeypatch.setattr(sam, "load_model", full)
    prompts = Prompts(boxes=(BoxPrompt(Box(10, 10, 40, 40)),))
    segmenter = SamSegmenter(str(models["sam2"]), warn=told.append)
    assert segmenter.segment(noise(3), prompts, silent).any()
    assert asked == [("cuda", torch.bfloat16), ("cpu", torch.float32)]
    assert len(told) == 1 and "memory" in told[0] and "\n" not in told[0]

    def never(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("none left")

    monkeypatch.setattr(sam, "load_model", never)
    with pytest.raises(OutOfMemory, match="none left"):
        SamSegmenter(str(models["sam2"]), device="cpu").segment(noise(3), prompts, silent)


def test_processors_may_lie_in_files_of_their_own(models: dict[str, Path], tmp_path: Path) -> None:
    """As what was put on the hub in 2025 has them."""
    prompts = Prompts(boxes=(BoxPrompt(Box(10, 10, 40, 40)),))
    for kind in KINDS:
        folder = tmp_path / kind
        shutil.copytree(models[kind], folder)
        told = json.loads((folder / "processor_config.json").read_text())
        (folder / "preprocessor_config.json").write_text(json.dumps(told.pop("image_processor")))
        (folder / "video_preprocessor_config.json").write_text(json.dumps(told.pop("video_processor")))
        (folder / "processor_config.json").write_text(json.dumps(told))
        found = SamSegmenter(str(folder)).segment(noise(2), prompts, silent)
        assert np.array_equal(found, SamSegmenter(str(models[kind])).segment(noise(2), prompts, silent))


def refused(model: Path | str, error: type[Exception] = WeightsError, **options: Any) -> str:
    prompts = Prompts(boxes=(BoxPrompt(Box(10, 10, 40, 40)),))
    with pytest.raises(error) as raised:
        SamSegmenter(str(model), **options).segment(noise(2), prompts, silent)
    line = str(raised.value)
    assert "\n" not in line
    return line


def test_weights_that_cannot_be_used_are_told_in_one_line(models: dict[str, Path], tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    assert "no such file" in refused(tmp_path)
    assert "must be a folder" in refused(tmp_path / "nothing", InputError)
    folder = tmp_path / "copy"
    shutil.copytree(models["sam2"], folder)
    config, file = folder / "config.json", folder / "model.safetensors"
    own = config.read_text()
    config.write_text(json.dumps({"model_type": "bert"}))
    assert "kind bert" in refused(folder) and "sam2_video, sam2, sam3_video" in refused(folder)
    config.write_text("{}")
    assert "model_type" in refused(folder)
    config.write_text("<html>")
    assert "not a JSON file" in refused(folder)
    config.write_text(own)
    weights = load_file(file)
    save_file({k: v for k, v in weights.items() if "memory_attention" not in k}, file, {"format": "pt"})
    assert "misses memory_attention" in refused(folder)
    save_file(weights | {"no_memory_embedding": torch.zeros(1, 1, 3)}, file, {"format": "pt"})
    assert "has other shapes in no_memory_embedding" in refused(folder)
    file.write_bytes((models["sam2"] / file.name).read_bytes()[:-100])
    assert "half a download" in refused(folder)
    file.unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    assert "a pickle" in refused(folder)
    shutil.copy(models["sam2"] / file.name, file)
    (folder / "processor_config.json").unlink()
    assert "processor" in refused(folder)
    assert "must be auto or one that is here" in refused(models["sam2"], InputError, device="tpu")


def test_weights_that_are_not_here_name_the_command_that_fetches_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    for kind, name in (
        (SegmenterName.SAM2, "facebook/sam2.1-hiera-base-plus"),
        (SegmenterName.SAM3, "facebook/sam3"),
    ):
        assert f"aftermath models download {name}" in refused("", offline=True, kind=kind)
