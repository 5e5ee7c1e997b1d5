"""Removing a container: its process, network, writable layer, files, anonymous volumes and row.

Owns the order and its journal entry ``container.remove``: once the intent is recorded the container is on its way
out, and whoever finds the entry abandoned finishes the removal.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

from engine.containers import duties, exits
from engine.containers.record import LOCK, Places, Record, locked
from engine.errors import Conflict, EngineError, HostError, TeardownError
from engine.host import cgroups, processes
from engine.state.journal import Entry, Intent

if TYPE_CHECKING:
    from engine.engine import Engine

OPERATION = "container.remove"
KILL_TIMEOUT_S = 10.0


class Removal:
    """Removal of containers of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def register_recovery(self) -> None:
        """An abandoned removal is finished."""
        self._engine.journal.register(OPERATION, self._resume)

    def remove(self, id: str, *, force: bool = False, volumes: bool = False) -> None:
        """Remove a container; one that is up is refused in docker's words, or killed first with ``force``.

        ``volumes`` takes its anonymous volumes with it. TeardownError when something could not be removed: the
        container is then listed as dead and can be removed again.
        """
        engine = self._engine
        records = engine.containers.records
        with locked(engine, id):
            record: Record | None = records.need(id)
            assert record is not None
            record = exits.settle(engine, record)
            if record is None:
                return
            if record.is_up or record.status == "restarting":
                if not force:
                    raise _refusal(record)
                record = self._end(record, volumes)
                if record is None:
                    return
            with engine.database.transaction():
                records.update(id, status="removing")
                duties.Duties(engine.database).remove(duties.RESTART, id)
                entry = self.intend(record, volumes=volumes)
            self.carry_out(record, entry)

    def intend(self, record: Record, *, volumes: bool = True) -> Entry:
        """Record that ``record`` is on its way out; joins the surrounding transaction."""
        names = record.config.anonymous_volumes if volumes else []
        return self._engine.journal.open(OPERATION, LOCK, record.id, {"id": record.id, "volumes": names})

    def carry_out(self, record: Record, entry: Entry, *, torn_down: bool = False) -> None:
        """Remove everything, the row last; TeardownError names all that failed. The caller holds the lock.

        ``torn_down``: what its run needed is known to be gone.
        """
        engine = self._engine
        try:
            self._clear(record, torn_down)
        except TeardownError as error:
            with engine.database.transaction():
                engine.containers.records.update(record.id, status="dead", error=str(error))
                engine.journal.close(entry)
            raise
        with engine.database.transaction():
            engine.containers.records.delete(record.id)
            if not entry.intent["volumes"]:
                engine.journal.close(entry)
            engine.events.emit("container", "destroy", record.id, record.event_attributes())
        if entry.intent["volumes"]:
            _drop_volumes(engine, entry.intent)
            engine.journal.close(entry)
        _release_layers(engine, record)
        engine.locks.forget(LOCK, record.id)

    def _resume(self, intent: Intent) -> None:
        engine = self._engine
        record = engine.containers.records.get(str(intent["id"]))
        if record is not None:
            self._clear(record)
            with engine.database.transaction():
                engine.containers.records.delete(record.id)
                engine.events.emit("container", "destroy", record.id, record.event_attributes())
        _drop_volumes(engine, intent)
        if record is not None:
            _release_layers(engine, record)

    def _end(self, record: Record, volumes: bool) -> Record | None:
        """Kill what runs and remove it with its end, under the lock all the way; the row if only a restart waited."""
        engine = self._engine
        if not record.is_up:
            exits.tear_down(engine, record)
            return record
        with exits.attended(engine, record):
            processes.send_signal(record.pid, record.pid_start, signal.SIGKILL)
            if record.status == "paused":
                cgroups.thaw(exits.cgroup_of(engine, record.id))
            if not processes.wait_gone(record.pid, record.pid_start, KILL_TIMEOUT_S):
                raise HostError(
                    f"killing container {record.name}",
                    f"process {record.pid} did not end within {KILL_TIMEOUT_S:g} s",
                    remedy="it waits inside the kernel, perhaps for a network file system: see its /proc/PID/stack",
                )
            return exits.settle(engine, record, by_user=True, remove=exits.Remove(volumes))

    def _clear(self, record: Record, torn_down: bool = False) -> None:
        engine = self._engine
        errors: list[BaseException] = []

        def attempt(action: Callable[[], object]) -> None:
            try:
                action()
            except (EngineError, OSError) as error:
                errors.append(error)

        if not torn_down:
            errors += [EngineError(words) for words in exits.tear_down(engine, record)]
        attempt(lambda: engine.driver.remove(record.id))
        attempt(lambda: engine.driver.remove(f"{record.id}-init"))
        places = Places.of(engine.config, record.id)
        attempt(lambda: exits.discard(places.directory))
        attempt(lambda: places.exit_file.unlink(missing_ok=True))
        if errors:
            raise TeardownError(f"container {record.name}", errors)


def _drop_volumes(engine: Engine, intent: Intent) -> None:
    """Only when the row is gone: as long as it names a volume, nobody can remove that."""
    if intent["volumes"]:
        from engine.containers import sources

        sources.drop_volumes(engine, intent["volumes"])


def _release_layers(engine: Engine, record: Record) -> None:
    """A container whose image was forced away was the last to stand on that image's layers."""
    if engine.database.one("SELECT 1 FROM images WHERE id=?", (record.image,)) is None:
        engine.images.release_layers()


def _refusal(record: Record) -> Conflict:
    procedure = "stop the container before removing or force remove"
    if record.status == "paused":
        procedure = f"unpause and then {procedure}"
    return Conflict(
        f'cannot remove container "/{record.name}": container is {record.status}: {procedure}',
        remedy=f"pilothouse stop {record.name}, or pilothouse rm -f {record.name}",
    )
