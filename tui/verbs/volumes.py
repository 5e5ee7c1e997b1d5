"""What the keys of the volume list do: create, inspect, remove."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from tui.actions import BY_ID
from tui.feed import VOLUMES, VolumeRow

if TYPE_CHECKING:
    from tui.app import Console
    from tui.jobs import Job


def inspect(console: Console) -> None:
    """docker's JSON of the volume."""
    from tui.verbs.containers import show_inspect

    item = console.main.pane.current
    if item is not None and isinstance(item.value, VolumeRow):
        name = item.value.name
        show_inspect(console, name, lambda: console.engine().volumes.inspect(name), f"volume inspect {name}")


def create(console: Console) -> None:
    """A new empty volume, named in a small form."""
    from engine.volumes.collection import check_name
    from tui.screens.form import Field, FormScreen

    def done(values: dict[str, str] | None) -> None:
        if values is None:
            return
        name = values["name"]

        def work(job: Job) -> str:
            return f"created volume {console.engine().volumes.create(name or None).name}"

        console.submit(f"creating volume {name}", work, command=f"pilothouse volume create {name}".rstrip(),
                       sections=(VOLUMES,))  # fmt: skip

    fields = [Field("name", "name", "made up if empty", "", check_name)]
    console.push_screen(
        FormScreen("Create a volume", fields, lambda values: f"pilothouse volume create {values['name']}".rstrip()),
        done,
    )


def remove(console: Console) -> None:
    """Delete volumes and what is in them."""
    rows = [item.value for item in console.main.pane.targets() if isinstance(item.value, VolumeRow)]
    if not rows:
        return
    names = [row.name for row in rows]

    def work(job: Job) -> str:
        for name in names:
            console.engine().volumes.remove(name)
        return f"removed {', '.join(names)}"

    def go() -> None:
        console.main.pane.listing.set_marks(set())
        console.submit(f"removing {', '.join(names)}", work, command=f"pilothouse volume rm {shlex.join(names)}",
                       sections=(VOLUMES,))  # fmt: skip

    console.ask(BY_ID["volume.remove"], names, go)
