"""After a boot: bring the rows in line with a machine on which nothing of ours runs, and start what is to run.

Owns the order: owners of joined networks first, then by creation. The policies' words are ``policy.after_boot``.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from engine.containers import exits, policy
from engine.containers.record import Record, locked
from engine.errors import EngineError
from engine.host import processes

if TYPE_CHECKING:
    from engine.engine import Engine


def refresh(engine: Engine) -> None:
    """Record the end of every run of another boot.

    What somebody else deals with just now, or what fails, is left for the verb that meets it.
    """
    boot = processes.boot_id()
    for record in engine.containers.records.all():
        if not record.is_up or record.boot_id == boot:
            continue
        with contextlib.suppress(EngineError), locked(engine, record.id, timeout=0):
            current = engine.containers.records.get(record.id)
            if current is not None:
                exits.settle(engine, current)


def restore(engine: Engine) -> list[str]:
    """Start what the policies say; the names started. One that cannot start keeps the error and is warned of."""
    started: list[str] = []
    records = engine.containers.records
    for record in sorted(records.all(), key=_order):
        with locked(engine, record.id):
            current = records.get(record.id)
            settled = exits.settle(engine, current) if current is not None else None
        if settled is None or settled.is_up or settled.status not in ("exited", "restarting"):
            continue
        if not settled.generation or not policy.after_boot(
            settled.config.restart_policy,
            exit_code=settled.exit_code,
            stopped_by_user=settled.stopped_by_user,
            restarts=settled.restart_count,
        ):
            continue
        try:
            engine.containers.lifecycle.start(settled.id)
        except EngineError as error:
            engine.containers.warn(settled.name, str(error))
            continue
        started.append(settled.name)
    return started


def _order(record: Record) -> tuple[bool, str]:
    return record.config.network_mode.startswith("container:"), record.created
