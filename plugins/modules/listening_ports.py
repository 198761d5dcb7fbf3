#!/usr/bin/python
"""Module listening_ports: who listens on the host's TCP ports, as the kernel tells."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: listening_ports
short_description: Tells which programs listen on which TCP ports
description:
  - Reads C(/proc), so it needs neither C(ss) nor C(netstat), and takes a program's name from the kernel. What BusyBox's
    C(netstat) prints in its place is the title that a program gave itself, which may be anything.
  - Only root sees the programs of all users.
author: the Slipway authors
"""

EXAMPLES = r"""
- name: Look at the ports in use
  listening_ports:
  register: listening
"""

RETURN = r"""
ports:
  description: Each port with a program that listens on it, sorted; the name is empty where the program can't be seen.
  returned: always
  type: list
  elements: dict
  sample: [{port: 443, name: nginx}]
"""

# State of a socket in proc_net_tcp that listens.
_LISTEN = "0A"


def sockets(table: str) -> dict[str, int]:
    """Return the listening sockets of a table of proc_net_tcp: inode, and the port it is for."""
    found = {}
    for line in table.splitlines()[1:]:
        fields = line.split()
        if fields[3] == _LISTEN:
            found[fields[9]] = int(fields[1].rsplit(":", 1)[1], 16)
    return found


def programs(proc: Path) -> dict[str, set[str]]:
    """Return the names of the programs that hold each socket, by its inode."""
    found: dict[str, set[str]] = {}
    for file in proc.glob("[0-9]*/fd/*"):
        # Processes end and files are closed meanwhile.
        with suppress(OSError):
            link = str(file.readlink())
            if link.startswith("socket:["):
                name = (file.parents[1] / "comm").read_text(encoding="utf-8", errors="replace").strip()
                found.setdefault(link[8:-1], set()).add(name)
    return found


def listening(proc: Path) -> list[dict[str, object]]:
    """Return each port with each program that listens on it."""
    tables = [proc / "net" / name for name in ("tcp", "tcp6")]
    ports: dict[str, int] = {}
    for table in tables:
        # A kernel without IPv6 has one of them.
        if table.exists():
            ports.update(sockets(table.read_text(encoding="ascii")))
    holders = programs(proc)
    pairs = {(port, name) for inode, port in ports.items() for name in holders.get(inode, {""})}
    return [{"port": port, "name": name} for port, name in sorted(pairs)]


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    module.exit_json(changed=False, ports=listening(Path("/proc")))


if __name__ == "__main__":
    main()
