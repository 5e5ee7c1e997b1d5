"""Rules in words: the engine's own sentences, and a sensible one for every other rule."""

from __future__ import annotations

import pytest

from engine.firewall.meaning import Meaning, Owners, explain
from engine.firewall.parse import parse_rule

pytestmark = pytest.mark.unit

OWNERS = Owners(
    containers={"172.17.0.2": "web", "172.18.0.2": "api"},
    ports={("tcp", 17001): "web"},
    networks={"docker0": "bridge", "br-app": "app"},
)

OWN = {
    ("raw", "-d 127.0.0.0/8 ! -i lo -j DROP"): ("nobody but this host reaches its loopback addresses", ""),
    ("raw", "-d 172.17.0.2/32 ! -i docker0 -j DROP"): (
        "from outside, web is reached through its published ports only",
        "web",
    ),
    ("raw", "-d 127.0.0.1/32 ! -i lo -p tcp -m tcp --dport 17001 -j DROP"): (
        "port 17001/tcp of 127.0.0.1 is for this host only",
        "web",
    ),
    ("filter", "-j DOCKER-USER"): ("the administrator's own rules decide first", ""),
    ("filter", "-j DOCKER-FORWARD"): ("then the rules of the bridges", ""),
    ("filter", "-o br-app -j DOCKER"): ("into app (br-app): to the published ports", ""),
    ("filter", "-o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"): ("answers may enter docker0", ""),
    ("filter", "-d 172.17.0.2/32 ! -i docker0 -o docker0 -p udp -m udp --dport 53 -j ACCEPT"): (
        "web may be reached at its port 53/udp",
        "web",
    ),
    ("filter", "! -i docker0 -o docker0 -j DROP"): ("nothing else enters docker0", ""),
    ("filter", "-i docker0 -j ACCEPT"): ("containers of docker0 may go anywhere", ""),
    ("filter", "-i docker0 -o docker0 -j DROP"): ("containers of docker0 may not talk to each other", ""),
    ("filter", "-i docker0 -o docker0 -j ACCEPT"): ("containers of docker0 may talk to each other", ""),
    ("filter", "-i docker0 ! -o docker0 -j ACCEPT"): ("containers of docker0 may go out", ""),
    ("filter", "! -s 172.18.0.0/16 -o br-app -j DROP"): ("app (br-app) is closed: nothing comes in", ""),
    ("filter", "! -d 172.18.0.0/16 -i br-app -j DROP"): ("app (br-app) is closed: nothing goes out", ""),
    ("nat", "-m addrtype --dst-type LOCAL -j DOCKER"): ("what is sent to this host: to the published ports", ""),
    ("nat", "-s 172.17.0.0/16 ! -o docker0 -j MASQUERADE"): ("what leaves docker0 takes this host's address", ""),
    ("nat", "-o docker0 -m addrtype --src-type LOCAL -j MASQUERADE"): (
        "what this host sends into docker0 takes the bridge's address",
        "",
    ),
    ("nat", "-s 172.17.0.2/32 -d 172.17.0.2/32 -p tcp -m tcp --dport 80 -j MASQUERADE"): (
        "web reaches its own published port 80/tcp",
        "web",
    ),
    ("nat", "-p tcp -m tcp --dport 17000 -j DNAT --to-destination 172.17.0.2:27017"): (
        "web publishes 17000/tcp, led to its port 27017",
        "web",
    ),
    ("nat", "-d 127.0.0.1/32 -p tcp -m tcp --dport 17001 -j DNAT --to-destination 172.17.0.2:80"): (
        "web publishes 17001/tcp on 127.0.0.1 only, led to its port 80",
        "web",
    ),
}

FOREIGN = {
    "": "counts everything",
    "-j ACCEPT": "lets through everything",
    "-i eth0 -j DROP": "drops packets entering by eth0",
    "-s 10.0.0.0/8 -p tcp -m tcp --dport 22 -j ACCEPT": "lets through tcp to port 22 from 10.0.0.0/8",
    "! -s 10.0.0.0/8 -i eth0 -p tcp -m multiport --dports 80,443 -j REJECT --reject-with tcp-reset": (
        "refuses tcp to port 80,443 not from 10.0.0.0/8 entering by eth0"
    ),
    '-s 198.51.100.7/32 -m comment --comment "scanner" -j DROP': "drops packets from 198.51.100.7 (scanner)",
    "-d 172.17.0.2/32 -p udp -j LOG --log-prefix x": "logs udp to web",
    "-j ufw-before-forward": "continues in ufw-before-forward",
    "-m conntrack --ctstate INVALID -j DROP": "drops packets if --ctstate INVALID",
    "-p tcp -m tcp ! --dport 22 -j RETURN": "leaves this chain with tcp to port other than 22",
    "-p tcp -m tcp --dport 80 -j DNAT --to-destination 10.1.1.1:80": "leads tcp to port 80 to 10.1.1.1:80",
    "-i docker0 -p tcp -j ACCEPT": "lets through tcp entering by docker0",
}


@pytest.mark.parametrize(("table", "text"), OWN)
def test_the_engines_own_rules_have_a_sentence_and_an_owner(table: str, text: str) -> None:
    assert explain(table, parse_rule(text), OWNERS) == Meaning(*OWN[table, text])


@pytest.mark.parametrize("text", FOREIGN)
def test_any_other_rule_is_told_by_its_parts(text: str) -> None:
    assert explain("filter", parse_rule(text), OWNERS).text == FOREIGN[text]


def test_beside_docker_the_chains_of_docker_are_somebody_elses() -> None:
    owners = Owners(chain_prefix="PILOT")
    assert explain("filter", parse_rule("-j PILOT-FORWARD"), owners).text == "then the rules of the bridges"
    assert explain("filter", parse_rule("-j DOCKER-FORWARD"), owners).text == "continues in DOCKER-FORWARD"
