"""The marker of an engine that deals with a container's exit itself, so that the exit hook need not.

Owns one small file in the bundle: pid, start time and the run's generation, in plain text. The hook skips only while
that very process lives, is not suspended, and the generation is its own; in any other case the hook does the work.
Imports next to nothing: for most exits this is all the hook runs, while an engine waits for the processor it uses.
"""

# ruff: noqa: PTH104, PTH108
# pathlib takes longer to load than the hook's short way takes in all.

from __future__ import annotations

import os

STOPPED_STATES = "tTZX"


def leave(path: str | os.PathLike[str], generation: int) -> None:
    """Say that this process will deal with the exit of run ``generation``."""
    _, started = _process(os.getpid())
    temporary = f"{os.fspath(path)}.{os.getpid()}"
    with open(temporary, "w", encoding="ascii") as file:
        file.write(f"{os.getpid()} {started} {generation}\n")
    os.rename(temporary, path)


def take_away(path: str | os.PathLike[str]) -> None:
    """Take back what this process said; another process's marker stays."""
    content = _read(path)
    if content is not None and content[0] == os.getpid():
        try:
            os.unlink(path)
        except FileNotFoundError:
            return


def stands(path: str | os.PathLike[str], generation: int) -> bool:
    """True while a living process deals with the exit of run ``generation``."""
    content = _read(path)
    if content is None or content[2] != generation:
        return False
    state, started = _process(content[0])
    return started == content[1] and state not in STOPPED_STATES


def _read(path: str | os.PathLike[str]) -> tuple[int, int, int] | None:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            pid, started, generation = file.read(200).split()
        return int(pid), int(started), int(generation)
    except (OSError, ValueError):
        return None


def _process(pid: int) -> tuple[str, int]:
    """(state, start time in clock ticks) of ``pid`` (proc(5)); ("X", 0) when there is none."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        return "X", 0
    fields = text[text.rindex(")") + 2 :].split()
    return fields[0], int(fields[19])
