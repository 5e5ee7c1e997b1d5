"""Services and questions on the wire: who answers at an address, and whom the answerer sees asking.

Owns plain TCP and UDP sockets opened in a chosen namespace (a path, or None for the host). A reply is
``NAME ASKER-ADDRESS``, so that one question tells both which container answered and what NAT did to the source.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from engine.host import netns

PATIENCE_S = 5.0
T = TypeVar("T")

KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


def at(place: Path | None, function: Callable[[], T]) -> T:
    """Run ``function`` in the namespace at ``place``, or here."""
    return function() if place is None else netns.enter(place, function)


def ask(place: Path | None, protocol: str, address: str, port: int) -> str:
    """What is answered at ``address:port`` when asked from ``place``; an OSError when nobody does."""

    def inside() -> str:
        with socket.socket(socket.AF_INET, KINDS[protocol]) as client:
            client.settimeout(PATIENCE_S)
            client.connect((address, port))
            client.sendall(b"?")
            return client.recv(100).decode()

    return at(place, inside)


@contextlib.contextmanager
def service(place: Path | None, protocol: str, port: int, name: str, address: str = "0.0.0.0") -> Iterator[None]:
    """A service that lives in ``place`` for the length of the block."""

    def open_socket() -> socket.socket:
        server = socket.socket(socket.AF_INET, KINDS[protocol])
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, port))
        if protocol == "tcp":
            server.listen()
        return server

    server = at(place, open_socket)
    thread = threading.Thread(target=_serve, args=(server, protocol, name), daemon=True)
    thread.start()
    try:
        yield
    finally:
        # shutdown wakes the thread that waits in accept or recvfrom; close alone would not.
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


def run(*command: str, place: Path | None = None) -> str:
    """A command's output; it must succeed."""
    prefix = [] if place is None else ["nsenter", f"--net={place}", "--"]
    return subprocess.run([*prefix, *command], check=True, capture_output=True, text=True).stdout


def _serve(server: socket.socket, protocol: str, name: str) -> None:
    with contextlib.suppress(OSError):
        while True:
            if protocol == "udp":
                _, asker = server.recvfrom(100)
                if not asker:
                    return
                server.sendto(f"{name} {asker[0]}".encode(), asker)
                continue
            connection, asker = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(f"{name} {asker[0]}".encode())
