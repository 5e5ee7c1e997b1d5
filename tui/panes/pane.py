"""What all panes have in common: a title, a list, a filter, an order, and the way from a snapshot to rows.

Owns the widget; each pane module adds its columns, rows and words. Never asks the engine anything: it paints snapshots.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical

from engine.values import dataclass
from tui.actions import CHAINS, Scope
from tui.feed import Snapshot
from tui.widgets.bars import PaneHead, PaneMark
from tui.widgets.listing import Listing
from tui.widgets.rows import Cell, Column, Row, fit_columns


@dataclass(frozen=True)
class Item:
    """One object on its way to a row: ``key`` names it, ``value`` is the feed's row, a filter sees ``words``."""

    key: str
    value: Any
    words: str = ""
    heading: bool = False


@dataclass(frozen=True)
class Order:
    """One way to sort: its name for the title and its key."""

    title: str
    key: Callable[[Any], Any]
    descending: bool = False


class Pane(Vertical, inherit_bindings=False):
    """A titled list of one kind of object."""

    DEFAULT_CSS = """
    Pane { height: 1fr; width: 100%; layers: base above; }
    """

    KIND: ClassVar[str] = ""
    CHAIN: ClassVar[str] = ""
    NUMBER: ClassVar[str] = ""
    TITLE: ClassVar[str] = ""
    SECTION: ClassVar[str] = ""
    ORDERS: ClassVar[tuple[Order, ...]] = ()
    HIDE_ACTION: ClassVar[str] = "list.hide"
    HIDING: ClassVar[str] = "idle hidden"  # in the title, while idle objects are hidden
    HIDDEN: ClassVar[str] = "all are idle and hidden"  # in the list, if that leaves nothing
    TALL: ClassVar[int] = 8  # rows from which column titles are shown

    def __init__(self) -> None:
        super().__init__(id=f"pane-{self.KIND}")
        self.head = PaneHead()
        self.mark = PaneMark()
        self.listing = Listing(id=f"list-{self.KIND}")
        self.snapshot = Snapshot()
        self.filter = ""
        self.hidden = False
        self.order = 0
        self.items: dict[str, Item] = {}
        self.total = 0

    # what a pane module provides

    def columns(self, width: int) -> Sequence[Column]:
        """The columns for a list ``width`` cells wide."""
        raise NotImplementedError

    def objects(self, snapshot: Snapshot) -> list[Item]:
        """The objects of this pane, in their natural order."""
        raise NotImplementedError

    def row(self, item: Item, widths: dict[str, int]) -> Row:
        """One object as a row; ``widths`` are those of the columns shown."""
        raise NotImplementedError

    def summary(self, snapshot: Snapshot) -> list[Cell]:
        """A few words for the title row."""
        return []

    def idle(self, value: Any) -> bool:
        """True if the object is hidden by "hide stopped"."""
        return False

    def nothing(self) -> str:
        """What to say, and to do, when there is nothing at all."""
        return "nothing here yet"

    # the widget

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """The scopes of the keys that work in this list (all but the app's own)."""
        return tuple(scope for scope in CHAINS[self.CHAIN or self.KIND] if scope is not Scope.GLOBAL)

    def compose(self) -> ComposeResult:
        yield self.head
        yield self.listing
        yield self.mark

    def on_mount(self) -> None:
        self.bind_keys()

    def bind_keys(self) -> None:
        """Take the keys of the active keymap."""
        self.listing._bindings = self.app.keymap.bindings(*self.scopes)  # type: ignore[attr-defined]

    def on_resize(self, event: events.Resize) -> None:
        self.head.set_class(event.size.height >= self.TALL, "-tall")
        self.call_after_refresh(self.rebuild)

    def accept(self, snapshot: Snapshot) -> None:
        """Show this snapshot."""
        self.snapshot = snapshot
        if self.is_on_screen and self.listing.size.width > 1:
            self.rebuild()

    @property
    def is_on_screen(self) -> bool:
        """True while the layout gives the pane room."""
        return self.display and self.size.height > 0

    def rebuild(self) -> None:
        """From snapshot, filter, order and width to rows."""
        width = self.listing.size.width
        if width <= 1:
            return
        columns = tuple(self.columns(width - 2))
        self.listing.set_columns(columns)
        widths = {columns[index].id: size for index, size in fit_columns(columns, width - 2)}
        every = self.objects(self.snapshot)
        self.total = sum(1 for item in every if not item.heading)
        kept = self.select(every)
        self.items = {item.key: item for item in kept}
        self.listing.empty = self._empty_words(bool(every))
        self.listing.set_rows([self.row(item, widths) for item in kept])
        self.paint_head()

    def select(self, items: list[Item]) -> list[Item]:
        """The items that filter and "hide stopped" leave, in order; a heading stays with what is below it."""
        words = self.filter.lower()
        inverse = words.startswith("!")
        terms = words.lstrip("!").split()

        def wanted(item: Item) -> bool:
            if self.hidden and self.idle(item.value):
                return False
            return not terms or (all(term in item.words for term in terms) is not inverse)

        kept: list[Item] = []
        pending: list[Item] = []
        for item in items:
            if item.heading:
                pending = [item]
            elif wanted(item):
                kept += pending
                pending = []
                kept.append(item)
        if not terms and not self.hidden:
            kept = list(items)
        if self.order and self.ORDERS:
            order = self.ORDERS[self.order]
            kept = sorted((item for item in kept if not item.heading), key=lambda item: order.key(item.value),
                          reverse=order.descending)  # fmt: skip
        return kept

    def _empty_words(self, any_object: bool) -> tuple[Cell, ...]:
        problem = self.snapshot.problems.get(self.SECTION)
        if problem:
            return (Cell(problem, "bad"),)
        if self.SECTION not in self.snapshot.seen:
            return (Cell("reading" + self.app.glyphs.ellipsis, "faint"),)  # type: ignore[attr-defined]
        if any_object and self.filter:
            return (Cell(f"nothing contains '{self.filter}'; esc clears the filter", "dim"),)
        if any_object:
            key = self.app.keymap.first(self.HIDE_ACTION)  # type: ignore[attr-defined]
            return (Cell(f"{self.HIDDEN}; {key} shows them", "dim"),)
        return (Cell(self.nothing(), "dim"),)

    def paint_head(self) -> None:
        """The title row: name, figures, filter, order, marks and the position in the list."""
        listing = self.listing
        notes = self.summary(self.snapshot)
        problem = self.snapshot.problems.get(self.SECTION)
        if problem and listing.rows:
            notes = [Cell(f"{self.app.glyphs.bad} {problem}", "bad")]  # type: ignore[attr-defined]
        if self.filter:
            notes = [*notes, Cell(f"  /{self.filter}", "accent")]
        if self.order:
            notes = [*notes, Cell(f"  by {self.ORDERS[self.order].title}", "quiet")]
        if self.hidden:
            notes = [*notes, Cell(f"  {self.HIDING}", "quiet")]
        right: list[Cell] = []
        if listing.marks:
            right.append(Cell(f"{len(listing.marks)} marked  ", "accent"))
        selectable = [index for index, row in enumerate(listing.rows) if row.selectable]
        if selectable:
            place = sum(1 for index in selectable if index <= listing.cursor)
            right.append(Cell(f"{place}/{len(selectable)} ", "dim"))
        chip = f"{self.NUMBER} {self.TITLE}" if self.NUMBER else self.TITLE
        self.mark.show(right)
        self.head.show(chip, notes, (Cell(" " * self.mark.taken),), listing.has_focus)
        self.head.show_columns(listing.heading() if listing.rows else ())

    def on_listing_painted(self, message: Listing.Painted) -> None:
        message.stop()
        self.paint_head()

    # what verbs ask

    @property
    def current(self) -> Item | None:
        """The object under the cursor."""
        row = self.listing.current
        return self.items.get(row.key) if row is not None and row.selectable else None

    def targets(self) -> list[Item]:
        """The marked objects, else the one under the cursor."""
        if self.listing.marks:
            return [item for key, item in self.items.items() if key in self.listing.marks]
        return [self.current] if self.current else []

    def set_filter(self, text: str) -> None:
        """Show only what contains ``text``."""
        self.filter = text.strip()
        self.rebuild()

    def next_order(self) -> str:
        """Sort by the next column; says which."""
        if len(self.ORDERS) < 2:
            return ""
        self.order = (self.order + 1) % len(self.ORDERS)
        self.rebuild()
        return self.ORDERS[self.order].title
