"""Terminals and byte streams between an operator and a process: raw mode, window size, detach keys, the pump.

Owns one loop that serves attach and exec alike over a ``Channel``. Only descriptors are touched, never their flags: a
shell shares them. Output goes through a bounded buffer; what happens when it is full is the caller's choice.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import termios
import threading
import tty
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from engine.errors import HostError, InvalidInput
from engine.values import dataclass

DEFAULT_DETACH_KEYS = "ctrl-p,ctrl-q"
BUFFER_LIMIT = 4 << 20
CHUNK = 8192
# A pipe or terminal that polls writable takes this much without blocking (pipe(7), PIPE_BUF).
WRITE_CHUNK = 4096
PROXIED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


@dataclass(frozen=True)
class Streams:
    """The operator's side as descriptors; ``stdin`` None when nothing is to be sent."""

    stdin: int | None = None
    stdout: int | None = None
    stderr: int | None = None

    @classmethod
    def standard(cls, *, stdin: bool) -> Streams:
        """This process's own standard streams."""
        return cls(0 if stdin else None, 1, 2)


class Channel(Protocol):
    """The process's side."""

    def fileno(self) -> int:
        """To be polled for reading."""

    def receive(self) -> tuple[int, bytes]:
        """(1 for stdout or 2 for stderr, bytes); no bytes at the end."""

    def send(self, data: bytes) -> None:
        """Bytes for the process's stdin; OSError when it is gone."""

    def finish_input(self) -> None:
        """The operator's input has ended."""

    def resize(self, rows: int, columns: int) -> None:
        """The operator's window has this size now."""


class SlowClient(Exception):
    """The operator's side did not read for so long that the buffer is full."""


class DetachKeys:
    """Finds the detach sequence in typed bytes; a sequence that is only begun is passed on when it breaks off."""

    def __init__(self, text: str | None) -> None:
        self._sequence = parse_keys(DEFAULT_DETACH_KEYS if text is None else text)
        self._matched = 0

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """(bytes to pass on, True when the sequence is complete)."""
        if not self._sequence:
            return data, False
        passed = bytearray()
        for byte in data:
            if byte == self._sequence[self._matched]:
                self._matched += 1
                if self._matched == len(self._sequence):
                    return bytes(passed), True
                continue
            passed += self._sequence[: self._matched]
            self._matched = 0
            if byte == self._sequence[0]:
                self._matched = 1
            else:
                passed.append(byte)
        return bytes(passed), False


def parse_keys(text: str) -> bytes:
    """The bytes of ``ctrl-p,ctrl-q`` or ``a,b``; empty text turns detaching off. InvalidInput in docker's words."""
    found = bytearray()
    for key in filter(None, text.split(",")):
        if len(key) == 1 and key.isascii():
            found += key.encode()
        elif key.startswith("ctrl-") and len(key) == 6 and (key[5].isalpha() or key[5] in "@[\\]^_"):
            found.append(ord(key[5].upper()) ^ 0x40)
        else:
            raise InvalidInput(
                f"Unknown character: '{key}'", remedy="detach keys are single characters and ctrl-<letter>, with commas"
            )
    return bytes(found)


def window_size(descriptor: int) -> tuple[int, int] | None:
    """(rows, columns) of the terminal behind ``descriptor``; None when it is none."""
    try:
        size = os.get_terminal_size(descriptor)
    except OSError:
        return None
    return size.lines, size.columns


@contextlib.contextmanager
def raw_mode(descriptor: int | None) -> Iterator[None]:
    """The terminal passes every key on while the block runs; nothing happens for anything but a terminal."""
    if descriptor is None or not os.isatty(descriptor):
        yield
        return
    before = termios.tcgetattr(descriptor)
    try:
        tty.setraw(descriptor, termios.TCSANOW)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


class Signals:
    """While entered, signals are counted instead of obeyed and wake a poll; only in the main thread, else nothing."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self._numbers = numbers
        self._before: dict[int, object] = {}
        self._wakeup = -1
        self.arrived: list[int] = []
        self.reader = -1
        self._writer = -1

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            self.reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
            self._wakeup = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
            for number in self._numbers:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        if self.reader >= 0:
            signal.set_wakeup_fd(self._wakeup)
            os.close(self.reader)
            os.close(self._writer)

    def _note(self, number: int, _: object) -> None:
        self.arrived.append(number)

    def take(self) -> list[int]:
        """The signals that came since the last call."""
        with contextlib.suppress(OSError):
            os.read(self.reader, 512)
        found, self.arrived = self.arrived, []
        return found


def pump(
    channel: Channel,
    streams: Streams,
    *,
    terminal: bool,
    detach_keys: str | None = None,
    on_signal: Callable[[int], None] | None = None,
    drop_slow: bool = False,
) -> bool:
    """Carry bytes both ways until the process's side ends (True) or the operator detaches (False).

    ``terminal``: the process has a terminal, so keys go raw, the window's size is passed on and detach keys work.
    ``drop_slow`` raises SlowClient when the operator does not read, so that the process is never held up; else it is.
    Output that cannot be passed on ends it, as docker's client: BrokenPipeError when its reader has gone, HostError
    for anything else (a full disk). The process goes on.
    """
    keys = DetachKeys(detach_keys) if terminal else DetachKeys("")
    numbers = [*(PROXIED if on_signal is not None else ()), *([signal.SIGWINCH] if terminal else [])]
    screen = streams.stdout if streams.stdout is not None else streams.stdin
    with raw_mode(streams.stdin if terminal else None), Signals(numbers) as arrivals:
        loop = _Loop(channel, streams, keys, drop_slow)
        if terminal:
            _pass_size(channel, screen)
        while True:
            ended = loop.once(arrivals.reader)
            for number in arrivals.take() if arrivals.reader >= 0 else ():
                if number == signal.SIGWINCH:
                    _pass_size(channel, screen)
                elif on_signal is not None:
                    on_signal(number)
            if ended is not None:
                return ended


def _pass_size(channel: Channel, screen: int | None) -> None:
    size = None if screen is None else window_size(screen)
    if size is not None:
        channel.resize(*size)


class _Loop:
    """The pump's poll loop and its buffers."""

    def __init__(self, channel: Channel, streams: Streams, keys: DetachKeys, drop_slow: bool) -> None:
        self._channel = channel
        self._keys = keys
        self._drop_slow = drop_slow
        self._stdin = streams.stdin
        self._targets = {1: streams.stdout, 2: streams.stderr}
        self._buffers = {1: bytearray(), 2: bytearray()}
        self._ended = False

    def once(self, wakeup: int) -> bool | None:
        """One poll and what it calls for; True at the end, False on detach, None to go on."""
        poller = select.poll()
        pending = {index: buffer for index, buffer in self._buffers.items() if buffer}
        if self._ended and not pending:
            return True
        full = any(len(buffer) >= BUFFER_LIMIT for buffer in self._buffers.values())
        if full and self._drop_slow:
            raise SlowClient
        if not self._ended and not full:
            poller.register(self._channel.fileno(), select.POLLIN)
        if self._stdin is not None and not self._ended:
            poller.register(self._stdin, select.POLLIN)
        if wakeup >= 0:
            poller.register(wakeup, select.POLLIN)
        writable: dict[int, list[int]] = {}
        for index in pending:
            target = self._targets[index]
            assert target is not None
            writable.setdefault(target, []).append(index)
        for target in writable:
            poller.register(target, select.POLLOUT)
        ready = dict(poller.poll())
        for target, indexes in writable.items():
            if target in ready:
                self._write(target, indexes[0])
        if self._channel.fileno() in ready and not full and not self._ended:
            self._receive()
        if self._stdin is not None and self._stdin in ready and self._stdin not in writable:
            return self._type()
        return None

    def _write(self, target: int, index: int) -> None:
        buffer = self._buffers[index]
        try:
            count = os.write(target, buffer[:WRITE_CHUNK])
        except BrokenPipeError:
            raise
        except OSError as error:
            raise HostError("writing the output", error.strerror) from error
        del buffer[:count]

    def _receive(self) -> None:
        index, data = self._channel.receive()
        if not data:
            self._ended = True
        elif self._targets[index] is not None:
            self._buffers[index] += data

    def _type(self) -> bool | None:
        assert self._stdin is not None
        try:
            data = os.read(self._stdin, CHUNK)
        except OSError:
            data = b""
        if not data:
            self._stdin = None
            self._channel.finish_input()
            return None
        passed, detached = self._keys.feed(data)
        try:
            if passed:
                self._channel.send(passed)
        except OSError:
            self._stdin = None
        return False if detached else None
