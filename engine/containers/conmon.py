"""conmon, the monitor of one container: launching it, its control fifo, its exit files.

Owns conmon's command line and the pipes of its start-up (conmon(8)). conmon keeps the container's terminal and log,
holds the bound sockets of its published ports, writes the exit file and calls the exit hook. It runs in its own
session and outside of the caller's cgroups, so neither a closed terminal nor a logout ends it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from engine.config import Config
from engine.containers.runtime import SEARCH_PATH, Runtime, find_program
from engine.errors import HostError
from engine.host import cgroups, processes
from engine.values import dataclass

CGROUP = "conmon"
SYNC_LIMIT = 1 << 20


@dataclass(frozen=True)
class Launch:
    """One start of a container.

    ``bundle`` holds config.json and gets pid files, ``attach`` socket and fifos; ``arguments`` are the container's
    own, for error messages; ``sockets`` are descriptors conmon keeps open as long as the container lives; ``hook`` is
    the command conmon runs after the exit.
    """

    id: str
    name: str
    bundle: Path
    log: Path
    exits: Path
    arguments: Sequence[str]
    hook: Sequence[str]
    tty: bool = False
    stdin: bool = False
    keep_stdin: bool = False
    sockets: Sequence[int] = ()


@dataclass(frozen=True)
class Monitored:
    """A created container and its monitor, each told by pid and start time."""

    pid: int
    pid_start: int
    conmon_pid: int
    conmon_start: int


def launch(config: Config, runtime: Runtime, start: Launch) -> Monitored:
    """Start conmon, which creates the container (its command not yet running).

    Raises what the runtime said; then nothing of conmon is left but, perhaps, its hook, which finds nothing to do.
    """
    program = find_program(config.conmon, "finding the container monitor")
    sync_read, sync_write = os.pipe()
    gate_read, gate_write = os.pipe()
    try:
        try:
            process = subprocess.Popen(
                _command(program, runtime, start),
                pass_fds=(sync_write, gate_read, *start.sockets),
                env={
                    "PATH": f"{os.environ.get('PATH', '')}:{SEARCH_PATH}".lstrip(":"),
                    "_OCI_SYNCPIPE": str(sync_write),
                    "_OCI_STARTPIPE": str(gate_read),
                },
                start_new_session=True,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            raise HostError("starting conmon", error.strerror) from error
        finally:
            os.close(sync_write)
            os.close(gate_read)
        try:
            # conmon waits at this gate, so whatever it starts is born in the right cgroup.
            cgroups.leave_caller(process.pid, f"{config.cgroup_parent}/{CGROUP}")
        except HostError:
            process.kill()
            process.wait()
            raise
        os.write(gate_write, b"\0")
        os.close(gate_write)
        gate_write = -1
        answer = _read_all(sync_read)
    finally:
        os.close(sync_read)
        if gate_write >= 0:
            os.close(gate_write)
    # The process we started forks the real monitor and ends at once.
    process.wait()
    assert process.stderr is not None
    with process.stderr:
        os.set_blocking(process.stderr.fileno(), False)
        words = (process.stderr.read() or b"").decode(errors="replace")
    pid, message = _parse(answer)
    if pid <= 0:
        raise runtime.error(message or words, start.arguments, f"creating container {start.id[:12]}")
    conmon_pid = int((start.bundle / "conmon.pid").read_text() or 0)
    return Monitored(pid, processes.start_time(pid), conmon_pid, processes.start_time(conmon_pid))


def _command(program: Path, runtime: Runtime, start: Launch) -> list[str]:
    command = [
        str(program),
        *("--api-version", "1"),
        *("--cid", start.id),
        *("--cuuid", start.id),
        *("--name", start.name),
        *("--runtime", str(runtime.path)),
        *("--bundle", str(start.bundle)),
        *("--persist-dir", str(start.bundle)),
        *("--container-pidfile", str(start.bundle / "pid")),
        *("--conmon-pidfile", str(start.bundle / "conmon.pid")),
        *("--exit-dir", str(start.exits)),
        *("--log-path", f"k8s-file:{start.log}"),
        *("--log-level", "error"),
        # The socket then lies in the bundle under the name "attach", however long the path.
        "--full-attach",
        "--no-sync-log",
    ]
    for option in runtime.options():
        command += ["--runtime-arg", option]
    if start.tty:
        command.append("--terminal")
    if start.stdin:
        command.append("--stdin")
    if start.keep_stdin:
        command.append("--leave-stdin-open")
    command += ["--exit-command", start.hook[0]]
    for argument in start.hook[1:]:
        command += ["--exit-command-arg", argument]
    return command


def hook_command(config: Config, id: str, generation: int) -> list[str]:
    """The exit hook's command line: absolute paths, both directories, and the rest of the configuration as JSON."""
    return engine_program("exit_hook.py", config, id, str(generation))


def engine_program(script: str, config: Config, *arguments: str) -> list[str]:
    """The command line of one of this package's own programs, isolated from the environment and site packages."""
    rest = {
        "netns_dir": str(config.netns_dir),
        "runtime": config.runtime,
        "conmon": config.conmon,
        "firewall": config.firewall,
        "storage_driver": config.storage_driver,
        "bridge": config.bridge,
        "bridge_subnet": config.bridge_subnet,
        "chain_prefix": config.chain_prefix,
        "cgroup_parent": config.cgroup_parent,
    }
    path = Path(__file__).resolve().parent / script
    directories = [str(config.data_root.absolute()), str(config.run_dir.absolute())]
    return [sys.executable, "-I", "-S", str(path), *directories, json.dumps(rest), *arguments]


def resize(bundle: Path, rows: int, columns: int) -> bool:
    """Tell conmon the terminal's size; False when it does not listen (yet, or any more)."""
    return _control(bundle, f"1 {rows} {columns}\n")


def _control(bundle: Path, message: str) -> bool:
    # One message a write: conmon takes coalesced ones as repeats of the first.
    try:
        descriptor = os.open(bundle / "ctl", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(descriptor, message.encode())
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _read_all(descriptor: int) -> bytes:
    content = b""
    while len(content) < SYNC_LIMIT:
        part = os.read(descriptor, 65536)
        if not part:
            break
        content += part
        # conmon keeps the pipe open as long as it lives: one JSON object is the whole answer.
        if content.rstrip().endswith(b"}"):
            break
    return content


def _parse(answer: bytes) -> tuple[int, str]:
    try:
        data = json.loads(answer)
        return int(data.get("data", -1)), str(data.get("message", ""))
    except ValueError:
        return -1, ""
