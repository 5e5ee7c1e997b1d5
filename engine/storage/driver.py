"""The interface every storage driver keeps.

Owns the vocabulary (``Probe``, ``Change``, ``Driver``) and the checks that hold for all drivers. A driver knows
directories by id: a *layer* is sealed and never written again, a *writable directory* stands over at most one layer.
Whether an id is sealed is the caller's knowledge (the ``layers`` table);
a driver never deletes what it was not told to.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, ClassVar

from engine.errors import InvalidInput
from engine.values import dataclass

_ID_CHARACTERS = frozenset("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_.-")

NO_SPACE_REMEDY = "free space on the disk of the data root (pilothouse rmi, rm), or choose another --data-root"


@dataclass(frozen=True)
class Probe:
    """Whether a driver works in a place; ``reason`` is empty when it does."""

    usable: bool
    reason: str = ""


@dataclass(frozen=True)
class Change:
    """One line of ``docker diff``: ``kind`` is A (added), C (changed) or D (deleted); ``path`` starts with a slash."""

    kind: str
    path: str


class Driver(ABC):
    """Writable directories over layers, below ``root`` (= data root / driver name).

    Every method may be called from several threads and processes for different ids at once; callers hold the lock of
    the object an id belongs to.
    """

    name: ClassVar[str]

    def __init__(self, root: Path) -> None:
        self.root = root

    @staticmethod
    @abstractmethod
    def probe(root: Path) -> Probe:
        """Try the driver for real in a temporary directory beside ``root`` and clean up; never raises."""

    @abstractmethod
    def create(self, id: str, parent: str | None) -> None:
        """Make a writable directory over layer ``parent``; Conflict when ``id`` exists, NotFound without parent."""

    @abstractmethod
    def mount(self, id: str) -> Path:
        """The merged root of ``id``; mounting what is mounted changes nothing."""

    @abstractmethod
    def unmount(self, id: str) -> None:
        """Undo ``mount``; fine when nothing is mounted or ``id`` is unknown."""

    @abstractmethod
    def remove(self, id: str) -> None:
        """Unmount and delete ``id``; fine when it is unknown or half deleted."""

    @abstractmethod
    def apply(self, id: str, tar: BinaryIO) -> int:
        """Unpack an uncompressed layer tar into ``id`` as made by ``create``; the bytes of its files.

        Never writes outside of ``id``. InvalidInput on a malformed or hostile archive, HostError on a full disk.
        """

    @abstractmethod
    def changes(self, id: str) -> Iterator[Change]:
        """What ``id`` holds that its parent does not, in path order."""

    @abstractmethod
    def diff(self, id: str, out: BinaryIO) -> int:
        """Write ``id``'s difference from its parent as a deterministic uncompressed layer tar with OCI whiteouts.

        The bytes of the files in it.
        """

    @abstractmethod
    def usage(self, id: str) -> int:
        """Bytes of the files ``id`` itself adds (logical sizes, hard links once)."""

    @abstractmethod
    def describe(self, id: str) -> dict[str, str]:
        """docker's ``GraphDriver.Data``."""

    @abstractmethod
    def parent(self, id: str) -> str | None:
        """The layer ``id`` stands on; None for a base or an unknown id."""

    @abstractmethod
    def ids(self) -> list[str]:
        """Every id that has a directory here, sorted."""

    @staticmethod
    def check(id: str) -> str:
        """``id`` itself when it is fit to be a directory's name; InvalidInput otherwise."""
        if not (0 < len(id) <= 128 and id[0].isalnum() and _ID_CHARACTERS.issuperset(id)):
            raise InvalidInput(f"layer id {id!r} is not usable as a directory name")
        return id
