"""A full disk: said in words, nothing half-made stays, and it works again when there is room."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from engine.config import Config
from tests.conftest import Command
from tests.kernel.fault_scenes import Scene, assert_told_well, temporary_files

pytestmark = [pytest.mark.kernel, pytest.mark.disk(megabytes=24)]


def fill(config: Config, *, leave: int) -> Path:
    """Fill the data root's disk but for ``leave`` bytes; a container may be at it, too."""
    filler = config.data_root / "filler"
    with open(filler, "wb", buffering=0) as out, contextlib.suppress(OSError):
        while True:
            out.write(bytes(1 << 16))
    os.truncate(filler, max(0, filler.stat().st_size - leave))
    return filler


def context(directory: Path, megabytes: int, dockerfile: str) -> Path:
    """A build context with one file ``big``."""
    directory.mkdir()
    (directory / "big").write_bytes(os.urandom(megabytes << 20))
    (directory / "Dockerfile").write_text(dockerfile)
    return directory


@pytest.mark.parametrize("line", ["COPY big /big", "RUN dd if=/dev/zero of=/big bs=1M count=40"])
def test_a_build_that_does_not_fit(cli: Command, config: Config, scene: Scene, tmp_path: Path, line: str) -> None:
    result = cli("build", "-t", "big", context(tmp_path / "c", 40, f"FROM busybox\n{line}\n"))

    assert result.returncode == 1
    assert "no space left" in (result.stdout + result.stderr).lower(), result.stdout + result.stderr
    assert_told_well(result.stderr)
    assert not Scene.observe(config).beyond(scene)
    assert not temporary_files(config)
    cli("build", "-t", "small", context(tmp_path / "d", 1, "FROM busybox\nCOPY big /big\n"), check=0)
    cli("run", "--rm", "small", "test", "-s", "/big", check=0)


def test_a_load_that_does_not_fit(cli: Command, config: Config, scene: Scene, tmp_path: Path) -> None:
    cli("build", "-t", "app", context(tmp_path / "c", 6, "FROM busybox\nCOPY big /big\n"), check=0)
    cli("save", "-o", tmp_path / "app.tar", "app", check=0)
    cli("rmi", "app", check=0)
    before = Scene.observe(config)
    filler = fill(config, leave=3 << 20)
    result = cli("load", "-i", tmp_path / "app.tar")

    assert result.returncode == 1 and "no space left" in result.stderr.lower(), result.stderr
    assert_told_well(result.stderr)
    assert not Scene.observe(config).beyond(before)
    filler.unlink()
    assert not temporary_files(config)
    cli("load", "-i", tmp_path / "app.tar", check=0)
    cli("run", "--rm", "app", "test", "-s", "/big", check=0)


def test_a_commit_that_does_not_fit(cli: Command, config: Config, scene: Scene) -> None:
    id = cli("run", "-d", "busybox", "sleep", "1000", check=0).stdout.strip()
    cli("exec", id, "dd", "if=/dev/urandom", "of=/big", "bs=1M", "count=6", check=0)
    before = Scene.observe(config)
    filler = fill(config, leave=3 << 20)
    result = cli("commit", id, "big")

    assert result.returncode == 1 and "no space left" in result.stderr.lower(), result.stderr
    assert_told_well(result.stderr)
    filler.unlink()
    assert not Scene.observe(config).beyond(before)
    assert not temporary_files(config)
    assert cli("exec", id, "echo", "alive", check=0).stdout == "alive\n"
    cli("commit", id, "big", check=0)


def test_a_run_on_a_full_disk(cli: Command, config: Config, scene: Scene) -> None:
    filler = fill(config, leave=0)
    result = cli("run", "-d", "--name", "web", "-p", "8088:80", "busybox", "sleep", "1000")

    # What is kept back for such times may have been enough; if not, it is said what is missing.
    assert_told_well(result.stderr)
    words = result.stderr.lower()
    assert result.returncode == 0 or (result.returncode == 125 and ("no space" in words or "full" in words)), words
    cli("rm", "-f", "web")
    filler.unlink()
    cli("rm", "-f", "web")
    assert not Scene.observe(config).beyond(scene)
    cli("run", "--rm", "--name", "web", "-p", "8088:80", "busybox", "true", check=0)


def test_a_container_can_be_removed_on_a_full_disk(cli: Command, config: Config, scene: Scene) -> None:
    cli("run", "-d", "--name", "web", "busybox", "sh", "-c", "cat /dev/zero >/big; sleep 1000", check=0)
    filler = fill(config, leave=0)
    cli("exec", "web", "true", check=0)
    cli("rm", "-f", "web", check=0)
    filler.unlink(missing_ok=True)
    assert not Scene.observe(config).beyond(scene)
