"""What this installation and this machine can do."""

from __future__ import annotations

import json
import os
import platform
from importlib.util import find_spec
from typing import Any

import typer

from aftermath.cli.train import TRAINING_PARTS
from aftermath.config import Codec, Engine, MaskOptions, ReasonerName, RemoveOptions
from aftermath.engines import choose_engine, missing
from aftermath.errors import InputError, extra_needed
from aftermath.eyes import check_eyes, choose_segmenter
from aftermath.provenance import versions
from aftermath.reasoners import check_reasoner

__all__ = ["examine", "report"]

_ENCODERS = {
    Codec.H264: "libx264",
    Codec.HEVC: "libx265",
    Codec.PRORES: "prores_ks",
    Codec.FFV1: "ffv1",
    Codec.PNG: "png",
}


_COMMANDS = {
    "generate": (("mujoco",), "data"),
    "train": (TRAINING_PARTS, "train"),
    "batch --ray": (("ray",), "scale"),
    "studio": (("gradio",), "studio"),
}
"""What needs an extra, by the modules it looks for."""


def examine() -> dict[str, Any]:
    """Versions, codecs, cores, memory and engines, as JSON values."""
    import av

    engine, why = choose_engine(RemoveOptions())
    return {
        "versions": versions(),
        "machine": platform.platform(),
        "cores": os.cpu_count(),
        "memory_gb": _memory_gb(),
        "codecs": {str(codec): name in av.codecs_available for codec, name in _ENCODERS.items()},
        "engines": {str(e): missing(e) or "ready" for e in Engine if e is not Engine.AUTO},
        "auto": f"{engine}: {why}",
        "card": _card(),
        "segmenter": "{}: {}".format(*choose_segmenter(MaskOptions())),
        "words": _words(),
        "commands": {name: _command(parts, extra) for name, (parts, extra) in _COMMANDS.items()},
        "reasoners": {str(name): _reasoner(name) for name in (ReasonerName.GEMINI, ReasonerName.OPENAI)},
    }


def report(found: dict[str, Any], *, as_json: bool) -> None:
    """Print what `examine` found."""
    if as_json:
        typer.echo(json.dumps(found))
        return
    lines = [f"{name:<32} {number}" for name, number in found["versions"].items()]
    memory = "unknown" if found["memory_gb"] is None else f"{found['memory_gb']:.1f} GB"
    lines += [f"{'machine':<32} {found['machine']}, {found['cores']} cores, {memory} memory"]
    lines += [f"{'codec ' + c:<32} {'ready' if ok else 'missing'}" for c, ok in found["codecs"].items()]
    lines += [f"{'engine ' + engine:<32} {state}" for engine, state in found["engines"].items()]
    lines += [f"{'engine auto':<32} takes {found['auto']}"]
    lines += [f"{'graphics card':<32} {found['card'] or 'none seen'}"]
    lines += [f"{'segmenter auto':<32} takes {found['segmenter']}"]
    lines += [f"{'finding by words (--text)':<32} {found['words']}"]
    lines += [f"{name:<32} {state}" for name, state in found["commands"].items()]
    lines += [f"{'reasoner ' + name:<32} {state}" for name, state in found["reasoners"].items()]
    typer.echo("\n".join(lines))


def _words() -> str:
    try:
        check_eyes(MaskOptions(), words=True)
    except InputError as error:
        return f"{error.allowed}; {error.remedy}"
    return "ready"


def _command(parts: tuple[str, ...], extra: str) -> str:
    lacking = [part for part in parts if find_spec(part) is None]
    return extra_needed(f"lacks {', '.join(lacking)}, and", extra) if lacking else "ready"


def _reasoner(name: ReasonerName) -> str:
    """Whether a language model can be asked; none is."""
    try:
        check_reasoner(MaskOptions(reasoner=name))
    except InputError as error:
        return error.allowed
    return "ready"


def _card() -> str:
    """The card that the VOID model would use, and its free memory; empty where there is none, or no torch to see it."""
    if missing(Engine.VOID):
        return ""
    import torch

    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        return f"{torch.cuda.get_device_name()}, {free / 1e9:.1f} of {total / 1e9:.1f} GB free"
    return "Apple, shared memory" if torch.backends.mps.is_available() else ""


def _memory_gb() -> float | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    except (AttributeError, ValueError, OSError):
        return None
