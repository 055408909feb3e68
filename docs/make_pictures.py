"""Make the pictures of the documentation from the examples: python docs/make_pictures.py [NAME ...], as engines.

The language model's part is played by a server on this machine that says what is true of the example. The pairs need
MuJoCo, nano needs torch. Twice the same picture only on the same processor and with the same encoders.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path += [str(ROOT / "tests" / "reason")]

from model_answers import model_answer  # noqa: E402
from vlm_server import Reply, serving  # noqa: E402

import aftermath  # noqa: E402
from aftermath.config import Engine, ReasonerName  # noqa: E402
from aftermath.counterfactual.generate import generate, list_pairs  # noqa: E402
from aftermath.evaluate.evaluation import evaluate  # noqa: E402
from aftermath.evaluate.pairs import find_pairs, load_pair  # noqa: E402
from aftermath.evaluate.sheets import Sheets  # noqa: E402
from aftermath.evaluate.systems import EngineSystem, Given, System, baseline_named  # noqa: E402
from aftermath.media.masks import read_quadmask  # noqa: E402
from aftermath.media.video import read_frames  # noqa: E402
from aftermath.preview import PAPER, save_picture, write  # noqa: E402

_WIDTH_PX = 560
_WIDE_PX = 1120  # shown at half of it, larger at a click
_WAY = "blue thing: 329,146@0 390,190@6 450,300@14"
_BALL = "32,179,94,233"
_CRATE = "272,158,400,285"
_COLLISION = ROOT / "examples" / "collision" / "input_video.mp4"
_SUPPORT = ROOT / "examples" / "support" / "input_video.mp4"


def main(names: Sequence[str]) -> None:
    """Write docs/pictures/, all of it or what is named."""
    for name in names or _MAKERS:
        with tempfile.TemporaryDirectory() as folder:
            _MAKERS[name](Path(folder))


def masks(folder: Path) -> None:
    """Of docs/masks.md."""
    q = folder / "q.mkv"
    ball = aftermath.mask(_COLLISION, q, boxes=[_BALL])
    save("film", film(ball, 31))
    save("quadmask", values(ball, 31))
    with serving(Reply(json.dumps(model_answer("support")))) as server:
        options = aftermath.MaskOptions(reasoner=ReasonerName.MOTION_OPENAI, vlm_url=server.openai_url)
        crate = aftermath.mask(_SUPPORT, q, boxes=[_CRATE], options=options, fresh=True)
    save("model", film(crate, 9))
    save("grid", seen(shown(crate)))
    crate = aftermath.mask(_SUPPORT, q, boxes=[_CRATE], trajectories=[_WAY])
    save("directed", film(crate, 9))


def directed(folder: Path) -> None:
    """The contact sheet of a vase that falls to where it was told."""
    done = aftermath.remove(_SUPPORT, folder / "out.mp4", boxes=[_CRATE], trajectories=[_WAY])
    save("directed_draft", seen(done.contact_sheet), _WIDE_PX, ".jpg")


def engines(folder: Path) -> None:
    """The same moments in the source, of the draft, and of nano."""
    draft = aftermath.remove(_COLLISION, folder / "draft.mp4", boxes=[_BALL])
    options = aftermath.RemoveOptions(engine=Engine.VOID, model="nano")
    nano = aftermath.remove(
        _COLLISION, folder / "nano.mp4", boxes=[_BALL], options=options, work=draft.folder
    )
    rows = []
    for film_of in (_COLLISION, draft.output, nano.output):
        frames = [frame.rgb()[90:300] for frame in read_frames(film_of)]
        rows.append(np.concatenate([frames[t] for t in (0, 25, 45)], axis=1))
    save("engines", np.concatenate(rows), _WIDE_PX, ".jpg")


def differences(folder: Path) -> None:
    """What ``aftermath inspect --picture`` draws."""
    done = aftermath.remove(_COLLISION, folder / "out.mp4", boxes=[_BALL])
    aftermath.inspect(done.output, original=_COLLISION, picture=folder / "seen.png")
    save("differences", seen(folder / "seen.png"), _WIDE_PX, ".jpg")


def pairs(folder: Path) -> None:
    """A moment of four generated pairs: as filmed, the truth, the quadmask."""
    wanted = list_pairs(4, 0, ("collision", "support", "actor", "soft"))
    generate(folder, wanted)
    columns = []
    for files in find_pairs(folder):
        pair, t = load_pair(files), 24
        told = np.repeat(pair.quadmask.values[t][..., None], 3, axis=2)
        columns.append(np.concatenate([pair.source[t], pair.truth[t], told]))
    save("pairs", np.concatenate(columns, axis=1), _WIDE_PX, ".jpg")


def evaluation(folder: Path) -> None:
    """A sheet of the report that ``aftermath evaluate`` writes."""
    systems: list[System] = [baseline_named("untouched"), baseline_named("inpaint")]
    systems.append(EngineSystem(Engine.DRAFT, folder / "outputs", given=Given.BOX, say_falls=True))
    sheets = Sheets(folder / "pictures")
    evaluate(_SUPPORT.parent, systems, shown=sheets)
    save("evaluation", seen(next((folder / "pictures").glob("*.png"))), _WIDE_PX, ".jpg")


def seen(path: Path) -> np.ndarray:
    """A picture's file, uint8 (H, W, 3), RGB."""
    picture = cv2.imread(str(path))
    assert picture is not None
    return picture[..., ::-1]


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


def save(name: str, picture: np.ndarray, width: int = _WIDTH_PX, suffix: str = ".png") -> None:
    """At a width for pages; what is large as JPEG."""
    height = round(picture.shape[0] * width / picture.shape[1])
    small = cv2.resize(np.ascontiguousarray(picture), (width, height), interpolation=cv2.INTER_AREA)
    target = HERE / "pictures" / f"{name}{suffix}"
    if suffix == ".png":
        save_picture(target, small)
    else:
        cv2.imwrite(str(target), small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])


_MAKERS: dict[str, Callable[[Path], None]] = {
    made.__name__: made for made in (masks, directed, engines, differences, pairs, evaluation)
}

if __name__ == "__main__":
    main(sys.argv[1:])
