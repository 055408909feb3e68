"""The whole story in a real browser: open, point, direct, paint, remove, compare, take away; looked at as it goes.

AFTERMATH_SHOTS=DIR keeps the pictures of the page, to be looked at.
"""

from __future__ import annotations

import io
import json
import os
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from aftermath.media.masks import read_masks
from aftermath.media.video import probe, read_frames, write_rgb_video
from small_clip import write_scene
from studio_server import EXAMPLES, Server, ended

CRATE = (336, 240)  # of examples/support, source pixels
VASE = "stands on it"
POLL_MS = 50  # Playwright would look at every picture of the browser, which then makes sixty a second


@dataclass
class Page:
    """A window of the browser, and everything that it complained of or asked of others."""

    page: Any
    server: Server
    shots: Path
    complaints: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, chromium: Any, server: Server, shots: Path, width: int = 1440, height: int = 900) -> Page:
        context = chromium.new_context(viewport={"width": width, "height": height}, accept_downloads=True)
        window = cls(context.new_page(), server, shots)
        page, told = window.page, window.complaints
        page.on("console", lambda message: told.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: told.append(f"error: {error}"))
        page.on(
            "request", lambda asked: told.append(f"asks {asked.url}") if not window._own(asked.url) else None
        )
        page.set_default_timeout(240_000)  # a busy machine fails no test
        return window

    def _own(self, url: str) -> bool:
        return url.startswith((self.server.address, "data:", "blob:"))

    @property
    def project(self) -> str:
        return self.page.evaluate("location.hash.slice(1)")

    @property
    def state(self) -> Any:
        return self.server.state(self.project)

    def shot(self, name: str) -> None:
        self.page.screenshot(path=str(self.shots / f"{name}.png"))

    def drawn(self, frame: int) -> None:
        """Wait until the picture of a frame, and its mask, are there."""
        self.page.wait_for_function(
            f"document.querySelector('#picture').dataset.frame === '{frame}'", polling=POLL_MS
        )

    def redrawn(self) -> None:
        """Wait until what the page has decided to draw is drawn: two pictures of the browser later."""
        self.page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a pixel of the source is on the page."""
        box, clip = self.page.locator("#picture").bounding_box(), self.state["clip"]
        return box["x"] + x * box["width"] / clip["width"], box["y"] + y * box["height"] / clip["height"]

    def click(self, x: float, y: float, **how: Any) -> None:
        self.page.mouse.click(*self.place(x, y), **how)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        self.page.mouse.move(*self.place(*start))
        self.page.mouse.down()
        self.page.mouse.move(*self.place(*end), steps=6)
        self.page.mouse.up()

    def tool(self, name: str) -> None:
        self.page.locator(f"input[name=tool][value={name}]").check(force=True)

    def view(self, name: str) -> None:
        self.page.locator(f"input[name=view][value={name}]").check(force=True)
        self.page.wait_for_function(
            f"document.querySelector('#picture').dataset.view === '{name}'", polling=POLL_MS
        )

    def settled(self) -> Any:
        """Wait until nothing is done any more; the state then."""
        return self.server.wait(self.project, ended)

    def pixels(self) -> np.ndarray:
        """The picture as the page draws it, uint8 (H, W, 3) RGB."""
        image = np.frombuffer(self.page.locator("#picture").screenshot(), np.uint8)
        return cv2.imdecode(image, cv2.IMREAD_COLOR)[..., ::-1]

    def download(self, what: str) -> Path:
        with self.page.expect_download() as got:
            self.page.locator(f'.downloads [data-key="{what}"]').click()
        target = self.shots / got.value.suggested_filename
        got.value.save_as(target)
        return target


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    folder = Path(os.environ.get("AFTERMATH_SHOTS") or tmp_path / "shots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def window(chromium: Any, server: Server, shots: Path) -> Iterator[Page]:
    opened = Page.open(chromium, server, shots)
    yield opened
    opened.page.context.close()


@pytest.mark.long
def test_the_whole_story(window: Page) -> None:
    page = window.page
    page.goto(window.server.address)
    page.wait_for_selector("#studio[data-ready=home]")
    window.shot("01-home")
    page.locator("button.card", has_text="support").click()
    page.wait_for_selector("#studio[data-ready=clip]")
    window.drawn(0)
    window.settled()

    # The object: one click, answered on that frame
    plain = window.pixels()
    window.click(*CRATE)
    page.wait_for_selector(".picture[data-answered-ms]")
    page.wait_for_function("document.querySelectorAll('.marks-list li').length === 1")
    window.redrawn()
    window.drawn(0)
    shown = window.pixels()
    red = (shown[..., 0].astype(int) - plain[..., 0]) - (shown[..., 1].astype(int) - plain[..., 1])
    assert 0.01 < (red > 25).mean() < 0.2, "the crate is a twentieth of the picture"
    window.shot("02-clicked")

    # What it caused: found in all frames, overruled, and left as found
    page.locator("#find").click()
    state = window.settled()
    page.wait_for_selector(".thing")
    vase = next(one for one in state["affected"] if one["category"] == "physical")
    assert vase["applied"], "it hides part of the crate's top, so it stands on it"
    window.shot("03-found")
    page.get_by_label(f"act on {vase['noun']}").uncheck()
    page.wait_for_selector(".thing.off")
    state = window.server.wait(window.project, lambda s: ended(s) and s["mask"]["fresh"])
    assert not next(one for one in state["affected"] if one["id"] == vase["id"])["applied"]

    page.keyboard.press("Control+z")
    page.wait_for_function("document.querySelector('.thing.off') === null")
    page.keyboard.press("Control+y")
    page.wait_for_selector(".thing.off")
    page.keyboard.press("Control+z")
    page.wait_for_function("document.querySelector('.thing.off') === null")

    # Its way: dragged to the right in frame 24, and earlier on the time line
    page.locator(".thing .name", has_text=vase["noun"]).click()
    window.tool("path")
    page.locator("#scrub").focus()
    page.keyboard.press("Home")
    for _ in range(2):
        page.keyboard.press("Shift+ArrowRight")
    window.drawn(20)
    window.click(480, 330)
    page.wait_for_function("document.querySelectorAll('table.path tr').length >= 3")
    window.shot("04-path")
    way = window.state["document"]["ways"][vase["id"]]["path"]
    here = next(place for place in way if place["frame"] == 20)
    assert abs(here["x"] - 480) < 4 and abs(here["y"] - 330) < 4
    page.keyboard.press("ArrowRight")
    window.drawn(21)
    window.drag((480, 330), (520, 330))  # the ring: in this frame, not the point of the one before
    page.get_by_label("path point of frame 21").wait_for()
    page.keyboard.press("Control+z")
    page.get_by_label("path point of frame 21").wait_for(state="detached")
    page.get_by_label("path point of frame 20").focus()
    page.keyboard.press("ArrowLeft")
    page.get_by_label("path point of frame 19").wait_for()
    page.keyboard.press("ArrowLeft")
    page.get_by_label("path point of frame 18").wait_for()
    state = window.server.wait(window.project, lambda s: ended(s) and s["mask"]["fresh"])
    assert 18 in [place["frame"] for place in state["document"]["ways"][vase["id"]]["path"]]

    # Painting: a dab of "affected" in two frames, filled between, undone and done again
    window.tool("paint")
    page.keyboard.press("Home")
    page.keyboard.press("Shift+ArrowRight")
    window.drawn(10)
    page.keyboard.press("3")
    window.drag((100, 330), (160, 330))
    page.wait_for_function("document.querySelectorAll('.marks .painted').length === 1")
    page.keyboard.press("Shift+ArrowRight")
    window.drawn(20)
    window.drag((120, 340), (180, 340))
    page.wait_for_function("document.querySelectorAll('.marks .painted').length === 2")
    page.locator("#between").click()
    page.wait_for_function("document.querySelectorAll('.marks .painted').length === 11")
    window.shot("05-painted")
    page.keyboard.press("Control+z")
    page.wait_for_function("document.querySelectorAll('.marks .painted').length === 2")
    page.locator("#redo-all").click()
    page.wait_for_function("document.querySelectorAll('.marks .painted').length === 11")
    window.server.wait(window.project, lambda state: state["painted"] == list(range(10, 21)))

    # The result: with progress, then compared
    page.locator("#make").click()
    page.wait_for_selector(".running progress")
    window.shot("06-running")
    page.wait_for_selector("#studio input[name=view][value=wipe]:checked")
    state = window.settled()
    assert state["result"]["fresh"] and state["result"]["engine"] == "draft"
    window.drawn(20)
    window.shot("07-wipe")
    looks = {}
    for name in ("clip", "result", "side", "difference", "blink"):
        window.view(name)
        window.drawn(20)
        window.redrawn()
        looks[name] = window.pixels()
        window.shot(f"08-{name}")
    assert looks["side"].shape[1] / looks["side"].shape[0] == pytest.approx(2 * 672 / 384, rel=0.02)
    there = (slice(int(0.5 * s), int(0.7 * s)) for s in looks["result"].shape[:2])
    apart = cv2.absdiff(cv2.resize(looks["clip"], looks["result"].shape[1::-1]), looks["result"])
    assert apart[tuple(there)].mean() > 5, "the crate stands in the one and not in the other"
    assert (looks["difference"] > 40).any() and (looks["difference"] < 24).mean() > 0.5

    # Taken away: the film, the quadmask with what was painted, the plan with the way, the whole project
    video, source = (
        probe(window.download("video")),
        probe(EXAMPLES / "support" / "input_video.mp4"),
    )
    assert (video.width, video.height, video.estimated_frames) == (source.width, source.height, 49)
    levels = np.stack(list(read_masks(window.download("quadmask"))))
    assert levels.shape == (49, 384, 672)
    assert (levels[15, 330:345, 112:170] == 127).mean() > 0.5, "what was filled between is in it"
    plan = json.loads(window.download("plan").read_text())
    drawn = next(one for one in plan["affected_objects"] if one["id"] == vase["id"])
    assert drawn["directed"] and [480, 330] in [[round(p["x"], -1), round(p["y"], -1)] for p in drawn["path"]]
    with zipfile.ZipFile(io.BytesIO(window.download("project").read_bytes())) as project:
        names = {Path(name).name for name in project.namelist()}
    assert {"document.json", "plan.json", "run.json", "result.mp4"} <= names

    # Closing loses nothing
    page.reload()
    page.wait_for_selector("#studio[data-ready=clip]")
    page.wait_for_selector('.downloads [data-key="video"]')
    assert 18 in [place["frame"] for place in window.state["document"]["ways"][vase["id"]]["path"]]
    assert window.complaints == []


def half_size(clip: Path, target: Path) -> None:
    """A clip at half its width and height: the same to be seen, for a quarter of the work."""
    size = tuple(side // 2 for side in (probe(clip).width, probe(clip).height))
    frames = (cv2.resize(frame.rgb(), size, interpolation=cv2.INTER_AREA) for frame in read_frames(clip))
    write_rgb_video(target, frames, probe(clip).frame_rate, crf=12)


@pytest.mark.long
def test_with_the_keyboard_alone_on_a_small_window(
    chromium: Any, new_server: Callable[..., Server], shots: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "collision"  # a sequence folder
    folder.mkdir()
    half_size(EXAMPLES / "collision" / "input_video.mp4", folder / "input_video.mp4")
    server = new_server(folder)
    window = Page.open(chromium, server, shots, 420, 860)
    page = window.page
    page.goto(server.address)
    page.wait_for_selector("#studio[data-ready=clip]")
    window.drawn(0)
    window.settled()
    window.shot("20-small")
    page.locator("#picture").focus()
    # the cross begins in the middle, 168,96; the blue ball is at 31,103
    for key, times in (("ArrowLeft", 26), ("ArrowDown", 1)):
        for _ in range(times):
            page.keyboard.press(f"Alt+{key}")
    page.keyboard.press("Enter")
    page.wait_for_selector(".picture[data-answered-ms]")
    window.shot("21-small-clicked")
    page.wait_for_selector("#find:not(:disabled)")  # a key for a button that cannot be pressed does nothing
    page.keyboard.press("f")
    page.wait_for_selector(".thing")
    state = window.settled()
    assert {"stays", "vanishes"} == {one["action"] for one in state["affected"] if one["applied"]}
    page.wait_for_selector("#make:not(:disabled)")
    page.keyboard.press("m")
    page.wait_for_selector("#studio input[name=view][value=wipe]:checked")
    assert window.settled()["result"]["fresh"]
    page.keyboard.press("r")
    page.keyboard.press("End")
    window.drawn(72)
    window.redrawn()
    window.shot("22-small-result")
    page.keyboard.press("?")
    page.wait_for_selector("dialog.help")
    page.keyboard.press("Escape")
    # played: every frame in turn, and it ends at the last
    page.keyboard.press("Home")
    window.drawn(0)
    page.locator("#play").focus()
    page.keyboard.press("Enter")
    window.drawn(72)
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 420, "nothing hangs over the edge"
    assert window.complaints == []
    page.context.close()


@pytest.mark.long
def test_names_and_words_are_never_markup(window: Page, tmp_path: Path) -> None:
    bad = "<img src=x onerror=window.hit=1>\"'><script>window.hit=1</script>"
    write_scene(tmp_path / "scene.mp4")
    state = window.server.upload(f"{bad}.mp4".replace("/", "∕"), (tmp_path / "scene.mp4").read_bytes()).json()
    project = state["id"]
    at = f"/studio/api/projects/{project}"
    window.server.wait(project, ended)
    boxes = [{"x0": 30, "y0": 40, "x1": 62, "y1": 84, "frame": 0}]
    window.server.ask(at, "PATCH", {"name": bad, "prompt": bad, "boxes": boxes})
    window.server.ask(f"{at}/run/mask", "POST")
    window.server.wait(project, ended)
    page = window.page
    page.goto(f"{window.server.address}/#{project}")
    page.wait_for_selector("#studio[data-ready=clip]")
    window.drawn(0)
    assert page.locator("input.title").input_value() == bad
    page.locator("#words").fill(bad)
    page.keyboard.press("Enter")
    page.wait_for_selector(".marks-list li")
    assert bad in page.locator(".marks-list").inner_text()
    # words want a model that is not here: what fails is told as text too
    page.locator("#find").click()
    page.wait_for_selector(".toast.bad")
    window.shot("30-toast")
    page.goto(f"{window.server.address}/#")
    page.wait_for_selector(".projects a")
    assert bad in page.locator(".projects").inner_text()
    assert page.evaluate("window.hit") is None
    assert window.complaints == []


@pytest.mark.long
def test_a_failure_that_is_told_before_the_answer_to_the_click_is_not_lost(
    window: Page, tmp_path: Path
) -> None:
    write_scene(tmp_path / "scene.mp4")
    project = window.server.upload("scene.mp4", (tmp_path / "scene.mp4").read_bytes()).json()["id"]
    window.server.wait(project, ended)
    page = window.page

    def late(route: Any) -> None:
        answer = route.fetch()
        window.server.wait(project, ended)
        time.sleep(1)  # the news are on their way too
        route.fulfill(response=answer)

    page.goto(f"{window.server.address}/#{project}")
    page.wait_for_selector("#studio[data-ready=clip]")
    page.locator("#words").fill("a cup")
    page.keyboard.press("Enter")
    page.wait_for_selector(".marks-list li")
    page.route("**/run/*", late)
    page.locator("#find").click()
    page.wait_for_selector(".toast.bad", timeout=60_000)


@pytest.mark.long
def test_several_clips_are_several_projects(window: Page, tmp_path: Path) -> None:
    page = window.page
    names = ["first", "second", "no film"]
    others = [one["name"] for one in window.server.ask("/studio/api/projects").json()["projects"]]
    for name in names[:2]:
        write_scene(tmp_path / f"{name}.mp4")
    (tmp_path / "no film.mp4").write_text("not a film")
    page.goto(window.server.address)
    page.wait_for_selector("#studio[data-ready=home]")
    page.set_input_files("#file", [tmp_path / f"{name}.mp4" for name in names])
    page.wait_for_function("document.querySelectorAll('.uploads a').length === 2")
    page.wait_for_selector(".uploads .warning")
    assert "not a video" in page.locator(".uploads .warning").inner_text()
    page.locator(".uploads a").last.click()
    page.wait_for_selector("#studio[data-ready=clip]")
    assert page.locator("input.title").input_value() == "second"
    page.locator("a.brand").click()
    page.get_by_label("Throw away first").wait_for()
    assert sorted(page.locator(".projects a").all_inner_texts()) == sorted([*others, "first", "second"])
    # thrown away, after it was asked
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_label("Throw away first").click()
    page.get_by_label("Throw away first").wait_for(state="detached")
    assert sorted(page.locator(".projects a").all_inner_texts()) == sorted([*others, "second"])
    # the refusal of what is no film is the browser's to log
    assert [told for told in window.complaints if "400" not in told] == []


@pytest.mark.long
def test_what_could_not_be_kept_is_not_shown(
    chromium: Any, new_server: Callable[..., Server], shots: Path, tmp_path: Path
) -> None:
    write_scene(tmp_path / "scene.mp4")
    server = new_server(tmp_path / "scene.mp4")
    window = Page.open(chromium, server, shots)
    page = window.page
    page.goto(server.address)
    page.wait_for_selector("#studio[data-ready=clip]")
    window.settled()
    window.drawn(0)
    clip = window.state["clip"]
    assert server.process is not None
    server.process.kill()
    server.process.wait()
    page.wait_for_selector(".bar .warning")
    window.tool("paint")
    box = page.locator("#picture").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.click(*middle)
    page.wait_for_selector(".toast.bad")
    page.locator("input.title").fill("another name")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('input.title').value === 'scene'")
    assert page.locator(".marks .painted").count() == 0 and clip["frames"] == 12
    window.shot("40-lost")
    page.context.close()
