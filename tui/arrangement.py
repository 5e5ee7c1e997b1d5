"""Which parts of the main screen are shown at which size: the three layouts as one pure function.

Owns the break points (100 and 160 columns, 36 rows) and what each view shows between them. Paints nothing.
"""

from __future__ import annotations

from engine.values import dataclass

LISTS = ("containers", "images", "networks", "volumes", "firewall")
VIEWS = (*LISTS, "view", "system")

NORMAL_WIDTH, WIDE_WIDTH, TALL_HEIGHT = 100, 160, 36
LEAST_WIDTH, LEAST_HEIGHT = 60, 16
FIXED_ROWS = 3  # status, journal, hints


@dataclass(frozen=True)
class Arrangement:
    """What is shown: the list panes (``stacked``: all five, else one), and the columns beside them.

    ``lists_width`` and ``view_width`` are 0 where the column takes what is left. ``idle_height`` is the height of a
    list pane that is not the current one.
    """

    too_small: bool = False
    lists: tuple[str, ...] = ()
    lists_width: int = 0
    idle_height: int = 4
    detail: bool = False
    view: bool = False
    view_width: int = 0
    system: bool = False

    @property
    def stacked(self) -> bool:
        """True if several lists stand above one another."""
        return len(self.lists) > 1


def arrange(width: int, height: int, view: str, last_list: str = "containers", *, zoomed: str = "") -> Arrangement:
    """The arrangement of a ``width`` × ``height`` terminal while ``view`` (one of ``VIEWS``) is looked at.

    ``zoomed`` is empty or the column that has the whole width: ``lists``, ``detail``, ``view`` or ``system``.
    """
    if width < LEAST_WIDTH or height < LEAST_HEIGHT:
        return Arrangement(too_small=True)
    current = view if view in LISTS else last_list
    if zoomed == "lists" and view in LISTS:
        return Arrangement(lists=(current,))
    if zoomed == "detail" and view in LISTS:
        return Arrangement(detail=True)
    if width < NORMAL_WIDTH or zoomed:
        if view == "view":
            return Arrangement(view=True)
        return Arrangement(system=True) if view == "system" else Arrangement(lists=(current,))
    idle = 4 if height >= TALL_HEIGHT else 2
    if width < WIDE_WIDTH:
        if view == "view":
            return Arrangement(view=True)
        if view == "system":
            return Arrangement(system=True)
        return Arrangement(lists=LISTS, lists_width=max(44, width * 44 // 120), idle_height=idle, detail=True)
    if height >= 46:
        idle = 6
    return Arrangement(
        lists=LISTS,
        lists_width=max(56, width * 56 // 200),
        idle_height=idle,
        detail=view != "system",
        view=True,
        view_width=max(60, width * 76 // 200),
        system=view == "system",
    )
