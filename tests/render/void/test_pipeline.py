"""`VoidPipeline` as those who know diffusers call it: what it takes, refuses, and lets be changed."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the extra void is not installed")

from accelerate import cpu_offload  # noqa: E402
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler  # noqa: E402
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler  # noqa: E402
from tiny import pipeline, save_tiny_model, text_encoder, tokenizer, vae  # noqa: E402

from aftermath.errors import InputError, WeightsError  # noqa: E402
from aftermath.render.void import VoidPipeline, VoidPipelineOutput  # noqa: E402
from aftermath.render.void.decode import decode  # noqa: E402
from aftermath.render.void.encode import encode  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

WIDTH = 32


def clip(num: int = 5, batch: int = 1) -> torch.Tensor:
    return torch.rand((batch, 3, num, 32, 48), generator=torch.Generator().manual_seed(num))


def mask(num: int = 5, batch: int = 1) -> torch.Tensor:
    levels = torch.full((batch, num, 32, 48), 255, dtype=torch.uint8)
    levels[..., 8:20, 8:20] = 0
    return levels


def call(pipe: VoidPipeline | None = None, **changes: Any) -> VoidPipelineOutput:
    given: dict[str, Any] = {
        "video": clip(),
        "quadmask": mask(),
        "prompt_embeds": torch.randn((1, 226, WIDTH), generator=torch.Generator().manual_seed(3)),
        "num_inference_steps": 2,
        "generator": torch.Generator().manual_seed(1),
        "output_type": "latent",
    }
    return (pipe or pipeline())(**given | changes)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"video": clip(6)}, "8k[+]5"),
        ({"video": clip()[..., :40]}, "multiples of 16"),
        ({"video": clip().numpy()}, "video of type ndarray"),
        ({"video": clip() * 2}, "divide bytes by 255"),
        ({"prompt_embeds": [1.0]}, "prompt_embeds of type list"),
        ({"latents": [1.0]}, "latents of type list"),
        ({"prompt_embeds": None, "prompt": 3}, "must be a text"),
        ({"prompt_embeds": None, "prompt": []}, "0 prompts for 1"),
        ({"guidance_scale": "6"}, "guidance_scale 6"),
        ({"video": (clip() * 255).byte()}, "uint8: it must be float"),
        ({"video": clip()[:0], "quadmask": mask()[:0]}, "batch"),
        ({"quadmask": mask() // 3}, "quadmask with the values"),
        ({"quadmask": mask(13)}, "its shape must be"),
        ({"generator": [torch.Generator()] * 2}, "2 generators for 1"),
        ({"generator": []}, "0 generators for 1"),
        ({"generator": 7}, "torch.Generator"),
        ({"output_type": "pil"}, "pt or latent"),
        ({"guidance_scale": float("nan")}, "guidance_scale nan"),
        ({"num_inference_steps": 0}, "0 steps"),
        ({"num_inference_steps": 2.5}, "2.5 steps"),
        ({"num_inference_steps": 1001}, "from 1 to 1000"),
        ({"window_frames": 3}, "at least 5 frames"),
        ({"overlap_frames": -8}, "overlaps the next by -8"),
        ({"video": clip(21), "quadmask": mask(21), "window_frames": 13, "overlap_frames": 16}, "longer than"),
        (
            {"video": clip(21), "quadmask": mask(21), "window_frames": 13, "overlap_frames": 9},
            "multiple of 8",
        ),
        ({"latents": torch.full((1, 2, 16, 4, 6), float("nan"))}, "latents with NaN"),
        ({"latents": torch.zeros((1, 2, 16, 4, 5))}, "latents of shape"),
        ({"reference_noise": clip() / 0}, "reference_noise with NaN"),
        ({"prompt_embeds": torch.zeros((1, 226, 8))}, "prompt_embeds of shape"),
        ({"prompt_embeds": torch.full((1, 226, WIDTH), float("inf"))}, "prompt_embeds with NaN"),
        ({"prompt_embeds": torch.zeros((2, 226, WIDTH))}, "2 prompts for 1"),
        ({"prompt": "a table"}, "one of the two"),
        ({"guidance_scale": 6.0, "negative_prompt_embeds": torch.zeros((1, 9, WIDTH))}, "as many"),
        ({"mask_levels": "five"}, "two, three, four"),
    ],
)
def test_what_cannot_be_is_one_line_before_anything_is_computed(changes: dict[str, Any], told: str):
    pipe = pipeline()
    pipe.vae.encoder.register_forward_pre_hook(lambda *_: pytest.fail("encoded"))
    with pytest.raises(InputError, match=told) as refused:
        call(pipe, **changes)
    assert len(str(refused.value).splitlines()) == 1


def test_the_base_model_without_voids_weights_is_told():
    pipe = pipeline()
    pipe.transformer.register_to_config(in_channels=33)
    with pytest.raises(WeightsError, match="reads 33 channels"):
        call(pipe)


def test_a_vae_that_decodes_to_no_numbers_is_told():
    pipe = pipeline()
    with torch.no_grad():
        pipe.vae.decoder.conv_out.conv.weight.view(-1)[0] = float("nan")
    assert call(pipe).latents.isfinite().all()
    with pytest.raises(WeightsError, match="the VAE gives numbers that are none"):
        call(pipe, output_type="pt")


def test_a_chunk_may_be_asked_for_twice():
    """By whoever calls the VAE's own modules: what they remember is theirs, after ours went through it too."""
    model, latents = vae(), torch.randn((1, 16, 4, 4, 6), generator=torch.Generator().manual_seed(0))
    decode(model, latents.transpose(1, 2))
    with torch.no_grad():
        _, cache = model.decoder(latents[:, :, :2])
        first, second = (model.decoder(latents[:, :, 2:], conv_cache=cache)[0] for _ in range(2))
    assert first.equal(second)


def test_what_is_compiled_is_diffusers_own():
    model, latents = vae(), torch.randn((1, 16, 2, 4, 6), generator=torch.Generator().manual_seed(0))
    decode(model, latents.transpose(1, 2))
    with torch.no_grad():
        expected = model.decoder(latents)[0]
        found = torch.compile(model.decoder, backend="aot_eager")(latents)[0]
    assert (found - expected).abs().max() < 1e-5


def test_frames_are_not_rounded_to_the_models_type():
    pipe = pipeline()
    torch.nn.Module.to(pipe.vae, torch.bfloat16)
    frames = call(pipe, output_type="pt").frames
    assert frames is not None and frames.dtype is torch.float32
    assert not frames.requires_grad and not pipe.decoded(call().latents).requires_grad


def test_windows_need_not_overlap():
    found = call(video=clip(21), quadmask=mask(21), window_frames=13, overlap_frames=0).latents
    assert found.isfinite().all()
    other = call(video=clip(21), quadmask=mask(21), window_frames=13, overlap_frames=8).latents
    assert not torch.allclose(found, other)


def test_an_empty_prompt_is_warned_of_where_it_was_given():
    pipe = pipeline()
    pipe.register_modules(tokenizer=tokenizer(), text_encoder=text_encoder())
    for prompt, times in ((None, 1), (" ", 1), (["a table"], 0)):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            call(pipe, prompt=prompt, prompt_embeds=None)
        assert [str(one.message).startswith("an empty prompt") for one in told] == [True] * times
        # the line of the caller: one that calls as a user does
        assert all(one.filename == __file__ for one in told)
    with pytest.warns(UserWarning, match="longer than 226 tokens"):
        call(pipe, prompt="a" * 300, prompt_embeds=None)


def test_a_callback_changes_latents_and_ends_the_run():
    seen: list[int] = []

    def halved(pipe: VoidPipeline, step: int, timestep: int, tensors: dict[str, Any]) -> dict[str, Any]:
        seen.append(step)
        assert pipe.num_timesteps == 4
        assert pipe.guidance_scale == 1.0
        pipe.interrupt = step == 1
        return {"latents": tensors["latents"].double() / 2}

    pipe = pipeline()
    found = call(pipe, num_inference_steps=4, callback_on_step_end=halved).latents
    assert seen == [0, 1]
    assert found.dtype == pipe.transformer.dtype
    assert not torch.allclose(found, call(num_inference_steps=4).latents)
    assert call(pipe).latents.equal(call().latents)  # and the next call is whole again


@pytest.mark.parametrize("kind", [EulerDiscreteScheduler, DDPMScheduler])
def test_another_solver_is_scaled_and_seeded(kind: Any):
    """One that scales what the model reads, and one that draws noise in its steps."""
    pipe = pipeline()
    config = {"prediction_type": "v_prediction", "beta_schedule": "scaled_linear"}
    pipe.register_modules(scheduler=kind.from_config(config))
    found = [call(pipe, generator=torch.Generator().manual_seed(seed)).latents for seed in (1, 1, 2)]
    assert found[0].equal(found[1])
    assert not found[0].equal(found[2])
    if kind is EulerDiscreteScheduler:
        assert pipe.scheduler.is_scale_input_called


def test_weights_that_are_brought_layer_by_layer_give_the_same():
    """accelerate's own offloading, which leaves the weights on "meta" between."""
    whole, brought = vae(), vae()
    cpu_offload(brought, torch.device("cpu"))
    assert brought.device.type == "meta"
    pixels = clip(13) * 2 - 1
    latents = encode(whole, pixels)
    assert (encode(brought, pixels) - latents).abs().max() < 1e-5
    assert (decode(brought, latents) - decode(whole, latents)).abs().max() < 1e-5


def test_a_pickle_is_not_loaded(tmp_path: Path):
    pipeline().save_pretrained(tmp_path, safe_serialization=False)
    with pytest.raises(OSError, match="safetensors"):
        VoidPipeline.from_pretrained(tmp_path)


def test_what_the_page_says_runs(tmp_path: Path):
    """docs/pipeline.md, on a tiny model and a processor."""
    page = (Path(__file__).parents[3] / "docs" / "pipeline.md").read_text("utf-8")
    code = "\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))
    save_tiny_model(tmp_path)
    for theirs, ours in (
        ("= load_pipeline(", f"= load_pipeline({str(tmp_path)!r}, offline=True, "),
        ("enable_model_cpu_offload()", 'enable_model_cpu_offload(device="cpu")'),
        ("num_inference_steps=50", "num_inference_steps=2"),
        ('    "an empty table",\n', '    "an empty table",\n    num_inference_steps=2,\n'),
    ):
        assert theirs in code
        code = code.replace(theirs, ours)
    names: dict[str, Any] = {"video": clip(), "quadmask": mask()}
    exec(code, names)
    assert names["refined"].frames.shape == clip().shape
    assert names["noise"].shape == (1, 2, 16, 4, 6)
