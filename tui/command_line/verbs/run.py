"""``run`` and ``create``: from flags to a container.

Owns the reading of every flag into the engine's settings (with docker's words for what cannot be read), and what a run
prints: the id with ``-d``, else the container's own output and its exit code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from engine.errors import Conflict, EngineError, InvalidInput, NotFound
from tui.command_line.grammar import Command, invalid_value
from tui.command_line.session import Session
from tui.command_line.values import environment, pairs

if TYPE_CHECKING:
    from engine.containers.container import Container

REFUSED = 125


def run(command: Command, session: Session) -> int:
    """Create a container and start it; attached to it unless ``-d``."""
    from tui.command_line.verbs.processes import require_terminal, start_attached

    detached = command.on("detach")
    interactive = command.on("interactive")
    if interactive and command.on("tty") and not detached and not command.on("dry-run"):
        require_terminal(session)
    try:
        if command.on("dry-run"):
            return _print_plan(command, session)
        container = _create(command, session)
        with _removed_on_failure(container, remove=command.on("rm")):
            if detached:
                container.start()
                session.line(container.id)
                return 0
            keys = command.text("detach-keys")
            return start_attached(
                container, session, stdin=interactive, keys=keys, proxy_signals=command.on("sig-proxy")
            )
    except EngineError as error:
        raise _refused(error) from error


@contextmanager
def _removed_on_failure(container: Container, *, remove: bool) -> Iterator[None]:
    """With ``--rm`` a container that could not be started is removed: nothing else would ever do it.

    One that was started, and only its output came to grief, goes with its own end.
    """
    try:
        yield
    except EngineError:
        if remove:
            with suppress(NotFound, Conflict):
                container.remove(v=True)
        raise


def create(command: Command, session: Session) -> int:
    """Create a container and print its id; what the engine refuses is an ordinary failure here, as docker's."""
    if command.on("dry-run"):
        return _print_plan(command, session)
    session.line(_create(command, session).id)
    return 0


def settings(command: Command) -> dict[str, Any]:
    """The engine's settings for the flags of ``run`` and ``create``; UsageError names the flag that is wrong."""
    from engine.containers import config as containers
    from engine.containers.mounts import parse_tmpfs, parse_volume
    from engine.network.ports import parse_expose, parse_publish

    read = _Reader(command)
    detached = command.on("detach")
    interactive = command.on("interactive")
    given: dict[str, Any] = {
        "name": command.text("name"),
        "environment": environment(command.all("env")),
        "working_dir": command.text("workdir"),
        "user": command.text("user"),
        "hostname": command.text("hostname"),
        "labels": read.whole("label", pairs),
        "tty": command.on("tty"),
        "stdin_open": interactive,
        "stdin_once": interactive and not detached,
        "attach_stdio": not detached,
        "auto_remove": command.on("rm"),
        "binds": [*read.each("volume", parse_volume), *read.each("tmpfs", parse_tmpfs)],
        "ports": [port for ports in read.each("publish", parse_publish) for port in ports],
        "exposed": [port for ports in read.each("expose", parse_expose) for port in ports],
        "network_mode": command.text("network") or "default",
        "restart_policy": read.one("restart", containers.parse_restart),
        "mem_limit": read.one("memory", containers.parse_memory),
        "nano_cpus": read.one("cpus", containers.parse_cpus),
        "pids_limit": command.number("pids-limit"),
        "cap_add": command.all("cap-add"),
        "cap_drop": command.all("cap-drop"),
        "privileged": command.on("privileged"),
        "read_only": command.on("read-only"),
        "init": command.on("init"),
        "stop_signal": command.text("stop-signal"),
    }
    if "entrypoint" in command.given:
        given["entrypoint"] = command.text("entrypoint")
    return {name: value for name, value in given.items() if value is not None}


class _Reader:
    """Applies the engine's own parsers to flags and turns their refusals into docker's message about the flag."""

    def __init__(self, command: Command) -> None:
        self._command = command

    def one(self, name: str, parse: Callable[[str], Any]) -> Any:
        text = self._command.text(name)
        return self._read(name, text, parse) if text else None

    def each(self, name: str, parse: Callable[[str], Any]) -> list[Any]:
        return [self._read(name, text, parse) for text in self._command.all(name)]

    def whole(self, name: str, parse: Callable[[tuple[str, ...]], Any]) -> Any:
        return parse(self._command.all(name))

    def _read(self, name: str, text: str, parse: Callable[[str], Any]) -> Any:
        try:
            return parse(text)
        except InvalidInput as error:
            flag = self._command.verb.flag(name)
            assert flag is not None  # every name read here is in the table
            complaint = invalid_value(self._command.verb, flag, text, str(error))
            complaint.remedy = error.remedy
            raise complaint from error


def _create(command: Command, session: Session) -> Container:
    image, *words = command.operands
    given = settings(command)
    _find_image(image, session)
    container: Container = session.containers.create(image, words or None, **given)
    return container


def _find_image(name: str, session: Session) -> None:
    """Say what docker says before it turns to a registry, which this version cannot."""
    try:
        session.engine.images.get(name)
    except NotFound as error:
        from engine.images.reference import parse

        session.note(f"Unable to find image '{parse(name).name()}' locally")
        raise NotFound(
            f"{error}: this version pulls from no registry",
            remedy=error.remedy or "build it, or load it from a file: pilothouse load -i FILE; see `pilothouse images`",
        ) from error


def _refused(error: EngineError) -> EngineError:
    """What the engine refuses ends a run with 125; 126 and 127 belong to the command inside."""
    if error.exit_code == 1:
        error.exit_code = REFUSED
    return error


def _print_plan(command: Command, session: Session) -> int:
    from engine.containers import preview
    from engine.containers.config import request

    image, *words = command.operands
    config = request(image, words or None, **settings(command))
    _find_image(image, session)
    session.lines(preview.creation(session.engine, config, start=command.verb.path[-1] == "run").render())
    return 0
