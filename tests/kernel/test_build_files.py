"""COPY, ADD and WORKDIR: the file tree docker's BuildKit makes of the same lines.

The expectations were recorded from dockerd 20.10 with BuildKit; where later versions differ (times of copied
directories are kept) they follow the later ones.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.engine import Engine
from engine.errors import BuildError
from engine.images.records import Image

pytestmark = pytest.mark.kernel

OLD = 1_577_836_800  # 2020-01-01


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """Files, links, modes and times to copy."""
    root = tmp_path / "context"
    for name in ("dir/sub", "dir/empty", "d2"):
        (root / name).mkdir(parents=True)
    contents = {"f1": "one", "f2": "two", "dir/a": "a", "dir/sub/b": "b", "d2/c": "c"}
    for name, text in contents.items():
        (root / name).write_text(text)
    (root / "dir" / "link").symlink_to("a")
    (root / "dir" / "out").symlink_to("../../../etc/passwd")
    (root / "dir" / "hard").hardlink_to(root / "dir" / "a")
    (root / "ldir").symlink_to("dir")
    (root / "lf1").symlink_to("f1")
    for name, mode in {"f1": 0o644, "f2": 0o600, "d2/c": 0o4750, "d2": 0o751, "dir/sub": 0o700}.items():
        (root / name).chmod(mode)
    for name in ("f1", "dir/a", "dir/sub"):
        os.utime(root / name, (OLD, OLD))
    return root


Build = Callable[[str], "Tree"]


class Tree:
    """The merged file system of a built image."""

    def __init__(self, root: Path, image: Image) -> None:
        self.root = root
        self.image = image

    def lines(self, below: str) -> dict[str, str]:
        """``path below → kind mode uid:gid content`` of everything under ``below``."""
        found: dict[str, str] = {}
        top = self.root / below.lstrip("/")
        for path in sorted([top, *top.rglob("*")]) if top.is_dir() and not top.is_symlink() else [top]:
            status = path.lstat()
            content = ""
            if stat.S_ISLNK(status.st_mode):
                content = f" -> {path.readlink()}"
            elif stat.S_ISREG(status.st_mode):
                content = f" {path.read_text(errors='replace')}"
            kind = {stat.S_IFREG: "f", stat.S_IFDIR: "d", stat.S_IFLNK: "l"}[stat.S_IFMT(status.st_mode)]
            mode = "" if kind == "l" else f" {stat.S_IMODE(status.st_mode):o}"
            found[str(path.relative_to(top))] = f"{kind}{mode} {status.st_uid}:{status.st_gid}{content}"
        return found

    def time(self, path: str) -> int:
        return int((self.root / path.lstrip("/")).lstat().st_mtime)

    def inode(self, path: str) -> int:
        return (self.root / path.lstrip("/")).lstat().st_ino


@pytest.fixture
def build(engine: Engine, busybox: Image, context: Path) -> Iterator[Build]:
    """Build ``FROM busybox`` and the given lines in ``context``; the result's file system, mounted."""
    mounted: list[str] = []

    def run(lines: str) -> Tree:
        (context / "Dockerfile").write_text(lines if lines.startswith("FROM") else f"FROM busybox\n{lines}\n")
        image = engine.builder.build(context)
        name = f"look{len(mounted)}"
        mounted.append(name)
        engine.images.create_directory(name, image)
        return Tree(engine.driver.mount(name), image)

    yield run
    for name in mounted:
        engine.images.discard(name)


WHOLE = {
    "a": "f 644 0:0 a",
    "empty": "d 755 0:0",
    "hard": "f 644 0:0 a",
    "link": "l 0:0 -> a",
    "out": "l 0:0 -> ../../../etc/passwd",
    "sub": "d 700 0:0",
    "sub/b": "f 644 0:0 b",
}


def test_one_file(build: Build) -> None:
    tree = build("COPY f1 /new\nCOPY f2 /deep/er/\nCOPY f1 /tmp\nCOPY lf1 /followed\nCOPY lf1 /named/")
    assert tree.lines("/new") == {".": "f 644 0:0 one"}
    assert tree.lines("/deep") == {".": "d 755 0:0", "er": "d 755 0:0", "er/f2": "f 600 0:0 two"}
    assert tree.lines("/tmp/f1") == {".": "f 644 0:0 one"}
    assert tree.lines("/followed") == {".": "f 644 0:0 one"}
    assert tree.lines("/named/lf1") == {".": "f 644 0:0 one"}
    assert tree.time("/new") == OLD


def test_a_directory_gives_its_contents(build: Build) -> None:
    tree = build("COPY dir /new\nCOPY dir/ /slash/\nCOPY ldir /linked\nCOPY d2 /mode\nCOPY dir/sub/. /dot")
    for name in ("/new", "/slash", "/linked"):
        assert tree.lines(name) == {".": "d 755 0:0", **WHOLE}
    assert tree.lines("/mode") == {".": "d 755 0:0", "c": "f 4750 0:0 c"}
    assert tree.lines("/dot") == {".": "d 755 0:0", "b": "f 644 0:0 b"}
    assert tree.time("/new/a") == OLD and tree.time("/new/sub") == OLD
    assert tree.inode("/new/a") == tree.inode("/new/hard") != tree.inode("/slash/a")


def test_a_directory_joins_one_that_is_there(build: Build) -> None:
    tree = build("COPY d2 /x/sub\nCOPY f2 /x/a\nCOPY dir /x")
    assert tree.lines("/x") == {".": "d 755 0:0", **WHOLE, "sub/c": "f 4750 0:0 c"}


def test_wildcards_and_several_sources(build: Build) -> None:
    tree = build('COPY f* /files/\nCOPY d?/c /single\nCOPY ["f1", "dir", "/mixed/"]\nCOPY none* f1 /some/')
    assert tree.lines("/files") == {".": "d 755 0:0", "f1": "f 644 0:0 one", "f2": "f 600 0:0 two"}
    assert tree.lines("/single") == {".": "f 4750 0:0 c"}
    assert tree.lines("/mixed") == {".": "d 755 0:0", "f1": "f 644 0:0 one", **WHOLE}
    assert tree.lines("/some") == {".": "d 755 0:0", "f1": "f 644 0:0 one"}


def test_links_in_the_destination_stay_inside(build: Build) -> None:
    prepare = (
        "RUN mkdir -p /real /var/t; ln -s /real /ldir; ln -s ../../../../../../real /var/t/rel; "
        "ln -s /real/file /lfile; ln -s /../../nowhere /dangling\n"
    )
    tree = build(
        prepare + "COPY f1 /ldir/\nCOPY f2 /ldir\nCOPY f1 /var/t/rel/new/x\nCOPY f1 /lfile\nCOPY f2 /dangling\n"
        "COPY d2 /var/t/rel"
    )
    assert tree.lines("/real") == {
        ".": "d 755 0:0",
        "c": "f 4750 0:0 c",
        "f1": "f 644 0:0 one",
        "f2": "f 600 0:0 two",
        "file": "f 644 0:0 one",
        "new": "d 755 0:0",
        "new/x": "f 644 0:0 one",
    }
    assert tree.lines("/nowhere") == {".": "f 600 0:0 two"}
    assert tree.lines("/ldir") == {".": "l 0:0 -> /real"}
    assert not Path("/nowhere").exists() and not Path("/real").exists()


def test_a_file_replaces_a_link_inside_a_copied_directory(build: Build) -> None:
    tree = build("RUN mkdir /x; ln -s /etc/passwd /x/a\nCOPY dir /x")
    assert tree.lines("/x/a") == {".": "f 644 0:0 a"}
    assert "root" in tree.lines("/etc/passwd")["."]


def test_owner_and_mode(build: Build) -> None:
    tree = build(
        "COPY --chown=1:2 dir /both\nCOPY --chown=daemon f1 /by/name\nCOPY --chown=5 f1 /number\n"
        "COPY --chmod=640 dir /octal\nCOPY --chmod=u=rwX,go= dir /symbolic\nUSER daemon\nCOPY f1 /root-still\n"
    )
    assert tree.lines("/both") == {
        name: line.replace("0:0", "1:2") for name, line in {".": "d 755 0:0", **WHOLE}.items()
    }
    assert tree.lines("/by") == {".": "d 755 1:1", "name": "f 644 1:1 one"}
    assert tree.lines("/number") == {".": "f 644 5:5 one"}
    assert tree.lines("/octal/sub") == {".": "d 640 0:0", "b": "f 640 0:0 b"}
    assert tree.lines("/symbolic")["sub"] == "d 700 0:0" and tree.lines("/symbolic")["a"] == "f 600 0:0 a"
    assert tree.lines("/root-still") == {".": "f 644 0:0 one"}


def test_workdir_and_relative_destinations(build: Build) -> None:
    tree = build("USER 3:4\nWORKDIR /w1/w2\nCOPY f1 .\nCOPY f1 name\nWORKDIR w3\nCOPY f1 ../up/\nWORKDIR /tmp")
    assert tree.lines("/w1") == {
        ".": "d 755 3:4",
        "w2": "d 755 3:4",
        "w2/f1": "f 644 0:0 one",
        "w2/name": "f 644 0:0 one",
        "w2/up": "d 755 0:0",
        "w2/up/f1": "f 644 0:0 one",
        "w2/w3": "d 755 3:4",
    }


def test_heredocs_become_files(build: Build) -> None:
    tree = build("ARG v=1\nCOPY <<one <<'two' /d/\nv=$v\none\nv=$v\ntwo\nCOPY --chmod=755 <<x /run.sh\nhi\nx")
    assert tree.lines("/d") == {".": "d 755 0:0", "one": "f 644 0:0 v=1\n", "two": "f 644 0:0 v=$v\n"}
    assert tree.lines("/run.sh") == {".": "f 755 0:0 hi\n"}


def test_scratch(build: Build) -> None:
    tree = build("FROM scratch\nCOPY f1 /\nWORKDIR /w")
    assert tree.lines("/") == {".": "d 755 0:0", "f1": "f 644 0:0 one", "w": "d 755 0:0"}


def test_extended_attributes_come_along(build: Build, context: Path) -> None:
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    os.setxattr(context / "f1", "security.capability", capability)
    tree = build("COPY f1 /x")
    assert os.getxattr(tree.root / "x", "security.capability") == capability


# ----------------------------------------------------------------------------------------------------------- archives


def archive(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for member, data in members:
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.uid, made.gid, made.mtime = kind, link, 7, 8, OLD
    return made


PLAIN = archive((member("d/f"), b"in"), (member("d/.wh.kept"), b""))
PACKED = {
    "plain.tar": PLAIN,
    "a.tar.gz": gzip.compress(PLAIN),
    "a.tar.bz2": bz2.compress(PLAIN),
    "a.tar.xz": lzma.compress(PLAIN),
    "no-name-that-tells": gzip.compress(PLAIN),
}


@pytest.mark.parametrize("name", PACKED)
def test_add_extracts_archives_by_content(build: Build, context: Path, name: str) -> None:
    (context / name).write_bytes(PACKED[name])
    tree = build(f"ADD {name} /out\nCOPY {name} /copied\nADD --unpack=false {name} /added")
    assert tree.lines("/out") == {
        ".": "d 755 0:0",
        "d": "d 755 0:0",
        "d/.wh.kept": "f 644 7:8 ",
        "d/f": "f 644 7:8 in",
    }
    assert tree.time("/out/d/f") == OLD
    assert (tree.root / "copied").read_bytes() == (tree.root / "added").read_bytes() == PACKED[name]


def test_add_copies_what_is_no_archive(build: Build, context: Path) -> None:
    (context / "fake.tar.gz").write_text("no archive")
    (context / "text.gz").write_bytes(gzip.compress(b"just text"))
    (context / "empty").touch()
    tree = build("ADD fake.tar.gz text.gz empty /x/")
    assert sorted(tree.lines("/x")) == [".", "empty", "fake.tar.gz", "text.gz"]


HOSTILE = {
    "dot dot": [(member("../escaped"), b"x")],
    "link out": [(member("l", tarfile.SYMTYPE, "/tmp"), b""), (member("l/../../escaped"), b"x")],
    "hard link out": [(member("h", tarfile.LNKTYPE, "../../../../etc/passwd"), b"")],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archives_are_refused(build: Build, context: Path, name: str) -> None:
    (context / "bad.tar").write_bytes(archive(*HOSTILE[name]))
    with pytest.raises(BuildError) as caught:
        build("ADD bad.tar /out/deep/")
    assert "invalid tar" in str(caught.value)
    assert caught.value.source == "ADD bad.tar /out/deep/"


def test_a_damaged_archive_is_named(build: Build, context: Path) -> None:
    packed = gzip.compress(archive((member("f"), os.urandom(100_000))))
    (context / "cut.tgz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(BuildError, match="damaged"):
        build("ADD cut.tgz /")


# ------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("COPY nosuch /", "COPY failed: file not found in build context or excluded by .dockerignore: stat nosuch"),
        ("ADD ../f1 /", "ADD failed: forbidden path outside the build context: ../f1"),
        ("COPY f1 f2 /x", "When using COPY with more than one source file, the destination must be a directory and"),
        ("COPY f* /x", "When using COPY with more than one source file"),
        ("COPY none* /x/", "COPY failed: no source files were specified"),
        ("COPY dir /etc/passwd", "cannot copy to non-directory: /etc/passwd"),
        ("COPY f1 /etc/passwd/x", "cannot copy to non-directory: /etc/passwd"),
        ("COPY f1 /x/sub\nCOPY dir /x", "cannot copy to non-directory: /x/sub"),
        ("COPY d2 /x/a\nCOPY dir /x", "cannot replace to directory /x/a with file"),
        ("COPY --chown=nosuch f1 /", "unable to find user nosuch"),
        ("USER nosuch\nWORKDIR /x", "unable to find user nosuch"),
    ],
)
def test_failures_are_named_and_leave_nothing(build: Build, engine: Engine, lines: str, words: str) -> None:
    with pytest.raises(BuildError) as caught:
        build(lines)
    assert words in str(caught.value)
    assert caught.value.line == lines.count("\n") + 2
    assert caught.value.source == lines.split("\n")[-1]
    assert len(engine.driver.ids()) == len({layer["cache_id"] for layer in engine.database.all("SELECT * FROM layers")})
    assert not engine.journal.pending()
