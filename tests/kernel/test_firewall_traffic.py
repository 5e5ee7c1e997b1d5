"""The chain layout against real packets, on both backends: what must get through does, what must not does not.

Two machines stand behind docker0 and one behind br-app, made by hand, so that the rules are tested and nothing else.
Every "does not" is a wait for a datagram that never comes; each has a counterpart in which the same datagram arrives.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from engine.config import Config
from engine.firewall.firewall import Firewall
from engine.firewall.model import BridgeSpec, EndpointSpec, PortMap
from engine.host import netns, sysctl
from engine.values import replace
from tests.conftest import Outside
from tests.kernel.test_firewall_sync import make

pytestmark = pytest.mark.kernel

T = TypeVar("T")
SOON = 2.0
NEVER = 0.3
HOST = ""

WEB, PEER, APP = "172.17.0.2", "172.17.0.3", "172.18.0.2"
PLACES = {WEB: "web", PEER: "peer", APP: "app"}
PORTS = (PortMap("udp", "0.0.0.0", 8080, 80), PortMap("udp", "127.0.0.1", 8081, 80))
DOCKER0 = BridgeSpec("docker0", "172.17.0.0/16", "172.17.0.1", endpoints=(EndpointSpec(WEB, PORTS), EndpointSpec(PEER)))
BR_APP = BridgeSpec("br-app", "172.18.0.0/16", "172.18.0.1", endpoints=(EndpointSpec(APP),))


def inside(place: str, function: Callable[[], T]) -> T:
    """``function`` as run on the machine of that name; the host itself is the empty name."""
    return function() if place == HOST else netns.enter(Path("/run/netns", place), function)


@contextmanager
def service(place: str, address: str, port: int) -> Iterator[socket.socket]:
    """A bound UDP socket on that machine."""

    def bind() -> socket.socket:
        bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        bound.bind((address, port))
        return bound

    listener = inside(place, bind)
    try:
        yield listener
    finally:
        listener.close()


def ask(place: str, to: tuple[str, int], listener: socket.socket, *, wait: float = SOON) -> str:
    """Send one datagram from ``place``; where it came from as its receiver saw it, after an answer came back too.

    Empty if it never arrived; followed by ``unanswered`` if only the answer was lost.
    """

    def open_sender() -> socket.socket:
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            # Connected, so that an answer counts only if it comes from the address that was asked.
            sender.connect(to)
            sender.send(b"ping")
        except OSError:
            sender.close()
            raise
        return sender

    try:
        sender = inside(place, open_sender)
    except OSError:
        return ""
    with sender:
        listener.settimeout(wait)
        sender.settimeout(wait)
        try:
            _, source = listener.recvfrom(64)
        except TimeoutError:
            return ""
        listener.sendto(b"pong", source)
        try:
            sender.recv(64)
        except (TimeoutError, ConnectionError):
            return f"{source[0]} unanswered"
        return str(source[0])


@pytest.fixture
def machines(outside: Outside) -> Iterator[None]:
    """docker0 with ``web`` and ``peer``, br-app with ``app``, forwarding on, as the bridge driver sets them up."""
    script = ""
    for bridge, subnet in (("docker0", "172.17.0"), ("br-app", "172.18.0")):
        script += f"ip link add {bridge} type bridge; ip addr add {subnet}.1/16 dev {bridge}; ip link set {bridge} up\n"
    for address, name in PLACES.items():
        bridge, gateway = ("br-app", "172.18.0.1") if address == APP else ("docker0", "172.17.0.1")
        script += f"""
            ip netns add {name}
            ip link add v{name} type veth peer name eth0 netns {name}
            ip link set v{name} master {bridge} up
            ip link set v{name} type bridge_slave hairpin on
            ip -n {name} link set lo up
            ip -n {name} link set eth0 up
            ip -n {name} addr add {address}/16 dev eth0
            ip -n {name} route add default via {gateway}
        """
    subprocess.run(["sh", "-euc", script], check=True)
    for setting in (("ip_forward",), ("conf", "docker0", "route_localnet"), ("conf", "br-app", "route_localnet")):
        sysctl.write("net", "ipv4", *setting, value="1")
    # Packets between two ports of one bridge meet the rules only with this.
    sysctl.write("net", "bridge", "bridge-nf-call-iptables", value="1")
    yield
    script = "".join(f"ip link del v{name}; ip netns del {name}\n" for name in PLACES.values())
    subprocess.run(["sh", "-euc", f"{script} ip link del docker0; ip link del br-app"], check=True)


@pytest.fixture
def firewall(config: Config, firewall_backend: str, machines: None) -> Firewall:
    firewall = make(config)
    firewall.sync([DOCKER0, BR_APP], forward_drop=True)
    return firewall


@pytest.mark.usefixtures("firewall")
def test_a_published_port_is_reached_from_everywhere(outside: Outside) -> None:
    with service("web", WEB, 80) as web:
        assert ask("outside", (outside.host_address, 8080), web) == outside.address
        assert ask(HOST, (outside.host_address, 8080), web) == "172.17.0.1"
        assert ask(HOST, ("127.0.0.1", 8080), web) == "172.17.0.1"
        assert ask(HOST, (WEB, 80), web) == "172.17.0.1"
        assert ask("peer", (outside.host_address, 8080), web) == PEER
        assert ask("web", (outside.host_address, 8080), web) == "172.17.0.1"
        assert ask("app", (outside.host_address, 8080), web) == "172.17.0.1"


@pytest.mark.usefixtures("firewall")
def test_a_port_published_on_loopback_is_for_the_host_alone(outside: Outside) -> None:
    with service("web", WEB, 80) as web:
        assert ask(HOST, ("127.0.0.1", 8081), web) == "172.17.0.1"
        assert ask("outside", (outside.host_address, 8081), web, wait=NEVER) == ""
        assert ask("peer", (outside.host_address, 8081), web, wait=NEVER) == ""


@pytest.mark.usefixtures("firewall")
def test_what_is_not_published_is_not_reached_from_outside_or_from_another_bridge(outside: Outside) -> None:
    subprocess.run(["ip", "-n", "outside", "route", "add", "172.17.0.0/16", "via", outside.host_address], check=True)
    with service("web", WEB, 80) as web, service("web", WEB, 81) as other:
        assert ask("outside", (WEB, 80), web, wait=NEVER) == ""
        assert ask("outside", (WEB, 81), other, wait=NEVER) == ""
        assert ask("app", (WEB, 80), web, wait=NEVER) == ""
        assert ask("app", (WEB, 81), other, wait=NEVER) == ""
        assert ask("peer", (WEB, 81), other) == PEER


def test_without_its_rule_a_container_would_be_reached_by_its_own_address(outside: Outside, firewall: Firewall) -> None:
    """The counterpart of the test above: the raw rule is what keeps neighbours out of an open FORWARD chain."""
    subprocess.run(["ip", "-n", "outside", "route", "add", "172.17.0.0/16", "via", outside.host_address], check=True)
    backend = f"iptables-{firewall.backend.name}"
    subprocess.run(
        [backend, "-w", "-t", "raw", "-D", "PREROUTING", "-d", WEB, "!", "-i", "docker0", "-j", "DROP"], check=True
    )
    with service("web", WEB, 80) as web:
        assert ask("outside", (WEB, 80), web) == outside.address


def test_what_leaves_takes_the_hosts_address_unless_masquerading_is_off(outside: Outside, firewall: Firewall) -> None:
    subprocess.run(["ip", "-n", "outside", "route", "add", "172.17.0.0/16", "via", outside.host_address], check=True)
    with service("outside", outside.address, 99) as far:
        assert ask("web", (outside.address, 99), far) == outside.host_address
        firewall.sync([replace(DOCKER0, masquerade=False), BR_APP])
        # The rule that keeps others from a container's own address drops answers to it as well, in docker as here.
        assert ask("peer", (outside.address, 99), far, wait=NEVER) == f"{PEER} unanswered"


def test_with_icc_off_neighbours_are_not_reached_but_the_world_is(outside: Outside, firewall: Firewall) -> None:
    firewall.sync([replace(DOCKER0, icc=False), BR_APP])
    with service("web", WEB, 80) as web, service("outside", outside.address, 99) as far:
        assert ask("peer", (WEB, 80), web, wait=NEVER) == ""
        assert ask("peer", (outside.address, 99), far) == outside.host_address
        assert ask("outside", (outside.host_address, 8080), web) == outside.address


def test_an_internal_network_is_closed_both_ways(outside: Outside, firewall: Firewall) -> None:
    firewall.sync([replace(DOCKER0, internal=True), BR_APP])
    with service("web", WEB, 80) as web, service("outside", outside.address, 99) as far:
        assert ask("web", (outside.address, 99), far, wait=NEVER) == ""
        assert ask("outside", (outside.host_address, 8080), web, wait=NEVER) == ""
        assert ask("app", (WEB, 80), web, wait=NEVER) == ""
        assert ask("peer", (WEB, 80), web) == PEER


def test_the_administrators_rule_decides_over_a_published_port(outside: Outside, firewall: Firewall) -> None:
    backend = f"iptables-{firewall.backend.name}"
    subprocess.run([backend, "-w", "-A", "DOCKER-USER", "-s", outside.address, "-j", "DROP"], check=True)
    with service("web", WEB, 80) as web:
        assert ask("outside", (outside.host_address, 8080), web, wait=NEVER) == ""
        subprocess.run([backend, "-w", "-F", "DOCKER-USER"], check=True)
        assert ask("outside", (outside.host_address, 8080), web) == outside.address


def test_a_container_cannot_reach_the_hosts_loopback_services(firewall: Firewall) -> None:
    """The attack that ``route_localnet`` on the bridge invites: 127.0.0.1 sent out by a container's own interface."""
    script = """
        ip addr flush dev lo
        ip route flush table local type local dev lo || true
        ip route add 127.0.0.1/32 via 172.17.0.1 src 172.17.0.2
    """
    subprocess.run(["ip", "netns", "exec", "web", "sh", "-c", script], check=True)
    netns.enter(Path("/run/netns/web"), lambda: sysctl.write("net", "ipv4", "conf", "all", "route_localnet", value="1"))

    def attack(listener: socket.socket, wait: float) -> bool:
        def send() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.bind((WEB, 0))
                sender.sendto(b"secret?", ("127.0.0.1", 9999))

        inside("web", send)
        listener.settimeout(wait)
        try:
            listener.recvfrom(64)
        except TimeoutError:
            return False
        return True

    with ExitStack() as stack:
        secret = stack.enter_context(service(HOST, "127.0.0.1", 9999))
        assert not attack(secret, NEVER)
        # Without the guard the same datagram arrives: the attack is a real one.
        backend = f"iptables-{firewall.backend.name}"
        subprocess.run([backend, "-w", "-t", "raw", "-D", "PREROUTING", "1"], check=True)
        assert attack(secret, SOON)
        firewall.sync([DOCKER0, BR_APP])
        assert not attack(secret, NEVER)
