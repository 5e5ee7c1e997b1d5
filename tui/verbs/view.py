"""Looking around: panes, filter, help, marks. Nothing here changes anything outside the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui.actions import ACTIONS, CHAINS, Scope, in_scopes
from tui.panes.firewall import FirewallPane
from tui.screens.main import MainScreen
from tui.widgets.text import TextLine, TextView

if TYPE_CHECKING:
    from tui.app import Console
    from tui.panes.pane import Pane


def _main(console: Console) -> MainScreen:
    """The main screen, in front."""
    while console.screen is not console.main and len(console.screen_stack) > 1:
        console.pop_screen()
    return console.main


def _text(console: Console) -> TextView | None:
    focused = console.screen.focused
    return focused if isinstance(focused, TextView) else None


# panes


def pane_containers(console: Console) -> None:
    _main(console).go("containers")


def pane_images(console: Console) -> None:
    _main(console).go("images")


def pane_networks(console: Console) -> None:
    _main(console).go("networks")


def pane_volumes(console: Console) -> None:
    _main(console).go("volumes")


def pane_firewall(console: Console) -> None:
    _main(console).go("firewall")


def pane_view(console: Console) -> None:
    _main(console).go("view")


def pane_system(console: Console) -> None:
    _main(console).go("system")


def last_pane(console: Console) -> None:
    main = _main(console)
    main.go(main.last_view)


def next_pane(console: Console) -> None:
    if isinstance(console.screen, MainScreen):
        console.screen.tab(1)


def previous_pane(console: Console) -> None:
    if isinstance(console.screen, MainScreen):
        console.screen.tab(-1)


def zoom(console: Console) -> None:
    main = console.main
    if console.screen is main:
        if main.focused is main.detail.text:
            main.zoomed = "detail"
        else:
            main.zoomed = "lists" if main.view not in ("view", "system") else main.view
        main.rearrange()


def unzoom(console: Console) -> None:
    if console.main.zoomed:
        console.main.zoomed = ""
        console.main.rearrange()


def next_tab(console: Console) -> None:
    _turn(console, 1)


def previous_tab(console: Console) -> None:
    _turn(console, -1)


def _turn(console: Console, step: int) -> None:
    detail = getattr(console.screen, "detail", None)
    if detail is not None:
        detail.turn(step)


def open_detail(console: Console) -> None:
    """The detail of the line: beside the lists where there is room, else over the whole screen."""
    main = console.main
    pane = main.pane
    if pane.KIND in ("view", "chains"):
        inspect_rule(console)
        return
    if pane.KIND == "system" or pane.current is None:
        return
    if main.arrangement.detail:
        main.set_focus(main.detail.text)
        main.detail.load()
        return
    from tui.screens.detail import DetailScreen

    console.push_screen(DetailScreen(pane.KIND, pane.current))


# marks, order, filter


def _pane(console: Console) -> Pane:
    return console.main.pane


def mark(console: Console) -> None:
    _pane(console).listing.toggle_mark()


def invert(console: Console) -> None:
    listing = _pane(console).listing
    listing.set_marks({row.key for row in listing.rows} - listing.marks)


def sort(console: Console) -> None:
    _pane(console).next_order()


def hide(console: Console) -> None:
    pane = _pane(console)
    pane.hidden = not pane.hidden
    pane.rebuild()


def hot(console: Console) -> None:
    pane = _pane(console)
    target = console.main.panes["chains"] if pane.KIND == "view" else pane
    target.hidden = not target.hidden
    target.rebuild()


def zero(console: Console) -> None:
    for pane in console.main.panes.values():
        if isinstance(pane, FirewallPane):
            pane.zero()
    console.tell("note", "counting from now on; the kernel's own counters are untouched")


def freeze(console: Console) -> None:
    console.feed.frozen = not console.feed.frozen
    if not console.feed.frozen:
        console.feed.ask()
    console.paint_status()


def rules(console: Console) -> None:
    """From a port of the topology to the rules of its container."""
    main = console.main
    item = main.panes["view"].current
    if item is None:
        return
    port = item.value[1]
    chains = main.panes["chains"]
    for row in chains.listing.rows:
        rule = chains.items[row.key].value if row.key in chains.items else None
        if rule is None or not row.selectable:
            continue
        address = port.address.partition("/")[0]
        if (port.container and rule.owner == port.container) or (address and address in rule.text):
            main.set_focus(chains.listing)
            chains.listing.move_to_key(row.key)
            return
    console.tell("note", f"no rule names {port.container or port.name}")


def container(console: Console) -> None:
    """From a port or a rule to its container."""
    main = console.main
    item = main.pane.current
    if item is None:
        return
    name = item.value[1].container if main.pane.KIND == "view" else getattr(item.value, "owner", "")
    wanted = next((row for row in console.feed.snapshot.containers if name and row.name == name), None)
    if wanted is None:
        console.tell("note", "this line belongs to no container of ours")
        return
    main.go("containers")
    console.call_after_refresh(main.panes["containers"].listing.move_to_key, wanted.id)


def port(console: Console) -> None:
    """From a container to its port of the bridge: its own, or that of the container whose network it shares."""
    main = console.main
    item = main.pane.current
    if item is None:
        return
    name = item.value.name
    for bridge in console.feed.snapshot.topology.bridges:
        for each in bridge.ports:
            if name == each.container or name in each.joined:
                main.go("view")
                console.call_after_refresh(main.panes["view"].listing.move_to_key, f"{bridge.name}/{each.name}")
                return
    where = f"network {item.value.network or 'bridge'}, {item.value.state}"
    console.tell("note", f"{name} hangs on no bridge ({where})")


def inspect_rule(console: Console) -> None:
    """The selected rule or port in full."""
    from tui import details
    from tui.screens.text import TextScreen

    item = console.main.pane.current
    if item is None:
        return
    if isinstance(item.value, tuple):
        bridge, port = item.value
        lines = details.pairs([
            ("bridge", f"{bridge.name}  {bridge.address}"), ("port", f"{port.name}  interface {port.index}"),
            ("state", port.state), ("mtu", str(port.mtu)), ("container", port.container),
            ("shared with", " ".join(port.joined)), ("address", port.address), ("published", "  ".join(
                f"{each.outside} to :{each.container_port}" for each in port.published)),
            ("received", f"{port.received:,.0f} bytes/s"), ("sent", f"{port.sent:,.0f} bytes/s"),
            ("dropped", str(port.dropped)),
        ])  # fmt: skip
        console.push_screen(TextScreen(port.name, lines))
    else:
        console.push_screen(TextScreen(details.name(item.value), details.rule(item.value)))


def filter(console: Console) -> None:
    """``/``: a filter in a list, a search in a text."""
    from tui.widgets.prompt import Prompt

    screen = console.screen
    if getattr(screen, "prompt", True) is not None:
        return
    text = _text(console)
    if text is not None:

        def searched(value: str) -> None:
            text.search(value)

        _prompt(console, Prompt("/", value=text.pattern, changed=searched, done=searched, left=lambda: searched("")))
        return
    pane = _pane(console)

    def changed(value: str) -> None:
        pane.set_filter(value)
        console.paint_status()

    _prompt(console, Prompt("/", value=pane.filter, changed=changed, done=lambda value: None, left=lambda: changed("")))


def command(console: Console) -> None:
    """``:``: any command of the command line."""
    from tui.verbs import commands
    from tui.widgets.prompt import Prompt

    if getattr(console.screen, "prompt", True) is None:
        _prompt(console, Prompt(":", history=commands.HISTORY, done=lambda line: commands.run(console, line)))


def _prompt(console: Console, prompt: object) -> None:
    from textual.widget import Widget

    screen = console.screen
    assert isinstance(prompt, Widget)
    console.hold_keys()
    screen.prompt = prompt  # type: ignore[attr-defined]
    hints = screen.query_one("#hints")
    hints.display = False
    screen.mount(prompt, after=hints)


# help, menu, palette


def help(console: Console) -> None:
    """Every key that works here, then the rest, from the action table."""
    from tui.screens.text import TextScreen

    chain = tuple(getattr(console.screen, "chain", (Scope.GLOBAL,)))
    here = [scope for scope in chain if scope is not Scope.GLOBAL]
    rest = [scope for scope in Scope if scope not in here and scope is not Scope.GLOBAL]
    lines: list[TextLine] = []
    for title, scopes in (("", [*here, Scope.GLOBAL]), ("elsewhere", rest)):
        if title:
            lines += [TextLine(title.upper(), "faint"), TextLine("")]
        for scope in scopes:
            lines.append(TextLine(scope.value, "key"))
            for action in in_scopes((scope,)):
                keys = console.keymap.shown(action.id)
                lines.append(TextLine(f"  {keys:<12} {action.title:<16} {action.help}"))
            lines.append(TextLine(""))
    console.push_screen(TextScreen("help", lines))


def menu(console: Console) -> None:
    """The verbs of the focused list."""
    from tui.screens.palette import PaletteScreen

    pane = _pane(console)
    chain = [scope for scope in CHAINS[pane.CHAIN or pane.KIND] if scope not in (Scope.MOVE, Scope.GLOBAL)]
    current = pane.current
    title = "what to do"
    if current is not None:
        from tui import details

        title = f"what to do with {details.name(current.value)}" if not isinstance(current.value, tuple) else title
    console.push_screen(PaletteScreen(title, in_scopes(chain)), lambda chosen: _perform(console, chosen))


def palette(console: Console) -> None:
    """Every action that works here."""
    from tui.screens.palette import PaletteScreen

    chain = tuple(getattr(console.screen, "chain", (Scope.GLOBAL,)))
    actions = [action for action in ACTIONS if action.scope in chain and action.scope is not Scope.MOVE]
    console.push_screen(PaletteScreen("find an action", actions), lambda chosen: _perform(console, chosen))


def _perform(console: Console, chosen: str | None) -> None:
    if chosen:
        console.action_perform(chosen)


# everywhere


def back(console: Console) -> None:
    """One step back: the filter, the marks, the zoom, the focus, the screen."""
    if console.screen is not console.main:
        text = _text(console)
        if text is not None and text.pattern:
            text.search("")
            text.post_message(TextView.Painted(text))
        else:
            console.pop_screen()
        return
    main = console.main
    pane = main.pane
    if pane.filter:
        pane.set_filter("")
        console.paint_status()
    elif pane.listing.marks:
        pane.listing.set_marks(set())
    elif main.zoomed:
        unzoom(console)
    elif main.focused is main.detail.text:
        main.focus_view()


def quit(console: Console) -> None:
    """Back; from the main screen, out. Containers run on."""
    if console.screen is not console.main:
        console.pop_screen()
        return
    if console.main.focused is console.main.detail.text:
        console.main.focus_view()
        return
    if not console.jobs:
        console.exit(0)
        return
    from tui.screens.confirm import ConfirmScreen

    names = [job.title for job in console.jobs]
    question = ConfirmScreen("quit", names, "these jobs are still running and would be cut short; containers run on")
    console.push_screen(question, lambda yes: console.exit(0) if yes else None)


def cancel(console: Console) -> None:
    """Cancel the newest job; never quits."""
    if not console.jobs:
        console.tell("note", f"nothing to cancel; {console.keymap.first('global.quit')} leaves the console")
        return
    job = next((job for job in reversed(console.jobs) if job.cancellable), None)
    if job is None:
        console.tell("note", f"{console.jobs[-1].title}: this cannot be cancelled, only waited for")
        return
    job.cancel.set()
    console.tell("note", f"{job.title}: asked to stop")


def copy(console: Console) -> None:
    """To the terminal's clipboard, which also works over SSH (OSC 52)."""
    from tui import details

    text = _text(console)
    if text is not None:
        body = "\n".join(line.text for line in text.lines[-2_000:])
        console.copy_to_clipboard(body)
        console.tell("note", f"copied {len(text.lines[-2_000:])} lines")
        return
    items = _pane(console).targets()
    if not items:
        return
    words = [item.value[1].address or item.value[1].name if isinstance(item.value, tuple)
             else getattr(item.value, "id", "") or getattr(item.value, "text", "") or details.name(item.value)
             for item in items]  # fmt: skip
    console.copy_to_clipboard("\n".join(words))
    console.tell("note", f"copied {', '.join(words)}")


def journal(console: Console) -> None:
    """What was done here, newest last."""
    import time

    from tui.screens.text import TextScreen

    lines: list[TextLine] = []
    tones = {"done": "ok", "error": "bad", "warn": "warn"}
    for entry in console.journal.entries:
        moment = time.strftime("%H:%M:%S", time.localtime(entry.time))
        lines.append(TextLine(f"{moment}  {entry.level:<5}  {entry.text}", tones.get(entry.level, "text")))
        if entry.command:
            lines.append(TextLine(f"{'':17}{entry.command}", "quiet"))
        lines += [TextLine(f"{'':17}{line}", "dim") for line in entry.detail.splitlines()]
    screen = TextScreen("journal", lines or [TextLine("nothing was done yet", "faint")], following=True)
    console.push_screen(screen)


def lock(console: Console) -> None:
    """Read-only, and back."""
    if console.forced_lock:
        console.tell("warn", "this console was opened read-only; it stays so")
        return
    console.locked = not console.locked
    console.tell("note", "read-only: verbs that change anything are refused" if console.locked else "unlocked")
    console.paint_status()


def refresh(console: Console) -> None:
    """Read everything again now."""
    console.feed.ask()


def redraw(console: Console) -> None:
    """Paint the whole screen again."""
    console.refresh(layout=True)
    console.screen.refresh(layout=True)


def run_demo(console: Console) -> None:
    """Build and run the demo container, as ``pilothouse demo`` does."""
    from tui.verbs import commands

    commands.run(console, "demo")
