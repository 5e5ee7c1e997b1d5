"""The registry of unpacked layers: chain id → driver directory and blob.

Owns the table layers, chain ids (OCI image spec, "Layer ChainID") and the question which layers nobody needs any
more. Unpacks and deletes nothing itself.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from engine.errors import NotFound
from engine.state.database import Database
from engine.values import dataclass


@dataclass(frozen=True)
class Layer:
    """One layer. ``diff`` is the digest of its uncompressed tar, ``blob`` of the stored one; ``size`` in bytes."""

    chain: str
    diff: str
    parent: str
    blob: str
    media_type: str
    size: int
    cache_id: str


def chain_id(parent: str, diff: str) -> str:
    """The chain id of layer ``diff`` upon chain ``parent`` (empty for a base layer)."""
    if not parent:
        return diff
    import hashlib

    return f"sha256:{hashlib.sha256(f'{parent} {diff}'.encode()).hexdigest()}"


def chain_of(diffs: Sequence[str]) -> str:
    """The chain id of a whole stack, base first; empty without layers."""
    chain = ""
    for diff in diffs:
        chain = chain_id(chain, diff)
    return chain


class Layers:
    """Reading and writing the table layers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, chain: str) -> Layer | None:
        """The layer of a chain id, None when it is not here."""
        row = self._database.one("SELECT * FROM layers WHERE chain = ?", (chain,))
        return None if row is None else _layer(row)

    def stack(self, chain: str) -> list[Layer]:
        """All layers down to the base, base first; NotFound when one is missing."""
        found: list[Layer] = []
        while chain:
            layer = self.find(chain)
            if layer is None:
                raise NotFound(f"layer {chain} is missing", remedy="remove the image and load or build it again")
            found.append(layer)
            chain = layer.parent
        return found[::-1]

    def holds(self, cache_id: str) -> bool:
        """True when a driver directory is a registered layer: nobody may write to or delete it."""
        return self._database.one("SELECT 1 FROM layers WHERE cache_id = ?", (cache_id,)) is not None

    def is_referenced(self, digest: str) -> bool:
        """True when a blob is some layer's, configuration or manifest."""
        return (
            self._database.one(
                "SELECT 1 FROM layers WHERE blob = ?1 UNION ALL SELECT 1 FROM images WHERE id = ?1 OR manifest = ?1",
                (digest,),
            )
            is not None
        )

    def add(self, layer: Layer) -> None:
        """Register a layer; joins the surrounding transaction."""
        self._database.execute(
            "INSERT INTO layers(chain, diff, parent, blob, media_type, size, cache_id) VALUES(?,?,?,?,?,?,?)",
            (layer.chain, layer.diff, layer.parent, layer.blob, layer.media_type, layer.size, layer.cache_id),
        )

    def unused(self, standing_on: Iterable[str]) -> list[Layer]:
        """Layers under no image and under no directory that stands on one of ``standing_on`` (cache ids)."""
        layers = {row["chain"]: _layer(row) for row in self._database.all("SELECT * FROM layers")}
        by_cache = {layer.cache_id: layer.chain for layer in layers.values()}
        needed = {row["chain"] for row in self._database.all("SELECT DISTINCT chain FROM images")}
        needed |= {by_cache[cache_id] for cache_id in standing_on if cache_id in by_cache}
        kept: set[str] = set()
        for chain in needed:
            while chain and chain not in kept and chain in layers:
                kept.add(chain)
                chain = layers[chain].parent
        gone = {chain: layer for chain, layer in layers.items() if chain not in kept}
        # Topmost first, so that nothing is ever seen standing on a directory that is gone already.
        return sorted(gone.values(), key=lambda layer: -_depth(layer, gone))

    def forget(self, layers: Iterable[Layer]) -> None:
        """Delete rows; joins the surrounding transaction."""
        for layer in layers:
            self._database.execute("DELETE FROM layers WHERE chain = ?", (layer.chain,))


def _depth(layer: Layer, among: Mapping[str, Layer]) -> int:
    depth = 0
    below: Layer | None = layer
    while below is not None:
        depth += 1
        below = among.get(below.parent)
    return depth


def _layer(row: sqlite3.Row) -> Layer:
    return Layer(**{key: row[key] for key in row.keys()})  # noqa: SIM118 - a Row iterates over its values
