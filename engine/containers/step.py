"""One command in a half-built root file system: what a Dockerfile's RUN executes.

Owns the short life of such a process: the same sandbox as a container's, but no monitor, no row and no log; its
output goes to the caller as it comes. A journal entry remembers it, so that a crash of the builder leaves neither the
process nor its network behind.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engine.containers import accounts, seccomp, spec, stubs, surroundings
from engine.containers.config import ContainerConfig
from engine.containers.files import write
from engine.containers.runtime import Runtime
from engine.containers.spec import Surroundings
from engine.errors import Cancelled, EngineError, HostError, TeardownError
from engine.host import cgroups

if TYPE_CHECKING:
    from engine.engine import Engine

OPERATION = "container.step"
LOCK = "step"
HOSTNAME = "buildstep"
CANCEL_POLL_MS = 100
FIRST_WORDS_MS = 20
_CHUNK = 65536


def register_recovery(engine: Engine) -> None:
    """Clean up after steps whose builder died."""
    engine.journal.register(OPERATION, lambda intent: _clear(engine, str(intent["id"])))


def run_step(
    engine: Engine,
    *,
    rootfs: Path,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    working_dir: str = "/",
    user: str = "",
    network: str = "bridge",
    output: Callable[[bytes], None] = lambda _: None,
    cancel: threading.Event | None = None,
) -> int:
    """Run ``arguments`` in ``rootfs`` to the end; its exit code, 128 + n after signal n.

    ``output`` gets stdout and stderr as they come, in one stream. ``network`` is bridge, host or none. Raises
    CommandNotFound, CommandNotExecutable, HostError; Cancelled when ``cancel`` was set (the process is killed first).
    Everything the sandbox needed is gone when it returns, mount points made in ``rootfs`` included.
    """
    id = os.urandom(32).hex()
    config = ContainerConfig(
        image="",
        command=tuple(arguments),
        environment=tuple(f"{name}={value}" for name, value in environment.items()),
        working_dir=working_dir,
        user=user,
        hostname=HOSTNAME,
        network_mode=network,
    )
    with engine.locks.hold(LOCK, id):
        entry = engine.journal.open(OPERATION, LOCK, id, {"id": id})
        made = stubs.Stubs(rootfs)
        try:
            code = _run(engine, id, config, rootfs, made, output, cancel)
        finally:
            # A clearing that fails leaves the entry: the next engine tries again.
            _leave(engine, id, made)
            engine.journal.close(entry)
            engine.locks.forget(LOCK, id)
        return code


def _run(
    engine: Engine,
    id: str,
    config: ContainerConfig,
    rootfs: Path,
    made: stubs.Stubs,
    output: Callable[[bytes], None],
    cancel: threading.Event | None,
) -> int:
    runtime = Runtime(engine.config)
    bundle = engine.config.run_dir / "containers" / id
    bundle.mkdir(parents=True, mode=0o700)
    sandbox = engine.networks.prepare(id, mode=config.network_mode, name=f"step-{id[:12]}")
    sandbox.close()
    files = write(bundle, config, HOSTNAME, sandbox)
    del files["/etc/hostname"]
    made.make(stubs.DIRECTORIES, files)
    filters = seccomp.Filters(engine.config.run_dir / "seccomp")
    filter = filters.prepare(surroundings.seccomp_filter(config), runtime.path, cached=runtime.is_crun)
    plan = spec.plan(
        config,
        Surroundings(
            rootfs=rootfs,
            cgroup=f"{engine.config.cgroup_parent}/{id}",
            account=accounts.lookup(rootfs, config.user),
            hostname=HOSTNAME,
            netns=sandbox.netns,
            files=files,
            bounding=surroundings.bounding_set(),
            seccomp=filter.document,
            annotations=filter.annotations,
            private_cgroup=cgroups.layout().kind == "v2",
        ),
    )
    (bundle / "config.json").write_text(json.dumps(plan.document))
    code, words = _execute(runtime, id, bundle, runtime.state_directory(id), (filters, filter.key), output, cancel)
    if code == 0 or not words:
        return code
    raise runtime.error(words, config.arguments, "running a build step")


def _execute(
    runtime: Runtime,
    id: str,
    bundle: Path,
    state: Path,
    keep: tuple[seccomp.Filters, str],
    output: Callable[[bytes], None],
    cancel: threading.Event | None,
) -> tuple[int, str]:
    """(exit code, the runtime's own words when it was the runtime that failed)."""
    # The runtime's complaints go to a file of their own, so that they are never taken for the command's output.
    log = bundle / "runtime.log"
    try:
        process = subprocess.Popen(
            [str(runtime.path), "--log", str(log), *runtime.options(), "run", "--bundle", str(bundle), id],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd="/",
        )
    except OSError as error:
        raise HostError("running a build step", error.strerror) from error
    assert process.stdout is not None
    filters, key = keep
    # The runtime says why it failed on the same stream; whether the first words are its own shows a moment later.
    held: bytes | None = None
    first = True
    with process.stdout as stream:
        poller = select.poll()
        poller.register(stream.fileno(), select.POLLIN | select.POLLHUP)
        while True:
            patience = FIRST_WORDS_MS if held is not None else CANCEL_POLL_MS if cancel is not None else None
            part = os.read(stream.fileno(), _CHUNK) if poller.poll(patience) else None
            if cancel is not None and cancel.is_set():
                _kill(runtime, id, process)
                raise Cancelled("the build step was cancelled")
            if part == b"":
                break
            if first and part is not None:
                filters.keep(key, state / "seccomp.bpf")
                held, first = part, False
                continue
            if held is not None:
                output(held)
                held = None
            if part:
                output(part)
        code = process.wait()
    words = ""
    if code != 0 and log.exists():
        words = log.read_text(errors="replace")
    if held is not None and not words:
        output(held)
    return code if code >= 0 else 128 - code, words


def _kill(runtime: Runtime, id: str, process: subprocess.Popen[bytes]) -> None:
    runtime.deleted(id, runtime.delete(id))
    process.kill()
    process.wait()


def _leave(engine: Engine, id: str, made: stubs.Stubs) -> None:
    try:
        _clear(engine, id)
    finally:
        made.clear()


def _clear(engine: Engine, id: str) -> None:
    """Remove the step's process, cgroup, network and bundle; every step of it is tried."""
    errors: list[EngineError] = []
    runtime = Runtime(engine.config)

    def attempt(action: Callable[[], object]) -> None:
        try:
            action()
        except EngineError as error:
            errors.append(error)

    attempt(lambda: runtime.deleted(id, runtime.delete(id)))
    attempt(lambda: engine.networks.release(id))
    group = f"{engine.config.cgroup_parent}/{id}"
    if cgroups.exists(group):
        attempt(lambda: cgroups.kill(group))
        attempt(lambda: cgroups.remove(group))
    shutil.rmtree(engine.config.run_dir / "containers" / id, ignore_errors=True)
    # The network's services lock the step as they lock a container.
    with engine.locks.hold("container", id):
        engine.locks.forget("container", id)
    if errors:
        raise TeardownError(f"build step {id[:12]}", errors)
