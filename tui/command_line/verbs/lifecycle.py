"""``start``, ``stop``, ``restart``, ``kill``, ``pause``, ``unpause``, ``rm`` and ``wait``.

Owns their output: the name of each container dealt with, as it was given; errors apart, and 1 if there were any.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from engine.errors import EngineError, NotFound
from tui.command_line.grammar import Command, UsageError
from tui.command_line.session import Session

if TYPE_CHECKING:
    from engine.containers.container import Container


def start(command: Command, session: Session) -> int:
    """Start containers; with ``-a`` or ``-i`` a single one, attached, whose exit code is ours."""
    containers = session.containers
    if command.on("dry-run"):
        return _dry_run(command, session)
    if command.on("attach") or command.on("interactive"):
        if len(command.operands) > 1:
            raise UsageError("you cannot start and attach multiple containers at once", command.verb, exit_code=1)
        from tui.command_line.verbs.processes import start_attached

        container = containers.get(command.operands[0])
        return start_attached(container, session, stdin=command.on("interactive"), keys=command.text("detach-keys"))
    return session.each(command.operands, lambda name: containers.get(name).start())


def stop(command: Command, session: Session) -> int:
    """Stop containers: the stop signal, then SIGKILL after the timeout (a container's own, or 10 s)."""
    if command.on("dry-run"):
        return _dry_run(command, session)
    timeout, signal = command.number("timeout"), command.text("signal")
    return _each(command, session, lambda container: container.stop(timeout, signal))


def restart(command: Command, session: Session) -> int:
    """Stop and start containers."""
    return _each(command, session, lambda container: container.restart(command.number("timeout")))


def kill(command: Command, session: Session) -> int:
    """Signal containers, SIGKILL by default."""
    return _each(command, session, lambda container: container.kill(command.text("signal") or "SIGKILL"))


def pause(command: Command, session: Session) -> int:
    """Freeze containers."""
    return _each(command, session, lambda container: container.pause())


def unpause(command: Command, session: Session) -> int:
    """Let frozen containers go on."""
    return _each(command, session, lambda container: container.unpause())


def remove(command: Command, session: Session) -> int:
    """Remove containers; with ``-f`` running ones too, and one that is not there is told but is no failure."""
    if command.on("dry-run"):
        return _dry_run(command, session)
    force, volumes = command.on("force"), command.on("volumes")
    failed: set[str] = set()

    def act(name: str) -> None:
        try:
            session.containers.get(name).remove(force=force, v=volumes)
        except EngineError as error:
            # docker's rule: what is not there needs no force.
            if not (force and isinstance(error, NotFound)):
                failed.add(name)
            raise

    session.each(command.operands, act, together=True)
    return 1 if failed else 0


def wait(command: Command, session: Session) -> int:
    """Print the exit code of each container when it stops."""
    containers = session.containers
    return session.each(command.operands, lambda name: str(containers.get(name).wait()), together=True)


def _each(command: Command, session: Session, act: Callable[[Container], None]) -> int:
    """Do one thing to all named containers at the same time."""
    containers = session.containers
    return session.each(command.operands, lambda name: act(containers.get(name)), together=True)


def _dry_run(command: Command, session: Session) -> int:
    """What start, stop or rm would do to each container."""
    from engine.containers import preview

    def act(name: str) -> str:
        record = session.containers.records.find(name)
        if command.verb.path == ("start",):
            plan = preview.start(session.engine, record)
        elif command.verb.path == ("stop",):
            plan = preview.stop(session.engine, record, command.number("timeout"))
        else:
            plan = preview.removal(session.engine, record, force=command.on("force"), volumes=command.on("volumes"))
        return "\n".join(plan.render())

    return session.each(command.operands, act)
