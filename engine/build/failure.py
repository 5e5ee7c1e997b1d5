"""Errors of a build, each with its place in the Dockerfile.

Owns the two error classes of the build stages and the text that shows the offending lines. Every stage raises
through here, so file, line and source are never missing; the wording of the messages is each stage's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.errors import BuildError, InvalidInput, Unsupported


@dataclass(frozen=True)
class Location:
    """Where an instruction stands: ``file`` as the user named it, 1-based first and last line, and those lines."""

    file: str
    start: int
    end: int
    source: str

    def at(self, start: int, end: int, lines: Sequence[str]) -> Location:
        """The same file, other lines; ``lines`` are all lines of the file."""
        return Location(self.file, start, end, "\n".join(lines[max(start, 1) - 1 : end]))


class DockerfileError(BuildError, InvalidInput):
    """The Dockerfile is not valid; nothing was run."""


class UnsupportedInstruction(BuildError, Unsupported):
    """The Dockerfile is valid and asks for something this version does not carry out; nothing was run."""


def invalid(location: Location, message: str, *, remedy: str = "") -> DockerfileError:
    """An error in the Dockerfile's text, worded as docker words it."""
    return DockerfileError(
        f"dockerfile parse error on line {location.start}: {message}",
        file=location.file,
        line=location.start,
        source=location.source,
        remedy=remedy,
    )


def unsupported(location: Location, what: str, *, remedy: str = "") -> UnsupportedInstruction:
    """Something valid that this version does not carry out."""
    return UnsupportedInstruction(
        f"{location.file} line {location.start}: {what} is not supported by this version",
        file=location.file,
        line=location.start,
        source=location.source,
        remedy=remedy,
    )


def failed(location: Location, message: str, *, remedy: str = "", exit_code: int | None = None) -> BuildError:
    """An instruction that could not be carried out."""
    return BuildError(
        message,
        file=location.file,
        line=location.start,
        source=location.source,
        remedy=remedy,
        exit_code=exit_code,
    )


def excerpt(error: BuildError) -> str:
    """The offending lines as docker shows them, or an empty string when the error has no place.

    ``Dockerfile:2``, a rule, the numbered lines marked with ``>>>``, a rule.
    """
    if not error.line:
        return ""
    rule = "-" * 20
    marked = [f"{number:4d} | >>> {line}" for number, line in enumerate(error.source.split("\n"), error.line)]
    return "\n".join([f"{error.file}:{error.line}", rule, *marked, rule])
