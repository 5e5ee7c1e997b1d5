"""What a build tells while it goes on.

Owns the one event class. The same stream serves the command line's plain text and the console's progress pane.
"""

from __future__ import annotations

from typing import Literal

from engine.values import dataclass

Kind = Literal["step", "output", "cached", "warning", "done", "error"]


@dataclass(frozen=True)
class BuildEvent:
    """One event.

    ``step`` of ``total`` counts instructions from 1, FROM included. ``text`` is, by ``kind``: ``step`` the instruction
    about to be carried out; ``cached`` the chain id of the layer that was found instead; ``output`` a piece of the
    process's output as it came (not necessarily whole lines, control codes included); ``warning`` a sentence; ``done``,
    last of all, the built image's id; or else, last of all, ``error`` the message the build ends with. ``seconds`` is
    the time since the build began.
    """

    kind: Kind
    step: int
    total: int
    text: str
    seconds: float
