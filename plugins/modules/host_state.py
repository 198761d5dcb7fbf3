#!/usr/bin/python
"""Module host_state: what earlier runs noted on the host, and who listens on its TCP ports."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: host_state
short_description: Reads and writes what runs note on a host, and tells which programs listen on which TCP ports
description:
  - How a host is provided, and for which groups, is noted on the host itself, so that any controller finds it.
  - The ports are read from C(/proc), which needs neither C(ss) nor C(netstat), and takes a program's name from the
    kernel. What BusyBox's C(netstat) prints in its place is the title that a program gave itself, which may be
    anything. Only root sees the programs of all users.
  - What is returned is the state of before; nothing is looked at where something is to be noted.
options:
  provider:
    description: Is noted as what provides the host.
    type: str
  groups:
    description:
      - With C(provider), they are noted, and those that were noted before stay noted.
      - Without, they are those of a host that was provisioned before groups were noted.
    type: list
    elements: str
    default: []
  end_change:
    description: Whether all that a change of the provider needed is removed.
    type: bool
    default: false
author: the Slipway authors
"""

EXAMPLES = r"""
- name: Read the recorded provider
  host_state:
  register: state

- name: Record how the host is provided
  host_state:
    provider: native
    groups: [web, static]
"""

RETURN = r"""
provider:
  description: What provides the host; an empty text on a new one.
  returned: when nothing is noted
  type: str
groups:
  description: The groups for which the host is provided.
  returned: when nothing is noted
  type: list
  elements: str
changing:
  description: Whether a change of the provider was begun, and didn't come to its end.
  returned: when nothing is noted
  type: bool
ports:
  description: Each port with a program that listens on it, sorted; the name is empty where the program can't be seen.
  returned: when nothing is noted
  type: list
  elements: dict
  sample: [{port: 443, name: nginx}]
"""

PROVIDER = Path("etc/slipway/provider")
GROUPS = Path("etc/slipway/groups")
CHANGE = Path("var/lib/slipway/provider-change")

_ATTRIBUTES: dict[str, Any] = {
    "owner": "root", "group": "root", "attributes": None,
    "seuser": None, "serole": None, "setype": None, "selevel": None, "secontext": [],
}  # fmt: skip
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


def noted(root: Path, groups: list[str]) -> dict[str, Any]:
    """Return what is noted below a root; ``groups`` where a host has a provider and no groups yet."""

    def text(path: Path) -> str:
        return path.read_text(encoding="utf-8").strip() if path.exists() else ""

    provider = text(root / PROVIDER)
    known = text(root / GROUPS).split() if (root / GROUPS).exists() else groups if provider else []
    return {"provider": provider, "groups": known, "changing": (root / CHANGE).exists()}


def wanted(root: Path, provider: str, groups: list[str]) -> dict[Path, str]:
    """Return the contents of the notes."""
    before = noted(root, [])["groups"]
    return {
        root / PROVIDER: f"{provider}\n",
        root / GROUPS: "".join(f"{name}\n" for name in sorted({*before, *groups})),
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "provider": {"type": "str"},
            "groups": {"type": "list", "elements": "str", "default": []},
            "end_change": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    root, provider, groups = Path("/"), module.params["provider"], module.params["groups"]
    if provider is None and not module.params["end_change"]:
        module.exit_json(changed=False, ports=listening(Path("/proc")), **noted(root, groups))
    changed, diffs = False, []
    for path, content in wanted(root, provider, groups).items() if provider is not None else ():
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        folder = path.parent
        if before != content or not path.exists():
            changed = True
            diffs.append({"before_header": str(path), "after_header": str(path), "before": before, "after": content})
            if not module.check_mode:
                folder.mkdir(mode=0o755, parents=True, exist_ok=True)
                made = Path(module.tmpdir) / path.name
                made.write_text(content, encoding="utf-8")
                # In one step: a run may be cut anywhere.
                module.atomic_move(str(made), str(path))
        for one, mode in ((folder, "0755"), (path, "0644")):
            if one.exists():
                changed = module.set_fs_attributes_if_different(
                    {**_ATTRIBUTES, "path": str(one), "mode": mode}, changed
                )
    change = root / CHANGE
    if module.params["end_change"] and change.exists():
        changed = True
        diffs.append({"before_header": str(change), "before": "there\n", "after": ""})
        if not module.check_mode:
            shutil.rmtree(change)
    module.exit_json(changed=changed, diff=diffs)


if __name__ == "__main__":
    main()
