"""Flags of instructions (``--chown=…``): which exist, which repeat, which are switches.

Owns the check of written flags against an instruction's specification and docker's wording of what is wrong. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.build.arguments import ArgumentError
from engine.values import dataclass

BOOLEAN = "boolean"
STRING = "string"
STRINGS = "strings"  # may be given several times


class UnknownFlag(ArgumentError):
    """No such flag; ``suggestion`` is a near name or empty."""

    def __init__(self, message: str, suggestion: str) -> None:
        super().__init__(message)
        self.suggestion = suggestion


@dataclass(frozen=True)
class Flags:
    """The values of one instruction's flags; absent ones have their kind's empty value."""

    _values: Mapping[str, tuple[str, ...]]

    def text(self, name: str) -> str:
        """The value of a string flag, empty when absent."""
        return self._values.get(name, ("",))[-1]

    def texts(self, name: str) -> tuple[str, ...]:
        """All values of a repeatable flag."""
        return self._values.get(name, ())

    def switch(self, name: str) -> bool:
        """True when a boolean flag is on."""
        return self.text(name) == "true"

    def given(self, name: str) -> bool:
        """True when the flag was written at all."""
        return name in self._values


def check(written: Sequence[str], specification: Mapping[str, str]) -> Flags:
    """Read ``written`` flags (``--name`` or ``--name=value``); raises ArgumentError as docker words it."""
    values: dict[str, tuple[str, ...]] = {}
    for flag in written:
        spelled, equals, value = flag.partition("=")
        name = spelled[2:]
        kind = specification.get(name)
        if kind is None:
            raise UnknownFlag(f"unknown flag: {spelled}", nearest(name, specification))
        if name in values and kind != STRINGS:
            raise ArgumentError(f"duplicate flag specified: {spelled}")
        if not equals and kind != BOOLEAN:
            raise ArgumentError(f"missing a value on flag: {spelled}")
        if kind == BOOLEAN:
            value = _boolean(spelled, equals, value)
        values[name] = (*values.get(name, ()), value)
    return Flags(values)


def nearest(name: str, known: Mapping[str, object] | Sequence[str]) -> str:
    """The known name a mistyped one probably meant, or an empty string."""
    import difflib

    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.7)
    return matches[0] if matches else ""


def _boolean(spelled: str, equals: str, value: str) -> str:
    if equals and not value:
        raise ArgumentError(f"missing a value on flag: {spelled}")
    lowered = value.lower() or "true"
    if lowered not in ("true", "false"):
        raise ArgumentError(f"expecting boolean value for flag {spelled}, not: {value}")
    return lowered
