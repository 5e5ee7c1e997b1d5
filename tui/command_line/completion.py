"""What may come next on a command line: verbs, flags, the words a flag knows, or names of a kind of object.

Owns the answer for the console's ``:`` line and for shells, derived from the vocabulary. Looks no object up: it says
which kind is meant and the caller, who has the names at hand, fills them in.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.values import dataclass
from tui.command_line.grammar import BOOL, Flag, Verb, Vocabulary


@dataclass(frozen=True)
class Completion:
    """``words`` that fit, and ``names``: container, image, network, volume, path, signal ... when an object is meant.

    ``prefix`` is the part of the last word that is being completed: for ``--name=we`` it is ``we``.
    """

    words: tuple[str, ...] = ()
    names: str = ""
    prefix: str = ""


def complete(vocabulary: Vocabulary, words: Sequence[str]) -> Completion:
    """What the last of ``words`` (empty for a new one) may become."""
    *before, last = words or [""]
    found = vocabulary.find(before)
    if found is None:
        group = before[0] if before and before[0] in vocabulary.groups else ""
        if len(before) > (1 if group else 0):
            return Completion(prefix=last)
        members = [name for name, _ in vocabulary.members(group)]
        return _fitting(last, sorted({*members, *(() if group else vocabulary.groups)}))
    verb, length = found
    return _after_verb(verb, before[length:], last)


def _after_verb(verb: Verb, before: Sequence[str], last: str) -> Completion:
    pending: Flag | None = None
    operands = 0
    only_operands = False
    for word in before:
        if pending is not None:
            pending = None
        elif only_operands:
            operands += 1
        elif word == "--":
            only_operands = True
        elif word.startswith("-") and word != "-":
            pending = _awaiting(verb, word)
        else:
            operands += 1
            only_operands = verb.command_follows
    if pending is not None:
        return _value(pending, last)
    if last.startswith("-") and not only_operands:
        name, equals, text = last.removeprefix("--").partition("=")
        flag = verb.flag(name)
        if last.startswith("--") and equals:
            return _value(flag, text) if flag is not None else Completion(prefix=text)
        return _fitting(last, [f"--{flag.name}" for flag in verb.flags if not flag.alias_of] + ["--help"])
    if verb.command_follows and operands > 0:
        return Completion(prefix=last)
    if verb.maximum is not None and operands >= verb.maximum:
        return Completion(prefix=last)
    return Completion(names=verb.names, prefix=last)


def _awaiting(verb: Verb, word: str) -> Flag | None:
    """The flag whose value is the next word, if ``word`` leaves one waiting."""
    if word.startswith("--"):
        flag = None if "=" in word else verb.flag(word[2:])
        return flag if flag is not None and flag.kind != BOOL else None
    for index, letter in enumerate(word[1:], 2):
        flag = verb.short_flag(letter)
        if flag is None:
            return None
        if flag.kind != BOOL:
            return flag if index == len(word) else None
    return None


def _value(flag: Flag, text: str) -> Completion:
    if "|" in flag.names:
        return _fitting(text, flag.names.split("|"))
    return Completion(names=flag.names, prefix=text)


def _fitting(prefix: str, words: Sequence[str]) -> Completion:
    return Completion(tuple(word for word in words if word.startswith(prefix)), prefix=prefix)
