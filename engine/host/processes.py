"""Processes: identity that survives pid reuse, signals, waiting, external programs.

Owns pid + start time as the only identity of a process (proc(5), field 22) and the wording when a program is missing.
A bare pid is never signalled.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from engine.errors import HostError

INSTALL_REMEDY = "run ./bootstrap setup, or install the package that has it"


def start_time(pid: int) -> int:
    """Start time of ``pid`` in clock ticks since boot, 0 when there is no such process or it is a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return 0
    # The command name is in parentheses and may itself hold spaces and parentheses.
    fields = text[text.rindex(")") + 2 :].split()
    return 0 if fields[0] in "ZX" else int(fields[19])


def is_alive(pid: int, started: int) -> bool:
    """True when the very process that had ``started`` at its start still runs."""
    return pid > 0 and started > 0 and start_time(pid) == started


def open_process(pid: int, started: int) -> int | None:
    """A pidfd of that very process, or None when it is gone; the caller closes it."""
    if pid <= 0:
        return None
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return None
    if is_alive(pid, started):
        return descriptor
    os.close(descriptor)
    return None


def send_signal(pid: int, started: int, number: int) -> bool:
    """Signal that very process; False when it is gone already."""
    descriptor = open_process(pid, started)
    if descriptor is None:
        return False
    try:
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def wait_gone(pid: int, started: int, timeout: float | None = None) -> bool:
    """Wait until that very process has ended; False when ``timeout`` seconds passed first."""
    descriptor = open_process(pid, started)
    if descriptor is None:
        return True
    try:
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        return bool(poller.poll(None if timeout is None else max(0, int(timeout * 1000))))
    finally:
        os.close(descriptor)


def run(
    step: str,
    arguments: Sequence[str],
    *,
    stdin: bytes | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float | None = 60.0,
    check: bool = True,
) -> subprocess.CompletedProcess[bytes]:
    """Run an external program and collect its output; HostError carries ``step`` and the program's own words."""
    try:
        result = subprocess.run(
            arguments,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            env=environment,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as error:
        raise HostError(step, f"{arguments[0]} is not installed", remedy=INSTALL_REMEDY) from error
    except subprocess.TimeoutExpired as error:
        raise HostError(step, f"{arguments[0]} gave no answer within {timeout:g} s") from error
    except OSError as error:
        raise HostError(step, f"{arguments[0]}: {error.strerror}") from error
    if check and result.returncode != 0:
        words = result.stderr.decode(errors="replace").strip() or f"exit status {result.returncode}"
        raise HostError(step, words)
    return result


def boot_id() -> str:
    """The kernel's id of this boot; run-time state from another boot is stale."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
