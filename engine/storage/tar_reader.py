"""Reading tar archives: headers of every dialect → ``Entry``, content by way of its source.

Owns the parsing of ustar, pax, GNU long names and numbers, and the GNU sparse formats. A malformed header is an
InvalidInput, never a guess. Resolves no names and writes no files but by the descriptor it is given.
"""

from __future__ import annotations

import os

from engine.errors import InvalidInput
from engine.storage.archive_source import Source, truncated
from engine.storage.tar import (
    BLOCK,
    BLOCKDEV,
    CHARACTER,
    DIRECTORY,
    NANOSECONDS,
    PAX,
    REGULAR,
    XATTR,
    Entry,
    padding,
)

_PAX_GLOBAL, _GNU_NAME, _GNU_LINK, _GNU_SPARSE = b"g", b"L", b"K", b"S"
# Members that only describe others; they never grow with content, so a large one is damage or an attack.
_META_LIMIT = 8 << 20


class Reader:
    """The members of an archive one by one; content is read before the next member is asked for, or skipped."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._unread = 0
        self._defaults: dict[bytes, bytes] = {}

    def next(self) -> Entry | None:
        """The next member, None after the last one."""
        self.source.skip(self._unread)
        self._unread = 0
        pax: dict[bytes, bytes] = {}
        sparse_pairs: list[tuple[bytes, bytes]] = []
        long_name = long_link = None
        while True:
            block = self.source.read(BLOCK)
            if not block or block == bytes(BLOCK):
                return None
            if len(block) < BLOCK:
                raise truncated()
            entry, size = _parse(block)
            if entry.kind == PAX:
                pairs = _records(self._meta(size))
                sparse_pairs = [pair for pair in pairs if pair[0].startswith(b"GNU.sparse.")]
                pax = dict(pairs)
            elif entry.kind == _PAX_GLOBAL:
                self._defaults.update(_records(self._meta(size)))
            elif entry.kind == _GNU_NAME:
                long_name = self._meta(size).split(b"\0", 1)[0]
            elif entry.kind == _GNU_LINK:
                long_link = self._meta(size).split(b"\0", 1)[0]
            else:
                break
        if long_name is not None:
            entry.name = os.fsdecode(long_name)
        if long_link is not None:
            entry.link = os.fsdecode(long_link)
        entry.size = size
        if self._defaults or pax:
            _override(entry, {**self._defaults, **pax} if self._defaults else pax)
        if entry.kind not in (REGULAR, _GNU_SPARSE):
            # Only files have content; a size on a hard link or directory is ignored, as GNU tar and Go do.
            entry.size = entry.stored = 0
            return entry
        entry.stored = entry.size
        self._unread = entry.size + padding(entry.size)
        if entry.kind == _GNU_SPARSE:
            self._old_sparse(entry, block)
        elif sparse_pairs:
            self._pax_sparse(entry, sparse_pairs)
        return entry

    def copy(self, descriptor: int, entry: Entry) -> None:
        """Write the content of ``entry`` (the member ``next`` just gave) to an empty file; holes stay holes."""
        if entry.sparse is None:
            self._take(entry.stored)
            self.source.copy(descriptor, entry.stored)
            return
        for offset, length in entry.sparse:
            os.lseek(descriptor, offset, os.SEEK_SET)
            self._take(length)
            self.source.copy(descriptor, length)
        os.ftruncate(descriptor, entry.size)

    def content(self, entry: Entry, limit: int) -> bytes:
        """The whole content of a small plain member; InvalidInput above ``limit`` bytes."""
        if entry.size > limit or entry.sparse is not None:
            raise InvalidInput(f"invalid tar: {entry.name} has {entry.size} bytes where at most {limit} are expected")
        self._take(entry.stored)
        return self.source.exactly(entry.stored)

    def read_some(self, size: int) -> bytes:
        """The next content bytes of the current member, empty at its end; for plain members only."""
        data = self.source.read_some(size) if size > 0 else b""
        if size > 0 and not data:
            raise truncated()
        self._unread -= len(data)
        return data

    def _take(self, size: int) -> None:
        if size > self._unread:
            raise InvalidInput("invalid tar: a sparse map names more bytes than the member has")
        self._unread -= size

    def _meta(self, size: int) -> bytes:
        if size > _META_LIMIT:
            raise InvalidInput(f"invalid tar: an extended header of {size} bytes")
        body = self.source.exactly(size)
        self.source.skip(padding(size))
        return body

    def _old_sparse(self, entry: Entry, block: bytes) -> None:
        extents = [_extent(block, 386 + 24 * index) for index in range(4)]
        more = block[482] != 0
        entry.kind = REGULAR
        entry.size = _number(block[483:495])
        while more:
            extension = self.source.exactly(BLOCK)
            extents += [_extent(extension, 24 * index) for index in range(21)]
            more = extension[504] != 0
        _set_sparse(entry, [extent for extent in extents if extent is not None])

    def _pax_sparse(self, entry: Entry, pairs: list[tuple[bytes, bytes]]) -> None:
        values = dict(pairs)
        if b"GNU.sparse.name" in values:
            entry.name = os.fsdecode(values[b"GNU.sparse.name"])
        real = values.get(b"GNU.sparse.realsize", values.get(b"GNU.sparse.size"))
        if real is None:
            return
        if values.get(b"GNU.sparse.major") == b"1":
            numbers = self._sparse_map(entry)
        elif b"GNU.sparse.map" in values:
            numbers = [_integer(part) for part in values[b"GNU.sparse.map"].split(b",") if part]
        else:
            numbers = [_integer(v) for k, v in pairs if k in (b"GNU.sparse.offset", b"GNU.sparse.numbytes")]
        entry.size = _integer(real)
        _set_sparse(entry, list(zip(numbers[::2], numbers[1::2], strict=False)))

    def _sparse_map(self, entry: Entry) -> list[int]:
        """The map of format 1.0: decimal lines at the start of the content, filled up to a whole block."""
        text = b""
        numbers: list[int] = []
        wanted = 1
        while len(numbers) < wanted:
            if len(text) > _META_LIMIT:
                raise InvalidInput("invalid tar: an endless sparse map")
            self._take(BLOCK)
            text += self.source.exactly(BLOCK)
            lines = text.split(b"\n")[:-1]
            numbers = [_integer(line) for line in lines]
            wanted = 1 + 2 * numbers[0] if numbers else 1
            if len(numbers) > wanted:
                numbers = numbers[:wanted]
        entry.stored -= len(text)
        return numbers[1:]


def _set_sparse(entry: Entry, extents: list[tuple[int, int]]) -> None:
    end = 0
    for offset, length in extents:
        if offset < end or length < 0:
            raise InvalidInput(f"invalid tar: the sparse map of {entry.name} is out of order")
        end = offset + length
    if end > entry.size or sum(length for _, length in extents) != entry.stored:
        raise InvalidInput(f"invalid tar: the sparse map of {entry.name} does not fit its size")
    entry.sparse = extents


def _extent(block: bytes, at: int) -> tuple[int, int] | None:
    if block[at] == 0:
        return None
    return _number(block[at : at + 12]), _number(block[at + 12 : at + 24])


def _parse(block: bytes) -> tuple[Entry, int]:
    recorded = _number(block[148:156])
    if recorded != sum(block) - sum(block[148:156]) + 256:
        raise InvalidInput("invalid tar: bad header checksum", remedy="is it really a tar archive?")
    raw = block[:100].split(b"\0", 1)[0]
    if block[257:263] == b"ustar\0" and block[345]:
        raw = block[345:500].split(b"\0", 1)[0] + b"/" + raw
    kind = block[156:157]
    if kind in (b"\0", b"7"):
        kind = DIRECTORY if kind == b"\0" and raw.endswith(b"/") else REGULAR
    device = kind in (CHARACTER, BLOCKDEV)
    entry = Entry(
        name=os.fsdecode(raw),
        kind=kind,
        mode=_number(block[100:108]) & 0o7777,
        uid=_number(block[108:116]),
        gid=_number(block[116:124]),
        mtime=_number(block[136:148]) * NANOSECONDS,
        link=os.fsdecode(block[157:257].split(b"\0", 1)[0]),
        major=_number(block[329:337]) if device else 0,
        minor=_number(block[337:345]) if device else 0,
    )
    size = _number(block[124:136])
    if size < 0:
        raise InvalidInput("invalid tar: a negative size")
    return entry, size


def _number(raw: bytes) -> int:
    """Octal text, or GNU's base-256 when the first bit is set."""
    if raw[0] & 0x80:
        value = int.from_bytes(raw, "big") & ((1 << (8 * len(raw) - 1)) - 1)
        return value - (1 << (8 * len(raw) - 1)) if raw[0] & 0x40 else value
    text = raw.split(b"\0", 1)[0].strip()
    try:
        return int(text, 8) if text else 0
    except ValueError:
        raise InvalidInput(
            "invalid tar: a header field is not a number", remedy="is it really a tar archive?"
        ) from None


def _integer(text: bytes) -> int:
    if not text.isdigit():
        raise InvalidInput(f"invalid tar: {text[:40]!r} in an extended header is not a number")
    return int(text)


def _records(body: bytes) -> list[tuple[bytes, bytes]]:
    found = []
    at = 0
    while at < len(body) and body[at] != 0:
        space = body.find(b" ", at)
        length = _integer(body[at:space]) if space > 0 else 0
        key, equals, value = body[space + 1 : at + length].partition(b"=")
        if not equals or not value.endswith(b"\n") or at + length > len(body):
            raise InvalidInput("invalid tar: a malformed extended header")
        found.append((key, value[:-1]))
        at += length
    return found


def _override(entry: Entry, pax: dict[bytes, bytes]) -> None:
    for key, value in pax.items():
        if key == b"path":
            entry.name = os.fsdecode(value)
        elif key == b"linkpath":
            entry.link = os.fsdecode(value)
        elif key == b"size":
            entry.size = _integer(value)
        elif key == b"uid":
            entry.uid = _integer(value)
        elif key == b"gid":
            entry.gid = _integer(value)
        elif key == b"mtime":
            entry.mtime = _time(value)
        elif key.startswith(XATTR):
            entry.xattrs[os.fsdecode(key[len(XATTR) :])] = value


def _time(text: bytes) -> int:
    sign = -1 if text.startswith(b"-") else 1
    whole, _, fraction = text.lstrip(b"-").partition(b".")
    return sign * (_integer(whole or b"0") * NANOSECONDS + _integer(fraction.ljust(9, b"0")[:9]))
