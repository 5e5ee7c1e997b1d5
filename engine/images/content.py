"""Content by digest: the blobs of an OCI image layout.

Owns ``ROOT/blobs/sha256/*``, ``ROOT/oci-layout`` and the staging directories ``ROOT/staging/TOKEN``. Bytes are
written to a temporary file in a staging directory, hashed on the way, named by their digest, synced, and published by
a link: a digest's file in the store is whole or absent. Knows no references: what may be deleted is decided by
``engine.images.layers`` and its callers.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from engine.errors import InvalidInput, NotFound
from engine.host import rooted

_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
_CHUNK = 1 << 20


def digest_of(data: bytes) -> str:
    """``sha256:<hex>`` of some bytes."""
    import hashlib

    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Writer:
    """One blob being written; ``commit`` gives it its name, leaving the context without it drops the blob."""

    def __init__(self, directory: Path) -> None:
        import hashlib  # OpenSSL takes milliseconds to load, and most commands write no blob

        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._directory = directory
        self._temporary = directory / f".writing-{os.urandom(8).hex()}"
        self._descriptor = os.open(self._temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._hash = hashlib.sha256()
        self.size = 0

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Append; hashing and writing release the interpreter lock for large pieces."""
        self._hash.update(data)
        view = memoryview(data)
        length = len(view)
        while view:
            view = view[os.write(self._descriptor, view) :]
        self.size += length
        return length

    def commit(self, expected: str | None = None) -> tuple[str, int]:
        """Name the blob; (digest, size). InvalidInput when the digest is not ``expected``."""
        digest = f"sha256:{self._hash.hexdigest()}"
        if expected is not None and digest != expected:
            raise InvalidInput(
                f"content has digest {digest} where {expected} was expected",
                remedy="the data is damaged or not what its description says: get it again",
            )
        self._temporary.rename(self._directory / digest.partition(":")[2])
        os.close(self._descriptor)
        self._descriptor = -1
        return digest, self.size

    def discard(self) -> None:
        """Drop what was written, unless it was committed."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            self._temporary.unlink(missing_ok=True)


class Staging:
    """Blobs of one unfinished operation, invisible to all others until ``publish``.

    What is in the directory when its operation is found abandoned is what recovery has to look at, so nothing else
    needs to be recorded beforehand.
    """

    def __init__(self, store: ContentStore, token: str) -> None:
        self.store = store
        self.token = token
        self.directory = store.root / "staging" / token

    def writer(self) -> Writer:
        """A writer into this staging area."""
        return Writer(self.directory)

    def put(self, data: bytes) -> str:
        """Store some bytes; their digest."""
        digest = digest_of(data)
        if not (self.directory / _hex(digest)).exists():
            with self.writer() as writer:
                writer.write(data)
                writer.commit(digest)
        return digest

    def pin(self, digest: str) -> bool:
        """Hold a blob that is in the store already, so that a removal meanwhile cannot take it; False when absent."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            os.link(self.store.path(digest), self.directory / _hex(digest))
        except FileExistsError:
            return True
        except FileNotFoundError:
            return False
        return True

    def path(self, digest: str) -> Path:
        """The blob's file, here or in the store."""
        here = self.directory / _hex(digest)
        return here if here.exists() else self.store.path(digest)

    def open(self, digest: str) -> BinaryIO:
        """Open a blob for reading, here or in the store."""
        return _open(self.path(digest), digest)

    def read(self, digest: str) -> bytes:
        """A small blob's bytes."""
        with self.open(digest) as stream:
            return stream.read()

    def size(self, digest: str) -> int:
        """A blob's length in bytes."""
        return self.path(digest).stat().st_size

    def digests(self) -> list[str]:
        """All blobs staged here."""
        try:
            return sorted(f"sha256:{name}" for name in os.listdir(self.directory) if not name.startswith("."))
        except FileNotFoundError:
            return []

    def drop(self, digest: str) -> None:
        """Forget one staged blob."""
        (self.directory / _hex(digest)).unlink(missing_ok=True)

    def sync(self, digests: Iterable[str]) -> None:
        """Make staged blobs durable: to be done before ``publish``, and outside of any lock, because it is slow."""
        for digest in digests:
            _sync(self.directory / _hex(digest))

    def publish(self, digests: Iterable[str]) -> None:
        """Make staged blobs visible in the store; the staged names stay until ``clear``."""
        self.store.prepare()
        for digest in digests:
            try:
                os.link(self.directory / _hex(digest), self.store.path(digest))
            except FileExistsError:
                continue
        _sync(self.store.blobs)

    def clear(self) -> None:
        """Remove the staging directory and what it still holds."""
        rooted.remove(str(self.directory))


class ContentStore:
    """The blobs of one data root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.blobs = root / "blobs" / "sha256"

    def prepare(self) -> None:
        """Make the layout's directories and marker file."""
        self.blobs.mkdir(parents=True, exist_ok=True, mode=0o700)
        marker = self.root / "oci-layout"
        # Nothing here reads it, and a crash while it is written is mended the next time.
        if not marker.exists() or marker.read_bytes() != _LAYOUT:
            marker.write_bytes(_LAYOUT)

    def staging(self, token: str) -> Staging:
        """The staging area of the operation ``token``."""
        return Staging(self, token)

    def path(self, digest: str) -> Path:
        """Where the blob is or would be."""
        return self.blobs / _hex(digest)

    def has(self, digest: str) -> bool:
        """True when the blob is here, whole."""
        return self.path(digest).exists()

    def open(self, digest: str) -> BinaryIO:
        """Open a blob for reading; NotFound when it is not here."""
        return _open(self.path(digest), digest)

    def read(self, digest: str) -> bytes:
        """A small blob's bytes."""
        with self.open(digest) as stream:
            return stream.read()

    def remove(self, digest: str) -> None:
        """Delete a blob; fine when it is not here."""
        self.path(digest).unlink(missing_ok=True)


def _open(path: Path, digest: str) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise NotFound(f"content {digest} is missing", remedy="load or build the image again") from error


def _hex(digest: str) -> str:
    algorithm, _, value = digest.partition(":")
    if algorithm != "sha256" or len(value) != 64 or not all(c in "0123456789abcdef" for c in value):
        raise InvalidInput(f"unsupported digest {digest[:80]!r}: only sha256 is known here")
    return value


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
