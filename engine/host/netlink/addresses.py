"""Addresses on links: list, add, remove (rtnetlink(7), RTM_*ADDR)."""

from __future__ import annotations

import errno
import socket
import struct

from engine.host.netlink import message
from engine.host.netlink.connection import Connection, NetlinkError
from engine.values import dataclass

RTM_NEWADDR = 20
RTM_DELADDR = 21
RTM_GETADDR = 22
GROUP_IPV4_IFADDR = 5
GROUP_IPV6_IFADDR = 9

IFA_ADDRESS = 1
IFA_LOCAL = 2
IFA_BROADCAST = 4
IFA_TARGET_NETNSID = 10

_INFO = struct.Struct("=BBBBi")  # family, prefix length, flags, scope, link index


@dataclass(frozen=True)
class Address:
    """One address of the link with index ``link``; ``family`` is socket.AF_INET or AF_INET6."""

    link: int
    family: int
    address: str
    prefix: int

    def __str__(self) -> str:
        return f"{self.address}/{self.prefix}"


def dump(
    connection: Connection, *, link: int = 0, family: int = socket.AF_INET, nsid: int | None = None
) -> list[Address]:
    """All addresses of a family (0: both); of one ``link`` only, or of namespace ``nsid`` without entering it."""
    payload = _INFO.pack(family, 0, 0, 0, link)
    if nsid is not None:
        payload += message.s32(IFA_TARGET_NETNSID, nsid)
    found = [parse(body) for body in connection.dump("listing addresses", RTM_GETADDR, payload)]
    # Kernels without strict checking ignore the filter.
    return [entry for entry in found if not link or entry.link == link]


def add(connection: Connection, link: int, address: str, prefix: int) -> bool:
    """Give a link an IPv4 address with the broadcast address of its subnet; False when it has it already."""
    packed = socket.inet_aton(address)
    hosts = (1 << (32 - prefix)) - 1
    broadcast = message.BE32.pack(message.BE32.unpack(packed)[0] | hosts)
    try:
        connection.execute(
            f"adding address {address}/{prefix}",
            RTM_NEWADDR,
            _INFO.pack(socket.AF_INET, prefix, 0, 0, link)
            + message.attribute(IFA_LOCAL, packed)
            + message.attribute(IFA_ADDRESS, packed)
            + message.attribute(IFA_BROADCAST, broadcast),
            message.NLM_F_CREATE | message.NLM_F_EXCL,
        )
    except NetlinkError as error:
        if error.errno == errno.EEXIST:
            return False
        raise
    return True


def remove(connection: Connection, link: int, address: str, prefix: int) -> bool:
    """Take an IPv4 address from a link; False when it does not have it."""
    packed = socket.inet_aton(address)
    try:
        connection.execute(
            f"removing address {address}/{prefix}",
            RTM_DELADDR,
            _INFO.pack(socket.AF_INET, prefix, 0, 0, link)
            + message.attribute(IFA_LOCAL, packed)
            + message.attribute(IFA_ADDRESS, packed),
        )
    except NetlinkError as error:
        if error.errno in (errno.EADDRNOTAVAIL, errno.ENODEV):
            return False
        raise
    return True


def parse(body: bytes) -> Address:
    """An Address from the payload of an RTM_NEWADDR or RTM_DELADDR message (events too)."""
    family, prefix, _, _, link = _INFO.unpack_from(body)
    found = message.attributes(body, _INFO.size, (IFA_ADDRESS, IFA_LOCAL))
    packed = found.get(IFA_LOCAL) or found.get(IFA_ADDRESS, b"")
    return Address(link, family, socket.inet_ntop(family, packed), prefix)
