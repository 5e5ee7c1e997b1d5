"""``ps``, ``images``, ``network ls`` and ``volume ls``.

Owns their columns, fields, filters and order, which are docker's. Each listing turns the engine's frozen rows into
named fields and leaves the layout to ``table``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from engine.errors import EngineError, InvalidInput
from tui.command_line import human, table
from tui.command_line.filters import Filters
from tui.command_line.grammar import Command
from tui.command_line.session import Session
from tui.command_line.template_values import quote

if TYPE_CHECKING:
    from engine.containers.summary import ContainerSummary
    from engine.images.records import Image
    from engine.network.model import Network
    from engine.volumes.collection import Volume

SHORT_ID = 12
COMMAND_LENGTH = 20
NONE = "<none>"
STATES = ("created", "running", "paused", "restarting", "removing", "exited", "dead")

CONTAINER_HEADERS = {
    "ID": "CONTAINER ID",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "RunningFor": "CREATED",
    "CreatedAt": "CREATED AT",
    "Status": "STATUS",
    "State": "STATE",
    "Ports": "PORTS",
    "Names": "NAMES",
    "Labels": "LABELS",
    "Mounts": "MOUNTS",
    "Networks": "NETWORKS",
    "LocalVolumes": "LOCAL VOLUMES",
}
IMAGE_HEADERS = {
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "Digest": "DIGEST",
    "ID": "IMAGE ID",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "Size": "SIZE",
    "Containers": "CONTAINERS",
}
NETWORK_HEADERS = {
    "ID": "NETWORK ID",
    "Name": "NAME",
    "Driver": "DRIVER",
    "Scope": "SCOPE",
    "CreatedAt": "CREATED AT",
    "IPv6": "IPV6",
    "Internal": "INTERNAL",
    "Labels": "LABELS",
}
VOLUME_HEADERS = {
    "Driver": "DRIVER",
    "Name": "VOLUME NAME",
    "Scope": "SCOPE",
    "Mountpoint": "MOUNTPOINT",
    "Labels": "LABELS",
    "Size": "SIZE",
    "Links": "LINKS",
}


def short(identifier: str, full: bool) -> str:
    """An id as listings show it: twelve digits, or all of it."""
    return identifier if full else identifier.removeprefix("sha256:")[:SHORT_ID]


def containers(command: Command, session: Session) -> int:
    """``ps``: the newest first; ``-n`` and ``-l`` count containers of every state."""
    filters = Filters(
        command.all("filter"),
        ("ancestor", "exited", "id", "label", "name", "network", "status", "volume"),
    )
    for state in filters.values("status"):
        if state not in STATES:
            raise InvalidInput(f"invalid filter 'status={state}'", remedy="states: " + ", ".join(STATES))
    count = 1 if command.on("latest") else command.number("last") or -1
    every = command.on("all") or count > 0 or bool(filters.values("status"))
    rows = [
        row
        for row in session.engine.containers.summaries(all=every)
        if filters.search("name", row.name, f"/{row.name}")
        and filters.prefix("id", row.id)
        and filters.exact("status", row.state)
        and filters.exact("exited", str(row.exit_code) if row.state == "exited" else "")
        and filters.exact("network", row.network_mode if row.network_mode != "default" else "bridge")
        and filters.labels(row.labels)
        and _descends(filters, row, session)
        and _mounts(filters, row, session)
    ]
    rows.sort(key=lambda row: row.created, reverse=True)
    if count > 0:
        rows = rows[:count]
    full = command.on("no-trunc")
    lines = table.render(
        [container_fields(row, session, full) for row in rows],
        command.text("format"),
        headers=CONTAINER_HEADERS,
        kind="*formatter.ContainerContext",
        default=("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names"),
        quiet="ID" if command.on("quiet") else "",
    )
    session.lines(lines)
    return 0


def container_fields(row: ContainerSummary, session: Session, full: bool) -> table.Row:
    """The fields a template of ``ps`` may use."""
    text = row.command if full else human.ellipsis(row.command, COMMAND_LENGTH)

    def mounts() -> str:
        names = [
            mount.get("Name") or mount["Source"] for mount in session.engine.containers.get(row.id).attrs["Mounts"]
        ]
        return ",".join(name if full else human.ellipsis(name, 15) for name in names)

    def volumes() -> str:
        mounted = session.engine.containers.get(row.id).attrs["Mounts"]
        return str(sum(1 for mount in mounted if mount["Type"] == "volume"))

    return {
        "ID": short(row.id, full),
        "Image": short(row.image, full) if row.image.startswith("sha256:") else row.image,
        "Command": quote(text),
        "CreatedAt": human.stamp(row.created),
        "RunningFor": human.ago(row.created),
        "Status": row.status,
        "State": row.state,
        "Ports": row.ports,
        "Names": row.name,
        "Networks": "bridge" if row.network_mode == "default" else row.network_mode,
        "Mounts": mounts,
        "LocalVolumes": volumes,
        "Size": "0B",
        **_labels(row.labels),
    }


def images(command: Command, session: Session) -> int:
    """``images``: one line a name, the newest image first."""
    filters = Filters(command.all("filter"), ("before", "dangling", "label", "reference", "since"))
    patterns = [*filters.values("reference"), *command.operands]
    full = command.on("no-trunc")
    before = [session.engine.images.get(name).created for name in filters.values("before")]
    since = [session.engine.images.get(name).created for name in filters.values("since")]
    rows = []
    for image in sorted(
        session.engine.images.list(all=command.on("all")), key=lambda image: (image.created, image.id), reverse=True
    ):
        if not filters.truth("dangling", not image.names):
            continue
        if any(image.created >= moment for moment in before) or any(image.created <= moment for moment in since):
            continue
        if filters.values("label") and not filters.labels(session.engine.images.config(image.id).config.labels or {}):
            continue
        names = sorted(image.names) or [f"{NONE}:{NONE}"]
        for name in names:
            if not patterns or any(matches_reference(pattern, name) for pattern in patterns):
                rows.append(image_fields(image, name, full))
    digest = ("Digest",) if command.on("digests") else ()
    lines = table.render(
        rows,
        command.text("format"),
        headers=IMAGE_HEADERS,
        kind="*formatter.imageContext",
        default=("Repository", "Tag", *digest, "ID", "CreatedSince", "Size"),
        quiet="ID" if command.on("quiet") else "",
    )
    session.lines(dict.fromkeys(lines) if command.on("quiet") else lines)
    return 0


def image_fields(image: Image, name: str, full: bool) -> table.Row:
    """The fields a template of ``images`` may use."""
    repository, _, tag = name.rpartition(":")
    return {
        "Repository": repository,
        "Tag": tag,
        "Digest": NONE,
        "ID": short(image.id, full),
        "CreatedAt": human.stamp(image.created),
        "CreatedSince": human.ago(image.created),
        "Size": human.size(image.size, 3),
        "VirtualSize": human.size(image.size, 3),
        "SharedSize": "N/A",
        "UniqueSize": "N/A",
        "Containers": "N/A",
    }


def matches_reference(pattern: str, name: str) -> bool:
    """docker's match of a reference: a shell pattern for the name with or without its tag; ``*`` stops at a slash."""
    repository = name.rpartition(":")[0]
    expression = _glob(pattern)
    return expression.fullmatch(name) is not None or expression.fullmatch(repository) is not None


def networks(command: Command, session: Session) -> int:
    """``network ls``: by name."""
    filters = Filters(command.all("filter"), ("dangling", "driver", "id", "label", "name", "scope", "type"))
    full = command.on("no-trunc")
    found = [
        network
        for network in sorted(session.engine.networks.list(), key=lambda network: network.name)
        if filters.exact("driver", network.driver)
        and filters.prefix("id", network.id)
        and filters.search("name", network.name)
        and filters.exact("scope", "local")
        and filters.exact("type", "builtin" if network.name in ("bridge", "host", "none") else "custom")
        and filters.labels(network.labels)
        and (not filters.values("dangling") or filters.truth("dangling", _is_dangling(network, session)))
    ]
    lines = table.render(
        [network_fields(network, full) for network in found],
        command.text("format"),
        headers=NETWORK_HEADERS,
        kind="*formatter.networkContext",
        default=("ID", "Name", "Driver", "Scope"),
        quiet="ID" if command.on("quiet") else "",
    )
    session.lines(lines)
    return 0


def network_fields(network: Network, full: bool) -> table.Row:
    """The fields a template of ``network ls`` may use."""
    return {
        "ID": short(network.id, full),
        "Name": network.name,
        "Driver": network.driver,
        "Scope": "local",
        "CreatedAt": human.stamp(network.created),
        "IPv6": "false",
        "Internal": str(network.internal).lower(),
        **_labels(network.labels),
    }


def volumes(command: Command, session: Session) -> int:
    """``volume ls``: by name."""
    filters = Filters(command.all("filter"), ("dangling", "driver", "label", "name"))
    users = session.engine.volumes.users() if filters.values("dangling") else {}
    found = [
        volume
        for volume in session.engine.volumes.list()
        if filters.exact("driver", volume.driver)
        and filters.search("name", volume.name)
        and filters.labels(volume.labels)
        and filters.truth("dangling", volume.name not in users)
    ]
    lines = table.render(
        [volume_fields(volume) for volume in found],
        command.text("format"),
        headers=VOLUME_HEADERS,
        kind="*formatter.volumeContext",
        default=("Driver", "Name"),
        quiet="Name" if command.on("quiet") else "",
    )
    session.lines(lines)
    return 0


def volume_fields(volume: Volume) -> table.Row:
    """The fields a template of ``volume ls`` may use."""
    return {
        "Driver": volume.driver,
        "Name": volume.name,
        "Scope": "local",
        "Mountpoint": str(volume.mountpoint),
        "Size": "N/A",
        "Links": "N/A",
        **_labels(volume.labels),
    }


def _labels(labels: Mapping[str, str]) -> dict[str, object]:
    def label(key: str) -> str:
        return labels.get(key, "")

    return {"Labels": ",".join(f"{key}={value}" for key, value in sorted(labels.items())), "Label": label}


def _descends(filters: Filters, row: ContainerSummary, session: Session) -> bool:
    """``ancestor``: the container's image is this one or stands on its layers."""
    wanted = filters.values("ancestor")
    if not wanted:
        return True
    images = session.engine.images
    for name in wanted:
        try:
            base = images.get(name)
            layers = images.config(base.id).diff_ids
            if base.id == row.image_id or layers == images.config(row.image_id).diff_ids[: len(layers)] != ():
                return True
        except EngineError:
            # One of the two images is gone; what is left is the name the container was made with.
            if name == row.image:
                return True
    return False


def _mounts(filters: Filters, row: ContainerSummary, session: Session) -> bool:
    """``volume``: the container mounts this volume, or something at this path."""
    if not filters.values("volume"):
        return True
    mounted = session.engine.containers.get(row.id).attrs["Mounts"]
    return filters.exact(
        "volume", *[text for each in mounted for text in (each.get("Name"), each["Destination"]) if text]
    )


def _is_dangling(network: Network, session: Session) -> bool:
    builtin = network.name in ("bridge", "host", "none")
    return not builtin and not session.engine.networks.inspect(network.id)["Containers"]


def _glob(pattern: str) -> re.Pattern[str]:
    parts: list[str] = []
    translate: dict[str, str] = {"*": "[^/]*", "?": "[^/]"}
    escape: Callable[[str], str] = re.escape
    index = 0
    while index < len(pattern):
        character = pattern[index]
        close = pattern.find("]", index + 1)
        if character == "[" and close > 0:
            parts.append(pattern[index : close + 1])
            index = close
        else:
            parts.append(translate.get(character) or escape(character))
        index += 1
    try:
        return re.compile("".join(parts))
    except re.error:
        raise InvalidInput(f"invalid filter 'reference={pattern}': syntax error in pattern") from None
