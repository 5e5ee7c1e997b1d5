"""The engine's rules in a real kernel, on both backends: exact text, nothing to do twice, nothing of others touched."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import subprocess
from pathlib import Path

import pytest

from engine.config import Config
from engine.errors import HostError, InvalidInput
from engine.firewall import backends, nftables
from engine.firewall.docker_chains import LOOPBACK_GUARD, layout
from engine.firewall.firewall import Firewall
from engine.firewall.model import BridgeSpec, EndpointSpec, PortMap
from engine.firewall.plan import make_plan
from engine.host.netlink.connection import NetlinkError
from engine.state.database import Database
from engine.state.locks import Locks
from engine.values import replace
from tests.unit.rule_simulator import BUILT_IN, RuleSet
from tests.unit.test_docker_chains import SITUATIONS

pytestmark = pytest.mark.kernel


def make(config: Config) -> Firewall:
    return Firewall(config, Database(config.data_root / "state.db"), Locks(config.run_dir))


@pytest.fixture
def firewall(config: Config, firewall_backend: str) -> Firewall:
    return make(config)


def tables(firewall: Firewall, *, counters: bool = False) -> dict[str, list[str]]:
    """What the backend's own save prints, by table, comments left out."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in firewall.backend.read(counters=counters).splitlines():
        if line.startswith("*"):
            lines = found.setdefault(line[1:], [])
        elif line[:1] in "-[:" and line:
            lines.append(line)
    return found


def rules(firewall: Firewall, table: str, chain: str) -> list[str]:
    mark = f"-A {chain} "
    return [line.removeprefix(mark) for line in tables(firewall)[table] if line.startswith(mark)]


def iptables(firewall: Firewall, *arguments: str) -> None:
    subprocess.run([f"iptables-{firewall.backend.name}", "-w", *arguments], check=True)


def endpoint(host: int) -> EndpointSpec:
    ports = (PortMap("tcp", "0.0.0.0", 8000 + host, 80), PortMap("udp", "127.0.0.1", 8000 + host, 53))
    return EndpointSpec(f"172.17.0.{host}", ports)


def docker0(*hosts: int) -> BridgeSpec:
    return BridgeSpec("docker0", "172.17.0.0/16", "172.17.0.1", endpoints=tuple(endpoint(host) for host in hosts))


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_kernel_gives_back_the_very_text_that_was_planned(
    config: Config, firewall_backend: str, situation: str
) -> None:
    prefix, bridges = SITUATIONS[situation]
    firewall = make(replace(config, chain_prefix=prefix))
    assert firewall.sync(bridges)
    expected = RuleSet()
    expected.restore(make_plan({}, layout(bridges, prefix)).script())
    assert {table: sorted(lines) for table, lines in tables(firewall).items()} == {
        table: sorted(
            [f":{chain} {expected.policies[table, chain]} [0:0]" for name, chain in expected.chains if name == table]
            + [
                f"-A {chain} {rule}"
                for (name, chain) in expected.chains
                if name == table
                for rule in expected.chains[name, chain]
            ]
        )
        for table in BUILT_IN
    }
    for (table, chain), wanted in expected.chains.items():
        assert rules(firewall, table, chain) == wanted
    assert not firewall.sync(bridges)
    firewall.sync([])
    assert rules(firewall, "raw", "PREROUTING") == rules(firewall, "nat", "POSTROUTING") == []
    assert rules(firewall, "filter", prefix) == rules(firewall, "nat", prefix) == []
    assert firewall.remembered() == frozenset()


def test_without_a_bridge_no_table_comes_into_being(firewall: Firewall) -> None:
    assert not firewall.sync([])
    assert tables(firewall) == {}
    assert Path("/proc/net/ip_tables_names").read_text() == ""


def test_an_empty_plan_runs_no_restore(firewall: Firewall, tmp_path: Path) -> None:
    firewall.sync([docker0(2)])
    broken = firewall.backend._replace(restore=str(tmp_path / "must-not-run"))
    firewall.__dict__["backend"] = broken
    assert not firewall.sync([docker0(2)])
    with pytest.raises(HostError):
        firewall.sync([docker0(2, 3)])


def test_rules_go_in_one_step_without_a_restore(config: Config, tmp_path: Path) -> None:
    firewall = make(replace(config, firewall="nft"))
    firewall.sync([docker0(2, 3)])
    firewall.__dict__["backend"] = firewall.backend._replace(restore=str(tmp_path / "must-not-run"))
    generation = firewall._generation()
    assert firewall.sync([docker0(3)]).only_removes
    assert firewall._generation() == generation + 1
    assert not firewall.plan([docker0(3)])


def test_places_that_are_out_of_date_remove_nothing(config: Config) -> None:
    firewall = make(replace(config, firewall="nft"))
    firewall.sync([docker0(2)])
    seen = firewall._generation()
    iptables(firewall, "-I", "DOCKER", "-s", "198.51.100.7", "-j", "ACCEPT")
    before = tables(firewall)
    with nftables.connect() as connection:
        with pytest.raises(NetlinkError):
            nftables.remove_rules(connection, seen, [("filter", "DOCKER", 1)])
        with pytest.raises(NetlinkError):
            nftables.remove_rules(connection, nftables.generation(connection), [("filter", "DOCKER", 9)])
        assert tables(firewall) == before
        nftables.remove_rules(connection, nftables.generation(connection), [("filter", "DOCKER", 1)])
    assert not firewall.plan([docker0(2)])


def test_a_kernel_that_refuses_to_remove_directly_is_asked_again_through_iptables(
    firewall: Firewall, monkeypatch: pytest.MonkeyPatch
) -> None:
    firewall.sync([docker0(2, 3)])
    # Every look is out of date, as if somebody changed the rules each time between looking and removing.
    monkeypatch.setattr(firewall, "_generation", lambda: 1)
    firewall.sync([docker0(3)])
    assert not firewall.plan([docker0(3)])


def test_a_change_by_somebody_else_between_looking_and_writing_is_looked_at_again(
    firewall: Firewall, tmp_path: Path
) -> None:
    firewall.sync([docker0(2, 3)])
    real, stale, once = firewall.backend, tmp_path / "stale", tmp_path / "once"
    stale.write_text(real.read())
    once.touch()
    program = tmp_path / "save"
    program.write_text(f"#!/bin/sh\nrm {once} 2>/dev/null && exec cat {stale}\nexec {real.save}\n")
    program.chmod(0o755)
    firewall.__dict__["backend"] = real._replace(save=str(program))
    iptables(firewall, "-D", "DOCKER", "1")
    iptables(firewall, "-D", "DOCKER", "1")
    assert firewall.sync([docker0(4)])
    assert not firewall.plan([docker0(4)])
    assert firewall.remembered() == layout([docker0(4)]).passing_rules()


def test_a_refusal_that_stays_is_told_with_the_line(config: Config) -> None:
    firewall = make(replace(config, firewall="nft"))
    odd = BridgeSpec("docker0", "172.17.0.0/16", "172.17.0.1", endpoints=(EndpointSpec("172.17.0.999"),))
    with pytest.raises(HostError, match=r"-A PREROUTING -d 172\.17\.0\.999/32 ! -i docker0 -j DROP"):
        firewall.sync([odd])
    # The next sync takes away what the refused one had put on record.
    firewall.sync([docker0(2)])
    assert firewall.remembered() == layout([docker0(2)]).passing_rules()


@pytest.mark.parametrize(
    ("words", "name"), [("v1.8.10 (nf_tables)", "nft"), ("v1.8.2 (legacy)", "legacy"), ("v1.6", "legacy")]
)
def test_an_iptables_of_its_own_is_asked_what_it_is(
    config: Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: str, name: str
) -> None:
    (tmp_path / "iptables").write_text(f"#!/bin/sh\necho 'iptables {words}'\n")
    (tmp_path / "iptables").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert make(replace(config, firewall="auto")).backend.name == name


def test_without_plain_iptables_an_installed_backend_serves(
    config: Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("iptables-legacy-save", "iptables-legacy-restore"):
        path = backends.find(name)
        assert path is not None
        (tmp_path / name).symlink_to(Path(path).resolve())
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(backends, "_SYSTEM_DIRECTORIES", ())
    firewall = make(replace(config, firewall="auto"))
    assert firewall.sync([docker0(2)])
    assert firewall.backend.name == "legacy"


def test_rules_and_counters_of_everything_else_stay(firewall: Firewall) -> None:
    firewall.sync([docker0(2, 3)])
    iptables(
        firewall,
        "-A",
        "DOCKER-USER",
        "-s",
        "198.51.100.7",
        "-m",
        "comment",
        "--comment",
        "the admin's own",
        "-j",
        "DROP",
    )
    iptables(firewall, "-A", "FORWARD", "-j", "LOG")
    iptables(firewall, "-A", "INPUT", "-i", "lo", "-j", "ACCEPT")
    # Give every rule that is there counters of its own.
    numbered = []
    for number, line in enumerate(firewall.backend.read().splitlines()):
        numbered.append(f"[{number}:{number * 100}] {line}" if line.startswith("-A") else line)
    restore = subprocess.run(
        [firewall.backend.restore, "--counters"], input="\n".join([*numbered, ""]), text=True, check=True
    )
    assert restore.returncode == 0
    before = tables(firewall, counters=True)
    firewall.sync([docker0(2, 3, 4)])
    added = tables(firewall, counters=True)
    assert added != before
    assert {
        table: [line for line in lines if "0.4" not in line and "8004" not in line] for table, lines in added.items()
    } == before
    firewall.sync([docker0(2, 3)])
    assert tables(firewall, counters=True) == before


def test_the_administrators_rules_survive_everything(firewall: Firewall) -> None:
    firewall.sync([docker0(2)])
    iptables(firewall, "-A", "DOCKER-USER", "-i", "eth9", "-j", "DROP")
    iptables(firewall, "-t", "nat", "-I", "POSTROUTING", "-s", "10.9.0.0/16", "-j", "MASQUERADE")
    firewall.sync([docker0(3)])
    firewall.sync([])
    assert rules(firewall, "filter", "DOCKER-USER") == ["-i eth9 -j DROP"]
    assert rules(firewall, "nat", "POSTROUTING") == ["-s 10.9.0.0/16 -j MASQUERADE"]
    assert rules(firewall, "filter", "FORWARD") == ["-j DOCKER-USER", "-j DOCKER-FORWARD"]


def test_a_flush_and_a_removal_of_chains_are_repaired(firewall: Firewall) -> None:
    firewall.sync([docker0(2)])
    whole = tables(firewall)
    for table in ("raw", "nat", "filter"):
        iptables(firewall, "-t", table, "-F")
        iptables(firewall, "-t", table, "-X")
    assert firewall.plan([docker0(2)])
    firewall.sync([docker0(2)])
    assert {table: sorted(lines) for table, lines in tables(firewall).items()} == {
        table: sorted(lines) for table, lines in whole.items()
    }


def test_a_rule_changed_by_hand_is_repaired(firewall: Firewall) -> None:
    firewall.sync([docker0(2, 3)])
    whole = tables(firewall)
    iptables(firewall, "-R", "DOCKER", "2", "-j", "DROP")
    iptables(firewall, "-A", "DOCKER-FORWARD", "-j", "ACCEPT")
    iptables(firewall, "-t", "raw", "-D", "PREROUTING", "1")
    assert firewall.sync([docker0(2, 3)])
    assert tables(firewall) == whole
    assert rules(firewall, "raw", "PREROUTING")[0] == LOOPBACK_GUARD


def test_what_a_killed_process_left_behind_is_removed_by_the_next(config: Config, firewall: Firewall) -> None:
    firewall.sync([docker0(2)])
    before = tables(firewall)
    plan = firewall.plan([docker0(2, 3)])
    with firewall._database.transaction():
        firewall._remember(plan.remember)
    # Only the first table was committed when the process died.
    firewall.backend.apply(plan._replace(changes=plan.changes[:1]).script())
    assert tables(firewall) != before
    make(config).sync([docker0(2)])
    assert tables(firewall) == before
    assert make(config).remembered() == layout([docker0(2)]).passing_rules()


def test_forward_is_dropped_when_asked(firewall: Firewall) -> None:
    firewall.sync([docker0(2)])
    assert ":FORWARD ACCEPT [0:0]" in tables(firewall)["filter"]
    firewall.sync([docker0(2)], forward_drop=True)
    assert ":FORWARD DROP [0:0]" in tables(firewall)["filter"]
    assert not firewall.sync([docker0(2)], forward_drop=True)


def test_a_table_of_native_nftables_rules_is_refused_in_words(config: Config) -> None:
    firewall = make(replace(config, firewall="nft"))
    script = """
        table ip nat {
          chain POSTROUTING {
            type nat hook postrouting priority 100
            ip saddr { 10.1.0.1, 10.2.0.1 } masquerade
          }
        }
    """
    subprocess.run(["nft", "-f", "-"], input=script, text=True, check=True)
    with pytest.raises(HostError, match="'ip nat' holds rules that iptables cannot read") as refusal:
        firewall.sync([docker0(2)])
    assert "nft list table ip nat" in refusal.value.remedy


def _sync_repeatedly(config: Config, host: int, rounds: int) -> None:
    """One of several programs that start and stop a container each: the others' state is read under the lock."""
    firewall = make(config)
    database = firewall._database

    def bridges() -> list[BridgeSpec]:
        return [docker0(*(int(row["subject"]) for row in database.all("SELECT subject FROM duties ORDER BY due")))]

    for _ in range(rounds):
        database.execute("INSERT INTO duties(kind, subject, due) VALUES ('test', ?, ?)", (str(host), float(host)))
        firewall.sync(bridges)
        database.execute("DELETE FROM duties WHERE subject = ?", (str(host),))
        firewall.sync(bridges)
    database.execute("INSERT INTO duties(kind, subject, due) VALUES ('test', ?, ?)", (str(host), float(host)))
    firewall.sync(bridges)
    database.close()
    os._exit(0)


def test_two_programs_at_once_end_with_the_rules_of_both(config: Config, firewall: Firewall) -> None:
    fork = multiprocessing.get_context("fork")
    programs = [fork.Process(target=_sync_repeatedly, args=(config, host, 4)) for host in (2, 3)]
    for program in programs:
        program.start()
    for program in programs:
        program.join(60)
    assert [program.exitcode for program in programs] == [0, 0]
    assert not firewall.plan([docker0(2, 3)])
    assert firewall.remembered() == layout([docker0(2, 3)]).passing_rules()


def test_the_lock_of_legacy_iptables_held_by_another_program_is_named(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "LOCK_WAIT_S", 1)
    firewall = make(replace(config, firewall="legacy"))
    with Path("/run/xtables.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(backends.LockTaken, match=r"another program has held the xtables lock for 1 s") as refusal:
            firewall.sync([docker0(2)])
        assert "fuser" in refusal.value.remedy
    assert firewall.sync([docker0(2)])


def test_missing_programs_are_named(config: Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(backends, "_SYSTEM_DIRECTORIES", ())
    with pytest.raises(HostError, match="iptables-save and iptables-restore are not installed") as refusal:
        make(replace(config, firewall="auto")).sync([docker0(2)])
    assert "install the iptables package" in refusal.value.remedy
    with pytest.raises(HostError, match="the legacy variants"):
        make(replace(config, firewall="legacy")).sync([docker0(2)])


def test_an_unknown_backend_is_refused(config: Config) -> None:
    with pytest.raises(InvalidInput, match="unknown firewall backend 'ufw': it is auto, nft or legacy"):
        make(replace(config, firewall="ufw")).sync([docker0(2)])


def test_the_administrators_own_iptables_decides_the_backend(config: Config) -> None:
    words = subprocess.run(["iptables", "-V"], capture_output=True, text=True, check=True).stdout
    assert make(replace(config, firewall="auto")).backend.name == ("nft" if "nf_tables" in words else "legacy")
