"""The chain layout, held by golden texts: one save of the whole rule set for each combination of a bridge's options.

``PILOTHOUSE_WRITE_GOLDENS=1`` writes them anew; read the difference before you commit it.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from engine.firewall.docker_chains import LOOPBACK_GUARD, chain_names, layout
from engine.firewall.model import BridgeSpec, EndpointSpec, PortMap
from engine.firewall.plan import make_plan
from tests.unit.rule_simulator import RuleSet

pytestmark = pytest.mark.unit

GOLDENS = Path(__file__).parent / "goldens" / "firewall"

WEB = EndpointSpec("172.17.0.2", (PortMap("tcp", "0.0.0.0", 17000, 27017), PortMap("tcp", "127.0.0.1", 17001, 80)))
DNS = EndpointSpec("172.17.0.3", (PortMap("udp", "203.0.113.1", 53, 5353), PortMap("tcp", "0.0.0.0", 17002, 80)))
QUIET = EndpointSpec("172.17.0.4")


def docker0(*endpoints: EndpointSpec, internal: bool = False, icc: bool = True, masquerade: bool = True) -> BridgeSpec:
    return BridgeSpec("docker0", "172.17.0.0/16", "172.17.0.1", internal, icc, masquerade, endpoints)


def name_of(internal: bool, icc: bool, masquerade: bool) -> str:
    words = ("internal" * internal, "icc-off" * (not icc), "masquerade-off" * (not masquerade))
    return "+".join(word for word in words if word) or "plain"


SITUATIONS: dict[str, tuple[str, list[BridgeSpec]]] = {
    name_of(internal, icc, masquerade): (
        "DOCKER",
        [docker0(WEB, DNS, QUIET, internal=internal, icc=icc, masquerade=masquerade)],
    )
    for internal, icc, masquerade in itertools.product((False, True), (True, False), (True, False))
}
SITUATIONS["no-endpoint"] = ("DOCKER", [docker0()])
SITUATIONS["two-bridges"] = (
    "DOCKER",
    [
        docker0(WEB),
        BridgeSpec("br-app", "172.18.0.7/16", "172.18.0.1", endpoints=(EndpointSpec("172.18.0.2", WEB.ports[:1]),)),
    ],
)
SITUATIONS["beside-docker"] = ("PILOT", [BridgeSpec("pilot0", "172.18.0.0/16", "172.18.0.1", endpoints=(WEB,))])


@pytest.mark.parametrize("situation", SITUATIONS)
def test_rules_are_those_of_the_golden_text(situation: str) -> None:
    prefix, bridges = SITUATIONS[situation]
    rules = RuleSet()
    rules.restore(make_plan(rules.listing(), layout(bridges, prefix)).script())
    path = GOLDENS / f"{situation}.txt"
    if os.environ.get("PILOTHOUSE_WRITE_GOLDENS"):
        path.write_text(rules.save())
    assert rules.save() == path.read_text()


def test_every_golden_text_belongs_to_a_situation() -> None:
    assert {path.stem for path in GOLDENS.iterdir()} == set(SITUATIONS)


def test_the_loopback_guard_stands_first_in_raw_and_raw_is_committed_first() -> None:
    plan = make_plan({}, layout([docker0(WEB)]))
    assert plan.changes[0].table == "raw"
    assert plan.changes[0].commands[0] == f"-A PREROUTING {LOOPBACK_GUARD}"


def test_one_container_port_published_twice_has_one_rule_each_for_accept_and_hairpin() -> None:
    twice = EndpointSpec("172.17.0.2", (PortMap("tcp", "0.0.0.0", 8080, 80), PortMap("tcp", "0.0.0.0", 8081, 80)))
    rules = RuleSet()
    rules.restore(make_plan({}, layout([docker0(twice)])).script())
    assert len(rules.chains["nat", "DOCKER"]) == 2
    assert sum("172.17.0.2" in rule for rule in rules.chains["filter", "DOCKER"]) == 1
    assert sum("172.17.0.2" in rule for rule in rules.chains["nat", "POSTROUTING"]) == 1


def test_chain_names_are_those_the_layout_makes() -> None:
    made = {chain.chain for chain in layout([docker0()], "PILOT").chains if chain.owned or chain.kept}
    assert made == chain_names("PILOT")
