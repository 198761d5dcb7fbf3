"""The targets' own network, with addresses that stay: a bridge of the engine's."""

from __future__ import annotations

import ipaddress
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lab.base import LABEL, PREFIX, LabError
from lab.engine import docker

NAME = f"{PREFIX}-lab"
# Outside what Docker hands out by itself (172.16/12, 192.168/16), here and in the targets.
CANDIDATES = [f"10.{number}.0.0/24" for number in range(211, 251)]
# The first addresses are the gateway's, the package cache's, the rehearsal's mirror's and the file server's.
CACHE_HOST = 2
MIRROR_HOST = 3
FILES_HOST = 4
FIRST_HOST = 10
LAST_HOST = 127


def free_subnet(taken: Iterable[str]) -> str:
    """Return the first candidate that overlaps none of the networks ``taken``."""
    used = [ipaddress.ip_network(network, strict=False) for network in taken]
    for candidate in CANDIDATES:
        if not any(ipaddress.ip_network(candidate).overlaps(network) for network in used):
            return candidate
    raise LabError("no free network for the lab among " + f"{CANDIDATES[0]} to {CANDIDATES[-1]}")


def free_host(subnet: str, taken: Iterable[str]) -> str:
    """Return the first free address for a target."""
    used = set(taken)
    for number in range(FIRST_HOST, LAST_HOST + 1):
        if host(subnet, number) not in used:
            return host(subnet, number)
    raise LabError(f"no address is left in {subnet}")


def parse_routes(text: str) -> list[str]:
    """Return the networks in the text of /proc/net/route, the default route left out.

    Addresses stand there as hexadecimal numbers in the machine's byte order (proc_net(5)).
    """
    found = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        address, mask = (ipaddress.IPv4Address(int(fields[column], 16).to_bytes(4, sys.byteorder)) for column in (1, 7))
        if int(mask):
            found.append(f"{address}/{int(mask).bit_count()}")
    return found


def _taken() -> list[str]:
    """Return the networks this machine already has a route to, and the addresses of its resolvers."""
    return parse_routes(Path("/proc/net/route").read_text()) + nameservers()


def _inspect() -> dict[str, Any] | None:
    found = docker("network", "ls", "--quiet", "--filter", f"name=^{NAME}$")
    if not found:
        return None
    inspected: dict[str, Any] = json.loads(docker("network", "inspect", NAME))[0]
    return inspected


def ensure() -> str:
    """Make the network if it isn't there; return its subnet."""
    inspected = _inspect()
    if inspected is None:
        subnet = free_subnet(_taken())
        # Targets have addresses of the first half; what needs none for long gets one of the other.
        docker(
            *("network", "create", "--label", LABEL, "--subnet", subnet),
            *("--gateway", host(subnet, 1), "--ip-range", host(subnet, 128) + "/25"),
            *("--ipv6", "--subnet", subnet_ipv6(subnet), NAME),
        )
        return subnet
    return next(str(config["Subnet"]) for config in inspected["IPAM"]["Config"] if ":" not in config["Subnet"])


def subnet_ipv6(subnet: str) -> str:
    """Return the subnet for IPv6 that goes with one of IPv4: no other lab has it."""
    first = int(ipaddress.ip_network(subnet).network_address)
    return f"fd53:6c61:{first >> 16:x}:{first & 0xFFFF:x}::/64"


def host_ipv6(address: str) -> str:
    """Return the address for IPv6 of the target with this one of IPv4."""
    subnet = ipaddress.ip_network(f"{address}/24", strict=False)
    return host(subnet_ipv6(str(subnet)), int(ipaddress.ip_address(address)) & 0xFF)


def host(subnet: str, number: int) -> str:
    """Return the address with this number in the subnet."""
    return str(ipaddress.ip_network(subnet)[number])


def parse_nameservers(*files: str) -> list[str]:
    """Return the resolvers of the first resolv.conf text that names one outside the loopback."""
    for text in files:
        words = [line.split() for line in text.splitlines()]
        addresses = [word[1] for word in words if len(word) > 1 and word[0] == "nameserver"]
        remote = [a for a in addresses if ":" not in a and not a.startswith("127.")]
        if remote:
            return remote
    return []


def nameservers() -> list[str]:
    """Return the IPv4 resolvers of this machine that a target can reach too."""
    paths = [Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf")]
    return parse_nameservers(*(path.read_text() for path in paths if path.is_file()))
