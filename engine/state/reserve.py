"""A little of the data root's disk, kept back so that a full disk can still be emptied.

Owns one file of ``SIZE`` bytes beside the state database. Saving state needs room even for a removal; where a container
has eaten the last byte, giving up this file makes that room, and it is made again once there is plenty.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

SIZE = 1 << 20
SCARCE = SIZE // 4
PLENTY = 8 * SIZE


class Reserve:
    """The reserve at ``path``; several processes may use it at once."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def balance(self) -> None:
        """Give the reserve up where room is scarce, make it where there is none and room is plenty."""
        status = os.statvfs(self._path.parent)
        # Root may use the blocks a file system keeps for root, so bfree, not bavail.
        free = status.f_bfree * status.f_frsize
        if free < SCARCE:
            self.give_up()
        elif free > PLENTY and not self._path.exists():
            self._make()

    def give_up(self) -> bool:
        """Free the room; False when it was used already."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True

    def _make(self) -> None:
        # Losing the race for the last room is no error: the next opening tries again.
        with contextlib.suppress(OSError):
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, SIZE)
            finally:
                os.close(descriptor)
