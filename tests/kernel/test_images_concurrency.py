"""Several processes change one image store at once: no one sees half of another's work, and all files add up."""

from __future__ import annotations

import io
import os
import random
import threading
import time
import traceback
from pathlib import Path

import pytest

from engine.config import Config
from engine.engine import Engine
from engine.errors import Cancelled, Conflict, NotFound
from engine.images.config import ImageConfig
from engine.images.operation import ImageStore
from engine.images.records import Image
from tests.kernel.test_images import commit, leftovers

pytestmark = pytest.mark.kernel

SECONDS = 5.0
WORKERS = 4


def test_a_forced_removal_takes_no_layer_from_under_a_container_being_made(
    engine: Engine, busybox: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = engine.images.import_tar(io.BytesIO(bytes(1024)), name="lone:1")
    made: list[str] = []

    def create() -> None:
        other = Engine(engine.config)
        try:
            made.append(other.containers.create("lone:1", ["/x"], name="made").id)
        except NotFound:
            pass
        finally:
            other.close()

    creator = threading.Thread(target=create)
    look = ImageStore.standing_on

    def overtaken(store: ImageStore) -> set[str]:
        found = look(store)
        if creator.ident is None:
            # The removal has looked who stands on what; now somebody comes, and ends or waits for it.
            creator.start()
            creator.join(1)
        return found

    monkeypatch.setattr(ImageStore, "standing_on", overtaken)
    engine.images.remove(image.id, force=True)
    creator.join()
    for id in made:
        assert engine.driver.mount(id).is_dir()
        engine.driver.unmount(id)


def test_a_container_s_removal_takes_the_layers_its_image_left_behind(engine: Engine, busybox: Image) -> None:
    container = engine.containers.create("busybox", ["true"], name="last")
    engine.images.remove("busybox", force=True)
    assert engine.images.list(all=True) == [] and engine.driver.ids() != []
    container.remove()
    assert engine.driver.ids() == []
    assert list((engine.config.data_root / "blobs" / "sha256").iterdir()) == []


def act(engine: Engine, chance: random.Random, archives: list[bytes], number: int, turn: int) -> None:
    """One random thing an operator may do."""
    choice = chance.randrange(5)
    if choice == 0:
        engine.images.load(io.BytesIO(chance.choice(archives)))
    elif choice == 1:
        images = engine.images.list(all=True)
        if images:
            image = chance.choice(images)
            engine.images.remove(chance.choice([image.id, *image.names]), force=chance.random() < 0.5)
    elif choice == 2:
        directory = f"work-{number}-{turn}"
        parent = engine.images.get("busybox")
        engine.images.create_directory(directory, parent)
        try:
            (engine.driver.mount(directory) / "file").write_text(str(chance.randrange(3)))
            config = ImageConfig()
            seal, name = chance.random() < 0.5, f"c{chance.randrange(3)}"
            engine.images.commit_layer(directory, parent, config, created_by="x", name=name, seal=seal)
        finally:
            engine.images.discard(directory)
    elif choice == 3:
        directory = f"look-{number}-{turn}"
        image = engine.images.get(chance.choice(["app", "busybox"]))
        engine.images.create_directory(directory, image)
        try:
            # A container made from an image keeps its files, whoever removes the image meanwhile.
            root = engine.driver.mount(directory)
            time.sleep(chance.random() * 0.02)
            assert (root / "bin/busybox").stat().st_size > 100_000
            if "app:latest" in image.names:
                assert (root / "three").read_text() == "3"
        finally:
            engine.images.discard(directory)
    else:
        for image in engine.images.list():
            engine.images.save([image.id], io.BytesIO())
            engine.images.history(image.id)


def test_processes_at_once(config: Config, engine: Engine) -> None:
    base = engine.images.get("busybox")
    one = commit(engine, base, None, one="1")
    two = commit(engine, one, None, two="2")
    commit(engine, two, "app", three="3")
    commit(engine, one, "other", four="4")
    archives = []
    for names in (["app"], ["other"], ["app", "other"], ["busybox"]):
        out = io.BytesIO()
        engine.images.save(names, out)
        archives.append(out.getvalue())
    children = []
    for number in range(WORKERS):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                mine, chance = Engine(config), random.Random(number)
                deadline, turn = time.monotonic() + SECONDS, 0
                while time.monotonic() < deadline:
                    turn += 1
                    try:
                        act(mine, chance, archives, number, turn)
                    except (NotFound, Conflict):
                        continue
                status = 0 if turn > 10 else 2
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        children.append(child)
    statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]

    assert statuses == [0] * WORKERS
    # Layers that only a directory stood on, gone since, go with the next one who looks.
    engine.images.release_layers()
    assert leftovers(engine) == []
    for image in engine.images.list(all=True):
        engine.images.save([image.id], io.BytesIO())
        engine.images.inspect(image.id)


def test_a_load_that_is_cancelled_leaves_nothing(engine: Engine, tmp_path: Path) -> None:
    base = engine.images.get("busybox")
    commit(engine, base, "app", one="1")
    out = io.BytesIO()
    engine.images.save(["app"], out)
    engine.images.remove("app")
    engine.images.remove("busybox")

    def cancel(line: str) -> None:
        if "2/2" in line:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        engine.images.load(io.BytesIO(out.getvalue()), cancel)
    assert engine.images.list(all=True) == [] and leftovers(engine) == []


def test_a_name_that_moves_is_told(engine: Engine) -> None:
    base = engine.images.get("busybox")
    old = commit(engine, base, "app", one="1")
    out = io.BytesIO()
    engine.images.save(["app"], out)
    new = commit(engine, base, "app", one="2")
    lines: list[str] = []
    engine.images.load(io.BytesIO(out.getvalue()), lines.append)
    assert engine.images.get("app").id == old.id and engine.images.get(new.id).names == ()
    assert any("app:latest already exists" in line and new.id in line for line in lines)


def test_a_load_overtaken_by_another_stands_on_the_other_s_layers(engine: Engine) -> None:
    base = engine.images.get("busybox")
    one = commit(engine, base, "one", one="1")
    commit(engine, one, "two", two="2")
    archives = {}
    for name in ("one", "two"):
        archives[name] = io.BytesIO()
        engine.images.save([name], archives[name])
        archives[name].seek(0)
    for name in ("two", "one", "busybox"):
        engine.images.remove(name)
    assert engine.driver.ids() == []

    def overtake(line: str) -> None:
        if "3/3" in line:
            engine.images.load(archives["one"])

    engine.images.load(archives["two"], overtake)

    assert len(engine.driver.ids()) == 3 and leftovers(engine) == []
    engine.images.create_directory("look", engine.images.get("two"))
    root = engine.driver.mount("look")
    assert ((root / "one").read_text(), (root / "two").read_text()) == ("1", "2")
    engine.images.discard("look")
