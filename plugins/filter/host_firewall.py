"""Filters of the role host_firewall: what is wrong with the ports and sources that it is told."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Any

DOCUMENTATION = r"""
name: firewall_faults
short_description: What is wrong with ports that are to be open, a line each
description:
  - The filters of the role host_firewall. C(firewall_faults) looks at ports, C(firewall_source_faults) at the addresses
    and networks from which one is reached, and C(firewall_admits) says whether they hold an address, or it is one of
    the loopback device, of which everything passes.
"""

_PORTS = range(1, 65536)
# What may stand between the quotes of a comment of nftables, which has at most 128 bytes.
_COMMENT = re.compile(r"[\w .,:/+()-]{0,100}", re.ASCII)


def _network(text: object) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(str(text), strict=False)
    except ValueError:
        return None


def firewall_source_faults(sources: Iterable[object], where: str) -> list[str]:
    """Return which sources are neither an address nor a network."""
    return [
        f"{where}: '{source}' is not allowed; names are not resolved, so give an address or a network such as "
        "10.1.2.0/24"
        for source in sources
        if _network(source) is None
    ]


def _ports(entry: Mapping[str, Any]) -> list[Any]:
    """Return one port, or the ends of a range; nothing where it isn't clear which."""
    given = {key: entry[key] for key in ("port", "first", "last") if entry.get(key) is not None}
    return list(given.values()) if set(given) in ({"port"}, {"first", "last"}) else []


def firewall_faults(entries: Iterable[Mapping[str, Any]], where: str) -> list[str]:
    """Return what is wrong with ports that are to be open."""
    found = []
    for number, entry in enumerate(entries):
        place = f"{where}[{number}]"
        ports = _ports(entry)
        if not ports:
            found.append(f"{place}: give either port, or first and last")
        elif any(int(port) not in _PORTS for port in ports) or int(ports[0]) > int(ports[-1]):
            found.append(f"{place}: {'-'.join(str(port) for port in ports)} is not allowed; ports are 1 to 65535")
        if not _COMMENT.fullmatch(str(entry.get("comment") or "")):
            found.append(
                f"{place}.comment: '{entry['comment']}' is not allowed; up to 100 letters, digits and .,:/+()-"
            )
        found += firewall_source_faults(entry.get("sources") or [], f"{place}.sources")
    return found


def firewall_admits(sources: Iterable[object], address: str) -> bool:
    """Say whether one of the sources is, or holds, an address. The host itself is always let in."""
    one = ipaddress.ip_address(address)
    return one.is_loopback or any(
        network and network.version == one.version and one in network for network in map(_network, sources)
    )


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {
            "firewall_faults": firewall_faults,
            "firewall_source_faults": firewall_source_faults,
            "firewall_admits": firewall_admits,
        }
