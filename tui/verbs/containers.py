"""What the keys of the container list do: start, stop, commit, shell, logs, and the run form."""

from __future__ import annotations

import shlex
import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from tui import details
from tui.actions import BY_ID
from tui.feed import CONTAINERS, IMAGES, RULES, SYSTEM, TOPOLOGY, VOLUMES, ContainerRow
from tui.screens.text import LogsScreen, TextScreen

if TYPE_CHECKING:
    from engine.containers.container import Container
    from tui.app import Console
    from tui.jobs import Job
    from tui.screens.form import Values

AT_ONCE = 8  # containers a bulk verb deals with at the same time: a stop may wait ten seconds for each
_TOUCHED = (CONTAINERS, TOPOLOGY, RULES, SYSTEM)


def _targets(console: Console) -> list[ContainerRow]:
    """The containers a verb means: the marked ones, else the one under the cursor."""
    pane = console.main.pane
    rows = [item.value for item in pane.targets() if isinstance(item.value, ContainerRow)]
    if not rows:
        console.tell("note", "no container is selected")
    return rows


def _each(
    console: Console,
    action_id: str,
    doing: str,
    done: str,
    words: Sequence[str],
    act: Callable[[Container], Any],
    *,
    rows: Sequence[ContainerRow] | None = None,
    warning: str = "",
    already: tuple[str, ...] = (),
) -> None:
    """Do one verb to every target, after the confirmation the table asks for; each failure is told on its own.

    Containers in one of the states ``already`` are left alone, and the journal does not claim that they were touched.
    """
    chosen = list(_targets(console) if rows is None else rows)
    if not chosen:
        return
    names = [row.name for row in chosen]
    command = f"pilothouse {' '.join(words)} {shlex.join(names)}"
    what = names[0] if len(names) == 1 else f"{len(names)} containers"

    def work(job: Job) -> str:
        engine = console.engine()
        failures: list[tuple[str, Exception]] = []
        waiting = deque(chosen)
        ended: list[str] = []
        idle: list[tuple[str, str]] = []

        def take() -> None:
            while waiting and not job.cancel.is_set():
                try:
                    row = waiting.popleft()
                except IndexError:  # another thread took the last one
                    return
                try:
                    container = engine.containers.get(row.id)
                    if (state := container.status) in already:
                        idle.append((row.name, state))
                    else:
                        act(container)
                except Exception as error:
                    failures.append((row.name, error))
                ended.append(row.name)
                job.progress = f"{len(ended)} of {len(chosen)} done" if len(chosen) > 1 else ""

        threads = [threading.Thread(target=take, daemon=True) for _ in range(min(AT_ONCE, len(chosen)) - 1)]
        for thread in threads:
            thread.start()
        take()
        for thread in threads:
            thread.join()
        if waiting:
            return f"{doing} {what}: stopped after {len(ended)}"
        if failures and len(chosen) == 1:
            raise failures[0][1]
        if failures:
            name, first = failures[0]
            more = f" and {len(failures) - 1} more" if len(failures) > 1 else ""
            from engine.errors import EngineError

            raise EngineError(f"{len(failures)} of {len(chosen)} failed; {name}: {first}{more}")
        if idle and len(chosen) == 1:
            return f"nothing to do: {chosen[0].name} is {idle[0][1]}"
        if idle:
            return (
                f"{done} {len(chosen) - len(idle)} containers; nothing to do for {', '.join(name for name, _ in idle)}"
            )
        return f"{done} {what}"

    def go() -> None:
        console.main.pane.listing.set_marks(set())
        console.submit(f"{doing} {what}", work, command=command, sections=_TOUCHED, cancellable=len(chosen) > 1)

    console.ask(BY_ID[action_id], names, go, warning=warning)


def start(console: Console) -> None:
    _each(console, "container.start", "starting", "started", ["start"], lambda container: container.start(),
          already=("running",))  # fmt: skip


def stop(console: Console) -> None:
    _each(console, "container.stop", "stopping", "stopped", ["stop"], lambda container: container.stop(),
          already=("created", "exited", "dead"))  # fmt: skip


def restart(console: Console) -> None:
    _each(console, "container.restart", "restarting", "restarted", ["restart"], lambda container: container.restart())


def pause(console: Console) -> None:
    """Pause what runs, or, when all of the targets are paused, let them go on."""
    rows = _targets(console)
    if rows and all(row.state == "paused" for row in rows):
        _each(console, "container.pause", "unpausing", "unpaused", ["unpause"], lambda each: each.unpause(), rows=rows)
    elif rows:
        rows = [row for row in rows if row.state != "paused"]
        _each(console, "container.pause", "pausing", "paused", ["pause"], lambda each: each.pause(), rows=rows)


def kill(console: Console) -> None:
    _each(console, "container.kill", "killing", "killed", ["kill"], lambda container: container.kill())


def remove(console: Console) -> None:
    """Remove; what still runs is killed first, and the question says so."""
    rows = _targets(console)
    running = [row.name for row in rows if row.state in ("running", "paused", "restarting")]
    words = ["rm", "-f"] if running else ["rm"]
    warning = "the container and its writable layer are deleted"
    if running:
        warning = f"still running and will be killed: {', '.join(running[:5])}; the writable layer is deleted"
    _each(console, "container.remove", "removing", "removed", words,
          lambda container: container.remove(force=bool(running)), rows=rows, warning=warning)  # fmt: skip


def logs(console: Console) -> None:
    """The container's output, following, over the whole screen."""
    for row in _targets(console)[:1]:
        console.push_screen(LogsScreen(row.name, row.id))


def inspect(console: Console) -> None:
    """docker's JSON of it."""
    for row in _targets(console)[:1]:
        show_inspect(console, row.name, partial(_attributes, console, row.id), f"inspect {row.name}")


def _attributes(console: Console, id: str) -> Any:
    return console.engine().containers.get(id).attrs


def show_inspect(console: Console, name: str, read: Callable[[], Any], command: str) -> None:
    """Read a JSON object in a thread and show it."""

    def show(value: Any) -> None:
        console.push_screen(TextScreen(f"inspect {name}", details.structure(value), command=f"pilothouse {command}"))

    console.submit(f"inspecting {name}", lambda job: read(), command=f"pilothouse {command}", sections=(), then=show)


SHELL = "if command -v bash >/dev/null 2>&1; then exec bash; fi; exec sh"


def exec(console: Console) -> None:
    """A shell in it, on the operator's own terminal: bash where the image has it, else sh."""
    from tui.verbs import commands

    for row in _targets(console)[:1]:
        if row.state != "running":
            console.tell("warn", f"{row.name} is {row.state}: a shell needs it running")
            return
        words = ["exec", "-it", row.name, "/bin/sh", "-c", SHELL]
        commands.foreground(console, words, f"pilothouse exec -it {row.name} sh", title=f"shell in {row.name}")


def commit(console: Console) -> None:
    """An image of the container as it is now, named in a small form."""
    from engine.images.reference import parse
    from tui.screens.form import Field, FormScreen

    for row in _targets(console)[:1]:

        def words(values: Values, row: ContainerRow = row) -> list[str]:
            out = ["commit"]
            for name, flag in (("author", "-a"), ("message", "-m")):
                if values[name]:
                    out += [flag, values[name]]
            return [*out, row.name, *([values["name"]] if values["name"] else [])]

        def done(values: dict[str, str] | None, row: ContainerRow = row) -> None:
            if values is None:
                return

            def work(job: Job) -> str:
                image = console.engine().containers.get(row.id).commit(
                    values["name"] or None, message=values["message"], author=values["author"]
                )  # fmt: skip
                return f"committed {row.name} as {values['name'] or image.id.removeprefix('sha256:')[:12]}"

            console.submit(f"committing {row.name}", work, command=f"pilothouse {shlex.join(words(values))}",
                           sections=(IMAGES, *_TOUCHED))  # fmt: skip

        fields = [
            Field("name", "image name", "name:tag (empty: no name)", f"{row.name}:commit", parse),
            Field("message", "message", "what changed"),
            Field("author", "author", "name <address>"),
        ]
        console.push_screen(
            FormScreen(
                f"Commit {row.name} to an image", fields, lambda values: f"pilothouse {shlex.join(words(values))}"
            ),
            done,
        )


# the run form


def _several(check: Callable[[str], Any]) -> Callable[[str], None]:
    def every(text: str) -> None:
        for word in shlex.split(text):
            check(word)

    return every


def _network(text: str) -> None:
    from engine.errors import InvalidInput

    if text not in ("bridge", "host", "none", "default") and not text.removeprefix("container:"):
        raise InvalidInput("network: bridge, host, none or container:NAME")
    if text not in ("bridge", "host", "none", "default") and not text.startswith("container:"):
        raise InvalidInput(f"network {text}: bridge, host, none and container:NAME are possible")


def _variable(text: str) -> None:
    from engine.errors import InvalidInput

    if not text.partition("=")[0]:
        raise InvalidInput(f"invalid environment variable: {text}")


def run_words(values: Values) -> list[str]:
    """The command line that does what the run form says."""
    words = ["run", "-d"]
    if values["name"]:
        words += ["--name", values["name"]]
    for name, flag in (("ports", "-p"), ("env", "-e"), ("volumes", "-v")):
        for word in _split(values[name]):
            words += [flag, word]
    if values["network"] not in ("", "bridge"):
        words += ["--network", values["network"]]
    if values["restart"] not in ("", "no"):
        words += ["--restart", values["restart"]]
    return [*words, values["image"] or "IMAGE", *_split(values["command"])]


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return [text]


def _image_name(console: Console, image: str) -> str:
    """A container's image as one would type it: a name of it where the container was run by id."""
    bare = image.removeprefix("sha256:")
    if len(bare) < 12 or bare.strip("0123456789abcdef"):
        return image
    rows = [row for row in console.feed.snapshot.images if row.id.removeprefix("sha256:").startswith(bare)]
    return rows[0].names[0] if len(rows) == 1 and rows[0].names else bare[:12]


def run(console: Console) -> None:
    """A new container, from a small form checked by the engine's own parsers."""
    from engine.containers.mounts import parse_volume
    from engine.containers.names import validate
    from engine.containers.quantities import parse_restart
    from engine.images.reference import parse
    from engine.network.ports import parse_publish
    from tui.feed import ImageRow
    from tui.screens.form import Field, FormScreen

    pane = console.main.pane
    current = pane.current.value if pane.current is not None else None
    image = ""
    if isinstance(current, ImageRow):
        image = current.names[0] if current.names else current.id.removeprefix("sha256:")[:12]
    elif isinstance(current, ContainerRow):
        image = _image_name(console, current.image)
    fields = [
        Field("image", "image", "busybox", image, parse, required=True),
        Field("name", "name", "made up if empty", "", validate),
        Field("command", "command", "the image's own if empty", "", shlex.split),
        Field("ports", "ports", "8080:80 127.0.0.1:5353:53/udp", "", _several(parse_publish)),
        Field("env", "environment", "KEY=value OTHER='two words'", "", _several(_variable)),
        Field("volumes", "volumes", "data:/var/lib/data /srv:/srv:ro", "", _several(parse_volume)),
        Field("network", "network", "bridge host none container:NAME", "bridge", _network),
        Field("restart", "restart", "no on-failure:3 unless-stopped always", "no", parse_restart),
    ]

    def done(values: dict[str, str] | None) -> None:
        if values is None:
            return
        settings: dict[str, Any] = {
            "name": values["name"],
            "environment": _split(values["env"]),
            "ports": _split(values["ports"]),
            "binds": _split(values["volumes"]),
            "network_mode": values["network"] or "default",
            "restart_policy": values["restart"] or "no",
        }
        settings = {key: value for key, value in settings.items() if value not in ("", [])}

        def work(job: Job) -> str:
            command = _split(values["command"]) or None
            container = console.engine().containers.create(values["image"], command, **settings)
            container.start()
            return f"started {container.name} from {values['image']}"

        console.submit(f"running {values['image']}", work, command=f"pilothouse {shlex.join(run_words(values))}",
                       sections=(*_TOUCHED, IMAGES, VOLUMES))  # fmt: skip

    console.push_screen(
        FormScreen("Run a container", fields, lambda values: f"pilothouse {shlex.join(run_words(values))}"), done
    )
