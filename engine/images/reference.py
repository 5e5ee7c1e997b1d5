"""Image references: docker's grammar, parsed and written back.

Owns text ↔ ``Reference`` (the grammar of github.com/distribution/reference, and docker's familiar short forms).
Looks nothing up.
"""

from __future__ import annotations

import re

from engine.errors import InvalidInput
from engine.values import dataclass

DEFAULT_REGISTRY = "docker.io"
OFFICIAL = "library/"
DEFAULT_TAG = "latest"
MAX_NAME = 255

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
# Compiled when they are first needed: most references have neither registry nor digest.
_PATH = rf"{_COMPONENT}(?:/{_COMPONENT})*\Z"
_REGISTRY = rf"{_HOST}\Z"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}\Z"
_ID = r"[0-9a-f]{64}\Z"


@dataclass(frozen=True)
class Reference:
    """A parsed reference. ``tag`` and ``digest`` are empty when the text has none."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    @property
    def familiar_repository(self) -> str:
        """The repository as docker shows it: ``busybox``, ``user/app``, ``registry.example/app``."""
        if self.registry != DEFAULT_REGISTRY:
            return f"{self.registry}/{self.repository}"
        return self.repository.removeprefix(OFFICIAL)

    def tagged(self) -> Reference:
        """With the default tag where neither tag nor digest is given."""
        if self.tag or self.digest:
            return self
        return Reference(self.registry, self.repository, DEFAULT_TAG)

    def name(self) -> str:
        """The familiar form with tag: ``busybox:latest``. A digest stays when it is all there is."""
        reference = self.tagged()
        if reference.tag:
            return f"{self.familiar_repository}:{reference.tag}"
        return f"{self.familiar_repository}@{reference.digest}"

    @property
    def canonical(self) -> str:
        """The full form: ``docker.io/library/busybox:latest``, with ``@digest`` where there is one."""
        reference = self.tagged()
        text = f"{self.registry}/{self.repository}"
        if reference.tag:
            text += f":{reference.tag}"
        if reference.digest:
            text += f"@{reference.digest}"
        return text


def parse(text: str) -> Reference:
    """``[REGISTRY/]REPOSITORY[:TAG][@DIGEST]``; InvalidInput in docker's words."""
    if len(text) == 64 and re.match(_ID, text):
        raise InvalidInput(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    rest, at, digest = text.partition("@")
    if at and not re.match(_DIGEST, digest):
        raise _invalid(text)
    tag = ""
    before, colon, after = rest.rpartition(":")
    # A colon before the last slash belongs to a registry's port.
    if colon and "/" not in after:
        rest, tag = before, after
        if not re.match(_TAG, tag):
            raise _invalid(text)
    registry, repository = _split_registry(rest)
    if not re.match(_PATH, repository):
        if re.match(_PATH, repository.lower()):
            raise InvalidInput(
                f"invalid reference format: repository name ({rest}) must be lowercase",
                remedy=f"write {text.replace(rest, rest.lower(), 1)}",
            )
        raise _invalid(text)
    if registry != DEFAULT_REGISTRY and not re.match(_REGISTRY, registry):
        raise _invalid(text)
    if len(repository) > MAX_NAME:
        raise InvalidInput(f"invalid reference format: repository name must not be more than {MAX_NAME} characters")
    return Reference(registry, repository, tag, digest)


def _split_registry(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost" or first.lower() != first):
        registry, rest = DEFAULT_REGISTRY, text
    else:
        registry = DEFAULT_REGISTRY if first == "index.docker.io" else first
    if registry == DEFAULT_REGISTRY and "/" not in rest:
        rest = OFFICIAL + rest
    return registry, rest


def _invalid(text: str) -> InvalidInput:
    return InvalidInput(
        f"invalid reference format: {text!r}" if text else "invalid reference format: the name is empty",
        remedy="write it as [REGISTRY/]NAME[:TAG], lower case, for example busybox:latest",
    )
