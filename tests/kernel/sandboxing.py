"""Sandboxes without containers: what the network tests stand on.

Owns made-up container ids, and that every sandbox a test makes is released at its end.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine.engine import Engine
from engine.network.model import Endpoint, Sandbox
from engine.network.ports import PublishedPort, parse_publish


class Sandboxes:
    """Makes sandboxes on one engine and remembers them."""

    def __init__(self, engine: Engine) -> None:
        self.networks = engine.networks
        self._made: dict[str, Sandbox] = {}

    def make(self, *publish: str, **options: Any) -> Box:
        """A sandbox with ``-p`` arguments, under a new container id unless ``id`` is given."""
        id = options.pop("id", None) or secrets.token_hex(32)
        published: list[PublishedPort] = [port for text in publish for port in parse_publish(text)]
        sandbox = self.networks.prepare(id, published=published, **options)
        self._made[id] = sandbox
        return Box(id, sandbox)

    def again(self, box: Box) -> Box:
        """The same container's sandbox asserted again."""
        box.sandbox.close()
        sandbox = self.networks.reassert(box.id)
        self._made[box.id] = sandbox
        return Box(box.id, sandbox)

    def drop(self, box: Box) -> None:
        """What a container's exit does: its bound ports close with conmon, then its network is released."""
        self._made.pop(box.id).close()
        self.networks.release(box.id)
        self.networks.settle()

    def drop_all(self) -> None:
        for id, sandbox in list(self._made.items()):
            self.drop(Box(id, sandbox))


class Box:
    """One sandbox, its container's id and its only endpoint."""

    def __init__(self, id: str, sandbox: Sandbox) -> None:
        self.id = id
        self.sandbox = sandbox

    @property
    def netns(self) -> Path:
        assert self.sandbox.netns is not None
        return self.sandbox.netns

    @property
    def endpoint(self) -> Endpoint:
        (endpoint,) = self.sandbox.endpoints
        return endpoint

    @property
    def address(self) -> str:
        return self.endpoint.address


@contextmanager
def sandboxes(engine: Engine) -> Iterator[Sandboxes]:
    """Sandboxes for the length of a test."""
    made = Sandboxes(engine)
    try:
        yield made
    finally:
        made.drop_all()
