"""The default bridge with packets: in through published ports from everywhere, out with the host's address.

Three machines: ``outside`` ↔ the host ↔ containers. Each test runs on both iptables backends.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator

import pytest

from engine.engine import Engine
from engine.host import netns, sysctl
from engine.host.netlink import conntrack, links
from engine.host.netlink.connection import NETLINK_NETFILTER, Connection
from tests.conftest import Outside
from tests.kernel.sandboxing import Box, Sandboxes, sandboxes
from tests.kernel.wire import PATIENCE_S, ask, run, service

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("firewall_backend")]

PORT = 17000


@pytest.fixture
def boxes(engine: Engine, outside: Outside) -> Iterator[Sandboxes]:
    with sandboxes(engine) as made:
        yield made


def save_program(backend: str) -> str:
    return f"iptables-{backend}-save"


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_published_port_is_reached_from_everywhere(boxes: Sandboxes, outside: Outside, protocol: str) -> None:
    web = boxes.make(f"{PORT}:80/{protocol}")
    other = boxes.make()
    with service(web.netns, protocol, 80, "web"):
        # From another machine its own address is seen: no proxy stands between.
        assert ask(outside.netns, protocol, outside.host_address, PORT) == f"web {outside.address}"
        # The host itself comes from the bridge, whichever of its addresses it asks.
        assert ask(None, protocol, outside.host_address, PORT) == "web 172.17.0.1"
        assert ask(None, protocol, "172.17.0.1", PORT) == "web 172.17.0.1"
        assert ask(None, protocol, "127.0.0.1", PORT) == "web 172.17.0.1"
        assert ask(other.netns, protocol, outside.host_address, PORT) == f"web {other.address}"
        # Hairpin: the container reaches itself by the host's addresses.
        assert ask(web.netns, protocol, outside.host_address, PORT) == "web 172.17.0.1"
        assert ask(web.netns, protocol, "172.17.0.1", PORT) == "web 172.17.0.1"
        # And directly, on its own bridge and from the host.
        assert ask(other.netns, protocol, web.address, 80) == f"web {other.address}"
        assert ask(None, protocol, web.address, 80) == "web 172.17.0.1"


def test_containers_get_out_with_the_hosts_address(boxes: Sandboxes, outside: Outside) -> None:
    box = boxes.make()
    with service(outside.netns, "tcp", 8080, "server"), service(outside.netns, "udp", 8080, "server"):
        assert ask(box.netns, "tcp", outside.address, 8080) == f"server {outside.host_address}"
        assert ask(box.netns, "udp", outside.address, 8080) == f"server {outside.host_address}"


def test_an_unpublished_port_is_closed_from_outside(boxes: Sandboxes, outside: Outside) -> None:
    box = boxes.make(f"{PORT}:80")
    run("ip", "route", "add", "172.17.0.0/16", "via", outside.host_address, place=outside.netns)
    with service(box.netns, "tcp", 81, "hidden"), service(box.netns, "udp", 80, "hidden"):
        assert ask(None, "tcp", box.address, 81) == "hidden 172.17.0.1"
        for protocol, port in (("tcp", 81), ("udp", 80)):
            assert silent(outside, protocol, box.address, port)
        # The container's own address is no way in either, not even for a published port.
        with service(box.netns, "tcp", 80, "web"):
            assert silent(outside, "tcp", box.address, 80)
            assert ask(outside.netns, "tcp", outside.host_address, PORT) == f"web {outside.address}"


def silent(outside: Outside, protocol: str, address: str, port: int) -> bool:
    """True when nothing comes back; a dropped packet cannot be waited for any shorter."""

    def attempt() -> bool:
        kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
        with socket.socket(socket.AF_INET, kind) as client:
            client.settimeout(0.4)
            try:
                client.connect((address, port))
                client.sendall(b"?")
                client.recv(100)
            except TimeoutError:
                return True
        return False

    return netns.enter(outside.netns, attempt)


def test_a_port_bound_to_loopback_is_the_hosts_alone(boxes: Sandboxes, outside: Outside) -> None:
    box = boxes.make(f"127.0.0.1:{PORT}:80")
    with service(box.netns, "tcp", 80, "web"):
        assert ask(None, "tcp", "127.0.0.1", PORT) == "web 172.17.0.1"
        with pytest.raises(ConnectionRefusedError):
            ask(outside.netns, "tcp", outside.host_address, PORT)
        with pytest.raises(ConnectionRefusedError):
            ask(None, "tcp", outside.host_address, PORT)


def test_a_range_and_a_chosen_port(boxes: Sandboxes, outside: Outside) -> None:
    box = boxes.make("17010-17011:90-91", "92")
    chosen = box.endpoint.ports[-1].host_port
    low, high = map(int, (sysctl.read("net", "ipv4", "ip_local_port_range") or "").split())
    assert low <= chosen <= high
    for container_port, host_port in ((90, 17010), (91, 17011), (92, chosen)):
        with service(box.netns, "tcp", container_port, f"at{container_port}"):
            assert ask(outside.netns, "tcp", outside.host_address, host_port) == f"at{container_port} {outside.address}"


def test_the_rule_every_operator_looks_for(boxes: Sandboxes, firewall_backend: str) -> None:
    boxes.make(f"{PORT}:80")
    listed = run(f"iptables-{firewall_backend}", "-t", "nat", "-S").splitlines()
    assert "-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE" in listed


def test_starting_and_stopping_changes_no_other_rule_and_no_counter(
    boxes: Sandboxes, outside: Outside, firewall_backend: str
) -> None:
    web = boxes.make(f"{PORT}:80")
    with service(web.netns, "tcp", 80, "web"):
        ask(outside.netns, "tcp", outside.host_address, PORT)
    before = packets_by_rule(firewall_backend)
    other = boxes.make("17001:81", "17001:81/udp")
    during = packets_by_rule(firewall_backend)
    boxes.drop(other)
    after = packets_by_rule(firewall_backend)
    assert after.keys() == before.keys() < during.keys()
    # The bridge says something about multicast now and then: counters may go on, never back.
    for later in (during, after):
        assert all(later[rule] >= packets for rule, packets in before.items())
    assert before["-A DOCKER -p tcp -m tcp --dport 17000 -j DNAT --to-destination 172.17.0.2:80"] == 1


def packets_by_rule(backend: str) -> dict[str, int]:
    lines = [line for line in run(save_program(backend), "-c").splitlines() if line.startswith("[")]
    return {line.partition("] ")[2]: int(line[1:].partition(":")[0]) for line in lines}


def test_removing_everything_leaves_the_base_rules_alone(boxes: Sandboxes, firewall_backend: str) -> None:
    first = boxes.make()
    base = run(save_program(firewall_backend)).splitlines()
    boxes.drop(first)
    idle = [line for line in run(save_program(firewall_backend)).splitlines() if line.startswith("-")]
    assert not any("172.17.0.2" in line for line in idle)
    assert {line for line in base if line.startswith("-")} - set(idle) == {
        "-A PREROUTING -d 172.17.0.2/32 ! -i docker0 -j DROP"
    }


def test_a_udp_client_that_never_stops_reaches_the_new_container(boxes: Sandboxes, outside: Outside) -> None:
    """Trap 4: its flow is older than the published port, and NAT rules are asked only for new flows."""
    boxes.make()  # connection tracking is on from the first rules
    with steady_client(outside) as client:
        client.send(b"?")
        with pytest.raises(ConnectionRefusedError):
            client.recv(100)
        assert udp_flows(PORT) == 1
        web = boxes.make(f"{PORT}:53/udp")
        with service(web.netns, "udp", 53, "web"):
            client.send(b"?")
            assert client.recv(100) == f"web {outside.address}".encode()
        # The same client again, when the container is gone and another one has the port.
        boxes.drop(web)
        assert udp_flows(PORT) == 0
        filler = boxes.make()
        second = boxes.make(f"{PORT}:53/udp")
        assert second.address != web.address and filler.address == web.address
        with service(second.netns, "udp", 53, "second"):
            client.send(b"?")
            assert client.recv(100) == f"second {outside.address}".encode()


def steady_client(outside: Outside) -> socket.socket:
    def connect() -> socket.socket:
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.settimeout(PATIENCE_S)
        client.connect((outside.host_address, PORT))
        return client

    return netns.enter(outside.netns, connect)


def udp_flows(port: int) -> int:
    with Connection(NETLINK_NETFILTER) as connection:
        return sum(
            (each.original.protocol, each.original.destination_port) == (socket.IPPROTO_UDP, port)
            for each in conntrack.dump(connection)
        )


SECRET_PORT = 9999


def frame_to_loopback(box: Box, payload: bytes) -> None:
    """What a container with NET_RAW can do: a frame for the bridge whose packet is for 127.0.0.1."""
    with Connection() as connection:
        bridge = links.get(connection, "docker0")
    assert bridge is not None
    source, target = socket.inet_aton(box.address), socket.inet_aton("127.0.0.1")
    udp = struct.pack(">HHHH", 4444, SECRET_PORT, 8 + len(payload), 0) + payload
    header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0, source, target)
    words = struct.unpack(">10H", header)
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    header = header[:10] + struct.pack(">H", ~total & 0xFFFF) + header[12:]
    ethernet = bytes.fromhex(bridge.mac.replace(":", "") + box.endpoint.mac.replace(":", "")) + b"\x08\x00"

    def send() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
            raw.bind(("eth0", 0x0800))
            raw.send(ethernet + header + udp)

    netns.enter(box.netns, send)


def guard_count(backend: str) -> int:
    for line in run(save_program(backend), "-c").splitlines():
        if line.endswith("-A PREROUTING -d 127.0.0.0/8 ! -i lo -j DROP"):
            return int(line[1:].split(":")[0])
    raise AssertionError("the guard rule is not there")


def test_a_container_cannot_reach_the_hosts_loopback(boxes: Sandboxes, firewall_backend: str) -> None:
    """``route_localnet`` opens the host's 127.0.0.1 to containers; the guard closes it, and nothing else does."""
    box = boxes.make(f"{PORT}:80")
    assert sysctl.read("net", "ipv4", "conf", "docker0", "route_localnet") == "1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as secret:
        secret.bind(("127.0.0.1", SECRET_PORT))
        secret.settimeout(PATIENCE_S)
        frame_to_loopback(box, b"attack")
        deadline = time.monotonic() + PATIENCE_S
        while guard_count(firewall_backend) == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert guard_count(firewall_backend) == 1
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as friend:
            friend.sendto(b"from the host itself", ("127.0.0.1", SECRET_PORT))
        assert secret.recv(100) == b"from the host itself"
        # Without the guard the very same frame arrives: it is this rule that protects.
        run(
            f"iptables-{firewall_backend}",
            *("-t", "raw", "-D", "PREROUTING", "-d", "127.0.0.0/8", "!", "-i", "lo", "-j", "DROP"),
        )
        frame_to_loopback(box, b"attack")
        assert secret.recv(100) == b"attack"


def test_a_route_to_loopback_is_no_way_in_either(boxes: Sandboxes, firewall_backend: str) -> None:
    """The attack without raw sockets: the container makes 127.0.0.1 a remote address and asks over TCP."""
    box = boxes.make()
    for command in (
        ["ip", "route", "del", "local", "127.0.0.1", "dev", "lo", "table", "local"],
        ["ip", "route", "del", "local", "127.0.0.0/8", "dev", "lo", "table", "local"],
        ["ip", "route", "add", "127.0.0.1/32", "via", "172.17.0.1", "dev", "eth0", "src", box.address],
    ):
        run(*command, place=box.netns)
    netns.enter(box.netns, lambda: sysctl.write("net", "ipv4", "conf", "all", "route_localnet", value="1"))

    def attack() -> bytes | None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.bind((box.address, 0))
            client.settimeout(0.4)
            client.sendto(b"?", ("127.0.0.1", SECRET_PORT))
            try:
                return client.recv(100)
            except TimeoutError:
                return None

    with service(None, "udp", SECRET_PORT, "secret", "127.0.0.1"):
        assert netns.enter(box.netns, attack) is None
        assert guard_count(firewall_backend) >= 1


def test_the_guard_stands_before_the_door_is_opened(boxes: Sandboxes, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str | None, bool]] = []
    write = sysctl.write

    def watch(*parts: str, value: str) -> bool:
        if parts[-1] == "route_localnet":
            rules = run("iptables-nft-save") + run("iptables-legacy-save")
            seen.append((value, "-A PREROUTING -d 127.0.0.0/8 ! -i lo -j DROP" in rules))
        return write(*parts, value=value)

    monkeypatch.setattr(sysctl, "write", watch)
    boxes.make()
    assert seen == [("1", True)]
