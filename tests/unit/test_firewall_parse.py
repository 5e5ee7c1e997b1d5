"""The grammar of ``iptables-save``: taken apart and put together again without losing a letter."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.firewall.parse import Match, Option, RuleSyntaxError, Specification, Value, parse_rule, parse_save, words
from engine.firewall.tables import Chain, Rule, Table

pytestmark = pytest.mark.unit

SAVED = (
    "",
    "-j ACCEPT",
    r'-m comment --comment "it\'s \"q\" a;b" -j X',
    "-m comment --comment -j -j X",
    "-m comment --comment plain -j X",
    '-m comment --comment "" -j X',
    '-m comment --comment "two\nlines" -j X',
    "-p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN -m multiport --dports 80,443,1000:2000 "
    '-m limit --limit 3/min --limit-burst 7 -j LOG --log-prefix "a b "',
    "-p tcp -m tcp ! --dport 22 -j REJECT --reject-with tcp-reset",
    "! -p icmp -g X",
    "-f -j DROP",
    "! -f -i eth0 -j DROP",
    "-m recent --update --seconds 60 --hitcount 4 --name foo --mask 255.255.255.255 --rsource -j DROP",
    "-m conntrack ! --ctstate INVALID --ctorigdstport 80 -m mark ! --mark 0x1/0xff",
    "-m statistic --mode random --probability 0.50000000000",
    "-m statistic --mode nth --every 3 --packet 0 -j DROP",
    "-i eth+ -p icmp -m icmp --icmp-type 8 -j ACCEPT",
    '-m string --string "-x" --algo bm -j DROP',
    "-j MARK --set-xmark 0x3/0xffffffff",
    '-s 1.0.3.0/255.0.255.0 -m u32 --u32 "0x0>>0x16&0x3c@0x0>>0x18=0x0"',
    "-m set ! --match-set blocked src,dst -j DROP",
    "-m owner --uid-owner 1000 ! --gid-owner 5 -j RETURN",
    "-d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT",
    "! -s 172.17.0.0/16 -o docker0 -j DROP",
    "-m policy --dir in --pol ipsec --strict --reqid 3 --next --reqid 4 -j ACCEPT",
    "-j TTL --ttl-dec 1",
    "-j TCPMSS --clamp-mss-to-pmtu",
)


@pytest.mark.parametrize("text", SAVED)
def test_a_saved_rule_comes_back_letter_by_letter(text: str) -> None:
    assert str(parse_rule(text)) == text


def test_a_rule_is_taken_apart() -> None:
    rule = parse_rule('! -s 10.0.0.0/8 -p tcp -m tcp ! --dport 80:90 -m comment --comment "a b" -j DNAT --to 1.2.3.4:5')
    assert rule.basic("-s") == Option("-s", (Value("10.0.0.0/8"),), negated=True)
    assert rule.basic("-d") is None
    assert rule.option("tcp", "--dport") == Option("--dport", (Value("80:90"),), negated=True)
    assert rule.option("udp", "--dport") is None
    assert rule.comment == "a b"
    assert (rule.target, rule.goto) == ("DNAT", False)
    assert rule.target_option("--to") == Option("--to", (Value("1.2.3.4:5"),))
    assert rule.target_option("--random") is None


@pytest.mark.parametrize("text", ['-m comment --comment "open', "stray -j X", "-j", "-j A B", "! -j X", "-j X !"])
def test_what_no_save_prints_is_refused(text: str) -> None:
    with pytest.raises(RuleSyntaxError):
        parse_rule(text)


def test_a_save_becomes_tables_chains_and_counted_rules() -> None:
    text = (
        "# Generated\n*raw\n:PREROUTING ACCEPT [7:420]\nCOMMIT\n# Completed\n*filter\n:INPUT DROP [1:60]\n:X - [0:0]\n"
        "[5:300] -A INPUT -i lo -j ACCEPT\n[0:0] -A INPUT\n[2:9] -A X -j RETURN\nCOMMIT\n"
    )
    assert parse_save(text) == (
        Table("raw", (Chain("PREROUTING", "ACCEPT", (), 7, 420),)),
        Table(
            "filter",
            (
                Chain("INPUT", "DROP", (Rule("-i lo -j ACCEPT", 1, 5, 300), Rule("", 2, 0, 0)), 1, 60),
                Chain("X", "", (Rule("-j RETURN", 1, 2, 9),)),
            ),
        ),
    )


def test_a_save_without_counters_counts_nothing() -> None:
    tables = parse_save("*nat\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -j RETURN\nCOMMIT\n")
    assert tables[0].chains[0].rules == (Rule("-j RETURN", 1),)
    assert tables[0].chain("OUTPUT") is tables[0].chains[0]
    assert tables[0].chain("INPUT") is None


def test_a_rule_of_an_undeclared_chain_is_refused() -> None:
    with pytest.raises(RuleSyntaxError, match="undeclared chain 'INPUT'"):
        parse_save("*filter\n-A INPUT -j DROP\nCOMMIT\n")


name = st.from_regex(r"[a-zA-Z][a-zA-Z0-9_.+]{0,12}", fullmatch=True)
plain = st.builds(Value, st.from_regex(r"[a-zA-Z0-9/.:,_+=]([a-zA-Z0-9/.:,_+=-]{0,12})", fullmatch=True))
free = st.builds(Value, st.text(st.characters(exclude_categories=("Cs",)), max_size=20), st.just(True))
long_option = st.builds(
    Option,
    st.from_regex(r"--[a-z]{2,8}", fullmatch=True).filter(lambda text: text not in ("--string", "--name", "--comment")),
    st.lists(st.one_of(plain, free), max_size=2).map(tuple),
    st.booleans(),
)
remark = st.builds(
    lambda text: Match("comment", (Option("--comment", (text,)),)), st.one_of(free, st.just(Value("-j")), plain)
)
basic = st.builds(Option, st.sampled_from(["-s", "-d", "-i", "-o", "-p"]), st.tuples(plain), st.booleans())
specification = st.builds(
    Specification,
    st.lists(basic, max_size=4, unique_by=lambda option: option.name).map(tuple),
    st.lists(st.one_of(remark, st.builds(Match, name, st.lists(long_option, max_size=3).map(tuple))), max_size=3).map(
        tuple
    ),
    name,
    st.booleans(),
    st.lists(long_option, max_size=2).map(tuple),
)


@settings(max_examples=300, deadline=None)
@given(specification)
def test_any_rule_survives_the_way_to_text_and_back(rule: Specification) -> None:
    assert parse_rule(str(rule)) == rule


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(free, plain), max_size=6))
def test_any_words_survive_quoting(values: list[Value]) -> None:
    assert words(" ".join(map(str, values))) == values
