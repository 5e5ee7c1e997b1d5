"""The null driver: a container in a namespace of its own with nothing but loopback, docker's ``none``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from engine.network.driver import Detached, Driver
from engine.network.model import Endpoint, Network


class Null(Driver):
    """The network of containers that have no network."""

    name = "null"

    def validate(self, network: Network) -> None:
        """Nothing can be wrong with it."""

    def setup(self, network: Network, endpoints: Sequence[Endpoint]) -> Mapping[str, object]:
        """There is no link to make."""
        return {}

    def activate(self, network: Network) -> None:
        """No way has to be opened."""

    def teardown(self, network: Network) -> None:
        """There is nothing to remove."""

    def attach(self, network: Network, endpoint: Endpoint, netns: Path) -> None:
        """The namespace stays as it was made: wire it by hand through ``ip netns``."""

    def detach(self, endpoint: Endpoint) -> Detached:
        """Nothing was made."""
        return Detached()
