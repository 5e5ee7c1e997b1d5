"""``engine.images``: all that can be done with images.

Owns the public surface and the order of its steps; the work is in the modules beside it. Never packs or unpacks
itself, never asks what a container does beyond its row. Safe to use from several threads and processes at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from engine.config import Config
from engine.errors import InvalidInput, NotFound
from engine.images.config import ImageConfig
from engine.images.content import ContentStore
from engine.images.operation import STORE_LOCK, ImageStore, set_name
from engine.images.records import Image, no_such_image
from engine.images.reference import parse
from engine.state.database import Database
from engine.state.events import Events
from engine.state.journal import Journal
from engine.state.locks import Locks
from engine.storage.driver import Driver

if TYPE_CHECKING:
    from engine.images.inspection import HistoryRow
    from engine.images.removal import Removed

Progress = Callable[[str], None]
# The names that mean the image assembled from the host's busybox.
_BUSYBOX = tuple(
    f"{prefix}busybox{tag}" for prefix in ("", "library/", "docker.io/library/") for tag in ("", ":latest")
)
_OPERATIONS = ("image.commit", "image.load", "image.import", "image.busybox")


class Images:
    """The images of one engine."""

    def __init__(
        self,
        config: Config,
        database: Database,
        locks: Locks,
        journal: Journal,
        events: Events,
        driver_factory: Callable[[], Driver],
    ) -> None:
        self.content = ContentStore(config.data_root)
        self._journal = journal
        self._store = ImageStore(database, locks, journal, events, self.content, driver_factory)

    @property
    def store(self) -> ImageStore:
        """What operations on images share, for the builder: a build is one operation of its own."""
        return self._store

    def register_recovery(self) -> None:
        """Say how abandoned operations on images are undone or finished."""
        from engine.images import removal

        for operation in _OPERATIONS:
            self._journal.register(operation, self._store.abandon)
        self._journal.register(removal.OPERATION, lambda intent: removal.sweep(self._store, intent))

    def get(self, name_or_id: str) -> Image:
        """The image of a name, an id, or an unambiguous beginning of an id.

        ``busybox`` is assembled when it is asked for and not there. NotFound ("No such image: x") otherwise.
        """
        found = self._store.records.find(name_or_id)
        if found is not None:
            return found
        if name_or_id in _BUSYBOX:
            return self.ensure_busybox()
        raise no_such_image(name_or_id)

    def list(self, all: bool = False) -> list[Image]:
        """Newest first; intermediate images of builds only with ``all``."""
        return self._store.records.list(intermediate=all)

    def config(self, image_id: str) -> ImageConfig:
        """The configuration of the image with this id."""
        return ImageConfig.from_json(self.content.read(image_id))

    def top_layer(self, image: Image) -> str | None:
        """The driver id to create a directory upon; None for an image without layers."""
        if not image.chain:
            return None
        layer = self._store.layers.find(image.chain)
        if layer is None:
            raise NotFound(f"layer {image.chain} is missing", remedy="remove the image and load or build it again")
        return layer.cache_id

    def tag(self, source: str, name: str) -> None:
        """Give image ``source`` the name ``name``, taking it from the image that had it."""
        target = _new_name(name)
        self.get(source)
        with self._store.locks.hold(*STORE_LOCK):
            image = self._store.records.get(source)
            with self._store.database.transaction():
                set_name(self._store, target, image.id)

    def remove(self, name_or_id: str, force: bool = False, prune: bool = True) -> Sequence[Removed]:
        """Untag, and delete what has no name and no user left; docker's rules and words. See ``removal``."""
        from engine.images import removal

        return removal.remove(self._store, name_or_id, force=force, prune=prune)

    def history(self, name_or_id: str) -> Sequence[HistoryRow]:
        """``HistoryRow`` for each step, newest first."""
        from engine.images.inspection import history

        return history(self._store, self.get(name_or_id))

    def inspect(self, name_or_id: str) -> dict[str, Any]:
        """docker's JSON object."""
        from engine.images.inspection import inspect

        return inspect(self._store, self.get(name_or_id))

    def save(self, names: Sequence[str], out: BinaryIO) -> None:
        """Write a tar with the named images, readable as docker-archive and as OCI layout."""
        from engine.images.save import save

        for name in names:
            self.get(name)
        save(self._store, names, out)

    def load(self, stream: BinaryIO, progress: Progress | None = None) -> Sequence[str]:
        """Load a docker-archive or OCI layout tar, plain or compressed; the names (else ids) of its images."""
        from engine.images.load import load

        return load(self._store, stream, progress)

    def import_tar(
        self, stream: BinaryIO, name: str | None = None, changes: Sequence[str] = (), message: str = ""
    ) -> Image:
        """An image of one layer from a root file system's tar, plain or compressed."""
        from engine.images.changes import apply_changes
        from engine.images.commit import import_tar

        names = [] if name is None else [_new_name(name)]
        config = apply_changes(ImageConfig(), changes)
        return import_tar(self._store, stream, config, message=message, names=names)

    def commit_layer(
        self,
        driver_id: str,
        parent: Image | None,
        config: ImageConfig,
        *,
        created_by: str,
        comment: str = "",
        author: str = "",
        empty: bool = False,
        name: str | None = None,
        seal: bool = False,
    ) -> Image:
        """Make an image of ``parent`` and what directory ``driver_id`` (created over its top layer) adds.

        ``config`` is the whole new configuration; its diff ids and history are replaced by the parent's and this
        step's, and it is dated now. ``empty``: the step changes the configuration alone, ``driver_id`` is not looked
        at. ``seal``: the directory itself becomes the layer, is unmounted, and no longer belongs to the caller (when
        the very same layer is known already the directory is removed); else it is copied and may stay in use. Killed
        at any point it leaves the caller's directory to the caller and nothing of its own; see ``discard``.
        """
        from engine.images.commit import commit_layer

        return commit_layer(
            self._store,
            driver_id,
            parent,
            config,
            created_by=created_by,
            comment=comment,
            author=author,
            empty=empty,
            names=[] if name is None else [_new_name(name)],
            seal=seal,
        )

    def create_directory(self, driver_id: str, image: Image | None) -> None:
        """Make a writable directory over ``image``'s layers; no removal of the image can come between."""
        with self._store.locks.hold(*STORE_LOCK):
            self._store.driver.create(driver_id, None if image is None else self.top_layer(image))

    def discard(self, driver_id: str) -> None:
        """Remove a writable directory unless ``commit_layer(seal=True)`` made it a layer; for undo and recovery."""
        with self._store.locks.hold(*STORE_LOCK):
            if not self._store.layers.holds(driver_id):
                self._store.driver.remove(driver_id)

    def release_layers(self) -> None:
        """Delete layers that only a container stood on whose image is gone; call it after removing a container."""
        from engine.images import removal

        removal.release_layers(self._store)

    def ensure_busybox(self) -> Image:
        """``busybox:latest``, assembled from the host's static busybox unless it is there."""
        from engine.images import busybox
        from engine.images.config import History
        from engine.images.manifest import OCI_LAYER

        found = self._store.records.by_name(busybox.NAME)
        if found is not None:
            return found
        program = busybox.find()
        config = busybox.image_config(program)
        with self._store.locks.hold("image", "busybox"):
            found = self._store.records.by_name(busybox.NAME)
            if found is not None:
                return found
            with self._store.operation("image.busybox", "assembling image busybox:latest") as operation:
                with operation.staging.writer() as writer:
                    busybox.write_layer(program, writer)
                    diff, _ = writer.commit()
                operation.add_layer("", diff, diff, OCI_LAYER)
                config = config.with_step(History(config.created, busybox.CREATED_BY), diff)
                return operation.register([operation.stage_image(config, names=[busybox.NAME])])[0]


def _new_name(text: str) -> str:
    """The familiar name to store; InvalidInput for a digest, which is no name one can give."""
    reference = parse(text)
    if reference.digest:
        raise InvalidInput("refusing to create a tag with a digest reference", remedy="give NAME[:TAG]")
    return reference.name()
