"""Keeps the picture of the network up to date.

Owns the netlink connections and the decision what has to be read again: the whole map when the kernel has told of a
change (in any namespace it has links to), the records when the database has changed, otherwise nothing but counters.
Reads only. The connections belong to the thread that observes, and to its network namespace.
"""

from __future__ import annotations

import select
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from engine.host.netlink import addresses, links, namespaces, routes
from engine.host.netlink.connection import Connection, NetlinkError
from engine.topology import kernel, records
from engine.topology.assembly import assemble
from engine.topology.graph import Graph
from engine.topology.kernel import Kernel
from engine.topology.records import Records

if TYPE_CHECKING:
    from engine.engine import Engine

FOREIGN_NAMESPACES = (Path("/run/docker/netns"),)
"""Where engines other than ours keep the files that name their namespaces, besides the common directory."""

_GROUPS = (
    links.GROUP_LINK,
    addresses.GROUP_IPV4_IFADDR,
    addresses.GROUP_IPV6_IFADDR,
    routes.GROUP_IPV4_ROUTE,
    namespaces.GROUP_NSID,
)


class _View:
    """What one thread has seen so far: its connections, the map they gave, the records, the last graph."""

    def __init__(self) -> None:
        # News first: what changes between the two is then read twice, never missed.
        self.news = Connection(groups=_GROUPS, all_namespaces=True)
        self.queries = Connection()
        self.kernel: Kernel | None = None
        self.records = Records()
        self.version: tuple[int, int] | None = None
        self.last = Graph()


class Observer:
    """Takes graphs, one after the other; each thread that calls it has rates and connections of its own."""

    def __init__(self, engine: Engine) -> None:
        self._database = engine.database
        self._directories = (engine.config.netns_dir, *FOREIGN_NAMESPACES)
        # Ids of threads are used again when a thread has ended; this is not.
        self._local = threading.local()

    def observe(self) -> Graph:
        """The network now; rates are those since this thread's call before. HostError if the kernel refuses to tell."""
        view: _View | None = getattr(self._local, "view", None)
        if view is None:
            view = self._local.view = _View()
        if _has_news(view.news) or view.kernel is None:
            view.kernel = kernel.read(view.queries, self._directories)
        version = records.version(self._database)
        if version != view.version:
            view.records, view.version = records.read(self._database), version
        taken = time.monotonic()
        view.last = assemble(view.kernel, view.records, links.counters(view.queries), view.last, taken)
        return view.last

    def close(self) -> None:
        """Close this thread's connections; observing again opens new ones."""
        view: _View | None = self._local.__dict__.pop("view", None)
        if view is not None:
            view.news.close()
            view.queries.close()


def _has_news(news: Connection) -> bool:
    """True if the kernel told of a change since the last time; reads all it has to say."""
    poller = select.poll()
    poller.register(news.fileno(), select.POLLIN)
    told = False
    while poller.poll(0):
        told = True
        try:
            news.events()
        except NetlinkError:
            # More news than the buffer holds: what it was no longer matters, everything is read again.
            continue
    return told
