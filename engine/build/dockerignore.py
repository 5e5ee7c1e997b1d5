"""``.dockerignore``: which files of a build context are left out.

Owns the file's syntax and the pattern language of moby's patternmatcher (Go's filepath.Match plus ``**`` and ``!``):
patterns are tried in order and the last that matches decides; a pattern that matches a directory covers what is below.
Pure; paths are slash-separated and relative to the context.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence

from engine.errors import InvalidInput
from engine.values import dataclass


@dataclass(frozen=True)
class Pattern:
    """One line: its cleaned text, whether ``!`` makes it an exception, and its regular expression."""

    text: str
    exception: bool
    expression: re.Pattern[str]

    def matches(self, path: str) -> bool:
        """True when this very path matches (parents are the caller's business)."""
        return self.expression.fullmatch(path) is not None


class Ignore:
    """An ordered list of patterns."""

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        """Raises InvalidInput for a pattern that has no meaning."""
        self.patterns = tuple(_compile(text) for text in map(_clean, patterns) if text)
        self.has_exceptions = any(pattern.exception for pattern in self.patterns)

    @property
    def empty(self) -> bool:
        """True when nothing can be left out."""
        return not self.patterns

    def covers(self, path: str) -> bool:
        """True when ``path`` is left out, looking at the path and all its parents."""
        matched: tuple[bool, ...] = ()
        ignored = False
        steps = path.split("/")
        for end in range(1, len(steps) + 1):
            ignored, matched = self.step("/".join(steps[:end]), matched)
        return ignored

    def step(self, path: str, parent: tuple[bool, ...] = ()) -> tuple[bool, tuple[bool, ...]]:
        """Whether ``path`` is left out, given which patterns matched its parent; for walking a tree downwards."""
        results: list[bool] = []
        ignored = False
        for index, pattern in enumerate(self.patterns):
            inherited = bool(parent) and parent[index]
            # An exception matters only to what is ignored so far, and the other way round.
            matches = inherited or (pattern.exception == ignored and pattern.matches(path))
            results.append(matches)
            if matches:
                ignored = not pattern.exception
        return ignored, tuple(results)

    def may_hold_exceptions(self, directory: str) -> bool:
        """True when something below an ignored ``directory`` may be taken in again by a ``!`` pattern."""
        if not self.has_exceptions:
            return False
        for pattern in self.patterns:
            if not pattern.exception:
                continue
            # Up to its first wildcard a pattern says where it applies.
            fixed = re.split(r"[*?\[\\]", pattern.text, maxsplit=1)[0]
            if fixed != pattern.text:
                fixed = fixed.rpartition("/")[0]
            if not fixed or (fixed + "/").startswith(directory + "/") or (directory + "/").startswith(fixed + "/"):
                return True
        return False


def read(text: str) -> list[str]:
    """The patterns of a ``.dockerignore`` file: comments and blank lines dropped, leading slashes removed."""
    patterns: list[str] = []
    for line in text.removeprefix("\ufeff").splitlines():
        if line.startswith("#"):
            continue
        pattern = line.strip()
        if not pattern:
            continue
        inverted = pattern.startswith("!")
        body = pattern[1:].strip() if inverted else pattern
        if body:
            body = _clean_path(body)
            if len(body) > 1 and body.startswith("/"):
                body = body[1:]
        patterns.append(("!" if inverted else "") + body)
    return patterns


def _clean(text: str) -> str:
    stripped = text.strip()
    return _clean_path(stripped) if stripped else ""


def _clean_path(path: str) -> str:
    cleaned = posixpath.normpath(path)
    # normpath keeps two leading slashes (POSIX leaves them to the system), Go's Clean does not.
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def _compile(text: str) -> Pattern:
    exception = text.startswith("!")
    body = text[1:] if exception else text
    if not body:
        raise InvalidInput('illegal exclusion pattern: "!"', remedy="write the path to keep right after the !")
    try:
        return Pattern(body, exception, re.compile(translate(body), re.DOTALL))
    except re.error as error:
        raise InvalidInput(
            f"syntax error in pattern: {body!r}", remedy="see the pattern rules of .dockerignore"
        ) from error


def translate(pattern: str) -> str:
    """The regular expression of a pattern (to be used with ``fullmatch``)."""
    if pattern.startswith("**") and _is_literal(pattern[2:]):
        # **x alone matches any ending in x, whatever stands before; **/x is x at any depth.
        rest = pattern[2:]
        if rest.startswith("/"):
            return f"(.*/)?{re.escape(rest[1:])}" if len(rest) > 1 else ".*"
        return f".*{re.escape(rest)}"
    out: list[str] = []
    position = 0
    while position < len(pattern):
        character = pattern[position]
        position += 1
        if character == "*":
            if pattern.startswith("*", position):
                position += 1
                if pattern.startswith("/", position):
                    position += 1
                out.append(".*" if position == len(pattern) else "(.*/)?")
            else:
                out.append("[^/]*")
        elif character == "?":
            out.append("[^/]")
        elif character == "[":
            end, text = _bracket(pattern, position)
            out.append(text)
            position = end
        elif character == "\\":
            if position == len(pattern):
                raise InvalidInput(
                    f"syntax error in pattern: {pattern!r}", remedy="a backslash at the end escapes nothing"
                )
            out.append(re.escape(pattern[position]))
            position += 1
        else:
            out.append(re.escape(character))
    return "".join(out)


def _is_literal(text: str) -> bool:
    return not any(character in text for character in "*?[]\\")


def _bracket(pattern: str, position: int) -> tuple[int, str]:
    """A character class from after its ``[``; Go's rules: ``^`` negates, a backslash escapes, no slash inside."""
    start = position
    negated = pattern.startswith("^", position)
    if negated:
        position += 1
    members: list[str] = []
    while position < len(pattern) and (pattern[position] != "]" or not members):
        if pattern[position] == "]":
            break
        low, position = _class_character(pattern, position)
        if pattern.startswith("-", position) and position + 1 < len(pattern):
            high, position = _class_character(pattern, position + 1)
            members.append(f"{re.escape(low)}-{re.escape(high)}")
        else:
            members.append(re.escape(low))
    if position >= len(pattern) or not members:
        raise InvalidInput(f"syntax error in pattern: {pattern!r}", remedy=f"[{pattern[start:]} has no end")
    inside = "".join(members)
    return position + 1, f"(?!/)[{'^' if negated else ''}{inside}]"


def _class_character(pattern: str, position: int) -> tuple[str, int]:
    escaped = pattern.startswith("\\", position)
    position += escaped
    if position >= len(pattern) or (not escaped and pattern[position] in "-]"):
        raise InvalidInput(f"syntax error in pattern: {pattern!r}", remedy="see the pattern rules of .dockerignore")
    return pattern[position], position + 1
