"""Joining a container's own streams through conmon's attach socket.

Owns the socket's protocol (SEQPACKET; the first byte of a packet is 2 for stdout, 3 for stderr) and the foreground
run: attach before the command runs, proxy signals, answer for the exit, detach.
"""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from engine.containers import conmon, terminal
from engine.containers.record import Places, Record
from engine.containers.terminal import SlowClient, Streams
from engine.errors import Conflict, EngineError, HostError

if TYPE_CHECKING:
    from engine.engine import Engine

PACKET = 32 * 1024 + 1
_STREAMS = {2: 1, 3: 2}

__all__ = ["Attachment", "Streams", "connect", "foreground"]


class Attachment:
    """A connection to one container's streams; a ``terminal.Channel``."""

    def __init__(self, bundle: Path) -> None:
        self._bundle = bundle
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        try:
            directory = os.open(bundle, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                # A socket's address holds 108 bytes; the bundle's path may be longer.
                self._socket.connect(f"/proc/self/fd/{directory}/attach")
            finally:
                os.close(directory)
        except OSError as error:
            self._socket.close()
            raise HostError("attaching to the container", error.strerror) from error

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._socket.fileno()

    def receive(self) -> tuple[int, bytes]:
        """(1 stdout or 2 stderr, bytes); no bytes when conmon has closed."""
        try:
            packet = self._socket.recv(PACKET)
        except OSError:
            packet = b""
        return (_STREAMS.get(packet[0], 1), packet[1:]) if packet else (1, b"")

    def send(self, data: bytes) -> None:
        """Bytes for the container's stdin."""
        self._socket.sendall(data)

    def finish_input(self) -> None:
        """Half-close: conmon then closes the container's stdin, unless it is to stay open."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def resize(self, rows: int, columns: int) -> None:
        """Through conmon's control fifo."""
        conmon.resize(self._bundle, rows, columns)

    def close(self) -> None:
        """Leave; the container does not notice."""
        self._socket.close()


def connect(engine: Engine, record: Record) -> Attachment:
    """A connection to a running container; Conflict in docker's words for any other."""
    if record.status == "paused":
        raise Conflict(
            "You cannot attach to a paused container, unpause it first", remedy=f"pilothouse unpause {record.name}"
        )
    if record.status == "restarting":
        raise Conflict(
            "You cannot attach to a restarting container, wait until it is running", remedy="pilothouse ps shows it"
        )
    if not record.is_up:
        raise Conflict(
            "You cannot attach to a stopped container, start it first", remedy=f"pilothouse start -a {record.name}"
        )
    return Attachment(Places.of(engine.config, record.id).bundle)


def foreground(
    engine: Engine, id: str, streams: Streams, *, start: bool, sig_proxy: bool, detach_keys: str | None
) -> int | None:
    """Attach, with ``start`` before the command runs; the exit code, or None when the operator detached."""
    terminal.parse_keys(detach_keys or "")
    lifecycle = engine.containers.lifecycle
    config = engine.containers.records.need(id).config
    # Answering for the exit saves the hook's start-up; with a policy the hook must not depend on this process.
    attended = start and not config.restart_policy.active
    opened: list[Attachment] = []
    if start:
        record = lifecycle.start(
            id,
            created=lambda current: opened.append(Attachment(Places.of(engine.config, current.id).bundle)),
            attended=attended,
        )
        if not opened:
            opened.append(connect(engine, record))
            attended = False
    else:
        record = engine.containers.get(id).refreshed()
        opened.append(connect(engine, record))
    channel = opened[0]
    try:
        ended = terminal.pump(
            channel,
            Streams(streams.stdin if config.stdin_open else None, streams.stdout, streams.stderr),
            terminal=config.tty,
            detach_keys=detach_keys,
            on_signal=(lambda number: _proxy(engine, record, number)) if sig_proxy and not config.tty else None,
            drop_slow=not start,
        )
        if not ended:
            return None
        return lifecycle.finish(id) if attended else lifecycle.wait(id)
    except SlowClient:
        raise EngineError(
            f"detached from {record.name}: its output was not read and it must not wait for it",
            remedy=f"pilothouse logs -f {record.name} shows everything it writes",
        ) from None
    finally:
        channel.close()
        if attended:
            engine.containers.unattend(record)


def _proxy(engine: Engine, record: Record, number: int) -> None:
    with contextlib.suppress(EngineError):
        engine.containers.lifecycle.kill(record.id, str(number))
