"""References as docker reads and writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import InvalidInput
from engine.images.reference import parse

pytestmark = pytest.mark.unit

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "name", "canonical"),
    [
        ("busybox", "busybox:latest", "docker.io/library/busybox:latest"),
        ("busybox:1.36", "busybox:1.36", "docker.io/library/busybox:1.36"),
        ("docker.io/busybox", "busybox:latest", "docker.io/library/busybox:latest"),
        ("index.docker.io/library/busybox", "busybox:latest", "docker.io/library/busybox:latest"),
        ("user/app", "user/app:latest", "docker.io/user/app:latest"),
        ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
        ("localhost:5000/app:v1", "localhost:5000/app:v1", "localhost:5000/app:v1"),
        ("registry.example/a/b/c:T.a-g_1", "registry.example/a/b/c:T.a-g_1", "registry.example/a/b/c:T.a-g_1"),
        ("127.0.0.1:5000/x", "127.0.0.1:5000/x:latest", "127.0.0.1:5000/x:latest"),
        ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"),
        ("REGISTRY/app", "REGISTRY/app:latest", "REGISTRY/app:latest"),
        ("a__b/c-d.e_f", "a__b/c-d.e_f:latest", "docker.io/a__b/c-d.e_f:latest"),
        (f"busybox@{DIGEST}", f"busybox@{DIGEST}", f"docker.io/library/busybox@{DIGEST}"),
        (f"busybox:1@{DIGEST}", "busybox:1", f"docker.io/library/busybox:1@{DIGEST}"),
        ("app:5000", "app:5000", "docker.io/library/app:5000"),
    ],
)
def test_forms(text: str, name: str, canonical: str) -> None:
    reference = parse(text)
    assert (reference.name(), reference.canonical) == (name, canonical)
    assert parse(reference.canonical).canonical == canonical


@pytest.mark.parametrize(
    "text",
    ["", ":", "a:", ":tag", "a//b", "/a", "a/", "-a", "a-", "a..b", "a___b", "a b", "a:b c", "a:-x", "a:" + "t" * 129,
     "a@sha256:short", "a@", "http://a/b", "a:b:c", "host:port/x", "a\n", "a:\u00e9"],
)  # fmt: skip
def test_malformed_references_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="invalid reference format"):
        parse(text)


def test_upper_case_is_told_as_docker_does() -> None:
    with pytest.raises(InvalidInput, match="must be lowercase") as caught:
        parse("user/App:1")
    assert "user/app:1" in caught.value.remedy
    with pytest.raises(InvalidInput, match="64-byte hexadecimal"):
        parse("a" * 64)
    with pytest.raises(InvalidInput, match="must not be more than 255"):
        parse("a/" * 130 + "a")


@given(st.text(max_size=40))
def test_anything_is_parsed_or_refused(text: str) -> None:
    try:
        reference = parse(text)
    except InvalidInput:
        return
    assert parse(reference.name()).name() == reference.name()
