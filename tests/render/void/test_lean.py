"""diffusers' VAE in less memory gives what it gave before."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch", reason="the extra void is not installed")

from peft import LoraConfig, inject_adapter_in_model  # noqa: E402
from tiny import golden, vae  # noqa: E402

from aftermath.render.void import lean  # noqa: E402
from aftermath.render.void.decode import decode, decoded_chunks  # noqa: E402
from aftermath.render.void.encode import chunk_lengths, encode, encoded_chunks  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("slab_bytes", [1, 3_000, 10**9], ids=["two frames", "few frames", "all frames"])
@pytest.mark.parametrize("length", [1, 5, 8, 13])
def test_diffusers_own_encoding_and_decoding_stay_as_they_were(
    monkeypatch: pytest.MonkeyPatch, length: int, slab_bytes: int
):
    """Its chunks are other ones than ours: an odd number of frames, whose first is not doubled."""
    monkeypatch.setattr(lean, "_SLAB_BYTES", slab_bytes)
    usual, other = vae(), vae()
    lean.lean(other)
    pixels, latents = golden("vae_io")["encode.x"][:, :, :length], golden("vae_io")["decode.z"]
    with torch.no_grad():
        for model_input, name in ((pixels, "encode"), (latents[:, :, : min(5, length)], "decode")):
            before, after = getattr(usual, name)(model_input)[0], getattr(other, name)(model_input)[0]
            before, after = (before, after) if name == "decode" else (before.mode(), after.mode())
            assert before.shape == after.shape
            assert (before - after).abs().max() < 1e-5


def test_chunks_remember_the_ones_before(monkeypatch: pytest.MonkeyPatch):
    """Frames in slabs of two, over three chunks each way, are those of whole chunks."""
    pixels = golden("vae_io")["encode.x"].repeat(1, 1, 2, 1, 1)[:, :, :29]
    assert len(chunk_lengths(29)) == 3
    latents = encode(vae(), pixels)
    frames = decode(vae(), latents)
    monkeypatch.setattr(lean, "_SLAB_BYTES", 1)
    assert (encode(vae(), pixels) - latents).abs().max() < 1e-5
    assert (decode(vae(), latents) - frames).abs().max() < 1e-5


def test_a_gradient_flows_as_before():
    usual, other = vae(), vae()
    lean.lean(other)
    latents = golden("vae_io")["decode.z"].transpose(1, 2)[:, :3]
    for model in (usual, other):
        torch.cat(list(decoded_chunks(model, latents)), 2).square().mean().backward()
    for (name, one), two in zip(usual.decoder.named_parameters(), other.decoder.parameters(), strict=True):
        assert one.grad is not None and two.grad is not None, name
        assert torch.allclose(one.grad, two.grad, atol=1e-7), name


def test_a_block_that_adds_nothing_is_left_out_unless_it_was_added_to():
    model = vae()
    block = model.encoder.down_blocks[0].resnets[0]
    torch.nn.init.zeros_(block.conv2.conv.weight)
    torch.nn.init.zeros_(block.conv2.conv.bias)
    plain = copy.deepcopy(model)
    pixels = golden("vae_io")["encode.x"][:, :, :5]
    seen: list[int] = []
    block.conv1.conv.register_forward_hook(lambda *_: seen.append(1))
    latents = next(encoded_chunks(model, [pixels]))
    assert not seen
    with torch.no_grad():
        expected = plain.encode(pixels)[0].mode().transpose(1, 2) * 0.7
    assert (latents - expected).abs().max() < 1e-5
    added = inject_adapter_in_model(
        LoraConfig(r=2, target_modules=[r"down_blocks.0.resnets.0.conv2.conv"], init_lora_weights=False),
        plain,
    )
    assert (next(encoded_chunks(added, [pixels])) - expected).abs().max() > 1e-4
