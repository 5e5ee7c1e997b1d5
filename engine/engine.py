"""The composition root: one ``Engine`` per data root and run dir.

Owns the wiring and the order of start-up work (recovery of abandoned operations). Has no behaviour of its own beyond
that; each service is made on first use, so a command loads only what it needs. Safe to use from several threads.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING

from engine.config import Config
from engine.errors import EngineError, TeardownError
from engine.state.database import Database
from engine.state.events import Events
from engine.state.journal import Journal
from engine.state.locks import Locks

if TYPE_CHECKING:
    from engine.build.builder import Builder
    from engine.containers.collection import Containers
    from engine.firewall.firewall import Firewall
    from engine.images.collection import Images
    from engine.network.collection import Networks
    from engine.storage.driver import Driver
    from engine.topology.observer import Observer
    from engine.volumes.collection import Volumes


class Engine:
    """The whole engine; docker-py's vocabulary on its collections.

    ``recover=False`` skips the recovery of abandoned operations (the exit hook and the warden do their own part).
    """

    def __init__(self, config: Config | None = None, *, recover: bool = True) -> None:
        if os.geteuid() != 0:
            raise EngineError(
                "pilothouse needs root: it makes mounts, network namespaces and firewall rules",
                remedy="run it with sudo; rootless mode is out of scope",
            )
        self.config = config or Config.from_environment()
        self.database = Database(self.config.data_root / "state.db")
        self.locks = Locks(self.config.run_dir)
        self.journal = Journal(self.database, self.locks)
        self.events = Events(self.database)
        self._wiring = threading.RLock()
        if recover and self.journal.abandoned():
            # What cannot be dealt with now is tried again by the next engine, and told by the verb it stands in the way
            # of. It must not stand in the way of every other one.
            with suppress(TeardownError):
                self.recover()
        if recover and self._machine_was_restarted():
            self.containers.refresh()

    def recover(self) -> None:
        """Register every journalled operation's handler and deal with what crashed processes left behind.

        TeardownError names what could not be dealt with; the rest was.
        """
        for service in (self.images, self.networks, self.containers, self.builder):
            service.register_recovery()
        self.journal.recover()

    def _machine_was_restarted(self) -> bool:
        """True when rows still call containers of another boot running: they hold addresses, ports and rules."""
        boots = self.database.all("SELECT DISTINCT boot_id FROM containers WHERE status IN ('running', 'paused')")
        if not boots:
            return False
        from engine.host import processes

        return any(row["boot_id"] != processes.boot_id() for row in boots)

    @cached_property
    def driver(self) -> Driver:
        """The storage driver the configuration or the probe chose."""
        from engine.storage.choice import choose

        with self._wiring:
            return choose(self.config)

    @cached_property
    def images(self) -> Images:
        """Images, layers and content."""
        from engine.images.collection import Images

        with self._wiring:
            return Images(self.config, self.database, self.locks, self.journal, self.events, lambda: self.driver)

    @cached_property
    def volumes(self) -> Volumes:
        """Named volumes."""
        from engine.volumes.collection import Volumes

        with self._wiring:
            return Volumes(self.config, self.database, self.locks, self.events)

    @cached_property
    def firewall(self) -> Firewall:
        """The iptables rules this engine wants and the kernel has."""
        from engine.firewall.firewall import Firewall

        with self._wiring:
            return Firewall(self.config, self.database, self.locks)

    @cached_property
    def networks(self) -> Networks:
        """Networks, sandboxes, endpoints, published ports."""
        from engine.network.collection import Networks

        with self._wiring:
            return Networks(self.config, self.database, self.locks, self.journal, self.events, self.firewall)

    @cached_property
    def containers(self) -> Containers:
        """Containers and what happens to them."""
        from engine.containers.collection import Containers

        with self._wiring:
            return Containers(self)

    @cached_property
    def builder(self) -> Builder:
        """Builds images from Dockerfiles."""
        from engine.build.builder import Builder

        with self._wiring:
            return Builder(self)

    @cached_property
    def topology(self) -> Observer:
        """What the kernel really has: links, namespaces, addresses, rules, counters."""
        from engine.topology.observer import Observer

        with self._wiring:
            return Observer(self)

    def close(self) -> None:
        """Wait for what still goes on beside us and close the database connections this engine opened."""
        try:
            if "networks" in self.__dict__:
                self.networks.settle()
        finally:
            self.database.close()
