"""``logs``, ``exec`` and the attached ``run``: a container's own input and output.

Owns how they meet our streams. What a container writes is passed on as it is, byte for byte, as docker does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.errors import InvalidInput
from tui.command_line.grammar import Command
from tui.command_line.session import Session
from tui.command_line.values import environment

if TYPE_CHECKING:
    from engine.containers.container import Container


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
    from engine.containers.terminal import Streams

    name, *words = command.operands
    interactive = command.on("interactive")
    detached = command.on("detach")
    if interactive and command.on("tty") and not detached:
        require_terminal(session)
    session.out.flush()
    result = session.containers.get(name).exec(
        words,
        tty=command.on("tty"),
        interactive=interactive,
        detach=detached,
        environment=environment(command.all("env")),
        working_dir=command.text("workdir"),
        user=command.text("user"),
        privileged=command.on("privileged"),
        streams=None if detached else Streams.standard(stdin=interactive),
        detach_keys=command.text("detach-keys") or None,
    )
    return result.exit_code or 0


def start_attached(
    container: Container,
    session: Session,
    *,
    stdin: bool,
    keys: str = "",
    proxy_signals: bool = True,
) -> int:
    """Start a container with our streams joined to its own; its exit code is ours, 0 after detaching."""
    from engine.containers.terminal import Streams

    session.out.flush()
    code = container.attach(
        Streams.standard(stdin=stdin), start=True, sig_proxy=proxy_signals, detach_keys=keys or None
    )
    return code or 0


def require_terminal(session: Session) -> None:
    """docker's refusal of ``-it`` where stdin is none."""
    if not session.stdin.isatty():
        raise InvalidInput("the input device is not a TTY", remedy="leave -t out when stdin is a pipe or a file")


def _tail(text: str) -> int | None:
    """How many lines; docker takes anything that is no number for all."""
    try:
        count = int(text)
    except ValueError:
        return None
    return None if count < 0 else count
