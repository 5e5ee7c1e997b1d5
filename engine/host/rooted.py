"""Walks that never leave a directory tree, whatever the names and links in it say.

Owns in-root resolution (absolute links and ``..`` end at the root, as inside a container), and opening, making and
deleting what is found that way: all by directory descriptors and O_NOFOLLOW, so a link planted during the walk leads
nowhere either. Knows no tar, no layers and no containers.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from engine.errors import InvalidInput

DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Linux follows at most 40 links in one lookup (path_resolution(7)).
MAX_LINKS = 40
_EMPTY_DIRECTORY_MODE = 0o755

Parts = tuple[str, ...]
MissingDirectory = Callable[[int, str, Parts], None]


class Place(NamedTuple):
    """A directory inside the root: its descriptor, owned by the ``RootedTree``, and its link-free path."""

    descriptor: int
    path: Parts


def lexical(name: str) -> Parts:
    """The parts of an archive's member name; empty for the root itself. InvalidInput when ``..`` leads above it."""
    parts: list[str] = []
    for part in name.split("/"):
        if part in ("", "."):
            continue
        if part == "..":
            if not parts:
                raise InvalidInput(f"invalid tar: {name!r} leads out of the directory it is unpacked into")
            parts.pop()
        else:
            parts.append(part)
    if any("\0" in part for part in parts):
        raise InvalidInput(f"invalid tar: {name!r} holds a zero byte")
    return tuple(parts)


class RootedTree:
    """Directories below one root, resolved and kept open for the next request for the same one."""

    def __init__(self, root: int) -> None:
        """``root`` is a directory descriptor; it stays the caller's."""
        self.root = root
        self._asked: Parts | None = None
        self._current = Place(root, ())

    def close(self) -> None:
        """Close what this object opened."""
        if self._current.descriptor != self.root:
            os.close(self._current.descriptor)
        self._asked, self._current = None, Place(self.root, ())

    def directory(self, parts: Parts, missing: MissingDirectory | None = None) -> Place:
        """The directory ``parts`` names, links followed inside the root.

        ``missing(parent descriptor, name, path)`` makes a component that does not exist; without it that is
        FileNotFoundError. NotADirectoryError and ELOOP come out as the kernel would give them. The descriptor is valid
        until the next call.
        """
        if parts == self._asked:
            return self._current
        self.close()
        place = self._resolve(parts, missing)
        self._asked, self._current = parts, place
        return place

    def _resolve(self, parts: Parts, missing: MissingDirectory | None) -> Place:
        pending = list(reversed(parts))
        # The way down, so that ".." in a link target can go back up without asking the file system.
        chain: list[tuple[str, int]] = []
        links = 0
        try:
            while pending:
                name = pending.pop()
                if name in ("", "."):
                    continue
                if name == "..":
                    if chain:
                        os.close(chain.pop()[1])
                    continue
                parent = chain[-1][1] if chain else self.root
                path = (*(step for step, _ in chain), name)
                try:
                    chain.append((name, os.open(name, DIRECTORY_FLAGS, dir_fd=parent)))
                except FileNotFoundError:
                    if missing is None:
                        raise
                    missing(parent, name, path)
                    chain.append((name, os.open(name, DIRECTORY_FLAGS, dir_fd=parent)))
                except OSError as error:
                    # O_NOFOLLOW|O_DIRECTORY gives ENOTDIR or ELOOP on a link, by kernel version.
                    if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                        raise
                    if not stat.S_ISLNK(os.lstat(name, dir_fd=parent).st_mode):
                        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), "/".join(path)) from error
                    links += 1
                    if links > MAX_LINKS:
                        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), "/".join(path)) from error
                    target = os.readlink(name, dir_fd=parent)
                    if target.startswith("/"):
                        while chain:
                            os.close(chain.pop()[1])
                    pending.extend(reversed(target.split("/")))
        except BaseException:
            for _, descriptor in chain:
                os.close(descriptor)
            raise
        if not chain:
            return Place(self.root, ())
        for _, descriptor in chain[:-1]:
            os.close(descriptor)
        return Place(chain[-1][1], tuple(name for name, _ in chain))


def open_root(path: str | os.PathLike[str]) -> int:
    """A descriptor of the directory ``path``; links in the *last* component are not followed."""
    return os.open(path, DIRECTORY_FLAGS)


def open_in(root: int, path: str, flags: int, mode: int = 0) -> int:
    """Open ``path`` as seen from directory ``root`` (a descriptor); OSError like ``os.open``."""
    tree = RootedTree(root)
    pending = _parts(path)
    try:
        for _ in range(MAX_LINKS):
            if not pending or pending[-1] == "..":
                place = tree.directory(pending)
                return os.open(".", flags | os.O_CLOEXEC, dir_fd=place.descriptor)
            place, name = tree.directory(pending[:-1]), pending[-1]
            target = None
            if not flags & (os.O_NOFOLLOW | os.O_EXCL):
                try:
                    target = os.readlink(name, dir_fd=place.descriptor)
                except OSError as error:
                    # EINVAL: not a link; what is not there is for the opening to make, or to miss.
                    if error.errno not in (errno.EINVAL, errno.ENOENT):
                        raise
            if target is None:
                return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=place.descriptor)
            pending = _parts(target) if target.startswith("/") else (*place.path, *_parts(target))
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
    finally:
        tree.close()


def _parts(path: str) -> Parts:
    return tuple(part for part in path.split("/") if part not in ("", "."))


def read_text(root: Path, path: str, limit: int = 4 << 20) -> str | None:
    """The text of a regular file inside ``root``, at most ``limit`` bytes; None when there is no such file."""
    directory = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        found = open_in(directory, path, os.O_PATH)
    except OSError:
        return None
    finally:
        os.close(directory)
    try:
        # Looked at before it is opened: a fifo would hang us, and opening a device may do anything to the host.
        if not stat.S_ISREG(os.fstat(found).st_mode):
            return None
        with open(f"/proc/self/fd/{found}", "rb") as file:
            return file.read(limit).decode(errors="replace")
    finally:
        os.close(found)


def make_directories(root: Path, path: str) -> list[str]:
    """Make ``path`` and its parents inside ``root`` where missing; the ones made, outermost first.

    NotADirectoryError when a part exists and is something else.
    """
    made: list[str] = []

    def make(parent: int, name: str, parts: Parts) -> None:
        os.mkdir(name, _EMPTY_DIRECTORY_MODE, dir_fd=parent)
        made.append("/" + "/".join(parts))

    directory = os.open(root, os.O_PATH | os.O_DIRECTORY)
    tree = RootedTree(directory)
    try:
        tree.directory(_parts(path), make)
    finally:
        tree.close()
        os.close(directory)
    return made


def make_file(root: Path, path: str) -> list[str]:
    """Make an empty file at ``path`` inside ``root`` unless something is there; what was made, parents first."""
    parent, _, _ = path.rstrip("/").rpartition("/")
    directory = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        try:
            os.close(open_in(directory, path, os.O_PATH | os.O_NOFOLLOW))
            return []
        except FileNotFoundError:
            made = make_directories(root, parent) if parent else []
            os.close(open_in(directory, path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o755))
            return [*made, path]
    finally:
        os.close(directory)


def remove_empty(root: Path, paths: list[str]) -> None:
    """Remove those of ``paths`` that are still empty files or directories, innermost first; others stay."""
    directory = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        for path in reversed(paths):
            parent, _, name = path.rstrip("/").rpartition("/")
            try:
                above = open_in(directory, parent or "/", os.O_RDONLY | os.O_DIRECTORY)
            except OSError:
                continue
            try:
                status = os.stat(name, dir_fd=above, follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    os.rmdir(name, dir_fd=above)
                elif stat.S_ISREG(status.st_mode) and status.st_size == 0:
                    os.unlink(name, dir_fd=above)
            except OSError:
                continue
            finally:
                os.close(above)
    finally:
        os.close(directory)


def remove(name: str, parent: int | None = None) -> bool:
    """Delete ``name`` (relative to directory descriptor ``parent``) and all below it; False when there was nothing.

    Follows no link and crosses no mount point: a busy mount comes out as EBUSY.
    """
    try:
        os.unlink(name, dir_fd=parent)
        return True
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno not in (errno.EISDIR, errno.EPERM):
            raise
    try:
        stack = [(name, os.open(name, DIRECTORY_FLAGS, dir_fd=parent))]
    except FileNotFoundError:
        return False
    try:
        while stack:
            descriptor = stack[-1][1]
            below = _clear_files(descriptor)
            if below is not None:
                stack.append((below, os.open(below, DIRECTORY_FLAGS, dir_fd=descriptor)))
                continue
            done, descriptor = stack.pop()
            os.close(descriptor)
            os.rmdir(done, dir_fd=stack[-1][1] if stack else parent)
    except BaseException:
        for _, descriptor in stack:
            os.close(descriptor)
        raise
    return True


def _clear_files(descriptor: int) -> str | None:
    """Delete what is no directory; the name of a directory that is left, None when all is gone."""
    directory = None
    with os.scandir(descriptor) as entries:
        found = list(entries)
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            directory = directory or entry.name
        else:
            os.unlink(entry.name, dir_fd=descriptor)
    return directory
