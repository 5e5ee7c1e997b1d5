"""The list widget: it paints what changed and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from textual.geometry import Region

from tests.screen.recorded import Recording, console, many
from tui.app import Console
from tui.widgets.rows import Cell, Column, Row, fit_columns

pytestmark = pytest.mark.screen


def watch(app: Console, name: str = "containers") -> tuple[list[int], Callable[[], None]]:
    """The lines a list asks to have painted, from now on; the second value forgets them."""
    listing = app.main.panes[name].listing
    lines: list[int] = []
    refresh = listing.refresh

    def watched(*regions: Region, **options: bool) -> object:
        lines.extend(line for region in regions for line in range(region.y, region.bottom))
        if not regions:
            lines.extend(range(1000))
        return refresh(*regions, **options)

    listing.refresh = watched  # type: ignore[method-assign,assignment]
    return lines, lines.clear


async def test_cursor_move_paints_two_lines() -> None:
    app = console(Recording(containers=many(200)))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.3)
        lines, _ = watch(app)
        await pilot.press("j")
        assert sorted(lines) == [0, 1]


async def test_a_changed_row_paints_its_line_alone() -> None:
    rows = many(200)
    recording = Recording(containers=rows)
    app = console(recording)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.3)
        listing = app.main.panes["containers"].listing
        lines, _ = watch(app)
        changed = list(listing.rows)
        changed[5] = changed[5]._replace(cells=(*changed[5].cells[:-1], Cell("new")))
        listing.set_rows(changed)
        assert lines == [5]
        lines.clear()
        listing.set_rows(list(listing.rows))
        assert lines == []


async def test_cursor_stays_on_its_object_when_rows_come_and_go() -> None:
    app = console(Recording(containers=many(20)))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.3)
        listing = app.main.panes["containers"].listing
        listing.move_to(3)
        key = listing.rows[3].key
        listing.set_rows(listing.rows[1:])
        assert listing.current is not None and listing.current.key == key and listing.cursor == 2
        listing.set_rows([row for row in listing.rows if row.key != key])
        assert listing.cursor == 2, "its object gone, the cursor stays where it was"


async def test_marks_are_of_objects_and_go_with_them() -> None:
    app = console(Recording(containers=many(20)))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.3)
        await pilot.press("space", "space")
        listing = app.main.panes["containers"].listing
        assert len(listing.marks) == 2 and listing.cursor == 2
        listing.set_rows(listing.rows[1:])
        assert len(listing.marks) == 1


async def test_cursor_steps_over_headings() -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.3)
        await pilot.press("5")
        await pilot.pause()
        listing = app.main.panes["firewall"].listing
        for _ in range(12):
            assert listing.rows[listing.cursor].selectable
            await pilot.press("j")
        await pilot.press("g")
        assert listing.rows[listing.cursor].selectable and listing.scroll_offset.y == 0


COLUMNS = (Column("a", "A", 10, flex=1), Column("b", "B", 8, rank=1), Column("c", "C", 8, rank=2, flex=1, limit=12))


@pytest.mark.parametrize("width", range(1, 60))
def test_columns_never_take_more_than_there_is(width: int) -> None:
    fitted = fit_columns(COLUMNS, width)
    assert sum(size for _, size in fitted) + len(fitted) - 1 <= width or (len(fitted) == 1 and fitted[0][1] == 1)
    assert 0 in [index for index, _ in fitted], "rank 0 is always shown"


def test_highest_rank_goes_first() -> None:
    assert [index for index, _ in fit_columns(COLUMNS, 20)] == [0, 1]
    assert dict(fit_columns(COLUMNS, 60))[2] == 12, "a limit is a limit"


def test_rows_compare_by_what_they_show() -> None:
    assert Row("a", (Cell("x"),)) == Row("a", (Cell("x"),)) != Row("a", (Cell("x", "dim"),))
