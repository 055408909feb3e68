"""The exceptions this package raises on purpose.

AftermathError
├── InputError        the caller asked for something that cannot be (command line: exit 2)
├── MediaError        a file could not be decoded or encoded
├── WeightsError      model weights are missing, wrong or damaged
├── ReasonerError     a reasoner could not answer
└── OutOfMemory       a stage needs more memory than the machine has

The library never prints and never exits: the command line and the web app translate these.
"""

from __future__ import annotations

import re

__all__ = [
    "AftermathError",
    "InputError",
    "MediaError",
    "OutOfMemory",
    "ReasonerError",
    "WeightsError",
    "extra_needed",
    "plainly",
]


class AftermathError(Exception):
    """Base of every error this package raises on purpose."""


class InputError(AftermathError):
    """Something the user gave cannot be used: what it was, what is allowed, what to do.

    The three parts make one line: ``value: allowed; remedy``.
    """

    def __init__(self, value: str, allowed: str, remedy: str = "") -> None:
        self.value, self.allowed, self.remedy = value, allowed, remedy
        super().__init__(f"{value}: {allowed}" + (f"; {remedy}" if remedy else ""))

    def __reduce__(self) -> tuple[type[InputError], tuple[str, str, str]]:
        """So that it comes back whole from another process."""
        return type(self), (self.value, self.allowed, self.remedy)


def extra_needed(what: str, extra: str) -> str:
    """What ``what`` lacks, and how to install it: from the source, for the name on PyPI is another project's."""
    return f'{what} needs the extra {extra}: in its folder, pip install ".[{extra}]" (or uv run --extra {extra} ...)'


def plainly(complaint: str) -> str:
    """What pydantic says is wrong with a value, in our words: what it must be."""
    complaint = re.sub(r"^(Value|Assertion) error, ", "", complaint)
    for theirs, ours in (
        (r"^Input should be ", "must be "),
        (r"^(Field required|Missing required argument)$", "is missing"),
        (r"^Unexpected keyword argument$", "is no option"),
        (r"^Unexpected positional argument$", "must be given by its name"),
        (r"^('.*') is not one of (.*)\.$", r"\1 must be one of \2"),
        (r"^Tuple should have .*", "must have as many numbers as the form asks for"),
        (r"^Invalid JSON: ", "must be JSON: "),
        (r", unable to parse string as an? \w+", ""),
        (r"a valid integer", "a whole number"),
        (r"a valid number", "a number"),
        (r"a valid (array|list)", "a list"),
        (r", got a number with a fractional part", ""),
    ):
        complaint = re.sub(theirs, ours, complaint)
    return complaint


class MediaError(AftermathError):
    """A media file could not be decoded or encoded."""


class WeightsError(AftermathError):
    """Model weights are missing, of the wrong shape, or damaged."""


class ReasonerError(AftermathError):
    """A reasoner gave no usable answer. ``lasting``: nor will it, until the user changes something (a key, a name)."""

    def __init__(self, message: str, *, lasting: bool = False) -> None:
        self.lasting = lasting
        super().__init__(message)


class OutOfMemory(AftermathError):  # noqa: N818 - the name DESIGN.md gives it
    """A stage needs more memory than the machine has."""
