"""The jobs that are timed.

Owns what is inside a measurement and what is outside of it: only the operation itself is timed, never the set-up and
clean-up around it. Each job takes a face and a number of runs, and yields its figures.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.faces import Face

CROWD = 50
HOST_LIBRARIES = ("/usr:/usr:ro", "/lib:/lib:ro", "/lib64:/lib64:ro")


@dataclass(frozen=True)
class Figure:
    """One figure of one run; ``unit`` is ms, s, MB or Gbit/s."""

    name: str
    value: float
    unit: str = "ms"


Job = Callable[[Face, int], Iterator[Figure]]


def timed(name: str, operation: Callable[..., Any], *arguments: Any, unit: str = "ms", **options: Any) -> Any:
    """``operation`` once: its figure and its result."""
    started = time.perf_counter()
    result = operation(*arguments, **options)
    seconds = time.perf_counter() - started
    return Figure(name, seconds if unit == "s" else seconds * 1000, unit), result


def run(face: Face, runs: int) -> Iterator[Figure]:
    """Short-lived containers, and one with a published port from its start to its removal."""
    for number in range(runs):
        for network in ("none", "host", "bridge"):
            yield timed(f"run --rm {network}", face.run_removed, network)[0]
        figure, container = timed("run -d -p", face.run_detached, port=17100 + number)
        yield figure
        yield timed("stop -t 0", face.stop, container)[0]
        yield timed("rm", face.remove, [container])[0]


def operate(face: Face, runs: int) -> Iterator[Figure]:
    """What an operator does to a running container."""
    container = face.run_detached()
    for _ in range(runs):
        yield timed("exec true", face.execute, container, "true")[0]
        yield timed("pause", face.pause, container)[0]
        yield timed("unpause", face.unpause, container)[0]
    face.execute(container, "dd", "if=/dev/urandom", "of=/twenty", "bs=1M", "count=20")
    for number in range(runs):
        yield timed("commit of 20 MB", face.commit, container, f"bench/commit:{number}")[0]
        face.remove_image(f"bench/commit:{number}")
    face.remove([container])


def lists(face: Face, runs: int) -> Iterator[Figure]:
    """A list of a hundred."""
    containers = [face.create() for _ in range(100)]
    for _ in range(runs):
        yield timed("ps -a of 100", face.list_all)[0]
    face.remove(containers)


def crowd(face: Face, runs: int) -> Iterator[Figure]:
    """Fifty at once, and what they cost in memory beside their own processes."""

    def start() -> list[str]:
        return [face.run_detached() for _ in range(CROWD)]

    for _ in range(max(1, runs // 5)):
        figure, containers = timed(f"{CROWD} starts one by one", start, unit="s")
        yield figure
        yield Figure(f"memory of {CROWD} running", sum(_proportional_megabytes()), "MB")
        yield timed(f"rm -f of those {CROWD}", face.remove, containers, unit="s")[0]


def build(face: Face, runs: int) -> Iterator[Figure]:
    """Nine lines of Dockerfile with a directory of 200 files."""
    context = _context(Path("/run/bench-context"))
    for _ in range(runs):
        yield timed("build cold", face.build, context, cached=False)[0]
    for _ in range(runs):
        yield timed("build cached", face.build, context, cached=True)[0]


def network(face: Face, runs: int) -> Iterator[Figure]:
    """One TCP stream from the host through a published port on 127.0.0.1."""
    if shutil.which("iperf3") is None:
        print("# network: iperf3 is not installed", file=sys.stderr)
        return
    container = face.run_detached(port=17200, command=("/usr/bin/iperf3", "-s", "-p", "80"), binds=HOST_LIBRARIES)
    time.sleep(0.5)
    for _ in range(max(1, runs // 3)):
        client = ["iperf3", "-J", "-c", "127.0.0.1", "-p", "17200", "-t", "2"]
        told = json.loads(subprocess.run(client, capture_output=True, text=True, check=False).stdout)
        if "error" in told:
            print(f"# network: {told['error']}", file=sys.stderr)
            break
        yield Figure("host → 127.0.0.1:port", told["end"]["sum_received"]["bits_per_second"] / 1e9, "Gbit/s")
    face.remove([container])


JOBS: dict[str, Job] = {job.__name__: job for job in (run, operate, lists, crowd, build, network)}


def _context(directory: Path) -> Path:
    """The build context, made once; half random bytes, half text, as real ones are."""
    if directory.exists():
        return directory
    for number in range(200):
        file = directory / "add" / f"d{number % 10}" / f"f{number}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(random.Random(number).randbytes(2048) + b"some text, again and again\n" * 75)
    (directory / "app.py").write_text("print('hello')\n" * 50)
    (directory / "Dockerfile").write_text(
        "FROM busybox:latest\n"
        "MAINTAINER Bench <bench@example.invalid>\n"
        "RUN mkdir -p /srv/app && { echo one; echo two; } > /srv/app/list\n"
        "ADD add /srv/app/data\n"
        "ENV APP_HOME=/srv/app APP_MODE=bench\n"
        "EXPOSE 80 443/tcp\n"
        "WORKDIR /srv/app\n"
        "COPY app.py /srv/app/app.py\n"
        'CMD ["sh", "-c", "cat list"]\n'
    )
    return directory


def _proportional_megabytes() -> Iterator[float]:
    """The share of memory (PSS) of every process that keeps containers running on this private machine."""
    here = Path("/proc/self/ns/mnt").stat().st_ino
    for process in Path("/proc").iterdir():
        try:
            words = (process / "cmdline").read_bytes()
            if (process / "ns/mnt").stat().st_ino != here or not (b"conmon" in words or b"warden" in words):
                continue
            for line in (process / "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    yield int(line.split()[1]) / 1024
        except OSError:
            continue
