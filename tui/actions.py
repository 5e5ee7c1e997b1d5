# ruff: noqa: E501 - tables read better in one line a row
"""Every operator action of the console, once.

Owns the action table: id, title, help, scope, confirmation and handler of each action. Key bindings, the hints row,
the help screen, the menu and the palette are all derived from it; keys live in ``keymaps/*.toml``. Runs nothing: a
handler is named ``module:function`` below ``tui.verbs`` and imported when it is first used, so start-up stays quick.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from importlib import import_module
from typing import TYPE_CHECKING, Any

from engine.values import dataclass

if TYPE_CHECKING:
    from tui.app import Console


class Scope(Enum):
    """Where an action's key is live; the value is the heading in the help screen."""

    CONTAINER = "containers"
    IMAGE = "images"
    NETWORK = "networks"
    VOLUME = "volumes"
    FIREWALL = "firewall"
    VIEW = "network view"
    LIST = "any list"
    DETAIL = "detail"
    TEXT = "text"
    BUILD = "build"
    MOVE = "moving"
    GLOBAL = "everywhere"
    DIALOG = "dialogs"
    FORM = "forms"
    PROMPT = "filter and command line"


class Confirm(Enum):
    """When the operator is asked first: never, for more than one object, or always."""

    NEVER = "never"
    MANY = "many"
    ALWAYS = "always"


@dataclass(frozen=True)
class Action:
    """One thing an operator can do.

    ``hint`` orders the action in the hints row (1 first, 0 never shown). ``changes`` is True if the action alters
    anything outside the screen: the read-only lock refuses it.
    """

    id: str
    scope: Scope
    title: str
    help: str
    handler: str
    confirm: Confirm = Confirm.NEVER
    hint: int = 0
    changes: bool = False

    def resolve(self) -> Callable[[Console], Any]:
        """The handler itself."""
        module, _, function = self.handler.partition(":")
        handler: Callable[[Console], Any] = getattr(import_module(f"tui.verbs.{module}"), function)
        return handler


# The widgets a key passes on its way up, per kind of focus: one key may appear once in each of these chains.
CHAINS: dict[str, tuple[Scope, ...]] = {
    "containers": (Scope.CONTAINER, Scope.LIST, Scope.MOVE, Scope.GLOBAL),
    "images": (Scope.IMAGE, Scope.LIST, Scope.MOVE, Scope.GLOBAL),
    "networks": (Scope.NETWORK, Scope.LIST, Scope.MOVE, Scope.GLOBAL),
    "volumes": (Scope.VOLUME, Scope.LIST, Scope.MOVE, Scope.GLOBAL),
    "firewall": (Scope.FIREWALL, Scope.LIST, Scope.MOVE, Scope.GLOBAL),
    "view": (Scope.VIEW, Scope.LIST, Scope.MOVE, Scope.GLOBAL),
    "system": (Scope.LIST, Scope.MOVE, Scope.GLOBAL),
    "detail": (Scope.DETAIL, Scope.TEXT, Scope.MOVE, Scope.GLOBAL),
    "text": (Scope.TEXT, Scope.MOVE, Scope.GLOBAL),
    "build": (Scope.BUILD, Scope.TEXT, Scope.MOVE, Scope.GLOBAL),
    "dialog": (Scope.DIALOG,),
    "form": (Scope.FORM,),
    "prompt": (Scope.PROMPT, Scope.GLOBAL),
}

_ALWAYS, _MANY = Confirm.ALWAYS, Confirm.MANY


def _container(
    id: str, title: str, help: str, hint: int = 0, confirm: Confirm = Confirm.NEVER, changes: bool = True
) -> Action:
    name = id.partition(".")[2]
    return Action(id, Scope.CONTAINER, title, help, f"containers:{name}", confirm, hint, changes)


ACTIONS: tuple[Action, ...] = (
    # containers
    _container("container.start", "start", "start the stopped container; unpauses nothing", 2),
    _container("container.stop", "stop", "stop: its stop signal, ten seconds, then SIGKILL", 3, _MANY),
    _container("container.restart", "restart", "stop and start; it keeps its address", 4, _MANY),
    _container("container.pause", "pause", "freeze every process in it, or thaw them again", 8),
    _container("container.kill", "kill", "send SIGKILL at once", 0, _ALWAYS),
    _container("container.remove", "remove", "delete the container and its writable layer", 9, _ALWAYS),
    _container("container.commit", "commit", "make an image of the container as it is now", 10),
    _container("container.exec", "shell", "open a shell in it; the screen comes back when you leave", 6),
    _container("container.logs", "logs", "follow its output in a full text view", 5, changes=False),
    Action("container.port", Scope.CONTAINER, "its port", "jump to its port of the bridge, in the network view", "view:port"),
    _container("container.inspect", "inspect", "everything the engine knows of it, as docker's JSON", 7, changes=False),
    # images
    Action("image.inspect", Scope.IMAGE, "inspect", "the image's configuration as docker's JSON", "images:inspect", hint=4),
    Action("image.layers", Scope.IMAGE, "layers", "how each layer was made, and its size", "images:layers", hint=3),
    Action("image.remove", Scope.IMAGE, "remove", "untag the image; delete what nothing else uses", "images:remove", _ALWAYS, 5, True),
    # networks and volumes
    Action("network.inspect", Scope.NETWORK, "inspect", "subnet, gateway, options and endpoints", "networks:inspect", hint=3),
    Action("volume.create", Scope.VOLUME, "create", "make an empty named volume", "volumes:create", hint=3, changes=True),
    Action("volume.inspect", Scope.VOLUME, "inspect", "where it is and who made it", "volumes:inspect", hint=4),
    Action("volume.remove", Scope.VOLUME, "remove", "delete the volume and all data in it", "volumes:remove", _ALWAYS, 5, True),
    # firewall and network view
    Action("firewall.hot", Scope.FIREWALL, "hot only", "show only rules that are counting now", "view:hot", hint=2),
    Action("firewall.zero", Scope.FIREWALL, "zero", "count from now on; the kernel's counters stay", "view:zero", hint=3),
    Action("firewall.inspect", Scope.FIREWALL, "raw rule", "the rule as iptables-save prints it", "view:inspect_rule", hint=4),
    Action("view.hot", Scope.VIEW, "hot only", "show only rules that are counting now", "view:hot", hint=4),
    Action("view.zero", Scope.VIEW, "zero", "count from now on; the kernel's counters stay", "view:zero", hint=5),
    Action("view.rules", Scope.VIEW, "rules of port", "jump to the rules of the selected container's ports", "view:rules", hint=3),
    Action("view.container", Scope.VIEW, "container", "jump to the container of this port", "view:container", hint=2),
    Action("view.inspect", Scope.VIEW, "raw", "the selected line in full", "view:inspect_rule"),
    Action("view.freeze", Scope.VIEW, "freeze", "hold the picture still; again to go on", "view:freeze", hint=6),
    # any list
    Action("list.open", Scope.LIST, "detail", "open the detail of the selected line", "view:open_detail", hint=1),
    Action("list.run", Scope.LIST, "run", "run a new container with a small form", "containers:run", hint=11, changes=True),
    Action("list.build", Scope.LIST, "build", "build an image from a Dockerfile with a small form", "images:build", hint=12, changes=True),
    Action("list.mark", Scope.LIST, "mark", "mark the line; verbs act on all marked lines", "view:mark"),
    Action("list.invert", Scope.LIST, "invert marks", "mark what is unmarked and the other way round", "view:invert"),
    Action("list.sort", Scope.LIST, "sort", "sort by the next column", "view:sort"),
    Action("list.hide", Scope.LIST, "hide stopped", "hide stopped or unused objects; again to show them", "view:hide"),
    Action("list.menu", Scope.LIST, "menu", "all verbs for the selected line", "view:menu", hint=13),
    # detail and text
    Action("detail.next", Scope.DETAIL, "next tab", "the next tab", "view:next_tab", hint=1),
    Action("detail.previous", Scope.DETAIL, "previous tab", "the previous tab", "view:previous_tab"),
    Action("text.follow", Scope.TEXT, "follow", "stay at the end as lines arrive", "text:follow", hint=2),
    Action("text.wrap", Scope.TEXT, "wrap", "wrap long lines", "text:wrap", hint=3),
    Action("text.times", Scope.TEXT, "times", "show when each line was written", "text:times", hint=4),
    Action("text.save", Scope.TEXT, "save", "save the text to a file", "text:save", hint=5),
    Action("text.next", Scope.TEXT, "next match", "the next match of the filter", "text:next_match"),
    Action("text.previous", Scope.TEXT, "previous match", "the previous match of the filter", "text:previous_match"),
    # build screen
    Action("build.cancel", Scope.BUILD, "cancel build", "stop the build; nothing half-made stays", "images:cancel_build", hint=1),
    # moving
    Action("move.down", Scope.MOVE, "down", "one line down", "moving:down"),
    Action("move.up", Scope.MOVE, "up", "one line up", "moving:up"),
    Action("move.top", Scope.MOVE, "top", "the first line", "moving:top"),
    Action("move.bottom", Scope.MOVE, "bottom", "the last line", "moving:bottom"),
    Action("move.page_down", Scope.MOVE, "page down", "one page down", "moving:page_down"),
    Action("move.page_up", Scope.MOVE, "page up", "one page up", "moving:page_up"),
    Action("move.half_down", Scope.MOVE, "half page down", "half a page down", "moving:half_down"),
    Action("move.half_up", Scope.MOVE, "half page up", "half a page up", "moving:half_up"),
    Action("move.left", Scope.MOVE, "left", "scroll left, or fold", "moving:left"),
    Action("move.right", Scope.MOVE, "right", "scroll right, or unfold", "moving:right"),
    # everywhere
    Action("pane.containers", Scope.GLOBAL, "containers", "the container list", "view:pane_containers"),
    Action("pane.images", Scope.GLOBAL, "images", "the image list", "view:pane_images"),
    Action("pane.networks", Scope.GLOBAL, "networks", "the network list", "view:pane_networks"),
    Action("pane.volumes", Scope.GLOBAL, "volumes", "the volume list", "view:pane_volumes"),
    Action("pane.firewall", Scope.GLOBAL, "firewall", "the firewall rules", "view:pane_firewall"),
    Action("pane.view", Scope.GLOBAL, "network view", "bridges, ports, containers and the rules between", "view:pane_view", hint=21),
    Action("pane.system", Scope.GLOBAL, "system", "the engine, the host and the latest events", "view:pane_system"),
    Action("pane.next", Scope.GLOBAL, "next pane", "the next pane", "view:next_pane"),
    Action("pane.previous", Scope.GLOBAL, "previous pane", "the previous pane", "view:previous_pane"),
    Action("pane.zoom", Scope.GLOBAL, "zoom", "give the focused column the whole width", "view:zoom"),
    Action("pane.unzoom", Scope.GLOBAL, "unzoom", "share the width again", "view:unzoom"),
    Action("pane.last", Scope.GLOBAL, "last view", "back to the pane you came from", "view:last_pane"),
    Action("find.filter", Scope.GLOBAL, "filter", "show only lines that contain the words; ! first inverts", "view:filter", hint=22),
    Action("find.command", Scope.GLOBAL, "command", "type any pilothouse command", "view:command", hint=23),
    Action("find.palette", Scope.GLOBAL, "palette", "find an action by name", "view:palette"),
    Action("find.help", Scope.GLOBAL, "help", "every key that works here", "view:help", hint=20),
    Action("global.back", Scope.GLOBAL, "back", "clear the filter or the marks, or go back", "view:back"),
    Action("global.copy", Scope.GLOBAL, "copy", "copy the selected line's id or text (OSC 52)", "view:copy"),
    Action("global.journal", Scope.GLOBAL, "journal", "what was done, and the command that does it", "view:journal"),
    Action("global.lock", Scope.GLOBAL, "lock", "read-only until unlocked: no verb changes anything", "view:lock"),
    Action("global.refresh", Scope.GLOBAL, "refresh", "read everything again now", "view:refresh"),
    Action("global.redraw", Scope.GLOBAL, "redraw", "paint the whole screen again", "view:redraw"),
    Action("global.cancel", Scope.GLOBAL, "cancel", "cancel the running job; never quits", "view:cancel"),
    Action("global.quit", Scope.GLOBAL, "back/quit", "go back, or leave the console; containers run on", "view:quit"),
    # dialogs, forms, prompt
    Action("dialog.accept", Scope.DIALOG, "yes", "do it", "dialogs:accept", hint=2),
    Action("dialog.cancel", Scope.DIALOG, "cancel", "leave everything as it is", "dialogs:cancel", hint=1),
    Action("dialog.choose", Scope.DIALOG, "choose", "the highlighted answer", "dialogs:choose", hint=3),
    Action("dialog.other", Scope.DIALOG, "other answer", "highlight the other answer", "dialogs:other"),
    Action("form.submit", Scope.FORM, "go", "check the form and do it", "dialogs:submit", hint=1),
    Action("form.next", Scope.FORM, "next field", "the next field", "dialogs:next_field", hint=2),
    Action("form.previous", Scope.FORM, "previous field", "the previous field", "dialogs:previous_field"),
    Action("form.cancel", Scope.FORM, "cancel", "leave the form", "dialogs:cancel", hint=3),
    Action("prompt.cancel", Scope.PROMPT, "cancel", "leave the line", "dialogs:cancel_prompt", hint=2),
    Action("prompt.older", Scope.PROMPT, "older", "the command before", "dialogs:older", hint=3),
    Action("prompt.newer", Scope.PROMPT, "newer", "the command after", "dialogs:newer"),
)  # fmt: skip

BY_ID: dict[str, Action] = {action.id: action for action in ACTIONS}


def in_scopes(scopes: Iterable[Scope]) -> list[Action]:
    """The actions of ``scopes``, in the order of the scopes and of the table."""
    return [action for scope in scopes for action in ACTIONS if action.scope is scope]
