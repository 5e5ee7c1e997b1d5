"""``inspect`` in all its spellings.

Owns which kinds of object are tried for a name, and the printing: a JSON array, or one rendered template an object.
Objects that do not exist are named on stderr and the others are shown all the same, as docker does.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from engine.errors import EngineError, InvalidInput, NotFound
from tui.command_line.grammar import Command, UsageError
from tui.command_line.session import Session
from tui.command_line.template import Template
from tui.command_line.template_parser import TemplateError

KINDS = ("container", "image", "network", "volume")
PARSE_FAILED = 64

Look = Callable[[str], dict[str, Any]]


def inspect(command: Command, session: Session) -> int:
    """``inspect NAME``: the first kind that has an object of this name."""
    kind = command.text("type")
    if kind and kind not in KINDS:
        raise UsageError(f'"{kind}" is not a valid value for --type', command.verb, exit_code=1)
    kinds = (kind,) if kind else KINDS
    looks = _looks(session)

    def look(name: str) -> dict[str, Any]:
        for each in kinds:
            try:
                return looks[each](name)
            except (NotFound, InvalidInput):
                continue
        raise NotFound(f"No such {kind or 'object'}: {name}")

    return _show(command, session, look)


def container(command: Command, session: Session) -> int:
    """``container inspect``."""
    return _show(command, session, _looks(session)["container"])


def image(command: Command, session: Session) -> int:
    """``image inspect``."""
    return _show(command, session, _looks(session)["image"])


def network(command: Command, session: Session) -> int:
    """``network inspect``."""
    return _show(command, session, _looks(session)["network"])


def volume(command: Command, session: Session) -> int:
    """``volume inspect``."""
    return _show(command, session, _looks(session)["volume"])


def _looks(session: Session) -> dict[str, Look]:
    return {
        "container": lambda name: session.engine.containers.get(name).attrs,
        "image": lambda name: session.engine.images.inspect(name),
        "network": lambda name: session.engine.networks.inspect(name),
        "volume": lambda name: session.engine.volumes.inspect(name),
    }


def _show(command: Command, session: Session, look: Look) -> int:
    form = command.text("format")
    template = None
    if form and form != "json":
        try:
            template = Template(form)
        except TemplateError as error:
            raise TemplateError(f"template parsing error: {error}", exit_code=PARSE_FAILED) from None
    found: list[dict[str, Any]] = []
    failed: list[EngineError] = []
    for name in command.operands:
        try:
            facts = look(name)
            if template is not None:
                session.line(template.render(facts))
            found.append(facts)
        except EngineError as error:
            failed.append(error)
    if form == "json":
        session.line(json.dumps(found, separators=(",", ":"), ensure_ascii=False))
    elif template is None:
        session.line(json.dumps(found, indent=4, ensure_ascii=False))
    for failure in failed:
        session.complain(failure)
    return 1 if failed else 0
