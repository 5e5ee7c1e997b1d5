"""A container's log, read from the file conmon writes (k8s-file: ``TIME STREAM F|P TEXT``).

Owns parsing, joining partial lines, tail, since, until and following. Never touches conmon's sockets, so a reader that
stops reading can never block the container.
"""

from __future__ import annotations

import ctypes
import os
import select
import struct
from collections import deque
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from engine.containers.record import Places, Record
from engine.host import processes
from engine.values import dataclass

if TYPE_CHECKING:
    from engine.engine import Engine

BLOCK = 65536
JOIN_LIMIT = 1 << 20
POLL_MS = 200
_IN_MODIFY, _IN_MOVE_SELF, _IN_DELETE_SELF = 0x2, 0x800, 0x400
_libc = ctypes.CDLL(None, use_errno=True)


class LogLine(NamedTuple):
    """One line; ``stream`` is stdout or stderr, ``text`` ends with a newline unless the line was left open.

    ``time`` is in seconds since the epoch, ``stamp`` the same as RFC 3339 with nanoseconds.
    """

    stream: str
    text: bytes
    time: float
    stamp: str


@dataclass(frozen=True)
class Selection:
    """What to show; ``tail`` counts lines from the end (None: all), times are seconds since the epoch."""

    stdout: bool = True
    stderr: bool = True
    tail: int | None = None
    since: float | None = None
    until: float | None = None


def read(
    engine: Engine,
    record: Record,
    selection: Selection,
    *,
    follow: bool = False,
    stop: Callable[[], bool] | None = None,
) -> Iterator[LogLine]:
    """The log of ``record``; with ``follow`` until its run ends (a restart goes on) or ``stop()`` says so."""
    places = Places.of(engine.config, record.id)
    for line in _lines(engine, record.id, places, selection.tail, follow, stop):
        if selection.until is not None and line.time > selection.until:
            return
        if selection.since is not None and line.time < selection.since:
            continue
        if (line.stream == "stdout" and selection.stdout) or (line.stream == "stderr" and selection.stderr):
            yield line


def _lines(
    engine: Engine, id: str, places: Places, tail: int | None, follow: bool, stop: Callable[[], bool] | None
) -> Iterator[LogLine]:
    joiner = Joiner()
    file = _open(places.log)
    try:
        while file is None:
            if not follow or _over(engine, id, places) or (stop is not None and stop()):
                return
            select.select([], [], [], POLL_MS / 1000)
            file = _open(places.log)
        if tail is not None:
            file.seek(tail_offset(file, tail))
        rest = b""
        with _Watch(places.log) as watch:
            while True:
                # Asked before the read: what is written before the end is read after this answer.
                over = not follow or _over(engine, id, places)
                for block in iter(lambda opened=file: opened.read(BLOCK), b""):  # type: ignore[misc]
                    lines = (rest + block).split(b"\n")
                    rest = lines.pop()
                    for line in lines:
                        yield from joiner.feed(line)
                if over or (stop is not None and stop()):
                    yield from joiner.flush()
                    return
                yield from joiner.flush()
                if _replaced(file, places.log):
                    # Rotated: the old file was read to its end above.
                    fresh = _open(places.log)
                    if fresh is not None:
                        file.close()
                        file, rest = fresh, b""
                        watch.renew(places.log)
                        continue
                watch.wait(POLL_MS)
    finally:
        if file is not None:
            file.close()


def _open(path: Path) -> BinaryIO | None:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None


def _replaced(file: BinaryIO, path: Path) -> bool:
    try:
        now = path.stat()
    except FileNotFoundError:
        return False
    opened = os.fstat(file.fileno())
    return (now.st_dev, now.st_ino) != (opened.st_dev, opened.st_ino)


def _over(engine: Engine, id: str, places: Places) -> bool:
    """True when nothing more will be written: conmon has drained the streams before it writes the exit file."""
    record = engine.containers.records.get(id)
    if record is None:
        return True
    if not record.is_up:
        return record.status != "restarting"
    if record.config.restart_policy.active:
        return False
    return places.exit_file.exists() or not processes.is_alive(record.conmon_pid, record.conmon_start)


class Joiner:
    """Puts the pieces of long and of unfinished lines together (conmon cuts them and tags each piece P)."""

    def __init__(self) -> None:
        self._parts: dict[str, tuple[str, list[bytes], int]] = {}

    def feed(self, raw: bytes) -> Iterator[LogLine]:
        """The lines one line of the file completes: one, or none for a piece."""
        fields = raw.split(b" ", 3)
        if len(fields) < 3:
            return
        stamp, stream, tag = (field.decode(errors="replace") for field in fields[:3])
        text = fields[3] if len(fields) == 4 else b""
        started, parts, size = self._parts.pop(stream, (stamp, [], 0))
        parts.append(text)
        if tag.startswith("P") and size + len(text) < JOIN_LIMIT:
            self._parts[stream] = (started, parts, size + len(text))
            return
        yield _line(stream, b"".join(parts) + (b"" if tag.startswith("P") else b"\n"), started)

    def flush(self) -> Iterator[LogLine]:
        """What is unfinished, as it is: a prompt without newline shows up in a followed log."""
        for stream, (stamp, parts, _) in sorted(self._parts.items()):
            yield _line(stream, b"".join(parts), stamp)
        self._parts.clear()


def _line(stream: str, text: bytes, stamp: str) -> LogLine:
    return LogLine(stream, text, *_times(stamp))


def _times(stamp: str) -> tuple[float, str]:
    """(seconds since the epoch, RFC 3339 in UTC) of conmon's ``2026-11-24T02:34:05.123456789+00:00``."""
    whole, dot, rest = stamp.partition(".")
    digits = rest[:9] if dot else "0"
    offset = rest[9:] if dot else ""
    try:
        moment = datetime.fromisoformat(whole + (offset if offset not in ("", "Z") else "+00:00"))
        seconds = moment.timestamp() + int(digits) / 10 ** len(digits)
    except ValueError:
        return 0.0, stamp
    if offset in ("", "Z", "+00:00"):
        return seconds, f"{whole}.{digits}Z"
    utc = datetime.fromtimestamp(int(moment.timestamp()), tz=timezone.utc)
    return seconds, f"{utc:%Y-%m-%dT%H:%M:%S}.{digits}Z"


def tail_offset(file: BinaryIO, count: int) -> int:
    """Where the last ``count`` whole lines of a log begin; pieces tagged P belong to the line they lead to."""
    end = file.seek(0, os.SEEK_END)
    if count <= 0:
        return end
    position = end
    buffer = b""
    while position > 0:
        step = min(BLOCK, position)
        position -= step
        file.seek(position)
        buffer = file.read(step) + buffer
        starts = _line_starts(buffer, position == 0)
        if len(starts) > count or position == 0:
            chosen = starts[-count] if len(starts) >= count else 0
            return position + chosen
    return 0


def _line_starts(buffer: bytes, from_start: bool) -> list[int]:
    """Offsets in ``buffer`` at which a line that was written whole begins: after each piece tagged F."""
    starts: deque[int] = deque([0] if from_start else [])
    offset = 0
    for raw in buffer.split(b"\n")[:-1]:
        offset += len(raw) + 1
        fields = raw.split(b" ", 3)
        if len(fields) >= 3 and fields[2].startswith(b"F") and offset < len(buffer):
            starts.append(offset)
    return list(starts)


class _Watch:
    """Wakes when a file changes (inotify(7)); where there is no inotify it just waits."""

    def __init__(self, path: Path) -> None:
        self._descriptor = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        self._watch = -1
        self.renew(path)

    def __enter__(self) -> _Watch:
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def renew(self, path: Path) -> None:
        """Watch ``path`` as it is now."""
        if self._descriptor < 0:
            return
        if self._watch >= 0:
            _libc.inotify_rm_watch(self._descriptor, self._watch)
        self._watch = _libc.inotify_add_watch(
            self._descriptor, os.fsencode(path), _IN_MODIFY | _IN_MOVE_SELF | _IN_DELETE_SELF
        )

    def wait(self, milliseconds: int) -> None:
        """Until the file changed, or that long."""
        if self._descriptor < 0:
            select.select([], [], [], milliseconds / 1000)
            return
        ready, _, _ = select.select([self._descriptor], [], [], milliseconds / 1000)
        if ready:
            size = struct.calcsize("iIII")
            os.read(self._descriptor, 64 * (size + 256))
