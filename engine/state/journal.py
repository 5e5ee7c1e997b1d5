"""Unfinished operations, so that a crash never leaves anything half-made.

Owns the ``journal`` table. A multi-step operation takes its object's lock, records its intent before the first side
effect and closes the entry after the last. An entry whose lock can be taken is abandoned: ``recover`` hands it to the
operation's handler, which finishes it or rolls it back. Handlers are idempotent: they may be killed half-way too.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from engine.errors import Conflict, EngineError, TeardownError
from engine.state.database import Database, timestamp
from engine.state.locks import Locks
from engine.values import dataclass

Intent = Mapping[str, Any]
Handler = Callable[[Intent], None]


@dataclass(frozen=True)
class Entry:
    """One recorded intent."""

    id: int
    operation: str
    lock_kind: str
    lock_name: str
    intent: Intent


class Journal:
    """The journal of one engine; handlers are registered by the services that own the operations."""

    def __init__(self, database: Database, locks: Locks) -> None:
        self._database = database
        self._locks = locks
        self._handlers: dict[str, Handler] = {}

    def register(self, operation: str, handler: Handler) -> None:
        """``handler(intent)`` finishes or undoes an abandoned ``operation``; it is called with its lock held."""
        self._handlers[operation] = handler

    @contextmanager
    def operation(self, name: str, lock_kind: str, lock_name: str, intent: Intent) -> Iterator[Entry]:
        """Record an intent for the length of a block; the caller already holds the lock.

        A clean exit or an Exception closes the entry: code in the block undoes its own work before it lets an error
        out. Only a crash leaves the entry behind.
        """
        entry = self.open(name, lock_kind, lock_name, intent)
        try:
            yield entry
        except Exception:
            self.close(entry)
            raise
        self.close(entry)

    def open(self, name: str, lock_kind: str, lock_name: str, intent: Intent) -> Entry:
        """Record an intent; join it to the surrounding transaction when there is one."""
        with self._database.transaction() as connection:
            cursor = connection.execute(
                "INSERT INTO journal(operation, lock_kind, lock_name, intent, started) VALUES(?,?,?,?,?)",
                (name, lock_kind, lock_name, json.dumps(intent), timestamp()),
            )
            return Entry(int(cursor.lastrowid or 0), name, lock_kind, lock_name, intent)

    def close(self, entry: Entry) -> None:
        """Forget an intent whose operation is complete or undone; may join the transaction that commits its result."""
        self._database.execute("DELETE FROM journal WHERE id=?", (entry.id,))

    def pending(self) -> list[Entry]:
        """All recorded intents, oldest first, whether their owners live or not."""
        return [
            Entry(row["id"], row["operation"], row["lock_kind"], row["lock_name"], json.loads(row["intent"]))
            for row in self._database.all("SELECT * FROM journal ORDER BY id")
        ]

    def abandoned(self) -> list[Entry]:
        """The recorded intents whose owners are gone, oldest first."""
        return [entry for entry in self.pending() if self._locks.is_free(entry.lock_kind, entry.lock_name)]

    def recover(self, operation: str | None = None, *, lock: tuple[str, str] | None = None) -> list[Entry]:
        """Finish or roll back every abandoned entry this process has a handler for; returns those dealt with.

        With ``operation`` only entries of that kind: a handler may need another kind dealt with first. With ``lock``
        (kind, name) only entries under that lock, which the caller has just taken; what this thread does under any
        other lock it holds is not abandoned. A handler that fails keeps its entry, for another try, and keeps no other
        entry from being dealt with; TeardownError then names all that failed.
        """
        done: list[Entry] = []
        errors: list[BaseException] = []
        for entry in self.pending():
            place = (entry.lock_kind, entry.lock_name)
            handler = self._handlers.get(entry.operation)
            if handler is None or (operation is not None and entry.operation != operation):
                continue
            if place != lock if lock is not None else self._locks.is_held(*place):
                continue
            try:
                if self._deal_with(entry, handler):
                    done.append(entry)
            except (EngineError, OSError, sqlite3.Error) as error:
                errors.append(error)
        if errors:
            raise TeardownError("what interrupted operations left behind", errors)
        return done

    def _deal_with(self, entry: Entry, handler: Handler) -> bool:
        """False when the entry's owner lives, or somebody else was here first."""
        with ExitStack() as stack:
            try:
                stack.enter_context(self._locks.hold(entry.lock_kind, entry.lock_name, timeout=0))
            except Conflict:
                return False
            if self._database.one("SELECT 1 FROM journal WHERE id=?", (entry.id,)) is None:
                return False
            handler(entry.intent)
            self.close(entry)
            return True
