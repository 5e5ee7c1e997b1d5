"""resolv.conf of a container, from the host's (docker's rules; resolv.conf(5)).

Owns the transformation, pure but for ``host_text``. On the default bridge and without a network a container cannot
reach a resolver on the host's loopback, so such servers are left out.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from pathlib import Path

HOST_FILE = Path("/etc/resolv.conf")
RESOLVED_FILE = Path("/run/systemd/resolve/resolv.conf")
"""Where systemd-resolved lists its real upstream servers."""

RESOLVED_STUB = "127.0.0.53"
FALLBACK_SERVERS = ("8.8.8.8", "8.8.4.4")
"""What docker uses when no usable server is left."""


def host_text(host_file: Path = HOST_FILE, resolved_file: Path = RESOLVED_FILE) -> str:
    """The host's resolv.conf as containers should see it; empty when there is none.

    A host whose only server is systemd-resolved's stub has the real ones in another file.
    """
    text = _read(host_file)
    if servers(text) == [RESOLVED_STUB]:
        return _read(resolved_file) or text
    return text


def servers(text: str) -> list[str]:
    """The name servers of a resolv.conf, in order."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            found.append(words[1])
    return found


def for_container(
    text: str,
    *,
    dns: Sequence[str] = (),
    search: Sequence[str] = (),
    options: Sequence[str] = (),
) -> str:
    """resolv.conf of a container on the default bridge or without a network.

    ``dns``, ``search`` and ``options`` are the user's and replace the host's. Loopback and IPv6 servers of the host
    are left out (IPv6 is off inside); when none is left, docker's public ones stand in. A search domain ``.`` means
    none.
    """
    kept = _replaced(text, _reachable, dns, search, options)
    if servers(kept):
        return kept
    return kept + "".join(f"nameserver {server}\n" for server in FALLBACK_SERVERS)


def for_host_mode(
    *, dns: Sequence[str] = (), search: Sequence[str] = (), options: Sequence[str] = (), host_file: Path = HOST_FILE
) -> str:
    """resolv.conf of a container in the host's namespace: the host's own, whose loopback servers work there."""
    return _replaced(_read(host_file), lambda server: True, dns, search, options)


def _replaced(
    text: str, usable: Callable[[str], bool], dns: Sequence[str], search: Sequence[str], options: Sequence[str]
) -> str:
    """``text`` without the servers that are not ``usable``, and with the user's settings instead of its own."""
    kept = []
    for line in text.splitlines():
        word, *values = line.split() or [""]
        if word == "nameserver" and (dns or not values or not usable(values[0])):
            continue
        if (word in ("search", "domain") and search) or (word == "options" and options):
            continue
        kept.append(line)
    kept += [f"nameserver {server}" for server in dns]
    if search and list(search) != ["."]:
        kept.append(f"search {' '.join(search)}")
    if options:
        kept.append(f"options {' '.join(options)}")
    return "".join(f"{line}\n" for line in kept)


def _reachable(server: str) -> bool:
    try:
        return socket.inet_pton(socket.AF_INET, server)[0] != 127
    except OSError:
        return False


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="surrogateescape")
    except FileNotFoundError:
        return ""
