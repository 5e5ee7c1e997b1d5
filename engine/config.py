"""Where one engine keeps its state and which parts of the host it uses.

Owns the frozen ``Config`` and the environment variables behind it. Never touches the host: a ``Config`` can be made,
compared and passed to a child process without any effect.
"""

from __future__ import annotations

import os
from pathlib import Path

from engine.values import dataclass, field, replace

DATA_ROOT_ENV = "PILOTHOUSE_DATA_ROOT"
RUN_DIR_ENV = "PILOTHOUSE_RUN_DIR"
FIREWALL_ENV = "PILOTHOUSE_FIREWALL"
STORAGE_ENV = "PILOTHOUSE_STORAGE_DRIVER"
CGROUP_ENV = "PILOTHOUSE_CGROUP_PARENT"


@dataclass(frozen=True)
class Config:
    """Settings of one engine; every field has the default of a normal installation.

    ``firewall`` is ``auto`` (what ``iptables -V`` names), ``nft`` or ``legacy``. ``storage_driver`` is ``auto`` (a
    probe decides) or a driver's name. ``netns_dir`` is where ``ip netns`` looks.
    """

    data_root: Path = field(default_factory=lambda: Path("/var/lib/pilothouse"))
    run_dir: Path = field(default_factory=lambda: Path("/run/pilothouse"))
    netns_dir: Path = field(default_factory=lambda: Path("/run/netns"))
    runtime: str = "crun"
    conmon: str = "conmon"
    firewall: str = "auto"
    storage_driver: str = "auto"
    bridge: str = "docker0"
    bridge_subnet: str = "172.17.0.0/16"
    chain_prefix: str = "DOCKER"
    cgroup_parent: str = "/pilothouse"

    @classmethod
    def from_environment(
        cls,
        *,
        data_root: str | os.PathLike[str] | None = None,
        run_dir: str | os.PathLike[str] | None = None,
    ) -> Config:
        """The configuration the environment asks for; explicit arguments win over variables."""
        config = cls()
        chosen_root = data_root or os.environ.get(DATA_ROOT_ENV)
        chosen_run = run_dir or os.environ.get(RUN_DIR_ENV)
        if chosen_root:
            config = replace(config, data_root=Path(chosen_root).absolute())
        if chosen_run:
            config = replace(config, run_dir=Path(chosen_run).absolute())
        if os.environ.get(FIREWALL_ENV):
            config = replace(config, firewall=os.environ[FIREWALL_ENV])
        if os.environ.get(STORAGE_ENV):
            config = replace(config, storage_driver=os.environ[STORAGE_ENV])
        if os.environ.get(CGROUP_ENV):
            config = replace(config, cgroup_parent=os.environ[CGROUP_ENV])
        return config
