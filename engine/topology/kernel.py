"""The kernel's side of the topology: links, addresses, default routes, and what is inside the namespaces they lead to.

Owns the reading, through one netlink connection: no namespace is entered, because the kernel answers for a namespace
by the id it has given it here. Interprets nothing.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path

from engine.host.netlink import addresses, links, namespaces, routes
from engine.host.netlink.connection import Connection, NetlinkError
from engine.host.netlink.links import Link
from engine.values import dataclass, field

_BOTH_FAMILIES = 0
_LINK_LOCAL = "fe80:"
_GONE = (errno.EINVAL, errno.ENODEV, errno.ENOENT)


@dataclass(frozen=True)
class Namespace:
    """What is inside one namespace: its links by index, and each link's addresses with prefix."""

    links: Mapping[int, Link] = field(default_factory=dict)
    addresses: Mapping[int, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Kernel:
    """The host's own namespace and those its veth pairs lead to.

    ``gateways`` has the next hop of the default route by link index, empty for a route without one. ``inner`` is by
    namespace id; ``names`` names those ids that a file somewhere names.
    """

    host: Namespace = field(default_factory=Namespace)
    gateways: Mapping[int, str] = field(default_factory=dict)
    inner: Mapping[int, Namespace] = field(default_factory=dict)
    names: Mapping[int, str] = field(default_factory=dict)


def read(connection: Connection, directories: Iterable[Path] = ()) -> Kernel:
    """Everything now; ``directories`` hold namespace files that give namespaces their names."""
    host = _namespace(connection)
    gateways = {
        route.link: route.gateway
        for family in (socket.AF_INET6, socket.AF_INET)
        for route in routes.dump(connection, family=family)
        if route.prefix == 0
    }
    ids = sorted({link.peer_nsid for link in host.links.values() if link.peer_nsid is not None})
    inner: dict[int, Namespace] = {}
    for nsid in ids:
        try:
            inner[nsid] = _namespace(connection, nsid)
        except NetlinkError as error:
            # It went away after we listed the links; the next observation will not have it.
            if error.errno not in _GONE:
                raise
    return Kernel(host, gateways, inner, _names(connection, inner.keys(), directories))


def _namespace(connection: Connection, nsid: int | None = None) -> Namespace:
    found: dict[int, list[str]] = {}
    for address in addresses.dump(connection, family=_BOTH_FAMILIES, nsid=nsid):
        if not address.address.startswith(_LINK_LOCAL):
            found.setdefault(address.link, []).append(str(address))
    return Namespace(
        {link.index: link for link in links.dump(connection, nsid=nsid)},
        {index: tuple(each) for index, each in found.items()},
    )


def _names(connection: Connection, wanted: Iterable[int], directories: Iterable[Path]) -> dict[int, str]:
    missing = set(wanted)
    names: dict[int, str] = {}
    for directory in directories:
        try:
            files = sorted(directory.iterdir()) if missing else []
        except OSError:
            continue
        for file in files:
            nsid = _id_of(connection, file)
            if nsid in missing:
                missing.discard(nsid)
                names[nsid] = file.name
    return names


def _id_of(connection: Connection, file: Path) -> int:
    """The id of the namespace kept at ``file``; -1 when it keeps none or the host never met it."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1
    try:
        nsid = namespaces.nsid(connection, descriptor)
    except NetlinkError:
        return -1
    finally:
        os.close(descriptor)
    return -1 if nsid is None else nsid
