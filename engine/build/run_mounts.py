"""``RUN --mount=type=…,…``: the option's own grammar.

Owns keys, types and docker's messages. Values may hold variables, so what they mean is checked when they are expanded.
"""

from __future__ import annotations

import re

from engine.build.arguments import ArgumentError
from engine.build.expansion import quote
from engine.build.instructions import Mount

TYPES = ("bind", "cache", "tmpfs", "secret", "ssh")
_VALUELESS = ("readonly", "ro", "readwrite", "rw", "required")
_KEYS = (
    *("type", "from", "source", "src", "target", "dst", "destination", "readonly", "ro", "readwrite", "rw"),
    *("required", "size", "id", "sharing", "mode", "uid", "gid", "env"),
)


def parse_mount(text: str) -> Mount:
    """Read one mount (comma-separated, CSV quoting); raises ArgumentError."""
    import csv

    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error as error:
        raise ArgumentError(f"failed to parse csv mounts: {error}") from None
    kind = "bind"
    options: list[tuple[str, str | None]] = []
    for item in rows[0] if rows else []:
        key, equals, value = item.partition("=")
        key = key.lower()
        if not equals and key not in _VALUELESS:
            raise ArgumentError(f"invalid field '{item}' must be a key=value pair")
        if key not in _KEYS:
            raise ArgumentError(f"unexpected key '{key}' in '{item}'")
        if key == "from" and re.search(r"\$.", value):
            raise ArgumentError("'from' doesn't support variable expansion, define alias stage instead")
        if key == "type" and "$" not in value:
            kind = value.lower()
            if kind not in TYPES:
                raise ArgumentError(f"unsupported mount type {quote(value)}")
        options.append((key, value if equals else None))
    return Mount(kind, tuple(options))
