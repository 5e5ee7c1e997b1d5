"""Every storage driver keeps the same promises: layers, whiteouts, attributes, and nothing left behind."""

from __future__ import annotations

import io
import os
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.config import Config
from engine.errors import Conflict, HostError, InvalidInput, NotFound
from engine.host import mounts
from engine.storage.choice import choose
from engine.storage.driver import Driver
from engine.storage.overlay2 import MAX_DEPTH, Overlay2
from engine.storage.vfs import Vfs

pytestmark = pytest.mark.kernel

# A file capability as the kernel stores it (capabilities(7), vfs_cap_data revision 2): cap_net_raw+ep.
CAPABILITY = b"\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"


@pytest.fixture(params=[Overlay2, Vfs])
def driver(request: pytest.FixtureRequest, config: Config) -> Iterator[Driver]:
    driver = request.param(config.data_root / request.param.name)
    assert driver.probe(driver.root).usable
    yield driver
    for id in driver.ids():
        driver.remove(id)
    assert not mounts.points(driver.root)


def layer(driver: Driver, id: str) -> io.BytesIO:
    out = io.BytesIO()
    driver.diff(id, out)
    out.seek(0)
    return out


def members(archive: io.BytesIO) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=archive) as opened:
        found = {info.name: info for info in opened}
    archive.seek(0)
    return found


def listing(root: Path) -> list[tuple[object, ...]]:
    """Everything a container can see of a tree."""
    found: list[tuple[object, ...]] = []
    inodes: dict[int, str] = {}
    for path in [root, *sorted(root.rglob("*"))]:
        status = path.lstat()
        name = str(path.relative_to(root))
        first = inodes.setdefault(status.st_ino, name) if status.st_nlink > 1 and not path.is_dir() else name
        content: object = None
        if path.is_symlink():
            content = str(path.readlink())
        elif path.is_file():
            content = path.read_bytes()
        xattrs = {
            key: os.getxattr(path, key, follow_symlinks=False)
            for key in os.listxattr(path, follow_symlinks=False)
            if not key.startswith("trusted.overlay")
        }
        times = status.st_mtime_ns if name != "." else 0
        found.append(
            (name, first, status.st_mode, status.st_uid, status.st_gid, status.st_rdev, times, content, xattrs)
        )
    return found


def make_base(driver: Driver) -> None:
    """A layer ``base`` with every kind of file."""
    driver.create("work", None)
    root = driver.mount("work")
    (root / "etc").mkdir()
    (root / "etc/passwd").write_text("root:x:0:0::/:\n")
    (root / "etc/motd").write_text("hello\n")
    (root / "dir/sub").mkdir(parents=True)
    (root / "dir/sub/file").write_text("x")
    (root / "dir/old").write_text("old")
    (root / "one").write_text("linked")
    os.link(root / "one", root / "two")
    (root / "link").symlink_to("/etc/passwd")
    (root / "dangling").symlink_to("nowhere")
    os.mkfifo(root / "fifo", 0o640)
    os.mknod(root / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    (root / "su").write_bytes(b"program")
    os.chown(root / "su", 33, 44)
    (root / "su").chmod(0o6755)
    (root / "ping").write_bytes(b"program")
    os.setxattr(root / "ping", "security.capability", CAPABILITY)
    os.setxattr(root / "ping", "user.binary", b"\xff\x00=\n1")
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    with (root / "sparse").open("wb") as file:
        file.truncate(4 << 20)
        file.seek(1 << 20)
        file.write(b"data")
    (root / ("long-" + "n" * 200)).write_text("long")
    (root / os.fsdecode(b"not-\xff-utf8")).write_text("bytes")
    for path in sorted(root.rglob("*"), reverse=True):
        os.utime(path, ns=(0, 1_600_000_000_123_456_789), follow_symlinks=False)
    driver.create("base", None)
    driver.apply("base", layer(driver, "work"))


def test_a_layer_survives_packing_and_unpacking(driver: Driver) -> None:
    make_base(driver)
    driver.create("top", "base")

    assert listing(driver.mount("top")) == listing(driver.mount("work"))
    assert layer(driver, "base").getvalue() == layer(driver, "work").getvalue()
    assert driver.usage("base") == driver.usage("work") > 4 << 20


def change(root: Path) -> None:
    (root / "etc/passwd").unlink()
    (root / "etc/motd").write_text("changed\n")
    shutil.rmtree(root / "dir")
    (root / "dir").mkdir()
    (root / "dir/new").write_text("new")
    (root / "su").chmod(0o755)
    (root / "two").unlink()
    (root / "two").mkdir()
    (root / "two/inside").touch()
    os.link(root / "ping", root / "ping2")
    (root / "link").unlink()
    (root / "link").symlink_to("etc/motd")
    os.setxattr(root / "tmp", "user.mark", b"1")
    (root / "added/deep").mkdir(parents=True)


def test_changes_in_docker_s_words(driver: Driver) -> None:
    make_base(driver)
    driver.create("top", "base")
    change(driver.mount("top"))

    found = {change.path: change.kind for change in driver.changes("top")}

    assert found.pop("/ping", "C") == "C"  # A new hard link copies the file up where layers are apart.
    assert found == {
        "/etc": "C",
        "/etc/passwd": "D",
        "/etc/motd": "C",
        "/dir": "C",
        "/dir/sub": "D",
        "/dir/old": "D",
        "/dir/new": "A",
        "/su": "C",
        "/two": "C",
        "/two/inside": "A",
        "/ping2": "A",
        "/link": "C",
        "/tmp": "C",
        "/added": "A",
        "/added/deep": "A",
    }
    paths = [change.path for change in driver.changes("top")]
    assert paths == sorted(paths)


def test_a_difference_rebuilds_the_same_tree(driver: Driver) -> None:
    make_base(driver)
    driver.create("top", "base")
    change(driver.mount("top"))
    wanted = listing(driver.mount("top"))

    driver.create("again", "base")
    driver.apply("again", layer(driver, "top"))
    driver.create("seen", "again")

    assert listing(driver.mount("seen")) == wanted
    assert layer(driver, "again").getvalue() == layer(driver, "top").getvalue()


def test_layers_move_between_drivers(config: Config) -> None:
    one, other = Overlay2(config.data_root / "overlay2"), Vfs(config.data_root / "vfs")
    make_base(one)
    one.create("top", "base")
    change(one.mount("top"))
    wanted = listing(one.mount("top"))
    other.create("base", None)
    other.apply("base", layer(one, "base"))
    other.create("top", "base")
    other.apply("top", layer(one, "top"))

    assert listing(other.mount("top")) == wanted

    third = Overlay2(config.data_root / "again")
    third.create("base", None)
    third.apply("base", layer(other, "base"))
    third.create("top", "base")
    third.apply("top", layer(other, "top"))
    third.create("seen", "top")
    assert listing(third.mount("seen")) == wanted
    for driver in (one, third):
        for id in driver.ids():
            driver.remove(id)


def test_an_opaque_directory_is_told_only_where_something_is_hidden(config: Config) -> None:
    driver = Overlay2(config.data_root / "overlay2")
    make_base(driver)
    driver.create("top", "base")
    root = driver.mount("top")
    shutil.rmtree(root / "dir")
    (root / "dir").mkdir()
    (root / "fresh").mkdir()
    (root / "fresh/sub").mkdir()
    shutil.rmtree(root / "fresh/sub")
    (root / "fresh/sub").mkdir()
    (root / "su").unlink()
    (root / "su").mkdir()

    found = members(layer(driver, "top"))

    assert "dir/.wh..wh..opq" in found
    assert not {name for name in found if name.startswith(("fresh", "su")) and ".wh." in name}
    for id in driver.ids():
        driver.remove(id)


def test_a_changed_child_brings_its_parents(driver: Driver) -> None:
    make_base(driver)
    driver.create("top", "base")
    root = driver.mount("top")
    before = (root / "dir/sub").stat().st_mtime_ns
    (root / "dir/sub/file").chmod(0o600)
    assert (root / "dir/sub").stat().st_mtime_ns == before

    found = members(layer(driver, "top"))

    assert list(found) == ["dir", "dir/sub", "dir/sub/file"]
    assert found["dir"].mtime == pytest.approx(1_600_000_000.123456789)


def test_nothing_changed_is_an_empty_layer(driver: Driver) -> None:
    make_base(driver)
    driver.create("top", "base")
    root = driver.mount("top")
    (root / "etc/passwd").read_text()

    assert list(driver.changes("top")) == []
    assert layer(driver, "top").getvalue() == bytes(1024)


def test_a_change_that_keeps_size_and_time_is_seen(driver: Driver) -> None:
    make_base(driver)
    driver.create("top", "base")
    path = driver.mount("top") / "etc/motd"
    status = path.stat()
    path.write_text("HELLO\n")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    assert "/etc/motd" in [change.path for change in driver.changes("top")]


def test_the_root_directory_s_own_mode_travels(driver: Driver) -> None:
    driver.create("base", None)
    driver.create("top", "base")
    driver.mount("top").chmod(0o700)
    os.chown(driver.mount("top"), 5, 6)

    driver.create("again", "base")
    driver.apply("again", layer(driver, "top"))
    driver.create("seen", "again")

    status = driver.mount("seen").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o700, 5, 6)
    assert list(driver.changes("top")) == []


def test_a_socket_is_left_out(driver: Driver) -> None:
    import socket

    driver.create("top", None)
    root = driver.mount("top")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "s"))
        assert list(members(layer(driver, "top"))) == []


def test_many_layers(driver: Driver) -> None:
    depth = 120 if isinstance(driver, Overlay2) else 12
    parent = None
    for number in range(depth):
        id = f"{number:064x}"
        driver.create(id, parent)
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as out:
            info = tarfile.TarInfo(f"file{number}")
            info.size = 3
            out.addfile(info, io.BytesIO(b"abc"))
            if number:
                out.addfile(tarfile.TarInfo(f".wh.file{number - 1}"))
        archive.seek(0)
        driver.apply(id, archive)
        parent = id
    driver.create("f" * 64, parent)

    root = driver.mount("f" * 64)

    assert os.listdir(root) == [f"file{depth - 1}"]
    (root / "new").touch()
    assert [str(change.path) for change in driver.changes("f" * 64)] == ["/new"]


def test_too_many_layers_are_refused_in_docker_s_words(config: Config) -> None:
    driver = Overlay2(config.data_root / "overlay2")
    parent = None
    for number in range(MAX_DEPTH):
        driver.create(f"x{number}", parent)
        parent = f"x{number}"
    driver.create("last", parent)
    driver.mount("last")
    with pytest.raises(InvalidInput, match="max depth exceeded"):
        driver.create("more", "last")
    for id in reversed(driver.ids()):
        driver.remove(id)
    assert os.listdir(driver.root / "l") == []


def test_mounting_and_removing_twice_is_fine(driver: Driver) -> None:
    driver.create("base", None)
    driver.create("top", "base")
    assert driver.mount("top") == driver.mount("top")
    driver.unmount("top")
    driver.unmount("top")
    driver.unmount("unknown")
    driver.mount("top")
    driver.remove("top")
    driver.remove("top")
    assert driver.ids() == ["base"] and driver.parent("base") is None and driver.parent("top") is None


def test_wrong_ids_are_refused(driver: Driver) -> None:
    driver.create("base", None)
    with pytest.raises(Conflict, match="exists"):
        driver.create("base", None)
    with pytest.raises(NotFound):
        driver.create("top", "unknown")
    with pytest.raises(NotFound):
        driver.mount("unknown")
    for id in ("../x", "", "a/b", ".hidden"):
        with pytest.raises(InvalidInput):
            driver.create(id, None)
    assert driver.ids() == ["base"]


def test_a_busy_container_is_still_removed(driver: Driver) -> None:
    driver.create("base", None)
    driver.create("top", "base")
    root = driver.mount("top")
    with (root / "open").open("w") as file:
        driver.remove("top")
        file.write("still written")
    assert driver.ids() == ["base"]


def test_the_umask_changes_nothing(driver: Driver) -> None:
    before = os.umask(0o077)
    try:
        driver.create("base", None)
        driver.create("top", "base")
    finally:
        os.umask(before)
    assert stat.S_IMODE(driver.mount("base").stat().st_mode) == 0o755
    assert stat.S_IMODE(driver.mount("top").stat().st_mode) == 0o755


@pytest.mark.disk(megabytes=4)
def test_a_full_disk_is_told_and_leaves_nothing(driver: Driver) -> None:
    driver.create("base", None)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as out:
        info = tarfile.TarInfo("big")
        info.size = 8 << 20
        out.addfile(info, io.BytesIO(bytes(8 << 20)))
    archive.seek(0)
    with pytest.raises(HostError, match="No space left on device") as caught:
        driver.apply("base", archive)
    assert "free space" in caught.value.remedy
    driver.remove("base")
    assert driver.ids() == []


def test_the_kernel_agrees_about_what_is_mounted(config: Config) -> None:
    driver = Overlay2(config.data_root / "overlay2")
    driver.create("base", None)
    driver.create("top", "base")
    root = driver.mount("top")
    line = next(line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f" {root} " in line)
    assert " - overlay overlay " in line and "lowerdir=l/" in line
    data = driver.describe("top")
    assert data["MergedDir"] == str(root) and data["LowerDir"] == str(driver.root / "base/diff")
    driver.remove("top")
    driver.remove("base")


def test_the_probe_tells_why(config: Config) -> None:
    driver = Overlay2(config.data_root / "overlay2")
    driver.create("base", None)
    driver.create("top", "base")
    inner = driver.mount("top") / "data"
    inner.mkdir()

    # overlayfs does not stand on overlayfs: the probe must find out by trying.
    probe = Overlay2.probe(inner / "overlay2")

    assert not probe.usable and str(inner) in probe.reason
    assert os.listdir(inner) == []
    chosen = choose(Config(data_root=inner))
    assert chosen.name == "vfs"
    with pytest.raises(HostError, match="overlay"):
        choose(Config(data_root=inner, storage_driver="overlay2"))
    with pytest.raises(InvalidInput, match="unknown storage driver"):
        choose(Config(data_root=inner, storage_driver="zfs"))
    driver.remove("top")
    driver.remove("base")


def test_a_data_root_keeps_its_driver(config: Config) -> None:
    first = choose(Config(data_root=config.data_root, storage_driver="vfs"))
    first.create("base", None)
    assert choose(Config(data_root=config.data_root)).name == "vfs"
    assert subprocess.run(["mountpoint", "-q", config.data_root], check=False).returncode != 0


def test_a_tree_that_changes_while_it_is_packed(driver: Driver) -> None:
    import threading

    driver.create("base", None)
    driver.create("top", "base")
    root = driver.mount("top")
    stop = threading.Event()

    def churn(number: int) -> None:
        while not stop.is_set():
            directory = root / f"d{number}"
            directory.mkdir(exist_ok=True)
            for index in range(20):
                (directory / f"f{index}").write_bytes(bytes(3000 * index))
                (directory / f"l{index}").symlink_to("f1")
            (directory / "swap").mkdir()
            (directory / "swap").rmdir()
            (directory / "swap").symlink_to("/etc")
            shutil.rmtree(directory)

    threads = [threading.Thread(target=churn, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(60):
            found = members(layer(driver, "top"))
            assert not [name for name in found if "swap/" in name], "a link was followed out of the tree"
    finally:
        stop.set()
        for thread in threads:
            thread.join()
