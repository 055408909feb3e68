"""Prompts to embeddings, kept on the disk: the text encoder is as large as the model, and is needed for seconds."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from aftermath.media.runs import key_of, write_whole
from aftermath.render.void.checkpoint import (
    load_text_encoder,
    no_words,
    reads_words,
    text_encoder_files,
    text_width,
)
from aftermath.render.void.memory import available_bytes, free, lacks_memory
from aftermath.render.void.pipeline import encode_texts

__all__ = ["cache_folder", "prompt_embeddings"]

_ROOM_BYTES = 1 << 30


def prompt_embeddings(
    model: str | Path,
    texts: Sequence[str],
    *,
    offline: bool = False,
    folder: Path | None = None,
    warn: Callable[[str], None] = warnings.warn,
) -> list[torch.Tensor]:
    """(1, 226, D) for each text, on the CPU. Only what is not kept yet is encoded, and the encoder dropped again.

    ``folder``: where they are kept, `cache_folder` where it is None. A model that reads no words gets the same
    (1, 1, D) for every text. ``warn`` is told of a text that is cut, when it is encoded. Raises as
    `load_text_encoder` does.
    """
    if not reads_words(model, offline=offline):
        return [no_words(model, offline=offline)] * len(texts)
    files = text_encoder_files(model, offline=offline)
    identity = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    folder = folder or cache_folder()
    places = {text: folder / f"{key_of(encoder=identity, text=text)}.safetensors" for text in texts}
    width = text_width(model, offline=offline)
    known = {text: kept for text, place in places.items() if (kept := _kept(place, width)) is not None}
    missing = [text for text in places if text not in known]
    if missing:
        for text, embeds in zip(missing, _encoded(model, missing, files, offline, warn), strict=True):
            known[text] = embeds
            with contextlib.suppress(OSError):  # a home that cannot be written costs time, not the film
                places[text].parent.mkdir(parents=True, exist_ok=True)
                write_whole(places[text], lambda part, embeds=embeds: save_file({"embeds": embeds}, part))
    return [known[text] for text in texts]


def cache_folder() -> Path:
    """Where embeddings of prompts are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "aftermath" / "prompts"


def _kept(place: Path, width: int) -> torch.Tensor | None:
    """What was kept; None where nothing was, or nothing that can be read or is embeddings of a text."""
    try:
        embeds = load_file(place)["embeds"]
    except (OSError, SafetensorError, KeyError):
        return None
    fits = embeds.ndim == 3 and len(embeds) == 1 and embeds.shape[-1] == width
    return embeds if fits and bool(torch.isfinite(embeds).all()) else None


def _where(files: list[Path]) -> tuple[torch.device, torch.dtype]:
    """On a card that has room for the encoder, else on the CPU, there in float32 if that has room."""
    size = sum(file.stat().st_size for file in files)
    card, cpu = torch.device("cuda"), torch.device("cpu")
    if torch.cuda.is_available() and available_bytes(card) > size + _ROOM_BYTES:
        return card, torch.bfloat16
    return cpu, torch.float32 if available_bytes(cpu) > 3 * size else torch.bfloat16


def _encoded(
    model: str | Path,
    texts: list[str],
    files: list[Path],
    offline: bool,
    warn: Callable[[str], None],
) -> list[torch.Tensor]:
    """Where there is room for the encoder; on the CPU where a card has not the room after all."""
    device, dtype = _where(files)
    tokenizer, encoder = load_text_encoder(model, dtype=dtype, offline=offline)

    try:
        embeds = _through(tokenizer, encoder, texts, device, warn)
    except (RuntimeError, MemoryError) as error:
        if device.type == "cpu" or not lacks_memory(error):
            raise
        embeds = None
    if embeds is None:  # what the failed try held is free by now
        free()
        embeds = _through(tokenizer, encoder, texts, torch.device("cpu"), warn)
    del encoder
    free()
    return embeds


def _through(
    tokenizer: Any, encoder: Any, texts: list[str], device: torch.device, warn: Callable[[str], None]
) -> list[torch.Tensor]:
    """One text at a time, on ``device``."""
    encoder.to(device)
    return [encode_texts(tokenizer, encoder, [text], warn).cpu() for text in texts]
