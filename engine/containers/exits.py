"""What happens when a container's process ends: learning of it, tearing down, recording, deciding what follows.

Owns the one path every exit takes, whoever walks it: the exit hook, an engine that stopped or attended the container,
or any verb that finds the process gone. Always under the container's lock; a row that says it is not up any more
means somebody else was here first. Standard library only: the hook imports this.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from engine.containers import duties, marker, policy
from engine.containers.record import Places, Record, locked
from engine.errors import EngineError
from engine.host import cgroups, processes
from engine.state.database import timestamp
from engine.values import dataclass

if TYPE_CHECKING:
    from engine.engine import Engine

UNKNOWN_EXIT = 255
EXIT_FILE_TIMEOUT_S = 3.0
VERB_GRACE_S = 30.0
_POLL_S = 0.001


@dataclass(frozen=True)
class Exit:
    """How a run ended; ``finished`` in seconds since the epoch, ``error`` empty unless the end is not known."""

    code: int
    finished: float
    error: str = ""


@dataclass(frozen=True)
class Remove:
    """That a container goes with its end; ``volumes`` is true if its anonymous volumes go too."""

    volumes: bool


def observe(engine: Engine, record: Record) -> Exit | None:
    """How the run behind ``record`` ended, or None while its process lives. Waits briefly for conmon's exit file."""
    if record.boot_id != processes.boot_id():
        return Exit(UNKNOWN_EXIT, time.time(), "the machine was restarted")
    places = Places.of(engine.config, record.id)
    found = _read_exit_file(places)
    if found is not None:
        return found
    if processes.is_alive(record.pid, record.pid_start):
        return None
    deadline = time.monotonic() + EXIT_FILE_TIMEOUT_S
    while processes.is_alive(record.conmon_pid, record.conmon_start) and time.monotonic() < deadline:
        found = _read_exit_file(places)
        if found is not None:
            return found
        time.sleep(_POLL_S)
    return _read_exit_file(places) or Exit(
        UNKNOWN_EXIT, time.time(), "the container's monitor was killed: its exit code is not known"
    )


def _read_exit_file(places: Places) -> Exit | None:
    try:
        text = places.exit_file.read_text()
        if not text.strip():
            return None
        return Exit(int(text), places.exit_file.stat().st_mtime)
    except (FileNotFoundError, ValueError):
        return None


def settle(
    engine: Engine,
    record: Record,
    *,
    keep_network: bool = False,
    by_user: bool = False,
    verb: str = "",
    remove: Remove | None = None,
) -> Record | None:
    """Bring the row in line with the process; the fresh row, None when the container was removed (``--rm``).

    The caller holds the lock. Nothing happens while the process lives. ``by_user`` cancels the restart policy, as a
    stop does; ``keep_network`` leaves the sandbox, and the status ``restarting``, for the restart that follows at once.
    ``verb`` is the event that follows the exit's own. ``remove`` takes the container away with its end, as ``rm -f``
    does.
    """
    if not record.is_up:
        return record
    ended = observe(engine, record)
    if ended is None:
        return record
    return _finish(engine, record, ended, keep_network, by_user or record.stopped_by_user, verb, remove)


def _finish(
    engine: Engine,
    record: Record,
    ended: Exit,
    keep_network: bool,
    by_user: bool,
    verb: str,
    remove: Remove | None,
) -> Record | None:
    records, config = engine.containers.records, record.config
    group = cgroup_of(engine, record.id)
    oom = cgroups.oom_kills(group) > 0 or (Places.of(engine.config, record.id).bundle / "oom").exists()
    decision = policy.after_exit(
        config.restart_policy,
        exit_code=ended.code,
        stopped_by_user=by_user or ended.error == "the machine was restarted",
        restarts=record.restart_count,
        last_delay_ms=record.restart_delay_ms,
        ran_s=ended.finished - seconds(record.started_at),
    )
    # A restart verb starts it again itself; the duty is there for the case that it is killed before.
    restart = (decision.restart and not config.auto_remove and remove is None) or keep_network
    errors = tear_down(engine, record, keep_network=restart)
    if remove is None and config.auto_remove and not restart:
        remove = Remove(volumes=True)
    status = "removing" if remove is not None else "restarting" if restart else "exited"
    with engine.database.transaction():
        records.update(
            record.id,
            status=status,
            exit_code=ended.code,
            error="; ".join(filter(None, (ended.error, *errors))),
            oom_killed=int(oom),
            # A file's time is the kernel's clock of its last tick, which may lie before the start.
            finished_at=max(timestamp(ended.finished), record.started_at),
            pid=0,
            pid_start=0,
            conmon_pid=0,
            conmon_start=0,
            restart_delay_ms=decision.delay_ms,
        )
        if oom:
            engine.events.emit("container", "oom", record.id, record.event_attributes())
        engine.events.emit("container", "die", record.id, record.event_attributes(exitCode=str(ended.code)))
        if verb:
            engine.events.emit("container", verb, record.id, record.event_attributes())
        if restart:
            delay = VERB_GRACE_S if keep_network else decision.delay_ms / 1000
            duties.Duties(engine.database).add(
                duties.RESTART, record.id, time.time() + delay, {"generation": record.generation}
            )
        entry = engine.containers.removal.intend(record, volumes=remove.volumes) if remove is not None else None
    Places.of(engine.config, record.id).exit_file.unlink(missing_ok=True)
    if entry is not None and remove is not None:
        engine.containers.removal.carry_out(record, entry, torn_down=not errors)
        return None
    if restart and not keep_network:
        duties.wake_warden(engine.config)
    return records.get(record.id)


def tear_down(engine: Engine, record: Record, *, keep_network: bool = False) -> list[str]:
    """Take away everything a run needed, whatever of it is there; all that failed, in words. Idempotent.

    The runtime's deletion runs beside the network's: neither waits for the other.
    """
    errors: list[str] = []

    def attempt(action: Callable[[], object]) -> None:
        try:
            action()
        except (EngineError, OSError) as error:
            errors.append(str(error))

    runtime = engine.containers.runtime
    deletion = None
    try:
        deletion = runtime.delete(record.id)
    except EngineError as error:
        errors.append(str(error))
    if not keep_network:
        attempt(lambda: engine.networks.release(record.id))
    attempt(lambda: runtime.deleted(record.id, deletion))
    group = cgroup_of(engine, record.id)
    if cgroups.exists(group):
        # The runtime knew nothing of it any more, or left stragglers.
        attempt(lambda: cgroups.kill(group))
        attempt(lambda: cgroups.remove(group))
    attempt(lambda: engine.driver.unmount(record.id))
    discard(Places.of(engine.config, record.id).bundle)
    return errors


def discard(directory: Path) -> None:
    """Remove a bundle; it is flat but for what an operator put there."""
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                Path(entry.path).unlink()
        directory.rmdir()
    except FileNotFoundError:
        return
    except OSError:
        import shutil

        shutil.rmtree(directory, ignore_errors=True)


def cgroup_of(engine: Engine, id: str) -> str:
    """The container's cgroup, below every hierarchy's root."""
    return f"{engine.config.cgroup_parent}/{id}"


def seconds(text: str) -> float:
    """Seconds since the epoch of a stored time; 0 for docker's "never"."""
    if text.startswith("0001"):
        return 0.0
    whole, _, fraction = text.rstrip("Z").partition(".")
    year, month, day = int(whole[:4]), int(whole[5:7]), int(whole[8:10])
    # Days since the epoch in the Gregorian calendar, with March as the first month; strptime would load the locales.
    shifted = year - (month <= 2)
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    days = 365 * shifted + shifted // 4 - shifted // 100 + shifted // 400 + of_year - 719468
    clock = int(whole[11:13]) * 3600 + int(whole[14:16]) * 60 + int(whole[17:19])
    return days * 86400 + clock + float(f"0.{fraction or 0}")


def hook(engine: Engine, id: str, generation: int) -> None:
    """What conmon's exit command does: deal with the end of run ``generation``, unless it was dealt with."""
    if engine.containers.records.get(id) is None:
        return
    with locked(engine, id):
        record = engine.containers.records.get(id)
        if record is None or record.generation != generation or not record.is_up:
            return
        settle(engine, record)


@contextlib.contextmanager
def attended(engine: Engine, record: Record) -> Iterator[None]:
    """While the block runs, this process answers for the end of ``record``'s run and the hook leaves it alone."""
    path = Places.of(engine.config, record.id).marker
    marker.leave(path, record.generation)
    try:
        yield
    finally:
        marker.take_away(path)
