"""``.dockerignore``: moby's pattern language."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.build.dockerignore import Ignore, read
from engine.errors import InvalidInput

pytestmark = pytest.mark.unit

MATCHES = [
    ("**", "dir/file"),
    ("**/", "file"),
    ("**/**", "dir/file"),
    ("dir/**", "dir/dir2/file"),
    ("**/dir", "dir"),
    ("**/dir", "dir/file"),
    ("**/dir2/*", "dir/dir2/file"),
    ("**/dir2/**", "dir/dir2/dir3/file"),
    ("**file", "dir/dir/file"),
    ("**/file*txt", "dir/file.txt"),
    ("**/**/*.txt", "file.txt"),
    ("a**/*.txt", "a/dir/file.txt"),
    ("a/*.txt**", "a/file.txt"),
    ("a*", "ab/c"),
    ("a*/b", "abc/b"),
    ("a[b-d]e", "ace"),
    ("a[^b-d]e", "aze"),
    ("a[^a]b", "a☺b"),
    ("[a-ζ]*", "α"),
    ("[\\]a]", "]"),
    ("[x\\-]", "-"),
    ("a\\*b", "a*b"),
    (".*", ".foo"),
    ("abc?def", "abcZdef"),
    ("a.|)$(}+{bc", "a.|)$(}+{bc"),
    ("dir/", "dir/file"),
    ("./x/../dir", "dir/file"),
    ("dir", "dir"),
]
MISSES = [
    ("**/**/*.txt2", "file.txt"),
    ("a/*.txt", "a/dir/file.txt"),
    ("a[b-d]e", "ae"),
    (".*", "foo"),
    ("abc.def", "abcZdef"),
    ("abc/**", "abc"),
    ("**/.foo", "bar.foo"),
    ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f"),
    ("a?b", "a/b"),
    ("a*b", "a/b"),
    ("[\\-x]", "a"),
    ("dir", "dir2/file"),
]


@pytest.mark.parametrize(("pattern", "path"), MATCHES)
def test_what_matches(pattern: str, path: str) -> None:
    assert Ignore([pattern]).covers(path)


@pytest.mark.parametrize(("pattern", "path"), MISSES)
def test_what_does_not_match(pattern: str, path: str) -> None:
    assert not Ignore([pattern]).covers(path)


@pytest.mark.parametrize(
    ("patterns", "path", "ignored"),
    [
        (["docs", "!docs/README.md"], "docs/README.md", False),
        (["docs", "!docs/README.md"], "docs/other", True),
        (["docs/*", "!docs/README.md"], "docs/README.md", False),
        (["!file", "*"], "file", True),
        (["*", "!file"], "file", False),
        (["**", "!a/b"], "a/b/c", False),
        (["**", "!a/b", "a/b/c"], "a/b/c", True),
        (["*.md", "!README*.md", "README-secret.md"], "README-secret.md", True),
        (["*.md", "!README*.md", "README-secret.md"], "README-1.md", False),
        (["  docs  ", "  !docs/a "], "docs/a", False),
    ],
)
def test_the_last_match_decides(patterns: list[str], path: str, ignored: bool) -> None:
    assert Ignore(patterns).covers(path) is ignored


@pytest.mark.parametrize("pattern", ["[]a]", "[-]", "[x-]", "[-x]", "\\", "[a-b-c]", "[", "[^", "[^bc", "a[", "!"])
def test_patterns_without_a_meaning_are_refused(pattern: str) -> None:
    with pytest.raises(InvalidInput):
        Ignore([pattern])


def test_the_file_syntax() -> None:
    text = "\ufeff# comment\n\n/abs\n  spaced  \n! /kept/x/../y\ndir/\n #not a comment\n/\n"
    assert read(text) == ["abs", "spaced", "!kept/y", "dir", "#not a comment", "/"]


@pytest.mark.parametrize(
    ("patterns", "directory", "possible"),
    [
        (["a"], "a", False),
        (["a", "!a/b"], "a", True),
        (["a", "!c/b"], "a", False),
        (["*", "!a/b/c"], "a/b", True),
        (["*", "!**/c"], "a/b", True),
        (["*", "!a/*/c"], "a/b", True),
        (["*", "!ab"], "a", False),
    ],
)
def test_where_exceptions_may_hide(patterns: list[str], directory: str, possible: bool) -> None:
    assert Ignore(patterns).may_hold_exceptions(directory) is possible


PARTS = st.sampled_from(["a", "b", "ab", "*", "?", "**", "a*"])
PATTERNS = st.lists(st.tuples(st.booleans(), st.lists(PARTS, min_size=1, max_size=3)), max_size=5)
PATHS = st.lists(st.sampled_from(["a", "b", "ab"]), min_size=1, max_size=4).map("/".join)


@given(PATTERNS, PATHS)
def test_a_walk_that_prunes_misses_nothing(patterns: list[tuple[bool, list[str]]], path: str) -> None:
    """Not descending where ``may_hold_exceptions`` says no gives the same answer as looking at the whole path."""
    ignore = Ignore([("!" if exception else "") + "/".join(parts) for exception, parts in patterns])
    steps = path.split("/")
    pruned = any(
        ignore.covers("/".join(steps[:end])) and not ignore.may_hold_exceptions("/".join(steps[:end]))
        for end in range(1, len(steps))
    )
    if pruned:
        assert ignore.covers(path)
