"""docker's forms of ``-p`` and ``--expose``, and its words for what is wrong with them."""

from __future__ import annotations

import json

import pytest

from engine.containers.config import ContainerConfig
from engine.errors import InvalidInput, Unsupported
from engine.firewall.model import PortMap
from engine.network.ports import PublishedPort, bindings_json, overlap, parse_expose, parse_publish, ports_json

pytestmark = pytest.mark.unit


def port(host_ip: str, host_port: int | None, container_port: int, protocol: str = "tcp") -> PublishedPort:
    return PublishedPort(host_ip, host_port, container_port, protocol)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("80", [port("", None, 80)]),
        ("8080:80", [port("", 8080, 80)]),
        (":80", [port("", None, 80)]),
        ("0:80", [port("", None, 80)]),
        ("127.0.0.1:8080:80", [port("127.0.0.1", 8080, 80)]),
        ("127.0.0.1::80", [port("127.0.0.1", None, 80)]),
        ("0.0.0.0:8080:80", [port("0.0.0.0", 8080, 80)]),
        ("53/udp", [port("", None, 53, "udp")]),
        ("53:53/UDP", [port("", 53, 53, "udp")]),
        ("9:9/sctp", [port("", 9, 9, "sctp")]),
        ("8000-8002:90-92", [port("", 8000, 90), port("", 8001, 91), port("", 8002, 92)]),
        ("90-91", [port("", None, 90), port("", None, 91)]),
        ("127.0.0.1:17010-17011:90-91/udp", [port("127.0.0.1", 17010, 90, "udp"), port("127.0.0.1", 17011, 91, "udp")]),
        ("8000-8010:80", [PublishedPort("", 8000, 80, "tcp", 8010)]),
        ("65535:65535", [port("", 65535, 65535)]),
    ],
)
def test_every_form_docker_knows(text: str, expected: list[PublishedPort]) -> None:
    assert list(parse_publish(text)) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no port specified: <empty>"),
        ("8080:", "no port specified: 8080:<empty>"),
        ("http", "invalid containerPort: http"),
        ("80:http", "invalid containerPort: http"),
        ("8080:0", "invalid containerPort: 0"),
        ("http:80", "invalid hostPort: http"),
        ("99999", "invalid containerPort: 99999"),
        ("70000:80", "invalid hostPort: 70000"),
        ("-80", "invalid containerPort: -80"),
        ("3-1:80", "invalid hostPort: 3-1"),
        ("+80:80", "invalid hostPort: +80"),
        ("1-3:1-2", "invalid ranges specified for container and host Ports: 1-2 and 1-3"),
        ("80/icmp", "invalid proto: icmp"),
        ("80/", "invalid proto: "),
        ("1.2.3:80:80", "invalid IP address: 1.2.3"),
        ("localhost:80:80", "invalid IP address: localhost"),
        ("256.0.0.1:80:80", "invalid IP address: 256.0.0.1"),
    ],
)
def test_malformed_forms_are_named_in_dockers_words(text: str, words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_publish(text)
    assert str(caught.value) == words
    assert "127.0.0.1:8080:80" in caught.value.remedy


@pytest.mark.parametrize("text", ["[::1]:8080:80", "[::]:8080:80", "[2001:db8::5]::80/udp", "::1:8080:80"])
def test_an_ipv6_address_is_understood_and_refused(text: str) -> None:
    with pytest.raises(Unsupported, match="IPv6"):
        parse_publish(text)


def test_expose() -> None:
    assert parse_expose("80") == ("80/tcp",)
    assert parse_expose("7000-7002/UDP") == ("7000/udp", "7001/udp", "7002/udp")
    with pytest.raises(InvalidInput, match="invalid range format for --expose: x"):
        parse_expose("x")


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("0.0.0.0", "127.0.0.1", True),
        ("127.0.0.1", "0.0.0.0", True),
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("0.0.0.0", "0.0.0.0", True),
    ],
)
def test_overlapping_bind_addresses(left: str, right: str, expected: bool) -> None:
    assert overlap(left, right) is expected


def test_inspect_shows_requests_and_results_as_docker_does() -> None:
    published = (*parse_publish("17001:80"), *parse_publish("127.0.0.1:17002:80"), *parse_publish("8000-8010:82/udp"))
    assert bindings_json(published) == {
        "80/tcp": [{"HostIp": "", "HostPort": "17001"}, {"HostIp": "127.0.0.1", "HostPort": "17002"}],
        "82/udp": [{"HostIp": "", "HostPort": "8000-8010"}],
    }
    held = (PortMap("tcp", "0.0.0.0", 17001, 80), PortMap("tcp", "127.0.0.1", 17002, 80))
    assert ports_json(held, ["443/tcp", "80/tcp"]) == {
        "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "17001"}, {"HostIp": "127.0.0.1", "HostPort": "17002"}],
        "443/tcp": None,
    }


def test_a_stored_request_is_the_request() -> None:
    published = tuple(port for text in ("80", "127.0.0.1:53:53/udp", "8000-8010:80") for port in parse_publish(text))
    stored = json.loads(json.dumps(ContainerConfig(image="busybox", ports=published).to_json()))
    assert ContainerConfig.from_json(stored).ports == published
