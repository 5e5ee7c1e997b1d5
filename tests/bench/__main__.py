"""Run the jobs in both faces and print the table."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import traceback
from pathlib import Path

from engine.config import Config
from tests import isolation
from tests.bench.faces import Cli, Face, InProcess
from tests.bench.jobs import JOBS

FACES = {"in-process": InProcess, "CLI": Cli}
# What the project set itself, in ms where nothing else is said: (in-process, CLI).
GOALS = {
    "run -d -p": (60, 150),
    "run --rm bridge": (90, 180),
    "stop -t 0": (45, 130),
    "exec true": (30, 110),
    "pause": (8, 90),
    "ps -a of 100": (8, 90),
    "build cold": (250, None),
    "build cached": (50, None),
    "commit of 20 MB": (100, None),
    "50 starts one by one": (3.5, 7),
    "rm -f of those 50": (1.5, None),
    "memory of 50 running": (25, 25),
    "host → 127.0.0.1:port": (16, 16),
}


def main() -> int:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("jobs", nargs="*", metavar="JOB", help=f"of {', '.join(JOBS)}; all when none is named")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--face", choices=FACES, action="append", help="measure this column only")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        print("the benches run containers: start them as root", file=sys.stderr)
        return 2
    chosen = arguments.jobs or list(JOBS)
    if not set(chosen) <= set(JOBS):
        parser.error(f"no such job: {', '.join(sorted(set(chosen) - set(JOBS)))}")
    columns = {name: measure(name, chosen, arguments.runs) for name in arguments.face or FACES}
    print_table(columns)
    return 0


def measure(face_name: str, chosen: list[str], runs: int) -> dict[str, tuple[float, str]]:
    """Medians of all figures of one face, measured in a child on a private machine."""
    workspace = Path(tempfile.mkdtemp(prefix="ph-bench-", dir="/var/tmp"))
    try:
        if (child := os.fork()) == 0:
            status = 1
            try:
                isolation.as_supervisor()
                isolation.enter_private_machine()
                _measure_here(
                    FACES[face_name](Config(data_root=workspace / "data")), chosen, runs, workspace / "figures"
                )
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                isolation.kill_descendants()
                os._exit(status)
        os.waitpid(child, 0)
        figures = workspace / "figures"
        return (
            {name: (value, unit) for name, value, unit in json.loads(figures.read_text())} if figures.exists() else {}
        )
    finally:
        shutil.rmtree(workspace, ignore_errors=True)


def _measure_here(face: Face, chosen: list[str], runs: int, target: Path) -> None:
    face.prepare()
    seen: dict[tuple[str, str], list[float]] = {}
    for job in chosen:
        print(f"# {face.name}: {job}", file=sys.stderr)
        try:
            for figure in JOBS[job](face, runs):
                seen.setdefault((figure.name, figure.unit), []).append(figure.value)
        except Exception:
            # One job that cannot run must not cost the figures of the others.
            traceback.print_exc()
        target.write_text(json.dumps([(name, statistics.median(v), unit) for (name, unit), v in seen.items()]))


def print_table(columns: dict[str, dict[str, tuple[float, str]]]) -> None:
    """One line a figure: both columns, and the goal of each."""
    print(f"{'job':<26}" + "".join(f"{name:>16}" for name in columns) + f"{'goals':>16}")
    for name in dict.fromkeys(name for column in columns.values() for name in column):
        line = f"{name:<26}"
        for column in columns.values():
            value, unit = column.get(name, (None, ""))
            line += f"{'-':>16}" if value is None else f"{value:>9.1f} {unit:<6}"
        goals = [f"{goal:g}" if goal else "-" for goal in GOALS.get(name, ())]
        print(line + f"{' / '.join(goals):>16}")


if __name__ == "__main__":
    sys.exit(main())
