"""``save`` and ``load`` with the real others: docker, podman, skopeo. What they read and write is the same image."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.engine import Engine
from engine.errors import EngineError, InvalidInput
from engine.images.collection import Image
from engine.images.config import Healthcheck, ImageConfig, RunConfig

pytestmark = pytest.mark.kernel

CAPABILITY = b"\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
CONFIG = RunConfig(
    user="www-data",
    exposed_ports=("80/tcp",),
    env=("PATH=/bin", "A=b=c", "Ü=ß"),
    entrypoint=("/bin/sh", "-c"),
    cmd=("echo hello",),
    volumes=("/data",),
    working_dir="/tmp",
    labels={"k": "v w"},
    stop_signal="SIGUSR1",
    healthcheck=Healthcheck(("CMD", "true"), interval=5 * 10**9),
)
# What engines put into every container.
THEIRS = (".dockerenv", "dev", "etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab", "proc", "sys", "run", "data")

Run = Callable[..., str]


def run(*command: str | Path, stdin: Path | None = None) -> str:
    """The output of a command; its words when it fails."""
    with (stdin or Path(os.devnull)).open("rb") as given:
        result = subprocess.run([*map(str, command)], stdin=given, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{command}: {result.stderr}{result.stdout}"
    return result.stdout.strip()


@pytest.fixture
def app(engine: Engine, busybox: Image) -> Image:
    """An image of three layers in which names go, directories are replaced, and files carry attributes."""
    engine.images.create_directory("one", busybox)
    root = engine.driver.mount("one")
    (root / "srv/old/deep").mkdir(parents=True)
    (root / "srv/old/file").write_text("old")
    (root / "srv/gone").write_text("gone")
    (root / "srv/ping").write_bytes(b"program")
    os.setxattr(root / "srv/ping", "security.capability", CAPABILITY)
    (root / "srv/su").write_bytes(b"program")
    os.chown(root / "srv/su", 33, 44)
    (root / "srv/su").chmod(0o4755)
    os.link(root / "srv/su", root / "srv/su2")
    (root / "srv/link").symlink_to("/etc/passwd")
    (root / ("srv/" + "long" * 50)).write_text("long")
    middle = engine.images.commit_layer("one", busybox, ImageConfig(config=CONFIG), created_by="one", seal=True)
    engine.images.create_directory("two", middle)
    root = engine.driver.mount("two")
    (root / "srv/gone").unlink()
    shutil.rmtree(root / "srv/old")
    (root / "srv/old").mkdir(mode=0o750)
    (root / "srv/old/new").write_text("new")
    top = engine.images.commit_layer("two", middle, ImageConfig(config=CONFIG), created_by="two", seal=True)
    return engine.images.commit_layer(
        "", top, ImageConfig(config=CONFIG, author="me"), created_by="CMD", empty=True, name="team/app:1.0"
    )


@pytest.fixture
def archive(engine: Engine, app: Image, tmp_path: Path) -> Path:
    path = tmp_path / "app.tar"
    with path.open("wb") as out:
        engine.images.save(["team/app:1.0", "busybox"], out)
    return path


def contents(archive: tarfile.TarFile) -> dict[str, tuple[object, ...]]:
    """What an exported container holds, without what every engine adds."""
    found: dict[str, tuple[object, ...]] = {}
    for info in archive:
        name = info.name.removeprefix("./").rstrip("/")
        if name in ("", ".") or name in THEIRS or name.startswith(tuple(f"{one}/" for one in THEIRS)):
            continue
        file = archive.extractfile(info) if info.isreg() or info.islnk() else None
        # Which of several names is the first of a hard link is the writer's choice.
        kind = "file" if file is not None else info.type
        link = info.linkname if info.issym() else ""
        found[name] = (kind, info.mode & 0o7777, info.uid, info.gid, link, file.read() if file else b"")
    return found


def ours(engine: Engine, image: Image, tmp_path: Path) -> dict[str, tuple[object, ...]]:
    engine.images.create_directory("compared", image)
    path = tmp_path / "ours.tar"
    run("tar", "--format=pax", "-cf", path, "-C", engine.driver.mount("compared"), ".")
    engine.images.discard("compared")
    with tarfile.open(path) as opened:
        return contents(opened)


def capability_of(engine: Engine, image: Image) -> bytes:
    engine.images.create_directory("looked", image)
    try:
        return os.getxattr(engine.driver.mount("looked") / "srv/ping", "security.capability")
    finally:
        engine.images.discard("looked")


def forget_everything(engine: Engine) -> None:
    for image in engine.images.list():
        engine.images.remove(image.id, force=True)
    assert engine.images.list(all=True) == [] and engine.driver.ids() == []


# ------------------------------------------------------------------------------------------------------ with ourselves


def test_a_round_trip_changes_nothing(engine: Engine, app: Image, archive: Path, tmp_path: Path) -> None:
    before = ours(engine, app, tmp_path)
    forget_everything(engine)
    lines: list[str] = []
    with archive.open("rb") as stream:
        assert engine.images.load(stream, lines.append) == ["team/app:1.0", "busybox:latest"]
    image = engine.images.get("team/app:1.0")

    assert (image.id, image.manifest, image.size) == (app.id, app.manifest, app.size)
    assert ours(engine, image, tmp_path) == before and capability_of(engine, image) == CAPABILITY
    again = io.BytesIO()
    engine.images.save(["team/app:1.0", "busybox"], again)
    assert again.getvalue() == archive.read_bytes()
    assert any("layer 3/3" in line for line in lines)
    # Loading what is there already changes nothing either.
    with archive.open("rb") as stream:
        engine.images.load(stream)
    assert engine.images.get("team/app:1.0") == image and len(engine.images.list()) == 2


@pytest.mark.parametrize("program", ["gzip", "zstd", "xz", "bzip2"])
def test_compressed_archives_are_loaded_from_a_pipe(engine: Engine, app: Image, archive: Path, program: str) -> None:
    forget_everything(engine)
    with subprocess.Popen([program, "-c", str(archive)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        engine.images.load(process.stdout)  # type: ignore[arg-type]
    assert engine.images.get("team/app:1.0").id == app.id


def test_the_archive_is_an_oci_layout_and_a_docker_archive(archive: Path, app: Image, tmp_path: Path) -> None:
    with tarfile.open(archive) as opened:
        opened.extractall(tmp_path / "layout", filter="data") if hasattr(tarfile, "data_filter") else opened.extractall(
            tmp_path / "layout"
        )
    index = json.loads((tmp_path / "layout/index.json").read_text())
    assert index["manifests"][0]["annotations"]["io.containerd.image.name"] == "docker.io/team/app:1.0"
    listed = json.loads((tmp_path / "layout/manifest.json").read_text())
    assert listed[0]["RepoTags"] == ["team/app:1.0"] and listed[0]["Config"].endswith(app.id.removeprefix("sha256:"))
    assert set(json.loads((tmp_path / "layout/repositories").read_text())) == {"team/app", "busybox"}


# -------------------------------------------------------------------------------------------------------------- skopeo


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_skopeo_there_and_back(engine: Engine, app: Image, archive: Path, tmp_path: Path, form: str) -> None:
    before = ours(engine, app, tmp_path)
    name = "team/app:1.0" if form == "docker-archive" else "1.0"
    policy = tmp_path / "policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    skopeo = ("skopeo", "--policy", policy, "--tmpdir", tmp_path, "copy", "-q")
    inspected = json.loads(run("skopeo", "--tmpdir", tmp_path, "inspect", "--config", f"{form}:{archive}:{name}"))
    assert inspected["config"]["Entrypoint"] == ["/bin/sh", "-c"] and inspected["author"] == "me"
    run(*skopeo, f"{form}:{archive}:{name}", f"oci-archive:{tmp_path}/oci.tar:team/app:oci")
    run(*skopeo, f"{form}:{archive}:{name}", f"docker-archive:{tmp_path}/docker.tar:team/app:docker")
    forget_everything(engine)

    for kind, tag in (("oci", "team/app:oci"), ("docker", "team/app:docker")):
        with (tmp_path / f"{kind}.tar").open("rb") as stream:
            assert engine.images.load(stream) == [tag]
        image = engine.images.get(tag)
        assert ours(engine, image, tmp_path) == before
        assert engine.images.config(image.id).config.labels == {"k": "v w"}
        assert capability_of(engine, image) == CAPABILITY


# -------------------------------------------------------------------------------------------------------------- podman


@pytest.fixture
def podman(tmp_path: Path) -> Run:
    """A podman with a store of its own."""
    # The run root's name may have 50 characters at most.
    roots = ("--root", tmp_path / "podman", "--runroot", "/run/test-podman", "--tmpdir", "/run/test-podman-tmp")
    prefix = ("podman", *roots, "--storage-driver", "vfs", "--events-backend", "none", "--cgroup-manager", "cgroupfs")
    return lambda *words, **options: run(*prefix, *words, **options)


def test_podman_there_and_back(engine: Engine, app: Image, archive: Path, tmp_path: Path, podman: Run) -> None:
    before = ours(engine, app, tmp_path)
    podman("load", "-i", archive)
    inspected = json.loads(podman("image", "inspect", "team/app:1.0"))[0]
    assert inspected["Id"] == app.id.removeprefix("sha256:")
    assert inspected["Config"]["User"] == "www-data" and inspected["Config"]["StopSignal"] == "SIGUSR1"
    container = podman("create", "--network", "none", "team/app:1.0")
    podman("export", "-o", tmp_path / "podman-export.tar", container)
    with tarfile.open(tmp_path / "podman-export.tar") as opened:
        assert contents(opened) == before
    forget_everything(engine)

    for form in ("docker-archive", "oci-archive"):
        podman("save", "--format", form, "-o", tmp_path / f"{form}.tar", "team/app:1.0")
        with (tmp_path / f"{form}.tar").open("rb") as stream:
            (name,) = engine.images.load(stream)
        image = engine.images.get(name)
        assert ours(engine, image, tmp_path) == before and capability_of(engine, image) == CAPABILITY
        assert image.size == app.size
        forget_everything(engine)


# -------------------------------------------------------------------------------------------------------------- docker


@pytest.fixture
def docker(tmp_path: Path) -> Iterator[Run]:
    """A dockerd of this test alone, in its network and mount namespaces, without bridge and rules."""
    socket = "unix:///run/test-docker.sock"
    log = (tmp_path / "dockerd.log").open("wb")
    daemon = subprocess.Popen(
        ["dockerd", "-H", socket, "--data-root", str(tmp_path / "docker"), "--exec-root", "/run/test-docker",
         "--pidfile", "/run/test-docker.pid", "--bridge=none", "--iptables=false", "--ip-forward=false",
         "--ip-masq=false"],
        stdin=subprocess.DEVNULL, stdout=log, stderr=log,
    )  # fmt: skip
    deadline = time.monotonic() + 40
    while subprocess.run(["docker", "-H", socket, "version"], capture_output=True, check=False).returncode != 0:
        words = (tmp_path / "dockerd.log").read_text()
        assert daemon.poll() is None and time.monotonic() < deadline, f"dockerd did not come up: {words}"
        time.sleep(0.1)
    yield lambda *words, **options: run("docker", "-H", socket, *words, **options)
    daemon.send_signal(signal.SIGTERM)
    daemon.wait(30)
    log.close()
    # dockerd binds its root on itself where it lies on a mount that is not private, and may leave that.
    subprocess.run(["umount", "--lazy", tmp_path / "docker"], stderr=subprocess.DEVNULL, check=False)


def test_docker_there_and_back(engine: Engine, app: Image, archive: Path, tmp_path: Path, docker: Run) -> None:
    before = ours(engine, app, tmp_path)
    assert "Loaded image: team/app:1.0" in docker("load", "-i", archive)
    inspected = json.loads(docker("image", "inspect", "team/app:1.0"))[0]
    mine = engine.images.inspect("team/app:1.0")
    assert inspected["Id"] == app.id
    for field in ("RepoTags", "Author", "Architecture", "Os", "RootFS", "Comment"):
        assert inspected[field] == mine[field], field
    # Go leaves trailing zeros of a second's fraction out.
    assert inspected["Created"].rstrip("Z").rstrip("0") == mine["Created"].rstrip("Z").rstrip("0")
    assert {key: value for key, value in inspected["Config"].items() if value} == {
        key: value for key, value in mine["Config"].items() if value
    }
    assert set(inspected) - set(mine) <= {"ContainerConfig"}
    container = docker("create", "--network", "none", "team/app:1.0")
    docker("export", "-o", tmp_path / "docker-export.tar", container)
    docker("rm", "-v", container)
    with tarfile.open(tmp_path / "docker-export.tar") as opened:
        assert contents(opened) == before
    forget_everything(engine)

    docker("save", "-o", tmp_path / "docker.tar", "team/app:1.0", "busybox")
    with (tmp_path / "docker.tar").open("rb") as stream:
        assert sorted(engine.images.load(stream)) == ["busybox:latest", "team/app:1.0"]
    image = engine.images.get("team/app:1.0")
    assert image.id == app.id and image.size == app.size
    assert ours(engine, image, tmp_path) == before and capability_of(engine, image) == CAPABILITY


# ----------------------------------------------------------------------------------------------------- damaged archives


def rewritten(archive: Path, change: Callable[[str, bytes], bytes | None]) -> io.BytesIO:
    """The archive with every file passed through ``change``; None drops it."""
    out = io.BytesIO()
    with tarfile.open(archive) as old, tarfile.open(fileobj=out, mode="w") as new:
        for info in old:
            file = old.extractfile(info) if info.isreg() else None
            data = change(info.name, file.read()) if file is not None else b""
            if data is None:
                continue
            info.size = len(data)
            new.addfile(info, io.BytesIO(data))
    out.seek(0)
    return out


def damage_layer(name: str, data: bytes) -> bytes:
    return data[:-1] + b"x" if len(data) > 100_000 else data


def drop_layers(name: str, data: bytes) -> bytes | None:
    return None if len(data) > 100_000 else data


def swap_layers(name: str, data: bytes) -> bytes:
    if name == "manifest.json":
        listed = json.loads(data)
        listed[0]["Layers"] = listed[0]["Layers"][::-1]
        return json.dumps(listed).encode()
    return data


def fewer_layers(name: str, data: bytes) -> bytes:
    if name == "manifest.json":
        listed = json.loads(data)
        listed[0]["Layers"].pop()
        return json.dumps(listed).encode()
    return data


def nonsense(name: str, data: bytes) -> bytes:
    return b"[{}]" if name == "manifest.json" else data


def climbing(name: str, data: bytes) -> bytes:
    if name == "manifest.json":
        listed = json.loads(data)
        listed[0]["Config"] = "../../../etc/passwd"
        return json.dumps(listed).encode()
    return data


def no_index(name: str, data: bytes) -> bytes | None:
    return None if name in ("manifest.json", "index.json") else data


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (damage_layer, "digest"),
        (drop_layers, "no member"),
        (swap_layers, "digest"),
        (fewer_layers, "lists 2 layers"),
        (nonsense, r"invalid manifest\.json"),
        (climbing, "no member"),
        (no_index, r"neither manifest\.json nor index\.json"),
    ],
)
def test_damaged_archives_are_refused_whole(
    engine: Engine, archive: Path, change: Callable[[str, bytes], bytes | None], words: str
) -> None:
    forget_everything(engine)
    with pytest.raises(InvalidInput, match=words):
        engine.images.load(rewritten(archive, change))  # type: ignore[arg-type]
    root = engine.config.data_root
    assert engine.images.list(all=True) == [] and engine.driver.ids() == []
    assert os.listdir(root / "blobs/sha256") == [] and os.listdir(root / "staging") == []
    assert engine.journal.pending() == []


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("compressed", [False, True])
def test_archives_cut_short_are_refused_whole(engine: Engine, archive: Path, share: float, compressed: bool) -> None:
    data = gzip.compress(archive.read_bytes(), 1) if compressed else archive.read_bytes()
    forget_everything(engine)
    with pytest.raises(EngineError):
        engine.images.load(io.BytesIO(data[: int(len(data) * share)]))
    assert engine.images.list(all=True) == [] and engine.driver.ids() == []
    assert os.listdir(engine.config.data_root / "blobs/sha256") == []
