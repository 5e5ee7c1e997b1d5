"""Stage one: the text of a Dockerfile → nodes that know their lines.

Owns directives, comments, continuation lines, heredocs and the split of each instruction into flags and arguments, as
BuildKit's frontend reads them. Knows no meaning: unknown instructions and flags come out as nodes and are refused by
``instructions``. Pure; errors are ``DockerfileError`` with the place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from engine.build import arguments
from engine.build.expansion import SPACES, ExpansionError, Rules, expand
from engine.build.failure import DockerfileError, Location, invalid
from engine.values import dataclass, field, replace

MAX_LINE = 65535  # bytes; docker refuses longer lines

_DIRECTIVE = re.compile(r"^#[\s]*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*$")
_DIRECTIVES = ("syntax", "escape", "check")
_HEREDOC = re.compile(r"(\d*)<<(-?)\s*([^<]*)\Z")
_HEREDOC_WORD = Rules(keep_unset=True)
_HEREDOC_WORD_RAW = Rules(keep_unset=True, raw_quotes=True)
_HEREDOC_LINE = Rules(keep_unset=True, raw_quotes=True, raw_escapes=True)
_WITH_HEREDOC = frozenset({"ADD", "COPY", "RUN"})


@dataclass(frozen=True)
class Heredoc:
    """``<<NAME``: its body as written. ``expand`` is False when the name was quoted; ``chomp`` is True for ``<<-``."""

    name: str
    expand: bool
    chomp: bool
    descriptor: int
    content: str = ""

    @property
    def text(self) -> str:
        """The body as it is used: without leading tabs when ``<<-`` asked for that."""
        return re.sub(r"^\t+", "", self.content, flags=re.MULTILINE) if self.chomp else self.content


@dataclass(frozen=True)
class Node:
    """One instruction.

    ``name`` is upper case, ``written`` as in the file. ``arguments`` are words, or one string in shell form, or the
    array in JSON form (``is_json``); for ENV and LABEL they are key, value, key, value. ``original`` is the logical
    line with continuations joined. ``child`` is the instruction behind ONBUILD. ``comments`` stand right above.
    """

    name: str
    written: str
    flags: tuple[str, ...]
    arguments: tuple[str, ...]
    is_json: bool
    original: str
    location: Location
    heredocs: tuple[Heredoc, ...] = ()
    comments: tuple[str, ...] = ()
    child: Node | None = None


@dataclass(frozen=True)
class Dockerfile:
    """A parsed file: its nodes, directives and warnings (text, line)."""

    file: str
    nodes: tuple[Node, ...]
    lines: tuple[str, ...]
    escape: str = "\\"
    directives: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[tuple[int, str], ...] = ()


def parse(data: bytes | str, file: str = "Dockerfile") -> Dockerfile:
    """Parse a whole Dockerfile; ``file`` is the name shown in errors.

    Bytes that are not UTF-8 survive as surrogates (PEP 383), so a heredoc's body is written as it was.
    """
    text = data.decode("utf-8", "surrogateescape") if isinstance(data, bytes) else data
    return _Parser(text.removeprefix("\ufeff"), file).run()


def heredoc_of(word: str) -> Heredoc | None:
    """The heredoc that ``word`` opens (``3<<-"EOF"``), or None when it opens none."""
    match = _HEREDOC.match(word)
    if match is None or not match[3]:
        return None
    plain = expand(match[3], {}, _HEREDOC_WORD).words
    if len(plain) != 1:
        return None
    raw = expand(match[3], {}, _HEREDOC_WORD_RAW).words
    if len(raw) != 1:
        raise ExpansionError(f"internal lexing of heredoc produced inconsistent results: {match[3]}")
    # Escaped quotes stay in both readings, quoting ones in the raw reading only.
    unquoted = _quotes(plain[0]) == _quotes(raw[0])
    return Heredoc(plain[0], expand=unquoted, chomp=match[2] == "-", descriptor=int(match[1] or 0))


def _quotes(word: str) -> int:
    return word.count("'") + word.count('"')


class _Parser:
    """One pass over the lines of one file."""

    def __init__(self, text: str, file: str) -> None:
        self._raw = text.split("\n")
        if self._raw[-1] == "":
            self._raw.pop()
        else:
            self._raw[-1] += "\0"  # a last line without a newline; only heredoc bodies can tell
        self._lines = tuple(line.rstrip("\r\0") for line in self._raw)
        self._file = file
        self._current = 0  # lines read so far, which is the 1-based number of the line read last
        self._escape = "\\"
        self._directives: dict[str, str] = {}
        self._warnings: list[tuple[int, str]] = []
        self._continuation = _continuation("\\")

    def run(self) -> Dockerfile:
        self._read_directives()
        nodes: list[Node] = []
        comments: list[str] = []
        while (line := self._line()) is not None:
            line = line.lstrip(SPACES)
            if line.startswith("#"):
                comments.append(line[1:].strip(SPACES))
                continue
            start = self._current
            logical, complete = self._strip_continuation(line)
            if complete and not logical:
                continue
            if not complete:
                logical += self._continued(start)
            nodes.append(self._node(logical, start, tuple(comments)))
            comments = []
        if not nodes:
            raise invalid(self._place(max(self._current, 1)), "file with no instructions")
        return Dockerfile(self._file, tuple(nodes), self._lines, self._escape, self._directives, tuple(self._warnings))

    def _read_directives(self) -> None:
        # Directives must come before anything else, blank lines and other comments included.
        for number, line in enumerate(self._lines, 1):
            match = _DIRECTIVE.match(line.lstrip(SPACES))
            if match is None or match[1].lower() not in _DIRECTIVES:
                return
            name = match[1].lower()
            if name in self._directives:
                raise invalid(self._place(number), f"only one {name} parser directive can be used")
            self._directives[name] = match[2]
            if name == "escape":
                if match[2] not in ("\\", "`"):
                    raise invalid(self._place(number), f"invalid escape token '{match[2]}' does not match ` or \\")
                self._escape = match[2]
                self._continuation = _continuation(match[2])

    def _line(self) -> str | None:
        """The next line without its end, or None at the end of the file."""
        if self._current >= len(self._lines):
            return None
        line = self._lines[self._current]
        self._current += 1
        if len(line) >= MAX_LINE // 4 and len(line.encode("utf-8", "surrogateescape")) >= MAX_LINE:
            message = f"dockerfile line greater than max allowed size of {MAX_LINE}"
            raise invalid(replace(self._place(self._current), source=line[:120] + "…"), message)
        return line

    def _strip_continuation(self, line: str) -> tuple[str, bool]:
        match = self._continuation.search(line)
        if match is None:
            return line, True
        return line[: match.start()] + (match[1] or ""), False

    def _continued(self, start: int) -> str:
        """The rest of a logical line; comments inside it vanish, and so, with a warning, do empty lines."""
        pieces: list[str] = []
        empty = False
        complete = False
        while not complete and (line := self._line()) is not None:
            bare = line.lstrip(SPACES)
            if bare.startswith("#"):
                continue
            if not bare:
                empty = True
                continue
            piece, complete = self._strip_continuation(line)
            pieces.append(piece)
        if empty:
            self._warnings.append((start, "Empty continuation line"))
        return "".join(pieces)

    def _node(self, logical: str, start: int, comments: tuple[str, ...]) -> Node:
        try:
            node = self._instruction(logical, self._place(start))
            bodies = self._heredocs(node, logical, start)
        except DockerfileError:
            raise
        except (arguments.ArgumentError, ExpansionError) as error:
            raise invalid(self._place(start), str(error)) from None
        return replace(node, heredocs=bodies, comments=comments, location=self._place(start))

    def _instruction(self, logical: str, location: Location) -> Node:
        written, flags, rest = arguments.split_command(logical)
        name = written.upper()
        child: Node | None = None
        if name == "ONBUILD":
            words: tuple[str, ...] = ()
            is_json = False
            if rest:
                child = self._instruction(rest, location)
                words = (child.written, *child.arguments)
        else:
            words, is_json = arguments.split_arguments(name, rest, self._escape)
        return Node(name, written, flags, words, is_json, logical, location, child=child)

    def _heredocs(self, node: Node, logical: str, start: int) -> tuple[Heredoc, ...]:
        holder = node.child if node.child is not None else node
        if holder.name not in _WITH_HEREDOC or holder.is_json or "<<" not in logical:
            return ()
        try:
            words = expand(logical, {}, _HEREDOC_LINE).words
        except ExpansionError:
            return ()  # a line that does not lex (an odd quote in a shell command) holds no heredoc
        bodies = []
        for word in words:
            heredoc = heredoc_of(word)
            if heredoc is not None:
                bodies.append(replace(heredoc, content=self._body(heredoc, start)))
        return tuple(bodies)

    def _body(self, heredoc: Heredoc, start: int) -> str:
        content: list[str] = []
        while (line := self._line()) is not None:
            possible = line.lstrip("\t") if heredoc.chomp else line
            if possible == heredoc.name:
                return "".join(content)
            content.append(self._raw[self._current - 1] + "\n")
        raise invalid(self._place(start), "unterminated heredoc")

    def _place(self, start: int) -> Location:
        end = max(start, self._current)
        return Location(self._file, start, end, "\n".join(self._lines[start - 1 : end]))


def _continuation(escape: str) -> re.Pattern[str]:
    """An escape at the end continues the line, unless an escape stands before it."""
    token = re.escape(escape)
    return re.compile(rf"([^{token}]){token}[ \t]*\Z|^{token}[ \t]*\Z")
