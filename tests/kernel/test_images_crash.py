"""kill -9 in the middle of a change to the image store: the next engine sees all of it or nothing.

The victim counts the calls it makes (Python's and the system's) and kills itself at one of them; the same operation is
killed at many places, spread over its whole length.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import tarfile
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.config import Config
from engine.engine import Engine
from engine.errors import HostError
from engine.images.collection import Image

pytestmark = [pytest.mark.kernel, pytest.mark.limit(240)]

PLACES = 24
Operation = Callable[[Engine], object]


def calls_of(config: Config, operation: Operation, *, die_at: int = 0, recover: bool = True) -> int:
    """Run ``operation`` in a child; the number of calls it took, 0 when it killed itself at call ``die_at``."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            count = 0

            def counted(frame: object, event: str, argument: object) -> None:
                nonlocal count
                if event in ("call", "c_call"):
                    count += 1
                    if count == die_at:
                        os.kill(os.getpid(), signal.SIGKILL)

            engine = Engine(config, recover=recover)
            sys.setprofile(counted)
            operation(engine)
            sys.setprofile(None)
            os.write(writing, b"%d" % count)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writing)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as stream:
        text = stream.read()
    if os.WIFSIGNALED(status) and die_at:
        assert os.WTERMSIG(status) == signal.SIGKILL
        return 0
    assert status == 0
    return int(text)


def whole(config: Config) -> list[tuple[str, ...]]:
    """The names of what is listed, after asserting that every row has its files and every file its row."""
    engine = Engine(config)
    try:
        if engine.journal.pending():
            engine.recover()
        assert engine.journal.pending() == []
        images = engine.images.list(all=True)
        for image in images:
            engine.images.inspect(image.id)
            engine.images.history(image.id)
            engine.images.save([image.id], io.BytesIO())
        sql = "SELECT blob AS d FROM layers UNION SELECT id FROM images UNION SELECT manifest FROM images"
        known = {row["d"].removeprefix("sha256:") for row in engine.database.all(sql)}
        blobs = config.data_root / "blobs/sha256"
        assert set(os.listdir(blobs) if blobs.exists() else []) == known
        layers = {row["cache_id"] for row in engine.database.all("SELECT cache_id FROM layers")}
        assert set(engine.driver.ids()) - {"work"} == layers - {"work"}
        assert not [name for name in os.listdir(config.data_root) if name.startswith(".")]
        staging = config.data_root / "staging"
        assert not staging.exists() or os.listdir(staging) == []
        return sorted(image.names for image in images)
    finally:
        engine.close()


def survives(config: Config, prepare: Operation, operation: Operation, undo: Operation) -> None:
    """``operation``, killed anywhere, leaves what was there before it or what is there after it."""

    def anew(action: Operation) -> None:
        engine = Engine(config)
        try:
            action(engine)
        finally:
            engine.close()

    anew(prepare)
    before = whole(config)
    total = calls_of(config, operation)
    after = whole(config)
    anew(undo)
    anew(prepare)
    assert whole(config) == before != after
    killed = 0
    for place in range(PLACES):
        # The number of calls differs a little from run to run: the last victims may live.
        killed += not calls_of(config, operation, die_at=1 + total * place // PLACES)
        found = whole(config)
        assert found in (before, after), place
        anew(undo)
        anew(prepare)
    assert killed > PLACES // 2


def nothing(engine: Engine) -> None:
    return


def test_assembling_busybox(config: Config) -> None:
    survives(
        config,
        nothing,
        lambda engine: engine.images.ensure_busybox(),
        lambda engine: [engine.images.remove(image.id) for image in engine.images.list()],
    )


def fill_work(engine: Engine) -> None:
    image = engine.images.get("busybox")
    if "work" not in engine.driver.ids():
        engine.images.create_directory("work", image)
    root = engine.driver.mount("work")
    for index in range(20):
        (root / f"file{index}").write_text("x" * 5000)


def commit(engine: Engine, *, seal: bool) -> Image:
    parent = engine.images.get("busybox")
    config = engine.images.config(parent.id)
    return engine.images.commit_layer("work", parent, config, created_by="test", name="app", seal=seal)


def undo_commit(engine: Engine) -> None:
    if any("app:latest" in image.names for image in engine.images.list()):
        engine.images.remove("app")
    engine.images.discard("work")


@pytest.mark.parametrize("seal", [False, True])
def test_committing(config: Config, seal: bool) -> None:
    survives(config, fill_work, lambda engine: commit(engine, seal=seal), undo_commit)
    engine = Engine(config)
    undo_commit(engine)
    engine.close()


def make_app(engine: Engine) -> None:
    if not any("app:latest" in image.names for image in engine.images.list()):
        fill_work(engine)
        commit(engine, seal=True)


def test_removing(config: Config) -> None:
    survives(config, make_app, lambda engine: engine.images.remove("app"), nothing)


def remove_app(engine: Engine) -> None:
    if any("app:latest" in image.names for image in engine.images.list()):
        engine.images.remove("app")


def test_loading(config: Config, tmp_path: Path) -> None:
    engine = Engine(config)
    make_app(engine)
    with (tmp_path / "app.tar").open("wb") as out:
        engine.images.save(["app"], out)
    engine.images.remove("app")
    engine.close()

    def load(engine: Engine) -> None:
        with (tmp_path / "app.tar").open("rb") as stream:
            engine.images.load(stream)

    survives(config, nothing, load, remove_app)


def test_importing(config: Config, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "root.tar", "w") as out:
        for index in range(20):
            info = tarfile.TarInfo(f"file{index}")
            info.size = 1000
            out.addfile(info, io.BytesIO(bytes(1000)))

    def import_root(engine: Engine) -> None:
        with (tmp_path / "root.tar").open("rb") as stream:
            engine.images.import_tar(stream, "app")

    survives(config, nothing, import_root, remove_app)


def test_recovery_itself_may_be_killed(config: Config) -> None:
    engine = Engine(config)
    fill_work(engine)
    total = calls_of(config, lambda engine: commit(engine, seal=False))
    interrupted = 0
    for place in range(1, 12):
        undo_commit(engine)
        fill_work(engine)
        calls_of(config, lambda engine: commit(engine, seal=False), die_at=total * (8 + place) // 20)
        for die_at in (40, 120, 250):
            # The child of ``calls_of`` recovers too: leave that to the calls that are counted.
            interrupted += not calls_of(config, Engine.recover, die_at=die_at, recover=False)
        assert whole(config) in ([("busybox:latest",)], [("app:latest",), ("busybox:latest",)])
    assert interrupted > 5
    undo_commit(engine)
    engine.close()


@pytest.mark.disk(megabytes=16)
def test_a_full_disk_at_every_size(config: Config, tmp_path: Path) -> None:
    engine = Engine(config)
    fill_work(engine)
    (engine.driver.mount("work") / "big").write_bytes(os.urandom(2 << 20))
    before = whole(config)
    status = os.statvfs(config.data_root)
    free = status.f_bavail * status.f_frsize
    refused = 0
    for leave in range(0, 6 << 20, 512 << 10):
        filler = config.data_root / "filler"
        filler.write_bytes(bytes(max(0, free - leave)))
        try:
            commit(engine, seal=False)
        except HostError as error:
            refused += 1
            assert "free space" in error.remedy, error
        finally:
            filler.unlink()
        if any("app:latest" in image.names for image in engine.images.list()):
            engine.images.remove("app")
        engine.recover()
        assert whole(config) == before
    assert refused > 3
    commit(engine, seal=False)
    engine.images.remove("app")
    engine.images.discard("work")
    engine.close()
