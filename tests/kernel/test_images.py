"""Images as they come and go: assembled, committed, tagged, removed, with every byte accounted for."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import tarfile
import threading
from pathlib import Path

import pytest

from engine.config import Config
from engine.engine import Engine
from engine.errors import Conflict, InvalidInput, NotFound
from engine.images import busybox as assembly
from engine.images.collection import Image
from engine.images.config import ImageConfig, RunConfig
from engine.images.removal import Removed

pytestmark = pytest.mark.kernel


def blobs(engine: Engine) -> set[str]:
    return set(os.listdir(engine.config.data_root / "blobs/sha256"))


def leftovers(engine: Engine) -> list[str]:
    """What no row accounts for."""
    root = engine.config.data_root
    rows = engine.database.all(
        "SELECT blob AS d FROM layers UNION SELECT id FROM images UNION SELECT manifest FROM images"
    )
    known = {row["d"].removeprefix("sha256:") for row in rows}
    layers = {row["cache_id"] for row in engine.database.all("SELECT cache_id FROM layers")}
    staged = os.listdir(root / "staging") if (root / "staging").exists() else []
    return [
        *sorted(blobs(engine) - known),
        *(f"missing {name}" for name in sorted(known - blobs(engine))),
        *sorted(set(engine.driver.ids()) - layers),
        *(f"missing layer {id}" for id in sorted(layers - set(engine.driver.ids()))),
        *staged,
        *(entry.operation for entry in engine.journal.pending()),
    ]


def commit(engine: Engine, parent: Image | None, name: str | None = None, **files: str) -> Image:
    """An image with some files more than ``parent``."""
    engine.images.create_directory("work", parent)
    try:
        root = engine.driver.mount("work")
        for path, text in files.items():
            (root / path).write_text(text)
        config = ImageConfig() if parent is None else engine.images.config(parent.id)
        return engine.images.commit_layer("work", parent, config, created_by="test", name=name)
    finally:
        engine.images.discard("work")


def add_container(engine: Engine, id: str, image: Image, status: str) -> None:
    engine.database.execute(
        "INSERT INTO containers(id, name, created, image, config, status) VALUES(?,?,'',?,'{}',?)",
        (id * 64, id, image.id, status),
    )


@pytest.fixture
def containers(engine: Engine):  # type: ignore[no-untyped-def]
    """``containers(id, image, status)`` adds a row; all are gone at the end."""
    yield lambda id, image, status: add_container(engine, id, image, status)
    engine.database.execute("DELETE FROM containers")


# -------------------------------------------------------------------------------------------------------------- busybox


def test_busybox_is_assembled_when_it_is_first_asked_for(engine: Engine) -> None:
    assert engine.images.list() == []
    image = engine.images.get("busybox")
    assert image.names == ("busybox:latest",) and [one.id for one in engine.images.list()] == [image.id]
    assert engine.images.get("docker.io/library/busybox:latest") == image
    assert engine.images.config(image.id).config.cmd == ("sh",)
    with pytest.raises(NotFound, match=r"No such image: busybox:1\.36"):
        engine.images.get("busybox:1.36")
    assert leftovers(engine) == []


def test_busybox_is_laid_out_like_the_official_image(engine: Engine, busybox: Image) -> None:
    engine.images.create_directory("c", busybox)
    root = engine.driver.mount("c")
    assert (root / "tmp").stat().st_mode & 0o7777 == 0o1777
    assert (root / "root").stat().st_mode & 0o7777 == 0o700
    assert "www-data:x:33:33:" in (root / "etc/passwd").read_text()
    assert "nobody:x:65534:" in (root / "etc/group").read_text()
    script = "id www-data && ls /usr/bin/env && env true && awk 'BEGIN{print 6*7}'"
    result = subprocess.run(
        ["/usr/sbin/chroot", str(root), "/bin/sh", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin"},
    )
    assert result.stdout.split() == [
        "uid=33(www-data)",
        "gid=33(www-data)",
        "groups=33(www-data)",
        "/usr/bin/env",
        "42",
    ]
    engine.images.discard("c")


def test_busybox_is_the_same_image_everywhere(engine: Engine, busybox: Image, tmp_path: Path) -> None:
    other = Engine(Config(data_root=tmp_path / "other", run_dir=tmp_path / "run"))
    assert other.images.ensure_busybox().id == busybox.id
    engine.images.remove("busybox")
    assert engine.images.ensure_busybox().id == busybox.id
    other.close()


def test_many_ask_for_busybox_at_once(engine: Engine) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(engine.images.get("busybox").id)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6 and len(set(found)) == 1
    assert leftovers(engine) == []


def test_a_host_without_a_static_busybox_is_told_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no busybox") as caught:
        assembly.find([str(tmp_path / "nothing")])
    assert "busybox-static" in caught.value.remedy
    with pytest.raises(NotFound, match="needs shared libraries"):
        assembly.find(["/bin/cat"])


# ------------------------------------------------------------------------------------------------------ names, listing


def test_names_find_images_before_ids_do(engine: Engine, busybox: Image) -> None:
    prefix = busybox.short_id[:6]
    assert engine.images.get(prefix) == engine.images.get(busybox.id) == engine.images.get(busybox.id[:20]) == busybox
    other = commit(engine, busybox, prefix, x="1")
    assert engine.images.get(prefix).id == other.id
    assert engine.images.get(busybox.short_id).id == busybox.id
    with pytest.raises(NotFound, match="No such image: unknown:latest"):
        engine.images.get("unknown")
    with pytest.raises(InvalidInput, match="invalid reference format"):
        engine.images.get("Not Valid")


def test_an_ambiguous_id_is_refused(engine: Engine, busybox: Image) -> None:
    images = [commit(engine, busybox, f"i{number}", x=str(number)) for number in range(20)]
    digits = [image.short_id[0] for image in images]
    common = next(digit for digit in digits if digits.count(digit) > 1)
    with pytest.raises(Conflict, match="multiple images found"):
        engine.images.get(common)


def test_tagging_moves_a_name(engine: Engine, busybox: Image) -> None:
    app = commit(engine, busybox, "app:1", x="1")
    engine.images.tag("busybox", "registry.example:5000/team/box:v1")
    assert engine.images.get("registry.example:5000/team/box:v1").id == busybox.id
    engine.images.tag("app:1", "registry.example:5000/team/box:v1")
    assert engine.images.get(busybox.id).names == ("busybox:latest",)
    assert engine.images.get(app.id).names == ("app:1", "registry.example:5000/team/box:v1")
    with pytest.raises(InvalidInput, match="lowercase"):
        engine.images.tag("busybox", "Upper")
    with pytest.raises(InvalidInput, match="digest"):
        engine.images.tag("busybox", "x@sha256:" + "0" * 64)
    with pytest.raises(NotFound, match="No such image: nothing:latest"):
        engine.images.tag("nothing", "x")


def test_intermediate_images_are_listed_only_on_request(engine: Engine, busybox: Image) -> None:
    middle = commit(engine, busybox, x="1")
    top = commit(engine, middle, "top", y="1")
    dangling = commit(engine, busybox, z="1")
    assert {image.id for image in engine.images.list()} == {busybox.id, top.id, dangling.id}
    assert {image.id for image in engine.images.list(all=True)} == {busybox.id, middle.id, top.id, dangling.id}


# --------------------------------------------------------------------------------------------------------------- commit


def test_commit_history_and_inspect(engine: Engine, busybox: Image) -> None:
    engine.images.create_directory("c", busybox)
    (engine.driver.mount("c") / "file").write_bytes(bytes(1000))
    engine.images.config(busybox.id)
    changed = ImageConfig(config=RunConfig(env=("A=1",), cmd=("run",), exposed_ports=("80/tcp",), labels={"k": "v"}))
    image = engine.images.commit_layer(
        "c", busybox, changed, created_by="RUN x", comment="why", author="me", name="app:2"
    )
    named = engine.images.commit_layer("", image, changed, created_by="ENV A=1", empty=True, name="app:3")

    rows = engine.images.history("app:3")
    assert [(row.created_by, row.size, row.comment) for row in rows] == [
        ("ENV A=1", 0, ""),
        ("RUN x", 1000, "why"),
        (assembly.CREATED_BY, busybox.size, ""),
    ]
    assert [row.id for row in rows] == [named.id, image.id, busybox.id]
    inspected = engine.images.inspect("app:3")
    assert inspected["Id"] == named.id and inspected["RepoTags"] == ["app:3"] and inspected["Parent"] == image.id
    assert inspected["Config"]["ExposedPorts"] == {"80/tcp": {}} and inspected["Config"]["Labels"] == {"k": "v"}
    assert inspected["Size"] == busybox.size + 1000 and len(inspected["RootFS"]["Layers"]) == 2
    assert inspected["GraphDriver"]["Name"] == engine.driver.name
    assert engine.images.inspect("app:2")["Author"] == "me"
    # The committed container's own directory is still its own.
    assert (engine.driver.mount("c") / "file").exists()
    engine.images.discard("c")
    assert leftovers(engine) == []


def test_a_sealed_directory_becomes_the_layer(engine: Engine, busybox: Image) -> None:
    engine.images.create_directory("step1", busybox)
    (engine.driver.mount("step1") / "file").write_text("x")
    os.utime(engine.driver.mount("step1") / "file", (1, 1))
    config = engine.images.config(busybox.id)
    image = engine.images.commit_layer("step1", busybox, config, created_by="RUN", seal=True)
    assert engine.images.top_layer(image) == "step1"
    engine.images.discard("step1")
    assert "step1" in engine.driver.ids(), "a sealed layer is nobody's to discard"

    # The same content upon the same parent is the same layer: the second directory goes.
    engine.images.create_directory("step2", busybox)
    (engine.driver.mount("step2") / "file").write_text("x")
    os.utime(engine.driver.mount("step2") / "file", (1, 1))
    again = engine.images.commit_layer("step2", busybox, config, created_by="RUN", seal=True, name="again")
    assert again.chain == image.chain and engine.images.top_layer(again) == "step1"
    assert "step2" not in engine.driver.ids()
    assert leftovers(engine) == []


def test_an_image_from_scratch(engine: Engine) -> None:
    image = commit(engine, None, "mine", hello="world")
    engine.images.create_directory("c", image)
    assert (engine.driver.mount("c") / "hello").read_text() == "world"
    engine.images.discard("c")
    empty = engine.images.commit_layer("", None, ImageConfig(), created_by="LABEL", empty=True, name="none")
    assert engine.images.top_layer(empty) is None and empty.size == 0
    assert engine.images.inspect("none")["RootFS"]["Layers"] == []


# --------------------------------------------------------------------------------------------------------------- remove


def test_removing_the_last_name_removes_image_parents_and_layers(engine: Engine, busybox: Image) -> None:
    middle = commit(engine, busybox, x="1")
    top = commit(engine, middle, "top", y="1")
    engine.images.tag("top", "other:1")

    assert engine.images.remove("top") == [Removed(untagged="top:latest")]
    records = engine.images.remove("other:1")

    assert records[:3] == [Removed(untagged="other:1"), Removed(deleted=top.id), Removed(deleted=middle.id)]
    assert [record.deleted for record in records[3:]] == [top.chain, middle.chain]
    assert [image.id for image in engine.images.list(all=True)] == [busybox.id]
    assert leftovers(engine) == []
    engine.images.remove("busybox")
    assert blobs(engine) == set() and engine.driver.ids() == []


def test_removing_without_pruning_keeps_the_parents(engine: Engine, busybox: Image) -> None:
    middle = commit(engine, busybox, x="1")
    commit(engine, middle, "top", y="1")
    engine.images.remove("top", prune=False)
    assert {image.id for image in engine.images.list(all=True)} == {busybox.id, middle.id}
    assert leftovers(engine) == []


def test_removing_by_id_takes_the_only_name_along(engine: Engine, busybox: Image) -> None:
    records = engine.images.remove(busybox.short_id)
    assert records[:2] == [Removed(untagged="busybox:latest"), Removed(deleted=busybox.id)]
    assert engine.images.list(all=True) == []


def test_an_id_with_two_names_must_be_forced(engine: Engine, busybox: Image) -> None:
    engine.images.tag("busybox", "second")
    words = (
        f"conflict: unable to delete {busybox.short_id} (must be forced) - image is referenced in multiple repositories"
    )
    with pytest.raises(Conflict) as caught:
        engine.images.remove(busybox.id)
    assert str(caught.value) == words
    records = engine.images.remove(busybox.id, force=True)
    assert {record.untagged for record in records} >= {"busybox:latest", "second:latest"}
    assert engine.images.list(all=True) == [] and leftovers(engine) == []


def test_an_image_with_children_stays(engine: Engine, busybox: Image) -> None:
    commit(engine, busybox, "child", x="1")
    with pytest.raises(Conflict) as caught:
        engine.images.remove(busybox.id, force=True)
    assert str(caught.value) == (
        f"conflict: unable to delete {busybox.short_id} (cannot be forced) - image has dependent child images"
    )
    assert engine.images.get("busybox").id == busybox.id
    # By its name only the name goes.
    assert engine.images.remove("busybox") == [Removed(untagged="busybox:latest")]
    assert engine.images.get(busybox.id).names == ()


@pytest.mark.parametrize("status", ["created", "exited", "running", "paused"])
def test_a_name_a_container_uses_stays(engine: Engine, busybox: Image, containers, status: str) -> None:  # type: ignore[no-untyped-def]
    containers("a", busybox, status)
    with pytest.raises(Conflict) as caught:
        engine.images.remove("busybox")
    assert str(caught.value) == (
        'conflict: unable to remove repository reference "busybox" (must force) - container aaaaaaaaaaaa '
        f"is using its referenced image {busybox.short_id}"
    )
    assert engine.images.get("busybox").id == busybox.id


def test_an_id_a_container_uses_stays(engine: Engine, busybox: Image, containers) -> None:  # type: ignore[no-untyped-def]
    containers("a", busybox, "exited")
    with pytest.raises(Conflict, match=r"\(must be forced\) - image is being used by stopped container aaaaaaaaaaaa"):
        engine.images.remove(busybox.id)
    containers("b", busybox, "running")
    with pytest.raises(Conflict, match=r"\(cannot be forced\) - image is being used by running container bbbbbbbbbbbb"):
        engine.images.remove(busybox.id, force=True)
    assert engine.images.get("busybox").id == busybox.id


def test_forcing_a_running_container_s_image_takes_the_name_alone(engine: Engine, busybox: Image, containers) -> None:  # type: ignore[no-untyped-def]
    containers("a", busybox, "running")
    assert engine.images.remove("busybox", force=True) == [Removed(untagged="busybox:latest")]
    assert engine.images.get(busybox.id).names == ()


def test_layers_stay_under_a_container_whose_image_was_forced_away(engine: Engine, busybox: Image, containers) -> None:  # type: ignore[no-untyped-def]
    containers("a", busybox, "exited")
    engine.images.create_directory("a" * 64, busybox)
    engine.images.remove("busybox", force=True)
    assert engine.images.list(all=True) == []
    assert (engine.driver.mount("a" * 64) / "bin/sh").exists()

    engine.driver.remove("a" * 64)
    engine.images.release_layers()

    assert engine.driver.ids() == [] and leftovers(engine) == []


def test_shared_layers_go_with_their_last_image(engine: Engine, busybox: Image) -> None:
    one = commit(engine, busybox, "one", x="1")
    engine.images.commit_layer("", one, ImageConfig(), created_by="ENV", empty=True, name="two")
    engine.images.commit_layer("", one, ImageConfig(), created_by="CMD", empty=True, name="three")
    engine.images.remove("two")
    engine.images.create_directory("c", engine.images.get("three"))
    assert (engine.driver.mount("c") / "x").read_text() == "1"
    engine.images.discard("c")
    engine.images.remove("three")
    engine.images.remove("one")
    assert [image.id for image in engine.images.list(all=True)] == [busybox.id]
    assert leftovers(engine) == []


# --------------------------------------------------------------------------------------------------------------- import


@pytest.mark.parametrize("compressed", [False, True])
def test_import_of_a_root_file_system(engine: Engine, compressed: bool) -> None:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as out:
        info = tarfile.TarInfo("etc/motd")
        info.size = 5
        out.addfile(info, io.BytesIO(b"hello"))
    data = gzip.compress(plain.getvalue()) if compressed else plain.getvalue()
    image = engine.images.import_tar(
        io.BytesIO(data), "rootfs:1", ['CMD ["/init"]', "ENV A=1 B='2 3'", "EXPOSE 53/udp 80"], "from a test"
    )
    config = engine.images.config(image.id)
    assert config.config.cmd == ("/init",) and config.config.env == ("A=1", "B=2 3")
    assert set(config.config.exposed_ports) == {"80/tcp", "53/udp"}
    assert config.history[0].comment == "from a test"
    engine.images.create_directory("c", image)
    assert (engine.driver.mount("c") / "etc/motd").read_text() == "hello"
    engine.images.discard("c")
    assert leftovers(engine) == []


def test_import_of_nonsense_leaves_nothing(engine: Engine) -> None:
    with pytest.raises(InvalidInput):
        engine.images.import_tar(io.BytesIO(b"this is no archive" * 100), "x")
    with pytest.raises(InvalidInput, match=r"(?i)run is not a valid change command"):
        engine.images.import_tar(io.BytesIO(b""), "x", ["RUN true"])
    assert engine.images.list(all=True) == []
    assert leftovers(engine) == [] if (engine.config.data_root / "blobs/sha256").exists() else True
