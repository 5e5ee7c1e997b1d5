"""``--filter KEY=VALUE``: reading it and matching with docker's rules.

Owns the parsing, the check against the keys a listing knows, and the matching of labels and names. Pure.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence

from engine.errors import InvalidInput
from tui.command_line.grammar import read_bool


class Filters:
    """The filters of one command: values of one key are alternatives, keys must all match (labels: all values)."""

    def __init__(self, texts: Sequence[str], known: Sequence[str]) -> None:
        self._values: dict[str, list[str]] = {}
        for text in texts:
            key, equals, value = text.partition("=")
            if not equals:
                raise InvalidInput(
                    f'invalid argument "{text}" for "-f, --filter" flag: invalid filter \'{text}\'',
                    remedy="write it as KEY=VALUE; known keys: " + ", ".join(known),
                )
            key = key.strip().lower()
            if key not in known:
                raise InvalidInput(f"invalid filter '{key}'", remedy="known filters: " + ", ".join(known))
            self._values.setdefault(key, []).append(value.strip())

    def values(self, key: str) -> list[str]:
        """The values given for ``key``."""
        return self._values.get(key, [])

    def exact(self, key: str, *candidates: str) -> bool:
        """True when nothing is asked of ``key``, or one of its values is a candidate."""
        values = self.values(key)
        return not values or any(value in candidates for value in values)

    def prefix(self, key: str, *candidates: str) -> bool:
        """True when nothing is asked of ``key``, or a candidate starts with one of its values (ids)."""
        values = self.values(key)
        return not values or any(candidate.startswith(value) for value in values for candidate in candidates)

    def search(self, key: str, *candidates: str) -> bool:
        """True when nothing is asked of ``key``, or one of its values (regular expressions) is in a candidate."""
        values = self.values(key)
        return not values or any(_found(value, candidate) for value in values for candidate in candidates)

    def glob(self, key: str, *candidates: str) -> bool:
        """True when nothing is asked of ``key``, or one of its values matches a candidate as a shell pattern."""
        values = self.values(key)
        return not values or any(fnmatch.fnmatchcase(candidate, value) for value in values for candidate in candidates)

    def labels(self, labels: Mapping[str, str]) -> bool:
        """True when every ``label`` filter (KEY or KEY=VALUE) is met."""
        for wanted in self.values("label"):
            key, equals, value = wanted.partition("=")
            if key not in labels or (equals and labels[key] != value):
                return False
        return True

    def truth(self, key: str, fact: bool) -> bool:
        """True when nothing is asked of ``key``, or it is asked to be what ``fact`` is."""
        for value in self.values(key):
            wanted = read_bool(value)
            if wanted is None:
                raise InvalidInput(f"invalid filter '{key}={value}'", remedy=f"write {key}=true or {key}=false")
            if wanted != fact:
                return False
        return True


def _found(pattern: str, text: str) -> bool:
    try:
        return re.search(pattern, text) is not None
    except re.error:
        return pattern in text
