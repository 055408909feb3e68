"""How quick the studio is, as who sits before it feels it: ``python benchmarks/studio.py``, a minute or two.

It makes a clip of 1920x1080 and one of 3840x2160 (60 frames of an example, enlarged), starts the server and a Chromium,
and measures:

- page ready: from the server's saying its address to the page's being there;
- first mask: from the click on a frame that nobody clicked on before to the mask's being drawn (1920x1080);
- next mask: another click on the same frame;
- scrubbing: frames a second, each drawn with its mask before the next key is pressed, none seen before;
- whole story: from the start command to the result of an example, by two clicks (its object, the button);
- server: resident memory with the 3840x2160 clip open, clicked in and scrubbed through; beside it, the worker's.

Needs the dev dependencies and chromium (Debian's package).
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from report import Report, machine
from rich.console import Console

from aftermath.media.video import read_frames, write_rgb_video

ROOT = Path(__file__).resolve().parents[1]
FRAMES = 60
BALL = (62 / 672, 206 / 384)  # of examples/collision in frame 0, shares of the picture


def enlarged(target: Path, width: int, height: int) -> Path:
    """An example at another size."""

    def pictures() -> Iterator[np.ndarray]:
        for frame in read_frames(ROOT / "examples/collision/input_video.mp4"):
            if frame.index < FRAMES:
                yield cv2.resize(frame.rgb(), (width, height), interpolation=cv2.INTER_CUBIC)

    write_rgb_video(target, pictures(), [t / 24 for t in range(FRAMES)])
    return target


class Server:
    """``aftermath studio`` as a process."""

    def __init__(self, clip: Path | None, workspace: Path) -> None:
        self.began = time.perf_counter()
        named = [] if clip is None else [str(clip)]
        command = [sys.executable, "-m", "aftermath", "studio", *named, "--port", "0", "--no-browser"]
        self.process = subprocess.Popen(
            [*command, "--workspace", str(workspace)], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        found = re.search(r"http://\S+", self.process.stdout.readline())
        assert found
        self.address, self.since = found[0], time.perf_counter()

    def memory_mb(self) -> tuple[float, float]:
        """Resident megabytes of the server, and of the processes that it began."""
        threads = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        children = {child for thread in threads for child in thread.read_text().split()}
        return _resident_mb(self.process.pid), sum(_resident_mb(int(child)) for child in children)

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait()


def _resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024


def opened(browser: Any, server: Server) -> tuple[Any, float]:
    """The page, and how long it took to be there."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(300_000)
    page.goto(server.address)
    page.wait_for_selector("#studio[data-ready]")
    ready_s = time.perf_counter() - server.since
    page.wait_for_selector("#studio[data-ready=clip]")
    drawn(page, 0)
    page.wait_for_selector("#make")  # the clip is read
    return page, ready_s


def drawn(page: Any, frame: int) -> None:
    """Wait for a frame."""
    page.wait_for_function(f"document.querySelector('#picture').dataset.frame === '{frame}'", polling="raf")


def clicked(page: Any, dx: int = 0) -> float:
    """Seconds from a click on the ball to its mask."""
    box = page.locator("#picture").bounding_box()
    page.evaluate("delete document.querySelector('.picture').dataset.answeredMs")
    page.mouse.click(box["x"] + BALL[0] * box["width"] + dx, box["y"] + BALL[1] * box["height"])
    page.wait_for_selector(".picture[data-answered-ms]")
    return float(page.locator(".picture").get_attribute("data-answered-ms")) / 1000


def story(browser: Any, server: Server) -> float:
    """Seconds from the start command to the result."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(300_000)
    page.goto(server.address)
    page.locator("button.card", has_text="collision").click()
    page.wait_for_selector("#studio[data-ready=clip]")
    drawn(page, 0)
    clicked(page)
    page.locator("#make").click()
    page.wait_for_selector("#studio input[name=view][value=wipe]:checked")
    drawn(page, 0)
    return time.perf_counter() - server.began


def scrubbed(page: Any) -> float:
    """Frames a second."""
    page.locator("#scrub").focus()
    began = time.perf_counter()
    for frame in range(1, FRAMES):
        page.keyboard.press("ArrowRight")
        drawn(page, frame)
    return (FRAMES - 1) / (time.perf_counter() - began)


def main() -> None:
    """Measure and print."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("no chromium here (Debian's package chromium)")
    found: list[list[str]] = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as play:
        root = Path(folder)
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        server = Server(None, root / "new")
        found.append(["whole story, an example", f"{story(browser, server):.0f} s"])
        server.stop()
        server = Server(enlarged(root / "hd.mp4", 1920, 1080), root / "hd")
        page, ready_s = opened(browser, server)
        found.append(["page ready", f"{ready_s:.1f} s"])
        found.append(["first mask, 1920x1080", f"{clicked(page):.2f} s"])
        found.append(["next mask", f"{clicked(page, 3):.2f} s"])
        found.append(["scrubbing, 1920x1080", f"{scrubbed(page):.0f} frames/s"])
        page.close()
        server.stop()
        server = Server(enlarged(root / "uhd.mp4", 3840, 2160), root / "uhd")
        page, _ = opened(browser, server)
        clicked(page)
        scrubbed(page)
        server_mb, worker_mb = server.memory_mb()
        found.append(["server with a 3840x2160 clip", f"{server_mb:.0f} MB"])
        found.append(["its worker", f"{worker_mb:.0f} MB"])
        browser.close()
        server.stop()
    Console().print(Report(f"The studio on {machine()}", ("what", "measured"), found).as_rich())


if __name__ == "__main__":
    main()
