# ruff: noqa: E501 - tables read better in one line a row
"""A recorded feed: what an engine once said, frozen, for tests of the screen."""

from __future__ import annotations

from typing import Any

from tui.app import Console
from tui.feed import (
    BridgeRow,
    ContainerRow,
    EventRow,
    ImageRow,
    NetworkRow,
    OutsideRow,
    PortRow,
    Published,
    RuleRow,
    Snapshot,
    System,
    Topology,
    VolumeRow,
)  # fmt: skip
from tui.glyphs import UNICODE, Glyphs

NOW = 1_750_000_000.0
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0


def container(name: str, number: int, **changes: Any) -> ContainerRow:
    """A running container with plausible figures."""
    row = {
        "id": f"{number:02x}" * 32, "name": name, "image": "busybox:latest", "command": "httpd -f", "state": "running",
        "created": NOW - 3 * HOUR, "started": NOW - 2 * HOUR, "address": f"172.17.0.{number + 1}", "pid": 1000 + number,
        "cpu": 0.3 * number, "memory": 1_200_000 * number,
    }  # fmt: skip
    return ContainerRow(**{**row, **changes})


THREE = (
    container("web", 1, image="pilothouse-demo:latest", ports="17000→27017/tcp"),
    container("queue", 2, state="paused", ports="5672/udp 15672→80/tcp 15673→81/tcp"),
    container(
        "batch-import", 3, state="exited", exit_code=137, finished=NOW - 4 * MINUTE, cpu=None, memory=None, address=""
    ),
)
STRANGE = (
    container("データベース-サーバー", 4, image="registry.example/データ:最新"),
    container("n" * 200, 5, image="i" * 200, ports=" ".join(f"{8000 + n}→80/tcp" for n in range(20))),
    container("bad-[31mred", 6, state="dead", exit_code=1, finished=NOW - 9 * DAY),
)
IMAGES = (
    ImageRow("sha256:" + "ab" * 32, ("pilothouse-demo:latest",), 4_900_000, NOW - 2 * HOUR, 1),
    ImageRow(
        "sha256:" + "cd" * 32, ("busybox:latest", "registry.example/team/busybox:stable"), 2_010_000, NOW - 3 * DAY, 2
    ),
    ImageRow("sha256:" + "ef" * 32, (), 1_230_000_000, NOW - 40 * DAY, 0),
)
NETWORKS = (
    NetworkRow("1" * 64, "bridge", "bridge", "172.17.0.0/16", "172.17.0.1", "docker0", False, 2),
    NetworkRow("2" * 64, "host", "host"),
    NetworkRow("3" * 64, "none", "null"),
)
VOLUMES = (
    VolumeRow("pgdata", "/var/lib/pilothouse/volumes/pgdata/_data", NOW - 5 * DAY, ("db",)),
    VolumeRow("unused", "/var/lib/pilothouse/volumes/unused/_data", NOW - 1 * HOUR),
)
RULES = (
    RuleRow("nft", "raw", "PREROUTING", 0, "", 91_234, 0, 41.0, "accept"),
    RuleRow("nft", "raw", "PREROUTING", 1, "-d 127.0.0.0/8 ! -i lo -j DROP", 12, 720, 0.0, "drop",
            "keeps others away from this host's own 127.0.0.1", ours=True),
    RuleRow("nft", "nat", "PREROUTING", 0, "", 12_331, 0, 0.0, "accept"),
    RuleRow("nft", "nat", "PREROUTING", 1, "-m addrtype --dst-type LOCAL -j DOCKER", 12_331, 0, 41.0, "docker",
            "packets to this host go to DOCKER"),
    RuleRow("nft", "nat", "DOCKER", 1, "-p tcp -m tcp --dport 17000 -j DNAT --to-destination 172.17.0.2:27017", 9_120,
            0, 40.0, "dnat", "port 17000 goes to web:27017", "web", "PREROUTING"),
    RuleRow("nft", "filter", "FORWARD", 0, "", 0, 0, 0.0, "drop"),
    RuleRow("nft", "filter", "FORWARD", 1, "-j DOCKER-USER", 912_002, 0, 840.0, "docker-user", "first the admin's own rules"),
    RuleRow("nft", "filter", "DOCKER-USER", 1, "-i eth0 -j DROP", 310, 0, 22.0, "drop", "drops everything from eth0", "", "FORWARD"),
    RuleRow("nft", "nat", "POSTROUTING", 0, "", 310, 0, 0.0, "accept"),
    RuleRow("nft", "nat", "POSTROUTING", 1, "-s 172.17.0.0/16 ! -o docker0 -j MASQUERADE", 2_120_310, 0, 3.0, "masquerade",
            "containers of docker0 leave with the host's address"),
)  # fmt: skip
TOPOLOGY = Topology(
    (OutsideRow("eth0", "192.0.2.1/24", "up", 1500, 1.2e6, 88e3),),
    (
        BridgeRow("docker0", "172.17.0.1/16", "up", 1500, "bridge", (
            PortRow("veth0101010", 7, "up", 1500, "web", "01" * 32, "running", "172.17.0.2/16",
                    (Published(17000, 27017),), 1.2e6, 88e3),
            PortRow("veth0202020", 9, "up", 1500, "queue", "02" * 32, "paused", "172.17.0.3/16",
                    (Published(5672, 5672, "udp"), Published(15672, 80, "tcp", "127.0.0.1")), 12e3, 12e3),
            PortRow("veth0303030", 11, "down", 1500, "batch", "03" * 32, "running", "172.17.0.4/16", (), 0, 0, 17),
        )),
        BridgeRow("br-app", "172.18.0.1/16", "up", 1400, "", (PortRow("vethb2e1", 13, "up", 1400),)),
    ),
    (("agent", "host"), ("sidecar", "container:web")),
)  # fmt: skip
SYSTEM = System(
    "host-1",
    (("kernel", "6.1.0"), ("storage", "overlay2"), ("firewall", "nft"), ("memory", "1.2G of 8.0G")),
    (EventRow(NOW - 60, "container start web"), EventRow(NOW - 5, "container die batch-import exit code 137")),
)


def many(count: int) -> tuple[ContainerRow, ...]:
    """``count`` containers, a quarter of them running."""
    return tuple(
        container(f"job-{number:04d}", number % 250, id=f"{number:064x}", address="",
                  state="running" if number % 4 == 0 else "exited", exit_code=number % 3, finished=NOW - number * MINUTE)
        for number in range(count)
    )  # fmt: skip


class Recording:
    """A feed's source that says the same thing again and again, until it is given something else to say."""

    def __init__(self, **sections: Any) -> None:
        self.sections: dict[str, Any] = {
            "containers": THREE, "images": IMAGES, "networks": NETWORKS, "volumes": VOLUMES, "rules": RULES,
            "topology": TOPOLOGY, "system": SYSTEM,
        }  # fmt: skip
        self.sections.update(sections)

    def read(self, section: str, previous: Snapshot) -> Any:
        value = self.sections[section]
        if isinstance(value, Exception):
            raise value
        return value

    def close(self) -> None:
        """Nothing was opened."""


EMPTY = {"containers": (), "images": (), "networks": (), "volumes": (), "rules": (), "topology": Topology()}


def no_engine() -> Any:
    """A screen test must not reach an engine; what tries, says so."""
    from engine.errors import EngineError

    raise EngineError("this test has no engine")


def console(recording: Recording | None = None, *, glyphs: Glyphs = UNICODE, **options: Any) -> Console:
    """A console over a recording, at a fixed moment."""
    return Console(no_engine, recording or Recording(), glyphs=glyphs, host="host-1", clock=lambda: NOW, **options)
