"""Where the bytes of an archive come from: a plain file, or anything that can be read.

Owns reading forwards, skipping and copying content to a file descriptor by the shortest way. Knows no tar headers.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable

from engine.errors import InvalidInput


class Source:
    """Bytes of an archive, read forwards. Subclasses give ``read_some``; ``name`` appears in error messages."""

    name = "archive"

    def read_some(self, size: int) -> bytes:
        """At most ``size`` bytes, at least one unless the archive has ended."""
        raise EOFError

    def read(self, size: int) -> bytes:
        """Exactly ``size`` bytes, or all that are left."""
        data = self.read_some(size)
        if len(data) == size:
            return data
        parts = [data]
        missing = size - len(data)
        while missing and parts[-1]:
            parts.append(self.read_some(missing))
            missing -= len(parts[-1])
        return b"".join(parts)

    def exactly(self, size: int) -> bytes:
        """Exactly ``size`` bytes; InvalidInput when the archive ends before."""
        data = self.read(size)
        if len(data) != size:
            raise truncated()
        return data

    def skip(self, size: int) -> None:
        """Pass over ``size`` bytes."""
        while size > 0:
            data = self.read_some(min(size, 1 << 20))
            if not data:
                raise truncated()
            size -= len(data)

    def copy(self, descriptor: int, size: int) -> None:
        """Write the next ``size`` bytes to a file descriptor at its position."""
        while size > 0:
            data = self.read_some(min(size, 1 << 20))
            if not data:
                raise truncated()
            size -= len(data)
            write_all(descriptor, data)


class FileSource(Source):
    """An archive in a regular file: content moves inside the kernel, headers are read where they are."""

    def __init__(self, descriptor: int, position: int = 0) -> None:
        self._descriptor = descriptor
        self._position = position
        self._size = os.fstat(descriptor).st_size

    def read_some(self, size: int) -> bytes:
        data = os.pread(self._descriptor, size, self._position)
        self._position += len(data)
        return data

    def skip(self, size: int) -> None:
        if self._position + size > self._size:
            raise truncated()
        self._position += size

    def copy(self, descriptor: int, size: int) -> None:
        while size > 0:
            sent = os.sendfile(descriptor, self._descriptor, self._position, min(size, 1 << 24))
            if sent == 0:
                raise truncated()
            self._position += sent
            size -= sent


class StreamSource(Source):
    """An archive from anything with ``read`` (a pipe, a decompressor)."""

    def __init__(self, stream: object) -> None:
        self._read: Callable[[int], bytes] = stream.read  # type: ignore[attr-defined]

    def read_some(self, size: int) -> bytes:
        return self._read(size)


def source_of(stream: object) -> Source:
    """The quickest source for ``stream``: by descriptor for a plain file at its position, else by ``read``."""
    if isinstance(stream, (io.BufferedReader, io.FileIO)):
        try:
            position = stream.tell()
            if stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                return FileSource(stream.fileno(), position)
        except OSError:
            pass
    return StreamSource(stream)


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """os.write until everything is written (a write may be short)."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def truncated() -> InvalidInput:
    """The error of an archive that ends too early."""
    return InvalidInput("invalid tar: unexpected end of the archive", remedy="it was cut short: make or copy it again")
