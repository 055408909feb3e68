"""A hosted demo, such as a Space of the Hugging Face hub: the studio, where every visitor is a stranger.

``python app.py`` serves on port 7860 (or PORT) of every address, without a password; clips are short, projects are
known to the browser that made them alone, and thrown away after a day.
"""

import os
from pathlib import Path

from aftermath.studio import Limits, serve

if __name__ == "__main__":
    serve(
        host=os.environ.get("HOST", "0.0.0.0"),
        port=int(os.environ.get("PORT", "7860")),
        workspace=Path(os.environ.get("AFTERMATH_WORKSPACE", "studio-workspace")),
        browser=False,
        public=True,
        limits=Limits(num_bytes=200 * 2**20, picture_px=3840 * 2160, seconds=20, frames=600),
        say=lambda address: print(f"aftermath studio: {address}", flush=True),  # noqa: T201 - it has no other voice
    )
