"""Errors of a build, each with its place in the Dockerfile.

Owns the two error classes of the build stages. Every stage raises through here, so file, line and source are never
missing; the wording of the messages is each stage's own.
"""

from __future__ import annotations

from engine.errors import BuildError, InvalidInput, Unsupported
from engine.values import dataclass


@dataclass(frozen=True)
class Location:
    """Where an instruction stands: ``file`` as the user named it, 1-based first and last line, and those lines."""

    file: str
    start: int
    end: int
    source: str


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
