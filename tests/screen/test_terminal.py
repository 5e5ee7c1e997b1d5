"""The real program on a real pseudo-terminal: what it writes, and what it leaves behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

pytestmark = pytest.mark.screen

PROGRAM = """
import sys
from tests.screen.recorded import Recording, console, many
from tui.app import show
sys.exit(show(console(Recording(containers=many(200)))))
"""


@dataclass
class Terminal:
    """A program on a terminal of 80 by 24."""

    process: subprocess.Popen[bytes]
    master: int
    slave: int
    before: list[object]

    def read(self, quiet: float = 0.6, limit: float = 20.0) -> bytes:
        """Everything written until nothing has come for ``quiet`` seconds."""
        out = b""
        end = time.monotonic() + limit
        while time.monotonic() < end:
            ready, _, _ = select.select([self.master], [], [], quiet)
            if not ready:
                break
            with contextlib.suppress(OSError):
                block = os.read(self.master, 65536)
                out += block
                if block:
                    continue
            break
        return out

    def wait_for(self, text: bytes, limit: float = 30.0) -> bytes:
        """Everything written until ``text`` has come."""
        out = b""
        end = time.monotonic() + limit
        while text not in out and time.monotonic() < end:
            out += self.read(0.3, 1.0)
        assert text in out, out[-2000:]
        return out

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self.master, keys)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    """The console over a recording of 200 containers."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    before = termios.tcgetattr(slave)
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8"}
    # A shell that exports its size, or anything built on readline, hands these on; the terminal alone decides.
    environment |= {"COLUMNS": "80", "LINES": "24"}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=slave, stdout=slave, stderr=slave, env=environment,
        preexec_fn=os.setsid,
    )  # fmt: skip
    found = Terminal(process, master, slave, before)
    try:
        found.wait_for(b"job-0000")
        found.read()
        yield found
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        os.close(master)
        os.close(slave)


def test_a_cursor_move_costs_at_most_500_bytes(terminal: Terminal) -> None:
    costs = []
    for _ in range(5):
        terminal.type(b"j")
        costs.append(len(terminal.read(0.4)))
    # The KB/s of the status row may fall into one of them.
    assert sorted(costs)[1] <= 500, costs
    assert min(costs) > 20, "nothing was painted"


def test_nothing_is_written_while_nothing_happens(terminal: Terminal) -> None:
    time.sleep(2.0)
    terminal.read(0.2)
    time.sleep(2.0)
    assert len(terminal.read(0.2)) <= 100


ENDINGS = {"q": (b"q", None), "SIGTERM": (b"", signal.SIGTERM), "SIGHUP": (b"", signal.SIGHUP)}


@pytest.mark.parametrize("ending", list(ENDINGS))
def test_the_terminal_is_restored(terminal: Terminal, ending: str) -> None:
    assert termios.tcgetattr(terminal.slave) != terminal.before
    keys, number = ENDINGS[ending]
    if number is None:
        terminal.type(keys)
    else:
        terminal.process.send_signal(number)
    out = terminal.read(1.0)
    code = terminal.process.wait(15)
    out += terminal.read(0.3)
    assert code == (0 if number is None else 128 + number)
    assert b"\x1b[?1049l" in out and b"\x1b[?25h" in out, "alternate screen left, cursor shown"
    assert b"Traceback" not in out
    assert termios.tcgetattr(terminal.slave) == terminal.before


def test_a_new_size_is_taken_up(terminal: Terminal) -> None:
    """Also where the environment names another size, which the size calls of Python believe first."""
    fcntl.ioctl(terminal.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    os.kill(terminal.process.pid, signal.SIGWINCH)
    terminal.wait_for(b"Images")
