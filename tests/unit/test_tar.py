"""The tar codec against two oracles: Python's tarfile and GNU tar."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import InvalidInput
from engine.storage import tar
from engine.storage.archive_source import FileSource, StreamSource, source_of
from engine.storage.tar_reader import Reader

pytestmark = pytest.mark.unit

KINDS = {
    tar.REGULAR: tarfile.REGTYPE,
    tar.HARDLINK: tarfile.LNKTYPE,
    tar.SYMLINK: tarfile.SYMTYPE,
    tar.CHARACTER: tarfile.CHRTYPE,
    tar.BLOCKDEV: tarfile.BLKTYPE,
    tar.DIRECTORY: tarfile.DIRTYPE,
    tar.FIFO: tarfile.FIFOTYPE,
}

# What file systems allow: any bytes but zero, no empty names.
names = st.lists(
    st.binary(min_size=1, max_size=80).map(lambda b: b.replace(b"\0", b"0").replace(b"/", b"_")),
    min_size=1,
    max_size=4,
).map(lambda parts: os.fsdecode(b"/".join(parts)))


@st.composite
def entries(draw: st.DrawFn) -> tar.Entry:
    kind = draw(st.sampled_from(list(KINDS)))
    device = kind in (tar.CHARACTER, tar.BLOCKDEV)
    return tar.Entry(
        draw(names),
        kind,
        draw(st.integers(0, 0o7777)),
        draw(st.integers(0, 2**32 - 2)),
        draw(st.integers(0, 2**32 - 2)),
        mtime=draw(st.integers(-(10**18), 8 * 10**18)),
        link=draw(names) if kind in (tar.HARDLINK, tar.SYMLINK) else "",
        major=draw(st.integers(0, 4095)) if device else 0,
        minor=draw(st.integers(0, 2**20)) if device else 0,
        xattrs=draw(
            st.dictionaries(
                st.sampled_from(["user.a", "user.b=c", "security.capability"]), st.binary(max_size=64), max_size=2
            )
        )
        if kind == tar.REGULAR
        else {},
    )


def read_all(source: io.BytesIO) -> list[tuple[tar.Entry, bytes]]:
    reader = Reader(StreamSource(source))
    found = []
    while (entry := reader.next()) is not None:
        found.append((entry, reader.content(entry, 1 << 20) if entry.kind == tar.REGULAR else b""))
    return found


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(st.tuples(entries(), st.binary(max_size=1200)), max_size=4))
def test_what_is_written_is_read_back(members: list[tuple[tar.Entry, bytes]]) -> None:
    out = io.BytesIO()
    for entry, data in members:
        content = data if entry.kind == tar.REGULAR else b""
        # A key with an equals sign cannot be written in a pax record: no file system tool makes one.
        entry.xattrs = {key: value for key, value in entry.xattrs.items() if "=" not in key}
        entry.size = entry.stored = len(content)
        out.write(tar.encode(entry) + content + bytes(tar.padding(len(content))))
    out.write(tar.END)
    out.seek(0)

    read = read_all(out)

    assert [entry for entry, _ in read] == [entry for entry, _ in members]
    assert [data for _, data in read] == [data if entry.kind == tar.REGULAR else b"" for entry, data in members]


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(entries())
def test_python_reads_what_is_written(entry: tar.Entry) -> None:
    entry.xattrs = {}
    stream = io.BytesIO(tar.encode(entry) + tar.END)

    with tarfile.open(fileobj=stream, encoding="utf-8", errors="surrogateescape") as archive:
        info = archive.next()

    assert info is not None
    assert info.name == entry.name.rstrip("/") and info.linkname == entry.link
    assert (info.type, info.mode, info.uid, info.gid) == (KINDS[entry.kind], entry.mode, entry.uid, entry.gid)
    assert (info.devmajor, info.devminor) == (entry.major, entry.minor)
    assert abs(info.mtime - entry.mtime / 1e9) <= abs(entry.mtime / 1e9) * 1e-12 + 1e-6


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_python_writes_is_read(form: int) -> None:
    stream = io.BytesIO()
    long = "/".join(["directory-" + "d" * 40] * (2 if form == tarfile.USTAR_FORMAT else 8))
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for name in ("plain", long + "/file", "ümlaut"):
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.mtime = 5, 0o4755, 1_700_000_000
            info.uid = info.gid = 70_000 if form == tarfile.USTAR_FORMAT else 3_000_000
            archive.addfile(info, io.BytesIO(b"12345"))
        info = tarfile.TarInfo("link")
        info.type, info.linkname = tarfile.SYMTYPE, long[:95] if form == tarfile.USTAR_FORMAT else long
        archive.addfile(info)
    stream.seek(0)

    read = read_all(stream)

    assert [entry.name for entry, _ in read] == ["plain", long + "/file", "ümlaut", "link"]
    assert [data for _, data in read] == [b"12345"] * 3 + [b""]
    assert read[0][0].mode == 0o4755 and read[0][0].mtime == 1_700_000_000 * 10**9
    assert read[1][0].uid == info.uid or read[1][0].uid in (70_000, 3_000_000)
    assert read[3][0].link == (long[:95] if form == tarfile.USTAR_FORMAT else long)


GNU_SPARSE_FORMS = ["gnu", *(f"pax --sparse-version={version}" for version in ("0.0", "0.1", "1.0"))]


@pytest.mark.parametrize("form", GNU_SPARSE_FORMS)
def test_sparse_files_of_gnu_tar_keep_their_holes(tmp_path: Path, form: str) -> None:
    original = tmp_path / "holes"
    with original.open("wb") as file:
        for index in range(40):  # more extents than one old header holds
            file.seek(index * 256 * 1024)
            file.write(b"%08d" % index * 512)
        file.truncate(20 << 20)
    archive = tmp_path / "a.tar"
    subprocess.run(
        ["tar", *f"--format={form}".split(), "--sparse", "-cf", archive, "-C", tmp_path, "holes"],
        check=True,
        capture_output=True,
    )
    assert archive.stat().st_size < 2 << 20, "the oracle did not write a sparse archive"

    copy = tmp_path / "copy"
    with archive.open("rb") as file, copy.open("wb") as out:
        reader = Reader(source_of(file))
        entry = reader.next()
        assert entry is not None and entry.name == "holes" and entry.size == 20 << 20
        reader.copy(out.fileno(), entry)
        assert reader.next() is None

    assert copy.read_bytes() == original.read_bytes()
    assert copy.stat().st_blocks * 512 < 4 << 20


def test_members_after_one_whose_content_was_not_read(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in ("a", "b"):
            info = tarfile.TarInfo(name)
            info.size = 700
            archive.addfile(info, io.BytesIO(bytes(700)))
    path = tmp_path / "x.tar"
    path.write_bytes(stream.getvalue())
    with path.open("rb") as file:
        reader = Reader(FileSource(file.fileno()))
        assert [getattr(reader.next(), "name", None) for _ in range(3)] == ["a", "b", None]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: data[:700], "unexpected end"),
        (lambda data: data[:100], "unexpected end"),
        (lambda data: b"x" + data[1:], "checksum"),
        (lambda data: data[:124] + b"99999999999\0" + data[136:], "checksum"),
        (lambda data: data[:148] + b"oops\0\0\0\0" + data[156:], "not a number"),
        (lambda data: b"\x7fELF" + bytes(1020), "checksum"),
    ],
)
def test_damage_is_told(damage: object, words: str) -> None:
    entry = tar.Entry("file", size=1000)
    data = tar.encode(entry) + bytes(1000) + bytes(24) + tar.END
    with pytest.raises(InvalidInput, match=words):
        read_all(io.BytesIO(damage(data)))  # type: ignore[operator]


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.binary(max_size=3000), st.integers(0, 511))
def test_random_bytes_never_surprise(noise: bytes, at: int) -> None:
    valid = tar.encode(tar.Entry("some/long/name" * 12, size=3, xattrs={"user.x": b"1"})) + b"abc" + bytes(509)
    for data in (noise, valid[:at] + noise + valid[at:], valid + noise):
        with contextlib.suppress(InvalidInput):
            read_all(io.BytesIO(data))


def test_the_same_entry_gives_the_same_bytes() -> None:
    one = tar.Entry("a" * 120, xattrs={"user.b": b"2", "user.a": b"1"}, mtime=1_500_000_000)
    two = tar.Entry("a" * 120, xattrs={"user.a": b"1", "user.b": b"2"}, mtime=1_500_000_000)
    assert tar.encode(one) == tar.encode(two)
    assert len(tar.encode(tar.Entry("short", mtime=10**18))) == tar.BLOCK
