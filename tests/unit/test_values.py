"""The cheap ``dataclass``, held against the standard library's."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from functools import cached_property
from typing import Any, ClassVar

import pytest

from engine import values

pytestmark = pytest.mark.unit


def family(made: Any) -> tuple[Any, Any]:
    """A frozen class and one that inherits from it, made by one of the two modules."""

    @made.dataclass(frozen=True)
    class Point:
        KIND: ClassVar[str] = "point"
        x: int
        y: int = 2
        tags: dict[str, str] = made.field(default_factory=dict)
        name: str = made.field(default="p")

        def __post_init__(self) -> None:
            if self.x < 0:
                raise ValueError("negative")

        @cached_property
        def total(self) -> int:
            return self.x + self.y

    @made.dataclass(frozen=True)
    class Higher(Point):
        y: int = 5
        z: int = 3

        def __repr__(self) -> str:
            return "own"

    return Point, Higher


OWN, OWN_CHILD = family(values)
STANDARD, STANDARD_CHILD = family(dataclasses)


@values.dataclass
class Counter:
    """A changeable one; at the top of the module, so that pickle finds it."""

    count: int = 0
    seen: list[int] = values.field(default_factory=list)


@pytest.mark.parametrize(
    "use",
    [
        lambda point, child: vars(point(1)),
        lambda point, child: vars(point(1, 4, name="q")),
        lambda point, child: vars(child(1)),
        lambda point, child: vars(child(1, 2, {}, "n", 9)),
        lambda point, child: (point(1) == point(1), point(1) == point(2), point(1) == child(1), point(1) == 1),
        lambda point, child: (point.y, point.name, hasattr(point, "tags"), hasattr(point, "x"), point.KIND),
        lambda point, child: repr(point(1)).rpartition(".")[2],
        lambda point, child: repr(child(1)),
        lambda point, child: (child.__match_args__, point(1).total),
        lambda point, child: vars(copy.copy(point(1))),
    ],
)
def test_it_means_what_the_standard_one_means(use: Callable[[Any, Any], object]) -> None:
    assert use(OWN, OWN_CHILD) == use(STANDARD, STANDARD_CHILD)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda point: point(),
        lambda point: point(1, 2, {}, "n", 5),
        lambda point: point(1, x=1),
        lambda point: point(1, other=1),
        lambda point: point(other=1),
        lambda point: point(-1),
        lambda point: hash(point(1)),  # a dict in it
        lambda point: setattr(point(1), "y", 3),
        lambda point: setattr(point(1), "unheard_of", 3),
        lambda point: delattr(point(1), "y"),
    ],
)
def test_it_refuses_what_the_standard_one_refuses(wrong: Callable[[Any], object]) -> None:
    with pytest.raises((TypeError, ValueError, AttributeError)) as standard:
        wrong(STANDARD)
    with pytest.raises((TypeError, ValueError, AttributeError)) as own:
        wrong(OWN)
    assert isinstance(standard.value, type(own.value))


def test_equal_values_have_one_hash() -> None:
    tags = (("a", "b"),)
    assert len({OWN(1, tags=tags), OWN(1, 2, tags), OWN(1, 3, tags)}) == 2


def test_a_copy_with_changes_leaves_the_original() -> None:
    first = OWN_CHILD(1)
    assert vars(values.replace(first, z=8, x=2)) == {**vars(first), "z": 8, "x": 2}
    assert first.z == 3
    with pytest.raises(TypeError, match="unexpected field 'w'"):
        values.replace(first, w=1)


def test_fields_tell_their_defaults_in_order() -> None:
    assert [each.name for each in values.fields(OWN_CHILD)] == ["x", "y", "tags", "name", "z"]
    assert [each.default for each in values.fields(OWN)] == [values.MISSING, 2, values.MISSING, "p"]
    assert values.fields(OWN(1))[2].default_factory is dict


def test_a_changeable_one_changes_and_shares_nothing() -> None:
    one, other = Counter(), Counter()
    one.count += 1
    one.seen.append(1)
    assert (one, other) == (Counter(1, [1]), Counter())
    assert pickle.loads(pickle.dumps(one)) == one
    with pytest.raises(TypeError):
        hash(one)
