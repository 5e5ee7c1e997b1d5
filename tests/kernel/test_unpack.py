"""Unpacking archives that lie: nothing outside the root changes, and whiteouts concern lower layers only."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import EngineError, InvalidInput
from engine.storage import tar
from engine.storage.archive_source import StreamSource
from engine.storage.overlay2 import Overlay2
from engine.storage.unpack import Deletions, unpack
from engine.storage.vfs import Vfs
from engine.storage.whiteouts import is_overlay_opaque, is_overlay_whiteout

pytestmark = pytest.mark.kernel

DIR, FILE, SYM, HARD = tar.DIRECTORY, tar.REGULAR, tar.SYMLINK, tar.HARDLINK
Member = tuple[str, bytes, str]


def archive(*members: Member | tar.Entry) -> io.BytesIO:
    """A tar of (name, kind, content or link target) and ready entries."""
    out = io.BytesIO()
    for member in members:
        data = b""
        if isinstance(member, tar.Entry):
            entry = member
        else:
            name, kind, text = member
            entry = tar.Entry(name, kind, 0o755 if kind == DIR else 0o644)
            if kind == FILE:
                data = text.encode()
                entry.size = len(data)
            else:
                entry.link = text
        out.write(tar.encode(entry) + data + bytes(tar.padding(len(data))))
    out.write(tar.END)
    out.seek(0)
    return out


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Path]:
    """A directory that stands for the host; whatever is unpacked into ``host/root`` must leave the rest alone."""
    host = tmp_path / "host"
    (host / "root").mkdir(parents=True)
    (host / "etc").mkdir()
    (host / "etc/passwd").write_text("untouched")
    (host / "etc").chmod(0o711)

    def outside() -> list[tuple[object, ...]]:
        paths = [path for path in sorted(host.rglob("*")) if host / "root" not in (path, *path.parents)]
        return [(p.name, p.lstat().st_mode, p.lstat().st_ino, p.lstat().st_nlink, p.lstat().st_mtime_ns) for p in paths]

    before = outside()
    yield host
    assert outside() == before
    assert (host / "etc/passwd").read_text() == "untouched"


def into(host: Path, *members: Member | tar.Entry, deletions: Deletions = Deletions.OVERLAY) -> Path:
    unpack(StreamSource(archive(*members)), host / "root", deletions)
    return host / "root"


@pytest.mark.parametrize("name", ["../etc/passwd", "a/../../etc/passwd", "/../../etc/passwd"])
@pytest.mark.parametrize("kind", [FILE, DIR, SYM, HARD, tar.FIFO])
def test_names_that_climb_are_refused(host: Path, name: str, kind: bytes) -> None:
    with pytest.raises(InvalidInput, match="leads out"):
        into(host, ("a", DIR, ""), (name, kind, "a"))


@pytest.mark.parametrize("target", ["../etc", "/etc", "../../../../../../../../etc", "HOST/etc", "/proc/self/root/etc"])
def test_writing_through_a_link_stays_inside(host: Path, target: str) -> None:
    target = target.replace("HOST", str(host))
    root = into(
        host,
        ("evil", SYM, target),
        ("evil/passwd", FILE, "pwned"),
        ("evil/.wh.shadow", FILE, ""),
        ("evil/dir", DIR, ""),
        ("evil/.wh..wh..opq", FILE, ""),
    )
    written = [path for path in root.rglob("passwd") if path.is_file()]
    assert [path.read_text() for path in written] == ["pwned"]


def test_a_link_in_the_place_of_a_file_is_replaced_not_followed(host: Path) -> None:
    root = into(
        host,
        ("passwd", SYM, str(host / "etc/passwd")),
        ("passwd", FILE, "mine"),
        ("dir", SYM, str(host / "etc")),
        ("dir", DIR, ""),
        ("dir/passwd", FILE, "mine too"),
    )
    assert (root / "passwd").read_text() == "mine" and not (root / "passwd").is_symlink()
    assert (root / "dir/passwd").read_text() == "mine too" and not (root / "dir").is_symlink()


def test_attributes_of_a_link_are_its_own(host: Path) -> None:
    link = tar.Entry("link", SYM, 0o777, 33, 33, mtime=10**18, link=str(host / "etc"))
    link.xattrs = {"user.x": b"1"}
    root = into(host, link)
    assert (root / "link").lstat().st_uid == 33


@pytest.mark.parametrize("target", ["../etc/passwd", "/../etc/passwd", "a/../../etc/passwd"])
def test_hard_links_that_climb_are_refused(host: Path, target: str) -> None:
    with pytest.raises(InvalidInput, match="leads out"):
        into(host, ("a", DIR, ""), ("stolen", HARD, target))


def test_hard_links_through_links_stay_inside(host: Path) -> None:
    with pytest.raises(InvalidInput, match="does not exist"):
        into(host, ("way", SYM, str(host / "etc")), ("stolen", HARD, "way/passwd"))


def test_a_hard_link_to_a_link_is_no_way_out(host: Path) -> None:
    root = into(host, ("way", SYM, str(host / "etc/passwd")), ("same", HARD, "way"))
    assert (root / "same").is_symlink()
    # A later file of that name must replace the link.
    into(host, ("same", FILE, "mine"))
    assert (root / "same").read_text() == "mine"


def test_hard_links_to_directories_and_to_nothing_are_refused(host: Path) -> None:
    with pytest.raises(InvalidInput, match="directory"):
        into(host, ("a", DIR, ""), ("b", HARD, "a"))
    with pytest.raises(InvalidInput, match="does not exist"):
        into(host, ("b", HARD, "missing"))
    with pytest.raises(InvalidInput, match="root directory"):
        into(host, ("b", HARD, "/"))


def test_a_file_in_the_way_of_a_directory_is_told(host: Path) -> None:
    with pytest.raises(InvalidInput, match="Not a directory"):
        into(host, ("a", FILE, "x"), ("a/b", FILE, "y"))


def test_link_loops_end(host: Path) -> None:
    with pytest.raises(InvalidInput, match="symbolic links"):
        into(host, ("a", SYM, "b"), ("b", SYM, "a"), ("a/file", FILE, "x"))


@pytest.mark.parametrize(
    ("key", "value"),
    [("uid", str(2**40)), ("gid", "9" * 5000), ("mtime", "9" * 30), ("linkpath", "a\0b"), ("path", "a\0b")],
)
def test_values_no_file_can_have_are_refused(host: Path, key: str, value: str) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as hostile:
        member = tarfile.TarInfo("x")
        member.type, member.linkname = tarfile.SYMTYPE, "target"
        member.pax_headers = {key: value}
        hostile.addfile(member)
    out.seek(0)
    with pytest.raises(InvalidInput, match="invalid tar"):
        unpack(StreamSource(out), host / "root")


def test_set_id_bits_devices_and_owners_arrive(host: Path) -> None:
    root = into(
        host,
        tar.Entry("su", FILE, 0o6755, 33, 44),
        tar.Entry("null", tar.CHARACTER, 0o666, 0, 5, major=1, minor=3),
        tar.Entry("disk", tar.BLOCKDEV, 0o660, major=8, minor=0),
        tar.Entry("pipe", tar.FIFO, 0o600),
        tar.Entry("late", DIR, 0o1777, mtime=1_000_000_000 * 10**9),
        ("late/child", FILE, "made after its directory"),
    )
    assert stat.S_IMODE((root / "su").stat().st_mode) == 0o6755
    assert ((root / "su").stat().st_uid, (root / "su").stat().st_gid) == (33, 44)
    assert (root / "null").stat().st_rdev == os.makedev(1, 3) and stat.S_ISCHR((root / "null").stat().st_mode)
    assert stat.S_ISBLK((root / "disk").stat().st_mode) and stat.S_ISFIFO((root / "pipe").stat().st_mode)
    assert (root / "late").stat().st_mtime == 1_000_000_000


def test_only_attributes_of_an_image_are_set(host: Path) -> None:
    entry = tar.Entry("file", FILE)
    entry.xattrs = {
        "user.kept": b"\x00\xff",
        "trusted.overlay.redirect": b"/etc",
        "trusted.overlay.opaque": b"y",
        "security.selinux": b"system_u:object_r:shadow_t:s0\x00",
    }
    root = into(host, entry)
    names = set(os.listxattr(root / "file"))
    assert "user.kept" in names and not {name for name in names if name.startswith("trusted.")}


def test_python_s_own_archives_arrive(host: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as made:
        info = tarfile.TarInfo("d/" * 30 + "deep-" + "n" * 150)
        info.size = 3
        info.pax_headers = {"SCHILY.xattr.user.x": "value"}
        made.addfile(info, io.BytesIO(b"abc"))
    out.seek(0)
    unpack(StreamSource(out), host / "root")
    assert os.getxattr(host / "root" / info.name, "user.x") == b"value"


# ------------------------------------------------------------------------------------------------------------ whiteouts


def test_whiteouts_of_an_overlay_layer(host: Path) -> None:
    root = into(host, ("etc/.wh.gone", FILE, ""), ("etc/.wh..wh..opq", FILE, ""), ("etc/new", FILE, "x"),
                ("opt/.wh..wh.plnk", DIR, ""))  # fmt: skip
    assert is_overlay_whiteout((root / "etc/gone").lstat())
    assert is_overlay_opaque(str(root / "etc")) and (root / "etc/new").exists()
    assert os.listdir(root / "opt") == []


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (1, 0, 2)])
def test_a_name_deleted_and_made_again_in_one_layer(tmp_path: Path, order: tuple[int, ...]) -> None:
    members: list[Member] = [("d/.wh.x", FILE, ""), ("d/x", DIR, ""), ("d/x/new", FILE, "new")]
    for kind in (Overlay2, Vfs):
        driver = kind(tmp_path / kind.name)
        driver.create("base", None)
        driver.apply("base", archive(("d", DIR, ""), ("d/x", DIR, ""), ("d/x/old", FILE, "old")))
        driver.create("top", "base")
        driver.apply("top", archive(*(members[index] for index in order)))
        driver.create("seen", "top")
        assert sorted(os.listdir(driver.mount("seen") / "d/x")) == ["new"], (kind, order)
        for id in driver.ids():
            driver.remove(id)


@pytest.mark.parametrize("marker_first", [True, False])
def test_files_of_the_same_layer_survive_an_opaque_marker(tmp_path: Path, marker_first: bool) -> None:
    marker: list[Member] = [("d/.wh..wh..opq", FILE, "")]
    files: list[Member] = [("d/new", FILE, "new"), ("d/sub", DIR, ""), ("d/sub/new", FILE, "new")]
    for kind in (Overlay2, Vfs):
        driver = kind(tmp_path / kind.name)
        driver.create("base", None)
        driver.apply("base", archive(("d/old", FILE, "old"), ("d/sub/old", FILE, "old")))
        driver.create("top", "base")
        driver.apply("top", archive(("d", DIR, ""), *(marker + files if marker_first else files + marker)))
        driver.create("seen", "top")
        root = driver.mount("seen")
        assert sorted(str(path.relative_to(root)) for path in root.rglob("*")) == ["d", "d/new", "d/sub", "d/sub/new"]
        for id in driver.ids():
            driver.remove(id)


def test_directories_a_layer_only_implies_keep_their_attributes(tmp_path: Path) -> None:
    for kind in (Overlay2, Vfs):
        driver = kind(tmp_path / kind.name)
        driver.create("base", None)
        driver.apply("base", archive(tar.Entry("tmp", DIR, 0o1777, 1, 2, mtime=10**18), ("tmp/x", FILE, "x")))
        driver.create("top", "base")
        driver.apply("top", archive(("tmp/new", FILE, "x"), ("tmp/.wh.x", FILE, "")))
        driver.create("seen", "top")
        status = (driver.mount("seen") / "tmp").stat()
        assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o1777, 1, 2)
        assert os.listdir(driver.mount("seen") / "tmp") == ["new"]
        for id in driver.ids():
            driver.remove(id)


def test_a_hard_link_to_a_file_of_a_lower_layer(tmp_path: Path) -> None:
    for kind in (Overlay2, Vfs):
        driver = kind(tmp_path / kind.name)
        driver.create("base", None)
        driver.apply("base", archive(("a", FILE, "content")))
        driver.create("top", "base")
        driver.apply("top", archive(("b", HARD, "a")))
        driver.create("seen", "top")
        assert (driver.mount("seen") / "b").read_text() == "content"
        for id in driver.ids():
            driver.remove(id)


def test_plain_archives_have_no_whiteouts(host: Path) -> None:
    root = into(host, (".wh.name", FILE, "just a name"), deletions=Deletions.PLAIN)
    assert (root / ".wh.name").read_text() == "just a name"


@pytest.mark.parametrize("name", [".wh.", ".wh...", ".wh.."])
def test_whiteouts_of_nothing_are_refused(host: Path, name: str) -> None:
    with pytest.raises(InvalidInput):
        into(host, ("a/" + name, FILE, ""))


# ----------------------------------------------------------------------------------------------------- anything at all

_part = st.sampled_from(["a", "b", "..", ".", "", "etc", "passwd", ".wh.a", ".wh..wh..opq", "HOST"])
_path = st.lists(_part, min_size=1, max_size=4).map("/".join)
_member = st.tuples(_path, st.sampled_from([FILE, DIR, SYM, HARD, tar.FIFO]), st.one_of(_path, _path.map("/{}".format)))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(_member, max_size=8), st.sampled_from(list(Deletions)))
def test_no_archive_reaches_the_host(host: Path, members: list[Member], deletions: Deletions) -> None:
    swapped = [(n.replace("HOST", str(host)), k, t.replace("HOST", str(host))) for n, k, t in members]
    with contextlib.suppress(EngineError):
        into(host, *swapped, deletions=deletions)
    assert sorted(os.listdir(host)) == ["etc", "root"]
    assert os.listdir(host / "etc") == ["passwd"] and (host / "etc/passwd").read_text() == "untouched"
