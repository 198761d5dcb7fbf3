"""Filters about the hosts: where they are reached, and what is in the way on them."""

from __future__ import annotations

import functools
import ipaddress
import json
import re
import socket
from typing import Any

DOCUMENTATION = r"""
name: slipway_hosts
short_description: Tells what the playbooks have to know of a host
description:
  - C(slipway_visitors_address) tells where visitors reach a host for which the inventory doesn't say so.
  - C(slipway_foreign_containers) tells which containers of others publish ports that are wanted.
  - C(slipway_short_disks) tells which file systems are too small for what goes onto them.
"""


@functools.cache
def _resolved(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return an address as it is, or that of a name, IPv4 first; none where neither can be had."""
    try:
        found = {family: str(address[0]) for family, *_, address in socket.getaddrinfo(name, None)}
        return ipaddress.ip_address(found.get(socket.AF_INET) or found[socket.AF_INET6])
    except (OSError, ValueError, KeyError, UnicodeError):
        return None


def visitors_address(connection: str, own: str | None) -> str:
    """Return where visitors reach a host, given ``ansible_host`` and the address of its default route.

    On most clouds, and behind NAT, the host itself knows its private address alone, and Ansible connects to the public
    one. Where Ansible connects over a management network it is the other way round. So a public address is taken before
    a private one, and the one that Ansible connects to before the host's own. What can't be resolved, as an alias of
    ssh's configuration, and what leads to this machine, as a forwarded port, is nothing that visitors could use.
    """
    theirs = _resolved(connection)
    if theirs is None or theirs.is_loopback or theirs.is_link_local:
        return own or connection
    if own and (theirs.version != 4 or (ipaddress.ip_address(own).is_global and not theirs.is_global)):  # noqa: PLR2004
        return own
    return str(theirs)


def foreign_containers(lines: list[str], project: str, wanted: list[dict[str, Any]]) -> list[str]:
    """Return which containers of others publish wanted ports.

    ``lines`` are of ``docker ps --format json``, one for each container; a line that is none is passed over.
    ``wanted`` has the ``variable`` of each port, and ``port``, or the ``first`` and ``last`` of a range.
    """
    found = []
    for container in (json.loads(line) for line in lines if line.startswith("{")):
        name, ports = container["Names"], container["Ports"]
        if f"com.docker.compose.project={project}" in container["Labels"].split(","):
            continue
        # 0.0.0.0:443->443/tcp, [::]:8000-8010->80/tcp
        ranges = [(int(a), int(b or a)) for a, b in re.findall(r":(\d+)(?:-(\d+))?->[\d-]+/tcp", ports)]
        for entry in wanted:
            low, high = (int(entry[key] if key in entry else entry["port"]) for key in ("first", "last"))
            taken = [max(low, a) for a, b in ranges if a <= high and low <= b]
            if taken:
                found.append(f"{entry['variable']}: port {taken[0]} is published by the container {name}")
    return found


def short_disks(rooms: list[dict[str, Any]], parts: dict[str, float], whole_mb: int, moved_mb: int = 0) -> list[str]:
    """Return which file systems have too little room; ``rooms`` come from the module host_survey.

    ``parts`` say which share of ``whole_mb`` goes below each path; what is moved goes below the last one. Paths on the
    same file system add up.
    """
    needed: dict[str, float] = {}
    last = list(parts)[-1]
    for room in rooms:
        mb = whole_mb * parts[room["path"]] + (moved_mb if room["path"] == last else 0)
        needed[room["mount"]] = needed.get(room["mount"], 0) + mb
    free = {room["mount"]: room["free_mb"] for room in rooms}
    return [
        f"{round(mb)} MiB of free disk are needed on {mount}, which has {free[mount]}"
        for mount, mb in needed.items()
        if free[mount] < round(mb)
    ]


def groups_together(components: list[dict[str, Any]], types: list[str], provider: str) -> dict[str, list[str]]:
    """Return in which other groups the hosts of each group must be.

    ``components`` are those of playbooks/vars/components.yml, ``types`` are those of the sites that there are.
    """
    stack = {component["group"] for component in components if component.get("provider") == provider}
    return {
        component["group"]: [
            *(group for kind, group in component.get("serves", {}).items() if kind in types),
            *component.get("needs", []),
            *sorted(stack),
        ]
        for component in components
        if "provider" not in component
    }


class FilterModule:
    """Makes the filters known to Ansible."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {
            "slipway_visitors_address": visitors_address,
            "slipway_foreign_containers": foreign_containers,
            "slipway_short_disks": short_disks,
            "slipway_groups_together": groups_together,
        }
