"""Listings: docker's column layout, sizes, ages, filters."""

from __future__ import annotations

import time

import pytest

from engine.errors import InvalidInput
from tui.command_line import human, table
from tui.command_line.filters import Filters
from tui.command_line.values import environment
from tui.command_line.verbs.build import build_arguments
from tui.command_line.verbs.listing import matches_reference

pytestmark = pytest.mark.unit

HEADERS = {"ID": "CONTAINER ID", "Names": "NAMES", "Labels": "LABELS", "Status": "STATUS"}
ROWS = [
    {"ID": "0123456789ab", "Names": "web", "Status": "Up 2 minutes", "Label": {"tier": "db"}.get},
    {"ID": "ba9876543210", "Names": "日本", "Status": "Created", "Label": lambda key: ""},
]


def render(form: str, quiet: str = "") -> list[str]:
    return table.render(ROWS, form, headers=HEADERS, kind="row", default=("ID", "Names", "Status"), quiet=quiet)


def test_columns_are_ten_wide_at_least_and_three_apart() -> None:
    assert render("") == [
        "CONTAINER ID   NAMES     STATUS",
        "0123456789ab   web       Up 2 minutes",
        "ba9876543210   日本      Created",
    ]


def test_an_empty_listing_is_its_header() -> None:
    assert table.align([["NETWORK ID", "NAME", "DRIVER", "SCOPE"]]) == ["NETWORK ID   NAME      DRIVER    SCOPE"]


def test_forms_of_format() -> None:
    assert render("{{.Names}}") == ["web", "日本"]
    assert render("table") == render("")
    assert render(r"table {{.Names}}\t{{.ID}}")[0] == "NAMES     CONTAINER ID"
    assert render("table {{.Names}}:{{upper .ID}}")[0] == "NAMES:CONTAINER ID"
    assert render(r"{{.ID}}\t{{.Names}}")[0] == "0123456789ab\tweb"
    assert render("json")[0] == '{"ID":"0123456789ab","Names":"web","Status":"Up 2 minutes"}'
    assert render('{{.Label "tier"}}') == ["db", ""]
    assert render('table {{.Names}}\t{{.Label "com.example.tier"}}')[0] == "NAMES     tier"
    assert render("", quiet="ID") == ["0123456789ab", "ba9876543210"]
    assert render("{{.Names}}", quiet="ID") == ["web", "日本"]


def test_a_wrong_template_is_told_with_the_fields_there_are() -> None:
    with pytest.raises(InvalidInput, match="template parsing error") as caught:
        render("{{.Names")
    assert "Names" in caught.value.remedy
    with pytest.raises(InvalidInput, match="can't evaluate field Nope in type row"):
        render("{{.Nope}}")


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0B"), (999, "999B"), (1000, "1kB"), (4261550, "4.26MB"), (1980000, "1.98MB"), (1234567890, "1.23GB")],
)
def test_sizes(count: int, text: str) -> None:
    assert human.size(count, 3) == text


def test_binary_sizes() -> None:
    assert human.binary_size(8 * 1024**3) == "8GiB"
    assert human.binary_size(1536) == "1.5KiB"


def test_times() -> None:
    assert human.seconds_of("1970-01-01T00:00:10.5Z") == 10.5
    assert human.seconds_of("1970-01-01T01:00:10.25+01:00") == 10.25
    for moment in (0, 68_169_600, 951_782_400, 951_868_800, 1_709_251_199, 1_795_487_301, 4_107_542_400):
        text = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
        assert human.seconds_of(text) == moment, text
    assert human.ago("1970-01-01T00:00:00.0Z", now=7200) == "2 hours ago"
    assert human.ago("0001-01-01T00:00:00Z") == "N/A"


def test_a_stamp_is_in_the_local_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    assert human.stamp("2026-11-24T02:28:21.123456789Z") == "2026-11-24 02:28:21 +0000 UTC"


def test_an_ellipsis_takes_the_last_place() -> None:
    assert human.ellipsis("sleep infinity", 20) == "sleep infinity"
    assert human.ellipsis("a" * 21, 20) == "a" * 19 + "…"


def test_filters() -> None:
    filters = Filters(["name=we", "label=a=1", "label=b", "id=01", "name=x"], ("name", "label", "id", "status"))
    assert filters.search("name", "web") and not filters.search("name", "db")
    assert filters.labels({"a": "1", "b": ""}) and not filters.labels({"a": "2", "b": ""})
    assert filters.prefix("id", "0123") and not filters.prefix("id", "123")
    assert filters.exact("status", "running")
    assert Filters(["name=^web$"], ("name",)).search("name", "web")
    assert Filters(["name=["], ("name",)).search("name", "a[b")
    assert not Filters(["dangling=true"], ("dangling",)).truth("dangling", False)
    assert Filters(["dangling=0"], ("dangling",)).truth("dangling", False)


@pytest.mark.parametrize("text", ["name", "nosuch=1"])
def test_wrong_filters(text: str) -> None:
    with pytest.raises(InvalidInput, match="invalid"):
        Filters([text], ("name",))


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("busybox", "busybox:latest", True),
        ("busybox:latest", "busybox:latest", True),
        ("busybox:1", "busybox:latest", False),
        ("busy*", "busybox:latest", True),
        ("*:latest", "busybox:latest", True),
        ("*", "user/app:1", False),
        ("*/*", "user/app:1", True),
        ("b[a-u]sybox", "busybox:latest", True),
        ("box", "busybox:latest", False),
    ],
)
def test_references(pattern: str, name: str, matches: bool) -> None:
    assert matches_reference(pattern, name) is matches


def test_values_that_come_from_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIVEN", "a=b")
    monkeypatch.delenv("ABSENT", raising=False)
    assert environment(["A=1", "GIVEN", "ABSENT", "EMPTY="]) == ["A=1", "GIVEN=a=b", "ABSENT", "EMPTY="]
    assert build_arguments(("A=1", "GIVEN", "ABSENT")) == {"A": "1", "GIVEN": "a=b", "ABSENT": None}
    with pytest.raises(InvalidInput, match="invalid environment variable"):
        environment(["=x"])
