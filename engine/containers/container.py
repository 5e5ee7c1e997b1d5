"""One container as callers hold it: docker-py's ``Container`` over the engine's services.

Owns no behaviour: each method hands over to the service that does. The object remembers the id; everything that can
change is read when asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engine.containers.config import ContainerConfig
from engine.containers.record import Record, locked
from engine.errors import EngineError

if TYPE_CHECKING:
    from engine.containers.attach import Attachment, Streams
    from engine.containers.exec import ExecResult
    from engine.containers.logs import LogLine
    from engine.containers.summary import ContainerSummary
    from engine.engine import Engine
    from engine.images.records import Image


class ContainerFailed(EngineError):
    """A foreground ``run`` ended with another exit code than 0; ``output`` is what it wrote to stderr."""

    def __init__(self, name: str, exit_code: int, output: bytes) -> None:
        words = output.decode(errors="replace").strip()
        super().__init__(f"container {name} ended with exit code {exit_code}" + (f": {words}" if words else ""))
        self.exit_code = exit_code
        self.output = output


class Container:
    """A handle on one container."""

    def __init__(self, engine: Engine, record: Record, row: ContainerSummary | None = None) -> None:
        self._engine = engine
        self._record = record
        self._row = row

    def __repr__(self) -> str:
        return f"<Container {self.short_id} {self.name}>"

    @property
    def id(self) -> str:
        """64 hex digits."""
        return self._record.id

    @property
    def short_id(self) -> str:
        """The 12 digits people see."""
        return self._record.short_id

    @property
    def name(self) -> str:
        """Its name, without docker's slash."""
        return self._record.name

    @property
    def config(self) -> ContainerConfig:
        """What it was asked to be."""
        return self._record.config

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels, the image's included."""
        return self._record.config.labels

    @property
    def status(self) -> str:
        """created, running, paused, restarting, exited, removing or dead, as it is now."""
        return self.summary.state

    @property
    def exit_code(self) -> int:
        """The exit code of its last run, as it is now."""
        return self.summary.exit_code

    @property
    def summary(self) -> ContainerSummary:
        """One row of ``ps``, as it is now (as it was for the first look after ``list``)."""
        from engine.containers import summary

        row, self._row = self._row, None
        return row or summary.one(self._engine, self._engine.containers.records.need(self.id))

    @property
    def attrs(self) -> dict[str, Any]:
        """docker's inspect JSON."""
        from engine.containers import inspection

        return inspection.container_json(self._engine, self._engine.containers.records.need(self.id))

    def reload(self) -> None:
        """Read the row again."""
        self._record = self._engine.containers.records.need(self.id)
        self._row = None

    def start(self, *, attended: bool = False) -> None:
        """Start it; see ``Lifecycle.start``."""
        self._engine.containers.lifecycle.start(self.id, attended=attended)

    def stop(self, timeout: int | None = None, signal: str = "") -> None:
        """Stop it: stop signal, ``timeout`` seconds (its own, or 10), SIGKILL."""
        self._engine.containers.lifecycle.stop(self.id, timeout, signal)

    def restart(self, timeout: int | None = None) -> None:
        """Stop and start it; address and network namespace stay."""
        self._engine.containers.lifecycle.restart(self.id, timeout)

    def kill(self, signal: str = "SIGKILL") -> None:
        """Send it a signal."""
        self._engine.containers.lifecycle.kill(self.id, signal)

    def pause(self) -> None:
        """Freeze its processes."""
        self._engine.containers.lifecycle.pause(self.id)

    def unpause(self) -> None:
        """Let its processes go on."""
        self._engine.containers.lifecycle.unpause(self.id)

    def wait(self) -> int:
        """Wait until it does not run; the exit code."""
        return self._engine.containers.lifecycle.wait(self.id)

    def remove(self, force: bool = False, v: bool = False) -> None:
        """Remove it, with ``v`` its anonymous volumes too, with ``force`` even while it runs."""
        self._engine.containers.removal.remove(self.id, force=force, volumes=v)

    def logs(
        self,
        *,
        stdout: bool = True,
        stderr: bool = True,
        tail: int | None = None,
        follow: bool = False,
        since: float | None = None,
        until: float | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> Iterator[LogLine]:
        """What it wrote, line by line, from the log file; ``follow`` goes on until it ends. See ``logs.read``."""
        from engine.containers import logs

        return logs.read(
            self._engine,
            self._engine.containers.records.need(self.id),
            logs.Selection(stdout, stderr, tail, since, until),
            follow=follow,
            stop=stop,
        )

    def exec(self, command: Sequence[str], **settings: Any) -> ExecResult:
        """Run a command in it; see ``exec.run`` for the settings."""
        from engine.containers import exec

        return exec.run(self._engine, self.refreshed(), exec.ExecConfig.of(command, **settings))

    exec_run = exec

    def attach(
        self, streams: Streams, *, start: bool = False, sig_proxy: bool = True, detach_keys: str | None = None
    ) -> int | None:
        """Join the container's streams until it ends (its exit code) or the operator detaches (None).

        ``start`` starts it first, so that nothing it writes is missed.
        """
        from engine.containers import attach

        return attach.foreground(
            self._engine, self.id, streams, start=start, sig_proxy=sig_proxy, detach_keys=detach_keys
        )

    def attachment(self) -> Attachment:
        """The raw connection to its streams."""
        from engine.containers import attach

        return attach.connect(self._engine, self.refreshed())

    def resize(self, rows: int, columns: int) -> None:
        """Tell its terminal the window's size; nothing happens when it has none."""
        from engine.containers.conmon import resize
        from engine.containers.record import Places

        resize(Places.of(self._engine.config, self.id).bundle, rows, columns)

    def commit(
        self,
        repository: str | None = None,
        tag: str | None = None,
        *,
        message: str = "",
        author: str = "",
        changes: Sequence[str] = (),
        pause: bool = True,
    ) -> Image:
        """An image of its file system as it is now; see ``commit.commit``."""
        from engine.containers import commit

        name = f"{repository}:{tag}" if repository and tag else repository
        return commit.commit(
            self._engine, self.id, name=name, message=message, author=author, changes=changes, pause=pause
        )

    def collect(self) -> bytes:
        """Wait for its end, remove it if it was to be, and return its standard output; ContainerFailed if it failed."""
        lifecycle = self._engine.containers.lifecycle
        output: dict[str, list[bytes]] = {"stdout": [], "stderr": []}
        try:
            for line in self.logs(follow=True):
                output[line.stream].append(line.text)
            code = lifecycle.finish(self.id)
        finally:
            self._engine.containers.unattend(self._record)
        if code != 0:
            raise ContainerFailed(self.name, code, b"".join(output["stderr"]))
        return b"".join(output["stdout"])

    def refreshed(self) -> Record:
        """The row in line with its process."""
        from engine.containers import exits

        with locked(self._engine, self.id):
            record = exits.settle(self._engine, self._engine.containers.records.need(self.id))
        return record or self._engine.containers.records.need(self.id)
