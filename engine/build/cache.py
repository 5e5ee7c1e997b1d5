"""The build cache: which result an operation on a file system had before.

Owns the keys, which are pure, and the ``build_cache`` table. A key covers the file system below, the operation with
everything that reaches it, and the content it copies: names, modes, link targets, bytes; never times or owners, which
docker's checksums leave out too. A row whose layer or image is gone is no hit.
"""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Mapping, Sequence

from engine.build.context import Context, Source
from engine.build.plan import CopyAction, DirectoryAction, RunAction
from engine.images.config import ImageConfig
from engine.state.database import Database, timestamp

_REMAINDER = "remainder:"
_VERSION = 1  # to be raised when the meaning of a key or of an operation changes


def base_key(chain: str) -> str:
    """The key of an unchanged base image: its chain id, empty for scratch."""
    return _digest({"base": chain})


def run_key(parent: str, action: RunAction) -> str:
    """RUN: the same command on the same file system with the same variables, directory, user and network."""
    return _digest(
        {
            "parent": parent,
            "run": action.arguments,
            "environment": action.keyed_environment,
            "directory": action.working_dir,
            "user": action.user,
            "network": action.network,
        }
    )


def directory_key(parent: str, action: DirectoryAction) -> str:
    """WORKDIR."""
    return _digest({"parent": parent, "directory": action.path, "user": action.user})


def copy_key(parent: str, action: CopyAction, content: Sequence[str]) -> str:
    """COPY and ADD: ``content`` are the checksums of the sources in order."""
    return _digest(
        {
            "parent": parent,
            "copy": content,
            "files": [(file.name, file.data) for file in action.files],
            "destination": action.destination,
            "chown": action.chown,
            "chmod": action.chmod,
            "unpack": action.unpack,
        }
    )


def result_key(parent: str, document: ImageConfig) -> str:
    """A whole image: its file system and its configuration without the times of its making."""
    history = [(step.created_by, step.author, step.comment, step.empty_layer) for step in document.history]
    config = document.config.to_json()
    return _digest({"parent": parent, "config": config, "author": document.author, "history": history})


def content_checksum(context: Context, source: Source) -> str:
    """sha256 over a source: each entry's place, kind, permissions, link target and bytes."""
    hasher = hashlib.sha256()
    name = "" if source.is_directory else source.name
    for entry in source.entries:
        kind = stat.S_IFMT(entry.mode)
        # A link's own permissions mean nothing and differ between file systems.
        mode = 0 if stat.S_ISLNK(entry.mode) else stat.S_IMODE(entry.mode)
        fields = (entry.inside or name, kind, mode, entry.link, entry.size, context.digest(entry))
        hasher.update(json.dumps(fields).encode())
    return hasher.hexdigest()


class BuildCache:
    """The table of results: a key leads to a layer's chain id, or for a whole image to the image."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def layer(self, key: str) -> str | None:
        """The chain id an operation led to, while that layer exists."""
        row = self._database.one(
            "SELECT build_cache.chain FROM build_cache JOIN layers USING(chain) WHERE build_cache.key = ?", (key,)
        )
        return None if row is None else str(row["chain"])

    def image(self, key: str) -> str | None:
        """The image id a whole build led to, while that image exists."""
        row = self._database.one(
            "SELECT image FROM build_cache JOIN images ON images.id = build_cache.image "
            "WHERE build_cache.key = ? AND build_cache.chain = ''",
            (key,),
        )
        return None if row is None else str(row["image"])

    def store(self, image: str, layers: Mapping[str, str], result: str = "") -> list[str]:
        """Remember that ``image`` holds these results: keys → chain ids, and the key of the image itself.

        Without ``result`` it is the remainder of a failed build. The row of a layer goes with it, the image's own with
        the image; keys that were used again move to the newest image that has them. Returns remainders that hold
        nothing any more.
        """
        used = timestamp()
        rows = [(key, image, chain, used) for key, chain in layers.items()]
        rows.append((result or _REMAINDER + image, image, "", used))
        marks = ",".join("?" * len(layers))
        with self._database.transaction() as connection:
            before = connection.execute(
                f"SELECT DISTINCT image FROM build_cache WHERE key IN ({marks}) AND image <> ?", (*layers, image)
            ).fetchall()
            connection.executemany(
                "INSERT INTO build_cache(key, image, chain, used) VALUES(?,?,?,?) ON CONFLICT(key) "
                "DO UPDATE SET image=excluded.image, chain=excluded.chain, used=excluded.used",
                rows,
            )
            return [row["image"] for row in before if self._is_spent(row["image"])]

    def _is_spent(self, image: str) -> bool:
        """True for the remainder of a failed build all of whose layers another image has."""
        rows = self._database.all("SELECT key FROM build_cache WHERE image = ?", (image,))
        return [row["key"] for row in rows] == [_REMAINDER + image]


def _digest(fields: Mapping[str, object]) -> str:
    text = json.dumps({"version": _VERSION, **fields}, sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
