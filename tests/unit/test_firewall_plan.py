"""Plans: the smallest change, nothing of others touched, and the second one empty."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import HostError
from engine.firewall.docker_chains import LOOPBACK_GUARD, layout
from engine.firewall.listing import read_listing
from engine.firewall.model import BridgeSpec, EndpointSpec, PortMap, SharedRule
from engine.firewall.plan import Plan, make_plan
from tests.unit.rule_simulator import BUILT_IN, RuleSet

pytestmark = pytest.mark.unit

OWN_CHAINS = ("DOCKER", "DOCKER-BRIDGE", "DOCKER-CT", "DOCKER-FORWARD", "DOCKER-INTERNAL")


def bridge(number: int, *endpoints: EndpointSpec, internal: bool = False) -> BridgeSpec:
    subnet = f"172.{17 + number}.0"
    return BridgeSpec(f"br{number}", f"{subnet}.0/16", f"{subnet}.1", internal, endpoints=endpoints)


def web(number: int, host: int = 2, port: int = 8080) -> EndpointSpec:
    return EndpointSpec(f"172.{17 + number}.0.{host}", (PortMap("tcp", "0.0.0.0", port, 80),))


class Host:
    """A rule set and the record of what was put into shared chains, as the engine keeps them."""

    def __init__(self) -> None:
        self.rules = RuleSet()
        self.remembered: frozenset[SharedRule] = frozenset()

    def plan(self, *bridges: BridgeSpec, prefix: str = "DOCKER", forward_drop: bool = False) -> Plan:
        wanted = layout(bridges, prefix)
        return make_plan(self.rules.listing(), wanted, self.remembered, forward_drop=forward_drop)

    def sync(self, *bridges: BridgeSpec, prefix: str = "DOCKER", forward_drop: bool = False) -> list[str]:
        """Carry the plan out; the commands it needed."""
        plan = self.plan(*bridges, prefix=prefix, forward_drop=forward_drop)
        before = len(self.rules.executed)
        self.rules.restore(plan.script())
        self.remembered = (self.remembered | plan.remember) - plan.forget
        return [f"{table} {command}" for table, command in self.rules.executed[before:]]


def test_a_second_plan_is_empty() -> None:
    host = Host()
    assert host.sync(bridge(0, web(0)))
    assert not host.plan(bridge(0, web(0)))


def test_without_any_bridge_nothing_is_made() -> None:
    host = Host()
    assert host.sync() == []
    assert host.rules.chains == {}


def test_one_more_endpoint_adds_its_own_rules_only() -> None:
    host = Host()
    host.sync(bridge(0, web(0)))
    assert host.sync(bridge(0, web(0), web(0, 3, 8081))) == [
        "raw -A PREROUTING -d 172.17.0.3/32 ! -i br0 -j DROP",
        "filter -I DOCKER 1 -d 172.17.0.3/32 ! -i br0 -o br0 -p tcp -m tcp --dport 80 -j ACCEPT",
        "nat -A DOCKER -p tcp -m tcp --dport 8081 -j DNAT --to-destination 172.17.0.3:80",
        "nat -A POSTROUTING -s 172.17.0.3/32 -d 172.17.0.3/32 -p tcp -m tcp --dport 80 -j MASQUERADE",
    ]


def test_an_endpoint_that_goes_takes_its_own_rules_only_guards_last() -> None:
    host = Host()
    host.sync(bridge(0, web(0), web(0, 3, 8081)))
    assert host.sync(bridge(0, web(0, 3, 8081))) == [
        "nat -D DOCKER -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80",
        "nat -D POSTROUTING -s 172.17.0.2/32 -d 172.17.0.2/32 -p tcp -m tcp --dport 80 -j MASQUERADE",
        "filter -D DOCKER -d 172.17.0.2/32 ! -i br0 -o br0 -p tcp -m tcp --dport 80 -j ACCEPT",
        "raw -D PREROUTING -d 172.17.0.2/32 ! -i br0 -j DROP",
    ]


def test_with_the_last_bridge_its_rules_go_and_the_base_chains_stay() -> None:
    host = Host()
    host.sync(bridge(0, web(0)))
    host.sync()
    assert host.rules.chains["raw", "PREROUTING"] == []
    assert host.rules.chains["nat", "POSTROUTING"] == []
    assert host.rules.chains["filter", "DOCKER-FORWARD"] == ["-j DOCKER-CT", "-j DOCKER-INTERNAL", "-j DOCKER-BRIDGE"]
    assert host.rules.chains["filter", "FORWARD"] == ["-j DOCKER-USER", "-j DOCKER-FORWARD"]
    assert host.remembered == frozenset()


def test_the_administrators_chain_is_made_once_and_never_touched() -> None:
    host = Host()
    host.sync(bridge(0))
    host.rules.chains["filter", "DOCKER-USER"] += ["-i eth0 -j DROP", "-j RETURN"]
    assert not any("DOCKER-USER" in command for command in host.sync(bridge(0, web(0))))
    host.sync()
    assert host.rules.chains["filter", "DOCKER-USER"] == ["-i eth0 -j DROP", "-j RETURN"]


def test_our_jumps_go_above_the_rules_that_are_there() -> None:
    host = Host()
    host.rules.restore("*filter\n-A FORWARD -j LOG\nCOMMIT\n")
    host.sync(bridge(0))
    assert host.rules.chains["filter", "FORWARD"] == ["-j DOCKER-USER", "-j DOCKER-FORWARD", "-j LOG"]


def test_a_rule_the_administrator_puts_above_our_jumps_stays_above_them() -> None:
    host = Host()
    host.sync(bridge(0))
    host.rules.restore("*filter\n-I FORWARD 1 -s 198.51.100.0/24 -j DROP\nCOMMIT\n")
    assert not host.plan(bridge(0))


def test_jumps_in_the_wrong_order_are_put_right() -> None:
    host = Host()
    host.sync(bridge(0))
    host.rules.chains["filter", "FORWARD"].reverse()
    host.sync(bridge(0))
    assert host.rules.chains["filter", "FORWARD"] == ["-j DOCKER-USER", "-j DOCKER-FORWARD"]


def test_chains_beside_dockers_come_after_the_administrators_chain_of_docker() -> None:
    host = Host()
    host.sync(bridge(0))
    host.sync(bridge(0), prefix="PILOT")
    assert host.rules.chains["filter", "FORWARD"] == [
        "-j DOCKER-USER",
        "-j PILOT-USER",
        "-j PILOT-FORWARD",
        "-j DOCKER-FORWARD",
    ]


def test_a_rule_changed_by_hand_in_our_own_chain_is_repaired() -> None:
    host = Host()
    host.sync(bridge(0, web(0), web(0, 3, 8081)))
    good = list(host.rules.chains["filter", "DOCKER"])
    host.rules.chains["filter", "DOCKER"][1:2] = ["-j DROP", good[0], "-j DROP", good[2]]
    host.sync(bridge(0, web(0), web(0, 3, 8081)))
    assert host.rules.chains["filter", "DOCKER"] == good


def test_a_flush_by_somebody_else_is_repaired() -> None:
    host = Host()
    host.sync(bridge(0, web(0)))
    whole = host.rules.save()
    for rules in host.rules.chains.values():
        rules.clear()
    host.sync(bridge(0, web(0)))
    assert host.rules.save() == whole


def test_chains_that_somebody_removed_are_made_again() -> None:
    host = Host()
    host.sync(bridge(0, web(0)))
    whole = host.rules.save()
    host.rules.chains["filter", "FORWARD"].clear()
    for chain in ("DOCKER-FORWARD", "DOCKER-USER", "DOCKER-CT"):
        del host.rules.chains["filter", chain]
    host.sync(bridge(0, web(0)))
    assert host.rules.save() == whole


def test_a_rule_on_record_that_nobody_wants_is_removed_also_from_a_chain_not_planned_for() -> None:
    host = Host()
    host.rules.restore("*filter\n-A INPUT -p udp -j ACCEPT\n-A INPUT -p tcp -j ACCEPT\nCOMMIT\n")
    host.remembered = frozenset({SharedRule("filter", "INPUT", "-p udp -j ACCEPT")})
    host.sync(bridge(0))
    assert host.rules.chains["filter", "INPUT"] == ["-p tcp -j ACCEPT"]
    assert not any(rule.chain == "INPUT" for rule in host.remembered)


def test_a_copy_of_our_rule_made_by_somebody_else_stays_when_ours_goes() -> None:
    host = Host()
    host.sync(bridge(0))
    masquerade = "-s 172.17.0.0/16 ! -o br0 -j MASQUERADE"
    host.rules.chains["nat", "POSTROUTING"].append(masquerade)
    assert not host.plan(bridge(0))
    host.sync()
    assert host.rules.chains["nat", "POSTROUTING"] == [masquerade]


def test_forward_is_dropped_only_when_asked_and_never_set_back() -> None:
    host = Host()
    host.sync(bridge(0))
    assert host.rules.policies["filter", "FORWARD"] == "ACCEPT"
    assert host.sync(bridge(0), forward_drop=True) == ["filter -P FORWARD DROP"]
    assert host.sync(bridge(0), forward_drop=True) == []
    host.sync()
    assert host.rules.policies["filter", "FORWARD"] == "DROP"


def test_what_is_shown_are_commands_an_operator_could_type() -> None:
    host = Host()
    assert host.plan().render() == "firewall: nothing to change\n"
    assert f"iptables -t raw -A PREROUTING {LOOPBACK_GUARD}\n" in host.plan(bridge(0)).render()
    assert "iptables -t filter -N DOCKER-USER\n" in host.plan(bridge(0)).render()


def test_a_listing_keeps_rules_and_policies_and_skips_comments() -> None:
    text = (
        "# Generated by iptables-save\n*nat\n:PREROUTING ACCEPT [3:180]\n:EMPTY - [0:0]\n"
        '-A PREROUTING -m comment --comment "two  words" -j EMPTY\n-A PREROUTING\nCOMMIT\n# Completed\n'
    )
    listing = read_listing(text)
    assert listing["nat", "PREROUTING"].policy == "ACCEPT"
    assert listing["nat", "PREROUTING"].rules == ('-m comment --comment "two  words" -j EMPTY', "")
    assert listing["nat", "EMPTY"].rules == ()


def test_a_line_break_in_a_comment_does_not_end_the_rule() -> None:
    text = (
        '*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -m comment --comment "one \\"\n-A INPUT -j DROP" -j ACCEPT\n-A INPUT\n'
    )
    assert read_listing(text)["filter", "INPUT"].rules == (
        '-m comment --comment "one \\"\n-A INPUT -j DROP" -j ACCEPT',
        "",
    )


def test_a_table_that_iptables_cannot_read_is_refused_in_words() -> None:
    with pytest.raises(HostError, match="'ip nat' holds rules that iptables cannot read") as refusal:
        read_listing("# Table `nat' is incompatible, use 'nft' tool.\n")
    assert "nft list table ip nat" in refusal.value.remedy
    assert read_listing("# Table `mangle' is incompatible, use 'nft' tool.\n") == {}


endpoints = st.lists(
    st.builds(web, st.just(0), st.integers(2, 9), st.integers(8000, 8003)), max_size=4, unique_by=lambda e: e.address
)
bridges = st.lists(
    st.builds(
        lambda number, inside, internal: bridge(number, *inside, internal=internal),
        st.integers(0, 3),
        endpoints,
        st.booleans(),
    ),
    max_size=3,
    unique_by=lambda spec: spec.bridge,
)
foreign = st.lists(
    st.tuples(
        st.sampled_from([(table, chain) for table, chains in BUILT_IN.items() for chain in chains]),
        st.integers(0, 20),
        st.sampled_from(["-j ACCEPT", "-j LOG", "-s 10.0.0.0/8 -j DROP", "-j MARK --set-xmark 0x1/0xffffffff"]),
    ),
    max_size=6,
)
damage = st.lists(st.tuples(st.sampled_from(OWN_CHAINS), st.integers(0, 20), st.booleans()), max_size=4)


@settings(max_examples=150, deadline=None)
@given(steps=st.lists(st.tuples(bridges, foreign, damage), min_size=1, max_size=4))
def test_whatever_happens_one_plan_repairs_it_and_leaves_what_others_put_there(
    steps: list[tuple[list[BridgeSpec], list[tuple[tuple[str, str], int, str]], list[tuple[str, int, bool]]]],
) -> None:
    host = Host()
    others: dict[tuple[str, str], list[str]] = {}
    for wanted, intrusions, harm in steps:
        for key, place, rule in intrusions:
            if key in host.rules.chains:
                host.rules.chains[key].insert(min(place, len(host.rules.chains[key])), rule)
        for chain, place, remove in harm:
            rules = host.rules.chains.get(("filter", chain))
            if rules is not None and place < len(rules):
                if remove:
                    del rules[place]
                else:
                    rules.insert(place, rules[-1])
        strangers = {"-j ACCEPT", "-j LOG", "-s 10.0.0.0/8 -j DROP", "-j MARK --set-xmark 0x1/0xffffffff"}
        others = {
            key: [rule for rule in rules if rule in strangers]
            for key, rules in host.rules.chains.items()
            if key[1] not in OWN_CHAINS
        }
        commands = host.sync(*wanted)
        assert not host.plan(*wanted)
        for key, rules in others.items():
            assert [rule for rule in host.rules.chains[key] if rule in strangers] == rules
        assert not any(rule in command for rule in strangers for command in commands if "DOCKER" not in command)
        assert host.remembered == layout(wanted).passing_rules()
