"""``--change``: Dockerfile instructions applied to an image's configuration, for commit and import.

Owns which instructions docker allows there and what each does to a ``RunConfig``. Each change is one instruction on
one line; nothing is expanded and nothing is run.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace

from engine.errors import InvalidInput
from engine.images.config import ImageConfig, RunConfig

_SHELL = ("/bin/sh", "-c")


def apply_changes(config: ImageConfig, changes: Sequence[str]) -> ImageConfig:
    """``config`` after every change in order; InvalidInput names the one that is wrong."""
    run = config.config
    for change in changes:
        keyword, _, rest = change.strip().partition(" ")
        handler = _INSTRUCTIONS.get(keyword.upper())
        if handler is None:
            raise InvalidInput(
                f"{keyword.upper() or 'an empty line'} is not a valid change command",
                remedy=f"use one of {', '.join(_INSTRUCTIONS)}",
            )
        if not rest.strip():
            raise InvalidInput(f"{keyword.upper()} requires an argument: {change!r}")
        run = handler(run, rest.strip())
    return replace(config, config=run)


def _command(run: RunConfig, text: str) -> tuple[str, ...]:
    words = _json_words(text)
    return words if words is not None else (*(run.shell or _SHELL), text)


def _json_words(text: str) -> tuple[str, ...] | None:
    if not text.startswith("["):
        return None
    try:
        words = json.loads(text)
    except ValueError:
        return None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        return None
    return tuple(words)


def _list(text: str) -> tuple[str, ...]:
    words = _json_words(text)
    return words if words is not None else tuple(_split(text))


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise InvalidInput(f"{text!r}: {error}") from error


def _pairs(text: str, keyword: str) -> dict[str, str]:
    words = _split(text)
    if "=" not in words[0]:
        # The old form: one name, and the rest of the line as its value.
        name, _, value = text.partition(" ")
        if not value:
            raise InvalidInput(f"{keyword} must have two arguments: {text!r}")
        return {name: value.strip()}
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise InvalidInput(f"{keyword}: {word!r} is not NAME=VALUE")
        found[name] = value
    return found


def _env(run: RunConfig, text: str) -> RunConfig:
    values = {**run.environment(), **_pairs(text, "ENV")}
    return replace(run, env=tuple(f"{key}={value}" for key, value in values.items()))


def _expose(run: RunConfig, text: str) -> RunConfig:
    ports = dict.fromkeys(run.exposed_ports)
    for word in text.split():
        number, slash, protocol = word.partition("/")
        if not all(part.isdigit() and 0 < int(part) < 65536 for part in number.split("-", 1)):
            raise InvalidInput(f"invalid containerPort: {number}")
        ports[f"{number}/{protocol.lower() if slash else 'tcp'}"] = None
    return replace(run, exposed_ports=tuple(ports))


_INSTRUCTIONS: dict[str, Callable[[RunConfig, str], RunConfig]] = {
    "CMD": lambda run, text: replace(run, cmd=_command(run, text)),
    "ENTRYPOINT": lambda run, text: replace(run, entrypoint=_command(run, text), cmd=None),
    "ENV": _env,
    "EXPOSE": _expose,
    "LABEL": lambda run, text: replace(run, labels={**run.labels, **_pairs(text, "LABEL")}),
    "ONBUILD": lambda run, text: replace(run, on_build=(*run.on_build, text)),
    "USER": lambda run, text: replace(run, user=text),
    "VOLUME": lambda run, text: replace(run, volumes=tuple(dict.fromkeys((*run.volumes, *_list(text))))),
    "WORKDIR": lambda run, text: replace(
        run, working_dir=text if text.startswith("/") else f"{run.working_dir.rstrip('/')}/{text}"
    ),
    "STOPSIGNAL": lambda run, text: replace(run, stop_signal=text),
}
