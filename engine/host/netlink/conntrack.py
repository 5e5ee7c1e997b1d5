"""The connection tracking table: find entries and delete them (linux/netfilter/nfnetlink_conntrack.h).

Owns the encoding of ctnetlink. Deletes only what it has listed itself, one entry at a time: a filter the kernel did not
understand can widen a listing, never a deletion.
"""

from __future__ import annotations

import errno
import socket
import struct

from engine.host import sysctl
from engine.host.netlink import message
from engine.host.netlink.connection import NETLINK_NETFILTER, Connection, NetlinkError, kept
from engine.values import dataclass

NFNL_SUBSYS_CTNETLINK = 1
CT_GET = NFNL_SUBSYS_CTNETLINK << 8 | 1
CT_DELETE = NFNL_SUBSYS_CTNETLINK << 8 | 2

CTA_TUPLE_ORIG = 1
CTA_TUPLE_REPLY = 2
CTA_ID = 12
CTA_ZONE = 18
CTA_FILTER = 25
CTA_TUPLE_IP = 1
CTA_TUPLE_PROTO = 2
CTA_IP_V4_SRC = 1
CTA_IP_V4_DST = 2
CTA_PROTO_NUM = 1
CTA_PROTO_SRC_PORT = 2
CTA_PROTO_DST_PORT = 3
CTA_FILTER_ORIG_FLAGS = 1
CTA_FILTER_REPLY_FLAGS = 2
FILTER_SOURCE = 1 << 0
FILTER_PROTOCOL = 1 << 3
FILTER_DESTINATION_PORT = 1 << 5

FEW_FLOWS = 1000

_GENERIC = struct.Struct(">BBH")  # family, version, resource id

# The kernel is without connection tracking, or without its netlink interface: there is nothing to flush.
_ABSENT = (errno.EPROTONOSUPPORT, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOENT, errno.ENOSYS)


@dataclass(frozen=True)
class Tuple:
    """One direction of a flow; ports are 0 for protocols without them."""

    protocol: int
    source: str
    source_port: int
    destination: str
    destination_port: int


@dataclass(frozen=True)
class Entry:
    """One flow as first seen and as its answers look; ``key`` is what the kernel needs to find it again."""

    original: Tuple
    reply: Tuple
    key: bytes


def flush_address(address: str) -> int:
    """Forget every IPv4 flow that begins at ``address`` or is answered by it; how many there were.

    A listing walks the kernel's whole table (10 ms on a big machine). While there are few flows one unfiltered walk is
    cheaper than two filtered ones.
    """
    count = int(sysctl.read("net", "netfilter", "nf_conntrack_count") or 0)
    if count == 0:
        return 0
    connection = kept(NETLINK_NETFILTER)
    if count < FEW_FLOWS:
        listed = _list(connection, b"")
    else:
        source = message.nested(CTA_TUPLE_IP, message.attribute(CTA_IP_V4_SRC, socket.inet_aton(address)))
        listed = []
        for kind, flags in ((CTA_TUPLE_ORIG, CTA_FILTER_ORIG_FLAGS), (CTA_TUPLE_REPLY, CTA_FILTER_REPLY_FLAGS)):
            condition = message.nested(CTA_FILTER, message.u32(flags, FILTER_SOURCE))
            listed += _list(connection, message.nested(kind, source) + condition)
    return _delete(connection, [entry for entry in listed if address in (entry.original.source, entry.reply.source)])


def flush_port(protocol: str, address: str, port: int) -> int:
    """Forget the flows of ``protocol`` sent to host port ``port`` at ``address`` (0.0.0.0: any); how many there were.

    A flow that began before the port was published keeps its old destination for as long as its packets come: NAT
    rules are asked for the first packet of a flow only.
    """
    number = socket.IPPROTO_UDP if protocol == "udp" else socket.IPPROTO_TCP
    wanted = message.nested(
        CTA_TUPLE_ORIG,
        message.nested(
            CTA_TUPLE_PROTO,
            message.u8(CTA_PROTO_NUM, number),
            message.attribute(CTA_PROTO_DST_PORT, message.BE16.pack(port)),
        ),
    ) + message.nested(CTA_FILTER, message.u32(CTA_FILTER_ORIG_FLAGS, FILTER_PROTOCOL | FILTER_DESTINATION_PORT))
    if sysctl.read("net", "netfilter", "nf_conntrack_count") in (None, "0"):
        return 0
    connection = kept(NETLINK_NETFILTER)
    entries = [
        entry
        for entry in _list(connection, wanted)
        if (entry.original.protocol, entry.original.destination_port) == (number, port)
        and address in ("0.0.0.0", entry.original.destination)
    ]
    return _delete(connection, entries)


def dump(connection: Connection) -> list[Entry]:
    """Every IPv4 flow; ``connection`` is of the netfilter family."""
    return _list(connection, b"")


def _list(connection: Connection, wanted: bytes) -> list[Entry]:
    payload = _GENERIC.pack(socket.AF_INET, 0, 0) + wanted
    try:
        bodies = connection.dump("listing tracked connections", CT_GET, payload)
    except NetlinkError as error:
        # Kernels before 5.8 know no filter and refuse or ignore it; those that refuse list everything instead.
        if error.errno in _ABSENT and wanted:
            return _list(connection, b"")
        if error.errno in _ABSENT:
            return []
        raise
    return [_parse(body) for body in bodies]


def _delete(connection: Connection, entries: list[Entry]) -> int:
    deleted = 0
    for entry in entries:
        try:
            connection.execute(
                "forgetting a tracked connection", CT_DELETE, _GENERIC.pack(socket.AF_INET, 0, 0) + entry.key
            )
            deleted += 1
        except NetlinkError as error:
            if error.errno != errno.ENOENT:
                raise
    return deleted


def _parse(body: bytes) -> Entry:
    found = message.attributes(body, _GENERIC.size, (CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_ID, CTA_ZONE))
    key = message.attribute(CTA_TUPLE_ORIG | message.NLA_F_NESTED, found[CTA_TUPLE_ORIG])
    for kind in (CTA_ID, CTA_ZONE):
        if kind in found:
            key += message.attribute(kind, found[kind])
    return Entry(_tuple(found[CTA_TUPLE_ORIG]), _tuple(found[CTA_TUPLE_REPLY]), key)


def _tuple(data: bytes) -> Tuple:
    parts = message.attributes(data)
    addresses = message.attributes(parts[CTA_TUPLE_IP])
    protocol = message.attributes(parts[CTA_TUPLE_PROTO])
    return Tuple(
        protocol[CTA_PROTO_NUM][0],
        socket.inet_ntoa(addresses[CTA_IP_V4_SRC]),
        _port(protocol, CTA_PROTO_SRC_PORT),
        socket.inet_ntoa(addresses[CTA_IP_V4_DST]),
        _port(protocol, CTA_PROTO_DST_PORT),
    )


def _port(protocol: dict[int, bytes], kind: int) -> int:
    return int(message.BE16.unpack(protocol[kind])[0]) if kind in protocol else 0
