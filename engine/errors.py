"""The one tree of errors the engine raises.

Owns the classes only. A message says what was being done, to what, why it failed; ``remedy`` says what to do next.
Callers above the engine show ``str(error)`` and, where there is room, ``error.remedy``; they never show a traceback
for an ``EngineError``.
"""

from __future__ import annotations

from collections.abc import Sequence


class EngineError(Exception):
    """Base of all engine errors.

    ``exit_code`` is docker's for a command line that fails this way: 125 the engine refused, 126 the command could
    not be executed, 127 the command was not found.
    """

    exit_code = 1

    def __init__(self, message: str, *, remedy: str = "", exit_code: int | None = None) -> None:
        super().__init__(message)
        self.remedy = remedy
        if exit_code is not None:
            self.exit_code = exit_code


class NotFound(EngineError):
    """The named object does not exist."""


class Conflict(EngineError):
    """The object exists or is in a state in which the request cannot be carried out."""


class InvalidInput(EngineError):
    """The request itself is malformed: a flag, a reference, a Dockerfile, a port form."""


class Unsupported(InvalidInput):
    """The request is well formed and understood, and this version does not carry it out."""


class Cancelled(EngineError):
    """The caller cancelled a long operation; everything half-made was removed."""


class RegistryError(EngineError):
    """A registry refused or could not be reached."""


class BuildError(EngineError):
    """A Dockerfile instruction failed.

    ``file``, ``line`` (1-based) and ``source`` (the offending line or lines as written) let every face show the place.
    """

    def __init__(
        self,
        message: str,
        *,
        file: str = "Dockerfile",
        line: int = 0,
        source: str = "",
        remedy: str = "",
        exit_code: int | None = None,
    ) -> None:
        super().__init__(message, remedy=remedy, exit_code=exit_code)
        self.file = file
        self.line = line
        self.source = source


class CommandNotFound(EngineError):
    """The container's command does not exist in its file system (exit code 127)."""

    exit_code = 127


class CommandNotExecutable(EngineError):
    """The container's command exists and cannot be executed (exit code 126)."""

    exit_code = 126


class HostError(EngineError):
    """The host refused a step: a mount, a netlink request, an external program.

    ``step`` names what was being done ("creating veth"), ``cause`` is the host's own answer.
    """

    def __init__(self, step: str, cause: object, *, remedy: str = "") -> None:
        super().__init__(f"{step}: {cause}", remedy=remedy)
        self.step = step
        self.cause = cause


class TeardownError(EngineError):
    """Several steps of a teardown failed; every other step was still carried out."""

    def __init__(self, subject: str, errors: Sequence[BaseException]) -> None:
        detail = "; ".join(str(error) for error in errors)
        super().__init__(f"removing {subject}: {detail}")
        self.errors = tuple(errors)
