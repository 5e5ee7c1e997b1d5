"""The warden's work list: rows of the ``duties`` table, and waking the warden.

Owns the table's SQL and the poke fifo. A duty is committed first and the warden poked after, so that a crash between
the two loses nothing: the next verb pokes again. Never acts on a container.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import Mapping
from typing import Any

from engine.config import Config
from engine.state.database import Database
from engine.values import dataclass

RESTART = "restart"
FIFO = "warden.poke"


@dataclass(frozen=True)
class Duty:
    """Something to be done to ``subject`` at ``due`` (seconds since the epoch)."""

    kind: str
    subject: str
    due: float
    payload: Mapping[str, Any]


class Duties:
    """The list."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, kind: str, subject: str, due: float, payload: Mapping[str, Any] | None = None) -> None:
        """Add or replace; joins the surrounding transaction."""
        self._database.execute(
            "INSERT OR REPLACE INTO duties(kind, subject, due, payload) VALUES(?,?,?,?)",
            (kind, subject, due, json.dumps(dict(payload or {}))),
        )

    def postpone(self, kind: str, subject: str, due: float) -> bool:
        """Set when a duty falls due; False, and nothing added, when it was taken off the list meanwhile."""
        return self._database.execute("UPDATE duties SET due=? WHERE kind=? AND subject=?", (due, kind, subject)) > 0

    def remove(self, kind: str, subject: str) -> bool:
        """Take a duty off the list; False when it was not there."""
        return self._database.execute("DELETE FROM duties WHERE kind=? AND subject=?", (kind, subject)) > 0

    def all(self) -> list[Duty]:
        """Every duty, the next one first."""
        return [
            Duty(row["kind"], row["subject"], row["due"], json.loads(row["payload"]))
            for row in self._database.all("SELECT * FROM duties ORDER BY due")
        ]


def poke(config: Config) -> bool:
    """Wake the warden; False when none listens."""
    try:
        descriptor = os.open(config.run_dir / FIFO, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENOENT):
            return False
        raise
    try:
        os.write(descriptor, b"!")
    except BlockingIOError:
        pass  # A full fifo wakes it as well.
    except BrokenPipeError:
        return False
    finally:
        os.close(descriptor)
    return True


def wake_warden(config: Config) -> None:
    """Make sure a warden works on the list; starts one when none listens."""
    if poke(config):
        return
    from engine.containers.conmon import engine_program
    from engine.containers.runtime import SEARCH_PATH

    process = subprocess.Popen(
        engine_program("warden/warden.py", config),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
        env={"PATH": f"{os.environ.get('PATH', '')}:{SEARCH_PATH}".lstrip(":")},
    )
    # It forks the real warden and ends at once, so that no zombie waits for us.
    process.wait()
