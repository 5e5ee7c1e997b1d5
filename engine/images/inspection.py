"""``inspect`` and ``history``: an image in docker's JSON.

Owns the field names docker's clients read. Reads state and content, changes nothing.
"""

from __future__ import annotations

from typing import Any

from engine.images.config import ImageConfig
from engine.images.operation import ImageStore
from engine.images.records import Image
from engine.images.reference import parse
from engine.values import dataclass


@dataclass(frozen=True)
class HistoryRow:
    """One step, newest first in a list. ``id`` is an image id or ``<missing>``; ``size`` in bytes."""

    id: str
    created: str
    created_by: str
    size: int
    comment: str
    tags: tuple[str, ...] = ()


def history(store: ImageStore, image: Image) -> list[HistoryRow]:
    """The steps of an image, newest first, each with the size of its layer and, where still known, its image."""
    config = ImageConfig.from_json(store.content.read(image.id))
    layers = store.layers.stack(image.chain)
    sizes: list[int] = []
    used = 0
    for step in config.history:
        if step.empty_layer or used >= len(layers):
            sizes.append(0)
        else:
            sizes.append(layers[used].size)
            used += 1
    rows = []
    current: Image | None = image
    for step, size in zip(reversed(config.history), reversed(sizes), strict=True):
        rows.append(
            HistoryRow(
                current.id if current is not None else "<missing>",
                step.created,
                step.created_by,
                size,
                step.comment,
                current.names if current is not None else (),
            )
        )
        current = store.records.by_id(current.parent) if current is not None and current.parent else None
    return rows


def inspect(store: ImageStore, image: Image) -> dict[str, Any]:
    """``docker image inspect``'s object."""
    config = ImageConfig.from_json(store.content.read(image.id))
    layers = store.layers.stack(image.chain)
    driver = store.driver
    return {
        "Id": image.id,
        "RepoTags": list(image.names),
        "RepoDigests": sorted({f"{parse(name).familiar_repository}@{image.manifest}" for name in image.names}),
        "Parent": image.parent,
        "Comment": config.history[-1].comment if config.history else "",
        "Created": config.created or image.created,
        "Container": "",
        "DockerVersion": str(config.extra.get("docker_version", "")),
        "Author": config.author,
        "Config": _run_config(config),
        "Architecture": config.architecture,
        "Os": config.os,
        "Size": image.size,
        "VirtualSize": image.size,
        "GraphDriver": {
            "Data": (driver.describe(layers[-1].cache_id) or None) if layers else None,
            "Name": driver.name,
        },
        "RootFS": {"Type": "layers", "Layers": list(config.diff_ids)},
        "Metadata": {"LastTagTime": "0001-01-01T00:00:00Z"},
    }


def _run_config(config: ImageConfig) -> dict[str, Any]:
    """``Config`` as docker always writes it: with the fields of a container's configuration."""
    always: dict[str, Any] = {
        "Hostname": "",
        "Domainname": "",
        "User": "",
        "AttachStdin": False,
        "AttachStdout": False,
        "AttachStderr": False,
        "Tty": False,
        "OpenStdin": False,
        "StdinOnce": False,
        "Env": [],
        "Cmd": None,
        "Image": "",
        "Volumes": None,
        "WorkingDir": "",
        "Entrypoint": None,
        "OnBuild": None,
        "Labels": None,
    }
    return {**always, **config.config.to_json()}
