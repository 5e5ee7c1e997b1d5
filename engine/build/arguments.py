"""How the rest of an instruction's line splits: command, flags, words, pairs, JSON arrays.

Owns the small grammars that each instruction's arguments follow in BuildKit's parser. Pure; raises ArgumentError with
docker's message. Knows nothing of what the words mean.
"""

from __future__ import annotations

import json
import re

from engine.build.expansion import SPACES, quote

_BLANKS = re.compile(r"[\t\v\f\r ]+")

_JSON_OR_STRING = frozenset({"CMD", "ENTRYPOINT", "RUN", "SHELL"})
_JSON_OR_WORDS = frozenset({"ADD", "COPY", "VOLUME"})
_PAIRS = frozenset({"ENV", "LABEL"})
_PLAIN_WORDS = frozenset({"EXPOSE", "FROM"})
_ONE_STRING = frozenset({"MAINTAINER", "STOPSIGNAL", "USER", "WORKDIR"})


class ArgumentError(ValueError):
    """An instruction's arguments do not follow its grammar; the message is docker's."""


def split_command(line: str) -> tuple[str, tuple[str, ...], str]:
    """``COPY --link a b`` → (``COPY``, (``--link``,), ``a b``)."""
    parts = _BLANKS.split(line.strip(SPACES), maxsplit=1)
    if len(parts) == 1:
        return parts[0], (), ""
    flags, rest = _take_flags(parts[1])
    return parts[0], flags, rest.strip(SPACES)


def split_arguments(name: str, rest: str, escape: str) -> tuple[tuple[str, ...], bool]:
    """The arguments of instruction ``name`` and whether they were a JSON array."""
    if name in _JSON_OR_STRING:
        return _json_or_string(rest)
    if name in _JSON_OR_WORDS:
        array = _json_array(rest)
        return (array, True) if array is not None else (_words(rest), False)
    if name in _PAIRS:
        return _pairs(name, rest, escape), False
    if name in _PLAIN_WORDS:
        return _words(rest), False
    if name in _ONE_STRING:
        return ((rest,) if rest else ()), False
    if name == "ARG":
        return tuple(quoted_words(rest, escape)), False
    if name == "HEALTHCHECK":
        kind, *command = re.split(f"[{SPACES}]+", rest, maxsplit=1)
        if not kind:
            return (), False
        words, is_json = _json_or_string(command[0] if command else "")
        return (kind, *words), is_json
    return (), False


def quoted_words(rest: str, escape: str) -> list[str]:
    """Words parted by spaces outside quotes; quotes and escapes stay in the words for ``expansion`` to read."""
    words: list[str] = []
    current: list[str] = []
    quoting = ""
    started = False
    position = 0
    while position < len(rest):
        character = rest[position]
        position += 1
        if not quoting and character in SPACES:
            if started:
                words.append("".join(current))
            current, started = [], False
            continue
        started = True
        if character == escape and quoting != "'":
            if position == len(rest):
                # An escape at the very end is dropped, and a word that was nothing else is no word.
                started = bool(current)
                break
            current.append(character)
            character = rest[position]
            position += 1
        elif quoting:
            if character == quoting:
                quoting = ""
        elif character in "'\"":
            quoting = character
        current.append(character)
    if started:
        words.append("".join(current))
    return words


def _take_flags(line: str) -> tuple[tuple[str, ...], str]:
    """Leading ``--words`` and the rest; ``--`` ends them. Quotes group, a backslash escapes, whatever the directive."""
    flags: list[str] = []
    position = 0
    while position < len(line):
        if line[position] in SPACES:
            position += 1
            continue
        if not line.startswith("--", position):
            return tuple(flags), line[position:]
        word: list[str] = []
        quoting = ""
        while position < len(line):
            character = line[position]
            if not quoting and character in SPACES:
                break
            position += 1
            if character == "\\":
                if position == len(line):
                    break
                word.append(line[position])
                position += 1
            elif quoting and character == quoting:
                quoting = ""
            elif not quoting and character in "'\"":
                quoting = character
            else:
                word.append(character)
        flag = "".join(word)
        if flag == "--":
            return tuple(flags), line[position:]
        flags.append(flag)
    return tuple(flags), ""


def _words(rest: str) -> tuple[str, ...]:
    return tuple(_BLANKS.split(rest)) if rest else ()


def _json_or_string(rest: str) -> tuple[tuple[str, ...], bool]:
    if not rest:
        return (), False
    array = _json_array(rest)
    return (array, True) if array is not None else ((rest,), False)


def _json_array(rest: str) -> tuple[str, ...] | None:
    """The strings of a JSON array, or None when ``rest`` is no valid JSON array and therefore in shell form."""
    if not rest.lstrip(SPACES).startswith("["):
        return None
    try:
        array = json.loads(rest.lstrip(SPACES), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(item, str) for item in array):
        raise ArgumentError("when using JSON array syntax, arrays must be comprised of strings only")
    return tuple(array)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _pairs(name: str, rest: str, escape: str) -> tuple[str, ...]:
    """``k=v k2=v2`` or the old ``k the rest`` → (k, v, …)."""
    words = quoted_words(rest, escape)
    if not words:
        return ()
    if "=" not in words[0]:
        parts = _BLANKS.split(rest, maxsplit=1)
        if len(parts) < 2:
            raise ArgumentError(f"{name} must have two arguments")
        return (parts[0], parts[1])
    out: list[str] = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise ArgumentError(f"Syntax error - can't find = in {quote(word)}. Must be of the form: name=value")
        out += (key, value)
    return tuple(out)
