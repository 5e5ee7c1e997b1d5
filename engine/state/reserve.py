"""A little of the data root's disk, kept back so that a full disk can still be emptied.

Owns some small files beside the state database. Saving state needs room even for a removal; where a container has
eaten the last byte, giving up one of these files makes that room, and they are made again once there is plenty. They
go one at a time and at the last moment: whoever filled the disk may still be writing, and takes what is free for long.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

# What one saving takes at most: a verb changes a dozen pages of 4 KiB.
PIECE = 64 << 10
PIECES = 16
PLENTY = 8 * PIECE * PIECES


class Reserve:
    """The reserve in the files ``path.0``, ``path.1`` ...; several processes may use it at once."""

    def __init__(self, path: Path) -> None:
        self._directory = path.parent
        self._pieces = [f"{path}.{number}" for number in range(PIECES)]

    def balance(self) -> None:
        """See that there is room for one saving, right before it; fill the reserve up where room is plenty."""
        free = self._free()
        if free > PLENTY:
            # The last piece is the first to go, so that it alone tells whether the reserve is whole.
            if not os.path.exists(self._pieces[-1]):  # noqa: PTH110 - this is asked at every saving
                self._fill()
            return
        for piece in reversed(self._pieces):
            if free >= PIECE:
                return
            with contextlib.suppress(FileNotFoundError):
                os.unlink(piece)  # noqa: PTH108 - every microsecond counts here
                free = self._free()

    def _free(self) -> int:
        status = os.statvfs(self._directory)
        # Root may use the blocks a file system keeps for root, so bfree, not bavail.
        return status.f_bfree * status.f_frsize

    def _fill(self) -> None:
        # Losing the race for the last room is no error: the next saving tries again.
        with contextlib.suppress(OSError):
            for piece in self._pieces:
                descriptor = os.open(piece, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    os.posix_fallocate(descriptor, 0, PIECE)
                finally:
                    os.close(descriptor)
