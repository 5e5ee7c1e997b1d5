"""Which key does what: presets from TOML, the user's overrides, and the check that no key means two things.

Owns reading ``keymaps/*.toml`` and ``~/.config/pilothouse/keymaps/*.toml`` and their validation against the action
table. Never raises over a user's file: what is wrong is said in words and the default stands in for that id.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from engine.values import dataclass, field
from tui import shipped
from tui.actions import ACTIONS, BY_ID, CHAINS, Action, Scope

if TYPE_CHECKING:
    from textual.binding import BindingsMap

DEFAULT = "default"

# Characters a terminal sends and Textual names otherwise.
_NAMES = {
    "!": "exclamation_mark", "*": "asterisk", "+": "plus", "-": "minus", ".": "full_stop", "/": "slash",
    ":": "colon", "?": "question_mark", "[": "left_square_bracket", "]": "right_square_bracket", "_": "underscore",
}  # fmt: skip
_SHOWN = {value: key for key, value in _NAMES.items()} | {
    "escape": "esc", "pagedown": "PgDn", "pageup": "PgUp", "shift+tab": "⇧tab", "down": "↓", "up": "↑", "left": "←",
    "right": "→", "question_mark": "?",
}  # fmt: skip


def normalise(key: str) -> str:
    """A key as Textual names it: ``*`` is ``asterisk``, ``space`` stays."""
    key = key.strip()
    if len(key) != 1 or key.isalnum():
        return key
    return _NAMES.get(key) or unicodedata.name(key, key).lower().replace("-", "_").replace(" ", "_")


def shown(key: str) -> str:
    """A key as the operator reads it: ``ctrl+d`` is ``^d``."""
    key = _SHOWN.get(key, key)
    return f"^{key[5:]}" if key.startswith("ctrl+") else key


@dataclass(frozen=True)
class Keymap:
    """Keys per action id; ``problems`` says in words what was wrong with the files it came from."""

    name: str
    keys: Mapping[str, tuple[str, ...]]
    problems: tuple[str, ...] = field(default=())

    def first(self, action_id: str) -> str:
        """The key to show for an action, or an empty string."""
        keys = self.keys.get(action_id, ())
        return shown(keys[0]) if keys else ""

    def shown(self, action_id: str) -> str:
        """All keys of an action, for the help screen."""
        return " ".join(shown(key) for key in self.keys.get(action_id, ()))

    @cached_property
    def _maps(self) -> dict[tuple[Scope, ...], BindingsMap]:
        return {}

    def bindings(self, *scopes: Scope) -> BindingsMap:
        """The Textual bindings of the actions in ``scopes``."""
        from textual.binding import Binding, BindingsMap

        if scopes not in self._maps:
            self._maps[scopes] = BindingsMap(
                Binding(key, f"app.perform('{action.id}')", action.title, tooltip=action.help, show=False, id=None)
                for action in ACTIONS
                if action.scope in scopes
                for key in self.keys.get(action.id, ())
            )
        return self._maps[scopes].copy()


def clashes(keys: Mapping[str, tuple[str, ...]]) -> list[tuple[str, str, str]]:
    """(key, first id, second id) for every key that means two things somewhere it is reachable."""
    found: dict[tuple[str, str, str], None] = {}
    for chain in CHAINS.values():
        owners: dict[str, Action] = {}
        for scope in chain:
            for action in (action for action in ACTIONS if action.scope is scope):
                for key in keys.get(action.id, ()):
                    other = owners.setdefault(key, action)
                    # The prompt takes keys from the screen below on purpose: it is left before those count again.
                    if other is not action and other.scope is not Scope.PROMPT:
                        found[(key, other.id, action.id)] = None
    return list(found)


def _read(path: Path) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """The ``[keys]`` table of one file, and what could not be used of it."""
    import tomli

    try:
        table = tomli.loads(path.read_text(encoding="utf-8")).get("keys", {})
    except (OSError, UnicodeDecodeError, tomli.TOMLDecodeError) as error:
        return {}, [f"keymap {path.name}: {error}; the default keys are used"]
    if not isinstance(table, dict):
        return {}, [f"keymap {path.name}: [keys] is not a table; the default keys are used"]
    keys: dict[str, tuple[str, ...]] = {}
    problems: list[str] = []
    for action_id, value in table.items():
        if action_id not in BY_ID:
            problems.append(f"keymap {path.name}: there is no action '{action_id}'")
        elif not isinstance(value, str):
            problems.append(f"keymap {path.name}: the keys of '{action_id}' are not text")
        else:
            keys[action_id] = tuple(normalise(key) for key in value.split(",") if key.strip())
    return keys, problems


def _merge(base: Mapping[str, tuple[str, ...]], over: Mapping[str, tuple[str, ...]], name: str) -> tuple[
    dict[str, tuple[str, ...]], list[str]
]:  # fmt: skip
    """``over`` on top of ``base``, id by id, leaving out what would make one key mean two things."""
    merged = dict(base)
    merged.update(over)
    problems: list[str] = []
    for _ in range(len(over) + 1):
        conflict = next(iter(clashes(merged)), None)
        if conflict is None:
            break
        key, first, second = conflict
        loser = second if second in over and merged[second] != base.get(second) else first
        problems.append(
            f"keymap {name}: key {shown(key)} is both '{BY_ID[first].title}' ({first}) and "
            f"'{BY_ID[second].title}' ({second}); {loser} keeps its default"
        )
        if merged[loser] == base.get(loser):
            break
        merged[loser] = base.get(loser, ())
    return merged, problems


def load(name: str = DEFAULT, *, folders: Iterable[Path] | None = None) -> Keymap:
    """The keymap called ``name``: the shipped default, the shipped preset of that name, then the user's files.

    The user's file ``NAME.toml`` is laid over the preset of the same name; ``keys.toml`` over whichever is active.
    """
    own = shipped.folder("keymaps")
    keys, problems = _read(own / f"{DEFAULT}.toml")
    chosen = [own / f"{name}.toml"] if name != DEFAULT else []
    for folder in folders if folders is not None else (shipped.user_folder("keymaps"),):
        chosen += [folder / f"{name}.toml", folder / "keys.toml"]
    found = name == DEFAULT
    for path in chosen:
        if not path.is_file():
            continue
        found = found or path.stem == name
        over, wrong = _read(path)
        problems += wrong
        keys, wrong = _merge(keys, over, path.name)
        problems += wrong
    if not found:
        problems.append(f"there is no keymap '{name}'; the default keys are used")
    return Keymap(name if found else DEFAULT, keys, tuple(problems))


def presets() -> list[Path]:
    """The keymap files that are shipped."""
    return sorted(shipped.folder("keymaps").glob("*.toml"))
