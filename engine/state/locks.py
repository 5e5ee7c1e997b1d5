"""One flock file per object: ``RUN_DIR/locks/KIND-NAME``.

Owns taking and releasing; the kernel frees a lock when its holder dies, so nothing here can be stale. Order, always:
joined namespace's owner, containers by id, networks by id, firewall, then SQL. Within a process the same lock is
re-entrant per thread and excludes other threads, because every acquisition opens its own file description.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.errors import Conflict, HostError

POLL_S = 0.005


class Locks:
    """The locks of one run dir."""

    def __init__(self, run_dir: Path) -> None:
        self.directory = run_dir / "locks"
        self._held = threading.local()

    @contextmanager
    def hold(self, kind: str, name: str, *, timeout: float | None = None) -> Iterator[None]:
        """Hold the lock of object ``name`` of ``kind`` (container, network, image, firewall, warden ...).

        ``timeout`` is in seconds; None waits for ever, 0 tries once. Raises Conflict when the time is over.
        """
        held: dict[str, int] = self._held.__dict__.setdefault("counts", {})
        key = f"{kind}-{name}"
        if held.get(key):
            held[key] += 1
            try:
                yield
            finally:
                held[key] -= 1
            return
        descriptor = self._acquire(key, timeout)
        held[key] = 1
        try:
            yield
        finally:
            del held[key]
            os.close(descriptor)

    def is_held(self, kind: str, name: str) -> bool:
        """True when the calling thread holds the lock."""
        counts: dict[str, int] = self._held.__dict__.get("counts", {})
        return bool(counts.get(f"{kind}-{name}"))

    def is_free(self, kind: str, name: str) -> bool:
        """True when nobody, in this process or another, holds the lock right now."""
        try:
            os.close(self._acquire(f"{kind}-{name}", 0.0))
        except Conflict:
            return False
        return True

    def forget(self, kind: str, name: str) -> None:
        """Remove the file of an object that is gone; call it while holding the lock."""
        (self.directory / f"{kind}-{name}").unlink(missing_ok=True)

    def _acquire(self, key: str, timeout: float | None) -> int:
        path = self.directory / key
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            try:
                self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise HostError(f"opening lock {path}", error, remedy="run as root with a writable run dir") from error
            try:
                _flock(descriptor, key, deadline)
                # The holder before us may have removed the file: a lock on an unlinked inode guards nothing.
                if _same_file(descriptor, path):
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)


def _flock(descriptor: int, key: str, deadline: float | None) -> None:
    if deadline is None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            if time.monotonic() >= deadline:
                raise Conflict(
                    f"{key.replace('-', ' ', 1)} is busy: another operation holds it",
                    remedy="wait for the other operation to end and try again",
                ) from error
        time.sleep(POLL_S)


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        on_disk = path.stat()
    except FileNotFoundError:
        return False
    opened = os.fstat(descriptor)
    return (on_disk.st_dev, on_disk.st_ino) == (opened.st_dev, opened.st_ino)
