"""Beside another engine: a live dockerd has docker0 and the DOCKER chains, and keeps every bit of them."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.engine import Engine
from tests.conftest import Outside
from tests.kernel.sandboxing import sandboxes
from tests.kernel.wire import ask, run, service

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("firewall_backend")]

# What docker 29 has for its default bridge, published port 18000 of 172.17.0.2 included.
THEIRS = """\
*raw
-A PREROUTING -d 172.17.0.2/32 ! -i docker0 -j DROP
COMMIT
*filter
:DOCKER - [0:0]
:DOCKER-BRIDGE - [0:0]
:DOCKER-CT - [0:0]
:DOCKER-FORWARD - [0:0]
:DOCKER-INTERNAL - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-FORWARD
-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER ! -i docker0 -o docker0 -j DROP
-A DOCKER-BRIDGE -o docker0 -j DOCKER
-A DOCKER-CT -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-FORWARD -j DOCKER-CT
-A DOCKER-FORWARD -j DOCKER-INTERNAL
-A DOCKER-FORWARD -j DOCKER-BRIDGE
-A DOCKER-FORWARD -i docker0 -j ACCEPT
COMMIT
*nat
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 18000 -j DNAT --to-destination 172.17.0.2:80
COMMIT
"""


@pytest.fixture
def docker0(firewall_backend: str) -> Iterator[None]:
    """docker's bridge with its address, and its rules."""
    run("ip", "link", "add", "docker0", "type", "bridge")
    run("ip", "addr", "add", "172.17.0.1/16", "dev", "docker0")
    run("ip", "link", "set", "docker0", "up")
    subprocess.run([f"iptables-{firewall_backend}-restore", "--noflush"], input=THEIRS, text=True, check=True)
    yield
    run("ip", "link", "del", "docker0")


@contextmanager
def running_dockerd(directory: Path, *prefix: str) -> Iterator[int]:
    """A process by the name of dockerd; its pid."""
    program = directory / "dockerd"
    shutil.copy(shutil.which("sleep") or "/bin/sleep", program)
    process = subprocess.Popen([*prefix, program, "1000"])
    comm = Path(f"/proc/{process.pid}/comm")
    while comm.read_text() != "dockerd\n":
        time.sleep(0.001)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def dockerd(tmp_path: Path) -> Iterator[None]:
    """A dockerd in this network namespace."""
    with running_dockerd(tmp_path):
        yield


def their_rules(backend: str) -> list[str]:
    """The rules that speak of docker's bridge, addresses or chains, in order."""
    words = ("docker0", "172.17.0.", "-j DOCKER", "-A DOCKER")
    text = run(f"iptables-{backend}-save")
    return [line for line in text.splitlines() if line.startswith("-") and any(word in line for word in words)]


@pytest.mark.usefixtures("docker0", "dockerd")
def test_our_bridge_and_chains_stand_beside_dockers(engine: Engine, outside: Outside, firewall_backend: str) -> None:
    before = their_rules(firewall_backend)
    bridge = run("ip", "addr", "show", "dev", "docker0")
    with sandboxes(engine) as boxes:
        web = boxes.make("17000:80")
        assert web.address == "172.18.0.2"
        network = engine.networks.get("bridge")
        assert (network.bridge, network.subnet, network.chain_prefix) == ("pilot0", "172.18.0.0/16", "PILOT")
        assert "another engine has docker0" in engine.networks.notice()
        assert their_rules(firewall_backend) == before
        with service(web.netns, "tcp", 80, "web"):
            assert ask(outside.netns, "tcp", outside.host_address, 17000) == f"web {outside.address}"
            assert ask(None, "tcp", "127.0.0.1", 17000) == "web 172.18.0.1"
            assert ask(web.netns, "tcp", outside.host_address, 17000) == "web 172.18.0.1"
        with service(outside.netns, "tcp", 8080, "server"):
            assert ask(web.netns, "tcp", outside.address, 8080) == f"server {outside.host_address}"
        assert engine.networks.repair() is False
    assert their_rules(firewall_backend) == before
    assert run("ip", "addr", "show", "dev", "docker0") == bridge
    # The next container finds its place without looking for a new one.
    with sandboxes(engine) as boxes:
        assert boxes.make().address == "172.18.0.2"


@pytest.mark.usefixtures("dockerd")
def test_an_engine_that_is_still_starting_keeps_the_pool_it_will_take(engine: Engine) -> None:
    """At boot dockerd may run and have no docker0 yet."""
    with sandboxes(engine) as boxes:
        assert boxes.make().address == "172.18.0.2"
        assert engine.networks.get("bridge").bridge == "pilot0"


@pytest.mark.usefixtures("docker0")
def test_a_bridge_that_serves_somebodys_containers_is_left_alone(engine: Engine) -> None:
    run("ip", "link", "add", "theirs", "type", "veth", "peer", "name", "inner")
    run("ip", "link", "set", "theirs", "master", "docker0")
    with sandboxes(engine) as boxes:
        assert boxes.make().address == "172.18.0.2"
    run("ip", "link", "del", "theirs")


@pytest.mark.usefixtures("docker0")
def test_a_bridge_a_dead_engine_left_is_taken_over(engine: Engine, outside: Outside) -> None:
    run("ip", "addr", "flush", "dev", "docker0")
    run("ip", "addr", "add", "172.17.42.1/16", "dev", "docker0")
    with sandboxes(engine) as boxes:
        web = boxes.make("17000:80")
        assert web.address == "172.17.0.2"
        assert engine.networks.notice() == ""
        assert "172.17.0.1/16" in run("ip", "addr", "show", "dev", "docker0")
        assert "172.17.42.1" not in run("ip", "addr", "show", "dev", "docker0")
        with service(web.netns, "tcp", 80, "web"):
            assert ask(outside.netns, "tcp", outside.host_address, 17000) == f"web {outside.address}"


def test_a_dockerd_that_comes_later_gets_its_chains(
    engine: Engine, outside: Outside, tmp_path: Path, firewall_backend: str
) -> None:
    """It empties the DOCKER chains and makes them anew; ours must not take them back, and must still answer."""
    with sandboxes(engine) as boxes:
        web = boxes.make("17000:80", name="web")
        with running_dockerd(tmp_path) as pid:
            Path("/run/docker.pid").write_text(str(pid))
            flush = "".join(
                f"*{table}\n:DOCKER{suffix} - [0:0]\nCOMMIT\n"
                for table, suffixes in (("filter", ("", "-BRIDGE", "-CT", "-FORWARD", "-INTERNAL")), ("nat", ("",)))
                for suffix in suffixes
            )
            theirs = "*nat\n-A DOCKER -p tcp -m tcp --dport 18000 -j DNAT --to-destination 172.17.0.99:80\nCOMMIT\n"
            restore = [f"iptables-{firewall_backend}-restore", "--noflush"]
            subprocess.run(restore, input=flush + theirs, text=True, check=True)
            assert engine.networks.repair() is True
            listed = run(f"iptables-{firewall_backend}-save")
            assert "-A DOCKER -p tcp -m tcp --dport 18000 -j DNAT --to-destination 172.17.0.99:80" in listed
            assert "-A PILOT -p tcp -m tcp --dport 17000 -j DNAT --to-destination 172.17.0.2:80" in listed
            assert "a dockerd started" in engine.networks.notice()
            with service(web.netns, "tcp", 80, "web"):
                assert ask(outside.netns, "tcp", outside.host_address, 17000) == f"web {outside.address}"
            boxes.drop(web)
            assert "--dport 17000" not in run(f"iptables-{firewall_backend}-save")
            # The next one starts on a bridge of our own, and docker keeps docker0.
            assert boxes.make("17000:80").address == "172.18.0.2"
            listed = run(f"iptables-{firewall_backend}-save")
            assert "--dport 18000" in listed
            # It found this one in place and did not add another.
            assert "-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE" in listed


def test_a_dockerd_of_another_namespace_does_not_count(engine: Engine, tmp_path: Path) -> None:
    run("ip", "netns", "add", "elsewhere")
    with (
        running_dockerd(tmp_path, "nsenter", "--net=/run/netns/elsewhere", "--"),
        sandboxes(engine) as boxes,
    ):
        assert boxes.make().address == "172.17.0.2"
    run("ip", "netns", "del", "elsewhere")
