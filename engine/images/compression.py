"""Compressed streams, told by their first bytes.

Owns the recognition of gzip, bzip2, xz and zstd and their decompression. zstd goes through the ``zstd`` program,
because Python has no codec for it before 3.14. Knows no tar.
"""

from __future__ import annotations

import io
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from engine.errors import HostError, InvalidInput

_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_CHUNK = 1 << 20


def kind_of(head: bytes) -> str:
    """``gzip``, ``bzip2``, ``xz``, ``zstd`` or empty; six bytes are enough."""
    for magic, name in _MAGIC.items():
        if head.startswith(magic):
            return name
    return ""


@contextmanager
def decompressed(stream: BinaryIO) -> Iterator[BinaryIO]:
    """``stream`` from where it stands, decompressed where it is compressed; the caller keeps and closes ``stream``.

    InvalidInput when the data are damaged, HostError when ``zstd`` is needed and missing.
    """
    buffered = stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(_Raw(stream), _CHUNK)
    kind = kind_of(buffered.peek(6)[:6])
    try:
        if kind == "gzip":
            import gzip

            with gzip.GzipFile(fileobj=buffered) as plain:
                yield cast(BinaryIO, plain)
        elif kind == "bzip2":
            import bz2

            with bz2.BZ2File(buffered) as unpacked:
                yield cast(BinaryIO, unpacked)
        elif kind == "xz":
            import lzma

            with lzma.LZMAFile(buffered) as expanded:
                yield cast(BinaryIO, expanded)
        elif kind == "zstd":
            with _zstd(buffered) as piped:
                yield piped
        else:
            yield cast(BinaryIO, buffered)
    except (EOFError, ValueError) as error:
        raise InvalidInput(f"the {kind or 'archive'} data are damaged: {error}") from error
    except OSError as error:
        if error.errno is None:  # gzip.BadGzipFile and its kind carry no errno
            raise InvalidInput(f"the {kind} data are damaged: {error}") from error
        raise
    except Exception as error:
        if type(error).__name__ in ("error", "LZMAError"):
            raise InvalidInput(f"the {kind} data are damaged: {error}") from error
        raise
    finally:
        if buffered is not stream:
            buffered.detach()


class _Raw(io.RawIOBase):
    """Anything with ``read`` as a raw stream, for io.BufferedReader."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


@contextmanager
def _zstd(stream: BinaryIO) -> Iterator[BinaryIO]:
    try:
        process = subprocess.Popen(
            ["zstd", "-dcq"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    except FileNotFoundError as error:
        raise HostError(
            "decompressing zstd data", "zstd is not installed", remedy="install the package zstd"
        ) from error
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    feeding, complaints = process.stdin, process.stderr
    failure: list[BaseException] = []

    def feed() -> None:
        try:
            with feeding:
                while chunk := stream.read(_CHUNK):
                    feeding.write(chunk)
        except BrokenPipeError:
            pass
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=feed, name="zstd-feed", daemon=True)
    thread.start()
    try:
        yield cast(BinaryIO, process.stdout)
        # Read to the end, so that damage behind the last byte we wanted is found too.
        while process.stdout.read(_CHUNK):
            pass
        words = complaints.read().decode(errors="replace").strip()
        if process.wait() != 0:
            raise InvalidInput(f"the zstd data are damaged: {words}")
        if failure:
            raise failure[0]
    finally:
        process.kill()
        process.stdout.close()
        complaints.close()
        process.wait()
        thread.join()
