"""Completion of command lines from the vocabulary."""

from __future__ import annotations

import pytest

from tui.command_line.completion import complete
from tui.command_line.vocabulary import VOCABULARY

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("st", ("start", "stop")),
        ("container un", ("unpause",)),
        ("vol", ("volume",)),
        ("volume c", ("create",)),
        ("rm --f", ("--force",)),
        ("run --res", ("--restart",)),
        ("run --restart un", ("unless-stopped",)),
        ("run --restart=al", ("always",)),
        ("inspect --type n", ("network",)),
        ("nosuch x", ()),
        ("run x --r", ()),
    ],
)
def test_words(line: str, words: tuple[str, ...]) -> None:
    assert complete(VOCABULARY, line.split(" ")).words == words


@pytest.mark.parametrize(
    ("line", "names", "prefix"),
    [
        ("stop we", "container", "we"),
        ("stop -t 3 we", "container", "we"),
        ("stop -t ", "", ""),
        ("run -it ", "image", ""),
        ("run --network=la", "network", "la"),
        ("run -dp 80:80 ng", "image", "ng"),
        ("run -e ng", "", "ng"),
        ("run x we", "", "we"),
        ("logs web x", "", "x"),
        ("volume rm da", "volume", "da"),
        ("build ./", "path", "./"),
        ("rm -- -o", "container", "-o"),
    ],
)
def test_names(line: str, names: str, prefix: str) -> None:
    found = complete(VOCABULARY, line.split(" "))
    assert (found.names, found.prefix) == (names, prefix)


def test_an_empty_line_offers_every_verb_and_management_word() -> None:
    words = complete(VOCABULARY, []).words
    assert {"run", "container", "volume"} <= set(words)
