"""The only bridge from the engine to the screen: background samplers, frozen snapshots, one message.

Owns the row types the panes paint, the sampler threads and the latest ``Snapshot``. A sampler asks a ``Source`` for one
section at a time; a slow or failing section delays nothing else, keeps its last rows and says why in words. Threads
never touch a widget: they publish, and only the newest snapshot is kept, so a suspended screen piles nothing up.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from engine.values import dataclass, field, replace

CONTAINERS, IMAGES, NETWORKS, VOLUMES = "containers", "images", "networks", "volumes"
RULES, TOPOLOGY, SYSTEM = "rules", "topology", "system"
SECTIONS = (CONTAINERS, IMAGES, NETWORKS, VOLUMES, RULES, TOPOLOGY, SYSTEM)


@dataclass(frozen=True)
class ContainerRow:
    """One container. Times are seconds since the epoch, ``cpu`` percent of one core, ``memory`` bytes."""

    id: str
    name: str
    image: str
    command: str = ""
    state: str = "created"  # created running paused restarting exited dead
    exit_code: int = 0
    created: float = 0.0
    started: float = 0.0
    finished: float = 0.0
    ports: str = ""
    network: str = "bridge"
    address: str = ""
    health: str = ""
    pid: int = 0
    cpu: float | None = None
    memory: int | None = None


@dataclass(frozen=True)
class ImageRow:
    """One image. ``size`` in bytes; ``names`` are its tags, ``<none>`` has none; ``containers`` use it."""

    id: str
    names: tuple[str, ...] = ()
    size: int = 0
    created: float = 0.0
    containers: int = 0


@dataclass(frozen=True)
class NetworkRow:
    """One network; ``endpoints`` is how many running containers are on it."""

    id: str
    name: str
    driver: str = "bridge"
    subnet: str = ""
    gateway: str = ""
    bridge: str = ""
    internal: bool = False
    endpoints: int = 0


@dataclass(frozen=True)
class VolumeRow:
    """One named volume; ``users`` are the names of the containers that mount it."""

    name: str
    path: str = ""
    created: float = 0.0
    users: tuple[str, ...] = ()


@dataclass(frozen=True)
class RuleRow:
    """One firewall rule in packet order.

    ``number`` is 0 for a chain's policy. ``rate`` is packets a second since the last look. ``verdict`` is accept, drop,
    jump, dnat, … in lower case; ``text`` is the rule as iptables-save prints it, without ``-A CHAIN``. ``ours`` is True
    if the engine put it there.
    """

    backend: str
    table: str
    chain: str
    number: int
    text: str
    packets: int = 0
    bytes: int = 0
    rate: float = 0.0
    verdict: str = ""
    meaning: str = ""
    owner: str = ""
    hook: str = ""
    ours: bool = False

    @property
    def key(self) -> str:
        """Unique in a snapshot."""
        return f"{self.backend}/{self.table}/{self.chain}/{self.number}"


@dataclass(frozen=True)
class Published:
    """One published port of a container; an empty ``host_ip`` means every address of the host."""

    host_port: int
    container_port: int
    protocol: str = "tcp"
    host_ip: str = ""

    @property
    def outside(self) -> str:
        """How the world reaches it: ``17000/tcp`` or ``127.0.0.1:17000/tcp``."""
        return (
            f"{self.host_ip}:{self.host_port}/{self.protocol}" if self.host_ip else f"{self.host_port}/{self.protocol}"
        )


@dataclass(frozen=True)
class PortRow:
    """One port of a bridge: the host end of a veth pair, and what is at its other end. Rates in bytes a second.

    ``joined`` are the names of the containers that share the network of ``container``.
    """

    name: str
    index: int = 0
    state: str = "up"
    mtu: int = 1500
    container: str = ""
    container_id: str = ""
    container_state: str = ""
    address: str = ""
    published: tuple[Published, ...] = ()
    received: float = 0.0
    sent: float = 0.0
    dropped: int = 0
    joined: tuple[str, ...] = ()


@dataclass(frozen=True)
class BridgeRow:
    """One bridge and its ports. ``owner`` is the network it belongs to, empty for somebody else's bridge."""

    name: str
    address: str = ""
    state: str = "up"
    mtu: int = 1500
    owner: str = ""
    ports: tuple[PortRow, ...] = ()


@dataclass(frozen=True)
class OutsideRow:
    """One interface that leads out of the host."""

    name: str
    address: str = ""
    state: str = "up"
    mtu: int = 1500
    received: float = 0.0
    sent: float = 0.0


@dataclass(frozen=True)
class Topology:
    """What the kernel has: outside interfaces, bridges with ports, and containers that stand on no bridge."""

    outside: tuple[OutsideRow, ...] = ()
    bridges: tuple[BridgeRow, ...] = ()
    others: tuple[tuple[str, str], ...] = ()  # (container, "host" | "none" | "container:web")


@dataclass(frozen=True)
class EventRow:
    """One thing that happened."""

    time: float
    what: str


@dataclass(frozen=True)
class System:
    """The host and the engine, as label and value lines, and the latest events."""

    host: str = ""
    figures: tuple[tuple[str, str], ...] = ()
    events: tuple[EventRow, ...] = ()


@dataclass(frozen=True)
class Snapshot:
    """Everything the screen shows, at one moment. ``seen`` are the sections read at least once."""

    at: float = 0.0
    containers: tuple[ContainerRow, ...] = ()
    images: tuple[ImageRow, ...] = ()
    networks: tuple[NetworkRow, ...] = ()
    volumes: tuple[VolumeRow, ...] = ()
    rules: tuple[RuleRow, ...] = ()
    topology: Topology = Topology()
    system: System = System()
    problems: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    seen: frozenset[str] = frozenset()


class Source(Protocol):
    """Where rows come from: the engine, or a recording."""

    def read(self, section: str, previous: Snapshot) -> Any:
        """The rows of one section now; ``previous`` is for rates. May raise any exception."""

    def close(self) -> None:
        """Let go of what was opened."""


# Seconds between two looks at a section: while it is on the screen, and while it is not.
PACE: Mapping[str, tuple[float, float]] = {
    CONTAINERS: (1.0, 3.0),
    IMAGES: (4.0, 15.0),
    NETWORKS: (4.0, 15.0),
    VOLUMES: (4.0, 15.0),
    RULES: (1.0, 10.0),
    TOPOLOGY: (1.0, 10.0),
    SYSTEM: (2.0, 30.0),
}
# Two samplers: a hung disk must not stop the network view, nor a held firewall lock the lists.
_SAMPLERS = ((CONTAINERS, IMAGES, NETWORKS, VOLUMES, SYSTEM), (RULES, TOPOLOGY))


class Feed:
    """Samples a source until it is closed; ``publish`` is called from a sampler thread with each new snapshot."""

    def __init__(
        self, source: Source, publish: Callable[[Snapshot], None], *, clock: Callable[[], float] = time.time
    ) -> None:
        self.source = source
        self.snapshot = Snapshot()
        self.frozen = False
        self._publish = publish
        self._clock = clock
        self._lock = threading.Lock()
        self._wakes = [threading.Event() for _ in _SAMPLERS]
        self._asked: set[str] = set(SECTIONS)
        self._visible: frozenset[str] = frozenset({CONTAINERS})
        self._closed = False

    def start(self) -> None:
        """Start the samplers."""
        for index, sections in enumerate(_SAMPLERS):
            threading.Thread(target=self._run, args=(index, sections), daemon=True, name=f"feed-{index}").start()

    def close(self) -> None:
        """Stop the samplers; a look that is under way ends by itself."""
        self._closed = True
        for wake in self._wakes:
            wake.set()

    def show(self, sections: Iterable[str]) -> None:
        """These sections are on the screen now."""
        visible = frozenset(sections)
        fresh = visible - self._visible
        self._visible = visible
        if fresh:
            self.ask(fresh)

    def ask(self, sections: Iterable[str] = SECTIONS) -> None:
        """Look at these sections again now."""
        with self._lock:
            self._asked.update(sections)
        for wake in self._wakes:
            wake.set()

    def look(self, section: str) -> bool:
        """Read one section into the snapshot; True if anything but the time is different."""
        try:
            value, problem = self.source.read(section, self.snapshot), ""
        except Exception as error:  # the screen must outlive whatever a section does
            value, problem = None, str(error) or type(error).__name__
        with self._lock:
            old = self.snapshot
            problems = {name: text for name, text in old.problems.items() if name != section}
            if problem:
                problems[section] = problem
            changes: dict[str, Any] = {} if value is None else {section: value}
            new = replace(
                old,
                at=self._clock(),
                problems=MappingProxyType(problems),
                seen=old.seen | {section},
                **changes,
            )
            same = replace(new, at=old.at, problems=old.problems) == old and dict(problems) == dict(old.problems)
            # Ages on the screen change by the minute: time alone is news once in ten seconds.
            if same and new.at - old.at < 10.0:
                return False
            self.snapshot = new
        return True

    def _run(self, index: int, sections: tuple[str, ...]) -> None:
        due = dict.fromkeys(sections, 0.0)
        wake = self._wakes[index]
        while not self._closed:
            wake.clear()
            with self._lock:
                asked = self._asked & set(sections)
                self._asked -= asked
            changed = False
            for section in sections:
                if self._closed:
                    return
                if section not in asked and (self.frozen or time.monotonic() < due[section]):
                    continue
                changed = self.look(section) or changed
                due[section] = time.monotonic() + PACE[section][0 if section in self._visible else 1]
                if changed and section == CONTAINERS:  # the first screen must not wait for the sections behind it
                    self._publish(self.snapshot)
                    changed = False
            if changed:
                self._publish(self.snapshot)
            now = time.monotonic()
            wake.wait(max(0.05, min(due[s] for s in sections) - now) if not self.frozen else 1.0)
