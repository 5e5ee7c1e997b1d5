"""What a rule does, in the words of somebody who has never read one, and whose rule it is.

Owns the wording. Pure: it works on parsed rules and on the owners the caller gives. The engine's own rules get the
sentence they were made for; every other rule gets one put together from its parts.
"""

from __future__ import annotations

from collections.abc import Mapping

from engine.firewall.docker_chains import DEFAULT_PREFIX
from engine.firewall.parse import Option, Specification
from engine.values import dataclass, field

_CHAIN_WORDS = {
    "": "to the published ports",
    "-USER": "the administrator's own rules decide first",
    "-FORWARD": "then the rules of the bridges",
    "-CT": "answers first",
    "-INTERNAL": "then the closed networks",
    "-BRIDGE": "then what may enter a bridge",
}
_VERDICTS = {
    "ACCEPT": "lets through",
    "DROP": "drops",
    "REJECT": "refuses",
    "RETURN": "leaves this chain with",
    "LOG": "logs",
    "NFLOG": "logs",
    "MASQUERADE": "gives this host's address to",
    "SNAT": "changes the source of",
    "DNAT": "redirects",
    "REDIRECT": "leads to this host itself",
    "MARK": "marks",
    "CONNMARK": "marks the connection of",
    "NOTRACK": "does not track",
    "CT": "sets tracking of",
    "TRACE": "traces",
    "CHECKSUM": "repairs the checksum of",
    "TCPMSS": "limits the segment size of",
    "NFQUEUE": "asks a program about",
}


@dataclass(frozen=True)
class Owners:
    """Whose an address, a published port or a bridge is.

    ``containers`` names a container by its IPv4 address, ``ports`` by protocol and host port; ``networks`` names a
    network by its bridge. ``chain_prefix`` begins the names of the engine's own chains.
    """

    containers: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[tuple[str, int], str] = field(default_factory=dict)
    networks: Mapping[str, str] = field(default_factory=dict)
    chain_prefix: str = DEFAULT_PREFIX


@dataclass(frozen=True)
class Meaning:
    """A rule in words, and the container it belongs to (empty if it is nobody's in particular)."""

    text: str
    owner: str = ""


NOBODY = Owners()


def explain(table: str, rule: Specification, owners: Owners = NOBODY) -> Meaning:
    """The meaning of one rule of ``table``."""
    owner = _owner(rule, owners)
    words = _Words(table, rule, owners, owner)
    text = words.jump() or words.translation() or words.verdict() or words.anything()
    return Meaning(f"{text} ({rule.comment})" if rule.comment else text, owner)


def _owner(rule: Specification, owners: Owners) -> str:
    """The container named by an address the rule matches or leads to, or by the published port it speaks of."""
    redirect = rule.target_option("--to-destination")
    addresses = [redirect.value.partition(":")[0]] if redirect else []
    for name in ("-d", "-s"):
        option = rule.basic(name)
        if option and not option.negated:
            addresses.append(option.value.removesuffix("/32"))
    for address in addresses:
        if address in owners.containers:
            return owners.containers[address]
    destination = rule.basic("-d")
    protocol, port = _service(rule)
    if destination and destination.value.startswith("127.") and port.isdigit():
        return owners.ports.get((protocol, int(port)), "")
    return ""


class _Words:
    """One rule and everything its sentence needs."""

    def __init__(self, table: str, rule: Specification, owners: Owners, owner: str) -> None:
        self.table = table
        self.rule = rule
        self.owners = owners
        self.prefix = owners.chain_prefix
        self.owner = owner
        self.source = _plain(rule.basic("-s"))
        self.destination = _plain(rule.basic("-d"))
        self.enters = _plain(rule.basic("-i"))
        self.leaves = _plain(rule.basic("-o"))
        self.not_from = _negated(rule.basic("-i"))
        self.not_to = _negated(rule.basic("-o"))
        self.protocol, self.port = _service(rule)

    def jump(self) -> str:
        """A jump into another chain."""
        target = self.rule.target
        if target in _VERDICTS or not target:
            return ""
        own = target.startswith(self.prefix) and target[len(self.prefix) :] in _CHAIN_WORDS
        words = _CHAIN_WORDS[target[len(self.prefix) :]] if own else f"continues in {target}"
        local = self.rule.option("addrtype", "--dst-type")
        if own and local and local.value == "LOCAL":
            return f"what is sent to this host: {words}"
        if own and self.leaves and len(self.rule.basics) == 1 and not self.rule.matches:
            return f"into {self._network(self.leaves)}: {words}"
        if len(self.rule.basics) + len(self.rule.matches) == 0:
            return words
        return f"{self._what()}: {words}"

    def translation(self) -> str:
        """An address translation."""
        rule = self.rule
        if rule.target == "DNAT":
            to = rule.target_option("--to-destination")
            port = to.value.rpartition(":")[2] if to else ""
            if self.owner and self.port:
                only = f" on {self.destination} only" if self.destination else ""
                return f"{self.owner} publishes {self.port}/{self.protocol}{only}, led to its port {port}"
            return f"leads {self._what()} to {to.value if to else 'another address'}"
        if rule.target != "MASQUERADE":
            return ""
        local = rule.option("addrtype", "--src-type")
        if self.leaves and local and local.value == "LOCAL":
            return f"what this host sends into {self._network(self.leaves)} takes the bridge's address"
        if self.owner and self.source == self.destination:
            return f"{self.owner} reaches its own published port {self.port}/{self.protocol}"
        if self.source and self.not_to:
            return f"what leaves {self._network(self.not_to)} takes this host's address"
        return ""

    def verdict(self) -> str:
        """An ACCEPT or DROP of the kinds the engine makes."""
        if self.rule.target == "DROP":
            return self._drop()
        if self.rule.target != "ACCEPT":
            return ""
        state = self.rule.option("conntrack", "--ctstate")
        if state and state.value == "RELATED,ESTABLISHED" and len(self.rule.basics) <= 1:
            return f"answers may enter {self._network(self.leaves)}" if self.leaves else "answers may pass"
        if self.owner and self.not_from == self.leaves != "" and self.port:
            return f"{self.owner} may be reached at its port {self.port}/{self.protocol}"
        if self.rule.matches or self.source or self.destination or self.protocol != "any":
            return ""
        if self.enters and self.enters == self.leaves:
            return f"containers of {self._network(self.enters)} may talk to each other"
        if self.enters and self.not_to == self.enters:
            return f"containers of {self._network(self.enters)} may go out"
        if self.enters in self.owners.networks and len(self.rule.basics) == 1:
            return f"containers of {self._network(self.enters)} may go anywhere"
        return ""

    def _drop(self) -> str:
        if self.not_from == "lo" and self.destination.startswith("127."):
            if self.port:
                return f"port {self.port}/{self.protocol} of {self.destination} is for this host only"
            return "nobody but this host reaches its loopback addresses"
        if self.table == "raw" and self.owner and self.not_from:
            return f"from outside, {self.owner} is reached through its published ports only"
        if len(self.rule.basics) != 2 or self.rule.matches:
            return ""
        if self.not_from and self.not_from == self.leaves:
            return f"nothing else enters {self._network(self.leaves)}"
        if self.enters and self.enters == self.leaves:
            return f"containers of {self._network(self.enters)} may not talk to each other"
        if self.leaves and _negated(self.rule.basic("-s")):
            return f"{self._network(self.leaves)} is closed: nothing comes in"
        if self.enters and _negated(self.rule.basic("-d")):
            return f"{self._network(self.enters)} is closed: nothing goes out"
        return ""

    def anything(self) -> str:
        """Any other rule, from its parts."""
        target = self.rule.target
        return f"{_VERDICTS[target]} {self._what()}" if target in _VERDICTS else f"counts {self._what()}"

    def _what(self) -> str:
        parts = [self._kind()]
        parts += _side("from", self.rule.basic("-s"), self.owners) + _side("to", self.rule.basic("-d"), self.owners)
        for name, word in (("-i", "entering by"), ("-o", "leaving by")):
            option = self.rule.basic(name)
            if option:
                parts.append(f"{'not ' * option.negated}{word} {option.value}")
        for match in self.rule.matches:
            if match.module in ("comment", self.protocol) or (match.module == "multiport" and self.port):
                continue
            if match.module == "addrtype":
                parts += [_address_type(option) for option in match.options]
            else:
                parts.append(f"if {' '.join(str(option) for option in match.options) or match.module}")
        return " ".join(parts)

    def _kind(self) -> str:
        if self.protocol == "any":
            return "everything" if len(self.rule.basics) + len(self.rule.matches) == 0 else "packets"
        return f"{self.protocol} to port {self.port}" if self.port else self.protocol

    def _network(self, bridge: str) -> str:
        """The network behind a bridge; the bridge itself where it is nobody's."""
        name = self.owners.networks.get(bridge)
        return bridge if name is None or name in ("bridge", bridge) else f"{name} ({bridge})"


def _service(rule: Specification) -> tuple[str, str]:
    """Protocol and destination port (or ports), ``any`` and empty where the rule names none."""
    protocol = rule.basic("-p")
    if protocol is None or protocol.negated:
        return ("any" if protocol is None else f"not {protocol.value}"), ""
    for module, name in ((protocol.value, "--dport"), ("multiport", "--dports")):
        option = rule.option(module, name)
        if option:
            return protocol.value, f"{'other than ' * option.negated}{option.value}"
    return protocol.value, ""


def _side(word: str, option: Option | None, owners: Owners) -> list[str]:
    if option is None:
        return []
    name = owners.containers.get(option.value.removesuffix("/32"), option.value.removesuffix("/32"))
    return [f"{'not ' * option.negated}{word} {name}"]


def _address_type(option: Option) -> str:
    words = {"--dst-type LOCAL": "to this host", "--src-type LOCAL": "from this host"}
    text = f"{option.name} {option.value}"
    return f"{'not ' * option.negated}{words.get(text, f'if {text}')}"


def _plain(option: Option | None) -> str:
    return option.value.removesuffix("/32") if option and not option.negated else ""


def _negated(option: Option | None) -> str:
    return option.value.removesuffix("/32") if option and option.negated else ""
