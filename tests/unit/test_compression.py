"""Compressed streams by their first bytes."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import subprocess

import pytest

from engine.errors import HostError, InvalidInput
from engine.images.compression import decompressed, kind_of

pytestmark = pytest.mark.unit

PLAIN = os.urandom(300_000) + bytes(3_000_000)


def zstd(data: bytes) -> bytes:
    return subprocess.run(["zstd", "-qc"], input=data, capture_output=True, check=True).stdout


FORMS = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress, "zstd": zstd, "": bytes}


@pytest.mark.parametrize("kind", FORMS)
def test_every_form_is_told_and_read(kind: str) -> None:
    data = FORMS[kind](PLAIN)
    assert kind_of(data[:6]) == kind
    with decompressed(io.BytesIO(data)) as stream:
        head = stream.read(100)
        assert head + stream.read() == PLAIN


def test_several_gzip_members_are_one_stream() -> None:
    with decompressed(io.BytesIO(gzip.compress(b"one") + gzip.compress(b"two"))) as stream:
        assert stream.read() == b"onetwo"


@pytest.mark.parametrize("kind", [kind for kind in FORMS if kind])
@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_damage_is_told(kind: str, damage: str) -> None:
    data = FORMS[kind](PLAIN)
    middle = len(data) // 2
    broken = data[:middle] if damage == "cut" else data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :]
    with pytest.raises(InvalidInput, match="damaged"), decompressed(io.BytesIO(broken)) as stream:
        while stream.read(1 << 16):
            pass


def test_an_abandoned_zstd_stream_leaves_no_process() -> None:
    with decompressed(io.BytesIO(zstd(PLAIN))) as stream:
        stream.read(10)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_missing_zstd_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    data = zstd(b"x")
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(HostError, match="zstd is not installed"), decompressed(io.BytesIO(data)):
        pass
