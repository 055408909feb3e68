"""The page: one Gradio component that holds the whole editor, which is a script of ours.

Gradio's own widgets know one picture, not a clip: none of them drags a path through time, paints a quadmask with
neighbours to copy from, or plays two films in step. So the page is Gradio's, and what stands in it is
``static/studio.js``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import gradio
    from gradio.themes import Base

__all__ = ["STATIC", "build_page", "style"]

STATIC = Path(__file__).with_name("static")

_SHELL = '<main id="studio" aria-label="aftermath studio"><p class="loading">Loading…</p></main>'
_START = "import('/studio/static/studio.js').then((m) => m.start(element.querySelector('#studio')));"


def build_page() -> gradio.Blocks:
    """The page as a Gradio app; it asks `aftermath.studio.api` for everything."""
    import gradio as gr

    with gr.Blocks(title="aftermath studio", analytics_enabled=False, fill_width=True) as page:
        gr.HTML(html_template=_SHELL, js_on_load=_START, apply_default_css=False, elem_id="studio-frame")
    return page


def style() -> Base:
    """A theme with the reader's own fonts: nothing is fetched from elsewhere."""
    from gradio.themes import Base

    return Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
