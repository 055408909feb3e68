"""VOID beside the reference, and what it takes: ``python benchmarks/void.py [--reference DIR] [--device cuda]``.

Random weights, so that nothing is downloaded and nothing is said about pictures: three sizes, *tiny*, *mid* (35 M
and 7 M parameters, 192x336) and *full* (the published shape: 42 layers, 48 heads of 64, 384x672, 30 steps). Without
a GPU tiny and mid are measured, with one full. Every figure is a process of its own (`void_call.py`): one
whole call of pass 1 from pixels to pixels, without the text encoder.

- Beside the reference (``--reference``, a checkout of it): both get the same weights, clip, quadmask and noise, and
  take turns; medians. *Whole call* is time that passed, *processor* is processor time, which others' work on the
  machine hardly swells; *encoder*, *transformer* and *decoder* are inside those modules (of processor time, on a GPU of
  time that passed). *Before* is what the process, or the GPU, holds before the call, *peak* the most it
  ever held. *Difference* is the largest between the two results' pixels, which lie in [0, 1].
  ``--reference-python`` is its own environment's; by default ours runs it, so that both stand on the same libraries.
- Memory modes: the same for each mode (``--memory``, and after a plus ``--quantize`` and ``--fast``) and length. *Step*
  is one forward of the transformer over one window; *rate* the operations of that forward (see `operations`) by its
  time, and *of the card* that by what multiplying two large matrices of the same type reaches on the same device.
  *Difference* is to the first mode's pixels.
- Checks: bfloat16 against float32 on a small clip; seams: the change between frames where a window begins or ends, by
  the median of the changes between frames at other latents (1: nothing is to be seen there).

Everything is printed, kept as JSON with ``--json``, and written into ``docs/benchmarks.md`` between its markers.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from report import Report, Rows, machine, write_page
from rich.console import Console
from void_call import TOKENS, Call, Measured, now

from aftermath.render.void.windows import windows

MODES = {
    "cpu": ("cpu", "cpu+fp8", "cpu+fast"),
    "cuda": ("full", "offload", "low", "full+fp8", "low+fp8", "full+fast", "offload+fast"),
}
OVERLAP = 16
CHECK_STEPS = 10
BLOCKS = {"down_block_types": ("CogVideoXDownBlock3D",) * 4, "up_block_types": ("CogVideoXUpBlock3D",) * 4}


@dataclass(frozen=True)
class Size:
    """A model's shape and the clips it paints; ``clips`` are lengths in frames."""

    heads: int
    head: int
    layers: int
    text: int
    time: int
    vae: dict[str, Any]
    height: int
    width: int
    clips: tuple[int, ...]
    window: int
    steps: int
    times: int = 1

    def call(self, **changes: Any) -> Call:
        """Pass 1 over the first clip."""
        transformer = {
            "num_attention_heads": self.heads,
            "attention_head_dim": self.head,
            "in_channels": 48,
            "out_channels": 16,
            "time_embed_dim": self.time,
            "text_embed_dim": self.text,
            "num_layers": self.layers,
            "sample_width": 170,
            "sample_height": 96,
            "sample_frames": 81,
            "patch_size": 2,
            "patch_size_t": 2,
            "patch_bias": False,
            "max_text_seq_length": TOKENS,
            "use_rotary_positional_embeddings": True,
        }
        vae = {"latent_channels": 16, "scaling_factor": 0.7, **BLOCKS, **self.vae}
        common: dict[str, Any] = {
            "frames": self.clips[0],
            "height": self.height,
            "width": self.width,
            "times": self.times,
        }
        return Call(transformer, vae, window=self.window, steps=self.steps, **common | changes)


SMALL_VAE = {"block_out_channels": (8, 16, 16, 16), "layers_per_block": 1, "norm_num_groups": 4}
MID_VAE = {"block_out_channels": (32, 64, 64, 96), "layers_per_block": 2, "norm_num_groups": 16}
FULL_VAE = {"block_out_channels": (128, 256, 256, 512), "layers_per_block": 3, "norm_num_groups": 32}
SIZES = {
    "tiny": Size(2, 16, 2, 32, 24, SMALL_VAE, 32, 48, (21, 37), 21, 4, times=9),
    "mid": Size(8, 64, 7, 512, 256, MID_VAE, 192, 336, (13,), 21, 6),
    "full": Size(48, 64, 42, 4096, 512, FULL_VAE, 384, 672, (85, 197), 85, 30),
}


@dataclass(frozen=True)
class Options:
    """What was asked for."""

    device: str
    dtype: str
    threads: int
    rounds: int
    reference: str
    reference_python: str
    work: Path

    def run(self, call: Call, save: str = "") -> Measured:
        """One process. Raises `RuntimeError` with the end of what it said where it fails."""
        whose = "the reference" if call.reference else f"aftermath, {call.mode}"
        what = f"{call.frames} frames of {call.width}x{call.height}, {call.dtype}"
        print(f"{whose}: {what} ...", file=sys.stderr, flush=True)
        saved = str(self.work / f"{save}.pt") if save else ""
        call = replace(call, save=saved, threads=self.threads)
        asked, found = self.work / "call.json", self.work / "measured.json"
        asked.write_text(json.dumps(asdict(call)))
        python = self.reference_python if call.reference else sys.executable
        command = [python, str(Path(__file__).with_name("void_call.py")), str(asked), str(found)]
        process = subprocess.run(command, capture_output=True, text=True)
        if process.returncode:
            raise RuntimeError("\n".join(process.stderr.strip().splitlines()[-5:]))
        return Measured(**json.loads(found.read_text()))

    def frames(self, save: str) -> torch.Tensor:
        """What a call saved: (1, 3, T, H, W) in [0, 1]."""
        return torch.load(self.work / f"{save}.pt", mmap=True)


def difference(a: torch.Tensor, b: torch.Tensor) -> tuple[float, float]:
    """The largest difference, and the mean one."""
    apart = (a - b).abs()
    return float(apart.max()), float(apart.mean())


def beside(size: Size, frames: int, options: Options) -> dict[str, Any]:
    """Ours and the reference's in turns."""
    ours = size.call(frames=frames, device=options.device, dtype=options.dtype)
    sides = {"ours": ours, "reference": replace(ours, reference=options.reference)}
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    for _ in range(options.rounds):
        for side, call in sides.items():
            found[side].append(asdict(options.run(call, side)))
    most, mean = difference(options.frames("ours"), options.frames("reference"))
    return {"frames": frames, "difference": most, "mean_difference": mean, **found}


def operations(call: Call) -> float:
    """Floating-point operations of one forward over one window; a multiplication and an addition are two.

    With n tokens, text and patches together, and width d, a layer takes 8 n d^2 for query, key, value and output,
    4 n^2 d for attention (scores and their sum over values) and 16 n d^2 for the feed-forward part of width 4 d.
    Embedding and projection of v patches add 2 v d (384 + 128), those of the text 2 x 226 x d x its width. Norms,
    rotations and the modulation by time are left out: less than 1 %.
    """
    shape = call.transformer
    d = shape["num_attention_heads"] * shape["attention_head_dim"]
    latents = (min(call.frames, call.window) - 1) // 4 + 1
    patches = -(-latents // 2) * (call.height // 16) * (call.width // 16)
    n = TOKENS + patches
    layers = shape["num_layers"] * (24 * n * d**2 + 4 * n**2 * d)
    return layers + 2 * patches * d * (384 + 128) + 2 * TOKENS * d * shape["text_embed_dim"]


def matrix_rate(device: str, dtype: str, threads: int) -> float:
    """Operations a second when two large matrices are multiplied, the median of ten times."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    side = 8192 if device == "cuda" else 1024
    a, b = (torch.randn(side, side, device=device).to(getattr(torch, dtype)) for _ in range(2))
    taken = []
    for _ in range(13):  # the first three warm up
        start = now(device)
        _ = a @ b
        taken.append(now(device) - start)
    torch.set_num_threads(before)
    return 2 * side**3 / statistics.median(taken[3:])


def modes(size: Size, names: Sequence[str], options: Options) -> Iterator[dict[str, Any]]:
    """Each mode over each length, one entry each; one that fails says so and the next is tried."""
    for frames in size.clips:
        for mode in names:
            call = size.call(frames=frames, device=options.device, dtype=options.dtype, mode=mode)
            entry: dict[str, Any] = {"mode": mode, "frames": frames, "operations": operations(call)}
            try:
                entry |= asdict(options.run(call, f"{mode}-{frames}"))
                first = options.frames(f"{names[0]}-{frames}")
                entry["difference"] = difference(options.frames(f"{mode}-{frames}"), first)[0]
            except (RuntimeError, FileNotFoundError) as error:
                entry["failed"] = str(error).splitlines()[-1]
            yield entry


def precision(size: Size, options: Options) -> dict[str, float]:
    """bfloat16 against float32, 13 frames at half the size."""
    height, width = (max(side // 32 * 16, 16) for side in (size.height, size.width))
    steps = min(size.steps, CHECK_STEPS)
    small = replace(size, height=height, width=width, steps=steps, times=1).call(frames=13)
    for dtype in ("bfloat16", "float32"):
        options.run(replace(small, device=options.device, dtype=dtype), dtype)
    most, mean = difference(options.frames("bfloat16"), options.frames("float32"))
    return {"max": most, "mean": mean, "steps": steps}


def seams(size: Size, frames: torch.Tensor) -> float | None:
    """The largest change between frames at a window's border, by the median at other latents; None without borders."""
    changes = (frames[:, :, 1:] - frames[:, :, :-1]).abs().mean(dim=(0, 1, 3, 4))
    latents = len(changes) // 4 + 1
    parts = windows(latents, size.window, OVERLAP)
    borders = {place for part in parts for place in part} - {0, latents}
    at = {k: float(changes[4 * k - 4]) for k in range(1, latents)}  # latent k begins with frame 4 k - 3
    if not borders:
        return None
    return max(at[k] for k in borders) / statistics.median(v for k, v in at.items() if k not in borders)


def measured(name: str, asked: argparse.Namespace, options: Options) -> Iterator[dict[str, Any]]:
    """The figures of one size, more of them each time."""
    size = SIZES[name]
    if asked.frames:
        size = replace(size, clips=tuple(asked.frames))
    found: dict[str, Any] = {
        "size": name,
        "rate": matrix_rate(options.device, options.dtype, options.threads),
    }
    found |= {"modes": [], "beside": []}
    names = asked.modes.split(",") if asked.modes else MODES[options.device]
    for entry in modes(size, names, options):
        found["modes"].append(entry)
        yield found
    found["precision"] = precision(size, options)
    with suppress(FileNotFoundError):  # the first mode failed
        found["seams"] = seams(size, options.frames(f"{names[0]}-{size.clips[-1]}"))
    yield found
    if options.reference:
        for frames in size.clips[: None if name == "tiny" else 1]:
            found["beside"].append(beside(size, frames, options))
            yield found


def beside_rows(found: dict[str, Any]) -> Rows:
    """Two rows for each clip, and one of ratios."""
    rows: Rows = []
    for clip in found["beside"]:
        sides = {side: figures(clip[side]) for side in ("ours", "reference")}
        where = f"{found['size']}, {clip['frames']} frames"
        for side, values in sides.items():
            units = ("s",) * (len(values) - 2) + ("GB",) * 2
            rows.append([where, side, *(f"{v:.2f} {u}" for v, u in zip(values, units, strict=True)), ""])
        ratios = [f"{a / b:.2f}" if b else "" for a, b in zip(*sides.values(), strict=True)]
        rows.append([where, "ours / reference", *ratios, f"{clip['difference']:.1e}"])
    return rows


def figures(runs: list[dict[str, Any]]) -> list[float]:
    """Medians over the runs of one side. Of several calls in a process the first warms up and is left out."""

    def calls(run: dict[str, Any], what: str) -> list[float]:
        return run[what][1:] or run[what]

    median = statistics.median
    whole = [median([value for run in runs for value in calls(run, what)]) for what in ("seconds", "busy_s")]
    parts = [median([run["parts"][part] for run in runs]) for part in ("encoder", "transformer", "decoder")]
    return [*whole, *parts, *(median([run[what] / 1e3 for run in runs]) for what in ("held_mb", "peak_mb"))]


def mode_rows(found: dict[str, Any]) -> Rows:
    """One row for each mode and length."""
    rows: Rows = []
    for entry in found["modes"]:
        start = [f"{found['size']}, {entry['frames']} frames", entry["mode"]]
        if "failed" in entry:
            rows.append([*start, entry["failed"], *[""] * 6])
            continue
        rate = entry["operations"] / entry["step_s"]
        rows.append(
            [
                *start,
                f"{statistics.median(entry['seconds']):.1f} s",
                f"{entry['step_s']:.3f} s",
                f"{rate / 1e12:.3g} Tflop/s",
                f"{rate / found['rate']:.0%}",
                f"{entry['parts']['decoder']:.1f} s",
                f"{entry['peak_mb'] / 1e3:.2f} GB",
                f"{entry['difference']:.1e}",
            ]
        )
    return rows


def check_rows(found: dict[str, Any]) -> Rows:
    """Precision and seams of one size."""
    if "precision" not in found:
        return []
    most, mean, seam = found["precision"]["max"], found["precision"]["mean"], found.get("seams")
    return [
        [
            found["size"],
            f"{found['rate'] / 1e12:.3g} Tflop/s",
            f"{most:.3f} at most, {mean:.4f} in the mean",
            "no window's border in it" if seam is None else f"{seam:.2f}",
        ]
    ]


SPENT = ("whole call", "processor", "encoder", "transformer", "decoder", "before", "peak")
REPORTS = (
    ("Pass 1 beside the reference", ("what", "whose", *SPENT, "difference"), beside_rows),
    (
        "Memory modes",
        ("what", "mode", "whole call", "step", "rate", "of the card", "decoder", "peak", "difference"),
        mode_rows,
    ),
    ("Checks", ("model", "matrices", "bfloat16 against float32", "seams"), check_rows),
)


def reports(results: Sequence[dict[str, Any]]) -> list[Report]:
    """The tables that have rows."""
    made = [
        Report(title, columns, [row for found in results for row in rows(found)])
        for title, columns, rows in REPORTS
    ]
    return [report for report in made if report.rows]


def where(options: Options) -> str:
    """The machine, as the page names it."""
    torch_version = torch.__version__.partition("+")[0]
    if options.device == "cuda":
        return f"{torch.cuda.get_device_name()}, {options.dtype}, torch {torch_version}"
    threads = options.threads or torch.get_num_threads()
    return f"{machine()}, {threads} {'thread' if threads == 1 else 'threads'}, {options.dtype}, torch {torch_version}"


@contextmanager
def working(folder: Path | None) -> Iterator[Path]:
    """The folder for what calls leave: the given one, or one that goes away."""
    with tempfile.TemporaryDirectory() as temporary:
        chosen = folder or Path(temporary)
        chosen.mkdir(parents=True, exist_ok=True)
        yield chosen


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--size", action="append", choices=SIZES, help="tiny and mid, or full on a GPU; repeatable"
    )
    parser.add_argument("--device", choices=MODES, default="cpu")
    parser.add_argument("--dtype", default="", help="bfloat16 on a GPU, float32 without")
    parser.add_argument("--modes", default="", help="memory modes with commas between; all of the device's")
    parser.add_argument("--frames", type=int, action="append", help="a length; the size's own; repeatable")
    parser.add_argument("--reference", type=Path, metavar="DIR", help="a checkout of the reference")
    parser.add_argument("--reference-python", default=sys.executable, metavar="FILE", help="what runs it")
    parser.add_argument("--rounds", type=int, help="runs of each side beside the reference: 3, or 1 on a GPU")
    parser.add_argument(
        "--threads", type=int, default=1, help="of each process; 0 as many as there are cores"
    )
    parser.add_argument("--work", type=Path, metavar="DIR", help="keep what the calls leave there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep every figure there")
    parser.add_argument("--no-page", action="store_true", help="print only")
    return parser.parse_args()


def main() -> None:
    """Measure, print, write the page."""
    asked = parsed()
    gpu = asked.device == "cuda"
    if gpu and not torch.cuda.is_available():
        raise SystemExit("--device cuda: torch finds no GPU here; leave it out")
    sizes = asked.size or (["full"] if gpu else ["tiny", "mid"])
    with working(asked.work) as work:
        options = Options(
            device=asked.device,
            dtype=asked.dtype or ("bfloat16" if gpu else "float32"),
            threads=0 if gpu else asked.threads,
            rounds=asked.rounds or (1 if gpu else 3),
            reference=str(asked.reference.resolve()) if asked.reference else "",
            reference_python=asked.reference_python,
            work=work,
        )
        results: list[dict[str, Any]] = []
        for name in sizes:
            results.append({})
            for results[-1] in measured(name, asked, options):
                if asked.json:  # each time, so that a run that is stopped leaves what it has
                    asked.json.write_text(json.dumps({"where": where(options), "results": results}, indent=1))
    tables = reports(results)
    console = Console(width=None if sys.stdout.isatty() else 200)
    for report in tables:
        console.print(report.as_rich())
    if not asked.no_page:
        write_page(f"void {asked.device}", tables, where(options))


if __name__ == "__main__":
    main()
