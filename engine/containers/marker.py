"""The marker of an engine that deals with a container's exit itself, so that the exit hook need not.

Owns one small file in the bundle: pid, start time and the run's generation. The hook skips only while that very
process lives, is not suspended, and the generation is its own; in any other case the hook does the work.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from engine.host import processes

STOPPED_STATES = "tT"


def leave(path: Path, generation: int) -> None:
    """Say that this process will deal with the exit of run ``generation``."""
    content = {"pid": os.getpid(), "start": processes.start_time(os.getpid()), "generation": generation}
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(content))
    temporary.rename(path)


def take_away(path: Path) -> None:
    """Take back what this process said; another process's marker stays."""
    try:
        if json.loads(path.read_text()).get("pid") == os.getpid():
            path.unlink(missing_ok=True)
    except (OSError, ValueError):
        return


def stands(path: Path, generation: int) -> bool:
    """True while a living process deals with the exit of run ``generation``."""
    try:
        content = json.loads(path.read_text())
        pid, started = int(content["pid"]), int(content["start"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
    if content.get("generation") != generation or not processes.is_alive(pid, started):
        return False
    return _state(pid) not in STOPPED_STATES


def _state(pid: int) -> str:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return "X"
    return text[text.rindex(")") + 2]
