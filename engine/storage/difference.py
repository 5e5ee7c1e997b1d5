"""What one directory tree has that the trees below it have not.

Owns the two comparisons, one for overlayfs's upper directories (marks on disk say what was deleted) and one for full
copies (names that are missing say it), and gives both as one stream of ``Node``. The tree under comparison may be a
running container's: it is walked by descriptors without following links, so nothing planted in it leads outside.
The trees below are sealed and walked by path.
"""

# ruff: noqa: PTH115 - strings and descriptors: a Path per file costs more than the file.

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence

from engine.host import rooted
from engine.storage import whiteouts
from engine.values import dataclass, field

ADDED, CHANGED, DELETED = "A", "C", "D"
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CHUNK = 1 << 20
# Mode and owner every base layer begins with.
_FRESH_ROOT = (stat.S_IFDIR | 0o755, 0, 0)


@dataclass
class Node:
    """One changed path, relative to the root ("" is the root itself).

    ``parent`` is a descriptor of its directory, valid only until the next node is asked for. ``opaque`` is true for a
    directory that hides what lower layers have in the directory of that name. ``status`` is None for a deletion.
    ``touched`` is false for a directory that is in the stream only because something below it changed.
    """

    path: str
    name: str
    kind: str
    parent: int
    status: os.stat_result | None = None
    xattrs: Mapping[str, bytes] = field(default_factory=dict)
    opaque: bool = False
    touched: bool = True


@dataclass
class _Frame:
    """One open directory of the walk: its descriptor, and the directories below it as paths, topmost first."""

    path: str
    descriptor: int
    lowers: list[str]
    names: list[str]
    node: Node | None


def of_overlay(upper: str, lowers: Sequence[str]) -> Iterator[Node]:
    """Differences of overlayfs upper directory ``upper`` from ``lowers`` (topmost first), parents before children."""
    return _Walk(upper, list(lowers), OverlayRules()).nodes()


def of_copy(tree: str, original: str | None, since: int) -> Iterator[Node]:
    """Differences of ``tree``, made as a copy of ``original``, from it.

    ``since`` is a change time (ns) not before the copy was complete: a file that looks the same by size and time, but
    whose inode was changed after it, is compared by content.
    """
    return _Walk(tree, [] if original is None else [original], CopyRules(since)).nodes()


class _Walk:
    def __init__(self, root: str, lowers: list[str], rules: OverlayRules | CopyRules) -> None:
        self.root = root
        self.lowers = lowers
        self.rules = rules
        self.stack: list[_Frame] = []

    def nodes(self) -> Iterator[Node]:
        descriptor = rooted.open_root(self.root)
        try:
            node = self._root_node(descriptor)
            if node is not None:
                yield node
            self.stack.append(_Frame("", descriptor, self.lowers, self._names(descriptor, self.lowers), None))
            while self.stack:
                frame = self.stack[-1]
                if not frame.names:
                    self.stack.pop()
                    if frame.descriptor != descriptor:
                        os.close(frame.descriptor)
                    continue
                for node in self._visit(frame, frame.names.pop()):
                    yield from self._held_back()
                    yield node
        finally:
            for frame in self.stack:
                if frame.descriptor != descriptor:
                    os.close(frame.descriptor)
            os.close(descriptor)

    def _held_back(self) -> Iterator[Node]:
        """Directories on the way that are unchanged themselves: a changed child forces them into the stream."""
        for frame in self.stack:
            if frame.node is not None:
                node, frame.node = frame.node, None
                yield node

    def _root_node(self, descriptor: int) -> Node | None:
        """The root directory, when its own mode or owner differs from the one below."""
        status = os.fstat(descriptor)
        below = _owner_and_mode(os.lstat(self.lowers[0])) if self.lowers else _FRESH_ROOT
        if _owner_and_mode(status) == below:
            return None
        return Node("", "", CHANGED, descriptor, status, whiteouts.image_xattrs(descriptor))

    def _names(self, descriptor: int, lowers: list[str]) -> list[str]:
        """Names to visit, reversed, because the last one is taken first."""
        with os.scandir(descriptor) as entries:
            names = {entry.name for entry in entries}
        names |= self.rules.deleted_names(descriptor, lowers, names)
        return sorted(names, key=os.fsencode, reverse=True)

    def _visit(self, frame: _Frame, name: str) -> Iterator[Node]:
        path = f"{frame.path}/{name}" if frame.path else name
        try:
            status = os.lstat(name, dir_fd=frame.descriptor)
        except FileNotFoundError:
            # Missing in a copy, or gone since the directory was listed.
            if self.rules.find(frame.lowers, name) is not None:
                yield Node(path, name, DELETED, frame.descriptor)
            return
        below = self.rules.find(frame.lowers, name)
        if self.rules.is_deletion(status):
            if below is not None:
                yield Node(path, name, DELETED, frame.descriptor)
            return
        if stat.S_ISSOCK(status.st_mode):
            # A socket means nothing without its process; archives cannot hold one.
            return
        kind = ADDED if below is None else CHANGED
        if stat.S_ISDIR(status.st_mode):
            yield from self._directory(frame, name, path, status, kind, below)
        elif below is None or self.rules.is_changed(frame.descriptor, name, status, below):
            yield Node(path, name, kind, frame.descriptor, status)

    def _directory(
        self, frame: _Frame, name: str, path: str, status: os.stat_result, kind: str, below: list[str] | None
    ) -> Iterator[Node]:
        try:
            descriptor = os.open(name, rooted.DIRECTORY_FLAGS, dir_fd=frame.descriptor)
        except OSError:
            return  # Replaced while we looked: a running container at work.
        try:
            xattrs = whiteouts.image_xattrs(descriptor)
            joined = [] if below is None else [one for one in below if _is_directory(one)]
            opaque = bool(joined) and self.rules.is_opaque(descriptor)
            node = Node(path, name, kind, frame.descriptor, status, xattrs, opaque)
            lowers = [] if self.rules.is_opaque(descriptor) else joined
            if joined and not opaque:
                node.touched = not _same_directory(status, xattrs, joined[0])
            names = self._names(descriptor, lowers)
        except BaseException:
            os.close(descriptor)
            raise
        if node.touched:
            try:
                yield node
            except BaseException:
                os.close(descriptor)
                raise
        self.stack.append(_Frame(path, descriptor, lowers, names, None if node.touched else node))


class OverlayRules:
    """overlayfs: an upper directory holds what was touched; marks say what is gone."""

    def deleted_names(self, descriptor: int, lowers: list[str], present: set[str]) -> set[str]:
        return set()

    def find(self, lowers: list[str], name: str) -> list[str] | None:
        """What the layers below show at ``name``: its path(s), topmost first (several when directories merge)."""
        found: list[str] = []
        for lower in lowers:
            path = f"{lower}/{name}"
            try:
                status = os.lstat(path)
            except OSError:
                continue
            if whiteouts.is_overlay_whiteout(status):
                break
            if not stat.S_ISDIR(status.st_mode):
                if not found:
                    found.append(path)
                break
            found.append(path)
            if whiteouts.is_overlay_opaque(path):
                break
        return found or None

    def is_deletion(self, status: os.stat_result) -> bool:
        return whiteouts.is_overlay_whiteout(status)

    def is_opaque(self, descriptor: int) -> bool:
        return whiteouts.is_overlay_opaque(descriptor)

    def is_changed(self, descriptor: int, name: str, status: os.stat_result, below: list[str]) -> bool:
        return True  # It was copied up to be changed.


class CopyRules:
    """Full copies: both trees are compared."""

    def __init__(self, since: int) -> None:
        self.since = since

    def deleted_names(self, descriptor: int, lowers: list[str], present: set[str]) -> set[str]:
        return {name for lower in lowers for name in os.listdir(lower)} - present

    def find(self, lowers: list[str], name: str) -> list[str] | None:
        return [f"{lower}/{name}" for lower in lowers if os.path.lexists(f"{lower}/{name}")] or None

    def is_deletion(self, status: os.stat_result) -> bool:
        return False

    def is_opaque(self, descriptor: int) -> bool:
        return False

    def is_changed(self, descriptor: int, name: str, status: os.stat_result, below: list[str]) -> bool:
        other = os.lstat(below[0])
        if _owner_and_mode(status) != _owner_and_mode(other) or status.st_rdev != other.st_rdev:
            return True
        if status.st_nlink > other.st_nlink:
            # Someone linked to it: both names must be in one layer to stay one file.
            return True
        if stat.S_ISLNK(status.st_mode):
            return os.readlink(name, dir_fd=descriptor) != os.readlink(below[0]) or _mtime_differs(status, other)
        if status.st_size != other.st_size or _mtime_differs(status, other):
            return True
        if status.st_ctime_ns < self.since or not stat.S_ISREG(status.st_mode):
            return False
        mine = f"/proc/self/fd/{descriptor}/{name}"
        return whiteouts.image_xattrs(mine) != whiteouts.image_xattrs(below[0]) or not _same_content(
            descriptor, name, below[0]
        )


def _owner_and_mode(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_mode, status.st_uid, status.st_gid


def _mtime_differs(one: os.stat_result, other: os.stat_result) -> bool:
    return one.st_mtime_ns != other.st_mtime_ns


def _same_directory(status: os.stat_result, xattrs: Mapping[str, bytes], below: str) -> bool:
    other = os.lstat(below)
    return (
        _owner_and_mode(status) == _owner_and_mode(other)
        and not _mtime_differs(status, other)
        and xattrs == whiteouts.image_xattrs(below)
    )


def _is_directory(path: str) -> bool:
    return stat.S_ISDIR(os.lstat(path).st_mode)


def _same_content(descriptor: int, name: str, other: str) -> bool:
    one = os.open(name, _READ, dir_fd=descriptor)
    try:
        two = os.open(other, _READ)
        try:
            while True:
                left, right = os.read(one, _CHUNK), os.read(two, _CHUNK)
                if left != right:
                    return False
                if not left:
                    return True
        finally:
            os.close(two)
    finally:
        os.close(one)
