"""A sandbox's life: what it consists of, how it fails, how it is asserted again and taken away.

Traffic is tested elsewhere; here the kernel's objects and the rows are counted.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from engine.config import Config
from engine.engine import Engine
from engine.errors import Conflict, HostError, NotFound, TeardownError, Unsupported
from engine.host import netns, sysctl
from engine.host.netlink import links
from engine.host.netlink.connection import Connection
from tests.conftest import Outside
from tests.kernel.sandboxing import Sandboxes, sandboxes
from tests.kernel.wire import ask, run, service

pytestmark = pytest.mark.kernel

ID = "0123456789abcdef" * 4
OTHER = "fedcba9876543210" * 4


@pytest.fixture
def boxes(engine: Engine) -> Iterator[Sandboxes]:
    with sandboxes(engine) as made:
        yield made


def ip(*words: str, place: Path | None = None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run("ip", "-j", "-d", *words, place=place) or "[]")
    return [entry for entry in found if entry]


def rules() -> list[str]:
    return [line for line in run("iptables-save").splitlines() if line.startswith("-")]


def traces(engine: Engine) -> list[str]:
    """Everything of containers that is left in the kernel and in the state."""
    engine.networks.settle()
    found = [f"link {entry['ifname']}" for entry in ip("link") if entry["ifname"].startswith("veth")]
    found += [f"namespace {name}" for name in os.listdir("/run/netns") if name.startswith("ph-")]
    found += [f"rule {rule}" for rule in rules() if "172.17.0.2" in rule or "--dport" in rule]
    for table in ("endpoints", "port_reservations", "journal"):
        found += [f"{table} {tuple(row)}" for row in engine.database.all(f"SELECT * FROM {table}")]
    return found


def test_what_a_bridge_sandbox_consists_of(boxes: Sandboxes, engine: Engine) -> None:
    box = boxes.make("17000:80", id=ID, name="web", exposed=("443/tcp",))
    assert box.netns == Path("/run/netns/ph-0123456789ab")
    endpoint = box.endpoint
    assert (endpoint.address, endpoint.prefix, endpoint.gateway) == ("172.17.0.2", 16, "172.17.0.1")
    assert (endpoint.mac, endpoint.interface, endpoint.host_interface) == ("02:42:ac:11:00:02", "eth0", "veth0123456")

    (outer,) = ip("link", "show", "dev", "veth0123456")
    assert outer["master"] == "docker0"
    assert outer["linkinfo"]["info_slave_data"]["hairpin"] is True
    inner = {entry["ifname"]: entry for entry in ip("addr", place=box.netns)}
    assert set(inner) == {"lo", "eth0"}
    assert inner["eth0"]["address"] == "02:42:ac:11:00:02"
    assert [each["local"] for each in inner["eth0"]["addr_info"]] == ["172.17.0.2"]
    assert [each["local"] for each in inner["lo"]["addr_info"]] == ["127.0.0.1"]
    (default,) = [route for route in ip("route", place=box.netns) if route["dst"] == "default"]
    assert (default["gateway"], default["dev"]) == ("172.17.0.1", "eth0")
    for interface in ("all", "default", "eth0"):
        read = partial(sysctl.read, "net", "ipv6", "conf", interface, "disable_ipv6")
        assert netns.enter(box.netns, read) == "1"

    (bridge,) = ip("addr", "show", "dev", "docker0")
    assert bridge["address"].startswith("02:42:")
    assert "172.17.0.1" in [each["local"] for each in bridge["addr_info"]]
    (link,) = ip("link", "show", "dev", "docker0")
    assert link["linkinfo"]["info_data"]["stp_state"] == 0
    assert sysctl.read("net", "ipv6", "conf", "docker0", "accept_ra") == "0"
    assert sysctl.read("net", "ipv4", "ip_forward") == "1"

    settings = engine.networks.settings(ID)
    assert settings["Ports"] == {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "17000"}], "443/tcp": None}
    assert (settings["IPAddress"], settings["Gateway"], settings["IPPrefixLen"]) == ("172.17.0.2", "172.17.0.1", 16)
    assert settings["SandboxKey"] == "/run/netns/ph-0123456789ab"
    assert settings["Networks"]["bridge"]["MacAddress"] == "02:42:ac:11:00:02"
    assert [(each.host_port, each.container_port) for each in engine.networks.ports(ID)] == [(17000, 80)]
    shown = engine.networks.inspect("bridge")
    assert shown["Containers"][ID]["IPv4Address"] == "172.17.0.2/16"
    assert shown["Containers"][ID]["Name"] == "web"
    assert shown["Options"]["com.docker.network.bridge.name"] == "docker0"

    boxes.drop(box)
    assert traces(engine) == []
    settings = engine.networks.settings(ID)
    assert (settings["Ports"], settings["IPAddress"]) == ({}, "")
    assert settings["Networks"]["bridge"]["IPAddress"] == ""
    actions = [(event.action, event.attributes["container"]) for event in engine.events.since(0)]
    assert actions == [("connect", ID), ("disconnect", ID)]


def test_addresses_are_given_lowest_first_and_come_back(boxes: Sandboxes) -> None:
    first, second, third = boxes.make(), boxes.make(), boxes.make()
    assert [each.address for each in (first, second, third)] == ["172.17.0.2", "172.17.0.3", "172.17.0.4"]
    boxes.drop(second)
    assert boxes.make().address == "172.17.0.3"


def test_the_mtu_is_the_uplinks(boxes: Sandboxes, outside: Outside) -> None:
    run("ip", "link", "set", "uplink", "mtu", "1400")
    box = boxes.make()
    (inner,) = ip("link", "show", "dev", "eth0", place=box.netns)
    assert inner["mtu"] == 1400
    assert [entry["mtu"] for entry in ip("link") if entry["ifname"] in ("docker0", box.endpoint.host_interface)] == [
        1400,
        1400,
    ]
    assert boxes.networks.get("bridge").options["com.docker.network.driver.mtu"] == "1400"
    # While containers are attached nothing moves; when the bridge is idle it follows.
    run("ip", "link", "set", "uplink", "mtu", "1300")
    assert boxes.networks.get("bridge").mtu == 1400
    boxes.drop(box)
    box = boxes.make()
    (inner,) = ip("link", "show", "dev", "eth0", place=box.netns)
    assert inner["mtu"] == 1300


def test_a_pool_the_host_routes_elsewhere_is_passed_over(boxes: Sandboxes, outside: Outside) -> None:
    run("ip", "route", "add", "172.17.128.0/20", "via", outside.address)
    box = boxes.make()
    assert box.address == "172.18.0.2"
    assert boxes.networks.get("bridge").subnet == "172.18.0.0/16"


def test_forward_policy_is_tightened_only_by_whoever_made_a_router(boxes: Sandboxes) -> None:
    def policy() -> str:
        return next(line.split()[1] for line in run("iptables-save").splitlines() if line.startswith(":FORWARD"))

    assert sysctl.read("net", "ipv4", "ip_forward") == "0"
    box = boxes.make()
    assert policy() == "DROP"
    boxes.drop(box)
    run("iptables", "-P", "FORWARD", "ACCEPT")
    boxes.make()
    assert policy() == "ACCEPT"


def test_host_none_and_joined_namespaces(boxes: Sandboxes, engine: Engine) -> None:
    host = boxes.make("17000:80", mode="host")
    assert host.sandbox.netns is None
    assert host.sandbox.sockets == ()
    assert engine.networks.settings(host.id, mode="host")["Networks"]["host"]["EndpointID"]
    nothing = boxes.make("17000:80", mode="none")
    assert [entry["ifname"] for entry in ip("link", place=nothing.netns)] == ["lo"]
    assert [entry["flags"] for entry in ip("link", place=nothing.netns)] == [["LOOPBACK", "UP", "LOWER_UP"]]
    assert engine.networks.ports(nothing.id) == ()
    joined = engine.networks.prepare(OTHER, mode=f"container:{nothing.id}", target=nothing.netns)
    assert (joined.netns, joined.endpoints) == (nothing.netns, ())
    assert engine.networks.settings(OTHER, mode=f"container:{nothing.id}")["Networks"] == {}
    engine.networks.release(OTHER)
    assert nothing.netns.exists()
    # Neither mode needs a bridge.
    with Connection() as connection:
        assert links.get(connection, "docker0") is None


def test_a_container_that_is_gone_cannot_be_joined(engine: Engine) -> None:
    with pytest.raises(Conflict, match=f"cannot join network of a non running container: {ID}"):
        engine.networks.prepare(OTHER, mode=f"container:{ID}", target=engine.networks.namespace_path(ID))


def test_unknown_networks_and_what_this_version_leaves_out(engine: Engine) -> None:
    with pytest.raises(NotFound, match="network backend not found"):
        engine.networks.prepare(ID, mode="backend")
    assert [network.name for network in engine.networks.list()] == ["bridge", "host", "none"]
    for attempt in (
        lambda: engine.networks.create("backend"),
        lambda: engine.networks.connect("bridge", ID),
        lambda: engine.networks.disconnect("bridge", ID),
    ):
        with pytest.raises(Unsupported):
            attempt()
    assert engine.networks.get(engine.networks.get("host").id[:12]).name == "host"


def test_a_port_of_another_container(boxes: Sandboxes, engine: Engine) -> None:
    boxes.make("127.0.0.1:17000:80", name="web")
    before = rules()
    with pytest.raises(Conflict) as caught:
        boxes.make("16999:81", "17000:80", id=ID, name="second")
    words = str(caught.value)
    assert words.startswith("driver failed programming external connectivity on endpoint second (")
    assert words.endswith("Bind for 0.0.0.0:17000 failed: port is already allocated")
    assert caught.value.remedy
    assert rules() == before
    assert not engine.networks.namespace_path(ID).exists()
    assert boxes.make("16999:81").address == "172.17.0.3"


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_port_of_another_program(boxes: Sandboxes, engine: Engine, protocol: str) -> None:
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as holder:
        holder.bind(("127.0.0.1", 17000))
        with pytest.raises(Conflict) as caught:
            boxes.make(f"17000:80/{protocol}", id=ID, name="web")
        assert f"listen {protocol}4 0.0.0.0:17000: bind: address already in use" in str(caught.value)
        assert traces(engine) == []
    boxes.make(f"17000:80/{protocol}", id=ID)


def test_an_address_that_is_not_the_hosts(boxes: Sandboxes, engine: Engine) -> None:
    with pytest.raises(HostError, match=r"198\.51\.100\.7:17000/tcp: cannot assign requested address"):
        boxes.make("198.51.100.7:17000:80", id=ID)
    assert traces(engine) == []


def test_where_the_engine_chooses_it_goes_round_what_is_taken(boxes: Sandboxes) -> None:
    low = int((sysctl.read("net", "ipv4", "ip_local_port_range") or "").split()[0])
    with socket.socket() as first, socket.socket() as second:
        first.bind(("0.0.0.0", low))
        second.bind(("0.0.0.0", 17000))
        box = boxes.make("80", "17000-17002:81")
    assert [port.host_port for port in box.endpoint.ports] == [low + 1, 17001]


def test_no_other_program_can_take_a_published_port(boxes: Sandboxes) -> None:
    boxes.make("17000:80", "17000:80/udp")
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as thief:
            thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with pytest.raises(OSError, match="Address already in use"):
                thief.bind(("0.0.0.0", 17000))


def test_a_restart_by_policy_finds_everything_as_it_was(boxes: Sandboxes, outside: Outside) -> None:
    box = boxes.make("17000:80", "17000:53/udp", id=ID)
    inode = box.netns.stat().st_ino
    run("ip", "link", "set", box.endpoint.host_interface, "down", "nomaster")
    run("ip", "route", "del", "default", place=box.netns)
    run("ip", "link", "set", "eth0", "down", place=box.netns)
    for table in ("raw", "filter", "nat"):
        run("iptables", "-t", table, "-F")
    again = boxes.again(box)
    assert again.endpoint == box.endpoint
    assert again.netns.stat().st_ino == inode
    assert sorted(each.getsockname() for each in again.sandbox.sockets) == [("0.0.0.0", 17000)] * 2
    with service(again.netns, "tcp", 80, "web"), service(again.netns, "udp", 53, "dns"):
        assert ask(outside.netns, "tcp", outside.host_address, 17000) == f"web {outside.address}"
        assert ask(outside.netns, "udp", outside.host_address, 17000) == f"dns {outside.address}"
        assert ask(again.netns, "tcp", outside.host_address, 17000) == "web 172.17.0.1"


def test_a_restart_by_policy_makes_anew_what_was_lost(boxes: Sandboxes, outside: Outside) -> None:
    box = boxes.make("17000:80", id=ID)
    run("ip", "link", "del", "docker0")
    run("ip", "netns", "del", box.netns.name)
    again = boxes.again(box)
    assert again.address == box.address
    with service(again.netns, "tcp", 80, "web"):
        assert ask(outside.netns, "tcp", outside.host_address, 17000) == f"web {outside.address}"
        assert ask(None, "tcp", "127.0.0.1", 17000) == "web 172.17.0.1"


def test_a_bridge_made_anew_takes_its_ports_back(boxes: Sandboxes) -> None:
    survivor = boxes.make()
    run("ip", "link", "del", "docker0")
    boxes.make()
    with service(survivor.netns, "tcp", 80, "survivor"):
        assert ask(None, "tcp", survivor.address, 80) == "survivor 172.17.0.1"


def test_a_port_lost_before_a_restart_is_named(boxes: Sandboxes) -> None:
    box = boxes.make("17000:80", id=ID, name="web")
    box.sandbox.close()
    with socket.socket() as thief:
        thief.bind(("0.0.0.0", 17000))
        with pytest.raises(Conflict, match=r"endpoint web .* 0\.0\.0\.0:17000: bind: address already in use"):
            boxes.networks.reassert(ID)
    boxes.networks.reassert(ID).close()


def test_a_stopped_container_cannot_be_asserted_again(engine: Engine) -> None:
    with pytest.raises(Conflict, match="has no network to start in again"):
        engine.networks.reassert(ID)


def test_release_is_idempotent_and_tolerates_what_is_gone(boxes: Sandboxes, engine: Engine) -> None:
    engine.networks.release(ID)
    box = boxes.make("17000:80", id=ID)
    run("ip", "link", "del", box.endpoint.host_interface)
    run("ip", "netns", "del", box.netns.name)
    for table in ("raw", "filter", "nat"):
        run("iptables", "-t", table, "-F")
    boxes.drop(box)
    engine.networks.release(ID)
    assert traces(engine) == []


def test_a_namespace_somebody_holds_open_keeps_no_veth(boxes: Sandboxes, engine: Engine) -> None:
    box = boxes.make(id=ID)
    with netns.enter(box.netns, socket.socket):
        boxes.drop(box)
        assert traces(engine) == []
        assert boxes.make(id=ID).address == "172.17.0.2"


def test_a_teardown_carries_on_after_a_failure_and_is_completed_later(
    boxes: Sandboxes, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = boxes.make("17000:80", id=ID)
    box.sandbox.close()
    with monkeypatch.context() as patched:
        patched.setenv("PATH", "/nonexistent")
        patched.setattr("engine.firewall.backends._SYSTEM_DIRECTORIES", ())
        crippled = Engine(engine.config)
        with pytest.raises(TeardownError, match="iptables"):
            crippled.networks.release(ID)
        crippled.close()
    assert not box.netns.exists()
    assert [entry.operation for entry in engine.journal.pending()] == ["network.release"]
    with pytest.raises(Conflict, match="has no network to start in again"):
        engine.networks.reassert(ID)
    # The address is not given to another container while rules still lead to it.
    assert boxes.make().address == "172.17.0.3"
    healed = Engine(engine.config, recover=False)
    healed.networks.register_recovery()
    assert [entry.operation for entry in healed.journal.recover()] == ["network.release"]
    healed.close()
    assert boxes.make("17000:80").address == "172.17.0.2"


def test_after_a_reboot_only_rows_are_left_and_they_do_no_harm(boxes: Sandboxes, engine: Engine) -> None:
    box = boxes.make("17000:80", id=ID)
    box.sandbox.close()
    run("ip", "link", "del", "docker0")
    run("ip", "link", "del", box.endpoint.host_interface)
    run("ip", "netns", "del", box.netns.name)
    for table in ("raw", "filter", "nat"):
        run("iptables", "-t", table, "-F")
    engine.database.execute(
        "UPDATE networks SET state=json_set(state, '$.boot_id', 'the boot before') WHERE state!='{}'"
    )
    assert engine.networks.bridges() == []
    engine.networks.release(ID)
    assert traces(engine) == []
    with Connection() as connection:
        assert links.get(connection, "docker0") is None
    again = boxes.make("17000:80", id=ID)
    assert again.address == "172.17.0.2"
    assert [bridge.bridge for bridge in engine.networks.bridges()] == ["docker0"]


KILL_AFTER = {
    "reserving": ("engine.network.sandboxes", "Sandboxes._reserve"),
    "binding": ("engine.network.ports", "bind"),
    "making the namespace": ("engine.host.netns", "create"),
    "making the veth": ("engine.host.netlink.links", "create_veth"),
    "writing rules": ("engine.firewall.firewall", "Firewall.sync"),
    "opening the way": ("engine.network.bridge", "Bridge.activate"),
}

CHILD = """
import importlib, os, signal, sys
from engine.engine import Engine
from engine.config import Config
from engine.network.ports import parse_publish

module, _, name = sys.argv[1].partition(" ")
owner = importlib.import_module(module)
*path, last = name.split(".")
for part in path:
    owner = getattr(owner, part)
function = getattr(owner, last)

def die_after(*arguments, **options):
    function(*arguments, **options)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(owner, last, die_after)
engine = Engine(Config.from_environment(), recover=False)
if sys.argv[3] == "release":
    engine.networks.release(sys.argv[2])
else:
    engine.networks.prepare(sys.argv[2], name="web", published=parse_publish("17000:80") + parse_publish("53/udp"))
"""


def killed(step: tuple[str, str], id: str, verb: str) -> None:
    child = subprocess.run(
        [sys.executable, "-c", CHILD, " ".join(step), id, verb], capture_output=True, text=True, check=False
    )
    assert child.returncode == -signal.SIGKILL, child.stderr


def recover(config: Config) -> list[str]:
    engine = Engine(config, recover=False)
    engine.networks.register_recovery()
    done = [entry.operation for entry in engine.journal.recover()]
    engine.close()
    return done


@pytest.mark.parametrize("step", KILL_AFTER)
def test_a_killed_preparation_is_undone_by_whoever_comes_next(config: Config, engine: Engine, step: str) -> None:
    killed(KILL_AFTER[step], ID, "prepare")
    assert traces(engine) != []
    assert recover(config) == ["network.prepare"]
    assert traces(engine) == []


@pytest.mark.parametrize(
    "step",
    [
        ("engine.network.bridge", "Bridge.detach"),
        ("engine.firewall.firewall", "Firewall.sync"),
        ("engine.host.netns", "remove"),
    ],
)
def test_a_killed_release_is_completed(boxes: Sandboxes, config: Config, engine: Engine, step: tuple[str, str]) -> None:
    box = boxes.make("17000:80", id=ID)
    box.sandbox.close()
    killed(step, ID, "release")
    assert traces(engine) != []
    assert recover(config) == ["network.release"]
    assert traces(engine) == []


def test_a_start_clears_what_an_earlier_one_left(boxes: Sandboxes, engine: Engine) -> None:
    killed(KILL_AFTER["making the veth"], ID, "prepare")
    box = boxes.make("17000:80", id=ID)
    assert box.address == "172.17.0.2"
    assert len(engine.networks.endpoints_of(ID)) == 1


STARTERS = """
import sys
from engine.engine import Engine
from engine.config import Config
from engine.network.ports import parse_publish

engine = Engine(Config.from_environment(), recover=False)
sys.stdin.readline()
kept = []
for number in range(6):
    id = f"{sys.argv[1]}{number}" * 32
    kept.append(engine.networks.prepare(id, published=parse_publish("80") + parse_publish("17000-17100:81")))
    print(id, flush=True)
sys.stdin.readline()
engine.close()
"""


def test_two_processes_prepare_at_once(engine: Engine) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", STARTERS, mark], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for mark in "ab"
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    ids = []
    for process in processes:
        assert process.stdout is not None
        ids += [process.stdout.readline().strip() for _ in range(6)]
    endpoints = [engine.networks.endpoints_of(id)[0] for id in ids]
    assert sorted(each.address for each in endpoints) == sorted(f"172.17.0.{number}" for number in range(2, 14))
    ports = [port.host_port for each in endpoints for port in each.ports]
    assert len(set(ports)) == 24
    listed = rules()
    for each in endpoints:
        for port in each.ports:
            wanted = f"--dport {port.host_port} -j DNAT --to-destination {each.address}:{port.container_port}"
            assert sum(wanted in rule for rule in listed) == 1
    for process in processes:
        process.communicate("end\n")
        assert process.returncode == 0
    for id in ids:
        engine.networks.release(id)
    assert traces(engine) == []


HOOK = """
import sys
from pathlib import Path

root, data_root, run_dir, id = sys.argv[1:]
sys.path.insert(0, root)
from engine.config import Config
from engine.engine import Engine

engine = Engine(Config(data_root=Path(data_root), run_dir=Path(run_dir)), recover=False)
engine.networks.release(id)
engine.close()
print([name for name in ("pyroute2", "psutil", "asyncio", "textual") if name in sys.modules])
"""


def test_the_exit_hooks_python_can_release(boxes: Sandboxes, config: Config) -> None:
    """``-I -S``: the standard library and this package's directory are all it has."""
    box = boxes.make("17000:80", id=ID)
    box.sandbox.close()
    root = Path(sys.modules["engine"].__file__ or "").parents[1]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", HOOK, root, config.data_root, config.run_dir, ID],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
    assert not box.netns.exists()
