"""The engine's containers: docker-py's ``containers`` collection over the services of this package.

Owns the wiring of those services and the recovery of single containers. The work is theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from engine.containers import marker
from engine.containers.config import ContainerConfig, request
from engine.containers.container import Container
from engine.containers.duties import Duties
from engine.containers.lifecycle import Lifecycle
from engine.containers.record import LOCK, Places, Record, Records
from engine.containers.removal import Removal
from engine.containers.runtime import Runtime
from engine.errors import EngineError
from engine.host import processes

if TYPE_CHECKING:
    from engine.containers.creation import Creation
    from engine.containers.startup import Startup
    from engine.containers.summary import ContainerSummary
    from engine.engine import Engine


class Containers:
    """All containers of one engine; safe to use from several threads and processes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.records = Records(engine.database)
        self.duties = Duties(engine.database)
        self.runtime = Runtime(engine.config)
        self.lifecycle = Lifecycle(engine)
        self.removal = Removal(engine)
        self.on_warning: Callable[[str], None] = lambda _: None
        self.ensure_warden()

    @property
    def runtime_name(self) -> str:
        """The name of the runtime in use, as ``inspect`` shows it; the configured one where none is installed."""
        try:
            return self.runtime.path.name
        except EngineError:
            return self._engine.config.runtime

    @cached_property
    def creation(self) -> Creation:
        """Making containers."""
        from engine.containers.creation import Creation

        return Creation(self._engine)

    @cached_property
    def startup(self) -> Startup:
        """Starting them."""
        from engine.containers.startup import Startup

        return Startup(self._engine)

    def register_recovery(self) -> None:
        """Tell the journal how abandoned container operations are dealt with."""
        from engine.containers import commit, step

        self.creation.register_recovery()
        self.startup.register_recovery()
        self.removal.register_recovery()
        commit.register_recovery(self._engine)
        step.register_recovery(self._engine)

    def recover_one(self, id: str) -> None:
        """Finish or undo what a crashed process began with container ``id``; the caller holds its lock."""
        if self._engine.database.one("SELECT 1 FROM journal WHERE lock_kind=? AND lock_name=?", (LOCK, id)) is None:
            return
        self.register_recovery()
        self._engine.networks.register_recovery()
        self._engine.journal.recover(lock=(LOCK, id))

    def create(
        self, image: str | ContainerConfig, command: str | Iterable[str] | None = None, **settings: Any
    ) -> Container:
        """Create a container: docker-py's keyword arguments, the command line's text forms, or a whole config.

        The settings are ``ContainerConfig``'s fields and ``tmpfs``; see ``config.request``.
        """
        config = image if isinstance(image, ContainerConfig) else request(image, command, **settings)
        return Container(self._engine, self.creation.create(config))

    def run(
        self,
        image: str | ContainerConfig,
        command: str | Iterable[str] | None = None,
        *,
        detach: bool = False,
        **settings: Any,
    ) -> Container | bytes:
        """Create and start; the container when ``detach``, else its whole standard output after it ended.

        As docker-py: without ``detach`` a non-zero exit code raises ContainerFailed. A container that cannot be started
        stays, in state created, unless ``auto_remove`` was asked for.
        """
        container = self.create(image, command, **settings)
        try:
            container.start(attended=not detach)
        except BaseException:
            if container.config.auto_remove:
                container.remove(force=True, v=True)
            raise
        if detach:
            return container
        return container.collect()

    def get(self, reference: str) -> Container:
        """The container of that name, id or unique beginning of an id; NotFound in docker's words."""
        return Container(self._engine, self.records.find(reference))

    def list(
        self,
        all: bool = False,
        *,
        filters: Mapping[str, str | Iterable[str]] | None = None,
        limit: int = 0,
    ) -> Sequence[Container]:
        """Running containers, newest first, or with ``all`` (or a status filter) every one."""
        from engine.containers import summary

        rows = summary.rows(self._engine, all=all, filters=filters or {}, limit=limit)
        return [Container(self._engine, record, row) for record, row in rows]

    def summaries(
        self,
        all: bool = False,
        *,
        filters: Mapping[str, str | Iterable[str]] | None = None,
        limit: int = 0,
    ) -> Sequence[ContainerSummary]:
        """What ``ps`` and the console's pane show, without an object a row."""
        from engine.containers import summary

        return [row for _, row in summary.rows(self._engine, all=all, filters=filters or {}, limit=limit)]

    def refresh(self) -> None:
        """After a boot: record the end of everything that ran before it, so that it holds nothing any more."""
        from engine.containers import restore

        restore.refresh(self._engine)

    def restore(self) -> Sequence[str]:
        """After a boot: start what the restart policies say; the names started. Errors are kept in the rows."""
        from engine.containers import restore

        return restore.restore(self._engine)

    def ensure_warden(self) -> None:
        """Start the warden if duties are waiting and nobody holds them."""
        from engine.containers import duties

        if self._engine.database.one("SELECT 1 FROM duties") is not None:
            duties.wake_warden(self._engine.config)

    def attend(self, record: Record) -> None:
        """This process will deal with the end of the current run of ``record``."""
        fresh = self.records.get(record.id)
        if fresh is not None:
            marker.leave(Places.of(self._engine.config, record.id).marker, fresh.generation)

    def unattend(self, record: Record) -> None:
        """Take back ``attend``; an end that came meanwhile, which the hook left to us, is dealt with now."""
        marker.take_away(Places.of(self._engine.config, record.id).marker)
        fresh = self.records.get(record.id)
        if fresh is not None and fresh.is_up and not processes.is_alive(fresh.pid, fresh.pid_start):
            self.lifecycle.settle(fresh)

    def warn(self, name: str, words: str) -> None:
        """Hand a warning to whoever listens (``on_warning``)."""
        self.on_warning(f"{name}: {words}")
