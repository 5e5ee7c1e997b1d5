"""Keeps a terminal (its own stdin) open and read until its last process is gone. A program for detached execs."""

from __future__ import annotations

import os


def main() -> None:
    """The program; it returns at once in the caller's process and reads on in the background."""
    if os.fork():
        return
    try:
        while os.read(0, 65536):
            pass
    except OSError:
        return


if __name__ == "__main__":
    main()
