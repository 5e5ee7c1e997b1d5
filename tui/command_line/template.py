"""Carries out a Go template on JSON-like data, as ``--format`` does.

Owns evaluation: field and key lookup, truth, comparison, the functions docker adds (json, join, split, upper, …) and
Go's way to print values and to word errors. Data are dicts, lists, strings, numbers, booleans and None; a mapping that
offers only certain fields says so in ``kind``, which then appears in the error as the type.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from tui.command_line.template_parser import (
    Action,
    Branch,
    Call,
    Jump,
    Literal,
    Node,
    Operand,
    Path,
    Pipeline,
    TemplateError,
    Text,
    parse,
)
from tui.command_line.template_values import Mismatch, equal, format_values, kind_of, less, show, truth

# Names that docker's Go structs have and its JSON spells otherwise; templates use both.
_STRUCT_NAMES = {"ID": "Id", "HostIP": "HostIp"}


class Template:
    """A parsed template; ``render`` gives its text for one object."""

    def __init__(self, source: str, *, kind: str = "") -> None:
        self.source = source
        self._kind = kind
        self._nodes = _parsed(source)

    def render(self, data: object) -> str:
        """The text for ``data``; TemplateError in Go's words where the template asks for what is not there."""
        output: list[str] = []
        _Run(self.source, self._kind, output, data).nodes(self._nodes, data)
        return "".join(output)


@lru_cache(maxsize=64)
def _parsed(source: str) -> tuple[Node, ...]:
    return parse(source, tuple(FUNCTIONS))


class _Leave(Exception):
    """Leaves a range body: ``break`` or ``continue``."""

    def __init__(self, word: str) -> None:
        self.word = word


class _Run:
    def __init__(self, source: str, kind: str, output: list[str], root: object) -> None:
        self.source = source
        self.kind = kind
        self.output = output
        self.root = root
        self.variables: list[tuple[str, object]] = [("$", root)]

    def fail(self, position: int, what: str, message: str) -> TemplateError:
        before = self.source[:position]
        line = before.count("\n") + 1
        column = position - (before.rfind("\n") + 1)
        return TemplateError(f'template: :{line}:{column}: executing "" at <{what}>: {message}')

    def nodes(self, nodes: Sequence[Node], dot: object) -> None:
        for node in nodes:
            if isinstance(node, Text):
                self.output.append(node.text)
            elif isinstance(node, Action):
                value = self.pipeline(node.pipeline, dot)
                if not node.pipeline.variables:
                    self.output.append(show(value))
            elif isinstance(node, Jump):
                raise _Leave(node.word)
            else:
                self.branch(node, dot)

    def branch(self, node: Branch, dot: object) -> None:
        mark = len(self.variables)
        if node.word == "range":
            self.range(node, dot)
        else:
            value = self.pipeline(node.pipeline, dot)
            if truth(value):
                self.nodes(node.body, value if node.word == "with" else dot)
            else:
                self.nodes(node.otherwise, dot)
        del self.variables[mark:]

    def range(self, node: Branch, dot: object) -> None:
        names = node.pipeline.variables
        value = self.pipeline(Pipeline(node.pipeline.stages), dot)
        items: list[tuple[object, object]]
        if isinstance(value, Mapping):
            items = [(key, value[key]) for key in sorted(value)]
        elif isinstance(value, (list, tuple)):
            items = list(enumerate(value))
        elif isinstance(value, int) and not isinstance(value, bool):
            items = [(number, number) for number in range(value)]
        elif value is None:
            items = []
        else:
            first = node.pipeline.stages[0]
            raise self.fail(first.position, _written(first), f"range can't iterate over {show(value)}")
        if not items:
            self.nodes(node.otherwise, dot)
            return
        mark = len(self.variables)
        for key, item in items:
            del self.variables[mark:]
            pair = (item,) if len(names) == 1 else (key, item)
            self.variables.extend(zip(names, pair, strict=False))
            try:
                self.nodes(node.body, item)
            except _Leave as leave:
                if leave.word == "break":
                    break

    def pipeline(self, pipeline: Pipeline, dot: object) -> object:
        value: object = None
        for number, stage in enumerate(pipeline.stages):
            value = self.call(stage, dot, [value] if number else [])
        if pipeline.variables:
            self.assign(pipeline, value)
        return value

    def assign(self, pipeline: Pipeline, value: object) -> None:
        name = pipeline.variables[0]
        if pipeline.declares:
            self.variables.append((name, value))
            return
        for index in range(len(self.variables) - 1, -1, -1):
            if self.variables[index][0] == name:
                self.variables[index] = (name, value)
                return
        raise self.fail(pipeline.stages[0].position, name, f"undefined variable: {name}")

    def call(self, call: Call, dot: object, piped: list[object]) -> object:
        if call.name in ("and", "or"):
            return self.logic(call, dot, piped)
        if not call.name:
            if len(call.arguments) == 1 and not piped:
                return self.operand(call.arguments[0], dot)
            return self.method(call, dot, piped)
        values = [self.operand(argument, dot) for argument in call.arguments] + piped
        try:
            return FUNCTIONS[call.name](*values)
        except TypeError as error:
            if "positional argument" not in str(error):
                raise
            raise self.fail(
                call.position, call.name, f"wrong number of args for {call.name}: got {len(values)}"
            ) from None
        except Mismatch as error:
            message = f"error calling {call.name}: {error}"
            raise self.fail(call.position, _written(call), message) from None

    def method(self, call: Call, dot: object, piped: list[object]) -> object:
        """A field that takes arguments, such as ``.Label "key"`` of a table row."""
        first = call.arguments[0]
        value = self.lookup(first, dot) if isinstance(first, Path) else None
        if not callable(value):
            written = _written(first)
            raise self.fail(call.position, written, f"can't give argument to non-function {written}")
        return value(*[self.operand(argument, dot) for argument in call.arguments[1:]], *piped)

    def logic(self, call: Call, dot: object, piped: list[object]) -> object:
        """``and`` and ``or`` stop at the first argument that decides, so that guards work."""
        value: object = None
        operands: Iterator[object] = (self.operand(argument, dot) for argument in call.arguments)
        for value in _chain(operands, piped):
            if truth(value) == (call.name == "or"):
                return value
        if not call.arguments and not piped:
            raise self.fail(call.position, call.name, f"wrong number of args for {call.name}: want at least 1 got 0")
        return value

    def operand(self, operand: Operand, dot: object) -> object:
        if isinstance(operand, Literal):
            return operand.value
        if isinstance(operand, Call):
            return self.call(operand, dot, [])
        return self.path(operand, dot)

    def path(self, path: Path, dot: object) -> object:
        value = self.lookup(path, dot)
        return value() if callable(value) else value

    def lookup(self, path: Path, dot: object) -> object:
        value: object
        if path.base is None:
            value = dot
        elif isinstance(path.base, Pipeline):
            value = self.pipeline(path.base, dot)
        else:
            value = self.variable(path)
        for index, field in enumerate(path.fields):
            if isinstance(value, Mapping):
                if field not in value:
                    field = _STRUCT_NAMES.get(field, field)
                if field not in value:
                    if self.kind and path.base is None and dot is self.root and index == 0:
                        message = f"can't evaluate field {field} in type {self.kind}"
                    else:
                        message = f'map has no entry for key "{field}"'
                    raise self.fail(path.position, path.source, message)
                value = value[field]
            elif value is None:
                raise self.fail(path.position, path.source, f"nil pointer evaluating interface {{}}.{field}")
            else:
                message = f"can't evaluate field {field} in type {kind_of(value)}"
                raise self.fail(path.position, path.source, message)
        return value

    def variable(self, path: Path) -> object:
        for name, value in reversed(self.variables):
            if name == path.base:
                return value
        raise TemplateError(f"template: :1: undefined variable: {show(path.base)}")


def _chain(first: Iterator[object], then: Sequence[object]) -> Iterator[object]:
    yield from first
    yield from then


def _written(part: Operand) -> str:
    if isinstance(part, Call):
        return " ".join([*([part.name] if part.name else []), *map(_written, part.arguments)])
    return part.source


def _index(value: object, *keys: object) -> object:
    for key in keys:
        if value is None:
            raise Mismatch("index of untyped nil")
        if isinstance(value, Mapping):
            if not isinstance(key, str):
                raise Mismatch(f"value has type {kind_of(key)}; should be string")
            value = value.get(key)
        elif isinstance(value, (list, tuple, str)):
            if not isinstance(key, int) or isinstance(key, bool):
                raise Mismatch(f"cannot index slice/array with type {kind_of(key)}")
            if not 0 <= key < len(value):
                raise Mismatch(f"reflect: slice index out of range: {key}" if key < 0 else f"index out of range: {key}")
            value = ord(value[key]) if isinstance(value, str) else value[key]
        else:
            raise Mismatch(f"can't index item of type {kind_of(value)}")
    return value


def _length(value: object) -> int:
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogateescape"))
    if isinstance(value, (Mapping, list, tuple)):
        return len(value)
    raise Mismatch("len of nil pointer" if value is None else f"len of type {kind_of(value)}")


def _slice(value: object, *bounds: object) -> object:
    if not isinstance(value, (str, list, tuple)):
        raise Mismatch(f"can't slice item of type {kind_of(value)}")
    numbers = [bound for bound in bounds if isinstance(bound, int)]
    low = numbers[0] if numbers else 0
    high = numbers[1] if len(numbers) > 1 else len(value)
    if len(numbers) != len(bounds) or not 0 <= low <= high <= len(value):
        raise Mismatch("index out of range")
    return value[low:high]


def _equals(first: object, *others: object) -> bool:
    if not others:
        raise Mismatch("missing argument for comparison")
    return any(equal(first, other) for other in others)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise Mismatch(f"wrong type for value; expected string; got {kind_of(value)}")
    return value


def _join(values: object, separator: object = "") -> str:
    if isinstance(values, str) or values is None:
        return "" if values is None else values
    if not isinstance(values, (list, tuple)):
        raise Mismatch(f"wrong type for value; expected []string; got {kind_of(values)}")
    return _text(separator).join(show(value) for value in values)


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=dict)


def _truncate(value: object, length: Any) -> str:
    return _text(value)[: int(length)]


def _pad(value: object, before: Any, after: Any) -> str:
    text = _text(value)
    return " " * int(before) + text + " " * int(after) if text else ""


FUNCTIONS: dict[str, Callable[..., object]] = {
    "and": lambda *values: values[-1],
    "or": lambda *values: values[-1],
    "not": lambda value: not truth(value),
    "eq": _equals,
    "ne": lambda first, second: not equal(first, second),
    "lt": lambda first, second: less(first, second),
    "le": lambda first, second: less(first, second) or equal(first, second),
    "gt": lambda first, second: less(second, first),
    "ge": lambda first, second: less(second, first) or equal(first, second),
    "index": _index,
    "len": _length,
    "slice": _slice,
    "print": lambda *values: format_values("print", values),
    "println": lambda *values: format_values("println", values),
    "printf": lambda form, *values: format_values(_text(form), values),
    "json": _json,
    "join": _join,
    "split": lambda value, separator: _text(value).split(_text(separator)),
    "lower": lambda value: _text(value).lower(),
    "upper": lambda value: _text(value).upper(),
    "title": lambda value: _text(value).title(),
    "pad": _pad,
    "truncate": _truncate,
}
