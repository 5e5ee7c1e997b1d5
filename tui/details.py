"""What the tabs of the detail panel say.

Owns the list of tabs per kind of object and the text of each, read from the engine. Called in a thread; returns lines
that are safe to paint.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tui import wording
from tui.feed import ContainerRow, EventRow, ImageRow, NetworkRow, RuleRow, VolumeRow
from tui.sanitize import plain
from tui.widgets.text import TextLine

if TYPE_CHECKING:
    from engine.engine import Engine
    from tui.panes.pane import Item

_TABS: Mapping[str, tuple[str, ...]] = {
    "containers": ("logs", "config", "inspect", "mounts", "network"),
    "images": ("layers", "config", "inspect"),
    "networks": ("inspect",),
    "volumes": ("inspect",),
    "firewall": ("rule",),
}


def tabs(kind: str) -> tuple[str, ...]:
    """The tabs for a kind of object, first the one that opens."""
    return _TABS.get(kind, ())


def name(value: Any) -> str:
    """What an object is called in the title."""
    if isinstance(value, ImageRow):
        return value.names[0] if value.names else value.id.removeprefix("sha256:")[:12]
    if isinstance(value, RuleRow):
        return f"{value.table} {value.chain} {value.number}"
    if isinstance(value, (ContainerRow, NetworkRow, VolumeRow)):
        return value.name
    return value.what if isinstance(value, EventRow) else ""


def marker(value: Any) -> Any:
    """What must differ before a tab is read again: not the load figures, which differ every second."""
    if isinstance(value, ContainerRow):
        return (value.id, value.state, value.started, value.name, value.address)
    if isinstance(value, RuleRow):
        return (value.key, value.text)
    return value


def load(engine: Callable[[], Engine], kind: str, item: Item, tab: str) -> list[TextLine]:
    """The lines of one tab; raises the engine's errors."""
    if kind == "firewall":
        return rule(item.value)
    if kind == "containers":
        attrs = engine().containers.get(item.key).attrs
        if tab == "config":
            return configuration(attrs, network=item.value.network)
        if tab == "network":
            return network(attrs, item.value.network)
        return mounts(attrs) if tab == "mounts" else structure(attrs)
    if kind == "images":
        if tab == "layers":
            return layers(engine().images.history(item.key))
        attrs = engine().images.inspect(item.key)
        return structure(attrs) if tab == "inspect" else configuration(attrs)
    if kind == "networks":
        return structure(engine().networks.inspect(item.key))
    return structure(engine().volumes.inspect(item.key))


# texts


def structure(value: Any) -> list[TextLine]:
    """JSON as docker's ``inspect`` prints it, four spaces a level."""
    return [TextLine(plain(line).expandtabs(), _json_tone(line)) for line in json.dumps(value, indent=4).splitlines()]


def _json_tone(line: str) -> str:
    body = line.strip().rstrip(",")
    if body.endswith(("null", "[]", "{}", '""')):
        return "faint"
    return "dim" if body in ("{", "}", "[", "]") else "text"


def pairs(rows: Iterable[tuple[str, str]]) -> list[TextLine]:
    """Label and value lines; empty values say so."""
    rows = list(rows)
    width = max((len(label) for label, _ in rows), default=0)
    return [
        TextLine(f"{label:<{width}}  {plain(value, lines=False) or '-'}", "text" if value else "faint")
        for label, value in rows
    ]


def heading(text: str) -> TextLine:
    """A heading inside a text."""
    return TextLine(text, "key")


def _words(value: Any) -> str:
    if isinstance(value, str):
        return value
    return " ".join(str(part) for part in value) if isinstance(value, Sequence) else str(value or "")


def configuration(attrs: Mapping[str, Any], *, network: str = "") -> list[TextLine]:
    """What a container or an image runs, how, and with which environment.

    ``network`` is the mode with a joined container's name; docker's JSON has its id.
    """
    config = attrs.get("Config") or {}
    host = attrs.get("HostConfig") or {}
    state = attrs.get("State") or {}
    rows: list[tuple[str, str]] = []
    if state:
        rows += [
            ("id", str(attrs.get("Id", ""))[:12]),
            ("image", _words(config.get("Image"))),
            ("state", f"{state.get('Status', '')}  pid {state.get('Pid', 0)}"),
            ("started", str(state.get("StartedAt", ""))[:19].replace("T", " ")),
        ]
        if state.get("Error"):
            rows.append(("error", str(state["Error"])))
    rows += [
        ("entrypoint", _words(config.get("Entrypoint"))),
        ("command", _words(config.get("Cmd"))),
        ("directory", _words(config.get("WorkingDir"))),
        ("user", _words(config.get("User")) or "root"),
    ]
    if host:
        policy = host.get("RestartPolicy") or {}
        limits = [
            f"memory {wording.memory(host['Memory'])}" if host.get("Memory") else "",
            f"cpus {host['NanoCpus'] / 1e9:g}" if host.get("NanoCpus") else "",
            f"pids {host['PidsLimit']}" if (host.get("PidsLimit") or 0) > 0 else "",
        ]
        rows += [
            ("hostname", _words(config.get("Hostname"))),
            ("network", network or _words(host.get("NetworkMode"))),
            ("restart", _words(policy.get("Name")) or "no"),
            ("limits", "  ".join(limit for limit in limits if limit) or "none"),
            ("privileged", "yes" if host.get("Privileged") else "no"),
        ]
    exposed = config.get("ExposedPorts") or {}
    rows.append(("exposed", " ".join(sorted(exposed))))
    lines = pairs(rows)
    environment = config.get("Env") or []
    if environment:
        lines += [TextLine(""), heading("environment")]
        lines += [TextLine(plain(f"  {each}", lines=False)) for each in environment]
    labels = config.get("Labels") or {}
    if labels:
        lines += [TextLine(""), heading("labels")]
        lines += [TextLine(plain(f"  {key}={value}", lines=False)) for key, value in sorted(labels.items())]
    return lines


def mounts(attrs: Mapping[str, Any]) -> list[TextLine]:
    """Binds, volumes and tmpfs."""
    found = attrs.get("Mounts") or []
    lines = [
        TextLine(
            plain(
                f"{each.get('Type', ''):<7} {each.get('Name') or each.get('Source', '')} on {each.get('Destination')}"
                f"  {'read-write' if each.get('RW', True) else 'read-only'}",
                lines=False,
            )
        )
        for each in found
    ]
    for target in (attrs.get("HostConfig") or {}).get("Tmpfs") or {}:
        lines.append(TextLine(plain(f"tmpfs   on {target}", lines=False)))
    return lines or [TextLine("nothing is mounted into it", "faint")]


def network(attrs: Mapping[str, Any], mode: str = "") -> list[TextLine]:
    """Endpoints and published ports, or whose network it is where it has none of its own."""
    settings = attrs.get("NetworkSettings") or {}
    lines: list[TextLine] = []
    for title, endpoint in (settings.get("Networks") or {}).items():
        lines.append(heading(plain(str(title), lines=False)))
        address = endpoint.get("IPAddress") or ""
        if address:
            address += f"/{endpoint.get('IPPrefixLen', '')}"
        lines += pairs(
            [
                ("  address", address),
                ("  gateway", str(endpoint.get("Gateway") or "")),
                ("  mac", str(endpoint.get("MacAddress") or "")),
            ]
        )
    ports = settings.get("Ports") or {}
    if ports:
        lines += [TextLine(""), heading("ports")]
    for inside, bindings in sorted(ports.items()):
        for binding in bindings or []:
            lines.append(TextLine(f"  {binding.get('HostIp') or '0.0.0.0'}:{binding.get('HostPort', '')} to {inside}"))
        if not bindings:
            lines.append(TextLine(f"  {inside} is exposed, not published", "faint"))
    kind, _, owner = mode.partition(":")
    elsewhere = {"container": f"shares the network of {owner}", "host": "on the host's own network",
                 "none": "without a network"}  # fmt: skip
    return lines or [TextLine(elsewhere.get(kind, "no network settings"), "faint")]


def layers(rows: Iterable[Any]) -> list[TextLine]:
    """An image's history, newest first, with the size of each layer."""
    lines = [TextLine(f"{'SIZE':>8}  MADE BY", "faint")]
    for row in rows:
        made = plain(str(row.created_by or row.comment or ""), lines=False)
        lines.append(
            TextLine(f"{wording.size(row.size) if row.size else '-':>8}  {made}", "text" if row.size else "dim")
        )
    return lines


def rule(row: RuleRow) -> list[TextLine]:
    """One firewall rule in full."""
    lines = pairs(
        [
            ("backend", row.backend),
            ("table", row.table),
            ("chain", row.chain + (f"  reached from {row.hook}" if row.hook else "")),
            ("number", str(row.number) if row.number else "policy"),
            ("packets", f"{row.packets:,}"),
            ("bytes", f"{row.bytes:,}"),
            ("meaning", row.meaning),
            ("container", row.owner),
        ]
    )
    return [*lines, TextLine(""), heading("as iptables-save prints it"), TextLine(f"-A {row.chain} {row.text}")]
