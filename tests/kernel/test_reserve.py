"""State on a disk without a byte left: removing things, which makes room, is possible all the same."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.config import Config
from engine.errors import HostError
from engine.state.database import Database
from engine.state.reserve import PIECE, PIECES
from tests.conftest import Command
from tests.kernel.fault_scenes import wait_until

pytestmark = [pytest.mark.kernel, pytest.mark.disk(megabytes=12)]


def fill(config: Config) -> None:
    """Take every byte that is left."""
    with open(config.data_root / "filler", "ab", buffering=0) as filler:
        try:
            while filler.write(bytes(1 << 16)):
                pass
        except OSError:
            while True:
                try:
                    filler.write(bytes(1))
                except OSError:
                    return


def pieces(config: Config) -> list[Path]:
    return sorted(config.data_root.glob("state.reserve.*"))


def volume(name: str) -> tuple[str, tuple[str, ...]]:
    return "INSERT INTO volumes(name, created) VALUES(?, 'now')", (name,)


def test_a_full_disk_still_opens_and_saves(config: Config) -> None:
    first = Database(config.data_root / "state.db")
    first.execute(*volume("before"))
    first.close()
    assert [piece.stat().st_blocks * 512 for piece in pieces(config)] == [PIECE] * PIECES
    fill(config)

    database = Database(config.data_root / "state.db")
    assert database.execute("DELETE FROM volumes") == 1
    assert 0 < len(pieces(config)) < PIECES
    database.close()

    (config.data_root / "filler").unlink()
    Database(config.data_root / "state.db").connection()
    assert len(pieces(config)) == PIECES


def test_a_disk_that_fills_during_work_still_saves_once(config: Config) -> None:
    database = Database(config.data_root / "state.db")
    database.execute(*volume("before"))
    fill(config)

    for number in range(40):
        database.execute(*volume(f"after-{number}"))
    assert 0 < len(pieces(config)) < PIECES
    for piece in pieces(config):
        piece.unlink()
    with open(config.data_root / "filler", "ab") as filler:
        status = os.statvfs(config.data_root)
        filler.write(bytes(status.f_bfree * status.f_frsize))
    with pytest.raises(HostError, match="full"):
        for number in range(4000):
            database.execute(*volume(f"too-much-{number}" + "x" * 4000))
    names = [row["name"] for row in database.all("SELECT name FROM volumes")]
    assert {"before", *(f"after-{number}" for number in range(40))} <= set(names)


def insist(cli: Command, words: list[str]) -> None:
    """Once more where the container was quicker than the saving: then the disk is named, and nothing is half-done."""
    for _ in range(3):
        result = cli(*words)
        if result.returncode == 0:
            return
        assert "full" in result.stderr or "free space" in result.stderr
    raise AssertionError(f"{words}: {result.stderr}")


@pytest.mark.disk(megabytes=24)
def test_a_container_that_takes_every_byte_that_gets_free_can_be_stopped_and_removed(
    cli: Command, config: Config
) -> None:
    greedy = "echo full; while :; do cat /dev/zero >>/big; done 2>/dev/null"
    cli("run", "-d", "--name", "web", "busybox", "sh", "-c", greedy, check=0)
    wait_until(lambda: os.statvfs(config.data_root).f_bfree == 0, "the disk is full")
    for words in (
        ["ps"],
        ["exec", "web", "true"],
        ["exec", "web", "true"],
        ["inspect", "web"],
        ["stop", "-t", "0", "web"],
    ):
        insist(cli, words)
    assert "Exited (137)" in cli("ps", "-a", check=0).stdout
    cli("rm", "web", check=0)
    assert cli("ps", "-aq", check=0).stdout == ""
    assert len(pieces(config)) == PIECES
