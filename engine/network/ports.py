"""Published ports: docker's ``-p`` forms, and the sockets that hold them.

Owns the grammar, its error messages, and binding. Which ports are free among containers is ``reservations``' business.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable

from engine.errors import Conflict, HostError, InvalidInput, Unsupported
from engine.firewall.model import ANY_ADDRESS, PortMap
from engine.values import dataclass

PROTOCOLS = ("tcp", "udp", "sctp")
IPPROTO_SCTP = 132

FORMS = "the forms are 80, 8080:80, 127.0.0.1:8080:80, 127.0.0.1::80, 8000-8002:80-82, each with /tcp or /udp"


@dataclass(frozen=True)
class PublishedPort:
    """One ``-p`` of one container port.

    ``host_ip`` is empty for every address of the host; ``host_port`` None lets the engine choose. With
    ``host_port_end`` it chooses between the two, both included.
    """

    host_ip: str
    host_port: int | None
    container_port: int
    protocol: str
    host_port_end: int | None = None

    @property
    def bind_address(self) -> str:
        """The IPv4 address to bind and to match."""
        return self.host_ip or ANY_ADDRESS

    @property
    def container(self) -> str:
        """docker's name of the container port, ``80/tcp``."""
        return f"{self.container_port}/{self.protocol}"


def parse_publish(text: str) -> tuple[PublishedPort, ...]:
    """The ports a ``-p`` argument publishes; InvalidInput in docker's words, Unsupported for IPv6 addresses."""
    address, host, container = _split(text)
    container, slash, protocol = container.partition("/")
    protocol = protocol.lower() if slash else "tcp"
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    if not container:
        raise _invalid(f"no port specified: {text}<empty>")
    if protocol not in PROTOCOLS:
        raise _invalid(f"invalid proto: {protocol}")
    _check_address(text, address)
    first, last = _range(container, f"invalid containerPort: {container}")
    if first == 0:
        raise _invalid(f"invalid containerPort: {container}")
    if not host:
        return tuple(PublishedPort(address, None, port, protocol) for port in range(first, last + 1))
    host_first, host_last = _range(host, f"invalid hostPort: {host}")
    if last - first == host_last - host_first:
        return tuple(
            PublishedPort(address, (host_first + offset) or None, first + offset, protocol)
            for offset in range(last - first + 1)
        )
    if first != last:
        raise _invalid(f"invalid ranges specified for container and host Ports: {container} and {host}")
    return (PublishedPort(address, host_first or None, first, protocol, host_last),)


def parse_expose(text: str) -> tuple[str, ...]:
    """The ports an ``--expose`` argument (or EXPOSE word) declares, as ``80/tcp``."""
    ports, slash, protocol = text.partition("/")
    protocol = protocol.lower() if slash else "tcp"
    if protocol not in PROTOCOLS:
        raise _invalid(f"invalid proto: {protocol}")
    first, last = _range(ports, f"invalid range format for --expose: {text}")
    return tuple(f"{port}/{protocol}" for port in range(first, last + 1))


def overlap(left: str, right: str) -> bool:
    """True when two IPv4 bind addresses cannot hold one port at once."""
    return left == right or ANY_ADDRESS in (left, right)


def bind(port: PortMap) -> socket.socket:
    """A socket that holds the host's side of ``port``: bound, not listening, so only the kernel's rules answer there.

    Without SO_REUSEADDR nothing else can take the port. Conflict when it is taken, HostError when the address is not
    the host's.
    """
    kind, number = {
        "tcp": (socket.SOCK_STREAM, socket.IPPROTO_TCP),
        "udp": (socket.SOCK_DGRAM, socket.IPPROTO_UDP),
        "sctp": (socket.SOCK_STREAM, IPPROTO_SCTP),
    }[port.protocol]
    place = f"{port.host_ip}:{port.host_port}"
    step = f"failed to bind host port {place}/{port.protocol}"
    try:
        holder = socket.socket(socket.AF_INET, kind | socket.SOCK_CLOEXEC, number)
    except OSError as error:
        raise HostError(step, error.strerror, remedy=f"see that the kernel has {port.protocol}") from error
    try:
        holder.bind((port.host_ip, port.host_port))
    except OSError as error:
        holder.close()
        if error.errno == errno.EADDRINUSE:
            raise Conflict(
                f"{step}: listen {port.protocol}4 {place}: bind: address already in use",
                remedy=f"see who has it (ss -ln{port.protocol[0]}p 'sport = {port.host_port}') or publish another port",
            ) from error
        raise HostError(
            step, os.strerror(error.errno or 0).lower(), remedy="publish on an address this host has (ip addr)"
        ) from error
    return holder


def ports_json(ports: Iterable[PortMap], exposed: Iterable[str]) -> dict[str, list[dict[str, str]] | None]:
    """docker's NetworkSettings.Ports: published ports with their bindings, merely exposed ones with null."""
    found: dict[str, list[dict[str, str]] | None] = dict.fromkeys(exposed)
    for port in ports:
        name = f"{port.container_port}/{port.protocol}"
        found[name] = [*(found.get(name) or ()), {"HostIp": port.host_ip, "HostPort": str(port.host_port)}]
    return dict(sorted(found.items(), key=_port_order))


def bindings_json(published: Iterable[PublishedPort]) -> dict[str, list[dict[str, str]]]:
    """docker's HostConfig.PortBindings: the request as it was made."""
    found: dict[str, list[dict[str, str]]] = {}
    for port in published:
        text = "" if port.host_port is None else str(port.host_port)
        if port.host_port_end is not None:
            text += f"-{port.host_port_end}"
        found.setdefault(port.container, []).append({"HostIp": port.host_ip, "HostPort": text})
    return found


def _port_order(item: tuple[str, object]) -> tuple[int, str]:
    number, _, protocol = item[0].partition("/")
    return int(number), protocol


def _split(text: str) -> tuple[str, str, str]:
    """Address, host port, container port of ``[[IP:][HOST]:]CONTAINER``; an IPv6 address keeps its brackets."""
    rest, colon, container = text.rpartition(":")
    if not colon:
        return "", "", text
    address, colon, host = rest.rpartition(":")
    if not colon:
        # One colon: HOST:CONTAINER.
        return "", rest, container
    return address, host, container


def _check_address(text: str, address: str) -> None:
    if not address:
        return
    try:
        socket.inet_pton(socket.AF_INET, address)
        return
    except OSError:
        pass
    try:
        socket.inet_pton(socket.AF_INET6, address)
    except OSError:
        raise _invalid(f"invalid IP address: {address}") from None
    raise Unsupported(
        f"publishing on the IPv6 address {address} ({text}) is not supported",
        remedy="published ports are the kernel's work on IPv4; leave the address out or give an IPv4 one",
    )


def _range(text: str, message: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    numbers = []
    for word in (first, last) if dash else (first,):
        if not (word.isascii() and word.isdigit()) or int(word) > 65535:
            raise _invalid(message)
        numbers.append(int(word))
    if numbers[-1] < numbers[0]:
        raise _invalid(message)
    return numbers[0], numbers[-1]


def _invalid(message: str) -> InvalidInput:
    return InvalidInput(message, remedy=FORMS)
