"""``aftermath`` and ``python -m aftermath``."""

import signal

__all__ = ["main"]


def main() -> None:
    """Run the command line. Until it is loaded an interrupt ends the program without a word, not with a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from aftermath.cli import main as run

    run()


if __name__ == "__main__":
    main()
