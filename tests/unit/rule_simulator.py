"""A pure stand-in for ``iptables-restore --noflush``, for tests of plans: it carries out a plan's script on text.

Strict where the real one is: deleting a rule that is not there, making a chain that exists or naming one that does
not is an error. That it does what the kernel does is proven by the kernel tests, which run the same scripts for real.
"""

from __future__ import annotations

from engine.firewall.listing import ListedChain, Listing

BUILT_IN = {
    "raw": ("PREROUTING", "OUTPUT"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
}


class RuleSet:
    """Tables, chains and rules; ``executed`` lists every command carried out, with its table."""

    def __init__(self) -> None:
        self.chains: dict[tuple[str, str], list[str]] = {}
        self.policies: dict[tuple[str, str], str] = {}
        self.executed: list[tuple[str, str]] = []

    def restore(self, script: str) -> None:
        table = ""
        for line in script.splitlines():
            if line.startswith("*"):
                table = line[1:]
                for chain in BUILT_IN[table]:
                    self.chains.setdefault((table, chain), [])
                    self.policies.setdefault((table, chain), "ACCEPT")
            elif line != "COMMIT":
                self.executed.append((table, line))
                self._execute(table, line)

    def _execute(self, table: str, line: str) -> None:
        command, chain, *rest = line.split(" ", 2)
        if command == "-N":
            assert (table, chain) not in self.chains, f"{line}: chain exists"
            self.chains[table, chain] = []
            self.policies[table, chain] = "-"
            return
        rules = self.chains[table, chain]
        argument = rest[0]
        target = argument.rsplit("-j ", 1)[-1].split(" ")[0]
        if command in ("-A", "-I") and target.startswith(("DOCKER", "PILOT")):
            assert (table, target) in self.chains, f"{line}: no chain {target}"
        if command == "-A":
            rules.append(argument)
        elif command == "-I":
            number, rule = argument.split(" ", 1)
            assert 1 <= int(number) <= len(rules) + 1, f"{line}: index too big"
            rules.insert(int(number) - 1, rule)
        elif command == "-D":
            if argument.isdigit():
                del rules[int(argument) - 1]
            else:
                rules.remove(argument)
        elif command == "-P":
            self.policies[table, chain] = argument
        else:
            raise AssertionError(f"unknown command {line}")

    def listing(self) -> Listing:
        return {key: ListedChain(self.policies[key], tuple(rules)) for key, rules in self.chains.items()}

    def save(self) -> str:
        """As ``iptables-save`` prints it: built-in chains first, then the others by name."""
        lines: list[str] = []
        for table in BUILT_IN:
            own = sorted(chain for name, chain in self.chains if name == table and chain not in BUILT_IN[table])
            chains = [chain for chain in (*BUILT_IN[table], *own) if (table, chain) in self.chains]
            if chains:
                lines.append(f"*{table}")
                lines += [f":{chain} {self.policies[table, chain]} [0:0]" for chain in chains]
                lines += [f"-A {chain} {rule}" for chain in chains for rule in self.chains[table, chain]]
                lines.append("COMMIT")
        return "".join(f"{line}\n" for line in lines)
