"""Which variables an instruction sees: ARG before and after FROM, ENV, ``--build-arg``, the predefined ones.

Owns the scoping rules of the Dockerfile reference ("Understand how ARG and FROM interact", "Predefined ARGs") as
BuildKit applies them: within a stage ARG and ENV write to one table, the later one wins. Pure.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from engine.build.expansion import HEREDOC_BODY, Rules, expand
from engine.build.instructions import Arg

# Usable in RUN without an ARG, never part of history and cache keys unless declared.
PROXIES = frozenset(
    spelling
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
    for spelling in (name, name.lower())
)

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "armv7l": "arm", "riscv64": "riscv64"}


def host_platform() -> str:
    """This host as docker writes platforms: ``linux/amd64``."""
    machine = os.uname().machine
    return f"linux/{_ARCHITECTURES.get(machine, machine)}"


def platform_arguments(target_stage: str) -> dict[str, str]:
    """The platform arguments of the global scope."""
    platform = host_platform()
    system, _, architecture = platform.partition("/")
    values: dict[str, str] = {}
    for side in ("BUILD", "TARGET"):
        values[f"{side}PLATFORM"] = platform
        values[f"{side}OS"] = system
        values[f"{side}ARCH"] = architecture
        values[f"{side}OSVERSION"] = ""
        values[f"{side}VARIANT"] = ""
    values["TARGETSTAGE"] = target_stage or "default"
    return values


def global_scope(declared: Iterable[Arg], given: Mapping[str, str], target_stage: str, rules: Rules) -> dict[str, str]:
    """Variables that FROM lines may use: the platform's, then each global ARG in order.

    Raises ExpansionError.
    """
    values = platform_arguments(target_stage)
    for name in values:
        if name in given:
            values[name] = given[name]
    for instruction in declared:
        for name, default in instruction.pairs:
            if name in given:
                values[name] = given[name]
            elif default is not None:
                values[name] = expand(default, values, rules).text
    return values


class Scope:
    """The variables of one stage while its instructions are read in order."""

    def __init__(
        self, environment: Iterable[str], global_values: Mapping[str, str], given: Mapping[str, str], rules: Rules
    ) -> None:
        """``environment`` is the base image's (``K=V``), ``given`` are the ``--build-arg`` values."""
        self._values = dict(_pair(line) for line in environment)
        self._globals = global_values
        self._given = given
        self._rules = rules
        self._arguments: dict[str, None] = {}

    def expand(self, word: str) -> str:
        """``word`` with variables replaced and quotes removed."""
        return expand(word, self._values, self._rules).text

    def expand_words(self, word: str) -> tuple[str, ...]:
        """``word`` expanded, then split (EXPOSE)."""
        return expand(word, self._values, self._rules).words

    def expand_body(self, text: str) -> str:
        """An unquoted heredoc's body: variables replaced, everything else as it is."""
        return expand(text, self._values, HEREDOC_BODY).text

    def set(self, name: str, value: str) -> None:
        """ENV."""
        self._values[name] = value

    def declare(self, instruction: Arg) -> list[str]:
        """ARG; the ``NAME=value`` texts as history shows them."""
        texts: list[str] = []
        for name, default in instruction.pairs:
            value: str | None
            if name in self._given:
                value = self._given[name]
            elif default is not None:
                value = self.expand(default)
            else:
                value = self._globals.get(name)
            if value is not None:
                self._values[name] = value
            self._arguments.pop(name, None)
            self._arguments[name] = None
            texts.append(name if value is None else f"{name}={value}")
        return texts

    def values(self) -> dict[str, str]:
        """All variables that are set, ENV and ARG alike."""
        return dict(self._values)

    def run_environment(self) -> dict[str, str]:
        """What RUN's process gets: image environment, arguments, and proxies given on the command line."""
        proxies = {name: value for name, value in self._given.items() if name in PROXIES}
        return {**proxies, **self._values}

    def run_arguments(self) -> list[str]:
        """The declared arguments and their values, as they enter RUN's history and cache key."""
        return [f"{name}={self._values.get(name, '')}" for name in self._arguments]


def unconsumed(given: Mapping[str, str], declared: Iterable[Arg]) -> list[str]:
    """Build arguments that no ARG and no predefined name takes, sorted."""
    known = {name for instruction in declared for name, _ in instruction.pairs}
    known |= PROXIES | set(platform_arguments(""))
    return sorted(name for name in given if name not in known)


def _pair(line: str) -> tuple[str, str]:
    name, _, value = line.partition("=")
    return name, value
