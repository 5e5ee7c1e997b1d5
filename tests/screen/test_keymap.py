"""Keys: every preset is complete and means one thing everywhere, and a user's file cannot break the console."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.widgets import Input

from tests.screen.recorded import console
from tui import keymap
from tui.actions import ACTIONS, BY_ID, CHAINS, Action, Scope

pytestmark = pytest.mark.screen

PRESETS = [path.stem for path in keymap.presets()]
NEVER = {"ctrl+h", "ctrl+i", "ctrl+j", "ctrl+m", "ctrl+a", "ctrl+b", "ctrl+p", "ctrl+q"}


@pytest.mark.parametrize("name", PRESETS)
def test_preset_gives_every_action_a_key_and_no_key_two_meanings(name: str) -> None:
    keys = keymap.load(name, folders=())
    assert keys.problems == ()
    assert [action.id for action in ACTIONS if not keys.keys.get(action.id)] == []
    assert keymap.clashes(keys.keys) == []


@pytest.mark.parametrize("name", PRESETS)
def test_preset_leaves_the_keys_of_terminals_and_multiplexers_alone(name: str) -> None:
    used = {key for keys in keymap.load(name, folders=()).keys.values() for key in keys}
    assert used & NEVER == set()


@pytest.mark.parametrize("name", PRESETS)
async def test_no_binding_of_textual_is_reachable_beside_ours(name: str) -> None:
    app = console(keys=keymap.load(name, folders=()))
    async with app.run_test(size=(200, 50)) as pilot:
        await pilot.pause()
        for focus in [pane.listing for pane in app.main.panes.values()] + [app.main.detail.text]:
            app.main.set_focus(focus)
            seen: dict[str, str] = {}
            for _, bindings in app.screen._binding_chain:
                for key, binding in bindings:
                    assert binding.action.startswith("app.perform("), f"{key} is Textual's own: {binding.action}"
                    assert key not in seen, f"{key}: {seen.get(key)} and {binding.action}"
                    seen[key] = binding.action


def test_form_and_prompt_keys_win_over_those_of_an_input() -> None:
    keys = keymap.load(folders=())
    own = {key for scope in (Scope.FORM, Scope.PROMPT) for a in ACTIONS if a.scope is scope for key in keys.keys[a.id]}
    assert {"escape", "ctrl+c", "enter"} <= own
    assert "left" not in own and "backspace" not in own, "an input must still be editable"
    assert any(binding.key.startswith("left") for binding in Input.BINDINGS)


def test_every_handler_exists_and_every_scope_is_reachable() -> None:
    for action in ACTIONS:
        assert callable(action.resolve()), action.id
    reachable = {scope for chain in CHAINS.values() for scope in chain}
    assert {action.scope for action in ACTIONS} <= reachable


def test_ids_are_unique_and_words_are_there() -> None:
    assert len(BY_ID) == len(ACTIONS)
    for action in ACTIONS:
        assert isinstance(action, Action) and action.title and action.help


def write(folder: Path, text: str, name: str = "keys.toml") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return folder


def test_user_file_overrides_one_id(tmp_path: Path) -> None:
    keys = keymap.load(folders=[write(tmp_path, '[keys]\n"container.stop" = "ctrl+s,x"\n')])
    assert keys.keys["container.stop"] == ("ctrl+s", "x")
    assert keys.problems == ()


def test_unknown_id_is_said_and_the_rest_is_used(tmp_path: Path) -> None:
    keys = keymap.load(folders=[write(tmp_path, '[keys]\n"container.fly" = "f"\n"container.stop" = "ctrl+s"\n')])
    assert keys.keys["container.stop"] == ("ctrl+s",)
    assert "there is no action 'container.fly'" in keys.problems[0]


def test_clash_names_both_and_falls_back_for_that_id_alone(tmp_path: Path) -> None:
    folder = write(tmp_path, '[keys]\n"container.stop" = "r"\n"container.kill" = "ctrl+k"\n')
    keys = keymap.load(folders=[folder])
    assert keys.keys["container.stop"] == ("s",)
    assert keys.keys["container.kill"] == ("ctrl+k",)
    assert "restart" in keys.problems[0] and "stop" in keys.problems[0]
    assert keymap.clashes(keys.keys) == []


@pytest.mark.parametrize("text", ["[keys", 'keys = "x"', '[keys]\n"container.stop" = 3\n', "\x00"])
def test_broken_file_is_said_and_the_default_stays(tmp_path: Path, text: str) -> None:
    keys = keymap.load(folders=[write(tmp_path, text)])
    assert keys.problems
    assert keys.keys == keymap.load(folders=()).keys


def test_unknown_keymap_is_said() -> None:
    keys = keymap.load("nonesuch", folders=())
    assert keys.name == "default" and "no keymap 'nonesuch'" in keys.problems[0]
