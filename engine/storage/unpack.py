"""Unpacking archives into a directory tree, and never outside of it.

Owns the meaning of each member kind and of whiteouts while unpacking. Every name is resolved inside the root, every
last component is created, never followed; attributes are set in the order that keeps them (owner, mode, extended
attributes, times; directory times last of all). Packs nothing, registers nothing.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from enum import Enum
from pathlib import Path

from engine.errors import HostError, InvalidInput
from engine.host import rooted
from engine.host.rooted import Parts, Place
from engine.storage import tar, whiteouts
from engine.storage.archive_source import Source, source_of
from engine.storage.content_copy import copy_content
from engine.storage.driver import NO_SPACE_REMEDY
from engine.storage.tar_reader import Reader

__all__ = ["Below", "Deletions", "source_of", "unpack"]

_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_EXISTING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Deletions(Enum):
    """What a name beginning with ``.wh.`` means."""

    PLAIN = "plain"  # an ordinary name: the archive is no layer (ADD, import)
    OVERLAY = "overlay"  # mark it for overlayfs: the tree is one layer's own directory
    REMOVE = "remove"  # delete it: the tree is a full copy of the layers below


Below = Callable[[Parts], "Path | None"]


def unpack(
    source: Source,
    root: str | os.PathLike[str],
    deletions: Deletions = Deletions.PLAIN,
    *,
    below: Below | None = None,
    owner: tuple[int, int] | None = None,
) -> int:
    """Unpack the archive ``source`` into the existing directory ``root``; the bytes of its files.

    ``below(parts)`` names what the layers under this one have at a path: a directory the archive only implies gets
    that one's attributes, a hard link to a file below gets a copy of it. ``owner`` overrides uid and gid.
    InvalidInput on a malformed or hostile archive, HostError when the disk is full or the host refuses; what was
    unpacked until then stays, for the caller to remove.
    """
    descriptor = rooted.open_root(root)
    task = _Unpacking(Reader(source), descriptor, deletions, below, owner)
    name = ""
    try:
        while True:
            entry = task.reader.next()
            if entry is None:
                break
            name = entry.name
            task.add(entry)
        task.finish()
    except OSError as error:
        step = f"unpacking {name!r}" if name else "unpacking"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise HostError(step, error.strerror, remedy=NO_SPACE_REMEDY) from error
        if error.errno in (errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG):
            raise InvalidInput(f"invalid tar: {name!r}: {error.strerror}") from error
        raise HostError(step, error.strerror or error) from error
    except (OverflowError, ValueError) as error:
        # A number no file can have, or a zero byte in a link's target.
        raise InvalidInput(f"invalid tar: {name!r}: {str(error)[:100]}") from error
    finally:
        task.tree.close()
        os.close(descriptor)
    return task.bytes


class _Unpacking:
    def __init__(
        self,
        reader: Reader,
        root: int,
        deletions: Deletions,
        below: Below | None,
        owner: tuple[int, int] | None,
    ) -> None:
        self.reader = reader
        self.root = root
        self.tree = rooted.RootedTree(root)
        self.deletions = deletions
        self.below = below
        self.owner = owner
        self.bytes = 0
        # Paths of this archive: whiteouts concern lower layers only (OCI image spec, "Whiteouts").
        self.made: set[Parts] = set()
        self.hidden: set[Parts] = set()
        self.times: dict[Parts, int] = {}

    def add(self, entry: tar.Entry) -> None:
        parts = rooted.lexical(entry.name)
        if not parts:
            if entry.kind == tar.DIRECTORY:
                self._attributes(self.root, entry)
                self.times[()] = entry.mtime
            return
        name = parts[-1]
        parent = self.tree.directory(parts[:-1], self._imply)
        if self.deletions is not Deletions.PLAIN and name.startswith(whiteouts.PREFIX):
            self._whiteout(parent, name)
            return
        path = (*parent.path, name)
        keep = self._make_room(parent, name, entry, path)
        if entry.kind == tar.DIRECTORY:
            self._directory(parent, name, entry, path, keep)
        elif entry.kind == tar.REGULAR:
            self._file(parent, name, entry)
        elif entry.kind == tar.HARDLINK:
            self._hardlink(parts, entry)
        elif entry.kind == tar.SYMLINK:
            os.symlink(entry.link, name, dir_fd=parent.descriptor)
            self._unopened(parent, name, entry)
        elif entry.kind in (tar.CHARACTER, tar.BLOCKDEV, tar.FIFO):
            kind = {tar.CHARACTER: stat.S_IFCHR, tar.BLOCKDEV: stat.S_IFBLK, tar.FIFO: stat.S_IFIFO}[entry.kind]
            os.mknod(name, kind | 0o600, os.makedev(entry.major, entry.minor), dir_fd=parent.descriptor)
            self._unopened(parent, name, entry)
        else:
            raise InvalidInput(f"invalid tar: {entry.name!r} is of unknown kind {entry.kind!r}")
        self._remember(path)

    def finish(self) -> None:
        """Set the directory times, which every name made or removed in them had changed."""
        for path, mtime in self.times.items():
            place = self.tree.directory(path)
            os.utime(place.descriptor, ns=(mtime, mtime))

    def _remember(self, path: Parts) -> None:
        if self.deletions is Deletions.PLAIN:
            return
        while path and path not in self.made:
            self.made.add(path)
            path = path[:-1]

    def _make_room(self, parent: Place, name: str, entry: tar.Entry, path: Parts) -> bool:
        """Remove what is in the way; True when a directory is there and stays."""
        try:
            present = os.lstat(name, dir_fd=parent.descriptor)
        except FileNotFoundError:
            return False
        if stat.S_ISDIR(present.st_mode):
            if entry.kind == tar.DIRECTORY:
                return True
            rooted.remove(name, parent.descriptor)
            self.times = {made: mtime for made, mtime in self.times.items() if made[: len(path)] != path}
        else:
            os.unlink(name, dir_fd=parent.descriptor)
        return False

    def _imply(self, parent: int, name: str, path: Parts) -> None:
        os.mkdir(name, dir_fd=parent)
        os.chmod(name, 0o755, dir_fd=parent)
        template = self.below(path) if self.below is not None else None
        if template is not None:
            status = template.lstat()
            if stat.S_ISDIR(status.st_mode):
                entry = tar.Entry(
                    "/".join(path),
                    tar.DIRECTORY,
                    stat.S_IMODE(status.st_mode),
                    status.st_uid,
                    status.st_gid,
                    mtime=status.st_mtime_ns,
                    xattrs=whiteouts.image_xattrs(str(template)),
                )
                descriptor = os.open(name, rooted.DIRECTORY_FLAGS, dir_fd=parent)
                try:
                    self._attributes(descriptor, entry, own=False)
                finally:
                    os.close(descriptor)
                self.times[path] = entry.mtime
        elif self.owner is not None:
            os.chown(name, *self.owner, dir_fd=parent, follow_symlinks=False)
        self._remember(path)

    def _directory(self, parent: Place, name: str, entry: tar.Entry, path: Parts, keep: bool) -> None:
        if not keep:
            os.mkdir(name, 0o700, dir_fd=parent.descriptor)
        descriptor = os.open(name, rooted.DIRECTORY_FLAGS, dir_fd=parent.descriptor)
        try:
            self._attributes(descriptor, entry)
            if path in self.hidden:
                # The whiteout came first: the directory replaces the one below instead of joining it.
                os.setxattr(descriptor, whiteouts.OPAQUE_XATTR, b"y")
        finally:
            os.close(descriptor)
        self.times[path] = entry.mtime

    def _file(self, parent: Place, name: str, entry: tar.Entry) -> None:
        descriptor = os.open(name, _CREATE, 0o600, dir_fd=parent.descriptor)
        try:
            self.reader.copy(descriptor, entry)
            self._attributes(descriptor, entry)
            os.utime(descriptor, ns=(entry.mtime, entry.mtime))
        finally:
            os.close(descriptor)
        self.bytes += entry.size

    def _hardlink(self, parts: Parts, entry: tar.Entry) -> None:
        target = rooted.lexical(entry.link)
        if not target:
            raise InvalidInput(f"invalid tar: {entry.name!r} is a hard link to the root directory")
        try:
            source = self.tree.directory(target[:-1])
            # Links are made by descriptor on both sides; keep the first one over the second lookup.
            holder = os.dup(source.descriptor)
        except FileNotFoundError:
            holder = -1
        parent = self.tree.directory(parts[:-1], self._imply)
        try:
            if holder >= 0:
                try:
                    os.link(
                        target[-1],
                        parts[-1],
                        src_dir_fd=holder,
                        dst_dir_fd=parent.descriptor,
                        follow_symlinks=False,
                    )
                    return
                except FileNotFoundError:
                    pass
                except PermissionError as error:
                    raise InvalidInput(f"invalid tar: {entry.name!r} is a hard link to a directory") from error
        finally:
            if holder >= 0:
                os.close(holder)
        self._copy_from_below(parent, parts[-1], entry, target)

    def _copy_from_below(self, parent: Place, name: str, entry: tar.Entry, target: Parts) -> None:
        found = self.below(target) if self.below is not None else None
        status = None if found is None else found.lstat()
        if found is None or status is None or not stat.S_ISREG(status.st_mode):
            raise InvalidInput(f"invalid tar: {entry.name!r} is a hard link to {entry.link!r}, which does not exist")
        original = os.open(found, _EXISTING)
        copy = os.open(name, _CREATE, 0o600, dir_fd=parent.descriptor)
        try:
            copy_content(original, copy, status.st_size)
            attributes = tar.Entry(
                entry.name,
                mode=stat.S_IMODE(status.st_mode),
                uid=status.st_uid,
                gid=status.st_gid,
                xattrs=whiteouts.image_xattrs(original),
            )
            self._attributes(copy, attributes, own=False)
            os.utime(copy, ns=(status.st_mtime_ns, status.st_mtime_ns))
        finally:
            os.close(original)
            os.close(copy)
        self.bytes += status.st_size

    def _attributes(self, descriptor: int, entry: tar.Entry, *, own: bool = True) -> None:
        # chown clears set-id bits and file capabilities, so it comes first.
        uid, gid = self.owner if self.owner is not None and own else (entry.uid, entry.gid)
        os.fchown(descriptor, uid, gid)
        os.fchmod(descriptor, entry.mode)
        for key, value in entry.xattrs.items():
            if whiteouts.belongs_to_image(key):
                _set_xattr(descriptor, key, value)

    def _unopened(self, parent: Place, name: str, entry: tar.Entry) -> None:
        """Attributes of what must not be opened: links, devices, FIFOs."""
        uid, gid = self.owner or (entry.uid, entry.gid)
        os.chown(name, uid, gid, dir_fd=parent.descriptor, follow_symlinks=False)
        if entry.kind != tar.SYMLINK:
            os.chmod(name, entry.mode, dir_fd=parent.descriptor)
        for key, value in entry.xattrs.items():
            if whiteouts.belongs_to_image(key) and not key.startswith("user."):
                _set_xattr(f"/proc/self/fd/{parent.descriptor}/{name}", key, value)
        os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=parent.descriptor, follow_symlinks=False)

    def _whiteout(self, parent: Place, name: str) -> None:
        if name == whiteouts.OPAQUE:
            if self.deletions is Deletions.OVERLAY:
                os.setxattr(parent.descriptor, whiteouts.OPAQUE_XATTR, b"y")
            else:
                self._delete_old(parent.descriptor, parent.path)
            return
        if name.startswith(whiteouts.AUFS_PREFIX):
            return
        target = name[len(whiteouts.PREFIX) :]
        if target in ("", ".", ".."):
            raise InvalidInput(f"invalid tar: whiteout {name!r} names nothing")
        path = (*parent.path, target)
        if self.deletions is Deletions.REMOVE:
            if path not in self.made:
                rooted.remove(target, parent.descriptor)
            else:
                self._open_and_delete_old(parent.descriptor, target, path)
            return
        self.hidden.add(path)
        if path not in self.made:
            rooted.remove(target, parent.descriptor)
            os.mknod(target, stat.S_IFCHR, 0, dir_fd=parent.descriptor)
        elif stat.S_ISDIR(os.lstat(target, dir_fd=parent.descriptor).st_mode):
            os.setxattr(f"/proc/self/fd/{parent.descriptor}/{target}", whiteouts.OPAQUE_XATTR, b"y")

    def _delete_old(self, descriptor: int, path: Parts) -> None:
        """Delete below a directory all that this archive did not make."""
        with os.scandir(descriptor) as entries:
            names = [entry.name for entry in entries]
        for name in names:
            below = (*path, name)
            if below not in self.made:
                rooted.remove(name, descriptor)
            else:
                self._open_and_delete_old(descriptor, name, below)

    def _open_and_delete_old(self, parent: int, name: str, path: Parts) -> None:
        try:
            descriptor = os.open(name, rooted.DIRECTORY_FLAGS, dir_fd=parent)
        except OSError:
            return
        try:
            self._delete_old(descriptor, path)
        finally:
            os.close(descriptor)


def _set_xattr(target: int | str, key: str, value: bytes) -> None:
    try:
        os.setxattr(target, key, value, follow_symlinks=isinstance(target, int))
    except OSError as error:
        # A file system without that kind of attribute loses it, as docker's does; a full disk must not pass for that.
        if error.errno not in (errno.ENOTSUP, errno.EPERM):
            raise
