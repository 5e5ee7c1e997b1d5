"""The tar format: what a member is, and how its header is written.

Owns ``Entry`` and its bytes (POSIX.1-2001 pax over ustar); ``tar_reader`` is the other direction. Knows no whiteouts
and no layers, opens no files. Written archives depend on their entries alone: no user names, no clock, no pax header
that is not needed. Python's ``tarfile`` serves the tests as oracle; it is several times slower and gives binary
extended attributes only by way of text.
"""

from __future__ import annotations

import os

from engine.values import dataclass, field

BLOCK = 512
END = bytes(2 * BLOCK)

REGULAR, HARDLINK, SYMLINK, CHARACTER, BLOCKDEV, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
PAX = b"x"
# How pax headers carry extended attributes (star, GNU tar and Go agree on it).
XATTR = b"SCHILY.xattr."
NANOSECONDS = 1_000_000_000


@dataclass
class Entry:
    """One member. ``name`` and ``link`` are file-system strings (surrogateescape), ``mtime`` is in nanoseconds.

    ``size`` is the logical size. ``stored`` is the number of content bytes in the archive, which differs for a sparse
    file: then ``sparse`` lists its (offset, length) data extents in order.
    """

    name: str
    kind: bytes = REGULAR
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime: int = 0
    link: str = ""
    major: int = 0
    minor: int = 0
    xattrs: dict[str, bytes] = field(default_factory=dict)
    stored: int = 0
    sparse: list[tuple[int, int]] | None = None


def padding(size: int) -> int:
    """Bytes after ``size`` content bytes up to the next block."""
    return -size % BLOCK


def encode(entry: Entry) -> bytes:
    """The header blocks of ``entry``: a pax header where ustar cannot say it, then the ustar header."""
    name = os.fsencode(entry.name)
    link = os.fsencode(entry.link)
    seconds, fraction = divmod(entry.mtime, NANOSECONDS)
    records: list[tuple[bytes, bytes]] = []
    if len(name) > 100 or not name.isascii():
        records.append((b"path", name))
    if len(link) > 100 or not link.isascii():
        records.append((b"linkpath", link))
    if entry.size >= 1 << 33:
        records.append((b"size", b"%d" % entry.size))
    if entry.uid >= 1 << 21:
        records.append((b"uid", b"%d" % entry.uid))
    if entry.gid >= 1 << 21:
        records.append((b"gid", b"%d" % entry.gid))
    if fraction or seconds < 0 or seconds >= 1 << 33:
        records.append((b"mtime", _decimal(entry.mtime)))
    for key in sorted(entry.xattrs):
        records.append((XATTR + os.fsencode(key), entry.xattrs[key]))
    header = _ustar(entry, name, link, entry.kind, entry.size, max(seconds, 0))
    if not records:
        return header
    body = b"".join(_record(key, value) for key, value in records)
    lead = _ustar(Entry("", mode=0o644), b"PaxHeaders/" + name[-80:].lstrip(b"/"), b"", PAX, len(body), 0)
    return lead + body + bytes(padding(len(body))) + header


def _ustar(entry: Entry, name: bytes, link: bytes, kind: bytes, size: int, seconds: int) -> bytes:
    block = b"".join(
        (
            name[:100].ljust(100, b"\0"),
            b"%07o\0%07o\0%07o\0" % (entry.mode & 0o7777, entry.uid & 0o7777777, entry.gid & 0o7777777),
            b"%011o\0%011o\0" % (size & 0o77777777777, seconds & 0o77777777777),
            b"        ",
            kind,
            link[:100].ljust(100, b"\0"),
            b"ustar\x0000",
            bytes(64),
            b"%07o\0%07o\0" % (entry.major, entry.minor),
            bytes(167),
        )
    )
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _decimal(nanoseconds: int) -> bytes:
    sign = b"-" if nanoseconds < 0 else b""
    whole, fraction = divmod(abs(nanoseconds), NANOSECONDS)
    text = b"%s%d.%09d" % (sign, whole, fraction)
    return text.rstrip(b"0").rstrip(b".")


def _record(key: bytes, value: bytes) -> bytes:
    # The length counts its own digits.
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)
