"""Filling an empty volume from an image's directory: what a file system keeps must survive the copy."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from engine.config import Config
from engine.errors import HostError
from engine.host import mounts
from engine.state.database import Database
from engine.state.events import Events
from engine.state.locks import Locks
from engine.volumes.collection import Volumes

pytestmark = pytest.mark.kernel


@pytest.fixture
def volumes(tmp_path: Path) -> Volumes:
    config = Config(data_root=tmp_path / "root", run_dir=tmp_path / "run")
    database = Database(config.data_root / "state.db")
    return Volumes(config, database, Locks(config.run_dir), Events(database))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "image"
    (root / "logs" / "old").mkdir(parents=True)
    (root / "conf").write_text("port = 27017\n")
    (root / "conf").chmod(0o640)
    os.chown(root / "conf", 70, 71)
    os.link(root / "conf", root / "logs" / "same")
    (root / "escape").symlink_to("/etc/passwd")
    os.mkfifo(root / "pipe", 0o600)
    os.mknod(root / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    (root / "setuid").write_text("x")
    os.chown(root / "setuid", 70, 70)
    (root / "setuid").chmod(0o4755)
    os.setxattr(root / "conf", "trusted.note", b"kept")
    with (root / "sparse").open("wb") as file:
        file.seek(64 << 20)
        file.write(b"end")
    os.utime(root / "logs", (1000, 2000))
    root.chmod(0o1770)
    os.chown(root, 70, 71)
    return root


def test_content_arrives_with_everything_a_file_system_keeps(volumes: Volumes, source: Path) -> None:
    data = volumes.create("data").mountpoint
    assert volumes.populate("data", source)
    conf = (data / "conf").stat()
    assert (conf.st_uid, conf.st_gid, stat.S_IMODE(conf.st_mode)) == (70, 71, 0o640)
    assert conf.st_ino == (data / "logs" / "same").stat().st_ino
    assert os.getxattr(data / "conf", "trusted.note") == b"kept"
    assert (data / "escape").readlink() == Path("/etc/passwd")
    assert stat.S_ISFIFO((data / "pipe").stat().st_mode)
    assert (data / "null").stat().st_rdev == os.makedev(1, 3)
    assert stat.S_IMODE((data / "setuid").stat().st_mode) == 0o4755
    sparse = (data / "sparse").stat()
    assert sparse.st_size == (64 << 20) + 3
    assert sparse.st_blocks * 512 < 1 << 20
    assert (data / "logs").stat().st_mtime == 2000
    root = data.stat()
    assert (root.st_uid, root.st_gid, stat.S_IMODE(root.st_mode)) == (70, 71, 0o1770)
    assert (data / "logs" / "old").is_dir()
    assert sorted(entry.name for entry in data.parent.iterdir()) == ["_data"]


def test_who_has_the_volume_mounted_sees_the_content_appear(volumes: Volumes, source: Path, tmp_path: Path) -> None:
    data = volumes.create("data").mountpoint
    seen = tmp_path / "seen"
    seen.mkdir()
    mounts.bind(data, seen)
    try:
        volumes.populate("data", source)
        assert (seen / "conf").read_text() == "port = 27017\n"
    finally:
        mounts.unmount(seen)


def test_a_volume_with_content_is_left_alone(volumes: Volumes, source: Path) -> None:
    data = volumes.create("data").mountpoint
    (data / "mine").write_text("x")
    assert not volumes.populate("data", source)
    assert sorted(entry.name for entry in data.iterdir()) == ["mine"]


def test_a_mount_point_the_image_lacks_changes_nothing(volumes: Volumes, tmp_path: Path) -> None:
    data = volumes.create("data").mountpoint
    assert not volumes.populate("data", tmp_path / "absent")
    (tmp_path / "link").symlink_to("/etc")
    assert not volumes.populate("data", tmp_path / "link")
    assert list(data.iterdir()) == []


def test_a_full_disk_leaves_the_volume_empty_and_says_so(tmp_path: Path, source: Path) -> None:
    root = tmp_path / "small"
    root.mkdir()
    mounts.mount("tmpfs", root, "tmpfs", data="size=1m")
    try:
        (source / "big").write_bytes(os.urandom(2 << 20))
        config = Config(data_root=root, run_dir=tmp_path / "run")
        # The database has a disk of its own, so that the copy alone meets the full one.
        database = Database(tmp_path / "db" / "state.db")
        volumes = Volumes(config, database, Locks(config.run_dir), Events(database))
        data = volumes.create("data").mountpoint
        with pytest.raises(HostError, match="copying image content into volume data"):
            volumes.populate("data", source)
        assert list(data.iterdir()) == []
        assert sorted(entry.name for entry in data.parent.iterdir()) == ["_data"]
    finally:
        mounts.unmount(root)


def test_removal_refuses_to_walk_into_a_mount(volumes: Volumes) -> None:
    data = volumes.create("data").mountpoint
    (data / "inner").mkdir()
    mounts.mount("tmpfs", data / "inner", "tmpfs")
    try:
        with pytest.raises(Exception, match="is a mount point"):
            volumes.remove("data")
    finally:
        mounts.unmount(data / "inner")
    volumes.remove("data")
    assert volumes.list() == []
