"""Routes of the main table: list, add, ask the kernel for its choice (rtnetlink(7), RTM_*ROUTE)."""

from __future__ import annotations

import errno
import socket
import struct

from engine.host.netlink import message
from engine.host.netlink.connection import Connection, NetlinkError
from engine.values import dataclass

RTM_NEWROUTE = 24
RTM_DELROUTE = 25
RTM_GETROUTE = 26
GROUP_IPV4_ROUTE = 7

RTA_DST = 1
RTA_OIF = 4
RTA_GATEWAY = 5
RTA_PRIORITY = 6
RTA_PREFSRC = 7
RTA_MULTIPATH = 9
RTA_TABLE = 15

RT_TABLE_MAIN = 254
RTPROT_BOOT = 3
RT_SCOPE_UNIVERSE = 0
RTN_UNICAST = 1
RTM_F_CLONED = 0x200

_INFO = struct.Struct("=BBBBBBBBI")  # family, dst len, src len, tos, table, protocol, scope, type, flags
_NEXT_HOP = struct.Struct("=HBBi")  # length, flags, hops, link index


@dataclass(frozen=True)
class Route:
    """One unicast route; the default route has destination 0.0.0.0 (or ::) and prefix 0; no gateway is ``""``."""

    destination: str
    prefix: int
    gateway: str
    link: int
    source: str
    metric: int


def dump(connection: Connection, *, family: int = socket.AF_INET, table: int = RT_TABLE_MAIN) -> list[Route]:
    """The unicast routes of one table; a multipath route appears once per next hop."""
    payload = _INFO.pack(family, 0, 0, 0, table, 0, 0, 0, 0) + message.u32(RTA_TABLE, table)
    try:
        bodies = connection.dump("listing routes", RTM_GETROUTE, payload)
    except NetlinkError as error:
        # A strict kernel says ENOENT for a table that was never made: no routes.
        if error.errno == errno.ENOENT:
            return []
        raise
    routes: list[Route] = []
    for body in bodies:
        fields = _INFO.unpack_from(body)
        found = message.attributes(body, _INFO.size)
        in_table = message.U32.unpack(found[RTA_TABLE])[0] if RTA_TABLE in found else fields[4]
        if in_table == table and fields[7] == RTN_UNICAST and not fields[8] & RTM_F_CLONED:
            routes += _parse(fields[0], fields[1], found)
    return routes


def add_default(connection: Connection, gateway: str, link: int) -> bool:
    """Add the IPv4 default route through ``gateway``; False when that very route is there."""
    payload = (
        _INFO.pack(socket.AF_INET, 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, RT_SCOPE_UNIVERSE, RTN_UNICAST, 0)
        + message.attribute(RTA_GATEWAY, socket.inet_aton(gateway))
        + message.u32(RTA_OIF, link)
    )
    try:
        connection.execute(
            f"adding the default route via {gateway}", RTM_NEWROUTE, payload, message.NLM_F_CREATE | message.NLM_F_EXCL
        )
    except NetlinkError as error:
        if error.errno == errno.EEXIST:
            return False
        raise
    return True


def lookup(connection: Connection, destination: str) -> Route:
    """The route the kernel takes to an IPv4 address; NetlinkError ENETUNREACH when there is none."""
    payload = _INFO.pack(socket.AF_INET, 32, 0, 0, 0, 0, 0, 0, 0)
    payload += message.attribute(RTA_DST, socket.inet_aton(destination))
    body = connection.query(f"looking up the route to {destination}", RTM_GETROUTE, payload)
    fields = _INFO.unpack_from(body)
    return _parse(fields[0], fields[1], message.attributes(body, _INFO.size))[0]


def _parse(family: int, prefix: int, found: dict[int, bytes]) -> list[Route]:
    destination = _address(family, found.get(RTA_DST)) or ("0.0.0.0" if family == socket.AF_INET else "::")
    source = _address(family, found.get(RTA_PREFSRC))
    metric = message.U32.unpack(found[RTA_PRIORITY])[0] if RTA_PRIORITY in found else 0
    hops = [(found.get(RTA_GATEWAY), message.U32.unpack(found[RTA_OIF])[0] if RTA_OIF in found else 0)]
    if RTA_MULTIPATH in found:
        hops = _next_hops(found[RTA_MULTIPATH])
    return [Route(destination, prefix, _address(family, gateway), link, source, metric) for gateway, link in hops]


def _next_hops(data: bytes) -> list[tuple[bytes | None, int]]:
    hops = []
    offset = 0
    while offset + _NEXT_HOP.size <= len(data):
        length, _, _, link = _NEXT_HOP.unpack_from(data, offset)
        if length < _NEXT_HOP.size:
            break
        inner = message.attributes(data[offset : offset + length], _NEXT_HOP.size, (RTA_GATEWAY,))
        hops.append((inner.get(RTA_GATEWAY), link))
        offset += (length + 3) & ~3
    return hops


def _address(family: int, packed: bytes | None) -> str:
    return socket.inet_ntop(family, packed) if packed else ""
