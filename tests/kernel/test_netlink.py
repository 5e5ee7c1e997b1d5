"""The netlink codec and the namespace layer against the kernel, with ``ip -j`` as the second opinion."""

from __future__ import annotations

import errno
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.errors import HostError
from engine.host import mounts, netns, sysctl
from engine.host.netlink import addresses, conntrack, links, namespaces, neighbours, routes
from engine.host.netlink.connection import NETLINK_NETFILTER, Connection, NetlinkError
from tests.kernel.wire import ask, run, service

pytestmark = pytest.mark.kernel

MAC = "02:42:ac:11:00:02"
INSIDE = Path("/run/netns/inside")


def ip(*words: str, place: Path | None = None) -> list[dict[str, Any]]:
    """What ``ip -j -d`` says; empty objects (it prints some for filtered dumps) left out."""
    found: list[dict[str, Any]] = json.loads(run("ip", "-j", "-d", *words, place=place) or "[]")
    return [entry for entry in found if entry]


@pytest.fixture
def pair() -> Iterator[Connection]:
    """Bridge ``br9`` with a port ``outer`` whose other end ``eth0`` is in a namespace."""
    netns.create(INSIDE)
    with Connection() as connection:
        links.create_bridge(connection, "br9", mac="02:42:01:02:03:04", mtu=1400)
        bridge = links.get(connection, "br9")
        assert bridge is not None
        addresses.add(connection, bridge.index, "10.9.0.1", 24)
        descriptor = os.open(INSIDE, os.O_RDONLY)
        links.create_veth(
            connection, "outer", peer_name="eth0", peer_netns=descriptor, peer_mac=MAC, mtu=1400, master=bridge.index
        )
        os.close(descriptor)

        def configure() -> None:
            with Connection() as inside:
                link = links.get(inside, "eth0")
                assert link is not None
                links.set_up(inside, "lo")
                links.set_up(inside, "eth0")
                addresses.add(inside, link.index, "10.9.0.2", 24)
                routes.add_default(inside, "10.9.0.1", link.index)

        netns.enter(INSIDE, configure)
        yield connection
        links.delete(connection, "outer")
        links.delete(connection, "br9")
    netns.remove(INSIDE)


def test_links_agree_with_ip(pair: Connection) -> None:
    listed = {link.name: link for link in links.dump(pair)}
    told = {entry["ifname"]: entry for entry in ip("link")}
    assert listed.keys() == told.keys()
    for name, link in listed.items():
        entry = told[name]
        assert (link.index, link.mtu, link.mac) == (entry["ifindex"], entry["mtu"], entry["address"])
        assert link.kind == entry.get("linkinfo", {}).get("info_kind", "")
        assert link.up == ("UP" in entry["flags"])
        assert link.running == ("LOWER_UP" in entry["flags"])
        assert link.state.upper() == entry["operstate"]
    outer = listed["outer"]
    assert outer.master == listed["br9"].index
    assert outer.peer_nsid == told["outer"]["link_netnsid"]
    assert outer.peer == told["outer"]["link_index"]
    assert outer.port is not None
    assert outer.port.state == told["outer"]["linkinfo"]["info_slave_data"]["state"]
    assert listed["br9"].port is None


def test_a_containers_links_are_read_without_entering_it(pair: Connection) -> None:
    descriptor = os.open(INSIDE, os.O_RDONLY)
    nsid = namespaces.nsid(pair, descriptor)
    os.close(descriptor)
    assert nsid is not None and nsid in namespaces.dump(pair)
    inside = {link.name: link for link in links.dump(pair, nsid=nsid, counters=True)}
    told = {entry["ifname"]: entry for entry in ip("link", place=INSIDE)}
    assert {name: link.index for name, link in inside.items()} == {
        name: entry["ifindex"] for name, entry in told.items()
    }
    assert inside["eth0"].mac == MAC
    assert inside["eth0"].counters is not None
    found = addresses.dump(pair, nsid=nsid)
    assert [str(each) for each in found if each.link == inside["eth0"].index] == ["10.9.0.2/24"]


def test_a_namespace_never_met_has_no_id() -> None:
    stranger = Path("/run/netns/stranger")
    netns.create(stranger)
    with Connection() as connection, open(stranger) as file:
        assert namespaces.nsid(connection, file.fileno()) is None
    netns.remove(stranger)


def test_addresses_and_routes_agree_with_ip(pair: Connection) -> None:
    def inside() -> tuple[list[addresses.Address], list[routes.Route], list[links.Link]]:
        with Connection() as connection:
            return addresses.dump(connection), routes.dump(connection), links.dump(connection)

    held, table, found = netns.enter(INSIDE, inside)
    index = next(link.index for link in found if link.name == "eth0")
    (told,) = [entry for entry in ip("addr", "show", "dev", "eth0", place=INSIDE) if entry["ifname"] == "eth0"]
    (address,) = [each for each in told["addr_info"] if each["family"] == "inet"]
    assert (address["local"], address["prefixlen"], address["broadcast"]) == ("10.9.0.2", 24, "10.9.0.255")
    assert addresses.Address(index, socket.AF_INET, "10.9.0.2", 24) in held
    assert {(route.destination, route.prefix, route.gateway) for route in table} == {
        ("0.0.0.0", 0, "10.9.0.1"),
        ("10.9.0.0", 24, ""),
    }
    (default,) = [entry for entry in ip("route", place=INSIDE) if entry["dst"] == "default"]
    assert (default["gateway"], default["dev"]) == ("10.9.0.1", "eth0")


def test_multipath_and_lookup(pair: Connection) -> None:
    run("ip", "route", "add", "10.77.0.0/16", "nexthop", "via", "10.9.0.2", "nexthop", "via", "10.9.0.3")
    found = [route for route in routes.dump(pair) if route.destination == "10.77.0.0"]
    assert [route.gateway for route in found] == ["10.9.0.2", "10.9.0.3"]
    assert routes.lookup(pair, "10.9.0.2").source == "10.9.0.1"
    with pytest.raises(NetlinkError) as caught:
        routes.lookup(pair, "192.0.2.1")
    assert caught.value.errno == errno.ENETUNREACH


def test_repeating_a_change_is_told_from_making_it(pair: Connection) -> None:
    bridge = links.get(pair, "br9")
    assert bridge is not None
    assert addresses.add(pair, bridge.index, "10.9.0.1", 24) is False
    assert addresses.add(pair, bridge.index, "10.9.0.9", 24) is True
    assert addresses.remove(pair, bridge.index, "10.9.0.9", 24) is True
    assert addresses.remove(pair, bridge.index, "10.9.0.9", 24) is False
    assert links.delete(pair, "nosuch") is False
    assert links.delete_index(pair, 4321) is False
    assert links.seclude(pair, "nosuch") is False
    assert links.get(pair, "nosuch") is None


def test_hairpin_mtu_and_seclusion(pair: Connection) -> None:
    links.set_hairpin(pair, "outer")
    links.set_mtu(pair, "outer", 1300)
    (told,) = ip("link", "show", "dev", "outer")
    assert told["linkinfo"]["info_slave_data"]["hairpin"] is True
    assert told["mtu"] == 1300
    assert links.seclude(pair, "outer") is True
    (told,) = ip("link", "show", "dev", "outer")
    assert "master" not in told
    assert "UP" not in told["flags"]


def test_counters_count_and_neighbours_are_known(pair: Connection) -> None:
    before = links.counters(pair)
    with service(INSIDE, "udp", 53, "a"):
        ask(None, "udp", "10.9.0.2", 53)
    outer, after = links.get(pair, "outer"), links.counters(pair)
    assert outer is not None
    assert after[outer.index].tx_packets > before[outer.index].tx_packets
    assert after[outer.index].rx_bytes > before[outer.index].rx_bytes
    (told,) = ip("-s", "link", "show", "dev", "outer")
    assert after[outer.index].tx_errors == told["stats64"]["tx"]["errors"]
    assert ("10.9.0.2", MAC) in [(each.address, each.mac) for each in neighbours.dump(pair)]


def test_events_arrive_from_the_containers_too(pair: Connection) -> None:
    with Connection(groups=(links.GROUP_LINK,), all_namespaces=True) as watcher:
        run("ip", "link", "set", "eth0", "mtu", "1280", place=INSIDE)
        seen = []
        while not any(link.name == "eth0" and nsid is not None for link, nsid in seen):
            seen += [
                (links.parse(event.payload), event.nsid)
                for event in watcher.events()
                if event.kind == links.RTM_NEWLINK
            ]
    assert any(link.name == "eth0" and link.mtu == 1280 for link, _ in seen)


def test_refusals_carry_the_step_and_the_kernels_words(pair: Connection) -> None:
    with pytest.raises(NetlinkError) as taken:
        links.create_bridge(pair, "br9", mac=MAC, mtu=1500)
    assert taken.value.errno == errno.EEXIST
    assert str(taken.value).startswith("creating bridge br9: File exists")
    with pytest.raises(NetlinkError, match="setting the MTU of outer to 70000: Invalid argument"):
        links.set_mtu(pair, "outer", 70000)


def test_a_connection_refuses_to_cross_threads(pair: Connection) -> None:
    errors: list[BaseException] = []

    def elsewhere() -> None:
        try:
            links.dump(pair)
        except RuntimeError as error:
            errors.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert "outside the thread" in str(errors[0])


def test_a_long_dump_is_complete() -> None:
    with Connection() as connection:
        for number in range(60):
            links.create_bridge(connection, f"many{number}", mac=f"02:00:00:00:00:{number:02x}", mtu=1500)
        assert len(links.dump(connection, counters=True)) == 61
        assert len(links.counters(connection)) == 61
        for number in range(60):
            links.delete(connection, f"many{number}")


def flows() -> list[tuple[int, int]]:
    """Protocol and destination port of every tracked TCP and UDP flow (bridges speak IGMP on their own)."""
    with Connection(NETLINK_NETFILTER) as connection:
        found = [each.original for each in conntrack.dump(connection)]
    return [(each.protocol, each.destination_port) for each in found if each.destination_port]


def test_conntrack_entries_are_found_and_forgotten(pair: Connection) -> None:
    run("iptables", "-t", "nat", "-A", "POSTROUTING", "-s", "10.66.0.0/16", "-j", "MASQUERADE")
    with service(INSIDE, "udp", 53, "a"), service(INSIDE, "tcp", 80, "b"):
        assert ask(None, "udp", "10.9.0.2", 53) == "a 10.9.0.1"
        assert ask(None, "tcp", "10.9.0.2", 80) == "b 10.9.0.1"
        assert ask(INSIDE, "udp", "10.9.0.2", 53) == "a 10.9.0.2"
    assert sorted(flows()) == [(socket.IPPROTO_TCP, 80), (socket.IPPROTO_UDP, 53)]
    assert conntrack.flush_port("udp", "0.0.0.0", 54) == 0
    assert conntrack.flush_port("udp", "10.9.0.3", 53) == 0
    assert conntrack.flush_port("udp", "10.9.0.2", 53) == 1
    assert conntrack.flush_address("10.9.0.3") == 0
    assert conntrack.flush_address("10.9.0.2") == 1
    assert flows() == []


def test_a_kernel_side_filter_finds_the_same_flows(pair: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    run("iptables", "-t", "nat", "-A", "POSTROUTING", "-s", "10.66.0.0/16", "-j", "MASQUERADE")
    monkeypatch.setattr(conntrack, "FEW_FLOWS", 0)
    with service(INSIDE, "udp", 53, "a"), service(None, "udp", 54, "c"):
        ask(None, "udp", "10.9.0.2", 53)
        ask(INSIDE, "udp", "10.9.0.1", 54)
        ask(None, "udp", "127.0.0.1", 54)
    assert conntrack.flush_address("10.9.0.2") == 2
    assert flows() == [(socket.IPPROTO_UDP, 54)]


def test_a_namespace_file_is_what_ip_netns_knows() -> None:
    path = Path("/run/netns/ph-0123456789ab")
    settings: list[str | None] = []

    def prepare() -> None:
        sysctl.write("net", "ipv4", "ip_forward", value="1")
        settings.append(sysctl.read("net", "ipv4", "ip_forward"))

    before = sysctl.read("net", "ipv4", "ip_forward")
    netns.create(path, prepare)
    assert settings == ["1"]
    assert sysctl.read("net", "ipv4", "ip_forward") == before
    assert netns.enter(path, lambda: sysctl.read("net", "ipv4", "ip_forward")) == "1"
    assert "ph-0123456789ab" in run("ip", "netns")
    assert netns.is_namespace(path)
    shared = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if " /run/netns " in line]
    assert any("shared:" in line for line in shared)
    with pytest.raises(HostError, match="creating network namespace"):
        netns.create(path)
    assert netns.remove(path) is True
    assert netns.remove(path) is False
    assert not path.exists()
    assert not netns.is_namespace(path)


def test_a_failed_preparation_leaves_no_namespace() -> None:
    path = Path("/run/netns/failing")

    def fail() -> None:
        raise HostError("preparing", "no")

    with pytest.raises(HostError, match="preparing: no"):
        netns.create(path, fail)
    assert not path.exists()
    assert not mounts.is_mount_point(path)


def test_half_made_namespace_files_are_removed() -> None:
    path = Path("/run/netns/half")
    path.touch()
    assert not netns.is_namespace(path)
    assert netns.remove(path) is True
    assert not path.exists()


def here() -> int:
    return Path("/proc/thread-self/ns/net").stat().st_ino


def test_the_calling_thread_never_moves() -> None:
    path = Path("/run/netns/other")
    before = here()
    netns.create(path)
    assert netns.enter(path, here) != before
    assert here() == before
    with pytest.raises(ZeroDivisionError):
        netns.enter(path, lambda: 1 // 0)
    netns.remove(path)
    with pytest.raises(HostError, match="entering network namespace"):
        netns.enter(path, lambda: None)


def test_settings_that_do_not_exist() -> None:
    assert sysctl.read("net", "ipv4", "nosuch") is None
    assert sysctl.write_if_present("net", "ipv4", "nosuch", value="1") is False
    with pytest.raises(HostError, match=r"setting sysctl net\.ipv4\.ip_forward to x"):
        sysctl.write("net", "ipv4", "ip_forward", value="x")
