"""Figures in words: short, and never longer than their column."""

from __future__ import annotations

import pytest

from tui import wording
from tui.cells import fit, shorten, width_of, window, wrap
from tui.engine_source import network_mode, ports, seconds
from tui.feed import ContainerRow

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("given", "shown"),
    [(0, "<1m"), (59, "<1m"), (60, "1m"), (3599, "59m"), (3600, "1h"), (86400, "1d"), (14 * 86400, "2w"), (3e8, "9y")],
)
def test_age(given: float, shown: str) -> None:
    assert wording.age(given) == shown


@pytest.mark.parametrize("count", [0, 9, 999, 1000, 9_999, 99_950, 999_499, 999_500, 12_345_678, 5e9, 7e12])
def test_figures_fit_their_columns(count: float) -> None:
    assert len(wording.size(count)) <= 6
    assert len(wording.rate(count)) <= 4
    assert len(wording.memory(int(count))) <= 7
    assert len(wording.count(int(min(count, 9e8)))) <= 7


def test_sizes_are_dockers_decimal_ones() -> None:
    assert [wording.size(n) for n in (612, 4_100, 1_975_000, 1_230_000_000)] == ["612B", "4.1kB", "1.98MB", "1.23GB"]


@pytest.mark.parametrize("width", range(4, 40))
@pytest.mark.parametrize(
    "changes",
    [{"state": "running", "health": "unhealthy"}, {"state": "exited", "exit_code": 137}, {"state": "paused"},
     {"state": "dead", "exit_code": 1}, {"state": "created"}, {"state": "restarting", "exit_code": 1}],
)  # fmt: skip
def test_status_takes_the_longest_form_that_fits(width: int, changes: dict[str, object]) -> None:
    row = ContainerRow(**{"id": "1", "name": "a", "image": "i", "started": 1.0, "finished": 1.0, **changes})  # type: ignore[arg-type]
    text = wording.status(row, 7200.0, width)
    assert text and (len(text) <= width or width < 10)


def test_ports_in_the_consoles_form() -> None:
    assert ports("0.0.0.0:17000->27017/tcp") == "17000→27017"
    assert ports("127.0.0.1:5353->53/udp, 80/tcp, [::]:8080->80/tcp") == "127.0.0.1:5353→53/udp"
    assert ports("0.0.0.0:53->53/udp") == "53/udp"
    assert ports("80/tcp") == ""


def test_a_joined_network_is_named() -> None:
    assert network_mode("container:" + "a" * 64, {"a" * 64: "web"}) == "container:web"
    assert network_mode("host", {}) == "host"


def test_times_of_any_precision() -> None:
    assert seconds("2025-06-15T15:06:40.123456789Z") == pytest.approx(1_750_000_000.123456, abs=1e-5)
    assert seconds("2025-06-15T15:06:40Z") == 1_750_000_000
    assert seconds("0001-01-01T00:00:00Z") == seconds("") == seconds("soon") == 0


@pytest.mark.parametrize("text", ["web", "データベース", "a日b本c", "🚢 harbour", ""])
@pytest.mark.parametrize("width", range(14))
def test_fitting_is_exact_in_cells(text: str, width: int) -> None:
    assert width_of(fit(text, width)) == width
    assert width_of(shorten(text, max(1, width))) <= max(1, width)
    if width_of(text) > width > 0:
        assert fit(text, width).rstrip().endswith("…"), "never cut without a mark"


def test_wrapping_and_windows_lose_nothing() -> None:
    text = "a日本語b" * 7
    assert "".join(wrap(text, 5)) == text
    assert all(width_of(piece) <= 5 for piece in wrap(text, 5))
    assert window("日本", 1, 2) == "  ", "halves of wide characters become spaces"
    assert window("abcdef", 2, 3) == "cde"
