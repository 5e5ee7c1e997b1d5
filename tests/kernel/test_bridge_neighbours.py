"""Containers of one bridge that reach each other through a published port of the host."""

from __future__ import annotations

import socket
import threading

import pytest

from engine.engine import Engine
from engine.host import netns, sysctl
from tests.conftest import Outside
from tests.kernel.sandboxing import sandboxes

pytestmark = pytest.mark.kernel


def test_the_answer_of_a_neighbours_published_port_is_translated_back(engine: Engine, outside: Outside) -> None:
    """On a host where nothing has switched on br_netfilter's rules yet, as after a boot."""
    sysctl.write("net", "bridge", "bridge-nf-call-iptables", value="0")
    with sandboxes(engine) as boxes:
        web, client = boxes.make("8080:80"), boxes.make()

        def serve() -> socket.socket:
            return socket.create_server((web.address, 80))

        def ask() -> str:
            with socket.create_connection((outside.host_address, 8080), timeout=3) as connection:
                return str(connection.recv(64), "ascii")

        with netns.enter(web.netns, serve) as listener:
            listener.settimeout(3)

            def answer() -> None:
                accepted, _ = listener.accept()
                with accepted:
                    accepted.sendall(b"hello")

            server = threading.Thread(target=answer)
            server.start()
            assert netns.enter(client.netns, ask) == "hello"
            server.join()
