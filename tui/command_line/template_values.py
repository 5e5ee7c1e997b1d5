"""How Go sees JSON-like values: truth, equality, order, type names, and the ways its fmt package prints them.

Owns these rules for dicts, lists, strings, numbers, booleans and None. Knows no template.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_VERB = re.compile(r"%([-+# 0]*)(\d+|\*)?(?:\.(\d+|\*)?)?([a-zA-Z%])")


class Mismatch(Exception):
    """Values that a function cannot take; the message is Go's."""


def truth(value: object) -> bool:
    """False for false, 0, nil and anything empty."""
    return bool(value)


def kind_of(value: object) -> str:
    """The name Go's messages give the type."""
    if isinstance(value, bool):
        return "bool"
    for kind, name in ((int, "int"), (float, "float64"), (str, "string"), (Mapping, "map[string]interface {}")):
        if isinstance(value, kind):
            return name
    return "<nil>" if value is None else "[]interface {}"


def equal(first: object, second: object) -> bool:
    """``eq``; Mismatch where Go refuses to compare."""
    for value in (first, second):
        if isinstance(value, (Mapping, list, tuple)):
            raise Mismatch("invalid type for comparison")
    if first is None or second is None:
        return first is second
    if _basic(first) != _basic(second):
        raise Mismatch("incompatible types for comparison")
    return first == second


def less(first: object, second: object) -> bool:
    """``lt`` on numbers or on strings; Mismatch otherwise."""
    if isinstance(first, str) and isinstance(second, str):
        return first < second
    if not isinstance(first, (int, float)) or not isinstance(second, (int, float)):
        raise Mismatch("incompatible types for comparison")
    if isinstance(first, bool) or isinstance(second, bool):
        raise Mismatch("incompatible types for comparison")
    return first < second


def show(value: object) -> str:
    """``%v``: what an action prints."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if value is None:
        return "<no value>"
    if isinstance(value, float):
        return f"{value:g}" if value != int(value) or abs(value) >= 1e21 else str(int(value))
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{key}:{_inner(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(_inner(item) for item in value) + "]"
    return str(value)


def quote(text: str) -> str:
    """``%q`` of a string: strconv.Quote, which escapes what does not print."""
    parts = []
    for character in text:
        if character in '"\\':
            parts.append("\\" + character)
        elif character.isprintable():
            parts.append(character)
        elif character in "\a\b\f\n\r\t\v":
            parts.append("\\" + "abfnrtv"["\a\b\f\n\r\t\v".index(character)])
        elif ord(character) < 0x80:
            parts.append(f"\\x{ord(character):02x}")
        elif 0xDC80 <= ord(character) <= 0xDCFF:
            parts.append(f"\\x{ord(character) - 0xDC00:02x}")
        else:
            parts.append(f"\\u{ord(character):04x}" if ord(character) < 0x10000 else f"\\U{ord(character):08x}")
    return '"' + "".join(parts) + '"'


def format_values(form: str, values: Sequence[object]) -> str:
    """Go's Sprint (``form`` "print"), Sprintln ("println") or Sprintf."""
    if form == "println":
        return " ".join(_inner(value) for value in values) + "\n"
    if form == "print":
        # Sprint puts a space between operands when neither is a string.
        text = ""
        for number, value in enumerate(values):
            if number and not isinstance(value, str) and not isinstance(values[number - 1], str):
                text += " "
            text += _inner(value)
        return text
    remaining = list(values)
    text = _VERB.sub(lambda match: _formatted(match, remaining), form)
    if remaining:
        text += "%!(EXTRA " + ", ".join(f"{kind_of(value)}={_inner(value)}" for value in remaining) + ")"
    return text


def _formatted(match: re.Match[str], remaining: list[object]) -> str:
    flags, width, precision, verb = match.groups()
    if verb == "%":
        return "%"
    if not remaining:
        return f"%!{verb}(MISSING)"
    value = remaining.pop(0)
    text = _by_verb(verb, value, flags, precision)
    if width and width.isdigit():
        if "-" in flags:
            return text.ljust(int(width))
        fill = "0" if "0" in flags and not isinstance(value, str) else " "
        return text.rjust(int(width), fill)
    return text


def _by_verb(verb: str, value: object, flags: str, precision: str | None) -> str:
    wrong = f"%!{verb}({kind_of(value)}={_inner(value)})"
    if verb == "v":
        return _inner(value)
    if verb == "s":
        if isinstance(value, (bool, int, float)):
            return wrong
        text = _inner(value)
        return text[: int(precision)] if precision else text
    if verb == "q":
        if isinstance(value, (list, tuple)):
            return "[" + " ".join(_by_verb(verb, item, flags, precision) for item in value) + "]"
        return quote(value) if isinstance(value, str) else wrong
    if verb == "t":
        return show(value) if isinstance(value, bool) else wrong
    if verb == "T":
        return kind_of(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        if verb in "xX" and isinstance(value, str):
            digits = value.encode("utf-8", "surrogateescape").hex()
            return digits.upper() if verb == "X" else digits
        return wrong
    if verb == "d" and isinstance(value, int):
        return f"{value:+d}" if "+" in flags else str(value)
    if verb in "xXob" and isinstance(value, int):
        return format(value, verb)
    if verb in "feg" and isinstance(value, float):
        return format(value, f".{precision or 6}{verb}" if verb != "g" or precision else "g")
    return wrong


def _inner(value: object) -> str:
    return "<nil>" if value is None else show(value)


def _basic(value: object) -> str:
    return {"float64": "number", "int": "number"}.get(kind_of(value), kind_of(value))
