"""The event log: what happened to which object, in docker's vocabulary.

Owns the ``events`` table. Events are written in the transaction that makes them true where there is one. Readers poll
``since``; the sequence number is the cursor.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping

from engine.state.database import Database
from engine.values import dataclass

KEEP = 10_000


@dataclass(frozen=True)
class Event:
    """One event; ``time`` in seconds since the epoch, ``actor`` the object's id or name."""

    seq: int
    time: float
    type: str
    action: str
    actor: str
    attributes: Mapping[str, str]


class Events:
    """Write and read events."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def emit(self, type: str, action: str, actor: str, attributes: Mapping[str, str] | None = None) -> None:
        """Append one event; joins the surrounding transaction."""
        with self._database.transaction() as connection:
            cursor = connection.execute(
                "INSERT INTO events(time, type, action, actor, attributes) VALUES(?,?,?,?,?)",
                (time.time(), type, action, actor, json.dumps(dict(attributes or {}))),
            )
            if int(cursor.lastrowid or 0) % 512 == 0:
                connection.execute("DELETE FROM events WHERE seq <= ?", (int(cursor.lastrowid or 0) - KEEP,))

    def last(self) -> int:
        """The sequence number of the newest event, 0 when there is none."""
        row = self._database.one("SELECT max(seq) AS seq FROM events")
        return int(row["seq"] or 0) if row is not None else 0

    def since(self, seq: int, limit: int = 1000) -> list[Event]:
        """Events after ``seq``, oldest first."""
        rows = self._database.all("SELECT * FROM events WHERE seq > ? ORDER BY seq LIMIT ?", (seq, limit))
        return [
            Event(row["seq"], row["time"], row["type"], row["action"], row["actor"], json.loads(row["attributes"]))
            for row in rows
        ]
