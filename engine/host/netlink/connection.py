"""One netlink socket: requests, dumps, events.

Owns the socket, sequence numbers, acknowledgements and the kernel's own words for a refusal (extended ack). A
connection belongs to the thread and the network namespace that opened it; another thread may be in another namespace,
so use from there raises instead of acting on the wrong one.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from engine.errors import HostError
from engine.host.netlink import message
from engine.values import dataclass

NETLINK_ROUTE = 0
NETLINK_NETFILTER = 12

SOL_NETLINK = 270
NETLINK_ADD_MEMBERSHIP = 1
NETLINK_LISTEN_ALL_NSID = 8
NETLINK_CAP_ACK = 10
NETLINK_EXT_ACK = 11
NETLINK_GET_STRICT_CHK = 12
NLMSGERR_ATTR_MSG = 1

RECEIVE_SIZE = 1 << 18
EVENT_BUFFER = 4 << 20
DUMP_TRIES = 5


class NetlinkError(HostError):
    """The kernel refused a netlink request; ``errno`` tells why."""

    def __init__(self, step: str, number: int, words: str = "") -> None:
        cause = os.strerror(number)
        super().__init__(step, f"{cause} ({words})" if words else cause)
        self.errno = number


Request = tuple[int, bytes]
"""Type and payload of a message; payloads in a batch are padded to four bytes by their attributes."""


_kept = threading.local()


@dataclass(frozen=True)
class Event:
    """A message nobody asked for: its type, its payload, and the id of the namespace it comes from (None: our own)."""

    kind: int
    payload: bytes
    nsid: int | None


class Connection:
    """A netlink socket in the calling thread's network namespace.

    ``groups`` are multicast groups to join; ``all_namespaces`` also delivers events of the namespaces that have an id
    here (containers). Raises HostError when the kernel has no such netlink family.
    """

    def __init__(
        self, protocol: int = NETLINK_ROUTE, *, groups: Sequence[int] = (), all_namespaces: bool = False
    ) -> None:
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        except OSError as error:
            raise HostError("opening a netlink socket", error.strerror) from error
        self._thread = threading.get_ident()
        self._sequence = 0
        # Kernels before 4.20 have no strict checking: they ignore dump filters, and every caller filters again.
        for option in (NETLINK_EXT_ACK, NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK):
            self._try_option(option)
        if groups:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, EVENT_BUFFER)
        if all_namespaces:
            self._socket.setsockopt(SOL_NETLINK, NETLINK_LISTEN_ALL_NSID, 1)
        self._socket.bind((0, 0))
        for group in groups:
            self._socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def fileno(self) -> int:
        """The socket's descriptor, for poll."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket; twice is harmless."""
        self._socket.close()

    def execute(self, step: str, kind: int, payload: bytes, flags: int = 0) -> None:
        """Send a changing request and wait for its acknowledgement; NetlinkError carries ``step``."""
        sequence = self._send(kind, payload, flags | message.NLM_F_ACK)
        for _ in self._answers(step, sequence):
            pass

    def batch(self, step: str, begin: Request, changes: Sequence[Request], end: Request) -> None:
        """Send changes that the kernel makes together, as nfnetlink does between ``begin`` and ``end``.

        All of them are made, or none and NetlinkError tells the first refusal. Each is acknowledged in the socket's
        receive buffer: a few hundred fit.
        """
        self._check_thread()
        first = self._sequence + 1
        self._sequence += len(changes) + 2
        framed = [(*begin, 0), *((*change, message.NLM_F_ACK) for change in changes), (*end, 0)]
        self._socket.send(
            b"".join(
                message.HEADER.pack(
                    message.HEADER.size + len(payload), kind, flags | message.NLM_F_REQUEST, first + place, 0
                )
                + payload
                for place, (kind, payload, flags) in enumerate(framed)
            )
        )
        waiting = set(range(first + 1, first + 1 + len(changes)))
        refusals: list[NetlinkError] = []
        while waiting:
            for kind, _, number, body in _split(self._socket.recv(RECEIVE_SIZE)):
                if kind != message.NLMSG_ERROR or (number != first and number not in waiting):
                    continue
                waiting.discard(number)
                try:
                    _raise_refusal(step, body)
                except NetlinkError as refusal:
                    refusals.append(refusal)
                    if number == first:
                        raise
        if refusals:
            raise refusals[0]

    def query(self, step: str, kind: int, payload: bytes) -> bytes:
        """Send a request for one object; the payload of the answer."""
        for _, body in self._answers(step, self._send(kind, payload, 0)):
            return body
        raise NetlinkError(step, errno.ENOENT)

    def dump(self, step: str, kind: int, payload: bytes) -> list[bytes]:
        """All objects of a kind: the payloads of the answers. A dump that a change interrupted is taken again."""
        answers: list[tuple[int, bytes]] = []
        for _ in range(DUMP_TRIES):
            answers = list(self._answers(step, self._send(kind, payload, message.NLM_F_DUMP)))
            if not any(flags & message.NLM_F_DUMP_INTR for flags, _ in answers):
                break
        return [body for _, body in answers]

    def events(self) -> list[Event]:
        """Wait for one datagram of events. NetlinkError with ENOBUFS means events were lost: dump again."""
        self._check_thread()
        try:
            data, ancillary, _, _ = self._socket.recvmsg(RECEIVE_SIZE, socket.CMSG_SPACE(4))
        except OSError as error:
            raise NetlinkError("reading kernel events", error.errno or 0) from error
        nsid = None
        for level, kind, value in ancillary:
            if level == SOL_NETLINK and kind == NETLINK_LISTEN_ALL_NSID:
                nsid = message.S32.unpack_from(value)[0]
        # -1 is the kernel's word for "this very namespace".
        nsid = None if nsid == -1 else nsid
        return [Event(kind, body, nsid) for kind, _, _, body in _split(data)]

    def _try_option(self, option: int) -> None:
        try:
            self._socket.setsockopt(SOL_NETLINK, option, 1)
        except OSError as error:
            if error.errno != errno.ENOPROTOOPT:
                raise

    def _check_thread(self) -> None:
        if threading.get_ident() != self._thread:
            raise RuntimeError("a netlink connection was used outside the thread that opened it")

    def _send(self, kind: int, payload: bytes, flags: int) -> int:
        self._check_thread()
        self._sequence += 1
        header = message.HEADER.pack(
            message.HEADER.size + len(payload), kind, flags | message.NLM_F_REQUEST, self._sequence, 0
        )
        self._socket.send(header + payload)
        return self._sequence

    def _answers(self, step: str, sequence: int) -> Sequence[tuple[int, bytes]]:
        """Flags and payloads of all answers to ``sequence``, up to its acknowledgement, end or single answer."""
        found: list[tuple[int, bytes]] = []
        while True:
            for kind, flags, number, body in _split(self._socket.recv(RECEIVE_SIZE)):
                if number != sequence:
                    continue
                if kind == message.NLMSG_ERROR:
                    _raise_refusal(step, body)
                    return found
                if kind == message.NLMSG_DONE:
                    _raise_refusal(step, body)
                    return found
                found.append((flags, body))
                if not flags & message.NLM_F_MULTI:
                    return found


def kept(protocol: int) -> Connection:
    """This thread's lasting connection of a family, in the namespace the thread is in now; never close it.

    For netfilter: closing such a socket makes the kernel finish the removal of all rules deleted before, some 13 ms.
    """
    place = (os.getpid(), Path("/proc/thread-self/ns/net").stat().st_ino)
    connections: dict[int, Connection] = _kept.__dict__.setdefault("connections", {})
    if _kept.__dict__.get("place") != place:
        connections.clear()
        _kept.place = place
    if protocol not in connections:
        connections[protocol] = Connection(protocol)
    return connections[protocol]


def _split(data: bytes) -> list[tuple[int, int, int, bytes]]:
    """The messages of one datagram: type, flags, sequence, payload."""
    messages = []
    offset = 0
    while offset + message.HEADER.size <= len(data):
        length, kind, flags, sequence, _ = message.HEADER.unpack_from(data, offset)
        if length < message.HEADER.size:
            break
        messages.append((kind, flags, sequence, data[offset + message.HEADER.size : offset + length]))
        offset += (length + 3) & ~3
    return messages


def _raise_refusal(step: str, body: bytes) -> None:
    """Raise what an NLMSG_ERROR or NLMSG_DONE says, if it says something; both begin with a negative errno or 0."""
    code = message.S32.unpack_from(body)[0] if len(body) >= 4 else 0
    if code >= 0:
        return
    # NLMSG_ERROR repeats the request's header (only that, with CAP_ACK) before the extended ack's attributes.
    words = ""
    for offset in (4 + message.HEADER.size, 4):
        detail = message.attributes(body, offset, (NLMSGERR_ATTR_MSG,)).get(NLMSGERR_ATTR_MSG)
        if detail:
            words = message.string(detail)
            break
    raise NetlinkError(step, -code, words)
