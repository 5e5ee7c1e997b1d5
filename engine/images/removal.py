"""``rmi``: what goes, what is refused, in docker's order and words.

Owns the rules (docker's image deletion: a name given removes that name, an image goes with its last name, unnamed
parents go with it, a container's image stays) and the deletion of blobs and layers nobody needs. The rows go first,
in one transaction with a journal entry that says what is left to delete.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from engine.errors import Conflict
from engine.images import manifest
from engine.images.operation import STORE_LOCK, ImageStore, host_errors
from engine.images.records import Image
from engine.images.reference import parse
from engine.values import dataclass

OPERATION = "image.remove"
_RUNNING = ("running", "paused", "restarting")


@dataclass(frozen=True)
class Removed:
    """One line of ``rmi``'s output: ``untagged`` a name, or ``deleted`` an id."""

    untagged: str = ""
    deleted: str = ""


def remove(store: ImageStore, text: str, *, force: bool, prune: bool) -> list[Removed]:
    """Remove a name or an image; Conflict in docker's words when something needs it."""
    with host_errors(f"removing image {text}"), store.locks.hold(*STORE_LOCK):
        removal = _Removal(store, force, prune)
        removal.carry_out(lambda: removal.run(text))
        return removal.records


def release_layers(store: ImageStore) -> None:
    """Delete layers that only a container, gone now, still stood on."""
    with host_errors("removing unused layers"), store.locks.hold(*STORE_LOCK):
        _Removal(store, False, False).carry_out(lambda: None)


def sweep(store: ImageStore, intent: Mapping[str, Any]) -> None:
    """Delete blobs and layer directories that no row names any more; idempotent, the recovery of a removal."""
    for digest in intent["blobs"]:
        if not store.layers.is_referenced(digest):
            store.content.remove(digest)
    for cache_id in intent["layers"]:
        if not store.layers.holds(cache_id):
            store.driver.remove(cache_id)


class _Removal:
    def __init__(self, store: ImageStore, force: bool, prune: bool) -> None:
        self.store = store
        self.force = force
        self.prune = prune
        self.records: list[Removed] = []
        self.blobs: set[str] = set()

    def carry_out(self, decide: Callable[[], None]) -> None:
        """Delete rows as ``decide`` says, in one transaction with the intent to delete their files; then the files."""
        store = self.store
        standing_on = store.standing_on()
        with store.database.transaction():
            decide()
            leftovers = self.leftovers(standing_on)
            entry = store.journal.open(OPERATION, *STORE_LOCK, leftovers) if leftovers else None
        if entry is not None:
            sweep(store, leftovers)
            store.journal.close(entry)

    def run(self, text: str) -> None:
        """Untag and delete what ``text`` means."""
        image = self.store.records.get(text)
        by_name = not self.store.records.is_id(text, image)
        if by_name:
            if len(image.names) <= 1 and not self.force:
                self._refuse_name_in_use(text, image)
            self._untag(parse(text).name(), image)
            if len(image.names) > 1:
                return
        elif len(image.names) <= 1:
            # An id is as good as the only name: what docker calls a soft conflict does not count the name itself.
            self._check(image, references=False, stopped=not self.force)
            self._untag_all(image)
        self._delete(self.store.records.get(image.id), force=self.force, quiet=by_name)

    def leftovers(self, standing_on: set[str]) -> dict[str, list[str]]:
        """Blobs and cache ids without a purpose now; their layer rows are deleted. Empty when there are none."""
        layers = self.store.layers.unused(standing_on)
        self.store.layers.forget(layers)
        for layer in layers:
            self.store.database.execute("DELETE FROM build_cache WHERE chain = ?", (layer.chain,))
        blobs = sorted(self.blobs | {layer.blob for layer in layers})
        cache_ids = [layer.cache_id for layer in layers]
        self.records += [Removed(deleted=layer.chain) for layer in layers]
        return {"blobs": blobs, "layers": cache_ids} if blobs or cache_ids else {}

    def _refuse_name_in_use(self, text: str, image: Image) -> None:
        users = self._uses(image)
        if users:
            raise Conflict(
                f'conflict: unable to remove repository reference "{text}" (must force) - container '
                f"{users[0][0][:12]} is using its referenced image {image.short_id}",
                remedy=f"remove the container first: pilothouse rm {users[0][0][:12]}",
            )

    def _untag_all(self, image: Image) -> None:
        for name in image.names:
            self._untag(name, image)

    def _untag(self, name: str, image: Image) -> None:
        self.store.database.execute("DELETE FROM image_names WHERE name = ? AND image = ?", (name, image.id))
        self.store.events.emit("image", "untag", image.id, {"name": name})
        self.records.append(Removed(untagged=name))

    def _delete(self, image: Image, *, force: bool, quiet: bool) -> None:
        try:
            self._check(image, references=not force, stopped=not force)
        except Conflict:
            # A name went, and that alone was asked for: the image stays for those who use it.
            if quiet and (image.names or self._uses(image) or self.store.records.children(image.id)):
                return
            raise
        self._untag_all(image)
        self._drop(image)
        if self.prune and image.parent:
            parent = self.store.records.by_id(image.parent)
            if parent is not None and not parent.names:
                self._delete(parent, force=False, quiet=True)

    def _drop(self, image: Image) -> None:
        store = self.store
        text = store.content.read(image.manifest) if store.content.has(image.manifest) else b""
        self.blobs |= {image.id, image.manifest}
        if text:
            self.blobs |= {layer.digest for layer in manifest.Manifest.from_json(text).layers}
        # Results that are layers go with their layers: another image may stand on them.
        store.database.execute("DELETE FROM build_cache WHERE image = ? AND chain = ''", (image.id,))
        store.database.execute("DELETE FROM images WHERE id = ?", (image.id,))
        store.events.emit("image", "delete", image.id, {"name": image.id})
        self.records.append(Removed(deleted=image.id))

    def _check(self, image: Image, *, references: bool, stopped: bool) -> None:
        """Raise docker's conflict: children and running containers always, the rest unless forced."""
        if self.store.records.children(image.id):
            raise _conflict(image, "image has dependent child images", forceable=False)
        users = self._uses(image)
        for container, status in users:
            if status in _RUNNING:
                raise _conflict(image, f"image is being used by running container {container[:12]}", forceable=False)
        if references and image.names:
            raise _conflict(image, "image is referenced in multiple repositories", forceable=True)
        if stopped and users:
            raise _conflict(image, f"image is being used by stopped container {users[0][0][:12]}", forceable=True)

    def _uses(self, image: Image) -> list[tuple[str, str]]:
        rows = self.store.database.all("SELECT id, status FROM containers WHERE image = ? ORDER BY id", (image.id,))
        return [(row["id"], row["status"]) for row in rows]


def _conflict(image: Image, why: str, *, forceable: bool) -> Conflict:
    how = "must be forced" if forceable else "cannot be forced"
    remedies = {True: "stop and remove what uses it, or use --force", False: "remove what depends on it first"}
    return Conflict(
        f"conflict: unable to delete {image.short_id} ({how}) - {why}",
        remedy=remedies[forceable],
    )
