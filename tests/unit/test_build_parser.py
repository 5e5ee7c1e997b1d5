"""The Dockerfile parser against BuildKit's own (the PyPI package ``dockerfile``), and what that package cannot tell."""

from __future__ import annotations

import re
from typing import Any

import dockerfile as oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.build.failure import DockerfileError
from engine.build.parser import Dockerfile, Node, heredoc_of, parse

pytestmark = pytest.mark.unit

INSTRUCTIONS = (
    *("ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER"),
    *("ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"),
)

CORPUS = {
    "continuations": "FROM a\nRUN one && \\\n  # a comment\n\n    two \\\n\tthree\nCMD x\n",
    "file ends in a continuation": "FROM a\nRUN one \\\n",
    "escaped continuation": "FROM a\nRUN one \\\\\nRUN two\n",
    "backtick": "# escape=`\nFROM a\nRUN dir c:\\ `\n  x\nENV a=b` c\n",
    "directives": "# syntax=docker/dockerfile:1\n# check=skip=all\n# escape=\\\nFROM a\n",
    "a comment ends the directives": "# hello\n# escape=`\nFROM a\nRUN a \\\n b\n",
    "crlf": "FROM a\r\nRUN one \\\r\n  two\r\nCOPY <<E /x\r\nbody\r\nE\r\n",
    "bom": "\ufeffFROM a\nRUN b\n",
    "json": 'FROM a\nCMD ["a", "b"]\nENTRYPOINT []\nSHELL ["a"]\nVOLUME ["/a b"]\n',
    "not quite json": "FROM a\nCMD ['a']\nRUN [ \"x\",\n",
    "env old and new": "FROM a\nENV k some  value \nENV a=b c=\"d e\" f='g h' i=j\\ k l=\nLABEL x y z\n",
    "quotes stay": 'FROM a\nENV a=\'it\'\'s\' b="q\\"q"\nARG x="a b" y\n',
    "flags": "FROM --platform=x a\nCOPY --from=b --chown='a b' --link x y\nRUN --mount=type=bind,a=\"b c\" -- --x\n",
    "healthcheck": 'FROM a\nHEALTHCHECK --interval=1s CMD a b\nHEALTHCHECK CMD ["a"]\nHEALTHCHECK NONE\n',
    "onbuild": "FROM a\nONBUILD RUN x  y\nONBUILD COPY --chown=a x y\nonbuild add a b\n",
    "heredocs": "FROM a\nRUN <<A cat <<-B\n$x\nA\n\tb\n\tB\nCOPY <<'E' <<F /d/\n# not a comment\\\nE\nf\nF\n",
    "no heredoc in quotes or json": 'FROM a\nRUN echo "<<E"\nRUN ["<<E"]\nCMD <<E\n',
    "case": "from a\nrun x\nCopy a b\n",
    "unknown instructions come out": "FROM a\nFOO bar\n",
    "nothing after the instruction": "FROM a\nRUN\nCMD\nENV\nARG\nCOPY\n",
}

FRAGMENTS = st.sampled_from(
    [f"{name} " for name in INSTRUCTIONS]
    + ["\n"] * 8
    + [
        " ",
        "\t",
        "\\",
        "\\\\\n",
        "\\\n",
        "`",
        "#",
        "# comment\n",
        "\r\n",
        "a",
        "b",
        "=",
        "k=v ",
        "'",
        '"',
        "$x",
        "${y}",
    ]
    + [
        "[",
        '["a","b"]',
        "[1]",
        "--x ",
        "--y=1 ",
        "-- ",
        "<<E",
        "<<-E",
        "<<'E'",
        "E\n",
        "\tE\n",
        "|",
        "# escape=`\n",
        "x y",
    ]
)


def ours(text: str) -> Any:
    try:
        return tuple(flat(node) for node in parse(text).nodes)
    except DockerfileError:
        return "error"


def flat(node: Node) -> tuple[Any, ...]:
    holder = node.child or node
    known = {node.name, holder.name} <= set(INSTRUCTIONS)
    chained = node.child is not None and node.child.name == "ONBUILD"
    return (
        node.name,
        node.child.name if node.child else None,
        holder.is_json,
        node.original,
        (node.location.start, node.location.end),
        node.flags,
        holder.arguments[1:] if chained else () if not known else arguments(node),
        tuple((heredoc.name, heredoc.content) for heredoc in node.heredocs),
    )


def arguments(node: Node) -> tuple[str, ...]:
    return node.child.arguments if node.child else node.arguments


def theirs(text: str) -> Any:
    try:
        commands = oracle.parse_string(text)
    except oracle.GoParseError:
        return "error"
    found = []
    for command in commands:
        name = (command.cmd or "").upper()
        names = {name, (command.sub_cmd or name).upper()}
        # The package hands out a text that it puts heredocs back into, and loses what ONBUILD ONBUILD holds.
        original = (command.original or "").split("\n")[0] if command.heredocs else command.original or ""
        found.append(
            (
                name,
                command.sub_cmd.upper() if command.sub_cmd else None,
                command.json,
                original,
                (command.start_line, command.end_line),
                command.flags,
                command.value if names <= set(INSTRUCTIONS) else (),
                tuple((heredoc.name, heredoc.content) for heredoc in command.heredocs),
            )
        )
    return tuple(found)


def beyond_the_oracle(text: str) -> bool:
    """What the package's BuildKit, older than ours, reads differently: text after a JSON array, blanks after ``<<``."""
    return bool(
        re.search(r"\][^\n]*\S", text) or re.search(r"<<-?\s", text) or re.search(r"(?i)onbuild\s+onbuild", text)
    )


@pytest.mark.parametrize("name", CORPUS)
def test_the_corpus_reads_as_in_buildkit(name: str) -> None:
    assert ours(CORPUS[name]) == theirs(CORPUS[name])


@settings(max_examples=300, deadline=None)
@given(st.lists(FRAGMENTS, min_size=1, max_size=20).map("".join))
def test_any_text_reads_as_in_buildkit(text: str) -> None:
    text = "FROM a\n" + text
    if beyond_the_oracle(text) or re.search(r"(?im)^\s*onbuild(\s*\\?\s*)*$", text):
        return
    assert ours(text) == theirs(text)


def test_text_after_a_json_array_makes_it_a_shell_command() -> None:
    assert nodes('FROM a\nCMD ["a"] b\n')[1].arguments == ('["a"] b',)


def test_blanks_may_stand_between_heredoc_mark_and_name() -> None:
    assert [heredoc.content for heredoc in nodes("FROM a\nRUN cat << E\nx\nE\n")[1].heredocs] == ["x\n"]


def nodes(text: str) -> tuple[Node, ...]:
    return parse(text).nodes


def test_nodes_know_their_lines() -> None:
    node = nodes("FROM a\n\n# note\nRUN one \\\n  two\n")[1]
    assert (node.location.start, node.location.end, node.location.source) == (4, 5, "RUN one \\\n  two")
    assert node.comments == ("note",)


def test_directives_are_kept() -> None:
    parsed = parse("# syntax = docker/dockerfile:1\n# check=error=true\nFROM a\n")
    assert dict(parsed.directives) == {"syntax": "docker/dockerfile:1", "check": "error=true"}


def test_empty_continuation_lines_are_warned_of() -> None:
    parsed: Dockerfile = parse("FROM a\nRUN x \\\n\n y\n")
    assert parsed.warnings == ((2, "Empty continuation line"),)


@pytest.mark.parametrize(
    ("word", "name", "expand", "chomp"),
    [
        ("<<E", "E", True, False),
        ("<<-E", "E", True, True),
        ("<<'E'", "E", False, False),
        ('3<<-"E F"', "E F", False, True),
        ("<<E\\'F", "E'F", True, False),
        ("<<$E", "$E", True, False),
    ],
)
def test_heredoc_words(word: str, name: str, expand: bool, chomp: bool) -> None:
    heredoc = heredoc_of(word)
    assert heredoc is not None
    assert (heredoc.name, heredoc.expand, heredoc.chomp) == (name, expand, chomp)


@pytest.mark.parametrize("word", ["<E", "<<", "<<a b", "<<<E", "a<<E", "<<-"])
def test_what_is_no_heredoc_word(word: str) -> None:
    assert heredoc_of(word) is None


def test_chomped_heredocs_lose_leading_tabs_only() -> None:
    assert nodes("FROM a\nRUN <<-E\n\t\ta\n\t b\n  c\n\tE\n")[1].heredocs[0].text == "a\n b\n  c\n"


def test_bytes_that_are_no_utf8_survive_in_a_heredoc() -> None:
    node = parse(b"FROM a\nCOPY <<E /x\n\xff\xfe\nE\n").nodes[1]
    assert node.heredocs[0].text.encode("utf-8", "surrogateescape") == b"\xff\xfe\n"


ERRORS = {
    "# escape=x\nFROM a\n": (1, "invalid escape token 'x' does not match ` or \\"),
    "# escape=`\n# escape=`\nFROM a\n": (2, "only one escape parser directive can be used"),
    "# nothing here\n": (1, "file with no instructions"),
    "FROM a\nRUN <<E\nx\n": (2, "unterminated heredoc"),
    "FROM a\nENV a\n": (2, "ENV must have two arguments"),
    "FROM a\nLABEL a=b c\n": (2, 'Syntax error - can\'t find = in "c". Must be of the form: name=value'),
    "FROM a\n\nCMD [1]\n": (3, "when using JSON array syntax, arrays must be comprised of strings only"),
    "FROM a\nRUN " + "x" * 65535 + "\n": (2, "dockerfile line greater than max allowed size of 65535"),
}


@pytest.mark.parametrize("text", ERRORS)
def test_errors_have_file_line_and_words(text: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        parse(text, "app/Dockerfile")
    line, words = ERRORS[text]
    assert (caught.value.file, caught.value.line) == ("app/Dockerfile", line)
    assert str(caught.value) == f"dockerfile parse error on line {line}: {words}"
    assert caught.value.source


def test_the_offending_lines_come_along() -> None:
    with pytest.raises(DockerfileError) as caught:
        parse("FROM a\nENV \\\n  a\n")
    assert (caught.value.line, caught.value.source) == (2, "ENV \\\n  a")
