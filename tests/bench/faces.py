"""The two ways into the engine that are measured, behind one vocabulary.

Owns turning an operation into an engine call or a command. Times nothing.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from engine.config import DATA_ROOT_ENV, RUN_DIR_ENV, Config
from tui.command_line.session import PARALLEL

if TYPE_CHECKING:
    from engine.engine import Engine

IMAGE = "busybox:latest"
SLEEP = ("sleep", "1000")


class Face(Protocol):
    """What is measured; containers are named by id, and every operation returns when docker's would."""

    name: str

    def prepare(self) -> None: ...
    def run_detached(
        self, *, port: int | None = None, command: Sequence[str] = SLEEP, binds: Sequence[str] = ()
    ) -> str: ...
    def run_removed(self, network: str) -> None: ...
    def create(self) -> str: ...
    def execute(self, container: str, *command: str) -> None: ...
    def pause(self, container: str) -> None: ...
    def unpause(self, container: str) -> None: ...
    def stop(self, container: str) -> None: ...
    def remove(self, containers: Sequence[str]) -> None: ...
    def list_all(self) -> None: ...
    def commit(self, container: str, name: str) -> None: ...
    def remove_image(self, name: str) -> None: ...
    def build(self, context: Path, *, cached: bool) -> None: ...


class Cli:
    """Whole ``pilothouse`` commands."""

    name = "CLI"

    def __init__(self, config: Config) -> None:
        self._program = str(Path(sys.executable).with_name("pilothouse"))
        self._environment = {
            **os.environ,
            DATA_ROOT_ENV: str(config.data_root),
            RUN_DIR_ENV: str(config.run_dir),
        }

    def _run(self, *arguments: str) -> str:
        result = subprocess.run(
            [self._program, *arguments],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode:
            raise RuntimeError(f"pilothouse {' '.join(arguments)}: exit code {result.returncode}\n{result.stderr}")
        return result.stdout.strip()

    def prepare(self) -> None:
        self._run("run", "--rm", IMAGE, "true")

    def run_detached(
        self, *, port: int | None = None, command: Sequence[str] = SLEEP, binds: Sequence[str] = ()
    ) -> str:
        publish = () if port is None else ("-p", f"{port}:80")
        volumes = [word for bind in binds for word in ("-v", bind)]
        return self._run("run", "-d", *publish, *volumes, IMAGE, *command)

    def run_removed(self, network: str) -> None:
        self._run("run", "--rm", "--network", network, IMAGE, "true")

    def create(self) -> str:
        return self._run("create", IMAGE, "true")

    def execute(self, container: str, *command: str) -> None:
        self._run("exec", container, *command)

    def pause(self, container: str) -> None:
        self._run("pause", container)

    def unpause(self, container: str) -> None:
        self._run("unpause", container)

    def stop(self, container: str) -> None:
        self._run("stop", "-t", "0", container)

    def remove(self, containers: Sequence[str]) -> None:
        self._run("rm", "-f", *containers)

    def list_all(self) -> None:
        self._run("ps", "-a")

    def commit(self, container: str, name: str) -> None:
        self._run("commit", container, name)

    def remove_image(self, name: str) -> None:
        self._run("rmi", name)

    def build(self, context: Path, *, cached: bool) -> None:
        self._run("build", *(() if cached else ("--no-cache",)), "-t", "bench/app", str(context))


class InProcess:
    """Calls of one long-lived engine, as the console makes them."""

    name = "in-process"

    def __init__(self, config: Config) -> None:
        from engine.engine import Engine

        self._engine: Engine = Engine(config)

    def prepare(self) -> None:
        self._engine.images.ensure_busybox()
        self.run_removed("bridge")

    def run_detached(
        self, *, port: int | None = None, command: Sequence[str] = SLEEP, binds: Sequence[str] = ()
    ) -> str:
        ports = [] if port is None else [f"{port}:80"]
        container = self._engine.containers.run(IMAGE, list(command), detach=True, ports=ports, binds=list(binds))
        assert not isinstance(container, bytes)
        return container.id

    def run_removed(self, network: str) -> None:
        self._engine.containers.run(IMAGE, ["true"], auto_remove=True, network_mode=network)

    def create(self) -> str:
        return self._engine.containers.create(IMAGE, ["true"]).id

    def execute(self, container: str, *command: str) -> None:
        self._engine.containers.get(container).exec_run(list(command))

    def pause(self, container: str) -> None:
        self._engine.containers.get(container).pause()

    def unpause(self, container: str) -> None:
        self._engine.containers.get(container).unpause()

    def stop(self, container: str) -> None:
        self._engine.containers.get(container).stop(timeout=0)

    def remove(self, containers: Sequence[str]) -> None:
        # Together, as the console and the command remove many.
        with ThreadPoolExecutor(PARALLEL) as pool:
            list(pool.map(lambda id: self._engine.containers.get(id).remove(force=True), containers))

    def list_all(self) -> None:
        self._engine.containers.summaries(all=True)

    def commit(self, container: str, name: str) -> None:
        self._engine.containers.get(container).commit(*name.split(":"))

    def remove_image(self, name: str) -> None:
        self._engine.images.remove(name)

    def build(self, context: Path, *, cached: bool) -> None:
        self._engine.builder.build(context, tags=["bench/app"], no_cache=not cached)
