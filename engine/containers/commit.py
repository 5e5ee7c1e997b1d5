"""An image of a container as it is now.

Owns freezing it for the moment (docker's default) and the configuration the image gets: the container's own, with the
changes asked for. The layer itself is the image service's work.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from engine.containers import exits
from engine.containers.record import LOCK, Record, locked
from engine.errors import Conflict, NotFound
from engine.host import cgroups
from engine.state.journal import Intent
from engine.values import replace

if TYPE_CHECKING:
    from engine.engine import Engine
    from engine.images.config import RunConfig
    from engine.images.records import Image

OPERATION = "container.commit"


def commit(
    engine: Engine,
    id: str,
    *,
    name: str | None = None,
    message: str = "",
    author: str = "",
    changes: Sequence[str] = (),
    pause: bool = True,
) -> Image:
    """Commit a container in any state; ``changes`` are Dockerfile instructions (CMD, ENV, ...), ``pause`` freezes it.

    Volumes and binds are not part of the image. InvalidInput for a wrong change or name, before anything is frozen.
    """
    from engine.images import reference
    from engine.images.changes import apply_changes

    if name:
        reference.parse(name)
    with locked(engine, id):
        record = exits.settle(engine, engine.containers.records.need(id))
        if record is None:
            raise NotFound(f"No such container: {id}")
        if record.status in ("removing", "dead"):
            raise Conflict(
                f"You cannot commit container {record.id} which is {record.status}", remedy="pilothouse ps -a"
            )
        base = engine.images.get(record.image)
        parent = engine.images.config(base.id)
        config = apply_changes(replace(parent, config=_run_config(record, parent.config)), changes)
        with _still(engine, record, pause):
            image = engine.images.commit_layer(
                record.id,
                base,
                config,
                created_by=" ".join(record.config.arguments),
                comment=message,
                author=author,
                name=name,
            )
        engine.events.emit("container", "commit", id, record.event_attributes(imageID=image.id, comment=message))
    return image


@contextlib.contextmanager
def _still(engine: Engine, record: Record, pause: bool) -> Iterator[None]:
    """Freeze a running container for the length of the block; after a crash the journal's entry thaws it."""
    if not pause or record.status != "running":
        yield
        return
    group = exits.cgroup_of(engine, record.id)
    with engine.journal.operation(OPERATION, LOCK, record.id, {"id": record.id}):
        try:
            cgroups.freeze(group)
            yield
        finally:
            cgroups.thaw(group)


def register_recovery(engine: Engine) -> None:
    """A container that a killed commit left frozen goes on."""

    def thaw(intent: Intent) -> None:
        record = engine.containers.records.get(str(intent["id"]))
        if record is not None and record.status == "running" and cgroups.exists(exits.cgroup_of(engine, record.id)):
            cgroups.thaw(exits.cgroup_of(engine, record.id))

    engine.journal.register(OPERATION, thaw)


def _run_config(record: Record, image: RunConfig) -> RunConfig:
    """The container's configuration in an image's words; ports published with -p count as exposed."""
    config = record.config
    exposed = {*config.exposed, *(port.container for port in config.ports)}
    return replace(
        image,
        user=config.user,
        exposed_ports=tuple(sorted(exposed)),
        env=config.environment,
        entrypoint=config.entrypoint,
        cmd=config.command,
        volumes=config.volumes,
        working_dir=config.working_dir,
        labels=dict(config.labels),
        stop_signal=config.stop_signal,
    )
