"""The host driver: a container in the host's own network namespace. There is nothing to make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from engine.network.driver import Detached, Driver
from engine.network.model import Endpoint, Network


class Host(Driver):
    """The network of containers without a namespace of their own."""

    name = "host"
    has_namespace = False

    def validate(self, network: Network) -> None:
        """Nothing can be wrong with it."""

    def setup(self, network: Network, endpoints: Sequence[Endpoint]) -> Mapping[str, object]:
        """The host's network is there."""
        return {}

    def activate(self, network: Network) -> None:
        """No way has to be opened."""

    def teardown(self, network: Network) -> None:
        """The host keeps its network."""

    def attach(self, network: Network, endpoint: Endpoint, netns: Path) -> None:
        """The container simply does not get a namespace."""

    def detach(self, endpoint: Endpoint) -> Detached:
        """Nothing was made."""
        return Detached()
