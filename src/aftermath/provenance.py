"""The record of an edit: what ran, with which versions, on what machine."""

from __future__ import annotations

import functools
import hashlib
import json
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

__all__ = ["code_digest", "package_version", "peak_memory_mb", "run_record", "versions"]

_PACKAGES = ("numpy", "opencv-contrib-python-headless", "av", "pydantic", "typer", "rich", "c2pa-python")


def package_version() -> str:
    """This package's version; "unknown" where it runs without having been installed."""
    try:
        return version("aftermath")
    except PackageNotFoundError:
        return "unknown"


@functools.cache
def versions() -> dict[str, str]:
    """Versions of everything that shapes a result, by name."""
    found = {"aftermath": package_version(), "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


@functools.cache
def code_digest() -> str:
    """A short digest of this package's own code, so that results of other code are not taken for ours."""
    total = hashlib.sha256()
    root = Path(__file__).parent
    for path in sorted(root.rglob("*.py")):
        total.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return total.hexdigest()[:16]


def peak_memory_mb() -> float | None:
    """The most memory this process has held, MB; None on systems that do not tell (Windows)."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1024**2 if sys.platform == "darwin" else 1024), 1)


def run_record(**parts: Any) -> str:
    """The text of ``run.json``: ``parts``, with what is known of this program and this machine.

    ``peak_memory_mb`` is that of this process; stages that were taken from the run folder (``reused``) needed
    theirs in an earlier one.
    """
    machine = {"versions": versions(), "code": code_digest(), "peak_memory_mb": peak_memory_mb()}
    return json.dumps(parts | machine, indent=2, default=str, ensure_ascii=False) + "\n"
