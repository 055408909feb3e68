"""Which language model is asked, and whether it can be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aftermath.config import MaskOptions, ReasonerName

if TYPE_CHECKING:
    from aftermath.reason.clients import Client

__all__ = ["build_client", "check_reasoner"]


def check_reasoner(options: MaskOptions) -> None:
    """Raise `InputError` where the reasoner cannot be asked: an extra, a key or an address is missing."""
    build_client(options)


def build_client(options: MaskOptions) -> Client | None:
    """The client of the reasoner that is asked for; None where that asks nobody. Raises as `check_reasoner` does."""
    if options.reasoner is ReasonerName.MOTION:
        return None
    from aftermath.reason.clients import GeminiClient, OpenAiClient

    kind = GeminiClient if options.reasoner.endswith("gemini") else OpenAiClient
    return kind(options.vlm_url, options.vlm_model, timeout_s=options.vlm_timeout_s)
