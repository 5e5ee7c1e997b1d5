"""The program as a process: start-up, endings, what it loads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tui.version import VERSION

pytestmark = pytest.mark.unit

CHECKOUT = Path(__file__).parents[2]
START = f"import sys; sys.path.insert(0, {str(CHECKOUT)!r}); from tui.command_line.main import main"


def program(*words: str, code: str = "sys.exit(main())", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"{START}; {code}", *words],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **environment},
    )


def test_the_version_is_the_packages() -> None:
    assert f'\nversion = "{VERSION}"\n' in (CHECKOUT / "pyproject.toml").read_text()
    for flag in ("--version", "-v"):
        assert program(flag).stdout == f"pilothouse version {VERSION}\n"


def test_the_version_loads_next_to_nothing() -> None:
    told = program(code="before = set(sys.modules); main(['--version']); print(*set(sys.modules) - before)").stdout
    assert told.splitlines()[-1].split() == ["tui.version"]


def test_help_needs_neither_root_nor_state(tmp_path: Path) -> None:
    shown = program("--data-root", str(tmp_path / "none"), "run", "--help")
    assert shown.returncode == 0
    assert shown.stdout.startswith("Usage:  pilothouse run [OPTIONS] IMAGE")
    assert program("container").stdout.startswith("Usage:  pilothouse container COMMAND")
    assert program("--help").stdout == program("help").stdout
    assert program("help", "volume", "rm").stdout == program("volume", "rm", "--help").stdout
    assert not (tmp_path / "none").exists()


def test_wrong_usage_ends_with_dockers_codes() -> None:
    flag = program("run", "--nosuch", "x")
    assert (flag.returncode, flag.stdout) == (125, "")
    assert flag.stderr.startswith("pilothouse: unknown flag: --nosuch\n")
    assert program("nosuch").returncode == 1
    assert program("tag", "one").returncode == 1


def test_the_console_without_a_terminal_is_refused_in_words() -> None:
    ended = program()
    assert ended.returncode == 1
    assert "the console needs a terminal" in ended.stderr


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f'{sys.executable} -I -S -c "{START}; sys.exit(main())" run --help | true; echo ${{PIPESTATUS[0]}}'
    for _ in range(5):
        ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
        assert ended.stderr == ""
        assert ended.stdout.strip() in ("0", "141")


def test_output_that_cannot_be_written_is_told() -> None:
    command = f'{sys.executable} -I -S -c "{START}; sys.exit(main())" run --help >/dev/full'
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (1, "pilothouse: writing to stdout: No space left on device\n")


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_closed_streams_are_as_good_as_dev_null(tmp_path: Path, closed: str) -> None:
    # What is opened next must not become our stdout: the database would get what we print.
    code = f"{START}; import os; main(); open({str(tmp_path / 'other')!r}, 'w'); os.write(1, b'print')"
    code = code.replace("main()", "_fill_closed_streams()").replace("import main", "import _fill_closed_streams")
    ended = subprocess.run(["bash", "-c", f'{sys.executable} -I -S -c "$0" {closed}', code], check=False, timeout=30)
    assert ended.returncode == 0
    assert (tmp_path / "other").read_bytes() == b""
    shown = f'{sys.executable} -I -S -c "{START}; sys.exit(main())" run --help {closed}'
    ended = subprocess.run(["bash", "-c", shown], stdout=subprocess.DEVNULL, check=False, timeout=30)
    assert ended.returncode == 0


def test_an_unexpected_error_is_one_line_and_says_how_to_see_more() -> None:
    broken = "import tui.command_line.grammar as grammar; grammar.parse = lambda *_: 1 / 0; sys.exit(main())"
    ended = program("ps", code=broken)
    assert ended.returncode == 125
    assert ended.stderr.splitlines() == [
        "pilothouse: unexpected ZeroDivisionError: division by zero",
        "this is a fault of pilothouse; for the full story run it again with PILOTHOUSE_DEBUG=1",
    ]
    assert "Traceback" in program("ps", code=broken, PILOTHOUSE_DEBUG="1").stderr


def test_ctrl_c_is_quiet() -> None:
    stopped = "import tui.command_line.grammar as grammar, signal; "
    stopped += "grammar.parse = lambda *_: signal.raise_signal(signal.SIGINT); sys.exit(main())"
    ended = program("ps", code=stopped)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


def test_parsing_and_help_load_nothing_of_the_engine() -> None:
    code = "main(['run', '--help']); print(*sorted(m for m in sys.modules if m.startswith('engine')))"
    assert program(code=code).stdout.splitlines()[-1].split() == ["engine", "engine.errors", "engine.values"]


def test_the_end_waits_for_a_thread_that_is_not_done() -> None:
    late = "import threading, time, tui.command_line.grammar as grammar; "
    late += "work = lambda: (time.sleep(0.2), print('late')); "
    late += "grammar.parse = lambda *_: threading.Thread(target=work).start() or 1 / 0; sys.exit(main())"
    ended = program("ps", code=late)
    assert (ended.returncode, ended.stdout) == (125, "late\n")
