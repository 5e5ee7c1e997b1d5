"""The build context: what sources name, what is left out, what can never be reached, checksums."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from engine.build.cache import content_checksum
from engine.build.context import Context, ContextError
from engine.errors import Cancelled

pytestmark = pytest.mark.unit


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small context."""
    context = tmp_path / "context"
    for name in ("app/bin", "app/empty", "logs/keep"):
        (context / name).mkdir(parents=True)
    for name in ("app/main.py", "app/bin/run", "logs/old", "logs/keep/this", "a.txt", "b.txt", "Dockerfile"):
        (context / name).write_text(name)
    (tmp_path / "secret").write_text("outside")
    return context


def opened(root: Path) -> Context:
    return Context.open(root, root / "Dockerfile")


def names(root: Path, written: str) -> list[str]:
    return [entry.path for source in opened(root).sources(written) for entry in source.entries]


def test_a_file_and_a_directory(root: Path) -> None:
    assert names(root, "a.txt") == ["a.txt"]
    assert names(root, "/app/") == ["app", "app/bin", "app/bin/run", "app/empty", "app/main.py"]
    assert names(root, "app/bin/../main.py") == ["app/main.py"]


def test_wildcards_match_within_one_component(root: Path) -> None:
    assert names(root, "*.txt") == ["a.txt", "b.txt"]
    assert names(root, "a*/*.py") == ["app/main.py"]
    assert names(root, "[ab].txt") == ["a.txt", "b.txt"]
    assert names(root, "?.tx?") == ["a.txt", "b.txt"]
    assert names(root, "*.none") == []


def test_escaped_characters_are_literal(root: Path) -> None:
    (root / "we[i]rd").write_text("x")
    assert names(root, "we[[]i]rd") == ["we[i]rd"]
    assert names(root, "we\\[i\\]rd") == ["we[i]rd"]


@pytest.mark.parametrize("written", ["../secret", "app/../../secret", "..", "/../secret", "app/../.."])
def test_dot_dot_cannot_leave(root: Path, written: str) -> None:
    with pytest.raises(ContextError, match="forbidden path outside the build context"):
        opened(root).sources(written)


@pytest.mark.parametrize("target", ["/secret", "../secret", "/../secret", "../../../../etc/passwd", "/etc/passwd"])
def test_links_cannot_leave(root: Path, target: str) -> None:
    (root / "link").symlink_to(target)
    with pytest.raises(ContextError, match="file not found in build context"):
        opened(root).sources("link")
    with pytest.raises(ContextError, match="file not found in build context"):
        opened(root).sources("lin*")


def test_links_are_followed_inside(root: Path) -> None:
    (root / "absolute").symlink_to("/app/bin")
    (root / "app" / "up").symlink_to("../../../a.txt")
    assert names(root, "absolute/run") == ["app/bin/run"]
    assert [source.name for source in opened(root).sources("app/up")] == ["up"]
    assert names(root, "app/up") == ["a.txt"]


def test_links_below_a_directory_stay_links(root: Path) -> None:
    (root / "app" / "link").symlink_to("/etc//passwd")
    [entry] = [entry for entry in opened(root).sources("app")[0].entries if entry.inside == "link"]
    assert entry.link == "/etc//passwd"


def test_the_context_itself_may_be_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    assert names(tmp_path / "link", "app") == names(root, "app")


def test_a_ring_of_links_is_refused(root: Path) -> None:
    (root / "one").symlink_to("two")
    (root / "two").symlink_to("one")
    with pytest.raises(ContextError, match="too many links"):
        opened(root).sources("one")


def test_ignored_files_are_not_there(root: Path) -> None:
    (root / ".dockerignore").write_text("logs\n!logs/keep\n*.txt\napp/bin\nDockerfile\n.dockerignore\n")
    assert names(root, "logs") == ["logs", "logs/keep", "logs/keep/this"]
    assert names(root, ".") == ["", "app", "app/empty", "app/main.py", "logs", "logs/keep", "logs/keep/this"]
    assert names(root, "*.txt") == []
    for written in ("a.txt", "app/bin", "app/bin/run", "logs/old", "Dockerfile"):
        with pytest.raises(ContextError, match=r"excluded by \.dockerignore"):
            opened(root).sources(written)


def test_an_ignore_file_of_the_dockerfile_comes_first(root: Path) -> None:
    (root / ".dockerignore").write_text("*\n")
    (root / "Dockerfile.dockerignore").write_text("b.txt\n")
    assert names(root, "?.txt") == ["a.txt"]


def test_a_missing_context_is_named(tmp_path: Path) -> None:
    with pytest.raises(ContextError, match=r"unable to prepare context: path '.*nowhere' not found"):
        Context.open(tmp_path / "nowhere", tmp_path / "nowhere" / "Dockerfile")


def test_a_fifo_is_refused_and_a_socket_left_out(root: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(root / "app" / "s"))
        assert "app/s" not in names(root, "app")
    os.mkfifo(root / "app" / "fifo")
    with pytest.raises(ContextError, match="app/fifo in the build context is a device or a FIFO"):
        opened(root).sources("app")


def test_a_walk_can_be_cancelled(root: Path) -> None:
    cancel = threading.Event()
    context = Context.open(root, root / "Dockerfile", cancel)
    cancel.set()
    with pytest.raises(Cancelled):
        context.sources("app")


def checksum(root: Path, written: str) -> str:
    context = opened(root)
    [source] = context.sources(written)
    return content_checksum(context, source)


def test_times_and_owners_do_not_count(root: Path) -> None:
    before = checksum(root, "app")
    os.utime(root / "app" / "main.py", (1, 1))
    os.utime(root / "app", (1, 1))
    if os.geteuid() == 0:
        os.chown(root / "app" / "main.py", 7, 7)
    assert checksum(root, "app") == before


CHANGES = {
    "bytes": lambda app: (app / "main.py").write_text("app/main.pY"),
    "mode": lambda app: (app / "main.py").chmod(0o755),
    "directory mode": lambda app: (app / "empty").chmod(0o700),
    "name": lambda app: (app / "main.py").rename(app / "main.pY"),
    "one more": lambda app: (app / "new").touch(),
    "one less": lambda app: (app / "empty").rmdir(),
    "file to link": lambda app: ((app / "main.py").unlink(), (app / "main.py").symlink_to("x")),
    "directory to file": lambda app: ((app / "empty").rmdir(), (app / "empty").touch()),
}


@pytest.mark.parametrize("change", CHANGES)
def test_content_counts(root: Path, change: str) -> None:
    before = checksum(root, "app")
    CHANGES[change](root / "app")
    assert checksum(root, "app") != before


def test_the_name_of_a_single_file_counts(root: Path) -> None:
    (root / "b.txt").write_text("a.txt")
    assert checksum(root, "a.txt") != checksum(root, "b.txt")


def test_large_files_are_read_in_pieces(root: Path) -> None:
    (root / "a.txt").write_bytes(b"x" * (3 << 20))
    before = checksum(root, "a.txt")
    with (root / "a.txt").open("r+b") as file:
        file.seek(2 << 20)
        file.write(b"y")
    assert checksum(root, "a.txt") != before
