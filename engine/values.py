"""Value classes: what ``dataclasses`` gives, at a price that a command line can pay.

Owns a ``dataclass`` with the meaning of the standard library's for what this program uses of it: defaults,
factories, ``frozen``, ``__post_init__``, inheritance, equality, hash, repr, ``fields`` and ``replace``. The standard
one writes and compiles up to six methods for every class (0.5 ms each, and a ``run`` has a hundred classes) and loads
``inspect`` to do so: together a third of the time of a whole command. Here all classes share their methods, and making
one takes 20 µs. Type checkers are told that it is the standard one. Has no ordering, slots, keyword-only or init-less
fields.
"""

from __future__ import annotations

# As typing's, without loading typing: the exit hook's short way has no use for it.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from dataclasses import MISSING, dataclass, field, fields, replace

    __all__ = ["MISSING", "dataclass", "field", "fields", "replace"]
else:

    class _Missing:
        def __repr__(self):
            return "MISSING"

    MISSING = _Missing()

    class Field:
        """One field: its name, and its default or the factory of it (MISSING: none)."""

        __slots__ = ("default", "default_factory", "name")

        def __init__(self, name, default=MISSING, default_factory=MISSING):
            self.name = name
            self.default = default
            self.default_factory = default_factory

    def field(*, default=MISSING, default_factory=MISSING):
        """What stands for a field's default in the body of a class."""
        return Field("", default, default_factory)

    def fields(value):
        """The fields of a value or of its class, in order."""
        return tuple(value.__value_fields__.values())

    def replace(value, /, **changes):
        """A copy of ``value`` with other values for some fields."""
        return value.__class__(**{**{name: getattr(value, name) for name in value.__value_fields__}, **changes})

    def dataclass(cls=None, /, *, frozen=False):
        """The decorator, with or without arguments."""
        return _made(cls, frozen) if cls is not None else lambda cls: _made(cls, frozen)

    def _made(cls, frozen):
        found = {}
        for base in reversed(cls.__mro__[1:]):
            # Only what a base declares itself: what it inherits has its own place in the order.
            found.update(base.__dict__.get("__value_fields__", ()))
        for name, annotation in cls.__annotations__.items():
            if str(annotation).startswith("ClassVar"):
                continue
            default = cls.__dict__.get(name, MISSING)
            if isinstance(default, Field):
                default.name = name
                found[name] = default
                if default.default is MISSING:
                    delattr(cls, name)
                else:
                    setattr(cls, name, default.default)
            else:
                found[name] = Field(name, default)
        cls.__value_fields__ = found
        cls.__value_defaults__ = {each.name: each.default for each in found.values() if each.default is not MISSING}
        cls.__value_factories__ = {
            each.name: each.default_factory for each in found.values() if each.default_factory is not MISSING
        }
        cls.__match_args__ = tuple(found)
        shared = _FROZEN if frozen else _CHANGEABLE
        for name, method in shared.items():
            # As the standard one: what a class writes itself is its own.
            if name not in cls.__dict__ or cls.__dict__[name] is None:
                setattr(cls, name, method)
        return cls

    def _initialise(self, /, *values, **named):
        cls = self.__class__
        names = cls.__match_args__
        state = cls.__value_defaults__.copy()
        state.update(zip(names, values))  # noqa: B905  (checked below: zip's own check costs more than all the rest)
        state.update(named)
        for name, factory in cls.__value_factories__.items():
            if name not in state:
                state[name] = factory()
        if (
            state.keys() != cls.__value_fields__.keys()
            or len(values) > len(names)
            or (values and named and not named.keys().isdisjoint(names[: len(values)]))
        ):
            raise _misfit(cls, values, named, state)
        self.__dict__.update(state)
        after = getattr(self, "__post_init__", None)
        if after is not None:
            after()

    def _misfit(cls, values, named, state):
        names = cls.__match_args__
        if len(values) > len(names):
            return TypeError(f"{cls.__qualname__} takes {len(names)} values but {len(values)} were given")
        for name in named:
            if name not in names:
                return TypeError(f"{cls.__qualname__} got an unexpected field '{name}'")
            if name in names[: len(values)]:
                return TypeError(f"{cls.__qualname__} got two values for '{name}'")
        missing = [name for name in names if name not in state]
        return TypeError(f"{cls.__qualname__} is missing {', '.join(missing)}")

    def _values(self):
        return tuple([getattr(self, name) for name in self.__match_args__])

    def _equal(self, other):
        return _values(self) == _values(other) if other.__class__ is self.__class__ else NotImplemented

    def _hashed(self):
        return hash(_values(self))

    def _described(self):
        return f"{self.__class__.__qualname__}({', '.join(f'{n}={getattr(self, n)!r}' for n in self.__match_args__)})"

    def _refuse_change(self, name, value=None):
        raise AttributeError(f"{self.__class__.__qualname__} is frozen: '{name}' cannot be changed")

    _CHANGEABLE = {"__init__": _initialise, "__eq__": _equal, "__hash__": None, "__repr__": _described}
    _FROZEN = {**_CHANGEABLE, "__hash__": _hashed, "__setattr__": _refuse_change, "__delattr__": _refuse_change}
