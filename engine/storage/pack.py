"""Packing a stream of differences into a layer tar.

Owns the order of members, hard links within a layer and the copying of content. The result depends on the tree alone:
the same tree gives the same bytes. Compares nothing: ``difference`` says what belongs in.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from typing import BinaryIO

from engine.storage import tar, whiteouts
from engine.storage.difference import DELETED, Node

_CHUNK = 1 << 18
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def pack(nodes: Iterator[Node], out: BinaryIO) -> int:
    """Write ``nodes`` to ``out`` as an uncompressed tar; the bytes of the files in it (hard links once)."""
    return _Packing(out).run(nodes)


class _Packing:
    def __init__(self, out: BinaryIO) -> None:
        self.write = out.write
        # Small members are gathered, so that hashing and writing below see large pieces.
        self.buffer = bytearray()
        self.links: dict[tuple[int, int], str] = {}
        self.bytes = 0
        self.piece = memoryview(bytearray(_CHUNK))

    def run(self, nodes: Iterator[Node]) -> int:
        for node in nodes:
            if node.kind == DELETED:
                directory, _, name = node.path.rpartition("/")
                marker = f"{whiteouts.PREFIX}{name}"
                self._header(tar.Entry(f"{directory}/{marker}" if directory else marker, mode=0, mtime=0))
            else:
                self._add(node)
        self.buffer += tar.END
        self._flush()
        return self.bytes

    def _add(self, node: Node) -> None:
        status = node.status
        assert status is not None
        entry = tar.Entry(
            node.path,
            mode=stat.S_IMODE(status.st_mode),
            uid=status.st_uid,
            gid=status.st_gid,
            mtime=status.st_mtime_ns,
        )
        if stat.S_ISDIR(status.st_mode):
            entry.kind = tar.DIRECTORY
            entry.name = f"{node.path}/" if node.path else "./"
            entry.xattrs = dict(node.xattrs)
            self._header(entry)
            if node.opaque:
                self._header(tar.Entry(f"{node.path}/{whiteouts.OPAQUE}", mode=0, mtime=0))
            return
        if status.st_nlink > 1:
            inode = (status.st_dev, status.st_ino)
            first = self.links.get(inode)
            if first is not None:
                entry.kind, entry.link = tar.HARDLINK, first
                self._header(entry)
                return
            self.links[inode] = node.path
        if stat.S_ISREG(status.st_mode):
            self._file(node, entry)
            return
        if stat.S_ISLNK(status.st_mode):
            entry.kind, entry.mode = tar.SYMLINK, 0o777
            try:
                entry.link = os.readlink(node.name, dir_fd=node.parent)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.EINVAL):
                    self._forget(node)
                    return  # A running container removed or replaced it after it was listed.
                raise
        elif stat.S_ISFIFO(status.st_mode):
            entry.kind = tar.FIFO
        else:
            entry.kind = tar.CHARACTER if stat.S_ISCHR(status.st_mode) else tar.BLOCKDEV
            entry.major, entry.minor = os.major(status.st_rdev), os.minor(status.st_rdev)
        entry.xattrs = whiteouts.image_xattrs(f"/proc/self/fd/{node.parent}/{node.name}")
        self._header(entry)

    def _file(self, node: Node, entry: tar.Entry) -> None:
        try:
            descriptor = os.open(node.name, _READ, dir_fd=node.parent)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ELOOP):
                self._forget(node)
                return  # A running container removed it after it was listed.
            raise
        try:
            now = os.fstat(descriptor)
            if not stat.S_ISREG(now.st_mode):
                self._forget(node)
                return
            entry.size = now.st_size
            entry.xattrs = whiteouts.image_xattrs(descriptor)
            self._header(entry)
            self._content(descriptor, entry.size)
            self.bytes += entry.size
        finally:
            os.close(descriptor)

    def _forget(self, node: Node) -> None:
        """Nothing may be linked to a member that was not written."""
        self.links = {inode: name for inode, name in self.links.items() if name != node.path}

    def _content(self, descriptor: int, size: int) -> None:
        left = size
        while left:
            got = os.readv(descriptor, [self.piece[: min(left, _CHUNK)]])
            if not got:
                # The file shrank under us: the header's promise is kept with zeros, as every tar does.
                got = min(left, _CHUNK)
                self.piece[:got] = bytes(got)
            left -= got
            if got < _CHUNK:
                self.buffer += self.piece[:got]
                if len(self.buffer) >= _CHUNK:
                    self._flush()
            else:
                self._flush()
                self.write(self.piece)
        self.buffer += bytes(tar.padding(size))

    def _header(self, entry: tar.Entry) -> None:
        self.buffer += tar.encode(entry)
        if len(self.buffer) >= _CHUNK:
            self._flush()

    def _flush(self) -> None:
        if self.buffer:
            self.write(self.buffer)
            self.buffer = bytearray()
