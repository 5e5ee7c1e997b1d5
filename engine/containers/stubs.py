"""Mount points inside a root file system: made before a run, and taken away again where a layer is sealed after it.

Owns which paths docker's sandbox needs. A stub that was filled meanwhile stays; the times of the directories around
the stubs are put back, so that a sealed layer does not depend on when it was made.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from engine.host import rooted

DIRECTORIES = ("/dev", "/dev/pts", "/dev/shm", "/proc", "/sys")
FILES = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf")


class Stubs:
    """The mount points made in one root file system."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._made: list[str] = []
        self._times: dict[str, tuple[int, int]] = {}

    def directory(self, path: str) -> None:
        """Make sure directory ``path`` exists inside."""
        self._remember(path)
        self._made += rooted.make_directories(self._root, path)

    def file(self, path: str) -> None:
        """Make sure something that a file can be bound on exists at ``path`` inside."""
        self._remember(path)
        self._made += rooted.make_file(self._root, path)

    def make(self, directories: Iterable[str], files: Iterable[str]) -> None:
        """All of them; a path through something that is no directory is left for the runtime to refuse."""
        for path in directories:
            self._attempt(self.directory, path)
        for path in files:
            self._attempt(self.file, path)

    @staticmethod
    def _attempt(make: object, path: str) -> None:
        try:
            make(path)  # type: ignore[operator]
        except (NotADirectoryError, FileExistsError, FileNotFoundError):
            return

    def clear(self) -> None:
        """Remove the stubs that are still empty and put the times of their parents back."""
        if not self._made:
            return
        rooted.remove_empty(self._root, self._made)
        directory = os.open(self._root, os.O_PATH | os.O_DIRECTORY)
        try:
            for path, times in self._times.items():
                try:
                    descriptor = rooted.open_in(directory, path, os.O_RDONLY | os.O_DIRECTORY)
                except OSError:
                    continue
                try:
                    os.utime(descriptor, ns=times)
                finally:
                    os.close(descriptor)
        finally:
            os.close(directory)
        self._made.clear()

    def _remember(self, path: str) -> None:
        """Keep the times of the deepest directory above ``path`` that exists: the one making it will touch."""
        directory = os.open(self._root, os.O_PATH | os.O_DIRECTORY)
        try:
            parent = path.rstrip("/").rpartition("/")[0]
            while True:
                inside = parent or "/"
                try:
                    descriptor = rooted.open_in(directory, inside, os.O_PATH | os.O_DIRECTORY)
                except OSError:
                    if not parent:
                        return
                    parent = parent.rpartition("/")[0]
                    continue
                status = os.fstat(descriptor)
                os.close(descriptor)
                self._times.setdefault(inside, (status.st_atime_ns, status.st_mtime_ns))
                return
        finally:
            os.close(directory)
