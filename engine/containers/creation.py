"""Making a container: name, row, writable layer, volumes; nothing runs yet.

Owns the order and its journal entry ``container.create``: the name is reserved by the row itself (UNIQUE) before any
work, the row becomes visible last. A creation that died in between is undone.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from engine.containers import accounts, capabilities, names, quantities, security, signals, sources, stubs
from engine.containers.config import ContainerConfig, merge
from engine.containers.mounts import Mount
from engine.containers.record import LOCK, Places, Record
from engine.errors import Conflict, InvalidInput
from engine.state.database import timestamp
from engine.state.journal import Intent
from engine.values import replace

if TYPE_CHECKING:
    from engine.engine import Engine
    from engine.images.records import Image

OPERATION = "container.create"
NAME_ATTEMPTS = 8
LEAST_NANO_CPUS = 10_000_000
MODES = ("", "default", "bridge", "host", "none")


class Creation:
    """Creation of containers of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def register_recovery(self) -> None:
        """An abandoned creation is undone."""
        self._engine.journal.register(OPERATION, self._undo)

    def create(self, config: ContainerConfig) -> Record:
        """Create a container; InvalidInput, NotFound (image) or Conflict (name) before anything is made."""
        engine = self._engine
        image = engine.images.get(config.image)
        config = merge(config, engine.images.config(image.id).config)
        config = self._check(config)
        sources.check(config)
        id = names.new_id()
        config = _with_volume_names(config)
        with engine.locks.hold(LOCK, id):
            try:
                record = self._reserve(id, config, image)
                self._build(record, image)
                with engine.database.transaction():
                    engine.containers.records.update(id, status="created")
                    self._close_entry(id)
                    engine.events.emit("container", "create", id, record.event_attributes())
            except BaseException:
                self._undo({"id": id, "volumes": config.anonymous_volumes})
                self._close_entry(id)
                engine.locks.forget(LOCK, id)
                raise
        for words in _without_effect(record.config):
            engine.containers.warn(record.name, words)
        return replace(record, status="created")

    def _check(self, config: ContainerConfig) -> ContainerConfig:
        """Refuse what cannot work together; the config with ``container:NAME`` resolved to an id."""
        if config.auto_remove and config.restart_policy.active:
            raise InvalidInput(
                "conflicting options: cannot specify both --restart and --rm", remedy="leave one of them out"
            )
        if config.mem_limit and config.mem_limit < quantities.MINIMUM_MEMORY:
            raise InvalidInput(
                "Minimum memory limit allowed is 6MB", remedy="give --memory 6m or more, or leave it out"
            )
        processors = len(os.sched_getaffinity(0))
        if config.nano_cpus and not LEAST_NANO_CPUS <= config.nano_cpus <= processors * 1_000_000_000:
            raise InvalidInput(
                f"range of CPUs is from 0.01 to {processors}.00, as there are only {processors} CPUs available",
                remedy="give --cpus what this host has, or leave it out for no limit",
            )
        config = replace(
            config,
            cap_add=capabilities.normalise(config.cap_add, "CapAdd"),
            cap_drop=capabilities.normalise(config.cap_drop, "CapDrop"),
        )
        security.parse(config.security_opt)
        if config.stop_signal:
            signals.parse(config.stop_signal)
        mode = config.network_mode
        if mode.startswith("container:"):
            owner = self._engine.containers.records.find(mode.partition(":")[2])
            if config.ports:
                raise InvalidInput(
                    "conflicting options: port publishing and the container type network mode",
                    remedy=f"publish the ports on {owner.name}",
                )
            if config.hostname:
                raise InvalidInput("conflicting options: hostname and the network mode", remedy="leave --hostname out")
            return replace(config, network_mode=f"container:{owner.id}")
        if mode not in MODES:
            self._engine.networks.get(mode)
        return config

    def _reserve(self, id: str, config: ContainerConfig, image: Image) -> Record:
        """The row with its name, and the journal's entry, in one commit."""
        engine = self._engine
        records = engine.containers.records
        given = names.validate(config.name) if config.name else ""
        for attempt in range(NAME_ATTEMPTS):
            name = given or names.generate(attempt)
            named = replace(config, name=name)
            try:
                with engine.database.transaction():
                    records.insert(id, name, timestamp(), image.id, named.to_json())
                    engine.journal.open(OPERATION, LOCK, id, {"id": id, "volumes": named.anonymous_volumes})
            except sqlite3.IntegrityError:
                if given:
                    raise self._taken(name) from None
                continue
            record = records.get(id)
            assert record is not None
            return record
        raise Conflict("no free name was found", remedy="give one with --name")

    def _taken(self, name: str) -> Conflict:
        row = self._engine.database.one("SELECT id FROM containers WHERE name=?", (name,))
        owner = row["id"] if row is not None else "unknown"
        return Conflict(
            f'Conflict. The container name "/{name}" is already in use by container "{owner}". You have to remove (or '
            "rename) that container to be able to reuse that name.",
            remedy=f"pilothouse rm {name}, or choose another --name",
        )

    def _build(self, record: Record, image: Image) -> None:
        """The layer with docker's mount points, the writable layer over it, and the volumes."""
        engine = self._engine
        driver = engine.driver
        base = f"{record.id}-init"
        # A layer of its own for the mount points keeps them out of the container's diff and of commits.
        # Not by the driver alone: a forced rmi must not take the layers away from under a container being made.
        engine.images.create_directory(base, image)
        rootfs = driver.mount(base)
        try:
            # A user the image does not know is better refused now than at each start.
            accounts.lookup(rootfs, record.config.user, record.config.group_add)
            stubs.Stubs(rootfs).make(stubs.DIRECTORIES, (*stubs.FILES, "/.dockerenv"))
        finally:
            driver.unmount(base)
        driver.create(record.id, base)
        Places.of(engine.config, record.id).directory.mkdir(parents=True, exist_ok=True, mode=0o710)
        if any(mount.kind == "volume" for mount in record.config.binds):
            rootfs = driver.mount(record.id)
            try:
                sources.make_volumes(engine, record.config, rootfs)
            finally:
                driver.unmount(record.id)

    def _close_entry(self, id: str) -> None:
        self._engine.database.execute("DELETE FROM journal WHERE operation=? AND lock_name=?", (OPERATION, id))

    def _undo(self, intent: Intent) -> None:
        engine = self._engine
        id = str(intent["id"])
        record = engine.containers.records.get(id)
        if record is not None and record.status != "creating":
            return
        engine.driver.remove(id)
        engine.driver.remove(f"{id}-init")
        directory: Path = Places.of(engine.config, id).directory
        import shutil  # loads three compression libraries

        shutil.rmtree(directory, ignore_errors=True)
        engine.containers.records.delete(id)
        sources.drop_volumes(engine, intent["volumes"])


def _without_effect(config: ContainerConfig) -> Iterator[str]:
    """What was asked for, or is in the image, and will do nothing."""
    if config.network_mode == "host" and config.ports:
        yield "Published ports are discarded when using host network mode"
    if config.healthcheck and list(config.healthcheck.get("Test") or ("NONE",)) != ["NONE"]:
        yield "its HEALTHCHECK is not run: this version makes no health checks"


def _with_volume_names(config: ContainerConfig) -> ContainerConfig:
    """Anonymous volumes get their 64 digits before the row is written: the row is what protects them."""

    def named(mount: Mount) -> Mount:
        if mount.kind == "volume" and not mount.source:
            return replace(mount, source=os.urandom(32).hex())
        return mount

    return replace(config, binds=tuple(named(mount) for mount in config.binds))
