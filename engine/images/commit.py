"""Images from writable directories, and from root file system archives.

Owns the step from a difference to a layer with its history: for ``commit``, for every step of a build, for import.
Knows no containers and no Dockerfile: callers bring the directory's id and the finished configuration.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO, cast

from engine.images.compression import decompressed
from engine.images.config import History, ImageConfig
from engine.images.manifest import OCI_LAYER
from engine.images.operation import ImageStore, Operation
from engine.images.records import Image, no_such_image
from engine.state.database import timestamp
from engine.values import replace


def commit_layer(
    store: ImageStore,
    driver_id: str,
    parent: Image | None,
    config: ImageConfig,
    *,
    created_by: str,
    comment: str,
    author: str,
    empty: bool,
    names: Sequence[str],
    seal: bool,
) -> Image:
    """Register the image that ``parent`` and the difference in ``driver_id`` make; see ``Images.commit_layer``."""
    base = ImageConfig()
    if parent is not None:
        if store.records.by_id(parent.id) is None:
            raise no_such_image(parent.id)
        base = ImageConfig.from_json(store.content.read(parent.id))
    created = timestamp()
    step = History(created, created_by, author, comment, empty)
    with store.operation("image.commit", "committing an image") as operation:
        diff = None if empty else _layer(store, operation, driver_id, parent, seal=seal)
        finished = replace(
            config, created=created, author=author or config.author, diff_ids=base.diff_ids, history=base.history
        ).with_step(step, diff)
        planned = operation.stage_image(finished, parent="" if parent is None else parent.id, names=names)
        return operation.register([planned])[0]


def _layer(store: ImageStore, operation: Operation, driver_id: str, parent: Image | None, *, seal: bool) -> str:
    """Pack ``driver_id`` and make it a layer upon ``parent``'s; its diff id."""
    driver = store.driver
    if seal:
        driver.unmount(driver_id)
    with operation.staging.writer() as writer:
        size = driver.diff(driver_id, cast(BinaryIO, writer))
        diff, _ = writer.commit()
    chain = "" if parent is None else parent.chain
    if seal:
        operation.adopt(chain, diff, size, driver_id)
    else:
        operation.add_layer(chain, diff, diff, OCI_LAYER)
    return diff


def import_tar(
    store: ImageStore, stream: BinaryIO, config: ImageConfig, *, message: str, names: Sequence[str]
) -> Image:
    """An image of one layer from the archive of a root file system, compressed or not."""
    created = timestamp()
    with store.operation("image.import", "importing an image") as operation:
        with decompressed(stream) as plain, operation.staging.writer() as writer:
            while chunk := plain.read(1 << 20):
                writer.write(chunk)
            diff, _ = writer.commit()
        operation.add_layer("", diff, diff, OCI_LAYER)
        step = History(created, "", comment=message or "Imported from -")
        finished = replace(config, created=created, diff_ids=(), history=()).with_step(step, diff)
        image = operation.register([operation.stage_image(finished, names=names)])[0]
        store.events.emit("image", "import", image.id, {"name": names[0] if names else image.id})
        return image
