"""``demo``: builds a small web service and runs it with a published port.

Owns the steps and what is said about them. Running it again changes nothing that is right already.
"""

from __future__ import annotations

import http.client
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import tui
from engine.errors import Conflict, EngineError, NotFound
from tui.command_line.grammar import PROGRAM, Command
from tui.command_line.session import Session
from tui.command_line.verbs.build import build_image

if TYPE_CHECKING:
    from engine.containers.container import Container

NAME = "pilothouse-demo"
LABEL = "pilothouse.demo"
HOST_PORT = 17000
CONTAINER_PORT = 27017
ANSWER_LIMIT_S = 5.0


def demo(command: Command, session: Session) -> int:
    """Build, run, check that it answers, say how to reach it and how to remove it."""
    container = _existing(session)
    if container is not None and container.status == "running":
        session.line(f"The demo is running already, as container {NAME}.")
    else:
        build_image(session, Path(tui.__path__[0]) / "demo", tags=(NAME,))
        if container is None:
            container = session.containers.create(
                NAME, name=NAME, ports=[f"{HOST_PORT}:{CONTAINER_PORT}"], labels={LABEL: "true"}
            )
            fresh = True
        else:
            fresh = False
        _start(container, fresh=fresh)
        session.line(f"The demo runs as container {NAME}, built from {Path(tui.__path__[0]) / 'demo' / 'Dockerfile'}.")
    answer = _answer()
    if answer:
        session.line()
        session.lines(f"    {line}".rstrip() for line in answer.splitlines())
    session.line()
    session.lines(_directions())
    if not answer:
        session.note(f"{PROGRAM}: it has not answered yet; see what it says: {PROGRAM} logs {NAME}")
        return 1
    return 0


def _existing(session: Session) -> Container | None:
    try:
        container = session.containers.get(NAME)
    except NotFound:
        return None
    if LABEL not in container.summary.labels:
        raise Conflict(
            f'the name "{NAME}" is in use by a container that is not the demo ({container.id[:12]})',
            remedy=f"rename or remove it: {PROGRAM} rm -f {NAME}",
        )
    return container


def _start(container: Container, *, fresh: bool) -> None:
    try:
        container.start()
    except EngineError as error:
        if fresh:
            container.remove(force=True)
        if isinstance(error, Conflict) or "address already in use" in str(error):
            raise Conflict(
                str(error),
                remedy=f"see who has the port: ss -ltnp 'sport = :{HOST_PORT}'\n"
                f"or publish the demo on another one: {PROGRAM} run -d --name {NAME} --label {LABEL}=true "
                f"-p {HOST_PORT + 1}:{CONTAINER_PORT} {NAME}",
            ) from error
        raise


def _directions() -> list[str]:
    address = _host_address()
    lines = [f"  from this host       curl http://127.0.0.1:{HOST_PORT}/"]
    if address:
        lines.append(f"  from anywhere else   curl http://{address}:{HOST_PORT}/")
    lines += [
        f"  its log              {PROGRAM} logs {NAME}",
        f"  to remove it         {PROGRAM} rm -f {NAME} && {PROGRAM} rmi {NAME}",
    ]
    return lines


def _host_address() -> str:
    """The address this host would use towards the outside; no packet is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            address = str(probe.getsockname()[0])
        except OSError:
            return ""
    return "" if address.startswith("127.") else address


def _answer() -> str:
    """What the demo says on its published port, empty when it does not answer within a few seconds."""
    deadline = time.monotonic() + ANSWER_LIMIT_S
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", HOST_PORT, timeout=1)
        try:
            connection.request("GET", "/")
            response = connection.getresponse()
            if response.status == 200:
                return response.read(4096).decode(errors="replace").rstrip()
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(0.05)
    return ""
