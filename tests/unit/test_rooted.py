"""Walks that cannot leave their root, by any name and any link."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.errors import InvalidInput
from engine.host import rooted
from engine.host.rooted import RootedTree

pytestmark = pytest.mark.unit


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "outside/secret").mkdir(parents=True)
    root = tmp_path / "root"
    (root / "real/deep").mkdir(parents=True)
    (root / "outside/secret").mkdir(parents=True)
    (root / "absolute").symlink_to("/real")
    (root / "relative").symlink_to("real/deep")
    (root / "up").symlink_to("../../../../../outside")
    (root / "host").symlink_to(tmp_path / "outside")
    (root / "chain").symlink_to("absolute/deep")
    (root / "loop").symlink_to("loop")
    (root / "file").touch()
    return root


@pytest.fixture
def tree(root: Path) -> Iterator[RootedTree]:
    descriptor = rooted.open_root(root)
    tree = RootedTree(descriptor)
    yield tree
    tree.close()
    os.close(descriptor)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("", ""),
        ("real/deep", "real/deep"),
        ("absolute/deep", "real/deep"),
        ("relative", "real/deep"),
        ("chain", "real/deep"),
        ("up/secret", "outside/secret"),
        ("up", "outside"),
    ],
)
def test_links_end_inside(tree: RootedTree, root: Path, name: str, path: str) -> None:
    place = tree.directory(tuple(part for part in name.split("/") if part))
    assert "/".join(place.path) == path
    assert os.fstat(place.descriptor).st_ino == (root / path).stat().st_ino


def test_a_link_to_a_path_of_the_host_finds_nothing(tree: RootedTree) -> None:
    with pytest.raises(FileNotFoundError):
        tree.directory(("host",))


def test_loops_and_files_are_errors_of_the_kernel_s_kind(tree: RootedTree) -> None:
    with pytest.raises(OSError, match="symbolic links"):
        tree.directory(("loop",))
    with pytest.raises(NotADirectoryError):
        tree.directory(("file",))


def test_missing_directories_are_made_where_the_links_lead(tree: RootedTree, root: Path, tmp_path: Path) -> None:
    made = []

    def make(parent: int, name: str, path: tuple[str, ...]) -> None:
        os.mkdir(name, dir_fd=parent)
        made.append("/".join(path))

    tree.directory(("up", "new", "newer"), make)
    assert made == ["outside/new", "outside/new/newer"]
    assert (root / "outside/new/newer").is_dir() and not (tmp_path / "outside/new").exists()


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/../x", "a/b/../../../x"])
def test_names_that_lead_out_are_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="leads out"):
        rooted.lexical(name)


@pytest.mark.parametrize(
    ("name", "parts"),
    [("/etc/passwd", ("etc", "passwd")), ("./a//b/", ("a", "b")), ("a/../b", ("b",)), ("./", ()), ("", ())],
)
def test_names_are_cleaned(name: str, parts: tuple[str, ...]) -> None:
    assert rooted.lexical(name) == parts


@pytest.mark.parametrize(
    ("path", "end"),
    [
        ("/file", "file"),
        ("to-file", "file"),
        ("real/../file", "file"),
        ("chain/../../../file", "file"),
        ("..", ""),
        ("/", ""),
        ("up/..", ""),
        ("relative", "real/deep"),
    ],
)
def test_opening_ends_inside(root: Path, path: str, end: str) -> None:
    (root / "to-file").symlink_to("up/../../file")
    base = rooted.open_root(root)
    descriptor = rooted.open_in(base, path, os.O_PATH)
    assert os.fstat(descriptor).st_ino == (root / end).stat().st_ino
    os.close(descriptor)
    os.close(base)


def test_opening_follows_no_link_out_and_no_loop(root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (root / "passwd").symlink_to(tmp_path / "secret")
    (root / "climb").symlink_to("../secret")
    (root / "here").write_text("here")
    (root / "link").symlink_to("here")
    os.mkfifo(root / "fifo")
    assert rooted.read_text(root, "link") == "here"
    for path in ("passwd", "climb", "loop", "fifo", "real", "../secret", "nothing"):
        assert rooted.read_text(root, path) is None
    base = rooted.open_root(root)
    with pytest.raises(OSError, match="symbolic links"):
        rooted.open_in(base, "loop", os.O_RDONLY)
    with pytest.raises(FileExistsError):
        rooted.open_in(base, "link", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.close(base)


def test_what_is_made_lies_inside_and_goes_again(root: Path, tmp_path: Path) -> None:
    (root / "dangling").symlink_to("../../outside/new")
    before = sorted(root.rglob("*"))
    made = rooted.make_directories(root, "/dangling/below") + rooted.make_file(root, "/relative/file")
    assert made == ["/outside/new", "/outside/new/below", "/relative/file"]
    assert (root / "outside/new/below").is_dir() and (root / "real/deep/file").is_file()
    assert not (tmp_path / "outside/new").exists()
    with pytest.raises(NotADirectoryError):
        rooted.make_directories(root, "/file/below")
    (root / "real/deep/file").write_text("filled meanwhile")
    rooted.remove_empty(root, made)
    assert sorted(root.rglob("*")) == sorted([*before, root / "real/deep/file"])


def test_no_descriptor_is_lost(root: Path) -> None:
    before = set(os.listdir("/proc/self/fd"))
    descriptor = rooted.open_root(root)
    tree = RootedTree(descriptor)
    for name in ("real", "relative", "chain", "loop", "file", "host", "up", "nothing"):
        with contextlib.suppress(OSError):
            tree.directory((name,))
        with contextlib.suppress(OSError):
            os.close(rooted.open_in(descriptor, name, os.O_RDONLY | os.O_DIRECTORY))
        rooted.read_text(root, name)
    tree.close()
    os.close(descriptor)
    assert set(os.listdir("/proc/self/fd")) == before


def test_removal_follows_no_link(tmp_path: Path, root: Path) -> None:
    (tmp_path / "outside/keep").touch()
    (root / "real/link").symlink_to(tmp_path / "outside")
    for index in range(300):
        (root / f"real/deep/file{index}").touch()
    deep = root / "real"
    for _ in range(60):
        deep = deep / "d"
    deep.mkdir(parents=True)

    assert rooted.remove(str(root / "real"))
    assert not (root / "real").exists() and (tmp_path / "outside/keep").exists()
    assert rooted.remove(str(root / "absolute")) and (tmp_path / "root").is_dir()
    assert not rooted.remove(str(root / "real"))
