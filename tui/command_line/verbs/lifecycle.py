"""``start``, ``stop``, ``restart``, ``kill``, ``pause``, ``unpause``, ``rm`` and ``wait``.

Owns their output: the name of each container dealt with, as it was given; errors apart, and 1 if there were any.
"""

from __future__ import annotations

from engine.errors import EngineError, NotFound
from tui.command_line.grammar import Command, UsageError
from tui.command_line.session import Session

DEFAULT_TIMEOUT_S = 10


def start(command: Command, session: Session) -> int:
    """Start containers; with ``-a`` or ``-i`` a single one, attached, whose exit code is ours."""
    containers = session.containers
    if command.on("dry-run"):
        for name in command.operands:
            session.lines(containers.plan_start(name))
        return 0
    if command.on("attach") or command.on("interactive"):
        if len(command.operands) > 1:
            raise UsageError("you cannot start and attach multiple containers at once", command.verb, exit_code=1)
        from tui.command_line.verbs.processes import start_attached

        container = containers.get(command.operands[0])
        return start_attached(container, session, stdin=command.on("interactive"), keys=command.text("detach-keys"))
    return session.each(command.operands, lambda name: containers.get(name).start())


def stop(command: Command, session: Session) -> int:
    """Stop containers: the stop signal, then SIGKILL after the timeout (a container's own, or 10 s)."""
    containers = session.containers
    if command.on("dry-run"):
        for name in command.operands:
            session.lines(containers.plan_stop(name, timeout=command.number("timeout")))
        return 0
    return session.each(
        command.operands,
        lambda name: containers.get(name).stop(
            timeout=command.number("timeout"), signal=command.text("signal") or None
        ),
    )


def restart(command: Command, session: Session) -> int:
    """Stop and start containers."""
    return session.each(
        command.operands,
        lambda name: session.containers.get(name).restart(timeout=command.number("timeout")),
    )


def kill(command: Command, session: Session) -> int:
    """Signal containers, SIGKILL by default."""
    return session.each(
        command.operands,
        lambda name: session.containers.get(name).kill(command.text("signal") or "SIGKILL"),
    )


def pause(command: Command, session: Session) -> int:
    """Freeze containers."""
    return session.each(command.operands, lambda name: session.containers.get(name).pause())


def unpause(command: Command, session: Session) -> int:
    """Let frozen containers go on."""
    return session.each(command.operands, lambda name: session.containers.get(name).unpause())


def remove(command: Command, session: Session) -> int:
    """Remove containers; with ``-f`` running ones too, and one that is not there is told but is no failure."""
    containers = session.containers
    force = command.on("force")
    if command.on("dry-run"):
        for name in command.operands:
            session.lines(containers.plan_remove(name, force=force, v=command.on("volumes")))
        return 0
    code = 0
    for name in command.operands:
        try:
            containers.get(name).remove(force=force, v=command.on("volumes"))
        except EngineError as error:
            session.complain(error)
            code = code if force and isinstance(error, NotFound) else 1
        else:
            session.line(name)
    return code


def wait(command: Command, session: Session) -> int:
    """Print the exit code of each container when it stops."""
    return session.each(command.operands, lambda name: str(session.containers.get(name).wait()))
