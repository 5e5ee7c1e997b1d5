"""What the console sees of the rules: both backends, packet order, counters, rates, owners, cheap refreshes."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from engine.config import Config
from engine.firewall import backends, nftables
from engine.firewall.firewall import Firewall
from engine.firewall.meaning import Owners
from engine.firewall.observe import RuleObserver, RuleSet
from engine.firewall.parse import parse_rule, parse_save
from engine.state.database import Database
from engine.state.locks import Locks
from engine.values import replace
from tests.kernel.test_firewall_sync import docker0, make
from tests.unit.test_firewall_parse import SAVED

pytestmark = pytest.mark.kernel

OWNERS = Owners(containers={"172.17.0.2": "web"}, networks={"docker0": "bridge"})


@pytest.fixture
def firewall(config: Config, firewall_backend: str) -> Firewall:
    return make(config)


def iptables(backend: str, *arguments: str) -> None:
    subprocess.run([f"iptables-{backend}", "-w", *arguments], check=True)


def send(port: int, datagrams: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender, socket.socket(type=socket.SOCK_DGRAM) as receiver:
        # A bound port, so that no answer by ICMP is counted as well.
        receiver.bind(("127.0.0.1", port))
        for _ in range(datagrams):
            sender.sendto(b"x", ("127.0.0.1", port))


def counted(rules: RuleSet, table: str, chain: str) -> list[int]:
    found = rules.chain(table, chain)
    assert found is not None
    return [rule.packets for rule in found.rules]


def test_chains_come_in_the_order_in_which_a_packet_meets_them(firewall: Firewall) -> None:
    firewall.sync([docker0(2)])
    iptables(firewall.backend.name, "-N", "ORPHAN")
    rules = RuleObserver().observe(OWNERS, firewall.remembered())
    assert rules.backends == (firewall.backend.name,)
    places = [(chain.hook, chain.table, "  " * chain.depth + chain.name) for chain in rules.chains]
    assert [place for place in places if place[0] in ("PREROUTING", "FORWARD", "POSTROUTING", "")] == [
        ("PREROUTING", "raw", "PREROUTING"),
        ("PREROUTING", "nat", "PREROUTING"),
        ("PREROUTING", "nat", "  DOCKER"),
        ("FORWARD", "filter", "FORWARD"),
        ("FORWARD", "filter", "  DOCKER-USER"),
        ("FORWARD", "filter", "  DOCKER-FORWARD"),
        ("FORWARD", "filter", "    DOCKER-CT"),
        ("FORWARD", "filter", "    DOCKER-INTERNAL"),
        ("FORWARD", "filter", "    DOCKER-BRIDGE"),
        ("FORWARD", "filter", "      DOCKER"),
        ("POSTROUTING", "nat", "POSTROUTING"),
        ("", "filter", "ORPHAN"),
    ]


def test_rules_name_their_container_and_who_put_them_there(firewall: Firewall) -> None:
    firewall.sync([docker0(2)])
    iptables(firewall.backend.name, "-t", "raw", "-A", "PREROUTING", "-s", "198.51.100.7", "-j", "DROP")
    rules = RuleObserver().observe(OWNERS, firewall.remembered())
    guard, direct, loopback, foreign = rules.chain("raw", "PREROUTING").rules  # type: ignore[union-attr]
    assert (guard.ours, direct.ours, loopback.ours, foreign.ours) == (True, True, True, False)
    assert (guard.owner, direct.owner, foreign.owner) == ("", "web", "")
    assert direct.meaning == "from outside, web is reached through its published ports only"
    assert foreign.meaning == "drops packets from 198.51.100.7"
    assert {(chain.table, chain.name) for chain, _ in rules.of_container("web")} == {
        ("raw", "PREROUTING"),
        ("nat", "DOCKER"),
        ("filter", "DOCKER"),
        ("nat", "POSTROUTING"),
    }


def test_counters_and_rates_move_with_packets(firewall: Firewall) -> None:
    backend = firewall.backend.name
    iptables(backend, "-P", "INPUT", "DROP")
    iptables(backend, "-A", "INPUT", "-p", "udp", "--dport", "9", "-j", "ACCEPT")
    iptables(backend, "-A", "INPUT", "-p", "udp", "--dport", "10", "-j", "ACCEPT")
    observer = RuleObserver()
    first = observer.observe()
    send(9, 3)
    send(11, 2)
    second = observer.observe()
    third = observer.observe()
    assert counted(first, "filter", "INPUT") == [0, 0]
    assert counted(second, "filter", "INPUT") == [3, 0]
    chain = second.chain("filter", "INPUT")
    assert chain is not None
    assert chain.policy == "DROP"
    assert chain.packets == 2
    assert chain.packet_rate > 0
    assert [rule.hot for rule in chain.rules] == [True, False]
    assert chain.rules[0].packet_rate == pytest.approx(3 / (second.taken - first.taken))
    assert chain.rules[0].bytes == 3 * 29
    still = third.chain("filter", "INPUT")
    assert still is not None
    assert [rule.hot for rule in still.rules] == [False, False]
    assert still.rules[1] is chain.rules[1]


def test_rates_follow_a_rule_that_moves_and_zeroed_counters_are_no_rate(firewall: Firewall) -> None:
    backend = firewall.backend.name
    iptables(backend, "-A", "INPUT", "-p", "udp", "--dport", "9", "-j", "ACCEPT")
    send(9, 5)
    observer = RuleObserver()
    observer.observe()
    iptables(backend, "-I", "INPUT", "-p", "udp", "--dport", "10", "-j", "ACCEPT")
    moved = observer.observe().chain("filter", "INPUT")
    assert moved is not None
    assert [(rule.packets, rule.packet_rate) for rule in moved.rules] == [(0, 0.0), (5, 0.0)]
    iptables(backend, "-Z")
    zeroed = observer.observe().chain("filter", "INPUT")
    assert zeroed is not None
    assert [(rule.packets, rule.packet_rate) for rule in zeroed.rules] == [(0, 0.0), (0, 0.0)]


def test_both_backends_are_seen_when_both_hold_tables(config: Config) -> None:
    make(replace(config, firewall="nft")).sync([docker0(2)])
    iptables("legacy", "-P", "FORWARD", "DROP")
    rules = RuleObserver().observe()
    assert rules.backends == ("nft", "legacy")
    forward = [(chain.backend, chain.policy) for chain in rules.chains if (chain.hook, chain.depth) == ("FORWARD", 0)]
    assert forward == [("nft", "ACCEPT"), ("legacy", "DROP")]
    legacy = rules.chain("filter", "FORWARD", "legacy")
    assert legacy is not None
    assert legacy.rules == ()


def test_looking_makes_no_table_in_either_backend() -> None:
    assert RuleObserver().observe().chains == ()
    assert Path("/proc/net/ip_tables_names").read_text() == ""
    assert "table" not in subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout


def test_while_the_generation_stands_only_counters_are_fetched(config: Config, tmp_path: Path) -> None:
    firewall = make(replace(config, firewall="nft"))
    firewall.sync([docker0(2)])
    iptables("nft", "-A", "OUTPUT", "-p", "udp", "--dport", "9")
    source = firewall.backend
    observer = RuleObserver([source])
    first = observer.observe()
    observer._sources = (source._replace(save=str(tmp_path / "must-not-run")),)
    send(9, 4)
    second = observer.observe()
    assert second.troubles == ()
    assert second.generation == first.generation
    assert counted(second, "filter", "OUTPUT") == [4]
    iptables("nft", "-A", "OUTPUT", "-p", "udp", "--dport", "10")
    assert "must-not-run is not installed" in observer.observe().troubles[0]
    observer._sources = (source,)
    third = observer.observe()
    assert third.generation > second.generation
    assert counted(third, "filter", "OUTPUT") == [4, 0]


def test_counters_read_raw_are_those_that_save_prints(config: Config) -> None:
    firewall = make(replace(config, firewall="nft"))
    firewall.sync([docker0(2)], forward_drop=True)
    iptables("nft", "-P", "OUTPUT", "DROP")
    iptables("nft", "-P", "OUTPUT", "ACCEPT")
    iptables("nft", "-A", "OUTPUT", "-p", "udp", "-m", "udp", "--dport", "9")
    send(9, 7)
    with nftables.connect() as connection:
        raw_rules, raw_policies = nftables.rule_counters(connection), nftables.policy_counters(connection)
    for table in parse_save(firewall.backend.read(counters=True)):
        for chain in table.chains:
            place = table.name, chain.name
            assert raw_rules.get(place, []) == [(rule.packets, rule.bytes) for rule in chain.rules]
            assert raw_policies.get(place, (0, 0)) == (chain.packets, chain.bytes)
    assert raw_policies["filter", "OUTPUT"][0] == 7


def test_every_rule_the_kernel_prints_is_parsed_to_the_letter(firewall: Firewall) -> None:
    known = [
        text for text in SAVED if not any(word in text for word in ("match-set", "TTL", "TCPMSS", "policy", "TARGET"))
    ]
    lines = [f"-A INPUT {text}" for text in known if "-j X" not in text and "-g X" not in text]
    lines += [f"-A FORWARD {text}" for text in known if "-j X" in text and "\n" not in text]
    for line in lines:
        # One by one: a match this kernel lacks must not hide the others.
        script = f"*filter\n{line}\nCOMMIT\n"
        if "X" in line:
            script = script.replace("*filter\n", "*filter\n:X - [0:0]\n")
        subprocess.run(
            [firewall.backend.restore, "--noflush"], input=script, text=True, capture_output=True, check=False
        )
    printed = [rule.text for table in parse_save(firewall.backend.read()) for c in table.chains for rule in c.rules]
    assert len(printed) > len(lines) / 2
    assert [str(parse_rule(text)) for text in printed] == printed


def test_a_table_of_native_rules_is_a_trouble_not_an_error(config: Config) -> None:
    iptables("nft", "-A", "INPUT", "-j", "ACCEPT")
    broken = backends.Backend("nft", "/nonexistent/save", "/nonexistent/restore")
    rules = RuleObserver([broken]).observe()
    assert rules.chains == ()
    assert rules.troubles == ("nft: reading firewall rules: /nonexistent/save is not installed",)


def test_the_engine_knows_the_owners_from_its_own_records(config: Config) -> None:
    database = Database(config.data_root / "state.db")
    with database.transaction() as connection:
        connection.execute("INSERT INTO containers(id, name, created, image, config) VALUES('c1', 'web', '', '', '{}')")
        connection.execute(
            "INSERT INTO networks(id, name, driver, created, config) VALUES('n1', 'bridge', 'bridge', '', ?)",
            ('{"bridge": "pilot0", "chain_prefix": "PILOT"}',),
        )
        connection.execute(
            "INSERT INTO endpoints(id, network, container, address) VALUES('e1', 'n1', 'c1', '172.17.0.2')"
        )
        connection.execute("INSERT INTO port_reservations VALUES('c1', 'tcp', '127.0.0.1', 17001, 80)")
    firewall = Firewall(config, database, Locks(config.run_dir))
    assert firewall.owners() == Owners(
        {"172.17.0.2": "web"}, {("tcp", 17001): "web"}, {"pilot0": "bridge"}, chain_prefix="PILOT"
    )
    assert firewall.observe().chains == ()
    database.execute("DELETE FROM containers")
