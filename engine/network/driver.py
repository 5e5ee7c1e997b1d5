"""What a network driver can do: the interface every kind of network implements.

A driver owns the kernel objects of its networks and endpoints, nothing else: addresses, ports and rules are decided
before it is called. Every verb is idempotent: ``setup`` and ``attach`` complete what is partly there, ``teardown``
and ``detach`` tolerate what is gone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from engine.network.model import Endpoint, Network
from engine.values import dataclass


@dataclass(frozen=True)
class Detached:
    """An endpoint that was cut off.

    ``silent`` is true if it never sent a packet, so that the kernel cannot track a flow of its. ``rest``, if any, is
    the slow part of its removal, and may run in any thread.
    """

    silent: bool = True
    rest: Callable[[], None] | None = None


class Driver(ABC):
    """One kind of network."""

    name: str
    has_namespace: bool = True
    """True if a container on such a network gets a network namespace of its own."""
    has_addresses: bool = False
    """True if its endpoints have addresses and may publish ports."""

    @abstractmethod
    def validate(self, network: Network) -> None:
        """Refuse, before any side effect, what this driver cannot make (InvalidInput)."""

    @abstractmethod
    def setup(self, network: Network, endpoints: Sequence[Endpoint]) -> Mapping[str, object]:
        """Make the network's own kernel objects; what is to be remembered of them.

        ``endpoints`` are those attached now: when an object had to be made anew they are joined to it again.
        """

    @abstractmethod
    def activate(self, network: Network) -> None:
        """Open the ways that may be open only once the firewall's rules stand."""

    @abstractmethod
    def teardown(self, network: Network) -> None:
        """Remove the network's own kernel objects."""

    @abstractmethod
    def attach(self, network: Network, endpoint: Endpoint, netns: Path) -> None:
        """Join the namespace at ``netns`` to the network as ``endpoint`` says."""

    @abstractmethod
    def detach(self, endpoint: Endpoint) -> Detached:
        """Cut the endpoint off its network: on return its address may be another's."""
