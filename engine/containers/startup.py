"""Starting a container: network, mounts, spec, monitor, command.

Owns the order and its journal entry ``container.start``. Any failure takes everything back: a container that was never
started stays ``created`` with the error in its row. The network's work runs beside the mount's and the plan's.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from engine.containers import accounts, conmon, exits, files, seccomp, sources, spec, stubs, surroundings
from engine.containers.accounts import Account
from engine.containers.record import LOCK, Places, Record
from engine.containers.spec import ResolvedMount, Spec, Surroundings
from engine.errors import Conflict, EngineError
from engine.host import cgroups, processes
from engine.network.model import Sandbox
from engine.state.database import timestamp
from engine.state.journal import Entry, Intent
from engine.values import dataclass

if TYPE_CHECKING:
    from engine.engine import Engine

OPERATION = "container.start"
FAILED_EXIT = 128
JOINED = "container:"


@dataclass(frozen=True)
class Ground:
    """What is ready below a container before its network is: root file system, mounts, account, filter."""

    rootfs: Path
    mounts: tuple[ResolvedMount, ...]
    account: Account
    filter: seccomp.Prepared


class Startup:
    """Starting the containers of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def register_recovery(self) -> None:
        """An abandoned start is undone."""
        self._engine.journal.register(OPERATION, self._undo)

    def start(
        self,
        record: Record,
        *,
        reassert: bool = False,
        restarts: int = 0,
        delay_ms: int = 0,
        created: Callable[[Record], None] | None = None,
    ) -> Record:
        """Start a container that is not up; the caller holds its lock. The row as it is afterwards.

        ``reassert`` takes up the network a restart kept. ``created`` is called when the process exists and its command
        does not run yet: a client attaches then and misses nothing.
        """
        engine = self._engine
        records = engine.containers.records
        generation = record.generation + 1
        places = Places.of(engine.config, record.id)
        with engine.database.transaction():
            records.update(record.id, generation=generation)
            entry = engine.journal.open(OPERATION, LOCK, record.id, {"id": record.id})
        try:
            self._clear_old(record, places)
            self._bring_up(record, generation, places, reassert, created, entry, restarts, delay_ms)
        except BaseException as error:
            self._fail(record, entry, error)
            raise
        return records.need(record.id)

    def plan(self, record: Record) -> Spec:
        """The spec a start would use, without any effect but reading; the network's namespace is the future one."""
        ground = self._ground(record, self._engine.driver.mount(record.id))
        try:
            netns = None
            if record.config.network_mode != "host":
                netns = self._engine.networks.namespace_path(record.id)
            return self._spec(record, ground, Sandbox(netns), {})
        finally:
            if not record.is_up:
                self._engine.driver.unmount(record.id)

    def _bring_up(
        self,
        record: Record,
        generation: int,
        places: Places,
        reassert: bool,
        created: Callable[[Record], None] | None,
        entry: Entry,
        restarts: int,
        delay_ms: int,
    ) -> None:
        engine = self._engine
        config = record.config
        # The network's steps hold locks of this thread, so the file system's go to the other one.
        beside = _Beside(lambda: self._ground(record, engine.driver.mount(record.id)))
        try:
            sandbox, host_files = self._connect(record, places, reassert)
        except BaseException:
            beside.wait()
            raise
        try:
            ground = beside.result()
            plan = self._spec(record, ground, sandbox, host_files)
            self._write_bundle(places, plan)
            monitored = conmon.launch(
                engine.config,
                engine.containers.runtime,
                conmon.Launch(
                    id=record.id,
                    name=record.name,
                    bundle=places.bundle,
                    log=places.log,
                    exits=places.exits,
                    arguments=config.arguments,
                    hook=conmon.hook_command(engine.config, record.id, generation),
                    tty=config.tty,
                    stdin=config.stdin_open,
                    keep_stdin=config.stdin_open and not config.stdin_once,
                    sockets=[each.fileno() for each in sandbox.sockets],
                ),
            )
        finally:
            sandbox.close()
        self._keep_filter(record, ground)
        if created is not None:
            created(record)
        started = timestamp()
        engine.containers.runtime.start(record.id, config.arguments)
        with engine.database.transaction():
            engine.containers.records.update(
                record.id,
                status="running",
                pid=monitored.pid,
                pid_start=monitored.pid_start,
                conmon_pid=monitored.conmon_pid,
                conmon_start=monitored.conmon_start,
                boot_id=processes.boot_id(),
                exit_code=0,
                error="",
                oom_killed=0,
                started_at=started,
                restart_count=restarts,
                restart_delay_ms=delay_ms,
                stopped_by_user=0,
            )
            engine.journal.close(entry)
            engine.events.emit("container", "start", record.id, record.event_attributes())
        for warning in plan.warnings:
            engine.containers.warn(record.name, warning)

    def _connect(self, record: Record, places: Places, reassert: bool) -> tuple[Sandbox, dict[str, Path]]:
        engine, config = self._engine, record.config
        mode = config.network_mode
        if mode.startswith(JOINED):
            owner, target = self._owner(mode.removeprefix(JOINED))
            sandbox = engine.networks.prepare(record.id, mode=mode, target=target)
            return sandbox, files.shared(Places.of(engine.config, owner.id).directory)
        if reassert:
            sandbox = engine.networks.reassert(record.id, mode=mode)
        else:
            sandbox = engine.networks.prepare(
                record.id, mode=mode, name=record.name, published=config.ports, exposed=config.exposed
            )
        try:
            return sandbox, files.write(places.directory, config, self._hostname(record), sandbox)
        except BaseException:
            sandbox.close()
            raise

    def _owner(self, id: str) -> tuple[Record, Path | None]:
        """The container whose network is joined and its namespace, followed to the one that really has it."""
        engine = self._engine
        owner = engine.containers.records.need(id)
        if not owner.is_up:
            raise Conflict(
                f"cannot join network of a non running container: {owner.id}",
                remedy=f"start it first: pilothouse start {owner.name}",
            )
        mode = owner.config.network_mode
        if mode == "host":
            return owner, None
        if mode.startswith(JOINED):
            _, target = self._owner(mode.removeprefix(JOINED))
            return owner, target
        return owner, engine.networks.namespace_path(owner.id)

    def _hostname(self, record: Record) -> str:
        config = record.config
        if config.hostname:
            return config.hostname
        if config.network_mode == "host":
            import socket

            return socket.gethostname()
        if config.network_mode.startswith(JOINED):
            return self._hostname(self._engine.containers.records.need(config.network_mode.removeprefix(JOINED)))
        return record.short_id

    def _ground(self, record: Record, rootfs: Path) -> Ground:
        config = record.config
        account = accounts.lookup(rootfs, config.user, config.group_add)
        if config.working_dir not in ("", "/"):
            stubs.Stubs(rootfs).make([config.working_dir], [])
        return Ground(
            rootfs,
            sources.resolve(self._engine, config),
            account,
            self._filters().prepare(
                surroundings.seccomp_filter(config),
                self._engine.containers.runtime.path,
                cached=self._engine.containers.runtime.is_crun,
            ),
        )

    def _spec(self, record: Record, ground: Ground, sandbox: Sandbox, host_files: dict[str, Path]) -> Spec:
        engine, config = self._engine, record.config
        return spec.plan(
            config,
            Surroundings(
                rootfs=ground.rootfs,
                cgroup=exits.cgroup_of(engine, record.id),
                account=ground.account,
                hostname=self._hostname(record),
                netns=sandbox.netns,
                own_network=not config.network_mode.startswith(JOINED),
                files=host_files,
                mounts=ground.mounts,
                init=surroundings.init_program() if config.init else None,
                devices=surroundings.devices(config),
                bounding=surroundings.bounding_set(),
                hard_limits=surroundings.hard_limits(),
                least_oom_score=surroundings.least_oom_score(),
                private_cgroup=cgroups.layout().kind == "v2",
                seccomp=ground.filter.document,
                annotations=ground.filter.annotations,
            ),
        )

    def _filters(self) -> seccomp.Filters:
        return seccomp.Filters(self._engine.config.run_dir / "seccomp")

    def _keep_filter(self, record: Record, ground: Ground) -> None:
        state = self._engine.containers.runtime.state_directory(record.id)
        self._filters().keep(ground.filter.key, state / "seccomp.bpf")

    def _write_bundle(self, places: Places, plan: Spec) -> None:
        places.bundle.mkdir(parents=True, exist_ok=True, mode=0o700)
        places.exits.mkdir(parents=True, exist_ok=True, mode=0o700)
        (places.bundle / "config.json").write_text(json.dumps(plan.document))

    def _clear_old(self, record: Record, places: Places) -> None:
        """Nothing of an earlier run may be taken for this one's: exit file, bundle, runtime state."""
        places.exit_file.unlink(missing_ok=True)
        if places.bundle.exists():
            import shutil  # loads three compression libraries

            shutil.rmtree(places.bundle, ignore_errors=True)
        runtime = self._engine.containers.runtime
        runtime.deleted(record.id, runtime.delete(record.id))

    def _fail(self, record: Record, entry: Entry, error: BaseException) -> None:
        """Take everything back and note why; what cannot be taken back is added to the note."""
        engine = self._engine
        words = [str(error) or type(error).__name__, *exits.tear_down(engine, record)]
        code = error.exit_code if isinstance(error, EngineError) and error.exit_code in (126, 127) else FAILED_EXIT
        with engine.database.transaction():
            engine.containers.records.update(
                record.id,
                status="created" if record.status == "created" else "exited",
                error="; ".join(words),
                exit_code=code,
                restart_delay_ms=0,
            )
            engine.journal.close(entry)

    def _undo(self, intent: Intent) -> None:
        record = self._engine.containers.records.get(str(intent["id"]))
        if record is None or record.is_up:
            return
        errors = exits.tear_down(self._engine, record)
        words = "; ".join(["the start was interrupted", *errors])
        self._engine.containers.records.update(
            record.id, status="created" if record.status == "created" else "exited", error=words
        )


class _Beside:
    """A function that runs in a thread of its own meanwhile."""

    def __init__(self, function: Callable[[], Ground]) -> None:
        self._function = function
        self._result: Ground | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="ground", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result = self._function()
        except BaseException as error:
            self._error = error

    def wait(self) -> None:
        """Until it has ended, however."""
        self._thread.join()

    def result(self) -> Ground:
        """What it returned, or the error it raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        assert self._result is not None
        return self._result
