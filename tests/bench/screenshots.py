"""Pictures of the real console over the real engine, as PNG, into ``screenshots/``.

Run as root: ``python -m tests.bench.screenshots [NAME…]``. Makes network and mount namespaces and a data root of its
own, builds and runs a small scene through the command line, presses keys in the real application and draws what its
screen holds. Leaves nothing behind but the pictures. Needs ``rsvg-convert`` (librsvg), without which the SVG
itself is written, and the package pillow to make the pictures a third as large.
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from textual.strip import Strip

    from tui.app import Console

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "screenshots"
CELL_WIDTH, CELL_HEIGHT, FONT_SIZE, MARGIN = 8.43, 18.0, 14, 12
FONT = "'DejaVu Sans Mono', 'JetBrains Mono', 'Fira Code', Menlo, Consolas, monospace"


@dataclass(frozen=True)
class Shot:
    """One picture: the terminal's size, the theme and the keys pressed before it is taken."""

    name: str
    width: int
    height: int
    keys: tuple[str, ...] = ()
    theme: str = "harbour"


SHOTS = (
    Shot("containers-80x24", 80, 24),
    Shot("network-80x24", 80, 24, ("6",)),
    Shot("logs-80x24", 80, 24, ("slash", *"worker", "enter", "l")),
    Shot("run-form-80x24", 80, 24, ("R",)),
    Shot("containers-120x40", 120, 40, ("slash", *"worker", "enter", "wait", "escape")),
    Shot("network-120x40", 120, 40, ("6",)),
    Shot("build-120x40", 120, 40, ("2", "B", "BUILD", "enter", "wait", "wait", "wait")),
    Shot("confirm-120x40", 120, 40, ("space", "space", "d")),
    Shot("everything-200x50", 200, 50, ("slash", *"worker", "enter", "wait", "escape")),
    Shot("everything-light-200x50", 200, 50, (), "chart"),
)


# the drawing


def svg(strips: list[Strip], background: str) -> str:
    """The lines of a screen as SVG, every word and symbol at its own place: columns stay columns in any renderer."""
    from rich.cells import cell_len

    width = max((strip.cell_length for strip in strips), default=0) * CELL_WIDTH + 2 * MARGIN
    height = len(strips) * CELL_HEIGHT + 2 * MARGIN
    boxes: list[str] = []
    texts: list[str] = []
    for row, strip in enumerate(strips):
        column = 0
        top = MARGIN + row * CELL_HEIGHT
        for segment in strip:
            cells = cell_len(segment.text)
            style = segment.style
            colour, ground = "#c8d3de", background
            if style is not None:
                if style.color is not None and style.color.triplet is not None:
                    colour = style.color.triplet.hex
                if style.bgcolor is not None and style.bgcolor.triplet is not None:
                    ground = style.bgcolor.triplet.hex
                if style.reverse:
                    colour, ground = ground, colour
            left = MARGIN + column * CELL_WIDTH
            if ground != background:
                boxes.append(
                    f'<rect x="{left:.1f}" y="{top:.1f}" width="{cells * CELL_WIDTH + 0.3:.1f}" '
                    f'height="{CELL_HEIGHT + 0.3:.1f}" fill="{ground}"/>'
                )
            if segment.text.strip():
                weight = ' font-weight="bold"' if style is not None and style.bold else ""
                for piece in re.finditer(r"[!-~]+|[^ -~]", segment.text):
                    at = column + cell_len(segment.text[: piece.start()])
                    texts.append(
                        f'<text x="{MARGIN + at * CELL_WIDTH:.1f}" y="{top + CELL_HEIGHT * 0.76:.1f}" '
                        f'fill="{colour}"{weight}>{html.escape(piece[0])}</text>'
                    )
            column += cells
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}">\n<rect width="100%" height="100%" rx="8" fill="{background}"/>\n'
        + "\n".join(boxes)
        + f'\n<g font-family="{FONT}" font-size="{FONT_SIZE}">\n'
        + "\n".join(texts)
        + "\n</g>\n</svg>\n"
    )


def write(name: str, picture: str) -> None:
    """Write one picture, as a PNG with a palette where the tools for it are installed."""
    TARGET.mkdir(exist_ok=True)
    if shutil.which("rsvg-convert") is None:
        (TARGET / f"{name}.svg").write_text(picture, encoding="utf-8")
        print(f"{name}.svg (install rsvg-convert for PNG)")
        return
    target = str(TARGET / f"{name}.png")
    subprocess.run(["rsvg-convert", "--zoom=1.5", "--output", target], input=picture.encode(), check=True)
    with contextlib.suppress(ImportError):
        from PIL import Image  # type: ignore[import-not-found, unused-ignore]

        with Image.open(target) as full:
            full.convert("RGB").quantize(64, dither=Image.Dither.NONE).save(target, optimize=True)
    print(f"{name}.png")


# the scene


def command(*words: str) -> None:
    """Run one pilothouse command; its failure is this script's."""
    program = [sys.executable, "-I", "-m", "tui.command_line.main", *words]
    subprocess.run(program, check=True, stdout=subprocess.DEVNULL, timeout=120)


CHATTER = 'n=0; while :; do n=$((n+1)); echo "level=info job=$n took=$((n % 7 + 2))ms"; '
CHATTER += '[ $((n % 9)) = 0 ] && echo "level=warn job=$n retried" >&2; sleep 0.25; done'


def set_up_scene(folder: Path) -> None:
    """A handful of containers with names an operator would give."""
    for words in (["link", "add", "eth0", "type", "veth", "peer", "name", "uplink"],
                  ["addr", "add", "192.0.2.1/24", "dev", "eth0"], ["link", "set", "eth0", "up"],
                  ["link", "set", "uplink", "up"], ["route", "add", "default", "via", "192.0.2.254"]):  # fmt: skip
        subprocess.run(["ip", *words], check=True)
    (folder / "Dockerfile").write_text(
        "FROM busybox\nMAINTAINER harbour master\nRUN mkdir -p /srv/www && \\\n    echo ready > /srv/www/index.html\n"
        "ENV PORT=8080\nWORKDIR /srv/www\nCOPY notes.txt .\n"
        "RUN for n in 1 2 3 4 5; do echo checking $n; sleep 0.3; done\n"
        'EXPOSE 8080\nCMD ["httpd", "-f", "-p", "8080", "-h", "/srv/www"]\n'
    )
    (folder / "notes.txt").write_text("tide tables\n")
    command("build", "-t", "harbour/web:1.4", str(folder))
    (folder / "notes.txt").write_text("tide tables, corrected\n")
    command("volume", "create", "orders-data")
    command("volume", "create", "backups")
    command("run", "-d", "--name", "web", "-p", "17000:8080", "harbour/web:1.4")
    command("run", "-d", "--name", "api", "-p", "127.0.0.1:9000:9000", "-p", "5353:5353/udp", "busybox", "httpd", "-f",
            "-p", "9000")  # fmt: skip
    command("run", "-d", "--name", "orders-db", "-v", "orders-data:/data", "busybox", "sleep", "100000")
    command("run", "-d", "--name", "worker", "--restart", "unless-stopped", "busybox", "sh", "-c", CHATTER)
    command("run", "-d", "--name", "metrics-agent", "--network", "host", "busybox", "sleep", "100000")
    command("run", "-d", "--name", "sidecar", "--network", "container:web", "busybox", "sleep", "100000")
    command("run", "-d", "--name", "replica", "busybox", "sleep", "100000")
    command("pause", "replica")
    command("run", "-d", "--name", "nightly-import", "busybox", "sh", "-c", "exit 3")
    command("create", "--name", "maintenance", "busybox", "sh")


@contextlib.contextmanager
def traffic() -> Iterator[None]:
    """Requests to the published port, so that counters move."""
    stop = threading.Event()

    def ask() -> None:
        while not stop.wait(0.02):
            with contextlib.suppress(OSError):
                urllib.request.urlopen("http://192.0.2.1:17000/", timeout=1).read()

    threading.Thread(target=ask, daemon=True).start()
    try:
        yield
    finally:
        stop.set()


async def take(shot: Shot, folder: Path) -> None:
    """One picture."""
    console = _console(shot.theme)
    async with console.run_test(size=(shot.width, shot.height)) as pilot:
        await pilot.pause(3.0)
        for key in shot.keys:
            if key == "wait":
                await pilot.pause(0.7)
            elif key == "BUILD":
                for field, value in (("path", str(folder)), ("tag", "harbour/web:1.5")):
                    console.screen.inputs[field].value = value  # type: ignore[attr-defined]
                await pilot.pause(0.2)
            else:
                await pilot.press(key)
        await pilot.pause(2.0)
        strips = console.screen._compositor.render_strips()
        write(shot.name, svg(strips, console.palette.background("base")))


def _console(theme_name: str) -> Console:
    from engine.config import Config
    from engine.engine import Engine
    from tui import glyphs, theme
    from tui.app import Console
    from tui.engine_source import EngineSource

    config = Config.from_environment()
    console: Console
    source = EngineSource(lambda: console.engine())
    console = Console(
        lambda: Engine(config), source, palette=theme.load(theme_name)[0], glyphs=glyphs.UNICODE, host="harbour-1",
        config=config,
    )  # fmt: skip
    return console


def inside(names: list[str]) -> None:
    """In the namespaces: scene, pictures, and away with it."""
    base = Path(tempfile.mkdtemp(prefix="pilothouse-screenshots-"))
    os.environ["PILOTHOUSE_DATA_ROOT"], os.environ["PILOTHOUSE_RUN_DIR"] = str(base / "root"), str(base / "run")
    folder = base / "web"
    folder.mkdir()
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    Path("/run/netns").mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", "/run/netns"], check=True)
    try:
        set_up_scene(folder)
        with traffic():
            for shot in SHOTS:
                if not names or shot.name in names:
                    asyncio.run(take(shot, folder))
    finally:
        listing = subprocess.run([sys.executable, "-I", "-m", "tui.command_line.main", "ps", "-aq"],
                                 capture_output=True, text=True, check=False)  # fmt: skip
        if listing.stdout.split():
            command("rm", "-f", *listing.stdout.split())
        shutil.rmtree(base, ignore_errors=True)


def main() -> None:
    """Re-run in namespaces of our own, or, there, take the pictures."""
    if "--inside" in sys.argv:
        inside([word for word in sys.argv[1:] if word != "--inside"])
        return
    os.execvp(
        "unshare",
        ["unshare", "-n", "-m", "--propagation", "private", sys.executable, "-m", "tests.bench.screenshots", "--inside",
         *sys.argv[1:]],
    )  # fmt: skip


if __name__ == "__main__":
    main()
