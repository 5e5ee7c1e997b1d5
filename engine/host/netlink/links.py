"""Network links: list, find, make, change, delete (rtnetlink(7), linux/if_link.h).

Owns the encoding of RTM_*LINK and RTM_GETSTATS. Names, addresses and masters are the caller's business.
"""

from __future__ import annotations

import errno
import struct

from engine.host.netlink import message
from engine.host.netlink.connection import Connection, NetlinkError
from engine.values import dataclass

RTM_NEWLINK = 16
RTM_DELLINK = 17
RTM_GETLINK = 18
RTM_GETSTATS = 94
GROUP_LINK = 1

IFF_UP = 0x1
IFF_LOWER_UP = 0x10000

IFLA_ADDRESS = 1
IFLA_IFNAME = 3
IFLA_MTU = 4
IFLA_LINK = 5
IFLA_MASTER = 10
IFLA_OPERSTATE = 16
IFLA_LINKINFO = 18
IFLA_NET_NS_FD = 28
IFLA_EXT_MASK = 29
IFLA_STATS64 = 23
IFLA_LINK_NETNSID = 37
IFLA_TARGET_NETNSID = 46

IFLA_INFO_KIND = 1
IFLA_INFO_DATA = 2
IFLA_INFO_SLAVE_KIND = 4
IFLA_INFO_SLAVE_DATA = 5
VETH_INFO_PEER = 1
IFLA_BR_STP_STATE = 5
IFLA_BRPORT_STATE = 1
IFLA_BRPORT_MODE = 4

IFLA_STATS_LINK_64 = 1
RTEXT_FILTER_SKIP_STATS = 1 << 3

OPERATIONAL_STATES = ("unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up")
PORT_STATES = ("disabled", "listening", "learning", "forwarding", "blocking")

_INFO = struct.Struct("=BxHiII")  # family, hardware type, index, flags, change mask
_STATS_REQUEST = struct.Struct("=BxHiI")  # family, padding, index, filter
_COUNTERS = struct.Struct("=8Q")
_WANTED = frozenset(
    (
        IFLA_ADDRESS,
        IFLA_IFNAME,
        IFLA_MTU,
        IFLA_LINK,
        IFLA_MASTER,
        IFLA_OPERSTATE,
        IFLA_LINKINFO,
        IFLA_STATS64,
        IFLA_LINK_NETNSID,
    )
)


@dataclass(frozen=True)
class Counters:
    """A link's totals since it was made, seen from the link itself."""

    rx_packets: int
    tx_packets: int
    rx_bytes: int
    tx_bytes: int
    rx_errors: int
    tx_errors: int
    rx_dropped: int
    tx_dropped: int


@dataclass(frozen=True)
class BridgePort:
    """What a bridge knows of its port: STP ``state`` by name, and whether frames may leave by the port they came in."""

    state: str
    hairpin: bool


@dataclass(frozen=True)
class Link:
    """One link as the kernel describes it.

    ``kind`` is veth, bridge … or empty for a device of its own; ``master`` the index of its bridge or 0; ``peer`` the
    index of a veth's other end (or a macvlan's parent) or 0, living in the namespace with id ``peer_nsid`` (None:
    this one).
    """

    index: int
    name: str
    kind: str
    flags: int
    mtu: int
    mac: str
    master: int
    peer: int
    peer_nsid: int | None
    state: str
    counters: Counters | None
    port: BridgePort | None

    @property
    def up(self) -> bool:
        """True when the administrator's switch is on."""
        return bool(self.flags & IFF_UP)

    @property
    def running(self) -> bool:
        """True when there is a carrier: the other end is up too."""
        return bool(self.flags & IFF_LOWER_UP)


def dump(connection: Connection, *, nsid: int | None = None, counters: bool = False) -> list[Link]:
    """All links of this namespace, or of the one with id ``nsid`` without entering it; ``counters`` fills those in."""
    payload = _INFO.pack(0, 0, 0, 0, 0)
    payload += message.u32(IFLA_EXT_MASK, 0 if counters else RTEXT_FILTER_SKIP_STATS)
    if nsid is not None:
        payload += message.s32(IFLA_TARGET_NETNSID, nsid)
    return [parse(body) for body in connection.dump("listing links", RTM_GETLINK, payload)]


def get(connection: Connection, name: str, *, counters: bool = False) -> Link | None:
    """The link of that name, or None; ``counters`` fills those in."""
    payload = _INFO.pack(0, 0, 0, 0, 0)
    payload += message.text(IFLA_IFNAME, name)
    payload += message.u32(IFLA_EXT_MASK, 0 if counters else RTEXT_FILTER_SKIP_STATS)
    try:
        return parse(connection.query(f"looking up link {name}", RTM_GETLINK, payload))
    except NetlinkError as error:
        if error.errno == errno.ENODEV:
            return None
        raise


def counters(connection: Connection) -> dict[int, Counters]:
    """Totals of every link by index: the cheapest way to rates (RTM_GETSTATS with one filter)."""
    payload = _STATS_REQUEST.pack(0, 0, 0, 1 << (IFLA_STATS_LINK_64 - 1))
    found = {}
    for body in connection.dump("reading link counters", RTM_GETSTATS, payload):
        index = _STATS_REQUEST.unpack_from(body)[2]
        values = message.attributes(body, _STATS_REQUEST.size, (IFLA_STATS_LINK_64,)).get(IFLA_STATS_LINK_64)
        if values:
            found[index] = Counters(*_COUNTERS.unpack_from(values))
    return found


def create_bridge(connection: Connection, name: str, *, mac: str, mtu: int) -> None:
    """Make a bridge, up, with spanning tree off; NetlinkError EEXIST when the name is taken."""
    connection.execute(
        f"creating bridge {name}",
        RTM_NEWLINK,
        _INFO.pack(0, 0, 0, IFF_UP, IFF_UP)
        + message.text(IFLA_IFNAME, name)
        + message.attribute(IFLA_ADDRESS, _mac_bytes(mac))
        + message.u32(IFLA_MTU, mtu)
        + message.nested(
            IFLA_LINKINFO,
            message.text(IFLA_INFO_KIND, "bridge"),
            message.nested(IFLA_INFO_DATA, message.u32(IFLA_BR_STP_STATE, 0)),
        ),
        message.NLM_F_CREATE | message.NLM_F_EXCL,
    )


def create_veth(
    connection: Connection,
    name: str,
    *,
    peer_name: str,
    peer_netns: int,
    peer_mac: str,
    mtu: int,
    master: int = 0,
) -> None:
    """Make a veth pair, the peer already inside the namespace of descriptor ``peer_netns``; only this end is up.

    ``master`` is the index of the bridge the outer end becomes a port of. The inner end appears under its final name:
    it never exists in this namespace, so no name of ours can clash and nothing has to be moved.
    """
    # The kernel makes the inner end first: alone, it cannot be switched on yet (ENOTCONN).
    peer = (
        _INFO.pack(0, 0, 0, 0, 0)
        + message.text(IFLA_IFNAME, peer_name)
        + message.attribute(IFLA_ADDRESS, _mac_bytes(peer_mac))
        + message.u32(IFLA_MTU, mtu)
        + message.u32(IFLA_NET_NS_FD, peer_netns)
    )
    payload = (
        _INFO.pack(0, 0, 0, IFF_UP, IFF_UP)
        + message.text(IFLA_IFNAME, name)
        + message.u32(IFLA_MTU, mtu)
        + message.nested(
            IFLA_LINKINFO,
            message.text(IFLA_INFO_KIND, "veth"),
            message.nested(IFLA_INFO_DATA, message.attribute(VETH_INFO_PEER, peer)),
        )
    )
    if master:
        payload += message.u32(IFLA_MASTER, master)
    connection.execute(
        f"creating veth {name} with its peer {peer_name} in the container's namespace",
        RTM_NEWLINK,
        payload,
        message.NLM_F_CREATE | message.NLM_F_EXCL,
    )


def set_up(connection: Connection, name: str, *, up: bool = True) -> None:
    """Switch a link on or off."""
    flags = IFF_UP if up else 0
    connection.execute(
        f"switching {name} {'on' if up else 'off'}",
        RTM_NEWLINK,
        _INFO.pack(0, 0, 0, flags, IFF_UP) + message.text(IFLA_IFNAME, name),
    )


def set_mtu(connection: Connection, name: str, mtu: int) -> None:
    """Change a link's MTU."""
    connection.execute(
        f"setting the MTU of {name} to {mtu}",
        RTM_NEWLINK,
        _INFO.pack(0, 0, 0, 0, 0) + message.text(IFLA_IFNAME, name) + message.u32(IFLA_MTU, mtu),
    )


def set_master(connection: Connection, name: str, master: int) -> None:
    """Make a link a port of the bridge with index ``master``; 0 takes it out."""
    connection.execute(
        f"attaching {name} to its bridge" if master else f"detaching {name} from its bridge",
        RTM_NEWLINK,
        _INFO.pack(0, 0, 0, 0, 0) + message.text(IFLA_IFNAME, name) + message.u32(IFLA_MASTER, master),
    )


def seclude(connection: Connection, name: str) -> bool:
    """Switch a bridge port off and take it out of its bridge; False when there is no such link.

    From then on no frame passes it, at a hundredth of what deleting it costs.
    """
    try:
        set_up(connection, name, up=False)
        set_master(connection, name, 0)
    except NetlinkError as error:
        if error.errno == errno.ENODEV:
            return False
        raise
    return True


def set_hairpin(connection: Connection, name: str, *, on: bool = True) -> None:
    """Let frames leave a bridge port by which they came in (linux/if_link.h, IFLA_BRPORT_MODE)."""
    connection.execute(
        f"setting hairpin mode of bridge port {name}",
        RTM_NEWLINK,
        _INFO.pack(0, 0, 0, 0, 0)
        + message.text(IFLA_IFNAME, name)
        + message.nested(
            IFLA_LINKINFO,
            message.text(IFLA_INFO_SLAVE_KIND, "bridge"),
            message.nested(IFLA_INFO_SLAVE_DATA, message.u8(IFLA_BRPORT_MODE, int(on))),
        ),
    )


def delete(connection: Connection, name: str) -> bool:
    """Delete a link; False when there is none of that name."""
    return _delete(connection, name, _INFO.pack(0, 0, 0, 0, 0) + message.text(IFLA_IFNAME, name))


def delete_index(connection: Connection, index: int) -> bool:
    """Delete the link with that index, which no later link gets; False when it is gone."""
    return _delete(connection, f"number {index}", _INFO.pack(0, 0, index, 0, 0))


def _delete(connection: Connection, what: str, payload: bytes) -> bool:
    try:
        connection.execute(f"deleting link {what}", RTM_DELLINK, payload)
    except NetlinkError as error:
        if error.errno == errno.ENODEV:
            return False
        raise
    return True


def parse(body: bytes) -> Link:
    """A Link from the payload of an RTM_NEWLINK or RTM_DELLINK message (events too)."""
    _, _, index, flags, _ = _INFO.unpack_from(body)
    found = message.attributes(body, _INFO.size, _WANTED)
    info = message.attributes(found.get(IFLA_LINKINFO, b""))
    state = found.get(IFLA_OPERSTATE, b"\0")[0]
    stats = found.get(IFLA_STATS64)
    peer_nsid = found.get(IFLA_LINK_NETNSID)
    return Link(
        index=index,
        name=message.string(found.get(IFLA_IFNAME, b"")),
        kind=message.string(info.get(IFLA_INFO_KIND, b"")),
        flags=flags,
        mtu=_number(found, IFLA_MTU),
        mac=found.get(IFLA_ADDRESS, b"").hex(":"),
        master=_number(found, IFLA_MASTER),
        peer=_number(found, IFLA_LINK),
        peer_nsid=None if peer_nsid is None else message.S32.unpack(peer_nsid)[0],
        state=OPERATIONAL_STATES[state] if state < len(OPERATIONAL_STATES) else "unknown",
        counters=None if stats is None else Counters(*_COUNTERS.unpack_from(stats)),
        port=_port(info),
    )


def _port(info: dict[int, bytes]) -> BridgePort | None:
    if message.string(info.get(IFLA_INFO_SLAVE_KIND, b"")) != "bridge":
        return None
    data = message.attributes(info.get(IFLA_INFO_SLAVE_DATA, b""), 0, (IFLA_BRPORT_STATE, IFLA_BRPORT_MODE))
    state = data.get(IFLA_BRPORT_STATE, b"\0")[0]
    return BridgePort(
        state=PORT_STATES[state] if state < len(PORT_STATES) else "disabled",
        hairpin=data.get(IFLA_BRPORT_MODE, b"\0")[0] == 1,
    )


def _number(found: dict[int, bytes], kind: int) -> int:
    value = found.get(kind)
    return 0 if value is None else int(message.U32.unpack_from(value)[0])


def _mac_bytes(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))
