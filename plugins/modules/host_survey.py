#!/usr/bin/python
"""Module host_survey: what a host has that a run must know before it changes anything."""

from __future__ import annotations

import grp
import os
import pwd
import subprocess
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: host_survey
short_description: Tells the room on the disks, the time zones, the accounts and the containers of a host
description:
  - A path that isn't there yet is looked for on the file system of the nearest folder above it that is.
  - Accounts are those of all sources that the host looks them up in.
options:
  paths:
    description: The paths below which room is needed, from the root.
    type: list
    elements: path
    required: true
  timezones:
    description: The time zones that are asked for.
    type: list
    elements: str
    default: []
  accounts:
    description: Whether users and groups are told.
    type: bool
    default: false
  containers:
    description: Whether containers are told; none where no Engine runs.
    type: bool
    default: false
author: the Slipway authors
"""

EXAMPLES = r"""
- name: Survey the host
  host_survey:
    paths: [/, /var/lib/docker]
    timezones: [Europe/Berlin]
"""

RETURN = r"""
rooms:
  description: Each path with the mount point of its file system, and the room that is free there, in MiB.
  returned: always
  type: list
  elements: dict
  sample: [{path: /var/lib/docker, mount: /var, free_mb: 9000}]
timezones:
  description: Those of the given ones that the host has; nothing where it has none at all yet.
  returned: always
  type: list
  elements: str
users:
  description: The id of each user.
  returned: with O(accounts)
  type: dict
groups:
  description: The id of each group.
  returned: with O(accounts)
  type: dict
containers:
  description: What C(docker ps --format json) says, a line each.
  returned: always
  type: list
  elements: str
"""

_ZONES = Path("/usr/share/zoneinfo")


def known_timezones(folder: Path, asked: list[str]) -> list[str] | None:
    """Return which of the time zones there are in a folder; none if it has none of them all yet."""
    if not (folder / "tzdata.zi").exists():
        return None
    return [name for name in asked if (folder / name).is_file()]


def containers() -> list[str]:
    """Return a line of JSON for each container."""
    if not Path("/run/docker.sock").exists():
        return []
    argv = ["docker", "ps", "--no-trunc", "--format", "json"]
    try:
        return subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=False).stdout.splitlines()
    except OSError:
        return []


def room(path: str) -> dict[str, object]:
    """Return the file system that a path is on or will be on, and its free room in MiB."""
    place = Path(os.path.realpath(path))
    while not place.exists():
        place = place.parent
    state = os.statvfs(place)
    while not place.is_mount() and place != place.parent:
        place = place.parent
    return {"path": path, "mount": str(place), "free_mb": state.f_bavail * state.f_frsize >> 20}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "paths": {"type": "list", "elements": "path", "required": True},
            "timezones": {"type": "list", "elements": "str", "default": []},
            "accounts": {"type": "bool", "default": False},
            "containers": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    found: dict[str, Any] = {
        "rooms": [room(path) for path in module.params["paths"]],
        "timezones": known_timezones(_ZONES, module.params["timezones"]),
        "containers": containers() if module.params["containers"] else [],
    }
    if module.params["accounts"]:
        found["users"] = {entry.pw_name: entry.pw_uid for entry in pwd.getpwall()}
        found["groups"] = {entry.gr_name: entry.gr_gid for entry in grp.getgrall()}
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
