"""Pools, addresses and reservations: the arithmetic, and the transactions that keep two containers apart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.errors import Conflict, InvalidInput
from engine.network import ipam, reservations
from engine.network.ports import parse_publish
from engine.state.database import Database

pytestmark = pytest.mark.unit

RANGE = (32768, 32770)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "state.db")
    yield database
    database.close()


def reserve(database: Database, container: str, text: str, unusable: tuple[int, ...] = ()) -> tuple[str, int]:
    with database.transaction() as connection:
        port = reservations.reserve(connection, container, parse_publish(text)[0], RANGE, unusable)
    return port.host_ip, port.host_port


def test_pools_are_dockers_in_dockers_order() -> None:
    pools = [str(pool) for pool in ipam.default_pools()]
    assert pools[:2] == ["172.17.0.0/16", "172.18.0.0/16"]
    assert pools[14:17] == ["172.31.0.0/16", "192.168.0.0/20", "192.168.16.0/20"]
    assert len(pools) == 31


def test_a_pool_that_overlaps_a_route_is_passed_over() -> None:
    taken = [ipam.parse_prefix("172.16.0.0/15"), ipam.parse_prefix("172.18.5.0/24")]
    assert str(ipam.choose_pool(ipam.parse_prefix("172.17.0.0/16"), taken)) == "172.19.0.0/16"


def test_no_pool_is_left() -> None:
    with pytest.raises(Conflict, match="all predefined address pools have been fully subnetted"):
        ipam.choose_pool(None, [ipam.parse_prefix("172.16.0.0/12"), ipam.parse_prefix("192.168.0.0/16")])


@pytest.mark.parametrize("text", ["172.17.0.0", "172.17.0.0/", "172.17.0.0/33", "300.1.0.0/16", "a/16", "", "::/64"])
def test_malformed_prefixes(text: str) -> None:
    with pytest.raises(InvalidInput, match="invalid CIDR address"):
        ipam.parse_prefix(text)


def test_host_bits_are_cleared_and_edges_are_not_usable() -> None:
    prefix = ipam.parse_prefix("10.0.0.9/30")
    assert str(prefix) == "10.0.0.8/30"
    assert ["10.0.0.8" in prefix, "10.0.0.9" in prefix, "10.0.0.10" in prefix, "10.0.0.11" in prefix] == [
        False,
        True,
        True,
        False,
    ]


def test_the_lowest_free_address_is_next() -> None:
    prefix = ipam.parse_prefix("172.17.0.0/16")
    assert ipam.lowest_free(prefix, ["172.17.0.1"]) == "172.17.0.2"
    assert ipam.lowest_free(prefix, ["172.17.0.1", "172.17.0.2", "172.17.0.4"]) == "172.17.0.3"
    assert ipam.lowest_free(ipam.parse_prefix("10.0.0.0/30"), ["10.0.0.1", "10.0.0.2"]) is None


def test_the_mac_follows_from_the_address() -> None:
    assert ipam.mac_of("172.17.0.2") == "02:42:ac:11:00:02"


def test_one_port_has_one_holder_whatever_the_address(database: Database) -> None:
    assert reserve(database, "a", "127.0.0.1:8080:80") == ("127.0.0.1", 8080)
    with pytest.raises(Conflict, match=r"Bind for 0\.0\.0\.0:8080 failed: port is already allocated"):
        reserve(database, "b", "8080:80")
    with pytest.raises(Conflict, match=r"Bind for 127\.0\.0\.1:8080 failed: port is already allocated"):
        reserve(database, "b", "127.0.0.1:8080:81")
    assert reserve(database, "b", "127.0.0.2:8080:80") == ("127.0.0.2", 8080)
    assert reserve(database, "b", "8080:80/udp") == ("0.0.0.0", 8080)


def test_a_refused_reservation_leaves_nothing(database: Database) -> None:
    reserve(database, "a", "8080:80")
    with pytest.raises(Conflict):
        reserve(database, "b", "8080:80")
    assert [row["container"] for row in database.all("SELECT container FROM port_reservations")] == ["a"]


def test_chosen_ports_go_round_the_kernels_range(database: Database) -> None:
    assert [reserve(database, "a", "80")[1] for _ in range(2)] == [32768, 32769]
    with database.transaction() as connection:
        connection.execute("DELETE FROM port_reservations WHERE host_port=32768")
    assert [reserve(database, "a", "80")[1] for _ in range(2)] == [32770, 32768]
    with pytest.raises(Conflict, match="all ports are allocated"):
        reserve(database, "a", "80")
    assert reserve(database, "a", "80/udp")[1] == 32768


def test_a_range_gives_its_first_free_port(database: Database) -> None:
    assert reserve(database, "a", "9000-9002:80")[1] == 9000
    assert reserve(database, "b", "9000-9002:80", (9001,))[1] == 9002
    with pytest.raises(Conflict, match=r"Bind for 0\.0\.0\.0:9000-9002 failed: all ports of the range are in use"):
        reserve(database, "c", "9000-9002:80", (9001,))


def test_an_exhausted_subnet_is_a_conflict(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute("INSERT INTO networks(id,name,driver,created,config) VALUES('n','n','bridge','','{}')")
        connection.execute("INSERT INTO endpoints(id,network,container,address) VALUES('e','n','c','10.0.0.2')")
        with pytest.raises(Conflict, match="no available IPv4 addresses"):
            ipam.reserve_address(connection, "n", "10.0.0.0/30", "10.0.0.1")
