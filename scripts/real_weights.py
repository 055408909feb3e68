"""The published weights, tried once: ``python scripts/real_weights.py --samples DIR [--reference DIR]``.

Fetches the weights or takes those of ``--model``, checks hashes, keys and shapes of both passes, paints the samples
with pass 1 and then with pass 2, and prints one table in Markdown. With ``--reference``, a checkout of
Netflix/void-model, and ``--reference-python``, the Python of its environment, its own scripts paint them too, and both
are compared frame by frame at the model's size. docs/real-weights.md says what the columns mean and what to do with
the table.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aftermath.config import Memory, Quantize
from aftermath.core import Box, Level
from aftermath.core.geometry import valid_length
from aftermath.errors import AftermathError, InputError
from aftermath.hub import fetch, verify
from aftermath.media.masks import read_quadmask
from aftermath.media.video import probe, read_frames, write_rgb_video
from aftermath.models import BASE, VOID, here, pass_file
from aftermath.render.void import VoidPipeline
from aftermath.render.void.checkpoint import fetch_weights, load_pipeline, num_weights
from aftermath.render.void.frames import model_quadmask, model_video, padded_indices
from aftermath.render.void.memory import choose, free, place, shrink
from aftermath.render.void.noise import motion_of, warp_noise
from aftermath.render.void.published import PUBLISHED, PassManner
from aftermath.render.void.text import prompt_embeddings

SAMPLES = ("moving_ball", "lime", "trampoline")
WINDOW, LONGEST = 85, 197
QUADMASKS = ("quadmask_0.mp4", "trimask_quadmask.mp4")
COLUMNS = ("sample", "pass", "frames", "seconds", "peak", "kept", "inputs apart", "largest", "mean", "PSNR")
PACKAGES = ("torch", "diffusers", "transformers", "accelerate")


@dataclass(frozen=True)
class Sample:
    """What the model is fed: ``video`` (1, 3, T, H, W) in [0, 1], ``quadmask`` uint8 (1, T, H, W), padding and all."""

    video: torch.Tensor
    quadmask: torch.Tensor
    prompt: str
    num_frames: int

    def first(self, num: int) -> Sample:
        """Its first frames, of the padded clip."""
        return replace(
            self,
            video=self.video[:, :, :num].contiguous(),
            quadmask=self.quadmask[:, :num],
            num_frames=min(self.num_frames, num),
        )


@dataclass(frozen=True)
class Painted:
    """``frames`` (1, 3, T, H, W) in [0, 1]."""

    frames: torch.Tensor
    seconds: float
    peak_mb: float


@dataclass
class Log:
    """What went wrong, so that the other steps are still tried."""

    failures: list[str] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Say what is done; an error is one line, and kept."""
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            yield
        except torch.OutOfMemoryError:
            self.fail(
                name, "the card has not enough memory; close what else uses it, or take a smaller --size"
            )
        except AftermathError as error:
            self.fail(name, str(error))
        except Exception as error:  # the other steps are tried all the same, and the end is not 0
            self.fail(name, f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}")

    def fail(self, name: str, why: str) -> None:
        """Keep one line."""
        self.failures.append(f"{name}: {why}")
        print(f"FAILED {self.failures[-1]}", file=sys.stderr, flush=True)


def stage(samples: Path, name: str, work: Path) -> Path:
    """A sequence folder of the sample with the names that both sides look for."""
    source, target = samples / name, work / "data" / name
    mask = next((source / file for file in QUADMASKS if (source / file).is_file()), None)
    if mask is None or not (source / "input_video.mp4").is_file():
        raise InputError(
            str(source),
            f"it must hold input_video.mp4 and {QUADMASKS[0]}",
            "give the folder sample/ of the reference with --samples, and its folders with --names",
        )
    target.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source / "input_video.mp4", target / "input_video.mp4")
    shutil.copyfile(mask, target / QUADMASKS[0])
    shutil.copyfile(source / "prompt.json", target / "prompt.json")
    return target


def read(folder: Path, size: tuple[int, int]) -> Sample:
    """A sequence folder as the published model takes it: the whole picture."""
    clip = folder / "input_video.mp4"
    info = probe(clip)
    box = Box(0, 0, info.width, info.height)
    video = torch.stack(list(model_video((frame.rgb() for frame in read_frames(clip)), size, box)))
    num = len(video)
    masks = read_quadmask(folder / QUADMASKS[0], expect=(num, info.height, info.width))
    quadmask = torch.stack(list(model_quadmask(masks, size, box)))
    places = padded_indices(num, WINDOW, valid_length(LONGEST))
    return Sample(
        video[places].transpose(0, 1)[None].contiguous(),
        quadmask[places][None],
        json.loads((folder / "prompt.json").read_text("utf-8"))["bg"],
        min(num, LONGEST),
    )


def normal(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """Standard normal, the same on every machine."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def begun(sample: Sample, first: Painted | None, seed: int) -> torch.Tensor:
    """What a pass starts from, (1, T', 16, h, w): noise, or where pass 1 painted, noise that moves as it does."""
    _, _, num, height, width = sample.video.shape
    if first is None:
        return normal((1, (num - 1) // 4 + 1, 16, height // 8, width // 8), seed)
    pictures = ((frame * 255).byte().permute(1, 2, 0).numpy() for frame in first.frames[0, :, :num].unbind(1))
    return warp_noise(motion_of(pictures), height, width, generator=torch.Generator().manual_seed(seed))


def paint(
    pipe: VoidPipeline, one: PassManner, sample: Sample, noise: torch.Tensor, asked: argparse.Namespace
) -> Painted:
    """A pass through us."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    embeds, other = prompt_embeddings(asked.model or BASE, [sample.prompt, ""], offline=asked.offline)
    frames = pipe(
        sample.video,
        sample.quadmask,
        prompt_embeds=embeds,
        negative_prompt_embeds=other,
        num_inference_steps=asked.steps or one.steps,
        guidance_scale=one.guidance,
        mask_levels=one.levels,
        latents=noise,
        reference_noise=normal(tuple(sample.video.shape), asked.seed + 1),
    ).frames
    assert frames is not None
    return Painted(frames.float().cpu(), time.perf_counter() - start, peak_mb())


def paint_by_reference(
    asked: argparse.Namespace, folder: Path, own: Sample, one: PassManner, noise: torch.Tensor
) -> tuple[Sample, Painted]:
    """What the reference's own script read, in place of ``own``, and painted."""
    work, name = asked.out.resolve(), folder.name
    target = work / f"{name}-pass{one.number}-reference.pt"
    target.unlink(missing_ok=True)
    arguments = by_config(asked, folder) if one.number == 1 else by_options(asked, folder, noise)
    command = [asked.reference_python, str(Path(__file__).with_name("real_weights_reference.py").resolve())]
    command += [str(target), str(asked.seed), str(one.number), *arguments]
    done = subprocess.run(command, cwd=asked.reference, capture_output=True, text=True)
    if done.returncode or not target.is_file():
        log = target.with_suffix(".log")
        log.write_text(done.stdout + done.stderr)
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise RuntimeError(
            f"the reference's script ended with {done.returncode} ({last}); read all of it in {log}"
        )
    kept: dict[str, Any] = torch.load(target)
    levels = (255 - kept["mask"][:, 0].float() * 255).round().byte()
    return replace(own, video=kept["video"].float(), quadmask=levels), Painted(
        kept["frames"], kept["seconds"], kept["peak_mb"]
    )


def by_config(asked: argparse.Namespace, folder: Path) -> list[str]:
    """Arguments of the reference's pass 1."""
    base, weights = weights_of(asked, 1)
    settings = {
        "data.data_rootdir": folder.parent.resolve(),
        "data.sample_size": f"{asked.size[0]}x{asked.size[1]}",
        "experiment.run_seqs": folder.name,
        "experiment.save_path": asked.out.resolve() / "reference",
        "experiment.skip_if_exists": False,
        "video_model.model_name": base,
        "video_model.transformer_path": weights,
        "system.gpu_memory_mode": "model_cpu_offload",
    }
    said = [f"--config.{key}={value}" for key, value in settings.items()]
    return ["--config=config/quadmask_cogvideox.py", *said]


def by_options(asked: argparse.Namespace, folder: Path, noise: torch.Tensor) -> list[str]:
    """Arguments of the reference's pass 2. It takes the noise from a file, whose shape is right already, so that it is
    not resized; it knows a film of pass 1 by its name alone, and does not open it."""
    work, name = asked.out.resolve() / "reference", folder.name
    film, kept = work / f"{name}-fg=-1-pass1.mp4", work / f"{name}-fg=-1-pass1" / "noises.npy"
    kept.parent.mkdir(parents=True, exist_ok=True)
    film.touch()
    np.save(kept, noise[0].numpy())
    base, weights = weights_of(asked, 2)
    settings = {
        "video_name": name,
        "data_rootdir": folder.parent.resolve(),
        "pass1_dir": work,
        "output_dir": work,
        "warped_noise_cache_dir": work,
        "model_name": base,
        "model_checkpoint": weights,
        "max_video_length": WINDOW,
        "temporal_window_size": WINDOW,
        "height": asked.size[0],
        "width": asked.size[1],
    }
    if asked.steps:
        settings["num_inference_steps"] = asked.steps
    return ["--skip_noise_generation", *(f"--{key}={value}" for key, value in settings.items())]


def weights_of(asked: argparse.Namespace, pass_number: int) -> tuple[Path, Path]:
    """The folder of the base model and the file of a pass, absolute."""
    base = (here(asked.model) if asked.model else None) or fetch(asked.model or BASE, offline=asked.offline)
    holder = base if asked.model else fetch(VOID, offline=asked.offline)
    return base.resolve(), (holder / pass_file(pass_number)).resolve()


def peak_mb() -> float:
    """The most memory there was: on the card, else of the process where that is known, else 0."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM")), 0.0)


def check_weights(asked: argparse.Namespace) -> list[str]:
    """Fetch what is missing; one line for each file that was verified."""
    if not asked.model:
        for name in (BASE, VOID):
            fetch(name, offline=asked.offline)
    folder = here(asked.model) if asked.model else None
    return [f"{path.name}: {told}" for path, told in verify(folder)]


def load(asked: argparse.Namespace, pass_number: int) -> VoidPipeline:
    """A pass, strictly, where it runs."""
    model = asked.model or BASE
    count = num_weights(model, pass_number, offline=asked.offline)
    placement = choose(Memory(asked.memory), Quantize.NONE, count, asked.size[0] * asked.size[1])
    pipe = load_pipeline(
        model, pass_number=pass_number, dtype=placement.loaded, text=False, offline=asked.offline
    )
    pipe.set_progress_bar_config(disable=True)
    shrink(pipe.transformer, placement)
    place(pipe, placement)
    return pipe


def psnr(a: torch.Tensor, b: torch.Tensor) -> float:
    """In dB, of values in [0, 1]; infinite where they are equal."""
    error = float((a - b).square().mean())
    return 10 * math.log10(1 / error) if error else math.inf


def kept_psnr(sample: Sample, painted: Painted) -> float:
    """How near the painting is to the clip where nothing should change."""
    keep = (sample.quadmask == int(Level.KEEP))[:, None].expand_as(sample.video)
    return psnr(sample.video[keep], painted.frames[keep])


def row(
    name: str, number: int, sample: Sample, ours: Painted, theirs: Painted | None, apart: float | None
) -> list[str]:
    """One line of the table; apart from each other, in levels of 255."""
    cells = [name, str(number), f"{sample.num_frames} ({sample.video.shape[2]})"]
    if theirs is None:
        return [*cells, f"{ours.seconds:.1f}", gb(ours), f"{kept_psnr(sample, ours):.1f} dB", "", "", "", ""]
    differences = (ours.frames - theirs.frames).abs() * 255
    return [
        *cells,
        f"{ours.seconds:.1f} / {theirs.seconds:.1f}",
        f"{gb(ours)} / {gb(theirs)}",
        f"{kept_psnr(sample, ours):.1f} / {kept_psnr(sample, theirs):.1f} dB",
        "" if apart is None else f"{apart:.2f}",
        f"{differences.max():.2f}",
        f"{differences.mean():.3f}",
        f"{psnr(ours.frames, theirs.frames):.1f} dB",
    ]


def gb(painted: Painted) -> str:
    """Peak memory."""
    return f"{painted.peak_mb / 1e3:.1f} GB"


def try_sample(
    asked: argparse.Namespace, pipe: VoidPipeline, one: PassManner, name: str, first: Painted | None, log: Log
) -> tuple[list[str], Painted] | None:
    """One sample through a pass of ours, and of the reference's where there is one: its row and what we painted; None
    where ours failed. ``first``: what pass 1 painted."""
    found, theirs, apart = None, None, None
    with log.step(f"{name}, read"):
        folder = stage(asked.samples, name, asked.out)
        own = read(folder, asked.size)
        if one.number == 2:
            own = own.first(WINDOW)  # the reference's second pass takes no more
        fed, noise = own, begun(own, first, asked.seed)
        if asked.reference:
            with log.step(f"{name}, pass {one.number}, by the reference"):
                fed, theirs = paint_by_reference(asked, folder, own, one, noise)
                apart = float((fed.video - own.video).abs().mean() * 255)
        with log.step(f"{name}, pass {one.number}, by aftermath"):
            ours = paint(pipe, one, fed, noise, asked)
            found = row(name, one.number, fed, ours, theirs, apart), ours
            for side, painted in (("aftermath", ours), ("reference", theirs)):
                if painted is not None:
                    save(asked.out / f"{name}-pass{one.number}-{side}.mp4", painted, fed.num_frames, folder)
    return found


def save(target: Path, painted: Painted, num_frames: int, folder: Path) -> None:
    """A film to look at, without the padding."""
    frames = (painted.frames[0, :, :num_frames] * 255).round().byte().permute(1, 2, 3, 0).numpy()
    write_rgb_video(target, frames, probe(folder / "input_video.mp4").frame_rate)


def table(asked: argparse.Namespace, rows: list[list[str]], checked: list[str], log: Log) -> str:
    """What to send back, in Markdown."""
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    steps = " and ".join(str(asked.steps or one.steps) for one in PUBLISHED.passes[: asked.passes])
    ran = f"{asked.size[0]}x{asked.size[1]}, {steps} steps, seed {asked.seed}"
    lines = [
        f"**Real weights, {date.today().isoformat()}**: {card}, {platform.machine()}, Python "
        f"{platform.python_version()}, aftermath {version('aftermath')}, {versions}; {ran}.",
        "",
        *(f"| {' | '.join(line)} |" for line in (COLUMNS, ["---"] * len(COLUMNS), *rows)),
        "",
        *(f"- {line}" for line in checked),
        *(f"- FAILED {line}" for line in log.failures),
    ]
    return "\n".join(lines)


def size_of(text: str) -> tuple[int, int]:
    """``HEIGHTxWIDTH`` in multiples of 16."""
    height, _, width = text.partition("x")
    if not (height.isdigit() and width.isdigit()) or int(height) % 16 or int(width) % 16:
        raise argparse.ArgumentTypeError(
            f"{text}: it must be HEIGHTxWIDTH in multiples of 16, such as 384x672"
        )
    return int(height), int(width)


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--samples", type=Path, required=True, metavar="DIR", help="sample/ of the reference")
    parser.add_argument("--names", default=",".join(SAMPLES), help="folders in it, with commas between")
    parser.add_argument(
        "--model", default="", help="a folder with all weights; the published ones by default"
    )
    parser.add_argument("--reference", type=Path, metavar="DIR", help="a checkout of Netflix/void-model")
    parser.add_argument(
        "--reference-python", default="", metavar="FILE", help="the Python of its environment"
    )
    parser.add_argument(
        "--size", type=size_of, default=(384, 672), metavar="HxW", help="the model's: 384x672"
    )
    parser.add_argument("--memory", choices=list(Memory), default=Memory.AUTO, help="as aftermath remove's")
    parser.add_argument("--passes", type=int, choices=(1, 2), default=2, help="1 leaves the second one out")
    parser.add_argument("--steps", type=int, default=0, help="of each pass; 30 and 50 as published")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--offline", action="store_true", help="use the network for nothing")
    parser.add_argument(
        "--out", type=Path, default=Path("out.real-weights"), metavar="DIR", help="films and logs"
    )
    asked = parser.parse_args()
    if asked.reference and not asked.reference_python:
        parser.error("--reference needs --reference-python, such as DIR/.venv/bin/python")
    if asked.reference and asked.steps:
        parser.error(f"--steps {asked.steps}: the reference's first script always takes 30; leave it out")
    return asked


def main() -> int:
    """Check, paint, compare, print; 0 where all of it went well."""
    asked, log = parsed(), Log()
    asked.out.mkdir(parents=True, exist_ok=True)
    checked: list[str] = []
    rows: list[list[str]] = []
    with log.step("weights"):
        checked = check_weights(asked)
        for number in range(1, asked.passes + 1):  # keys of both by their headers, before an hour of painting
            fetch_weights(asked.model or BASE, number, offline=asked.offline)
    painted: dict[str, Painted] = {}
    for one in PUBLISHED.passes[: asked.passes]:
        pipe = None
        free()  # one pass is in memory at a time
        with log.step(f"keys and shapes of pass {one.number}"):
            pipe = load(asked, one.number)
        names = asked.names.split(",") if one.number == 1 else list(painted)
        for name in names if pipe is not None else []:
            found = try_sample(asked, pipe, one, name, painted.get(name), log)
            if found is not None:
                rows.append(found[0])
                painted[name] = found[1]
    told = table(asked, rows, checked, log)
    (asked.out / "report.md").write_text(told + "\n", encoding="utf-8")
    print(told)
    return 1 if log.failures else 0


if __name__ == "__main__":
    sys.exit(main())
