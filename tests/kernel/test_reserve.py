"""State on a disk without a byte left: removing things, which makes room, is possible all the same."""

from __future__ import annotations

import os

import pytest

from engine.config import Config
from engine.errors import HostError
from engine.state.database import Database
from engine.state.reserve import SIZE

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


def volume(name: str) -> tuple[str, tuple[str, ...]]:
    return "INSERT INTO volumes(name, created) VALUES(?, 'now')", (name,)


def test_a_full_disk_still_opens_and_saves(config: Config) -> None:
    first = Database(config.data_root / "state.db")
    first.execute(*volume("before"))
    first.close()
    assert (config.data_root / "state.reserve").stat().st_blocks * 512 == SIZE
    fill(config)

    database = Database(config.data_root / "state.db")
    assert database.execute("DELETE FROM volumes") == 1
    assert not (config.data_root / "state.reserve").exists()
    database.close()

    (config.data_root / "filler").unlink()
    Database(config.data_root / "state.db").connection()
    assert (config.data_root / "state.reserve").exists()


def test_a_disk_that_fills_during_work_still_saves_once(config: Config) -> None:
    database = Database(config.data_root / "state.db")
    database.execute(*volume("before"))
    fill(config)

    for number in range(40):
        database.execute(*volume(f"after-{number}"))
    assert not (config.data_root / "state.reserve").exists()
    with open(config.data_root / "filler", "ab") as filler:
        status = os.statvfs(config.data_root)
        filler.write(bytes(status.f_bfree * status.f_frsize))
    with pytest.raises(HostError, match="full"):
        for number in range(4000):
            database.execute(*volume(f"too-much-{number}" + "x" * 4000))
    names = [row["name"] for row in database.all("SELECT name FROM volumes")]
    assert {"before", *(f"after-{number}" for number in range(40))} <= set(names)
