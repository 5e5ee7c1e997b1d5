"""The rows of ``ps``: what is shown of every container at a glance, for a hundred of them in milliseconds.

Owns the words of the status column, the ports column and the filters, docker's all of them. Looks at exit files and
/proc besides the rows, so that a container whose end is being dealt with is shown as ended; an end nobody deals with is
dealt with here.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engine import durations
from engine.containers import exits
from engine.containers.record import Record, locked
from engine.errors import Conflict, InvalidInput, NotFound
from engine.host import processes
from engine.values import dataclass, replace

if TYPE_CHECKING:
    from engine.engine import Engine

FILTERS = ("id", "name", "label", "status", "ancestor", "exited", "network", "volume", "publish", "expose")
STATES = ("created", "running", "paused", "restarting", "exited", "removing", "dead")


@dataclass(frozen=True)
class ContainerSummary:
    """One container at a glance.

    ``created`` is RFC 3339; ``status`` the words of docker's column (``Up 3 minutes``), ``state`` one word; ``ports``
    docker's column; ``pid`` 0 and ``address`` empty unless it runs.
    """

    id: str
    name: str
    image: str
    image_id: str
    command: str
    created: str
    status: str
    state: str
    ports: str
    labels: Mapping[str, str]
    exit_code: int
    pid: int
    network_mode: str
    address: str
    mounts: tuple[str, ...] = ()
    error: str = ""
    started_at: str = ""
    finished_at: str = ""


def one(engine: Engine, record: Record) -> ContainerSummary:
    """The row of one container; NotFound when it was removed meanwhile."""
    found = _summaries(engine, [record])
    if not found:
        raise NotFound(f"No such container: {record.id}", remedy="it ended and was removed, as --rm asked")
    return found[0][1]


def rows(
    engine: Engine, *, all: bool, filters: Mapping[str, str | Iterable[str]], limit: int
) -> list[tuple[Record, ContainerSummary]]:
    """Newest first: those that are up, or every one with ``all``, a ``limit`` or a filter on the state."""
    wanted = {key: [value] if isinstance(value, str) else list(value) for key, value in filters.items()}
    unknown = set(wanted) - set(FILTERS)
    if unknown:
        raise InvalidInput(f"invalid filter '{sorted(unknown)[0]}'", remedy=f"there are {', '.join(FILTERS)}")
    for state in wanted.get("status", ()):
        if state not in STATES:
            raise InvalidInput(f"invalid filter 'status={state}'", remedy=f"a container is one of {', '.join(STATES)}")
    found = [
        (record, row)
        for record, row in _summaries(engine, engine.containers.records.all())
        if (
            all or limit or "status" in wanted or "exited" in wanted or row.state in ("running", "paused", "restarting")
        )
        and _matches(engine, record, row, wanted)
    ]
    return found[:limit] if limit else found


def _summaries(engine: Engine, records: list[Record]) -> list[tuple[Record, ContainerSummary]]:
    ended = set(_names(engine.config.run_dir / "exits"))
    boot = processes.boot_id() if any(record.is_up for record in records) else ""
    addresses: dict[str, str] = {}
    ports: dict[str, list[tuple[str, int, int, str]]] = {}
    if any(record.is_up for record in records):
        for row in engine.database.all("SELECT container, address FROM endpoints WHERE address IS NOT NULL"):
            addresses[row["container"]] = row["address"]
        for row in engine.database.all(
            "SELECT container, protocol, host_ip, host_port, container_port FROM port_reservations ORDER BY rowid"
        ):
            ports.setdefault(row["container"], []).append(
                (row["host_ip"], row["host_port"], row["container_port"], row["protocol"])
            )
    now = time.time()
    found = []
    for stored in records:
        record = _in_line(engine, stored, ended, boot) if stored.is_up else stored
        if record is None:
            continue
        config = record.config
        row_ports = ports_text(ports.get(record.id, ()), config.exposed) if record.is_up else ""
        found.append(
            (
                record,
                ContainerSummary(
                    id=record.id,
                    name=record.name,
                    image=config.image,
                    image_id=record.image,
                    command=command_text(config.arguments),
                    created=record.created,
                    status=status_text(record, now),
                    state=record.status,
                    ports=row_ports,
                    labels=config.labels,
                    exit_code=record.exit_code,
                    pid=record.pid,
                    network_mode=config.network_mode,
                    address=addresses.get(record.id, "") if record.is_up else "",
                    mounts=tuple(mount.source for mount in config.binds if mount.kind != "tmpfs"),
                    error=record.error,
                    started_at=record.started_at,
                    finished_at=record.finished_at,
                ),
            )
        )
    return found


def command_text(arguments: Sequence[str]) -> str:
    """The COMMAND column before it is cut: docker puts arguments with spaces, but not the program, in quotes."""
    program, *rest = arguments
    return " ".join([program, *(f"'{word}'" if " " in word else word for word in rest)])


def _names(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def _in_line(engine: Engine, record: Record, ended: set[str], boot: str) -> Record | None:
    """``record`` as its process shows it; None for one that ``--rm`` removed just now. Never waits for a lock."""
    if record.boot_id == boot and record.id not in ended and Path(f"/proc/{record.pid}").exists():
        return record
    if record.boot_id != boot or not processes.is_alive(record.conmon_pid, record.conmon_start):
        # No monitor, so no hook on its way: the end is ours to deal with, unless somebody already does.
        try:
            with locked(engine, record.id, timeout=0):
                fresh = engine.containers.records.get(record.id)
                return None if fresh is None else exits.settle(engine, fresh)
        except Conflict:
            fresh = engine.containers.records.get(record.id)
            if fresh is None or not fresh.is_up:
                return fresh
    if record.id not in ended:
        return record
    ending = exits.observe(engine, record)
    if ending is None:
        return record
    from engine.state.database import timestamp

    return replace(
        record,
        status="exited",
        exit_code=ending.code,
        finished_at=timestamp(ending.finished),
        pid=0,
        error=ending.error,
    )


def status_text(record: Record, now: float) -> str:
    """docker's STATUS column."""
    if record.is_up:
        up = f"Up {durations.in_words(now - exits.seconds(record.started_at))}"
        return f"{up} (Paused)" if record.status == "paused" else up
    ago = durations.in_words(now - exits.seconds(record.finished_at))
    if record.status == "restarting":
        return f"Restarting ({record.exit_code}) {ago} ago"
    if record.status == "removing":
        return "Removal In Progress"
    if record.status == "dead":
        return "Dead"
    if record.status == "created":
        return "Created"
    return f"Exited ({record.exit_code}) {ago} ago"


def ports_text(published: Iterable[tuple[str, int, int, str]], exposed: Iterable[str]) -> str:
    """docker's PORTS column: ``0.0.0.0:8000-8001->80-81/tcp, 443/tcp``; (host ip, host port, container port, protocol).

    Neighbouring ports of one kind are drawn together, as docker does.
    """
    lines: list[tuple[int, str]] = []
    taken: set[tuple[int, str]] = set()
    runs: list[list[int | str]] = []
    for host_ip, host_port, inside, protocol in sorted(
        published, key=lambda each: (each[3], each[0], each[2], each[1])
    ):
        taken.add((inside, protocol))
        last = runs[-1] if runs else None
        if (
            last is not None
            and last[0] == host_ip
            and last[1] == protocol
            and last[3] == host_port - 1
            and last[5] == inside - 1
        ):
            last[3], last[5] = host_port, inside
        else:
            runs.append([host_ip, protocol, host_port, host_port, inside, inside])
    for address, kind, first, final, low, high in runs:
        lines.append((int(low), f"{address}:{_span(first, final)}->{_span(low, high)}/{kind}"))
    bare: list[list[int | str]] = []
    for port, protocol in sorted(
        ((int(text.partition("/")[0]), text.partition("/")[2] or "tcp") for text in exposed),
        key=lambda each: each[::-1],
    ):
        if (port, protocol) in taken:
            continue
        if bare and bare[-1][0] == protocol and bare[-1][2] == port - 1:
            bare[-1][2] = port
        else:
            bare.append([protocol, port, port])
    lines += [(int(low), f"{_span(low, high)}/{protocol}") for protocol, low, high in bare]
    return ", ".join(text for _, text in sorted(lines, key=lambda each: each[0]))


def _span(first: int | str, last: int | str) -> str:
    return str(first) if first == last else f"{first}-{last}"


def _matches(engine: Engine, record: Record, row: ContainerSummary, wanted: Mapping[str, list[str]]) -> bool:
    """Values of one filter are alternatives, filters are all needed; labels are all needed, as in docker."""
    for key, values in wanted.items():
        if key == "label":
            if not all(_has_label(row.labels, value) for value in values):
                return False
        elif not any(_match(engine, record, row, key, value) for value in values):
            return False
    return True


def _has_label(labels: Mapping[str, str], wanted: str) -> bool:
    name, equals, value = wanted.partition("=")
    return name in labels and (not equals or labels[name] == value)


def _match(engine: Engine, record: Record, row: ContainerSummary, key: str, value: str) -> bool:
    if key == "id":
        return row.id.startswith(value)
    if key == "name":
        try:
            return re.search(value.removeprefix("/"), row.name) is not None
        except re.error as error:
            raise InvalidInput(
                f"invalid filter 'name={value}': {error}", remedy="it is a regular expression"
            ) from error
    if key == "status":
        return row.state == value
    if key == "exited":
        return row.state == "exited" and value.isdigit() and row.exit_code == int(value)
    if key == "ancestor":
        return row.image == value or row.image == f"{value}:latest" or _is_image(engine, row.image_id, value)
    if key == "network":
        return (row.network_mode or "default") in (value, "default" if value == "bridge" else value)
    if key == "volume":
        return any(value in (mount.source, mount.target) for mount in record.config.binds)
    port, _, protocol = value.partition("/")
    if key == "publish":
        return re.search(rf":{re.escape(port)}->.*{protocol or ''}", row.ports) is not None
    return f"{port}/{protocol or 'tcp'}" in record.config.exposed


def _is_image(engine: Engine, image_id: str, reference: str) -> bool:
    rows = engine.database.all("SELECT name FROM image_names WHERE image=?", (image_id,))
    names = {row["name"] for row in rows}
    bare = image_id.removeprefix("sha256:")
    return reference in names or f"{reference}:latest" in names or bare.startswith(reference.removeprefix("sha256:"))
