"""Archives that ADD extracts.

Owns telling a tar archive (plain, gzip, bzip2, xz, zstd) from any other file by its content, as docker does, whatever
its name, and its extraction. The tar format itself is ``engine.storage``'s.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, cast

from engine.build.context import open_regular
from engine.errors import HostError, InvalidInput
from engine.images.compression import decompressed
from engine.storage.unpack import Deletions, source_of, unpack

_BLOCK = 512
_CHECKSUM = slice(148, 156)


def is_archive(path: Path) -> bool:
    """True when the file at ``path`` (a last link is not followed) begins with a tar header, compressed or not."""
    try:
        with _open(path) as file, decompressed(file) as stream:
            return _is_header(_read_block(stream))
    except (InvalidInput, HostError):
        return False


def extract(path: Path, directory: str) -> None:
    """Unpack the archive at ``path`` into the existing ``directory``; owners are the archive's, even with ``--chown``.

    Names that begin with ``.wh.`` are ordinary names here. InvalidInput for damaged or hostile archives.
    """
    with _open(path) as file, decompressed(file) as stream:
        unpack(source_of(stream), directory, Deletions.PLAIN)


def _open(path: Path) -> BinaryIO:
    import os

    with open_regular(path) as regular:
        return cast(BinaryIO, os.fdopen(os.dup(regular.descriptor), "rb"))


def _read_block(stream: BinaryIO) -> bytes:
    block = b""
    while len(block) < _BLOCK and (piece := stream.read(_BLOCK - len(block))):
        block += piece
    return block


def _is_header(block: bytes) -> bool:
    """A tar header names the sum of its own bytes, counting that field as blanks (POSIX.1-2001, pax)."""
    if len(block) < _BLOCK or not any(block):
        return False
    try:
        written = int(block[_CHECKSUM].strip(b" \0") or b"0", 8)
    except ValueError:
        return False
    return written == sum(block) - sum(block[_CHECKSUM]) + 8 * 0x20
