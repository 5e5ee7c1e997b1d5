"""resolv.conf, hosts and hostname of a container, as docker writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import InvalidInput
from engine.network import hosts, resolv

pytestmark = pytest.mark.unit

STANDARD = (
    "127.0.0.1\tlocalhost\n"
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::0\tip6-localnet\n"
    "ff00::0\tip6-mcastprefix\n"
    "ff02::1\tip6-allnodes\n"
    "ff02::2\tip6-allrouters\n"
)


def host_file(tmp_path: Path, text: str) -> str:
    (tmp_path / "resolv.conf").write_text(text)
    (tmp_path / "upstream").write_text("nameserver 192.0.2.53\nsearch corp.example\n")
    return resolv.host_text(tmp_path / "resolv.conf", tmp_path / "upstream")


def test_the_hosts_file_is_taken_as_it_is(tmp_path: Path) -> None:
    text = "# by hand\nnameserver 10.255.255.53\nsearch example.org\noptions ndots:2\n"
    assert resolv.for_container(host_file(tmp_path, text)) == text


def test_behind_systemd_resolved_its_upstream_servers_count(tmp_path: Path) -> None:
    text = host_file(tmp_path, "nameserver 127.0.0.53\noptions edns0 trust-ad\n")
    assert resolv.for_container(text) == "nameserver 192.0.2.53\nsearch corp.example\n"


def test_a_stub_among_others_is_not_systemd_resolveds_set_up(tmp_path: Path) -> None:
    text = host_file(tmp_path, "nameserver 127.0.0.53\nnameserver 192.0.2.1\n")
    assert resolv.for_container(text) == "nameserver 192.0.2.1\n"


def test_loopback_and_ipv6_servers_are_left_out() -> None:
    text = (
        "nameserver 127.0.0.1\nnameserver ::1\nnameserver fe80::1%eth0\nnameserver 2001:db8::53\nnameserver 192.0.2.1"
    )
    assert resolv.for_container(text) == "nameserver 192.0.2.1\n"


@pytest.mark.parametrize("text", ["", "nameserver 127.0.0.1\n", "search a.example\nnameserver\n"])
def test_dockers_servers_stand_in_when_none_is_left(text: str) -> None:
    assert resolv.for_container(text).endswith("nameserver 8.8.8.8\nnameserver 8.8.4.4\n")


def test_the_users_settings_replace_the_hosts() -> None:
    text = "nameserver 192.0.2.1\nsearch old.example\noptions ndots:2\n"
    assert (
        resolv.for_container(text, dns=["127.0.0.1", "9.9.9.9"], search=["new.example"], options=["rotate"])
        == "nameserver 127.0.0.1\nnameserver 9.9.9.9\nsearch new.example\noptions rotate\n"
    )
    assert resolv.for_container(text, search=["."]) == "nameserver 192.0.2.1\noptions ndots:2\n"


def test_host_mode_keeps_loopback_servers(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 127.0.0.53\nsearch a.example\n")
    assert resolv.for_host_mode(host_file=path) == "nameserver 127.0.0.53\nsearch a.example\n"
    assert resolv.for_host_mode(dns=["9.9.9.9"], host_file=path) == "search a.example\nnameserver 9.9.9.9\n"
    assert resolv.for_host_mode(search=["b.example"], host_file=path) == "nameserver 127.0.0.53\nsearch b.example\n"
    assert resolv.for_host_mode(host_file=tmp_path / "missing") == ""


def test_hosts_of_a_bridge_container() -> None:
    assert hosts.for_container("fd855a0d8081", ["172.17.0.2"]) == STANDARD + "172.17.0.2\tfd855a0d8081\n"


def test_hosts_without_a_network() -> None:
    assert hosts.for_container("7afa0175e871", []) == STANDARD


def test_extra_hosts_stand_before_the_own_line() -> None:
    text = hosts.for_container(
        "web",
        ["172.17.0.2"],
        domainname="example.org",
        extra=["db:10.0.0.5", "six=[2001:db8::1]", "me:host-gateway"],
        gateway="172.17.0.1",
    )
    assert text == (STANDARD + "10.0.0.5\tdb\n2001:db8::1\tsix\n172.17.0.1\tme\n" + "172.17.0.2\tweb.example.org web\n")


@pytest.mark.parametrize("text", ["db", "db:", ":1.2.3.4", "db:elsewhere", "db:1.2.3"])
def test_malformed_extra_hosts(text: str) -> None:
    with pytest.raises(InvalidInput, match="add-host"):
        hosts.parse_extra(text)


def test_host_gateway_needs_a_bridge() -> None:
    with pytest.raises(InvalidInput, match="host-gateway"):
        hosts.parse_extra("me:host-gateway")


def test_host_mode_appends_to_the_hosts_own(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("127.0.0.1 localhost vm")
    assert hosts.for_host_mode(extra=["db:10.0.0.5"], host_file=path) == "127.0.0.1 localhost vm\n10.0.0.5\tdb\n"
    assert hosts.for_host_mode(host_file=path) == "127.0.0.1 localhost vm"
    assert hosts.hostname_file("vm") == "vm\n"
