"""Where a model lies and in which type: what is chosen, how little it changes, and what happens when it is full."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the extra void is not installed")

from safetensors.torch import save_file  # noqa: E402
from tiny import CASES, golden, pipeline, save_tiny_model  # noqa: E402

from aftermath.config import Memory, Quantize  # noqa: E402
from aftermath.errors import InputError, OutOfMemory  # noqa: E402
from aftermath.render.void.memory import Placement, choose, on_less, place, shrink  # noqa: E402
from aftermath.render.void.text import prompt_embeddings  # noqa: E402

PUBLISHED, PICTURE = 5_570_000_000, 384 * 672
CPU, CARD = torch.device("cpu"), torch.device("cuda")
GB = 10**9


@pytest.mark.parametrize(
    ("card_gb", "quantize", "mode"),
    [
        (80, Quantize.NONE, Memory.FULL),
        (24, Quantize.NONE, Memory.FULL),
        (16, Quantize.NONE, Memory.OFFLOAD),
        (12, Quantize.NONE, Memory.LOW),
        (12, Quantize.FP8, Memory.OFFLOAD),
        (8, Quantize.NONE, Memory.LOW),
    ],
)
def test_the_fastest_mode_that_fits_is_taken(card_gb: int, quantize: Quantize, mode: Memory):
    chosen = choose(Memory.AUTO, quantize, PUBLISHED, PICTURE, device=CARD, available=card_gb * GB)
    assert (chosen.mode, chosen.dtype) == (mode, torch.bfloat16)


pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_processor_computes_in_float32_and_stores_less_where_that_does_not_fit():
    roomy = choose(Memory.AUTO, Quantize.NONE, PUBLISHED, PICTURE, device=CPU, available=64 * GB)
    assert (roomy.mode, roomy.dtype, roomy.storage) == (Memory.CPU, torch.float32, None)
    small = choose(Memory.AUTO, Quantize.NONE, PUBLISHED, PICTURE, device=CPU, available=24 * GB)
    assert (small.dtype, small.storage, small.loaded) == (torch.float32, torch.bfloat16, torch.bfloat16)


def test_a_mode_that_needs_a_card_says_so():
    with pytest.raises(InputError, match="graphics card"):
        choose(Memory.LOW, Quantize.NONE, PUBLISHED, PICTURE, device=CPU)


def test_where_memory_is_not_enough_less_is_taken_and_told():
    tried, told = [], []

    def attempt(placement: Placement) -> str:
        tried.append(placement.mode)
        if placement.mode is not Memory.CPU:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return str(placement.device)

    full = Placement(Memory.FULL, CARD, torch.bfloat16)
    assert on_less(full, PUBLISHED, attempt, told.append)[0] == "cpu"
    assert tried == [Memory.FULL, Memory.OFFLOAD, Memory.LOW, Memory.CPU]
    assert [line.rpartition(" ")[2] for line in told] == ["offload", "low", "cpu"]


def test_what_falls_to_the_processor_is_stored_as_there_by_choice():
    """Not in half the numbers where there is room for all: the film would be another."""

    def attempt(placement: Placement) -> Placement:
        if placement.mode is not Memory.CPU:
            raise torch.OutOfMemoryError
        return placement

    card = Placement(Memory.LOW, CARD, torch.bfloat16)
    found, _ = on_less(card, 1000, attempt, lambda line: None)
    assert found == choose(Memory.CPU, Quantize.NONE, 1000, PICTURE, device=CPU)
    assert found.storage is None


def test_another_error_is_no_lack_of_memory():
    def attempt(placement: Placement) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        on_less(Placement(Memory.FULL, CARD, torch.bfloat16), PUBLISHED, attempt, lambda line: None)


@pytest.mark.parametrize("lack", [MemoryError(), None], ids=["python's", "torch's"])
def test_where_no_mode_is_enough_it_says_what_would_be(lack: Exception | None):
    def attempt(placement: Placement) -> None:
        if lack:
            raise lack
        torch.empty(2**62, dtype=torch.uint8)  # no machine has so much: a RuntimeError in torch's own words

    with pytest.raises(OutOfMemory, match="--quantize fp8"):
        on_less(Placement(Memory.CPU, CPU, torch.float32), PUBLISHED, attempt, lambda line: None)


@pytest.mark.parametrize(("storage", "off"), [(torch.bfloat16, 0.01), (torch.float8_e4m3fn, 0.06)])
def test_weights_stored_smaller_are_computed_with_as_before(storage: torch.dtype, off: float):
    exact, small = denoised(pipeline()), pipeline()
    before = num_bytes(small.transformer.transformer_blocks)
    shrink(small.transformer, Placement(Memory.CPU, CPU, torch.float32, storage))
    assert num_bytes(small.transformer.transformer_blocks) < 0.75 * before
    assert small.transformer.dtype == torch.float32
    assert 0 < (denoised(small) - exact).norm() / exact.norm() < off


@pytest.mark.parametrize(("quantize", "off"), [(Quantize.INT8, 0.05), (Quantize.INT4, 0.3)])
def test_quantised_weights_say_nearly_the_same(quantize: Quantize, off: float):
    pytest.importorskip("bitsandbytes", reason="the extra quant is not installed")
    exact, small = denoised(pipeline()), pipeline()
    before = num_bytes(small.transformer.transformer_blocks)
    shrink(small.transformer, Placement(Memory.CPU, CPU, torch.float32, None, quantize))
    assert num_bytes(small.transformer.transformer_blocks) < 0.75 * before
    assert 0 < (denoised(small) - exact).norm() / exact.norm() < off


def test_block_by_block_gives_the_same():
    """The card is the processor here: what moves, and when, is diffusers' own."""
    exact, moved = denoised(pipeline()), pipeline()
    place(moved, Placement(Memory.LOW, CPU, torch.float32))
    assert torch.equal(denoised(moved), exact)


def test_a_prompt_is_encoded_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    model = save_tiny_model(tmp_path / "model")
    first, empty = prompt_embeddings(model, ["a red ball", ""])
    assert first.shape == empty.shape == (1, 226, 32)
    assert not torch.equal(first, empty)
    kept = sorted((tmp_path / "cache").rglob("*.safetensors"))
    assert len(kept) == 2
    for path in kept:  # what is kept is what is given: seen by exchanging the two
        path.rename(path.with_suffix(".other"))
    for path, other in zip(kept, reversed(kept), strict=True):
        other.with_suffix(".other").rename(path)
    assert torch.equal(prompt_embeddings(model, ["a red ball"])[0], empty)
    for path in kept:  # of another model, or another program
        save_file({"embeds": torch.zeros(1, 226, 8)}, path)
    assert torch.equal(prompt_embeddings(model, ["a red ball"])[0], first)
    with monkeypatch.context() as later:  # and is not encoded again because less memory is free than then
        later.setattr("aftermath.render.void.text.available_bytes", lambda _: 0)
        later.setattr("aftermath.render.void.text.load_text_encoder", lambda *_, **__: pytest.fail("encoded"))
        assert torch.equal(prompt_embeddings(model, ["a red ball"])[0], first)
    kept[0].write_bytes(b"half a file")
    kept[1].write_bytes(b"")
    assert torch.equal(prompt_embeddings(model, ["a red ball"])[0], first)


def denoised(pipe):
    """Latents after one step of a recorded case."""
    case, given = CASES["pass1_short"], golden("pass1_short")
    assert case["num_inference_steps"]
    return pipe.denoise(
        given["in.latents"],
        given["mid.mask_latents"],
        given["mid.video_latents"],
        given["in.prompt_embeds"],
        num_inference_steps=1,
    )


def num_bytes(module) -> int:
    return sum(p.numel() * p.element_size() for p in module.parameters())
