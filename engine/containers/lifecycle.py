"""What is done to containers that exist: start, stop, kill, restart, pause, unpause, wait.

Owns the verbs' meaning (docker's) and their locking: take the lock, bring the row in line with the process, act, save.
A verb that waits for a process lets the lock go meanwhile and reads the row anew, so a kill gets through to a stop.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from engine.containers import duties, exits, signals
from engine.containers.record import Record, locked
from engine.errors import Conflict, HostError, NotFound
from engine.host import cgroups, processes

if TYPE_CHECKING:
    from engine.engine import Engine

STOP_TIMEOUT_S = 10
KILL_TIMEOUT_S = 10.0
SETTLE_POLL_S = 0.005
SETTLE_TIMEOUT_S = 20.0


class Lifecycle:
    """The verbs of one engine; every ``id`` is a full one."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def start(self, id: str, *, created: Callable[[Record], None] | None = None, attended: bool = False) -> Record:
        """Start a container; nothing happens to one that runs. Raises what keeps it from starting.

        ``attended``: this process will deal with its exit, as a foreground run does.
        """
        with self._with_owner(id), locked(self._engine, id):
            record = self._current(id)
            if record.status == "running":
                return record
            if record.status == "paused":
                raise Conflict(
                    "cannot start a paused container, try unpause instead", remedy=f"pilothouse unpause {record.name}"
                )
            if record.status in ("removing", "dead"):
                raise Conflict(
                    "container is marked for removal and cannot be started",
                    remedy=f"pilothouse rm {record.name} and create it again",
                )
            self._cancel_restart(record)

            def first(record: Record) -> None:
                if created is not None:
                    created(record)
                if attended:
                    self._engine.containers.attend(record)

            return self._engine.containers.startup.start(record, reassert=self._has_network(record), created=first)

    def stop(self, id: str, timeout: int | None = None, signal_name: str = "") -> None:
        """Stop a container: its stop signal, ``timeout`` seconds (its own or 10; -1 for ever), SIGKILL."""
        with locked(self._engine, id):
            record = self._current(id)
            if record.status == "restarting":
                self._give_up_restart(record)
                return
            if not record.is_up:
                return
        self._end(record, timeout, signal_name, keep_network=False)

    def restart(self, id: str, timeout: int | None = None) -> None:
        """Stop a container if it runs, then start it with the same network namespace and address."""
        with locked(self._engine, id):
            record = self._current(id)
        if record.is_up:
            self._end(record, timeout, "", keep_network=True)
        with self._with_owner(id), locked(self._engine, id):
            fresh = self._current(id)
            if fresh.status == "running" and fresh.generation != record.generation:
                return
            self._cancel_restart(fresh)
            self._engine.containers.startup.start(fresh, reassert=self._has_network(fresh))
            self._engine.events.emit("container", "restart", id, fresh.event_attributes())

    def kill(self, id: str, signal_name: str = "SIGKILL") -> None:
        """Send a signal; after SIGKILL wait for the end. Conflict when it does not run."""
        number = signals.parse(signal_name)
        with locked(self._engine, id):
            record = self._current(id)
            if not record.is_up:
                raise Conflict(
                    f"cannot kill container: {record.name}: container {record.id} is not running",
                    remedy="pilothouse ps -a shows its state",
                )
            final = number == signal.SIGKILL
            ending = final or number == signals.parse(record.config.stop_signal or "SIGTERM")
            if ending:
                self._remember_stop(record)
            if final:
                self._mark(record)
            processes.send_signal(record.pid, record.pid_start, number)
            self._engine.events.emit("container", "kill", id, record.event_attributes(signal=str(number)))
            if record.status == "paused" and ending:
                self._thaw(record)
        if final:
            try:
                self._await_end(record)
                self.settle(record)
            finally:
                self._engine.containers.unattend(record)

    def pause(self, id: str) -> None:
        """Freeze every process of a running container."""
        with locked(self._engine, id):
            record = self._current(id)
            if record.status == "paused":
                raise Conflict(f"Container {record.id} is already paused", remedy=f"pilothouse unpause {record.name}")
            if record.status == "restarting":
                raise Conflict(
                    f"Container {record.id} is restarting, wait until the container is running",
                    remedy=f"pilothouse stop {record.name} ends the restarts",
                )
            if not record.is_up:
                raise Conflict(f"Container {record.id} is not running", remedy=f"pilothouse start {record.name}")
            cgroups.freeze(exits.cgroup_of(self._engine, id))
            with self._engine.database.transaction():
                self._engine.containers.records.update(id, status="paused")
                self._engine.events.emit("container", "pause", id, record.event_attributes())

    def unpause(self, id: str) -> None:
        """Let a paused container go on."""
        with locked(self._engine, id):
            record = self._current(id)
            if record.status != "paused":
                raise Conflict(f"Container {record.id} is not paused", remedy="pilothouse ps -a shows its state")
            self._thaw(record)

    def wait(self, id: str) -> int:
        """Wait until the container does not run; its exit code. One that never ran or has ended answers at once."""
        engine = self._engine
        cursor = engine.events.last()
        while True:
            record = engine.containers.records.get(id)
            if record is None or record.status == "removing":
                return self._last_exit(id, cursor, record)
            if not record.is_up:
                return record.exit_code
            processes.wait_gone(record.pid, record.pid_start)
            fresh = self._settled(record)
            if fresh is not None and (not fresh.is_up or fresh.generation != record.generation):
                return fresh.exit_code if fresh.generation == record.generation else self._last_exit(id, cursor, fresh)

    def finish(self, id: str) -> int:
        """Deal with the end of a run this process attends, when it comes; its exit code.

        One that goes with its end (``--rm``) is gone when this returns, whoever removes it.
        """
        engine = self._engine
        cursor = engine.events.last()
        record = engine.containers.records.get(id)
        if record is not None and record.is_up:
            processes.wait_gone(record.pid, record.pid_start)
            self.settle(record)
            record = engine.containers.records.get(id)
        elif record is None or record.status == "removing":
            # Another process is at it; whoever gets the lock knows that it is through.
            with locked(engine, id):
                pass
        if record is None or record.is_up or record.status in ("removing", "restarting"):
            return self._last_exit(id, cursor, record)
        return record.exit_code

    def restart_due(self, id: str) -> None:
        """Carry out a restart duty: what the warden's child does. A failure is kept in the row and not tried again."""
        engine = self._engine
        if engine.containers.records.get(id) is None:
            duties.Duties(engine.database).remove(duties.RESTART, id)
            return
        with self._with_owner(id), locked(engine, id):
            record = engine.containers.records.get(id)
            removed = duties.Duties(engine.database).remove(duties.RESTART, id)
            if record is None or not removed or record.status != "restarting":
                return
            engine.containers.startup.start(
                record,
                reassert=self._has_network(record),
                restarts=record.restart_count + 1,
                delay_ms=record.restart_delay_ms,
            )

    def _settled(self, record: Record) -> Record | None:
        """The row once whoever deals with the end of ``record``'s run is done; done here when nobody is.

        While conmon lives its hook is on the way, and while a marker stands its engine is.
        """
        engine = self._engine
        deadline = time.monotonic() + SETTLE_TIMEOUT_S
        while True:
            fresh = engine.containers.records.get(record.id)
            if fresh is None or not fresh.is_up or fresh.generation != record.generation:
                return fresh
            if not processes.is_alive(record.conmon_pid, record.conmon_start) or time.monotonic() > deadline:
                self.settle(record)
                return engine.containers.records.get(record.id)
            time.sleep(SETTLE_POLL_S)

    def _last_exit(self, id: str, cursor: int, record: Record | None) -> int:
        """The exit code of a run that ended after event ``cursor``, when the row tells no more."""
        for event in reversed(self._engine.events.since(max(0, cursor - 50), limit=10_000)):
            if event.type == "container" and event.actor == id and event.action == "die":
                return int(event.attributes.get("exitCode", "0"))
        if record is None:
            raise NotFound(f"No such container: {id}")
        return record.exit_code

    def _current(self, id: str) -> Record:
        """The row, brought in line with its process; the caller holds the lock."""
        record = exits.settle(self._engine, self._engine.containers.records.need(id))
        if record is None:
            raise NotFound(f"No such container: {id}", remedy="it ended and was removed, as --rm asked")
        return record

    def _end(self, record: Record, timeout: int | None, signal_name: str, *, keep_network: bool) -> None:
        engine = self._engine
        config = record.config
        number = signals.parse(signal_name or config.stop_signal or "SIGTERM")
        if timeout is None:
            timeout = config.stop_timeout if config.stop_timeout is not None else STOP_TIMEOUT_S
        with locked(engine, record.id):
            current = engine.containers.records.need(record.id)
            if not current.is_up or current.generation != record.generation:
                return
            if not keep_network:
                self._remember_stop(current)
            self._mark(current)
            processes.send_signal(current.pid, current.pid_start, number)
            if current.status == "paused":
                self._thaw(current)
        # The lock is free while we wait: a kill or a second stop gets through.
        try:
            patience = None if timeout < 0 else float(timeout)
            if not processes.wait_gone(record.pid, record.pid_start, patience):
                processes.send_signal(record.pid, record.pid_start, signal.SIGKILL)
                self._await_end(record)
            self.settle(record, keep_network=keep_network, verb="stop")
        finally:
            engine.containers.unattend(record)

    def _await_end(self, record: Record) -> None:
        if processes.wait_gone(record.pid, record.pid_start, KILL_TIMEOUT_S):
            return
        raise HostError(
            f"stopping container {record.name}",
            f"process {record.pid} did not end within {KILL_TIMEOUT_S:g} s of SIGKILL",
            remedy=f"it waits inside the kernel, perhaps for a network file system: see /proc/{record.pid}/stack",
        )

    def settle(self, record: Record, *, keep_network: bool = False, verb: str = "") -> None:
        """Deal with the end of ``record``'s run under the lock, unless somebody has."""
        with locked(self._engine, record.id):
            fresh = self._engine.containers.records.get(record.id)
            if fresh is not None and fresh.is_up and fresh.generation == record.generation:
                exits.settle(self._engine, fresh, keep_network=keep_network, by_user=keep_network, verb=verb)

    def _mark(self, record: Record) -> None:
        self._engine.containers.attend(record)

    def _remember_stop(self, record: Record) -> None:
        """A manual stop outlives this process: the hook must not restart what the operator stopped."""
        if record.config.restart_policy.active and not record.stopped_by_user:
            self._engine.containers.records.update(record.id, stopped_by_user=1)

    def _thaw(self, record: Record) -> None:
        cgroups.thaw(exits.cgroup_of(self._engine, record.id))
        with self._engine.database.transaction():
            self._engine.containers.records.update(record.id, status="running")
            self._engine.events.emit("container", "unpause", record.id, record.event_attributes())

    def _cancel_restart(self, record: Record) -> None:
        if record.status == "restarting" or record.config.restart_policy.active:
            duties.Duties(self._engine.database).remove(duties.RESTART, record.id)

    def _give_up_restart(self, record: Record) -> None:
        """A container that waits for its restart is stopped: no restart, and its network goes."""
        errors = exits.tear_down(self._engine, record)
        with self._engine.database.transaction():
            duties.Duties(self._engine.database).remove(duties.RESTART, record.id)
            self._engine.containers.records.update(
                record.id, status="exited", stopped_by_user=1, restart_delay_ms=0, error="; ".join(errors)
            )
            self._engine.events.emit("container", "stop", record.id, record.event_attributes())

    def _has_network(self, record: Record) -> bool:
        """True when a restart kept the sandbox."""
        if record.status != "restarting":
            return False
        mode = record.config.network_mode
        return mode.startswith("container:") or bool(self._engine.networks.endpoints_of(record.id))

    @contextmanager
    def _with_owner(self, id: str) -> Iterator[None]:
        """Hold the lock of the container whose network is joined, before the container's own (the order of locks)."""
        mode = self._engine.containers.records.need(id).config.network_mode
        if not mode.startswith("container:"):
            yield
            return
        owner = mode.partition(":")[2]
        with locked(self._engine, owner):
            record = self._engine.containers.records.get(owner)
            if record is not None:
                exits.settle(self._engine, record)
            yield
