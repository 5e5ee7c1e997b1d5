"""A container's row: the frozen ``Record`` and the table behind it.

Owns the SQL of the ``containers`` table and the lookup by id, prefix or name in docker's words. A row in status
``creating`` is half-made and never found or listed. Decides nothing about life and death.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.config import Config
from engine.containers.config import ContainerConfig
from engine.errors import NotFound
from engine.state.database import Database, Parameter
from engine.values import dataclass

if TYPE_CHECKING:
    import sqlite3

    from engine.engine import Engine

LOCK = "container"
CREATING = "creating"
NEVER = "0001-01-01T00:00:00Z"
_COLUMNS = (
    "id name created image config status generation pid pid_start conmon_pid conmon_start boot_id exit_code error "
    "oom_killed started_at finished_at restart_count restart_delay_ms stopped_by_user"
)
COLUMNS = tuple(_COLUMNS.split())


@dataclass(frozen=True)
class Record:
    """One row; columns are described in ``engine/state/schema.py``. ``config_text`` is the immutable JSON."""

    id: str
    name: str
    created: str
    image: str
    config_text: str
    status: str
    generation: int
    pid: int
    pid_start: int
    conmon_pid: int
    conmon_start: int
    boot_id: str
    exit_code: int
    error: str
    oom_killed: bool
    started_at: str
    finished_at: str
    restart_count: int
    restart_delay_ms: int
    stopped_by_user: bool

    @cached_property
    def config(self) -> ContainerConfig:
        """The configuration, parsed on first use."""
        return ContainerConfig.from_json(json.loads(self.config_text))

    @property
    def is_up(self) -> bool:
        """True while its process is, or is thought to be, there: running or paused."""
        return self.status in ("running", "paused")

    @property
    def short_id(self) -> str:
        """The 12 digits people see."""
        return self.id[:12]

    def event_attributes(self, **more: str) -> dict[str, str]:
        """What docker's container events carry: labels, image, name."""
        return {**self.config.labels, "image": self.config.image, "name": self.name, **more}

    @classmethod
    def from_row(cls, row: sqlite3.Row) -> Record:
        """From a row with all columns."""
        values = [row[name] for name in COLUMNS]
        values[COLUMNS.index("oom_killed")] = bool(row["oom_killed"])
        values[COLUMNS.index("stopped_by_user")] = bool(row["stopped_by_user"])
        return cls(*values)


@dataclass(frozen=True)
class Places:
    """Where a container's files are. ``bundle`` is gone after a reboot and made anew at each start."""

    directory: Path
    bundle: Path
    exits: Path
    exit_file: Path
    log: Path
    marker: Path

    @classmethod
    def of(cls, config: Config, id: str) -> Places:
        """The places of container ``id``."""
        directory = config.data_root / "containers" / id
        bundle = config.run_dir / "containers" / id
        exits = config.run_dir / "exits"
        return cls(directory, bundle, exits, exits / id, directory / "ctr.log", bundle / "marker")


class Records:
    """The table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, id: str) -> Record | None:
        """The row of a full id, half-made ones too; None when there is none."""
        row = self._database.one("SELECT * FROM containers WHERE id=?", (id,))
        return None if row is None else Record.from_row(row)

    def need(self, id: str) -> Record:
        """The row of a full id; NotFound when it was removed meanwhile."""
        record = self.get(id)
        if record is None or record.status == CREATING:
            raise _missing(id)
        return record

    def find(self, reference: str) -> Record:
        """By name (docker's leading slash allowed), full id or unique prefix of an id; NotFound in docker's words."""
        name = reference.removeprefix("/")
        row = self._database.one(
            "SELECT * FROM containers WHERE (id=? OR name=?) AND status<>? ORDER BY id<>? LIMIT 1",
            (name, name, CREATING, name),
        )
        if row is None and name and set(name) <= set("0123456789abcdef"):
            rows = self._database.all(
                "SELECT * FROM containers WHERE id >= ? AND id < ? AND status<>? LIMIT 2", (name, name + "g", CREATING)
            )
            if len(rows) > 1:
                raise NotFound(
                    f"Multiple IDs found with provided prefix: {name}", remedy="give more digits of the id, or the name"
                )
            row = rows[0] if rows else None
        if row is None:
            raise _missing(reference)
        return Record.from_row(row)

    def all(self) -> list[Record]:
        """Every container that is not half-made, newest first."""
        rows = self._database.all(
            "SELECT * FROM containers WHERE status<>? ORDER BY created DESC, rowid DESC", (CREATING,)
        )
        return [Record.from_row(row) for row in rows]

    def update(self, id: str, **values: Parameter) -> None:
        """Set columns of one row; joins the surrounding transaction."""
        names = ", ".join(f"{name}=?" for name in values)
        self._database.execute(f"UPDATE containers SET {names} WHERE id=?", (*values.values(), id))

    def insert(self, id: str, name: str, created: str, image: str, config: dict[str, Any]) -> None:
        """A new row in status ``creating``; sqlite3.IntegrityError when the name is taken."""
        self._database.execute(
            "INSERT INTO containers(id, name, created, image, config, status) VALUES(?,?,?,?,?,?)",
            (id, name, created, image, json.dumps(config, separators=(",", ":")), CREATING),
        )

    def delete(self, id: str) -> None:
        """Forget a row."""
        self._database.execute("DELETE FROM containers WHERE id=?", (id,))


def _missing(reference: str) -> NotFound:
    return NotFound(f"No such container: {reference}", remedy="pilothouse ps -a lists all containers")


@contextmanager
def locked(engine: Engine, id: str, *, timeout: float | None = None) -> Iterator[None]:
    """Hold a container's lock; what a crashed process began with it is finished or undone first.

    Having the lock proves that whoever wrote the journal entry is gone.
    """
    nested = engine.locks.is_held(LOCK, id)
    with engine.locks.hold(LOCK, id, timeout=timeout):
        if not nested:
            engine.containers.recover_one(id)
        try:
            yield
        finally:
            if not nested and engine.containers.records.get(id) is None:
                # Taken while another process removed the container: the file would stay for ever.
                engine.locks.forget(LOCK, id)
