"""Volumes as rows and directories: names, life cycle, who uses them, what a crash leaves."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from engine.config import Config
from engine.containers.config import ContainerConfig
from engine.containers.mounts import Mount
from engine.errors import Conflict, InvalidInput, NotFound, Unsupported
from engine.state.database import Database, timestamp
from engine.state.events import Events
from engine.state.locks import Locks
from engine.volumes import population
from engine.volumes.collection import ANONYMOUS_LABEL, Volumes, check_name

pytestmark = pytest.mark.unit


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "root" / "state.db")


@pytest.fixture
def volumes(tmp_path: Path, database: Database) -> Volumes:
    config = Config(data_root=tmp_path / "root", run_dir=tmp_path / "run")
    return Volumes(config, database, Locks(config.run_dir), Events(database))


def add_container(database: Database, identifier: str, volume: str) -> None:
    mount = Mount("volume", volume, "/data")
    config = json.dumps(ContainerConfig(image="busybox", binds=(mount,)).to_json())
    database.execute(
        "INSERT INTO containers(id, name, created, image, config) VALUES(?,?,?,'',?)",
        (identifier, f"name-{identifier[:6]}", timestamp(), config),
    )


@pytest.mark.parametrize("name", ["ab", "a.b", "A_1-2", "0" * 255])
def test_names_docker_takes(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", ".a", "-a", "a/b", "a b", "ä1", "ab\n", "..", "a" * 256])
def test_names_docker_refuses(name: str) -> None:
    with pytest.raises(InvalidInput):
        check_name(name)


def test_one_letter_is_told_to_be_too_short() -> None:
    with pytest.raises(InvalidInput, match="at least two alphanumeric"):
        check_name("a")


def test_create_makes_directory_row_and_event(volumes: Volumes, database: Database) -> None:
    volume = volumes.create("data", {"tier": "db"})
    assert volume.mountpoint.is_dir()
    assert volume.mountpoint.stat().st_mode & 0o777 == 0o755
    assert volumes.get("data").labels == {"tier": "db"}
    assert [(event.type, event.action, event.actor) for event in Events(database).since(0)] == [
        ("volume", "create", "data")
    ]


def test_create_returns_the_volume_that_is_there(volumes: Volumes) -> None:
    first = volumes.create("data", {"tier": "db"})
    (first.mountpoint / "kept").write_text("x")
    assert volumes.create("data") == first
    assert (first.mountpoint / "kept").read_text() == "x"


def test_anonymous_volumes_have_64_digits_and_dockers_label(volumes: Volumes) -> None:
    volume = volumes.create()
    assert len(volume.name) == 64
    assert volume.anonymous
    assert ANONYMOUS_LABEL in volume.labels


def test_create_refuses_what_it_cannot_do(volumes: Volumes) -> None:
    with pytest.raises(NotFound, match='plugin "nfs" not found'):
        volumes.create("data", driver="nfs")
    with pytest.raises(Unsupported, match="options"):
        volumes.create("data", options={"type": "tmpfs"})
    assert volumes.list() == []


def test_inspect_has_dockers_fields(volumes: Volumes) -> None:
    volumes.create("data")
    shown = volumes.inspect("data")
    assert sorted(shown) == ["CreatedAt", "Driver", "Labels", "Mountpoint", "Name", "Options", "Scope"]
    assert shown["Mountpoint"].endswith("/volumes/data/_data")
    assert "." not in shown["CreatedAt"]


def test_an_unknown_volume_is_named_in_dockers_words(volumes: Volumes) -> None:
    for call in (volumes.get, volumes.inspect, volumes.path, volumes.remove):
        with pytest.raises(NotFound, match="get data: no such volume"):
            call("data")


def test_remove_deletes_row_and_files(volumes: Volumes) -> None:
    volume = volumes.create("data")
    (volume.mountpoint / "file").write_text("x")
    volumes.remove("data")
    assert volumes.list() == []
    assert not volume.mountpoint.parent.exists()


def test_forced_removal_accepts_an_absent_volume(volumes: Volumes) -> None:
    volumes.remove("data", force=True)


@pytest.mark.parametrize("force", [False, True])
def test_a_volume_in_use_is_never_removed(volumes: Volumes, database: Database, force: bool) -> None:
    volume = volumes.create("data")
    add_container(database, "c" * 64, "data")
    with pytest.raises(Conflict, match=r"remove data: volume is in use - \[" + "c" * 64 + r"\]"):
        volumes.remove("data", force=force)
    assert volume.mountpoint.is_dir()
    assert volumes.users() == {"data": ("c" * 64,)}


def test_prune_takes_unused_anonymous_volumes_only(volumes: Volumes, database: Database) -> None:
    volumes.create("named")
    unused = volumes.create().name
    used = volumes.create().name
    (volumes.path(unused) / "file").write_bytes(b"x" * 10_000)
    add_container(database, "c" * 64, used)
    pruned = volumes.prune()
    assert pruned.names == (unused,)
    assert pruned.reclaimed >= 10_000
    assert [volume.name for volume in volumes.list()] == sorted(["named", used])


def test_prune_all_takes_named_volumes_and_honours_labels(volumes: Volumes) -> None:
    volumes.create("keep")
    volumes.create("drop", {"tier": "test"})
    assert volumes.prune(all=True, labels={"tier": "test"}).names == ("drop",)
    assert [volume.name for volume in volumes.list()] == ["keep"]


def test_debris_of_a_crash_is_not_listed_and_not_inherited(volumes: Volumes) -> None:
    debris = volumes.directory / "data" / "_data"
    debris.mkdir(parents=True)
    (debris / "old").write_text("x")
    assert volumes.list() == []
    assert list(volumes.create("data").mountpoint.iterdir()) == []


def test_prune_clears_debris_away(volumes: Volumes) -> None:
    volumes.create("kept")
    (volumes.directory / "gone" / "_data").mkdir(parents=True)
    volumes.prune()
    assert sorted(entry.name for entry in volumes.directory.iterdir()) == ["kept"]


def test_a_copy_that_a_crash_cut_short_is_thrown_away(volumes: Volumes) -> None:
    volume = volumes.create("data")
    staging = volume.mountpoint.parent / population.STAGING
    staging.mkdir()
    (staging / "half").write_text("x")
    assert list(volumes.path("data").iterdir()) == []
    assert not staging.exists()


def test_a_complete_copy_that_a_crash_left_outside_is_moved_in(volumes: Volumes) -> None:
    volume = volumes.create("data")
    complete = volume.mountpoint.parent / population.COMPLETE
    complete.mkdir(mode=0o750)
    (complete / "second").write_text("2")
    (volume.mountpoint / "first").write_text("1")
    data = volumes.path("data")
    assert {entry.name: entry.read_text() for entry in data.iterdir()} == {"first": "1", "second": "2"}
    assert data.stat().st_mode & 0o777 == 0o750
    assert not complete.exists()


def test_two_threads_creating_one_name_get_one_volume(volumes: Volumes) -> None:
    made = []
    threads = [threading.Thread(target=lambda: made.append(volumes.create("data"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8
    assert len(set(map(repr, made))) == 1
