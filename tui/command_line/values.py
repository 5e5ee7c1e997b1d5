"""Flag values that several verbs read the same way: ``KEY=VALUE`` pairs and environment variables.

Owns docker's rules for them. Depends on nothing but the caller's environment.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from engine.errors import InvalidInput


def pairs(texts: Sequence[str]) -> dict[str, str]:
    """``KEY=VALUE`` arguments as a mapping; a bare KEY has an empty value."""
    found = {}
    for text in texts:
        key, _, value = text.partition("=")
        if not key:
            raise InvalidInput(f"invalid label '{text}': its key is empty", remedy="write KEY=VALUE")
        found[key] = value
    return found


def environment(texts: Sequence[str]) -> list[str]:
    """``-e`` arguments: a bare NAME takes the caller's value; where there is none it stays bare, which unsets it."""
    found = []
    for text in texts:
        name, equals, _ = text.partition("=")
        if not name:
            raise InvalidInput(f"invalid environment variable: {text}", remedy="write -e NAME=VALUE")
        found.append(f"{name}={os.environ[name]}" if not equals and name in os.environ else text)
    return found
