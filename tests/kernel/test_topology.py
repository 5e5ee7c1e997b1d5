"""The topology as the kernel has it: bridges, veth pairs with both ends, who stands behind them, and what moves."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from engine.config import Config
from engine.host import netns
from engine.state.database import Database
from engine.topology.graph import DOWN, NO_CARRIER, UP, Bridge, Graph, Placed, Port, PublishedPort
from engine.topology.observer import Observer
from tests.conftest import Outside

pytestmark = pytest.mark.kernel

WEB, API = "a" * 64, "b" * 64


def sh(script: str) -> None:
    subprocess.run(["sh", "-euc", script], check=True)


@pytest.fixture
def database(config: Config) -> Iterator[Database]:
    database = Database(config.data_root / "state.db")
    yield database
    database.execute("DELETE FROM containers")
    database.close()


@pytest.fixture
def observer(config: Config, database: Database) -> Iterator[Observer]:
    # The observer asks the engine for these two only; containers and networks are the rows written below.
    observer = Observer(SimpleNamespace(config=config, database=database))  # type: ignore[arg-type]
    yield observer
    observer.close()


@pytest.fixture
def two_containers() -> Iterator[None]:
    """``web`` behind the hairpin port ``vethweb`` of docker0, ``api`` behind ``vethapi`` of br-app."""
    sh("""
        for place in "web docker0 172.17.0 ph-web" "api br-app 172.18.0 other-api"; do
            set -- $place
            ip link add $2 address 02:42:00:00:00:01 type bridge
            ip addr add $3.1/16 dev $2
            ip link set $2 up
            ip netns add $4
            ip link add veth$1 type veth peer name eth0 netns $4
            ip link set veth$1 master $2 up
            ip -n $4 link set lo up
            ip -n $4 link set eth0 address 02:42:ac:00:00:02 mtu 1400 up
            ip -n $4 addr add $3.2/16 dev eth0
        done
        ip link set vethweb type bridge_slave hairpin on
    """)
    yield
    sh("""
        ip link del vethweb || true; ip link del vethapi; ip netns del ph-web; ip netns del other-api
        ip link del docker0; ip link del br-app
    """)


def record(database: Database, container: str, name: str, mode: str = "default", status: str = "running") -> None:
    database.execute(
        "INSERT INTO containers(id, name, created, image, config, status) VALUES(?, ?, '', '', ?, ?)",
        (container, name, json.dumps({"network_mode": mode}), status),
    )


def record_web(database: Database) -> None:
    record(database, WEB, "web")
    database.execute(
        "INSERT INTO networks(id, name, driver, created, config) VALUES('n', 'bridge', 'bridge', '', ?)",
        (json.dumps({"bridge": "docker0", "internal": False}),),
    )
    database.execute(
        "INSERT INTO endpoints(id, network, container, address, host_interface, interface)"
        " VALUES('e', 'n', ?, '172.17.0.2', 'vethweb', 'eth0')",
        (WEB,),
    )
    database.execute("INSERT INTO port_reservations VALUES(?, 'tcp', '0.0.0.0', 17000, 27017)", (WEB,))


def bridge(graph: Graph, name: str) -> Bridge:
    found = graph.bridge(name)
    assert found is not None
    return found


def port(graph: Graph, name: str) -> Port:
    return next(port for _, port in graph.ports() if port.name == name)


def index(name: str, *, inside: str = "") -> int:
    command = ["ip", *(("-n", inside) if inside else ()), "-j", "link", "show", name]
    return int(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)[0]["ifindex"])


@pytest.mark.usefixtures("two_containers")
def test_both_ends_of_a_pair_and_the_container_behind_it_are_one_object(observer: Observer, database: Database) -> None:
    record_web(database)
    graph = observer.observe()
    assert [(each.name, each.network, each.addresses, each.state) for each in graph.bridges] == [
        ("docker0", "bridge", ("172.17.0.1/16",), UP),
        ("br-app", "", ("172.18.0.1/16",), UP),
    ]
    (web,) = bridge(graph, "docker0").ports
    assert (web.name, web.index, web.state, web.mtu, web.hairpin) == ("vethweb", index("vethweb"), UP, 1500, True)
    assert (web.interface, web.peer_index) == ("eth0", index("eth0", inside="ph-web"))
    assert (web.mac, web.inner_mtu, web.inner_state) == ("02:42:ac:00:00:02", 1400, UP)
    assert (web.addresses, web.address, web.namespace) == (("172.17.0.2/16",), "172.17.0.2", "ph-web")
    assert (web.container_id, web.container, web.container_status) == (WEB, "web", "running")
    assert web.published == (PublishedPort("tcp", "0.0.0.0", 17000, 27017),)
    assert graph.of_container("web") == graph.of_container(WEB) == ((bridge(graph, "docker0"), web),)
    assert graph.placed == ()


@pytest.mark.usefixtures("two_containers")
def test_what_is_not_the_engines_is_drawn_from_the_kernel_alone(observer: Observer) -> None:
    (api,) = bridge(observer.observe(), "br-app").ports
    assert (api.container, api.container_id, api.published) == ("", "", ())
    assert (api.address, api.interface, api.namespace, api.hairpin) == ("172.18.0.2", "eth0", "other-api", False)


@pytest.mark.usefixtures("two_containers")
def test_a_change_inside_or_outside_is_in_the_next_graph(observer: Observer, database: Database) -> None:
    assert port(observer.observe(), "vethweb").state == UP
    sh("ip -n ph-web link set eth0 down")
    changed = port(observer.observe(), "vethweb")
    assert (changed.state, changed.inner_state) == (NO_CARRIER, DOWN)
    sh("ip link set vethweb down; ip -n ph-web addr add 172.17.0.9/16 dev eth0")
    changed = port(observer.observe(), "vethweb")
    assert changed.state == DOWN
    assert "172.17.0.9/16" in changed.addresses
    record_web(database)
    assert port(observer.observe(), "vethweb").container == "web"
    sh("ip link del vethweb")
    graph = observer.observe()
    assert bridge(graph, "docker0").ports == ()
    assert graph.placed == (Placed(WEB, "web", "running", "bridge"),)


@pytest.mark.usefixtures("two_containers")
def test_traffic_is_told_from_the_containers_side_with_rates(observer: Observer) -> None:
    before = observer.observe()

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind(("172.17.0.2", 0))
            for _ in range(20):
                sender.sendto(bytes(1000), ("172.17.0.1", 9))

    netns.enter(Path("/run/netns/ph-web"), send)
    after = observer.observe()
    first, second = port(before, "vethweb").traffic, port(after, "vethweb").traffic
    assert second.sent - first.sent >= 20 * 1000
    assert second.sent_packets - first.sent_packets >= 20
    assert second.received - first.received < 20 * 1000
    assert second.sent_rate == pytest.approx((second.sent - first.sent) / (after.taken - before.taken))
    assert bridge(after, "docker0").traffic.received > bridge(before, "docker0").traffic.received
    assert port(after, "vethapi").traffic.sent_rate < second.sent_rate


@pytest.mark.usefixtures("two_containers")
def test_containers_that_share_a_namespace_or_have_no_port_are_placed(observer: Observer, database: Database) -> None:
    record_web(database)
    record(database, API, "helper", f"container:{WEB}")
    record(database, "c" * 64, "agent", "host", "paused")
    record(database, "d" * 64, "sealed", "none")
    record(database, "e" * 64, "over", "host", "exited")
    graph = observer.observe()
    assert port(graph, "vethweb").joined == ("helper",)
    assert [found.name for _, found in graph.of_container("helper")] == ["vethweb"]
    assert {(each.name, each.mode, each.status) for each in graph.placed} == {
        ("helper", "container:web", "running"),
        ("agent", "host", "paused"),
        ("sealed", "none", "running"),
    }


def test_the_way_out_is_the_link_of_the_default_route(observer: Observer, outside: Outside) -> None:
    graph = observer.observe()
    (uplink,) = graph.outside
    assert (uplink.name, uplink.default, uplink.gateway, uplink.state) == ("uplink", True, outside.address, UP)
    assert uplink.addresses == (f"{outside.host_address}/24",)
    assert graph.bridges == graph.loose == ()


def test_a_pair_that_hangs_on_no_bridge_is_loose(observer: Observer) -> None:
    sh("ip netns add byhand; ip link add lonely type veth peer name eth7 netns byhand; ip link set lonely up")
    (lonely,) = observer.observe().loose
    assert (lonely.name, lonely.interface, lonely.namespace, lonely.state) == ("lonely", "eth7", "byhand", NO_CARRIER)
    sh("ip link del lonely; ip netns del byhand")


def test_an_observer_serves_a_thread_in_another_namespace(observer: Observer) -> None:
    sh("ip netns add elsewhere; ip -n elsewhere link add brx type bridge")
    assert observer.observe().bridges == ()
    there = netns.enter(Path("/run/netns/elsewhere"), observer.observe)
    assert [each.name for each in there.bridges] == ["brx"]
    assert observer.observe().bridges == ()
    assert threading.active_count() == 1
    sh("ip netns del elsewhere")
