"""docker's JSON for networks and for the network settings of containers. Pure: objects in, dictionaries out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from engine.network.model import Endpoint, Network
from engine.network.ports import ports_json


def network_json(network: Network, endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """``docker network inspect``."""
    pools = [{"Subnet": network.subnet, "Gateway": network.gateway}] if network.subnet else []
    return {
        "Name": network.name,
        "Id": network.id,
        "Created": network.created,
        "Scope": "local",
        "Driver": network.driver,
        "EnableIPv4": True,
        "EnableIPv6": False,
        "IPAM": {"Driver": "default", "Options": None, "Config": pools},
        "Internal": network.internal,
        "Attachable": False,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {
            endpoint.container: {
                "Name": endpoint.container_name,
                "EndpointID": endpoint.id,
                "MacAddress": endpoint.mac,
                "IPv4Address": f"{endpoint.address}/{endpoint.prefix}" if endpoint.address else "",
                "IPv6Address": "",
            }
            for endpoint in endpoints
        },
        "Options": dict(network.options),
        "Labels": dict(network.labels),
    }


def settings_json(
    networks: Sequence[Network], endpoints: Sequence[Endpoint], *, sandbox_key: str, exposed: Sequence[str]
) -> dict[str, Any]:
    """``NetworkSettings`` of ``docker inspect``.

    ``networks`` are those the container belongs to, ``endpoints`` its places on them while it runs. Without any the
    container uses another's namespace, or is stopped.
    """
    by_network = {endpoint.network: endpoint for endpoint in endpoints}
    bridge = next((endpoint for endpoint in endpoints if endpoint.network_name == "bridge"), None)
    published = [port for endpoint in endpoints for port in endpoint.ports]
    declared = exposed if any(endpoint.address for endpoint in endpoints) else ()
    return {
        "Bridge": "",
        "SandboxID": endpoints[0].id if endpoints else "",
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "Ports": ports_json(published, declared),
        "SandboxKey": sandbox_key if endpoints else "",
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        "EndpointID": bridge.id if bridge else "",
        "Gateway": bridge.gateway if bridge else "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "IPAddress": bridge.address if bridge else "",
        "IPPrefixLen": bridge.prefix if bridge else 0,
        "IPv6Gateway": "",
        "MacAddress": bridge.mac if bridge else "",
        "Networks": {network.name: _membership(network, by_network.get(network.id)) for network in networks},
    }


def _membership(network: Network, endpoint: Endpoint | None) -> dict[str, Any]:
    return {
        "IPAMConfig": None,
        "Links": None,
        "Aliases": None,
        "DriverOpts": None,
        "NetworkID": network.id if endpoint else "",
        "EndpointID": endpoint.id if endpoint else "",
        "Gateway": endpoint.gateway if endpoint else "",
        "IPAddress": endpoint.address if endpoint else "",
        "IPPrefixLen": endpoint.prefix if endpoint else 0,
        "IPv6Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "MacAddress": endpoint.mac if endpoint else "",
        "DNSNames": None,
    }
