"""/etc/hosts, /etc/hostname and /etc/resolv.conf of a container: written into its directory, bound over the image's.

Owns which content a network mode calls for. The contents themselves are the network package's pure functions.
"""

from __future__ import annotations

import os
from pathlib import Path

from engine.containers.config import ContainerConfig
from engine.network import hosts, resolv
from engine.network.model import Sandbox

TARGETS = {"/etc/resolv.conf": "resolv.conf", "/etc/hostname": "hostname", "/etc/hosts": "hosts"}


def write(directory: Path, config: ContainerConfig, hostname: str, sandbox: Sandbox) -> dict[str, Path]:
    """Write the three files for a container in ``sandbox``; target inside to file on the host.

    They are written in place: a running container that shares them (``container:ID``) has the same inodes bound.
    """
    gateway = next((endpoint.gateway for endpoint in sandbox.endpoints if endpoint.gateway), "")
    addresses = [endpoint.address for endpoint in sandbox.endpoints if endpoint.address]
    if sandbox.netns is None:
        names = hosts.for_host_mode(extra=config.extra_hosts)
        resolver = resolv.for_host_mode(dns=config.dns, search=config.dns_search, options=config.dns_options)
    else:
        names = hosts.for_container(
            hostname, addresses, domainname=config.domainname, extra=config.extra_hosts, gateway=gateway
        )
        resolver = resolv.for_container(
            resolv.host_text(), dns=config.dns, search=config.dns_search, options=config.dns_options
        )
    contents = {"resolv.conf": resolver, "hostname": hosts.hostname_file(hostname), "hosts": names}
    directory.mkdir(parents=True, exist_ok=True, mode=0o710)
    for name, content in contents.items():
        _write(directory / name, content)
    return {target: directory / name for target, name in TARGETS.items()}


def shared(directory: Path) -> dict[str, Path]:
    """The files of the container whose network is joined, as docker shares them."""
    return {target: directory / name for target, name in TARGETS.items()}


def _write(path: Path, content: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "w", errors="surrogateescape") as file:
        file.write(content)
