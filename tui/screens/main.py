"""The main screen: status, five lists, detail, network view, journal and hints, laid out for the terminal's size.

Owns which part is looked at and where the focus is. Paints snapshots it is handed; never calls the engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.widget import Widget

from tui.actions import CHAINS, Scope
from tui.arrangement import LISTS, Arrangement, arrange
from tui.feed import CONTAINERS, IMAGES, NETWORKS, RULES, SYSTEM, TOPOLOGY, VOLUMES, Snapshot
from tui.panes.containers import ContainersPane
from tui.panes.firewall import ChainsPane, FirewallPane
from tui.panes.images import ImagesPane
from tui.panes.networks import NetworksPane
from tui.panes.pane import Pane
from tui.panes.system import SystemPane
from tui.panes.topology import TopologyPane
from tui.panes.volumes import VolumesPane
from tui.widgets.bars import HintBar, JournalBar, StatusBar
from tui.widgets.detail import Detail
from tui.widgets.line import LineWidget, paint
from tui.widgets.listing import Listing
from tui.widgets.rows import Cell
from tui.widgets.text import TextView

if TYPE_CHECKING:
    from textual.strip import Strip

    from tui.app import Console


class TooSmall(LineWidget):
    """Says so, in the middle of what there is."""

    DEFAULT_CSS = "TooSmall { height: 100%; width: 100%; display: none; }"

    def render_line(self, y: int) -> Strip:
        width, height = self.size
        words = ("too small", f"{self.app.size.width}x{self.app.size.height}; 60x16 is the least")
        middle = max(0, height // 2 - 1)
        text = words[y - middle] if 0 <= y - middle < len(words) else ""
        return paint(self.palette, (Cell(" " * max(0, (width - len(text)) // 2)), Cell(text, "warn")), width)


class MainScreen(Screen[None], inherit_bindings=False):
    """Everything at a glance."""

    CSS = """
    MainScreen { layout: vertical; }
    #body { height: 1fr; }
    #lists, #view, #pane-system { height: 100%; }
    #lists > Pane { height: 4; }
    #lists > Pane.-current { height: 1fr; }
    #pane-view { height: 46%; }
    #pane-chains { height: 1fr; }
    .column-gap { padding: 0 0 0 1; }
    """

    app: Console

    def __init__(self) -> None:
        super().__init__()
        self.view = "containers"
        self.last_view = "containers"
        self.last_list = "containers"
        self.zoomed = ""
        self.arrangement = Arrangement()
        self.panes: dict[str, Pane] = {
            pane.KIND: pane
            for pane in (
                ContainersPane(), ImagesPane(), NetworksPane(), VolumesPane(), FirewallPane(), TopologyPane(),
                ChainsPane(), SystemPane(),
            )
        }  # fmt: skip
        self.status = StatusBar(id="status")
        self.journal = JournalBar(id="journal")
        self.hints = HintBar(id="hints")
        self.detail = Detail(id="detail")
        self.column = Vertical(self.panes["view"], self.panes["chains"], id="view")
        self.too_small = TooSmall()
        self.prompt: Widget | None = None

    def compose(self) -> ComposeResult:
        yield self.status
        with Horizontal(id="body"):
            with Vertical(id="lists"):
                for name in LISTS:
                    yield self.panes[name]
            yield self.detail
            yield self.column
            yield self.panes["system"]
        yield self.journal
        yield self.hints
        yield self.too_small

    def on_mount(self) -> None:
        self.rearrange()
        self.focus_view()

    def on_screen_resume(self) -> None:
        """In front again: what happened meanwhile is told by the rows at the bottom."""
        self.app.paint_journal()
        self.paint_hints()

    # layout

    def on_resize(self, event: events.Resize) -> None:
        self.rearrange()
        self.app.paint_status()
        self.call_after_refresh(self.paint_hints)

    def rearrange(self) -> None:
        """Show what the size and the view ask for."""
        width, height = self.app.size
        plan = arrange(width, height, self.view, self.last_list, zoomed=self.zoomed)
        self.arrangement = plan
        shown = not plan.too_small
        self.too_small.display = plan.too_small
        for part in (self.status, self.journal, self.hints, self.query_one("#body")):
            part.display = shown
        if self.prompt is not None:
            self.hints.display = False
        if not shown:
            return
        lists, view = self.query_one("#lists"), self.query_one("#view")
        lists.display = bool(plan.lists)
        current = self.view if self.view in LISTS else self.last_list
        for name in LISTS:
            pane = self.panes[name]
            pane.display = name in plan.lists
            pane.set_class(name == current or not plan.stacked, "-current")
            if name != current and plan.stacked:
                pane.styles.height = plan.idle_height
            else:
                pane.styles.height = "1fr"
        lists.styles.width = plan.lists_width or "1fr"
        appears = plan.detail and not self.detail.display
        self.detail.display = plan.detail
        self.detail.styles.width = "1fr"
        self.detail.set_class(bool(plan.lists), "column-gap")
        if appears:
            self.turn_detail()
        view.display = plan.view
        view.styles.width = plan.view_width or "1fr"
        view.set_class(plan.stacked, "column-gap")
        self.panes["system"].display = plan.system
        self.panes["system"].set_class(plan.stacked, "column-gap")
        self.panes["system"].styles.width = "1fr"
        if self.focused is None and self.prompt is None:  # Textual takes the focus from what was hidden, for good
            self.call_after_refresh(self.focus_view)
        self._tell_feed()

    def _tell_feed(self) -> None:
        """Sample often what is on the screen, the rest rarely."""
        plan = self.arrangement
        sections = {CONTAINERS}
        names = {"images": IMAGES, "networks": NETWORKS, "volumes": VOLUMES}
        sections |= {names[name] for name in plan.lists if name in names}
        if plan.view:
            sections |= {RULES, TOPOLOGY}
        if self.view == "firewall":
            sections.add(RULES)
        if plan.system:
            sections.add(SYSTEM)
        self.app.feed.show(sections)

    # view and focus

    def go(self, view: str) -> None:
        """Look at another view."""
        if view != self.view:
            self.last_view = self.view
            self.view = view
            if view in LISTS:
                self.last_list = view
            if self.zoomed:
                self.zoomed = "lists" if view in LISTS else view
            self.rearrange()
        self.focus_view()
        self.call_after_refresh(self._repaint_panes)

    def _repaint_panes(self) -> None:
        for pane in self.panes.values():
            if pane.is_on_screen:
                pane.rebuild()
        self.turn_detail()

    def focus_view(self) -> None:
        """Put the focus on the list of the view."""
        self.set_focus(self.panes[self.view].listing, scroll_visible=False)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        pane = self.focused_pane
        if pane is not None:
            view = "view" if pane.KIND == "chains" else pane.KIND
            if view != self.view:
                self.last_view, self.view = self.view, view
                if view in LISTS:
                    self.last_list = view
                self.rearrange()
                self.call_after_refresh(self._repaint_panes)
        self.paint_hints()

    @property
    def focused_pane(self) -> Pane | None:
        """The pane that has the focus."""
        focused = self.focused
        return focused.parent if isinstance(focused, Listing) and isinstance(focused.parent, Pane) else None

    @property
    def pane(self) -> Pane:
        """The pane that verbs mean: the focused one, else that of the view."""
        return self.focused_pane or self.panes[self.view]

    @property
    def text_view(self) -> TextView:
        """The text that text keys mean."""
        return self.detail.text

    def stops(self) -> list[Widget]:
        """What tab goes through, in order."""
        plan = self.arrangement
        stops: list[Widget] = [self.panes[name].listing for name in LISTS]
        if plan.detail and plan.stacked:
            stops.append(self.detail.text)
        stops += [self.panes[name].listing for name in ("view", "chains", "system")]
        return stops

    def tab(self, step: int) -> None:
        """The focus to the next (1) or previous (-1) stop; views that are not shown come into view."""
        stops = self.stops()
        index = stops.index(self.focused) if self.focused in stops else 0
        target = stops[(index + step) % len(stops)]
        if isinstance(target, Listing) and isinstance(target.parent, Pane):
            name = target.parent.KIND
            view = "view" if name == "chains" else name
            if view != self.view:
                self.go(view)
        self.set_focus(target, scroll_visible=False)

    # data

    def accept(self, snapshot: Snapshot) -> None:
        """Show a new snapshot everywhere it is looked at."""
        with self.app.batch_update():
            for pane in self.panes.values():
                pane.accept(snapshot)
            self._fit_picture()
        if self.detail.display:
            self.detail.refresh_data(self.panes[self.last_list].current)

    def _fit_picture(self) -> None:
        """The topology takes the rows it needs, between a fifth and a half of its column; the chains take the rest."""
        picture = self.panes["view"]
        room = self.column.size.height
        wanted = max(8, room // 5, min(len(picture.listing.rows) + 3, room // 2))
        if room and picture.styles.height is not None and picture.styles.height.value != wanted:
            picture.styles.height = wanted

    def on_listing_moved(self, message: Listing.Moved) -> None:
        pane = message.listing.parent
        if isinstance(pane, Pane) and self.last_list == pane.KIND:
            self.turn_detail()

    def on_listing_opened(self, message: Listing.Opened) -> None:
        self.app.action_perform("list.open")

    def turn_detail(self) -> None:
        """The detail panel follows the cursor of the current list."""
        if self.detail.display:
            pane = self.panes[self.last_list]
            self.detail.show(pane.KIND, pane.current)

    # hints

    @property
    def chain(self) -> tuple[Scope, ...]:
        """The scopes of the keys that work now."""
        pane = self.focused_pane
        if pane is not None:
            return CHAINS[pane.CHAIN or pane.KIND]
        return CHAINS["detail"] if self.focused is self.detail.text else (Scope.GLOBAL,)

    def paint_hints(self) -> None:
        """The hints row, from the action table."""
        if self.prompt is None:
            self.hints.hints(self.app.hint_pairs(self.chain))

    def prompt_closed(self) -> None:
        """The filter or command line is gone: back to the list."""
        self.focus_view()
        self.call_after_refresh(self.paint_hints)
