"""What the state database says about images: rows ↔ ``Image``.

Owns the SQL that reads the tables images and image_names, and how a name or an id prefix finds an image. Reads the
database alone, so listing is cheap; changes nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from engine.errors import Conflict, InvalidInput, NotFound
from engine.images.reference import parse
from engine.state.database import Database
from engine.values import dataclass

_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class Image:
    """One image. ``id`` is its configuration's digest, ``chain`` the chain id of its top layer (empty: no layers).

    ``size`` is in bytes, unpacked; ``names`` are familiar forms with tag; ``parent`` is an image id or empty.
    """

    id: str
    manifest: str
    chain: str
    size: int
    created: str
    names: tuple[str, ...]
    parent: str

    @property
    def short_id(self) -> str:
        """docker's 12 digits."""
        return self.id.partition(":")[2][:12]


_SELECT = """
SELECT images.id, manifest, chain, size, created, parent, group_concat(image_names.name, char(10)) AS names
FROM images LEFT JOIN image_names ON image_names.image = images.id
"""


class Records:
    """Reading images from the state database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(self, *, intermediate: bool) -> list[Image]:
        """Newest first; without ``intermediate`` unnamed images that others were made from are left out."""
        hidden = (
            "" if intermediate else "WHERE image_names.name IS NOT NULL OR images.id NOT IN (SELECT parent FROM images)"
        )
        rows = self._database.all(f"{_SELECT} {hidden} GROUP BY images.id ORDER BY created DESC, images.rowid DESC")
        return [_image(row) for row in rows]

    def by_id(self, image_id: str) -> Image | None:
        """The image with exactly this id."""
        return self._first("images.id = ?", image_id)

    def by_name(self, name: str) -> Image | None:
        """The image of a familiar name with tag."""
        return self._first("images.id = (SELECT image FROM image_names WHERE name = ?)", name)

    def get(self, text: str) -> Image:
        """The image a name, an id, or an unambiguous beginning of an id means; names come first, as in docker."""
        found = self.find(text)
        if found is None:
            raise no_such_image(text)
        return found

    def find(self, text: str) -> Image | None:
        """Like ``get``, None when there is none. Conflict for an ambiguous beginning of an id."""
        algorithm, colon, value = text.partition(":")
        if colon and algorithm == "sha256" and _is_prefix(value):
            return self._by_prefix(value, text)
        try:
            reference = parse(text)
        except InvalidInput:
            if not _is_prefix(text):
                raise
        else:
            if reference.digest:
                return self._first("images.id = ? OR manifest = ?", reference.digest, reference.digest)
            found = self.by_name(reference.name())
            if found is not None:
                return found
        return self._by_prefix(text, text) if _is_prefix(text) else None

    def is_id(self, text: str, image: Image) -> bool:
        """True when ``text``, which found ``image``, did so by an id or digest and not by one of its names."""
        value = text.removeprefix("sha256:")
        if "@" in text:
            return True
        return _is_prefix(value) and image.id.startswith(f"sha256:{value}") and not self._is_name(text)

    def children(self, image_id: str) -> Sequence[str]:
        """Ids of the images made from this one."""
        return [row["id"] for row in self._database.all("SELECT id FROM images WHERE parent = ?", (image_id,))]

    def _is_name(self, text: str) -> bool:
        try:
            return self.by_name(parse(text).name()) is not None
        except InvalidInput:
            return False

    def _by_prefix(self, value: str, text: str) -> Image | None:
        rows = self._database.all(
            f"{_SELECT} WHERE images.id >= ? AND images.id < ? GROUP BY images.id LIMIT 2",
            (f"sha256:{value}", f"sha256:{value}g"),
        )
        if len(rows) > 1:
            raise Conflict(
                f"multiple images found with provided prefix: {text}", remedy="give more digits of the image id"
            )
        return _image(rows[0]) if rows else None

    def _first(self, condition: str, *parameters: str) -> Image | None:
        row = self._database.one(f"{_SELECT} WHERE {condition} GROUP BY images.id", parameters)
        return None if row is None else _image(row)


def _is_prefix(text: str) -> bool:
    """True for what may be the beginning of an id's digits."""
    return 0 < len(text) <= 64 and _HEX.issuperset(text)


def no_such_image(text: str) -> NotFound:
    """docker's words, and the way on."""
    return NotFound(
        f"No such image: {_familiar(text)}",
        remedy="see `pilothouse images`; build it with `pilothouse build -t NAME .` or load it with `pilothouse load`",
    )


def _familiar(text: str) -> str:
    try:
        return text if text.startswith("sha256:") else parse(text).name()
    except InvalidInput:
        return text


def _image(row: sqlite3.Row) -> Image:
    return Image(
        id=row["id"],
        manifest=row["manifest"],
        chain=row["chain"],
        size=row["size"],
        created=row["created"],
        names=tuple(sorted(row["names"].split("\n"))) if row["names"] else (),
        parent=row["parent"],
    )
