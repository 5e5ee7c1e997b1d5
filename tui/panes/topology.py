"""The picture of the network: outside interfaces, published ports, bridges, ports, containers.

Owns the drawing, in two forms: below 100 columns a tree with bridges as headings, above it a picture read from left
(outside) to right (container). One line per port in both, so a change paints one line. Pure below the class.
"""

from __future__ import annotations

from collections.abc import Sequence

from tui import wording
from tui.feed import TOPOLOGY, BridgeRow, OutsideRow, PortRow, Published, Snapshot, Topology
from tui.glyphs import Glyphs
from tui.panes.pane import Item, Pane
from tui.widgets.rows import Cell, Column, Row

WIDE = 100


class TopologyPane(Pane):
    """Bridges and what hangs on them."""

    KIND, NUMBER, TITLE, SECTION, CHAIN = "view", "6", "Network view", TOPOLOGY, "view"

    def columns(self, width: int) -> Sequence[Column]:
        if width >= WIDE:
            return (
                Column("outside", "OUTSIDE", 14, flex=1, limit=20),
                Column("rail", "PUBLISHED", 18, flex=2, limit=29),
                Column("bridge", "BRIDGE", 16, flex=1, limit=24),
                Column("port", "PORT", 20),
                Column("container", "CONTAINER", 10, flex=6, limit=28),
                Column("address", "ADDRESS", 14, rank=1),
                Column("inside", "INSIDE", 9, rank=4),
                Column("received", "RX/S", 5, rank=2, align="right"),
                Column("sent", "TX/S", 5, rank=2, align="right"),
                Column("dropped", "DROPS", 5, rank=5, align="right"),
            )
        return (
            Column("tree", "", 1),
            Column("container", "CONTAINER", 11, flex=3, limit=28),
            Column("address", "ADDRESS", 12, rank=1),
            Column("port", "PORT", 11, rank=4),
            Column("state", "STATE", 6),
            Column("published", "PUBLISHED", 11, flex=1, limit=36),
            Column("received", "RX/S", 5, rank=3, align="right"),
            Column("sent", "TX/S", 5, rank=3, align="right"),
        )

    def objects(self, snapshot: Snapshot) -> list[Item]:
        return [
            Item(f"{bridge.name}/{port.name}", (bridge, port), _words(bridge, port))
            for bridge in snapshot.topology.bridges
            for port in bridge.ports
        ]

    def rebuild(self) -> None:
        width = self.listing.size.width
        if width <= 1:
            return
        kept = {item.key for item in self.select(self.objects(self.snapshot))}
        self.items = {item.key: item for item in self.objects(self.snapshot) if item.key in kept}
        self.listing.set_columns(self.columns(width - 2))
        self.listing.empty = self._empty_words(bool(self.snapshot.topology.bridges))
        glyphs: Glyphs = self.app.glyphs  # type: ignore[attr-defined]
        drawing = picture if width - 2 >= WIDE else tree
        self.listing.set_rows(drawing(self.snapshot.topology, kept, glyphs))
        self.paint_head()

    def summary(self, snapshot: Snapshot) -> list[Cell]:
        ports = [port for bridge in snapshot.topology.bridges for port in bridge.ports]
        published = sum(len(port.published) for port in ports)
        down = sum(1 for port in ports if port.state != "up")
        cells = [
            Cell(
                f"{wording.plural(len(snapshot.topology.bridges), 'bridge')}  {wording.plural(len(ports), 'port')}",
                "dim",
            ),
            Cell(f"  {published} published", "quiet" if published else "dim"),
        ]
        if down:
            cells.append(Cell(f"  {down} down", "bad"))
        return cells

    def nothing(self) -> str:
        return "no bridge: R runs a container, and docker0 appears"


def _words(bridge: BridgeRow, port: PortRow) -> str:
    published = " ".join(each.outside for each in port.published)
    names = " ".join((port.container, *port.joined))
    return f"{bridge.name} {port.name} {names} {port.address} {port.state} {published}".lower()


def _state(port: PortRow, glyphs: Glyphs) -> Cell:
    return Cell(f"{glyphs.good} up", "ok") if port.state == "up" else Cell(f"{glyphs.bad} {port.state}", "bad")


def _name(port: PortRow) -> Cell:
    if not port.container:
        return Cell("(not ours)", "faint")
    sharing = f" +{len(port.joined)}" if port.joined else ""
    return Cell(port.container + sharing, "warn" if port.container_state == "paused" else "text")


def _published(published: Sequence[Published], glyphs: Glyphs) -> str:
    """``17000→27017 +2``; tcp and an equal port inside go without saying."""
    if not published:
        return ""
    first = published[0]
    host = f"{first.host_ip}:" if first.host_ip else ""
    more = f" +{len(published) - 1}" if len(published) > 1 else ""
    protocol = f"/{first.protocol}" if first.protocol != "tcp" else ""
    inside = f"{glyphs.arrow}{first.container_port}" if first.container_port != first.host_port else ""
    return f"{host}{first.host_port}{inside}{protocol}{more}"


def _flow(value: float) -> Cell:
    return Cell(wording.rate(value), "accent" if value >= 1 else "faint")


def _title(bridge: BridgeRow, glyphs: Glyphs) -> tuple[Cell, ...]:
    up = bridge.state == "up"
    cells = [
        Cell(f"{glyphs.bridge} ", "info"),
        Cell(bridge.name, "key"),
        Cell(f"  {bridge.address}", "text"),
        Cell(f"  {bridge.state.upper()}", "ok" if up else "dim"),
        Cell(f"  mtu {bridge.mtu}", "dim"),
    ]
    cells.append(
        Cell(f"  network {bridge.owner}" if bridge.owner else "  not ours", "quiet" if bridge.owner else "faint")
    )
    if not bridge.ports:
        cells.append(Cell("  no ports", "faint"))
    return tuple(cells)


def tree(topology: Topology, kept: set[str], glyphs: Glyphs) -> list[Row]:
    """The narrow drawing: each bridge a heading, its ports below it."""
    rows: list[Row] = []
    for outside in topology.outside:
        cells = (
            Cell(f"{glyphs.up} ", "dim"),
            Cell(outside.name, "title"),
            Cell(f"  {outside.address}", "text"),
            Cell(f"  {outside.state.upper()}", "ok" if outside.state == "up" else "bad"),
            Cell(f"  mtu {outside.mtu}  outside", "dim"),
        )
        rows.append(Row(f"outside/{outside.name}", cells, span=True, selectable=False))
    for bridge in topology.bridges:
        ports = [port for port in bridge.ports if f"{bridge.name}/{port.name}" in kept]
        rows.append(Row(f"bridge/{bridge.name}", _title(bridge, glyphs), span=True, selectable=False))
        for port in ports:
            branch = glyphs.last_branch if port is ports[-1] else glyphs.branch
            columns = (
                Cell(branch, "info"),
                _name(port),
                Cell(port.address.partition("/")[0], "dim"),
                Cell(port.name, "faint"),
                _state(port, glyphs),
                Cell(_published(port.published, glyphs), "quiet"),
                _flow(port.received),
                _flow(port.sent),
            )
            rows.append(Row(f"{bridge.name}/{port.name}", columns))
    rows += _others(topology, glyphs)
    return rows


def _others(topology: Topology, glyphs: Glyphs) -> list[Row]:
    return [
        Row(
            f"other/{name}",
            (Cell(f"{glyphs.separator} ", "faint"), Cell(name), Cell(f"  {_mode(mode)}", "dim")),
            span=True,
            selectable=False,
        )
        for name, mode in topology.others
    ]


def _mode(mode: str) -> str:
    if mode == "host":
        return "on the host's own network"
    if mode == "none":
        return "without a network"
    return f"shares the network of {mode.partition(':')[2] or mode}"


def picture(topology: Topology, kept: set[str], glyphs: Glyphs) -> list[Row]:
    """The wide drawing: outside, published ports, bridge, port, container, side by side."""
    lines: list[tuple[str, BridgeRow, int, PortRow | None, Published | None]] = []
    for bridge in topology.bridges:
        position = 0
        for port in bridge.ports:
            if f"{bridge.name}/{port.name}" not in kept:
                continue
            lines.append((f"{bridge.name}/{port.name}", bridge, position, port, next(iter(port.published), None)))
            position += 1
            for number, published in enumerate(port.published[1:], 1):
                lines.append((f"{bridge.name}/{port.name}/{number}", bridge, position, None, published))
                position += 1
        while position < 2:
            lines.append((f"{bridge.name}/+{position}", bridge, position, None, None))
            position += 1
    outside = _outside(topology.outside)
    while lines and len(lines) < len(outside):
        lines.append((f"outside/{len(lines)}", BridgeRow(""), 9, None, None))
    last = max((index for index, line in enumerate(lines) if line[4]), default=-1)
    rows: list[Row] = []
    for index, (key, bridge, position, end, opened) in enumerate(lines):
        first = outside[index] if index < len(outside) else Cell("")
        cells = [first, _rail(index, last, opened, glyphs), _bridge_cell(bridge, position, glyphs)]
        if end is not None:
            plug = f"{glyphs.link}{glyphs.link if end.state == 'up' else glyphs.bad}{glyphs.link}"
            cells += [
                Cell(f"{plug} {end.name} {end.state.upper()}", "ok" if end.state == "up" else "bad"),
                _name(end),
                Cell(end.address, "dim"),
            ]
        else:
            cells += [Cell(""), Cell(""), Cell("")]
        cells.append(Cell(_inside(opened), "quiet"))
        if end is not None:
            cells += [
                _flow(end.received),
                _flow(end.sent),
                Cell(str(end.dropped), "warn" if end.dropped else "faint"),
            ]
        rows.append(Row(key, tuple(cells), selectable=end is not None))
        final = index + 1 == len(lines) or lines[index + 1][1] is not bridge
        if final and index + 1 < len(lines) and lines[index + 1][1].name:
            rail = Cell(glyphs.vertical if index < last else "", "faint")
            rows.append(Row(f"{key}/gap", (Cell(""), rail), selectable=False))
    rows += _others(topology, glyphs)
    return rows


def _inside(published: Published | None) -> str:
    """The container's side of a published port; tcp goes without saying."""
    if published is None:
        return ""
    return f":{published.container_port}" + (f"/{published.protocol}" if published.protocol != "tcp" else "")


def _outside(rows: Sequence[OutsideRow]) -> list[Cell]:
    cells: list[Cell] = []
    for row in rows:
        cells.append(Cell(f"{row.name} {row.state.upper()} {row.mtu}", "text" if row.state == "up" else "bad"))
        if row.address:
            cells.append(Cell(row.address, "dim"))
    return cells


def _rail(index: int, last: int, published: Published | None, glyphs: Glyphs) -> Cell:
    """The published port on its way from the rail of the outside to the bridge."""
    if published is None:
        return Cell(glyphs.vertical if index < last else "", "faint")
    corner = glyphs.last_branch if index == last else glyphs.branch
    return Cell(f"{corner}{glyphs.link} {published.outside} {glyphs.link}{glyphs.arrow}", "quiet")


def _bridge_cell(bridge: BridgeRow, position: int, glyphs: Glyphs) -> Cell:
    if not bridge.name:
        return Cell("")
    words = (bridge.name, f"{bridge.address}", f"{bridge.state.upper()} {bridge.mtu}")
    text = words[position] if position < len(words) else ""
    return Cell(f"{glyphs.bridge} {text}", "key" if position == 0 else "dim")
