"""``python -m aftermath``."""

from aftermath.cli import main

main()
