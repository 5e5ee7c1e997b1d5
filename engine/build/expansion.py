"""Words of a Dockerfile: quotes, escapes, ``$name`` and ``${name…}``.

Owns the small shell language of the Dockerfile reference ("Environment replacement"). Pure: text and a mapping in,
text out. Knows no instructions; which instruction expands what is decided in ``scope``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from engine.values import dataclass

# Go's unicode.IsSpace, which is what the language is defined with; str.isspace() also takes 0x1c to 0x1f.
SPACES = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))

_SPECIAL_PARAMETERS = "@*#?-$!0"
_PATTERN_META = "[]{}.+()|^$"


class ExpansionError(ValueError):
    """A word that cannot be expanded; the message is docker's."""


@dataclass(frozen=True)
class Rules:
    """How words are read.

    ``escape`` is the escape character. ``raw_quotes`` and ``raw_escapes`` keep quotes and escapes in the result.
    ``quotes`` is False where quotes mean nothing (heredoc bodies). ``keep_unset`` leaves unset variables as written.
    """

    escape: str = "\\"
    raw_quotes: bool = False
    raw_escapes: bool = False
    quotes: bool = True
    keep_unset: bool = False


DEFAULT = Rules()
HEREDOC_BODY = Rules(quotes=False)


@dataclass(frozen=True)
class Expanded:
    """The result: the whole word, and its split into words."""

    text: str
    words: tuple[str, ...]


def expand(word: str, environment: Mapping[str, str], rules: Rules = DEFAULT) -> Expanded:
    """Expand ``word``; splitting happens after expansion, so a variable's spaces split and quoted ones do not.

    Raises ExpansionError with docker's message for bad substitutions and unfinished quotes.
    """
    if not any(special in word for special in ("$", "'", '"', "<", rules.escape)):
        return Expanded(word, tuple(part for part in _split(word) if part))
    lexer = _Lexer(word, environment, rules)
    try:
        text, words = lexer.until("", rules.raw_escapes)
    except ExpansionError as error:
        raise ExpansionError(f"failed to process {quote(word)}: {error}") from None
    return Expanded(text, tuple(words))


def quote(text: str) -> str:
    """``text`` in double quotes with Go's escapes, as docker's messages print it."""
    table = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\v": "\\v", "\f": "\\f"}
    table.update({"\a": "\\a", "\b": "\\b"})
    out = []
    for character in text:
        if character in table:
            out.append(table[character])
        elif character == " " or character.isprintable():
            out.append(character)
        else:
            out.append(f"\\x{ord(character):02x}" if ord(character) < 0x80 else f"\\u{ord(character):04x}")
    return '"' + "".join(out) + '"'


def _split(text: str) -> list[str]:
    return re.split(f"[{SPACES}]+", text)


class _Words:
    """Collects words while characters arrive, quoted ones without splitting."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self._current: list[str] = []

    def add(self, text: str) -> None:
        for character in text:
            if character in SPACES:
                self._finish()
            else:
                self._current.append(character)

    def add_raw(self, text: str) -> None:
        if text:
            self._current.append(text)

    def _finish(self) -> None:
        if self._current:
            self.done.append("".join(self._current))
            self._current = []

    def result(self) -> list[str]:
        self._finish()
        return self.done


class _Lexer:
    """One pass over one word."""

    def __init__(self, text: str, environment: Mapping[str, str], rules: Rules) -> None:
        self._text = text
        self._position = 0
        self._environment = environment
        self._rules = rules

    def _peek(self) -> str:
        return self._text[self._position] if self._position < len(self._text) else ""

    def _next(self) -> str:
        character = self._peek()
        self._position += 1
        return character

    def until(self, stop: str, raw_escapes: bool) -> tuple[str, list[str]]:
        """Read to the character ``stop`` (consumed), or to the end when it is empty."""
        out: list[str] = []
        words = _Words()
        while (character := self._peek()) != "":
            if stop and character == stop:
                self._next()
                return "".join(out), words.result()
            if character == "$":
                piece = self._dollar(raw_escapes)
                words.add(piece)
            elif character == "'" and self._rules.quotes:
                piece = self._single_quoted()
                words.add_raw(piece)
            elif character == '"' and self._rules.quotes:
                piece = self._double_quoted(raw_escapes)
                words.add_raw(piece)
            elif character == "<":
                piece = self._possible_heredoc()
                words.add_raw(piece)
            elif character == self._rules.escape:
                self._next()
                piece = (character if raw_escapes else "") + self._next()
                words.add_raw(piece)
            else:
                piece = self._next()
                words.add(piece)
            out.append(piece)
        if stop:
            raise ExpansionError(f"unexpected end of statement while looking for matching {stop}")
        return "".join(out), words.result()

    def _possible_heredoc(self) -> str:
        # Blanks between << and the terminator belong to the same word.
        out = self._next()
        if self._peek() != "<":
            return out
        out += self._next()
        while self._peek() in (" ", "\t"):
            out += self._next()
        return out

    def _single_quoted(self) -> str:
        opening = self._next()
        end = self._text.find("'", self._position)
        if end < 0:
            raise ExpansionError("unexpected end of statement while looking for matching single-quote")
        body = self._text[self._position : end]
        self._position = end + 1
        return opening + body + "'" if self._rules.raw_quotes else body

    def _double_quoted(self, raw_escapes: bool) -> str:
        opening = self._next()
        out = [opening] if self._rules.raw_quotes else []
        while True:
            character = self._peek()
            if character == "":
                raise ExpansionError("unexpected end of statement while looking for matching double-quote")
            if character == '"':
                self._next()
                if self._rules.raw_quotes:
                    out.append(character)
                return "".join(out)
            if character == "$":
                out.append(self._dollar(raw_escapes))
                continue
            self._next()
            if character == self._rules.escape:
                if raw_escapes:
                    out.append(character)
                following = self._peek()
                if following == "":
                    continue
                if following in ('"', "$", self._rules.escape):
                    character = self._next()
            out.append(character)

    def _dollar(self, raw_escapes: bool) -> str:
        self._next()
        if self._peek() != "{":
            name = self._name()
            if not name:
                return "$"
            value = self._lookup(name)
            if value is None:
                return f"${name}" if self._rules.keep_unset else ""
            return value
        self._next()
        following = self._peek()
        if following == "":
            raise ExpansionError("syntax error: missing '}'")
        if following in "{}:":
            raise ExpansionError("syntax error: bad substitution")
        return self._braced(self._name(), raw_escapes)

    def _braced(self, name: str, raw_escapes: bool) -> str:
        modifier = self._next()
        if modifier == "":
            raise ExpansionError("syntax error: missing '}'")
        if modifier == "}":
            value = self._lookup(name)
            if value is None:
                return f"${{{name}}}" if self._rules.keep_unset else ""
            return value
        if modifier == "/":
            return self._replace(name)
        spelled = modifier
        empty_is_unset = modifier == ":"
        if empty_is_unset:
            modifier = self._next()
            spelled += modifier
        if modifier not in tuple("+-?#%"):
            if empty_is_unset:
                self._until_brace(raw_escapes)
            raise ExpansionError(f"unsupported modifier ({spelled}) in substitution")
        word = self._until_brace(modifier in "#%")
        value = self._lookup(name)
        if value is None and self._rules.keep_unset:
            return f"${{{name}{spelled}{word}}}"
        missing = value is None or (empty_is_unset and value == "")
        if modifier == "-":
            return word if missing else value or ""
        if modifier == "+":
            return "" if missing else word
        if modifier == "?":
            if missing:
                reason = "is not allowed to be unset" if value is None else "is not allowed to be empty"
                raise ExpansionError(f"{name}: {word or reason}")
            return value or ""
        longest = word.startswith(modifier)
        pattern = word[1:] if longest else word
        if modifier == "#":
            return _trim_prefix(pattern, value or "", longest)
        return _trim_suffix(pattern, value or "", longest)

    def _until_brace(self, raw_escapes: bool) -> str:
        try:
            return self.until("}", raw_escapes)[0]
        except ExpansionError:
            if self._peek() == "":
                raise ExpansionError("syntax error: missing '}'") from None
            raise

    def _replace(self, name: str) -> str:
        every = self._peek() == "/"
        if every:
            self._next()
        try:
            pattern = self.until("/", True)[0]
        except ExpansionError:
            if self._peek() == "":
                raise ExpansionError("syntax error: missing '/' in ${}") from None
            raise
        replacement = self._until_brace(True)
        value = self._lookup(name)
        if value is None and self._rules.keep_unset:
            return f"${{{name}/{pattern}/{replacement}}}"
        expression = _shell_pattern(pattern, longest=True)
        return expression.sub(lambda _: replacement, value or "", count=0 if every else 1)

    def _name(self) -> str:
        """A variable's name: digits, one special parameter, or letters, digits and ``_``."""
        start = self._position
        first = self._peek()
        if first.isdigit():
            while self._peek().isdigit():
                self._next()
        elif first and first in _SPECIAL_PARAMETERS:
            self._next()
        else:
            while (character := self._peek()) and (character == "_" or character.isalpha() or character.isdigit()):
                self._next()
        return self._text[start : self._position]

    def _lookup(self, name: str) -> str | None:
        return self._environment.get(name)


def _shell_pattern(pattern: str, *, longest: bool) -> re.Pattern[str]:
    """``*`` and ``?`` of POSIX XCU 2.13 without brackets, as a regular expression."""
    out: list[str] = []
    position = 0
    while position < len(pattern):
        character = pattern[position]
        position += 1
        if character == "*":
            out.append(".*" if longest else ".*?")
        elif character == "?":
            out.append(".")
        elif character == "\\":
            following = pattern[position : position + 1]
            if following in ("}", "/"):
                continue  # escaped for the sake of ${}, not of the pattern
            if following not in ("*", "?", "\\"):
                raise ExpansionError(f"invalid pattern ({pattern}) in substitution: invalid escape '\\{following}'")
            out.append("\\" + following)
            position += 1
        elif character in _PATTERN_META:
            out.append("\\" + character)
        else:
            out.append(character)
    return re.compile("".join(out))


def _trim_prefix(pattern: str, value: str, longest: bool) -> str:
    match = _shell_pattern(pattern, longest=longest).match(value)
    return value[match.end() :] if match else value


def _trim_suffix(pattern: str, value: str, longest: bool) -> str:
    # A regular expression finds the leftmost match; the shortest suffix is found by matching backwards.
    return _trim_prefix(_reversed_pattern(pattern), value[::-1], longest)[::-1]


def _reversed_pattern(pattern: str) -> str:
    pieces = re.findall(r"\\.|.", pattern, re.DOTALL)
    return "".join(reversed(pieces))
