"""The bridge driver: a Linux bridge, a veth pair per endpoint, docker's hairpin layout.

Owns the bridge link, its address and sysctls, and the veth pairs. What it makes inside a container it makes from a
thread that entered the container's namespace; no socket ever crosses threads.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from engine.errors import Conflict, HostError, InvalidInput
from engine.host import netns, processes, sysctl
from engine.host.netlink import addresses, links, routes
from engine.host.netlink.connection import Connection, NetlinkError
from engine.network.driver import Detached, Driver
from engine.network.ipam import parse_prefix, to_text
from engine.network.model import Endpoint, Network

INTERFACE_NAME_MAX = 15
LOCAL_ADMINISTERED = "02:42"


class Bridge(Driver):
    """Bridge networks."""

    name = "bridge"
    has_addresses = True

    def validate(self, network: Network) -> None:
        """A usable interface name, a subnet, and a gateway inside it."""
        name = network.bridge
        if not name or len(name) > INTERFACE_NAME_MAX or "/" in name or any(letter.isspace() for letter in name):
            raise InvalidInput(
                f"invalid bridge name {name!r}", remedy="an interface name has up to 15 characters, no /"
            )
        prefix = parse_prefix(network.subnet)
        if network.gateway not in prefix:
            raise InvalidInput(f"no matching subnet for gateway {network.gateway}", remedy=f"choose one in {prefix}")

    def setup(self, network: Network, endpoints: Sequence[Endpoint]) -> Mapping[str, object]:
        """The bridge, up, with the gateway's address; remembers which link it is."""
        with Connection() as connection:
            link = links.get(connection, network.bridge)
            made = link is None
            if link is None:
                mac = f"{LOCAL_ADMINISTERED}:{os.urandom(4).hex(':')}"
                try:
                    links.create_bridge(connection, network.bridge, mac=mac, mtu=network.mtu)
                except NetlinkError as error:
                    if error.errno != errno.EEXIST:
                        raise
                link = links.get(connection, network.bridge)
            if link is None:
                raise HostError(f"creating bridge {network.bridge}", "it vanished at once")
            if link.kind != "bridge":
                raise Conflict(
                    f"{network.bridge} exists and is no bridge but {link.kind or 'a device'}",
                    remedy="rename that interface, or choose another bridge name",
                )
            if link.mtu != network.mtu and not endpoints:
                links.set_mtu(connection, network.bridge, network.mtu)
            if not link.up:
                links.set_up(connection, network.bridge)
            prefix = parse_prefix(network.subnet)
            held = [str(each) for each in addresses.dump(connection, link=link.index)]
            wanted = f"{network.gateway}/{prefix.length}"
            if wanted not in held:
                if not made and not endpoints:
                    # A bridge taken over from a dead engine may still have that one's address.
                    for other in held:
                        addresses.remove(connection, link.index, *_halves(other))
                addresses.add(connection, link.index, network.gateway, prefix.length)
            sysctl.write_if_present("net", "ipv6", "conf", network.bridge, "accept_ra", value="0")
            if made:
                for endpoint in endpoints:
                    _rejoin(connection, endpoint, link.index)
        return {"ifindex": link.index, "boot_id": processes.boot_id()}

    def activate(self, network: Network) -> None:
        """Forwarding, and packets from the host's own 127.0.0.1 to published ports: only behind the guard rules."""
        sysctl.write("net", "ipv4", "ip_forward", value="1")
        if not network.internal:
            sysctl.write("net", "ipv4", "conf", network.bridge, "route_localnet", value="1")
        _show_rules_what_stays_on_bridges()

    def teardown(self, network: Network) -> None:
        """Delete the bridge."""
        with Connection() as connection:
            links.delete(connection, network.bridge)

    def attach(self, network: Network, endpoint: Endpoint, netns_path: Path) -> None:
        """The veth pair: a hairpin port of the bridge outside; address, route and IPv6 off inside."""
        with Connection() as connection:
            bridge = links.get(connection, network.bridge)
            if bridge is None:
                raise HostError(f"attaching {endpoint.host_interface}", f"bridge {network.bridge} does not exist")
            descriptor = os.open(netns_path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                link = links.get(connection, endpoint.host_interface)
                if link is not None and not _is_pair(descriptor, endpoint, link.index):
                    links.delete(connection, endpoint.host_interface)
                    link = None
                if link is None:
                    links.create_veth(
                        connection,
                        endpoint.host_interface,
                        peer_name=endpoint.interface,
                        peer_netns=descriptor,
                        peer_mac=endpoint.mac,
                        mtu=network.mtu,
                        master=bridge.index,
                    )
                else:
                    links.set_master(connection, endpoint.host_interface, bridge.index)
                    links.set_up(connection, endpoint.host_interface)
                links.set_hairpin(connection, endpoint.host_interface)
                netns.enter_descriptor(descriptor, lambda: _configure(endpoint))
            finally:
                os.close(descriptor)

    def detach(self, endpoint: Endpoint) -> Detached:
        """Take the outer end out of the bridge, 0.3 ms; deleting the pair takes the kernel 20 and is left to the rest.

        The pair is deleted explicitly: an open socket inside would keep the namespace, and so the pair, alive.
        """
        with Connection() as connection:
            links.seclude(connection, endpoint.host_interface)
            link = links.get(connection, endpoint.host_interface, counters=True)
        if link is None:
            return Detached(silent=False)
        index = link.index

        def delete() -> None:
            # By index: the same container may have been given a new pair of the same name meanwhile.
            with Connection() as connection:
                links.delete_index(connection, index)

        return Detached(silent=link.counters is not None and link.counters.rx_packets == 0, rest=delete)


def _show_rules_what_stays_on_bridges() -> None:
    """Let packets between two ports of one bridge pass the rules too, as docker does without its proxy or icc.

    Else the answer to a container that asked a neighbour's published port goes straight back, untranslated, and is
    lost. Where the kernel has no br_netfilter everything but that works.
    """
    setting = ("net", "bridge", "bridge-nf-call-iptables")
    if sysctl.read(*setting) is None:
        with suppress(HostError):
            processes.run("loading br_netfilter", ["modprobe", "br_netfilter"], check=False)
    sysctl.write_if_present(*setting, value="1")


def default_mtu(connection: Connection) -> int:
    """The smallest MTU among the links of the default routes; 1500 when there is none.

    docker keeps 1500 whatever the uplink has: large packets then vanish behind a smaller one.
    """
    indexes = {route.link for route in routes.dump(connection) if route.prefix == 0}
    sizes = [link.mtu for link in links.dump(connection) if link.index in indexes and link.mtu] if indexes else []
    return min(sizes, default=1500)


def _configure(endpoint: Endpoint) -> None:
    """Inside the container's namespace: what makes the interface usable; what is there already stays."""
    with Connection() as connection:
        link = links.get(connection, endpoint.interface)
        if link is None:
            raise HostError(f"configuring {endpoint.interface}", "it is not in the container's namespace")
        sysctl.write_if_present("net", "ipv6", "conf", endpoint.interface, "disable_ipv6", value="1")
        links.set_up(connection, endpoint.interface)
        addresses.add(connection, link.index, endpoint.address, endpoint.prefix)
        if endpoint.gateway:
            routes.add_default(connection, endpoint.gateway, link.index)


def _is_pair(descriptor: int, endpoint: Endpoint, outer: int) -> bool:
    """True when the interface is inside and its other end is the link with index ``outer``."""

    def inside() -> bool:
        with Connection() as connection:
            link = links.get(connection, endpoint.interface)
            return link is not None and link.kind == "veth" and link.peer == outer

    return netns.enter_descriptor(descriptor, inside)


def _rejoin(connection: Connection, endpoint: Endpoint, bridge: int) -> None:
    if links.get(connection, endpoint.host_interface) is not None:
        links.set_master(connection, endpoint.host_interface, bridge)
        links.set_hairpin(connection, endpoint.host_interface)


def _halves(text: str) -> tuple[str, int]:
    address, _, length = text.partition("/")
    return address, int(length)


def gateway_of(subnet: str) -> str:
    """The first address of a subnet, docker's gateway."""
    return to_text(parse_prefix(subnet).first)
