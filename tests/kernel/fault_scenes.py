"""What the fault tests share: what is listed, what is half-made, and moments at which to kill.

Owns looking only; a scene is read from outside of the engine wherever the kernel or the disk can answer.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from engine.config import Config
from engine.host import mounts
from engine.values import dataclass

PATIENCE_S = 30.0


@dataclass(frozen=True)
class Scene:
    """Everything an operator could find of the engine's: what it lists, and what is in the kernel and on the disk."""

    containers: frozenset[str]
    images: frozenset[str]
    layers: frozenset[str]
    volumes: frozenset[str]
    addresses: frozenset[str]
    ports: frozenset[str]
    journal: frozenset[str]
    mounts: frozenset[str]
    namespaces: frozenset[str]
    layer_directories: frozenset[str]
    container_directories: frozenset[str]

    @classmethod
    def observe(cls, config: Config) -> Scene:
        """Read straight from the state database, the mounts, the namespaces and the directories."""
        rows: dict[str, frozenset[str]] = {}
        with closing(sqlite3.connect(config.data_root / "state.db")) as connection:
            for name, sql in {
                "containers": "SELECT id FROM containers",
                "images": "SELECT id FROM images",
                "layers": "SELECT chain FROM layers",
                "volumes": "SELECT name FROM volumes",
                "addresses": "SELECT address FROM endpoints WHERE address IS NOT NULL",
                "ports": "SELECT protocol || host_port FROM port_reservations",
                "journal": "SELECT operation || ' ' || intent FROM journal",
            }.items():
                rows[name] = frozenset(str(row[0]) for row in connection.execute(sql))
        drivers = [config.data_root / "overlay2", config.data_root / "vfs"]
        return cls(
            **rows,
            mounts=frozenset(map(str, mounts.points(config.data_root))) - {str(config.data_root)},
            namespaces=_names(config.netns_dir),
            layer_directories=frozenset(f"{d.name}/{n}" for d in drivers for n in _names(d) if n != "l"),
            container_directories=_names(config.data_root / "containers"),
        )

    def beyond(self, before: Scene) -> dict[str, set[str]]:
        """What is here and was not ``before``, by kind; empty when nothing is."""
        here, there = vars(self), vars(before)
        return {kind: set(here[kind] - there[kind]) for kind in here if here[kind] - there[kind]}


def assert_told_well(words: str) -> None:
    """What was said is an error in words, not a surprise of the program's own."""
    assert "Traceback" not in words and "a fault of pilothouse" not in words, words


def temporary_files(config: Config) -> set[str]:
    """Files in the content store that are no whole blob: what an interrupted writer left."""
    found = set()
    for path in config.data_root.rglob("*"):
        inside = path.relative_to(config.data_root).parts
        if inside[0] in ("overlay2", "vfs", "volumes", "containers") or not path.is_file():
            continue
        if inside[0] == "blobs" and len(path.name) == 64 and path.parent.name == "sha256":
            continue
        if inside[0].startswith("state.") or inside[-1] in ("oci-layout", "index.json"):
            continue
        found.add(str(path.relative_to(config.data_root)))
    return found


def wait_until(condition: Callable[[], object], what: str, patience: float = PATIENCE_S) -> None:
    """Until ``condition`` holds; fails with ``what`` when it never does."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"in {patience:g} s never: {what}"
        time.sleep(0.005)


def kill(process: subprocess.Popen[str]) -> None:
    """kill -9, and wait for the end."""
    process.send_signal(signal.SIGKILL)
    process.wait()


def processes(*words: str) -> Iterator[int]:
    """Pids of processes of this private machine (same mounts) whose arguments have all the ``words``."""
    here = Path("/proc/self/ns/mnt").stat().st_ino
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            arguments = (entry / "cmdline").read_bytes().decode(errors="replace")
            if all(word in arguments for word in words) and (entry / "ns/mnt").stat().st_ino == here:
                yield int(entry.name)
        except OSError:
            continue


def _names(directory: Path) -> frozenset[str]:
    return frozenset(os.listdir(directory)) if directory.is_dir() else frozenset()
