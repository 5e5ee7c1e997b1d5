"""What the keys of the image list do: layers, inspect, remove, and the build form."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tui import details
from tui.actions import BY_ID
from tui.feed import CONTAINERS, IMAGES, ImageRow
from tui.screens.text import TextScreen
from tui.widgets.text import TextLine

if TYPE_CHECKING:
    from tui.app import Console
    from tui.jobs import Job
    from tui.screens.form import Values


def _targets(console: Console) -> list[ImageRow]:
    rows = [item.value for item in console.main.pane.targets() if isinstance(item.value, ImageRow)]
    if not rows:
        console.tell("note", "no image is selected")
    return rows


def inspect(console: Console) -> None:
    from tui.verbs.containers import show_inspect

    for row in _targets(console)[:1]:
        name = details.name(row)
        show_inspect(console, name, partial(_attributes, console, row.id), f"inspect {name}")


def _attributes(console: Console, id: str) -> Any:
    return console.engine().images.inspect(id)


def _history(console: Console, id: str, job: Job) -> Any:
    return console.engine().images.history(id)


def layers(console: Console) -> None:
    """How each layer was made."""
    for row in _targets(console)[:1]:
        name = details.name(row)

        def show(history: Any, name: str = name) -> None:
            console.push_screen(
                TextScreen(f"layers of {name}", details.layers(history), command=f"pilothouse history {name}")
            )

        console.submit(f"reading the layers of {name}", partial(_history, console, row.id),
                       command=f"pilothouse history {name}", sections=(), then=show)  # fmt: skip


def remove(console: Console) -> None:
    """Untag, and delete what nothing else uses."""
    rows = _targets(console)
    if not rows:
        return
    names = [details.name(row) for row in rows]

    def work(job: Job) -> str:
        images = console.engine().images
        deleted = 0
        for row in rows:
            for reference in row.names or (row.id,):
                deleted += len(images.remove(reference))
        return f"removed {', '.join(names)}"

    def go() -> None:
        console.main.pane.listing.set_marks(set())
        console.submit(f"removing {', '.join(names)}", work, command=f"pilothouse rmi {shlex.join(names)}",
                       sections=(IMAGES, CONTAINERS))  # fmt: skip

    console.ask(BY_ID["image.remove"], names, go)


# build


def _directory(text: str) -> None:
    from engine.errors import InvalidInput

    path = Path(text).expanduser()
    if not path.is_dir():
        raise InvalidInput(f"path {text}: {'no such directory' if not path.exists() else 'not a directory'}")


def build_words(values: Values) -> list[str]:
    """The command line that does what the build form says."""
    words = ["build"]
    for tag in shlex.split(values["tag"]):
        words += ["-t", tag]
    if values["dockerfile"] not in ("", "Dockerfile"):
        words += ["-f", values["dockerfile"]]
    return [*words, values["path"] or "."]


def build(console: Console) -> None:
    """The build form; while a build runs, its screen."""
    from engine.images.reference import parse
    from tui.screens.build import BuildScreen
    from tui.screens.form import Field, FormScreen

    last = console.last_build
    if isinstance(last, BuildScreen) and not last.outcome and console.screen is not last:
        console.push_screen(last)
        return
    fields = [
        Field("path", "context path", "a directory with a Dockerfile", str(Path.cwd()), _directory, required=True),
        Field("tag", "tag", "name:tag", "", parse),
        Field("dockerfile", "Dockerfile", "Dockerfile in the context", ""),
    ]

    def done(values: dict[str, str] | None) -> None:
        if values is not None:
            _start(console, values)

    console.push_screen(
        FormScreen("Build an image", fields, lambda values: f"pilothouse {shlex.join(build_words(values))}"), done
    )


def _start(console: Console, values: dict[str, str]) -> None:
    from tui.screens.build import BuildScreen

    command = f"pilothouse {shlex.join(build_words(values))}"
    name = values["tag"] or Path(values["path"]).name
    screen = BuildScreen(f"build {name}", command)
    if console.last_build is not None:
        console.uninstall_screen(console.last_build)
        console.last_build.remove()
    # Installed, the screen outlives the look away from it, and can be looked at again.
    console.install_screen(screen, f"build-{id(screen)}")
    console.last_build = screen

    def work(job: Job) -> str:
        context = Path(values["path"]).expanduser().absolute()
        dockerfile = _dockerfile(context, values["dockerfile"])
        try:
            image = console.engine().builder.build(
                context,
                dockerfile=dockerfile,
                tags=shlex.split(values["tag"]),
                progress=screen.report,
                cancel=job.cancel,
            )
        except Exception as error:
            lines = _failure(error)
            console.call_later(lambda: screen.ended("failed", lines, good=False))
            raise
        short = image.id.removeprefix("sha256:")[:12]
        done = [TextLine(f"built {values['tag'] or short}  ({short})", "ok")]
        console.call_later(lambda: screen.ended(f"built in {job.seconds:.1f} s", done, good=True))
        return f"built {name} ({short}) in {job.seconds:.1f} s"

    console.push_screen(screen)
    screen.job = console.submit(f"building {name}", work, command=command, sections=(IMAGES,), cancellable=True)


def _dockerfile(context: Path, text: str) -> str | None:
    """The Dockerfile the operator means: in the context, else from the working directory, as docker looks for it."""
    if not text:
        return None
    inside = context / text
    return str(inside if inside.exists() else Path(text).expanduser().absolute())


def _failure(error: Exception) -> list[TextLine]:
    """A failed build in lines: where, the line as written, why, and what to do."""
    from engine.errors import Cancelled
    from tui.sanitize import plain

    if isinstance(error, Cancelled):
        return [TextLine("cancelled; nothing half-made was kept", "warn")]
    lines = [TextLine(line, "bad") for line in plain(str(error)).expandtabs().splitlines()]
    source = getattr(error, "source", "")
    if source:
        lines.append(TextLine(f"{error.file}:{error.line}", "key"))  # type: ignore[attr-defined]
        lines += [TextLine(f"  {line}", "accent") for line in plain(source).expandtabs().splitlines()]
    remedy = getattr(error, "remedy", "")
    return [*lines, *([TextLine(plain(remedy), "dim")] if remedy else [])]


def cancel_build(console: Console) -> None:
    """Stop the build of this screen."""
    from tui.screens.build import BuildScreen

    screen = console.screen
    if isinstance(screen, BuildScreen) and screen.job is not None and not screen.job.finished:
        screen.job.cancel.set()
        console.tell("note", f"{screen.job.title}: asked to stop")
    else:
        console.tell("note", "this build has ended")
