"""``logs``, ``exec`` and the attached ``run``: a container's own input and output.

Owns how they meet our streams. What a container writes is passed on as it is, byte for byte, as docker does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.errors import EngineError, InvalidInput
from tui.command_line.grammar import Command
from tui.command_line.session import Session
from tui.command_line.verbs.run import environment

if TYPE_CHECKING:
    from engine.containers.container import Container

REFUSED = 125


def logs(command: Command, session: Session) -> int:
    """Print what a container wrote: its stdout to ours, its stderr to ours."""
    container = session.containers.get(command.operands[0])
    stamps = command.on("timestamps")
    streams = {"stdout": session.out_bytes, "stderr": session.err_bytes}
    try:
        for line in container.logs(tail=_tail(command.text("tail")), follow=command.on("follow")):
            stream = streams[line.stream]
            stream.write(f"{line.stamp} ".encode() + line.text if stamps else line.text)
            if command.on("follow") or line.stream == "stderr":
                stream.flush()
    finally:
        for stream in streams.values():
            stream.flush()
    return 0


def execute(command: Command, session: Session) -> int:
    """Run a command in a running container; its exit code is ours."""
    raise NotImplementedError


def _tail(text: str) -> int | None:
    """How many lines; docker takes anything that is no number for all."""
    try:
        count = int(text)
    except ValueError:
        return None
    return None if count < 0 else count
