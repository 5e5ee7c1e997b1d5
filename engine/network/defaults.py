"""The networks every engine has: ``bridge``, ``host`` and ``none``, and where the default bridge may stand.

Owns the choice of the default bridge's interface, pool and chain names. Where another engine (a live dockerd) has
docker0 and the DOCKER chains, ours stand beside them under other names; nothing of that engine is touched.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path

from engine.config import Config
from engine.host import processes
from engine.host.netlink import links, routes
from engine.host.netlink.connection import Connection
from engine.network import records
from engine.network.bridge import default_mtu, gateway_of
from engine.network.ipam import Prefix, choose_pool, parse_prefix
from engine.network.model import DEFAULT_BRIDGE, Network
from engine.state.database import Database, timestamp
from engine.values import replace

OTHER_BRIDGE = "pilot0"
OTHER_CHAINS = "PILOT"

DOCKERD = "dockerd"
DOCKER_PID_FILE = Path("/run/docker.pid")
DOCKER_SOCKET = Path("/run/docker.sock")
SOCKET_TIMEOUT_S = 0.2


def ensure(config: Config, database: Database) -> None:
    """The rows of the three default networks; the bridge's place is settled when it is first used."""
    row = database.one("SELECT count(*) AS n FROM networks WHERE name IN (?,?,?)", (DEFAULT_BRIDGE, "host", "none"))
    if row is not None and row["n"] == 3:
        return
    subnet = str(parse_prefix(config.bridge_subnet))
    bridge = Network(
        id=os.urandom(32).hex(),
        name=DEFAULT_BRIDGE,
        driver="bridge",
        created=timestamp(),
        bridge=config.bridge,
        subnet=subnet,
        gateway=gateway_of(subnet),
        mtu=1500,
        chain_prefix=config.chain_prefix,
    )
    with database.transaction() as connection:
        records.insert_network(connection, replace(bridge, options=_options(bridge)))
        for name, driver in (("host", "host"), ("none", "null")):
            records.insert_network(
                connection, Network(id=os.urandom(32).hex(), name=name, driver=driver, created=timestamp())
            )


def settle(config: Config, database: Database, network: Network) -> Network:
    """The default bridge network, moved if it cannot stand where it was; call it with the network's lock held.

    Nothing changes while containers are attached. Otherwise the name depends on who has docker0, the pool on the
    host's routes, the MTU on the default route.
    """
    remembered = records.state(database, network.id)
    with Connection() as connection:
        link = links.get(connection, network.bridge)
        ours = link is not None and _is_ours(link, remembered)
        if ours and not _pid_file_names_dockerd():
            mtu = default_mtu(connection)
            if mtu == network.mtu or records.endpoints_on(database, network.id):
                return network
            settled = replace(network, mtu=mtu)
        elif records.endpoints_on(database, network.id):
            return network
        else:
            foreign = _belongs_to_another(connection, config.bridge, remembered)
            bridge = OTHER_BRIDGE if foreign else config.bridge
            preferred = None if foreign else parse_prefix(config.bridge_subnet)
            taken = _taken(connection, database, network, bridge)
            if foreign:
                # At boot the other engine may not have its bridge yet; it will take the pool it always takes.
                taken = [parse_prefix(config.bridge_subnet), *taken]
            pool = choose_pool(preferred, taken)
            settled = replace(
                network,
                bridge=bridge,
                subnet=str(pool),
                gateway=gateway_of(str(pool)),
                mtu=default_mtu(connection),
                chain_prefix=OTHER_CHAINS if foreign else config.chain_prefix,
            )
    settled = replace(settled, options=_options(settled))
    if settled != network:
        records.update_network(database, settled)
    return settled


def evade(config: Config, database: Database, network: Network) -> Network:
    """The network under chain names that are ours alone, should a dockerd have started after us.

    It takes docker0 and the DOCKER chains over without asking. A bridge cannot move under its containers, its rules
    can: from then on they stand in chains docker does not know, and docker's are left to docker.
    """
    if network.driver != "bridge" or network.chain_prefix != config.chain_prefix or not _pid_file_names_dockerd():
        return network
    evaded = replace(network, chain_prefix=OTHER_CHAINS)
    records.update_network(database, evaded)
    return evaded


def moved(config: Config, network: Network) -> str:
    """Why the default bridge does not stand where it usually does, in words; empty when it does."""
    if network.chain_prefix == config.chain_prefix:
        return ""
    if network.bridge == config.bridge:
        return (
            f"a dockerd started and took {network.bridge} while containers of pilothouse were on it: their rules "
            f"are in chains {network.chain_prefix}* now; stop and start them to give them a bridge of their own"
        )
    return (
        f"another engine has {config.bridge} and the {config.chain_prefix} chains: containers use bridge "
        f"{network.bridge} ({network.subnet}) and chains {network.chain_prefix}*"
    )


def _options(network: Network) -> dict[str, str]:
    """docker's options of its default bridge."""
    return {
        "com.docker.network.bridge.default_bridge": "true",
        records.ICC: "true",
        records.MASQUERADE: "true",
        "com.docker.network.bridge.host_binding_ipv4": "0.0.0.0",
        "com.docker.network.bridge.name": network.bridge,
        "com.docker.network.driver.mtu": str(network.mtu),
    }


def _is_ours(link: links.Link, remembered: dict[str, object]) -> bool:
    return remembered.get("ifindex") == link.index and remembered.get("boot_id") == processes.boot_id()


def _belongs_to_another(connection: Connection, bridge: str, remembered: dict[str, object]) -> bool:
    """True when another engine has ``bridge`` or the chains that go with it.

    A bridge left behind by an engine that is gone is taken over; one with ports serves somebody's containers, even
    if that engine is just being restarted.
    """
    if _pid_file_names_dockerd() or _any_dockerd():
        return True
    link = links.get(connection, bridge)
    if link is None or _is_ours(link, remembered):
        return False
    return any(each.master == link.index for each in links.dump(connection)) or _socket_answers()


def _taken(connection: Connection, database: Database, network: Network, bridge: str) -> Sequence[Prefix]:
    """Prefixes the default bridge may not have: the host's routes but for its own, and the other networks."""
    link = links.get(connection, bridge)
    own = -1 if link is None else link.index
    taken = [
        parse_prefix(f"{route.destination}/{min(route.prefix, 30)}")
        for route in routes.dump(connection)
        if route.prefix and route.link != own
    ]
    taken += [parse_prefix(each.subnet) for each in records.networks(database) if each.subnet and each.id != network.id]
    return taken


def _pid_file_names_dockerd() -> bool:
    try:
        pid = int(DOCKER_PID_FILE.read_text())
    except (OSError, ValueError):
        return False
    return _is_dockerd(pid)


def _any_dockerd() -> bool:
    return any(entry.isdigit() and _is_dockerd(int(entry)) for entry in os.listdir("/proc"))


def _is_dockerd(pid: int) -> bool:
    """True when ``pid`` is a dockerd in this thread's network namespace."""
    try:
        if Path(f"/proc/{pid}/comm").read_text().strip() != DOCKERD:
            return False
        theirs, ours = Path(f"/proc/{pid}/ns/net").stat(), Path("/proc/thread-self/ns/net").stat()
    except OSError:
        return False
    return (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino)


def _socket_answers() -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(SOCKET_TIMEOUT_S)
        try:
            probe.connect(str(DOCKER_SOCKET))
        except OSError:
            return False
    return True
