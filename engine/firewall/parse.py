"""Rules and saves of ``iptables-save`` (with or without ``-c``) as structured data, and back to the very same text.

Owns the grammar: quoting, negation, matches with their options, targets, gotos, counters. Pure; knows no option by
meaning. Equal rule texts are parsed once: a host repeats itself, and so does a console that looks every second.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

from engine.firewall.listing import logical_lines
from engine.firewall.tables import Chain, Rule, Table
from engine.values import dataclass

_ESCAPED = frozenset("\"\\'")
_TEXT_OPTIONS = frozenset(
    ("--comment", "--log-prefix", "--nflog-prefix", "--ulog-prefix", "--string", "--hex-string", "--name", "--bytecode")
)
"""Options whose one value is free text, which may itself look like an option (``--comment -j``)."""

_FLAGS_WITHOUT_VALUE = frozenset(("-f",))


class RuleSyntaxError(ValueError):
    """A line that no ``iptables-save`` prints."""


@dataclass(frozen=True)
class Value:
    """One word of a rule; ``quoted`` is true if it stands in quotes."""

    text: str
    quoted: bool = False

    def __str__(self) -> str:
        if not self.quoted:
            return self.text
        return '"' + "".join(f"\\{letter}" if letter in _ESCAPED else letter for letter in self.text) + '"'


@dataclass(frozen=True)
class Option:
    """``[!] NAME VALUE…``"""

    name: str
    values: tuple[Value, ...] = ()
    negated: bool = False

    @property
    def value(self) -> str:
        """Its values as one text."""
        return " ".join(value.text for value in self.values)

    def __str__(self) -> str:
        return " ".join((*("!",) * self.negated, self.name, *map(str, self.values)))


@dataclass(frozen=True)
class Match:
    """``-m MODULE`` and the options that belong to it."""

    module: str
    options: tuple[Option, ...] = ()

    def __str__(self) -> str:
        return " ".join(("-m", self.module, *map(str, self.options)))


@dataclass(frozen=True)
class Specification:
    """One rule taken apart.

    ``basics`` are the options without a module (``-s -d -i -o -p -f``). ``target`` is empty for a rule that only
    counts; ``goto`` is true if it is reached by ``-g``, so that the chain is not come back to.
    """

    basics: tuple[Option, ...] = ()
    matches: tuple[Match, ...] = ()
    target: str = ""
    goto: bool = False
    target_options: tuple[Option, ...] = ()

    def basic(self, name: str) -> Option | None:
        """The option ``-s``, ``-d``, ``-i``, ``-o``, ``-p`` or ``-f``."""
        return next((option for option in self.basics if option.name == name), None)

    def option(self, module: str, name: str) -> Option | None:
        """An option of one of the rule's matches."""
        for match in self.matches:
            if match.module == module:
                for option in match.options:
                    if option.name == name:
                        return option
        return None

    def target_option(self, name: str) -> Option | None:
        """An option of the rule's target."""
        return next((option for option in self.target_options if option.name == name), None)

    @property
    def comment(self) -> str:
        """The administrator's remark, or empty."""
        option = self.option("comment", "--comment")
        return option.value if option else ""

    def __str__(self) -> str:
        parts = [*map(str, self.basics), *map(str, self.matches)]
        if self.target:
            parts += ["-g" if self.goto else "-j", self.target, *map(str, self.target_options)]
        return " ".join(parts)


def words(text: str) -> list[Value]:
    """Split a rule into words as ``iptables-restore`` does; RuleSyntaxError if a quote stays open."""
    found: list[Value] = []
    letters: list[str] = []
    inside = quoted = escaped = False
    for letter in text:
        if escaped:
            letters.append(letter)
            escaped = False
        elif inside and letter == "\\":
            escaped = True
        elif letter == '"':
            inside = not inside
            quoted = True
        elif letter == " " and not inside:
            if letters or quoted:
                found.append(Value("".join(letters), quoted))
            letters, quoted = [], False
        else:
            letters.append(letter)
    if inside:
        raise RuleSyntaxError(f"a quote stays open in {text!r}")
    if letters or quoted:
        found.append(Value("".join(letters), quoted))
    return found


@lru_cache(maxsize=1 << 15)
def parse_rule(text: str) -> Specification:
    """Take one rule (without ``-A CHAIN``) apart; ``str()`` of the result is ``text`` again."""
    basics: list[Option] = []
    matches: list[Match] = []
    target_options: list[Option] = []
    target, goto = "", False
    for option in _options(words(text)):
        if option.name in ("-j", "-g"):
            target, goto = _single(option, text), option.name == "-g"
        elif option.name == "-m":
            matches.append(Match(_single(option, text)))
        elif target:
            target_options.append(option)
        elif matches:
            last = matches[-1]
            matches[-1] = Match(last.module, (*last.options, option))
        else:
            basics.append(option)
    return Specification(tuple(basics), tuple(matches), target, goto, tuple(target_options))


def parse_save(text: str) -> tuple[Table, ...]:
    """The tables of one backend; counters are 0 when the save was taken without ``-c``."""
    tables: list[Table] = []
    chains: dict[str, Chain] = {}
    rules: dict[str, list[Rule]] = {}
    name = ""
    for line in logical_lines(text):
        mark = line[:1]
        if mark == "*":
            name, chains, rules = line[1:], {}, {}
        elif mark == ":":
            chain, policy, *counters = line[1:].split(" ")
            packets, count = _counters(counters[0]) if counters else (0, 0)
            chains[chain] = Chain(chain, "" if policy == "-" else policy, (), packets, count)
            rules[chain] = []
        elif mark == "[" or line.startswith("-A "):
            packets, count = 0, 0
            if mark == "[":
                counted, _, line = line.partition(" ")
                packets, count = _counters(counted)
            _, chain, rule = (line + " ").split(" ", 2)
            if chain not in rules:
                raise RuleSyntaxError(f"a rule for the undeclared chain {chain!r}: {line!r}")
            rules[chain].append(Rule(rule.rstrip(" "), len(rules[chain]) + 1, packets, count))
        elif line == "COMMIT":
            whole = (
                Chain(chain.name, chain.policy, tuple(rules[chain.name]), chain.packets, chain.bytes)
                for chain in chains.values()
            )
            tables.append(Table(name, tuple(whole)))
    return tuple(tables)


def _options(parts: Sequence[Value]) -> Iterator[Option]:
    place = 0
    while place < len(parts):
        negated = parts[place] == Value("!")
        place += negated
        if place == len(parts) or not _is_option(parts[place]):
            raise RuleSyntaxError(f"an option is missing in {' '.join(map(str, parts))!r}")
        name = parts[place].text
        place += 1
        values: list[Value] = []
        if name in _TEXT_OPTIONS:
            values = list(parts[place : place + 1])
            place += 1
        elif name not in _FLAGS_WITHOUT_VALUE:
            while place < len(parts) and not _is_option(parts[place]) and parts[place] != Value("!"):
                values.append(parts[place])
                place += 1
        yield Option(name, tuple(values), negated)


def _is_option(word: Value) -> bool:
    """True for ``-s`` and ``--dport``; a quoted word or a negative number is a value."""
    return not word.quoted and len(word.text) > 1 and word.text[0] == "-" and not word.text[1].isdigit()


def _single(option: Option, text: str) -> str:
    if len(option.values) != 1 or option.negated:
        raise RuleSyntaxError(f"{option.name} needs one name in {text!r}")
    return option.values[0].text


def _counters(text: str) -> tuple[int, int]:
    """Packets and bytes of ``[packets:bytes]``."""
    packets, _, count = text.strip("[]").partition(":")
    try:
        return int(packets), int(count)
    except ValueError:
        raise RuleSyntaxError(f"no counters: {text!r}") from None
