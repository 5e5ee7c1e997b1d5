"""The copying driver: every layer and every writable directory is a full tree.

Owns ``ROOT/dir/ID`` (the tree) and ``ROOT/info/ID.*``. Needs nothing of the host but a file system, so it is the
fallback where no overlay can be mounted; it costs a copy per layer.
"""

# ruff: noqa: PTH101, PTH102, PTH115, PTH211 - strings and descriptors: a Path per file costs more than the file.

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from engine.errors import Conflict, HostError, NotFound
from engine.host import rooted
from engine.storage import difference, whiteouts
from engine.storage.content_copy import copy_content
from engine.storage.driver import NO_SPACE_REMEDY, Change, Driver, Probe


class Vfs(Driver):
    """Layers and writable directories as full copies."""

    name = "vfs"

    @staticmethod
    def probe(root: Path) -> Probe:
        """Usable wherever a directory can be made."""
        if os.access(root.parent, os.W_OK) or os.access(root.parent.parent, os.W_OK):
            return Probe(True)
        return Probe(False, f"{root.parent} is not writable")

    def create(self, id: str, parent: str | None) -> None:
        tree = self._tree(id)
        (self.root / "dir").mkdir(parents=True, exist_ok=True, mode=0o700)
        (self.root / "info").mkdir(parents=True, exist_ok=True, mode=0o700)
        if parent is not None and not self._tree(parent).is_dir():
            raise NotFound(
                f"storage directory {parent} does not exist", remedy="remove and load or build the image again"
            )
        try:
            tree.mkdir()
        except FileExistsError as error:
            raise Conflict(f"storage directory {id} exists already") from error
        try:
            tree.chmod(0o755)
            if parent is not None:
                (self.root / "info" / f"{id}.parent").write_text(parent)
                _Copy().tree(str(self._tree(parent)), str(tree))
            self._seal_time(id)
        except OSError as error:
            self.remove(id)
            raise HostError(f"copying layer {parent} to {id}", error.strerror, remedy=NO_SPACE_REMEDY) from error

    def mount(self, id: str) -> Path:
        tree = self._tree(id)
        if not tree.is_dir():
            raise NotFound(f"storage directory {id} does not exist")
        return tree

    def unmount(self, id: str) -> None:
        self.check(id)

    def remove(self, id: str) -> None:
        try:
            rooted.remove(str(self._tree(id)))
            for kind in ("parent", "made"):
                (self.root / "info" / f"{id}.{kind}").unlink(missing_ok=True)
        except OSError as error:
            raise HostError(f"removing storage directory {id}", error.strerror) from error

    def apply(self, id: str, tar: BinaryIO) -> int:
        from engine.storage.unpack import Deletions, source_of, unpack  # as pack below: most verbs move no layer

        return unpack(source_of(tar), self._tree(id), Deletions.REMOVE)

    def changes(self, id: str) -> Iterator[Change]:
        found = [Change(node.kind, f"/{node.path}") for node in self._nodes(id) if node.path]
        yield from sorted(found, key=lambda change: os.fsencode(change.path))

    def diff(self, id: str, out: BinaryIO) -> int:
        from engine.storage.pack import pack

        return pack(self._nodes(id), out)

    def usage(self, id: str) -> int:
        total = 0
        seen: set[int] = set()
        for node in self._nodes(id):
            status = node.status
            if status is not None and stat.S_ISREG(status.st_mode) and status.st_ino not in seen:
                seen.add(status.st_ino)
                total += status.st_size
        return total

    def describe(self, id: str) -> dict[str, str]:
        self.check(id)
        return {}

    def parent(self, id: str) -> str | None:
        self.check(id)
        try:
            return (self.root / "info" / f"{id}.parent").read_text() or None
        except OSError:
            return None

    def ids(self) -> list[str]:
        try:
            return sorted(os.listdir(self.root / "dir"))
        except FileNotFoundError:
            return []

    def _tree(self, id: str) -> Path:
        return self.root / "dir" / self.check(id)

    def _nodes(self, id: str) -> Iterator[difference.Node]:
        parent = self.parent(id)
        original = None if parent is None else str(self._tree(parent))
        try:
            since = (self.root / "info" / f"{id}.made").stat().st_ctime_ns
        except FileNotFoundError as error:
            raise NotFound(f"storage directory {id} does not exist or is incomplete") from error
        return difference.of_copy(str(self._tree(id)), original, since)

    def _seal_time(self, id: str) -> None:
        (self.root / "info" / f"{id}.made").touch()


class _Copy:
    """A copy of a sealed tree: owners, modes, times, extended attributes, hard links, holes."""

    def __init__(self) -> None:
        self.links: dict[tuple[int, int], str] = {}

    def tree(self, source: str, target: str) -> None:
        """Copy directory ``source`` over the existing, empty directory ``target``."""
        pending = [(source, target)]
        done: list[tuple[str, str]] = []
        while pending:
            here, there = pending.pop()
            done.append((here, there))
            with os.scandir(here) as entries:
                for entry in entries:
                    copy = f"{there}/{entry.name}"
                    if entry.is_dir(follow_symlinks=False):
                        os.mkdir(copy, 0o700)
                        pending.append((entry.path, copy))
                    else:
                        self._leaf(entry.path, copy)
        for here, there in reversed(done):
            _attributes(here, there, os.lstat(here))

    def _leaf(self, source: str, target: str) -> None:
        status = os.lstat(source)
        if status.st_nlink > 1:
            first = self.links.setdefault((status.st_dev, status.st_ino), target)
            if first != target:
                os.link(first, target, follow_symlinks=False)
                return
        if stat.S_ISREG(status.st_mode):
            _file(source, target, status.st_size)
        elif stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(source), target)
        else:
            os.mknod(target, status.st_mode, status.st_rdev)
        _attributes(source, target, status)


def _file(source: str, target: str, size: int) -> None:
    reading = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        writing = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            copy_content(reading, writing, size)
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def _attributes(source: str, target: str, status: os.stat_result) -> None:
    os.lchown(target, status.st_uid, status.st_gid)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(target, stat.S_IMODE(status.st_mode))
    for key, value in whiteouts.image_xattrs(source).items():
        os.setxattr(target, key, value, follow_symlinks=False)
    os.utime(target, ns=(status.st_mtime_ns, status.st_mtime_ns), follow_symlinks=False)
