#!/usr/bin/python
"""Module update_state: what a host's updates wait for, and whether the services that fetch them are on."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: update_state
short_description: Tells what a host's updates wait for
description:
  - An update reaches a program when that starts again, and the kernel by a reboot. The module tells for what of both
    the host waits, and sets the fact C(host_updates).
options:
  manager:
    description: The service manager.
    type: str
    choices: [systemd, openrc]
    required: true
  services:
    description: Services and timers that are to be enabled and active.
    type: list
    elements: str
    default: []
  container:
    description: Whether the host is a container, whose kernel is updated by its machine.
    type: bool
    default: false
author: the Slipway authors
"""

EXAMPLES = r"""
- name: Check what updates wait for
  update_state:
    manager: systemd
    services: [apt-daily.timer]
"""

RETURN = r"""
off:
  description: Those of the services that aren't enabled and active.
  returned: always
  type: list
  elements: str
ansible_facts:
  description: >-
    C(host_updates), with C(reboot), which tells whether a reboot is needed, C(reasons), why it is, and C(outdated), the
    programs that run with files of before an update.
  returned: always
  type: dict
  sample: {host_updates: {reboot: true, reasons: [kernel 6.12.9-amd64 is installed], outdated: [nginx]}}
"""

# What packages own; programs also map deleted files of their own in folders such as /tmp and /dev.
_PACKAGED = re.compile(r"/(usr|lib|lib64|bin|sbin)/")
_DELETED = " (deleted)"
# Address, rights, offset, device, inode, path.
_MAP_FIELDS = 6


def version_key(version: str) -> list[int]:
    """Return what versions of a kernel are ordered by."""
    return [int(number) for number in re.findall(r"\d+", version)]


def flavour(version: str) -> str:
    """Return what tells kernels of one version apart, such as C(cloud-amd64) or C(virt)."""
    words = version.split("-")[1:]
    return "-".join(words[1:] if words and words[0].isdigit() else words)


def newer_kernel(modules: Path, running: str) -> str:
    """Return the kernel that would run after a reboot, by the folder of all kernels' modules; nothing if it does."""
    kernels = [path.parent.name for path in modules.glob("*/modules.dep")]
    there = [kernel for kernel in kernels if flavour(kernel) == flavour(running)]
    newest = max(there, key=version_key, default="")
    # Alpine has one kernel of a flavour: the running one's folder goes with its update.
    return "" if running in there and version_key(newest) <= version_key(running) else newest


def reasons(root: Path, running: str, *, container: bool) -> list[str]:
    """Return why a reboot is needed."""
    found = []
    flag = root / "run/reboot-required"
    if flag.exists():
        packages = flag.with_name("reboot-required.pkgs")
        names = sorted(set(packages.read_text(encoding="utf-8").split())) if packages.exists() else []
        found.append(f"updated: {', '.join(names)}" if names else "the packages ask for it")
    if not container and (kernel := newer_kernel(root / "lib/modules", running)):
        found.append(f"kernel {kernel} is installed, {running} runs")
    return found


def outdated(proc: Path) -> list[str]:
    """Return the programs that run code of files that are not there any more."""
    found = set()
    for maps in proc.glob("[0-9]*/maps"):
        # Processes end meanwhile.
        with suppress(OSError):
            for line in maps.read_text(encoding="utf-8", errors="replace").splitlines():
                fields = line.split(maxsplit=_MAP_FIELDS - 1)
                if (
                    len(fields) == _MAP_FIELDS
                    and "x" in fields[1]
                    and fields[5].endswith(_DELETED)
                    and _PACKAGED.match(fields[5])
                ):
                    found.add((maps.parent / "comm").read_text(encoding="utf-8", errors="replace").strip())
                    break
    return sorted(found)


def _call(*argv: str) -> bool:
    """Tell whether a command succeeds."""
    return not subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode


def off(manager: str, services: list[str], call: Callable[..., bool] = _call) -> list[str]:
    """Return the services that aren't enabled and active."""
    if manager == "systemd":
        return [
            name
            for name in services
            if not (call("systemctl", "is-active", name) and call("systemctl", "is-enabled", name))
        ]
    return [
        name
        for name in services
        if not (Path("/etc/runlevels/default", name).exists() and call("rc-service", name, "status"))
    ]


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "manager": {"type": "str", "required": True, "choices": ["systemd", "openrc"]},
            "services": {"type": "list", "elements": "str", "default": []},
            "container": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    given = module.params
    why = reasons(Path("/"), os.uname().release, container=given["container"])
    module.exit_json(
        changed=False,
        off=off(given["manager"], given["services"]),
        ansible_facts={"host_updates": {"reboot": bool(why), "reasons": why, "outdated": outdated(Path("/proc"))}},
    )


if __name__ == "__main__":
    main()
