"""The chain layout of docker 28/29 for bridges whose published ports the kernel serves alone (no userland proxy).

Owns the rule texts, their chains and their order; pure. Never looks at the host. The texts and the order are read off
dumps of docker 29 in its ``hairpin`` form; beyond docker there is one rule, the loopback guard, because
``route_localnet`` on a bridge would otherwise open the host's 127.0.0.0/8 to its containers.

Where docker *inserts* a rule at the top the newest stands first, where it *appends* the oldest does. A rule that two
ports share (one container port published twice) exists once, as docker's does.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Sequence

from engine.firewall.model import ANY_ADDRESS, BridgeSpec, ChainLayout, EndpointSpec, Layout, PortMap

DEFAULT_PREFIX = "DOCKER"
LOOPBACK_GUARD = "-d 127.0.0.0/8 ! -i lo -j DROP"
"""Packets for the host's own loopback addresses that did not come from the loopback interface (raw PREROUTING)."""


def layout(bridges: Sequence[BridgeSpec], prefix: str = DEFAULT_PREFIX) -> Layout:
    """All that is wanted for ``bridges``, in order of creation; ``prefix`` (``DOCKER``, ``PILOT``) names the chains."""
    return Layout((*_raw(bridges), *_filter(bridges, prefix), *_nat(bridges, prefix)), establish=bool(bridges))


def chain_names(prefix: str = DEFAULT_PREFIX) -> frozenset[str]:
    """The names of the chains that are the engine's alone, and of the administrator's chain beside them."""
    return frozenset(prefix + suffix for suffix in ("", "-BRIDGE", "-CT", "-FORWARD", "-INTERNAL", "-USER"))


def _raw(bridges: Sequence[BridgeSpec]) -> Iterable[ChainLayout]:
    direct: list[str] = []
    for bridge in bridges:
        if bridge.internal:
            continue
        for endpoint in bridge.endpoints:
            # From outside, a container is reached through its published ports only, never by its own address.
            direct.append(f"-d {endpoint.address}/32 ! -i {bridge.bridge} -j DROP")
            direct.extend(
                f"-d {port.host_ip}/32 ! -i lo {_to_port(port.protocol, port.host_port)} -j DROP"
                for port in endpoint.ports
                if port.host_ip.startswith("127.")
            )
    yield ChainLayout("raw", "PREROUTING", head=(LOOPBACK_GUARD,) if bridges else (), tail=_unique(direct))


def _filter(bridges: Sequence[BridgeSpec], prefix: str) -> Iterable[ChainLayout]:
    outward = [bridge for bridge in bridges if not bridge.internal]
    accept = [
        f"-d {endpoint.address}/32 ! -i {bridge.bridge} -o {bridge.bridge} "
        f"{_to_port(port.protocol, port.container_port)} -j ACCEPT"
        for bridge, endpoint, port in _published(bridges)
    ]
    internal: list[str] = []
    for bridge in bridges:
        if bridge.internal:
            subnet = _prefix(bridge.subnet)
            internal.append(f"! -d {subnet} -i {bridge.bridge} -j DROP")
            internal.append(f"! -s {subnet} -o {bridge.bridge} -j DROP")
    # The administrator's chain decides first; with chains beside docker's, after docker's own such chain: what the
    # administrator forbids there is forbidden here as well.
    above = () if prefix == DEFAULT_PREFIX else (f"-j {DEFAULT_PREFIX}-USER",)
    jumps = (f"-j {prefix}-USER", f"-j {prefix}-FORWARD")
    yield ChainLayout("filter", f"{prefix}-USER", kept=True)
    yield ChainLayout(
        "filter",
        prefix,
        owned=True,
        head=_unique(reversed(accept)),
        tail=tuple(f"! -i {bridge.bridge} -o {bridge.bridge} -j DROP" for bridge in outward),
    )
    yield ChainLayout(
        "filter", f"{prefix}-BRIDGE", owned=True, tail=tuple(f"-o {bridge.bridge} -j {prefix}" for bridge in outward)
    )
    yield ChainLayout(
        "filter",
        f"{prefix}-CT",
        owned=True,
        tail=tuple(f"-o {bridge.bridge} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT" for bridge in outward),
    )
    yield ChainLayout(
        "filter",
        f"{prefix}-FORWARD",
        owned=True,
        head=(f"-j {prefix}-CT", f"-j {prefix}-INTERNAL", f"-j {prefix}-BRIDGE"),
        tail=tuple(rule for bridge in bridges for rule in _leaving(bridge)),
    )
    yield ChainLayout("filter", f"{prefix}-INTERNAL", owned=True, head=tuple(reversed(internal)))
    yield ChainLayout("filter", "FORWARD", head=jumps, head_after=above, jumps=frozenset(jumps))


def _nat(bridges: Sequence[BridgeSpec], prefix: str) -> Iterable[ChainLayout]:
    outgoing: list[str] = []
    for bridge in bridges:
        if bridge.masquerade and not bridge.internal:
            outgoing.append(f"-s {_prefix(bridge.subnet)} ! -o {bridge.bridge} -j MASQUERADE")
            # A packet that the host sent to its own 127.0.0.1:PORT enters the bridge with a source the container
            # could never answer.
            outgoing.append(f"-o {bridge.bridge} -m addrtype --src-type LOCAL -j MASQUERADE")
    hairpin = [
        f"-s {endpoint.address}/32 -d {endpoint.address}/32 "
        f"{_to_port(port.protocol, port.container_port)} -j MASQUERADE"
        for _, endpoint, port in _published(bridges)
    ]
    forward = [
        f"{'' if port.host_ip == ANY_ADDRESS else f'-d {port.host_ip}/32 '}"
        f"{_to_port(port.protocol, port.host_port)} "
        f"-j DNAT --to-destination {endpoint.address}:{port.container_port}"
        for _, endpoint, port in _published(bridges)
    ]
    to_this_host = f"-m addrtype --dst-type LOCAL -j {prefix}"
    yield ChainLayout("nat", prefix, owned=True, tail=_unique(forward))
    yield ChainLayout("nat", "PREROUTING", tail=(to_this_host,), jumps=frozenset((to_this_host,)))
    yield ChainLayout("nat", "OUTPUT", tail=(to_this_host,), jumps=frozenset((to_this_host,)))
    yield ChainLayout("nat", "POSTROUTING", head=tuple(reversed(outgoing)), tail=_unique(hairpin))


def _leaving(bridge: BridgeSpec) -> tuple[str, ...]:
    """Rules of DOCKER-FORWARD for packets that enter from ``bridge``."""
    name = bridge.bridge
    neighbours = f"-i {name} -o {name} -j {'ACCEPT' if bridge.icc else 'DROP'}"
    if bridge.internal:
        return (neighbours,)
    if bridge.icc:
        return (f"-i {name} -j ACCEPT",)
    return (neighbours, f"-i {name} ! -o {name} -j ACCEPT")


def _published(bridges: Sequence[BridgeSpec]) -> Iterable[tuple[BridgeSpec, EndpointSpec, PortMap]]:
    for bridge in bridges:
        if bridge.internal:
            continue
        for endpoint in bridge.endpoints:
            for port in endpoint.ports:
                yield bridge, endpoint, port


def _to_port(protocol: str, port: int) -> str:
    return f"-p {protocol} -m {protocol} --dport {port}"


def _prefix(subnet: str) -> str:
    """``subnet`` with its host bits cleared, the only form in which the kernel gives it back."""
    address, _, bits = subnet.partition("/")
    mask = (0xFFFFFFFF << (32 - int(bits or 32))) & 0xFFFFFFFF
    network = struct.unpack("!I", socket.inet_aton(address))[0] & mask
    return f"{socket.inet_ntoa(struct.pack('!I', network))}/{bits or 32}"


def _unique(rules: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(rules))
