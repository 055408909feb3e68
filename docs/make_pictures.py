"""Make the pictures of docs/masks.md from the examples: python docs/make_pictures.py.

The language model's part is played by a server on this machine that says what is true of the example.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path += [str(ROOT / "tests" / "reason")]

from model_answers import model_answer  # noqa: E402
from vlm_server import Reply, serving  # noqa: E402

import aftermath  # noqa: E402
from aftermath.config import ReasonerName  # noqa: E402
from aftermath.media.masks import read_quadmask  # noqa: E402
from aftermath.media.video import read_frames  # noqa: E402
from aftermath.preview import PAPER, save_picture, write  # noqa: E402

_WIDTH_PX = 560
_COLLISION = ROOT / "examples" / "collision" / "input_video.mp4"
_SUPPORT = ROOT / "examples" / "support" / "input_video.mp4"


def main() -> None:
    """Write docs/pictures/*.png."""
    with tempfile.TemporaryDirectory() as folder:
        q = Path(folder) / "q.mkv"
        ball = aftermath.mask(_COLLISION, q, boxes=["32,179,94,233"])
        save("film", film(ball, 31))
        save("quadmask", values(ball, 31))
        with serving(Reply(json.dumps(model_answer("support")))) as server:
            options = aftermath.MaskOptions(reasoner=ReasonerName.MOTION_OPENAI, vlm_url=server.openai_url)
            crate = aftermath.mask(_SUPPORT, q, boxes=["272,158,400,285"], options=options, fresh=True)
        save("model", film(crate, 9))
        save("grid", cv2.imread(str(shown(crate)))[..., ::-1])
        way = "blue thing: 329,146@0 390,190@6 450,300@14"
        crate = aftermath.mask(_SUPPORT, q, boxes=["272,158,400,285"], trajectories=[way])
        save("directed", film(crate, 9))


def film(result: aftermath.Result, t: int) -> np.ndarray:
    """A frame of the mask film."""
    assert result.mask_preview is not None
    return next(frame.rgb() for at, frame in enumerate(read_frames(result.mask_preview)) if at == t)


def shown(result: aftermath.Result) -> Path:
    """The first picture that the model was shown."""
    return min(result.folder.rglob("frame_*.jpg"))


def values(result: aftermath.Result, t: int) -> np.ndarray:
    """A frame of the quadmask, with its values named."""
    size = result.num_frames, result.height, result.width
    levels = next(levels for at, levels in enumerate(read_quadmask(result.quadmask, expect=size)) if at == t)
    picture = np.repeat(levels[..., None], 3, axis=2)
    foot = np.full((40, result.width, 3), PAPER, np.uint8)
    for index, text in enumerate(("0 object", "63 both", "127 affected", "255 kept")):
        left, value = 12 + index * result.width // 4, int(text.split()[0])
        cv2.rectangle(foot, (left, 10), (left + 20, 30), (value,) * 3, cv2.FILLED)
        cv2.rectangle(foot, (left, 10), (left + 20, 30), (150, 150, 155), 1)
        write(foot, text, (left + 30, 26), 18)
    return np.concatenate([picture, foot])


def save(name: str, picture: np.ndarray) -> None:
    """As a PNG of the width that the text has."""
    height = round(picture.shape[0] * _WIDTH_PX / picture.shape[1])
    small = cv2.resize(np.ascontiguousarray(picture), (_WIDTH_PX, height), interpolation=cv2.INTER_AREA)
    save_picture(HERE / "pictures" / f"{name}.png", small)


if __name__ == "__main__":
    main()
