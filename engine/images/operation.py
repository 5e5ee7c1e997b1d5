"""One unfinished change to the image store, and how it becomes visible all at once.

Owns staging, journalling and registration: blobs wait in a staging directory, layers in driver directories whose ids
begin with the operation's token, and one transaction makes all of it visible. If the process dies before that
transaction, the token finds everything to delete; after it, nothing is half-made. The lock ``image-store`` guards
publishing and removal, and is held for those alone, never while layers are packed or unpacked.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from engine.errors import HostError, InvalidInput, NotFound
from engine.images import manifest
from engine.images.config import ImageConfig
from engine.images.content import ContentStore
from engine.images.layers import Layer, Layers, chain_id, chain_of
from engine.images.records import Image, Records
from engine.state.database import Database, timestamp
from engine.state.events import Events
from engine.state.journal import Journal
from engine.state.locks import Locks
from engine.storage.driver import NO_SPACE_REMEDY, Driver
from engine.values import dataclass

STORE_LOCK = ("image", "store")
_OPERATION_LOCK = "image-operation"


@dataclass(frozen=True)
class Planned:
    """An image about to be registered. ``manifest`` is the digest of a staged manifest."""

    id: str
    manifest: str
    chain: str
    created: str
    parent: str = ""
    names: tuple[str, ...] = ()


class ImageStore:
    """What all operations on images share: state, content, layers, the storage driver."""

    def __init__(
        self,
        database: Database,
        locks: Locks,
        journal: Journal,
        events: Events,
        content: ContentStore,
        driver_factory: Callable[[], Driver],
    ) -> None:
        self.database = database
        self.locks = locks
        self.journal = journal
        self.events = events
        self.content = content
        self.layers = Layers(database)
        self.records = Records(database)
        self._driver_factory = driver_factory

    @property
    def driver(self) -> Driver:
        """The storage driver, chosen when it is first needed."""
        return self._driver_factory()

    @contextmanager
    def operation(self, name: str, step: str) -> Iterator[Operation]:
        """An operation ``name`` in the journal; ``step`` says in words what is being done when the host refuses.

        Leaving the block with an error, or without ``register``, removes everything the operation made.
        """
        token = os.urandom(28).hex()
        with host_errors(step), self.locks.hold(_OPERATION_LOCK, token):
            try:
                with self.journal.operation(name, _OPERATION_LOCK, token, {"token": token}):
                    try:
                        yield Operation(self, token)
                    finally:
                        self.abandon({"token": token})
            finally:
                self.locks.forget(_OPERATION_LOCK, token)

    def abandon(self, intent: Mapping[str, Any]) -> None:
        """Remove what operation ``intent["token"]`` made and did not register; idempotent, also after a crash."""
        token = str(intent["token"])
        staging = self.content.staging(token)
        with self.locks.hold(*STORE_LOCK):
            for digest in staging.digests():
                if not self.layers.is_referenced(digest):
                    self.content.remove(digest)
        staging.clear()
        # Children before parents: ids count upwards.
        for id in reversed([one for one in self.driver.ids() if one.startswith(token)]):
            if not self.layers.holds(id):
                self.driver.remove(id)

    def standing_on(self) -> set[str]:
        """Cache ids under some directory that is not itself a registered layer: containers, running operations."""
        driver = self.driver
        parents = {driver.parent(id) for id in driver.ids() if not self.layers.holds(id)}
        return {parent for parent in parents if parent is not None}


class Operation:
    """What one operation has staged so far; made by ``ImageStore.operation``."""

    def __init__(self, store: ImageStore, token: str) -> None:
        self.store = store
        self.staging = store.content.staging(token)
        self._token = token
        self._count = 0
        self._new: dict[str, Layer] = {}
        # Layers that were there when they were asked for; made again if a removal takes them before registration.
        self._shared: dict[str, Layer] = {}
        self._superfluous: list[str] = []

    def new_id(self) -> str:
        """A driver id that recovery can tell to be this operation's."""
        self._count += 1
        return f"{self._token}{self._count:08x}"

    def known(self, chain: str) -> Layer | None:
        """A layer this operation made, or a registered one."""
        return self._new.get(chain) or self.store.layers.find(chain)

    def add_layer(self, parent: str, diff: str, blob: str, media_type: str) -> str:
        """See that the layer is unpacked upon chain ``parent``; its chain id.

        ``blob`` is staged or in the store, compressed or not. InvalidInput when its content is not ``diff``.
        """
        chain = chain_id(parent, diff)
        if chain not in self._new and not self._share(chain, blob):
            self._unpack(chain, parent, diff, blob, media_type)
        return chain

    def adopt(self, parent: str, diff: str, size: int, cache_id: str) -> str:
        """Make driver directory ``cache_id``, packed as staged blob ``diff``, a layer upon ``parent``; its chain id.

        When that very layer is known already, the directory is removed at registration.
        """
        chain = chain_id(parent, diff)
        if self._share(chain, diff):
            self._superfluous.append(cache_id)
        else:
            self._new[chain] = Layer(chain, diff, parent, diff, manifest.OCI_LAYER, size, cache_id)
        return chain

    def stage_image(
        self,
        config: ImageConfig,
        *,
        raw: bytes | None = None,
        original: str | None = None,
        parent: str = "",
        names: Sequence[str] = (),
    ) -> Planned:
        """Stage configuration and manifest of an image whose layers are all known.

        ``raw`` is the configuration's text when it must be kept byte by byte; ``original`` a staged manifest to keep.
        """
        text = config.to_json() if raw is None else raw
        image_id = self.staging.put(text)
        chain = chain_of(config.diff_ids)
        digest = original
        if digest is None:
            described = manifest.Descriptor(manifest.OCI_CONFIG, image_id, len(text))
            layers = [
                manifest.Descriptor(layer.media_type, layer.blob, self.staging.size(layer.blob))
                for layer in self._stack(chain)
            ]
            digest = self.staging.put(manifest.image_manifest(described, layers))
        return Planned(image_id, digest, chain, config.created or timestamp(), parent, tuple(names))

    def register(self, planned: Sequence[Planned]) -> list[Image]:
        """Publish blobs and make layers, images and names visible in one transaction."""
        store = self.store
        needed = {layer.blob for layer in (*self._new.values(), *self._shared.values())}
        needed |= {digest for image in planned for digest in (image.id, image.manifest)}
        staged = sorted(needed.intersection(self.staging.digests()))
        self.staging.sync(staged)
        with store.locks.hold(*STORE_LOCK):
            for shared in list(self._shared.values()):
                if store.layers.find(shared.chain) is None:
                    self._unpack(shared.chain, shared.parent, shared.diff, shared.blob, shared.media_type)
            self._move_onto_registered()
            self.staging.publish(staged)
            with store.database.transaction():
                for layer in self._new.values():
                    store.layers.add(layer)
                for image in planned:
                    self._insert(image)
        for cache_id in reversed(self._superfluous):
            store.driver.remove(cache_id)
        return [image for image in (store.records.by_id(one.id) for one in planned) if image is not None]

    def _move_onto_registered(self) -> None:
        """Give up layers that another operation registered first; what stands on ours is unpacked anew upon theirs.

        Called with the store's lock held, so that nobody can overtake again.
        """
        given_up: set[str | None] = set()
        for chain, layer in list(self._new.items()):
            known = self.store.layers.find(chain) is not None
            if not known and self.store.driver.parent(layer.cache_id) not in given_up:
                continue
            del self._new[chain]
            given_up.add(layer.cache_id)
            self._superfluous.append(layer.cache_id)
            if not known:
                self._unpack(chain, layer.parent, layer.diff, layer.blob, layer.media_type)

    def _insert(self, image: Planned) -> None:
        store = self.store
        try:
            size = sum(layer.size for layer in store.layers.stack(image.chain))
        except NotFound as error:
            raise NotFound("the parent image was removed meanwhile", remedy="try again") from error
        store.database.execute(
            "INSERT OR IGNORE INTO images(id, manifest, parent, created, size, chain) VALUES(?,?,?,?,?,?)",
            (image.id, image.manifest, image.parent, image.created, size, image.chain),
        )
        for name in image.names:
            set_name(store, name, image.id)

    def _stack(self, chain: str) -> list[Layer]:
        found: list[Layer] = []
        while chain:
            layer = self.known(chain) or self._shared.get(chain)
            if layer is None:
                raise _missing(chain)
            found.append(layer)
            chain = layer.parent
        return found[::-1]

    def _share(self, chain: str, blob: str) -> bool:
        """Use a registered layer, if there is one; what is staged for it in another form is dropped."""
        shared = self.store.layers.find(chain)
        if shared is None or not self.staging.pin(shared.blob):
            return False
        self._shared[chain] = shared
        if blob != shared.blob:
            self.staging.drop(blob)
        return True

    def _unpack(self, chain: str, parent: str, diff: str, blob: str, media_type: str) -> None:
        cache_id = self.new_id()
        driver = self.store.driver
        # Under the lock no removal can take the layer below between looking and standing on it.
        with self.store.locks.hold(*STORE_LOCK):
            below = self.known(parent)
            if parent and below is None:
                gone = self._shared.get(parent)
                if gone is None:
                    raise _missing(parent)
                self._unpack(parent, gone.parent, gone.diff, gone.blob, gone.media_type)
                below = self.known(parent)
            driver.create(cache_id, None if below is None else below.cache_id)
        with self.staging.open(blob) as stream:
            if blob == diff:
                size = driver.apply(cache_id, stream)
            else:
                size = _apply_compressed(driver, cache_id, stream, diff)
        self._new[chain] = Layer(chain, diff, parent, blob, media_type, size, cache_id)


def _apply_compressed(driver: Driver, cache_id: str, stream: Any, diff: str) -> int:
    import hashlib

    from engine.images.compression import decompressed

    total = hashlib.sha256()

    class Hashed:
        def read(self, size: int) -> bytes:
            data: bytes = plain.read(size)
            total.update(data)
            return data

    with decompressed(stream) as plain:
        size = driver.apply(cache_id, Hashed())  # type: ignore[arg-type]
        # The digest covers the padding behind the archive's end marker too.
        while chunk := plain.read(1 << 20):
            total.update(chunk)
    if f"sha256:{total.hexdigest()}" != diff:
        raise InvalidInput(
            f"a layer's content has digest sha256:{total.hexdigest()} where the image says {diff}",
            remedy="the image is damaged: get it again",
        )
    return size


def _missing(chain: str) -> NotFound:
    return NotFound(f"layer {chain} is missing", remedy="remove the image and load or build it again")


def set_name(store: ImageStore, name: str, image_id: str) -> None:
    """Give ``image_id`` a name, taking it from whoever had it; joins the surrounding transaction."""
    store.database.execute(
        "INSERT INTO image_names(name, image) VALUES(?,?) ON CONFLICT(name) DO UPDATE SET image = excluded.image",
        (name, image_id),
    )
    store.events.emit("image", "tag", image_id, {"name": name})


@contextmanager
def host_errors(step: str) -> Iterator[None]:
    """OSError and SQLite's own refusals → HostError with the step and, for a full disk, the remedy."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise HostError(step, error, remedy=NO_SPACE_REMEDY if "full" in str(error) else "") from error
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise HostError(step, error.strerror or error, remedy=NO_SPACE_REMEDY if full else "") from error
