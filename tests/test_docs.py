"""The documentation: it is built without a warning, loads nothing from elsewhere, and says what the program has."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import aftermath

yaml = pytest.importorskip("yaml", reason="mkdocs is not installed")
pytest.importorskip("material", reason="mkdocs-material is not installed")

ROOT = Path(__file__).parents[1]
LOADING = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
BROKEN = {
    "[a](masks.md#nowhere)": "does not contain an anchor '#nowhere'",
    "[b](nothing.md)": "the target is not found",
    "[c](../src/aftermath/nothing.py)": "a link to src/aftermath/nothing.py, which is not there",
    "<!-- code: api aftermath nothing -->": "no attribute 'nothing'",
    "<!-- code: source aftermath.train.recipe Nothing -->": "KeyError: 'Nothing'",
}


def build(clone: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """The site of ``clone``, in ``site``."""
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "-f",
        str(clone / "mkdocs.yml"),
        "-d",
        str(site),
    ]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONWARNINGS": "error"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built once."""
    folder = tmp_path_factory.mktemp("docs") / "site"
    done = build(ROOT, folder)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


def pages(nav: Any) -> Iterator[str]:
    """The files that a nav names."""
    if isinstance(nav, str):
        yield nav
    else:
        for part in nav.values() if isinstance(nav, dict) else nav:
            yield from pages(part)


class Loaded(HTMLParser):
    """What a page loads by itself: scripts, styles, pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name == LOADING.get(tag)]
        self.addresses += re.findall(r"url\(([^)]*)\)", dict(attrs).get("style") or "")


def test_it_has_every_page_of_its_nav_and_no_other(site: Path):
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"]
    named = {Path(page).with_suffix(".html").name for page in pages(nav)}
    assert named == {page.name for page in site.glob("*.html")} - {"404.html"}
    assert not list(site.rglob("*.py"))


def test_nothing_is_loaded_from_elsewhere(site: Path):
    for page in site.glob("*.html"):
        text = page.read_text("utf-8")
        loaded = Loaded()
        loaded.feed(text)
        assert loaded.addresses
        elsewhere = [address for address in loaded.addresses if re.match(r"['\"]?(\w+:)?//", address)]
        assert not elsewhere, f"{page.name} loads {elsewhere}"
        assert "mermaid" not in text, "the theme would load a script to draw it"
        for script in re.findall(r"<script[^>]*>(.*?)</script>", text, re.DOTALL):
            assert "http" not in script.replace("https?:", ""), page.name
    for style in site.rglob("*.css"):
        assert not re.findall(r"(?:@import|url\()\s*['\"]?(?:https?:)?//[^)]*", style.read_text("utf-8")), (
            style.name
        )


def test_every_option_is_told(site: Path):
    text = (site / "options.html").read_text("utf-8")
    for item in dataclasses.fields(aftermath.RemoveOptions):
        assert f"<code>--{item.name.replace('_', '-')}</code>" in text, item.name
    for argument in ("--no-credentials", "--box", "--affected", "--trajectory", "--work"):
        assert f"<code>{argument}</code>" in text
    assert "<td>a whole number from 64 to 4096</td>" in text


def test_every_name_of_the_package_is_told(site: Path):
    text = (site / "api.html").read_text("utf-8")
    told = set(re.findall(r"<h[23] id=[^>]*>(\w+)<", text))
    assert set(aftermath.__all__) <= told
    for sentence in (
        "Stop at the quadmask",
        "The same for a person to read",
        "in_words() -&gt; str",
        "not signed; what its run.json",
    ):
        assert sentence in text


def test_nothing_that_was_asked_of_the_code_is_left(site: Path):
    for page in site.glob("*.html"):
        text = page.read_text("utf-8")
        assert "<!-- code:" not in text, page.name
        assert not re.search(r"<p>\s*\|", text), f"a table of {page.name} is none"
    assert "rgb_removed.mp4" in (site / "formats.html").read_text("utf-8")
    assert "start_share" in (site / "train.html").read_text("utf-8")


def test_what_is_broken_fails_the_build(tmp_path: Path):
    clone = tmp_path / "clone"
    clone.mkdir()
    for entry in ROOT.iterdir():
        if entry.name in ("src", "notebooks", "examples"):
            (clone / entry.name).symlink_to(entry)
    shutil.copy(ROOT / "mkdocs.yml", clone)
    shutil.copytree(ROOT / "docs", clone / "docs")
    with (clone / "docs" / "index.md").open("a", encoding="utf-8") as page:
        page.write("\n" + "\n\n".join(BROKEN) + "\n")
    done = build(clone, tmp_path / "site")
    assert done.returncode == 1
    assert done.stderr.count("WARNING -") == len(BROKEN)
    for told in BROKEN.values():
        assert told in done.stderr
