"""SQLite access: one connection per thread, WAL, full synchronous, immediate transactions.

Owns opening, migrating and transacting. Never keeps a transaction open over anything slow: callers do their kernel
work outside ``transaction()``. A connection never crosses a fork or a thread (sqlite.org, "How To Corrupt", 2.6).
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from engine.errors import EngineError, HostError
from engine.state.reserve import Reserve
from engine.state.schema import MIGRATIONS

BUSY_TIMEOUT_S = 30.0
OPENING_TRIES = 5

Parameter = str | int | float | bytes | None


def timestamp(seconds: float | None = None) -> str:
    """RFC 3339 in UTC with nanoseconds, as docker writes times; ``seconds`` since the epoch, now when left out."""
    nanoseconds = time.time_ns() if seconds is None else int(seconds * 1_000_000_000)
    whole, fraction = divmod(nanoseconds, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{fraction:09d}Z"


class _Opened(NamedTuple):
    """A connection and whose it is."""

    connection: sqlite3.Connection
    thread: threading.Thread
    pid: int


class Database:
    """The state database at ``path``; safe to share between threads, reopened after a fork."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reserve = Reserve(path.with_suffix(".reserve"))
        self._local = threading.local()
        self._opened: list[_Opened] = []
        self._guard = threading.Lock()

    def connection(self) -> sqlite3.Connection:
        """This thread's connection, opened and migrated on first use."""
        cached: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if cached is not None and self._local.pid == os.getpid():
            return cached
        try:
            connection = self._open()
        except (OSError, sqlite3.Error) as error:
            raise HostError(
                f"opening state database {self.path}",
                error,
                remedy="check that the data root is a writable directory with free space and that you are root",
            ) from error
        self._local.connection = connection
        self._local.pid = os.getpid()
        with self._guard:
            self._close_orphans()
            self._opened.append(_Opened(connection, threading.current_thread(), os.getpid()))
        return connection

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o711)
        for tries_left in reversed(range(OPENING_TRIES)):
            self._reserve.balance()
            # Configurations hold passwords. Made without opening it: closing a second descriptor of the file would
            # drop the locks another thread's connection holds (sqlite.org, "How To Corrupt", 2.2).
            with suppress(FileExistsError):
                os.mknod(self.path, 0o600)
            connection = sqlite3.connect(
                self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            try:
                connection.row_factory = sqlite3.Row
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=FULL")
                self._migrate(connection)
            except sqlite3.OperationalError:
                # On a full disk a container may have taken the room just made, before SQLite had it.
                connection.close()
                if not tries_left:
                    raise
            except BaseException:
                connection.close()
                raise
            else:
                return connection
        raise AssertionError("unreachable: the last try returns or raises")

    def _close_orphans(self) -> None:
        """Close the connections of threads that have ended: a console starts one for each action."""
        for opened in [each for each in self._opened if each.pid == os.getpid() and not each.thread.is_alive()]:
            self._opened.remove(opened)
            opened.connection.close()

    def _migrate(self, connection: sqlite3.Connection) -> None:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version == len(MIGRATIONS):
            return
        if version > len(MIGRATIONS):
            raise EngineError(
                f"state database {self.path} has schema version {version}, this program knows {len(MIGRATIONS)}",
                remedy="run the newer pilothouse that wrote it, or choose another --data-root",
            )
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Another process may have migrated while we waited for the write lock.
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])
            for number in range(version, len(MIGRATIONS)):
                for statement in _statements(MIGRATIONS[number]):
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version={len(MIGRATIONS)}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A write transaction (BEGIN IMMEDIATE); nested use joins the outer one. Commits on a clean exit."""
        connection = self.connection()
        if connection.in_transaction:
            yield connection
            return
        try:
            connection.execute("BEGIN IMMEDIATE")
        except (OSError, sqlite3.OperationalError) as error:
            raise HostError("starting a state transaction", error, remedy="see whether the disk is full") from error
        try:
            yield connection
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        try:
            # As late as can be, because a container may take the room; SQLite gives no second try (it rolls back).
            self._reserve.balance()
            connection.execute("COMMIT")
        except (OSError, sqlite3.OperationalError) as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise HostError("saving state", error, remedy="see whether the disk of the data root is full") from error

    def execute(self, sql: str, parameters: Sequence[Parameter] = ()) -> int:
        """Run one write statement in its own (or the surrounding) transaction; the number of rows it changed."""
        with self.transaction() as connection:
            return connection.execute(sql, parameters).rowcount

    def all(self, sql: str, parameters: Sequence[Parameter] = ()) -> list[sqlite3.Row]:
        """All rows of a query."""
        return self.connection().execute(sql, parameters).fetchall()

    def one(self, sql: str, parameters: Sequence[Parameter] = ()) -> sqlite3.Row | None:
        """The first row of a query, or None."""
        row: sqlite3.Row | None = self.connection().execute(sql, parameters).fetchone()
        return row

    def close(self) -> None:
        """Close every connection this object opened in this process."""
        with self._guard:
            mine = [each for each in self._opened if each.pid == os.getpid()]
            # A parent's connections stay as they are: closing one here could delete the log the parent still writes.
            self._opened = [each for each in self._opened if each.pid != os.getpid()]
        for opened in mine:
            opened.connection.close()
        self._local = threading.local()


def _statements(script: str) -> Iterator[str]:
    """The single statements of a migration; ``sqlite3.complete_statement`` finds their ends, comments included."""
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""
