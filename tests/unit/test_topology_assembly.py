"""Kernel and records put together: nothing is drawn that the kernel does not have, nothing it has is left out."""

from __future__ import annotations

import pytest

from engine.host.netlink.links import IFF_LOWER_UP, IFF_UP, BridgePort, Counters, Link
from engine.topology.assembly import assemble
from engine.topology.graph import DOWN, NO_CARRIER, UP, Graph, Placed, PublishedPort, Traffic
from engine.topology.kernel import Kernel, Namespace
from engine.topology.records import ContainerRecord, NetworkRecord, Records

pytestmark = pytest.mark.unit

WEB = "a" * 64


def link(
    index: int,
    name: str,
    kind: str = "",
    *,
    master: int = 0,
    peer: int = 0,
    nsid: int | None = None,
    flags: int = IFF_UP | IFF_LOWER_UP,
) -> Link:
    port = BridgePort("forwarding", hairpin=False) if master else None
    return Link(index, name, kind, flags, 1500, f"02:00:00:00:00:{index:02x}", master, peer, nsid, "up", None, port)


def namespace(*links: Link, addresses: dict[int, tuple[str, ...]] | None = None) -> Namespace:
    return Namespace({each.index: each for each in links}, addresses or {})


def counters(received: int, sent: int, dropped: int = 0) -> Counters:
    return Counters(received // 100, sent // 100, received, sent, 0, 0, dropped, 0)


HOST = namespace(
    link(1, "lo"),
    link(2, "eth0"),
    link(3, "br-other", "bridge"),
    link(4, "docker0", "bridge"),
    link(9, "vethweb", "veth", master=4, peer=2, nsid=7),
    link(8, "vethold", "veth", master=4, peer=2, nsid=8),
    link(10, "spare", flags=0),
    addresses={2: ("192.0.2.1/24",), 4: ("172.17.0.1/16",)},
)
INSIDE = namespace(link(2, "eth0", "veth", peer=9), addresses={2: ("fd00::2/64", "172.17.0.2/16")})
KERNEL = Kernel(HOST, {2: "192.0.2.254"}, {7: INSIDE}, {7: "ph-aaaa"})
RECORDS = Records(
    {WEB: ContainerRecord(WEB, "web", "running", "bridge")},
    {"vethweb": WEB, "vethgone": "b" * 64},
    {WEB: (PublishedPort("tcp", "0.0.0.0", 8080, 80),)},
    {"docker0": NetworkRecord("bridge", False), "br-gone": NetworkRecord("gone", True)},
)


def graph(kernel: Kernel = KERNEL, records: Records = RECORDS) -> Graph:
    return assemble(kernel, records, {}, Graph(), 100.0)


def test_the_engines_bridges_come_first_and_ports_in_the_order_they_were_made() -> None:
    assert [bridge.name for bridge in graph().bridges] == ["docker0", "br-other"]
    assert [port.name for port in graph().bridges[0].ports] == ["vethold", "vethweb"]


def test_a_namespace_that_vanished_while_being_read_leaves_a_port_without_an_other_end() -> None:
    port = graph().bridges[0].ports[0]
    assert (port.interface, port.inner_state, port.addresses, port.namespace) == ("", "", (), "namespace 8")


def test_the_first_ipv4_address_is_the_address() -> None:
    port = graph().bridges[0].ports[1]
    assert port.addresses == ("fd00::2/64", "172.17.0.2/16")
    assert port.address == "172.17.0.2"
    assert graph().bridges[0].ports[0].address == ""


def test_records_without_a_link_draw_nothing() -> None:
    drawn = graph()
    assert drawn.bridge("br-gone") is None
    assert all(port.name != "vethgone" for _, port in drawn.ports())


def test_a_container_whose_link_is_gone_is_placed_nowhere() -> None:
    kernel = Kernel(namespace(link(4, "docker0", "bridge")))
    assert graph(kernel).placed == (Placed(WEB, "web", "running", "bridge"),)


def test_a_container_whose_owner_does_not_run_keeps_the_id_it_asked_for() -> None:
    records = Records({WEB: ContainerRecord(WEB, "web", "running", "container:" + "c" * 64)})
    assert graph(Kernel(), records).placed == (Placed(WEB, "web", "running", "container:" + "c" * 64),)


def test_outside_is_what_has_the_default_route_or_an_address_and_is_no_port() -> None:
    assert [(each.name, each.default, each.gateway) for each in graph().outside] == [("eth0", True, "192.0.2.254")]
    bridged = Kernel(namespace(link(3, "br0", "bridge"), link(2, "eth0", master=3)), {3: "192.0.2.254"})
    assert [each.name for each in graph(bridged).outside] == ["br0"]
    assert [port.name for port in graph(bridged).bridges[0].ports] == ["eth0"]


def test_a_state_is_told_by_switch_and_carrier() -> None:
    links = (link(1, "a", flags=0), link(2, "b", flags=IFF_UP), link(3, "c"))
    kernel = Kernel(namespace(*links, addresses={1: ("192.0.2.1/24",)}))
    assert [each.state for each in graph(kernel).outside] == [DOWN, NO_CARRIER, UP]


def test_a_pair_with_both_ends_in_the_host_shows_its_other_end() -> None:
    kernel = Kernel(namespace(link(5, "one", "veth", peer=6), link(6, "two", "veth", peer=5)))
    assert [(port.name, port.interface, port.namespace) for port in graph(kernel).loose] == [
        ("one", "two", ""),
        ("two", "one", ""),
    ]


def test_rates_are_those_since_the_graph_before_and_never_negative() -> None:
    first = assemble(KERNEL, RECORDS, {2: counters(1000, 500), 9: counters(2000, 8000, 3)}, Graph(), 100.0)
    assert first.bridges[0].ports[1].traffic == Traffic(8000, 2000, 80, 20, 3, 0.0, 0.0)
    second = assemble(KERNEL, RECORDS, {2: counters(3000, 500), 9: counters(100, 9000)}, first, 102.0)
    assert second.outside[0].traffic == Traffic(3000, 500, 30, 5, 0, 1000.0, 0.0)
    # The pair was made anew under the same name and index: its counters began again.
    assert second.bridges[0].ports[1].traffic == Traffic(9000, 100, 90, 1, 0, 500.0, 0.0)


def test_a_link_that_is_counted_for_the_first_time_has_no_rate() -> None:
    later = assemble(KERNEL, RECORDS, {9: counters(2000, 8000)}, Graph(taken=99.0), 100.0)
    assert later.bridges[0].ports[1].traffic.received_rate == 0.0
    assert later.bridges[0].ports[0].traffic == Traffic()
