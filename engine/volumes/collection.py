"""Named volumes: directories that outlive containers.

Owns the ``volumes`` table and ``DATA_ROOT/volumes/NAME/_data``. Never mounts anything and never writes a container's
row; it reads those rows to know who uses a volume. A directory without a row is what a crash left of a creation or a
removal: it is never listed, and the next creation of that name or the next ``prune`` clears it away.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.config import Config
from engine.errors import Conflict, HostError, InvalidInput, NotFound, Unsupported
from engine.host import mounts
from engine.state.database import Database, timestamp
from engine.state.events import Events
from engine.state.locks import Locks
from engine.values import dataclass, field
from engine.volumes import population

DRIVER = "local"
DATA = "_data"
ANONYMOUS_LABEL = "com.docker.volume.anonymous"
NAME_LIMIT = 255

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")


@dataclass(frozen=True)
class Volume:
    """One volume as it is now; ``created`` is RFC 3339, ``mountpoint`` the directory a container gets."""

    name: str
    driver: str
    created: str
    mountpoint: Path
    labels: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    anonymous: bool = False

    @property
    def attrs(self) -> dict[str, Any]:
        """What ``docker volume inspect`` prints for it."""
        return {
            # docker prints whole seconds here, unlike everywhere else.
            "CreatedAt": re.sub(r"\.\d+", "", self.created),
            "Driver": self.driver,
            "Labels": dict(self.labels) or None,
            "Mountpoint": str(self.mountpoint),
            "Name": self.name,
            "Options": dict(self.options) or None,
            "Scope": "local",
        }


@dataclass(frozen=True)
class Pruned:
    """What a prune removed; ``reclaimed`` in bytes."""

    names: tuple[str, ...]
    reclaimed: int


def check_name(name: str) -> str:
    """``name`` itself when docker would take it for a local volume; InvalidInput otherwise."""
    if len(name) == 1 and name.isascii() and name.isalnum():
        raise InvalidInput("volume name is too short, names should be at least two alphanumeric characters")
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f'create {name}: "{name}" includes invalid characters for a local volume name, '
            'only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed',
            remedy="if you meant a directory of the host, use an absolute path",
        )
    if len(name) > NAME_LIMIT:
        raise InvalidInput(f"volume name is too long: {len(name)} characters, {NAME_LIMIT} are allowed")
    return name


class Volumes:
    """The volumes of one data root."""

    def __init__(self, config: Config, database: Database, locks: Locks, events: Events) -> None:
        self.directory = config.data_root / "volumes"
        self._database = database
        self._locks = locks
        self._events = events

    def create(
        self,
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
        *,
        driver: str = DRIVER,
        options: Mapping[str, str] | None = None,
        anonymous: bool = False,
    ) -> Volume:
        """Make a volume, or return the one that has this name already, as docker does.

        Without a name it is an anonymous one with 64 hex digits; ``anonymous`` marks one whose name its container
        chose. Call it after the container's row that names the
        volume is saved: from then on ``remove`` refuses.
        """
        if driver != DRIVER:
            raise NotFound(
                f'create {name or ""}: error looking up volume plugin {driver}: plugin "{driver}" not found',
                remedy=f"the only volume driver is {DRIVER}",
            )
        if options:
            raise Unsupported(
                f"create {name or ''}: options of the local driver are not supported: {', '.join(sorted(options))}",
                remedy="mount the file system on the host and use it as a bind mount: -v /HOST/DIR:/CONTAINER/DIR",
            )
        anonymous = anonymous or not name
        name = check_name(name) if name else os.urandom(32).hex()
        tags = dict(labels or {})
        if anonymous:
            tags.setdefault(ANONYMOUS_LABEL, "")
        with self._locks.hold("volume", name):
            row = self._row(name)
            if row is not None:
                return self._volume(row)
            home = self.directory / name
            self._discard(home)
            try:
                self.directory.mkdir(mode=0o701, parents=True, exist_ok=True)
                home.mkdir(mode=0o701)
                (home / DATA).mkdir(mode=0o755)
                # The umask must not decide who may read a volume.
                (home / DATA).chmod(0o755)
            except OSError as error:
                raise HostError(
                    f"creating volume {name}", error.strerror, remedy="see whether the disk of the data root is full"
                ) from error
            settings = json.dumps({"labels": tags, "options": {}, "anonymous": anonymous})
            try:
                with self._database.transaction() as connection:
                    connection.execute(
                        "INSERT INTO volumes(name, driver, created, config) VALUES(?,?,?,?)",
                        (name, driver, timestamp(), settings),
                    )
                    self._events.emit("volume", "create", name, {"driver": driver})
            except BaseException:
                self._discard(home)
                raise
            return self.get(name)

    def get(self, name: str) -> Volume:
        """The volume of this exact name; NotFound in docker's words."""
        row = self._row(name)
        if row is None:
            raise NotFound(f"get {name}: no such volume", remedy="see `pilothouse volume ls`")
        return self._volume(row)

    def list(self) -> list[Volume]:
        """All volumes by name."""
        return [self._volume(row) for row in self._database.all("SELECT * FROM volumes ORDER BY name")]

    def inspect(self, name: str) -> dict[str, Any]:
        """docker's JSON of one volume."""
        return self.get(name).attrs

    def path(self, name: str) -> Path:
        """The directory to mount; a population that a crash interrupted is finished first."""
        volume = self.get(name)
        home = volume.mountpoint.parent
        if (home / population.COMPLETE).exists() or (home / population.STAGING).exists():
            with self._locks.hold("volume", name):
                population.resume(home, volume.mountpoint)
        return volume.mountpoint

    def populate(self, name: str, source: Path) -> bool:
        """Copy the directory ``source`` (the mount point as the image has it) into the volume if that is empty.

        Content keeps owner, mode, times, xattrs and hard links, and the volume's root takes the owner and mode of
        ``source``. True when something was done; a ``source`` that is missing or no directory leaves the volume be.
        """
        with self._locks.hold("volume", name):
            data = self.get(name).mountpoint
            population.resume(data.parent, data)
            if source.is_symlink() or not source.is_dir() or not population.is_empty(data):
                return False
            population.populate(source, data.parent, data)
            return True

    def users(self) -> dict[str, tuple[str, ...]]:
        """Ids of the containers, running or not, that mount each volume; volumes nobody uses are absent."""
        found: dict[str, list[str]] = {}
        for row in self._database.all("SELECT id, config FROM containers ORDER BY created"):
            for name in _mounted(json.loads(row["config"])):
                if row["id"] not in found.setdefault(name, []):
                    found[name].append(row["id"])
        return {name: tuple(ids) for name, ids in found.items()}

    def usage(self, name: str) -> int:
        """Bytes the volume's files take on disk; a hard-linked file counts once."""
        return _disk_usage(self.get(name).mountpoint)

    def remove(self, name: str, force: bool = False) -> None:
        """Remove a volume and its content; Conflict while any container names it.

        ``force`` accepts a volume that is not there; it never takes one away from a container.
        """
        with self._locks.hold("volume", name):
            if force and self._row(name) is None:
                return
            volume = self.get(name)
            home = volume.mountpoint.parent
            inside = mounts.points(home)
            if inside:
                raise Conflict(f"remove {name}: {inside[0]} is a mount point", remedy=f"unmount it: umount {inside[0]}")
            with self._database.transaction() as connection:
                # Inside the write transaction: a container that is being created has its row already, or not yet.
                users = self.users().get(name, ())
                if users:
                    raise Conflict(
                        f"remove {name}: volume is in use - [{', '.join(users)}]",
                        remedy="remove these containers first: pilothouse rm "
                        + " ".join(identifier[:12] for identifier in users),
                    )
                connection.execute("DELETE FROM volumes WHERE name=?", (name,))
                self._events.emit("volume", "destroy", name, {"driver": volume.driver})
            self._discard(home)
            self._locks.forget("volume", name)

    def prune(self, all: bool = False, labels: Mapping[str, str | None] | None = None) -> Pruned:
        """Remove volumes no container names: the anonymous ones, or with ``all`` the named ones too.

        ``labels`` keeps only volumes that carry each key (with that value, where one is given).
        """
        removed, reclaimed = [], 0
        for volume in self.list():
            if not (all or volume.anonymous) or not carries(volume.labels, labels or {}):
                continue
            if volume.name in self.users():
                continue
            size = _disk_usage(volume.mountpoint)
            try:
                self.remove(volume.name)
            except (Conflict, NotFound):
                continue
            removed.append(volume.name)
            reclaimed += size
        self._sweep()
        return Pruned(tuple(removed), reclaimed)

    def _sweep(self) -> None:
        """Clear away directories that have no row and that nobody is working on."""
        if not self.directory.is_dir():
            return
        for home in self.directory.iterdir():
            if self._row(home.name) is not None or not home.is_dir():
                continue
            try:
                with self._locks.hold("volume", home.name, timeout=0):
                    if self._row(home.name) is None:
                        self._discard(home)
                        self._locks.forget("volume", home.name)
            except Conflict:
                continue

    def _discard(self, home: Path) -> None:
        try:
            population.discard(home)
        except OSError as error:
            raise HostError(f"removing the files of volume {home.name}", error.strerror) from error

    def _row(self, name: str) -> sqlite3.Row | None:
        return self._database.one("SELECT * FROM volumes WHERE name=?", (name,))

    def _volume(self, row: sqlite3.Row) -> Volume:
        settings = json.loads(row["config"])
        return Volume(
            name=row["name"],
            driver=row["driver"],
            created=row["created"],
            mountpoint=self.directory / row["name"] / DATA,
            labels=settings.get("labels", {}),
            options=settings.get("options", {}),
            anonymous=settings.get("anonymous", False),
        )


def carries(labels: Mapping[str, str], wanted: Mapping[str, str | None]) -> bool:
    """True when ``labels`` has every wanted key, and its value where one is asked for."""
    return all(key in labels and (value is None or labels[key] == value) for key, value in wanted.items())


def _mounted(config: Mapping[str, Any]) -> list[str]:
    """Names of the volumes that a container's stored configuration mounts (``ContainerConfig.to_json``)."""
    return [mount["source"] for mount in config.get("binds", ()) if mount["kind"] == "volume" and mount.get("source")]


def _disk_usage(root: Path) -> int:
    total = 0
    seen: set[tuple[int, int]] = set()
    pending = [os.fspath(root)]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    facts = entry.stat(follow_symlinks=False)
                    if (facts.st_dev, facts.st_ino) in seen:
                        continue
                    seen.add((facts.st_dev, facts.st_ino))
                    total += facts.st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
        except FileNotFoundError:
            # A container removed it while we were counting.
            continue
    return total
