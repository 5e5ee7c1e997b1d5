"""The three layouts and their break points."""

from __future__ import annotations

import pytest

from tui.arrangement import LISTS, arrange

pytestmark = pytest.mark.screen


def test_small_terminal_shows_one_pane() -> None:
    assert arrange(80, 24, "images").lists == ("images",)
    assert not arrange(80, 24, "images").detail
    assert arrange(80, 24, "view").view and not arrange(80, 24, "view").lists


def test_middle_terminal_stacks_the_lists_beside_the_detail() -> None:
    plan = arrange(120, 40, "containers")
    assert plan.lists == LISTS and plan.lists_width == 44 and plan.idle_height == 4
    assert plan.detail and not plan.view
    assert arrange(120, 40, "view").view and not arrange(120, 40, "view").lists, "key 6 gives it the full width"


def test_large_terminal_always_shows_the_network() -> None:
    plan = arrange(200, 50, "containers")
    assert (plan.lists_width, plan.view_width) == (56, 76)
    assert plan.detail and plan.view and plan.lists == LISTS


@pytest.mark.parametrize(("width", "height"), [(59, 24), (80, 15), (1, 1)])
def test_under_60_by_16_is_too_small(width: int, height: int) -> None:
    assert arrange(width, height, "containers").too_small


@pytest.mark.parametrize("width", range(60, 240, 7))
def test_every_width_shows_the_view_that_was_asked_for(width: int) -> None:
    for height in (16, 24, 36, 50):
        for view in (*LISTS, "view", "system"):
            plan = arrange(width, height, view)
            shown = {*plan.lists, *(["view"] if plan.view else []), *(["system"] if plan.system else [])}
            assert view in shown


def test_zoom_gives_one_column_the_width() -> None:
    assert arrange(200, 50, "images", zoomed="lists").lists == ("images",)
    assert not arrange(200, 50, "images", zoomed="lists").view
    assert arrange(200, 50, "images", zoomed="detail").detail
