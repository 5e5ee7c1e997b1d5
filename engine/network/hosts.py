"""/etc/hosts and /etc/hostname of a container (docker's layout). Pure but for reading the host's own file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from engine.errors import InvalidInput

HOST_FILE = Path("/etc/hosts")

STANDARD = (
    ("127.0.0.1", "localhost"),
    ("::1", "localhost ip6-localhost ip6-loopback"),
    ("fe00::0", "ip6-localnet"),
    ("ff00::0", "ip6-mcastprefix"),
    ("ff02::1", "ip6-allnodes"),
    ("ff02::2", "ip6-allrouters"),
)

HOST_GATEWAY = "host-gateway"


def for_container(
    hostname: str,
    addresses: Iterable[str],
    *,
    domainname: str = "",
    extra: Sequence[str] = (),
    gateway: str = "",
) -> str:
    """The hosts file: standard lines, ``extra`` (``NAME:ADDRESS``), then a line of the container's own per address.

    ``gateway`` stands in for the address ``host-gateway``. InvalidInput for a malformed extra host.
    """
    lines = [*STANDARD, *(parse_extra(each, gateway) for each in extra)]
    own = own_names(hostname, domainname)
    lines += [(address, own) for address in addresses if address]
    return "".join(f"{address}\t{names}\n" for address, names in lines)


def for_host_mode(*, extra: Sequence[str] = (), host_file: Path = HOST_FILE) -> str:
    """The hosts file of a container in the host's namespace: the host's own, with ``extra`` after it."""
    text = host_file.read_text(errors="surrogateescape") if host_file.exists() else ""
    added = "".join(f"{address}\t{name}\n" for address, name in (parse_extra(each, "127.0.0.1") for each in extra))
    if added and text and not text.endswith("\n"):
        text += "\n"
    return text + added


def own_names(hostname: str, domainname: str = "") -> str:
    """The names on the container's own line: the full name first, then its first label."""
    full = f"{hostname}.{domainname}" if domainname else hostname
    short = full.partition(".")[0]
    return full if short == full else f"{full} {short}"


def parse_extra(text: str, gateway: str = "") -> tuple[str, str]:
    """``--add-host NAME:ADDRESS`` (or ``NAME=ADDRESS``, brackets round IPv6) as address and name."""
    separator = "=" if "=" in text else ":"
    name, found, address = text.partition(separator)
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    if not found or not name or not address:
        raise InvalidInput(f'bad format for add-host: "{text}"', remedy="the form is NAME:ADDRESS")
    if address == HOST_GATEWAY:
        if not gateway:
            raise InvalidInput(
                "unable to derive the IP value for host-gateway", remedy="host-gateway needs a bridge network"
            )
        address = gateway
    elif not _is_address(address):
        raise InvalidInput(f'invalid IP address in add-host: "{address}"', remedy="the form is NAME:ADDRESS")
    return address, name


def hostname_file(hostname: str) -> str:
    """Content of /etc/hostname."""
    return f"{hostname}\n"


def _is_address(text: str) -> bool:
    import socket

    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, text)
        except OSError:
            continue
        return True
    return False
