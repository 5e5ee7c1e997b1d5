"""Running a further command in a running container.

Owns the process the runtime is asked to start (docker's rules for user, environment, capabilities) and its streams: the
caller's descriptors go to it directly, a terminal comes through a console socket (runc, "terminals").
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.containers import accounts, capabilities, executables, runtime, surroundings, terminal
from engine.containers.config import merge_environment
from engine.containers.record import Places, Record
from engine.containers.terminal import Streams
from engine.errors import CommandNotExecutable, Conflict, EngineError, HostError, InvalidInput
from engine.values import dataclass

if TYPE_CHECKING:
    from engine.engine import Engine

CONSOLE_TIMEOUT_S = 10.0
HOLDER = "hold_terminal.py"


class ExecResult(NamedTuple):
    """``exit_code`` is None for a detached command; ``output`` is empty unless it was collected."""

    exit_code: int | None
    output: bytes


@dataclass(frozen=True)
class ExecConfig:
    """One command.

    ``streams`` None collects stdout and stderr together. ``interactive`` is true if the command gets the streams'
    stdin. ``working_dir`` and ``user`` are empty for the container's own.
    """

    command: tuple[str, ...]
    tty: bool = False
    interactive: bool = False
    detach: bool = False
    environment: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    privileged: bool = False
    streams: Streams | None = None
    detach_keys: str | None = None

    @classmethod
    def of(cls, command: str | Sequence[str], **settings: Any) -> ExecConfig:
        """From docker-py's loose forms: a string is split, the environment may be a mapping."""
        import shlex

        environment = settings.pop("environment", ())
        if isinstance(environment, Mapping):
            environment = [f"{name}={value}" for name, value in environment.items()]
        words = shlex.split(command) if isinstance(command, str) else command
        return cls(tuple(words), environment=tuple(environment or ()), **settings)


def run(engine: Engine, record: Record, config: ExecConfig) -> ExecResult:
    """Run a command in ``record``'s container (a row in line with its process).

    Conflict when it does not run or is paused, CommandNotFound and CommandNotExecutable as at a start.
    """
    _check(record, config)
    places = Places.of(engine.config, record.id)
    token = os.urandom(8).hex()
    description = places.bundle / f"exec-{token}.json"
    log = places.bundle / f"exec-{token}.log"
    try:
        try:
            document = process(record, places, config)
        except EngineError as error:
            raise _cannot_execute(error) from None
        description.write_text(json.dumps(document))
        command = [
            str(engine.containers.runtime.path),
            *("--log", str(log)),
            *engine.containers.runtime.options(),
            "exec",
            *("--process", str(description)),
        ]
        engine.events.emit(
            "container",
            f"exec_start: {' '.join(config.command)}",
            record.id,
            record.event_attributes(execID=token),
        )
        if config.tty:
            return _with_terminal(engine, record, config, command, token, log)
        return _plain(record, config, command, log)
    except OSError as error:
        raise HostError(f"executing in container {record.name}", error.strerror) from error
    finally:
        description.unlink(missing_ok=True)
        log.unlink(missing_ok=True)


def _check(record: Record, config: ExecConfig) -> None:
    if not config.command:
        raise InvalidInput("No exec command specified", remedy="give a command after the container")
    if record.status == "paused":
        raise Conflict(
            f"Container {record.name} is paused, unpause the container before exec",
            remedy=f"pilothouse unpause {record.name}",
        )
    if record.status == "restarting":
        raise Conflict(
            f"Container {record.id} is restarting, wait until the container is running",
            remedy=f"pilothouse logs {record.name} may tell why it ends",
        )
    if not record.is_up:
        raise Conflict(f"container {record.id} is not running", remedy=f"pilothouse start {record.name}")


def process(record: Record, places: Places, config: ExecConfig) -> dict[str, Any]:
    """The OCI process: the container's own with what the exec asks for."""
    root = Path(f"/proc/{record.pid}/root")
    document: dict[str, Any] = json.loads((places.bundle / "config.json").read_text())["process"]
    user = config.user or record.config.user
    account = accounts.lookup(root, user, record.config.group_add)
    environment = list(document["env"])
    if config.tty and not any(entry.startswith("TERM=") for entry in environment):
        environment.append("TERM=xterm")
    if config.user:
        environment = [entry for entry in environment if not entry.startswith("HOME=")] + [f"HOME={account.home}"]
    if config.working_dir and not config.working_dir.startswith("/"):
        raise InvalidInput(f"Cwd must be an absolute path: {config.working_dir}", remedy="start it with /")
    document["args"] = list(config.command)
    document["env"] = list(merge_environment(environment, config.environment))
    document["cwd"] = config.working_dir or document["cwd"]
    document["terminal"] = config.tty
    document["user"] = {
        "uid": account.uid,
        "gid": account.gid,
        "additionalGids": list(dict.fromkeys([account.gid, *account.groups])),
    }
    privileged = config.privileged or record.config.privileged
    wanted = capabilities.resolve(record.config.cap_add, record.config.cap_drop, privileged=privileged)
    kept = list(capabilities.cut(wanted, surroundings.bounding_set())[0])
    names = ("bounding", "effective", "permitted") if account.uid == 0 else ("bounding",)
    document["capabilities"] = dict.fromkeys(names, kept)
    executables.check(root, config.command[0], document["env"], document["cwd"])
    return document


def _plain(record: Record, config: ExecConfig, command: list[str], log: Path) -> ExecResult:
    if config.detach:
        done = subprocess.run(
            [*command, "--detach", record.id],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            check=False,
        )
        _raise_runtime_error(record, config, done.returncode, log)
        return ExecResult(None, b"")
    streams = config.streams
    if streams is None:
        collected = subprocess.run(
            [*command, record.id],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        _raise_runtime_error(record, config, collected.returncode, log)
        return ExecResult(_code(collected.returncode), collected.stdout)
    done = subprocess.run(
        [*command, record.id],
        stdin=streams.stdin if config.interactive and streams.stdin is not None else subprocess.DEVNULL,
        stdout=streams.stdout if streams.stdout is not None else subprocess.DEVNULL,
        stderr=streams.stderr if streams.stderr is not None else subprocess.DEVNULL,
        check=False,
    )
    _raise_runtime_error(record, config, done.returncode, log)
    return ExecResult(_code(done.returncode), b"")


def _with_terminal(
    engine: Engine, record: Record, config: ExecConfig, command: list[str], token: str, log: Path
) -> ExecResult:
    directory = engine.config.run_dir / "console"
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = directory / token
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as listener:
        anchor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            listener.bind(f"/proc/self/fd/{anchor}/{token}")
        finally:
            os.close(anchor)
        listener.listen(1)
        listener.settimeout(CONSOLE_TIMEOUT_S)
        child = subprocess.Popen(
            [*command, "--console-socket", str(path), *(["--detach"] if config.detach else []), record.id],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            master = _receive_terminal(listener, child)
        finally:
            path.unlink(missing_ok=True)
    if master is None:
        code = child.wait()
        _raise_runtime_error(record, config, code or 1, log)
        raise HostError(f"executing in container {record.name}", "the runtime sent no terminal")
    try:
        if config.detach:
            _hold(master)
            child.wait()
            return ExecResult(None, b"")
        streams = config.streams or Streams.standard(stdin=config.interactive)
        given = Streams(streams.stdin if config.interactive else None, streams.stdout, streams.stderr)
        if not terminal.pump(_Master(master), given, terminal=True, detach_keys=config.detach_keys):
            # The command goes on; somebody has to keep reading its terminal.
            _hold(master)
            return ExecResult(None, b"")
        code = child.wait()
        _raise_runtime_error(record, config, code, log)
        return ExecResult(_code(code), b"")
    finally:
        os.close(master)


def _receive_terminal(listener: socket.socket, child: subprocess.Popen[bytes]) -> int | None:
    """The terminal's master side, None when the runtime ended without sending it."""
    listener.settimeout(0.05)
    waited = 0.0
    while True:
        try:
            connection, _ = listener.accept()
            break
        except TimeoutError:
            waited += 0.05
            if child.poll() is not None or waited > CONSOLE_TIMEOUT_S:
                return None
    with connection:
        connection.settimeout(CONSOLE_TIMEOUT_S)
        try:
            _, ancillary, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC)
        except OSError:
            return None
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors = array.array("i", data[: len(data) - len(data) % 4])
            return int(descriptors[0])
    return None


class _Master:
    """The master side of an exec's terminal as a ``terminal.Channel``."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        return self._descriptor

    def receive(self) -> tuple[int, bytes]:
        try:
            return 1, os.read(self._descriptor, 65536)
        except OSError:
            # EIO: every process on the other side is gone (pty(7)).
            return 1, b""

    def send(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._descriptor, data) :]

    def finish_input(self) -> None:
        # A terminal has no half-close; the end of input is a character.
        with contextlib.suppress(OSError):
            os.write(self._descriptor, b"\x04")

    def resize(self, rows: int, columns: int) -> None:
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def _hold(master: int) -> None:
    """Hand the terminal to a process that reads it to the end, so that the command lives on without us."""
    script = Path(__file__).resolve().parent / HOLDER
    subprocess.Popen(
        [sys.executable, "-I", "-S", str(script)],
        stdin=master,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
    ).wait()


def _raise_runtime_error(record: Record, config: ExecConfig, code: int, log: Path) -> None:
    """A failure with words in the runtime's log is the runtime's; one without is the command's own exit code."""
    if code == 0 or not log.exists():
        return
    words = log.read_text(errors="replace")
    if not words.strip():
        return
    found: EngineError | None = runtime.command_error(words, config.command)
    raise found or _cannot_execute(HostError(f"executing in container {record.name}", runtime.clean(words)))


def _cannot_execute(error: EngineError) -> EngineError:
    """As docker: whatever keeps the command from being started is 126, unless the command is not there (127)."""
    if error.exit_code == 1:
        error.exit_code = CommandNotExecutable.exit_code
    return error


def _code(returncode: int) -> int:
    return returncode if returncode >= 0 else 128 - returncode
