"""The netlink wire format: attributes in, attributes out (netlink(7), rtnetlink(7)).

Owns packing and unpacking of type-length-value attributes and the numbers shared by all families. Opens no socket.
"""

from __future__ import annotations

import struct
from collections.abc import Collection

HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port id
ATTRIBUTE = struct.Struct("=HH")  # length with this header, type

NLM_F_REQUEST = 0x1
NLM_F_MULTI = 0x2
NLM_F_ACK = 0x4
NLM_F_DUMP_INTR = 0x10
NLM_F_EXCL = 0x200
NLM_F_DUMP = 0x300
NLM_F_CREATE = 0x400
NLM_F_REPLACE = 0x100

NLMSG_NOOP = 1
NLMSG_ERROR = 2
NLMSG_DONE = 3

NLA_F_NESTED = 0x8000
TYPE_MASK = 0x3FFF

U8 = struct.Struct("=B")
U16 = struct.Struct("=H")
U32 = struct.Struct("=I")
S32 = struct.Struct("=i")
BE16 = struct.Struct(">H")
BE32 = struct.Struct(">I")


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    return ATTRIBUTE.pack(4 + len(value), kind) + value + bytes(-len(value) % 4)


def text(kind: int, value: str) -> bytes:
    """One attribute that holds a NUL-terminated string."""
    return attribute(kind, value.encode() + b"\0")


def u8(kind: int, value: int) -> bytes:
    """One attribute that holds a byte."""
    return attribute(kind, U8.pack(value))


def u32(kind: int, value: int) -> bytes:
    """One attribute that holds an unsigned 32-bit number in host order."""
    return attribute(kind, U32.pack(value))


def s32(kind: int, value: int) -> bytes:
    """One attribute that holds a signed 32-bit number in host order."""
    return attribute(kind, S32.pack(value))


def nested(kind: int, *parts: bytes) -> bytes:
    """One attribute that holds attributes."""
    return attribute(kind | NLA_F_NESTED, b"".join(parts))


def attributes(data: bytes, offset: int = 0, wanted: Collection[int] | None = None) -> dict[int, bytes]:
    """The attributes of ``data`` from ``offset`` on, by type; only those in ``wanted`` when given.

    A repeated type keeps its last value; a malformed tail is ignored, as the kernel's own parsers do.
    """
    found: dict[int, bytes] = {}
    end = len(data)
    unpack = ATTRIBUTE.unpack_from
    while offset + 4 <= end:
        length, kind = unpack(data, offset)
        if length < 4 or offset + length > end:
            break
        kind &= TYPE_MASK
        if wanted is None or kind in wanted:
            found[kind] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


def string(value: bytes) -> str:
    """The text of a NUL-terminated attribute; bytes that are no UTF-8 survive as surrogates."""
    return value.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")
