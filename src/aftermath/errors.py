"""The exceptions this package raises on purpose.

AftermathError
├── InputError        the caller asked for something that cannot be (command line: exit 2)
├── MediaError        a file could not be decoded or encoded
├── WeightsError      model weights are missing, wrong or damaged
├── ReasonerError     a reasoner could not answer
└── OutOfMemory       a stage needs more memory than the machine has

The library never prints and never exits: the command line and the web app translate these.
"""

__all__ = [
    "AftermathError",
    "InputError",
    "MediaError",
    "OutOfMemory",
    "ReasonerError",
    "WeightsError",
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


class MediaError(AftermathError):
    """A media file could not be decoded or encoded."""


class WeightsError(AftermathError):
    """Model weights are missing, of the wrong shape, or damaged."""


class ReasonerError(AftermathError):
    """A reasoner gave no usable answer."""


class OutOfMemory(AftermathError):  # noqa: N818 - the name DESIGN.md gives it
    """A stage needs more memory than the machine has."""
