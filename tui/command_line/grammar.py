"""docker's command grammar: flags, verbs, and the parser that turns words into a ``Command``.

Owns the rules by which docker's own program reads a command line (those of the Go library pflag): combined short
flags, ``--flag=value``, booleans that take a value only with ``=``, ``--``, and verbs such as ``run`` whose flags end
at the first operand. Knows no verb by name, loads nothing of the engine and has no effect, so the console may parse on
every key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from engine.errors import InvalidInput
from engine.values import dataclass, field

BOOL = "bool"
STRING = "string"
INT = "int"
LIST = "list"

Value = bool | int | str | tuple[str, ...] | None

PROGRAM = "pilothouse"

# strconv.ParseBool's words.
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


@dataclass(frozen=True)
class Flag:
    """One flag.

    ``kind`` is how its value is read (bool, string, int, list: a list may be given many times). ``word`` is what help
    calls the value. ``names`` says what the value names, for completion: ``image``, ``container``, ``path``, or a
    ``|``-separated list of the words themselves. ``alias_of`` makes a hidden second spelling.
    """

    name: str
    short: str = ""
    kind: str = BOOL
    help: str = ""
    word: str = ""
    names: str = ""
    default: Value = None
    alias_of: str = ""

    @property
    def target(self) -> str:
        """The name under which the value is found."""
        return self.alias_of or self.name

    @property
    def initial(self) -> Value:
        """The value when the flag is not given."""
        if self.default is not None:
            return self.default
        return False if self.kind == BOOL else () if self.kind == LIST else None

    @property
    def label(self) -> str:
        """How docker's messages name the flag: ``-m, --memory``."""
        return f"-{self.short}, --{self.name}" if self.short else f"--{self.name}"


@dataclass(frozen=True)
class Verb:
    """One verb: where its handler is, what it takes.

    ``path`` is its full name (``("image", "ls")``), ``operands`` the usage text after the flags, ``minimum`` and
    ``maximum`` how many operands it takes (None: any number). ``command_follows`` ends the flags at the first operand.
    ``names`` says what operands name, for completion. ``later`` lists docker's flags that this version knows of and
    does not have. ``handler`` is ``module:function`` below ``tui.command_line.verbs``.
    """

    path: tuple[str, ...]
    summary: str
    handler: str
    operands: str = ""
    minimum: int = 0
    maximum: int | None = 0
    flags: tuple[Flag, ...] = ()
    command_follows: bool = False
    names: str = ""
    aliases: tuple[tuple[str, ...], ...] = ()
    later: frozenset[str] = frozenset()
    notes: str = ""
    changes: bool = True

    @property
    def title(self) -> str:
        """The verb as it is typed, with the program's name."""
        return " ".join((PROGRAM, *self.path))

    def flag(self, name: str) -> Flag | None:
        """The flag of this long name."""
        return next((flag for flag in self.flags if flag.name == name), None)

    def short_flag(self, letter: str) -> Flag | None:
        """The flag of this letter."""
        return next((flag for flag in self.flags if flag.short == letter), None)


@dataclass(frozen=True)
class Command:
    """A parsed command line: the verb, every flag's value by name, the operands, and which flags were given."""

    verb: Verb
    options: Mapping[str, Value]
    operands: tuple[str, ...]
    given: frozenset[str] = frozenset()
    globals: Mapping[str, Value] = field(default_factory=dict)
    help: bool = False

    def global_text(self, name: str) -> str:
        """The value of a global string flag, empty when not given."""
        value = self.globals.get(name)
        return value if isinstance(value, str) else ""

    def on(self, name: str) -> bool:
        """True when the boolean flag is set."""
        return bool(self.options.get(name))

    def text(self, name: str) -> str:
        """The value of a string flag, empty when not given."""
        value = self.options.get(name)
        return value if isinstance(value, str) else ""

    def number(self, name: str) -> int | None:
        """The value of an integer flag."""
        value = self.options.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def all(self, name: str) -> tuple[str, ...]:
        """The values of a list flag, in the order given."""
        value = self.options.get(name)
        return value if isinstance(value, tuple) else ()


class UsageError(InvalidInput):
    """The command line is wrong; ``verb`` is the verb it belongs to, as far as one was recognised."""

    exit_code = 125

    def __init__(
        self, message: str, verb: Verb | None = None, *, exit_code: int | None = None, remedy: str = ""
    ) -> None:
        super().__init__(message, exit_code=exit_code, remedy=remedy)
        self.verb = verb


class UnknownVerb(UsageError):
    """No verb has this name; ``group`` is the management word before it, if any."""

    exit_code = 1

    def __init__(self, message: str, group: str = "", *, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.group = group


@dataclass(frozen=True)
class Vocabulary:
    """All verbs of a program, its management words with their summaries, and its global flags."""

    verbs: tuple[Verb, ...]
    groups: Mapping[str, str]
    globals: tuple[Flag, ...]
    later: frozenset[str] = frozenset()

    def find(self, words: Sequence[str]) -> tuple[Verb, int] | None:
        """The verb that ``words`` begin with and how many words name it."""
        for verb in self.verbs:
            for path in (verb.path, *verb.aliases):
                if tuple(words[: len(path)]) == path:
                    return verb, len(path)
        return None

    def members(self, group: str) -> list[tuple[str, Verb]]:
        """The verbs spelled ``group WORD``, by word; for an empty group, the verbs of a single word."""
        depth = 2 if group else 1
        found: dict[str, Verb] = {}
        for verb in self.verbs:
            for path in (verb.path, *verb.aliases):
                if len(path) == depth and (not group or path[0] == group):
                    found.setdefault(path[-1], verb)
        return sorted(found.items())


@dataclass(frozen=True)
class Request:
    """A command line before its verb is read: global options, then what is left."""

    globals: dict[str, Value]
    words: tuple[str, ...]


def read_globals(vocabulary: Vocabulary, words: Sequence[str]) -> Request:
    """Read the flags before the verb."""
    root = Verb((), "", "", operands="COMMAND [ARG...]", flags=vocabulary.globals, command_follows=True)
    reading = _Reading(root)
    reading.read(words)
    return Request(reading.options, tuple(reading.operands))


def parse(vocabulary: Vocabulary, words: Sequence[str]) -> Command:
    """Turn a command line (without the program's name) into a ``Command``.

    Raises UsageError with docker's words and exit code (125 for a flag, 1 for a verb or the number of operands). A
    command with ``--help`` parses with ``help`` set, whatever its operands.
    """
    request = read_globals(vocabulary, words)
    if not request.words:
        raise UsageError("a command is needed", exit_code=1)
    found = vocabulary.find(request.words)
    if found is None:
        raise _unknown(vocabulary, request.words)
    verb, length = found
    reading = _Reading(verb)
    reading.read(request.words[length:])
    asked_for_help = bool(reading.options.pop("help", False))
    if not asked_for_help:
        check_count(verb, len(reading.operands))
    return Command(
        verb, reading.options, tuple(reading.operands), frozenset(reading.given), request.globals, asked_for_help
    )


def check_count(verb: Verb, count: int) -> None:
    """Raise UsageError in docker's words when a verb does not take this many operands."""
    low, high = verb.minimum, verb.maximum
    if count >= low and (high is None or count <= high):
        return
    if high == 0:
        wanted = "accepts no arguments"
    elif low == high:
        wanted = f"requires {_arguments(low)}"
    elif high is None:
        wanted = f"requires at least {_arguments(low)}"
    elif low == 0:
        wanted = f"requires at most {_arguments(high)}"
    else:
        wanted = f"requires at least {low} and at most {_arguments(high)}"
    raise UsageError(f"'{verb.title}' {wanted}", verb, exit_code=1)


def read_bool(text: str) -> bool | None:
    """The truth of one of Go's words for it, None for any other text."""
    return True if text in _TRUE else False if text in _FALSE else None


def names(text: str) -> frozenset[str]:
    """The words of ``text`` as a set: long lists of names read better as prose."""
    return frozenset(text.split())


def _arguments(count: int) -> str:
    return f"{count} argument" if count == 1 else f"{count} arguments"


def _unknown(vocabulary: Vocabulary, words: Sequence[str]) -> UnknownVerb:
    from difflib import get_close_matches

    group = words[0] if len(words) > 1 and words[0] in vocabulary.groups else ""
    word = words[1] if group else words[0]
    spelled = f"{group} {word}".strip()
    if spelled in vocabulary.later:
        return UnknownVerb(f"'{spelled}' is a command of docker's that this version does not have yet", group)
    near = get_close_matches(word, [name for name, _ in vocabulary.members(group)], n=1)
    remedy = f"did you mean '{PROGRAM} {f'{group} {near[0]}'.strip()}'?" if near else ""
    return UnknownVerb(f"unknown command: {PROGRAM} {spelled}", group, remedy=remedy)


class _Reading:
    """The state of one pass over a verb's words."""

    def __init__(self, verb: Verb) -> None:
        self.verb = verb
        self.options: dict[str, Value] = {flag.name: flag.initial for flag in verb.flags if not flag.alias_of}
        self.operands: list[str] = []
        self.given: set[str] = set()

    def read(self, words: Sequence[str]) -> None:
        remaining = iter(words)
        for word in remaining:
            if word == "--":
                self.operands.extend(remaining)
            elif word.startswith("--"):
                self._long(word, remaining)
            elif word.startswith("-") and word != "-":
                self._cluster(word, remaining)
            else:
                self.operands.append(word)
                if self.verb.command_follows:
                    self.operands.extend(remaining)

    def _long(self, word: str, remaining: Iterator[str]) -> None:
        name, equals, text = word[2:].partition("=")
        if not name or name.startswith("-"):
            raise UsageError(f"bad flag syntax: {word}", self.verb)
        if name == "help":
            self.options["help"] = True
            return
        flag = self.verb.flag(name)
        if flag is None:
            if name in self.verb.later:
                raise UsageError(f"--{name} is a flag of docker's that this version does not have yet", self.verb)
            raise UsageError(f"unknown flag: --{name}", self.verb)
        if equals:
            self._store(flag, text)
        elif flag.kind == BOOL:
            self._store(flag, "true")
        else:
            value = next(remaining, None)
            if value is None:
                raise UsageError(f"flag needs an argument: --{name}", self.verb)
            self._store(flag, value)

    def _cluster(self, word: str, remaining: Iterator[str]) -> None:
        letters = word[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            flag = self.verb.short_flag(letter)
            if flag is None:
                if letter == "h":
                    self.options["help"] = True
                    return
                raise UsageError(f"unknown shorthand flag: '{letter}' in {word}", self.verb)
            if letters.startswith("="):
                self._store(flag, letters[1:])
                return
            if flag.kind == BOOL:
                self._store(flag, "true")
                continue
            value = letters or next(remaining, None)
            if value is None:
                raise UsageError(f"flag needs an argument: '{letter}' in {word}", self.verb)
            self._store(flag, value)
            return

    def _store(self, flag: Flag, text: str) -> None:
        value: Value = text
        if flag.kind == BOOL:
            value = read_bool(text)
            if value is None:
                raise self._invalid(flag, text, f'strconv.ParseBool: parsing "{text}": invalid syntax')
        elif flag.kind == INT:
            try:
                # int() takes blanks and underscores where docker does not.
                value = int(text, 10) if text.strip("0123456789") in ("", "-", "+") else int("x")
            except ValueError:
                raise self._invalid(flag, text, f'strconv.ParseInt: parsing "{text}": invalid syntax') from None
        elif flag.kind == LIST:
            earlier = self.options[flag.target]
            value = (*(earlier if isinstance(earlier, tuple) and flag.target in self.given else ()), text)
        self.options[flag.target] = value
        self.given.add(flag.target)

    def _invalid(self, flag: Flag, text: str, why: str) -> UsageError:
        return invalid_value(self.verb, flag, text, why)


def invalid_value(verb: Verb, flag: Flag, text: str, why: str) -> UsageError:
    """docker's words for a flag's value that cannot be read."""
    return UsageError(f'invalid argument "{text}" for "{flag.label}" flag: {why}', verb)
