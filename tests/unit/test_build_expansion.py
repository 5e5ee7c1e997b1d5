"""Words: variables, quotes, escapes, as BuildKit's shell lexer reads them."""

from __future__ import annotations

import pytest

from engine.build.expansion import HEREDOC_BODY, ExpansionError, Rules, expand

pytestmark = pytest.mark.unit

ENVIRONMENT = {"x": "value", "empty": "", "path": "/a/b.tar.gz", "words": "one two", "HOME": "/h", "a": "foo*bar"}

WORDS = {
    "plain": "plain",
    "$x": "value",
    "${x}": "value",
    "$x$x": "valuevalue",
    "a${x}b": "avalueb",
    "$nosuch": "",
    "${nosuch}": "",
    "$": "$",
    "$ x": "$ x",
    "$.": "$.",
    "\\$x": "$x",
    "\\${x}": "${x}",
    "'$x'": "$x",
    '"$x"': "value",
    '"a\\"b"': 'a"b',
    '"a\\nb"': "a\\nb",
    "'it''s'": "its",
    "a\\ b": "a b",
    "tail\\": "tail",
    "${nosuch:-default}": "default",
    "${empty:-default}": "default",
    "${empty-default}": "",
    "${x:-default}": "value",
    "${nosuch:-$x}": "value",
    "${nosuch:-${empty:-deep}}": "deep",
    "${nosuch-}": "",
    "${x:+set}": "set",
    "${empty:+set}": "",
    "${empty+set}": "set",
    "${nosuch+set}": "",
    "${x:?no}": "value",
    "${path#*/}": "a/b.tar.gz",
    "${path##*/}": "b.tar.gz",
    "${path%.*}": "/a/b.tar",
    "${path%%.*}": "/a/b",
    "${path#nomatch}": "/a/b.tar.gz",
    "${path/a/X}": "/X/b.tar.gz",
    "${path//a/X}": "/X/b.tXr.gz",
    "${path//\\//-}": "-a-b.tar.gz",
    "${path/./}": "/a/btar.gz",
    "${a#foo\\*}": "bar",
    "${a/\\*/+}": "foo+bar",
    "${x/v?l/V}": "Vue",
    "$1x": "x",
    "${nosuch/a/b}": "",
}


@pytest.mark.parametrize("word", WORDS)
def test_expansion(word: str) -> None:
    assert expand(word, ENVIRONMENT).text == WORDS[word]


ERRORS = {
    "'open": "unexpected end of statement while looking for matching single-quote",
    '"open': "unexpected end of statement while looking for matching double-quote",
    "${x": "syntax error: missing '}'",
    "${": "syntax error: missing '}'",
    "${}": "syntax error: bad substitution",
    "${:x}": "syntax error: bad substitution",
    "${x:-a": "syntax error: missing '}'",
    "${x!y}": "unsupported modifier (!) in substitution",
    "${x:=y}": "unsupported modifier (:=) in substitution",
    "${nosuch?}": "nosuch: is not allowed to be unset",
    "${empty:?}": "empty: is not allowed to be empty",
    "${nosuch:?give nosuch}": "nosuch: give nosuch",
    "${x/a}": "syntax error: missing '/' in ${}",
    "${x/a/b": "syntax error: missing '}'",
    "${a#\\q}": "invalid pattern (\\q) in substitution: invalid escape '\\q'",
}


@pytest.mark.parametrize("word", ERRORS)
def test_bad_substitutions_are_named(word: str) -> None:
    with pytest.raises(ExpansionError) as caught:
        expand(word, ENVIRONMENT)
    assert str(caught.value).startswith("failed to process ")
    assert str(caught.value).endswith(f": {ERRORS[word]}")


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("$words", ("one", "two")),
        ('"$words"', ("one two",)),
        (" a  b ", ("a", "b")),
        ("a\\ b c", ("a b", "c")),
        ("'a b'c d", ("a bc", "d")),
        ("$empty", ()),
        ("x$words", ("xone", "two")),
    ],
)
def test_splitting_follows_expansion(word: str, words: tuple[str, ...]) -> None:
    assert expand(word, ENVIRONMENT).words == words


def test_the_escape_directive_changes_the_escape() -> None:
    rules = Rules(escape="`")
    assert expand("c:\\dir`$x $x", ENVIRONMENT, rules).text == "c:\\dir$x value"


def test_a_heredoc_body_keeps_its_quotes() -> None:
    assert expand("echo \"$x\" 'a' \\$x", ENVIRONMENT, HEREDOC_BODY).text == "echo \"value\" 'a' $x"


def test_unset_variables_can_be_kept() -> None:
    rules = Rules(keep_unset=True, raw_quotes=True)
    assert expand("$nosuch '${nosuch}' ${nosuch:-a} $x", ENVIRONMENT, rules).text == (
        "$nosuch '${nosuch}' ${nosuch:-a} value"
    )
