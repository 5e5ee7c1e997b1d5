"""Reads a Go template into a tree.

Owns the language of Go's text/template as far as ``--format`` uses it: actions, pipelines, ``if / else if / else``,
``range``, ``with``, variables, comments and white-space trimming, with its error words. Evaluates nothing and knows
no function but by name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from engine.errors import InvalidInput
from engine.values import dataclass


class TemplateError(InvalidInput):
    """The template cannot be read or does not fit the data; exit code as docker's, 1 (64 for a bad --format of ps)."""

    exit_code = 1


@dataclass(frozen=True)
class Text:
    """Literal text between actions."""

    text: str


@dataclass(frozen=True)
class Literal:
    """A constant: string, number, boolean or nil."""

    value: object
    source: str
    position: int


@dataclass(frozen=True)
class Path:
    """Field lookups: from dot (``base`` None), a variable's name, or a parenthesised pipeline."""

    base: str | Pipeline | None
    fields: tuple[str, ...]
    source: str
    position: int


@dataclass(frozen=True)
class Call:
    """A function or a value with its arguments: one stage of a pipeline."""

    name: str
    arguments: tuple[Operand, ...]
    position: int


@dataclass(frozen=True)
class Pipeline:
    """Stages joined by ``|``; ``variables`` take the result, newly declared if ``declares``."""

    stages: tuple[Call, ...]
    variables: tuple[str, ...] = ()
    declares: bool = False


@dataclass(frozen=True)
class Action:
    """``{{pipeline}}``."""

    pipeline: Pipeline


@dataclass(frozen=True)
class Branch:
    """``if``, ``with`` or ``range`` with its two bodies."""

    word: str
    pipeline: Pipeline
    body: tuple[Node, ...]
    otherwise: tuple[Node, ...]


@dataclass(frozen=True)
class Jump:
    """``break`` or ``continue`` inside a range."""

    word: str


Operand = Literal | Path | Call
Node = Text | Action | Branch | Jump

_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<string>"(?:[^"\\\n]|\\.)*"|`[^`]*`|'(?:[^'\\\n]|\\.)*')
      | (?P<number>[+-]?(?:0[xX][0-9a-fA-F]+|\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+))
      | (?P<field>\.[^\W\d]\w*)
      | (?P<variable>\$\w*)
      | (?P<word>[^\W\d]\w*)
      | (?P<mark>:=|[.|()=,])""",
    re.VERBOSE,
)
_KEYWORDS = frozenset({"if", "else", "end", "range", "with", "break", "continue", "define", "template", "block"})


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    position: int


def parse(source: str, functions: Sequence[str]) -> tuple[Node, ...]:
    """The tree of ``source``; ``functions`` are the names that may be called. TemplateError in Go's words."""
    return _Parser(source, frozenset(functions)).parse()


class _Parser:
    def __init__(self, source: str, functions: frozenset[str]) -> None:
        self.source = source
        self.functions = functions
        self.pieces = self._pieces()
        self.index = 0
        self.tokens: list[_Token] = []
        self.at = 0
        self.ranges = 0

    def fail(self, message: str, position: int = -1) -> TemplateError:
        line = 1 + self.source.count("\n", 0, position if position >= 0 else len(self.source))
        return TemplateError(f"template: :{line}: {message}")

    def parse(self) -> tuple[Node, ...]:
        nodes, ending = self._nodes()
        if ending:
            raise self.fail(f"unexpected {{{{{ending}}}}}", self._position())
        return nodes

    def _pieces(self) -> list[tuple[str, str, int]]:
        """Text and actions in turn, trimmed as ``{{-`` and ``-}}`` say; positions are those of the inner text."""
        pieces: list[tuple[str, str, int]] = []
        position, trim = 0, False
        while True:
            start = self.source.find("{{", position)
            text = self.source[position : start if start >= 0 else len(self.source)]
            if trim:
                text = text.lstrip(" \t\r\n")
            if start < 0:
                pieces.append(("text", text, position))
                return pieces
            inner = start + 2
            if self.source[inner : inner + 1] == "-" and self.source[inner + 1 : inner + 2].isspace():
                text = text.rstrip(" \t\r\n")
                inner += 1
            pieces.append(("text", text, position))
            end = self._action_end(inner)
            trim = self.source[end - 1 : end] == "-" and self.source[end - 2 : end - 1].isspace() and end - 1 > inner
            body = self.source[inner : end - 1 if trim else end]
            if not body.strip().startswith("/*"):
                pieces.append(("action", body, inner))
            position = end + 2

    def _action_end(self, position: int) -> int:
        if self.source[position:].lstrip().startswith("/*"):
            close = self.source.find("*/", position)
            if close < 0:
                raise self.fail("unclosed comment", position)
            end = self.source.find("}}", close)
            if end < 0 or self.source[close + 2 : end].strip() not in ("", "-"):
                raise self.fail("comment ends before closing delimiter", position)
            return end
        quote = ""
        index = position
        while index < len(self.source):
            character = self.source[index]
            if quote:
                if character == "\\" and quote != "`":
                    index += 1
                elif character == quote:
                    quote = ""
                elif character == "\n" and quote != "`":
                    break
            elif character in "\"'`":
                quote = character
            elif self.source.startswith("}}", index):
                return index
            index += 1
        if quote == "`":
            raise self.fail("unterminated raw quoted string", index)
        if quote:
            raise self.fail("unterminated quoted string" if quote == '"' else "unterminated character constant", index)
        raise self.fail("unclosed action", position)

    def _position(self) -> int:
        return self.pieces[min(self.index, len(self.pieces)) - 1][2]

    def _nodes(self) -> tuple[tuple[Node, ...], str]:
        """Nodes up to an ``end`` or ``else`` that is not theirs; which of the two it was, empty at the end."""
        nodes: list[Node] = []
        while self.index < len(self.pieces):
            kind, text, position = self.pieces[self.index]
            self.index += 1
            if kind == "text":
                if text:
                    nodes.append(Text(text))
                continue
            self.tokens, self.at = self._tokens(text, position), 0
            first = self._peek()
            if first is None:
                raise self.fail("missing value for command", position)
            if first.kind != "word" or first.text not in _KEYWORDS:
                nodes.append(Action(self._pipeline("command")))
                self._finish("command")
                continue
            self.at += 1
            if first.text in ("end", "else"):
                if first.text == "end":
                    self._finish("end")
                return tuple(nodes), first.text
            if first.text in ("break", "continue"):
                if not self.ranges:
                    raise self.fail(f"{{{{{first.text}}}}} outside {{{{range}}}}", position)
                self._finish(first.text)
                nodes.append(Jump(first.text))
            elif first.text in ("if", "range", "with"):
                nodes.append(self._branch(first.text))
            else:
                raise self.fail(f"{{{{{first.text}}}}} is not supported here", position)
        return tuple(nodes), ""

    def _branch(self, word: str) -> Branch:
        pipeline = self._pipeline(word)
        self._finish(word)
        self.ranges += word == "range"
        body, ending = self._nodes()
        self.ranges -= word == "range"
        otherwise: tuple[Node, ...] = ()
        if ending == "else":
            following = self._peek()
            if following is not None and following.text in ("if", "with") and word == following.text:
                self._take()
                return Branch(word, pipeline, body, (self._branch(word),))
            self._finish("else")
            otherwise, ending = self._nodes()
        if ending != "end":
            raise self.fail("unexpected EOF" if not ending else f"expected end; found {{{{{ending}}}}}")
        return Branch(word, pipeline, body, otherwise)

    def _tokens(self, text: str, offset: int) -> list[_Token]:
        tokens = []
        position = 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                raise self.fail(f"unexpected {text[position]!r} in command", offset + position)
            kind = match.lastgroup or ""
            # A field right after something joins it: (index .Ports "80/tcp").HostPort
            tokens.append(_Token(kind, match.group(), offset + position))
            position = match.end()
        while tokens and tokens[-1].kind == "space":
            tokens.pop()
        while tokens and tokens[0].kind == "space":
            tokens.pop(0)
        return tokens

    def _peek(self, *, spaces: bool = False) -> _Token | None:
        at = self.at
        while not spaces and at < len(self.tokens) and self.tokens[at].kind == "space":
            at += 1
        return self.tokens[at] if at < len(self.tokens) else None

    def _take(self) -> _Token | None:
        token = self._peek()
        if token is not None:
            self.at = self.tokens.index(token, self.at) + 1
        return token

    def _finish(self, context: str) -> None:
        token = self._peek()
        if token is not None:
            raise self.fail(f"unexpected {token.text!r} in {context}".replace("'", '"'), token.position)

    def _pipeline(self, context: str) -> Pipeline:
        variables, declares = self._declaration()
        stages = [self._call(context)]
        while (token := self._peek()) is not None and token.text == "|" and token.kind == "mark":
            self._take()
            stages.append(self._call(context))
        return Pipeline(tuple(stages), variables, declares)

    def _declaration(self) -> tuple[tuple[str, ...], bool]:
        start = self.at
        variables: list[str] = []
        while (token := self._take()) is not None and token.kind == "variable":
            variables.append(token.text)
            mark = self._take()
            if mark is not None and mark.text in (":=", "="):
                return tuple(variables), mark.text == ":="
            if mark is None or mark.text != ",":
                break
        self.at = start
        return (), False

    def _call(self, context: str) -> Call:
        token = self._peek()
        if token is None or token.text in ("|", ")"):
            raise self.fail(f"missing value for {context}", token.position if token else self._position())
        name = ""
        position = token.position
        if token.kind == "word" and token.text not in ("true", "false", "nil"):
            self._take()
            name = token.text
            if name not in self.functions:
                raise self.fail(f'function "{name}" not defined', token.position)
        arguments: list[Operand] = []
        while (token := self._peek()) is not None and token.text not in ("|", ")", "=", ":=", ","):
            arguments.append(self._operand(context))
        return Call(name, tuple(arguments), position)

    def _operand(self, context: str) -> Operand:
        token = self._take()
        assert token is not None  # the caller has peeked
        start = token.position
        base: str | Pipeline | None = None
        fields: list[str] = []
        if token.kind == "string":
            return Literal(self._unquote(token), token.text, start)
        if token.kind == "number":
            return Literal(_number(token.text), token.text, start)
        if token.kind == "word":
            if token.text in ("true", "false", "nil"):
                value = {"true": True, "false": False, "nil": None}[token.text]
                return Literal(value, token.text, start)
            if token.text not in self.functions:
                raise self.fail(f'function "{token.text}" not defined', start)
            return Call(token.text, (), start)
        if token.kind == "variable":
            base = token.text
        elif token.text == "(":
            base = self._pipeline("parenthesized pipeline")
            close = self._take()
            if close is None or close.text != ")":
                raise self.fail("unclosed left paren", start)
        elif token.kind == "field":
            fields.append(token.text[1:])
        elif token.text != ".":
            raise self.fail(f'unexpected "{token.text}" in {context}', start)
        while (following := self._peek(spaces=True)) is not None and following.kind == "field":
            self.at += 1
            fields.append(following.text[1:])
        end = self.tokens[self.at - 1]
        return Path(base, tuple(fields), self.source[start : end.position + len(end.text)], start)

    def _unquote(self, token: _Token) -> object:
        text = token.text
        if text.startswith("`"):
            return text[1:-1]
        try:
            # Go's escapes are Python's, but for octal \NNN which both have, and \a \b \f \v likewise.
            value = re.sub(r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)", _escape, text[1:-1])
        except ValueError:
            raise self.fail("invalid syntax", token.position) from None
        return ord(value) if text.startswith("'") and len(value) == 1 else value


_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "\\": "\\", '"': '"', "'": "'"}


def _escape(match: re.Match[str]) -> str:
    body = match.group()[1:]
    if body[0] in "xuU" and len(body) > 1:
        return chr(int(body[1:], 16))
    if body.isdigit():
        return chr(int(body, 8))
    if body not in _ESCAPES:
        raise ValueError(body)
    return _ESCAPES[body]


def _number(text: str) -> int | float:
    try:
        return int(text, 0)
    except ValueError:
        return float(text)
